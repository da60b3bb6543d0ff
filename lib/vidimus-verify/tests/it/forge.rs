//! A workshop for evidence that no honest service would make: certificates, log entries and checkpoints with chosen faults.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use const_oid::{ObjectIdentifier, db::rfc5280, db::rfc5912};
use der::{
    Any, Decode, Encode,
    asn1::{BitString, GeneralizedTime, OctetString, Utf8StringRef},
};
use jiff::Timestamp;
use vidimus_core::{
    Digest,
    bundle::{CheckpointEnvelope, InclusionPromise, InclusionProof, Int64, LogId, TlogEntry},
    checkpoint::{self, Checkpoint, Note, NoteSignature},
    encoding, merkle, rekor,
    trust::TrustedRoot,
};
use vidimus_verify::{PublicKey, TrustRoot};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    ext::{
        Extension,
        pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, name::GeneralName},
    },
    name::Name,
    serial_number::SerialNumber,
    time::{Time, Validity},
};

pub(crate) const NAME: &str = "dev@example.test";
pub(crate) const ISSUER: &str = "https://issuer.test";
pub(crate) const REKOR: &str = "https://rekor.test";
pub(crate) const REKOR2: &str = "https://rekor2.test";

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// When everything here is signed.
pub(crate) fn signed_at() -> Timestamp {
    at("2026-01-01T00:00:00Z")
}

/// An ECDSA P-256 key.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&lc::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        spki_of_point(self.0.public_key().as_ref())
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_spki(&self.spki()).unwrap()
    }
}

fn spki_of_point(point: &[u8]) -> Vec<u8> {
    let parameters = Some(Any::encode_from(&rfc5912::SECP_256_R_1).unwrap());
    let algorithm = spki::AlgorithmIdentifierOwned { oid: rfc5912::ID_EC_PUBLIC_KEY, parameters };
    spki::SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(point).unwrap() }.to_der().unwrap()
}

/// A certificate to be: change what should be wrong with it.
pub(crate) struct Draft {
    pub(crate) subject: &'static str,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) extensions: Vec<Extension>,
}

pub(crate) fn extension(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> Extension {
    raw_extension(oid, critical, value.to_der().unwrap())
}

pub(crate) fn raw_extension(oid: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Extension {
    Extension { extn_id: oid, critical, extn_value: OctetString::new(value).unwrap() }
}

impl Draft {
    /// What Fulcio would issue.
    pub(crate) fn leaf() -> Self {
        let san = SubjectAltName(vec![GeneralName::Rfc822Name(der::asn1::Ia5String::new(NAME).unwrap())]);
        let issuer = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
        Self {
            subject: "",
            not_before: at("2025-12-31T23:55:00Z"),
            not_after: at("2026-01-01T00:05:00Z"),
            extensions: vec![
                extension(rfc5280::ID_CE_KEY_USAGE, true, &KeyUsage(KeyUsages::DigitalSignature.into())),
                extension(rfc5280::ID_CE_EXT_KEY_USAGE, false, &ExtendedKeyUsage(vec![rfc5280::ID_KP_CODE_SIGNING])),
                extension(rfc5280::ID_CE_SUBJECT_ALT_NAME, true, &san),
                extension(issuer, false, &Utf8StringRef::new(ISSUER).unwrap()),
            ],
        }
    }

    pub(crate) fn ca(subject: &'static str, path_len: Option<u8>) -> Self {
        let constraints = BasicConstraints { ca: true, path_len_constraint: path_len };
        Self {
            subject,
            not_before: at("2020-01-01T00:00:00Z"),
            not_after: at("2030-01-01T00:00:00Z"),
            extensions: vec![
                extension(rfc5280::ID_CE_BASIC_CONSTRAINTS, true, &constraints),
                extension(rfc5280::ID_CE_KEY_USAGE, true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)),
            ],
        }
    }

    pub(crate) fn without(mut self, oid: ObjectIdentifier) -> Self {
        self.extensions.retain(|e| e.extn_id != oid);
        self
    }

    pub(crate) fn with(self, new: Extension) -> Self {
        let mut draft = self.without(new.extn_id);
        draft.extensions.push(new);
        draft
    }

    /// The certificate for a key, signed by another.
    pub(crate) fn issue(self, key: &Key, issuer_name: &str, issuer_key: &Key) -> Vec<u8> {
        let algorithm = spki::AlgorithmIdentifierOwned { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None };
        let tbs = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&[1, 2, 3]).unwrap(),
            signature: algorithm.clone(),
            issuer: name(issuer_name),
            validity: Validity { not_before: time(self.not_before), not_after: time(self.not_after) },
            subject: name(self.subject),
            subject_public_key_info: spki::SubjectPublicKeyInfoOwned::from_der(&key.spki()).unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions),
        };
        let signature = BitString::from_bytes(&issuer_key.sign(&tbs.to_der().unwrap())).unwrap();
        Certificate { tbs_certificate: tbs, signature_algorithm: algorithm, signature }.to_der().unwrap()
    }
}

fn name(common_name: &str) -> Name {
    if common_name.is_empty() { Name::default() } else { format!("CN={common_name}").parse().unwrap() }
}

fn time(at: Timestamp) -> Time {
    let seconds = u64::try_from(at.as_second()).unwrap();
    Time::GeneralTime(GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(seconds)).unwrap())
}

