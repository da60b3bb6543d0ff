//! A storage in a directory of the file system. Files are 0600 and directories 0700: keys and users live in it.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Segment, Storage, StorageError, check_path};

/// Where files are written before they get their names. Emptied when the directory is opened: a crash leaves some behind.
const TEMPORARIES: &str = ".tmp";

/// A directory, locked for this process while the value lives.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    temporaries: AtomicU64,
    _lock: File,
}

impl Directory {
    /// Opens (and creates) a directory. Two processes writing one log would sign two histories, so the second one is refused.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let root = root.into();
        create_dirs(&root).map_err(error("create", &root))?;
        if let Some(parent) = root.canonicalize().ok().as_deref().and_then(Path::parent) {
            // The root's own name; a parent that may not be opened was not made by us.
            let _ = File::open(parent).and_then(|dir| dir.sync_all());
        }
        let path = root.join(".lock");
        let lock = open_options().create(true).append(true).open(&path).map_err(error("open", &path))?;
        lock.try_lock().map_err(|e| {
            let source = io::Error::other(format!("{e}; is another stack using this directory?"));
            StorageError { action: "lock", path: path.display().to_string(), source }
        })?;
        let temporaries = root.join(TEMPORARIES);
        match fs::remove_dir_all(&temporaries) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error("empty", &temporaries)(e)),
            _ => create_dirs(&temporaries).map_err(error("create", &temporaries))?,
        }
        Ok(Self { root, temporaries: AtomicU64::new(0), _lock: lock })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, action: &'static str, path: &str) -> Result<PathBuf, StorageError> {
        check_path(action, path)?;
        Ok(self.root.join(path))
    }

    /// Writes `bytes` to a fresh file, optionally durable, and gives it its name.
    fn write_and_rename(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), StorageError> {
        let dir = path.parent().unwrap_or(&self.root);
        create_dirs(dir).map_err(error("create", dir))?;
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(TEMPORARIES).join(number.to_string());
        let written = (|| {
            let mut file = open_options().write(true).create(true).truncate(true).open(&temporary)?;
            file.write_all(bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        })();
        let renamed = written.and_then(|()| fs::rename(&temporary, path));
        if renamed.is_err() {
            // Only tidiness; the error that counts is returned.
            let _ = fs::remove_file(&temporary);
        }
        renamed.map_err(error("write", path))
    }

    /// Makes the names on the way from `dir` up to the root durable.
    fn sync_dirs(&self, dirs: BTreeSet<PathBuf>) -> Result<(), StorageError> {
        // The deepest first: a name is worth nothing before what it leads to.
        for dir in dirs.iter().rev() {
            File::open(dir).and_then(|d| d.sync_all()).map_err(error("sync", dir))?;
        }
        Ok(())
    }

    fn dirs_above(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        path.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root)).map(Path::to_owned).collect::<Vec<_>>().into_iter()
    }
}

impl Storage for Directory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path("read", path)?;
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(error("read", &path)(e)),
        }
    }

    #[cfg(unix)]
    fn read_secret(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.path("read", path)?;
        let mode = match fs::metadata(&file) {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error("read", &file)(e)),
        };
        // A key that others could read may be theirs by now.
        if mode & 0o077 != 0 {
            let why = format!("others can read it (mode {mode:o}); run: chmod 600 {}", file.display());
            return Err(error("read", &file)(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        self.read(path)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StorageError> {
        let dir = self.path("list", dir)?;
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(error("list", &dir)(e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(error("list", &dir))?;
            let is_dir = entry.file_type().map_err(error("list", &dir))?.is_dir();
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push(if is_dir { name + "/" } else { name });
        }
        names.sort();
        Ok(names)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path("write", path)?;
        // A restart after a crash makes again what is mostly there already; reading is far cheaper than replacing.
        if fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        self.write_and_rename(&path, bytes, false)
    }

    fn sync(&self, paths: &[String]) -> Result<(), StorageError> {
        let mut dirs = BTreeSet::new();
        for path in paths {
            let path = self.path("sync", path)?;
            File::open(&path).and_then(|f| f.sync_all()).map_err(error("sync", &path))?;
            dirs.extend(self.dirs_above(&path));
        }
        self.sync_dirs(dirs)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path("write", path)?;
        self.write_and_rename(&path, bytes, true)?;
        self.sync_dirs(self.dirs_above(&path).collect())
    }

    fn segment(&self, path: &str) -> Result<Box<dyn Segment>, StorageError> {
        let path = self.path("open", path)?;
        let dir = path.parent().unwrap_or(&self.root);
        create_dirs(dir).map_err(error("create", dir))?;
        let file = open_options().create(true).append(true).open(&path).map_err(error("open", &path))?;
        file.sync_all().map_err(error("sync", &path))?;
        self.sync_dirs(self.dirs_above(&path).collect())?;
        let size = file.metadata().map_err(error("open", &path))?.len();
        Ok(Box::new(Appended { path, file, size }))
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        let path = self.path("truncate", path)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(error("truncate", &path))?;
        file.set_len(len).and_then(|()| file.sync_all()).map_err(error("truncate", &path))
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        let path = self.path("remove", path)?;
        let is_dir = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.is_dir(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(error("remove", &path)(e)),
        };
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(error("remove", &path))?;
        self.sync_dirs(path.parent().into_iter().map(Path::to_owned).collect())
    }
}

/// A file opened for appending.
struct Appended {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Segment for Appended {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all(bytes).map_err(error("write", &self.path))?;
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        // The size is part of what fdatasync(2) must flush, so sync_data is enough for a file that only grows.
        self.file.sync_data().map_err(error("sync", &self.path))
    }

    fn size(&self) -> u64 {
        self.size
    }
}

fn error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    move |source| StorageError { action, path: path.display().to_string(), source }
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::open(dir.path().join("s")).unwrap();
        storage.put("a/b/c", b"1").unwrap();
        storage.sync(&["a/b/c".to_owned()]).unwrap();
        storage.replace("a/d", b"2").unwrap();
        let mut segment = storage.segment("a/e").unwrap();
        segment.append(b"345").unwrap();
        segment.sync().unwrap();
        assert_eq!(segment.size(), 3);
        storage.truncate("a/e", 1).unwrap();
        assert_eq!(storage.read("a/b/c").unwrap().unwrap(), b"1");
        assert_eq!(storage.read("a/e").unwrap().unwrap(), b"3");
        assert_eq!(storage.list("a").unwrap(), ["b/", "d", "e"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |p: &str| fs::metadata(dir.path().join("s").join(p)).unwrap().permissions().mode() & 0o777;
            assert_eq!([mode("a/d"), mode("a/e"), mode("a/b/c"), mode("a"), mode("")], [0o600, 0o600, 0o600, 0o700, 0o700]);
        }
        storage.remove("a").unwrap();
        storage.remove("a").unwrap();
        assert_eq!(storage.read("a/d").unwrap(), None);
        assert!(storage.list("a").unwrap().is_empty());
    }

    #[test]
    fn paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::open(dir.path()).unwrap();
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/\0"] {
            assert!(storage.read(bad).is_err(), "{bad:?}");
            assert!(storage.put(bad, b"").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        assert!(Directory::open(dir.path()).unwrap_err().to_string().contains("another stack"));
        drop(first);
        fs::write(dir.path().join(TEMPORARIES).join("7"), b"left behind by a crash").unwrap();
        let again = Directory::open(dir.path()).unwrap();
        assert!(again.list(TEMPORARIES).unwrap().is_empty());
    }
}
