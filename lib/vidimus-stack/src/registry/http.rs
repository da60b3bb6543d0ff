//! The registry's HTTP face: paths, methods, headers.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use vidimus_core::{Digest, limits};

use super::{
    RegistryError, Writers,
    name::{Reference, Target, checked_digest},
    parts::{
        ByteRange, DIGEST, Page, ascii, basic, check_chunk, created, cut_referrers, manifest_answer, only_reading, paged,
        parse_query, text_header, upload_answer,
    },
    store::{Registry, content},
};

/// Bytes read from a blob at a time.
const READ: usize = 64 << 10;
/// Longest time for 4 MiB of manifest: a line of 0.6 Mbit/s.
const MANIFEST_TIME: Duration = Duration::from_secs(60);

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const API: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Who may do what.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Asked before every write; `None` lets everyone write.
    pub writers: Option<Writers>,
    /// Answers as registries did before the referrers API.
    pub without_referrers: bool,
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
    service.check_writer(&headers).await?;
    Ok(([(API, "registry/2.0")], Json(json!({}))).into_response())
}

async fn dispatch(State(service): State<Service>, request: Request) -> Answer {
    let (request, body) = request.into_parts();
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    if !reading {
        service.check_writer(&request.headers).await?;
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
    async fn check_writer(&self, headers: &HeaderMap) -> Result<(), RegistryError> {
        let Some(writers) = &self.access.writers else { return Ok(()) };
        let (user, password) = basic(headers).ok_or(RegistryError::Unauthorized)?;
        if writers.admit(user, password).await? { Ok(()) } else { Err(RegistryError::Unauthorized) }
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
            Method::PUT => self.put_manifest(name, reference, request, body).await,
            Method::DELETE => {
                self.on_disk(move |registry| registry.delete_manifest(&name, &reference)).await?;
                Ok(StatusCode::ACCEPTED.into_response())
            }
            _ => Err(RegistryError::Method(request.method.clone())),
        }
    }

    async fn put_manifest(&self, name: String, reference: Reference, request: &Parts, body: Body) -> Answer {
        let content_type = text_header(&request.headers, header::CONTENT_TYPE);
        let bytes = read_manifest(body).await?;
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

async fn read_manifest(body: Body) -> Result<Bytes, RegistryError> {
    let read = tokio::time::timeout(MANIFEST_TIME, axum::body::to_bytes(body, limits::MANIFEST_BYTES)).await;
    let read = read.map_err(|_| RegistryError::Interrupted(format!("no manifest within {} seconds", MANIFEST_TIME.as_secs())))?;
    read.map_err(|error| match error.into_inner().downcast::<http_body_util::LengthLimitError>() {
        Ok(_) => RegistryError::TooBig(format!("a manifest may have {} bytes", limits::MANIFEST_BYTES)),
        Err(error) => RegistryError::Interrupted(error.to_string()),
    })
}
