//! Entries of Rekor logs: their canonical bodies (read and built), what is posted to make them, and what a Rekor v1 server answers.
//!
//! A body is the JCS form (RFC 8785) of `{apiVersion, kind, spec}`, and the leaf of the log's tree. Bodies of Rekor v1 carry keys and
//! certificates as base64 of PEM, those of Rekor v2 as base64 of DER. Verifiers always hash the stored bytes, never a
//! re-serialisation.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    Algorithm, Digest, ParseError,
    bundle::{CheckpointEnvelope, InclusionPromise, InclusionProof, Int64, KindVersion, LogId, TlogEntry},
    dsse::Envelope,
    encoding::{self, Base64},
    jcs,
};

/// An entry: `{apiVersion, kind, spec}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<S> {
    /// The version of the kind.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The kind's own content.
    pub spec: S,
}

impl<S: Serialize> Entry<S> {
    /// The canonical bytes.
    pub fn canonical(&self) -> Vec<u8> {
        jcs::canonical(self).expect("entries have string keys and finite numbers")
    }
}

/// A body that we understand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// `hashedrekord` 0.0.1
    HashedRekordV001(HashedRekordV001),
    /// `hashedrekord` 0.0.2 (Rekor v2)
    HashedRekordV002(HashedRekordV002),
    /// `dsse` 0.0.1
    DsseV001(DsseV001),
    /// `intoto` 0.0.1
    IntotoV001(IntotoV001),
    /// `intoto` 0.0.2
    IntotoV002(IntotoV002),
}

impl Body {
    /// Reads a canonical body.
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(body).map_err(|e| ParseError::new("log entry", e))?;
        let head = Head::of_canonical(text).map_or_else(|| Head::of_any(text), Ok)?;
        match (&*head.kind, &*head.api_version) {
            ("hashedrekord", "0.0.1") => head.spec(text).map(Self::HashedRekordV001),
            ("hashedrekord", "0.0.2") => head.spec(text).map(Self::HashedRekordV002),
            ("dsse", "0.0.1") => head.spec(text).map(Self::DsseV001),
            ("intoto", "0.0.1") => head.spec(text).map(Self::IntotoV001),
            ("intoto", "0.0.2") => head.spec(text).map(Self::IntotoV002),
            (kind, version) => {
                Err(ParseError::at("log entry", "kind", format_args!("{kind} {version} is not a kind that we verify")))
            }
        }
    }

    /// Kind and version, as a bundle names them.
    pub fn kind_version(&self) -> KindVersion {
        let (kind, version) = match self {
            Self::HashedRekordV001(_) => ("hashedrekord", "0.0.1"),
            Self::HashedRekordV002(_) => ("hashedrekord", "0.0.2"),
            Self::DsseV001(_) => ("dsse", "0.0.1"),
            Self::IntotoV001(_) => ("intoto", "0.0.1"),
            Self::IntotoV002(_) => ("intoto", "0.0.2"),
        };
        KindVersion { kind: kind.to_owned(), version: version.to_owned() }
    }
}

/// What kind of entry a body is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl<'a> Head<'a> {
    /// Canonical JSON has its members in order, so that the kind is known before the body is read.
    fn of_canonical(body: &'a str) -> Option<Self> {
        let (api_version, rest) = body.strip_prefix(r#"{"apiVersion":""#)?.split_once('"')?;
        let (kind, rest) = rest.strip_prefix(r#","kind":""#)?.split_once('"')?;
        rest.starts_with(r#","spec":"#).then_some(Self { api_version: api_version.into(), kind: kind.into() })
    }

    fn of_any(body: &'a str) -> Result<Self, ParseError> {
        serde_json::from_str(body).map_err(|e| ParseError::new("log entry", e))
    }

    /// The body's content, in the form of this kind.
    fn spec<S: serde::de::DeserializeOwned>(&self, body: &str) -> Result<S, ParseError> {
        let err = |e: &dyn fmt::Display| ParseError::at("log entry", "spec", e);
        let entry: Entry<S> = serde_json::from_str(body).map_err(|e| err(&e))?;
        if entry.kind != self.kind || entry.api_version != self.api_version {
            return Err(err(&"kind or version in a form that is not canonical"));
        }
        Ok(entry.spec)
    }
}

fn entry<S>(kind: &str, version: &str, spec: S) -> Entry<S> {
    Entry { api_version: version.to_owned(), kind: kind.to_owned(), spec }
}

/// A digest as Rekor v1 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HexHash {
    /// `sha256`, `sha384`, `sha512`.
    pub algorithm: String,
    /// Lower-case hex.
    pub value: String,
}

impl HexHash {
    /// A digest in this form.
    pub fn of(digest: &Digest) -> Self {
        Self { algorithm: digest.algorithm().name().to_owned(), value: digest.hex() }
    }

    /// The digest that this says.
    pub fn to_digest(&self) -> Result<Digest, ParseError> {
        let bytes = hex::decode(&self.value).map_err(|e| ParseError::at("log entry", "hash", e))?;
        Digest::new(self.algorithm.parse::<Algorithm>()?, bytes)
    }
}

/// `hashedrekord` 0.0.1: the same in request and body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedRekordV001 {
    /// What was signed.
    pub data: HashedData,
    /// By whom.
    pub signature: HashedSignature,
}

