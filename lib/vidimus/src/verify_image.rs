//! `verify` and `verify-attestation`: which of the things attached to an image prove what was asked.
//!
//! Every artifact of every format is a candidate, all are verified, and one that holds is enough. When none holds, the rejection
//! that got furthest is the explanation. "Nothing is attached" is only said when every place could be looked into.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use jiff::Timestamp;
use serde_json::Value;
use vidimus_core::{cosign::Payload, reference::Reference};
use vidimus_net::oci::{DiscoverOptions, OciError, Problem, Registry};
use vidimus_verify::{Artifact, Content, Instances, Policy, Quorum, Rejection, Tally, Verified};

use crate::{
    attached::{Attached, Candidate, Claim, Image, Unreadable},
    origin,
    predicate::PredicateType,
};

/// What is to be proven.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Whom to trust.
    pub trust: &'a Instances,
    /// What must be proven about a signature.
    pub policy: &'a Policy,
    /// How many of the policy's identities must have signed.
    pub quorum: Quorum,
    /// Annotations that a signature must carry (`-a`).
    pub annotations: BTreeMap<String, String>,
    /// Where to look.
    pub discover: DiscoverOptions,
    /// The time to judge at.
    pub at: Timestamp,
}

/// A candidate that proved what was asked.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The candidate.
    pub candidate: Candidate,
    /// What is proven.
    pub verified: Verified,
}

/// A candidate that did not.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The candidate.
    pub candidate: Candidate,
    /// Why.
    pub why: Why,
}

/// Why a candidate was refused.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// It does not verify.
    Rejected(Box<Rejection>),
    /// It verifies, but lacks an annotation.
    Annotation {
        /// Its name.
        name: String,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: Option<String>,
    },
    /// It verifies, but is of another predicate type.
    PredicateType(String),
}

/// An image that was accepted.
#[derive(Debug)]
pub struct Proven {
    /// The image.
    pub image: Image,
    /// What proved it; never empty.
    pub accepted: Vec<Accepted>,
    /// Which of the policy's identities signed; none where it asks for a key.
    pub tally: Option<Tally>,
    /// Candidates that proved nothing.
    pub refused: Vec<Refused>,
    /// Places that could not be looked into. One proof is enough, so they do not matter to the outcome.
    pub problems: Vec<Problem>,
}

/// An image that was not accepted, or could not be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The registry says that there is no such image.
    #[error("image tag not found: {reference}: {source}")]
    NoSuchImage {
        /// What was asked for.
        reference: Reference,
        /// What the registry said.
        source: Box<OciError>,
    },
    /// The registry did not tell.
    #[error("{reference}: {source}")]
    Registry {
        /// What was asked for.
        reference: Reference,
        /// What went wrong.
        source: Box<OciError>,
    },
    /// Nothing that could be read proves it, and not everything could be read.
    #[error("could not look everywhere: {}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Incomplete {
        /// What could not be read.
        problems: Vec<Problem>,
    },
    /// Nothing of the kind is attached.
    #[error("{}", nothing(*.kind, .image, .others))]
    NothingAttached {
        /// What was looked for.
        kind: Kind,
        /// The image.
        image: Reference,
        /// What is attached instead.
        others: Vec<String>,
    },
    /// Some of those who must have signed did, but not enough of them.
    #[error("{}: {tally}", no_matching(*.kind))]
    TooFew {
        /// What was looked for.
        kind: Kind,
        /// Who signed, and who did not.
        tally: Tally,
        /// What was refused, best explanation first.
        refused: Vec<Refused>,
    },
    /// Something is attached, but nothing that proves what was asked.
    #[error("{}", nothing_matched(*.kind, .refused, .unreadable, .wanted_type.as_ref()))]
    NothingMatched {
        /// What was looked for.
        kind: Kind,
        /// What was refused, best explanation first.
        refused: Vec<Refused>,
        /// What could not be read.
        unreadable: Vec<String>,
        /// The predicate type that was asked for.
        wanted_type: Option<PredicateType>,
    },
}

