//! `bundle create` and `bundle upgrade`: bundles out of the files that older clients wrote.
//!
//! Both package, neither verifies: what comes out is as good as what went in. Two differences to cosign 3.1.1, both deliberate: the
//! media type is `application/vnd.dev.sigstore.bundle.v0.3+json`, the one that every verifier takes (cosign's `create` still writes the
//! older spelling), and a log entry that is fetched must be the very entry that is asked for.

use serde::Deserialize;
use vidimus_core::{
    Digest, ParseError,
    bundle::{
        Bundle, Certificate, Content, HashOutput, MEDIA_TYPE_V03, MessageSignature, OwnedContent, PublicKeyIdentifier,
        Rfc3161Timestamp, TimestampVerificationData, TlogEntry, VerificationMaterial, Version,
    },
    cosign::{self, RekorBundle},
    dsse::Envelope,
    encoding::{self, Base64},
    limits,
    merkle::leaf_hash,
    rekor::{DsseSignature, DsseV001, Entry, HashedRekordV001, HexHash, IntotoV001, IntotoV001Content, LogEntryV1},
};
use vidimus_net::{
    http::Kind,
    rekor::{RekorError, RekorV1},
};
use vidimus_verify::{self as engine, Material, PublicKey, SignedEntity};

/// A bundle that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleToolError {
    /// A file does not hold what it should.
    #[error("{what}: {source}")]
    Input {
        /// Which file, by its flag.
        what: &'static str,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] RekorError),
    /// The log has no such entry.
    #[error("the log has no entry of this signature; give --bundle with its entry, or --ignore-tlog for a bundle without one")]
    NotLogged,
    /// The log has another entry in its place.
    #[error("the log's entry {index} has another {what} than the one in the file")]
    OtherEntry {
        /// The index.
        index: i64,
        /// What differs.
        what: &'static str,
    },
}

const NO_SIGNER: BundleToolError = BundleToolError::Missing("no signer: give --certificate or --key");

/// The files that a bundle is made of, as their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// `--bundle`: what `sign-blob --bundle` and `attest-blob --bundle` of old cosign wrote.
    pub bundle: Option<&'a [u8]>,
    /// `--signature`: base64 of a signature, or of an envelope.
    pub signature: Option<&'a [u8]>,
    /// `--attestation`: a DSSE envelope.
    pub attestation: Option<&'a [u8]>,
    /// `--certificate`: PEM, or base64 of it as old cosign wrote.
    pub certificate: Option<&'a [u8]>,
    /// `--key`: a public key in PEM.
    pub key: Option<&'a [u8]>,
    /// `--rfc3161-timestamp`: cosign's JSON around a timestamp, or the timestamp itself.
    pub timestamp: Option<&'a [u8]>,
}

/// What the files say, with later flags over what the old bundle says.
#[derive(Debug, Clone)]
pub struct Parts {
    artifact: Digest,
    content: OwnedContent,
    /// The envelope as it may have been posted to a log, which stored its digest.
    envelope_texts: Vec<Vec<u8>>,
    signer: Signer,
    timestamp: Option<Vec<u8>>,
    promised: Option<RekorBundle>,
}

#[derive(Debug, Clone)]
enum Signer {
    Certificate(Vec<u8>),
    PublicKey(Vec<u8>),
}

/// The file that old cosign wrote.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldBundle {
    #[serde(default)]
    base64_signature: Base64,
    #[serde(default)]
    cert: Option<String>,
    #[serde(default)]
    rekor_bundle: Option<RekorBundle>,
}

impl Parts {
    /// Reads the files. `artifact` is the SHA-256 digest of the signed file.
    pub fn read(artifact: Digest, inputs: Inputs<'_>) -> Result<Self, BundleToolError> {
        let old: OldBundle = match inputs.bundle {
            Some(json) => {
                read("--bundle", json, |json| serde_json::from_slice(json).map_err(|e| ParseError::new("old bundle", e)))?
            }
            None => OldBundle::default(),
        };
        let signature = match inputs.signature {
            Some(text) => read("--signature", text, base64_file)?,
            None => old.base64_signature.0.clone(),
        };
        // An envelope wins over a signature, and the file of its own over the one inside a signature.
        let envelope = inputs.attestation.or_else(|| signature.starts_with(b"{").then_some(signature.as_slice()));
        let (content, envelope_texts) = match envelope {
            Some(json) => read("--attestation", json, envelope_content)?,
            None if signature.is_empty() => {
                return Err(BundleToolError::Missing("no signature: give --signature, --attestation or an old --bundle"));
            }
            None => (message(&artifact, signature), Vec::new()),
        };
        let signer = signer(inputs, old.cert.as_deref())?;
        let timestamp = inputs.timestamp.map(|bytes| read("--rfc3161-timestamp", bytes, timestamp)).transpose()?;
        Ok(Self { artifact, content, envelope_texts, signer, timestamp, promised: old.rekor_bundle })
    }

