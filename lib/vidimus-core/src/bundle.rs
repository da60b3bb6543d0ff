//! Sigstore bundles, versions 0.1 to 0.3 (protobuf-specs `sigstore_bundle.proto`, in its JSON form).
//!
//! Read as leniently as protobuf's JSON mapping says (64-bit integers as strings or numbers, snake_case names, absent fields, any form
//! of base64) and as strictly (no unknown members), written as cosign 3 writes. What a version *requires* of a bundle is checked by the verifier, which can say why.

use std::fmt;

use serde::{Deserialize, Serialize, de};

use crate::{
    Algorithm, Digest, ParseError,
    dsse::Envelope,
    encoding::Base64,
    limits,
    protobuf::{self, Unknown},
};

/// The media type of bundles that are written today; also the artifact type of bundle referrers.
pub const MEDIA_TYPE_V03: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A bundle's version, from its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// `application/vnd.dev.sigstore.bundle+json;version=0.1`
    #[serde(rename = "0.1")]
    V01,
    /// `application/vnd.dev.sigstore.bundle+json;version=0.2`
    #[serde(rename = "0.2")]
    V02,
    /// `application/vnd.dev.sigstore.bundle.v0.3+json`, or the older spelling with `;version=0.3`
    #[serde(rename = "0.3")]
    V03,
}

impl Version {
    /// The version that a media type names.
    pub fn from_media_type(media_type: &str) -> Result<Self, ParseError> {
        match media_type {
            "application/vnd.dev.sigstore.bundle+json;version=0.1" => Ok(Self::V01),
            "application/vnd.dev.sigstore.bundle+json;version=0.2" => Ok(Self::V02),
            MEDIA_TYPE_V03 | "application/vnd.dev.sigstore.bundle+json;version=0.3" => Ok(Self::V03),
            other => Err(ParseError::at("bundle", "mediaType", format_args!("{other:?} is not a known bundle type"))),
        }
    }

    /// Whether a media type, as found on a registry's layer or artifact type, says "Sigstore bundle" of whatever version.
    pub fn is_bundle_media_type(media_type: &str) -> bool {
        media_type.starts_with("application/vnd.dev.sigstore.bundle")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V01 => "0.1",
            Self::V02 => "0.2",
            Self::V03 => "0.3",
        })
    }
}

/// A signature with everything needed to verify it offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// Names the version, see [`Bundle::version`].
    #[serde(alias = "media_type")]
    pub media_type: String,
    /// Who signed and when.
    #[serde(alias = "verification_material")]
    pub verification_material: VerificationMaterial,
    /// A signature over an artifact; exclusive with `dsse_envelope`.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "message_signature")]
    pub message_signature: Option<MessageSignature>,
    /// A signed statement; exclusive with `message_signature`.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "dsse_envelope")]
    pub dsse_envelope: Option<Envelope>,
}

/// What was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A signature over an artifact.
    Message(&'a MessageSignature),
    /// A signed envelope.
    Dsse(&'a Envelope),
}

/// The signer's certificate or key, log entries and timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationMaterial {
    /// A key that the verifier must already have.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "public_key")]
    pub public_key: Option<PublicKeyIdentifier>,
    /// Leaf first, then intermediates (versions 0.1 and 0.2).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "x509_certificate_chain")]
    pub x509_certificate_chain: Option<CertificateChain>,
    /// The leaf alone (version 0.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Entries of transparency logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty", alias = "tlog_entries", deserialize_with = "null_is_empty")]
    pub tlog_entries: Vec<TlogEntry>,
    /// Signed timestamps.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "timestamp_verification_data")]
    pub timestamp_verification_data: Option<TimestampVerificationData>,
}

/// The signer, as the bundle names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer<'a> {
    /// A managed key, with its hint.
    PublicKey(&'a str),
    /// Certificates in DER, leaf first; never empty.
    Certificates(Vec<&'a [u8]>),
}

/// A hint at a managed key: base64 of the SHA-256 of its SubjectPublicKeyInfo, as cosign writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PublicKeyIdentifier {
    /// The hint; unauthenticated.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// Certificates in DER, leaf first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CertificateChain {
    /// Leaf first.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

/// A certificate in DER.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The DER.
    #[serde(alias = "raw_bytes")]
    pub raw_bytes: Base64,
}

