//! A TUF repository that people keep: roots signed by several holders, changes prepared, signed and published in steps.
//!
//! ```text
//! DIR/
//!   settings.json          how long each role's metadata is valid
//!   staged/root.json       the next root, while it is being signed
//!   staged/targets.json    the next targets, and below staged/targets/ the files they name
//!   publications/N/        every state that was published, complete; the newest two are kept
//!   published              a symbolic link to the newest: what a mirror serves
//! ```
//!
//! Nothing but files travels between holders: a staged document is copied to a holder, signed there ([`sign_document`]), and its
//! signatures are taken over here ([`Ceremony::import`]). Private keys never lie in the directory.
//!
//! A publication is made beside the published one and becomes it by the renaming of one link. A root and a timestamp that only
//! verify together thus change together, and a crash at any point leaves the last state served whole.
//!
//! Deliberately absent: delegations, and thresholds over several machines for snapshot and timestamp, whose keys are needed at every
//! publication and so are online anyway.

mod disk;
mod edit;
mod error;
mod publish;
mod sign;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::disk::Disk;
pub use self::{
    edit::Edited,
    error::{CeremonyError, Unsigned},
    publish::{Published, Signers},
    sign::{Signature, sign_document},
    status::{KeyStatus, RoleStatus, Signing, StagedStatus, Status, TargetStatus, describe},
};
use super::{Envelope, Role, RoleKeys, Root};

const SETTINGS: &str = "settings.json";
const PUBLISHED: &str = "published";
const PUBLICATIONS: &str = "publications";
const STAGED: &str = "staged";

/// How long the metadata of each role is valid from its signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity(BTreeMap<Role, SignedDuration>);

impl Default for Validity {
    /// A year for what people sign, a month and a week for what machines sign.
    fn default() -> Self {
        let days = [(Role::Root, 365), (Role::Targets, 365), (Role::Snapshot, 30), (Role::Timestamp, 7)];
        Self(days.map(|(role, days)| (role, SignedDuration::from_hours(24 * days))).into())
    }
}

impl Validity {
    /// The same, but for one role.
    pub fn with(mut self, role: Role, duration: SignedDuration) -> Self {
        self.0.insert(role, duration);
        self
    }

    /// That of a role.
    pub fn of(&self, role: Role) -> SignedDuration {
        self.0.get(&role).copied().unwrap_or_default()
    }

    /// When metadata of a role ends that is signed now. Whole seconds: the format has no fraction.
    fn from(&self, role: Role, now: Timestamp) -> Timestamp {
        let end = now.saturating_add(self.of(role)).unwrap_or(Timestamp::MAX);
        Timestamp::from_second(end.as_second()).unwrap_or(end)
    }

    fn to_json(&self) -> Value {
        let seconds: BTreeMap<_, _> = self.0.iter().map(|(role, duration)| (role.name(), duration.as_secs())).collect();
        json!({"valid_seconds": seconds})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let seconds = |role: Role| value["valid_seconds"][role.name()].as_i64().filter(|n| *n > 0);
        let duration = |role| seconds(role).map(|n| (role, SignedDuration::from_secs(n)));
        Role::ALL.into_iter().map(duration).collect::<Option<_>>().map(Self)
    }
}

/// The directory of a repository. Held exclusively: two people who change it at the same time would undo each other's work.
#[derive(Debug)]
pub struct Ceremony {
    dir: PathBuf,
    disk: Disk,
    validity: Validity,
    published: Option<State>,
    _lock: File,
}

/// What clients see: documents, parsed, and the number of the publication.
#[derive(Debug, Clone)]
struct State {
    number: u64,
    root: Root,
    root_document: Envelope,
    targets: Envelope,
    snapshot: Envelope,
    timestamp: Envelope,
}

impl Ceremony {
    /// Begins a repository: stages its first root, with these keys, and targets without files. Both are then to be signed.
    pub fn create(
        dir: &Path,
        roles: BTreeMap<Role, RoleKeys>,
        validity: Validity,
        now: Timestamp,
    ) -> Result<Self, CeremonyError> {
        let disk = Disk::default();
        disk.create_dir(dir)?;
        let lock = disk.lock(dir)?;
        if disk.exists(&dir.join(SETTINGS)) {
            return Err(CeremonyError::Exists(dir.to_owned()));
        }
        let root = Root { version: 1, expires: validity.from(Role::Root, now), roles };
        edit::check(&root)?;
        let ceremony = Self { dir: dir.to_owned(), disk, validity, published: None, _lock: lock };
        ceremony.stage(Role::Root, &Envelope::new(root.to_json()))?;
        let targets = super::metadata::targets(1, ceremony.validity.from(Role::Targets, now), json!({}));
        ceremony.stage(Role::Targets, &Envelope::new(targets))?;
        // Written last: a directory without it has not begun.
        let settings = serde_json::to_vec_pretty(&ceremony.validity.to_json()).unwrap_or_default();
        ceremony.disk.write(&dir.join(SETTINGS), &settings)?;
        Ok(ceremony)
    }

