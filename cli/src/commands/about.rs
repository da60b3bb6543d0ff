//! `version`, `env` and `completion`: the program about itself.

use serde_json::json;

use crate::{
    args::{
        self,
        other::{CompletionArgs, EnvArgs, VersionArgs},
    },
    context::Context,
    exit::{End, Failure},
};

pub(super) fn version(context: &mut Context, args: VersionArgs) -> Result<End, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let text = if args.json {
        let rust = env!("CARGO_PKG_RUST_VERSION");
        format!("{}\n", json!({"name": "vidimus", "version": version, "platform": format!("{os}/{arch}"), "minimumRust": rust}))
    } else {
        format!("vidimus {version} ({os}/{arch})\n")
    };
    context.ui.data(text)?;
    Ok(End::Accepted)
}

pub(super) fn completion(context: &mut Context, args: CompletionArgs) -> Result<End, Failure> {
    let mut script = Vec::new();
    // Building recursively first: flags of deferred commands are otherwise unknown to the generator.
    let mut root = args::root();
    root.build();
    clap_complete::generate(args.shell, &mut root, "vidimus", &mut script);
    context.ui.data(script)?;
    Ok(End::Accepted)
}

/// A variable that changes what vidimus does.
struct Variable {
    name: &'static str,
    description: &'static str,
    secret: bool,
}

const fn open(name: &'static str, description: &'static str) -> Variable {
    Variable { name, description, secret: false }
}

const fn secret(name: &'static str, description: &'static str) -> Variable {
    Variable { name, description, secret: true }
}

const VARIABLES: &[Variable] = &[
    secret("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer token for GitHub's identity token endpoint; set by GitHub Actions"),
    open("ACTIONS_ID_TOKEN_REQUEST_URL", "GitHub's identity token endpoint; set by GitHub Actions"),
    secret("BUILDKITE_AGENT_ACCESS_TOKEN", "access token of the Buildkite agent"),
    open("BUILDKITE_AGENT_ENDPOINT", "URL of the Buildkite agent API"),
    open("BUILDKITE_JOB_ID", "the Buildkite job"),
    secret("CIRCLE_OIDC_TOKEN_V2", "identity token of a CircleCI job"),
    open("COSIGN_REPOSITORY", "where signatures and attestations are kept, if not next to the image"),
    open("COSIGN_MAX_ATTACHMENT_SIZE", "largest attestation that is read, such as 128MiB"),
    open("DOCKER_CONFIG", "directory of the Docker configuration with registry credentials"),
    open("GOOGLE_SERVICE_ACCOUNT_NAME", "service account whose identity token is asked for"),
    open("NO_COLOR", "never use colour"),
    open("REGISTRY_AUTH_FILE", "Podman's registry credentials"),
    secret("SIGSTORE_ID_TOKEN", "the identity token to sign with; also as GitLab CI's id_tokens provide it"),
    open("SPIFFE_ENDPOINT_SOCKET", "the SPIFFE workload API"),
    open("TUF_MIRROR", "the TUF repository to trust, without initialize"),
    open("TUF_ROOT", "where trust is kept; ~/.sigstore/root otherwise"),
    open("TUF_ROOT_JSON", "the root of TUF_MIRROR"),
    open("VIDIMUS_STACK_DIR", "the directory of the private Sigstore that `stack` verbs mean"),
];

/// Families of variables of which every member is listed, known or not.
const FAMILIES: [&str; 4] = ["COSIGN_", "SIGSTORE_", "TUF_", "VIDIMUS_"];

pub(super) fn env(context: &mut Context, args: EnvArgs) -> Result<End, Failure> {
    let mut text = String::new();
    for variable in VARIABLES {
        if args.show_descriptions {
            text.push_str(&format!("# {} {}\n", variable.name, variable.description));
        }
        text.push_str(&line(variable.name, variable.secret && !args.show_sensitive_values));
    }
    let mut others: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    others.retain(|name| FAMILIES.iter().any(|f| name.starts_with(f)) && VARIABLES.iter().all(|v| v.name != name));
    others.sort();
    for name in others {
        if args.show_descriptions {
            text.push_str(&format!("# {name} set in the environment\n"));
        }
        // Nobody knows what an unknown variable holds, so it counts as secret.
        text.push_str(&line(&name, !args.show_sensitive_values));
    }
    context.ui.data(text)?;
    Ok(End::Accepted)
}

fn line(name: &str, masked: bool) -> String {
    let value = std::env::var_os(name).unwrap_or_default();
    let value = if masked && !value.is_empty() { "******".into() } else { value };
    format!("{name}={:?}\n", value.to_string_lossy())
}
