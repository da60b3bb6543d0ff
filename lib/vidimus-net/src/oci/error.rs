//! What can go wrong with a registry.

use std::path::PathBuf;

use vidimus_core::{Digest, ParseError};

use crate::http::{HttpError, Kind};

/// A registry operation that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The answer carried something that could not be read.
    #[error("{url}: {source}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Credentials could not be found out.
    #[error("credentials for {registry}: {why}")]
    Credentials {
        /// The registry.
        registry: String,
        /// What failed: the file, the helper program, and how.
        why: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{url}: the content has the digest {seen}, expected {expected}")]
    Digest {
        /// What was asked for.
        url: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        seen: Digest,
    },
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A local file could not be read or written.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is more than we are willing to read.
    #[error("{url}: more than {limit} {what}")]
    Limit {
        /// What was asked for.
        url: String,
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The registry took what was written to a tag, but somebody else's write replaced it, again and again.
    #[error("{reference}: written {attempts} times, and each time overwritten by somebody else: it is not attached")]
    Lost {
        /// The tag.
        reference: String,
        /// How often it was written.
        attempts: u32,
    },
    /// Content of another length than its descriptor says.
    #[error("{url}: {seen} bytes, its descriptor says {expected}")]
    Size {
        /// What was asked for.
        url: String,
        /// What the descriptor says.
        expected: u64,
        /// What came.
        seen: u64,
    },
    /// The tag that should hold a list or layers holds something else, which must not be overwritten.
    #[error("{reference} holds something else ({why}); remove that tag if it is not needed")]
    TagInUse {
        /// The tag.
        reference: String,
        /// What is there.
        why: ParseError,
    },
}

impl OciError {
    /// Whether the registry said, with a 404, that it is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Http(e) if e.is_not_found())
    }

    /// The kind of failure, in the terms of HTTP.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Http(e) => e.kind,
            Self::Limit { limit, .. } => Kind::TooLarge { limit: *limit },
            Self::Credentials { .. } => Kind::Denied,
            Self::Lost { .. } | Self::TagInUse { .. } => Kind::Conflict,
            Self::Digest { .. } | Self::Io { .. } | Self::Malformed { .. } | Self::Size { .. } => Kind::Malformed,
        }
    }

    pub(crate) fn malformed(url: impl ToString, source: ParseError) -> Self {
        Self::Malformed { url: url.to_string(), source }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, why: impl ToString) -> Self {
        Self::Io { path: path.into(), why: why.to_string() }
    }
}
