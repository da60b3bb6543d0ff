//! From what was typed to what is meant: policies, trust, registries, services. Reads files and the environment, decides nothing.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::Timestamp;
use vidimus::{
    core::{
        fulcio::Extension,
        limits,
        reference::{Reference, Repository},
        trust::SigningConfig,
    },
    engine::{CertificateIdentity, Pattern, Policy, PublicKey, TrustRoot},
    net::{
        environment::Environment,
        oci::{DiscoverOptions, Registry, RegistryOptions},
        tuf::{TrustMaterial, Tuf, TufError, TufOptions},
    },
    services::{Overrides, Services},
};

use crate::{
    args::groups::{EvidenceArgs, GithubArgs, IdentityArgs, RegistryArgs, SignerArgs, TrustArgs},
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

/// Who must have signed, and what must be proven.
pub(crate) fn policy(identity: &IdentityArgs, github: &GithubArgs, evidence: &EvidenceArgs) -> Result<Policy, Failure> {
    let mut policy = match &evidence.key {
        Some(key) => Policy::key(public_key(key)?),
        None => Policy::keyless(certificate_identity(identity, github)?),
    };
    if evidence.insecure_ignore_tlog {
        policy = policy.unsafe_without_log();
    }
    if evidence.insecure_ignore_sct && evidence.key.is_none() {
        policy = policy.unsafe_without_sct();
    }
    if evidence.use_signed_timestamps {
        policy = policy.require_signed_timestamps(1);
    }
    Ok(policy)
}

/// Whether a policy can be judged without any trust root: a managed key, and neither log nor timestamp asked for.
pub(crate) fn needs_no_trust(evidence: &EvidenceArgs) -> bool {
    evidence.key.is_some() && evidence.insecure_ignore_tlog && !evidence.use_signed_timestamps
}

/// The signer that is asked for. As in cosign, both who and whose word must be said.
pub(crate) fn certificate_identity(args: &IdentityArgs, github: &GithubArgs) -> Result<CertificateIdentity, Failure> {
    let given = |a: &Option<String>, b: &Option<String>| [a, b].into_iter().flatten().any(|text| !text.is_empty());
    if !given(&args.certificate_identity, &args.certificate_identity_regexp) {
        let message = "--certificate-identity or --certificate-identity-regexp is required for verification in keyless mode";
        return Err(Failure::usage(message).hint("`vidimus tree IMAGE` shows who signed; or pass --key FILE"));
    }
    if !given(&args.certificate_oidc_issuer, &args.certificate_oidc_issuer_regexp) {
        let message =
            "--certificate-oidc-issuer or --certificate-oidc-issuer-regexp is required for verification in keyless mode";
        return Err(Failure::usage(message).hint("`vidimus tree IMAGE` shows who vouched for the signer"));
    }
    let identity = CertificateIdentity::from_flags(
        args.certificate_identity.as_deref(),
        args.certificate_identity_regexp.as_deref(),
        args.certificate_oidc_issuer.as_deref(),
        args.certificate_oidc_issuer_regexp.as_deref(),
    )
    .map_err(Failure::usage)?;
    let claims = [
        (Extension::GithubWorkflowTrigger, &github.certificate_github_workflow_trigger),
        (Extension::GithubWorkflowSha, &github.certificate_github_workflow_sha),
        (Extension::GithubWorkflowName, &github.certificate_github_workflow_name),
        (Extension::GithubWorkflowRepository, &github.certificate_github_workflow_repository),
        (Extension::GithubWorkflowRef, &github.certificate_github_workflow_ref),
    ];
    let wanted = claims.into_iter().filter_map(|(claim, value)| value.as_ref().filter(|v| !v.is_empty()).map(|v| (claim, v)));
    Ok(wanted.fold(identity, |identity, (claim, value)| identity.with_claim(claim, Pattern::exact(value))))
}

/// A public key file. Other places that cosign knows (`env://`, `k8s://`, `awskms://` …) are named, not tried as files.
pub(crate) fn public_key(place: &str) -> Result<PublicKey, Failure> {
    if let Some((scheme, _)) = place.split_once("://") {
        return Err(Failure::usage(format!("--key {scheme}:// is not built yet; pass a file")));
    }
    let bytes = read_input("--key", Path::new(place), limits::TRUST_BYTES)?;
    PublicKey::from_pem_or_der(&bytes).map_err(|e| Failure::usage(format!("--key {place}: {e}")))
}

/// Trust from files alone, if the flags name one: opens nothing and starts no runtime.
pub(crate) fn trust_from_files(args: &TrustArgs) -> Result<Option<TrustMaterial>, Failure> {
    let material = match (&args.trusted_root, &args.trust_config) {
        (Some(_), Some(_)) => return Err(Failure::usage("--trusted-root and --trust-config exclude each other")),
        (Some(path), None) => TrustMaterial::from_trusted_root_file(path),
        (None, Some(path)) => TrustMaterial::from_trust_config_file(path),
        (None, None) => return Ok(None),
    };
    // A file that somebody names and that cannot be read is a word of the call that is wrong.
    material.map(Some).map_err(Failure::usage)
}

/// Trust from files if the flags name one, else from the TUF repository that `initialize` or the environment chose.
pub(crate) async fn trust(context: &Context, args: &TrustArgs) -> Result<Arc<TrustMaterial>, Failure> {
    let material = match trust_from_files(args)? {
        Some(material) => Arc::new(material),
        None => {
            let mut options = TufOptions::from_environment(&Environment::from_process());
            if let Some(instance) = &args.instance {
                options = options.with_instance(instance);
            }
            Tuf::new(context.http(), options).material(Timestamp::now()).await.map_err(|e| tuf_failure(&e))?
        }
    };
    for warning in material.warnings() {
        context.ui.warn(warning);
    }
    Ok(material)
}

/// A prepared trust root. Members that cannot be read are mentioned: what they signed will not verify.
pub(crate) fn trust_root(context: &Context, material: &TrustMaterial) -> Result<TrustRoot, Failure> {
    let root = TrustRoot::new(&material.trusted_root).map_err(Failure::undetermined)?;
    for unusable in root.unreadable() {
        context.ui.warn(format!("the trusted root has a member that cannot be read: {unusable}"));
    }
    Ok(root)
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
pub(crate) fn services(args: &SignerArgs, material: &TrustMaterial) -> Result<Services, Failure> {
    let config = signing_config(args, material)?;
    let overrides = Overrides {
        fulcio: url("--fulcio-url", args.fulcio_url.as_deref())?,
        rekor: url("--rekor-url", args.rekor_url.as_deref())?,
        timestamp_authority: url("--timestamp-server-url", args.timestamp_server_url.as_deref())?,
        oidc_issuer: url("--oidc-issuer", args.oidc_issuer.as_deref())?,
        no_log: !args.tlog_upload,
    };
    Services::resolve(config.as_ref(), &overrides, Timestamp::now()).map_err(Failure::usage)
}

fn signing_config(args: &SignerArgs, material: &TrustMaterial) -> Result<Option<SigningConfig>, Failure> {
    match &args.signing_config {
        Some(path) => TrustMaterial::signing_config_file(path).map(Some).map_err(Failure::usage),
        None if args.use_signing_config => Ok(material.signing_config.clone()),
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

    #[test]
    fn both_signer_and_issuer_must_be_named() {
        let mut args = IdentityArgs::default();
        let missing = |args: &IdentityArgs| certificate_identity(args, &GithubArgs::default()).unwrap_err();
        assert!(missing(&args).message.contains("--certificate-identity or"));
        args.certificate_identity = Some("a".into());
        assert!(missing(&args).message.contains("--certificate-oidc-issuer or"));
        args.certificate_oidc_issuer_regexp = Some("(".into());
        assert_eq!(missing(&args).end, End::Usage);
        args.certificate_oidc_issuer_regexp = Some("x".into());
        assert!(certificate_identity(&args, &GithubArgs::default()).is_ok());
    }

    #[test]
    fn keys_elsewhere_are_not_files() {
        let failure = public_key("awskms://alias/x").unwrap_err();
        assert!(failure.message.contains("awskms:// is not built"), "{failure}");
    }
}
