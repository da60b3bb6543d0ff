//! Why a signature was not accepted: the evidence that was seen, what was wanted, and what to do.
//!
//! Every variant belongs to one check. [`Rejection::rank`] orders rejections by how much they explain: among many signatures on one
//! image, the one that got furthest is the one to talk about.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};
use vidimus_core::{Algorithm, Digest, ParseError, bundle::Version, fulcio::Extension};

use crate::{CertificateIdentity, CertificateSigner, CheckId, Format, check::printable};

/// A signature that was not accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Rejection {
    /// The artifact is known by digests only, and not by one with the algorithm that the signature is over.
    ArtifactDigestUnknown {
        /// The check that needs the digest.
        check: CheckId,
        /// The algorithm; none if the signature is over the bytes themselves.
        wanted: Option<String>,
    },
    /// The bundle says that it is about another artifact.
    ArtifactMismatch {
        /// The check that compared.
        check: CheckId,
        /// The artifact's digest.
        wanted: Digest,
        /// The digest in the signed data.
        found: String,
    },
    /// The certificate is of no trusted authority.
    CertificateAuthorityUnknown {
        /// The issuer's name in the certificate.
        issuer: String,
        /// The names of the authorities that the trust root has.
        trusted: Vec<String>,
    },
    /// An authority of the right name is in the trust root, but its own chain there is broken.
    CertificateAuthorityUnusable {
        /// The issuer's name in the certificate.
        issuer: String,
        /// What is wrong with the chain.
        why: String,
    },
    /// An authority of the right name is trusted, but it did not sign this certificate.
    CertificateForged {
        /// The issuer's name in the certificate.
        issuer: String,
    },
    /// The certificate cannot be read or is not one for signing code.
    CertificateUnusable {
        /// What is wrong.
        why: String,
    },
    /// The certificate, or an authority above it, was not valid when the signature was made.
    CertificateNotValid {
        /// Whose validity.
        whose: String,
        /// The verified time of the signature.
        time: Timestamp,
        /// Who says so.
        source: String,
        /// The first moment of validity.
        not_before: Option<Timestamp>,
        /// The last moment of validity.
        not_after: Option<Timestamp>,
    },
    /// The entity has no certificate, and the policy wants an identity.
    CertificateMissing {
        /// Where the entity came from.
        format: Format,
        /// The hint at a key that the bundle carries instead.
        hint: Option<String>,
    },
    /// The signer is not one of those asked for.
    IdentityMismatch {
        /// The names in the certificate.
        found: String,
        /// The OIDC issuer in the certificate.
        issuer: Option<String>,
        /// The identities asked for.
        wanted: Vec<String>,
        /// For each of them, the first thing that is different.
        mismatches: Vec<Mismatch>,
    },
    /// The certificate names two different issuers.
    IssuerContradiction {
        /// The one in Fulcio's first extension.
        old: String,
        /// The one in its eighth.
        new: String,
    },
    /// The managed key was not valid when the signature was made.
    KeyNotValid {
        /// The verified time of the signature.
        time: Timestamp,
        /// The first moment of validity.
        not_before: Option<Timestamp>,
        /// The last moment of validity.
        not_after: Option<Timestamp>,
    },
    /// A log entry is about something else.
    LogEntryMismatch {
        /// The log.
        log: String,
        /// The entry's index.
        index: i64,
        /// What differs: the signature, the key, the artifact's digest.
        what: String,
    },
    /// A log entry cannot be read, or lacks evidence that its format requires.
    LogEntryMalformed {
        /// The check that needs it.
        check: CheckId,
        /// The entry's index.
        index: i64,
        /// What is wrong.
        why: String,
    },
    /// A log's evidence does not verify.
    LogEvidenceInvalid {
        /// Which evidence: checkpoint, inclusion proof or promise.
        check: CheckId,
        /// The log.
        log: String,
        /// The entry's index.
        index: i64,
        /// What is wrong.
        why: String,
    },
    /// The entity has a form that is not allowed.
    Malformed {
        /// The check.
        check: CheckId,
        /// What is wrong.
        why: String,
    },
    /// Fewer log entries verify than required.
    NotEnoughLogEntries {
        /// How many are required.
        required: usize,
        /// How many verify.
        verified: usize,
        /// Why others do not count.
        problems: Vec<String>,
    },
    /// Fewer SCTs verify than required.
    NotEnoughScts {
        /// How many are required.
        required: usize,
        /// How many verify.
        verified: usize,
        /// Why others do not count.
        problems: Vec<String>,
    },
    /// Fewer sources than required say when the signature existed.
    NotEnoughTimes {
        /// `time.source`, or `time.rfc3161` if it is timestamp authorities that are missing.
        check: CheckId,
        /// How many are required.
        required: usize,
        /// How many verify.
        verified: usize,
        /// Why others do not count.
        problems: Vec<String>,
    },
    /// Fewer witnesses than required cosigned the log's checkpoint.
    NotEnoughWitnesses {
        /// How many are required.
        required: usize,
        /// The names of those whose cosignatures verify.
        verified: Vec<String>,
    },
    /// The payload is not an in-toto statement.
    NotAStatement {
        /// What is wrong.
        why: String,
    },
    /// The signature does not verify.
    SignatureInvalid {
        /// `signature.message`, `signature.dsse` or `signature.payload`.
        check: CheckId,
        /// The key.
        key: String,
    },
    /// The statement is about other artifacts.
    StatementNotAbout {
        /// The artifact's digests.
        wanted: Vec<Digest>,
        /// The digests of the statement's subjects, the first few.
        subjects: Vec<String>,
    },
    /// A verified time lies in the future.
    TimeInFuture {
        /// The time.
        time: Timestamp,
        /// Who says so.
        source: String,
        /// Now.
        now: Timestamp,
    },
    /// The entity is of an older format than the policy accepts.
    VersionTooOld {
        /// The entity's format.
        found: Format,
        /// The oldest acceptable bundle version.
        minimum: Version,
    },
}

