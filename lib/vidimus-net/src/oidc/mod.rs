//! Getting an identity token (OpenID Connect Core 1.0), without a person where there is none.
//!
//! The order is: the token that was given, then what the environment offers ([`ambient`]), then a flow with a person or a client
//! secret ([`flow`]). A flow that needs a person is never started unless the caller says that there is one or that it was asked for;
//! this library never looks at terminals. Whatever was tried and why it gave no token is part of the answer, and of the error.

pub mod ambient;
pub mod flow;
pub mod token;

use std::{fmt, path::Path, str::FromStr};

use jiff::Timestamp;

pub use self::{
    ambient::{Attempt, Outcome, Provider},
    flow::{Flow, FlowError, Message, Person, open_in_browser},
    token::{IdentityToken, TokenError},
};
use crate::{environment::Environment, http::Client};

/// The client id, and the audience, that Sigstore's public instance and most private ones use.
pub const DEFAULT_CLIENT_ID: &str = "sigstore";

/// What to look for in the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ambient {
    /// Everything.
    #[default]
    All,
    /// This one (`--oidc-provider`).
    Only(Provider),
    /// Nothing (`--oidc-disable-ambient-providers`).
    Disabled,
}

/// Whether a person is there to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interactivity {
    /// Nobody: only a flow that was asked for is started.
    #[default]
    None,
    /// Somebody at a terminal.
    Terminal,
}

/// How to get an identity token.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// A token, or the path of a file with one (`--identity-token`).
    pub given: Option<String>,
    /// What to look for in the environment.
    pub ambient: Ambient,
    /// For whom ambient tokens are asked.
    pub audience: String,
    /// The flow that was asked for (`--fulcio-auth-flow`).
    pub flow: Option<Flow>,
    /// Whether a person is there.
    pub interactivity: Interactivity,
    /// The issuer for flows, as the signing configuration names it.
    pub issuer: Option<String>,
    /// Our name at the issuer (`--oidc-client-id`).
    pub client_id: String,
    /// Our secret at the issuer, if we have one (`--oidc-client-secret-file`).
    pub client_secret: Option<String>,
    /// Where the browser comes back to, instead of a random port (`--oidc-redirect-url`).
    pub redirect_url: Option<String>,
}

impl Default for TokenRequest {
    fn default() -> Self {
        Self {
            given: None,
            ambient: Ambient::All,
            audience: DEFAULT_CLIENT_ID.to_owned(),
            flow: None,
            interactivity: Interactivity::None,
            issuer: None,
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            client_secret: None,
            redirect_url: None,
        }
    }
}

/// A token that is valid now, and how it was got.
#[derive(Debug, Clone)]
pub struct Identified {
    /// The token.
    pub token: IdentityToken,
    /// Where it came from, for a person: `--identity-token`, `github-actions`, `browser`.
    pub source: String,
    /// What else was tried before.
    pub tried: Vec<Attempt>,
}

/// No identity token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// The token that was given cannot be used.
    #[error("{origin}: {source}")]
    Given {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        source: TokenError,
    },
    /// The file that was named cannot be read, and its name is no token either.
    #[error("--identity-token is neither a token nor a file that can be read: {path}: {why}")]
    GivenFile {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// The environment should have given a token, and did not. Nothing interactive is started then: it would hide the fault.
    #[error("no identity token from this environment: {}", list(tried))]
    Ambient {
        /// What was tried.
        tried: Vec<Attempt>,
    },
    /// There is no token anywhere, and nothing more may be tried.
    #[error("no identity token: {}; {}", list(tried), match asked {
        Some(_) => "the flow `token` needs --identity-token or an ambient one",
        None => "nobody is there to sign in; give --identity-token, set SIGSTORE_ID_TOKEN, or ask for a flow",
    })]
    None {
        /// What was tried.
        tried: Vec<Attempt>,
        /// The flow that was asked for and does not start anything.
        asked: Option<Flow>,
    },
    /// A flow needs an issuer.
    #[error("no identity token: the {0} flow needs an OIDC issuer, and none is configured")]
    NoIssuer(Flow),
    /// A flow failed.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// Gets an identity token.
