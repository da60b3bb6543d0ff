//! Library errors as failures of a command: which outcome each is, and what to do about it.

use vidimus::{
    blob::BlobError,
    engine::Rejection,
    net::{
        fulcio::FulcioError,
        http::{HttpError, Kind},
        oci::OciError,
        rekor::RekorError,
        tsa::TsaError,
    },
    predicate::PredicateError,
    sign_image::SignImageError,
    signer::SignError,
    verify_image::{Proven, Refused, VerifyError, Why},
};

use crate::{
    context::Context,
    exit::{End, Failure},
};

/// An image that was not accepted. With `-v` every candidate's reason is shown, not the best alone.
pub(super) fn verify(context: &Context, error: &VerifyError) -> Failure {
    let end = match error {
        VerifyError::NoSuchImage { .. } => End::NoSuchTag,
        VerifyError::NothingAttached { .. } => End::NothingAttached,
        VerifyError::NothingMatched { refused, .. } => {
            explain(context, refused);
            if error.is_without_certificate() { End::NoCertificate } else { End::NothingMatched }
        }
        VerifyError::TooFew { refused, .. } => {
            explain(context, refused);
            End::NothingMatched
        }
        _ => End::Undetermined,
    };
    let failure = Failure::new(end, error);
    match error.hint().or_else(|| network_hint(error)) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn explain(context: &Context, refused: &[Refused]) {
    for refused in refused {
        let place = &refused.candidate.found.manifest.digest;
        let check = match &refused.why {
            Why::Rejected(rejection) => rejection.check_id().to_string(),
            _ => "claim".to_owned(),
        };
        context.ui.detail(format!("  {place} ({}): {check}: {}", refused.candidate.claim, refused.why));
    }
}

/// Places that could not be looked into although the answer is known.
pub(super) fn mention_problems(context: &Context, proven: &Proven) {
    for problem in &proven.problems {
        context.ui.warn(format!("not everything that is attached could be read: {problem}"));
    }
}

fn network_hint(error: &VerifyError) -> Option<String> {
    let source = match error {
        VerifyError::NoSuchImage { .. } => return Some("check the name and the tag".to_owned()),
        VerifyError::Registry { source, .. } => source,
        VerifyError::Incomplete { problems } => &problems.first()?.error,
        _ => return None,
    };
    oci_hint(source)
}

/// What to do about a registry that did not do what it was asked for.
pub(super) fn oci_hint(error: &OciError) -> Option<String> {
    Some(match error.kind() {
        Kind::Denied => "log in with `vidimus login REGISTRY`, or pass --registry-username and --registry-password".to_owned(),
        Kind::Disabled => "leave out --network=none".to_owned(),
        Kind::RateLimited { .. } => "the registry limits requests: try again later; logged-in users often get more".to_owned(),
        Kind::Timeout | Kind::Unavailable => "the registry did not answer properly: try again, or check its address".to_owned(),
        _ => return None,
    })
}

/// A registry operation that failed.
pub(super) fn oci(error: &OciError) -> Failure {
    let failure = Failure::undetermined(error);
    match oci_hint(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// An image that was not signed.
pub(super) fn sign_image(error: &SignImageError) -> Failure {
    let failure = match error {
        SignImageError::Sign(error) => return sign(error),
        SignImageError::Image(VerifyError::NoSuchImage { .. }) => {
            Failure::new(End::Rejected, error).hint("push the image first, then sign it by its digest")
        }
        SignImageError::Image(inner) => match network_hint(inner) {
            Some(hint) => Failure::undetermined(error).hint(hint),
            None => Failure::undetermined(error),
        },
        SignImageError::Attach { source, .. } => return Failure { message: error.to_string(), ..oci(source) },
        SignImageError::Statement(_) => Failure::usage(error),
        _ => Failure::undetermined(error),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Something that was not signed.
pub(super) fn sign(error: &SignError) -> Failure {
    match error {
        SignError::Token(_) => Failure::new(End::Rejected, error).hint("get a new identity token"),
        SignError::Fulcio(FulcioError::Refused { .. }) => Failure::new(End::Rejected, error)
            .hint("the certificate authority must trust the token's issuer and audience, and the token must be fresh"),
        SignError::Fulcio(FulcioError::WrongKey { .. }) | SignError::Rekor(RekorError::Mismatch { .. }) => {
            Failure::new(End::Rejected, error)
        }
        SignError::Fulcio(FulcioError::Http(source)) | SignError::Rekor(RekorError::Http(source)) => service(error, source),
        SignError::Timestamp(TsaError::Http(source)) => service(error, source),
        SignError::SelfCheck(rejection) => {
            let failure = Failure::new(End::Rejected, error);
            failure.hint(rejection.hint().unwrap_or_else(|| {
                "the trusted root and the services that signed do not belong together; run `vidimus initialize` for this instance".into()
            }))
        }
        _ => Failure::undetermined(error),
    }
}

fn service(error: &SignError, source: &HttpError) -> Failure {
    let failure = Failure::undetermined(error);
    match source.kind {
        Kind::Disabled => failure.hint("leave out --network=none: signing needs the services"),
        Kind::Timeout | Kind::Unavailable => failure.hint("nothing was pushed; try again when the service answers"),
        _ => failure,
    }
}

/// A predicate or type that cannot be attested.
pub(super) fn predicate(error: &PredicateError) -> Failure {
    Failure::usage(error)
}

/// A file that was not accepted.
pub(super) fn blob(error: &BlobError) -> Failure {
    let end = match error {
        BlobError::Io { path, source } => return crate::exit::file_error("reading", path, source),
        // Not enough was given to decide: neither proven nor disproven.
        _ if error.rejection().is_some_and(Rejection::could_not_tell) => End::Undetermined,
        _ => End::Rejected,
    };
    let words = error.rejection().is_some() || matches!(error, BlobError::TooFew { .. });
    let failure = match words {
        true => Failure::new(end, format!("no matching signatures: {error}")),
        false => Failure::new(end, error),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