/// Signed timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimestampVerificationData {
    /// RFC 3161 responses.
    #[serde(default, alias = "rfc3161_timestamps", deserialize_with = "null_is_empty")]
    pub rfc3161_timestamps: Vec<Rfc3161Timestamp>,
}

/// An RFC 3161 TimeStampResp in DER.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rfc3161Timestamp {
    /// The DER.
    #[serde(alias = "signed_timestamp")]
    pub signed_timestamp: Base64,
}

/// A signature over an artifact that is not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSignature {
    /// The artifact's digest; a hint, to be compared with the artifact itself.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "message_digest")]
    pub message_digest: Option<HashOutput>,
    /// The signature.
    pub signature: Base64,
}

/// A digest with the name that protobuf-specs give its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashOutput {
    /// `SHA2_256`, `SHA2_384`, `SHA2_512`.
    #[serde(default)]
    pub algorithm: String,
    /// The digest.
    #[serde(default)]
    pub digest: Base64,
}

/// An entry of a transparency log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlogEntry {
    /// The index in the log as a whole (all shards). Absent means 0.
    #[serde(default, alias = "log_index")]
    pub log_index: Int64,
    /// Which log.
    #[serde(alias = "log_id")]
    pub log_id: LogId,
    /// What kind of entry.
    #[serde(alias = "kind_version")]
    pub kind_version: KindVersion,
    /// Seconds since 1970, as a Rekor v1 log noted them; 0 in Rekor v2. Only the promise authenticates it.
    #[serde(default, alias = "integrated_time", skip_serializing_if = "Int64::is_zero")]
    pub integrated_time: Int64,
    /// The log's signed promise (Rekor v1).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "inclusion_promise")]
    pub inclusion_promise: Option<InclusionPromise>,
    /// The proof that the entry is in the tree.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "inclusion_proof")]
    pub inclusion_proof: Option<InclusionProof>,
    /// The entry: the leaf of the tree.
    #[serde(default, alias = "canonicalized_body")]
    pub canonicalized_body: Base64,
}

/// The id of a log: see [`crate::checkpoint`] for how it follows from the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogId {
    /// 32 bytes.
    #[serde(alias = "key_id")]
    pub key_id: Base64,
}

impl LogId {
    pub(crate) fn is_empty(&self) -> bool {
        self.key_id.0.is_empty()
    }
}

/// Kind and version of a log entry: `hashedrekord` `0.0.1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindVersion {
    /// The kind.
    pub kind: String,
    /// Its version.
    pub version: String,
}

/// The log's signature over entry, time, log id and index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InclusionPromise {
    /// ASN.1 DER ECDSA.
    #[serde(alias = "signed_entry_timestamp")]
    pub signed_entry_timestamp: Base64,
}

/// An inclusion proof against a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InclusionProof {
    /// The index in this tree. Absent means 0.
    #[serde(default, alias = "log_index")]
    pub log_index: Int64,
    /// The tree's root.
    #[serde(default, alias = "root_hash")]
    pub root_hash: Base64,
    /// The tree's size.
    #[serde(default, alias = "tree_size")]
    pub tree_size: Int64,
    /// The path, from the leaf up.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub hashes: Vec<Base64>,
    /// The signed checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointEnvelope>,
}

/// A signed note, see [`crate::checkpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointEnvelope {
    /// The note.
    pub envelope: String,
}

impl Bundle {
    /// A version 0.3 bundle.
    pub fn v03(verification_material: VerificationMaterial, content: OwnedContent) -> Self {
        let (message_signature, dsse_envelope) = match content {
            OwnedContent::Message(message) => (Some(message), None),
            OwnedContent::Dsse(envelope) => (None, Some(envelope)),
        };
        Self { media_type: MEDIA_TYPE_V03.to_owned(), verification_material, message_signature, dsse_envelope }
    }

