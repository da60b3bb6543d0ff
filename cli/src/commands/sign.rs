//! `sign`, `attest`, `sign-blob`, `attest-blob`.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use vidimus::{
    blob::{Blob, first_subject, given_statement, statement},
    core::{Digest, limits},
    engine::Artifact,
    net::oidc::IdentityToken,
    predicate::{Predicate, PredicateType},
    services::Services,
    sign_image::{self, Saying, SignedImage},
    signer::{Session, Signed},
};

use super::{failures, token};
use crate::{
    args::{
        blob::{AttestBlobArgs, SignBlobArgs},
        groups::{RegistryArgs, SignerArgs, TrustArgs},
        image::{AttestArgs, SignArgs},
    },
    context::{Access, Context, read_input, write_atomically},
    exit::{End, Failure},
    resolve, ui,
};

/// A predicate's limit is that of the attestation it becomes part of.
const PREDICATE: usize = limits::ATTESTATION_BYTES;

pub(super) fn sign(context: &mut Context, args: SignArgs) -> Result<End, Failure> {
    let annotations = resolve::annotations(&args.annotations)?;
    let saying = Saying::Signature(annotations.into_iter().map(|(key, value)| (key, json!(value))).collect());
    for image in &args.images {
        warn_about_tag(context, image)?;
    }
    let job = Job {
        images: args.images,
        recursive: args.recursive,
        saying,
        bundle: args.bundle,
        upload: args.upload,
        signer: args.signer,
        trust: args.trust,
        registry: args.registry,
        word: "signature",
    };
    job.run(context).map(|_| End::Accepted)
}

pub(super) fn attest(context: &mut Context, args: AttestArgs) -> Result<End, Failure> {
    let saying = match (&args.predicate, &args.statement) {
        (Some(path), None) => Saying::Predicate(predicate(&args.predicate_type, path)?),
        (None, Some(path)) => Saying::Statement(read_input("--statement", path, PREDICATE)?),
        (None, None) => return Err(Failure::usage("predicate cannot be empty").hint("pass --predicate FILE or --statement FILE")),
        (Some(_), Some(_)) => return Err(Failure::usage("--predicate and --statement exclude each other")),
    };
    let job = Job {
        images: args.images,
        recursive: args.recursive,
        saying,
        bundle: args.bundle,
        upload: !args.no_upload,
        signer: args.signer,
        trust: args.trust,
        registry: args.registry,
        word: "attestation",
    };
    let signed = job.run(context)?;
    if args.no_upload {
        for image in signed {
            let envelope = serde_json::to_string(&image.signed.bundle.dsse_envelope).map_err(Failure::undetermined)?;
            context.ui.data(format!("{envelope}\n"))?;
        }
    }
    Ok(End::Accepted)
}

pub(super) fn sign_blob(context: &mut Context, args: SignBlobArgs) -> Result<End, Failure> {
    let bundle = bundle_path(args.bundle)?;
    let blob = open(&args.blob)?;
    let signed = context.block_on(async {
        let session = session(context, &args.signer, &args.trust).await?;
        session.sign_message(&blob.artifact()).await.map_err(|e| failures::sign(&e))
    })?;
    keep(context, &signed, &bundle)
}

pub(super) fn attest_blob(context: &mut Context, args: AttestBlobArgs) -> Result<End, Failure> {
    let (payload, digest) = blob_statement(&args)?;
    let bundle = bundle_path(args.bundle)?;
    let signed = context.block_on(async {
        let session = session(context, &args.signer, &args.trust).await?;
        session.sign_statement(payload, &Artifact::digest(digest.clone())).await.map_err(|e| failures::sign(&e))
    })?;
    keep(context, &signed, &bundle)
}

/// What is signed about a file, and the file's digest.
fn blob_statement(args: &AttestBlobArgs) -> Result<(Vec<u8>, Digest), Failure> {
    let digest = match &args.blob {
        Some(path) => Some(open(path)?.sha256().ok_or_else(|| Failure::undetermined("the file has no digest"))?),
        None => None,
    };
    match (&args.statement, &args.predicate, &args.blob, digest) {
        (Some(path), _, _, digest) => {
            let bytes = read_input("--statement", path, PREDICATE)?;
            let digest = digest.map_or_else(|| first_subject(&bytes), Ok).map_err(Failure::usage)?;
            Ok((given_statement(bytes, &digest).map_err(Failure::usage)?, digest))
        }
        (None, Some(path), Some(blob), Some(digest)) => {
            let predicate = predicate(&args.predicate_type, path)?;
            let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((statement(&name, &digest, &predicate).map_err(Failure::usage)?, digest))
        }
        _ => Err(Failure::usage("a file and --predicate, or --statement, must be given")),
    }
}

/// What `sign` and `attest` share.
struct Job {
    images: Vec<String>,
    recursive: bool,
    saying: Saying,
    bundle: Option<std::path::PathBuf>,
    upload: bool,
    signer: SignerArgs,
    trust: TrustArgs,
    registry: RegistryArgs,
    word: &'static str,
}

