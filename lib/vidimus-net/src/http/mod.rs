//! The one HTTP client of the program: limits, time-outs, retries, redirects and proxies, decided in one place.
//!
//! - Every body has a byte limit, every attempt a time-out, every call a budget ([`Retry`]).
//! - GET, HEAD, PUT and DELETE are repeated on transient failures; POST only if the server cannot have acted on it, or if the caller
//!   says that it does no harm ([`Request::repeatable`]).
//! - At most five redirects, never from https to http, and credentials do not travel to another host.
//! - Proxies come from the environment as in Go's clients: never for loopback addresses.
//! - [`Network::None`] refuses before a socket or a TLS configuration exists. Both are made at the first request that needs them.
//!
//! Deliberately absent: cookies, caches, compression (digests are over the bytes as stored), HTTP/3.

mod body;
mod error;
mod retry;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
pub use http::{HeaderMap, Method, StatusCode, header};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;
use url::{Host, Url};

use self::retry::Repeatable;
pub use self::{
    body::{Body, Incoming},
    error::{HttpError, Kind},
    retry::Retry,
};
pub(crate) use self::{
    error::{chain, explain, shown},
    retry::jitter,
};

/// Redirects followed for one request.
pub const MAX_REDIRECTS: usize = 5;
/// The largest body of an answer unless the caller says otherwise.
pub const DEFAULT_LIMIT: u64 = 16 << 20;
/// The part of an error's body that is read for an explanation.
const ERROR_BODY: u64 = 8 << 10;

/// Whether sockets may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// They may.
    #[default]
    Allowed,
    /// They must not: every request fails with [`Kind::Disabled`].
    None,
}

/// Whether certificates of TLS servers are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTrust {
    /// Against the system's roots and the configured ones.
    #[default]
    Verified,
    /// Not at all; only on the user's explicit word.
    UnsafeAny,
}

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Whether sockets may be opened.
    pub network: Network,
    /// The `User-Agent`.
    pub user_agent: String,
    /// Time to make a connection.
    pub connect_timeout: Duration,
    /// Longest silence while the body of an answer is read. While one is sent, only the attempt's own time-out counts: a server
    /// is silent then, however fast it takes what we send.
    pub read_timeout: Duration,
    /// Time for one whole attempt; bodies that are streamed are bounded by `read_timeout` only.
    pub timeout: Duration,
    /// When to try again.
    pub retry: Retry,
    /// Further roots, PEM.
    pub roots_pem: Vec<Vec<u8>>,
    /// Client certificate and key, PEM, one after the other.
    pub identity_pem: Option<Vec<u8>>,
    /// Whether certificates of TLS servers are checked.
    pub server_trust: ServerTrust,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: Network::Allowed,
            user_agent: concat!("vidimus/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            retry: Retry::default(),
            roots_pem: Vec::new(),
            identity_pem: None,
            server_trust: ServerTrust::Verified,
        }
    }
}

/// An HTTP client. Cheap to clone; clones share connections.
#[derive(Debug, Clone, Default)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    config: Config,
    backends: Arc<Backends>,
}

#[derive(Debug, Default)]
struct Backends {
    // Plain http needs no roots (there may be none, in a scratch container); loopback needs no proxy.
    plain_direct: OnceLock<Result<reqwest::Client, String>>,
    plain_proxied: OnceLock<Result<reqwest::Client, String>>,
    tls_direct: OnceLock<Result<reqwest::Client, String>>,
    tls_proxied: OnceLock<Result<reqwest::Client, String>>,
}

impl Client {
    /// A client. Opens nothing.
    pub fn new(config: Config) -> Self {
        Self { inner: Arc::new(Inner { config, ..Inner::default() }) }
    }

    /// A client that refuses every request.
    pub fn disabled() -> Self {
        Self::new(Config { network: Network::None, ..Config::default() })
    }

    /// The same client, with the same connections, trying again differently.
    pub fn with_retry(&self, retry: Retry) -> Self {
        let config = Config { retry, ..self.inner.config.clone() };
        Self { inner: Arc::new(Inner { config, backends: self.inner.backends.clone() }) }
    }

    /// How it behaves.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// A request.
    pub fn request(&self, method: Method, url: &Url) -> Request {
        let repeatable = match method {
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS => Repeatable::Yes,
            _ => Repeatable::No,
        };
        Request {
            client: self.clone(),
            method,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Body::Empty,
            limit: DEFAULT_LIMIT,
            timeout: self.config().timeout,
            allowed: Vec::new(),
            repeatable,
            defect: None,
        }
    }

    /// A GET request.
    pub fn get(&self, url: &Url) -> Request {
        self.request(Method::GET, url)
    }

    /// A POST request.
    pub fn post(&self, url: &Url) -> Request {
        self.request(Method::POST, url)
    }