    /// The parts of a signature over a file, or a statement, that came without its log entry. `artifact` is the SHA-256 digest of the
    /// file; `key` is the managed key by which it must be, where there is one.
    pub fn of(entity: &SignedEntity, artifact: Digest, key: Option<&PublicKey>) -> Result<Self, BundleToolError> {
        let signer = match (key, entity.material()) {
            (Some(key), _) => Signer::PublicKey(key.spki().to_vec()),
            (None, Material::Certificates(chain)) => chain.first().cloned().map(Signer::Certificate).ok_or(NO_SIGNER)?,
            (None, _) => return Err(NO_SIGNER),
        };
        let (content, envelope_texts) = match entity.content() {
            engine::Content::Envelope { envelope, .. } => {
                (OwnedContent::Dsse(envelope.clone()), go_texts(envelope).map(String::into_bytes).collect())
            }
            _ => (message(&artifact, entity.signature().to_vec()), Vec::new()),
        };
        Ok(Self { artifact, content, envelope_texts, signer, timestamp: None, promised: None })
    }

    /// Whether the old bundle holds a log entry, which must then not be left out.
    pub fn has_entry(&self) -> bool {
        self.promised.is_some()
    }

    /// Fetches this signature's entry with its inclusion proof. Nothing is ever added to the log.
    pub async fn find_entry(&self, log: &RekorV1) -> Result<TlogEntry, BundleToolError> {
        if let Some(promised) = &self.promised {
            let payload = &promised.payload;
            let (_, entry) = log.entry_at(index(payload.log_index)?).await?;
            same(&entry, &payload.body.0, &payload.log_id, payload.integrated_time)?;
            return proven(&entry);
        }
        for body in self.possible_bodies() {
            // The UUID of an entry is the hash of its body, so that a body which we can rebuild needs no search.
            match log.entry(&hex::encode(leaf_hash(&body))).await {
                Ok(entry) if entry.body.0 == body => return proven(&entry),
                Ok(entry) => return Err(BundleToolError::OtherEntry { index: entry.log_index, what: "body" }),
                Err(RekorError::Http(e)) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(BundleToolError::NotLogged)
    }

    /// The bundle.
    pub fn into_bundle(self, entry: Option<TlogEntry>) -> Bundle {
        let mut material = VerificationMaterial { tlog_entries: Vec::from_iter(entry), ..VerificationMaterial::default() };
        match &self.signer {
            Signer::Certificate(der) => material.certificate = Some(Certificate { raw_bytes: der.as_slice().into() }),
            Signer::PublicKey(spki) => {
                material.public_key = Some(PublicKeyIdentifier { hint: encoding::encode(vidimus_core::digest::sha256(spki)) });
            }
        }
        material.timestamp_verification_data = self
            .timestamp
            .map(|der| TimestampVerificationData { rfc3161_timestamps: vec![Rfc3161Timestamp { signed_timestamp: der.into() }] });
        Bundle::v03(material, self.content)
    }

    /// The canonical bodies that a log may have stored for this signature.
    fn possible_bodies(&self) -> Vec<Vec<u8>> {
        let pem = match &self.signer {
            Signer::Certificate(der) => encoding::pem("CERTIFICATE", der),
            Signer::PublicKey(spki) => encoding::pem("PUBLIC KEY", spki),
        };
        match &self.content {
            OwnedContent::Message(message) => {
                vec![HashedRekordV001::new(&self.artifact, message.signature.as_bytes(), &pem).canonical()]
            }
            OwnedContent::Dsse(envelope) => {
                self.envelope_texts.iter().flat_map(|text| envelope_bodies(envelope, text, &pem)).collect()
            }
        }
    }
}

fn read<T>(what: &'static str, bytes: &[u8], read: impl FnOnce(&[u8]) -> Result<T, ParseError>) -> Result<T, BundleToolError> {
    let checked = limits::check_len("file", bytes.len(), limits::ATTESTATION_BYTES);
    checked.and_then(|()| read(bytes)).map_err(|source| BundleToolError::Input { what, source })
}

/// Base64 that may be wrapped and end in a newline.
fn base64_file(text: &[u8]) -> Result<Vec<u8>, ParseError> {
    encoding::decode(text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<_>>())
}

fn message(artifact: &Digest, signature: Vec<u8>) -> OwnedContent {
    OwnedContent::Message(MessageSignature { message_digest: Some(HashOutput::of(artifact)), signature: signature.into() })
}

/// The envelope as a bundle carries it, without its key id, and the texts under which a log may know it.
fn envelope_content(json: &[u8]) -> Result<(OwnedContent, Vec<Vec<u8>>), ParseError> {
    let envelope = Envelope::from_json(json)?;
    let [signature] = envelope.signatures.as_slice() else {
        // protobuf-specs, `sigstore_bundle.proto`: exactly one.
        let why = format_args!("{} of them, and a bundle carries exactly one", envelope.signatures.len());
        return Err(ParseError::at("DSSE envelope", "signatures", why));
    };
    let bare = Envelope::new(&*envelope.payload_type, envelope.payload.0.clone(), signature.sig.0.clone());
    let mut texts = vec![json.to_vec(), json.trim_ascii().to_vec()];
    texts.extend(go_texts(&envelope).map(String::into_bytes));
    texts.sort();
    texts.dedup();
    Ok((OwnedContent::Dsse(bare), texts))
}

/// The envelope as Go's encoder writes it, with and without the empty key id.
fn go_texts(envelope: &Envelope) -> impl Iterator<Item = String> {
    let (payload, kind) = (envelope.payload.to_string(), envelope.payload_type.clone());
    let signature = envelope.signatures.first().map(|s| (s.sig.to_string(), s.keyid.clone())).unwrap_or_default();
    [true, false].into_iter().map(move |with_key_id| {
        let (sig, keyid) = (encoding::go_json(&signature.0), encoding::go_json(&signature.1));
        let keyid = if with_key_id { format!(r#""keyid":{keyid},"#) } else { String::new() };
        let (payload, kind) = (encoding::go_json(&payload), encoding::go_json(&kind));
        format!(r#"{{"payloadType":{kind},"payload":{payload},"signatures":[{{{keyid}"sig":{sig}}}]}}"#)
    })
}

fn envelope_bodies(envelope: &Envelope, text: &[u8], pem: &str) -> [Vec<u8>; 2] {
    let hash = |content: &[u8]| HexHash::of(&Digest::sha256(content));
    let signature = envelope.signatures.first().map(|s| s.sig.to_string()).unwrap_or_default();
    let verifier = Base64(pem.as_bytes().to_vec());
    let dsse = DsseV001::new(text, envelope.payload.as_bytes(), vec![DsseSignature { signature, verifier: verifier.clone() }]);
    let content = IntotoV001Content { hash: hash(text), payload_hash: Some(hash(envelope.payload.as_bytes())) };
    let intoto =
        Entry { api_version: "0.0.1".to_owned(), kind: "intoto".to_owned(), spec: IntotoV001 { content, public_key: verifier } };
    [dsse.canonical(), intoto.canonical()]
}

fn signer(inputs: Inputs<'_>, old_cert: Option<&str>) -> Result<Signer, BundleToolError> {
    let old = old_cert.filter(|text| !text.is_empty()).map(|text| read("--bundle", text.as_bytes(), pem_file)).transpose()?;
    if let Some(bytes) = inputs.certificate {
        let block = read("--certificate", bytes, pem_file)?;
        let wanted = (block.label == "CERTIFICATE").then_some(block.der);
        let source = || ParseError::new("certificate", "the file holds something else");
        return wanted.map(Signer::Certificate).ok_or_else(|| BundleToolError::Input { what: "--certificate", source: source() });
    }
    match (old, inputs.key) {
        (Some(block), _) if block.label == "CERTIFICATE" => Ok(Signer::Certificate(block.der)),
        (_, Some(key)) => read("--key", key, PublicKey::from_pem_or_der).map(|key| Signer::PublicKey(key.spki().to_vec())),
        // cosign 2 put the public key where the certificate belongs.
        (Some(block), None) => {
            read("--bundle", &block.der, PublicKey::from_pem_or_der).map(|key| Signer::PublicKey(key.spki().to_vec()))
        }
        (None, None) => Err(NO_SIGNER),
    }
}

/// The first PEM block of a file, which may wear a coat of base64.
fn pem_file(bytes: &[u8]) -> Result<encoding::PemBlock, ParseError> {
    let bytes = if bytes.trim_ascii_start().starts_with(b"-----BEGIN ") { bytes.to_vec() } else { base64_file(bytes)? };
    let text = String::from_utf8(bytes).map_err(|e| ParseError::new("PEM", e))?;
    encoding::pem_blocks(&text)?.into_iter().next().ok_or_else(|| ParseError::new("PEM", "no block in it"))
}

fn timestamp(bytes: &[u8]) -> Result<Vec<u8>, ParseError> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(bytes.to_vec());
    }
    let json: cosign::Rfc3161Timestamp = serde_json::from_slice(bytes).map_err(|e| ParseError::new("timestamp", e))?;
    Ok(json.signed_rfc3161_timestamp.0)
}

fn index(index: i64) -> Result<u64, BundleToolError> {
    let negative = |_| BundleToolError::Input { what: "--bundle", source: ParseError::new("log index", "negative") };
    u64::try_from(index).map_err(negative)
}

/// Whether an entry is the one that a promise was made for.
fn same(entry: &LogEntryV1, body: &[u8], log_id: &str, integrated_time: i64) -> Result<(), BundleToolError> {
    let differs = |what| Err(BundleToolError::OtherEntry { index: entry.log_index, what });
    if entry.body.0 != body {
        return differs("body");
    }
    if !entry.log_id.eq_ignore_ascii_case(log_id) {
        return differs("log id");
    }
    if entry.integrated_time != integrated_time {
        return differs("time");
    }
    Ok(())
}

/// The entry in a bundle's form; version 0.3 demands an inclusion proof.
fn proven(entry: &LogEntryV1) -> Result<TlogEntry, BundleToolError> {
    let entry = entry.to_tlog_entry().map_err(|source| BundleToolError::Input { what: "the log's answer", source })?;
    match entry.inclusion_proof {
        Some(_) => Ok(entry),
        None => Err(BundleToolError::Missing("the log's answer has no inclusion proof")),
    }
}

/// What an upgrade changed, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upgraded {
    /// The bundle, version 0.3.
    pub json: Vec<u8>,
    /// What was done, in words. Empty if the bundle was of version 0.3 already: its bytes are then as they came.
    pub changes: Vec<String>,
}

/// Upgrades a bundle to version 0.3: the leaf instead of the chain, and inclusion proofs where there are only promises. `log` is asked
/// for missing proofs only.
pub async fn upgrade(json: &[u8], log: &RekorV1) -> Result<Upgraded, BundleToolError> {
    let mut bundle = read("bundle", json, Bundle::from_json)?;
    let version = read("bundle", json, |_| bundle.version())?;
    if version == Version::V03 {
        return Ok(Upgraded { json: json.to_vec(), changes: Vec::new() });
    }
    let mut changes = vec![format!("version {version} to {}", Version::V03)];
    let material = &mut bundle.verification_material;
    if let Some(chain) = material.x509_certificate_chain.take() {
        let dropped = chain.certificates.len().saturating_sub(1);
        material.certificate = chain.certificates.into_iter().next();
        changes.push(format!(
            "the signer's certificate alone; {dropped} of its chain dropped, which verifiers have in their trust root"
        ));
    }
    for entry in &mut material.tlog_entries {
        if entry.inclusion_proof.is_none() {
            *entry = with_proof(entry, log).await?;
            changes.push(format!("log entry {}: inclusion proof fetched", entry.log_index));
        }
    }
    single_signature(&bundle)?;
    bundle.media_type = MEDIA_TYPE_V03.to_owned();
    Ok(Upgraded { json: bundle.to_json(), changes })
}

async fn with_proof(entry: &TlogEntry, log: &RekorV1) -> Result<TlogEntry, BundleToolError> {
    let (_, found) = log.entry_at(index(entry.log_index.0)?).await?;
    same(&found, &entry.canonicalized_body.0, &hex::encode(&entry.log_id.key_id.0), entry.integrated_time.0)?;
    proven(&found)
}

/// Version 0.3 carries one signature.
fn single_signature(bundle: &Bundle) -> Result<(), BundleToolError> {
    match bundle.content() {
        Ok(Content::Dsse(envelope)) if envelope.signatures.len() != 1 => {
            Err(BundleToolError::Missing("the envelope has several signatures, and a bundle of version 0.3 carries exactly one"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElHtLpl6fMPxlTtkgkeLamCrIr7OR\nQVT6fXe6gMc+evuA5j/LRfpZkcOVdsSG7DMM423nbxQgnj2bpa88PhjQOg==\n-----END PUBLIC KEY-----\n";
    const CERTIFICATE: &[u8] = include_bytes!("../../../testdata/fulcio/email.pem");
    const ENVELOPE: &[u8] = br#"{"payloadType":"t","payload":"e30=","signatures":[{"keyid":"","sig":"AQI="}]}"#;

    fn parts(inputs: Inputs<'_>) -> Result<Parts, BundleToolError> {
        Parts::read(Digest::sha256(b"hello\n"), inputs)
    }

    fn json(inputs: Inputs<'_>) -> serde_json::Value {
        let bundle = parts(inputs).unwrap().into_bundle(None);
        Bundle::from_json(&bundle.to_json()).unwrap();
        serde_json::to_value(bundle).unwrap()
    }

    #[test]
    fn signature_and_key() {
        let made = json(Inputs { signature: Some(b"AQ\nI=\n"), key: Some(KEY), ..Inputs::default() });
        assert_eq!(made["mediaType"], MEDIA_TYPE_V03);
        assert_eq!(made["messageSignature"]["signature"], "AQI=");
        assert_eq!(made["verificationMaterial"]["publicKey"]["hint"], "vL5aI/XN2CzkBhKH3TWUp5J0H5ahmBfgl5dGt9aKqaI=");
    }

    #[test]
    fn envelopes_from_every_place() {
        let inside = encoding::encode(ENVELOPE);
        let old = format!(r#"{{"base64Signature":"{inside}","cert":"{}"}}"#, encoding::encode(KEY));
        let all = [
            json(Inputs { attestation: Some(ENVELOPE), key: Some(KEY), ..Inputs::default() }),
            json(Inputs { signature: Some(inside.as_bytes()), key: Some(KEY), ..Inputs::default() }),
            json(Inputs { bundle: Some(old.as_bytes()), ..Inputs::default() }),
        ];
        assert_eq!(all[0]["dsseEnvelope"]["signatures"], serde_json::json!([{"sig": "AQI="}]));
        assert!(all.iter().all(|made| *made == all[0]), "{all:#?}");
    }

    #[test]
    fn a_certificate_wins_over_a_key() {
        let text = encoding::encode(CERTIFICATE);
        for certificate in [CERTIFICATE, text.as_bytes()] {
            let made =
                json(Inputs { signature: Some(b"AQI="), certificate: Some(certificate), key: Some(KEY), ..Inputs::default() });
            assert!(made["verificationMaterial"]["certificate"]["rawBytes"].is_string(), "{made}");
        }
    }

    #[test]
    fn timestamps_in_both_forms() {
        let der = include_bytes!("../../../testdata/wire/r.tsr");
        let wrapped = format!(r#"{{"SignedRFC3161Timestamp":"{}"}}"#, encoding::encode(der));
        let of = |timestamp| {
            json(Inputs { signature: Some(b"AQI="), key: Some(KEY), timestamp: Some(timestamp), ..Inputs::default() })
        };
        assert_eq!(of(der), of(wrapped.as_bytes()));
    }

    #[test]
    fn refuses_what_makes_no_bundle() {
        let signed = Inputs { signature: Some(b"AQI="), key: Some(KEY), ..Inputs::default() };
        assert!(parts(signed).is_ok());
        let two = String::from_utf8_lossy(ENVELOPE).replace("[{", r#"[{"sig":"AA=="},{"#);
        for bad in [
            Inputs { signature: None, ..signed },
            Inputs { key: None, ..signed },
            Inputs { signature: Some(b"*"), ..signed },
            Inputs { key: Some(CERTIFICATE), ..signed },
            Inputs { certificate: Some(KEY), ..signed },
            Inputs { attestation: Some(b"{}"), ..signed },
            Inputs { attestation: Some(two.as_bytes()), ..signed },
            Inputs { timestamp: Some(b"{}"), ..signed },
            Inputs { bundle: Some(b"x"), ..signed },
        ] {
            assert!(parts(bad).is_err(), "{bad:?}");
        }
    }
}
