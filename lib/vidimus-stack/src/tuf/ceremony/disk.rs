//! The files of a ceremony: each written whole, flushed, and named only then.
//!
//! Every change counts as one step, so that a test can stop after each of them as a power failure would.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use vidimus_core::limits;

use super::CeremonyError;

/// The largest target: it is held in memory while its digest is taken.
pub(super) const TARGET_BYTES: usize = 256 << 20;
/// How long to wait for another command on the same directory: they take moments.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Everybody may read what a mirror serves.
const PUBLIC: u32 = 0o644;

/// The file system, which may fail after a number of steps.
#[derive(Debug)]
pub(super) struct Disk {
    steps_left: AtomicUsize,
}

impl Default for Disk {
    fn default() -> Self {
        Self::failing_after(usize::MAX)
    }
}

impl Disk {
    /// A file system that does this many changes and then none.
    pub(super) fn failing_after(steps: usize) -> Self {
        Self { steps_left: AtomicUsize::new(steps) }
    }

    fn step(&self) -> io::Result<()> {
        let taken = self.steps_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
            0 => None,
            usize::MAX => Some(usize::MAX),
            left => Some(left - 1),
        });
        taken.map(drop).map_err(|_| io::Error::other("the power is off"))
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    /// Holds the directory until the file is dropped.
    pub(super) fn lock(&self, dir: &Path) -> Result<File, CeremonyError> {
        let path = dir.join(".lock");
        let file =
            File::options().create(true).append(true).open(&path).map_err(CeremonyError::disk(&path, "cannot be opened"))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => std::thread::sleep(LOCK_WAIT / 100),
                Err(TryLockError::WouldBlock) => return Err(CeremonyError::Busy(dir.to_owned())),
                Err(TryLockError::Error(error)) => return Err(CeremonyError::disk(&path, "cannot be locked")(error)),
            }
        }
    }

    /// A metadata file's content; nothing if it is not there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, CeremonyError> {
        read_bounded(path, limits::TUF_BYTES)
    }

    pub(super) fn create_dir(&self, path: &Path) -> Result<(), CeremonyError> {
        if path.is_dir() {
            return Ok(());
        }
        let made = self.step().and_then(|()| fs::create_dir_all(path)).and_then(|()| sync_parent(path));
        made.map_err(CeremonyError::disk(path, "cannot be created"))
    }

    /// Writes a file: after a crash it has its old content or its new one.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CeremonyError> {
        let dir = parent(path);
        self.create_dir(dir)?;
        let write = || -> io::Result<()> {
            self.step()?;
            let permissions = fs::Permissions::from_mode(PUBLIC);
            let mut file = tempfile::Builder::new().prefix(".new-").permissions(permissions).tempfile_in(dir)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            self.step()?;
            file.persist(path).map_err(|e| e.error)?;
            sync(dir)
        };
        write().map_err(CeremonyError::disk(path, "cannot be written"))
    }

    /// Gives a file a second name; where the file system cannot, a copy.
    pub(super) fn link_file(&self, from: &Path, to: &Path) -> Result<(), CeremonyError> {
        self.create_dir(parent(to))?;
        let linked = self.step().and_then(|()| match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()),
            Ok(()) => Ok(()),
        });
        linked.map_err(CeremonyError::disk(to, "cannot be made"))
    }

    /// Gives every file below a directory a second name below another.
    pub(super) fn link_tree(&self, from: &Path, to: &Path) -> Result<(), CeremonyError> {
        self.create_dir(to)?;
        let failed = || CeremonyError::disk(from, "cannot be listed");
        for entry in fs::read_dir(from).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            match entry.file_type().map_err(failed())? {
                kind if kind.is_dir() => self.link_tree(&source, &target)?,
                kind if kind.is_file() => self.link_file(&source, &target)?,
                _ => {}
            }
        }
        sync(to).map_err(CeremonyError::disk(to, "cannot be flushed"))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), CeremonyError> {
        if !self.exists(path) {
            return Ok(());
        }
        let removed = self.step().and_then(|()| fs::remove_file(path));
        removed.map_err(CeremonyError::disk(path, "cannot be removed"))
    }

    pub(super) fn remove_dir(&self, path: &Path) -> Result<(), CeremonyError> {
        if !self.exists(path) {
            return Ok(());
        }
        let removed = self.step().and_then(|()| fs::remove_dir_all(path));
        removed.map_err(CeremonyError::disk(path, "cannot be removed"))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), CeremonyError> {
        let renamed = self.step().and_then(|()| fs::rename(from, to)).and_then(|()| sync_parent(to));
        renamed.map_err(CeremonyError::disk(to, "cannot be put in place"))
    }

    /// The number of the publication that a link leads to; nothing if there is no link.
    pub(super) fn link(&self, path: &Path) -> Result<Option<u64>, CeremonyError> {
        let target = match fs::read_link(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CeremonyError::disk(path, "is not the link to what is published")(error)),
        };
        let number = target.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        number.map(Some).ok_or_else(|| CeremonyError::malformed(path, "it does not lead to a publication"))
    }

    /// Points a link somewhere else, at once.
    pub(super) fn point(&self, link: &Path, target: &Path) -> Result<(), CeremonyError> {
        let fresh = link.with_extension("new");
        self.remove(&fresh)?;
        let made = self.step().and_then(|()| symlink(target, &fresh));
        made.map_err(CeremonyError::disk(&fresh, "cannot be made"))?;
        self.rename(&fresh, link)
    }

    /// Removes publications: all but `current` and the one before it, which requests under way may still read.
    pub(super) fn prune(&self, publications: &Path, current: u64) -> Result<(), CeremonyError> {
        let failed = || CeremonyError::disk(publications, "cannot be listed");
        for entry in fs::read_dir(publications).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
            if !number.is_some_and(|number| number == current || number + 1 == current) {
                self.remove_dir(&path)?;
            }
        }
        Ok(())
    }
}

/// A file's content, if it has no more bytes than this; nothing if it is not there.
pub(super) fn read_bounded(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, CeremonyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(CeremonyError::disk(path, "cannot be opened")(error)),
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(CeremonyError::disk(path, "cannot be read"))?;
    if bytes.len() > limit {
        return Err(CeremonyError::malformed(path, format_args!("it has more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync(parent(path))
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Where a publication lies, relative to the directory of the ceremony: the link must survive a move of the whole.
pub(super) fn publication(number: u64) -> PathBuf {
    Path::new(super::PUBLICATIONS).join(number.to_string())
}
