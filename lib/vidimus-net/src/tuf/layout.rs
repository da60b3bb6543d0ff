//! Where TUF state lies on disk, exactly as cosign 3 (sigstore-go) lays it out, so that either tool can use what the other fetched:
//!
//! ```text
//! $TUF_ROOT or ~/.sigstore/root
//!   remote.json               {"mirror":"https://…"}: which mirror `initialize` chose
//!   instances.json            only ours: {"NAME":"https://…"}: the mirrors that have a name
//!   <mirror>.json             {"lastTimestamp":"…"}: when it was last refreshed
//!   <mirror>/                 the mirror's URL without scheme, lower case, '/' and ':' written '-'
//!     root.json timestamp.json snapshot.json targets.json
//!     root_history/N.root.json      only ours: lets an old embedded root be walked forward without a network
//!     targets/<name>
//! ```
//!
//! A mirror's directory is only ever replaced as a whole, by renaming; nothing else in the root is touched.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vidimus_core::limits;

use crate::environment::Environment;

/// How long to wait for another process that holds the lock. A refresh takes seconds; a hung one must not hang us.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// Most files of one directory that are read. A repository's cache has four, its root history one for each year.
const MAX_FILES: usize = 256;

/// Files by their name relative to a mirror's directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The directory with everything.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    dir: PathBuf,
}

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}: {source}", path.display())]
pub struct CacheError {
    /// The file or directory.
    pub path: PathBuf,
    /// What went wrong.
    pub what: &'static str,
    /// Why.
    pub source: io::Error,
}

impl CacheError {
    pub(super) fn new(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, what, source }
    }

    /// Whether another process is in the way, as opposed to the place being unfit.
    pub(super) fn is_busy(&self) -> bool {
        self.source.kind() == io::ErrorKind::TimedOut
    }
}

