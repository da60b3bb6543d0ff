//! The stack's repository: publishes targets, and signs anew what is about to expire.
//!
//! On disk it is what a mirror serves. Every publication goes from the inside out (target files, targets, snapshot, timestamp) and the
//! timestamp, replaced atomically, is the commit: whatever lies beside it after a crash is not referred to and is written again.
//! Not here: several keys per role, delegations, key rotation; the documents of [`super::metadata`] allow them.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Envelope, Role, RoleKeys, Root, Signer, Target, TufError,
    metadata::{snapshot, target_entries, targets, timestamp},
};
use crate::files::Tree;

/// How long metadata is valid from its signing. It is signed anew after half of that.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Root and targets.
    pub root: SignedDuration,
    /// Snapshot.
    pub snapshot: SignedDuration,
    /// Timestamp: how long a client may be kept on old metadata by someone who controls its network.
    pub timestamp: SignedDuration,
}

impl Default for Lifetimes {
    /// A year, a month, a week: a client that was shown a frozen mirror notices within the week.
    fn default() -> Self {
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        Self { root: days(365), snapshot: days(30), timestamp: days(7) }
    }
}

impl Lifetimes {
    fn of(&self, role: Role) -> SignedDuration {
        match role {
            Role::Root | Role::Targets => self.root,
            Role::Snapshot => self.snapshot,
            Role::Timestamp => self.timestamp,
        }
    }
}

/// One signer for each role.
#[derive(Debug, Clone)]
pub struct RoleSigners {
    /// Signs roots.
    pub root: Arc<dyn Signer>,
    /// Signs targets.
    pub targets: Arc<dyn Signer>,
    /// Signs snapshots.
    pub snapshot: Arc<dyn Signer>,
    /// Signs timestamps.
    pub timestamp: Arc<dyn Signer>,
}

impl RoleSigners {
    fn of(&self, role: Role) -> &dyn Signer {
        match role {
            Role::Root => &*self.root,
            Role::Targets => &*self.targets,
            Role::Snapshot => &*self.snapshot,
            Role::Timestamp => &*self.timestamp,
        }
    }

    fn keys(&self) -> BTreeMap<Role, RoleKeys> {
        let keys = |role| RoleKeys { keys: vec![self.of(role).public_key().clone()], threshold: 1 };
        Role::ALL.into_iter().map(|role| (role, keys(role))).collect()
    }
}

/// A repository on disk, served from memory.
#[derive(Debug)]
pub struct Repository {
    tree: Tree,
    signers: RoleSigners,
    lifetimes: Lifetimes,
    // Held while publishing: versions count up one at a time.
    current: Mutex<Current>,
    served: RwLock<BTreeMap<String, Bytes>>,
}

/// The metadata in force; a role is missing only before the first publication.
#[derive(Debug, Clone, Default)]
struct Current {
    root: Option<Signed>,
    targets: Option<Signed>,
    snapshot: Option<Signed>,
    timestamp: Option<Signed>,
}

#[derive(Debug, Clone)]
struct Signed {
    version: u64,
    expires: Timestamp,
    bytes: Bytes,
    signed: Value,
}

impl Repository {
    /// Opens the repository in `tree`, empty if new.
    pub(crate) fn open(tree: Tree, signers: RoleSigners, lifetimes: Lifetimes) -> Result<Self, TufError> {
        let current = load(&tree)?;
        check_keys(&current, &signers)?;
        let served = load_served(&tree)?;
        Ok(Self { tree, signers, lifetimes, current: Mutex::new(current), served: RwLock::new(served) })
    }

    /// Makes `files` the repository's targets, and signs whatever that or the time `now` makes necessary.
    pub fn publish(&self, files: &[Target], now: Timestamp) -> Result<(), TufError> {
        let mut current = self.lock();
        self.renew_root(&mut current, now)?;
        let entries = target_entries(files);
        let unchanged = current.targets.as_ref().is_some_and(|targets| targets.signed["targets"] == entries);
        if unchanged && !self.is_due(current.targets.as_ref(), Role::Targets, now) {
            return self.renew_outer(&mut current, now);
        }
        for file in files {
            self.write(&file.path(), Bytes::copy_from_slice(&file.content))?;
        }
        self.publish_targets(&mut current, entries, now)
    }

