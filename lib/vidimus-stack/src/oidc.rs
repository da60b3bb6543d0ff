//! The stack's own OpenID Connect issuer: enough of one for every Sigstore client, and nothing that needs a database.
//!
//! OpenID Connect Core and Discovery 1.0; RFC 6749 (authorization code, client credentials), RFC 7636 (PKCE, S256 only),
//! RFC 8252 (redirects to the loopback), RFC 8628 (devices), RFC 8693 (token exchange), and the endpoint that hands tokens to
//! GitHub Actions jobs. No refresh tokens, no sessions, no consent: a login is for one token. The access token is an identity
//! token too, because sigstore-python uses it as one.

mod authorize;
pub(crate) mod key;
mod pages;
mod routes;
mod tables;
mod token;

use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use routes::router;

use crate::clock::Clock;
use crate::jwt::TokenVerifier;
use crate::pki::OpenError;
use crate::pki::key::CryptoFailure;
use crate::users::{Account, Users};
use key::{TokenKey, base64url};
use tables::{Limiter, Tables};

/// The client id that every Sigstore client uses unless told otherwise, and the audience that Fulcio expects.
pub const CLIENT_ID: &str = "sigstore";
/// Life of a token from a login.
const LOGIN_MINUTES: i64 = 10;
/// Life of a token made by the stack's owner on the command line: long enough to walk through a tutorial.
const OWNER_MINUTES: i64 = 60;
/// Life of the token that a CI job asks for identity tokens with: GitHub's jobs end after six hours.
const AMBIENT_MINUTES: i64 = 6 * 60;
/// Passwords checked at the same time: each takes 19 MiB and a core.
const PASSWORD_CHECKS: usize = 2;

/// The issuer.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key: Arc<TokenKey>,
    tokens: Arc<TokenVerifier>,
    users: Users,
    clock: Clock,
    tables: Mutex<Tables>,
    limiter: Mutex<Limiter>,
    checks: Semaphore,
    /// Binds login forms to this process.
    form_key: [u8; 32],
}

/// What a token is to say.
#[derive(Debug, Clone, Copy)]
struct Grant<'a> {
    account: &'a Account,
    audience: &'a str,
    /// The client it is given to, if that is not the audience. It becomes an audience too: cosign checks that a token names the
    /// client that asked for it, while Fulcio checks that it names Fulcio's.
    client: Option<&'a str>,
    nonce: Option<&'a str>,
    /// The token exists until then at most.
    until: Option<Timestamp>,
}

/// An access token and the identity token that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TokenPair {
    access: String,
    id: String,
    seconds: i64,
}

/// The issuer's key, opened before the services that verify its tokens.
#[derive(Debug, Clone)]
pub struct IssuerKey(Arc<TokenKey>);

impl IssuerKey {
    /// Reads the key in `keys`/`oidc`, or makes it the first time.
    pub fn open(keys: &Path) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(TokenKey::open(keys)?)))
    }

    /// A verifier of this key's tokens, as those of `url`, and of the tokens of all issuers in `config`.
    pub fn verifier(&self, url: &str, config: crate::fulcio::config::FulcioConfig, clock: Clock) -> TokenVerifier {
        TokenVerifier::new(url, self.0.clone(), config, clock)
    }
}

impl Issuer {
    /// An issuer at `url`, which is the stack's origin.
    pub fn new(url: &str, key: IssuerKey, tokens: Arc<TokenVerifier>, users: Users, clock: Clock) -> Result<Self, CryptoFailure> {
        Ok(Self {
            url: url.to_owned(),
            key: key.0,
            tokens,
            users,
            clock,
            tables: Mutex::default(),
            limiter: Mutex::default(),
            checks: Semaphore::new(PASSWORD_CHECKS),
            form_key: crate::pki::key::random()?,
        })
    }

