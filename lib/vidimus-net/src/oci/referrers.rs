//! The referrers of a manifest: through the API, page by page, and through the fallback tag.
//!
//! A registry without the API answers 404 (distribution specification, "Unavailable Referrers API"). Any other failure leaves the
//! question open. Entries of a fallback tag are never chosen by `artifactType`: widespread writers put the wrong one there.

use http::header;
use vidimus_core::{
    Digest, ParseError, Repository,
    cosign::Attachment,
    limits,
    oci::{Descriptor, INDEX, ReferrerList},
};

use super::{
    OciError, Registry,
    auth::{Action, Scopes},
    manifests::Pages,
};
use crate::http::{Method, Request};

/// Where a list of referrers came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferrersSource {
    /// The referrers API.
    Api,
    /// The tag `sha256-<hex>`.
    FallbackTag,
}

/// A list of referrers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    /// Where it came from.
    pub source: ReferrersSource,
    /// The entries.
    pub entries: Vec<Descriptor>,
    /// Entries that could not be read.
    pub unreadable: Vec<ParseError>,
}

impl Referrers {
    fn empty(source: ReferrersSource) -> Self {
        Self { source, entries: Vec::new(), unreadable: Vec::new() }
    }

    fn add(&mut self, url: &str, list: ReferrerList) -> Result<(), OciError> {
        self.entries.extend(list.entries);
        self.unreadable.extend(list.unreadable.into_iter().map(|(_, error)| error));
        if self.entries.len() + self.unreadable.len() > limits::REFERRERS {
            return Err(OciError::Limit { url: url.to_owned(), what: "referrers", limit: limits::REFERRERS as u64 });
        }
        Ok(())
    }
}

impl Registry {
    /// The referrers of a manifest as a client of the specification finds them: the API's, or where there is no API the tag's.
    pub async fn referrers(&self, repository: &Repository, subject: &Digest) -> Result<Referrers, OciError> {
        match self.referrers_api(repository, subject).await? {
            Some(referrers) => Ok(referrers),
            None => self.referrers_tag(repository, subject).await,
        }
    }

    /// The API's list; `None` if the registry has no such API.
    pub async fn referrers_api(&self, repository: &Repository, subject: &Digest) -> Result<Option<Referrers>, OciError> {
        let scopes = Scopes::of(repository, Action::Pull);
        let page_bytes = u64::try_from(limits::MANIFEST_BYTES).unwrap_or(u64::MAX);
        let mut found = Referrers::empty(ReferrersSource::Api);
        let mut pages = Pages::new(self.url(repository, &format!("referrers/{subject}")).await?);
        let mut first = true;
        while let Some(url) = pages.next()? {
            let shape = |r: Request| r.header(header::ACCEPT, INDEX).limit(page_bytes);
            let response = match self.send(repository, &scopes, Method::GET, &url, shape).await {
                Ok(response) => response,
                // Only the first page can say that there is no API; a later one that is missing is a list we could not read.
                Err(e) if e.is_not_found() && first => return Ok(None),
                Err(e) => return Err(e),
            };
            let list = ReferrerList::parse(&response.body).map_err(|source| OciError::malformed(&url, source))?;
            found.add(url.as_str(), list)?;
            pages.follow(&response)?;
            first = false;
        }
        Ok(Some(found))
    }

    /// The fallback tag's list; empty if there is no such tag.
    pub async fn referrers_tag(&self, repository: &Repository, subject: &Digest) -> Result<Referrers, OciError> {
        let tag = Attachment::Referrers.tag(subject, "");
        let reference = repository.tag(&tag).map_err(|source| OciError::malformed(repository, source))?;
        let mut found = Referrers::empty(ReferrersSource::FallbackTag);
        match self.fetch_manifest_bytes(&reference).await {
            Ok((response, _)) => {
                let list =
                    ReferrerList::parse(&response.body).map_err(|source| OciError::malformed(&response.requested, source))?;
                found.add(response.requested.as_str(), list)?;
                Ok(found)
            }
            Err(e) if e.is_not_found() => Ok(found),
            Err(e) => Err(e),
        }
    }
}
