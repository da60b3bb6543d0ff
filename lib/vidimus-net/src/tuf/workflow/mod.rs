//! The client workflow (specification 1.0, §5): what is fetched when, what is kept, and where a target is looked for.
//!
//! The rules are in `trusted`, the documents in `document`. Whatever passes is kept at once: a run that stops half-way leaves a new root
//! trusted although the timestamp after it was refused.

mod delegation;
mod document;
mod trusted;

use std::collections::BTreeSet;

use jiff::Timestamp;

use self::{
    document::{Document, Refused, Snapshot, Target, Targets, TimestampRole},
    trusted::{News, Trusted},
};
use super::{
    TufError,
    layout::CacheError,
    source::{Fault, Source},
};

/// Limits of single files, and of how far a search goes: python-tuf's, so that what a repository can serve to it works here, too.
const ROOT_BYTES: u64 = 512_000;
const TIMESTAMP_BYTES: u64 = 16_384;
const SNAPSHOT_BYTES: u64 = 2_000_000;
const TARGETS_BYTES: u64 = 5_000_000;
/// Most roots walked in one refresh. They rotate a few times a year; the next refresh goes on from here.
const ROOTS: u64 = 256;
/// Most roles that are asked for one target: `targets`, and 32 that it delegates to.
const ROLES: usize = 33;

/// Where trusted files are kept, by the names of their roles: `root.json`, `ROLE.json` (percent-encoded), `root_history/N.root.json`.
pub(super) trait Store {
    /// What was kept; nothing if it cannot be read, which is as good as not there.
    fn load(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps a file that has passed.
    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), CacheError>;
    /// Stops trusting `timestamp.json` and `snapshot.json`.
    fn drop_floors(&mut self) -> Result<(), CacheError>;
}

/// One repository, and what is trusted of it.
#[derive(Debug)]
pub(super) struct Workflow<S> {
    mirror: String,
    metadata: Source,
    targets: Source,
    trusted: Trusted,
    pub store: S,
}

impl<S: Store> Workflow<S> {
    /// Starts from a root that is trusted on somebody's word, and from those that were kept after it. Asks nobody.
    pub(super) fn start(mirror: &str, metadata: Source, targets: Source, root: &[u8], store: S) -> Result<Self, TufError> {
        let trusted = Trusted::new(root).map_err(|e| refused(mirror, e))?;
        let mut workflow = Self { mirror: mirror.to_owned(), metadata, targets, trusted, store };
        let mut newest = root.to_vec();
        while let Some(bytes) = workflow.store.load(&format!("root_history/{}.root.json", workflow.next_root())) {
            let Ok(next) = workflow.trusted.next_root(&bytes) else { break };
            workflow.trusted.adopt(next);
            newest = bytes;
        }
        workflow.keep_root(&newest)?;
        Ok(workflow)
    }

    pub(super) fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Brings root, timestamp, snapshot and targets up to date (§5.3 to §5.6.6).
    pub(super) async fn refresh(&mut self, now: Timestamp) -> Result<(), TufError> {
        self.trusted.start_over();
        self.refresh_root().await?;
        self.trusted.check_root(now).map_err(|e| refused(&self.mirror, e))?;
        self.refresh_timestamp(now).await?;
        self.refresh_snapshot(now).await?;
        self.load_targets("targets", "root", now).await
    }

    fn next_root(&self) -> u64 {
        self.trusted.versions()[0].saturating_add(1)
    }

    async fn refresh_root(&mut self) -> Result<(), TufError> {
        for _ in 0..ROOTS {
            let fetched = self.metadata.fetch_root(self.next_root(), ROOT_BYTES).await;
            let Some(bytes) = fetched.map_err(|e| faulty(&self.mirror, e))? else { break };
            let next = self.trusted.next_root(&bytes).map_err(|e| refused(&self.mirror, e))?;
            // §5.3.11. Before the root is kept: a run that ended between the two would leave the floors of an attacker in force.
            if next.rotated {
                self.store.drop_floors()?;
            }
            self.trusted.adopt(next);
            self.keep_root(&bytes)?;
        }
        Ok(())
    }