pub async fn identify(
    http: &Client,
    env: &Environment,
    request: &TokenRequest,
    person: &dyn Person,
    now: Timestamp,
) -> Result<Identified, OidcError> {
    if let Some(given) = request.given.as_deref().filter(|given| !given.is_empty()) {
        return from_given(given, now);
    }
    let mut tried = Vec::new();
    for provider in providers(request.ambient) {
        let outcome = ambient::ask(provider, http, env, &request.audience, now).await;
        match outcome {
            Ok(token) => return Ok(Identified { token, source: provider.to_string(), tried }),
            // The variable is set for exactly one purpose. Signing as somebody else because it is stale would be a surprise.
            Err(Outcome::Unusable(source)) if provider == Provider::EnvVar => {
                return Err(OidcError::Given { origin: ambient::ID_TOKEN_VARIABLE.to_owned(), source });
            }
            Err(outcome) => tried.push(Attempt { provider, outcome }),
        }
    }
    let flow = match (request.flow, request.interactivity) {
        (Some(flow), _) if flow != Flow::Token => flow,
        _ if tried.iter().any(Attempt::is_failure) => return Err(OidcError::Ambient { tried }),
        (None, Interactivity::Terminal) => Flow::Normal,
        (asked, _) => return Err(OidcError::None { tried, asked }),
    };
    let issuer = request.issuer.as_deref().ok_or(OidcError::NoIssuer(flow))?;
    let token = flow::run(flow, http, issuer, request, person, now).await?;
    Ok(Identified { token, source: flow.to_string(), tried })
}

fn providers(ambient: Ambient) -> Vec<Provider> {
    match ambient {
        Ambient::All => Provider::ALL.to_vec(),
        Ambient::Only(one) => vec![one],
        Ambient::Disabled => Vec::new(),
    }
}

/// `--identity-token`: a token, or else the path of a file with one.
fn from_given(given: &str, now: Timestamp) -> Result<Identified, OidcError> {
    let (text, origin) = if IdentityToken::looks_like(given) {
        (given.to_owned(), "--identity-token".to_owned())
    } else {
        let text = ambient::read_token_file(Path::new(given)).map_err(|why| OidcError::GivenFile {
            // Not the word itself: it may be a token that lost a part on the way.
            path: given.chars().take(40).collect(),
            why: why.to_string(),
        })?;
        (text, format!("--identity-token {given}"))
    };
    match checked(&text, now) {
        Ok(token) => Ok(Identified { token, source: origin, tried: Vec::new() }),
        Err(source) => Err(OidcError::Given { origin, source }),
    }
}

/// A token that is one, is valid now, and whose address is not called unverified by its own issuer.
fn checked(text: &str, now: Timestamp) -> Result<IdentityToken, TokenError> {
    let token = IdentityToken::parse(text)?;
    token.check_time(now)?;
    token.check_email()?;
    Ok(token)
}

