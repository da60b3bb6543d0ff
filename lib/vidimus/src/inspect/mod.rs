//! `inspect`: everything that a signing document says, for people and for programs, and no word about whether it is true.
//!
//! A document is read into an ordered tree ([`Value`]) in which nothing of it is lost; places that hold another document (a certificate
//! under base64, a statement in an envelope) are replaced by what that says. No key is looked up, no signature checked, no clock asked,
//! and "not verified" is part of every output.

mod bundle;
mod certificate;
mod detect;
mod expand;
mod image;
pub mod json;
mod kind;
mod log;
mod note;
mod oci;
mod sct;
pub mod text;
mod timestamp;
mod trust;
mod value;

use der::{Decode, asn1::OctetStringRef};
use serde::Serialize;
use vidimus_core::{ParseError, encoding, jsonl, limits};

pub use image::image;
pub use kind::Kind;
pub use value::{Document, Fields, Value};

pub(crate) use certificate::rsa_bits;
use expand::{Rule, expand};

/// Everything that an input says.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Always the same, lest the output be taken for a verdict.
    status: &'static str,
    /// Where it was read: a file, `-`, or a reference.
    pub source: String,
    /// The documents, in order.
    pub documents: Vec<Document>,
    /// What could not be read. Not empty: there may be more than is shown.
    pub problems: Vec<String>,
}

impl Inspection {
    /// Documents from one source.
    pub fn new(source: impl Into<String>, documents: Vec<Document>) -> Self {
        Self { status: "not verified", source: source.into(), documents, problems: Vec::new() }
    }

    /// Adds what was found at a place, or why it could not be read.
    fn add(&mut self, place: String, found: Result<Vec<Document>, ParseError>) {
        match found {
            Ok(documents) => self.documents.extend(documents.into_iter().map(|d| Document { place: Some(place.clone()), ..d })),
            Err(e) => self.problems.push(format!("{place}: {e}")),
        }
    }
}

/// Reads documents out of bytes: one, or a row of JSON documents, or a chain of certificates. Without a kind, the content tells.
pub fn documents(bytes: &[u8], kind: Option<Kind>) -> Result<Vec<Document>, ParseError> {
    limits::check_len("document", bytes.len(), limits::ATTESTATION_BYTES)?;
    if let Ok(text) = std::str::from_utf8(bytes) {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with(['{', '[']) {
            return json_documents(text, kind);
        }
        if is_pem(text) {
            return pem_documents(text, kind);
        }
        // A note is all text; nothing else has an em dash at the start of a line after an empty one.
        if kind == Some(Kind::Note) || kind.is_none() && bytes_have(bytes, "\n\n\u{2014} ") {
            return Ok(vec![Document::new(Kind::Note, note::content(std::str::from_utf8(bytes).unwrap_or(text))?)]);
        }
        // One coat of base64 is taken off: such text is copied out of bundles and log entries.
        let joined: String = text.split_ascii_whitespace().collect();
        if let Some(inner) = encoding::decode(&joined).ok().filter(|inner| !inner.is_empty()) {
            return match std::str::from_utf8(&inner) {
                Ok(text) if text.trim_start().starts_with('{') => json_documents(text, kind),
                Ok(text) if is_pem(text) => pem_documents(text, kind),
                _ => binary(&inner, kind),
            };
        }
    }
    binary(bytes, kind)
}