    fn keep_root(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        let version = self.trusted.versions()[0];
        self.store.keep(&format!("root_history/{version}.root.json"), bytes)?;
        Ok(self.store.keep("root.json", bytes)?)
    }

    async fn refresh_timestamp(&mut self, now: Timestamp) -> Result<(), TufError> {
        if let Some(own) = self.store.load("timestamp.json") {
            // What is no good of one's own is fetched again.
            let _ = self.trusted.timestamp_floor(&own);
        }
        let bytes = self.fetch("timestamp.json", TIMESTAMP_BYTES).await?;
        match self.trusted.update_timestamp(&bytes, now).map_err(|e| refused(&self.mirror, e))? {
            News::Newer => Ok(self.store.keep("timestamp.json", &bytes)?),
            News::Same => Ok(()),
        }
    }

    async fn refresh_snapshot(&mut self, now: Timestamp) -> Result<(), TufError> {
        let pin = self.trusted.snapshot_pin(now).cloned().map_err(|e| refused(&self.mirror, e))?;
        if let Some(own) = self.store.load("snapshot.json")
            && self.trusted.snapshot_floor(&own, now) == Ok(true)
        {
            return Ok(());
        }
        let name = self.versioned(pin.version(), "snapshot");
        let bytes = self.fetch(&name, pin.length.unwrap_or(SNAPSHOT_BYTES).min(SNAPSHOT_BYTES)).await?;
        self.trusted.update_snapshot(&bytes, now).map_err(|e| refused(&self.mirror, e))?;
        Ok(self.store.keep("snapshot.json", &bytes)?)
    }

    /// Makes a targets role a trusted one: from what was kept if that is what the snapshot names, from the mirror otherwise.
    async fn load_targets(&mut self, role: &str, delegator: &str, now: Timestamp) -> Result<(), TufError> {
        if self.trusted.has(role, delegator) {
            return Ok(());
        }
        let kept = format!("{}.json", encode(role));
        if let Some(own) = self.store.load(&kept)
            && self.trusted.update_targets(&own, role, delegator, now).is_ok()
        {
            return Ok(());
        }
        let pin = self.trusted.targets_pin(role).cloned().map_err(|e| refused(&self.mirror, e))?;
        let name = self.versioned(pin.version(), &encode(role));
        let bytes = self.fetch(&name, pin.length.unwrap_or(TARGETS_BYTES).min(TARGETS_BYTES)).await?;
        self.trusted.update_targets(&bytes, role, delegator, now).map_err(|e| refused(&self.mirror, e))?;
        Ok(self.store.keep(&kept, &bytes)?)
    }

    /// Finds what the first role that speaks for a target says about it: a walk in pre-order, depth first (§5.6.7). Needs
    /// [`Self::refresh`] first. A role that cannot be had ends the walk: those after it are trusted less.
    pub(super) async fn find(&mut self, name: &str, now: Timestamp) -> Result<Target, TufError> {
        let mut visited = BTreeSet::new();
        // The next one to visit is the last.
        let mut waiting = vec![("targets".to_owned(), "root".to_owned())];
        while let Some((role, delegator)) = waiting.pop() {
            if visited.len() >= ROLES {
                break;
            }
            if visited.contains(&role) {
                continue;
            }
            self.load_targets(&role, &delegator, now).await?;
            if let Some(target) = self.trusted.target(&role, name) {
                return Ok(target.clone());
            }
            let delegations = self.trusted.targets(&role).and_then(|targets| targets.delegations.as_ref());
            let asked = delegations.map(|delegations| delegations.roles_for(name)).unwrap_or_default();
            if asked.iter().any(|ask| ask.terminating) {
                waiting.clear();
            }
            waiting.extend(asked.into_iter().rev().map(|ask| (ask.role, role.clone())));
            visited.insert(role);
        }
        Err(TufError::NoTarget { mirror: self.mirror.clone(), target: name.to_owned() })
    }

