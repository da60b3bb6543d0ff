//! An answer that was read completely.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use url::Url;

use super::{HttpError, Kind, explain};

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