    /// Signs anew what has used up half of its life. To be called at start and every so often.
    pub fn refresh(&self, now: Timestamp) -> Result<(), TufError> {
        let mut current = self.lock();
        self.renew_root(&mut current, now)?;
        match &current.targets {
            None => Ok(()),
            Some(targets) if self.is_due(Some(targets), Role::Targets, now) => {
                let entries = targets.signed["targets"].clone();
                self.publish_targets(&mut current, entries, now)
            }
            Some(_) => self.renew_outer(&mut current, now),
        }
    }

    /// A file as a mirror serves it.
    pub fn file(&self, name: &str) -> Option<Bytes> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The newest root.
    pub fn root(&self) -> Option<Bytes> {
        self.lock().root.as_ref().map(|root| root.bytes.clone())
    }

    /// Version and expiry of every role's metadata in force.
    pub fn expiries(&self) -> Vec<(Role, u64, Timestamp)> {
        let current = self.lock();
        let of = |role| current.of(role).map(|signed| (role, signed.version, signed.expires));
        Role::ALL.into_iter().filter_map(of).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // A panic while publishing leaves `current` as it was: it is only replaced by what is already on disk.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, signed: Option<&Signed>, role: Role, now: Timestamp) -> bool {
        signed.is_none_or(|signed| now + self.lifetimes.of(role) / 2 >= signed.expires)
    }

    /// A new root is in force as soon as it lies there: clients look for the next number.
    fn renew_root(&self, current: &mut Current, now: Timestamp) -> Result<(), TufError> {
        if !self.is_due(current.root.as_ref(), Role::Root, now) {
            return Ok(());
        }
        let version = next(current.root.as_ref());
        let root = Root { version, expires: now + self.lifetimes.root, roles: self.signers.keys() };
        let root = self.sign(Role::Root, root.to_json())?;
        self.write(&format!("{version}.root.json"), root.bytes.clone())?;
        current.root = Some(root);
        Ok(())
    }

    fn publish_targets(&self, current: &mut Current, entries: Value, now: Timestamp) -> Result<(), TufError> {
        let version = next(current.targets.as_ref());
        let document = self.sign(Role::Targets, targets(version, now + self.lifetimes.root, entries))?;
        self.write(&format!("{version}.targets.json"), document.bytes.clone())?;
        let mut renewed = Current { targets: Some(document), ..current.clone() };
        self.publish_snapshot(&mut renewed, now)?;
        *current = renewed;
        Ok(())
    }

    fn renew_outer(&self, current: &mut Current, now: Timestamp) -> Result<(), TufError> {
        if self.is_due(current.snapshot.as_ref(), Role::Snapshot, now) {
            return self.publish_snapshot(current, now);
        }
        if self.is_due(current.timestamp.as_ref(), Role::Timestamp, now) {
            return self.publish_timestamp(current, now);
        }
        Ok(())
    }

    fn publish_snapshot(&self, current: &mut Current, now: Timestamp) -> Result<(), TufError> {
        let Some(targets) = &current.targets else { return Ok(()) };
        let version = next(current.snapshot.as_ref());
        let document = snapshot(version, now + self.lifetimes.snapshot, targets.version, &targets.bytes);
        let document = self.sign(Role::Snapshot, document)?;
        self.write(&format!("{version}.snapshot.json"), document.bytes.clone())?;
        let mut renewed = Current { snapshot: Some(document), ..current.clone() };
        self.publish_timestamp(&mut renewed, now)?;
        *current = renewed;
        Ok(())
    }

    fn publish_timestamp(&self, current: &mut Current, now: Timestamp) -> Result<(), TufError> {
        let Some(snapshot) = &current.snapshot else { return Ok(()) };
        let version = next(current.timestamp.as_ref());
        let document = timestamp(version, now + self.lifetimes.timestamp, snapshot.version, &snapshot.bytes);
        let document = self.sign(Role::Timestamp, document)?;
        self.write("timestamp.json", document.bytes.clone())?;
        current.timestamp = Some(document);
        Ok(())
    }