    /// Reads a bundle and checks its limits and that it has one content and one signer.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        limits::check_len("bundle", json.len(), limits::ATTESTATION_BYTES)?;
        let bundle: Self = protobuf::read("bundle", json, Unknown::Refused)?;
        bundle.check()?;
        Ok(bundle)
    }

    /// The bundle as JSON, on one line.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a bundle has string keys and no failing serialiser")
    }

    /// The version.
    pub fn version(&self) -> Result<Version, ParseError> {
        Version::from_media_type(&self.media_type)
    }

    /// What was signed.
    pub fn content(&self) -> Result<Content<'_>, ParseError> {
        match (&self.message_signature, &self.dsse_envelope) {
            (Some(message), None) => Ok(Content::Message(message)),
            (None, Some(envelope)) => Ok(Content::Dsse(envelope)),
            (None, None) => Err(ParseError::new("bundle", "neither messageSignature nor dsseEnvelope")),
            (Some(_), Some(_)) => Err(ParseError::new("bundle", "both messageSignature and dsseEnvelope")),
        }
    }

    /// The RFC 3161 timestamps in DER.
    pub fn timestamps(&self) -> impl Iterator<Item = &[u8]> {
        self.verification_material
            .timestamp_verification_data
            .iter()
            .flat_map(|data| data.rfc3161_timestamps.iter().map(|t| t.signed_timestamp.as_bytes()))
    }

    fn check(&self) -> Result<(), ParseError> {
        self.version()?;
        if let Content::Dsse(envelope) = self.content()? {
            envelope.check()?;
        }
        self.verification_material.signer()?;
        let entries = self.verification_material.tlog_entries.len();
        limits::check_count("bundle", "tlogEntries", entries, limits::BUNDLE_EVIDENCE)?;
        limits::check_count("bundle", "rfc3161Timestamps", self.timestamps().count(), limits::BUNDLE_EVIDENCE)?;
        for entry in &self.verification_material.tlog_entries {
            let hashes = entry.inclusion_proof.as_ref().map_or(0, |p| p.hashes.len());
            limits::check_count("bundle", "inclusionProof.hashes", hashes, limits::PROOF_HASHES)?;
        }
        Ok(())
    }
}

/// What a new bundle is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedContent {
    /// A signature over an artifact.
    Message(MessageSignature),
    /// A signed envelope.
    Dsse(Envelope),
}

impl VerificationMaterial {
    /// The signer: exactly one of the three forms.
    pub fn signer(&self) -> Result<Signer<'_>, ParseError> {
        let err = |why: &str| ParseError::at("bundle", "verificationMaterial", why);
        match (&self.public_key, &self.x509_certificate_chain, &self.certificate) {
            (Some(key), None, None) => Ok(Signer::PublicKey(&key.hint)),
            (None, Some(chain), None) if chain.certificates.is_empty() => Err(err("an empty certificate chain")),
            (None, Some(chain), None) => {
                limits::check_count("bundle", "x509CertificateChain", chain.certificates.len(), limits::CHAIN)?;
                Ok(Signer::Certificates(chain.certificates.iter().map(|c| c.raw_bytes.as_bytes()).collect()))
            }
            (None, None, Some(leaf)) => Ok(Signer::Certificates(vec![leaf.raw_bytes.as_bytes()])),
            (None, None, None) => Err(err("no certificate and no public key")),
            _ => Err(err("more than one of certificate, x509CertificateChain and publicKey")),
        }
    }
}

impl HashOutput {
    /// A digest in this form.
    pub fn of(digest: &Digest) -> Self {
        let algorithm = match digest.algorithm() {
            Algorithm::Sha256 => "SHA2_256",
            Algorithm::Sha384 => "SHA2_384",
            Algorithm::Sha512 => "SHA2_512",
        };
        Self { algorithm: algorithm.to_owned(), digest: digest.bytes().into() }
    }

    /// The digest that this says.
    pub fn to_digest(&self) -> Result<Digest, ParseError> {
        let algorithm = match self.algorithm.as_str() {
            "SHA2_256" => Algorithm::Sha256,
            "SHA2_384" => Algorithm::Sha384,
            "SHA2_512" => Algorithm::Sha512,
            other => return Err(ParseError::at("bundle", "messageDigest.algorithm", format_args!("unknown: {other:?}"))),
        };
        Digest::new(algorithm, self.digest.0.clone())
    }
}

/// A 64-bit integer: a string in protobuf's JSON, a number in other writers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Int64(pub i64);

impl Int64 {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The value as an index or size, which cannot be negative.
    pub fn to_u64(self) -> Result<u64, ParseError> {
        u64::try_from(self.0).map_err(|_| ParseError::new("index", format_args!("{} is negative", self.0)))
    }
}

