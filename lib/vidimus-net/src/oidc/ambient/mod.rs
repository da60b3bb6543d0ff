//! Identity tokens that the surroundings offer: CI systems, clouds, workload identity, files.
//!
//! Each provider either does not apply here, or fails, or gives a token; it says which and why. Names are those of cosign's
//! `--oidc-provider` where cosign has the provider.

mod ci;
mod google;
mod spiffe;

use std::{fmt, io::Read, path::Path, str::FromStr, time::Duration};

use jiff::Timestamp;

use super::{
    checked,
    token::{self, IdentityToken, TokenError},
};
use crate::{environment::Environment, http::Client};

/// The variable that holds a token.
pub(super) const ID_TOKEN_VARIABLE: &str = "SIGSTORE_ID_TOKEN";
/// Where cosign looks for a file with a token, usually a projected volume.
const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";
/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Time for one provider: services on the same machine or the same network.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A source of ambient tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// The variable `SIGSTORE_ID_TOKEN`. GitLab's `id_tokens` make it too.
    EnvVar,
    /// The file `/var/run/sigstore/cosign/oidc-token`.
    Filesystem,
    /// GitHub Actions.
    GitHubActions,
    /// GitLab CI, for another audience than `sigstore`.
    GitLab,
    /// The Buildkite agent's API.
    Buildkite,
    /// CircleCI's program.
    CircleCi,
    /// Google Cloud: the metadata server, or a service account's key.
    GoogleWorkloadIdentity,
    /// Google Cloud: another service account's token, through the credentials that are there.
    GoogleImpersonate,
    /// The SPIFFE Workload API.
    Spiffe,
    /// A Kubernetes service account's token.
    Kubernetes,
}

impl Provider {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 10] = [
        Self::EnvVar,
        Self::Filesystem,
        Self::GitHubActions,
        Self::GitLab,
        Self::Buildkite,
        Self::CircleCi,
        Self::GoogleImpersonate,
        Self::GoogleWorkloadIdentity,
        Self::Spiffe,
        Self::Kubernetes,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::EnvVar => "envvar",
            Self::Filesystem => "filesystem",
            Self::GitHubActions => "github-actions",
            Self::GitLab => "gitlab",
            Self::Buildkite => "buildkite-agent",
            Self::CircleCi => "circleci",
            Self::GoogleWorkloadIdentity => "google-workload-identity",
            Self::GoogleImpersonate => "google-impersonate",
            Self::Spiffe => "spiffe",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        // cosign's help calls the first of its two Google providers by this name.
        if name == "google" {
            return Ok(Self::GoogleWorkloadIdentity);
        }
        let known = Self::ALL.into_iter().find(|provider| provider.name() == name);
        known.ok_or_else(|| format!("{name:?} is not an OIDC provider; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Why a provider gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// This is not its place.
    NotHere(String),
    /// This is its place, but it gave nothing.
    Failed(String),
    /// It gave something that cannot be used.
    Unusable(TokenError),
}

/// A provider that was asked and gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub provider: Provider,
    /// Why not.
    pub outcome: Outcome,
}

impl Attempt {
    /// Whether the provider should have given a token, as opposed to not being in its place.
    pub fn is_failure(&self) -> bool {
        !matches!(self.outcome, Outcome::NotHere(_))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::NotHere(why) => write!(f, "{}: {why}", self.provider),
            Outcome::Failed(why) => write!(f, "{}: failed: {why}", self.provider),
            Outcome::Unusable(why) => write!(f, "{}: {why}", self.provider),
        }
    }
}

/// What every provider gets.
struct Context<'a> {
    http: &'a Client,
    env: &'a Environment,
    audience: &'a str,
}

