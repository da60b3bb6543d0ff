//! What can go wrong with a request, in kinds a caller can act on.
//!
//! Only [`Kind::NotFound`] means "not there", and only HTTP 404 makes it. Everything else means "could not tell".

use std::{fmt, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

/// A request that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// The method.
    pub method: Method,
    /// The URL that was asked for, without user name and password.
    pub url: String,
    /// What to make of it.
    pub kind: Kind,
    /// The status, if there was an answer.
    pub status: Option<StatusCode>,
    /// The reason: the server's own words, or the chain of errors below.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The headers of the answer, if there was one.
    pub headers: Option<Box<HeaderMap>>,
    /// Whether the server may have got the request: `false` only if no connection was made.
    pub sent: bool,
}

/// Why a request did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// 409 or 412: somebody else changed it, or it exists already.
    Conflict,
    /// 401 or 403.
    Denied,
    /// The network is switched off; no socket was opened.
    Disabled,
    /// The answer is not what the protocol promises.
    Malformed,
    /// 404.
    NotFound,
    /// 429.
    RateLimited {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// More redirects than allowed, or one from https to http.
    Redirect,
    /// Any other status.
    Status(u16),
    /// No answer in time.
    Timeout,
    /// More bytes than allowed.
    TooLarge {
        /// How many were allowed.
        limit: u64,
    },
    /// No connection, or a 5xx status.
    Unavailable,
}

impl Kind {
    /// The kind of a status that is not a success.
    pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Self {
        match status.as_u16() {
            401 | 403 => Self::Denied,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            409 | 412 => Self::Conflict,
            429 => Self::RateLimited { retry_after: retry_after(headers, now) },
            500..=599 => Self::Unavailable,
            other => Self::Status(other),
        }
    }
}

impl HttpError {
    /// Whether the server said, with a 404, that it is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// An answer that is not what the protocol promises.
    pub fn malformed(method: &Method, url: &url::Url, why: impl fmt::Display) -> Self {
        Self {
            method: method.clone(),
            url: shown(url),
            kind: Kind::Malformed,
            status: None,
            detail: why.to_string(),
            attempts: 1,
            headers: None,
            sent: true,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.url)?;
        match self.kind {
            Kind::Conflict => f.write_str("conflict")?,
            Kind::Denied => f.write_str("access denied")?,
            Kind::Disabled => f.write_str("the network is switched off")?,
            Kind::Malformed => f.write_str("malformed answer")?,
            Kind::NotFound => f.write_str("not found")?,
            Kind::RateLimited { retry_after: Some(wait) } => write!(f, "too many requests, retry after {} s", wait.as_secs())?,
            Kind::RateLimited { retry_after: None } => f.write_str("too many requests")?,
            Kind::Redirect => f.write_str("refused redirect")?,
            Kind::Status(_) => f.write_str("unexpected status")?,
            Kind::Timeout => f.write_str("timed out")?,
            Kind::TooLarge { limit } => write!(f, "more than the {limit} bytes allowed")?,
            Kind::Unavailable => f.write_str("unavailable")?,
        }
        if let Some(status) = self.status {
            write!(f, " (HTTP {})", status.as_u16())?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if self.attempts > 1 {
            write!(f, " (after {} attempts)", self.attempts)?;
        }
        Ok(())
    }
}

impl std::error::Error for HttpError {}

/// A URL as it may be shown: user name and password could be secrets.
pub(crate) fn shown(url: &url::Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have a host, which we never request.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// An error and everything below it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// What a server says about an error: the message of the JSON shapes that registries, gRPC gateways and OAuth servers use, else the
/// beginning of the body. Never more than a line, and nothing that could steer a terminal.
pub(crate) fn explain(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => message(&json).unwrap_or_else(|| json.to_string()),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn message(json: &Value) -> Option<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let both = |value: &Value, first: &str, second: &str| match (text(value, first), text(value, second)) {
        (Some(a), Some(b)) => Some(format!("{a}: {b}")),
        (a, b) => a.or(b),
    };
    let first_error = json.get("errors").and_then(|e| e.get(0));
    first_error
        .and_then(|e| both(e, "code", "message"))
        .or_else(|| both(json, "error", "error_description"))
        .or_else(|| text(json, "message"))
        .or_else(|| text(json, "details"))
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16) -> Kind {
        Kind::of_status(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn only_404_means_not_there() {
        assert_eq!(kind(404), Kind::NotFound);
        for status in (300..600).filter(|s| *s != 404) {
            assert_ne!(kind(status), Kind::NotFound, "{status}");
        }
        assert_eq!(
            (kind(401), kind(403), kind(410), kind(502)),
            (Kind::Denied, Kind::Denied, Kind::Status(410), Kind::Unavailable)
        );
    }

    #[test]
    fn retry_after_in_both_forms() {
        let wait = |value: &'static str| {
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, http::HeaderValue::from_static(value))]);
            retry_after(&headers, "2015-10-21T07:27:00Z".parse().unwrap())
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:26:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn explanations() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\n pull"}]}"#, "DENIED: no pull"),
            (r#"{"code":3,"message":"bad proof","details":[]}"#, "bad proof"),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, "invalid_grant: expired"),
            ("<h1>\u{1b}[2J bad gateway</h1>", "<h1> [2J bad gateway</h1>"),
            ("", ""),
        ] {
            assert_eq!(explain(body.as_bytes()), expected);
        }
        assert_eq!(explain("ä".repeat(1000).as_bytes()).chars().count(), 301);
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = "https://user:secret@h.io/x?a=b".parse().unwrap();
        assert_eq!(shown(&url), "https://h.io/x?a=b");
    }
}
