//! `verify`, `verify-attestation`, `verify-blob`, `verify-blob-attestation`.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use serde_json::json;
use vidimus::{
    blob::{self, Blob},
    core::{Digest, limits},
    engine::{Content, Policy, TrustRoot, Verified},
    predicate::PredicateType,
    report::cosign,
    verify_image::{self, Proven, Request},
};

use super::{
    failures,
    sign::{now, open},
};
use crate::{
    args::{
        blob::{VerifyBlobArgs, VerifyBlobAttestationArgs},
        groups::{EvidenceArgs, TrustArgs},
        image::{VerifyArgs, VerifyAttestationArgs, VerifyOutput},
    },
    context::{Context, read_input},
    exit::{End, Failure},
    resolve,
};

pub(super) fn verify(context: &mut Context, args: VerifyArgs) -> Result<End, Failure> {
    let policy = resolve::policy(&args.identity, &args.github, &args.evidence)?;
    warn_about_waivers(context, &policy);
    let annotations = resolve::annotations(&args.annotations)?;
    let references: Vec<_> = args.images.iter().map(|text| resolve::reference(text)).collect::<Result<_, _>>()?;
    let registry = resolve::registry(context, &args.registry)?;
    let discover = resolve::discover(&args.registry)?;
    let results = context.block_on(async {
        let trust = trust_root(context, &args.trust, &args.evidence).await?;
        let request = Request { trust: &trust, policy: &policy, annotations: annotations.clone(), discover, at: now() };
        let progress = context.ui.progress("verifying");
        let work = references.iter().map(|reference| verify_image::signatures(&registry, reference, &request));
        let results = futures(work).await;
        drop(progress);
        Ok(results)
    })?;
    conclude(context, &args.images, results, |context, image, proven| {
        header(context, image, "signatures", &cosign::checks(&proven.accepted, !annotations.is_empty()));
        let payloads: Vec<_> = proven.accepted.iter().map(|a| cosign::payload(&proven.image, a)).collect();
        match args.output {
            VerifyOutput::Json => {
                context.ui.data(format!("\n{}\n", serde_json::to_string(&payloads).map_err(Failure::undetermined)?))
            }
            VerifyOutput::Text => {
                describe(context, proven);
                payloads.iter().try_for_each(|payload| context.ui.data(format!("{payload}\n")))
            }
        }
    })
}

pub(super) fn verify_attestation(context: &mut Context, args: VerifyAttestationArgs) -> Result<End, Failure> {
    let wanted: PredicateType = args.predicate_type.parse().map_err(|e| failures::predicate(&e))?;
    let policy = resolve::policy(&args.identity, &args.github, &args.evidence)?;
    warn_about_waivers(context, &policy);
    let references: Vec<_> = args.images.iter().map(|text| resolve::reference(text)).collect::<Result<_, _>>()?;
    let registry = resolve::registry(context, &args.registry)?;
    let discover = resolve::discover(&args.registry)?;
    let results = context.block_on(async {
        let trust = trust_root(context, &args.trust, &args.evidence).await?;
        let request = Request { trust: &trust, policy: &policy, annotations: BTreeMap::new(), discover, at: now() };
        let progress = context.ui.progress("verifying");
        let work = references.iter().map(|reference| verify_image::attestations(&registry, reference, Some(&wanted), &request));
        let results = futures(work).await;
        drop(progress);
        Ok(results)
    })?;
    conclude(context, &args.images, results, |context, image, proven| {
        header(context, image, "attestations", &cosign::checks(&proven.accepted, false));
        for accepted in &proven.accepted {
            if let Content::Envelope { envelope, .. } = accepted.candidate.entity.content() {
                context.ui.data_by(|out| {
                    let mut out = std::io::BufWriter::with_capacity(64 << 10, out);
                    serde_json::to_writer(&mut out, envelope)?;
                    out.write_all(b"\n")?;
                    out.flush()
                })?;
            }
        }
        Ok(())
    })
}

pub(super) fn verify_blob(context: &mut Context, args: VerifyBlobArgs) -> Result<End, Failure> {
    let policy = resolve::policy(&args.identity, &args.github, &args.evidence)?;
    warn_about_waivers(context, &policy);
    let entity = entity(args.bundle.as_deref())?;
    let blob = match args.blob.parse::<Digest>() {
        Ok(digest) if !Path::new(&args.blob).exists() => Blob::Digests(vec![digest]),
        _ => open(Path::new(&args.blob))?,
    };
    let trust = offline_trust_root(context, &args.trust, &args.evidence)?;
    let result = blob::verify_blob(&entity, &blob.artifact(), &trust, &policy, now());
    accept(context, &result.map_err(|e| failures::blob(&e))?)
}

pub(super) fn verify_blob_attestation(context: &mut Context, args: VerifyBlobAttestationArgs) -> Result<End, Failure> {
    let wanted: PredicateType = args.predicate_type.parse().map_err(|e| failures::predicate(&e))?;
    let policy = resolve::policy(&args.identity, &args.github, &args.evidence)?;
    warn_about_waivers(context, &policy);
    let entity = entity(args.bundle.as_deref())?;
    let blob = match (&args.blob, &args.digest) {
        (Some(path), None) => open(Path::new(path))?,
        (None, Some(hex)) => {
            let digest: Digest = format!("{}:{hex}", args.digest_alg).parse().map_err(Failure::usage)?;
            Blob::Digests(vec![digest])
        }
        (None, None) => return Err(Failure::usage("no file").hint("name the file, or pass --digest HEX")),
        (Some(_), Some(_)) => return Err(Failure::usage("the file and --digest exclude each other")),
    };
    let trust = offline_trust_root(context, &args.trust, &args.evidence)?;
    let result = blob::verify_blob_attestation(&entity, &blob.artifact(), &wanted, &trust, &policy, now());
    accept(context, &result.map_err(|e| failures::blob(&e))?)
}

