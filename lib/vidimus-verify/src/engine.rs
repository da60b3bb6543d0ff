//! The procedure: the client specification's section 4, step by step.

use jiff::Timestamp;

use crate::{
    Artifact, CertificateSigner, CheckId, Format, KeySigner, Material, Policy, PublicKey, Rejection, RequiredSigner,
    SignedEntity, Signer, TrustRoot, Verified, VerifiedEntry,
    binding::Expected,
    chain::{self, VerifiedChain},
    check::Journal,
    form, identity,
    log::{self, LogEvidence},
    sct,
    signature::{self, Signed},
    time::{self, VerifiedTimes},
    x509::Certificate,
};

/// Who claims to have signed: a certificate with its key, or the managed key that the policy asks for.
struct Claimed<'a> {
    certificate: Option<Certificate>,
    key: std::borrow::Cow<'a, PublicKey>,
}

/// Decides whether a signature proves what the policy asks for.
///
/// Everything that influences the decision is an argument: `at` is the current time. The same arguments give the same result.
///
/// The checks, in order; each can only be made with what the ones before it proved:
/// 1. the entity has a form that its format allows, and the format is one the policy accepts;
/// 2. each log entry describes this signature, key and artifact; the log promised or proves it (§4.4, §4.2.2);
/// 3. there are enough verified times (§4.2);
/// 4. the certificate chain is valid at each of them, and the certificate was made public (§4.3);
/// 5. the signature verifies with the certificate's key (§4.5), and what was signed is about the artifact;
/// 6. the certificate's holder is whom the policy asks for.
pub fn verify(
    entity: &SignedEntity,
    artifact: &Artifact<'_>,
    trust: &TrustRoot,
    policy: &Policy,
    at: Timestamp,
) -> Result<Verified, Rejection> {
    let mut journal = Journal::default();
    form::check(entity, &mut journal)?;
    check_version(entity, policy, &mut journal)?;
    let claimed = Claimed::of(entity, policy)?;
    if let Some(certificate) = &claimed.certificate {
        chain::check_usage(certificate, &mut journal)?;
    }
    let signed = Signed::new(entity, artifact);

    let expected = Expected { signed: &signed, certificate: claimed.certificate.as_ref(), key: &claimed.key };
    let entries = log::check(entity.log_entries(), entity.format(), &expected, trust, policy, &mut journal)?;
    check_witnesses(&entries, policy)?;

    let times = time::establish(&entries, entity.timestamps(), signed.signature(), trust, policy, at, &mut journal)?;
    entries.iter().try_for_each(|entry| entry.check_validity(&times, at))?;

    let (signer, matched_identity) = match &claimed.certificate {
        Some(certificate) => {
            let chain = chain::check(certificate, &times, trust, &mut journal)?;
            let holder = holder(certificate, &chain)?;
            sct::check(certificate, &chain, trust, policy, &mut journal)?;
            signature::check(&signed, &claimed.key, &mut journal)?;
            let matched = identity::check(&chain, &holder, policy, &mut journal)?;
            (Signer::Certificate(Box::new(holder)), matched)
        }
        None => {
            check_key_validity(policy, &times)?;
            signature::check(&signed, &claimed.key, &mut journal)?;
            journal.proved(CheckId::IdentityKey, "signed with the required key").by(claimed.key.to_string());
            (Signer::Key(KeySigner::new(&claimed.key)), None)
        }
    };
    let statement = signature::check_subject(&signed, artifact, &mut journal)?;

    Ok(Verified {
        format: entity.format(),
        signer,
        matched_identity,
        times: times.into_vec(),
        log_entries: entries.iter().map(LogEvidence::summary).collect::<Vec<VerifiedEntry>>(),
        statement,
        checks: journal.checks,
        notes: journal.notes,
        waivers: policy.waivers.clone(),
        trust_root: None,
    })
}

/// `bundle.version`: nobody got past the policy by rewriting a bundle as an older one, which needs less evidence.
fn check_version(entity: &SignedEntity, policy: &Policy, journal: &mut Journal) -> Result<(), Rejection> {
    let Some(minimum) = policy.min_version else { return Ok(()) };
    match entity.format() {
        Format::Bundle(version) if version >= minimum => {
            journal.proved(CheckId::BundleVersion, format!("the bundle is of version {version}, {minimum} or newer"));
            Ok(())
        }
        found => Err(Rejection::VersionTooOld { found, minimum }),
    }
}

impl<'a> Claimed<'a> {
    fn of(entity: &SignedEntity, policy: &'a Policy) -> Result<Self, Rejection> {
        // A certificate beside a signature that must be by a managed key says nothing, as long as the key is right.
        if let RequiredSigner::Key { key, .. } = policy.signer() {
            return Ok(Self { certificate: None, key: std::borrow::Cow::Borrowed(key) });
        }
        let chain = match entity.material() {
            Material::Certificates(chain) => chain,
            Material::PublicKey { hint } => {
                return Err(Rejection::CertificateMissing { format: entity.format(), hint: hint.clone() });
            }
        };
        let malformed = |why: &str| Rejection::malformed(CheckId::BundleContent, why);
        let leaf = chain.first().ok_or_else(|| malformed("an empty certificate chain"))?;
        let unusable = |e: vidimus_core::ParseError| Rejection::CertificateUnusable { why: e.to_string() };
        let certificate = Certificate::parse(leaf).map_err(unusable)?;
        let key = PublicKey::from_spki(certificate.spki()).map_err(unusable)?;
        Ok(Self { certificate: Some(certificate), key: std::borrow::Cow::Owned(key) })
    }
}

/// Who holds the certificate, as the authority that issued it says.
fn holder(certificate: &Certificate, chain: &VerifiedChain<'_>) -> Result<CertificateSigner, Rejection> {
    CertificateSigner::new(certificate, &chain.issuer().name).map_err(|e| Rejection::CertificateUnusable { why: e.to_string() })
}

/// A quorum of witnesses is asked for, and no checkpoint was verified that they could have cosigned.
fn check_witnesses(entries: &[LogEvidence<'_>], policy: &Policy) -> Result<(), Rejection> {
    match &policy.witnesses {
        Some(witnesses) if !entries.iter().any(LogEvidence::is_included) => Err(witnesses.unmet()),
        _ => Ok(()),
    }
}

/// `identity.key`: the managed key was valid at every verified time.
fn check_key_validity(policy: &Policy, times: &VerifiedTimes) -> Result<(), Rejection> {
    let RequiredSigner::Key { valid_for, .. } = policy.signer() else { return Ok(()) };
    times.each(|time, _| {
        if valid_for.contains(time) {
            return Ok(());
        }
        Err(Rejection::KeyNotValid { time, not_before: valid_for.start, not_after: valid_for.end })
    })
}
