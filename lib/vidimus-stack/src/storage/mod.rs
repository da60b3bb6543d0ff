//! Where the services keep their bytes: a directory, or memory for an ephemeral stack.
//!
//! The trait is small so that every step that changes the disk can be broken in tests ([`Faulty`]), before and after it took effect.
//! Paths are relative, with `/`. Nothing here knows what the bytes mean.

use std::{fmt, io, sync::Arc};

mod directory;
mod faulty;
mod memory;

pub use directory::Directory;
pub use faulty::{Fault, Faulty, Step};
pub use memory::{Crash, Memory};

/// A place for named byte strings. All calls block.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The whole content of a file; `None` if there is no such file.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Like [`Storage::read`], for a private key: refused where others than the owner could have read it.
    fn read_secret(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(path)
    }

    /// The names (not paths) in a directory, sorted; empty if there is no such directory. Names of directories end in `/`.
    fn list(&self, dir: &str) -> Result<Vec<String>, StorageError>;

    /// Writes a file that can be made again from other files. Readers see the old or the new content, never a mixture; after a
    /// power cut before [`Storage::sync`] the file may be old, new, empty or absent.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes files written with [`Storage::put`] durable, and their names.
    fn sync(&self, paths: &[String]) -> Result<(), StorageError>;

    /// Replaces a file atomically and durably: after any crash the file is the old or the new one.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Opens a file for appending, durably creating it if it is not there.
    fn segment(&self, path: &str) -> Result<Box<dyn Segment>, StorageError>;

    /// Cuts a file to `len` bytes, durably.
    fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError>;

    /// Removes a file, or a directory with everything in it. What is not there is removed already.
    fn remove(&self, path: &str) -> Result<(), StorageError>;
}

/// A file that only grows.
pub trait Segment: Send {
    /// Adds bytes. They are durable only after [`Segment::sync`]; an error may leave a part of them behind.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes everything appended so far durable.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// Bytes in the file.
    fn size(&self) -> u64;
}

/// A step that the storage could not take.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct StorageError {
    /// What was tried: "read", "write", "sync".
    pub action: &'static str,
    /// The file, as the operating system knows it.
    pub path: String,
    /// The operating system's answer.
    pub source: io::Error,
}

/// A directory of another storage.
#[derive(Debug, Clone)]
pub struct Subdirectory {
    inner: Arc<dyn Storage>,
    prefix: String,
}

impl Subdirectory {
    /// The directory `name` of `inner`.
    pub fn new(inner: Arc<dyn Storage>, name: &str) -> Self {
        Self { inner, prefix: format!("{name}/") }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl Storage for Subdirectory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read(&self.path(path))
    }

    fn read_secret(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read_secret(&self.path(path))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(self.path(dir).trim_end_matches('/'))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.put(&self.path(path), bytes)
    }

    fn sync(&self, paths: &[String]) -> Result<(), StorageError> {
        let paths: Vec<String> = paths.iter().map(|p| self.path(p)).collect();
        self.inner.sync(&paths)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.replace(&self.path(path), bytes)
    }

    fn segment(&self, path: &str) -> Result<Box<dyn Segment>, StorageError> {
        self.inner.segment(&self.path(path))
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        self.inner.truncate(&self.path(path), len)
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.inner.remove(&self.path(path))
    }
}

/// Refuses paths that could leave the storage. Our own code never makes one; a name that came over the network might.
fn check_path(action: &'static str, path: &str) -> Result<(), StorageError> {
    let bad = path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if bad {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a relative path inside the storage");
        return Err(StorageError { action, path: path.to_owned(), source });
    }
    Ok(())
}
