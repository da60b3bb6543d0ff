//! A TUF client for any repository (specification 1.0, §5): one repository, one directory with the metadata that is trusted.
//!
//! The directory holds `ROLE.json` for every role, byte for byte as the repository served it. What has been verified is kept at once,
//! file by file: a workflow that stops half-way leaves a new root trusted although the timestamp after it was refused, as the
//! specification wants it. (The cache of Sigstore instances beside this module does it differently: all or nothing.)
//!
//! Targets lie in one directory, each under its percent-encoded name, as the reference implementation keeps them: a name in signed
//! metadata chooses no directory here.
//!
//! Expired or replayed metadata is judged by the time that the caller gives. Deliberately absent: several mirrors of one repository,
//! and targets larger than [`TARGET_BYTES`], which are held in memory until their digest is known.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use vidimus_core::limits;

use super::{
    TufError,
    layout::{CacheError, create_dir, hold, read_bounded, read_optional},
    source::Mirror,
    workflow::{Store, Workflow, check_root, encode},
};
use crate::http::Client;

/// The largest target that is downloaded: it is held in memory until its digest is known.
pub const TARGET_BYTES: u64 = 256 << 20;
/// Names the files in the metadata directory that are trusted no longer, until others take their place.
const DROPPED: &str = ".dropped";

/// The metadata of one repository.
#[derive(Debug)]
pub struct RepositoryClient {
    workflow: Workflow<Directory>,
    // Held for as long as this lives: two clients on one directory would undo each other's version floors.
    _lock: File,
}

/// What [`RepositoryClient::download`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Where the target lies.
    pub path: PathBuf,
    /// Whether it was fetched; otherwise it lay there already.
    pub fetched: bool,
}

/// Trusts a root on somebody's word: makes it the `root.json` of a metadata directory. Asks nobody.
///
/// Gives the reason why [`RepositoryClient::open`] will refuse it, if it will: a root has to be signed by itself. It is kept all the
/// same, as the specification has it (§5.2), which leaves the first root to whoever ships it. Its expiry does not matter, since it is
/// where a chain starts.
pub fn trust_root(metadata_dir: &Path, root: &Path) -> Result<Option<TufError>, TufError> {
    let missing = || TufError::RootUnavailable { root: root.display().to_string(), why: "there is no such file".to_owned() };
    let bytes = read_optional(root)?.ok_or_else(missing)?;
    if !is_root(&bytes) {
        return Err(TufError::RootUnavailable { root: root.display().to_string(), why: "it is no root".to_owned() });
    }
    let flaw = check_root(&bytes, &root.display().to_string()).err();
    create_dir(metadata_dir)?;
    let _lock = hold(metadata_dir)?;
    write_atomically(&metadata_dir.join("root.json"), &bytes)?;
    Ok(flaw)
}

/// Whether this is meant to be a root, however broken.
fn is_root(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|root| root["signed"]["_type"] == "root")
}

impl RepositoryClient {
    /// A client that trusts the root in `metadata_dir`. Asks nobody yet.
    ///
    /// `metadata_url` and `targets_url` are URLs or paths; without the second, targets lie in `targets/` below the first.
    pub fn open(http: &Client, metadata_dir: &Path, metadata_url: &str, targets_url: Option<&str>) -> Result<Self, TufError> {
        let metadata = Mirror::parse(metadata_url).map_err(TufError::Usage)?.repository(http);
        let targets = match targets_url {
            Some(url) => Mirror::parse(url).map_err(TufError::Usage)?.repository(http),
            None => metadata.targets(),
        };
        let path = metadata_dir.join("root.json");
        let root = read_optional(&path)?.ok_or_else(|| TufError::RootUnavailable {
            root: path.display().to_string(),
            why: "there is no such file; make it with `tuf client init`".to_owned(),
        })?;
        let lock = hold(metadata_dir)?;
        let store = Directory::open(metadata_dir);
        Ok(Self { workflow: Workflow::start(metadata_url, metadata, targets, &root, store)?, _lock: lock })
    }

    /// Brings root, timestamp, snapshot and targets up to date (§5.3 to §5.6).
    pub async fn refresh(&mut self, now: Timestamp) -> Result<(), TufError> {
        self.workflow.refresh(now).await
    }

