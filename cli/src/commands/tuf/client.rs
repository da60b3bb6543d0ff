//! `tuf client`: a TUF client for any repository.

use std::path::Path;

use jiff::Timestamp;
use vidimus::net::tuf::{RepositoryClient, trust_root};

use crate::{
    args::tuf::{TufClientArgs, TufClientVerb},
    context::Context,
    exit::{End, Failure},
    resolve::tuf_failure,
};

pub(super) fn run(context: &mut Context, args: TufClientArgs) -> Result<End, Failure> {
    let dir = needed(args.metadata_dir.as_deref(), "--metadata-dir")?;
    if let TufClientVerb::Init { root } = &args.verb {
        if let Some(flaw) = trust_root(dir, root).map_err(|e| tuf_failure(&e))? {
            context.ui.warn(format!("nothing will be trusted because of this root: {flaw}"));
        }
        context.ui.say(format!("trusting {}", root.display()));
        return Ok(End::Accepted);
    }
    let url = needed(args.metadata_url.as_deref(), "--metadata-url")?;
    let mut downloads = None;
    if matches!(args.verb, TufClientVerb::Download) {
        if args.target_name.is_empty() {
            return Err(Failure::usage("download needs --target-name"));
        }
        downloads = Some(needed(args.target_dir.as_deref(), "--target-dir")?);
    }
    let mut client =
        RepositoryClient::open(&context.http(), dir, url, args.target_base_url.as_deref()).map_err(|e| tuf_failure(&e))?;
    // One time for the whole run: what was fresh when it was fetched is not called expired a moment later.
    let now = Timestamp::now();
    let brought = context.block_on(async {
        client.refresh(now).await.map_err(|e| tuf_failure(&e))?;
        let Some(target_dir) = downloads else { return Ok(Vec::new()) };
        download(&mut client, &args.target_name, target_dir, now).await
    })?;
    let [root, timestamp, snapshot, targets] = client.versions();
    context.ui.say(format!("root {root}, timestamp {timestamp}, snapshot {snapshot}, targets {targets}"));
    context.ui.data(brought.iter().map(|path| format!("{path}\n")).collect::<String>())?;
    Ok(End::Accepted)
}

async fn download(client: &mut RepositoryClient, names: &[String], dir: &Path, now: Timestamp) -> Result<Vec<String>, Failure> {
    let mut brought = Vec::new();
    for name in names {
        let done = client.download(name, dir, now).await.map_err(|e| tuf_failure(&e))?;
        brought.push(done.path.display().to_string());
    }
    Ok(brought)
}

/// Reads a directory as a client does that knows nothing but its first root: every role, every target.
pub(super) async fn check(context: &Context, dir: &Path, now: Timestamp) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (metadata, targets) = (scratch.path().join("metadata"), scratch.path().join("targets"));
    trust_root(&metadata, &dir.join("1.root.json")).map_err(|e| e.to_string())?;
    let mut client =
        RepositoryClient::open(&context.http(), &metadata, &dir.display().to_string(), None).map_err(|e| e.to_string())?;
    client.refresh(now).await.map_err(|e| e.to_string())?;
    for (name, _) in client.targets() {
        client.download(&name, &targets, now).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn needed<T>(value: Option<T>, flag: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::usage(format!("{flag} is needed")))
}
