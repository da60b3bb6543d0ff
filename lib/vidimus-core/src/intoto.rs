//! in-toto statements (in-toto attestation framework, Statement v0.1 and v1) and the names of predicate types.
//!
//! A statement is read for what it is about; its predicate stays the bytes that were signed. Writing embeds the predicate's bytes as
//! given: a predicate is never re-serialised, so unknown fields, large numbers and key order survive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Digest, ParseError, dsse, limits};

/// `_type` of v1 statements.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// `_type` of v0.1 statements, which cosign still writes.
pub const STATEMENT_V01: &str = "https://in-toto.io/Statement/v0.1";
/// The predicate type of an image signature in the bundle format.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// SLSA provenance v0.2.
pub const SLSA_V02: &str = "https://slsa.dev/provenance/v0.2";
/// SLSA provenance v1.
pub const SLSA_V1: &str = "https://slsa.dev/provenance/v1";

/// cosign's names for predicate types.
const PREDICATE_TYPES: [(&str, &str); 11] = [
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("link", "https://in-toto.io/Link/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("slsaprovenance", SLSA_V02),
    ("slsaprovenance02", SLSA_V02),
    ("slsaprovenance1", SLSA_V1),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("sign", COSIGN_SIGN),
];

/// The predicate type that a `--type` argument means: one of cosign's names, or any absolute URI as it is.
pub fn predicate_type(name: &str) -> Result<String, ParseError> {
    if let Some((_, uri)) = PREDICATE_TYPES.iter().find(|(short, _)| *short == name) {
        return Ok((*uri).to_owned());
    }
    // RFC 3986 §3: a scheme is a letter followed by letters, digits, '+', '-' or '.'.
    let scheme = name.split_once(':').map_or("", |(scheme, rest)| if rest.is_empty() { "" } else { scheme });
    let is_uri = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !name.contains(char::is_whitespace);
    if is_uri {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = PREDICATE_TYPES.iter().map(|(short, _)| *short).collect();
    Err(ParseError::new("predicate type", format_args!("{name:?} is neither a URI nor one of {}", names.join(", "))))
}

/// A statement without its predicate, which stays in the payload: it may be a hundred megabytes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// The version of the statement format: [`STATEMENT_V1`] or [`STATEMENT_V01`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// What it is about.
    #[serde(default)]
    pub subject: Vec<Subject>,
    /// What kind of property it states.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
}

impl Header {
    /// Reads a statement without keeping its predicate, and checks its limits.
    pub fn from_json(payload: &[u8]) -> Result<Self, ParseError> {
        limits::check_len("in-toto statement", payload.len(), limits::ATTESTATION_BYTES)?;
        let header: Self = serde_json::from_slice(payload).map_err(|e| ParseError::new("in-toto statement", e))?;
        check(&header.type_, &header.subject)?;
        Ok(header)
    }

    /// Reads the statement of an envelope, whose payload type must say that it is one.
    pub fn from_envelope(envelope: &dsse::Envelope) -> Result<Self, ParseError> {
        check_type(envelope)?;
        Self::from_json(&envelope.payload.0)
    }

    /// The digests of all subjects, by algorithm name.
    pub fn digests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.subject.iter().flat_map(|s| s.digest.iter().map(|(name, hex)| (name.as_str(), hex.as_str())))
    }

    /// The annotations of all subjects: what `cosign sign -a` wrote.
    pub fn annotations(&self) -> BTreeMap<&str, &serde_json::Value> {
        self.subject.iter().filter_map(|s| s.annotations.as_ref()).flatten().map(|(k, v)| (k.as_str(), v)).collect()
    }
}

/// The predicate's bytes in a statement's payload, as signed; `null` if there is none.
pub fn predicate_in(payload: &[u8]) -> Result<&str, ParseError> {
    #[derive(Deserialize)]
    struct Predicate<'a> {
        #[serde(borrow, default)]
        predicate: Option<&'a RawValue>,
    }
    let found: Predicate<'_> = serde_json::from_slice(payload).map_err(|e| ParseError::new("in-toto statement", e))?;
    Ok(found.predicate.map_or("null", RawValue::get))
}

/// Both versions are accepted; anything else is not a statement.
fn check(type_: &str, subjects: &[Subject]) -> Result<(), ParseError> {
    if type_ != STATEMENT_V1 && type_ != STATEMENT_V01 {
        return Err(ParseError::at("in-toto statement", "_type", format_args!("unknown type {type_:?}")));
    }
    limits::check_count("in-toto statement", "subject", subjects.len(), limits::SUBJECTS)?;
    for subject in subjects {
        limits::check_count("in-toto statement", "subject.digest", subject.digest.len(), limits::SUBJECT_DIGESTS)?;
    }
    Ok(())
}

