//! Everything that hangs off an image, in one list: bundle referrers (API and fallback tag), OCI 1.1 signature referrers, and what
//! lies under the `.sig`, `.att` and `.sbom` tags.
//!
//! All places are asked at the same time, each blob is fetched once even if several entries point to it, and all blobs together
//! stay within one byte budget. A place that could not be read, or a blob that could not be fetched, becomes a [`Problem`]: an empty
//! list means "none attached" only if there are no problems.
//!
//! Nothing is trusted here. Annotations, artifact types and lists are unsigned; they decide what is fetched, never what is believed.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use vidimus_core::{
    Digest, ParseError, Repository,
    cosign::{self, Attachment},
    oci::{self, BUNDLE_PREFIX, Descriptor, Manifest, Raw},
};

use super::{
    Artifact, ArtifactKind, Artifacts, DiscoverOptions, Fetch, Found, Location, OciError, Problem, Referrers, ReferrersSource,
    Registry,
};

/// Requests at the same time. A hundred referrers over a 20 ms link need two rounds of three; more connections would look like an
/// attack to a registry.
const PARALLEL: usize = 32;
/// Layers under one tag: what cosign reads.
const MAX_LAYERS: usize = 1_000;

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
            Self::Known => is_known(found),
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

fn is_known(found: &Found) -> bool {
    matches!(found.kind, ArtifactKind::Bundle | ArtifactKind::Signature | ArtifactKind::Attestation)
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
