//! One request: how it is put together, its attempts, and its redirects.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use tracing::debug;
use url::Url;

use super::{
    Body, Client, DEFAULT_LIMIT, ERROR_BODY, HttpError, Incoming, Kind, MAX_REDIRECTS, Network, Response, chain, explain,
    retry::Repeatable, shown,
};

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
    pub(super) fn new(client: &Client, method: Method, url: &Url) -> Self {
        let repeatable = match method {
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS => Repeatable::Yes,
            _ => Repeatable::No,
        };
        Self {
            client: client.clone(),
            method,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Body::Empty,
            limit: DEFAULT_LIMIT,
            timeout: client.config().timeout,
            allowed: Vec::new(),
            repeatable,
            defect: None,
        }
    }

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
        let incoming = Incoming::new(&self.method, &self.url, url, response, self.client.config().read_timeout);
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