/// What was tried, the failures first: among ten places that do not apply, the one that broke is what a person looks for.
fn list(tried: &[Attempt]) -> String {
    let (failed, absent): (Vec<&Attempt>, Vec<_>) = tried.iter().partition(|attempt| attempt.is_failure());
    let all: Vec<String> = failed.into_iter().chain(absent).map(Attempt::to_string).collect();
    if all.is_empty() { "no ambient source was asked".to_owned() } else { all.join("; ") }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flow {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Normal, Self::Device, Self::Token, Self::ClientCredentials];
        known
            .into_iter()
            .find(|flow| flow.name() == name)
            .ok_or_else(|| format!("{name:?} is not an authentication flow; there are {}", known.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use super::{token::tests::jwt, *};

    /// Nobody who could answer: a test in which this is asked has failed.
    pub(super) struct Nobody;

    impl Person for Nobody {
        fn tell(&self, message: &Message<'_>) {
            panic!("nobody is there to hear {message:?}");
        }

        fn open_browser(&self, url: &str) -> Result<(), String> {
            panic!("no browser to open {url}");
        }

        fn verification_code(&self) -> io::Result<String> {
            panic!("nobody is there to type");
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T20:00:00Z".parse().unwrap()
    }

    fn good() -> String {
        jwt(&json!({"iss": "i", "sub": "s", "aud": "sigstore", "exp": 1_900_000_000}))
    }

    fn expired() -> String {
        jwt(&json!({"iss": "i", "sub": "s", "aud": "sigstore", "exp": 1_700_000_000}))
    }

    /// Nothing in the environment, and no well-known file.
    fn empty() -> (Environment, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        (Environment::from_pairs([("HOME", "/nonexistent")]).with_root(root.path()), root)
    }

    async fn get(env: &Environment, request: &TokenRequest) -> Result<Identified, OidcError> {
        identify(&Client::disabled(), env, request, &Nobody, now()).await
    }

    #[tokio::test]
    async fn a_given_token_wins_and_may_be_a_file() {
        let (env, root) = empty();
        let file = root.path().join("token");
        std::fs::write(&file, format!("{}\n", good())).unwrap();
        for given in [good(), file.display().to_string()] {
            let request = TokenRequest { given: Some(given), ..TokenRequest::default() };
            let found = get(&env, &request).await.unwrap();
            assert_eq!(found.token.subject(), "s");
            assert!(found.source.starts_with("--identity-token"), "{}", found.source);
        }
    }

    #[tokio::test]
    async fn a_given_token_that_is_no_good_is_named() {
        let (env, root) = empty();
        std::fs::write(root.path().join("token"), "garbage").unwrap();
        for (given, expected) in [
            (expired(), "expired at 2023-11-14"),
            (root.path().join("token").display().to_string(), "not an identity token"),
            ("/nonexistent/token".to_owned(), "neither a token nor a file"),
            ("garbage".to_owned(), "neither a token nor a file"),
        ] {
            let request = TokenRequest { given: Some(given), ..TokenRequest::default() };
            let error = get(&env, &request).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn the_variable_comes_before_the_file_and_a_stale_one_is_not_skipped() {
        let (env, root) = empty();
        let dir = root.path().join("var/run/sigstore/cosign");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("oidc-token"), good()).unwrap();
        let found = get(&env, &TokenRequest::default()).await.unwrap();
        assert_eq!((found.source.as_str(), found.tried.len()), ("filesystem", 1));
        let with = |token: String| Environment::from_pairs([("SIGSTORE_ID_TOKEN", token)]).with_root(root.path());
        assert_eq!(get(&with(good()), &TokenRequest::default()).await.unwrap().source, "envvar");
        let error = get(&with(expired()), &TokenRequest::default()).await.unwrap_err().to_string();
        assert!(error.starts_with("SIGSTORE_ID_TOKEN: the identity token expired"), "{error}");
    }

    #[tokio::test]
    async fn without_a_person_nothing_is_started_and_everything_tried_is_listed() {
        let (env, _root) = empty();
        let request = TokenRequest { issuer: Some("http://127.0.0.1:1".into()), ..TokenRequest::default() };
        let error = get(&env, &request).await.unwrap_err();
        let OidcError::None { tried, asked: None } = &error else { panic!("{error}") };
        assert_eq!(tried.len(), Provider::ALL.len());
        let text = error.to_string();
        for part in ["envvar: SIGSTORE_ID_TOKEN is not set", "github-actions: ", "nobody is there"] {
            assert!(text.contains(part), "{text}");
        }
        let request = TokenRequest { ambient: Ambient::Disabled, flow: Some(Flow::Token), ..request };
        let error = get(&env, &request).await.unwrap_err();
        assert!(matches!(&error, OidcError::None { tried, .. } if tried.is_empty()), "{error}");
    }

    #[tokio::test]
    async fn a_broken_environment_is_not_talked_over_with_a_browser() {
        let (_, root) = empty();
        let env = Environment::from_pairs([("GITHUB_ACTIONS", "true")]).with_root(root.path());
        let request = TokenRequest {
            interactivity: Interactivity::Terminal,
            issuer: Some("http://127.0.0.1:1".into()),
            ..TokenRequest::default()
        };
        let error = get(&env, &request).await.unwrap_err();
        assert!(matches!(error, OidcError::Ambient { .. }), "{error}");
        let start = "no identity token from this environment: github-actions: failed: this job may not ask for a token";
        assert!(error.to_string().starts_with(start), "{error}");
    }

    #[tokio::test]
    async fn only_the_named_provider_is_asked() {
        let (env, _root) = empty();
        let request = TokenRequest { ambient: Ambient::Only(Provider::Spiffe), ..TokenRequest::default() };
        let error = get(&env, &request).await.unwrap_err();
        assert!(
            matches!(&error, OidcError::None { tried, .. } if tried.len() == 1 && tried[0].provider == Provider::Spiffe),
            "{error}"
        );
    }

    #[test]
    fn flows_have_cosigns_names() {
        for name in ["normal", "device", "token", "client_credentials"] {
            assert_eq!(name.parse::<Flow>().unwrap().to_string(), name);
        }
        assert!("browser".parse::<Flow>().is_err());
    }
}
