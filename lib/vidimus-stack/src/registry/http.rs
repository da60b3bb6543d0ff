//! The registry's HTTP face: paths, methods, headers.

use std::{fmt, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use vidimus_core::{Digest, limits};

use super::{
    RegistryError,
    name::{Reference, Target, checked_digest},
    store::{Registry, Stored, content},
};

/// Entries of a tag list or catalogue in one answer, and bytes of a referrers list: an answer stays under the 4 MiB that clients read.
const PAGE: usize = 10_000;
const REFERRERS_BYTES: usize = 3 << 20;
/// Bytes read from a blob at a time.
const READ: usize = 64 << 10;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const API: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Decides whether a name and password may write.
pub type Credentials = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Who may do what.
#[derive(Clone, Default)]
pub struct Access {
    /// Asked before every write; `None` lets everyone write.
    pub writers: Option<Credentials>,
    /// Answers as registries did before the referrers API.
    pub without_referrers: bool,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writers = if self.writers.is_some() { "users" } else { "everyone" };
        f.debug_struct("Access").field("writers", &writers).field("without_referrers", &self.without_referrers).finish()
    }
}

#[derive(Debug, Clone)]
struct Service {
    registry: Arc<Registry>,
    access: Access,
}

type Answer = Result<Response, RegistryError>;

/// The routes under `/v2`.
pub fn router(registry: Arc<Registry>, access: Access) -> Router {
    let service = Service { registry, access };
    Router::new().route("/v2", any(base)).route("/v2/", any(base)).route("/v2/{*path}", any(dispatch)).with_state(service)
}

async fn base(State(service): State<Service>, headers: HeaderMap) -> Answer {
    // Clients learn here how to log in: a registry that wants passwords for writing must ask for one already.
    if service.access.writers.is_some() && !service.may_write(&headers).await {
        return Err(RegistryError::Unauthorized);
    }
    Ok(([(API, "registry/2.0")], Json(json!({}))).into_response())
}

async fn dispatch(State(service): State<Service>, request: Request) -> Answer {
    let (request, body) = request.into_parts();
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    if !reading && !service.may_write(&request.headers).await {
        return Err(RegistryError::Unauthorized);
    }
    let path = request.uri.path().strip_prefix("/v2/").unwrap_or_default();
    let target = Target::parse(path)?;
    let mut response = match target {
        Target::Catalog => service.catalog(&request).await,
        Target::Tags { name } => service.tags(name, &request).await,
        Target::Manifest { name, reference } => service.manifest(name, reference, &request, body).await,
        Target::Blob { name, digest } => service.blob(name, digest, &request).await,
        Target::Uploads { name } => service.begin(name, &request, body).await,
        Target::Upload { name, id } => service.upload(name, id, &request, body).await,
        Target::Referrers { name, digest } => service.referrers(name, digest, &request).await,
    }?;
    response.headers_mut().insert(API, HeaderValue::from_static("registry/2.0"));
    Ok(response)
}

impl Service {
    async fn may_write(&self, headers: &HeaderMap) -> bool {
        let Some(writers) = self.access.writers.clone() else { return true };
        let Some((user, password)) = basic(headers) else { return false };
        // Password hashing takes tens of milliseconds by design.
        tokio::task::spawn_blocking(move || writers(&user, &password)).await.unwrap_or(false)
    }

