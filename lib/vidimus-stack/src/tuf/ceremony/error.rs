//! Why something in a ceremony was refused: which file, role or key, and what to do about it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::super::{KeyFileError, Role, TufError};

/// A step of a ceremony that was not taken. Nothing was changed by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// Somebody else is at it.
    #[error("{}: another command is changing this repository", .0.display())]
    Busy(PathBuf),
    /// A publication that clients would refuse was not made the published one.
    #[error("the new publication does not pass a client's checks: {0}")]
    Check(String),
    /// A document that is to be taken over is not the staged one.
    #[error("{file}: it is not the staged {role}: {why}")]
    Different {
        /// The file.
        file: String,
        /// Which document it was compared with.
        role: &'static str,
        /// The difference.
        why: String,
    },
    /// The file system said no.
    #[error("{}: {what}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is a repository already.
    #[error("{}: there is a TUF repository in this directory already", .0.display())]
    Exists(PathBuf),
    /// Metadata that would be published has expired.
    #[error("the {role} metadata expired at {expires}")]
    Expired {
        /// The role.
        role: &'static str,
        /// When.
        expires: Timestamp,
    },
    /// A key file could not be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A file is not what it should be.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A role does not have this key.
    #[error("the role {role} has no key {key}; it has {}", list(known))]
    NoKey {
        /// The role, or "any".
        role: String,
        /// The key that was asked for.
        key: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// There is no repository.
    #[error("{}: there is no TUF repository in this directory", .0.display())]
    NoRepository(PathBuf),
    /// No document waits for a signature.
    #[error("nothing is staged that could be signed")]
    NothingStaged,
    /// There is no such target.
    #[error("there is no target {name:?}")]
    NoTarget {
        /// Its name.
        name: String,
    },
    /// A change would make a root that nobody can satisfy or that says nothing.
    #[error("the role {role}: {why}")]
    Roles {
        /// The role.
        role: &'static str,
        /// Why not.
        why: String,
    },
    /// A key that does not speak for what was to be signed.
    #[error("the key {keyid} may not sign {what}: {} may", list(known))]
    Stranger {
        /// The key's id.
        keyid: String,
        /// What it was to sign.
        what: String,
        /// Ids of the keys that may.
        known: Vec<String>,
    },
    /// A target cannot have this name.
    #[error("{name:?} cannot be the name of a target: {why}")]
    TargetName {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// Signing failed, or a signature does not verify.
    #[error(transparent)]
    Tuf(#[from] TufError),
    /// Too few signatures.
    #[error(transparent)]
    Unsigned(Box<Unsigned>),
}

/// A document with too few signatures.
#[derive(Debug, thiserror::Error)]
#[error("{document}: {} of the {threshold} signatures that {rule} asks for; missing: {}", signed.len(), list(missing))]
pub struct Unsigned {
    /// The document and its version.
    pub document: String,
    /// Whose rule it is: that of the root in force, or of the coming one.
    pub rule: String,
    /// How many are needed.
    pub threshold: usize,
    /// The keys that have signed.
    pub signed: Vec<String>,
    /// The keys that have not.
    pub missing: Vec<String>,
    /// What to do.
    pub hint: String,
}

impl CeremonyError {
    pub(super) fn malformed(path: &Path, why: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.to_string() }
    }

    pub(super) fn disk(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, what, source }
    }

    pub(super) fn roles(role: Role, why: impl ToString) -> Self {
        Self::Roles { role: role.name(), why: why.to_string() }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Different { .. } => "have the holder sign a fresh copy of the staged file",
            Self::Exists(_) => "`tuf show` shows it; `tuf key`, `tuf rotate` and `tuf target` change it",
            Self::Expired { role: "root", .. } => "`tuf renew root` stages one that is valid for longer; then sign it",
            Self::Expired { .. } => "`tuf renew targets` stages metadata that is valid for longer; then sign it",
            Self::NoRepository(_) => "`tuf init` begins one; --dir or VIDIMUS_TUF_DIR names another directory",
            Self::NothingStaged => "`tuf show` shows what there is; `tuf renew root` and `tuf renew targets` stage new versions",
            Self::Stranger { .. } => "`tuf key add` and `tuf rotate` give a role a key",
            Self::NoTarget { .. } | Self::NoKey { .. } => "`tuf show` lists them",
            Self::Unsigned(unsigned) => &unsigned.hint,
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn list(ids: &[String]) -> String {
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}