/// What is being looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Signatures over the image.
    Signatures,
    /// Attestations about it.
    Attestations,
}

/// Proves that an image was signed.
pub async fn signatures(registry: &Registry, reference: &Reference, request: &Request<'_>) -> Result<Proven, VerifyError> {
    let image = resolve(registry, reference).await?;
    let attached = Attached::to(registry, &image, &request.discover).await;
    judge_signatures(image, attached, request)
}

/// Proves that somebody attested something about an image. Without a type, any attestation counts.
pub async fn attestations(
    registry: &Registry,
    reference: &Reference,
    predicate_type: Option<&PredicateType>,
    request: &Request<'_>,
) -> Result<Proven, VerifyError> {
    let image = resolve(registry, reference).await?;
    let attached = Attached::to(registry, &image, &request.discover).await;
    judge_attestations(image, attached, predicate_type, request)
}

/// What a reference points to, with "there is none" told apart from "could not tell".
pub async fn resolve(registry: &Registry, reference: &Reference) -> Result<Image, VerifyError> {
    Image::resolve(registry, reference).await.map_err(|source| {
        let (reference, source) = (reference.clone(), Box::new(source));
        match source.is_not_found() {
            true => VerifyError::NoSuchImage { reference, source },
            false => VerifyError::Registry { reference, source },
        }
    })
}

/// Judges what is attached as signatures of the image.
pub fn judge_signatures(image: Image, attached: Attached, request: &Request<'_>) -> Result<Proven, VerifyError> {
    let is_signature = |claim: &Claim| *claim == Claim::Signature;
    judge(Kind::Signatures, image, attached, request, is_signature, |candidate, verified| {
        missing_annotation(candidate, verified, &request.annotations)
    })
}

/// Judges what is attached as attestations about the image.
pub fn judge_attestations(
    image: Image,
    attached: Attached,
    wanted: Option<&PredicateType>,
    request: &Request<'_>,
) -> Result<Proven, VerifyError> {
    let is_attestation = |claim: &Claim| matches!(claim, Claim::Attestation(_));
    let result = judge(Kind::Attestations, image, attached, request, is_attestation, |candidate, _| match &candidate.claim {
        Claim::Attestation(kind) if wanted.is_some_and(|wanted| wanted.as_str() != kind) => {
            Some(Why::PredicateType(kind.clone()))
        }
        _ => None,
    });
    result.map_err(|error| match error {
        VerifyError::NothingMatched { kind, refused, unreadable, .. } => {
            VerifyError::NothingMatched { kind, refused, unreadable, wanted_type: wanted.cloned() }
        }
        other => other,
    })
}

fn judge(
    kind: Kind,
    image: Image,
    attached: Attached,
    request: &Request<'_>,
    is_wanted: impl Fn(&Claim) -> bool,
    further: impl Fn(&Candidate, &Verified) -> Option<Why>,
) -> Result<Proven, VerifyError> {
    let (wanted, others): (Vec<_>, Vec<_>) = attached.candidates.into_iter().partition(|c| is_wanted(&c.claim));
    let results = verify_all(&wanted, &image, request);
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (candidate, result) in wanted.into_iter().zip(results) {
        match result {
            Ok(verified) => match further(&candidate, &verified) {
                None => accepted.push(Accepted { candidate, verified }),
                Some(why) => refused.push(Refused { candidate, why }),
            },
            Err(rejection) => refused.push(Refused { candidate, why: Why::Rejected(Box::new(rejection)) }),
        }
    }
    // Stable, so that equally good explanations keep the registry's order.
    refused.sort_by_key(|r| std::cmp::Reverse(r.why.rank()));
    let tally = tally(request.policy, request.quorum, accepted.iter().map(|a: &Accepted| &a.verified));
    if !accepted.is_empty() && tally.as_ref().is_none_or(Tally::is_reached) {
        return Ok(Proven { image, accepted, tally, refused, problems: attached.problems });
    }
    if !attached.problems.is_empty() {
        return Err(VerifyError::Incomplete { problems: attached.problems });
    }
    if let Some(tally) = tally.filter(|_| !accepted.is_empty()) {
        return Err(VerifyError::TooFew { kind, tally, refused });
    }
    let unreadable: Vec<_> = attached.unreadable.iter().map(Unreadable::to_string).collect();
    if refused.is_empty() && unreadable.is_empty() {
        let others: BTreeSet<_> = others.iter().map(|c| c.claim.to_string()).collect();
        return Err(VerifyError::NothingAttached { kind, image: image.by_digest(), others: others.into_iter().collect() });
    }
    Err(VerifyError::NothingMatched { kind, refused, unreadable, wanted_type: None })
}