#[derive(Serialize, Deserialize)]
struct Remote {
    mirror: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refreshed {
    last_timestamp: Timestamp,
}

/// Held while files are replaced. Released when dropped, or when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Layout {
    pub(super) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `$TUF_ROOT`, or `~/.sigstore/root`; nothing without a home.
    pub(super) fn from_environment(env: &Environment) -> Option<Self> {
        let home = || env.home().map(|home| home.join(".sigstore").join("root"));
        env.var("TUF_ROOT").map(PathBuf::from).or_else(home).map(Self::new)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn mirror_dir(&self, mirror: &str) -> PathBuf {
        self.dir.join(mirror_name(mirror))
    }

    /// The mirror that `initialize` chose, if it ran.
    pub(super) fn remote(&self) -> Result<Option<String>, CacheError> {
        let path = self.dir.join("remote.json");
        let Some(bytes) = read_optional(&path)? else { return Ok(None) };
        let unreadable = |e| CacheError::new(&path, "does not say which mirror was chosen")(io::Error::other(e));
        let remote: Remote = serde_json::from_slice(&bytes).map_err(unreadable)?;
        Ok(Some(remote.mirror))
    }

    /// Mirrors by the names that people gave them.
    pub(super) fn instances(&self) -> Result<BTreeMap<String, String>, CacheError> {
        let path = self.dir.join("instances.json");
        let Some(bytes) = read_optional(&path)? else { return Ok(BTreeMap::new()) };
        let unreadable = |e| CacheError::new(&path, "does not say which mirrors have names")(io::Error::other(e));
        serde_json::from_slice(&bytes).map_err(unreadable)
    }

    /// Gives a mirror a name.
    pub(super) fn name_instance(&self, _held: &Lock, name: &str, mirror: &str) -> Result<(), CacheError> {
        let mut instances = self.instances()?;
        instances.insert(name.to_owned(), mirror.to_owned());
        self.write_json("instances.json", &instances)
    }

    /// When the mirror was last refreshed, if that is known.
    pub(super) fn last_refresh(&self, mirror: &str) -> Option<Timestamp> {
        let bytes = read_optional(&self.dir.join(format!("{}.json", mirror_name(mirror)))).ok()??;
        serde_json::from_slice::<Refreshed>(&bytes).ok().map(|config| config.last_timestamp)
    }

    /// Everything that is cached of a mirror.
    pub(super) fn load(&self, mirror: &str) -> Result<Files, CacheError> {
        let dir = self.mirror_dir(mirror);
        let mut files = Files::new();
        for below in ["", "root_history", "targets"] {
            let entries = match fs::read_dir(dir.join(below)) {
                Ok(entries) => entries,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                Err(e) => return Err(CacheError::new(&dir, "cannot be listed")(e)),
            };
            for entry in entries.take(MAX_FILES).flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    continue;
                }
                let name = if below.is_empty() { name } else { format!("{below}/{name}") };
                if let Some(bytes) = read_optional(&entry.path())? {
                    files.insert(name, bytes);
                }
            }
        }
        Ok(files)
    }

    /// Waits for the lock, and undoes what a killed process left half done.
    pub(super) fn lock(&self, mirror: &str) -> Result<Lock, CacheError> {
        create_dir(&self.dir)?;
        let file = hold(&self.dir)?;
        self.recover(mirror)?;
        Ok(Lock { _file: file })
    }

    /// Replaces all that is cached of a mirror by `files`. Either all of it happens or nothing.
    pub(super) fn replace(&self, _held: &Lock, mirror: &str, files: &Files, now: Timestamp) -> Result<(), CacheError> {
        let (target, previous) = (self.mirror_dir(mirror), self.previous(mirror));
        let staged = tempfile::Builder::new()
            .prefix(".staged-")
            .tempdir_in(&self.dir)
            .map_err(CacheError::new(&self.dir, "cannot hold a new directory"))?;
        for (name, bytes) in files {
            write_file(&staged.path().join(name), bytes)?;
        }
        if target.exists() {
            fs::rename(&target, &previous).map_err(CacheError::new(&target, "cannot be moved aside"))?;
        }
        if let Err(e) = fs::rename(staged.path(), &target) {
            self.recover(mirror)?;
            return Err(CacheError::new(&target, "cannot be put in place")(e));
        }
        // Disarms the guard, which would look for the directory under its old name.
        let _ = staged.keep();
        remove_dir(&previous)?;
        self.write_json(&format!("{}.json", mirror_name(mirror)), &Refreshed { last_timestamp: now })
    }

    /// Makes a mirror the chosen one.
    pub(super) fn choose(&self, _held: &Lock, mirror: &str) -> Result<(), CacheError> {
        self.write_json("remote.json", &Remote { mirror: mirror.to_owned() })
    }

    /// A process that died between the two renames of [`Self::replace`] left the good directory under another name.
    fn recover(&self, mirror: &str) -> Result<(), CacheError> {
        let (target, previous) = (self.mirror_dir(mirror), self.previous(mirror));
        match (target.exists(), previous.exists()) {
            (false, true) => fs::rename(&previous, &target).map_err(CacheError::new(&previous, "cannot be put back")),
            (true, true) => remove_dir(&previous),
            (_, false) => Ok(()),
        }
    }

    fn previous(&self, mirror: &str) -> PathBuf {
        self.dir.join(format!(".previous-{}", mirror_name(mirror)))
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), CacheError> {
        let path = self.dir.join(name);
        let bytes = serde_json::to_vec(value).map_err(|e| CacheError::new(&path, "cannot be encoded")(io::Error::other(e)))?;
        let staged = self.dir.join(format!(".staged-{}-{name}", std::process::id()));
        write_file(&staged, &bytes)?;
        fs::rename(&staged, &path).map_err(CacheError::new(&path, "cannot be put in place"))
    }
}

/// Waits until no other process holds a directory, and holds it until the file is dropped or the process dies.
pub(super) fn hold(dir: &Path) -> Result<File, CacheError> {
    let path = dir.join(".lock");
    let file = File::options().create(true).append(true).open(&path).map_err(CacheError::new(&path, "cannot be opened"))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => {
                let held = io::Error::new(io::ErrorKind::TimedOut, "another process has held it for a minute");
                return Err(CacheError::new(&path, "cannot be locked")(held));
            }
            Err(TryLockError::Error(e)) => return Err(CacheError::new(&path, "cannot be locked")(e)),
        }
    }
}

/// A mirror's directory name: what sigstore-go's `URLToPath` makes of its URL.
pub(super) fn mirror_name(mirror: &str) -> String {
    let name = mirror.strip_prefix("https://").unwrap_or(mirror);
    let name = name.strip_prefix("http://").unwrap_or(name);
    name.replace(['/', ':'], "-").to_lowercase()
}

/// The bytes of a file, `None` if it does not exist. Bounded like everything else that we did not write ourselves.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, CacheError> {
    read_bounded(path, u64::try_from(limits::TUF_BYTES).unwrap_or(u64::MAX))
}

/// As [`read_optional`], with a limit of one's own.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CacheError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(CacheError::new(path, "cannot be opened")(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(CacheError::new(path, "cannot be read"))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(CacheError::new(path, "is too large")(io::Error::other(format!("more than {limit} bytes"))));
    }
    Ok(Some(bytes))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(CacheError::new(path, "cannot be created"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(CacheError::new(path, "cannot be written"))
}

pub(super) fn create_dir(path: &Path) -> Result<(), CacheError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(CacheError::new(path, "cannot be created"))
}

