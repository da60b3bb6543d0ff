//! Getting a registry's `Authorization` header: Basic, or a token from the realm it names (distribution specification, "Token
//! authentication"; OAuth2 refresh for identity tokens).
//!
//! A failure here is a failure of the operation; nothing is tried anonymously after credentials were refused. Credentials go to the
//! registry and to the realm the registry names, nowhere else, and never from an https registry to a plain http realm.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde::Deserialize;
use url::Url;
use vidimus_core::{Repository, encoding};

use super::{Credential, OciError, challenge::Challenge};
use crate::http::{Client, HttpError, Method};

/// A token answer is a JWT and some fields.
const TOKEN_BYTES: u64 = 1 << 20;
/// The lifetime of a token whose issuer does not say (distribution specification).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is not used in its last moments: it must still be valid when the registry looks at it.
const MARGIN: Duration = Duration::from_secs(5);

/// What a request does to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Reads.
    Pull,
    /// Reads and writes.
    Push,
    /// Deletes.
    Delete,
}

impl Action {
    fn words(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete,pull",
        }
    }
}

/// The scopes a request needs, as the token endpoint wants them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Scopes(BTreeSet<String>);

impl Scopes {
    pub(super) fn of(repository: &Repository, action: Action) -> Self {
        Self(BTreeSet::from([format!("repository:{}:{}", repository.path(), action.words())]))
    }

    /// Both: a mount reads one repository and writes another.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn with_challenge(mut self, challenge: &Challenge) -> Self {
        if let Challenge::Bearer { scope: Some(scope), .. } = challenge {
            self.0.extend(scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned));
        }
        self
    }
}

/// An `Authorization` value and how long it is good for.
#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) value: String,
    expires: Option<Instant>,
}

impl Authorization {
    pub(super) fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|at| Instant::now() < at)
    }

    fn forever(value: String) -> Self {
        Self { value, expires: None }
    }
}

/// Answers a challenge. `Ok(None)` means that there is nothing to say: no credentials, and none that a token endpoint would give
/// anonymously.
pub(super) async fn answer(
    http: &Client,
    registry: &Url,
    challenge: &Challenge,
    credential: Option<&Credential>,
    scopes: &Scopes,
) -> Result<Option<Authorization>, OciError> {
    match (challenge, credential) {
        (_, Some(Credential::Registry(token))) => Ok(Some(Authorization::forever(format!("Bearer {token}")))),
        (Challenge::Basic, Some(Credential::Basic { username, password })) => {
            Ok(Some(Authorization::forever(basic(username, password))))
        }
        (Challenge::Basic, None) => Ok(None),
        (Challenge::Basic, Some(Credential::Identity(_))) => Err(OciError::Credentials {
            registry: registry.host_str().unwrap_or_default().to_owned(),
            why: "there is an identity token, but the registry asks for user name and password".into(),
        }),
        (Challenge::Bearer { realm, service, .. }, credential) => {
            let realm = checked_realm(registry, realm)?;
            let scopes = scopes.clone().with_challenge(challenge);
            token(http, &realm, service.as_deref(), credential, &scopes).await.map(Some)
        }
    }
}

/// `Basic` with a pair (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", encoding::encode(format!("{username}:{password}")))
}

fn checked_realm(registry: &Url, realm: &str) -> Result<Url, HttpError> {
    let refused = |why: String| HttpError::malformed(&Method::GET, registry, why);
    let url: Url = realm.parse().map_err(|e| refused(format!("token realm {realm:?}: {e}")))?;
    match (registry.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => Ok(url),
        _ => Err(refused(format!("token realm {realm:?} is not https: credentials would travel in the clear"))),
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

async fn token(
    http: &Client,
    realm: &Url,
    service: Option<&str>,
    credential: Option<&Credential>,
    scopes: &Scopes,
) -> Result<Authorization, OciError> {
    let request = match credential {
        Some(Credential::Identity(refresh_token)) => {
            let scope = scopes.0.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", "vidimus")];
            fields.extend(service.map(|s| ("service", s)));
            fields.push(("scope", &scope));
            // Refreshing twice gives two tokens, both good.
            http.post(realm).form(&fields).repeatable()
        }
        other => {
            let mut url = realm.clone();
            {
                let mut query = url.query_pairs_mut();
                service.into_iter().for_each(|s| {
                    query.append_pair("service", s);
                });
                scopes.0.iter().for_each(|s| {
                    query.append_pair("scope", s);
                });
            }
            match other {
                Some(Credential::Basic { username, password }) => http.get(&url).authorization(&basic(username, password)),
                _ => http.get(&url),
            }
        }
    };
    let started = Instant::now();
    let response = request.limit(TOKEN_BYTES).send().await?;
    let answer: TokenAnswer = response.json()?;
    let token = answer.token.or(answer.access_token).filter(|t| !t.is_empty());
    let token = token.ok_or_else(|| response.malformed("no token in the answer"))?;
    let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(Duration::from_secs(24 * 3600));
    Ok(Authorization { value: format!("Bearer {token}"), expires: Some(started + lifetime.saturating_sub(MARGIN)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_leave_tls() {
        let secure: Url = "https://r.io".parse().unwrap();
        let plain: Url = "http://127.0.0.1:5000".parse().unwrap();
        assert!(checked_realm(&secure, "https://auth.io/token").is_ok());
        assert!(checked_realm(&plain, "http://127.0.0.1:5001/token").is_ok());
        for bad in ["http://auth.io/token", "file:///etc/passwd", "/token", ""] {
            assert!(checked_realm(&secure, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_are_united() {
        let repository: Repository = "r.io/a".parse().unwrap();
        let challenge =
            Challenge::Bearer { realm: String::new(), service: None, scope: Some("repository:a:pull repository:b:pull".into()) };
        let scopes = Scopes::of(&repository, Action::Push).with_challenge(&challenge);
        assert_eq!(
            scopes.0.into_iter().collect::<Vec<_>>(),
            ["repository:a:pull", "repository:a:pull,push", "repository:b:pull"]
        );
    }
}