/// The first thing that is different between a signer and an identity asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Mismatch {
    /// Which part.
    pub part: IdentityPart,
    /// What it must be.
    pub wanted: String,
    /// What it is; empty if absent.
    pub found: String,
}

/// A part of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum IdentityPart {
    /// The subject alternative name.
    San,
    /// The OIDC issuer.
    Issuer,
    /// One of Fulcio's claims.
    Claim(Extension),
}

impl Rejection {
    pub(crate) fn identity(
        signer: &CertificateSigner,
        wanted: &[CertificateIdentity],
        mismatches: impl Iterator<Item = Mismatch>,
    ) -> Self {
        Self::IdentityMismatch {
            found: signer.name(),
            issuer: signer.issuer().map(str::to_owned),
            wanted: wanted.iter().map(ToString::to_string).collect(),
            mismatches: mismatches.collect(),
        }
    }

    pub(crate) fn malformed(check: CheckId, why: impl fmt::Display) -> Self {
        Self::Malformed { check, why: why.to_string() }
    }

    pub(crate) fn digest_unknown(check: CheckId, wanted: Algorithm) -> Self {
        Self::ArtifactDigestUnknown { check, wanted: Some(wanted.name().to_owned()) }
    }

    /// The check that failed.
    pub fn check_id(&self) -> CheckId {
        match self {
            Self::ArtifactDigestUnknown { check, .. }
            | Self::ArtifactMismatch { check, .. }
            | Self::LogEntryMalformed { check, .. }
            | Self::LogEvidenceInvalid { check, .. }
            | Self::Malformed { check, .. }
            | Self::NotEnoughTimes { check, .. }
            | Self::SignatureInvalid { check, .. } => *check,
            Self::CertificateAuthorityUnknown { .. }
            | Self::CertificateAuthorityUnusable { .. }
            | Self::CertificateForged { .. } => CheckId::CertChain,
            Self::CertificateUnusable { .. } => CheckId::CertUsage,
            Self::CertificateNotValid { .. } => CheckId::CertValidity,
            Self::CertificateMissing { .. } => CheckId::IdentitySan,
            Self::IdentityMismatch { mismatches, .. } => {
                mismatches.iter().map(Mismatch::check_id).max().unwrap_or(CheckId::IdentitySan)
            }
            Self::IssuerContradiction { .. } => CheckId::IdentityIssuer,
            Self::KeyNotValid { .. } => CheckId::IdentityKey,
            Self::LogEntryMismatch { .. } => CheckId::LogBinding,
            Self::NotEnoughLogEntries { .. } => CheckId::LogEntries,
            Self::NotEnoughScts { .. } => CheckId::CertSct,
            Self::NotEnoughWitnesses { .. } => CheckId::LogWitness,
            Self::NotAStatement { .. } | Self::StatementNotAbout { .. } => CheckId::StatementSubject,
            Self::TimeInFuture { .. } => CheckId::TimeSource,
            Self::VersionTooOld { .. } => CheckId::BundleVersion,
        }
    }