    /// Fetches a target that [`Self::find`] has found, up to the length that was signed, and checks it (§5.7.3).
    pub(super) async fn fetch_target(&self, name: &str, target: &Target, limit: u64) -> Result<Vec<u8>, TufError> {
        if target.length > limit {
            let why = format!("{name} has {} bytes, more than the {limit} allowed", target.length);
            return Err(TufError::Rejected { mirror: self.mirror.clone(), why });
        }
        let (dir, file) = name.rsplit_once('/').map_or(("", name), |(dir, _)| name.split_at(dir.len() + 1));
        let path = match self.trusted.consistent_snapshot() {
            true => format!("{dir}{}.{file}", target.prefix()),
            false => name.to_owned(),
        };
        let fetched = self.targets.fetch(&path, target.length).await.map_err(|e| faulty(&self.mirror, e))?;
        let missing = || TufError::Incomplete { mirror: self.mirror.clone(), why: format!("target {path} is not there") };
        let bytes = fetched.ok_or_else(missing)?;
        target.fits(&bytes, name).map_err(|e| refused(&self.mirror, e))?;
        Ok(bytes)
    }

    fn versioned(&self, version: u64, role: &str) -> String {
        match self.trusted.consistent_snapshot() {
            true => format!("{version}.{role}.json"),
            false => format!("{role}.json"),
        }
    }

    async fn fetch(&self, name: &str, limit: u64) -> Result<Vec<u8>, TufError> {
        let fetched = self.metadata.fetch(name, limit).await.map_err(|e| faulty(&self.mirror, e))?;
        fetched.ok_or_else(|| TufError::Incomplete { mirror: self.mirror.clone(), why: format!("{name} is not there") })
    }
}

/// The file name of a role: everything that could mean something else in a path or a URL is percent-encoded.
pub(super) fn encode(role: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    role.bytes().map(encoded).collect()
}

pub(super) fn refused(mirror: &str, why: Refused) -> TufError {
    let mirror = mirror.to_owned();
    match why {
        Refused::Because(why) => TufError::Rejected { mirror, why },
        Refused::Expired { role, expires } => TufError::Expired { mirror, role, expires },
    }
}

fn faulty(mirror: &str, fault: Fault) -> TufError {
    let mirror = mirror.to_owned();
    match fault {
        Fault::Http(why) => TufError::Unreachable { mirror, why, cached: None },
        Fault::Disk(error) => error.into(),
        Fault::Unusable(why) => TufError::Incomplete { mirror, why },
    }
}

/// Whether a root is signed by itself.
pub(super) fn check_root(root: &[u8], place: &str) -> Result<(), TufError> {
    Trusted::new(root).map(drop).map_err(|e| refused(place, e))
}

/// What every rule makes of one document after a root; for the fuzz targets.
pub(crate) fn judge(root: &[u8], next: &[u8], now: Timestamp) -> Option<Vec<bool>> {
    let mut trusted = Trusted::new(root).ok()?;
    let mut passed = vec![trusted.timestamp_floor(next).is_ok(), trusted.update_timestamp(next, now).is_ok()];
    passed.extend([trusted.snapshot_floor(next, now).is_ok(), trusted.update_snapshot(next, now).is_ok()]);
    passed.push(trusted.update_targets(next, "targets", "root", now).is_ok());
    if let Some(delegations) = trusted.targets("targets").and_then(|targets| targets.delegations.as_ref()) {
        passed.extend(delegations.roles_for("a/b.c").iter().map(|ask| delegations.speakers(&ask.role).is_some()));
    }
    // Documents of all kinds are read, whatever was refused before.
    passed.extend([Document::<TimestampRole>::read(next).is_ok(), Document::<Snapshot>::read(next).is_ok()]);
    let targets = Document::<Targets>::read(next).ok();
    passed.extend(targets.iter().flat_map(|d| &d.body.delegations).map(|d| d.roles_for("a/b.c").is_empty()));
    if let Ok(next) = trusted.next_root(next) {
        trusted.adopt(next);
    }
    Some(passed)
}
