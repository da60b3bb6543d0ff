//! Manifests, tags and their list: resolve, pull, push, delete.

use http::{HeaderMap, StatusCode, header};
use url::Url;
use vidimus_core::{
    Digest, Reference, Repository, limits,
    oci::{Descriptor, Document, MANIFEST_TYPES, Raw},
};

use super::{
    OciError, Registry,
    auth::{Action, Scopes},
};
use crate::http::{HttpError, Kind, Method, Response, jitter};

/// Tags of one repository. Nightly builds over years make some ten thousand.
const MAX_TAGS: usize = 100_000;
/// One page of tags.
const TAG_PAGE_BYTES: u64 = 8 << 20;

/// How often a manifest is pushed that a registry refuses because of blobs it says it does not have.
const SETTLING_ATTEMPTS: u32 = 5;

/// What a registry answered to a pushed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of what was pushed.
    pub digest: Digest,
    /// The `OCI-Subject` header: the registry has a referrers API and has listed this manifest under that subject.
    pub subject: Option<Digest>,
}

impl Registry {
    /// What a reference points to. The digest is computed from the bytes.
    pub async fn resolve(&self, reference: &Reference) -> Result<Descriptor, OciError> {
        Ok(self.manifest(reference).await?.descriptor())
    }

    /// A manifest or an index, with its bytes. Asked for by digest, it has that digest.
    pub async fn manifest(&self, reference: &Reference) -> Result<Raw<Document>, OciError> {
        let (response, _) = self.fetch_manifest_bytes(reference).await?;
        let content_type = response.header(header::CONTENT_TYPE);
        let mut raw = Raw::parse(response.body.to_vec(), content_type)
            .map_err(|source| OciError::malformed(&response.requested, source))?;
        if let Some(expected) = reference.digest() {
            raw.digest = expected.clone();
        }
        Ok(raw)
    }

    /// Whether there is such a manifest.
    pub async fn manifest_exists(&self, reference: &Reference) -> Result<bool, OciError> {
        let repository = reference.repository();
        let url = self.manifest_url(reference).await?;
        let shape = |request: crate::http::Request| request.header(header::ACCEPT, MANIFEST_TYPES.join(", "));
        match self.send(repository, &Scopes::of(repository, Action::Pull), Method::HEAD, &url, shape).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The bytes behind a manifest URL, their digest checked against the reference and against what the registry claims.
    pub(super) async fn fetch_manifest_bytes(&self, reference: &Reference) -> Result<(Response, Option<String>), OciError> {
        let repository = reference.repository();
        let url = self.manifest_url(reference).await?;
        let limit = u64::try_from(limits::MANIFEST_BYTES).unwrap_or(u64::MAX);
        let shape = |request: crate::http::Request| request.header(header::ACCEPT, MANIFEST_TYPES.join(", ")).limit(limit);
        let response = self.send(repository, &Scopes::of(repository, Action::Pull), Method::GET, &url, shape).await?;
        if let Some(expected) = reference.digest() {
            check_digest(&url, expected, &response.body)?;
        } else if let Some(claimed) = response.header("docker-content-digest") {
            // One who trusts the header and one who trusts the bytes would speak of different images.
            let claimed = claimed.parse().map_err(|source| OciError::malformed(&url, source))?;
            check_digest(&url, &claimed, &response.body)?;
        }
        let etag = response.header(header::ETAG).map(str::to_owned);
        Ok((response, etag))
    }

    /// Pushes a manifest's bytes, by digest or to the tag of `reference`.
    pub async fn push_manifest(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<Pushed, OciError> {
        self.put_manifest(reference, media_type, bytes, Condition::None).await
    }

    pub(super) async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
        condition: Condition<'_>,
    ) -> Result<Pushed, OciError> {
        let repository = reference.repository();
        let url = self.manifest_url(reference).await?;
        let shape = |request: crate::http::Request| {
            let request = request.body(media_type, bytes.to_vec());
            match condition {
                Condition::None => request,
                // A repeated conditional write could meet its own first success and report a conflict.
                Condition::Matches(etag) => request.header(header::IF_MATCH, etag).once(),
                Condition::Absent => request.header(header::IF_NONE_MATCH, "*").once(),
            }
        };
        let scopes = Scopes::of(repository, Action::Push);
        let mut attempt = 1;
        let response = loop {
            match self.send(repository, &scopes, Method::PUT, &url, shape).await {
                Err(e) if attempt < SETTLING_ATTEMPTS && is_settling(&e) => {
                    tokio::time::sleep(jitter(self.http().config().retry.base * (1 << attempt))).await;
                    attempt += 1;
                }
                other => break other?,
            }
        };
        let digest = reference.digest().cloned().unwrap_or_else(|| Digest::sha256(bytes));
        if let Some(claimed) = response.header("docker-content-digest") {
            let claimed: Digest = claimed.parse().map_err(|source| OciError::malformed(&url, source))?;
            check_digest(&url, &claimed, bytes)?;
        }
        let subject = response.header("oci-subject").map(str::parse).transpose();
        Ok(Pushed { digest, subject: subject.map_err(|source| OciError::malformed(&url, source))? })
    }

    /// Deletes a manifest by digest, or a tag where the registry can.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), OciError> {
        let repository = reference.repository();
        let url = self.manifest_url(reference).await?;
        self.send(repository, &Scopes::of(repository, Action::Delete), Method::DELETE, &url, |r| r).await.map(|_| ())
    }

