//! `trusted-root create`, `signing-config create`, `bundle create` and `bundle upgrade`.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use vidimus::{
    bundle_tools::{self, BundleToolError, Inputs, Parts},
    core::{Algorithm, Digest, digest::Hasher, limits, trust::ServiceConfiguration},
    net::{http, rekor::RekorError, rekor::RekorV1},
    service_spec::SpecError,
    signing_config, trusted_root,
};

use crate::{
    args::tools::{BundleCreateArgs, BundleUpgradeArgs, SigningConfigCreateArgs, TrustedRootCreateArgs},
    context::{Access, Context, read_input, write_atomically},
    exit::{End, Failure, file_error},
    resolve,
};

pub(super) fn trusted_root(context: &mut Context, args: TrustedRootCreateArgs) -> Result<End, Failure> {
    let base = match args.with_default_services {
        false => None,
        true => {
            let material = context.block_on(resolve::repository(context, None))?;
            let mut root = material.trusted_root.clone();
            drop_if(args.no_default_fulcio, &mut root.certificate_authorities);
            drop_if(args.no_default_ctfe, &mut root.ctlogs);
            drop_if(args.no_default_rekor, &mut root.tlogs);
            drop_if(args.no_default_tsa, &mut root.timestamp_authorities);
            Some(root)
        }
    };
    let request = trusted_root::Request { base, fulcio: args.fulcio, rekor: args.rekor, ctfe: args.ctfe, tsa: args.tsa };
    let root = trusted_root::create(request).map_err(|e| spec_failure(&e))?;
    write(context, args.out.as_deref(), serde_json::to_vec(&root).map_err(Failure::undetermined)?)
}

pub(super) fn signing_config(context: &mut Context, args: SigningConfigCreateArgs) -> Result<End, Failure> {
    let base = match args.with_default_services {
        false => None,
        true => {
            let material = context.block_on(resolve::repository(context, None))?;
            let none = || Failure::undetermined("the TUF repository has no signing configuration");
            let mut config = material.signing_config.clone().ok_or_else(none)?;
            drop_if(args.no_default_fulcio, &mut config.ca_urls);
            drop_if(args.no_default_oidc, &mut config.oidc_urls);
            if drop_if(args.no_default_rekor, &mut config.rekor_tlog_urls) {
                config.rekor_tlog_config = ServiceConfiguration::default();
            }
            if drop_if(args.no_default_tsa, &mut config.tsa_urls) {
                config.tsa_config = ServiceConfiguration::default();
            }
            Some(config)
        }
    };
    let request = signing_config::Request {
        base,
        fulcio: args.fulcio,
        oidc_provider: args.oidc_provider,
        rekor: args.rekor,
        rekor_config: args.rekor_config,
        tsa: args.tsa,
        tsa_config: args.tsa_config,
    };
    let config = signing_config::create(request).map_err(|e| spec_failure(&e))?;
    write(context, args.out.as_deref(), serde_json::to_vec(&config).map_err(Failure::undetermined)?)
}

pub(super) fn bundle(context: &mut Context, args: BundleCreateArgs) -> Result<End, Failure> {
    let read = |flag: &str, path: &Option<PathBuf>| {
        path.as_deref().map(|path| read_input(flag, path, limits::ATTESTATION_BYTES)).transpose()
    };
    let old = read("--bundle", &args.bundle)?;
    let signature = read("--signature", &args.signature)?;
    let attestation = read("--attestation", &args.attestation)?;
    let certificate = read("--certificate", &args.certificate)?;
    let timestamp = read("--rfc3161-timestamp", &args.rfc3161_timestamp)?;
    let key = args.key.as_deref().map(resolve::policy::public_key).transpose()?;
    let inputs = Inputs {
        bundle: old.as_deref(),
        signature: signature.as_deref(),
        attestation: attestation.as_deref(),
        certificate: certificate.as_deref(),
        key: key.as_ref().map(|key| key.spki()),
        timestamp: timestamp.as_deref(),
    };
    let parts = Parts::read(digest(&args.artifact)?, inputs).map_err(|e| tool_failure(&e))?;
    if args.ignore_tlog && parts.has_entry() {
        return Err(Failure::usage("--ignore-tlog would drop the log entry that --bundle holds"));
    }
    let entry = match args.ignore_tlog {
        true => None,
        false => {
            let log = log(context, &args.rekor_url)?;
            Some(context.block_on(async { parts.find_entry(&log).await.map_err(|e| tool_failure(&e)) })?)
        }
    };
    write(context, args.out.as_deref(), parts.into_bundle(entry).to_json())
}

pub(super) fn upgrade(context: &mut Context, args: BundleUpgradeArgs) -> Result<End, Failure> {
    let json = read_input("bundle", &args.bundle, limits::ATTESTATION_BYTES)?;
    let log = log(context, &args.rekor_url)?;
    let upgraded = context.block_on(async { bundle_tools::upgrade(&json, &log).await.map_err(|e| tool_failure(&e)) })?;
    if upgraded.changes.is_empty() {
        context.ui.say("The bundle is of version 0.3 already");
    }
    for change in &upgraded.changes {
        context.ui.say(format!("Upgraded: {change}"));
    }
    write(context, args.out.as_deref(), upgraded.json)
}

/// Empties a list if that is asked for, and says whether it was.
fn drop_if<T>(asked: bool, list: &mut Vec<T>) -> bool {
    if asked {
        list.clear();
    }
    asked
}

fn log(context: &Context, url: &str) -> Result<RekorV1, Failure> {
    let url = url.parse().map_err(|e| Failure::usage(format!("--rekor-url {url:?}: {e}")))?;
    Ok(RekorV1::new(context.http(), &url))
}

fn digest(path: &Path) -> Result<Digest, Failure> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
    copied.map_err(|e| file_error("--artifact", path, &e))?;
    Ok(hasher.finish())
}

fn write(context: &mut Context, out: Option<&Path>, mut json: Vec<u8>) -> Result<End, Failure> {
    match out {
        Some(path) => {
            write_atomically(path, &json, Access::Private)?;
            context.ui.say(format!("wrote {}", path.display()));
        }
        None => {
            if !json.ends_with(b"\n") {
                json.push(b'\n');
            }
            context.ui.data(json)?;
        }
    }
    Ok(End::Accepted)
}

fn spec_failure(error: &SpecError) -> Failure {
    match error {
        SpecError::File { path, source } => file_error("reading", path, source),
        SpecError::Content { .. } => Failure::new(End::Rejected, error),
        _ => Failure::usage(error),
    }
}

fn tool_failure(error: &BundleToolError) -> Failure {
    match error {
        BundleToolError::Missing(_) => Failure::usage(error),
        BundleToolError::Log(RekorError::Http(e)) if e.kind == http::Kind::NotFound => Failure::new(End::Rejected, error),
        BundleToolError::Log(_) => Failure::undetermined(error).hint("--rekor-url names the log"),
        _ => Failure::new(End::Rejected, error),
    }
}
