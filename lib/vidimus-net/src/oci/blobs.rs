//! Blobs: exists, pull into memory or to a writer, push from memory or from a file, mount.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::Url;
use vidimus_core::{Algorithm, Digest, Repository, digest::Hasher, oci::Descriptor};

use super::{
    OciError, Registry,
    auth::{Action, Scopes},
    manifests::check_digest,
};
use crate::http::{Body, HttpError, Kind, Method, Request, Response};

/// A blob up to this size goes in one PUT; a larger one in pieces of it, so that a broken connection costs one piece.
const PIECE: u64 = 32 << 20;
/// An upload that breaks is started again from the beginning this often.
const UPLOADS: u32 = 3;

/// What is to be pushed as a blob.
#[derive(Debug, Clone)]
pub struct Content {
    digest: Digest,
    size: u64,
    source: Body,
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::sha256(&bytes), size: u64::try_from(bytes.len()).unwrap_or(u64::MAX), source: Body::Bytes(bytes) }
    }

    /// A file, which is read once here for its digest and again when it is sent.
    pub async fn file(path: &Path) -> Result<Self, OciError> {
        let failed = |e: std::io::Error| OciError::io(path, e);
        let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut size = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut buffer).await.map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            size += u64::try_from(read).unwrap_or(u64::MAX);
        }
        Ok(Self::known_file(path.to_owned(), hasher.finish(), size))
    }

    /// A file whose digest and size are known. The registry will refuse it if they are wrong.
    pub fn known_file(path: PathBuf, digest: Digest, size: u64) -> Self {
        Self { digest, size, source: Body::File { path, offset: 0, len: size } }
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A descriptor of it.
    pub fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor::new(media_type, self.digest.clone(), self.size)
    }

    fn part(&self, from: u64, len: u64) -> Body {
        match &self.source {
            Body::File { path, offset, .. } => Body::File { path: path.clone(), offset: offset + from, len },
            Body::Bytes(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                Body::Bytes(bytes.slice(at(from)..at(from + len)))
            }
            Body::Empty => Body::Empty,
        }
    }
}

