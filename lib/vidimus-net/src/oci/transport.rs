//! One client for all registries: which scheme a registry speaks, who we are there, and requests with their authorization.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use url::Url;
use vidimus_core::Repository;

use super::{
    Credential, CredentialSources, OciError,
    auth::{self, Authorization, Scopes},
    challenge::Challenge,
};
use crate::http::{Client, Config, HttpError, Incoming, Method, Request, Response, Retry, ServerTrust};

/// What the user says about registries.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// Where credentials come from if none are given here.
    pub credentials: CredentialSources,
    /// `--registry-username`, with `password`.
    pub username: Option<String>,
    /// `--registry-password`.
    pub password: Option<String>,
    /// `--registry-token`: an access token, sent as it is.
    pub token: Option<String>,
    /// `--registry-cacert`: further roots, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// `--registry-client-cert` and `--registry-client-key`, PEM, one after the other.
    pub identity_pem: Option<Vec<u8>>,
    /// `--allow-http-registry`: plain HTTP if https does not answer, for every host.
    pub allow_http: bool,
    /// `--allow-insecure-registry`: any certificate, and plain HTTP.
    pub allow_insecure: bool,
    /// How long a write to a tag that others write to as well is watched before it counts as done. `None` for the default.
    pub settle: Option<Duration>,
}

impl RegistryOptions {
    /// Credentials from where the environment says; everything else as safe as can be.
    pub fn from_env() -> Self {
        Self { credentials: CredentialSources::from_env(), ..Self::default() }
    }
}

/// Shows everything but the secrets.
impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("credentials", &self.credentials)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("allow_http", &self.allow_http)
            .field("allow_insecure", &self.allow_insecure)
            .finish_non_exhaustive()
    }
}

/// A client for registries. Cheap to clone; clones share connections, tokens and what was learnt about each registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    http: Client,
    options: RegistryOptions,
    endpoints: Mutex<HashMap<String, Arc<OnceCell<Endpoint>>>>,
    sessions: Mutex<HashMap<Repository, Arc<Session>>>,
    // Writers to one tag in this process wait for each other here; what other processes do, `attach` has to find out.
    tags: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// How a registry is reached.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) base: Url,
    challenge: Option<Challenge>,
}

