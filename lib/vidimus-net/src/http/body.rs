//! Bodies in both directions: sent from memory or from a part of a file, received under a byte limit.

use std::{io, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use url::Url;

use super::{HttpError, Kind, Response, chain, shown};

/// What a request carries. It can be sent more than once.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A part of a file, read while it is sent.
    File {
        /// The file.
        path: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// How long it is.
        len: u64,
    },
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl Body {
    pub(super) async fn attach(&self, request: reqwest::RequestBuilder) -> io::Result<reqwest::RequestBuilder> {
        Ok(match self {
            Self::Empty => request,
            Self::Bytes(bytes) => request.body(bytes.clone()),
            Self::File { path, offset, len } => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(io::SeekFrom::Start(*offset)).await?;
                let stream = ReaderStream::with_capacity(file.take(*len), 64 << 10);
                // With the length given, no chunked encoding: some registries refuse it for uploads.
                request.header(header::CONTENT_LENGTH, *len).body(reqwest::Body::wrap_stream(stream))
            }
        })
    }
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub struct Incoming {
    method: Method,
    requested: Url,
    url: Url,
    response: reqwest::Response,
    patience: Duration,
}

impl Incoming {
    pub(super) fn new(method: &Method, requested: &Url, url: Url, response: reqwest::Response, patience: Duration) -> Self {
        Self { method: method.clone(), requested: requested.clone(), url, response, patience }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        match tokio::time::timeout(self.patience, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(e)) => Err(self.error(Kind::Unavailable, chain(&e.without_url()))),
            Err(_) => Err(self.error(Kind::Timeout, format!("silence for {} s", self.patience.as_secs_f32()))),
        }
    }

    /// The whole body, at most `limit` bytes.
    pub async fn collect(mut self, limit: u64) -> Result<Response, HttpError> {
        if self.method != Method::HEAD && self.response.content_length().is_some_and(|len| len > limit) {
            return Err(self.too_large(limit));
        }
        // Without growing by doubling, a large body is in memory once.
        let announced = self.response.content_length().filter(|_| self.method != Method::HEAD).unwrap_or(0);
        let mut body = BytesMut::with_capacity(usize::try_from(announced.min(limit)).unwrap_or(0));
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
            if u64::try_from(body.len()).is_ok_and(|len| len > limit) {
                return Err(self.too_large(limit));
            }
        }
        Ok(Response {
            status: self.response.status(),
            headers: std::mem::take(self.response.headers_mut()),
            method: self.method,
            requested: self.requested,
            url: self.url,
            body: body.freeze(),
        })
    }

    /// What there is of the body up to `limit`; for explanations, so errors end it quietly.
    pub(super) async fn beginning(mut self, limit: u64) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            body.extend_from_slice(&chunk);
            if u64::try_from(body.len()).is_ok_and(|len| len > limit) {
                break;
            }
        }
        body
    }

    /// An error about this answer.
    pub(crate) fn error(&self, kind: Kind, detail: String) -> HttpError {
        HttpError {
            method: self.method.clone(),
            url: shown(&self.requested),
            kind,
            status: Some(self.response.status()),
            detail,
            attempts: 1,
            headers: Some(Box::new(self.response.headers().clone())),
            sent: true,
        }
    }

    pub(crate) fn too_large(&self, limit: u64) -> HttpError {
        self.error(Kind::TooLarge { limit }, String::new())
    }
}
