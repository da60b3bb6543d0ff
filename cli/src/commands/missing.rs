//! Log entries that did not travel with their signature: `--signature` with `--certificate` or `--key`, as cosign signed files before
//! there were bundles. The log is asked for the entry, as cosign asks it.
//!
//! The answer is evidence like any other, and trusted no more: what it proves is for the engine to say.

use vidimus::{
    blob::Blob,
    bundle_tools::{BundleToolError, Parts},
    engine::{Format, Instances, Policy, SignedEntity},
    net::rekor::RekorV1,
};

use super::verify_blob::Candidates;
use crate::{args::proof::EvidenceArgs, context::Context, exit::Failure, resolve::policy::public_key};

/// Adds their log entries to the signatures that have none and need one. Those that no log has stay as they are: the engine's
/// explanation is the better one.
pub(super) fn complete(
    context: &Context,
    candidates: Candidates,
    blob: &Blob,
    evidence: &EvidenceArgs,
    policy: &Policy,
    trust: &Instances,
) -> Result<Candidates, Failure> {
    let lacks_entry = |entity: &SignedEntity| entity.format() == Format::Detached && entity.log_entries().is_empty();
    if policy.log_entries() == 0 || evidence.offline || context.is_without_network() {
        return Ok(candidates);
    }
    let complete = |candidate| match candidate {
        Ok(entity) if lacks_entry(&entity) => ask(context, entity, blob, evidence, trust).map(Ok),
        other => Ok(other),
    };
    candidates.into_iter().map(complete).collect()
}

fn ask(
    context: &Context,
    entity: SignedEntity,
    blob: &Blob,
    evidence: &EvidenceArgs,
    trust: &Instances,
) -> Result<SignedEntity, Failure> {
    let key = evidence.key.as_deref().map(public_key).transpose()?;
    // Rekor v1 knows artifacts by their SHA-256; without it, there is nothing to ask for.
    let parts = blob.sha256().and_then(|digest| Parts::of(&entity, digest, key.as_ref()).ok());
    let Some(parts) = parts else { return Ok(entity) };
    let urls = match &evidence.rekor_url {
        Some(url) => vec![url.as_str()],
        None => trust.searchable_logs(),
    };
    let mut failure = None;
    for url in urls {
        context.ui.say(format!("The signature came without its log entry: asking {url}"));
        let parsed = url.parse().map_err(|e| Failure::usage(format!("--rekor-url {url:?}: {e}")))?;
        let log = RekorV1::new(context.http(), &parsed);
        match context.block_on(async { Ok(parts.find_entry(&log).await) })? {
            Ok(entry) => return Ok(entity.with_log_entry(entry)),
            Err(BundleToolError::NotLogged) => {}
            Err(e) => {
                let hint = "--rekor-url names another log, --offline asks none";
                failure = Some(Failure::undetermined(format!("the signature's log entry could not be fetched: {e}")).hint(hint));
            }
        }
    }
    // A log that could not be asked may be the one that has it.
    failure.map_or(Ok(entity), Err)
}
