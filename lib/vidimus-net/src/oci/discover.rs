//! Everything that hangs off an image, in one list: bundle referrers (API and fallback tag), OCI 1.1 signature referrers, and what
//! lies under the `.sig`, `.att` and `.sbom` tags.
//!
//! All places are asked at the same time, each blob is fetched once even if several entries point to it, and all blobs together
//! stay within one byte budget. A place that could not be read, or a blob that could not be fetched, becomes a [`Problem`]: an empty
//! list means "none attached" only if there are no problems.
//!
//! Nothing is trusted here. Annotations, artifact types and lists are unsigned; they decide what is fetched, never what is believed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use vidimus_core::{
    Digest, ParseError, Repository,
    cosign::{self, Attachment},
    limits,
    oci::{self, BUNDLE_PREDICATE_TYPE, BUNDLE_PREFIX, Descriptor, Manifest, Raw},
};

use super::{OciError, Referrers, ReferrersSource, Registry};

/// Requests at the same time. A hundred referrers over a 20 ms link need two rounds of three; more connections would look like an
/// attack to a registry.
const PARALLEL: usize = 32;
/// All blobs together, unless the caller says otherwise: some large attestations, or thousands of usual ones.
const TOTAL_BYTES: u64 = 512 << 20;
/// Layers under one tag: what cosign reads.
const MAX_LAYERS: usize = 1_000;

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

    fn is_known(&self) -> bool {
        matches!(self.kind, ArtifactKind::Bundle | ArtifactKind::Signature | ArtifactKind::Attestation)
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

/// A manifest to look into, and where it is listed.
#[derive(Debug, Clone)]
struct Candidate {
    manifest: Descriptor,
    locations: Vec<Location>,
}

impl Registry {
    /// Everything that hangs off an image. Fails never as a whole: see [`Artifacts::problems`].
    pub async fn discover(&self, repository: &Repository, image: &Digest, options: &DiscoverOptions) -> Artifacts {
        let repository = options.repository.as_ref().unwrap_or(repository);
        let mut artifacts = Artifacts {
            image: image.clone(),
            repository: repository.clone(),
            has_api: None,
            items: Vec::new(),
            problems: Vec::new(),
        };
        let tag = |attachment: Attachment| self.attachment(repository, image, attachment, &options.tag_prefix);
        let (api, fallback, sig, att, sbom) = tokio::join!(
            self.referrers_api(repository, image),
            self.referrers_tag(repository, image),
            tag(Attachment::Signature),
            tag(Attachment::Attestation),
            tag(Attachment::Sbom),
        );
        artifacts.has_api = api.as_ref().ok().map(Option::is_some);
        let mut found = Vec::new();
        let candidates = artifacts.candidates(api, fallback);
        for (attachment, answer) in [(Attachment::Signature, sig), (Attachment::Attestation, att), (Attachment::Sbom, sbom)] {
            match answer {
                Ok(layers) => found.extend(layers),
                Err(error) => artifacts.problem(format!("tag {}", attachment.tag(image, &options.tag_prefix)), error),
            }
        }
        found.extend(self.look_into(repository, candidates, options, &mut artifacts).await);
        found.sort_by(|a, b| order(a).cmp(&order(b)));
        self.fetch(found, options, &mut artifacts).await;
        artifacts
    }

    /// The layers under a tag; none if there is no such tag.
    async fn attachment(
        &self,
        repository: &Repository,
        image: &Digest,
        attachment: Attachment,
        prefix: &str,
    ) -> Result<Vec<Found>, OciError> {
        let tag = attachment.tag(image, prefix);
        let reference = repository.tag(&tag).map_err(|source| OciError::malformed(repository, source))?;
        let manifest = match self.manifest(&reference).await {
            Ok(document) => document.into_manifest().map_err(|source| OciError::malformed(&reference, source))?,
            Err(e) if e.is_not_found() => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        if manifest.layers.len() > MAX_LAYERS {
            return Err(OciError::Limit { url: reference.to_string(), what: "layers", limit: MAX_LAYERS as u64 });
        }
        Ok(layers(&manifest, &[Location::Tag { tag, attachment }]))
    }

    /// The manifests of referrers, each fetched once.
    async fn look_into(
        &self,
        repository: &Repository,
        candidates: Vec<Candidate>,
        options: &DiscoverOptions,
        artifacts: &mut Artifacts,
    ) -> Vec<Found> {
        let (wanted, listed): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|c| !c.manifest.is_index() && (options.foreign || may_be_known(c)));
        let mut found: Vec<Found> = listed.into_iter().map(unopened).collect();
        let answers = stream::iter(wanted.into_iter().map(|candidate| async move {
            let reference = repository.digest(candidate.manifest.digest.clone());
            let manifest = match self.manifest(&reference).await {
                Ok(document) => document.into_manifest().map_err(|source| OciError::malformed(&reference, source)),
                Err(e) => Err(e),
            };
            (candidate, manifest)
        }));
        let mut answers = answers.buffer_unordered(PARALLEL);
        while let Some((candidate, manifest)) = answers.next().await {
            match manifest {
                Ok(manifest) => found.extend(layers(&manifest, &candidate.locations)),
                Err(error) => artifacts.problem(format!("referrer {}", candidate.manifest.digest), error),
            }
        }
        found
    }

    /// The blobs of what was found, each fetched once.
    async fn fetch(&self, found: Vec<Found>, options: &DiscoverOptions, artifacts: &mut Artifacts) {
        let mut wanted: HashMap<Digest, Descriptor> = HashMap::new();
        let mut left = options.total_limit;
        for item in found.iter().filter(|item| options.fetch.wants(item)) {
            let Some(layer) = &item.layer else { continue };
            if wanted.contains_key(&layer.digest) {
                continue;
            }
            match left.checked_sub(layer.size) {
                Some(rest) => {
                    left = rest;
                    wanted.insert(layer.digest.clone(), layer.clone());
                }
                None => artifacts.problem(
                    format!("artifact {}", layer.digest),
                    OciError::Limit {
                        url: artifacts.repository.to_string(),
                        what: "bytes in all artifacts",
                        limit: options.total_limit,
                    },
                ),
            }
        }
        let repository = artifacts.repository.clone();
        let answers = stream::iter(wanted.into_values().map(|descriptor| {
            let repository = &repository;
            async move {
                let blob = self.blob(repository, &descriptor, options.blob_limit).await;
                (descriptor.digest, blob)
            }
        }));
        let mut blobs: HashMap<Digest, Bytes> = HashMap::new();
        let mut answers = answers.buffer_unordered(PARALLEL);
        while let Some((digest, blob)) = answers.next().await {
            match blob {
                Ok(bytes) => {
                    blobs.insert(digest, bytes);
                }
                Err(error) => artifacts.problem(format!("artifact {digest}"), error),
            }
        }
        artifacts.problems.sort_by(|a, b| a.what.cmp(&b.what));
        artifacts.items = found
            .into_iter()
            .map(|found| {
                let wanted = options.fetch.wants(&found);
                let content = found.layer.as_ref().filter(|_| wanted).and_then(|l| blobs.get(&l.digest)).cloned();
                Artifact { found, content }
            })
            .collect();
    }
}

impl Fetch {
    fn wants(&self, found: &Found) -> bool {
        match self {
            Self::Known => found.is_known(),
            Self::Nothing => false,
            Self::Chosen(choose) => choose(found),
        }
    }
}

impl Artifacts {
    fn problem(&mut self, what: String, error: OciError) {
        self.problems.push(Problem { what, error });
    }

    /// The union of the lists, each manifest once.
    fn candidates(&mut self, api: Result<Option<Referrers>, OciError>, fallback: Result<Referrers, OciError>) -> Vec<Candidate> {
        let mut lists = Vec::new();
        match api {
            Ok(list) => lists.extend(list),
            Err(error) => self.problem("referrers".to_owned(), error),
        }
        match fallback {
            Ok(list) => lists.push(list),
            Err(error) => self.problem(format!("referrers tag {}", Attachment::Referrers.tag(&self.image, "")), error),
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut positions: HashMap<Digest, usize> = HashMap::new();
        for list in lists {
            let location = Location::Referrer(list.source);
            for error in list.unreadable {
                self.problem(location.to_string(), unreadable(&self.repository, error));
            }
            for manifest in list.entries {
                // Several lists may name a manifest; the API's entry comes first and is the better one.
                match positions.get(&manifest.digest) {
                    Some(&at) => candidates[at].locations.push(location.clone()),
                    None => {
                        positions.insert(manifest.digest.clone(), candidates.len());
                        candidates.push(Candidate { manifest, locations: vec![location.clone()] });
                    }
                }
            }
        }
        for candidate in &mut candidates {
            let unique: BTreeSet<Location> = candidate.locations.drain(..).collect();
            candidate.locations = unique.into_iter().collect();
        }
        candidates
    }
}

fn unreadable(repository: &Repository, source: ParseError) -> OciError {
    OciError::malformed(repository, source)
}

/// Whether a referrer may be one of the formats we know. An API derives the type from the manifest, so its word is enough to leave
/// a manifest unread; a fallback tag's word is not.
fn may_be_known(candidate: &Candidate) -> bool {
    let by_tag_only = !candidate.locations.contains(&Location::Referrer(ReferrersSource::Api));
    by_tag_only
        || match candidate.manifest.artifact_type.as_deref() {
            None | Some("" | oci::EMPTY) => true,
            Some(kind) => kind.starts_with(BUNDLE_PREFIX) || kind == cosign::SIGNATURE_ARTIFACT,
        }
}

/// A referrer as its list describes it.
fn unopened(candidate: Candidate) -> Found {
    Found {
        kind: ArtifactKind::Other,
        locations: candidate.locations,
        artifact_type: candidate.manifest.artifact_type.clone().unwrap_or_default(),
        annotations: candidate.manifest.annotations.clone(),
        manifest: candidate.manifest,
        layer: None,
    }
}

fn layers(manifest: &Raw<Manifest>, locations: &[Location]) -> Vec<Found> {
    let found = |layer: Option<&Descriptor>| Found {
        kind: layer.map_or(ArtifactKind::Other, |l| kind_of(&l.media_type, locations)),
        locations: locations.to_vec(),
        manifest: manifest.descriptor(),
        artifact_type: manifest.effective_artifact_type().to_owned(),
        annotations: manifest.annotations.clone(),
        layer: layer.cloned(),
    };
    match manifest.layers.is_empty() {
        true => vec![found(None)],
        false => manifest.layers.iter().take(MAX_LAYERS).map(|l| found(Some(l))).collect(),
    }
}

fn kind_of(media_type: &str, locations: &[Location]) -> ArtifactKind {
    let under_sbom = || locations.iter().any(|l| matches!(l, Location::Tag { attachment: Attachment::Sbom, .. }));
    match oci::bare(media_type) {
        cosign::SIMPLE_SIGNING => ArtifactKind::Signature,
        cosign::DSSE_ENVELOPE => ArtifactKind::Attestation,
        kind if kind.starts_with(BUNDLE_PREFIX) => ArtifactKind::Bundle,
        _ if under_sbom() => ArtifactKind::Sbom,
        _ => ArtifactKind::Other,
    }
}

/// One order for the same registry contents, whichever answer came first.
fn order(found: &Found) -> (Option<&Location>, Option<&str>, &Digest, Option<&Digest>) {
    let created = found.annotations.get(oci::CREATED).map(String::as_str);
    (found.locations.iter().max(), created, &found.manifest.digest, found.layer.as_ref().map(|l| &l.digest))
}
