//! What cosign wrote before bundles, and its `--registry-referrers-mode=oci-1-1` still writes: tags named after the image's digest,
//! layers whose annotations carry signature, certificate and log entry, and the simple-signing payload.
//!
//! Nothing is verified here; the annotations are handed on as they stand, decoded where a decoding is unambiguous.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Digest, ParseError,
    encoding::{Base64, decode, encode, go_json},
    oci::{Descriptor, bare},
};

/// The layer under `.sig`: a simple-signing payload.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The layer under `.att`: a bare DSSE envelope.
pub const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The configuration (or artifact) type of a signature stored as an OCI 1.1 referrer.
pub const SIGNATURE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The predicate type of a signature stored as a bundle.
pub const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The `type` of a simple-signing payload.
pub const PAYLOAD_TYPE: &str = "cosign container image signature";

/// Base64 of the signature; the empty string on a DSSE layer, which carries its own.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The signer's certificate, PEM.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The intermediates and the root, PEM.
pub const CHAIN: &str = "dev.sigstore.cosign/chain";
/// The log entry with its signed entry timestamp, JSON: [`RekorBundle`].
pub const BUNDLE: &str = "dev.sigstore.cosign/bundle";
/// The RFC 3161 timestamp, JSON: [`Rfc3161Timestamp`].
pub const RFC3161_TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// The predicate type, on a DSSE layer.
pub const PREDICATE_TYPE: &str = "predicateType";

/// What hangs off an image under a tag of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attachment {
    /// `sha256-<hex>.sig`.
    Signature,
    /// `sha256-<hex>.att`.
    Attestation,
    /// `sha256-<hex>.sbom`.
    Sbom,
    /// `sha256-<hex>`: the list of referrers, where a registry has no referrers API.
    Referrers,
}

impl Attachment {
    /// The end of the tag.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Signature => ".sig",
            Self::Attestation => ".att",
            Self::Sbom => ".sbom",
            Self::Referrers => "",
        }
    }

    /// The tag for an image. `prefix` is cosign's `--attachment-tag-prefix`; the list of referrers never has one.
    pub fn tag(self, image: &Digest, prefix: &str) -> String {
        let prefix = if self == Self::Referrers { "" } else { prefix };
        format!("{prefix}{}-{}{}", image.algorithm().name(), image.hex(), self.suffix())
    }
}

/// A simple-signing payload, as containers/image and cosign share it. Fields in cosign's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// What the signature is about.
    pub critical: Critical,
    /// The signer's annotations. `None` is written as `null`, as cosign does.
    #[serde(default)]
    pub optional: Option<BTreeMap<String, Value>>,
}

/// The part of the payload that a verifier must understand entirely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Critical {
    /// The name under which the image was signed.
    pub identity: Identity,
    /// The image.
    pub image: Image,
    /// [`PAYLOAD_TYPE`]; old versions wrote `cosign container signature`, bundles the predicate type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The name under which the image was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// A reference without digest. Signed, but cosign never checks it.
    #[serde(rename = "docker-reference")]
    pub docker_reference: String,
}

/// The image a payload is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its digest.
    #[serde(rename = "docker-manifest-digest")]
    pub docker_manifest_digest: Digest,
}

impl Payload {
    /// The payload for an image, with annotations (`-a key=value`).
    pub fn new(docker_reference: &str, image: Digest, annotations: &BTreeMap<String, String>) -> Self {
        let optional = annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect::<BTreeMap<_, _>>();
        Self {
            critical: Critical {
                identity: Identity { docker_reference: docker_reference.to_owned() },
                image: Image { docker_manifest_digest: image },
                kind: PAYLOAD_TYPE.to_owned(),
            },
            optional: Some(optional).filter(|o| !o.is_empty()),
        }
    }

    /// Reads a payload. The signature is over the bytes, not over this value.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        serde_json::from_slice(bytes).map_err(|e| ParseError::new("simple-signing payload", e))
    }

    /// The bytes to sign: as cosign encodes them, without a final newline.
    pub fn to_bytes(&self) -> Vec<u8> {
        go_json(self).into_bytes()
    }
}

/// A Rekor v1 entry as the annotation carries it: enough to check the signed entry timestamp, no inclusion proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekorBundle {
    /// The log's signature over the payload in canonical JSON.
    #[serde(rename = "SignedEntryTimestamp")]
    pub signed_entry_timestamp: Base64,
    /// What it signs.
    #[serde(rename = "Payload")]
    pub payload: RekorPayload,
}

