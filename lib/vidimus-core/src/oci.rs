//! OCI manifests, indexes and descriptors, bytes first.
//!
//! Reads the OCI image specification 1.1 and Docker's schema 2, which differ in media types only. A parsed value always travels
//! with the bytes it was read from ([`Raw`]): a digest names bytes, and unknown fields are lost in a value. Values written here use
//! the key order and the escapes of Go's encoder and go-containerregistry's structures, so that what vidimus pushes equals, byte
//! for byte, what cosign pushes.
//!
//! Deliberately absent: platform selection (a signature is about the digest that was asked for) and foreign layers (`urls` are
//! kept but never fetched).

mod artifact;
mod referrers;

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    Digest, ParseError,
    encoding::{Base64, go_json},
    limits,
};

pub use self::{
    artifact::{BundleContent, BundleReferrer, attachment_image, referrer_entry},
    referrers::{ReferrerList, merge_referrers},
};

/// An image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A gzipped layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A plain layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The two bytes `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index ("manifest list").
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Every manifest media type we read, as an `Accept` header offers them.
pub const MANIFEST_TYPES: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// A Sigstore bundle, version 0.3.
pub const BUNDLE_V03: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What every Sigstore bundle's media type begins with, both in the `.v0.3+json` and in the `+json;version=0.3` spelling.
pub const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";
/// The annotation that says what a bundle holds: `dsse-envelope` or `message-signature`.
pub const BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";
/// The annotation with the predicate type of the statement in a bundle. Unsigned: a hint, never proof.
pub const BUNDLE_PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
/// The annotation with the time an artifact was made. Unsigned as well.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The annotation under which an image layout keeps a tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The empty configuration.
pub const EMPTY_JSON: &[u8] = b"{}";

/// A pointer to content (OCI descriptor). Fields in go-containerregistry's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    #[serde(default)]
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// The content itself, if it was small enough to embed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Base64>,
    /// Where else the content could be had. Never fetched: a registry could make us ask any address.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Unsigned remarks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of a manifest in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The artifact type of the manifest pointed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// The descriptor of content at hand.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(content), u64::try_from(content.len()).unwrap_or(u64::MAX))
    }

    /// A descriptor without any optional field.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size,
            digest,
            data: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Whether it points to an index of either family.
    pub fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }
}

/// The platform an image runs on. Fields in go-containerregistry's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// `linux`, `windows`.
    #[serde(default)]
    pub os: String,
    /// The version of Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|v| write!(f, "/{v}"))
    }
}

/// An image manifest, of an image or of an artifact. Fields in go-containerregistry's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The media type; older writers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Unsigned remarks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What this artifact is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What kind of artifact this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Manifest {
    /// The artifact type as a registry derives it: the field, or else the configuration's media type.
    pub fn effective_artifact_type(&self) -> &str {
        match &self.artifact_type {
            Some(kind) if !kind.is_empty() => kind,
            _ => &self.config.media_type,
        }
    }
}

/// An image index: a list of manifests, of a multi-platform image or of referrers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The media type; older writers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Unsigned remarks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What this index is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What kind of artifact this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// A value and the very bytes it was read from, or will be pushed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw<T> {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their SHA-256 digest, or the digest they were asked for by, once checked.
    pub digest: Digest,
    /// Their media type.
    pub media_type: String,
    /// What they say.
    pub value: T,
}

impl<T> Raw<T> {
    /// A descriptor that points here.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }

    /// The same bytes, read as something else.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Raw<U> {
        Raw { bytes: self.bytes, digest: self.digest, media_type: self.media_type, value: read(self.value) }
    }
}

impl<T: Serialize> Raw<T> {
    /// Writes a value.
    pub fn write(media_type: &str, value: T) -> Self {
        let bytes = go_json(&value).into_bytes();
        Self { digest: Digest::sha256(&bytes), media_type: media_type.to_owned(), bytes, value }
    }
}

impl<T> Deref for Raw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What a manifest URL can answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them, and a box would be in the way of every match")]
pub enum Document {
    /// One image or artifact.
    Manifest(Manifest),
    /// A list of them.
    Index(Index),
}

impl Raw<Document> {
    /// Reads a manifest or an index. `content_type` is what the transport said; the document's own `mediaType` must not contradict
    /// it, and a document that could be read as both is refused (CVE-2021-41190: one digest with two meanings).
    pub fn parse(bytes: Vec<u8>, content_type: Option<&str>) -> Result<Self, ParseError> {
        const FORMAT: &str = "OCI manifest";
        limits::check_len(FORMAT, bytes.len(), limits::MANIFEST_BYTES)?;
        let shape: Shape<'_> = serde_json::from_slice(&bytes).map_err(|e| ParseError::new(FORMAT, e))?;
        let media_type = shape.media_type(content_type)?;
        let value = match is_index(&media_type) {
            true => Document::Index(read(FORMAT, &bytes)?),
            false => Document::Manifest(read(FORMAT, &bytes)?),
        };
        Ok(Self { digest: Digest::sha256(&bytes), bytes, media_type, value })
    }

