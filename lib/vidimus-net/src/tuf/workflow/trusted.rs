//! What is trusted, and by which rules something else may take its place (specification 1.0, §5.3 to §5.6). No I/O, no clock.
//!
//! A document of one's own that has expired, or that the next one up no longer names, is still a floor: nothing older may follow it.
//! It is no more than that: what it says about others is used only if it passes as new.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::document::{Document, Pin, Refused, Role, Root, Snapshot, Target, Targets, TimestampRole};

type Result<T> = std::result::Result<T, Refused>;

/// The trusted documents of one repository.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    root: Document<Root>,
    timestamp: Option<Document<TimestampRole>>,
    snapshot: Option<Document<Snapshot>>,
    targets: BTreeMap<String, Loaded>,
}

/// A targets role, and through whom it was found right: two that delegate to it may name different keys.
#[derive(Debug, Clone)]
struct Loaded {
    document: Document<Targets>,
    delegators: BTreeSet<String>,
}

/// Whether something took the place of what was trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Newer,
    Same,
}

impl Trusted {
    /// Trusts a root on somebody's word, if it is signed by itself. Its expiry does not matter (§5.2).
    pub(crate) fn new(root: &[u8]) -> Result<Self> {
        let root = Document::<Root>::read(root)?;
        by_root(&root, &root, "root")?;
        Ok(Self { root, timestamp: None, snapshot: None, targets: BTreeMap::new() })
    }

    /// The next root, read and checked but not trusted yet (§5.3.4, §5.3.5).
    pub(crate) fn next_root(&self, bytes: &[u8]) -> Result<NextRoot> {
        let next = Document::<Root>::read(bytes)?;
        by_root(&next, &self.root, "root")?;
        by_root(&next, &next, "root")?;
        if self.root.version.checked_add(1) != Some(next.version) {
            let (trusted, new) = (self.root.version, next.version);
            return Err(Refused::Because(format!("root version must increment by one: trusted {trusted}, got {new}")));
        }
        let rotated = ["timestamp", "snapshot"].iter().any(|role| self.root.body.revokes(&next.body, role));
        Ok(NextRoot { root: next, rotated })
    }

    /// Trusts the next root. Everything below it has to pass again.
    pub(crate) fn adopt(&mut self, next: NextRoot) {
        *self = Self { root: next.root, timestamp: None, snapshot: None, targets: BTreeMap::new() };
    }

    /// Forgets all but the root.
    pub(crate) fn start_over(&mut self) {
        (self.timestamp, self.snapshot) = (None, None);
        self.targets.clear();
    }

    /// §5.3.10.
    pub(crate) fn check_root(&self, now: Timestamp) -> Result<()> {
        self.root.fresh("root", now)
    }

    /// A timestamp of one's own: the floor for the next.
    pub(crate) fn timestamp_floor(&mut self, bytes: &[u8]) -> Result<()> {
        let own = Document::read(bytes)?;
        by_root(&own, &self.root, "timestamp")?;
        self.timestamp = Some(own);
        Ok(())
    }

    /// §5.4.
    pub(crate) fn update_timestamp(&mut self, bytes: &[u8], now: Timestamp) -> Result<News> {
        let new = Document::<TimestampRole>::read(bytes)?;
        by_root(&new, &self.root, "timestamp")?;
        if let Some(trusted) = &self.timestamp {
            not_before("timestamp", trusted.version, new.version)?;
            if new.version == trusted.version {
                return Ok(News::Same);
            }
            not_before("snapshot (via timestamp)", trusted.body.snapshot().version(), new.body.snapshot().version())?;
        }
        new.fresh("timestamp", now)?;
        self.timestamp = Some(new);
        Ok(News::Newer)
    }

    /// What the timestamp says about the snapshot, if the timestamp is still valid.
    pub(crate) fn snapshot_pin(&self, now: Timestamp) -> Result<&Pin> {
        let timestamp = self.timestamp.as_ref().ok_or_else(|| Refused::because("there is no trusted timestamp"))?;
        timestamp.fresh("timestamp", now)?;
        Ok(timestamp.body.snapshot())
    }

    /// A snapshot of one's own: the floor for the next. Whether it is also the one that the timestamp names, and still valid.
    ///
    /// Its digest is not asked for: it had the right one when it was kept.
    pub(crate) fn snapshot_floor(&mut self, bytes: &[u8], now: Timestamp) -> Result<bool> {
        let own = Document::<Snapshot>::read(bytes)?;
        by_root(&own, &self.root, "snapshot")?;
        let current = own.version == self.snapshot_pin(now)?.version() && own.fresh("snapshot", now).is_ok();
        self.snapshot = Some(own);
        Ok(current)
    }