/// The signed part of a [`RekorBundle`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekorPayload {
    /// The canonicalised entry, base64.
    pub body: Base64,
    /// When the log took it in, seconds since 1970.
    #[serde(rename = "integratedTime")]
    pub integrated_time: i64,
    /// Its index in the log.
    #[serde(rename = "logIndex")]
    pub log_index: i64,
    /// The SHA-256 of the log's key, hex.
    #[serde(rename = "logID")]
    pub log_id: String,
}

/// A timestamp as the annotation carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rfc3161Timestamp {
    /// A DER `TimeStampResp`.
    #[serde(rename = "SignedRFC3161Timestamp")]
    pub signed_rfc3161_timestamp: Base64,
}

/// Which kind of layer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// A simple-signing payload; the signature is in the annotation.
    SimpleSigning,
    /// A DSSE envelope; the signature is inside.
    Dsse,
}

/// The evidence in a layer's annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Which kind of layer it is.
    pub kind: LayerKind,
    /// The signature over the layer's bytes; `None` on a DSSE layer.
    pub signature: Option<Vec<u8>>,
    /// The signer's certificate, PEM.
    pub certificate: Option<String>,
    /// Intermediates and root, PEM. Kept apart from "absent" only when it is not empty: cosign 3.1.1 writes `""`.
    pub chain: Option<String>,
    /// The log entry.
    pub bundle: Option<RekorBundle>,
    /// The timestamp: a DER `TimeStampResp`.
    pub rfc3161_timestamp: Option<Vec<u8>>,
    /// The predicate type of a DSSE layer. Unsigned.
    pub predicate_type: Option<String>,
}

impl Layer {
    /// A layer without certificate, log entry and timestamp.
    pub fn new(kind: LayerKind) -> Self {
        Self {
            kind,
            signature: None,
            certificate: None,
            chain: None,
            bundle: None,
            rfc3161_timestamp: None,
            predicate_type: None,
        }
    }

    /// Reads the annotations of a layer. `Ok(None)` if it is a layer of another kind; an annotation that is there and cannot be
    /// read is an error, not an absence.
    pub fn parse(descriptor: &Descriptor) -> Result<Option<Self>, ParseError> {
        let kind = match bare(&descriptor.media_type) {
            SIMPLE_SIGNING => LayerKind::SimpleSigning,
            DSSE_ENVELOPE => LayerKind::Dsse,
            _ => return Ok(None),
        };
        let text = |key| descriptor.annotation(key).filter(|t| !t.is_empty());
        let signature = text(SIGNATURE).map(|t| decode(t).map_err(|e| bad(SIGNATURE, e.why))).transpose()?;
        if kind == LayerKind::SimpleSigning && signature.is_none() {
            return Err(bad(SIGNATURE, "the layer has no signature"));
        }
        Ok(Some(Self {
            kind,
            signature,
            certificate: text(CERTIFICATE).map(str::to_owned),
            chain: text(CHAIN).map(str::to_owned),
            bundle: json(text(BUNDLE), BUNDLE)?,
            rfc3161_timestamp: json::<Rfc3161Timestamp>(text(RFC3161_TIMESTAMP), RFC3161_TIMESTAMP)?
                .map(|t| t.signed_rfc3161_timestamp.0),
            predicate_type: text(PREDICATE_TYPE).map(str::to_owned),
        }))
    }

    /// The descriptor of the layer with this evidence as annotations.
    pub fn descriptor(&self, content: &[u8]) -> Descriptor {
        let media_type = match self.kind {
            LayerKind::SimpleSigning => SIMPLE_SIGNING,
            LayerKind::Dsse => DSSE_ENVELOPE,
        };
        let mut descriptor = Descriptor::of(media_type, content);
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                descriptor.annotations.insert(key.to_owned(), value);
            }
        };
        put(SIGNATURE, Some(self.signature.as_ref().map(encode).unwrap_or_default()));
        // cosign sets the two together, the chain empty if it has none.
        put(CHAIN, self.chain.clone().or_else(|| self.certificate.as_ref().map(|_| String::new())));
        put(CERTIFICATE, self.certificate.clone());
        put(BUNDLE, self.bundle.as_ref().map(go_json));
        let timestamp = |der: &Vec<u8>| go_json(&Rfc3161Timestamp { signed_rfc3161_timestamp: Base64(der.clone()) });
        put(RFC3161_TIMESTAMP, self.rfc3161_timestamp.as_ref().map(timestamp));
        put(PREDICATE_TYPE, self.predicate_type.clone());
        descriptor
    }
}