    /// The manifest, if it is one.
    pub fn into_manifest(self) -> Result<Raw<Manifest>, ParseError> {
        match self.value {
            Document::Manifest(value) => Ok(Raw { bytes: self.bytes, digest: self.digest, media_type: self.media_type, value }),
            Document::Index(_) => Err(ParseError::new("OCI image manifest", "it is an index")),
        }
    }

    /// The index, if it is one.
    pub fn into_index(self) -> Result<Raw<Index>, ParseError> {
        match self.value {
            Document::Index(value) => Ok(Raw { bytes: self.bytes, digest: self.digest, media_type: self.media_type, value }),
            Document::Manifest(_) => Err(ParseError::new("OCI image index", "it is a manifest")),
        }
    }

    /// What the document is about, if it says so.
    pub fn subject(&self) -> Option<&Descriptor> {
        match &self.value {
            Document::Manifest(manifest) => manifest.subject.as_ref(),
            Document::Index(index) => index.subject.as_ref(),
        }
    }
}

/// The fields that tell the two kinds of document apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    config: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    layers: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    manifests: Option<&'a RawValue>,
}

impl Shape<'_> {
    fn media_type(&self, content_type: Option<&str>) -> Result<String, ParseError> {
        let refuse = |why: String| Err(ParseError::at("OCI manifest", "mediaType", why));
        if self.schema_version != 2 {
            return refuse(format!("schemaVersion {} is not 2", self.schema_version));
        }
        let image = self.config.is_some() || self.layers.is_some();
        let list = self.manifests.is_some();
        if image && list {
            return refuse("it has both layers and manifests, so it would mean different things to different readers".into());
        }
        let content_type = content_type.map(bare).filter(|t| MANIFEST_TYPES.contains(t));
        let own = self.media_type.as_deref().filter(|t| !t.is_empty());
        let media_type = match (own, content_type) {
            (Some(own), Some(sent)) if own != sent => return refuse(format!("it says {own} and was sent as {sent}")),
            (Some(own), _) => own,
            (None, Some(sent)) => sent,
            (None, None) if list => INDEX,
            (None, None) => MANIFEST,
        };
        if !MANIFEST_TYPES.contains(&media_type) {
            return refuse(format!("{media_type} is neither an image manifest nor an index"));
        }
        if is_index(media_type) == image {
            return refuse(format!("{media_type} does not fit its content"));
        }
        Ok(media_type.to_owned())
    }
}

/// Reads JSON that must be of one shape.
fn read<T: DeserializeOwned>(format: &'static str, bytes: &[u8]) -> Result<T, ParseError> {
    serde_json::from_slice(bytes).map_err(|e| ParseError::new(format, e))
}

/// Whether a media type is an index of either family.
pub fn is_index(media_type: &str) -> bool {
    media_type == INDEX || media_type == DOCKER_INDEX
}

/// A media type without its parameters.
pub fn bare(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::{
        artifact::tests::{COSIGN_MANIFEST, SUBJECT, referrer},
        *,
    };

    #[test]
    fn documents_are_told_apart() {
        let manifest = Raw::parse(COSIGN_MANIFEST.into(), Some(MANIFEST)).unwrap();
        assert_eq!(manifest.subject().unwrap().digest.to_string(), SUBJECT);
        assert!(manifest.clone().into_index().is_err());
        assert_eq!(manifest.into_manifest().unwrap().value, referrer().manifest().value);
        let bare_index = br#"{"schemaVersion":2,"manifests":null}"#.to_vec();
        assert_eq!(Raw::parse(bare_index.clone(), None).unwrap().media_type, INDEX);
        assert_eq!(
            Raw::parse(bare_index, Some("application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8"))
                .unwrap()
                .media_type,
            DOCKER_INDEX
        );
    }

    #[test]
    fn ambiguous_or_foreign_documents_are_refused() {
        let config = format!(r#"{{"mediaType":"{CONFIG}","size":2,"digest":"{SUBJECT}"}}"#);
        for (bad, content_type) in [
            (format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#), None),
            (format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","config":{config},"layers":[]}}"#), None),
            (format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[]}}"#), Some(DOCKER_MANIFEST)),
            (format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","manifests":[]}}"#), None),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), None),
            (r#"{"schemaVersion":2,"mediaType":"text/plain"}"#.to_owned(), None),
            ("<html>".to_owned(), Some(MANIFEST)),
            (String::new(), None),
        ] {
            assert!(Raw::parse(bad.clone().into_bytes(), content_type).is_err(), "{bad}");
        }
        assert!(Raw::parse(vec![b' '; limits::MANIFEST_BYTES + 1], None).is_err());
    }
}