    /// The issuer's URL, as in `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// OpenID Connect Discovery §3. Sigstore's Go client refuses an issuer that does not announce S256.
    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "authorization_endpoint": at("/oauth2/authorize"),
            "token_endpoint": at("/oauth2/token"),
            "jwks_uri": at("/oauth2/keys"),
            "device_authorization_endpoint": at("/oauth2/device/code"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "email"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "grant_types_supported": [
                "authorization_code", "client_credentials", token::DEVICE_CODE, token::TOKEN_EXCHANGE,
            ],
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nonce", "at_hash", "email", "email_verified"],
        })
    }

    fn issue(&self, grant: Grant<'_>) -> Result<TokenPair, CryptoFailure> {
        let now = self.clock.now();
        let expires = grant.until.unwrap_or(Timestamp::MAX).min(now + LOGIN_MINUTES.minutes());
        let mut claims = claims(&self.url, grant.audience, grant.account, now, expires);
        if let Some(client) = grant.client {
            claims["aud"] = json!([grant.audience, client]);
            claims["azp"] = json!(client);
        }
        let access = self.key.sign(&claims)?;
        claims["at_hash"] = json!(at_hash(&access));
        if let Some(nonce) = grant.nonce {
            claims["nonce"] = json!(nonce);
        }
        Ok(TokenPair { access, id: self.key.sign(&claims)?, seconds: expires.as_second() - now.as_second() })
    }
}

/// An identity token for `email`, valid for an hour, for whoever can read the issuer's key in `keys`.
pub fn owner_token(keys: &Path, issuer: &str, email: &str, now: Timestamp) -> Result<String, OwnerTokenError> {
    owner_signed(keys, issuer, CLIENT_ID, email, now, OWNER_MINUTES)
}

/// What a CI job needs to ask for its own tokens: the token for `ACTIONS_ID_TOKEN_REQUEST_TOKEN`. The URL is
/// [`ambient_url`].
pub fn ambient_token(keys: &Path, issuer: &str, email: &str, now: Timestamp) -> Result<String, OwnerTokenError> {
    owner_signed(keys, issuer, &ambient_audience(issuer), email, now, AMBIENT_MINUTES)
}

/// The URL for `ACTIONS_ID_TOKEN_REQUEST_URL`. Clients append `&audience=…`, so it must have a query already.
pub fn ambient_url(issuer: &str) -> String {
    format!("{}?api-version=2.0", ambient_audience(issuer))
}

/// No token could be made from a key folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerTokenError {
    /// The key could not be read.
    #[error(transparent)]
    Key(#[from] OpenError),
    /// Not a mail address that certificates can carry.
    #[error("{0:?} is not a mail address")]
    Email(String),
}

fn owner_signed(
    keys: &Path,
    issuer: &str,
    audience: &str,
    email: &str,
    now: Timestamp,
    minutes: i64,
) -> Result<String, OwnerTokenError> {
    if !crate::fulcio::is_email(email) {
        return Err(OwnerTokenError::Email(email.to_owned()));
    }
    let key = TokenKey::read(keys)?;
    let account = Account { subject: email.to_owned(), email: email.to_owned() };
    let claims = claims(issuer, audience, &account, now, now + minutes.minutes());
    Ok(key.sign(&claims).map_err(OpenError::from)?)
}

/// Only for asking for tokens: never what Fulcio expects.
fn ambient_audience(issuer: &str) -> String {
    format!("{issuer}/oauth2/ambient")
}

fn claims(issuer: &str, audience: &str, account: &Account, now: Timestamp, expires: Timestamp) -> Value {
    json!({
        "iss": issuer,
        "aud": audience,
        "sub": account.subject,
        "iat": now.as_second(),
        "nbf": now.as_second(),
        "exp": expires.as_second(),
        "email": account.email,
        "email_verified": true,
    })
}

/// OpenID Connect Core §3.1.3.6: the left half of the hash of the access token.
fn at_hash(access_token: &str) -> String {
    base64url(&digest(&SHA256, access_token.as_bytes()).as_ref()[..16])
}

#[cfg(test)]
mod tests;