fn bad(annotation: &str, why: impl std::fmt::Display) -> ParseError {
    ParseError::at("cosign layer", annotation, why)
}

fn json<T: for<'de> Deserialize<'de>>(text: Option<&str>, annotation: &str) -> Result<Option<T>, ParseError> {
    text.map(|t| serde_json::from_str(t).map_err(|e| bad(annotation, e))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Digest {
        "sha256:e747a30b8b3d3cd105e7aeac8af0065bc4bebef484368afc33b4ed29176cf3af".parse().unwrap()
    }

    #[test]
    fn a_chain_without_certificate_is_not_lost() {
        let layer = Layer { signature: Some(vec![1]), chain: Some("chain".into()), ..Layer::new(LayerKind::SimpleSigning) };
        assert_eq!(Layer::parse(&layer.descriptor(b"{}")), Ok(Some(layer)));
    }

    #[test]
    fn tags() {
        let hex = image().hex();
        assert_eq!(Attachment::Signature.tag(&image(), ""), format!("sha256-{hex}.sig"));
        assert_eq!(Attachment::Attestation.tag(&image(), "p-"), format!("p-sha256-{hex}.att"));
        assert_eq!(Attachment::Referrers.tag(&image(), "p-"), format!("sha256-{hex}"));
    }

    #[test]
    fn payload_equals_cosigns() {
        // The layer cosign 2.5.0 pushed for this image with `-a k1=v1`.
        let payload = Payload::new("127.0.0.1:5155/v2/app", image(), &BTreeMap::from([("k1".into(), "v1".into())]));
        let bytes = payload.to_bytes();
        assert_eq!(bytes.len(), 244);
        assert_eq!(Digest::sha256(&bytes).to_string(), "sha256:89fccf891355739a7a940894985978a3da6df11949ced4e0de42c98f8fcbd790");
        assert_eq!(Payload::parse(&bytes).unwrap(), payload);
        let bare = Payload::new("r.io/a", image(), &BTreeMap::new()).to_bytes();
        assert!(bare.ends_with(br#""optional":null}"#));
    }

    #[test]
    fn payload_refuses_what_names_no_image() {
        for bad in [
            "{}",
            "null",
            r#"{"critical":{"identity":{"docker-reference":"a"},"image":{"docker-manifest-digest":"sha256:12"},"type":"x"},"optional":null}"#,
        ] {
            assert!(Payload::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn evidence_round_trips_through_annotations() {
        let layer = Layer {
            signature: Some(b"signature".to_vec()),
            certificate: Some("-----BEGIN CERTIFICATE-----\n".into()),
            bundle: Some(RekorBundle {
                signed_entry_timestamp: Base64(b"set".to_vec()),
                payload: RekorPayload {
                    body: Base64(b"{}".to_vec()),
                    integrated_time: 1_795_293_213,
                    log_index: 7,
                    log_id: "c0".into(),
                },
            }),
            rfc3161_timestamp: Some(vec![0x30, 0]),
            ..Layer::new(LayerKind::SimpleSigning)
        };
        let descriptor = layer.descriptor(b"payload");
        assert_eq!(descriptor.annotation(CHAIN), Some(""));
        assert_eq!(
            descriptor.annotation(BUNDLE),
            Some(
                r#"{"SignedEntryTimestamp":"c2V0","Payload":{"body":"e30=","integratedTime":1795293213,"logIndex":7,"logID":"c0"}}"#
            )
        );
        assert_eq!(Layer::parse(&descriptor).unwrap(), Some(layer));
    }

    #[test]
    fn broken_evidence_is_not_absent_evidence() {
        let good = Layer { signature: Some(vec![1]), ..Layer::new(LayerKind::SimpleSigning) }.descriptor(b"x");
        assert!(Layer::parse(&good).unwrap().is_some());
        for (key, value) in [(SIGNATURE, "*"), (SIGNATURE, ""), (BUNDLE, "{}"), (RFC3161_TIMESTAMP, "[]")] {
            let mut broken = good.clone();
            broken.annotations.insert(key.into(), value.into());
            assert!(Layer::parse(&broken).is_err(), "{key}");
        }
        assert_eq!(Layer::parse(&Descriptor::of("text/spdx", b"x")), Ok(None));
    }
}