impl Job {
    fn run(self, context: &mut Context) -> Result<Vec<SignedImage>, Failure> {
        if self.bundle.is_some() && (self.images.len() > 1 || self.recursive) {
            return Err(Failure::usage("--bundle holds one bundle, but there are several images").hint("sign them one by one"));
        }
        let references: Vec<_> = self.images.iter().map(|text| resolve::reference(text)).collect::<Result<_, _>>()?;
        let repository = resolve::signature_repository()?;
        let registry = resolve::registry(context, &self.registry)?;
        let (signed, pushed) = context.block_on(async {
            // Every image is looked up before anything is signed: a typing error must not end up in a public log.
            let mut images = Vec::new();
            for reference in &references {
                let progress = context.ui.progress(&format!("looking up {reference}"));
                images.extend(
                    sign_image::images(&registry, reference, self.recursive).await.map_err(|e| failures::sign_image(&e))?,
                );
                drop(progress);
            }
            let session = session(context, &self.signer, &self.trust).await?;
            let (mut signed, mut pushed) = (Vec::new(), Vec::new());
            for image in images {
                let progress = context.ui.progress(&format!("signing {}", image.by_digest()));
                let one = sign_image::sign(&session, image, &self.saying).await.map_err(|e| failures::sign_image(&e))?;
                drop(progress);
                // Before the upload: if that fails, the bundle is not lost.
                if let Some(path) = &self.bundle {
                    write_atomically(path, &one.bundle_json(), Access::Private)?;
                }
                tell(context, &one);
                if self.upload {
                    let to = repository.as_ref().unwrap_or_else(|| one.image.given.repository());
                    let progress = context.ui.progress(&format!("pushing {} to {to}", self.word));
                    let attached = sign_image::attach(&registry, &one, repository.as_ref()).await;
                    let attached = attached.map_err(|e| failures::sign_image(&e))?;
                    drop(progress);
                    context.ui.say(format!("Pushed {} to: {to}@{}", self.word, attached.manifest.digest));
                    pushed.push(attached.manifest.digest.clone());
                }
                signed.push(one);
            }
            Ok((signed, pushed))
        })?;
        let report: Vec<_> = signed
            .iter()
            .enumerate()
            .map(|(index, one)| {
                json!({"image": one.image.by_digest().to_string(), "predicateType": one.predicate_type,
                    "manifest": pushed.get(index), "verified": one.verified()})
            })
            .collect();
        context.note("signed", report);
        Ok(signed)
    }
}

/// Token, key and certificate, with services and trust from one configuration.
async fn session(context: &Context, signer: &SignerArgs, trust: &TrustArgs) -> Result<Session, Failure> {
    let materials = resolve::trust(context, trust).await?;
    let services = resolve::services(signer, &materials)?;
    let root = resolve::roots::prepare(context, materials.iter().map(|m| &**m))?;
    let token = token::identify(context, signer, &services).await?;
    consent(signer, &services, &token)?;
    context.ui.detail(format!("signing as {} (issuer {})", token.email().unwrap_or(token.subject()), token.issuer()));
    let progress = context.ui.progress("getting a certificate");
    let session = Session::start(context.http(), services, root, &token).await.map_err(|e| failures::sign(&e))?;
    drop(progress);
    Ok(session)
}

/// A log is public and for ever: somebody at a terminal is told so first. Where nobody sits, calling the command is the answer.
fn consent(signer: &SignerArgs, services: &Services, token: &IdentityToken) -> Result<(), Failure> {
    if signer.yes || services.logs.is_empty() || !ui::can_ask() {
        return Ok(());
    }
    let who = token.email().unwrap_or(token.subject());
    let logs: Vec<_> = services.logs.iter().map(|log| log.url().to_string()).collect();
    let question = format!(
        "This writes {who}, and what is signed, into {}, where everybody can read it and nobody can remove it. Go on?",
        logs.join(" and ")
    );
    match ui::confirm(&question)? {
        true => Ok(()),
        false => Err(Failure::new(End::Rejected, "not signed, as you wished").hint("--yes answers beforehand")),
    }
}

/// cosign's warning about signing whatever a tag points to.
fn warn_about_tag(context: &Context, image: &str) -> Result<(), Failure> {
    if resolve::reference(image)?.digest().is_none() {
        context.ui.warn(format!(
            "Image reference {image} uses a tag, not a digest, to identify the image to sign.\n    \
             The tag may point to another image than the one you mean by the time it is looked up. Use the digest instead."
        ));
    }
    Ok(())
}

/// Who signed, when, and where that is written down.
fn tell(context: &Context, signed: &SignedImage) {
    let verified = signed.verified();
    let who = verified.certificate().map(|c| c.name()).unwrap_or_default();
    context.ui.say(format!("Signed {} as {who}", signed.image.by_digest()));
    for entry in verified.log_entries() {
        context.ui.say(format!("tlog entry created with index: {}", entry.index));
    }
}

fn keep(context: &mut Context, signed: &Signed, path: &Path) -> Result<End, Failure> {
    write_atomically(path, &signed.bundle.to_json(), Access::Private)?;
    let who = signed.verified.certificate().map(|c| c.name()).unwrap_or_default();
    context.ui.say(format!("Signed as {who}; wrote bundle to file {}", path.display()));
    context.note("verified", &signed.verified);
    Ok(End::Accepted)
}

fn bundle_path(path: Option<std::path::PathBuf>) -> Result<std::path::PathBuf, Failure> {
    path.ok_or_else(|| Failure::usage("no place for the result").hint("pass --bundle FILE"))
}

fn predicate(name: &str, path: &Path) -> Result<Predicate, Failure> {
    let kind: PredicateType = name.parse().map_err(|e| failures::predicate(&e))?;
    let bytes = read_input("--predicate", path, PREDICATE)?;
    Predicate::of_file(kind, &bytes, now()).map_err(|e| failures::predicate(&e))
}

pub(super) fn open(path: &Path) -> Result<Blob, Failure> {
    let blob = if path == Path::new("-") {
        Blob::read(std::io::stdin().lock()).map_err(|source| vidimus::blob::BlobError::Io { path: path.to_owned(), source })
    } else {
        Blob::open(path)
    };
    blob.map_err(|e| failures::blob(&e))
}

/// The time of judgement: now, read once for each command.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