    /// Runs work on files away from the threads that serve connections.
    async fn on_disk<T, F>(&self, work: F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
    {
        let registry = Arc::clone(&self.registry);
        let done = tokio::task::spawn_blocking(move || work(&registry)).await;
        done.map_err(|error| RegistryError::Storage(std::io::Error::other(error)))?
    }

    async fn catalog(&self, request: &Parts) -> Answer {
        only_reading(request)?;
        let names = self.on_disk(|registry| Ok(registry.names())).await?;
        let (page, next) = Page::of(request)?.cut(names);
        Ok(paged(json!({"repositories": page}), next.map(|query| format!("/v2/_catalog?{query}"))))
    }

    async fn tags(&self, name: String, request: &Parts) -> Answer {
        only_reading(request)?;
        let page = Page::of(request)?;
        let repository = name.clone();
        let tags = self.on_disk(move |registry| registry.tags(&repository)).await?;
        let (tags, next) = page.cut(tags);
        let next = next.map(|query| format!("/v2/{name}/tags/list?{query}"));
        Ok(paged(json!({"name": name, "tags": tags}), next))
    }

    async fn manifest(&self, name: String, reference: Reference, request: &Parts, body: Body) -> Answer {
        match request.method {
            Method::GET | Method::HEAD => {
                let stored = self.on_disk(move |registry| registry.manifest(&name, &reference)).await?;
                Ok(manifest_answer(stored, request.method == Method::HEAD))
            }
            Method::PUT => self.put_manifest(name, reference, &request, body).await,
            Method::DELETE => {
                self.on_disk(move |registry| registry.delete_manifest(&name, &reference)).await?;
                Ok(StatusCode::ACCEPTED.into_response())
            }
            _ => Err(RegistryError::Method(request.method.clone())),
        }
    }

    async fn put_manifest(&self, name: String, reference: Reference, request: &Parts, body: Body) -> Answer {
        let content_type = text_header(&request.headers, header::CONTENT_TYPE);
        let bytes = axum::body::to_bytes(body, limits::MANIFEST_BYTES)
            .await
            .map_err(|_| RegistryError::TooBig(format!("a manifest may have {} bytes", limits::MANIFEST_BYTES)))?;
        let repository = name.clone();
        let put = move |registry: &Registry| registry.put_manifest(&repository, &reference, content_type.as_deref(), &bytes);
        let (digest, subject) = self.on_disk(put).await?;
        let mut response = created(format!("/v2/{name}/manifests/{digest}"), &digest);
        if let Some(subject) = subject.filter(|_| !self.access.without_referrers) {
            response.headers_mut().insert(SUBJECT, ascii(subject.to_string()));
        }
        Ok(response)
    }

    async fn blob(&self, name: String, digest: Digest, request: &Parts) -> Answer {
        if request.method == Method::DELETE {
            self.on_disk(move |registry| registry.delete_blob(&name, &digest)).await?;
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        only_reading(request)?;
        let wanted = digest.clone();
        let length = self.on_disk(move |registry| registry.blob(&name, &wanted)).await?;
        let range = ByteRange::of(&request.headers, length)?;
        let (status, first, count) = match range {
            Some(range) => (StatusCode::PARTIAL_CONTENT, range.first, range.count),
            None => (StatusCode::OK, 0, length),
        };
        let body = if request.method == Method::HEAD { Body::empty() } else { self.read(&digest, first, count).await? };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_LENGTH, count.into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::ETAG, ascii(format!("\"{digest}\"")));
        headers.insert(DIGEST, ascii(digest.to_string()));
        if status == StatusCode::PARTIAL_CONTENT {
            headers.insert(header::CONTENT_RANGE, ascii(format!("bytes {first}-{}/{length}", first + count - 1)));
        }
        Ok(response)
    }

    async fn read(&self, digest: &Digest, first: u64, count: u64) -> Result<Body, RegistryError> {
        let mut file = tokio::fs::File::open(self.registry.tree.path(&content(digest))).await?;
        if first > 0 {
            file.seek(std::io::SeekFrom::Start(first)).await?;
        }
        Ok(Body::from_stream(ReaderStream::with_capacity(file.take(count), READ)))
    }

    async fn begin(&self, name: String, request: &Parts, body: Body) -> Answer {
        if request.method != Method::POST {
            return Err(RegistryError::Method(request.method.clone()));
        }
        let query = BeginQuery::of(request)?;
        if let (Some(mount), Some(from)) = (&query.mount, query.from.clone()) {
            let digest = checked_digest(mount)?;
            let (repository, wanted) = (name.clone(), digest.clone());
            if self.on_disk(move |registry| registry.mount(&repository, &from, &wanted)).await? {
                return Ok(created(format!("/v2/{name}/blobs/{digest}"), &digest));
            }
        }
        if let Some(digest) = &query.digest {
            let digest = checked_digest(digest)?;
            let mut upload = self.registry.uploads.fresh()?;
            upload.append(body).await?;
            return self.finish(name, upload, digest).await;
        }
        let id = self.registry.uploads.begin(&name)?;
        Ok(upload_answer(StatusCode::ACCEPTED, &name, &id, 0))
    }

    async fn upload(&self, name: String, id: String, request: &Parts, body: Body) -> Answer {
        let upload = self.registry.uploads.find(&name, &id)?;
        match request.method {
            Method::GET | Method::HEAD => {
                let arrived = upload.lock().await.arrived;
                Ok(upload_answer(StatusCode::NO_CONTENT, &name, &id, arrived))
            }
            Method::PATCH => {
                let mut upload = upload.lock().await;
                check_chunk(&request.headers, &name, &id, upload.arrived)?;
                upload.append(body).await?;
                Ok(upload_answer(StatusCode::ACCEPTED, &name, &id, upload.arrived))
            }
            Method::PUT => {
                let digest = BeginQuery::of(request)?.digest;
                let digest = digest.ok_or_else(|| RegistryError::DigestInvalid("the query lacks digest=".into()))?;
                let digest = checked_digest(&digest)?;
                {
                    let mut upload = upload.lock().await;
                    check_chunk(&request.headers, &name, &id, upload.arrived)?;
                    upload.append(body).await?;
                }
                self.registry.uploads.end(&name, &id)?;
                let upload = Arc::into_inner(upload)
                    .ok_or_else(|| RegistryError::UploadInvalid("another request is using this upload".into()))?;
                self.finish(name, upload.into_inner(), digest).await
            }
            Method::DELETE => {
                self.registry.uploads.end(&name, &id)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            _ => Err(RegistryError::Method(request.method.clone())),
        }
    }

    async fn finish(&self, name: String, upload: super::uploads::Upload, digest: Digest) -> Answer {
        let location = format!("/v2/{name}/blobs/{digest}");
        let wanted = digest.clone();
        self.on_disk(move |registry| Ok(registry.add_blob(&name, &wanted, upload.finish(&wanted)?)?)).await?;
        Ok(created(location, &digest))
    }

    async fn referrers(&self, name: String, digest: Digest, request: &Parts) -> Answer {
        only_reading(request)?;
        if self.access.without_referrers {
            return Err(RegistryError::NotFound(request.uri.path().to_owned()));
        }
        let query: ReferrersQuery = parse_query(request)?;
        let (repository, subject) = (name.clone(), digest.clone());
        let all = self.on_disk(move |registry| Ok(registry.referrers(&repository, &subject)?)).await?;
        let wanted = |descriptor: &Value| query.artifact_type.as_ref().is_none_or(|kind| descriptor["artifactType"] == **kind);
        let (page, next) = cut_referrers(all.into_iter().filter(wanted), query.last.as_deref());
        let next = next.map(|last| format!("/v2/{name}/referrers/{digest}?{}", query.after(&last)));
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": page});
        let mut response = paged(index, next);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
        if query.artifact_type.is_some() {
            headers.insert(FILTERS, HeaderValue::from_static("artifactType"));
        }
        Ok(response)
    }
}

#[derive(Debug, Default, Deserialize)]
struct BeginQuery {
    mount: Option<String>,
    from: Option<String>,
    digest: Option<String>,
}

impl BeginQuery {
    fn of(request: &Parts) -> Result<Self, RegistryError> {
        parse_query(request)
    }
}

#[derive(Debug, Default, Deserialize)]
struct ReferrersQuery {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    last: Option<String>,
}

impl ReferrersQuery {
    fn after(&self, last: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(kind) = &self.artifact_type {
            query.append_pair("artifactType", kind);
        }
        query.append_pair("last", last).finish()
    }
}

/// The first descriptors after `last` that fit an answer, and the digest to continue after.
fn cut_referrers(all: impl Iterator<Item = Value>, last: Option<&str>) -> (Vec<Value>, Option<String>) {
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
struct Page {
    n: Option<usize>,
    last: Option<String>,
}

impl Page {
    fn of(request: &Parts) -> Result<Self, RegistryError> {
        parse_query(request)
    }

    /// The part, and the query of the next one if there is more.
    fn cut(&self, all: Vec<String>) -> (Vec<String>, Option<String>) {
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
struct ByteRange {
    first: u64,
    count: u64,
}

impl ByteRange {
    /// RFC 9110 §14: a single byte range; anything else that is not understood is ignored, as it allows.
    fn of(headers: &HeaderMap, length: u64) -> Result<Option<Self>, RegistryError> {
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
fn check_chunk(headers: &HeaderMap, name: &str, id: &str, arrived: u64) -> Result<(), RegistryError> {
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

fn manifest_answer(stored: Stored, head: bool) -> Response {
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

fn created(location: String, digest: &Digest) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, ascii(location)), (DIGEST, ascii(digest.to_string()))]).into_response()
}

fn upload_answer(status: StatusCode, name: &str, id: &str, arrived: u64) -> Response {
    let headers = [
        (header::LOCATION, ascii(format!("/v2/{name}/blobs/uploads/{id}"))),
        (header::RANGE, ascii(format!("0-{}", arrived.saturating_sub(1)))),
        (UPLOAD_ID, ascii(id.to_owned())),
    ];
    (status, headers).into_response()
}

fn paged(body: Value, next: Option<String>) -> Response {
    let mut response = Json(body).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, ascii(format!("<{next}>; rel=\"next\"")));
    }
    response
}

fn only_reading(request: &Parts) -> Result<(), RegistryError> {
    match request.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(RegistryError::Method(request.method.clone())),
    }
}

fn parse_query<T: for<'de> Deserialize<'de>>(request: &Parts) -> Result<T, RegistryError> {
    axum::extract::Query::try_from_uri(&request.uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| RegistryError::UploadInvalid(format!("query: {error}")))
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = text_header(headers, header::AUTHORIZATION)?;
    let (scheme, value) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn text_header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A header value of characters that our own grammar limits to printable ASCII.
fn ascii(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
}
