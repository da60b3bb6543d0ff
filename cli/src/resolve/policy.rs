//! What must be proven: cosign's evidence flags and ours, as a policy of the engine.

use std::path::Path;

use vidimus::{
    core::{bundle::Version, limits},
    engine::{Policy, PublicKey, Quorum, WitnessPolicy},
};

use super::signers::signers;
use crate::{
    args::proof::{Evidence, EvidenceArgs, GithubArgs, IdentityArgs, StrictArgs},
    context::{Context, read_input},
    exit::Failure,
};

/// Witnesses that one may name. Public witness networks have tens.
const WITNESSES: usize = 256;

/// What must be proven about each signature, and how many signers there must be.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) policy: Policy,
    pub(crate) quorum: Quorum,
}

/// What the flags ask for.
pub(crate) fn asked(
    context: &Context,
    identity: &IdentityArgs,
    github: &GithubArgs,
    evidence: &EvidenceArgs,
    strict: &StrictArgs,
) -> Result<Asked, Failure> {
    if evidence.insecure_ignore_tlog {
        // cosign's words.
        context.ui.warn(
            "Skipping tlog verification is an insecure practice that lacks transparency and auditability verification for the signature.",
        );
    }
    let (policy, quorum) = match &evidence.key {
        Some(key) => (Policy::key(public_key(key)?), Quorum::Any),
        None => {
            let signers = signers(identity, github)?;
            (Policy::keyless_any(signers.identities), signers.quorum)
        }
    };
    Ok(Asked { policy: evidence_of(policy, evidence, strict)?, quorum })
}

fn evidence_of(mut policy: Policy, evidence: &EvidenceArgs, strict: &StrictArgs) -> Result<Policy, Failure> {
    let no_log = evidence.insecure_ignore_tlog || strict.evidence == Evidence::TimestampAuthority;
    if let Some(entries) = strict.min_log_entries {
        if no_log {
            let flag = if evidence.insecure_ignore_tlog { "--insecure-ignore-tlog" } else { "--evidence=timestamp-authority" };
            return Err(Failure::usage(format!("--min-log-entries and {flag} exclude each other")));
        }
        policy = policy.require_log_entries(at_least_one("--min-log-entries", entries)?);
    }
    if strict.evidence == Evidence::TimestampAuthority {
        policy = policy.unsafe_timestamp_authority_only();
    }
    if evidence.insecure_ignore_tlog {
        policy = policy.unsafe_without_log();
    }
    if evidence.insecure_ignore_sct && evidence.key.is_none() {
        policy = policy.unsafe_without_sct();
    }
    match strict.min_timestamps {
        Some(timestamps) => policy = policy.require_signed_timestamps(at_least_one("--min-timestamps", timestamps)?),
        None if evidence.use_signed_timestamps => policy = policy.require_signed_timestamps(1),
        None => {}
    }
    if strict.require_inclusion_proof {
        policy = policy.require_inclusion_proof();
    }
    if let Some(version) = &strict.min_bundle_version {
        policy = policy.min_bundle_version(bundle_version(version)?);
    }
    if let Some(witnesses) = witnesses(strict)? {
        policy = policy.require_witnesses(witnesses);
    }
    Ok(if strict.insecure_current_time { policy.unsafe_at_current_time() } else { policy })
}

/// Less than one is a waiver, and those have names of their own.
fn at_least_one(flag: &str, n: usize) -> Result<usize, Failure> {
    if n > 0 { Ok(n) } else { Err(Failure::usage(format!("{flag} 0 is no requirement; leave it out"))) }
}

fn bundle_version(text: &str) -> Result<Version, Failure> {
    match text {
        "0.1" => Ok(Version::V01),
        "0.2" => Ok(Version::V02),
        "0.3" => Ok(Version::V03),
        other => Err(Failure::usage(format!("--min-bundle-version {other:?} is none of 0.1, 0.2, 0.3"))),
    }
}

fn witnesses(strict: &StrictArgs) -> Result<Option<WitnessPolicy>, Failure> {
    let mut keys = Vec::new();
    for text in &strict.witness {
        // A key has two plus signs and ends in base64; a file of that name would be perverse, and wins.
        if text.matches('+').count() >= 2 && !Path::new(text).exists() {
            keys.push(text.clone());
            continue;
        }
        let bytes = read_input("--witness", Path::new(text), limits::TRUST_BYTES)?;
        let lines = String::from_utf8(bytes).map_err(|e| Failure::usage(format!("--witness {text}: {e}")))?;
        let listed = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        keys.extend(listed.map(str::to_owned));
    }
    if keys.is_empty() {
        return match (strict.witness_threshold, strict.witness.first()) {
            (_, Some(file)) => Err(Failure::usage(format!("--witness {file}: no key in it"))),
            (Some(_), None) => Err(Failure::usage("--witness-threshold without --witness")),
            (None, None) => Ok(None),
        };
    }
    if keys.len() > WITNESSES {
        return Err(Failure::usage(format!("{} witnesses, more than the limit of {WITNESSES}", keys.len())));
    }
    let threshold = strict.witness_threshold.unwrap_or(keys.len());
    WitnessPolicy::new(keys.iter().map(String::as_str), threshold).map(Some).map_err(Failure::usage)
}

