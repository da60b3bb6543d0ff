//! Files that hold secrets: private keys and password hashes.
//!
//! They are written whole or not at all (temporary file, fsync, rename, fsync of the directory) and are readable by their owner
//! alone from the first byte on. A secret file that others could read is refused when it is opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A secret file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else may read it.
    #[error("{}: readable by others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not what it should be.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl SecretFileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn malformed(path: &Path, why: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.to_string() }
    }

    /// Whether the file simply is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a secret file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, SecretFileError> {
    let file = File::open(path).map_err(SecretFileError::io(path))?;
    check_mode(path, &file)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(SecretFileError::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(SecretFileError::malformed(path, format_args!("more than {limit} bytes")));
    }
    Ok(bytes)
}

/// As [`read`], for text.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, SecretFileError> {
    String::from_utf8(read(path, limit)?).map_err(|e| SecretFileError::malformed(path, e))
}

/// Replaces a secret file, atomically and durably.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let io = |e: io::Error| SecretFileError::Io { path: path.to_owned(), source: e };
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    sync_dir(dir).map_err(io)
}

/// Makes a directory for secrets, with its parents.
pub(crate) fn create_dir(path: &Path) -> Result<(), SecretFileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(SecretFileError::io(path))
}

/// Makes a directory for secrets that is to be renamed once it is full, and goes away if that does not happen.
pub(crate) fn temporary_dir(parent: &Path) -> Result<tempfile::TempDir, SecretFileError> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.prefix(".new-").tempdir_in(parent).map_err(SecretFileError::io(parent))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Holds other processes off while a secret file is read, changed and written back. Released on drop.
pub(crate) fn lock(path: &Path) -> Result<File, SecretFileError> {
    let lock_path = path.with_extension("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&lock_path).map_err(SecretFileError::io(&lock_path))?;
    file.lock().map_err(SecretFileError::io(&lock_path))?;
    Ok(file)
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), SecretFileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(SecretFileError::io(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), SecretFileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn written_for_the_owner_alone_and_refused_when_exposed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(read(&path, 2), Err(SecretFileError::Malformed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path, 3), Err(SecretFileError::Exposed { mode: 0o640, .. })));
        assert!(read(&dir.path().join("none"), 3).unwrap_err().is_not_found());
    }
}
