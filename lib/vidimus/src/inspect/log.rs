//! Entries of transparency logs in every form they travel in: a bundle's, a Rekor v1 server's answer, the annotation and file that old
//! cosign wrote, and the canonical body itself.

use vidimus_core::{ParseError, encoding};

use super::{
    Kind, bundle, certificate,
    expand::{ANY, EACH, Rule, Show, base64_text, expand, hex, seconds},
    note,
    value::Value,
};

/// Places of an entry as bundles carry it.
pub(super) const TLOG_ENTRY: &[Rule] = &[
    Rule(&["logId", "keyId"], Show::As(hex)),
    Rule(&["integratedTime"], Show::As(seconds)),
    Rule(&["inclusionProof", "rootHash"], Show::As(hex)),
    Rule(&["inclusionProof", "checkpoint", "envelope"], Show::As(note::from_text)),
    Rule(&["canonicalizedBody"], Show::As(body)),
];

/// Places of a Rekor v1 server's answer: entries by UUID.
pub(super) const REKOR_ANSWER: &[Rule] = &[Rule(&[ANY], Show::By(REKOR_ENTRY))];

const REKOR_ENTRY: &[Rule] = &[
    Rule(&["body"], Show::As(body)),
    Rule(&["integratedTime"], Show::As(seconds)),
    Rule(&["verification", "inclusionProof", "checkpoint"], Show::As(note::from_text)),
    Rule(&["attestation", "data"], Show::As(attestation)),
];

/// Places of cosign's annotation with a log entry.
pub(super) const REKOR_BUNDLE: &[Rule] =
    &[Rule(&["Payload", "body"], Show::As(body)), Rule(&["Payload", "integratedTime"], Show::As(seconds))];

/// Places of a canonical body, of whatever kind.
pub(super) const BODY: &[Rule] = &[
    // hashedrekord 0.0.1
    Rule(&["spec", "signature", "publicKey", "content"], Show::As(pem)),
    // dsse 0.0.1
    Rule(&["spec", "signatures", EACH, "verifier"], Show::As(pem)),
    // intoto 0.0.1 and 0.0.2
    Rule(&["spec", "publicKey"], Show::As(pem)),
    Rule(&["spec", "content", "envelope", "signatures", EACH, "publicKey"], Show::As(pem)),
    // hashedrekord 0.0.2
    Rule(&["spec", "hashedRekordV002", "data", "digest"], Show::As(hex)),
    Rule(
        &["spec", "hashedRekordV002", "signature", "verifier", "x509Certificate", "rawBytes"],
        Show::As(certificate::from_base64),
    ),
    Rule(&["spec", "hashedRekordV002", "signature", "verifier", "publicKey", "rawBytes"], Show::As(certificate::key_from_base64)),
];

fn body(text: &str) -> Result<Value, ParseError> {
    let mut body = Value::from_json("log entry", &encoding::decode(text)?, &[])?;
    expand(&mut body, BODY);
    Ok(Value::document(Kind::LogBody, body))
}

/// A key or certificate: PEM under base64. Very old cosign wrote it bare.
pub(super) fn pem(text: &str) -> Result<Value, ParseError> {
    if text.starts_with("-----BEGIN ") { certificate::from_pem(text) } else { certificate::from_pem(&base64_text(text)?) }
}

/// The statement that Rekor v1 kept beside an `intoto` entry.
fn attestation(text: &str) -> Result<Value, ParseError> {
    let statement = Value::from_json("attestation", &encoding::decode(text)?, bundle::STATEMENT_VERBATIM)?;
    Ok(Value::document(Kind::Statement, statement))
}
