//! What the registry needs to know of a manifest: what it is, what it names, and whose referrer it is.
//!
//! Reads every manifest kind by its fields (image, index, Docker's both, and the withdrawn OCI artifact manifest). The bytes are kept as
//! they came; nothing is written from what is parsed here but the referrers list.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use vidimus_core::Digest;

use super::RegistryError;

/// A manifest's own view of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Entry>,
    layers: Option<Vec<Entry>>,
    blobs: Option<Vec<Entry>>,
    manifests: Option<Vec<Entry>>,
    subject: Option<Entry>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    urls: Vec<String>,
}

impl Entry {
    /// Layers that live elsewhere by design need not be uploaded.
    fn is_foreign(&self) -> bool {
        !self.urls.is_empty() || self.media_type.contains("nondistributable") || self.media_type.contains("foreign")
    }
}

/// A manifest, checked.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// Blobs that must be in the repository.
    pub(crate) blobs: Vec<Digest>,
    /// Manifests that must be in the repository.
    pub(crate) manifests: Vec<Digest>,
    pub(crate) subject: Option<Digest>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads manifest bytes that came with `content_type`.
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, RegistryError> {
        let invalid = |why: String| RegistryError::ManifestInvalid(why);
        let fields: Fields = serde_json::from_slice(bytes).map_err(|error| invalid(format!("not a manifest: {error}")))?;
        if fields.schema_version == Some(1) {
            return Err(invalid("schema 1 manifests are not accepted".into()));
        }
        let media_type = media_type(&fields, content_type)?;
        let blobs = [&fields.layers, &fields.blobs].into_iter().flatten().flatten().chain(&fields.config);
        Ok(Self {
            blobs: blobs.filter(|entry| !entry.is_foreign()).map(|entry| entry.digest.clone()).collect(),
            manifests: fields.manifests.iter().flatten().map(|entry| entry.digest.clone()).collect(),
            subject: fields.subject.map(|subject| subject.digest),
            artifact_type: fields.artifact_type.or(fields.config.map(|config| config.media_type)).filter(|kind| !kind.is_empty()),
            annotations: fields.annotations,
            media_type,
        })
    }

    /// This manifest's entry in the referrers list of its subject.
    pub(crate) fn descriptor(&self, digest: &Digest, size: usize) -> Value {
        let mut descriptor = json!({"mediaType": self.media_type, "digest": digest.to_string(), "size": size});
        if let Some(kind) = &self.artifact_type {
            descriptor["artifactType"] = json!(kind);
        }
        if let Some(annotations) = &self.annotations {
            descriptor["annotations"] = json!(annotations);
        }
        descriptor
    }
}

fn media_type(fields: &Fields, content_type: Option<&str>) -> Result<String, RegistryError> {
    // Parameters (`; charset=utf-8`) say nothing about a manifest.
    let content_type = content_type.and_then(|text| text.split(';').next()).map(str::trim).filter(|text| !text.is_empty());
    match (&fields.media_type, content_type) {
        (Some(inside), Some(outside)) if inside != outside => {
            Err(RegistryError::ManifestInvalid(format!("the manifest calls itself {inside}, the request calls it {outside}")))
        }
        (Some(kind), _) => Ok(kind.clone()),
        (None, Some(kind)) => Ok(kind.to_owned()),
        (None, None) => Err(RegistryError::ManifestInvalid("neither the manifest nor the request names a media type".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    #[test]
    fn an_image_names_its_blobs() {
        let text = json!({"schemaVersion": 2, "mediaType": IMAGE, "annotations": {"k": "v"},
            "config": {"mediaType": "application/x", "digest": digest("c"), "size": 1},
            "layers": [{"mediaType": "l", "digest": digest("l"), "size": 1},
                       {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": digest("f"), "size": 1}],
            "subject": {"mediaType": IMAGE, "digest": digest("s"), "size": 1}});
        let manifest = Manifest::parse(text.to_string().as_bytes(), Some(IMAGE)).unwrap();
        assert_eq!(manifest.blobs, [digest("l"), digest("c")]);
        assert_eq!(manifest.subject, Some(digest("s")));
        let descriptor = manifest.descriptor(&digest("m"), 7);
        assert_eq!(descriptor["artifactType"], "application/x", "the config's type stands in");
        assert_eq!(descriptor["annotations"]["k"], "v");
    }

    #[test]
    fn an_artifact_type_of_its_own_wins() {
        let text = json!({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": "own",
            "config": {"mediaType": "application/x", "digest": digest("c"), "size": 1}, "layers": []});
        let manifest = Manifest::parse(text.to_string().as_bytes(), None).unwrap();
        assert_eq!(manifest.descriptor(&digest("m"), 7)["artifactType"], "own");
    }

    #[test]
    fn what_is_not_a_manifest_is_refused() {
        for (text, content_type) in [
            ("", Some(IMAGE)),
            ("[]", Some(IMAGE)),
            ("{\"schemaVersion\":1}", Some(IMAGE)),
            ("{\"schemaVersion\":2}", None),
            ("{\"schemaVersion\":2,\"mediaType\":\"other\"}", Some(IMAGE)),
            ("{\"schemaVersion\":2,\"layers\":[{\"digest\":\"sha256:xyz\"}]}", Some(IMAGE)),
        ] {
            assert!(Manifest::parse(text.as_bytes(), content_type).is_err(), "{text}");
        }
    }
}
