//! Flags that several commands share, as they are typed. cosign's names.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// Give up after this long, and say so (exit 3); 0 waits for ever
    #[arg(long, short = 't', global = true, value_name = "DURATION", default_value = "3m", value_parser = duration, help_heading = GLOBAL)]
    pub timeout: Duration,
    /// Say more on stderr; twice says even more
    #[arg(long, short = 'v', short_alias = 'd', global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(long, short = 'q', global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "auto|always|never", default_value = "auto", num_args = 0..=1, require_equals = true, default_missing_value = "always", help_heading = GLOBAL)]
    pub color: ColorChoice,
    /// Same as --color=never
    #[arg(long, global = true, hide = true)]
    pub no_color: bool,
    /// Write what would go to stdout into this file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = GLOBAL)]
    pub output_file: Option<PathBuf>,
    /// Also write a JSON report of what was done, checked and refused
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = GLOBAL)]
    pub report: Option<PathBuf>,
    /// "none" opens no network connection at all: whatever needs one fails
    #[arg(long, global = true, value_name = "any|none", default_value = "any", help_heading = GLOBAL)]
    pub network: NetworkChoice,
}

/// The heading of the flags that every command has.
pub(crate) const GLOBAL: &str = "Every command";

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    #[value(alias = "true")]
    Always,
    /// Never.
    #[value(alias = "false")]
    Never,
}

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkChoice {
    /// Yes.
    Any,
    /// Not one connection.
    None,
}

/// How to reach a registry.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryArgs {
    /// Accept a registry whose certificate cannot be checked
    #[arg(long)]
    pub allow_insecure_registry: bool,
    /// Speak plain HTTP (always allowed for localhost and private networks)
    #[arg(long)]
    pub allow_http_registry: bool,
    /// User name, instead of the one in the Docker or Podman configuration
    #[arg(long, value_name = "NAME")]
    pub registry_username: Option<String>,
    /// Password of --registry-username
    #[arg(long, value_name = "PASSWORD")]
    pub registry_password: Option<String>,
    /// Bearer token, instead of name and password
    #[arg(long, value_name = "TOKEN")]
    pub registry_token: Option<String>,
    /// Further certificate authorities to accept for the registry, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub registry_cacert: Option<PathBuf>,
    /// Prefix of the .sig and .att tags
    #[arg(long, value_name = "PREFIX", hide = true)]
    pub attachment_tag_prefix: Option<String>,
}

/// Whom to trust.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustArgs {
    /// A trusted_root.json, or several as JSON Lines; repeatable, then a signature is judged by the instance it belongs to. The TUF
    /// repository is never asked
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trusted_root: Vec<PathBuf>,
    /// A client trust configuration: trusted root and signing configuration in one file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trust_config: Option<PathBuf>,
    /// A Sigstore instance that is not the default one: a name given by initialize --name, public-good, staging or github, or a mirror
    #[arg(long, value_name = "NAME|URL", conflicts_with_all = ["trusted_root", "trust_config"])]
    pub instance: Option<String>,
}

/// Who signs, and with which services.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SignerArgs {
    /// An identity token, or a file that holds one; otherwise SIGSTORE_ID_TOKEN, the CI's own token, or a browser
    #[arg(long, value_name = "TOKEN|FILE", help_heading = "Signer")]
    pub identity_token: Option<String>,
    /// Take the token from this provider only: spiffe, google, github-actions, filesystem, buildkite-agent, envvar, gitlab, circleci, kubernetes
    #[arg(long, value_name = "NAME", help_heading = "Signer")]
    pub oidc_provider: Option<String>,
    /// Do not look for a CI's token
    #[arg(long, help_heading = "Signer")]
    pub oidc_disable_ambient_providers: bool,
    /// How to get a token from the issuer: normal (browser), device, token
    #[arg(long, value_name = "FLOW", help_heading = "Signer")]
    pub fulcio_auth_flow: Option<String>,
    /// Our name at the OIDC issuer
    #[arg(long, value_name = "ID", default_value = "sigstore", help_heading = "Signer")]
    pub oidc_client_id: String,
    /// A file with our secret at the OIDC issuer
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Signer")]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// Where the browser returns to; a free port of localhost by default
    #[arg(long, value_name = "URL", help_heading = "Signer")]
    pub oidc_redirect_url: Option<String>,
    /// The services to use: a signing configuration v0.2; otherwise the one from the TUF repository
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Services")]
    pub signing_config: Option<PathBuf>,
    /// "false" uses the --…-url flags only
    #[arg(long, default_value = "true", value_name = "BOOL", help_heading = "Services")]
    pub use_signing_config: bool,
    /// The certificate authority, instead of the signing configuration's
    #[arg(long, value_name = "URL", help_heading = "Services", hide = true)]
    pub fulcio_url: Option<String>,
    /// The transparency log, instead of the signing configuration's
    #[arg(long, value_name = "URL", help_heading = "Services", hide = true)]
    pub rekor_url: Option<String>,
    /// The OIDC issuer, instead of the signing configuration's
    #[arg(long, value_name = "URL", help_heading = "Services", hide = true)]
    pub oidc_issuer: Option<String>,
    /// The timestamp authority, instead of the signing configuration's
    #[arg(long, value_name = "URL", help_heading = "Services", hide = true)]
    pub timestamp_server_url: Option<String>,
    /// "false" writes no log entry; then a timestamp authority is needed
    #[arg(long, default_value = "true", value_name = "BOOL", help_heading = "Services", hide = true)]
    pub tlog_upload: bool,
    /// Never ask: answer yes
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Deprecated: bundles are always written
    #[arg(long, hide = true, default_value = "true")]
    pub new_bundle_format: bool,
}

/// A duration as Go writes it: `3m0s`, `90s`, `1h30m`, `500ms`, or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("{text:?} is not a duration such as 90s, 3m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&at| at > 0).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return Err(wrong()),
        };
        total = unit.checked_mul(number).and_then(|d| total.checked_add(d)).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A truth value as Go's `strconv.ParseBool` reads it, which is what cosign's flags and variables accept.
pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("3m0s", 180), ("90s", 90), ("1h30m", 5400), ("0", 0), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1s500ms"), Ok(Duration::from_millis(1500)));
        for bad in ["", "3", "m", "3 m", "-1s", "3mm", "99999999999s", "1d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn booleans() {
        assert_eq!((go_bool("True"), go_bool("0")), (Ok(true), Ok(false)));
        assert!(go_bool("yes").is_err() && go_bool("").is_err());
    }
}
