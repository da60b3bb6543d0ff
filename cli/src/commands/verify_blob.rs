//! `verify-blob` and `verify-blob-attestation`. Nothing here needs a network if the trust comes from files, and the signature with its
//! evidence.

use std::path::{Path, PathBuf};

use vidimus::{
    blob::{self, Blob, Proven, Request},
    core::{Digest, ParseError, cosign, encoding, limits},
    engine::SignedEntity,
    predicate::PredicateType,
};

use super::{
    failures, missing,
    sign::{now, open},
    verify::tell,
};
use crate::{
    args::blob::{DetachedArgs, VerifyBlobArgs, VerifyBlobAttestationArgs},
    context::{Context, read_input},
    exit::{End, Failure},
    resolve::{
        policy::{Asked, asked},
        roots::{self, Needs},
    },
};

pub(super) type SignedEntityResult = Result<SignedEntity, ParseError>;
pub(super) type Candidates = Vec<SignedEntityResult>;

pub(super) fn verify_blob(context: &mut Context, args: VerifyBlobArgs) -> Result<End, Failure> {
    let Asked { policy, quorum } = asked(context, &args.identity, &args.github, &args.evidence, &args.strict)?;
    tell(context, &policy);
    let candidates = candidates(&args.bundle, &args.detached, |bytes| Ok(SignedEntity::detached(bytes)))?;
    let blob = file_or_digest(&args.blob)?;
    let trust = roots::instances_now(context, &args.trust, &args.files, Needs::of(&args.evidence, &args.strict))?;
    let candidates = missing::complete(context, candidates, &blob, &args.evidence, &policy, &trust)?;
    let request = Request { trust: &trust, policy: &policy, quorum, at: now() };
    let result = blob::verify_blob(candidates, &blob, &request);
    accept(context, &result.map_err(|e| failures::blob(&e))?)
}

pub(super) fn verify_blob_attestation(context: &mut Context, args: VerifyBlobAttestationArgs) -> Result<End, Failure> {
    let wanted: PredicateType = args.predicate_type.parse().map_err(|e| failures::predicate(&e))?;
    let Asked { policy, quorum } = asked(context, &args.identity, &args.github, &args.evidence, &args.strict)?;
    tell(context, &policy);
    let candidates = candidates(&args.bundle, &args.detached, |bytes| envelope(&bytes))?;
    let blob = match (&args.blob, &args.digest) {
        (Some(text), None) => file_or_digest(text)?,
        (None, Some(hex)) => {
            let digest: Digest = format!("{}:{hex}", args.digest_alg).parse().map_err(Failure::usage)?;
            Blob::Digests(vec![digest])
        }
        (None, None) => return Err(Failure::usage("no file").hint("name the file, or pass --digest HEX")),
        (Some(_), Some(_)) => return Err(Failure::usage("the file and --digest exclude each other")),
    };
    let trust = roots::instances_now(context, &args.trust, &args.files, Needs::of(&args.evidence, &args.strict))?;
    let candidates = missing::complete(context, candidates, &blob, &args.evidence, &policy, &trust)?;
    let request = Request { trust: &trust, policy: &policy, quorum, at: now() };
    let result = blob::verify_blob_attestation(candidates, &blob, &wanted, &request);
    accept(context, &result.map_err(|e| failures::blob(&e))?)
}

fn accept(context: &mut Context, proven: &Proven) -> Result<End, Failure> {
    match proven.accepted.as_slice() {
        [one] => context.note("verified", one),
        several => context.note("verified", several),
    }
    context.ui.say("Verified OK");
    if let Some(tally) = proven.tally.as_ref().filter(|t| t.required > 1) {
        context.note("identities", tally);
        context.ui.say(format!("  {} of the {} required signers signed", tally.met.len(), tally.required));
    }
    for verified in &proven.accepted {
        for check in verified.checks() {
            context.ui.detail(format!("  {}: {}", check.id, check.proved));
        }
        for note in verified.notes() {
            context.ui.detail(format!("  note on {}: {}", note.check, note.what));
        }
    }
    for waiver in proven.accepted.first().map(|v| v.waivers()).unwrap_or_default() {
        context.ui.say(format!("  NOT checked, as asked: {}", waiver.not_proven));
    }
    Ok(End::Accepted)
}

/// A file, or the digest of one that is not here. Where it could be either, whoever made the file must not decide.
fn file_or_digest(text: &str) -> Result<Blob, Failure> {
    match text.parse::<Digest>() {
        Ok(_) if Path::new(text).exists() => {
            Err(Failure::usage(format!("{text} is a digest, and the name of a file")).hint(format!("the file is ./{text}")))
        }
        Ok(digest) => Ok(Blob::Digests(vec![digest])),
        Err(_) => open(Path::new(text)),
    }
}

