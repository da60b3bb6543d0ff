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
mod request;
mod response;
mod retry;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

pub use http::{HeaderMap, Method, StatusCode, header};
use url::{Host, Url};

pub use self::{
    body::{Body, Incoming},
    error::{HttpError, Kind},
    request::Request,
    response::Response,
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
        Request::new(self, method, url)
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