    /// Opens a repository, and clears away what a publication that was interrupted left behind.
    pub fn open(dir: &Path) -> Result<Self, CeremonyError> {
        Self::open_on(dir, Disk::default())
    }

    fn open_on(dir: &Path, disk: Disk) -> Result<Self, CeremonyError> {
        let path = dir.join(SETTINGS);
        if !disk.exists(&path) {
            return Err(CeremonyError::NoRepository(dir.to_owned()));
        }
        let lock = disk.lock(dir)?;
        let settings = disk.read(&path)?.unwrap_or_default();
        let settings: Value = serde_json::from_slice(&settings).unwrap_or_default();
        let validity = Validity::from_json(&settings);
        let validity = validity.ok_or_else(|| CeremonyError::malformed(&path, "it does not say how long each role is valid"))?;
        let published = State::load(dir, &disk)?;
        let ceremony = Self { dir: dir.to_owned(), disk, validity, published, _lock: lock };
        ceremony.clear_away()?;
        Ok(ceremony)
    }

    /// What a mirror serves: a link to the newest publication.
    pub fn published_dir(&self) -> PathBuf {
        self.dir.join(PUBLISHED)
    }

    /// The number of the newest publication.
    pub fn publication(&self) -> Option<u64> {
        self.published.as_ref().map(|state| state.number)
    }

    fn staged_file(&self, role: Role) -> PathBuf {
        self.dir.join(STAGED).join(format!("{}.json", role.name()))
    }

    fn stage(&self, role: Role, document: &Envelope) -> Result<(), CeremonyError> {
        self.disk.create_dir(&self.dir.join(STAGED))?;
        self.disk.write(&self.staged_file(role), &document.to_bytes())
    }

    fn staged(&self, role: Role) -> Result<Option<Envelope>, CeremonyError> {
        let path = self.staged_file(role);
        self.disk.read(&path)?.map(|bytes| parse(&path, &bytes)).transpose()
    }

    fn staged_root(&self) -> Result<Option<(Root, Envelope)>, CeremonyError> {
        let Some(document) = self.staged(Role::Root)? else { return Ok(None) };
        let root = root_of(&self.staged_file(Role::Root), &document)?;
        Ok(Some((root, document)))
    }

    /// The root that will be in force after the next publication.
    fn coming_root(&self) -> Result<Root, CeremonyError> {
        match (self.staged_root()?, &self.published) {
            (Some((root, _)), _) => Ok(root),
            (None, Some(state)) => Ok(state.root.clone()),
            (None, None) => {
                Err(CeremonyError::malformed(&self.staged_file(Role::Root), "it is missing, and nothing is published"))
            }
        }
    }

    /// Removes what was published already but is still staged, and publications that were never finished.
    fn clear_away(&self) -> Result<(), CeremonyError> {
        let Some(state) = &self.published else { return Ok(()) };
        for (role, published) in [(Role::Root, &state.root_document), (Role::Targets, &state.targets)] {
            if self.staged(role)?.is_some_and(|staged| staged.signed() == published.signed()) {
                self.unstage(role)?;
            }
        }
        self.disk.prune(&self.dir.join(PUBLICATIONS), state.number)
    }

    fn unstage(&self, role: Role) -> Result<(), CeremonyError> {
        self.disk.remove(&self.staged_file(role))?;
        if role == Role::Targets {
            self.disk.remove_dir(&self.dir.join(STAGED).join("targets"))?;
        }
        Ok(())
    }
}

impl State {
    /// What the link leads to; nothing before the first publication.
    fn load(dir: &Path, disk: &Disk) -> Result<Option<Self>, CeremonyError> {
        let published = dir.join(PUBLISHED);
        let Some(number) = disk.link(&published)? else { return Ok(None) };
        let read = |name: String| -> Result<Envelope, CeremonyError> {
            let path = published.join(name);
            let missing = || CeremonyError::malformed(&path, "it is missing from what is published");
            parse(&path, &disk.read(&path)?.ok_or_else(missing)?)
        };
        let root_document = read("root.json".into())?;
        let root = root_of(&published.join("root.json"), &root_document)?;
        let timestamp = read("timestamp.json".into())?;
        let snapshot = read(format!("{}.snapshot.json", named(&timestamp, "snapshot.json")))?;
        let targets = read(format!("{}.targets.json", named(&snapshot, "targets.json")))?;
        Ok(Some(Self { number, root, root_document, targets, snapshot, timestamp }))
    }
}

/// The version of `file` that a document names.
fn named(outer: &Envelope, file: &str) -> u64 {
    outer.signed()["meta"][file]["version"].as_u64().unwrap_or_default()
}

fn version(document: &Envelope) -> u64 {
    document.version().unwrap_or_default()
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Envelope, CeremonyError> {
    Envelope::parse(&path.display().to_string(), bytes).map_err(|e| CeremonyError::malformed(path, e))
}

fn root_of(path: &Path, document: &Envelope) -> Result<Root, CeremonyError> {
    Root::from_json(&path.display().to_string(), document.signed()).map_err(|e| CeremonyError::malformed(path, e))
}
