//! `tuf init`, `key`, `rotate`, `renew`, `target`, `sign`, `import` and `publish`.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use vidimus_stack::tuf::{
    Ceremony, KeyType, PrivateKey, PublicKey, Role, RoleKeys, Signer,
    ceremony::{Edited, Signature, Validity, sign_document},
};

use super::{client, document, failure, key_failure, role, root_file};
use crate::{
    args::tuf::{
        KeyKind, RoleName, TufImportArgs, TufInitArgs, TufKeyVerb, TufPublishArgs, TufRenewArgs, TufRotateArgs, TufSignArgs,
        TufTargetAddArgs, TufTargetVerb, Usage, UsageStatus,
    },
    context::{Access, Context, read_input, write_atomically},
    exit::{End, Failure},
};

/// The largest target that is added: what the library takes.
const TARGET_BYTES: usize = 256 << 20;

pub(super) fn init(context: &mut Context, args: TufInitArgs) -> Result<End, Failure> {
    let threshold = |name: RoleName| args.threshold.iter().rev().find(|(role, _)| *role == name).map_or(1, |(_, n)| *n);
    let role_keys = |name: RoleName, files: &[PathBuf]| {
        let keys = files.iter().map(|file| PublicKey::read(file).map_err(|e| key_failure(&e))).collect::<Result<_, _>>()?;
        Ok::<_, Failure>((role(name), RoleKeys { keys, threshold: threshold(name) }))
    };
    let roles = [
        role_keys(RoleName::Root, &args.root_key)?,
        role_keys(RoleName::Targets, &args.targets_key)?,
        role_keys(RoleName::Snapshot, &args.snapshot_key)?,
        role_keys(RoleName::Timestamp, &args.timestamp_key)?,
    ];
    let mut validity = Validity::default();
    for (name, duration) in &args.expires {
        validity = validity.with(role(*name), SignedDuration::try_from(duration.0).map_err(Failure::usage)?);
    }
    Ceremony::create(&args.dir.dir, roles.into(), validity, Timestamp::now()).map_err(failure)?;
    let staged = args.dir.dir.join("staged/root.json");
    context.ui.say(format!("began a repository; {} waits for the signatures of the root's keys", staged.display()));
    Ok(End::Accepted)
}

pub(super) fn key(context: &mut Context, verb: TufKeyVerb) -> Result<End, Failure> {
    let now = Timestamp::now();
    let edited = match verb {
        TufKeyVerb::Generate(args) => {
            let kind = match args.kind {
                KeyKind::EcdsaP256 => KeyType::EcdsaP256,
                KeyKind::Ed25519 => KeyType::Ed25519,
                KeyKind::RsaPss => KeyType::RsaPss,
            };
            let (key, public) = PrivateKey::create(&args.file, kind).map_err(|e| key_failure(&e))?;
            context.ui.say(format!("wrote {} (keep it to yourself) and {}", args.file.display(), public.display()));
            context.ui.data(format!("{}\n", key.public_key().id()))?;
            return Ok(End::Accepted);
        }
        TufKeyVerb::Id(args) => {
            let key = PublicKey::read(&args.file).map_err(|e| key_failure(&e))?;
            context.ui.data(format!("{}\n", key.id()))?;
            return Ok(End::Accepted);
        }
        TufKeyVerb::Add(args) => {
            let key = PublicKey::read(&args.key).map_err(|e| key_failure(&e))?;
            Ceremony::open(&args.dir.dir).and_then(|ceremony| ceremony.add_key(role(args.role), key, args.threshold, now))
        }
        TufKeyVerb::Remove(args) => Ceremony::open(&args.dir.dir)
            .and_then(|ceremony| ceremony.remove_key(role(args.role), &args.key, args.threshold, now)),
        TufKeyVerb::Threshold(args) => {
            Ceremony::open(&args.dir.dir).and_then(|ceremony| ceremony.set_threshold(role(args.role), args.threshold, now))
        }
    };
    staged(context, &edited.map_err(failure)?)
}

pub(super) fn rotate(context: &mut Context, args: TufRotateArgs) -> Result<End, Failure> {
    let new = PublicKey::read(&args.new).map_err(|e| key_failure(&e))?;
    let named: Vec<Role> = args.role.iter().map(|name| role(*name)).collect();
    let roles = if named.is_empty() { &Role::ALL[..] } else { &named };
    let ceremony = Ceremony::open(&args.dir.dir).map_err(failure)?;
    let edited = ceremony.rotate(&args.old, &new, roles, Timestamp::now()).map_err(failure)?;
    staged(context, &edited)
}

pub(super) fn renew(context: &mut Context, args: TufRenewArgs) -> Result<End, Failure> {
    let ceremony = Ceremony::open(&args.dir.dir).map_err(failure)?;
    let edited = ceremony.renew(role(args.role), Timestamp::now()).map_err(failure)?;
    staged(context, &edited)
}

