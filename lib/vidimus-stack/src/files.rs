//! Files that survive a crash: written whole, renamed into place, and flushed together with the directory that names them.
//!
//! A tree can be told not to flush, for a stack that ends with its process anyway.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Where files are written before they get their names.
const TEMPORARY: &str = ".tmp";

/// A directory of small files, named by relative paths that the caller has checked.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
    durable: bool,
}

impl Tree {
    /// Opens (and creates) a tree. `durable` decides whether what is written is flushed before the call returns.
    pub(crate) fn open(root: impl Into<PathBuf>, durable: bool) -> io::Result<Self> {
        let tree = Self { root: root.into(), durable };
        let temporary = tree.root.join(TEMPORARY);
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What lies there belonged to a process that is gone.
            _ => tree.create_dirs(&temporary)?,
        }
        Ok(tree)
    }

    /// An empty file that becomes part of the tree with [`Tree::place`], or goes with its last handle.
    pub(crate) fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        tempfile::NamedTempFile::new_in(self.root.join(TEMPORARY))
    }

    /// The full path of a name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The file's content, or `None` if there is no such file.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file's size, or `None` if there is no such file.
    pub(crate) fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(name)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file as a whole: after a crash it has its old content or its new one.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        self.place(file, name)
    }

    /// Puts a complete temporary file in its place.
    pub(crate) fn place(&self, file: tempfile::NamedTempFile, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.create_dirs(parent)?;
        if self.durable {
            file.as_file().sync_all()?;
        }
        file.persist(&path).map_err(|error| error.error)?;
        self.flush_dir(parent)
    }

    /// Whether the file is there; if so, its name is flushed: whoever put it there may have died before that.
    pub(crate) fn settle(&self, name: &str) -> io::Result<bool> {
        if self.size(name)?.is_none() {
            return Ok(false);
        }
        let path = self.path(name);
        path.parent().map_or(Ok(()), |parent| self.flush_dir(parent)).map(|()| true)
    }

    /// Removes a file; `false` if there was none.
    pub(crate) fn remove(&self, name: &str) -> io::Result<bool> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => path.parent().map_or(Ok(()), |parent| self.flush_dir(parent)).map(|()| true),
            Err(error) if missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The names directly under a directory, sorted; empty if it does not exist. Temporary files are left out.
    pub(crate) fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Ok(entries) => entries,
            Err(error) if missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string()
                && name != TEMPORARY
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Creates directories for the owner alone, each flushed into its parent.
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !parent.as_os_str().is_empty() {
            self.create_dirs(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.flush_dir(parent)
    }

    fn flush_dir(&self, dir: &Path) -> io::Result<()> {
        if !self.durable || dir.as_os_str().is_empty() {
            return Ok(());
        }
        File::open(dir)?.sync_all()
    }
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn writes_reads_lists_removes() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path().join("deep/er"), true).unwrap();
        assert_eq!(tree.read("a/b").unwrap(), None);
        tree.write("a/b", b"one").unwrap();
        tree.write("a/b", b"two").unwrap();
        tree.write("a/c", b"").unwrap();
        assert_eq!(tree.read("a/b").unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(tree.size("a/b").unwrap(), Some(3));
        assert_eq!(tree.size("a").unwrap(), None, "a directory is not a file");
        assert_eq!(tree.list("a").unwrap(), ["b", "c"]);
        assert_eq!(tree.list("none").unwrap(), Vec::<String>::new());
        assert!(tree.remove("a/b").unwrap());
        assert!(!tree.remove("a/b").unwrap());
    }

    #[test]
    fn nobody_else_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path().join("own"), false).unwrap();
        tree.write("x/y", b"secret").unwrap();
        for (path, mode) in [("", 0o700), ("x", 0o700), ("x/y", 0o600)] {
            assert_eq!(fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
        }
    }
}
