//! OCI manifests, indexes and descriptors, bytes first.
//!
//! Reads the OCI image specification 1.1 and Docker's schema 2, which differ in media types only. A parsed value always travels
//! with the bytes it was read from ([`Raw`]): a digest names bytes, and unknown fields are lost in a value. Values written here use
//! the key order and the escapes of Go's encoder and go-containerregistry's structures, so that what vidimus pushes equals, byte
//! for byte, what cosign pushes.
//!
//! Deliberately absent: platform selection (a signature is about the digest that was asked for) and foreign layers (`urls` are
//! kept but never fetched).

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    Digest, ParseError,
    encoding::{Base64, go_json},
    limits,
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

/// The list behind a referrers answer or a fallback tag, entry by entry: one that cannot be read must not hide the others, and
/// must survive when the list is written back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferrerList {
    /// The entries that could be read, in order.
    pub entries: Vec<Descriptor>,
    /// The others: their position and what is wrong with them.
    pub unreadable: Vec<(usize, ParseError)>,
}

impl ReferrerList {
    /// Reads an index of referrers.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        const FORMAT: &str = "referrers index";
        let raw: RawEntries<'_> = serde_json::from_slice(bytes).map_err(|e| ParseError::new(FORMAT, e))?;
        if let Some(other) = raw.media_type.filter(|t| !t.is_empty() && !is_index(t)) {
            return Err(ParseError::new(FORMAT, format_args!("it is a {other}")));
        }
        let manifests = raw.manifests.ok_or_else(|| ParseError::new(FORMAT, "it has no manifests"))?.unwrap_or_default();
        let mut list = Self::default();
        for (position, entry) in manifests.into_iter().enumerate() {
            match serde_json::from_str::<Descriptor>(entry.get()) {
                Ok(descriptor) => list.entries.push(descriptor),
                Err(e) => list.unreadable.push((position, ParseError::at(FORMAT, format_args!("manifests[{position}]"), e))),
            }
        }
        Ok(list)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntries<'a> {
    #[serde(default)]
    media_type: Option<String>,
    // Two levels: an absent list is not a referrers index, `null` is Go's empty list.
    #[serde(borrow, default, deserialize_with = "present")]
    manifests: Option<Option<Vec<&'a RawValue>>>,
}

fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Puts entries into a fallback index (the referrers tag schema of the distribution specification) and gives the new bytes.
///
/// Entries are kept as they are, with fields we do not know, except that one with the digest of a new entry is replaced: that is
/// how entries with a wrong `artifactType`, which cosign wrote before go-containerregistry 0.22, get repaired. Sorted by digest,
/// as cosign keeps it. `current` is `None` when the tag does not exist.
pub fn merge_referrers(current: Option<&[u8]>, new: &[Descriptor]) -> Result<Vec<u8>, ParseError> {
    const FORMAT: &str = "referrers index";
    let mut kept: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    if let Some(bytes) = current {
        ReferrerList::parse(bytes)?;
        let raw: RawEntries<'_> = serde_json::from_slice(bytes).map_err(|e| ParseError::new(FORMAT, e))?;
        for (position, entry) in raw.manifests.flatten().unwrap_or_default().into_iter().enumerate() {
            let digest = entry_digest(entry).unwrap_or_else(|| format!("~{position}"));
            kept.insert(digest, entry.to_owned());
        }
    }
    for entry in new {
        let text = go_json(entry);
        kept.insert(entry.digest.to_string(), RawValue::from_string(text).map_err(|e| ParseError::new(FORMAT, e))?);
    }
    limits::check_count(FORMAT, "manifests", kept.len(), limits::REFERRERS)?;
    let entries: Vec<&str> = kept.values().map(|e| e.get()).collect();
    Ok(format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, entries.join(",")).into_bytes())
}

fn entry_digest(entry: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct OnlyDigest {
        digest: String,
    }
    serde_json::from_str::<OnlyDigest>(entry.get()).ok().map(|e| e.digest)
}

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

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "sha256:e747a30b8b3d3cd105e7aeac8af0065bc4bebef484368afc33b4ed29176cf3af";
    const BUNDLE: &str = "sha256:085dd5641babdaa0cfabb1150d1d91fdaa1e9ff876c162bce79b24daa32d29fb";
    /// Pushed by cosign 3.1.1.
    const COSIGN_MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"},"layers":[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","size":659,"digest":"sha256:085dd5641babdaa0cfabb1150d1d91fdaa1e9ff876c162bce79b24daa32d29fb"}],"annotations":{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1","org.opencontainers.image.created":"2026-11-21T20:23:03Z"},"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":401,"digest":"sha256:e747a30b8b3d3cd105e7aeac8af0065bc4bebef484368afc33b4ed29176cf3af"},"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#;
    /// The fallback entry of the same manifest as cosign 3.1.1 wrote it, with the configuration's type in place of its own.
    const WRONG_ENTRY: &str = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":877,"digest":"sha256:478563f9e5d628adbbfafe3f20d38e787b883d1278ad9018daf0ad819f8f6381","artifactType":"application/vnd.oci.empty.v1+json"}"#;

    fn referrer() -> BundleReferrer<'static> {
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

    #[test]
    fn merging_repairs_wrong_entries_and_keeps_strange_ones() {
        let wrong = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{WRONG_ENTRY},{{"digest":"md5:00","size":1,"x":[1]}}]}}"#
        );
        let list = ReferrerList::parse(wrong.as_bytes()).unwrap();
        assert_eq!((list.entries.len(), list.unreadable.len()), (1, 1));
        let right = referrer_entry(&referrer().manifest());
        assert_eq!(right.digest, list.entries[0].digest, "it is the same manifest");
        let merged = merge_referrers(Some(wrong.as_bytes()), std::slice::from_ref(&right)).unwrap();
        let list = ReferrerList::parse(&merged).unwrap();
        assert_eq!((list.entries.as_slice(), list.unreadable.len()), (std::slice::from_ref(&right), 1));
        assert!(String::from_utf8(merged.clone()).unwrap().contains(r#"{"digest":"md5:00","size":1,"x":[1]}"#));
        assert_eq!(merge_referrers(Some(&merged), &[right]).unwrap(), merged, "merging twice changes nothing");
    }

    #[test]
    fn a_fallback_tag_that_is_not_an_index_is_never_overwritten() {
        assert!(merge_referrers(Some(COSIGN_MANIFEST.as_bytes()), &[]).is_err());
        assert!(merge_referrers(Some(b"{}"), &[]).is_err());
        assert_eq!(
            merge_referrers(None, &[]).unwrap(),
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#).into_bytes()
        );
    }
}