/// A Sigstore instance whose every key is ours.
pub(crate) struct Instance {
    pub(crate) root_key: Key,
    pub(crate) ca_key: Key,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) log_key: Key,
    pub(crate) log2_key: Ed25519KeyPair,
    pub(crate) ca_valid_for: (&'static str, &'static str),
    pub(crate) log2_until: &'static str,
}

impl Instance {
    pub(crate) fn new() -> Self {
        let (root_key, ca_key) = (Key::new(), Key::new());
        let root = Draft::ca("root", None).issue(&root_key, "root", &root_key);
        let ca = Draft::ca("intermediate", Some(0)).issue(&ca_key, "root", &root_key);
        Self {
            root_key,
            ca_key,
            chain: vec![ca, root],
            log_key: Key::new(),
            log2_key: Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap(),
            ca_valid_for: ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
            log2_until: "2030-01-01T00:00:00Z",
        }
    }

    pub(crate) fn log_id(&self) -> Vec<u8> {
        checkpoint::ecdsa_key_id(&self.log_key.spki()).to_vec()
    }

    fn log2_public(&self) -> [u8; 32] {
        self.log2_key.public_key().as_ref().try_into().unwrap()
    }

    pub(crate) fn log2_id(&self) -> [u8; 32] {
        checkpoint::ed25519_key_id("rekor2.test", &self.log2_public())
    }

    pub(crate) fn trust(&self) -> TrustRoot {
        let b64 = |bytes: &[u8]| encoding::encode(bytes);
        let certificates: Vec<_> = self.chain.iter().map(|der| serde_json::json!({"rawBytes": b64(der)})).collect();
        let spki2 = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &self.log2_public()].concat();
        let root = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                {
                    "baseUrl": REKOR, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(&self.log_id())},
                    "publicKey": {"rawBytes": b64(&self.log_key.spki()), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                        "validFor": {"start": "2025-01-01T00:00:00Z", "end": "2026-06-01T00:00:00Z"}},
                },
                {
                    "baseUrl": REKOR2, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(&self.log2_id())},
                    "publicKey": {"rawBytes": b64(&spki2), "keyDetails": "PKIX_ED25519",
                        "validFor": {"start": "2025-01-01T00:00:00Z", "end": self.log2_until}},
                },
            ],
            "certificateAuthorities": [{
                "uri": "https://fulcio.test", "certChain": {"certificates": certificates},
                "validFor": {"start": self.ca_valid_for.0, "end": self.ca_valid_for.1},
            }],
        });
        TrustRoot::new(&TrustedRoot::from_json(&serde_json::to_vec(&root).unwrap()).unwrap()).unwrap()
    }

    pub(crate) fn issue(&self, draft: Draft, key: &Key) -> Vec<u8> {
        draft.issue(key, "intermediate", &self.ca_key)
    }

    /// An entry of the Rekor v1 log with a promise.
    pub(crate) fn promise(&self, body: Vec<u8>, time: Timestamp) -> TlogEntry {
        let (seconds, index) = (time.as_second(), 7);
        let payload = rekor::promise_payload(&body, seconds, &self.log_id(), index);
        let kind_version = rekor::Body::parse(&body).unwrap().kind_version();
        TlogEntry {
            log_index: Int64(index),
            log_id: LogId { key_id: self.log_id().into() },
            kind_version,
            integrated_time: Int64(seconds),
            inclusion_promise: Some(InclusionPromise { signed_entry_timestamp: self.log_key.sign(&payload).into() }),
            inclusion_proof: None,
            canonicalized_body: body.into(),
        }
    }

    /// A signature over the digest of these bytes, logged with a promise.
    pub(crate) fn promised_signature(&self, signed: &[u8], signature: &[u8], pem: &str) -> TlogEntry {
        let body = rekor::HashedRekordV001::new(&Digest::sha256(signed), signature, pem).canonical();
        self.promise(body, signed_at())
    }

    /// An entry of the Rekor v2 log, the second of two, with its checkpoint.
    pub(crate) fn include(&self, body: Vec<u8>, origin: &str) -> (TlogEntry, Note) {
        let other = merkle::leaf_hash(b"other");
        let root = merkle::node_hash(&other, &merkle::leaf_hash(&body));
        let text = Checkpoint { origin: origin.to_owned(), size: 2, root, extensions: Vec::new() }.text();
        let signature = self.log2_key.sign(text.as_bytes()).as_ref().to_vec();
        let hint = checkpoint::hint(&self.log2_id());
        let note = Note { text, signatures: vec![NoteSignature { name: origin.to_owned(), hint, signature }] };
        let kind_version = rekor::Body::parse(&body).unwrap().kind_version();
        let entry = TlogEntry {
            log_index: Int64(1),
            log_id: LogId { key_id: self.log2_id().to_vec().into() },
            kind_version,
            integrated_time: Int64(0),
            inclusion_promise: None,
            inclusion_proof: Some(InclusionProof {
                log_index: Int64(1),
                root_hash: root.to_vec().into(),
                tree_size: Int64(2),
                hashes: vec![other.to_vec().into()],
                checkpoint: Some(CheckpointEnvelope { envelope: note.to_string() }),
            }),
            canonicalized_body: body.into(),
        };
        (entry, note)
    }
}

pub(crate) fn certificate_pem(der: &[u8]) -> String {
    encoding::pem("CERTIFICATE", der)
}
