//! What kind of document some bytes are, told by what only that kind has, never by a file's name.

use super::{Kind, value::Value};

/// The kind of a JSON document. The order matters where one kind has all the names of another.
pub(super) fn json(value: &Value) -> Option<Kind> {
    let has = |names: &[&str]| names.iter().all(|name| value.field(name).is_some());
    let text = |name: &str| value.field(name).and_then(Value::scalar).unwrap_or_default();
    let media_type = text("mediaType");
    let by_media_type = [
        ("application/vnd.dev.sigstore.bundle", Kind::Bundle),
        ("application/vnd.dev.sigstore.trustedroot", Kind::TrustedRoot),
        ("application/vnd.dev.sigstore.signingconfig", Kind::SigningConfig),
        ("application/vnd.dev.sigstore.clienttrustconfig", Kind::ClientTrustConfig),
    ];
    // A descriptor's media type is that of the content it points to.
    if has(&["digest", "size"]) {
        return Some(Kind::Descriptor);
    }
    if let Some((_, kind)) = by_media_type.iter().find(|(prefix, _)| media_type.starts_with(prefix)) {
        return Some(*kind);
    }
    let by_names: [(&[&str], Kind); 23] = [
        (&["verificationMaterial"], Kind::Bundle),
        (&["verification_material"], Kind::Bundle),
        (&["payload", "payloadType", "signatures"], Kind::Dsse),
        (&["_type", "predicateType"], Kind::Statement),
        (&["signed", "signatures"], Kind::Tuf),
        (&["critical"], Kind::SimpleSigning),
        (&["Base64Signature", "Payload"], Kind::CosignSignature),
        (&["base64Signature"], Kind::CosignBlobBundle),
        (&["SignedEntryTimestamp", "Payload"], Kind::RekorBundle),
        (&["SignedRFC3161Timestamp"], Kind::CosignTimestamp),
        (&["apiVersion", "kind", "spec"], Kind::LogBody),
        (&["canonicalizedBody"], Kind::TlogEntry),
        (&["canonicalized_body"], Kind::TlogEntry),
        (&["sct_version", "id", "timestamp"], Kind::Sct),
        (&["certificateAuthorities"], Kind::TrustedRoot),
        (&["trustedRoot", "signingConfig"], Kind::ClientTrustConfig),
        (&["rekorTlogConfig"], Kind::SigningConfig),
        (&["schemaVersion", "manifests"], Kind::OciIndex),
        (&["schemaVersion", "config"], Kind::OciManifest),
        (&["schemaVersion", "layers"], Kind::OciManifest),
        (&["signedCertificateEmbeddedSct"], Kind::Fulcio),
        (&["signedCertificateDetachedSct"], Kind::Fulcio),
        (&["chains"], Kind::Fulcio),
    ];
    let named = by_names.iter().find(|(names, _)| has(names)).map(|(_, kind)| *kind);
    named.or_else(|| is_rekor_answer(value).then_some(Kind::LogEntry))
}

/// An object whose every member is an entry under its UUID.
fn is_rekor_answer(value: &Value) -> bool {
    let Value::Fields(fields) = value else { return false };
    let uuid = |name: &str| matches!(name.len(), 64 | 80) && name.bytes().all(|b| b.is_ascii_hexdigit());
    !fields.0.is_empty() && fields.0.iter().all(|(name, entry)| uuid(name) && entry.field("body").is_some())
}

/// The kind of DER, by what the outermost sequence starts with; which of the candidates it is shows when it is read.
pub(super) fn der(bytes: &[u8]) -> &'static [Kind] {
    match bytes.first() {
        Some(0x30) => &[Kind::Certificate, Kind::Timestamp, Kind::PublicKey],
        // An extension's value: an OCTET STRING around the list.
        Some(0x04) => &[Kind::SctList],
        // The list alone: it is under 256 bytes for a single log, so that its length starts with a zero byte.
        Some(0x00..=0x03) => &[Kind::SctList],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(json_text: &str) -> Option<Kind> {
        json(&Value::from_json("test", json_text.as_bytes(), &[]).unwrap())
    }

    #[test]
    fn kinds_by_content() {
        let uuid = "0".repeat(80);
        for (text, expected) in [
            (r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#, Some(Kind::Bundle)),
            (r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"x","size":1}"#, Some(Kind::Descriptor)),
            (r#"{"payload":"","payloadType":"","signatures":[]}"#, Some(Kind::Dsse)),
            (r#"{"signed":{},"signatures":[]}"#, Some(Kind::Tuf)),
            (r#"{"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2,"manifests":[]}"#, Some(Kind::OciIndex)),
            (&format!(r#"{{"{uuid}":{{"body":""}}}}"#), Some(Kind::LogEntry)),
            (&format!(r#"{{"{uuid}":{{"body":""}},"x":{{"body":""}}}}"#), None),
            ("{}", None),
            ("[]", None),
            (r#"{"a":1}"#, None),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