pub(super) fn target(context: &mut Context, verb: TufTargetVerb) -> Result<End, Failure> {
    let now = Timestamp::now();
    let edited = match verb {
        TufTargetVerb::Add(args) => {
            let content = read_input("target", &args.file, TARGET_BYTES)?;
            let (name, custom) = (target_name(&args)?, custom(&args)?);
            Ceremony::open(&args.dir.dir).and_then(|ceremony| ceremony.add_target(&name, &content, custom, now))
        }
        TufTargetVerb::Remove(args) => Ceremony::open(&args.dir.dir).and_then(|ceremony| ceremony.remove_target(&args.name, now)),
    };
    staged(context, &edited.map_err(failure)?)
}

pub(super) fn sign(context: &mut Context, args: TufSignArgs) -> Result<End, Failure> {
    let keys = private_keys(&args.key)?;
    let signers = signers(&keys);
    let made = match (&args.file, &args.dir) {
        (Some(file), _) => {
            let in_force = args.root.as_deref().map(root_file).transpose()?;
            let (signed, made) = sign_document(file, &document(file)?, &signers, in_force.as_ref()).map_err(failure)?;
            write_atomically(file, &signed, Access::Shared)?;
            made
        }
        (None, Some(dir)) => Ceremony::open(dir).and_then(|ceremony| ceremony.sign(&signers)).map_err(failure)?,
        (None, None) => return Err(Failure::usage("nothing to sign").hint("pass --dir DIR, or a copy of a staged document")),
    };
    made.iter().for_each(|signature| signed(context, signature));
    Ok(End::Accepted)
}

pub(super) fn import(context: &mut Context, args: TufImportArgs) -> Result<End, Failure> {
    let bytes = document(&args.file)?;
    let ceremony = Ceremony::open(&args.dir.dir).map_err(failure)?;
    let made = ceremony.import(&args.file.display().to_string(), &bytes).map_err(failure)?;
    if made.is_empty() {
        context.ui.say("no signature that was not here already");
    }
    made.iter().for_each(|signature| signed(context, signature));
    Ok(End::Accepted)
}

pub(super) fn publish(context: &mut Context, args: TufPublishArgs) -> Result<End, Failure> {
    let keys = private_keys(&args.key)?;
    let mut ceremony = Ceremony::open(&args.dir.dir).map_err(failure)?;
    let now = Timestamp::now();
    let check = |dir: &std::path::Path| {
        let looked = context.block_on(async { Ok(client::check(context, dir, now).await) });
        looked.unwrap_or_else(|failure| Err(failure.to_string()))
    };
    let done = ceremony.publish(&signers(&keys), now, check).map_err(failure)?;
    let versions: Vec<_> = done.versions.iter().map(|(role, version)| format!("{} {version}", role.name())).collect();
    context.ui.say(format!("published {}", versions.join(", ")));
    let (role, expires) = done.expires;
    context.ui.say(format!("publish again before {expires}, when {} expires", role.name()));
    Ok(End::Accepted)
}

/// Says what an edit staged.
fn staged(context: &Context, edited: &Edited) -> Result<End, Failure> {
    let Edited { role, version, voided, .. } = edited;
    context.ui.say(format!("staged {} {version}, to be signed", role.name()));
    if *voided > 0 {
        context.ui.warn(format!("{voided} signatures of its earlier draft are void; all its holders sign again"));
    }
    Ok(End::Accepted)
}

fn signed(context: &Context, signature: &Signature) {
    context.ui.say(format!("{} {} is signed by {}", signature.role.name(), signature.version, signature.keyid));
}

fn private_keys(files: &[PathBuf]) -> Result<Vec<PrivateKey>, Failure> {
    files.iter().map(|file| PrivateKey::read(file).map_err(|e| key_failure(&e))).collect()
}

fn signers(keys: &[PrivateKey]) -> Vec<&dyn Signer> {
    keys.iter().map(|key| key as &dyn Signer).collect()
}

fn target_name(args: &TufTargetAddArgs) -> Result<String, Failure> {
    let own = || args.file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    args.name
        .clone()
        .or_else(own)
        .ok_or_else(|| Failure::usage(format!("{} has no name", args.file.display())).hint("pass --name"))
}

/// What the repository says about a target: Sigstore's terms, or whatever was given.
fn custom(args: &TufTargetAddArgs) -> Result<Option<Value>, Failure> {
    if let Some(text) = &args.custom {
        let value: Value = serde_json::from_str(text).map_err(|e| Failure::usage(format!("--custom: {e}")))?;
        return if value.is_object() { Ok(Some(value)) } else { Err(Failure::usage("--custom is not a JSON object")) };
    }
    let Some(usage) = args.usage else { return Ok(None) };
    let usage = match usage {
        Usage::Fulcio => "Fulcio",
        Usage::Rekor => "Rekor",
        Usage::Ctfe => "CTFE",
        Usage::Tsa => "TSA",
    };
    let status = match args.status {
        UsageStatus::Active => "Active",
        UsageStatus::Expired => "Expired",
    };
    let mut sigstore = json!({"usage": usage, "status": status});
    if let Some(uri) = &args.uri {
        sigstore["uri"] = json!(uri);
    }
    Ok(Some(json!({"sigstore": sigstore})))
}