    fn sign(&self, role: Role, document: Value) -> Result<Signed, TufError> {
        let mut envelope = Envelope::new(document);
        envelope.sign(self.signers.of(role))?;
        Signed::of(role.name(), &envelope, envelope.to_bytes().into())
    }

    fn write(&self, name: &str, bytes: Bytes) -> Result<(), TufError> {
        self.tree.write(name, &bytes).map_err(at(name))?;
        self.served.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes);
        Ok(())
    }
}

impl Current {
    fn of(&self, role: Role) -> Option<&Signed> {
        match role {
            Role::Root => self.root.as_ref(),
            Role::Targets => self.targets.as_ref(),
            Role::Snapshot => self.snapshot.as_ref(),
            Role::Timestamp => self.timestamp.as_ref(),
        }
    }
}

impl Signed {
    fn of(file: &str, envelope: &Envelope, bytes: Bytes) -> Result<Self, TufError> {
        let field = |field: &str| TufError::Corrupt { file: file.to_owned(), why: format!("'{field}' is missing or malformed") };
        let version = envelope.version().ok_or_else(|| field("version"))?;
        let expires = envelope.expires().ok_or_else(|| field("expires"))?;
        Ok(Self { version, expires, bytes, signed: envelope.signed().clone() })
    }
}

fn next(signed: Option<&Signed>) -> u64 {
    signed.map_or(1, |signed| signed.version + 1)
}

/// What is in force: the highest root, and what the timestamp leads to.
fn load(tree: &Tree) -> Result<Current, TufError> {
    let mut current = Current::default();
    let mut version = 1;
    while let Some(root) = read(tree, &format!("{version}.root.json"))? {
        current.root = Some(root);
        version += 1;
    }
    current.timestamp = read(tree, "timestamp.json")?;
    let Some(timestamp) = &current.timestamp else { return Ok(current) };
    let snapshot = named(tree, timestamp, Role::Snapshot)?;
    current.targets = Some(named(tree, &snapshot, Role::Targets)?);
    current.snapshot = Some(snapshot);
    Ok(current)
}

/// The metadata of `role` that `outer` names.
fn named(tree: &Tree, outer: &Signed, role: Role) -> Result<Signed, TufError> {
    let version = outer.signed["meta"][format!("{}.json", role.name())]["version"].as_u64().unwrap_or(0);
    let file = format!("{version}.{}.json", role.name());
    read(tree, &file)?.ok_or_else(|| TufError::Corrupt { file, why: "it is referred to, but it is not there".into() })
}

fn read(tree: &Tree, file: &str) -> Result<Option<Signed>, TufError> {
    let Some(bytes) = tree.read(file).map_err(at(file))? else { return Ok(None) };
    let envelope = Envelope::parse(file, &bytes)?;
    Signed::of(file, &envelope, bytes.into()).map(Some)
}

/// A root that names other keys than ours would make everything we sign invalid: better said here than by every client.
fn check_keys(current: &Current, signers: &RoleSigners) -> Result<(), TufError> {
    let Some(root) = &current.root else { return Ok(()) };
    for role in Role::ALL {
        let id = signers.of(role).public_key().id();
        let named = root.signed["roles"][role.name()]["keyids"].as_array();
        if !named.is_some_and(|ids| ids.iter().any(|named| named == id)) {
            let why = format!("it does not name the {} key in this directory ({id})", role.name());
            return Err(TufError::Corrupt { file: format!("{}.root.json", root.version), why });
        }
    }
    Ok(())
}

fn load_served(tree: &Tree) -> Result<BTreeMap<String, Bytes>, TufError> {
    let mut served = BTreeMap::new();
    for (dir, prefix) in [("", ""), ("targets", "targets/")] {
        for name in tree.list(dir).map_err(at(dir))? {
            let name = format!("{prefix}{name}");
            // `targets` itself is a directory.
            if tree.size(&name).map_err(at(&name))?.is_some()
                && let Some(bytes) = tree.read(&name).map_err(at(&name))?
            {
                served.insert(name, bytes.into());
            }
        }
    }
    Ok(served)
}

fn at(file: &str) -> impl Fn(io::Error) -> TufError + use<> {
    let file = file.to_owned();
    move |source| TufError::File { file: file.clone(), source }
}

#[cfg(test)]
mod tests;
