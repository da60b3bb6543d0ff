//! From what was typed to what is meant: policies, trust, registries, services. Reads files and the environment, decides nothing.

pub(crate) mod policy;
pub(crate) mod roots;
pub(crate) mod signers;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use vidimus::{
    core::{
        limits,
        reference::{Reference, Repository},
        trust::SigningConfig,
    },
    net::{
        environment::Environment,
        http::Kind,
        oci::{DiscoverOptions, Registry, RegistryOptions},
        tuf::{TrustMaterial, Tuf, TufError, TufOptions},
    },
    services::{Overrides, Services},
};

use crate::{
    args::groups::{RegistryArgs, SignerArgs, TrustArgs},
    context::{Context, read_input},
    exit::{End, Failure},
};

/// An image reference.
pub(crate) fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(Failure::usage)
}

/// `key=value` pairs.
pub(crate) fn annotations(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("--annotations {text:?} is not KEY=VALUE"))),
    };
    pairs.iter().map(pair).collect()
}

/// A client for registries.
pub(crate) fn registry(context: &Context, args: &RegistryArgs) -> Result<Registry, Failure> {
    let mut options = RegistryOptions::from_env();
    options.username = args.registry_username.clone();
    options.password = args.registry_password.clone();
    options.token = args.registry_token.clone();
    options.allow_http = args.allow_http_registry;
    options.allow_insecure = args.allow_insecure_registry;
    if let Some(path) = &args.registry_cacert {
        options.ca_pem = Some(read_input("--registry-cacert", path, limits::TRUST_BYTES)?);
    }
    Ok(Registry::new(&context.http(), options))
}

/// Where to look for what hangs off an image.
pub(crate) fn discover(args: &RegistryArgs) -> Result<DiscoverOptions, Failure> {
    let mut options = DiscoverOptions::default();
    options.repository = signature_repository()?;
    options.tag_prefix = args.attachment_tag_prefix.clone().unwrap_or_default();
    if let Some(text) = variable("COSIGN_MAX_ATTACHMENT_SIZE") {
        options.blob_limit = size(&text).ok_or_else(|| {
            Failure::usage(format!("COSIGN_MAX_ATTACHMENT_SIZE={text:?} is not a size such as 128MiB or 1000000"))
        })?;
    }
    Ok(options)
}