/// Who we are in a repository.
#[derive(Default)]
struct Session {
    credential: OnceCell<Option<Credential>>,
    // Held while a token is fetched, so that a hundred parallel requests fetch it once.
    tokens: AsyncMutex<HashMap<Scopes, Authorization>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client. Opens nothing.
    pub fn new(http: &Client, options: RegistryOptions) -> Self {
        let mut config: Config = http.config().clone();
        let own_tls = options.ca_pem.is_some() || options.identity_pem.is_some() || options.allow_insecure;
        config.roots_pem.extend(options.ca_pem.clone());
        config.identity_pem = options.identity_pem.clone().or(config.identity_pem);
        if options.allow_insecure {
            config.server_trust = ServerTrust::UnsafeAny;
        }
        let http = if own_tls { Client::new(config) } else { http.clone() };
        let inner = Inner { http, options, endpoints: Mutex::default(), sessions: Mutex::default(), tags: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// What the user said about registries.
    pub fn options(&self) -> &RegistryOptions {
        &self.inner.options
    }

    /// A repository's URL: `https://host/v2/name/` and `tail`.
    pub(super) async fn url(&self, repository: &Repository, tail: &str) -> Result<Url, OciError> {
        let base = &self.endpoint(repository.registry()).await?.base;
        let path = format!("/v2/{}/{tail}", repository.path());
        base.join(&path).map_err(|e| HttpError::malformed(&Method::GET, base, format!("{path}: {e}")).into())
    }

    /// A request with its authorization, its answer read completely.
    pub(super) async fn send(
        &self,
        repository: &Repository,
        scopes: &Scopes,
        method: Method,
        url: &Url,
        shape: impl FnOnce(Request) -> Request,
    ) -> Result<Response, OciError> {
        let request = shape(self.inner.http.request(method, url));
        match self.authorized(repository, scopes, url, request, Reading::Whole).await? {
            Answer::Whole(response) => Ok(response),
            Answer::Begun(_) => unreachable!("it was asked for as a whole"),
        }
    }

    /// The same, with the body still to be read.
    pub(super) async fn open(
        &self,
        repository: &Repository,
        scopes: &Scopes,
        method: Method,
        url: &Url,
        shape: impl FnOnce(Request) -> Request,
    ) -> Result<Incoming, OciError> {
        let request = shape(self.inner.http.request(method, url));
        match self.authorized(repository, scopes, url, request, Reading::Begun).await? {
            Answer::Begun(incoming) => Ok(incoming),
            Answer::Whole(_) => unreachable!("it was asked for unread"),
        }
    }

    async fn authorized(
        &self,
        repository: &Repository,
        scopes: &Scopes,
        url: &Url,
        request: Request,
        reading: Reading,
    ) -> Result<Answer, OciError> {
        let endpoint = self.endpoint(repository.registry()).await?;
        if url.origin() != endpoint.base.origin() {
            // An upload or download location elsewhere carries its own authorization; ours is none of its business.
            return Ok(answer(request, None, reading).await?);
        }
        let known = self.authorization(repository, &endpoint, endpoint.challenge.as_ref(), scopes, None).await?;
        let error = match answer(request.clone(), known.as_deref(), reading).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // The token may have expired, or the registry asks for one only here.
        let headers = error.headers.as_deref().filter(|_| error.status == Some(StatusCode::UNAUTHORIZED));
        let Some(challenge) = headers.and_then(Challenge::parse) else { return Err(error.into()) };
        let renewed = self.authorization(repository, &endpoint, Some(&challenge), scopes, known.as_deref()).await?;
        if renewed.is_none() || renewed == known {
            return Err(error.into());
        }
        Ok(answer(request, renewed.as_deref(), reading).await?)
    }

    /// The `Authorization` for some scopes; never again the one that was `refused`.
    async fn authorization(
        &self,
        repository: &Repository,
        endpoint: &Endpoint,
        challenge: Option<&Challenge>,
        scopes: &Scopes,
        refused: Option<&str>,
    ) -> Result<Option<String>, OciError> {
        let Some(challenge) = challenge else { return Ok(None) };
        let session = self.session(repository);
        let mut tokens = session.tokens.lock().await;
        if let Some(known) = tokens.get(scopes).filter(|a| a.is_fresh() && Some(a.value.as_str()) != refused) {
            return Ok(Some(known.value.clone()));
        }
        let credential = session.credential.get_or_try_init(|| self.credential(repository)).await?;
        let found = auth::answer(&self.inner.http, &endpoint.base, challenge, credential.as_ref(), scopes).await?;
        Ok(found.map(|authorization| {
            let value = authorization.value.clone();
            tokens.insert(scopes.clone(), authorization);
            value
        }))
    }

    /// In cosign's order: user name and password, token, then the configured sources.
    async fn credential(&self, repository: &Repository) -> Result<Option<Credential>, OciError> {
        let options = &self.inner.options;
        match (&options.username, &options.password, &options.token) {
            (Some(username), Some(password), _) => {
                Ok(Some(Credential::Basic { username: username.clone(), password: password.clone() }))
            }
            (Some(_), None, _) | (None, Some(_), _) => Err(OciError::Credentials {
                registry: repository.registry().to_owned(),
                why: "a user name and a password belong together; only one was given".into(),
            }),
            (None, None, Some(token)) => Ok(Some(Credential::Registry(token.clone()))),
            (None, None, None) => options.credentials.find(repository).await,
        }
    }

    fn session(&self, repository: &Repository) -> Arc<Session> {
        let mut sessions = self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.entry(repository.clone()).or_default().clone()
    }

    /// The lock that writers to a tag in this process take.
    pub(super) fn tag_lock(&self, tag: &str) -> Arc<AsyncMutex<()>> {
        let mut tags = self.inner.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.entry(tag.to_owned()).or_default().clone()
    }

    pub(super) async fn endpoint(&self, registry: &str) -> Result<Endpoint, OciError> {
        let cell = {
            let mut endpoints = self.inner.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            endpoints.entry(registry.to_owned()).or_default().clone()
        };
        cell.get_or_try_init(|| self.ping(registry)).await.cloned()
    }

    /// Finds out the scheme and the challenge with `GET /v2/`, as go-containerregistry does, except that loopback is asked in plain
    /// first: nothing can listen in on it, and a TLS set-up would cost more than the request.
    async fn ping(&self, registry: &str) -> Result<Endpoint, OciError> {
        let schemes: &[&str] = match plain_http(registry) {
            PlainHttp::First => &["http", "https"],
            PlainHttp::Fallback => &["https", "http"],
            PlainHttp::Never if self.inner.options.allow_http || self.inner.options.allow_insecure => &["https", "http"],
            PlainHttp::Never => &["https"],
        };
        let mut first_error = None;
        for (position, scheme) in schemes.iter().enumerate() {
            let last = position + 1 == schemes.len();
            match self.ping_with(registry, scheme, last && schemes.len() == 1).await {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) if last => return Err(first_error.unwrap_or(error).into()),
                Err(error) if error.status.is_some_and(|s| s != StatusCode::BAD_REQUEST) => return Err(error.into()),
                Err(error) => first_error = Some(error),
            }
        }
        unreachable!("there is at least one scheme")
    }

    async fn ping_with(&self, registry: &str, scheme: &str, patient: bool) -> Result<Endpoint, HttpError> {
        let text = format!("{scheme}://{registry}/");
        let base: Url = text.parse().map_err(|e| {
            let nowhere = Url::parse("http://invalid/").expect("a constant URL");
            HttpError::malformed(&Method::GET, &nowhere, format!("{text}: {e}"))
        })?;
        let url = base.join("v2/").map_err(|e| HttpError::malformed(&Method::GET, &base, e))?;
        let client = match patient {
            true => self.inner.http.clone(),
            false => self.inner.http.with_retry(Retry { attempts: 2, ..self.inner.http.config().retry }),
        };
        // Some registries have no page here, or show it to nobody; what counts is that they speak HTTP.
        let request = client.get(&url).allow(StatusCode::UNAUTHORIZED).allow(StatusCode::NOT_FOUND).allow(StatusCode::FORBIDDEN);
        let response = request.send().await?;
        Ok(Endpoint { base, challenge: Challenge::parse(&response.headers) })
    }

    /// The HTTP client below.
    pub(super) fn http(&self) -> &Client {
        &self.inner.http
    }
}

/// How much of an answer is read before it is handed on.
#[derive(Clone, Copy)]
enum Reading {
    Whole,
    Begun,
}

enum Answer {
    Whole(Response),
    Begun(Incoming),
}

async fn answer(request: Request, authorization: Option<&str>, reading: Reading) -> Result<Answer, HttpError> {
    let request = match authorization {
        Some(value) => request.authorization(value),
        None => request,
    };
    match reading {
        Reading::Whole => request.send().await.map(Answer::Whole),
        Reading::Begun => request.open().await.map(Answer::Begun),
    }
}

/// Whether a registry may be spoken to without TLS unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlainHttp {
    /// Loopback.
    First,
    /// go-containerregistry's other cases: `*.local` and private networks (RFC 1918).
    Fallback,
    /// Everything else.
    Never,
}