    /// §5.5.
    pub(crate) fn update_snapshot(&mut self, bytes: &[u8], now: Timestamp) -> Result<()> {
        let pin = self.snapshot_pin(now)?;
        pin.fits(bytes, "snapshot.json")?;
        let new = Document::<Snapshot>::read(bytes)?;
        by_root(&new, &self.root, "snapshot")?;
        as_pinned("snapshot", new.version, pin, "timestamp")?;
        for (name, trusted) in self.snapshot.iter().flat_map(|snapshot| &snapshot.body.meta) {
            let Some(new) = new.body.meta.get(name) else {
                return Err(Refused::Because(format!("the snapshot removes {name}, which the trusted snapshot names")));
            };
            not_before(&format!("{name} (via snapshot)"), trusted.version(), new.version())?;
        }
        new.fresh("snapshot", now)?;
        self.snapshot = Some(new);
        Ok(())
    }

    /// What the snapshot says about a targets role.
    pub(crate) fn targets_pin(&self, role: &str) -> Result<&Pin> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Refused::because("there is no trusted snapshot"))?;
        let missing = || Refused::Because(format!("the snapshot does not name {role}.json"));
        snapshot.body.meta.get(&format!("{role}.json")).ok_or_else(missing)
    }

    /// §5.6.2 to §5.6.5, for `targets` (which `root` delegates to) and every delegated role.
    pub(crate) fn update_targets(&mut self, bytes: &[u8], role: &str, delegator: &str, now: Timestamp) -> Result<()> {
        let pin = self.targets_pin(role)?;
        pin.fits(bytes, &format!("{role}.json"))?;
        let new = Document::<Targets>::read(bytes)?;
        match delegator {
            "root" => by_root(&new, &self.root, role)?,
            _ => self.by_delegator(&new, role, delegator)?,
        }
        as_pinned(role, new.version, pin, "snapshot")?;
        new.fresh(role, now)?;
        // Another delegator has vouched for what it saw, not for what is served under that name now.
        let same = self.targets.remove(role).filter(|loaded| loaded.document.says_the_same(&new));
        let mut delegators = same.map(|loaded| loaded.delegators).unwrap_or_default();
        delegators.insert(delegator.to_owned());
        self.targets.insert(role.to_owned(), Loaded { document: new, delegators });
        Ok(())
    }

    fn by_delegator(&self, new: &Document<Targets>, role: &str, delegator: &str) -> Result<()> {
        let delegations = self.targets(delegator).and_then(|targets| targets.delegations.as_ref());
        let speakers = delegations.and_then(|delegations| delegations.speakers(role));
        let (Some(delegations), Some(speakers)) = (delegations, speakers) else {
            return Err(Refused::Because(format!("{delegator} does not delegate to {role}")));
        };
        new.signed_by(&delegations.keys, speakers, role)
    }

    /// Whether a role is trusted by way of this delegator.
    pub(crate) fn has(&self, role: &str, delegator: &str) -> bool {
        self.targets.get(role).is_some_and(|loaded| loaded.delegators.contains(delegator))
    }

    /// A trusted targets role.
    pub(crate) fn targets(&self, role: &str) -> Option<&Targets> {
        self.targets.get(role).map(|loaded| &loaded.document.body)
    }

    /// What a trusted role says about a target.
    pub(crate) fn target(&self, role: &str, name: &str) -> Option<&Target> {
        self.targets(role)?.targets.get(name)
    }

    pub(crate) fn consistent_snapshot(&self) -> bool {
        self.root.body.consistent_snapshot
    }

    /// The versions of root, timestamp, snapshot and targets; 0 for what is not trusted yet.
    pub(crate) fn versions(&self) -> [u64; 4] {
        let timestamp = self.timestamp.as_ref().map_or(0, |role| role.version);
        let snapshot = self.snapshot.as_ref().map_or(0, |role| role.version);
        [self.root.version, timestamp, snapshot, self.targets.get("targets").map_or(0, |role| role.document.version)]
    }

    /// When the first of the four expires.
    pub(crate) fn expires(&self) -> Timestamp {
        let timestamp = self.timestamp.as_ref().map(Document::expires);
        let snapshot = self.snapshot.as_ref().map(Document::expires);
        let targets = self.targets.get("targets").map(|role| role.document.expires());
        [timestamp, snapshot, targets].into_iter().flatten().fold(self.root.expires(), Ord::min)
    }
}

/// A root that may take the place of the trusted one.
#[derive(Debug)]
pub(crate) struct NextRoot {
    root: Document<Root>,
    /// A key of timestamp or snapshot was revoked (§5.3.11).
    pub rotated: bool,
}

fn by_root<T: Role>(document: &Document<T>, root: &Document<Root>, role: &str) -> Result<()> {
    document.signed_by(&root.body.keys, root.body.speakers(role)?, role)
}

fn as_pinned(role: &str, version: u64, pin: &Pin, by: &str) -> Result<()> {
    match version == pin.version() {
        true => Ok(()),
        false => Err(Refused::Because(format!(
            "integrity check failed: {role} version {version} does not match {by} pin {}",
            pin.version()
        ))),
    }
}

fn not_before(role: &str, trusted: u64, new: u64) -> Result<()> {
    if new >= trusted {
        return Ok(());
    }
    Err(Refused::Because(format!("rollback detected for {role}: trusted version {trusted} > new version {new}")))
}