/// Where signatures are kept, if not next to their images: `COSIGN_REPOSITORY`.
pub(crate) fn signature_repository() -> Result<Option<Repository>, Failure> {
    let parse = |text: String| text.parse().map_err(|e| Failure::usage(format!("COSIGN_REPOSITORY: {e}")));
    variable("COSIGN_REPOSITORY").map(parse).transpose()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A size as cosign reads it: bytes, or with a decimal or binary unit.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" | "ki" => 1 << 10,
        "mib" | "mi" => 1 << 20,
        "gib" | "gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Trust from files alone, if the flags name some: opens nothing and starts no runtime. Several trusted roots are several instances.
pub(crate) fn trust_from_files(args: &TrustArgs) -> Result<Option<Vec<TrustMaterial>>, Failure> {
    // A file that somebody names and that cannot be read is a word of the call that is wrong.
    match (args.trusted_root.as_slice(), &args.trust_config) {
        ([_, ..], Some(_)) => Err(Failure::usage("--trusted-root and --trust-config exclude each other")),
        ([], None) => Ok(None),
        ([], Some(path)) => TrustMaterial::from_trust_config_file(path).map(|m| Some(vec![m])).map_err(Failure::usage),
        (paths, None) => {
            let read = |path: &PathBuf| TrustMaterial::from_trusted_roots_file(path).map_err(Failure::usage);
            Ok(Some(paths.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()))
        }
    }
}

/// Trust from files if the flags name some, else from the TUF repository that `initialize` or the environment chose.
pub(crate) async fn trust(context: &Context, args: &TrustArgs) -> Result<Vec<Arc<TrustMaterial>>, Failure> {
    match trust_from_files(args)? {
        Some(materials) => Ok(materials.into_iter().map(Arc::new).collect()),
        None => Ok(vec![repository(context, args.instance.as_deref()).await?]),
    }
}

/// Trust from the TUF repository that `initialize`, the environment or its name chose. Without a network and without a cache, a public instance's is what was built in.
pub(crate) async fn repository(context: &Context, instance: Option<&str>) -> Result<Arc<TrustMaterial>, Failure> {
    let mut options = TufOptions::from_environment(&Environment::from_process());
    if let Some(instance) = instance {
        options = options.with_instance(instance);
    }
    let material = match Tuf::new(context.http(), options).material(Timestamp::now()).await {
        Ok(material) => material,
        Err(error) => Arc::new(built_in(context, &error).ok_or_else(|| tuf_failure(&error))?),
    };
    for warning in material.warnings() {
        context.ui.warn(warning);
    }
    Ok(material)
}

/// Only where the network was forbidden: whoever keeps a machine from the mirror must not choose an old state for it.
fn built_in(context: &Context, error: &TufError) -> Option<TrustMaterial> {
    let TufError::Unreachable { mirror, why, .. } = error else { return None };
    let material = TrustMaterial::built_in(mirror).filter(|_| why.kind == Kind::Disabled)?;
    context.ui.warn(format!("trusting {}: it may have changed since; --trusted-root FILE is newer", material.source));
    Some(material)
}

/// What went wrong with a TUF repository. Whatever it was, no judgement could be made, except where the call's own words are wrong.
pub(crate) fn tuf_failure(error: &TufError) -> Failure {
    match error {
        TufError::Usage(_) => Failure::usage(error),
        TufError::RootChecksum { .. } | TufError::Rejected { .. } => Failure::new(End::Rejected, error),
        TufError::Unreachable { .. } => {
            Failure::undetermined(error).hint("pass --trusted-root FILE to do without the TUF repository")
        }
        _ => Failure::undetermined(error),
    }
}

/// The services that sign.
pub(crate) fn services(args: &SignerArgs, materials: &[Arc<TrustMaterial>]) -> Result<Services, Failure> {
    let config = signing_config(args, materials)?;
    let overrides = Overrides {
        fulcio: url("--fulcio-url", args.fulcio_url.as_deref())?,
        rekor: url("--rekor-url", args.rekor_url.as_deref())?,
        timestamp_authority: url("--timestamp-server-url", args.timestamp_server_url.as_deref())?,
        oidc_issuer: url("--oidc-issuer", args.oidc_issuer.as_deref())?,
        no_log: !args.tlog_upload,
    };
    Services::resolve(config.as_ref(), &overrides, Timestamp::now()).map_err(Failure::usage)
}

fn signing_config(args: &SignerArgs, materials: &[Arc<TrustMaterial>]) -> Result<Option<SigningConfig>, Failure> {
    match &args.signing_config {
        Some(path) => TrustMaterial::signing_config_file(path).map(Some).map_err(Failure::usage),
        None if args.use_signing_config => Ok(materials.iter().find_map(|m| m.signing_config.clone())),
        None => Ok(None),
    }
}

fn url(flag: &str, text: Option<&str>) -> Result<Option<url::Url>, Failure> {
    let parse = |text: &str| text.parse().map_err(|e| Failure::usage(format!("{flag} {text:?}: {e}")));
    text.filter(|t| !t.is_empty()).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("128MiB"), Some(128 << 20));
        assert_eq!(size("1000000"), Some(1_000_000));
        assert_eq!(size("2 GB"), Some(2_000_000_000));
        for bad in ["", "MiB", "1.5MiB", "1 parsec", "99999999999999999999"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn annotations_are_pairs() {
        let pairs = |list: &[&str]| annotations(&list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(pairs(&["a=b", "c=d=e"]).unwrap()["c"], "d=e");
        assert!(pairs(&["a"]).is_err() && pairs(&["=b"]).is_err());
    }
}
