//! Parts of requests and answers: ranges, pages, headers.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use serde::Deserialize;
use serde_json::Value;
use vidimus_core::Digest;

use super::{RegistryError, store::Stored};

/// Entries of a tag list or catalogue in one answer, and bytes of a referrers list: an answer stays under the 4 MiB that clients read.
const PAGE: usize = 10_000;
const REFERRERS_BYTES: usize = 3 << 20;

pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// The first descriptors after `last` that fit an answer, and the digest to continue after.
pub(super) fn cut_referrers(all: impl Iterator<Item = Value>, last: Option<&str>) -> (Vec<Value>, Option<String>) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for descriptor in all {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        if last.is_some_and(|last| digest <= last) {
            continue;
        }
        bytes += descriptor.to_string().len();
        if bytes > REFERRERS_BYTES && !page.is_empty() {
            let last = page.last().and_then(|descriptor: &Value| descriptor["digest"].as_str()).unwrap_or_default().to_owned();
            return (page, Some(last));
        }
        page.push(descriptor);
    }
    (page, None)
}

/// Which part of a sorted list is wanted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Page {
    n: Option<usize>,
    last: Option<String>,
}

impl Page {
    pub(super) fn of(request: &Parts) -> Result<Self, RegistryError> {
        parse_query(request)
    }

    /// The part, and the query of the next one if there is more.
    pub(super) fn cut(&self, all: Vec<String>) -> (Vec<String>, Option<String>) {
        let n = self.n.unwrap_or(PAGE).min(PAGE);
        let mut rest = all.into_iter().filter(|entry| self.last.as_ref().is_none_or(|last| entry > last));
        let page: Vec<String> = rest.by_ref().take(n).collect();
        let next = page.last().filter(|_| rest.next().is_some()).map(|last| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("n", &n.to_string()).append_pair("last", last).finish()
        });
        (page, next)
    }
}

/// One range of a blob.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) first: u64,
    pub(super) count: u64,
}

impl ByteRange {
    /// RFC 9110 §14: a single byte range; anything else that is not understood is ignored, as it allows.
    pub(super) fn of(headers: &HeaderMap, length: u64) -> Result<Option<Self>, RegistryError> {
        let Some(text) = text_header(headers, header::RANGE) else { return Ok(None) };
        let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else { return Ok(None) };
        let (first, last) = match (first.trim(), last.trim()) {
            ("", suffix) => match suffix.parse::<u64>() {
                Ok(suffix) => (length.saturating_sub(suffix), length.saturating_sub(u64::from(suffix > 0))),
                Err(_) => return Ok(None),
            },
            (first, "") => match first.parse::<u64>() {
                Ok(first) => (first, length.saturating_sub(1)),
                Err(_) => return Ok(None),
            },
            (first, last) => match (first.parse::<u64>(), last.parse::<u64>()) {
                (Ok(first), Ok(last)) if first <= last => (first, last.min(length.saturating_sub(1))),
                _ => return Ok(None),
            },
        };
        if first >= length {
            return Err(RegistryError::Range { why: format!("the blob has {length} bytes"), upload: None, length: Some(length) });
        }
        Ok(Some(Self { first, count: last - first + 1 }))
    }
}

/// A chunk must continue where the upload stands; without Content-Range it does by definition.
pub(super) fn check_chunk(headers: &HeaderMap, name: &str, id: &str, arrived: u64) -> Result<(), RegistryError> {
    let Some(range) = text_header(headers, header::CONTENT_RANGE) else { return Ok(()) };
    let bounds = range.trim_start_matches("bytes ").split('/').next().and_then(|range| range.split_once('-'));
    let parsed = bounds.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let length = text_header(headers, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    let (first, last) =
        parsed.ok_or_else(|| RegistryError::UploadInvalid(format!("Content-Range '{range}' is not FIRST-LAST")))?;
    // An empty last chunk is written `N-N` or `N-(N-1)` by different clients: only its start can be held against it.
    let fits = length.is_none_or(|length| length == 0 || last.checked_sub(first).is_some_and(|span| span + 1 == length));
    if first == arrived && fits {
        return Ok(());
    }
    let why = format!("the chunk is {range}, the upload stands at {arrived}");
    Err(RegistryError::Range { why, upload: Some((format!("/v2/{name}/blobs/uploads/{id}"), arrived)), length: None })
}

pub(super) fn manifest_answer(stored: Stored, head: bool) -> Response {
    let length = stored.bytes.len();
    let mut response = if head { Body::empty().into_response() } else { Body::from(stored.bytes).into_response() };
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_str(&stored.media_type);
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ETAG, ascii(format!("\"{}\"", stored.digest)));
    headers.insert(DIGEST, ascii(stored.digest.to_string()));
    response
}

pub(super) fn created(location: String, digest: &Digest) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, ascii(location)), (DIGEST, ascii(digest.to_string()))]).into_response()
}

pub(super) fn upload_answer(status: StatusCode, name: &str, id: &str, arrived: u64) -> Response {
    let headers = [
        (header::LOCATION, ascii(format!("/v2/{name}/blobs/uploads/{id}"))),
        (header::RANGE, ascii(format!("0-{}", arrived.saturating_sub(1)))),
        (UPLOAD_ID, ascii(id.to_owned())),
    ];
    (status, headers).into_response()
}

pub(super) fn paged(body: Value, next: Option<String>) -> Response {
    let mut response = Json(body).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, ascii(format!("<{next}>; rel=\"next\"")));
    }
    response
}

pub(super) fn only_reading(request: &Parts) -> Result<(), RegistryError> {
    match request.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(RegistryError::Method(request.method.clone())),
    }
}

pub(super) fn parse_query<T: for<'de> Deserialize<'de>>(request: &Parts) -> Result<T, RegistryError> {
    axum::extract::Query::try_from_uri(&request.uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| RegistryError::UploadInvalid(format!("query: {error}")))
}

pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = text_header(headers, header::AUTHORIZATION)?;
    let (scheme, value) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

pub(super) fn text_header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A header value of characters that our own grammar limits to printable ASCII.
pub(super) fn ascii(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
}
