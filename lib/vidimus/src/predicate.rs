//! Predicate types by the short names that `--type` takes, and predicates as they are given.
//!
//! The bytes of a predicate are kept exactly as the user wrote them: they become part of the signed statement unread, except
//! that they must be one JSON value and, for SLSA provenance, must have the shape that the type promises. The type `custom` alone has
//! a shape that is made here.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use vidimus_core::intoto;

use crate::slsa::{self, SyntaxError};

/// A predicate type: a URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PredicateType(String);

impl PredicateType {
    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PredicateType {
    fn default() -> Self {
        Self(intoto::predicate_type("custom").expect("core knows cosign's default type; a test reads it"))
    }
}

impl fmt::Display for PredicateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PredicateType {
    type Err = PredicateError;

    fn from_str(text: &str) -> Result<Self, PredicateError> {
        intoto::predicate_type(text).map(Self).map_err(|e| PredicateError::UnknownType { why: e.why })
    }
}

/// A predicate as the user gave it.
#[derive(Debug, Clone)]
pub struct Predicate {
    /// Its type.
    pub predicate_type: PredicateType,
    /// Its JSON, byte for byte (surrounding white space aside).
    pub json: Box<RawValue>,
}

/// The predicate of the type `custom`, as cosign makes it around whatever it is given.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Custom<'a> {
    data: &'a str,
    timestamp: String,
}

impl Predicate {
    /// The predicate for a file that somebody attests. The type `custom` is cosign's: its predicate holds the file's text, of any form,
    /// and when that was. Of every other type, the file is the predicate.
    pub fn of_file(predicate_type: PredicateType, bytes: &[u8], at: Timestamp) -> Result<Self, PredicateError> {
        if predicate_type != PredicateType::default() {
            return Self::new(predicate_type, bytes);
        }
        let not_text = |e: &dyn fmt::Display| PredicateError::NotJson { why: e.to_string() };
        let data = std::str::from_utf8(bytes).map_err(|e| not_text(&e))?;
        let custom = Custom { data, timestamp: format!("{at:.0}") };
        let json = serde_json::value::to_raw_value(&custom).map_err(|e| not_text(&e))?;
        Ok(Self { predicate_type, json })
    }

    /// Reads a predicate and checks the shape where the type has a schema.
    pub fn new(predicate_type: PredicateType, bytes: &[u8]) -> Result<Self, PredicateError> {
        let text = std::str::from_utf8(bytes).map_err(|e| PredicateError::NotJson { why: e.to_string() })?;
        let json = RawValue::from_string(text.trim().to_owned()).map_err(|e| PredicateError::NotJson { why: e.to_string() })?;
        if slsa::knows(predicate_type.as_str()) {
            let value = serde_json::from_str(json.get()).map_err(|e| PredicateError::NotJson { why: e.to_string() })?;
            slsa::check(predicate_type.as_str(), &value).map_err(|error| mismatch(error, &value))?;
        }
        Ok(Self { predicate_type, json })
    }
}

/// A schema error, with the other version's name when the predicate fits that one.
fn mismatch(error: SyntaxError, value: &serde_json::Value) -> PredicateError {
    let fits = [("slsaprovenance02", slsa::PROVENANCE_V02), ("slsaprovenance1", slsa::PROVENANCE_V1)]
        .into_iter()
        .find(|(_, uri)| *uri != error.predicate_type && slsa::check(uri, value).is_ok())
        .map(|(name, _)| name);
    PredicateError::Schema { error, fits }
}

/// A predicate or type that cannot be attested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredicateError {
    /// Not JSON.
    #[error("the predicate is not JSON: {why}")]
    NotJson {
        /// What the parser said.
        why: String,
    },
    /// Not what the type says it is.
    #[error("the predicate does not have the shape of its type: {error}{}", .fits.map(|n| format!("\nhint: it has the shape of --type {n}")).unwrap_or_default())]
    Schema {
        /// What is wrong.
        error: SyntaxError,
        /// The `--type` that it would fit.
        fits: Option<&'static str>,
    },
    /// Neither a known name nor a URI.
    #[error("--type: {why}")]
    UnknownType {
        /// What was given, and what could have been.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uris() {
        let uri = |name: &str| name.parse::<PredicateType>().map(|t| t.to_string());
        assert_eq!(uri("slsaprovenance").unwrap(), "https://slsa.dev/provenance/v0.2");
        assert_eq!(uri("slsaprovenance1").unwrap(), "https://slsa.dev/provenance/v1");
        assert_eq!(uri("https://example.com/t").unwrap(), "https://example.com/t");
        assert_eq!(uri("urn:x").unwrap(), "urn:x");
        assert_eq!(PredicateType::default().to_string(), "https://cosign.sigstore.dev/attestation/v1");
        for bad in ["", "slsa", "no scheme: x", "ht tp://x", ":x", "https:"] {
            assert!(uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_are_kept() {
        let text = "{\"n\": 12345678901234567890,  \"a\":[ ],\"z\":1.0}";
        let predicate = Predicate::new(PredicateType::default(), format!("{text}\n").as_bytes()).unwrap();
        assert_eq!(predicate.json.get(), text);
    }

    #[test]
    fn the_custom_type_holds_any_text() {
        let at: Timestamp = "2026-11-21T20:24:34.5Z".parse().unwrap();
        let of = |kind: &str, bytes: &[u8]| Predicate::of_file(kind.parse().unwrap(), bytes, at);
        let predicate = of("custom", b"a \"b\"\n").unwrap();
        assert_eq!(predicate.json.get(), r#"{"Data":"a \"b\"\n","Timestamp":"2026-11-21T20:24:34Z"}"#);
        assert!(of("custom", b"\xff").is_err());
        assert_eq!(of("https://example.com/t", b"{ }").unwrap().json.get(), "{ }");
    }

    #[test]
    fn a_predicate_must_be_one_json_value() {
        for bad in [&b"not json"[..], b"{} {}", b"", b"\xff"] {
            assert!(matches!(Predicate::new(PredicateType::default(), bad), Err(PredicateError::NotJson { .. })), "{bad:?}");
        }
    }

    #[test]
    fn the_wrong_slsa_version_is_named() {
        let v1 = br#"{"buildDefinition":{"buildType":"https://e/x","externalParameters":{}},"runDetails":{"builder":{"id":"https://e/b"}}}"#;
        let error = Predicate::new("slsaprovenance".parse().unwrap(), v1).unwrap_err();
        assert!(error.to_string().contains("--type slsaprovenance1"), "{error}");
        assert!(Predicate::new("slsaprovenance1".parse().unwrap(), v1).is_ok());
    }
}
