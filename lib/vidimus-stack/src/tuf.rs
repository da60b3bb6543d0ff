//! TUF repositories: their documents ([`metadata`], [`key`], [`signer`]), one that people keep, with several key holders and thresholds
//! ([`ceremony`]), and a small online one that keeps itself fresh ([`repository`]).
//!
//! TUF specification 1.0.31, consistent snapshots, no delegations. The stack's own repository uses one key for each role, all of them
//! online: it protects clients from a replaced mirror, not from whoever owns the stack's directory.

mod canonical;
pub mod ceremony;
pub mod key;
pub mod metadata;
pub mod repository;
mod routes;
pub mod signer;

pub use canonical::canonical_json;
pub use ceremony::Ceremony;
pub use key::{KeyType, PublicKey};
pub use metadata::{Envelope, Role, RoleKeys, Root, Target};
pub use repository::{Lifetimes, Repository, RoleSigners};
pub use routes::{router, static_router};
pub use signer::{EcdsaKey, KeyFileError, PrivateKey, Signer};

/// A repository that could not be read, signed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TufError {
    /// A file could not be read or written.
    #[error("TUF repository: {file}: {source}")]
    File {
        /// The file, relative to the repository.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("TUF repository: {file}: {why}")]
    Corrupt {
        /// The file, relative to the repository.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Canonical JSON has no fractions.
    #[error("TUF metadata holds {0}, which is not a whole number")]
    Fraction(String),
    /// A key could not be read or could not sign.
    #[error("TUF key: {0}")]
    Key(String),
}
