//! One module for each family of commands: resolves what was typed into a request, runs it, prints the result.

mod about;
mod create;
mod demo;
mod failures;
mod inspect;
mod look;
mod sign;
mod stack;
mod token;
mod trust;
mod validate;
mod verify;

use crate::{
    args::Command,
    context::Context,
    exit::{End, Failure},
};

/// Runs a command.
pub(crate) fn run(context: &mut Context, command: Command) -> Result<End, Failure> {
    match command {
        Command::Attest(args) => sign::attest(context, args),
        Command::AttestBlob(args) => sign::attest_blob(context, args),
        Command::BundleCreate(args) => create::bundle(context, args),
        Command::BundleInspect(args) => inspect::bundle(context, args),
        Command::BundleUpgrade(args) => create::upgrade(context, args),
        Command::Completion(args) => about::completion(context, args),
        Command::Demo(args) => demo::run(context, args),
        Command::Env(args) => about::env(context, args),
        Command::Initialize(args) => trust::initialize(context, args),
        Command::Inspect(args) => inspect::run(context, args),
        Command::Login(args) => trust::login(context, args),
        Command::Sign(args) => sign::sign(context, args),
        Command::SignBlob(args) => sign::sign_blob(context, args),
        Command::SigningConfigCreate(args) => create::signing_config(context, args),
        Command::Stack(args) => stack::run(context, args),
        Command::Tree(args) => look::run(context, args),
        Command::TrustedRootCreate(args) => create::trusted_root(context, args),
        Command::ValidateImage(args) => validate::image(context, args),
        Command::Verify(args) => verify::verify(context, args),
        Command::VerifyAttestation(args) => verify::verify_attestation(context, args),
        Command::VerifyBlob(args) => verify::verify_blob(context, args),
        Command::VerifyBlobAttestation(args) => verify::verify_blob_attestation(context, args),
        Command::Version(args) => about::version(context, args),
    }
}
