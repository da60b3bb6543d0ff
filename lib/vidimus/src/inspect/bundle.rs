//! Sigstore bundles and DSSE envelopes with their statements.

use vidimus_core::{ParseError, encoding};

use super::{
    Kind, certificate,
    expand::{EACH, Rule, Show, hex},
    log, timestamp,
    value::Value,
};

/// Places of a bundle.
pub(super) const BUNDLE: &[Rule] = &[
    Rule(&["verificationMaterial", "certificate", "rawBytes"], Show::As(certificate::from_base64)),
    Rule(&["verificationMaterial", "x509CertificateChain", "certificates", EACH, "rawBytes"], Show::As(certificate::from_base64)),
    Rule(&["verificationMaterial", "publicKey", "hint"], Show::As(hex)),
    Rule(&["verificationMaterial", "tlogEntries", EACH], Show::By(log::TLOG_ENTRY)),
    Rule(
        &["verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", EACH, "signedTimestamp"],
        Show::As(timestamp::from_base64),
    ),
    Rule(&["messageSignature", "messageDigest", "digest"], Show::As(hex)),
    Rule(&["dsseEnvelope"], Show::By(DSSE)),
];

/// Places of a DSSE envelope.
pub(super) const DSSE: &[Rule] = &[Rule(&["payload"], Show::As(payload))];

/// The members of a statement that stay as they were signed.
pub(super) const STATEMENT_VERBATIM: &[&str] = &["predicate"];

/// What an envelope carries: a statement, other JSON, or text. Anything else stays base64.
fn payload(text: &str) -> Result<Value, ParseError> {
    let bytes = encoding::decode(text)?;
    if let Ok(value) = Value::from_json("payload", &bytes, STATEMENT_VERBATIM) {
        let statement = value.field("_type").is_some() && value.field("predicateType").is_some();
        return Ok(if statement { Value::document(Kind::Statement, value) } else { value });
    }
    Ok(String::from_utf8(bytes).map_or_else(|_| Value::text(text), Value::Text))
}