fn plain_http(registry: &str) -> PlainHttp {
    let host = vidimus_core::reference::split_port(registry).0;
    match host.parse() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => PlainHttp::First,
        Ok(IpAddr::V6(address)) if address.is_loopback() => PlainHttp::First,
        Ok(IpAddr::V4(address)) if address.is_private() => PlainHttp::Fallback,
        Ok(_) => PlainHttp::Never,
        Err(_) if host == "localhost" || host.ends_with(".localhost") => PlainHttp::First,
        Err(_) if host.ends_with(".local") => PlainHttp::Fallback,
        Err(_) => PlainHttp::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_only_where_cosign_tries_it() {
        for (registry, expected) in [
            ("localhost:5000", PlainHttp::First),
            ("127.0.0.1", PlainHttp::First),
            ("[::1]:5000", PlainHttp::First),
            ("192.168.1.7:5000", PlainHttp::Fallback),
            ("10.1.2.3", PlainHttp::Fallback),
            ("registry.local:5000", PlainHttp::Fallback),
            ("index.docker.io", PlainHttp::Never),
            ("localhost.example.com", PlainHttp::Never),
            ("127.0.0.1.example.com", PlainHttp::Never),
            ("8.8.8.8:5000", PlainHttp::Never),
            ("[2001:db8::1]:5000", PlainHttp::Never),
        ] {
            assert_eq!(plain_http(registry), expected, "{registry}");
        }
    }

    #[test]
    fn options_do_not_print_secrets() {
        let options = RegistryOptions { password: Some("s3cret".into()), token: Some("s3cret".into()), ..Default::default() };
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
