//! One module for each family of commands: resolves what was typed into a request, runs it, prints the result.

mod about;
mod create;
mod demo;
mod failures;
mod inspect;
mod look;
mod missing;
mod sign;
mod stack;
mod token;
mod trust;
mod tuf;
mod validate;
mod verify;
mod verify_blob;

use crate::{
    args::Command,
    context::Context,
    exit::{End, Failure},
};

/// Runs a command.
pub(crate) fn run(context: &mut Context, command: Command) -> Result<End, Failure> {
    match command {
        Command::Attest(args) => call(sign::attest, context, args),
        Command::AttestBlob(args) => call(sign::attest_blob, context, args),
        Command::BundleCreate(args) => call(create::bundle, context, args),
        Command::BundleInspect(args) => call(inspect::bundle, context, args),
        Command::BundleUpgrade(args) => call(create::upgrade, context, args),
        Command::Completion(args) => call(about::completion, context, args),
        Command::Demo(args) => call(demo::run, context, args),
        Command::Env(args) => call(about::env, context, args),
        Command::Initialize(args) => call(trust::initialize, context, args),
        Command::Inspect(args) => call(inspect::run, context, args),
        Command::Login(args) => call(trust::login, context, args),
        Command::Sign(args) => call(sign::sign, context, args),
        Command::SignBlob(args) => call(sign::sign_blob, context, args),
        Command::SigningConfigCreate(args) => call(create::signing_config, context, args),
        Command::Stack(args) => call(stack::run, context, args),
        Command::Tree(args) => call(look::run, context, args),
        Command::TrustedRootCreate(args) => call(create::trusted_root, context, args),
        Command::Tuf(args) => call(tuf::run, context, args),
        Command::ValidateImage(args) => call(validate::image, context, args),
        Command::Verify(args) => call(verify::verify, context, args),
        Command::VerifyAttestation(args) => call(verify::verify_attestation, context, args),
        Command::VerifyBlob(args) => call(verify_blob::verify_blob, context, args),
        Command::VerifyBlobAttestation(args) => call(verify_blob::verify_blob_attestation, context, args),
        Command::Version(args) => call(about::version, context, args),
    }
}

/// Keeps each command's stack frame its own. Inlined into one function they would share one of 130 KiB, every page of which is touched
/// (stack probes) before the smallest command starts.
#[inline(never)]
fn call<A>(command: fn(&mut Context, A) -> Result<End, Failure>, context: &mut Context, args: A) -> Result<End, Failure> {
    command(context, args)
}