fn check_type(envelope: &dsse::Envelope) -> Result<(), ParseError> {
    if envelope.payload_type != dsse::IN_TOTO_PAYLOAD {
        let why = format_args!("{:?} is not {:?}", envelope.payload_type, dsse::IN_TOTO_PAYLOAD).to_string();
        return Err(ParseError::at("in-toto statement", "payloadType", why));
    }
    Ok(())
}

/// What a statement says: some things (subjects) have some property (predicate).
#[derive(Debug, Clone, Deserialize)]
pub struct Statement {
    /// The version of the statement format: [`STATEMENT_V1`] or [`STATEMENT_V01`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// What it is about.
    #[serde(default)]
    pub subject: Vec<Subject>,
    /// What kind of property it states.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The property, as signed.
    #[serde(default)]
    pub predicate: Option<Box<RawValue>>,
}

/// Something that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Its name; may be absent in v1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its digests by algorithm name, in hex.
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
    /// Its annotations (v1); cosign keeps those of `sign -a` here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Statement {
    /// Reads a statement and checks its limits. Both versions are accepted; anything else is not a statement.
    pub fn from_json(payload: &[u8]) -> Result<Self, ParseError> {
        limits::check_len("in-toto statement", payload.len(), limits::ATTESTATION_BYTES)?;
        let statement: Self = serde_json::from_slice(payload).map_err(|e| ParseError::new("in-toto statement", e))?;
        check(&statement.type_, &statement.subject)?;
        Ok(statement)
    }

    /// Reads the statement of an envelope, whose payload type must say that it is one.
    pub fn from_envelope(envelope: &dsse::Envelope) -> Result<Self, ParseError> {
        check_type(envelope)?;
        Self::from_json(&envelope.payload.0)
    }

    /// Whether one of the subjects has this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.subject.iter().any(|s| s.digest.get(digest.algorithm().name()).is_some_and(|d| *d == hex))
    }

    /// The predicate's bytes as signed; `null` if there is none.
    pub fn predicate_json(&self) -> &str {
        self.predicate.as_deref().map_or("null", RawValue::get)
    }
}

/// The bytes of a v1 statement around a predicate that is embedded as it is.
///
/// `predicate` must be one JSON value; its bytes appear unchanged in the result.
pub fn statement_v1(subjects: &[Subject], predicate_type: &str, predicate: &[u8]) -> Result<Vec<u8>, ParseError> {
    let text = std::str::from_utf8(predicate).map_err(|e| ParseError::new("predicate", e))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|e| ParseError::new("predicate", e))?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct V1<'a> {
        #[serde(rename = "_type")]
        type_: &'a str,
        subject: &'a [Subject],
        predicate_type: &'a str,
        predicate: &'a RawValue,
    }
    let statement = V1 { type_: STATEMENT_V1, subject: subjects, predicate_type, predicate: raw };
    serde_json::to_vec(&statement).map_err(|e| ParseError::new("in-toto statement", e))
}

/// The payload of an image signature, byte for byte as cosign 3 writes it: the image's digest, annotations, an empty predicate.
pub fn cosign_sign_statement(
    image: &Digest,
    annotations: serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<u8>, ParseError> {
    let digest = BTreeMap::from([(image.algorithm().name().to_owned(), image.hex())]);
    let subject = Subject { name: String::new(), digest, annotations: Some(annotations) };
    statement_v1(&[subject], COSIGN_SIGN, b"{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject { name: "a".into(), digest: BTreeMap::from([("sha256".into(), Digest::sha256(b"x").hex())]), annotations: None }
    }

    #[test]
    fn predicate_bytes_survive() {
        let predicate = br#"{"z": 12345678901234567890, "a":[ ], "x":1.50}"#;
        let bytes = statement_v1(&[subject()], SLSA_V1, predicate).unwrap();
        let statement = Statement::from_json(&bytes).unwrap();
        assert_eq!(statement.predicate_json().as_bytes(), predicate);
        assert!(statement.is_about(&Digest::sha256(b"x")));
        assert!(!statement.is_about(&Digest::sha256(b"y")));
    }

    #[test]
    fn cosign_shape() {
        let bytes = cosign_sign_statement(&Digest::sha256(b""), serde_json::Map::new()).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"annotations":{}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}"#
        );
    }

    #[test]
    fn refuses_other_documents() {
        assert!(statement_v1(&[], SLSA_V1, b"{} {}").is_err());
        assert!(statement_v1(&[], SLSA_V1, b"").is_err());
        assert!(Statement::from_json(br#"{"_type":"x","predicateType":"y"}"#).is_err());
        let many = vec![subject(); limits::SUBJECTS + 1];
        assert!(Statement::from_json(&statement_v1(&many, SLSA_V1, b"{}").unwrap()).is_err());
    }

    #[test]
    fn names_of_predicate_types() {
        assert_eq!(predicate_type("slsaprovenance").unwrap(), SLSA_V02);
        assert_eq!(predicate_type("https://example.com/x").unwrap(), "https://example.com/x");
        assert!(predicate_type("slsa").is_err());
        assert!(predicate_type("a b:c").is_err());
    }
}
