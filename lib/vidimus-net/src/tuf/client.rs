//! A TUF client for any repository (specification 1.0, §5): one repository, one directory with the metadata that is trusted.
//!
//! The directory holds `ROLE.json` for every role, byte for byte as the repository served it. What has been verified is kept at once,
//! file by file: a workflow that stops half-way leaves a new root trusted although the timestamp after it was refused, as the
//! specification wants it. (The cache of Sigstore instances beside this module does it differently: all or nothing.)
//!
//! Expired or replayed metadata is judged by the time that the caller gives. Deliberately absent: several mirrors of one repository,
//! and targets larger than [`TARGET_BYTES`], which are held in memory until their digest is known.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use sigstore_tuf::{
    Error as WorkflowError, Metadata, MetadataStore, Root, Snapshot, TrustedMetadataSet, Updater, error::Result as WorkflowResult,
};
use vidimus_core::limits;

use super::{
    TufError, explain,
    layout::{CacheError, create_dir, hold, read_bounded, read_optional},
    source::{Mirror, Source},
    updater_config,
};
use crate::http::Client;

/// The largest target that is downloaded: it is held in memory until its digest is known.
pub const TARGET_BYTES: u64 = 256 << 20;

/// The metadata of one repository.
#[derive(Debug)]
pub struct RepositoryClient {
    metadata_url: String,
    store: Arc<Trusted>,
    updater: Updater,
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
/// The root has to be signed by itself; its expiry does not matter, since it is where a chain starts.
pub fn trust_root(metadata_dir: &Path, root: &Path) -> Result<(), TufError> {
    let missing = || TufError::RootUnavailable { root: root.display().to_string(), why: "there is no such file".to_owned() };
    let bytes = read_optional(root)?.ok_or_else(missing)?;
    TrustedMetadataSet::from_root(&bytes).map_err(|e| explain(e, &root.display().to_string(), None))?;
    create_dir(metadata_dir)?;
    let _lock = hold(metadata_dir)?;
    write_atomically(&metadata_dir.join("root.json"), &bytes)?;
    Ok(())
}

impl RepositoryClient {
    /// A client that trusts the root in `metadata_dir`. Asks nobody yet.
    ///
    /// `metadata_url` and `targets_url` are URLs or paths; without the second, targets lie in `targets/` below the first.
    pub fn open(http: &Client, metadata_dir: &Path, metadata_url: &str, targets_url: Option<&str>) -> Result<Self, TufError> {
        let metadata = Mirror::parse(metadata_url).map_err(TufError::Usage)?.repository(http);
        let targets = match targets_url {
            Some(url) => Mirror::parse(url).map_err(TufError::Usage)?.repository(http),
            None => metadata.below("targets"),
        };
        let path = metadata_dir.join("root.json");
        let root = read_optional(&path)?.ok_or_else(|| TufError::RootUnavailable {
            root: path.display().to_string(),
            why: "there is no such file; make it with `tuf client init`".to_owned(),
        })?;
        let lock = hold(metadata_dir)?;
        let store = Arc::new(Trusted::new(metadata_dir));
        let mut config = updater_config();
        config.target_max_length = TARGET_BYTES;
        let updater = Updater::new(Split { metadata, targets }, &root).map_err(|e| explain(e, metadata_url, None))?;
        let updater = updater.with_config(config).with_store(Arc::clone(&store));
        Ok(Self { metadata_url: metadata_url.to_owned(), store, updater, _lock: lock })
    }

    /// Brings root, timestamp, snapshot and targets up to date (§5.3 to §5.6).
    pub async fn refresh(&mut self, now: Timestamp) -> Result<(), TufError> {
        let result = self.updater.refresh(now).await;
        self.kept(result)
    }

    /// Finds a target among the roles that may speak for it, and brings it into `target_dir` (§5.6.7, §5.7). A file that is there
    /// already and has the right digest is not fetched again. Needs [`Self::refresh`] first.
    pub async fn download(&mut self, name: &str, target_dir: &Path, now: Timestamp) -> Result<Downloaded, TufError> {
        let path = target_dir.join(local_name(name));
        self.store.target().replace(path.clone());
        self.store.written().clear();
        let result = self.updater.get_target(name, now).await.map(drop);
        self.kept(result)?;
        let fetched = !self.store.written().is_empty();
        Ok(Downloaded { path, fetched })
    }

    /// The versions that are trusted now, by role: root, timestamp, snapshot, targets; 0 for what is not known yet.
    pub fn versions(&self) -> [u64; 4] {
        let set = self.updater.trusted();
        let timestamp = set.timestamp().map_or(0, |role| role.version);
        let snapshot = set.snapshot().map_or(0, |role| role.version);
        [set.root().version, timestamp, snapshot, set.targets_role("targets").map_or(0, |role| role.version)]
    }

    /// Names and lengths of the targets that the top-level role lists.
    pub fn targets(&self) -> Vec<(String, u64)> {
        let role = self.updater.trusted().targets_role("targets");
        role.map(|role| role.targets.iter().map(|(name, file)| (name.clone(), file.length)).collect()).unwrap_or_default()
    }