/// The signed artifact's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedData {
    /// The digest.
    pub hash: HexHash,
}

/// Signature and key of a `hashedrekord` 0.0.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashedSignature {
    /// The signature.
    pub content: Base64,
    /// The key or certificate.
    pub public_key: PemContent,
}

/// A PEM text under base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PemContent {
    /// The PEM text.
    pub content: Base64,
}

impl HashedRekordV001 {
    /// The entry for a signature over `digest` by the key or certificate in `pem`.
    pub fn new(digest: &Digest, signature: &[u8], pem: &str) -> Entry<Self> {
        let signature = HashedSignature { content: signature.into(), public_key: PemContent { content: pem.as_bytes().into() } };
        entry("hashedrekord", "0.0.1", Self { data: HashedData { hash: HexHash::of(digest) }, signature })
    }
}

/// `dsse` 0.0.1, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DsseV001 {
    /// SHA-256 of the envelope as the very text that was posted. A verifier cannot recompute it from a bundle.
    pub envelope_hash: HexHash,
    /// SHA-256 of the payload.
    pub payload_hash: HexHash,
    /// The signatures, sorted by signature text.
    pub signatures: Vec<DsseSignature>,
}

/// A signature of a `dsse` 0.0.1 entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DsseSignature {
    /// The base64 text of the envelope's signature.
    pub signature: String,
    /// The key or certificate: PEM under base64.
    pub verifier: Base64,
}

impl DsseV001 {
    /// The stored entry for an envelope that was posted as `envelope_json`, with one verifier for each of its signatures.
    pub fn new(envelope_json: &[u8], payload: &[u8], mut signatures: Vec<DsseSignature>) -> Entry<Self> {
        signatures.sort();
        let spec = Self {
            envelope_hash: HexHash::of(&Digest::sha256(envelope_json)),
            payload_hash: HexHash::of(&Digest::sha256(payload)),
            signatures,
        };
        entry("dsse", "0.0.1", spec)
    }
}

/// `dsse` 0.0.1, as posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DsseProposal {
    /// The envelope and its keys.
    pub proposed_content: DsseProposedContent,
}

/// Envelope and keys of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DsseProposedContent {
    /// The envelope's JSON, as a string.
    pub envelope: String,
    /// Keys or certificates: PEM under base64.
    pub verifiers: Vec<Base64>,
}

impl DsseProposal {
    /// The proposal for an envelope signed by the key or certificate in `pem`.
    pub fn new(envelope: &Envelope, pem: &str) -> Entry<Self> {
        let envelope = serde_json::to_string(envelope).expect("an envelope has string keys");
        let proposed_content = DsseProposedContent { envelope, verifiers: vec![pem.as_bytes().into()] };
        entry("dsse", "0.0.1", Self { proposed_content })
    }
}

/// `intoto` 0.0.1, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntotoV001 {
    /// Digests of envelope and payload.
    pub content: IntotoV001Content,
    /// The key or certificate: PEM under base64.
    pub public_key: Base64,
}

/// Digests of an `intoto` 0.0.1 entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntotoV001Content {
    /// SHA-256 of the envelope's text as posted.
    pub hash: HexHash,
    /// SHA-256 of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<HexHash>,
}

/// `intoto` 0.0.2, as stored: the envelope without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntotoV002 {
    /// Envelope and digests.
    pub content: IntotoV002Content,
}

/// Envelope and digests of an `intoto` 0.0.2 entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntotoV002Content {
    /// The envelope.
    pub envelope: IntotoV002Envelope,
    /// SHA-256 of the envelope's canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HexHash>,
    /// SHA-256 of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<HexHash>,
}

