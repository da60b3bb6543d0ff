//! `verify` and `verify-attestation`.

use std::{collections::BTreeMap, io::Write as _};

use serde_json::json;
use vidimus::{
    engine::{Content, Policy},
    predicate::PredicateType,
    report::cosign,
    verify_image::{self, Proven, Request, VerifyError},
};

use super::{failures, sign::now};
use crate::{
    args::image::{VerifyArgs, VerifyAttestationArgs, VerifyOutput},
    context::Context,
    exit::{End, Failure},
    resolve::{
        self,
        policy::{Asked, asked},
        roots::{self, Needs},
        signers::warn_about_patterns,
    },
};

pub(super) fn verify(context: &mut Context, args: VerifyArgs) -> Result<End, Failure> {
    let Asked { policy, quorum } = asked(context, &args.identity, &args.github, &args.evidence, &args.strict)?;
    tell(context, &policy);
    let annotations = resolve::annotations(&args.annotations)?;
    let references: Vec<_> = args.images.iter().map(|text| resolve::reference(text)).collect::<Result<_, _>>()?;
    let registry = resolve::registry(context, &args.registry)?;
    let discover = resolve::discover(&args.registry)?;
    let needs = Needs::of(&args.evidence, &args.strict);
    let results = context.block_on(async {
        let trust = roots::instances(context, &args.trust, &args.files, needs).await?;
        let request = Request { trust: &trust, policy: &policy, quorum, annotations: annotations.clone(), discover, at: now() };
        let progress = context.ui.progress("verifying");
        let work = references.iter().map(|reference| verify_image::signatures(&registry, reference, &request));
        let results = futures(work).await;
        drop(progress);
        Ok(results)
    })?;
    conclude(context, &args.images, results, |context, image, proven| {
        header(context, image, "signatures", &cosign::checks(&proven.accepted, proven.tally.as_ref(), !annotations.is_empty()));
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
    let Asked { policy, quorum } = asked(context, &args.identity, &args.github, &args.evidence, &args.strict)?;
    tell(context, &policy);
    let references: Vec<_> = args.images.iter().map(|text| resolve::reference(text)).collect::<Result<_, _>>()?;
    let registry = resolve::registry(context, &args.registry)?;
    let discover = resolve::discover(&args.registry)?;
    let needs = Needs::of(&args.evidence, &args.strict);
    let results = context.block_on(async {
        let trust = roots::instances(context, &args.trust, &args.files, needs).await?;
        let request = Request { trust: &trust, policy: &policy, quorum, annotations: BTreeMap::new(), discover, at: now() };
        let progress = context.ui.progress("verifying");
        let work = references.iter().map(|reference| verify_image::attestations(&registry, reference, Some(&wanted), &request));
        let results = futures(work).await;
        drop(progress);
        Ok(results)
    })?;
    conclude(context, &args.images, results, |context, image, proven| {
        header(context, image, "attestations", &cosign::checks(&proven.accepted, proven.tally.as_ref(), false));
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

/// Prints what was accepted, tells what was not, and gives the worst end.
fn conclude(
    context: &mut Context,
    images: &[String],
    results: Vec<Result<Proven, VerifyError>>,
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
                report.push(json!({"image": image, "digest": proven.image.descriptor.digest, "outcome": "accepted",
                    "identities": proven.tally, "accepted": accepted, "refused": refused(&proven.refused)}));
            }
            Err(error) => {
                let mut failure = failures::verify(context, &error);
                if several {
                    failure.message = format!("{image}: {}", failure.message);
                }
                let refused = match &error {
                    VerifyError::NothingMatched { refused: list, .. } | VerifyError::TooFew { refused: list, .. } => {
                        refused(list)
                    }
                    _ => Vec::new(),
                };
                let mut one = json!({"image": image, "outcome": failure.end.outcome(), "error": failure.message, "hint": failure.hint, "refused": refused});
                if let VerifyError::TooFew { tally, .. } = &error {
                    one["identities"] = json!(tally);
                }
                report.push(one);
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

/// What is not asked for: said beforehand, and in the report whatever comes of it.
pub(super) fn tell_waivers(context: &mut Context, policy: &Policy) {
    context.note("waivers", policy.waivers());
    for waiver in policy.waivers() {
        context.ui.warn(format!("not proven, as asked: {}", waiver.not_proven));
    }
}

/// What is and what is not asked for, where a person reads it.
pub(super) fn tell(context: &mut Context, policy: &Policy) {
    tell_waivers(context, policy);
    warn_about_patterns(context, policy.identities());
}
