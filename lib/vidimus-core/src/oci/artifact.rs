//! What vidimus pushes beside an image, byte for byte as cosign does: the manifest of a bundle, and the image under a legacy tag.

use std::collections::BTreeMap;

use super::{BUNDLE_CONTENT, BUNDLE_PREDICATE_TYPE, CONFIG, CREATED, Descriptor, EMPTY, EMPTY_JSON, MANIFEST, Manifest, Raw};

/// What a Sigstore bundle holds, in the words of the bundle annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleContent {
    /// A DSSE envelope.
    DsseEnvelope,
    /// A bare signature over the artifact.
    MessageSignature,
}

impl BundleContent {
    /// The annotation's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DsseEnvelope => "dsse-envelope",
            Self::MessageSignature => "message-signature",
        }
    }
}

/// A Sigstore bundle to be attached to a subject as an OCI referrer.
#[derive(Debug, Clone)]
pub struct BundleReferrer<'a> {
    /// The bundle's descriptor: [`BUNDLE_V03`], size, digest.
    pub bundle: Descriptor,
    /// The subject: media type, size, digest.
    pub subject: Descriptor,
    /// What the bundle holds.
    pub content: BundleContent,
    /// The predicate type of its statement.
    pub predicate_type: Option<&'a str>,
    /// The time, in RFC 3339 with whole seconds, as `2026-11-21T20:23:03Z`.
    pub created: &'a str,
}

impl BundleReferrer<'_> {
    /// The manifest, byte for byte as cosign 3 writes it: `artifactType` stands at the top *and* inside the configuration.
    pub fn manifest(&self) -> Raw<Manifest> {
        let mut config = Descriptor::of(EMPTY, EMPTY_JSON);
        config.artifact_type = Some(self.bundle.media_type.clone());
        let mut annotations = BTreeMap::from([
            (BUNDLE_CONTENT.to_owned(), self.content.as_str().to_owned()),
            (CREATED.to_owned(), self.created.to_owned()),
        ]);
        if let Some(predicate_type) = self.predicate_type {
            annotations.insert(BUNDLE_PREDICATE_TYPE.to_owned(), predicate_type.to_owned());
        }
        let subject = Descriptor::new(&self.subject.media_type, self.subject.digest.clone(), self.subject.size);
        Raw::write(
            MANIFEST,
            Manifest {
                schema_version: 2,
                media_type: Some(MANIFEST.to_owned()),
                config,
                layers: vec![self.bundle.clone()],
                annotations,
                subject: Some(subject),
                artifact_type: Some(self.bundle.media_type.clone()),
            },
        )
    }
}

/// How a referrers list describes a manifest: with its annotations and its artifact type.
pub fn referrer_entry(manifest: &Raw<Manifest>) -> Descriptor {
    Descriptor {
        annotations: manifest.annotations.clone(),
        artifact_type: Some(manifest.effective_artifact_type().to_owned()),
        ..manifest.descriptor()
    }
}

/// The image that holds layers under a `.sig`, `.att` or `.sbom` tag: its manifest, and the configuration it points to.
pub fn attachment_image(layers: Vec<Descriptor>) -> (Raw<Manifest>, Vec<u8>) {
    let config = attachment_config(&layers);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        config: Descriptor::of(CONFIG, &config),
        layers,
        annotations: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    };
    (Raw::write(MANIFEST, manifest), config)
}

/// The configuration go-containerregistry makes for an image that is nothing but layers: Go's zero time, one line of history for
/// each layer, and the layers' digests as their own diff ids, because they are not compressed.
fn attachment_config(layers: &[Descriptor]) -> Vec<u8> {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let history = vec![format!(r#"{{"created":"{NEVER}"}}"#); layers.len()].join(",");
    let diff_ids: Vec<String> = layers.iter().map(|l| format!(r#""{}""#, l.digest)).collect();
    format!(
        r#"{{"architecture":"","created":"{NEVER}","history":[{history}],"os":"","rootfs":{{"type":"layers","diff_ids":[{}]}},"config":{{}}}}"#,
        diff_ids.join(",")
    )
    .into_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::oci::BUNDLE_V03;

    pub(in crate::oci) const SUBJECT: &str = "sha256:e747a30b8b3d3cd105e7aeac8af0065bc4bebef484368afc33b4ed29176cf3af";
    pub(in crate::oci) const BUNDLE: &str = "sha256:085dd5641babdaa0cfabb1150d1d91fdaa1e9ff876c162bce79b24daa32d29fb";
    /// Pushed by cosign 3.1.1.
    pub(in crate::oci) const COSIGN_MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"},"layers":[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","size":659,"digest":"sha256:085dd5641babdaa0cfabb1150d1d91fdaa1e9ff876c162bce79b24daa32d29fb"}],"annotations":{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1","org.opencontainers.image.created":"2026-11-21T20:23:03Z"},"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":401,"digest":"sha256:e747a30b8b3d3cd105e7aeac8af0065bc4bebef484368afc33b4ed29176cf3af"},"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#;
    pub(in crate::oci) fn referrer() -> BundleReferrer<'static> {
        BundleReferrer {
            bundle: Descriptor::new(BUNDLE_V03, BUNDLE.parse().unwrap(), 659),
            subject: Descriptor::new(MANIFEST, SUBJECT.parse().unwrap(), 401),
            content: BundleContent::DsseEnvelope,
            predicate_type: Some("https://sigstore.dev/cosign/sign/v1"),
            created: "2026-11-21T20:23:03Z",
        }
    }

    #[test]
    fn bundle_manifest_equals_cosigns() {
        let manifest = referrer().manifest();
        assert_eq!(String::from_utf8(manifest.bytes.clone()).unwrap(), COSIGN_MANIFEST);
        assert_eq!(manifest.bytes.len(), 877);
    }

    #[test]
    fn attachment_image_equals_cosigns() {
        let mut layer = Descriptor::new(
            "application/vnd.dev.cosign.simplesigning.v1+json",
            "sha256:89fccf891355739a7a940894985978a3da6df11949ced4e0de42c98f8fcbd790".parse().unwrap(),
            244,
        );
        layer.annotations.insert(
            "dev.cosignproject.cosign/signature".into(),
            "MEUCIDnJ1WgcHchJiJZSLt7Clq/ND6+NejDx6j6WDEk7yx8rAiEA264ZuIjO79bIcPveMDUUQSDgTF2o7MGtwBslVSI0gDA=".into(),
        );
        let (manifest, config) = attachment_image(vec![layer]);
        assert_eq!(config.len(), 233);
        let expected = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":233,"digest":"sha256:c506a812becc5a37a3a949951f4d852e3bfdde29f56cafa8d8ac18acd29d727c"},"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","size":244,"digest":"sha256:89fccf891355739a7a940894985978a3da6df11949ced4e0de42c98f8fcbd790","annotations":{"dev.cosignproject.cosign/signature":"MEUCIDnJ1WgcHchJiJZSLt7Clq/ND6+NejDx6j6WDEk7yx8rAiEA264ZuIjO79bIcPveMDUUQSDgTF2o7MGtwBslVSI0gDA="}}]}"#;
        assert_eq!(String::from_utf8(manifest.bytes).unwrap(), expected);
    }
}