/// Prints what was accepted, tells what was not, and gives the worst end.
fn conclude(
    context: &mut Context,
    images: &[String],
    results: Vec<Result<Proven, verify_image::VerifyError>>,
    print: impl Fn(&mut Context, &str, &Proven) -> Result<(), Failure>,
) -> Result<End, Failure> {
    let mut end = End::Accepted;
    let mut failures: Vec<Failure> = Vec::new();
    let mut report = Vec::new();
    let several = images.len() > 1;
    for (image, result) in images.iter().zip(results) {
        match result {
            Ok(proven) => {
                failures::mention_problems(context, &proven);
                print(context, image, &proven)?;
                let accepted: Vec<_> = proven
                    .accepted
                    .iter()
                    .map(|a| json!({"from": a.candidate.found.manifest.digest, "verified": a.verified}))
                    .collect();
                report.push(json!({"image": image, "digest": proven.image.descriptor.digest, "outcome": "accepted", "accepted": accepted, "refused": refused(&proven.refused)}));
            }
            Err(error) => {
                let mut failure = failures::verify(context, &error);
                if several {
                    failure.message = format!("{image}: {}", failure.message);
                }
                let refused = match &error {
                    verify_image::VerifyError::NothingMatched { refused: list, .. } => refused(list),
                    _ => Vec::new(),
                };
                report.push(json!({"image": image, "outcome": failure.end.outcome(), "error": failure.message, "hint": failure.hint, "refused": refused}));
                end = end.worse(failure.end);
                failures.push(failure);
            }
        }
    }
    context.note("images", report);
    // All but the last are shown here; the last is the command's own failure.
    match failures.pop() {
        None => Ok(End::Accepted),
        Some(last) => {
            failures.iter().for_each(|failure| context.ui.error(failure));
            Err(Failure { end, ..last })
        }
    }
}

fn refused(list: &[verify_image::Refused]) -> Vec<serde_json::Value> {
    list.iter()
        .map(|r| match &r.why {
            verify_image::Why::Rejected(rejection) => json!({"from": r.candidate.found.manifest.digest, "rejection": rejection}),
            other => json!({"from": r.candidate.found.manifest.digest, "rejection": {"message": other.to_string()}}),
        })
        .collect()
}

/// Runs what waits for registries at the same time, keeping the order of the images.
async fn futures<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    vidimus::join_all(work).await
}

fn header(context: &Context, image: &str, what: &str, checks: &[String]) {
    context.ui.say(format!("\nVerification for {image} --\nThe following checks were performed on each of these {what}:"));
    for check in checks {
        context.ui.say(format!("  - {check}"));
    }
}

fn describe(context: &Context, proven: &Proven) {
    for accepted in &proven.accepted {
        if let Some(certificate) = accepted.verified.certificate() {
            context.ui.say(format!("Certificate subject: {}", certificate.name()));
            context.ui.say(format!("Certificate issuer URL: {}", certificate.issuer().unwrap_or_default()));
        }
        if let Some(time) = accepted.verified.signed_at() {
            context.ui.say(format!("Signed at: {time}"));
        }
    }
}

/// cosign's warning, and the like for the others.
fn warn_about_waivers(context: &Context, policy: &Policy) {
    for waiver in policy.waivers() {
        if waiver.check == vidimus::engine::CheckId::LogEntries {
            context.ui.warn(
                "Skipping tlog verification is an insecure practice that lacks transparency and auditability verification for the signature.",
            );
        } else {
            context.ui.warn(format!("not proven, as asked: {}", waiver.not_proven));
        }
    }
}

async fn trust_root(context: &Context, trust: &TrustArgs, evidence: &EvidenceArgs) -> Result<TrustRoot, Failure> {
    if resolve::needs_no_trust(evidence) && trust.trusted_root.is_none() && trust.trust_config.is_none() {
        return Ok(TrustRoot::empty());
    }
    let material = resolve::trust(context, trust).await?;
    resolve::trust_root(context, &material)
}

/// Like [`trust_root`], without starting a runtime where files or nothing at all are enough.
fn offline_trust_root(context: &Context, trust: &TrustArgs, evidence: &EvidenceArgs) -> Result<TrustRoot, Failure> {
    if let Some(material) = resolve::trust_from_files(trust)? {
        return resolve::trust_root(context, &material);
    }
    if resolve::needs_no_trust(evidence) {
        return Ok(TrustRoot::empty());
    }
    online_trust_root(context, trust, evidence)
}

/// Apart, so that who verifies from files does not pay for the stack frame of what waits for the network.
#[inline(never)]
fn online_trust_root(context: &Context, trust: &TrustArgs, evidence: &EvidenceArgs) -> Result<TrustRoot, Failure> {
    context.block_on(trust_root(context, trust, evidence))
}

fn entity(path: Option<&Path>) -> Result<vidimus::engine::SignedEntity, Failure> {
    let path = path.ok_or_else(|| Failure::usage("no bundle").hint("pass --bundle FILE"))?;
    let json = read_input("--bundle", path, limits::ATTESTATION_BYTES)?;
    blob::entity(&json).map_err(|e| Failure::new(End::Rejected, format!("--bundle {}: {e}", path.display())))
}

fn accept(context: &mut Context, verified: &Verified) -> Result<End, Failure> {
    context.note("verified", verified);
    context.ui.say("Verified OK");
    for check in verified.checks() {
        context.ui.detail(format!("  {}: {}", check.id, check.proved));
    }
    Ok(End::Accepted)
}