    fn backend(&self, url: &Url) -> Result<&reqwest::Client, String> {
        let backends = &self.inner.backends;
        let direct = is_loopback(url);
        let tls = url.scheme() == "https";
        let slot = match (tls, direct) {
            (false, true) => &backends.plain_direct,
            (false, false) => &backends.plain_proxied,
            (true, true) => &backends.tls_direct,
            (true, false) => &backends.tls_proxied,
        };
        slot.get_or_init(|| build(&self.inner.config, tls, direct)).as_ref().map_err(Clone::clone)
    }
}

fn build(config: &Config, tls: bool, direct: bool) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .user_agent(&config.user_agent)
        .connect_timeout(config.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if direct {
        builder = builder.no_proxy();
    }
    if !tls {
        builder = builder.tls_certs_only([]);
    } else {
        for pem in &config.roots_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|e| format!("CA certificate: {}", chain(&e)))?;
            builder = builder.tls_certs_merge(roots);
        }
        if let Some(pem) = &config.identity_pem {
            let identity = reqwest::Identity::from_pem(pem).map_err(|e| format!("client certificate: {}", chain(&e)))?;
            builder = builder.identity(identity);
        }
        builder = builder.tls_danger_accept_invalid_certs(config.server_trust == ServerTrust::UnsafeAny);
    }
    builder.build().map_err(|e| chain(&e))
}

/// Whether a URL stays on this machine: `localhost` and loopback addresses.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A request that is being put together.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    limit: u64,
    timeout: Duration,
    allowed: Vec<StatusCode>,
    repeatable: Repeatable,
    defect: Option<String>,
}

impl Request {
    /// Sets a header. A value that no header can carry makes [`Self::send`] fail.
    pub fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(value.as_ref()) {
            Ok(value) => {
                self.headers.insert(name, value);
            }
            Err(_) => self.defect = Some(format!("the value of header {name} has characters that a header cannot carry")),
        }
        self
    }

    /// Sends `Authorization: Bearer`. Never shown in logs or errors, and dropped when a redirect leaves the host.
    pub fn bearer(self, token: &str) -> Self {
        self.authorization(&format!("Bearer {token}"))
    }

    /// Sends `Authorization` with a value of any scheme.
    pub fn authorization(mut self, value: &str) -> Self {
        self = self.header(header::AUTHORIZATION, value);
        if let Some(value) = self.headers.get_mut(header::AUTHORIZATION) {
            value.set_sensitive(true);
        }
        self
    }

    /// Sets the body and its media type.
    pub fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, content_type)
    }

    /// Sets a JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body("application/json", bytes),
            Err(e) => {
                self.defect = Some(e.to_string());
                self
            }
        }
    }

    /// Sets a form body (`application/x-www-form-urlencoded`).
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", encoded.into_bytes())
    }

    /// The largest body of the answer, instead of [`DEFAULT_LIMIT`].
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Time for one whole attempt.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A status that is an answer, not an error.
    pub fn allow(mut self, status: StatusCode) -> Self {
        self.allowed.push(status);
        self
    }

    /// Sending this request twice does no harm, though its method does not promise it.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = Repeatable::Yes;
        self
    }

    /// Sending this request twice could do harm, though its method promises otherwise (a conditional PUT whose first answer got lost).
    pub fn once(mut self) -> Self {
        self.repeatable = Repeatable::No;
        self
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Result<Response, HttpError> {
        let started = Instant::now();
        let mut number = 1;
        loop {
            let attempt = async { self.attempt().await?.collect(self.limit).await };
            match self.timed(attempt).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(HttpError { attempts: number, ..error }, started).await?,
            }
            number += 1;
        }
    }

    /// Sends it and gives the answer as soon as its head is there; the body is read from [`Incoming`]. Only what happens before the
    /// first byte of the body is retried.
    pub async fn open(self) -> Result<Incoming, HttpError> {
        let started = Instant::now();
        let mut number = 1;
        loop {
            match self.timed(self.attempt()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(HttpError { attempts: number, ..error }, started).await?,
            }
            number += 1;
        }
    }

    async fn timed<T>(&self, attempt: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
        match tokio::time::timeout(self.timeout, attempt).await {
            Ok(result) => result,
            Err(_) => Err(self.error(Kind::Timeout, format!("no answer within {} s", self.timeout.as_secs_f32()))),
        }
    }

    /// Waits before the next attempt, or gives the error back if there must not be one.
    async fn pause(&self, error: HttpError, started: Instant) -> Result<(), HttpError> {
        let retry = self.client.config().retry;
        let Some(wait) = retry.wait(&error, error.attempts, started, self.repeatable) else { return Err(error) };
        debug!(%error, ?wait, "trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// One attempt, with its redirects.
    async fn attempt(&self) -> Result<Incoming, HttpError> {
        if self.client.config().network == Network::None {
            return Err(self.error(Kind::Disabled, String::new()));
        }
        if let Some(defect) = &self.defect {
            return Err(self.error(Kind::Malformed, defect.clone()));
        }
        let (mut method, mut url, mut headers, mut body) =
            (self.method.clone(), self.url.clone(), self.headers.clone(), self.body.clone());
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(&method, &url, &headers, &body).await?;
            let Some(next) = self.redirect_target(&response, &url)? else { return self.judge(response, url).await };
            if next.origin() != url.origin() {
                headers.remove(header::AUTHORIZATION);
            }
            if response.status() == StatusCode::SEE_OTHER && method != Method::HEAD {
                (method, body) = (Method::GET, Body::Empty);
                headers.remove(header::CONTENT_TYPE);
            }
            url = next;
        }
        Err(self.error(Kind::Redirect, format!("more than {MAX_REDIRECTS} of them")))
    }

    async fn exchange(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Body,
    ) -> Result<reqwest::Response, HttpError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(self.error(Kind::Malformed, format!("cannot speak {}", url.scheme())));
        }
        let backend = self.client.backend(url).map_err(|why| HttpError { sent: false, ..self.error(Kind::Malformed, why) })?;
        let request = backend.request(method.clone(), url.clone()).headers(headers.clone());
        let request = body.attach(request).await.map_err(|e| self.error(Kind::Malformed, e.to_string()))?;
        request.send().await.map_err(|e| self.transport_error(e))
    }

    fn redirect_target(&self, response: &reqwest::Response, from: &Url) -> Result<Option<Url>, HttpError> {
        let follows = match response.status().as_u16() {
            // Old clients turned a POST into a GET here; we do neither, a server that means it says 307.
            301 | 302 => matches!(self.method, Method::GET | Method::HEAD),
            303 | 307 | 308 => true,
            _ => false,
        };
        let Some(location) = response.headers().get(header::LOCATION).filter(|_| follows) else { return Ok(None) };
        let location = String::from_utf8_lossy(location.as_bytes());
        let next = from.join(&location).map_err(|e| self.error(Kind::Redirect, format!("to {location:?}: {e}")))?;
        if from.scheme() == "https" && next.scheme() != "https" {
            return Err(self.error(Kind::Redirect, format!("from https to {}", shown(&next))));
        }
        Ok(Some(next))
    }

    async fn judge(&self, response: reqwest::Response, url: Url) -> Result<Incoming, HttpError> {
        let status = response.status();
        let incoming = Incoming::new(self, url, response);
        if status.is_success() || self.allowed.contains(&status) {
            return Ok(incoming);
        }
        let error = incoming.error(Kind::of_status(status, incoming.headers(), Timestamp::now()), String::new());
        let body = incoming.beginning(ERROR_BODY).await;
        Err(HttpError { detail: explain(&body), ..error })
    }

    fn transport_error(&self, error: reqwest::Error) -> HttpError {
        let kind = match () {
            _ if error.is_timeout() => Kind::Timeout,
            _ if error.is_builder() => Kind::Malformed,
            _ => Kind::Unavailable,
        };
        let sent = !error.is_connect();
        HttpError { sent, ..self.error(kind, chain(&error.without_url())) }
    }

    fn error(&self, kind: Kind, detail: String) -> HttpError {
        HttpError {
            method: self.method.clone(),
            url: shown(&self.url),
            kind,
            status: None,
            detail,
            attempts: 1,
            headers: None,
            sent: true,
        }
    }
}