fn remove_dir(path: &Path) -> Result<(), CacheError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(CacheError::new(path, "cannot be removed")(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIRROR: &str = "http://127.0.0.1:8600/tuf";

    fn files(text: &str) -> Files {
        [("root.json", text), ("targets/trusted_root.json", text), ("root_history/1.root.json", "r")]
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            .into()
    }

    fn now() -> Timestamp {
        "2026-11-21T20:00:00Z".parse().unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn names_are_those_of_sigstore_go() {
        for (mirror, name) in [
            ("https://tuf-repo-cdn.sigstore.dev", "tuf-repo-cdn.sigstore.dev"),
            ("http://127.0.0.1:8600/tuf-ecdsa", "127.0.0.1-8600-tuf-ecdsa"),
            ("https://github.github.com/Prod-TUF-root/", "github.github.com-prod-tuf-root-"),
        ] {
            assert_eq!(mirror_name(mirror), name);
        }
    }

    #[test]
    fn the_place_is_the_variable_or_below_home() {
        let dir = |pairs: &[(&str, &str)]| {
            let env = Environment::from_pairs(pairs.iter().copied());
            Layout::from_environment(&env).map(|layout| layout.dir)
        };
        assert_eq!(dir(&[("TUF_ROOT", "/t"), ("HOME", "/h")]).unwrap(), Path::new("/t"));
        assert_eq!(dir(&[("HOME", "/h")]).unwrap(), Path::new("/h/.sigstore/root"));
        assert_eq!(dir(&[]), None);
    }

    #[test]
    fn replaces_a_mirror_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("root"));
        fs::create_dir_all(layout.dir().join("other")).unwrap();
        fs::write(layout.dir().join("notes.txt"), "mine").unwrap();
        fs::write(layout.dir().join("other/root.json"), "other").unwrap();
        for text in ["one", "two"] {
            let lock = layout.lock(MIRROR).unwrap();
            layout.replace(&lock, MIRROR, &files(text), now()).unwrap();
            layout.choose(&lock, MIRROR).unwrap();
            assert_eq!(layout.load(MIRROR).unwrap(), files(text));
        }
        assert_eq!(layout.remote().unwrap().as_deref(), Some(MIRROR));
        assert_eq!(layout.last_refresh(MIRROR), Some(now()));
        let expected = [".lock", "127.0.0.1-8600-tuf", "127.0.0.1-8600-tuf.json", "notes.txt", "other", "remote.json"];
        assert_eq!(names(layout.dir()), expected);
    }

    #[test]
    fn a_replacement_that_fails_leaves_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        let lock = layout.lock(MIRROR).unwrap();
        layout.replace(&lock, MIRROR, &files("good"), now()).unwrap();
        let before = names(home.path());
        // A name that is both a file and a directory cannot be staged.
        let bad: Files = [("a", "1"), ("a/b", "2")].map(|(n, t)| (n.to_owned(), t.as_bytes().to_vec())).into();
        assert!(layout.replace(&lock, MIRROR, &bad, now()).is_err());
        assert_eq!(layout.load(MIRROR).unwrap(), files("good"));
        assert_eq!(names(home.path()), before);
    }

    #[test]
    fn a_killed_replacement_is_undone() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        let lock = layout.lock(MIRROR).unwrap();
        layout.replace(&lock, MIRROR, &files("good"), now()).unwrap();
        fs::rename(layout.mirror_dir(MIRROR), layout.previous(MIRROR)).unwrap();
        drop(lock);
        drop(layout.lock(MIRROR).unwrap());
        assert_eq!(layout.load(MIRROR).unwrap(), files("good"));
    }

    #[test]
    fn a_lock_is_exclusive() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        let lock = layout.lock(MIRROR).unwrap();
        let second = File::options().append(true).open(home.path().join(".lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(lock);
        second.try_lock().unwrap();
    }

    #[test]
    fn broken_files_are_errors_and_missing_ones_are_not() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        assert_eq!(layout.remote().unwrap(), None);
        assert!(layout.load(MIRROR).unwrap().is_empty());
        fs::write(home.path().join("remote.json"), "{").unwrap();
        assert!(layout.remote().is_err());
        fs::create_dir_all(layout.mirror_dir(MIRROR)).unwrap();
        fs::write(layout.mirror_dir(MIRROR).join("root.json"), vec![b' '; limits::TUF_BYTES + 1]).unwrap();
        assert!(layout.load(MIRROR).is_err());
    }
}