    /// What an empty list of trust roots says about everything.
    pub(crate) fn nobody_trusted() -> Self {
        Self::malformed(CheckId::CertChain, "there is no trusted root, so that nobody is trusted")
    }

    /// Whether the trust root knows none of the services that made the signature: it is of another Sigstore instance, and what is
    /// wrong with it beyond that is not known.
    pub fn is_of_another_instance(&self) -> bool {
        match self {
            Self::CertificateAuthorityUnknown { .. } => true,
            Self::NotEnoughLogEntries { verified: 0, problems, .. } => problems.iter().any(|p| p.contains(UNKNOWN_LOG)),
            _ => false,
        }
    }

    /// Whether nothing was proven wrong: the caller did not give what it takes to decide. Neither accepted nor rejected.
    pub fn could_not_tell(&self) -> bool {
        matches!(self, Self::ArtifactDigestUnknown { .. })
    }

    /// Whether it may end differently if more digests of the artifact are known: those of algorithms that were left out.
    pub fn depends_on_digests(&self) -> bool {
        matches!(
            self,
            Self::ArtifactDigestUnknown { .. }
                | Self::SignatureInvalid { .. }
                | Self::StatementNotAbout { .. }
                // Evidence that is about another digest does not count.
                | Self::NotEnoughLogEntries { .. }
                | Self::NotEnoughTimes { .. }
        )
    }

    /// How much this explains: among several rejections of one artifact, show the one with the highest rank. It grows with the number
    /// of checks that passed before.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Malformed { .. } => 5,
            Self::VersionTooOld { .. } => 10,
            Self::CertificateMissing { .. } => 15,
            Self::CertificateUnusable { .. } => 20,
            Self::CertificateAuthorityUnknown { .. } | Self::CertificateAuthorityUnusable { .. } => 25,
            Self::ArtifactDigestUnknown { .. } => 28,
            Self::ArtifactMismatch { .. } | Self::StatementNotAbout { .. } | Self::NotAStatement { .. } => 30,
            Self::LogEntryMalformed { .. } => 35,
            Self::LogEntryMismatch { .. } => 40,
            Self::LogEvidenceInvalid { .. } => 45,
            Self::NotEnoughLogEntries { .. } | Self::NotEnoughWitnesses { .. } => 50,
            Self::NotEnoughTimes { .. } | Self::TimeInFuture { .. } => 55,
            Self::CertificateForged { .. } => 60,
            Self::CertificateNotValid { .. } | Self::KeyNotValid { .. } => 65,
            Self::NotEnoughScts { .. } => 70,
            Self::SignatureInvalid { .. } => 75,
            Self::IssuerContradiction { .. } => 80,
            // Name, issuer, claim: what differs later is nearer to what was asked for.
            Self::IdentityMismatch { mismatches, .. } => 90 + mismatches.iter().map(Mismatch::nearness).max().unwrap_or(0),
        }
    }

    /// What to do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        self.advice().map(printable)
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::ArtifactDigestUnknown { wanted: None, .. } => "give the file itself instead of its digest".to_owned(),
            Self::ArtifactDigestUnknown { wanted: Some(wanted), .. } => {
                format!("give the file itself, or its {wanted} digest")
            }
            Self::CertificateAuthorityUnknown { .. } => {
                "this looks like a signature from another Sigstore instance: use that instance's trusted root".to_owned()
            }
            Self::CertificateAuthorityUnusable { .. } => {
                "get the trusted root of that instance again: its entry for this authority is damaged".to_owned()
            }
            Self::CertificateMissing { .. } => {
                "it was signed with a managed key: pass --key with the signer's public key".to_owned()
            }
            Self::IdentityMismatch { found, issuer, mismatches, .. } => identity_hint(found, issuer.as_deref(), mismatches)?,
            Self::NotEnoughLogEntries { problems, .. } if problems.iter().any(|p| p.contains(UNKNOWN_LOG)) => {
                "the trusted root does not have this log: use the trusted root of the instance that signed".to_owned()
            }
            Self::NotEnoughLogEntries { problems, .. } if problems.is_empty() => {
                "sign it again with a log; --evidence timestamp-authority is for instances without one, --insecure-ignore-tlog does without"
                    .to_owned()
            }
            Self::NotEnoughScts { .. } => {
                "the trusted root needs the instance's Certificate Transparency log; --insecure-ignore-sct is for instances without one"
                    .to_owned()
            }
            Self::SignatureInvalid { .. } | Self::LogEntryMismatch { .. } => {
                "another key signed it, or it was changed since: get the signature again, and compare the key".to_owned()
            }
            Self::NotEnoughTimes { .. } => {
                "the signature needs a signed timestamp, or an entry in a log that promises a time".to_owned()
            }
            Self::TimeInFuture { .. } => "compare this machine's clock with the real time".to_owned(),
            Self::VersionTooOld { minimum, .. } => format!("sign again with a client that writes bundle {minimum} or newer"),
            _ => return None,
        })
    }
}