/// An answer, read completely.
#[derive(Debug, Clone)]
pub struct Response {
    /// The method of the request.
    pub method: Method,
    /// The URL that was asked for.
    pub requested: Url,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A header's value, if it is text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|e| self.malformed(e))
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, HttpError> {
        std::str::from_utf8(&self.body).map_err(|e| self.malformed(e))
    }

    /// An error that says this answer is not what the protocol promises.
    pub fn malformed(&self, why: impl std::fmt::Display) -> HttpError {
        HttpError {
            status: Some(self.status),
            headers: Some(Box::new(self.headers.clone())),
            ..HttpError::malformed(&self.method, &self.requested, why)
        }
    }

    /// The error this answer would have been had its status not been allowed.
    pub fn into_error(self) -> HttpError {
        HttpError {
            kind: Kind::of_status(self.status, &self.headers, Timestamp::now()),
            detail: explain(&self.body),
            ..self.malformed("")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    #[tokio::test]
    async fn without_network_nothing_is_opened() {
        let client = Client::disabled();
        let error = is_send(client.get(&"http://127.0.0.1:1/".parse().unwrap()).send()).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::Disabled, 1));
        assert!([&client.inner.backends.plain_direct, &client.inner.backends.tls_direct].iter().all(|slot| slot.get().is_none()));
    }

    #[test]
    fn loopback_needs_no_proxy() {
        for (url, expected) in [
            ("http://localhost:1/", true),
            ("http://127.8.0.1/", true),
            ("http://[::1]/", true),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_an_error() {
        let client = Client::default();
        let url: Url = "http://127.0.0.1:1/".parse().unwrap();
        let split = client.get(&url).header(header::ACCEPT, "a\r\nb: c").send().await.unwrap_err();
        assert_eq!(split.kind, Kind::Malformed);
        let scheme = client.get(&"ftp://127.0.0.1/".parse().unwrap()).send().await.unwrap_err();
        assert_eq!(scheme.kind, Kind::Malformed);
    }
}
