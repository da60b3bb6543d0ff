//! A stack's directory: the lock that makes it one process's own, and `stack.json`, which remembers the origin.
//!
//! The lock is `flock` on `stack.lock`, which the kernel lets go when the process dies, however it dies. The process id in that file is
//! written by whoever holds the lock, so that "locked" and "by whom" cannot disagree for longer than it takes to write four bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::StackError;
use crate::files::Tree;

/// Longest wait for a stopping stack: its own drain takes at most two seconds.
const STOP: Duration = Duration::from_secs(10);

/// What `stack.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of this record's format.
    pub format: u32,
    /// The origin, for good.
    pub origin: String,
    /// The host in the origin.
    pub host: String,
    /// The port in the origin.
    pub port: u16,
    /// Process id of the last process that served the directory.
    pub pid: u32,
    /// When that process started.
    pub started: jiff::Timestamp,
    /// When the directory was first served.
    pub created: jiff::Timestamp,
    /// The version of the program that serves it.
    pub version: String,
    /// Whether the registry does without the referrers API.
    pub without_referrers: bool,
}

impl Record {
    /// A record of this process, now.
    pub fn new(origin: &str, host: &str, port: u16, without_referrers: bool) -> Self {
        let now = jiff::Timestamp::now();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            format: 1,
            origin: origin.to_owned(),
            host: host.to_owned(),
            port,
            pid: std::process::id(),
            started: now,
            created: now,
            version,
            without_referrers,
        }
    }
}

/// A directory this process has locked.
#[derive(Debug)]
pub struct StackDir {
    path: PathBuf,
    record: Option<Record>,
    _lock: File,
}

impl StackDir {
    /// Creates `path` if need be (for its owner alone) and locks it.
    pub fn lock(path: &Path) -> Result<Self, StackError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let path = path.canonicalize().map_err(at(path))?;
        let lock = take_lock(&path)?;
        let record = match Self::read(&path) {
            Ok(record) => Some(record),
            Err(StackError::NoStack(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path, record, _lock: lock })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it remembered from the process before; `None` the first time.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Remembers `record`, keeping the time of the very first start.
    pub fn save(&mut self, mut record: Record) -> Result<(), StackError> {
        if let Some(old) = &self.record {
            record.created = old.created;
        }
        let path = self.path.join("stack.json");
        let text = serde_json::to_vec_pretty(&record).map_err(|error| corrupt(&path, error))?;
        Tree::open(&self.path, true).and_then(|tree| tree.write("stack.json", &text)).map_err(at(&path))?;
        self.record = Some(record);
        Ok(())
    }

    /// What the directory at `path` says about its stack.
    pub fn read(path: &Path) -> Result<Record, StackError> {
        let file = path.join("stack.json");
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StackError::NoStack(path.to_path_buf())),
            Err(source) => return Err(StackError::File { path: file, source }),
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| corrupt(&file, error))?;
        if record.format != 1 {
            return Err(corrupt(&file, format!("format {} is not known to this version", record.format)));
        }
        Ok(record)
    }

    /// The process that serves `path` now, if any.
    pub fn holder(path: &Path) -> Result<Option<u32>, StackError> {
        let file = path.join("stack.lock");
        let lock = match File::open(&file) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StackError::File { path: file, source }),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(fs::TryLockError::WouldBlock) => holder_of(&lock, &file).map(Some),
            Err(fs::TryLockError::Error(source)) => Err(StackError::File { path: file, source }),
        }
    }
}

fn take_lock(dir: &Path) -> Result<File, StackError> {
    let file = dir.join("stack.lock");
    let mut lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file).map_err(at(&file))?;
    match try_lock(&lock) {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            return Err(StackError::InUse { dir: dir.to_path_buf(), pid: holder_of(&lock, &file)? });
        }
        Err(fs::TryLockError::Error(source)) => return Err(StackError::File { path: file, source }),
    }
    lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(at(&file))?;
    Ok(lock)
}

/// Someone who asks whether the lock is held holds it for a moment: that is not a stack.
fn try_lock(lock: &File) -> Result<(), fs::TryLockError> {
    for _ in 0..5 {
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    lock.try_lock()
}

fn holder_of(mut lock: &File, file: &Path) -> Result<u32, StackError> {
    let mut text = String::new();
    lock.rewind().and_then(|()| lock.take(16).read_to_string(&mut text)).map_err(at(file))?;
    text.trim().parse().map_err(|_| corrupt(file, format!("'{text}' is not a process id")))
}

/// Signals the process that holds the lock of `dir`, and waits for the lock to be free.
pub(super) async fn stop(dir: &Path) -> Result<u32, StackError> {
    StackDir::read(dir)?;
    let pid = StackDir::holder(dir)?.ok_or_else(|| StackError::NotRunning(dir.to_path_buf()))?;
    terminate(pid).map_err(at(&dir.join("stack.lock")))?;
    let deadline = tokio::time::Instant::now() + STOP;
    while StackDir::holder(dir)?.is_some() {
        if tokio::time::Instant::now() > deadline {
            return Err(StackError::StillRunning { pid, seconds: STOP.as_secs() });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(pid)
}

fn terminate(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    match rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        // It ended between our look at the lock and now: what was wanted.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> StackError + use<> {
    let path = path.to_path_buf();
    move |source| StackError::File { path: path.clone(), source }
}

fn corrupt(path: &Path, why: impl ToString) -> StackError {
    StackError::Corrupt { path: path.to_path_buf(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new("http://127.0.0.1:4000", "127.0.0.1", 4000, false)
    }

    #[test]
    fn a_directory_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = StackDir::lock(dir.path()).unwrap();
        assert_eq!(StackDir::holder(dir.path()).unwrap(), Some(std::process::id()));
        assert!(matches!(StackDir::lock(dir.path()), Err(StackError::InUse { pid, .. }) if pid == std::process::id()));
        drop(held);
        assert_eq!(StackDir::holder(dir.path()).unwrap(), None);
        StackDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn the_record_survives_and_keeps_its_birth() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = StackDir::lock(dir.path()).unwrap();
        assert_eq!(first.record(), None);
        first.save(record()).unwrap();
        let created = first.record().unwrap().created;
        drop(first);
        let mut second = StackDir::lock(dir.path()).unwrap();
        second.save(record()).unwrap();
        assert_eq!(StackDir::read(dir.path()).unwrap().created, created);
    }

    #[test]
    fn a_directory_without_a_stack_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(StackDir::read(dir.path()), Err(StackError::NoStack(_))));
        assert_eq!(StackDir::holder(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_not_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("stack.json"), "{").unwrap();
        assert!(matches!(StackDir::read(dir.path()), Err(StackError::Corrupt { .. })));
        assert!(matches!(StackDir::lock(dir.path()), Err(StackError::Corrupt { .. })));
    }
}