    /// All tags of a repository, in the registry's order.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>, OciError> {
        let scopes = Scopes::of(repository, Action::Pull);
        let mut tags: Vec<String> = Vec::new();
        let mut pages = Pages::new(self.url(repository, "tags/list?n=1000").await?);
        while let Some(url) = pages.next()? {
            let response = self.send(repository, &scopes, Method::GET, &url, |r| r.limit(TAG_PAGE_BYTES)).await?;
            let page: TagPage = response.json()?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > MAX_TAGS {
                return Err(OciError::Limit { url: url.to_string(), what: "tags", limit: MAX_TAGS as u64 });
            }
            pages.follow(&response)?;
        }
        Ok(tags)
    }

    async fn manifest_url(&self, reference: &Reference) -> Result<Url, OciError> {
        self.url(reference.repository(), &format!("manifests/{}", reference.identifier())).await
    }
}

#[derive(serde::Deserialize)]
struct TagPage {
    tags: Option<Vec<String>>,
}

/// What must hold for a write to happen, where a registry knows conditions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition<'a> {
    /// Nothing.
    None,
    /// It has not changed since it was read.
    Matches(&'a str),
    /// It does not exist.
    Absent,
}

/// Follows `Link: <…>; rel="next"` (RFC 8288) through a bounded number of different pages on one origin.
pub(super) struct Pages {
    next: Option<Url>,
    seen: Vec<Url>,
}

impl Pages {
    pub(super) fn new(first: Url) -> Self {
        Self { next: Some(first), seen: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Result<Option<Url>, OciError> {
        let Some(url) = self.next.take() else { return Ok(None) };
        if self.seen.contains(&url) {
            return Err(HttpError::malformed(&Method::GET, &url, "this page was already read: the list goes in a circle").into());
        }
        if self.seen.len() >= limits::PAGES {
            return Err(OciError::Limit { url: self.seen[0].to_string(), what: "pages", limit: limits::PAGES as u64 });
        }
        self.seen.push(url.clone());
        Ok(Some(url))
    }

    pub(super) fn follow(&mut self, response: &Response) -> Result<(), OciError> {
        let Some(target) = next_link(&response.headers) else { return Ok(()) };
        let next = response.requested.join(&target).map_err(|e| response.malformed(format_args!("next page {target:?}: {e}")))?;
        if next.origin() != response.requested.origin() {
            return Err(response.malformed(format_args!("the next page is elsewhere: {next}")).into());
        }
        self.next = Some(next);
        Ok(())
    }
}

fn next_link(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::LINK).into_iter().filter_map(|v| v.to_str().ok());
    for link in values.flat_map(|v| v.split(",<").flat_map(|part| part.split(", <"))) {
        let link = link.trim().trim_start_matches('<');
        let Some((target, parameters)) = link.split_once('>') else { continue };
        let is_next = parameters.split(';').any(|p| matches!(p.trim(), r#"rel="next""# | "rel=next"));
        if is_next {
            return Some(target.to_owned());
        }
    }
    None
}

pub(super) fn check_digest(url: &Url, expected: &Digest, content: &[u8]) -> Result<(), OciError> {
    let seen = Digest::of(expected.algorithm(), content);
    match seen == *expected {
        true => Ok(()),
        false => Err(OciError::Digest { url: url.to_string(), expected: expected.clone(), seen }),
    }
}

/// Whether a registry contradicts itself about blobs that it has acknowledged. Those on object stores see them a moment later, and
/// docker-registry on a file system reads links that another upload of the same blob is just writing (`DIGEST_INVALID`). The digest
/// itself cannot be wrong: we computed it.
fn is_settling(error: &OciError) -> bool {
    let OciError::Http(e) = error else { return false };
    let client_error = matches!(e.kind, Kind::NotFound | Kind::Status(400));
    client_error && ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "DIGEST_INVALID"].iter().any(|code| e.detail.starts_with(code))
}

/// Whether a failure means only that the condition of a write did not hold any more.
pub(super) fn lost_race(error: &OciError) -> bool {
    matches!(error, OciError::Http(e) if e.kind == Kind::Conflict || e.status == Some(StatusCode::PRECONDITION_FAILED))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn next(link: &'static str) -> Option<String> {
        next_link(&HeaderMap::from_iter([(header::LINK, HeaderValue::from_static(link))]))
    }

    #[test]
    fn links() {
        assert_eq!(next(r#"</v2/a/tags/list?last=x&n=2>; rel="next""#).as_deref(), Some("/v2/a/tags/list?last=x&n=2"));
        assert_eq!(next("<https://r.io/x>;rel=next").as_deref(), Some("https://r.io/x"));
        assert_eq!(next(r#"</first>; rel="first", </more>; rel="next""#).as_deref(), Some("/more"));
        assert_eq!(next(r#"</first>; rel="prev""#), None);
        assert_eq!(next("garbage"), None);
    }

    #[test]
    fn pages_are_bounded_and_different() {
        let url = |n: usize| Url::parse(&format!("http://r.io/{n}")).unwrap();
        let mut pages = Pages::new(url(0));
        for n in 1..=limits::PAGES {
            assert!(pages.next().unwrap().is_some());
            pages.next = Some(url(n));
        }
        assert!(matches!(pages.next(), Err(OciError::Limit { .. })));
        let mut circle = Pages::new(url(0));
        circle.next().unwrap();
        circle.next = Some(url(0));
        assert!(circle.next().is_err());
    }
}