/// The envelope of an `intoto` 0.0.2 entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntotoV002Envelope {
    /// The payload: base64 text under base64. Posted, not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Base64>,
    /// The payload's type.
    pub payload_type: String,
    /// The signatures.
    pub signatures: Vec<IntotoV002Signature>,
}

/// A signature of an `intoto` 0.0.2 entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntotoV002Signature {
    /// The key's hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyid: Option<String>,
    /// The key or certificate: PEM under base64.
    pub public_key: Base64,
    /// The signature: base64 text under base64.
    pub sig: Base64,
}

impl IntotoV002Signature {
    /// The signature's bytes, from under both layers of base64.
    pub fn signature(&self) -> Result<Vec<u8>, ParseError> {
        encoding::decode(&self.sig.0)
    }
}

/// `hashedrekord` 0.0.2 (Rekor v2), as stored. For a DSSE envelope the digest is that of its pre-authentication encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedRekordV002 {
    /// The only member.
    #[serde(rename = "hashedRekordV002")]
    pub content: HashedRekordV002Content,
}

/// Data and signature of a `hashedrekord` 0.0.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedRekordV002Content {
    /// What was signed.
    pub data: crate::bundle::HashOutput,
    /// By whom.
    pub signature: SignatureV002,
}

/// Signature and key of a Rekor v2 entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureV002 {
    /// The signature.
    pub content: Base64,
    /// The key or certificate.
    pub verifier: Verifier,
}

/// A key or certificate in DER, with the name that protobuf-specs give its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verifier {
    /// `PKIX_ECDSA_P256_SHA_256` and so on.
    pub key_details: String,
    /// A SubjectPublicKeyInfo; exclusive with the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<RawBytes>,
    /// A certificate; exclusive with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_certificate: Option<RawBytes>,
}

/// DER under base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawBytes {
    /// The DER.
    pub raw_bytes: Base64,
}

impl HashedRekordV002 {
    /// The stored entry.
    pub fn new(digest: &Digest, signature: &[u8], verifier: Verifier) -> Entry<Self> {
        let signature = SignatureV002 { content: signature.into(), verifier };
        let content = HashedRekordV002Content { data: crate::bundle::HashOutput::of(digest), signature };
        entry("hashedrekord", "0.0.2", Self { content })
    }
}

/// What is posted to a Rekor v2 log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CreateEntryV2 {
    /// A signature over a digest.
    #[serde(rename = "hashedRekordRequestV002")]
    HashedRekord {
        /// The digest.
        digest: Base64,
        /// Signature and key.
        signature: SignatureV002,
    },
    /// A DSSE envelope: sigstore-js still posts these.
    #[serde(rename = "dsseRequestV002")]
    Dsse {
        /// The envelope.
        envelope: Envelope,
        /// Keys or certificates.
        verifiers: Vec<Verifier>,
    },
}

/// A Rekor v1 answer: entries by their UUID.
pub type LogEntriesV1 = BTreeMap<String, LogEntryV1>;

/// An entry as a Rekor v1 server gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntryV1 {
    /// The canonical body.
    pub body: Base64,
    /// Seconds since 1970.
    pub integrated_time: i64,
    /// The log id in hex.
    #[serde(rename = "logID")]
    pub log_id: String,
    /// The index over all shards.
    pub log_index: i64,
    /// Proofs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationV1>,
}

/// Proofs of a Rekor v1 entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationV1 {
    /// The inclusion proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion_proof: Option<InclusionProofV1>,
    /// The promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_entry_timestamp: Option<Base64>,
}

/// An inclusion proof, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InclusionProofV1 {
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The path, from the leaf up.
    pub hashes: Vec<String>,
    /// The index in this shard's tree.
    pub log_index: i64,
    /// The tree's root.
    pub root_hash: String,
    /// The tree's size.
    pub tree_size: i64,
}

