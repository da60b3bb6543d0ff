//! A picture of what hangs off an image. Nothing in it is verified, and it says so.
//!
//! The shape is that of `cosign tree`, line for line; who signed, and when, stands on lines of its own below the cherry.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;
use vidimus_core::{
    Digest,
    bundle::{Bundle, Signer as BundleSigner},
    cosign::Attachment,
    encoding::pem_blocks,
    reference::Reference,
};
use vidimus_net::oci::{self, ArtifactKind, DiscoverOptions, Fetch, Location, Registry};

use crate::{
    attached::annotated,
    certificate,
    verify_image::{VerifyError, resolve},
};

/// A bundle larger than this is shown without its signer: a picture is not worth fetching a whole SBOM.
const PEEK_BYTES: u64 = 1 << 20;

/// What hangs off an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Tree {
    /// The image as it was asked for.
    pub image: String,
    /// Its digest.
    pub digest: Digest,
    /// What hangs off it.
    pub artifacts: Vec<Leaf>,
    /// Always false: a picture proves nothing.
    pub verified: bool,
    /// Places that could not be looked into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One attached artifact.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Leaf {
    /// The place it hangs at.
    pub branch: Branch,
    /// The reference of that place.
    pub reference: String,
    /// The artifact's own digest: that of its layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The size of the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What it says it is: a predicate type or an artifact type.
    pub kind: String,
    /// Who signed it, as its certificate says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// When it was signed, as the log or the certificate says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Its place in a transparency log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<i64>,
}