/// Asks one provider for a token that is valid now.
pub(super) async fn ask(
    provider: Provider,
    http: &Client,
    env: &Environment,
    audience: &str,
    now: Timestamp,
) -> Result<IdentityToken, Outcome> {
    let context = Context { http, env, audience };
    let asked = async {
        match provider {
            Provider::EnvVar => from_variable(env),
            Provider::Filesystem => from_file(env),
            Provider::GitHubActions => ci::github_actions(&context).await,
            Provider::GitLab => ci::gitlab(&context),
            Provider::Buildkite => ci::buildkite(&context).await,
            Provider::CircleCi => ci::circleci(&context).await,
            Provider::GoogleWorkloadIdentity => google::workload_identity(&context, now).await,
            Provider::GoogleImpersonate => google::impersonate(&context, now).await,
            Provider::Spiffe => spiffe::fetch(&context).await,
            Provider::Kubernetes => kubernetes(&context),
        }
    };
    let late = |_| Err(Outcome::Failed(format!("no answer within {} s", TIMEOUT.as_secs())));
    let text = tokio::time::timeout(TIMEOUT, asked).await.unwrap_or_else(late)?;
    checked(&text, now).map_err(Outcome::Unusable)
}

fn from_variable(env: &Environment) -> Result<String, Outcome> {
    let token = env.var(ID_TOKEN_VARIABLE).map(str::to_owned);
    token.ok_or_else(|| Outcome::NotHere(format!("{ID_TOKEN_VARIABLE} is not set")))
}

fn from_file(env: &Environment) -> Result<String, Outcome> {
    well_known_file(env, TOKEN_FILE)
}

/// The service account's token, if it is for us. The one that every pod has is for the API server of its cluster, and nobody else may
/// see it.
fn kubernetes(context: &Context<'_>) -> Result<String, Outcome> {
    let text = well_known_file(context.env, SERVICE_ACCOUNT_TOKEN)?;
    let token = IdentityToken::parse(&text).map_err(Outcome::Unusable)?;
    match token.check_audience(context.audience) {
        Ok(()) => Ok(text),
        Err(_) => Err(Outcome::NotHere(format!(
            "the service account's token is not for the audience {:?}; project one with that audience to {TOKEN_FILE}",
            context.audience
        ))),
    }
}

fn well_known_file(env: &Environment, path: &str) -> Result<String, Outcome> {
    read_token_file(&env.path(path)).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Outcome::NotHere(format!("there is no {path}")),
        _ => Outcome::Failed(format!("{path}: {e}")),
    })
}

/// The text of a file that should hold a token.
pub(super) fn read_token_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte more than a token may have, so that a longer file is refused rather than cut.
    let limit = u64::try_from(token::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::token::tests::jwt;

    #[test]
    fn names_are_cosigns() {
        for name in ["spiffe", "github-actions", "filesystem", "buildkite-agent", "envvar", "google-impersonate"] {
            assert_eq!(name.parse::<Provider>().unwrap().to_string(), name);
        }
        assert_eq!("google".parse::<Provider>().unwrap(), Provider::GoogleWorkloadIdentity);
        assert!("jenkins".parse::<Provider>().unwrap_err().contains("circleci"));
    }

    #[tokio::test]
    async fn a_pods_own_token_is_taken_only_if_it_is_for_us() {
        let root = tempfile::tempdir().unwrap();
        let env = Environment::from_pairs::<&str, &str>([]).with_root(root.path());
        let now = "2026-11-21T20:00:00Z".parse().unwrap();
        let ask = async |audience| ask(Provider::Kubernetes, &Client::disabled(), &env, audience, now).await;
        assert!(matches!(ask("sigstore").await, Err(Outcome::NotHere(_))));
        let file = env.path(SERVICE_ACCOUNT_TOKEN);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let claims = json!({"iss": "i", "sub": "system:serviceaccount:n:s", "aud": ["sigstore"], "exp": 1_900_000_000});
        std::fs::write(&file, jwt(&claims)).unwrap();
        assert_eq!(ask("sigstore").await.unwrap().subject(), "system:serviceaccount:n:s");
        assert!(matches!(ask("other").await, Err(Outcome::NotHere(_))));
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(ask("sigstore").await, Err(Outcome::Unusable(_))));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let env = Environment::from_pairs::<&str, &str>([]).with_root(root.path());
        std::fs::create_dir_all(env.path(TOKEN_FILE)).unwrap();
        let outcome = from_file(&env).unwrap_err();
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
}