/// What is to be verified: everything in the bundle files, or a signature in a file of its own.
fn candidates(
    bundles: &[PathBuf],
    detached: &DetachedArgs,
    entity: impl Fn(Vec<u8>) -> SignedEntityResult,
) -> Result<Candidates, Failure> {
    let mut candidates = Vec::new();
    for path in bundles {
        let file = read_input("--bundle", path, limits::ATTESTATION_BYTES)?;
        let entities = blob::entities(&file);
        let place = path.display().to_string();
        let entities = entities.map_err(|e| Failure::new(End::Rejected, format!("--bundle {place}: {e}")))?;
        candidates.extend(entities.into_iter().map(|e| e.map_err(|e| ParseError { why: format!("{} ({place})", e.why), ..e })));
    }
    match (&detached.signature, candidates.is_empty()) {
        (None, true) => {
            Err(Failure::usage("no bundle").hint("pass --bundle FILE, or --signature FILE with --certificate or --key"))
        }
        (None, false) if detached.certificate.is_some() || detached.rfc3161_timestamp.is_some() => {
            Err(Failure::usage("--certificate and --rfc3161-timestamp go with --signature; a bundle has its own"))
        }
        (None, false) => Ok(candidates),
        (Some(_), false) => Err(Failure::usage("--signature and --bundle exclude each other: a bundle has the signature in it")),
        (Some(signature), true) => Ok(vec![Ok(detached_entity(signature, detached, entity)?)]),
    }
}

fn detached_entity(
    signature: &str,
    detached: &DetachedArgs,
    entity: impl Fn(Vec<u8>) -> SignedEntityResult,
) -> Result<SignedEntity, Failure> {
    let bytes = match Path::new(signature).exists() || signature == "-" {
        true => read_input("--signature", Path::new(signature), limits::ATTESTATION_BYTES)?,
        false => encoding::decode(signature)
            .map_err(|_| Failure::usage(format!("--signature {signature}: neither a file nor base64")))?,
    };
    let bytes = without_base64(bytes);
    let broken = |flag: &str, e: ParseError| Failure::new(End::Rejected, format!("{flag}: {e}"));
    let mut entity = entity(bytes).map_err(|e| broken("--signature", e))?;
    if let Some(path) = &detached.certificate {
        let bytes = without_base64(read_input("--certificate", path, limits::TRUST_BYTES)?);
        entity = entity.with_certificate(&bytes).map_err(|e| broken("--certificate", e))?;
    }
    if let Some(path) = &detached.rfc3161_timestamp {
        let bytes = read_input("--rfc3161-timestamp", path, limits::TRUST_BYTES)?;
        let timestamp = match serde_json::from_slice::<cosign::Rfc3161Timestamp>(&bytes) {
            Ok(json) => json.signed_rfc3161_timestamp.0,
            Err(_) => bytes,
        };
        entity = entity.with_timestamps([timestamp]);
    }
    Ok(entity)
}

/// cosign writes base64 of what it writes; others write the bytes.
fn without_base64(bytes: Vec<u8>) -> Vec<u8> {
    let text = std::str::from_utf8(&bytes).ok().map(|text| text.split_ascii_whitespace().collect::<String>());
    text.and_then(|text| encoding::decode(text).ok()).filter(|inner| !inner.is_empty()).unwrap_or(bytes)
}

/// The envelope itself, or one envelope a line, of which cosign writes one.
fn envelope(bytes: &[u8]) -> SignedEntityResult {
    SignedEntity::detached_envelope(bytes.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coat_of_base64_is_taken_off() {
        assert_eq!(without_base64(b"aGVsbG8=\n".to_vec()), b"hello");
        assert_eq!(without_base64(b"\x30\x45\x02".to_vec()), b"\x30\x45\x02");
        assert_eq!(without_base64(Vec::new()), b"");
    }

    #[test]
    fn a_signature_comes_from_one_place() {
        let detached = DetachedArgs { signature: Some("c2ln".into()), ..DetachedArgs::default() };
        let none = |args: &DetachedArgs| candidates(&[], args, |bytes| Ok(SignedEntity::detached(bytes)));
        assert_eq!(none(&DetachedArgs::default()).unwrap_err().end, End::Usage);
        assert_eq!(none(&detached).unwrap().len(), 1);
        let neither = DetachedArgs { signature: Some("/no/such.sig".into()), ..DetachedArgs::default() };
        assert_eq!(none(&neither).unwrap_err().end, End::Usage);
    }
}