impl From<i64> for Int64 {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

impl fmt::Display for Int64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Int64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Int64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit integer, as a string or a number")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Int64, E> {
                Ok(Int64(v))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Int64, E> {
                i64::try_from(v).map(Int64).map_err(E::custom)
            }
            /// `null`, which protobuf's JSON has for what is not there.
            fn visit_unit<E: de::Error>(self) -> Result<Int64, E> {
                Ok(Int64(0))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Int64, E> {
                v.parse().map(Int64).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = include_bytes!("../../../testdata/wire/bundle-a.v1.json");
    const V2: &[u8] = include_bytes!("../../../testdata/wire/bundle-a.v2.json");
    const JS: &[u8] = include_bytes!("../../../testdata/wire/bundle-js.sign.json");

    #[test]
    fn reads_and_rewrites_real_bundles() {
        for (json, version) in [(V1, Version::V03), (V2, Version::V03), (JS, Version::V02)] {
            let bundle = Bundle::from_json(json).unwrap();
            assert_eq!(bundle.version().unwrap(), version);
            assert_eq!(Bundle::from_json(&bundle.to_json()).unwrap(), bundle);
        }
        // cosign's own bytes come out again.
        assert_eq!(Bundle::from_json(V2).unwrap().to_json(), V2.trim_ascii_end());
    }

    fn change(edit: impl Fn(&mut serde_json::Value)) -> Result<Bundle, ParseError> {
        let mut value: serde_json::Value = serde_json::from_slice(V1).unwrap();
        edit(&mut value);
        Bundle::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn refuses_ambiguity_and_absence() {
        assert!(change(|_| ()).is_ok());
        assert!(change(|v| v["mediaType"] = "x".into()).is_err());
        assert!(
            change(|v| v["dsseEnvelope"] = serde_json::json!({"payload":"", "payloadType":"", "signatures":[{"sig":""}]}))
                .is_err()
        );
        assert!(change(|v| drop(v.as_object_mut().unwrap().remove("messageSignature"))).is_err());
        assert!(change(|v| v["verificationMaterial"]["publicKey"] = serde_json::json!({})).is_err());
        assert!(change(|v| drop(v["verificationMaterial"].as_object_mut().unwrap().remove("certificate"))).is_err());
        let many = |v: &mut serde_json::Value| {
            let entry = v["verificationMaterial"]["tlogEntries"][0].clone();
            v["verificationMaterial"]["tlogEntries"] = vec![entry; limits::BUNDLE_EVIDENCE + 1].into();
        };
        assert!(change(many).is_err());
    }

    #[test]
    fn what_protobufs_json_allows_and_what_not() {
        let entry = |v: &mut serde_json::Value| v["verificationMaterial"]["tlogEntries"][0].take();
        let set = |name: &'static str, new: serde_json::Value| {
            change(move |v| {
                let mut e = entry(v);
                e[name] = new.clone();
                v["verificationMaterial"]["tlogEntries"][0] = e;
            })
        };
        let plain = change(|_| ()).unwrap();
        let safe = |text: &str| text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
        let url_safe =
            change(|v| v["messageSignature"]["signature"] = safe(v["messageSignature"]["signature"].as_str().unwrap()).into());
        assert_eq!(url_safe.unwrap(), plain);
        assert_eq!(
            set("inclusionPromise", serde_json::Value::Null).unwrap().verification_material.tlog_entries[0].inclusion_promise,
            None
        );
        assert!(set("unheardOf", 1.into()).unwrap_err().why.contains("not known"));
        assert!(set("logId", serde_json::json!(["AA=="])).is_err(), "a list is no message");
    }

    #[test]
    fn absent_and_numeric_indexes() {
        let entry = |v: &mut serde_json::Value| v["verificationMaterial"]["tlogEntries"][0].clone();
        let absent = change(|v| {
            let mut e = entry(v);
            e.as_object_mut().unwrap().remove("logIndex");
            v["verificationMaterial"]["tlogEntries"][0] = e;
        });
        assert_eq!(absent.unwrap().verification_material.tlog_entries[0].log_index, Int64(0));
        let numeric = change(|v| v["verificationMaterial"]["tlogEntries"][0]["logIndex"] = 7.into());
        assert_eq!(numeric.unwrap().verification_material.tlog_entries[0].log_index, Int64(7));
    }
}