    /// A result of the workflow, which goes on when something is not kept: here that is a failure.
    fn kept<T>(&self, result: WorkflowResult<T>) -> Result<T, TufError> {
        let refusal = self.store.refusal().take();
        let value = result.map_err(|e| explain(e, &self.metadata_url, None))?;
        match refusal {
            Some(Refusal::Disk(error)) => Err(error.into()),
            Some(Refusal::Rollback(why)) => Err(TufError::Rejected { mirror: self.metadata_url.clone(), why }),
            None => Ok(value),
        }
    }
}

/// Metadata from one place, targets from another.
struct Split {
    metadata: Source,
    targets: Source,
}

impl sigstore_tuf::Repository for Split {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        self.metadata.fetch_metadata(name, max_length)
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        self.targets.fetch_metadata(path, max_length)
    }
}

/// The directory, and the place of the target that is asked for right now.
#[derive(Debug)]
struct Trusted {
    dir: PathBuf,
    target: Mutex<Option<PathBuf>>,
    written: Mutex<Vec<PathBuf>>,
    refusal: Mutex<Option<Refusal>>,
}

/// Why something was not kept, and nothing after it.
#[derive(Debug)]
enum Refusal {
    Disk(CacheError),
    Rollback(String),
}

impl Trusted {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), target: Mutex::default(), written: Mutex::default(), refusal: Mutex::default() }
    }

    fn target(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a name that the workflow uses; nothing for what is not kept here: earlier roots, and the second copy of a snapshot
    /// under its versioned name.
    fn path(&self, name: &str) -> Option<PathBuf> {
        if name.starts_with("targets/") {
            return self.target().clone();
        }
        let versioned = name.strip_suffix(".snapshot.json").is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()));
        (!versioned && !name.contains('/')).then(|| self.dir.join(name))
    }

    /// What of the trusted snapshot a new one takes back (§5.5.5).
    ///
    /// The workflow compares with a kept snapshot only if the kept timestamp still names it. Where an earlier run ended between the
    /// two, it does not, and a second attempt at a rollback that was refused once would pass.
    fn rolled_back(&self, new: &[u8]) -> Option<String> {
        let read = |name: &str| read_bounded(&self.dir.join(name), limit_of_metadata()).ok().flatten();
        let old = Metadata::<Snapshot>::from_slice(&read("snapshot.json")?).ok()?;
        let root = Metadata::<Root>::from_slice(&read("root.json")?).ok()?;
        // Under new keys everything starts anew: that is how an owner ends a fast-forward attack.
        old.verify_threshold(&root.signed().keys, root.signed().role("snapshot")?, "snapshot").ok()?;
        let new = Metadata::<Snapshot>::from_slice(new).ok()?;
        old.signed().meta.iter().find_map(|(name, old)| match new.signed().meta.get(name) {
            None => Some(format!("the snapshot removes {name}, which the trusted snapshot names")),
            Some(new) if new.version < old.version => Some(format!(
                "rollback detected for {name} (via snapshot): trusted version {} > new version {}",
                old.version, new.version
            )),
            Some(_) => None,
        })
    }

    fn refuse(&self, refusal: Refusal) -> WorkflowResult<()> {
        // The workflow only logs what is returned here.
        let returned = match &refusal {
            Refusal::Disk(error) => WorkflowError::transport(error.to_string()),
            Refusal::Rollback(why) => WorkflowError::IntegrityMismatch(why.clone()),
        };
        self.refusal().get_or_insert(refusal);
        Err(returned)
    }
}

impl MetadataStore for Trusted {
    fn load(&self, name: &str) -> WorkflowResult<Option<Vec<u8>>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let limit = if name.starts_with("targets/") { TARGET_BYTES } else { limit_of_metadata() };
        // What is too large to be right is as good as not there.
        Ok(read_bounded(&path, limit).unwrap_or_default())
    }

    fn store(&self, name: &str, bytes: &[u8]) -> WorkflowResult<()> {
        let Some(path) = self.path(name) else { return Ok(()) };
        if self.refusal().is_some() {
            return Err(WorkflowError::transport("an earlier file was not kept"));
        }
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        if name == "snapshot.json"
            && let Some(why) = self.rolled_back(bytes)
        {
            return self.refuse(Refusal::Rollback(why));
        }
        match write_atomically(&path, bytes) {
            Ok(()) => self.written().push(path),
            Err(error) => return self.refuse(Refusal::Disk(error)),
        }
        Ok(())
    }
}

fn limit_of_metadata() -> u64 {
    u64::try_from(limits::TUF_BYTES).unwrap_or(u64::MAX)
}

/// Where a target lies below its directory: under its own name, sub-directories and all; under its percent-encoded name if that
/// would lead elsewhere.
fn local_name(name: &str) -> PathBuf {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\']);
    if name.split('/').all(plain) {
        return name.split('/').collect();
    }
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect::<String>().into()
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
