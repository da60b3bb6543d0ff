//! Why there is no trust material, or no metadata to trust.

use jiff::Timestamp;
use vidimus_core::{Digest, ParseError};

use super::layout::CacheError;
use crate::http::HttpError;

/// No trust material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TufError {
    /// The cache could not be read or written.
    #[error("TUF cache: {0}")]
    Cache(#[from] CacheError),
    /// A word of the call is wrong.
    #[error("{0}")]
    Usage(String),
    /// There is no root to start from.
    #[error("no TUF root is known for {mirror}: run `initialize --mirror {mirror} --root FILE`, or set TUF_ROOT_JSON")]
    NoRoot {
        /// The mirror.
        mirror: String,
    },
    /// The given root is not the one that was promised.
    #[error("the TUF root {root} has the digest {seen}, not {expected}")]
    RootChecksum {
        /// Where it came from.
        root: String,
        /// The promised digest.
        expected: Digest,
        /// The digest it has.
        seen: Digest,
    },
    /// The given root could not be fetched or read.
    #[error("the TUF root {root} could not be read: {why}")]
    RootUnavailable {
        /// Where it was to come from.
        root: String,
        /// Why not.
        why: String,
    },
    /// The mirror could not be asked, and what is cached cannot be used.
    #[error("the TUF mirror {mirror} could not be reached: {why}{}", after(cached))]
    Unreachable {
        /// The mirror.
        mirror: String,
        /// Why not.
        why: Box<HttpError>,
        /// Why the cache does not help, if there is one.
        cached: Option<String>,
    },
    /// The metadata that the mirror serves has expired: it is out of order, or somebody replays old files.
    #[error("the {role} metadata of the TUF mirror {mirror} expired at {expires}")]
    Expired {
        /// The mirror.
        mirror: String,
        /// The role.
        role: String,
        /// When.
        expires: Timestamp,
    },
    /// The mirror lacks a file that every repository has.
    #[error("{mirror} is not a complete TUF repository: {why}")]
    Incomplete {
        /// The mirror.
        mirror: String,
        /// What is missing.
        why: String,
    },
    /// The mirror has no such target.
    #[error("the TUF mirror {mirror} has no target {target:?}")]
    NoTarget {
        /// The mirror.
        mirror: String,
        /// The target.
        target: String,
    },
    /// What the mirror serves does not pass the checks of TUF.
    #[error("the TUF mirror {mirror} cannot be trusted: {why}")]
    Rejected {
        /// The mirror.
        mirror: String,
        /// Which check, and how it failed.
        why: String,
    },
    /// An authentic target that cannot be read.
    #[error("the target {target:?} of the TUF mirror {mirror}: {source}")]
    Target {
        /// The mirror.
        mirror: String,
        /// The target.
        target: &'static str,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A file that was named instead of a repository cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ParseError,
    },
}

fn after(cached: &Option<String>) -> String {
    cached.as_ref().map(|why| format!("; the cached copy cannot be used: {why}")).unwrap_or_default()
}