/// Which of the identities signed, where the policy asks for identities.
pub(crate) fn tally<'v>(policy: &Policy, quorum: Quorum, signed: impl Iterator<Item = &'v Verified>) -> Option<Tally> {
    let identities = policy.identities();
    (!identities.is_empty()).then(|| quorum.count(identities, signed))
}

/// Verifies candidates on all cores: each is independent of the others.
fn verify_all(candidates: &[Candidate], image: &Image, request: &Request<'_>) -> Vec<Result<Verified, Rejection>> {
    let check = |candidate: &Candidate| {
        let artifact = Artifact::digest(image.descriptor.digest.clone());
        request.trust.verify(&candidate.entity, &artifact, request.policy, request.at)
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // A verification takes about a millisecond, starting a thread a tenth of one.
    if cores == 1 || candidates.len() < 4 {
        return candidates.iter().map(check).collect();
    }
    let share = candidates.len().div_ceil(cores);
    thread::scope(|scope| {
        let workers: Vec<_> =
            candidates.chunks(share).map(|chunk| scope.spawn(move || chunk.iter().map(check).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// The first annotation that a signature lacks.
fn missing_annotation(candidate: &Candidate, verified: &Verified, wanted: &BTreeMap<String, String>) -> Option<Why> {
    if wanted.is_empty() {
        return None;
    }
    let found = annotations(candidate, verified);
    wanted.iter().find(|(name, value)| found.get(*name) != Some(value)).map(|(name, value)| Why::Annotation {
        name: name.clone(),
        wanted: value.clone(),
        found: found.get(name).cloned(),
    })
}

/// What the signer wrote with `-a`, as text: from the statement's subject, or from the simple-signing payload.
fn annotations(candidate: &Candidate, verified: &Verified) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(statement) = verified.statement() {
        return statement.annotations().into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
    }
    let Content::Payload { payload, .. } = candidate.entity.content() else { return BTreeMap::new() };
    // The payload was parsed once already, to compare the digest it names; an unreadable one never gets here.
    let optional = Payload::parse(payload).ok().and_then(|p| p.optional).unwrap_or_default();
    optional.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

impl Refused {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.why {
            Why::Rejected(rejection) => origin::hint(rejection, &self.candidate.entity),
            other => other.hint(),
        }
    }
}

impl Why {
    /// How much this explains, see [`Rejection::rank`]. What verified and was still not wanted explains most.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Rejected(rejection) => rejection.rank(),
            Self::Annotation { .. } | Self::PredicateType(_) => u8::MAX,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Rejected(rejection) => rejection.hint(),
            Self::Annotation { .. } => None,
            Self::PredicateType(found) => Some(format!("pass --type {found} if that is right")),
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Annotation { name, wanted, found: Some(found) } => {
                write!(f, "missing or incorrect annotation: {name} is {found:?}, not {wanted:?}")
            }
            Self::Annotation { name, wanted, found: None } => {
                write!(f, "missing or incorrect annotation: {name} is not there; wanted {wanted:?}")
            }
            Self::PredicateType(found) => write!(f, "verified, but of the predicate type {found}"),
        }
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signature => f.write_str("signature"),
            Self::Attestation(kind) => write!(f, "attestation {kind}"),
        }
    }
}

impl VerifyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NothingMatched { refused, .. } | Self::TooFew { refused, .. } => refused.first().and_then(Refused::hint),
            Self::NothingAttached { kind: Kind::Signatures, others, .. } if !others.is_empty() => {
                Some("an attestation is not a signature; `vidimus verify-attestation` verifies it".to_owned())
            }
            Self::NothingAttached { kind: Kind::Attestations, others, .. } if !others.is_empty() => {
                Some("a signature is not an attestation; `vidimus verify` verifies it".to_owned())
            }
            _ => None,
        }
    }

    /// Whether everything that was refused lacks a certificate: it was signed with managed keys.
    pub fn is_without_certificate(&self) -> bool {
        let without = |r: &Refused| matches!(&r.why, Why::Rejected(r) if matches!(**r, Rejection::CertificateMissing { .. }));
        matches!(self, Self::NothingMatched { refused, unreadable, .. }
            if unreadable.is_empty() && !refused.is_empty() && refused.iter().all(without))
    }
}

