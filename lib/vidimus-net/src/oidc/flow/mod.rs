//! Flows that get an identity token from an issuer: with a person (browser, or a code on another device) or with a client secret.
//!
//! All of them start at the issuer's discovery document (OpenID Connect Discovery 1.0), whose `issuer` has to be exactly the one
//! configured, and end with the same checks of the token: issuer, audience, time, verified address; in the browser flow also the nonce,
//! and `at_hash` where there is one. The token's signature is not checked here: it came straight from the issuer (OpenID Connect Core
//! §3.1.3.7, 6), and the one that relies on it, the certificate authority, checks it.

mod browser;
mod callback;
mod device;
mod endpoint;

use std::io;

use jiff::Timestamp;
use url::Url;

pub use self::browser::open_in_browser;
use self::endpoint::{Discovery, TokenAnswer};
use super::{IdentityToken, TokenError, TokenRequest, checked};
use crate::http::{Client, HttpError};

/// What is asked for in every flow.
const SCOPES: [&str; 2] = ["openid", "email"];

/// A way to sign in. Names are those of cosign's `--fulcio-auth-flow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A browser on this machine; a code to type where there is none.
    Normal,
    /// A browser on another device (RFC 8628).
    Device,
    /// None: only a token that is there already.
    Token,
    /// A client secret (RFC 6749 §4.4).
    ClientCredentials,
}

impl Flow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Device => "device",
            Self::Token => "token",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// What a person has to know while a flow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A browser was opened at this address.
    BrowserOpened {
        /// The address.
        url: &'a str,
    },
    /// No browser could be opened: the person opens the address anywhere, and types the code that it ends with.
    TypeTheCode {
        /// The address.
        url: &'a str,
        /// Why no browser was opened.
        why: &'a str,
    },
    /// The person opens the address on any device and confirms the code.
    ConfirmOnDevice {
        /// The address.
        url: &'a str,
        /// The code.
        code: &'a str,
        /// For how long, in seconds.
        seconds: u64,
    },
}

/// The person, as the program that uses this library reaches them.
pub trait Person: Send + Sync {
    /// Shows a message.
    fn tell(&self, message: &Message<'_>);

    /// Opens a browser, or says why not.
    fn open_browser(&self, url: &str) -> Result<(), String> {
        open_in_browser(url)
    }

    /// Waits for the code that the person types.
    fn verification_code(&self) -> io::Result<String>;
}

/// A flow that gave no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// A request failed; see its kind.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The issuer's name is not a URL.
    #[error("the OIDC issuer {0:?} is not a URL")]
    IssuerUrl(String),
    /// The discovery document is that of somebody else.
    #[error("the OIDC issuer {expected:?} calls itself {seen:?}")]
    IssuerMismatch {
        /// The one configured.
        expected: String,
        /// The one in the document.
        seen: String,
    },
    /// The issuer does not offer what the flow needs.
    #[error("the OIDC issuer {issuer} does not offer {what}")]
    NotOffered {
        /// The issuer.
        issuer: String,
        /// What.
        what: &'static str,
    },
    /// The issuer refused, or the person did.
    #[error("the OIDC issuer refused: {error}{description}")]
    Refused {
        /// The OAuth error code.
        error: String,
        /// Its description, after a colon.
        description: String,
    },
    /// The answer of the token endpoint has no identity token.
    #[error("the OIDC issuer gave no id_token")]
    NoIdToken,
    /// The token is not one that can be used.
    #[error("the OIDC issuer's token: {0}")]
    Token(#[from] TokenError),
    /// The token is from somebody else.
    #[error("the token that the OIDC issuer {expected} gave is issued by {seen}")]
    TokenIssuer {
        /// The issuer.
        expected: String,
        /// The token's `iss`.
        seen: String,
    },
    /// The token belongs to another login: a replay or a mix-up.
    #[error("the OIDC issuer's token belongs to another login: its {0} is not ours")]
    Binding(&'static str),
    /// Nobody came back from the browser, or confirmed the code.
    #[error("nobody signed in within {seconds} s")]
    Abandoned {
        /// How long it was waited.
        seconds: u64,
    },
    /// The address for the browser to come back to cannot be used.
    #[error("the redirect address {url:?} cannot be used: {why}")]
    Redirect {
        /// The address.
        url: String,
        /// Why not.
        why: String,
    },
    /// The code could not be read.
    #[error("the verification code could not be read: {0}")]
    Code(io::Error),
}

pub(super) async fn run(
    flow: Flow,
    http: &Client,
    issuer: &str,
    request: &TokenRequest,
    person: &dyn Person,
    now: Timestamp,
) -> Result<IdentityToken, FlowError> {
    let discovery = Discovery::fetch(http, issuer).await?;
    let session = Session { http, request, discovery: &discovery };
    let text = match flow {
        Flow::Normal => return browser::sign_in(&session, person, now).await,
        Flow::Device => device::sign_in(&session, person).await?,
        Flow::Token => return Err(FlowError::NoIdToken),
        Flow::ClientCredentials => client_credentials(&session).await?,
    };
    session.accept(&text, now)
}

/// What every flow works with.
struct Session<'a> {
    http: &'a Client,
    request: &'a TokenRequest,
    discovery: &'a Discovery,
}

impl Session<'_> {
    /// Posts to the token endpoint.
    async fn ask(&self, fields: &[(&str, &str)]) -> Result<TokenAnswer, FlowError> {
        let secret = self.request.client_secret.as_deref();
        endpoint::ask(self.http, &self.discovery.token_endpoint, &self.request.client_id, secret, fields).await
    }

    /// Takes a token that is from this issuer, for us, and valid.
    fn accept(&self, text: &str, now: Timestamp) -> Result<IdentityToken, FlowError> {
        let token = checked(text, now)?;
        if token.issuer() != self.discovery.issuer {
            let seen = token.issuer().to_owned();
            return Err(FlowError::TokenIssuer { expected: self.discovery.issuer.clone(), seen });
        }
        token.check_audience(&self.request.client_id)?;
        Ok(token)
    }
}

async fn client_credentials(session: &Session<'_>) -> Result<String, FlowError> {
    let fields = [("grant_type", "client_credentials"), ("scope", &SCOPES.join(" "))];
    session.ask(&fields).await?.id_token()
}

/// `at_hash` (OpenID Connect Core §3.1.3.6): the left half of the access token's hash, by the algorithm of the token's signature.
fn check_access_token(token: &IdentityToken, access_token: Option<&str>) -> Result<(), FlowError> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use vidimus_core::{Algorithm, Digest};
    let Some(stated) = token.access_token_hash() else { return Ok(()) };
    let algorithm = match token.algorithm().get(2..) {
        Some("256") => Algorithm::Sha256,
        Some("384") => Algorithm::Sha384,
        // EdDSA (RFC 8037) over Ed25519 uses SHA-512 as well.
        _ => Algorithm::Sha512,
    };
    let digest = Digest::of(algorithm, access_token.unwrap_or_default().as_bytes());
    let half = &digest.bytes()[..digest.bytes().len() / 2];
    if URL_SAFE_NO_PAD.encode(half) == stated { Ok(()) } else { Err(FlowError::Binding("at_hash")) }
}

/// The issuer's name as the URL that its discovery document is below.
fn parse_issuer(issuer: &str) -> Result<Url, FlowError> {
    let url: Url = issuer.parse().map_err(|_| FlowError::IssuerUrl(issuer.to_owned()))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(FlowError::IssuerUrl(issuer.to_owned())) }
}

#[cfg(test)]
mod tests;