/// Where an artifact hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Branch {
    /// Under the `.sig` tag.
    SignatureTag,
    /// Under the `.att` tag.
    AttestationTag,
    /// Under the `.sbom` tag.
    SbomTag,
    /// A referrer.
    Referrer,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Signer {
    /// The name in the certificate.
    pub identity: String,
    /// The issuer in the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// Looks at what hangs off an image.
pub async fn tree(registry: &Registry, reference: &Reference, mut options: DiscoverOptions) -> Result<Tree, VerifyError> {
    let image = resolve(registry, reference).await?;
    options.foreign = true;
    options.fetch = Fetch::Chosen(Arc::new(|found| {
        found.kind == ArtifactKind::Bundle && found.layer.as_ref().is_some_and(|l| l.size <= PEEK_BYTES)
    }));
    let artifacts = registry.discover(reference.repository(), &image.descriptor.digest, &options).await;
    let repository = artifacts.repository.clone();
    let mut leaves: Vec<_> = artifacts.items.iter().map(|artifact| leaf(artifact, &repository)).collect();
    leaves.sort_by(|a, b| (a.branch, &a.kind, &a.reference).cmp(&(b.branch, &b.kind, &b.reference)));
    Ok(Tree {
        image: reference.to_string(),
        digest: image.descriptor.digest,
        artifacts: leaves,
        verified: false,
        problems: artifacts.problems.iter().map(ToString::to_string).collect(),
    })
}

fn leaf(artifact: &oci::Artifact, repository: &vidimus_core::reference::Repository) -> Leaf {
    let found = &artifact.found;
    let (branch, reference) = place(found, repository);
    let evidence = Evidence::of(artifact);
    Leaf {
        branch,
        reference,
        digest: found.layer.as_ref().map(|l| l.digest.clone()),
        size: found.layer.as_ref().map(|l| l.size),
        kind: found.predicate_type().unwrap_or(&found.artifact_type).to_owned(),
        signer: evidence.signer,
        time: evidence.time,
        log_index: evidence.log_index,
    }
}

fn place(found: &oci::Found, repository: &vidimus_core::reference::Repository) -> (Branch, String) {
    for location in &found.locations {
        if let Location::Tag { tag, attachment } = location {
            let branch = match attachment {
                Attachment::Signature => Branch::SignatureTag,
                Attachment::Attestation => Branch::AttestationTag,
                Attachment::Sbom => Branch::SbomTag,
                Attachment::Referrers => continue,
            };
            return (branch, format!("{repository}:{tag}"));
        }
    }
    (Branch::Referrer, format!("{repository}@{}", found.manifest.digest))
}

/// What an artifact says about its making. All of it is hearsay until verified.
#[derive(Debug, Default)]
struct Evidence {
    signer: Option<Signer>,
    time: Option<Timestamp>,
    log_index: Option<i64>,
}

impl Evidence {
    fn of(artifact: &oci::Artifact) -> Self {
        if let Some(bundle) = artifact.content.as_deref().and_then(|content| Bundle::from_json(content).ok()) {
            return Self::of_bundle(&bundle);
        }
        let Some(layer) = annotated(&artifact.found) else { return Self::default() };
        let der = layer.certificate.and_then(|pem| pem_blocks(&pem).ok()).and_then(|blocks| blocks.into_iter().next());
        let payload = layer.bundle.map(|b| b.payload);
        Self::new(der.as_ref().map(|block| block.der.as_slice()), payload.as_ref().map(|p| (p.integrated_time, p.log_index)))
    }

    fn of_bundle(bundle: &Bundle) -> Self {
        let material = &bundle.verification_material;
        let der = match material.signer() {
            Ok(BundleSigner::Certificates(chain)) => chain.first().copied(),
            _ => None,
        };
        Self::new(der, material.tlog_entries.first().map(|entry| (entry.integrated_time.0, entry.log_index.0)))
    }

    fn new(certificate: Option<&[u8]>, entry: Option<(i64, i64)>) -> Self {
        let summary = certificate.and_then(certificate::Summary::of);
        // Rekor v2 notes no time (0); the certificate lived for minutes around it.
        let logged = entry.and_then(|(time, _)| (time > 0).then(|| Timestamp::from_second(time).ok()).flatten());
        Self {
            time: logged.or(summary.as_ref().map(|s| s.not_before)),
            signer: summary.map(|s| Signer { identity: s.identity, issuer: s.issuer }),
            log_index: entry.map(|(_, index)| index),
        }
    }
}

impl Tree {
    /// Draws the picture.
    pub fn render(&self, out: &mut impl Write) -> io::Result<()> {
        if self.artifacts.is_empty() {
            let (image, start) = (&self.image, "start creating one with simply running");
            return writeln!(
                out,
                "No Supply Chain Security Related Artifacts found for image {image},\n {start}$ vidimus sign {image}"
            );
        }
        writeln!(out, "📦 Supply Chain Security Related artifacts for an image: {}", self.image)?;
        for ((_, reference), leaves) in self.branches() {
            writeln!(out, "└── {}: {reference}", heading(leaves[0]))?;
            for (index, leaf) in leaves.iter().enumerate() {
                leaf.render(index + 1 == leaves.len(), out)?;
            }
        }
        Ok(())
    }

    /// Leaves by the place they hang at, in order.
    fn branches(&self) -> BTreeMap<(usize, &str), Vec<&Leaf>> {
        let mut branches: BTreeMap<(usize, &str), Vec<&Leaf>> = BTreeMap::new();
        for (index, leaf) in self.artifacts.iter().enumerate() {
            let first = self.artifacts.iter().position(|l| l.reference == leaf.reference).unwrap_or(index);
            branches.entry((first, &leaf.reference)).or_default().push(leaf);
        }
        branches
    }
}

fn heading(leaf: &Leaf) -> String {
    match leaf.branch {
        Branch::SignatureTag => "🔐 Signatures for an image tag".into(),
        Branch::AttestationTag => "💾 Attestations for an image tag".into(),
        Branch::SbomTag => "📦 SBOMs for an image tag".into(),
        Branch::Referrer => format!("🔗 {} artifacts via OCI referrer", leaf.kind),
    }
}

impl Leaf {
    fn render(&self, last: bool, out: &mut impl Write) -> io::Result<()> {
        let (twig, bar) = if last { ("└──", "   ") } else { ("├──", "│  ") };
        if let Some(digest) = &self.digest {
            writeln!(out, "   {twig} 🍒 {digest}")?;
        }
        if let Some(signer) = &self.signer {
            let issuer = signer.issuer.as_ref().map(|i| format!(" (issuer {i})")).unwrap_or_default();
            writeln!(out, "   {bar}    signer: {}{issuer}", signer.identity)?;
        }
        if let Some(time) = &self.time {
            let index = self.log_index.map(|i| format!(" (log index {i})")).unwrap_or_default();
            writeln!(out, "   {bar}    time: {time}{index}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(branch: Branch, reference: &str, content: &[u8]) -> Leaf {
        Leaf {
            branch,
            reference: reference.into(),
            digest: Some(Digest::sha256(content)),
            size: Some(1),
            kind: "https://slsa.dev/provenance/v1".into(),
            signer: None,
            time: None,
            log_index: None,
        }
    }

    fn tree(artifacts: Vec<Leaf>) -> String {
        let tree =
            Tree { image: "h:1/app:1".into(), digest: Digest::sha256(b"i"), artifacts, verified: false, problems: Vec::new() };
        let mut out = Vec::new();
        tree.render(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_cosign_draws_it() {
        let (a, b) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        assert_eq!(
            tree(vec![
                leaf(Branch::SignatureTag, "h:1/app:sha256-x.sig", b"a"),
                leaf(Branch::SignatureTag, "h:1/app:sha256-x.sig", b"b"),
                leaf(Branch::Referrer, "h:1/app@sha256:29b5", b"a"),
            ]),
            format!(
                "\
📦 Supply Chain Security Related artifacts for an image: h:1/app:1
└── 🔐 Signatures for an image tag: h:1/app:sha256-x.sig
   ├── 🍒 {a}
   └── 🍒 {b}
└── 🔗 https://slsa.dev/provenance/v1 artifacts via OCI referrer: h:1/app@sha256:29b5
   └── 🍒 {a}
"
            )
        );
    }

    #[test]
    fn signer_and_time_stand_below() {
        let mut one = leaf(Branch::Referrer, "h:1/app@sha256:29b5", b"a");
        one.signer = Some(Signer { identity: "jdoe@example.com".into(), issuer: Some("http://127.0.0.1:1".into()) });
        one.time = Some("2026-11-21T20:23:03Z".parse().unwrap());
        one.log_index = Some(7);
        let text = tree(vec![one]);
        assert!(
            text.ends_with(
                "          signer: jdoe@example.com (issuer http://127.0.0.1:1)\n          time: 2026-11-21T20:23:03Z (log index 7)\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_attached() {
        assert!(tree(Vec::new()).starts_with("No Supply Chain Security Related Artifacts found for image h:1/app:1,\n"));
    }
}
