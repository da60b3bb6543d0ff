//! What can hang off an image, as `discover` finds it; where to look for it, and how much of it to fetch.
//!
//! Nothing here is trusted: annotations, artifact types and lists are unsigned.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use vidimus_core::{
    Digest, Repository,
    cosign::{self, Attachment},
    limits,
    oci::{BUNDLE_PREDICATE_TYPE, Descriptor},
};

use super::{OciError, ReferrersSource};

/// All blobs together, unless the caller says otherwise: some large attestations, or thousands of usual ones.
const TOTAL_BYTES: u64 = 512 << 20;
/// Which blobs to fetch.
#[derive(Clone, Default)]
pub enum Fetch {
    /// Those whose format we know: bundles, signatures, attestations.
    #[default]
    Known,
    /// None: only what the manifests say.
    Nothing,
    /// Those that a function chooses.
    Chosen(Arc<dyn Fn(&Found) -> bool + Send + Sync>),
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known => "Known",
            Self::Nothing => "Nothing",
            Self::Chosen(_) => "Chosen(…)",
        })
    }
}

/// Where to look, what to fetch, and how much at most.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiscoverOptions {
    /// The repository that holds signatures, if it is not the image's (`COSIGN_REPOSITORY`).
    pub repository: Option<Repository>,
    /// What `.sig`, `.att` and `.sbom` tags begin with (`--attachment-tag-prefix`).
    pub tag_prefix: String,
    /// Which blobs to fetch.
    pub fetch: Fetch,
    /// Whether referrers of types we do not know are looked into as well, to show their layers.
    pub foreign: bool,
    /// The largest blob (`COSIGN_MAX_ATTACHMENT_SIZE`).
    pub blob_limit: u64,
    /// All blobs together.
    pub total_limit: u64,
}

impl Default for DiscoverOptions {
    fn default() -> Self {
        Self {
            repository: None,
            tag_prefix: String::new(),
            fetch: Fetch::Known,
            foreign: false,
            blob_limit: u64::try_from(limits::ATTESTATION_BYTES).unwrap_or(u64::MAX),
            total_limit: TOTAL_BYTES,
        }
    }
}

impl DiscoverOptions {
    /// Everything there is to show, and no blobs.
    pub fn listing() -> Self {
        Self { fetch: Fetch::Nothing, foreign: true, ..Self::default() }
    }
}

/// What an artifact is, by the media type of its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtifactKind {
    /// A simple-signing payload with its signature in annotations.
    Signature,
    /// A bare DSSE envelope.
    Attestation,
    /// Something under the `.sbom` tag.
    Sbom,
    /// A Sigstore bundle.
    Bundle,
    /// Anything else.
    Other,
}

/// Where an artifact was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// In a list of referrers.
    Referrer(ReferrersSource),
    /// Under a tag of its own.
    Tag {
        /// The tag: `sha256-<hex>.sig`.
        tag: String,
        /// What the tag is for.
        attachment: Attachment,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Referrer(ReferrersSource::Api) => f.write_str("OCI referrer"),
            Self::Referrer(ReferrersSource::FallbackTag) => f.write_str("OCI referrer (fallback tag)"),
            Self::Tag { tag, .. } => write!(f, "tag {tag}"),
        }
    }
}

/// What is known of an artifact before its blob is fetched. All of it is unsigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: ArtifactKind,
    /// Where it was found; more than one place if lists agree.
    pub locations: Vec<Location>,
    /// The manifest it is in.
    pub manifest: Descriptor,
    /// The manifest's artifact type.
    pub artifact_type: String,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The layer with the artifact. `None` for a referrer that was not looked into, or is an index.
    pub layer: Option<Descriptor>,
}

impl Found {
    /// The predicate type that the annotations claim.
    pub fn predicate_type(&self) -> Option<&str> {
        let layer = self.layer.as_ref().and_then(|l| l.annotation(cosign::PREDICATE_TYPE));
        self.annotations.get(BUNDLE_PREDICATE_TYPE).map(String::as_str).or(layer)
    }
}

/// An artifact, with its bytes if they were wanted and could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What is known of it.
    pub found: Found,
    /// The layer's bytes, their digest checked.
    pub content: Option<Bytes>,
}

/// A place or a blob that could not be read.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What was being looked at, in words.
    pub what: String,
    /// Why it could not be read.
    pub error: OciError,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

/// What hangs off an image.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The image's digest.
    pub image: Digest,
    /// The repository that was looked into.
    pub repository: Repository,
    /// Whether the registry has a referrers API; `None` if that could not be found out.
    pub has_api: Option<bool>,
    /// What was found: by location, then by digest.
    pub items: Vec<Artifact>,
    /// What could not be read. Not empty: whatever is missing from `items` may still exist.
    pub problems: Vec<Problem>,
}

impl Artifacts {
    /// Whether every place could be read, so that what is not listed is not there.
    pub fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }
}
