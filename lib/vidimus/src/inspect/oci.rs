//! What registries hold: manifests, indexes, and the layers on which cosign hung signatures before bundles; and the files in which it
//! kept such signatures.

use vidimus_core::{ParseError, cosign as names, encoding};

use super::{
    Kind, bundle, certificate,
    expand::{EACH, Rule, Show, base64_text, expand},
    log, timestamp,
    value::Value,
};

/// Places of a manifest.
pub(super) const MANIFEST: &[Rule] = &[Rule(&["layers", EACH], Show::By(DESCRIPTOR))];

/// Places of a layer's descriptor: the annotations that carry a signature's evidence.
pub(super) const DESCRIPTOR: &[Rule] = &[
    Rule(&["annotations", names::CERTIFICATE], Show::As(certificate::from_pem)),
    Rule(&["annotations", names::CHAIN], Show::As(certificate::from_pem)),
    Rule(&["annotations", names::BUNDLE], Show::As(rekor_bundle)),
    Rule(&["annotations", names::RFC3161_TIMESTAMP], Show::As(timestamp_json)),
];

/// Places of a file that old `cosign sign-blob --bundle` and `attest-blob --bundle` wrote.
pub(super) const BLOB_BUNDLE: &[Rule] = &[
    Rule(&["base64Signature"], Show::As(signature)),
    Rule(&["cert"], Show::As(log::pem)),
    Rule(&["rekorBundle"], Show::By(log::REKOR_BUNDLE)),
];

/// Places of a line of `cosign download signature`, for signatures older than bundles.
pub(super) const DOWNLOADED_SIGNATURE: &[Rule] = &[
    Rule(&["Payload"], Show::As(payload)),
    // Go's structure of a parsed certificate, key and all.
    Rule(&["Cert"], Show::Member("Raw", certificate::from_base64)),
    Rule(&["Chain", EACH], Show::Member("Raw", certificate::from_base64)),
    Rule(&["Bundle"], Show::By(log::REKOR_BUNDLE)),
    Rule(&["RFC3161Timestamp"], Show::By(TIMESTAMP)),
];

/// Places of cosign's timestamp file and annotation.
pub(super) const TIMESTAMP: &[Rule] = &[Rule(&["SignedRFC3161Timestamp"], Show::As(timestamp::from_base64))];

fn rekor_bundle(text: &str) -> Result<Value, ParseError> {
    json("cosign's log entry", Kind::RekorBundle, text.as_bytes(), log::REKOR_BUNDLE)
}

fn timestamp_json(text: &str) -> Result<Value, ParseError> {
    json("cosign's timestamp", Kind::CosignTimestamp, text.as_bytes(), TIMESTAMP)
}

fn payload(text: &str) -> Result<Value, ParseError> {
    json("simple-signing payload", Kind::SimpleSigning, &encoding::decode(text)?, &[])
}

/// `attest-blob` put a whole envelope where `sign-blob` puts a signature.
fn signature(text: &str) -> Result<Value, ParseError> {
    match base64_text(text) {
        Ok(envelope) if envelope.starts_with('{') => json("DSSE envelope", Kind::Dsse, envelope.as_bytes(), bundle::DSSE),
        _ => Ok(Value::text(text)),
    }
}

fn json(format: &'static str, kind: Kind, bytes: &[u8], rules: &[Rule]) -> Result<Value, ParseError> {
    let mut value = Value::from_json(format, bytes, &[])?;
    expand(&mut value, rules);
    Ok(Value::document(kind, value))
}