/// "Nothing is attached", with cosign's greppable words.
fn nothing(kind: Kind, image: &Reference, others: &[String]) -> String {
    let what = match kind {
        Kind::Signatures => "no signatures found",
        Kind::Attestations => "no matching attestations: none found",
    };
    match others {
        [] => format!("{what} for {image}: nothing is attached to it"),
        some => format!("{what} for {image}; attached to it: {}", some.join(", ")),
    }
}

/// cosign's greppable words.
fn no_matching(kind: Kind) -> &'static str {
    match kind {
        Kind::Signatures => "no matching signatures",
        Kind::Attestations => "no matching attestations",
    }
}

/// "Nothing matched", with cosign's greppable words, the best explanation, and how many others there are.
fn nothing_matched(kind: Kind, refused: &[Refused], unreadable: &[String], wanted: Option<&PredicateType>) -> String {
    let what = no_matching(kind);
    let other_types: BTreeSet<_> =
        refused.iter().filter_map(|r| if let Why::PredicateType(found) = &r.why { Some(found.as_str()) } else { None }).collect();
    let of_wanted_type = refused.iter().find(|r| !matches!(r.why, Why::PredicateType(_)));
    let best = match (of_wanted_type, wanted) {
        (None, Some(wanted)) if !other_types.is_empty() => {
            let found: Vec<_> = other_types.into_iter().collect();
            format!("none of the attestations matched the predicate type: {wanted}, found: {}", found.join(","))
        }
        _ => refused.first().map_or_else(|| unreadable.join("; "), |r| r.why.to_string()),
    };
    let more = (refused.len() + unreadable.len()).saturating_sub(1);
    if more == 0 {
        return format!("{what}: {best}");
    }
    format!("{what}: {best} (and {more} more that proved nothing{})", other_signers(refused))
}

/// The signers of the other signatures whose only fault is who signed, a few of them: the one that was meant may be among them.
fn other_signers(refused: &[Refused]) -> String {
    const SHOWN: usize = 5;
    let name = |refused: &Refused| match &refused.why {
        Why::Rejected(rejection) => match &**rejection {
            Rejection::IdentityMismatch { found, .. } => Some(found.escape_debug().to_string()),
            _ => None,
        },
        _ => None,
    };
    let first = refused.first().and_then(name);
    let mut others: Vec<_> = refused.iter().skip(1).filter_map(name).filter(|other| Some(other) != first.as_ref()).collect();
    others.sort();
    others.dedup();
    let dots = if others.len() > SHOWN { ", …" } else { "" };
    others.truncate(SHOWN);
    if others.is_empty() { String::new() } else { format!("; also signed by {}{dots}", others.join(", ")) }
}