impl LogEntryV1 {
    /// The entry as a bundle carries it.
    pub fn to_tlog_entry(&self) -> Result<TlogEntry, ParseError> {
        let unhex = |at: &'static str, text: &str| hex::decode(text).map_err(|e| ParseError::at("Rekor entry", at, e));
        let verification = self.verification.as_ref();
        let proof = verification.and_then(|v| v.inclusion_proof.as_ref());
        let inclusion_proof = match proof {
            None => None,
            Some(proof) => Some(InclusionProof {
                log_index: Int64(proof.log_index),
                root_hash: unhex("rootHash", &proof.root_hash)?.into(),
                tree_size: Int64(proof.tree_size),
                hashes: proof.hashes.iter().map(|h| unhex("hashes", h).map(Base64)).collect::<Result<_, _>>()?,
                checkpoint: Some(CheckpointEnvelope { envelope: proof.checkpoint.clone() }),
            }),
        };
        let promise = verification.and_then(|v| v.signed_entry_timestamp.clone());
        Ok(TlogEntry {
            log_index: Int64(self.log_index),
            log_id: LogId { key_id: unhex("logID", &self.log_id)?.into() },
            kind_version: Body::parse(&self.body.0)?.kind_version(),
            integrated_time: Int64(self.integrated_time),
            inclusion_promise: promise.map(|signed_entry_timestamp| InclusionPromise { signed_entry_timestamp }),
            inclusion_proof,
            canonicalized_body: self.body.clone(),
        })
    }
}

/// The bytes that a signed entry timestamp is over: JCS of body, time, log id and index.
pub fn promise_payload(body: &[u8], integrated_time: i64, log_id: &[u8], log_index: i64) -> Vec<u8> {
    // Written by hand because it is on the hot path of every verification; the test compares it with RFC 8785 proper.
    let (body, log_id) = (encoding::encode(body), hex::encode(log_id));
    format!(r#"{{"body":"{body}","integratedTime":{integrated_time},"logID":"{log_id}","logIndex":{log_index}}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;

    #[test]
    fn bodies_of_real_entries_are_canonical() {
        for json in [
            &include_bytes!("../../../testdata/wire/bundle-a.v1.json")[..],
            include_bytes!("../../../testdata/wire/bundle-a.v2.json"),
            include_bytes!("../../../testdata/wire/bundle-js.sign.json"),
        ] {
            let bundle = Bundle::from_json(json).unwrap();
            let tlog = &bundle.verification_material.tlog_entries[0];
            let bytes = &tlog.canonicalized_body.0;
            let body = Body::parse(bytes).unwrap();
            assert_eq!(body.kind_version(), tlog.kind_version);
            let rebuilt = match body {
                Body::HashedRekordV001(s) => entry("hashedrekord", "0.0.1", s).canonical(),
                Body::HashedRekordV002(s) => entry("hashedrekord", "0.0.2", s).canonical(),
                Body::DsseV001(s) => entry("dsse", "0.0.1", s).canonical(),
                Body::IntotoV001(s) => entry("intoto", "0.0.1", s).canonical(),
                Body::IntotoV002(s) => entry("intoto", "0.0.2", s).canonical(),
            };
            assert_eq!(String::from_utf8_lossy(&rebuilt), String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn unknown_kinds_are_named() {
        let error = Body::parse(br#"{"apiVersion":"0.0.1","kind":"rekord","spec":{}}"#).unwrap_err();
        assert!(error.why.contains("rekord 0.0.1"), "{error}");
        assert!(Body::parse(br#"{"apiVersion":"0.0.1","kind":"dsse","spec":{}}"#).is_err());
    }

    #[test]
    fn bodies_in_another_order_are_read_as_well() {
        let bundle = Bundle::from_json(include_bytes!("../../../testdata/wire/bundle-a.v1.json")).unwrap();
        let canonical = &bundle.verification_material.tlog_entries[0].canonicalized_body.0;
        let text = std::str::from_utf8(canonical).unwrap();
        let kind = r#""kind":"hashedrekord","#;
        assert!(text.contains(kind));
        let other = text.replace(kind, "").replacen('{', &format!("{{ {kind}"), 1);
        assert_eq!(Body::parse(other.as_bytes()).unwrap(), Body::parse(canonical).unwrap());
        for twice in [text.replacen(kind, &format!("{kind}{kind}"), 1), text.replacen('{', r#"{"apiVersion":"0.0.2","#, 1)] {
            assert!(Body::parse(twice.as_bytes()).is_err(), "{twice}");
        }
    }

    #[test]
    fn promise_payload_is_jcs() {
        let value = serde_json::json!({
            "body": encoding::encode(b"body?>"), "integratedTime": 1_795_294_022, "logID": "00ff", "logIndex": 20,
        });
        assert_eq!(promise_payload(b"body?>", 1_795_294_022, &[0, 255], 20), jcs::canonical(&value).unwrap());
    }
}