impl Registry {
    /// Whether a repository has a blob.
    pub async fn blob_exists(&self, repository: &Repository, digest: &Digest) -> Result<bool, OciError> {
        let url = self.blob_url(repository, digest).await?;
        match self.send(repository, &Scopes::of(repository, Action::Pull), Method::HEAD, &url, |r| r).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// A blob in memory, its size and digest checked.
    pub async fn blob(&self, repository: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Bytes, OciError> {
        let url = self.blob_url(repository, &descriptor.digest).await?;
        check_limit(&url, descriptor, limit)?;
        let scopes = Scopes::of(repository, Action::Pull);
        let response = self
            .send(repository, &scopes, Method::GET, &url, |r| r.limit(descriptor.size).timeout(time_for(descriptor.size)))
            .await?;
        check_size(&url, descriptor, u64::try_from(response.body.len()).unwrap_or(u64::MAX))?;
        check_digest(&url, &descriptor.digest, &response.body)?;
        Ok(response.body)
    }

    /// A blob to a writer. The digest is known only at the end: on an error, what was written must be thrown away.
    pub async fn blob_to(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        limit: u64,
        out: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<(), OciError> {
        let url = self.blob_url(repository, &descriptor.digest).await?;
        check_limit(&url, descriptor, limit)?;
        let mut incoming = self.open(repository, &Scopes::of(repository, Action::Pull), Method::GET, &url, |r| r).await?;
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        let mut size: u64 = 0;
        while let Some(chunk) = incoming.chunk().await? {
            size += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if size > descriptor.size {
                return Err(incoming.too_large(descriptor.size).into());
            }
            hasher.update(&chunk);
            out.write_all(&chunk).await.map_err(|e| OciError::io("the destination", e))?;
        }
        out.flush().await.map_err(|e| OciError::io("the destination", e))?;
        check_size(&url, descriptor, size)?;
        let seen = hasher.finish();
        match seen == descriptor.digest {
            true => Ok(()),
            false => Err(OciError::Digest { url: url.to_string(), expected: descriptor.digest.clone(), seen }),
        }
    }

    /// Pushes a blob unless it is there. `mount_from` names a repository of the same registry that has it already.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        content: &Content,
        mount_from: Option<&Repository>,
    ) -> Result<(), OciError> {
        if self.blob_exists(repository, content.digest()).await? {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            let error = match self.upload(repository, content, mount_from).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let transient = matches!(error.kind(), Kind::Unavailable | Kind::Timeout | Kind::RateLimited { .. });
            if !transient || attempt >= UPLOADS.min(self.http().config().retry.attempts) {
                return Err(error);
            }
            tokio::time::sleep(crate::http::jitter(self.http().config().retry.base * (1 << attempt))).await;
            attempt += 1;
        }
    }

    async fn upload(&self, repository: &Repository, content: &Content, mount_from: Option<&Repository>) -> Result<(), OciError> {
        let mut scopes = Scopes::of(repository, Action::Push);
        let mut start = self.url(repository, "blobs/uploads/").await?;
        if let Some(from) = mount_from.filter(|from| from.registry() == repository.registry()) {
            scopes = scopes.and(Scopes::of(from, Action::Pull));
            start.query_pairs_mut().append_pair("mount", &content.digest.to_string()).append_pair("from", from.path());
        }
        // An upload that was started and never used is cleaned up by the registry.
        let response = self.send(repository, &scopes, Method::POST, &start, |r| r.body(OCTETS, Body::Empty).repeatable()).await?;
        if response.status == StatusCode::CREATED {
            return Ok(());
        }
        let mut location = location(&response)?;
        let piece = piece_size(&response);
        let mut sent = 0;
        if content.size > piece {
            while sent < content.size {
                let len = piece.min(content.size - sent);
                let range = format!("{sent}-{}", sent + len - 1);
                let shape = |r: Request| {
                    r.body(OCTETS, content.part(sent, len)).header(header::CONTENT_RANGE, &range).timeout(time_for(len))
                };
                let response = self.send(repository, &scopes, Method::PATCH, &location, shape).await?;
                location = self::location(&response)?;
                sent += len;
            }
        }
        location.query_pairs_mut().append_pair("digest", &content.digest.to_string());
        // An upload is used up by its first PUT; after a failure the whole of it starts anew.
        let shape = |r: Request| r.body(OCTETS, content.part(sent, content.size - sent)).once().timeout(time_for(content.size));
        self.send(repository, &scopes, Method::PUT, &location, shape).await?;
        Ok(())
    }

    async fn blob_url(&self, repository: &Repository, digest: &Digest) -> Result<Url, OciError> {
        self.url(repository, &format!("blobs/{digest}")).await
    }
}

const OCTETS: &str = "application/octet-stream";

/// Time to move some bytes: a minute, and as long as they take over a slow line of 128 KiB/s. A registry also copies an upload of
/// that size before it answers.
fn time_for(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / (128 << 10))
}

fn location(response: &Response) -> Result<Url, HttpError> {
    let text = response.header(header::LOCATION).ok_or_else(|| response.malformed("no Location for the upload"))?;
    let url = response.url.join(text).map_err(|e| response.malformed(format_args!("Location {text:?}: {e}")))?;
    if response.url.scheme() == "https" && url.scheme() != "https" {
        return Err(response.malformed(format_args!("Location {url} is not https")));
    }
    Ok(url)
}

/// [`PIECE`], or more if the registry asks for it.
fn piece_size(response: &Response) -> u64 {
    let least = response.header("oci-chunk-min-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    PIECE.max(least)
}

fn check_limit(url: &Url, descriptor: &Descriptor, limit: u64) -> Result<(), OciError> {
    match descriptor.size > limit {
        true => Err(OciError::Limit { url: url.to_string(), what: "bytes", limit }),
        false => Ok(()),
    }
}

fn check_size(url: &Url, descriptor: &Descriptor, seen: u64) -> Result<(), OciError> {
    match seen == descriptor.size {
        true => Ok(()),
        false => Err(OciError::Size { url: url.to_string(), expected: descriptor.size, seen }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_the_same_content_as_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = Content::file(&path).await.unwrap();
        let bytes = Content::bytes(b"0123456789".to_vec());
        assert_eq!((file.digest(), file.size()), (bytes.digest(), 10));
        assert!(matches!(file.part(3, 4), Body::File { offset: 3, len: 4, .. }));
        assert!(matches!(bytes.part(3, 4), Body::Bytes(b) if b == b"3456"[..]));
        assert!(Content::file(&directory.path().join("none")).await.is_err());
    }
}