/// Part of the problem text for entries of logs that the trust root does not have.
pub(crate) const UNKNOWN_LOG: &str = "not in the trusted root";

fn identity_hint(found: &str, issuer: Option<&str>, mismatches: &[Mismatch]) -> Option<String> {
    // With several identities to choose from there is no telling which one was meant.
    let [mismatch] = mismatches else { return None };
    Some(match mismatch.part {
        IdentityPart::San => format!("pass --certificate-identity {found} if that is right"),
        IdentityPart::Issuer => format!("pass --certificate-oidc-issuer {} if that is right", issuer?),
        IdentityPart::Claim(claim) if mismatch.found.is_empty() => format!("the certificate says nothing about {claim}"),
        IdentityPart::Claim(claim) => format!("the certificate's {claim} is {}", mismatch.found),
    })
}

impl Mismatch {
    fn nearness(&self) -> u8 {
        match self.part {
            IdentityPart::San => 0,
            IdentityPart::Issuer => 1,
            IdentityPart::Claim(_) => 2,
        }
    }

    fn check_id(&self) -> CheckId {
        match self.part {
            IdentityPart::San => CheckId::IdentitySan,
            IdentityPart::Issuer => CheckId::IdentityIssuer,
            IdentityPart::Claim(_) => CheckId::IdentityClaim,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.explain(&mut text)?;
        f.write_str(&printable(text))
    }
}

impl Rejection {
    fn explain(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::ArtifactDigestUnknown { wanted: Some(wanted), .. } => {
                write!(f, "the signature is over the artifact's {wanted} digest, which is not known")
            }
            Self::ArtifactDigestUnknown { wanted: None, .. } => {
                write!(f, "the signature is over the artifact's bytes, of which only a digest is known")
            }
            Self::ArtifactMismatch { wanted, found, .. } => write!(f, "signed for {found}, but the artifact is {wanted}"),
            Self::CertificateAuthorityUnknown { issuer, trusted } => {
                write!(
                    f,
                    "the certificate was issued by {issuer:?}, which the trusted root does not have; it has {}",
                    list(trusted)
                )
            }
            Self::CertificateAuthorityUnusable { issuer, why } => {
                write!(f, "the certificate was issued by {issuer:?}, whose chain in the trusted root cannot be used: {why}")
            }
            Self::CertificateForged { issuer } => {
                write!(f, "the certificate names {issuer:?} as its issuer, but that authority did not sign it")
            }
            Self::CertificateUnusable { why } => write!(f, "the certificate cannot be used: {why}"),
            Self::CertificateNotValid { whose, time, source, not_before, not_after } => {
                write!(
                    f,
                    "{whose} was valid {}, but the signature was made {time} (according to {source})",
                    span(not_before, not_after)
                )
            }
            Self::CertificateMissing { format, .. } => {
                write!(f, "the {format} has no certificate, so that nobody vouches for the signer's identity")
            }
            Self::IdentityMismatch { found, issuer, wanted, mismatches } => {
                write!(f, "signed by {found} (issuer {})", issuer.as_deref().unwrap_or("none"))?;
                for mismatch in mismatches.iter().filter(|m| matches!(m.part, IdentityPart::Claim(_))) {
                    match mismatch.found.is_empty() {
                        true => write!(f, ", no {}", mismatch.name())?,
                        false => write!(f, ", {} {}", mismatch.name(), mismatch.found)?,
                    }
                }
                write!(f, "; you asked for {}", list(wanted))
            }
            Self::IssuerContradiction { old, new } => {
                write!(f, "the certificate names two issuers, {old:?} and {new:?}")
            }
            Self::KeyNotValid { time, not_before, not_after } => {
                write!(f, "the key was valid {}, but the signature was made {time}", span(not_before, not_after))
            }
            Self::LogEntryMismatch { log, index, what } => {
                write!(f, "entry {index} of the log {log} is not about this signature: {what}")
            }
            Self::LogEntryMalformed { index, why, .. } => write!(f, "log entry {index} cannot be used: {why}"),
            Self::LogEvidenceInvalid { check, log, index, why } => {
                let what = match check {
                    CheckId::LogCheckpoint => "checkpoint",
                    CheckId::LogPromise => "promise",
                    _ => "inclusion proof",
                };
                write!(f, "the {what} for entry {index} of the log {log} does not verify: {why}")
            }
            Self::Malformed { why, .. } => f.write_str(why),
            Self::NotEnoughLogEntries { required, verified, problems } => {
                write!(f, "{verified} of {required} required log entries{}", because(problems))
            }
            Self::NotEnoughScts { required, verified, problems } => {
                write!(f, "{verified} of {required} required certificate timestamps (SCTs){}", because(problems))
            }
            Self::NotEnoughTimes { required, verified, problems, .. } => {
                write!(f, "{verified} of {required} required sources prove when the signature was made{}", because(problems))
            }
            Self::NotEnoughWitnesses { required, verified } => {
                write!(f, "{} of {required} required witnesses cosigned the log's checkpoint", verified.len())
            }
            Self::NotAStatement { why } => write!(f, "the signed payload is not an in-toto statement: {why}"),
            Self::SignatureInvalid { key, .. } => write!(f, "the signature does not verify with the key {key}"),
            Self::StatementNotAbout { wanted, subjects } => {
                let wanted: Vec<_> = wanted.iter().map(Digest::to_string).collect();
                write!(f, "the statement is about {}, not about {}", list(subjects), list(&wanted))
            }
            Self::TimeInFuture { time, source, now } => {
                write!(f, "{source} says that the signature was made {time}, but it is only {now}")
            }
            Self::VersionTooOld { found, minimum } => {
                write!(f, "this is a {found}, but the policy accepts bundles of version {minimum} or newer only")
            }
        }
    }
}

impl std::error::Error for Rejection {}

impl Mismatch {
    fn name(&self) -> String {
        match self.part {
            IdentityPart::San => "identity".to_owned(),
            IdentityPart::Issuer => "issuer".to_owned(),
            IdentityPart::Claim(claim) => claim.to_string(),
        }
    }
}

impl Serialize for Rejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Evidence<'a>(&'a Rejection);
        impl Serialize for Evidence<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Rejection::serialize(self.0, serializer)
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("check", &self.check_id())?;
        map.serialize_entry("message", &self.to_string())?;
        map.serialize_entry("hint", &self.hint())?;
        map.serialize_entry("evidence", &Evidence(self))?;
        map.end()
    }
}

impl From<&ParseError> for Rejection {
    fn from(error: &ParseError) -> Self {
        Self::malformed(CheckId::BundleContent, error)
    }
}

fn list(items: &[String]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}

fn because(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(": {}", problems.join("; ")) }
}

fn span(from: &Option<Timestamp>, to: &Option<Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("from {from} to {to}"),
        (Some(from), None) => format!("from {from} on"),
        (None, Some(to)) => format!("until {to}"),
        (None, None) => "always".to_owned(),
    }
}