/// A public key: a file, or `env://NAME`. Other places that cosign knows (`k8s://`, `awskms://` …) are named, not tried as files.
pub(crate) fn public_key(place: &str) -> Result<PublicKey, Failure> {
    let bytes = match place.split_once("://") {
        Some(("env", name)) => std::env::var(name)
            .map_err(|e| Failure::usage(format!("--key {place}: {e}")).hint(format!("put the key's PEM into {name}")))?
            .into_bytes(),
        Some((scheme, _)) => {
            let message = format!("--key {scheme}:// is not built yet; pass a file or env://NAME");
            return Err(Failure::usage(message));
        }
        None => read_input("--key", Path::new(place), limits::TRUST_BYTES)?,
    };
    PublicKey::from_pem_or_der(&bytes).map_err(|e| {
        let failure = Failure::usage(format!("--key {place}: {e}"));
        match String::from_utf8_lossy(&bytes).contains("PRIVATE KEY") {
            true => failure.hint("this is a private key; verifying takes the public one"),
            false => failure,
        }
    })
}

#[cfg(test)]
mod tests {
    use vidimus::engine::{CertificateIdentity, CheckId};

    use super::*;
    use crate::exit::End;

    fn policy(evidence: &EvidenceArgs, strict: &StrictArgs) -> Result<Policy, Failure> {
        evidence_of(Policy::keyless(CertificateIdentity::exact("a", "b")), evidence, strict)
    }

    fn waived(policy: &Policy) -> Vec<CheckId> {
        policy.waivers().iter().map(|w| w.check).collect()
    }

    #[test]
    fn nothing_is_waived_unless_asked() {
        assert!(waived(&policy(&EvidenceArgs::default(), &StrictArgs::default()).unwrap()).is_empty());
        let ignore = EvidenceArgs { insecure_ignore_tlog: true, insecure_ignore_sct: true, ..EvidenceArgs::default() };
        assert_eq!(waived(&policy(&ignore, &StrictArgs::default()).unwrap()), [CheckId::LogEntries, CheckId::CertSct]);
        let private = StrictArgs { evidence: Evidence::TimestampAuthority, ..StrictArgs::default() };
        assert_eq!(waived(&policy(&EvidenceArgs::default(), &private).unwrap()), [CheckId::LogEntries, CheckId::CertSct]);
        let now = StrictArgs { insecure_current_time: true, ..StrictArgs::default() };
        assert_eq!(waived(&policy(&EvidenceArgs::default(), &now).unwrap()), [CheckId::TimeSource]);
    }

    #[test]
    fn contradictions_and_zeros_are_wrong_usage() {
        let two = StrictArgs { min_log_entries: Some(2), ..StrictArgs::default() };
        let ignore = EvidenceArgs { insecure_ignore_tlog: true, ..EvidenceArgs::default() };
        assert!(policy(&EvidenceArgs::default(), &two).is_ok());
        assert_eq!(policy(&ignore, &two).unwrap_err().end, End::Usage);
        for strict in [
            StrictArgs { min_log_entries: Some(0), ..StrictArgs::default() },
            StrictArgs { min_timestamps: Some(0), ..StrictArgs::default() },
            StrictArgs { min_bundle_version: Some("0.4".into()), ..StrictArgs::default() },
            StrictArgs { witness: vec!["a+b+c".into()], ..StrictArgs::default() },
            StrictArgs { witness: vec!["/no/such/file".into()], ..StrictArgs::default() },
            StrictArgs { witness_threshold: Some(1), ..StrictArgs::default() },
        ] {
            assert_eq!(policy(&EvidenceArgs::default(), &strict).unwrap_err().end, End::Usage, "{strict:?}");
        }
    }

    #[test]
    fn keys_elsewhere_are_not_files() {
        let failure = public_key("awskms://alias/x").unwrap_err();
        assert!(failure.message.contains("awskms:// is not built"), "{failure}");
        assert_eq!(public_key("env://VIDIMUS_NO_SUCH_VARIABLE").unwrap_err().end, End::Usage);
    }

    #[test]
    fn a_private_key_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        std::fs::write(
            &path,
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        )
        .unwrap();
        assert!(public_key(&path.display().to_string()).unwrap_err().hint.is_some_and(|h| h.contains("public")));
    }
}