fn bytes_have(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn is_pem(text: &str) -> bool {
    text.starts_with("-----BEGIN ") || text.contains("\n-----BEGIN ")
}

fn pem_documents(text: &str, kind: Option<Kind>) -> Result<Vec<Document>, ParseError> {
    let values = match certificate::from_pem(text)? {
        Value::List(values) => values,
        one => vec![one],
    };
    let documents = values.into_iter().filter_map(|v| if let Value::Document(document) = v { Some(*document) } else { None });
    documents.map(|document| expected(document.kind, kind).map(|_| document)).collect()
}

/// The kind that was found, unless another one was asked for: a document must not be shown under a wrong name.
fn expected(found: Kind, asked: Option<Kind>) -> Result<Kind, ParseError> {
    match asked {
        Some(asked) if asked != found => {
            Err(ParseError::new("document of that kind", format_args!("it is a {found}, not a {asked}")))
        }
        _ => Ok(found),
    }
}

fn json_documents(text: &str, kind: Option<Kind>) -> Result<Vec<Document>, ParseError> {
    let mut documents = Vec::new();
    for json in jsonl::documents("JSON", text.as_bytes())? {
        // A Rekor server answers a search with a list of entries, cosign a verification with a list of payloads.
        let listed: Vec<&serde_json::value::RawValue> = match json.first() {
            Some(b'[') => serde_json::from_slice(json).map_err(|e| ParseError::new("JSON", e))?,
            _ => Vec::new(),
        };
        limits::check_count("JSON", "documents", listed.len() + documents.len(), limits::DOCUMENTS)?;
        match listed.is_empty() {
            true => documents.push(json_document(json, kind)?),
            false => {
                let each = listed.iter().map(|json| json_document(json.get().as_bytes(), kind));
                documents.extend(each.collect::<Result<Vec<_>, _>>()?);
            }
        }
    }
    Ok(documents)
}

fn json_document(json: &[u8], kind: Option<Kind>) -> Result<Document, ParseError> {
    // A predicate is kept as it was signed; no other kind has one.
    let mut content = Value::from_json("JSON", json, bundle::STATEMENT_VERBATIM)?;
    let kind = match detect::json(&content) {
        Some(found) => expected(found, kind)?,
        None => kind.ok_or_else(unknown)?,
    };
    let rules = rules(kind).ok_or_else(|| ParseError::new(kind.title(), "it is not JSON, and this is"))?;
    if !matches!(content, Value::Fields(_)) {
        return Err(ParseError::new(kind.title(), "a JSON object was expected"));
    }
    expand(&mut content, rules);
    Ok(Document::new(kind, content))
}

/// The readable places of a JSON kind; none for the kinds that are not JSON.
fn rules(kind: Kind) -> Option<&'static [Rule]> {
    Some(match kind {
        Kind::Bundle => bundle::BUNDLE,
        Kind::ClientTrustConfig => trust::CLIENT_TRUST_CONFIG,
        Kind::CosignBlobBundle => oci::BLOB_BUNDLE,
        Kind::Descriptor => oci::DESCRIPTOR,
        Kind::CosignSignature => oci::DOWNLOADED_SIGNATURE,
        Kind::CosignTimestamp => oci::TIMESTAMP,
        Kind::Dsse => bundle::DSSE,
        Kind::Fulcio => trust::FULCIO,
        Kind::LogBody => log::BODY,
        Kind::LogEntry => log::REKOR_ANSWER,
        Kind::OciManifest => oci::MANIFEST,
        Kind::RekorBundle => log::REKOR_BUNDLE,
        Kind::Sct => sct::ANSWER,
        Kind::TlogEntry => log::TLOG_ENTRY,
        Kind::TrustedRoot => trust::TRUSTED_ROOT,
        Kind::Tuf => trust::TUF,
        Kind::OciIndex | Kind::SigningConfig | Kind::SimpleSigning | Kind::Statement => &[],
        Kind::Certificate | Kind::Note | Kind::PublicKey | Kind::SctList | Kind::Timestamp => return None,
    })
}

/// Reads DER or TLS encoding. Of several kinds that it could be, the one that reads it to the end is it; if none does, the first one's
/// reason is given.
fn binary(bytes: &[u8], kind: Option<Kind>) -> Result<Vec<Document>, ParseError> {
    let candidates = match &kind {
        Some(kind) => std::slice::from_ref(kind),
        None => detect::der(bytes),
    };
    let mut first_reason = None;
    for kind in candidates.iter().copied() {
        let content = match kind {
            Kind::Certificate => certificate::content(bytes),
            Kind::PublicKey => certificate::key(bytes),
            Kind::SctList => sct::list(OctetStringRef::from_der(bytes).map_or(bytes, |inner| inner.as_bytes())),
            Kind::Timestamp => timestamp::content(bytes),
            other => Err(ParseError::new(other.title(), "it is text, and this is not")),
        };
        match content {
            Ok(content) => return Ok(vec![Document::new(kind, content)]),
            Err(e) => first_reason = first_reason.or(Some(e)),
        }
    }
    Err(first_reason.unwrap_or_else(unknown))
}

fn unknown() -> ParseError {
    ParseError::new("signing document", "its content is of no kind that we know; --kind says what it should be read as")
}

#[cfg(test)]
mod tests;