    /// Finds a target among the roles that may speak for it, and brings it into `target_dir` (§5.6.7, §5.7). A file that is there
    /// already and has the right digest is not fetched again. Needs [`Self::refresh`] first.
    pub async fn download(&mut self, name: &str, target_dir: &Path, now: Timestamp) -> Result<Downloaded, TufError> {
        let target = self.workflow.find(name, now).await?;
        let path = target_dir.join(local_name(name));
        // What cannot be read is as good as not there.
        let there = read_bounded(&path, TARGET_BYTES).unwrap_or_default();
        if there.is_some_and(|bytes| target.fits(&bytes, name).is_ok()) {
            return Ok(Downloaded { path, fetched: false });
        }
        let bytes = self.workflow.fetch_target(name, &target, TARGET_BYTES).await?;
        write_atomically(&path, &bytes)?;
        Ok(Downloaded { path, fetched: true })
    }

    /// The versions that are trusted now, by role: root, timestamp, snapshot, targets; 0 for what is not known yet.
    pub fn versions(&self) -> [u64; 4] {
        self.workflow.trusted().versions()
    }

    /// Names and lengths of the targets that the top-level role lists.
    pub fn targets(&self) -> Vec<(String, u64)> {
        let role = self.workflow.trusted().targets("targets");
        role.map(|role| role.targets.iter().map(|(name, file)| (name.clone(), file.length)).collect()).unwrap_or_default()
    }
}

/// A metadata directory.
#[derive(Debug)]
struct Directory {
    dir: PathBuf,
    /// Files that lie there still and are not trusted: those of a time before keys were revoked. They stay until there is something
    /// better; a person who looks for what was served finds it.
    dropped: BTreeSet<String>,
}

impl Directory {
    fn open(dir: &Path) -> Self {
        let listed = fs::read_to_string(dir.join(DROPPED)).unwrap_or_default();
        Self { dir: dir.to_owned(), dropped: listed.lines().map(str::to_owned).collect() }
    }

    fn write_dropped(&self) -> Result<(), CacheError> {
        let path = self.dir.join(DROPPED);
        if !self.dropped.is_empty() {
            return write_atomically(&path, self.dropped.iter().map(|name| format!("{name}\n")).collect::<String>().as_bytes());
        }
        fs::remove_file(&path).map_err(CacheError::new(&path, "cannot be removed"))
    }
}

impl Store for Directory {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        let kept = !name.contains('/') && !self.dropped.contains(name);
        kept.then(|| read_bounded(&self.dir.join(name), limit_of_metadata()).unwrap_or_default()).flatten()
    }

    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        // Earlier roots are not kept here: the one that is trusted is where the next run starts.
        if name.contains('/') {
            return Ok(());
        }
        let path = self.dir.join(name);
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            write_atomically(&path, bytes)?;
        }
        if self.dropped.remove(name) {
            self.write_dropped()?;
        }
        Ok(())
    }

    fn drop_floors(&mut self) -> Result<(), CacheError> {
        self.dropped.extend(["timestamp.json", "snapshot.json"].map(str::to_owned));
        self.write_dropped()
    }
}

fn limit_of_metadata() -> u64 {
    u64::try_from(limits::TUF_BYTES).unwrap_or(u64::MAX)
}

/// Where a target lies in its directory.
fn local_name(name: &str) -> String {
    match encode(name) {
        // Not names, but ways to other places.
        dots if matches!(dots.as_str(), "" | "." | "..") => format!("%{dots}"),
        encoded => encoded,
    }
}

/// Replaces a file as a whole.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    create_dir(dir)?;
    let failed = |what| CacheError::new(path, what);
    // Its name does not end in ".json": whoever lists the directory in between sees no role.
    let mut staged = tempfile::Builder::new().prefix(".staged-").tempfile_in(dir).map_err(failed("cannot be created"))?;
    staged.write_all(bytes).and_then(|()| staged.as_file().sync_all()).map_err(failed("cannot be written"))?;
    staged.persist(path).map_err(|e| failed("cannot be put in place")(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
