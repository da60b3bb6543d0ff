//! A picture of a repository: who speaks for what, what clients see, and what waits for whom.

use std::{fmt, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Ceremony, CeremonyError, parse, root_of, version};
use crate::tuf::{Envelope, PublicKey, Role, RoleKeys, Root};

/// Everything there is to see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The directory, or the file.
    pub place: String,
    /// When the picture was taken.
    pub at: Timestamp,
    /// The number of the newest publication.
    pub publication: Option<u64>,
    /// The roles as clients see them; before the first publication, as the staged root has them.
    pub roles: Vec<RoleStatus>,
    /// The targets that clients see.
    pub targets: Vec<TargetStatus>,
    /// What waits.
    pub staged: Vec<StagedStatus>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoleStatus {
    /// Its name.
    pub role: &'static str,
    /// The version in force.
    pub version: Option<u64>,
    /// When that ends.
    pub expires: Option<Timestamp>,
    /// How many signatures its metadata needs.
    pub threshold: usize,
    /// Whose.
    pub keys: Vec<KeyStatus>,
}

/// A key of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyStatus {
    /// Its id.
    pub id: String,
    /// Its signature scheme.
    pub scheme: String,
    /// Whether the metadata in force has its signature.
    pub signed: bool,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// Its length.
    pub length: u64,
    /// Its digest.
    pub sha256: String,
    /// What the repository says about it besides.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub custom: Value,
}

/// A document that waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StagedStatus {
    /// Its role.
    pub role: &'static str,
    /// Its version.
    pub version: u64,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Whose signatures it needs.
    pub needs: Vec<Signing>,
    /// What it changes.
    pub changes: Vec<String>,
}

/// Signatures that a document needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signing {
    /// By whose rule.
    pub rule: String,
    /// How many.
    pub threshold: usize,
    /// Who has signed.
    pub signed: Vec<String>,
    /// Who could yet.
    pub missing: Vec<String>,
}

impl Ceremony {
    /// The picture of the directory.
    pub fn status(&self, now: Timestamp) -> Result<Status, CeremonyError> {
        let coming = self.coming_root()?;
        let state = self.published.as_ref();
        let root = state.map_or(&coming, |state| &state.root);
        let document = |role| {
            state.map(|state| match role {
                Role::Root => &state.root_document,
                Role::Targets => &state.targets,
                Role::Snapshot => &state.snapshot,
                Role::Timestamp => &state.timestamp,
            })
        };
        let roles = Role::ALL.into_iter().map(|role| role_status(role, root.role(role), document(role)));
        Ok(Status {
            place: self.dir.display().to_string(),
            at: now,
            publication: self.publication(),
            roles: roles.collect::<Result<_, _>>()?,
            targets: document(Role::Targets).map(target_list).unwrap_or_default(),
            staged: self.staged_status(&coming)?,
        })
    }

    fn staged_status(&self, coming: &Root) -> Result<Vec<StagedStatus>, CeremonyError> {
        let state = self.published.as_ref();
        let mut staged = Vec::new();
        if let Some((root, document)) = self.staged_root()? {
            let mut needs = Vec::new();
            if let Some(state) = state {
                let rule = format!("root {}, which clients trust now", state.root.version);
                needs.push(signing(rule, &document, state.root.role(Role::Root))?);
            }
            needs.push(signing(format!("root {} itself", root.version), &document, root.role(Role::Root))?);
            let changes = state.map(|state| root_changes(&state.root, &root)).unwrap_or_default();
            staged.push(waiting(Role::Root, &document, needs, changes));
        }
        if let Some(document) = self.staged(Role::Targets)? {
            let needs = vec![signing(format!("root {}", coming.version), &document, coming.role(Role::Targets))?];
            let changes = target_changes(state.map(|state| &state.targets), &document);
            staged.push(waiting(Role::Targets, &document, needs, changes));
        }
        Ok(staged)
    }
}

/// The picture of one document in a file: what a key holder is about to sign. `in_force` is the root that clients trust now.
pub fn describe(file: &Path, bytes: &[u8], in_force: Option<&Root>, now: Timestamp) -> Result<Status, CeremonyError> {
    let document = parse(file, bytes)?;
    let mut status = Status {
        place: file.display().to_string(),
        at: now,
        publication: None,
        roles: Vec::new(),
        targets: Vec::new(),
        staged: Vec::new(),
    };
    let mut needs = Vec::new();
    let (role, changes) = match document.signed()["_type"].as_str() {
        Some("root") => {
            let root = root_of(file, &document)?;
            for role in Role::ALL {
                let own = (role == Role::Root).then_some(&document);
                status.roles.push(role_status(role, root.role(role), own)?);
            }
            if let Some(before) = in_force {
                let rule = format!("root {}, which clients trust now", before.version);
                needs.push(signing(rule, &document, before.role(Role::Root))?);
            }
            needs.push(signing(format!("root {} itself", root.version), &document, root.role(Role::Root))?);
            (Role::Root, in_force.map(|before| root_changes(before, &root)).unwrap_or_default())
        }
        Some("targets") => {
            status.targets = target_list(&document);
            if let Some(root) = in_force {
                needs.push(signing(format!("root {}", root.version), &document, root.role(Role::Targets))?);
            }
            (Role::Targets, Vec::new())
        }
        _ => return Err(CeremonyError::malformed(file, "it is neither a root nor targets")),
    };
    status.staged.push(waiting(role, &document, needs, changes));
    Ok(status)
}

fn role_status(role: Role, keys: &RoleKeys, document: Option<&Envelope>) -> Result<RoleStatus, CeremonyError> {
    let signed = document.map(|document| document.valid_signers(keys)).transpose()?.unwrap_or_default();
    let key = |key: &PublicKey| KeyStatus {
        id: key.id().to_owned(),
        scheme: key.scheme().to_owned(),
        signed: signed.contains(key.id()),
    };
    Ok(RoleStatus {
        role: role.name(),
        version: document.and_then(Envelope::version),
        expires: document.and_then(Envelope::expires),
        threshold: keys.threshold,
        keys: keys.keys.iter().map(key).collect(),
    })
}

fn signing(rule: String, document: &Envelope, keys: &RoleKeys) -> Result<Signing, CeremonyError> {
    let signed = document.valid_signers(keys)?;
    let missing = keys.keys.iter().map(|key| key.id().to_owned()).filter(|id| !signed.contains(id)).collect();
    Ok(Signing { rule, threshold: keys.threshold, signed: signed.into_iter().collect(), missing })
}

fn waiting(role: Role, document: &Envelope, needs: Vec<Signing>, changes: Vec<String>) -> StagedStatus {
    StagedStatus { role: role.name(), version: version(document), expires: document.expires(), needs, changes }
}

fn target_list(document: &Envelope) -> Vec<TargetStatus> {
    let entries = document.signed()["targets"].as_object();
    let target = |(name, entry): (&String, &Value)| TargetStatus {
        name: name.clone(),
        length: entry["length"].as_u64().unwrap_or_default(),
        sha256: entry["hashes"]["sha256"].as_str().unwrap_or_default().to_owned(),
        custom: entry["custom"].clone(),
    };
    entries.map(|entries| entries.iter().map(target).collect()).unwrap_or_default()
}

fn root_changes(before: &Root, after: &Root) -> Vec<String> {
    let mut changes = Vec::new();
    for role in Role::ALL {
        let (old, new) = (before.role(role), after.role(role));
        let gone = old.keys.iter().filter(|key| new.find(key.id()).is_none());
        changes.extend(gone.map(|key| format!("{}: without the key {}", role.name(), key.id())));
        let come = new.keys.iter().filter(|key| old.find(key.id()).is_none());
        changes.extend(come.map(|key| format!("{}: with the key {}", role.name(), key.id())));
        if old.threshold != new.threshold {
            changes.push(format!("{}: threshold {} instead of {}", role.name(), new.threshold, old.threshold));
        }
    }
    changes
}

fn target_changes(before: Option<&Envelope>, after: &Envelope) -> Vec<String> {
    let empty = serde_json::Map::new();
    let old = before.and_then(|document| document.signed()["targets"].as_object()).unwrap_or(&empty);
    let new = after.signed()["targets"].as_object().unwrap_or(&empty);
    let come = new.iter().filter_map(|(name, entry)| match old.get(name) {
        None => Some(format!("adds {name}")),
        Some(there) if there != entry => Some(format!("replaces {name}")),
        Some(_) => None,
    });
    come.chain(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("removes {name}"))).collect()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.publication {
            Some(number) => writeln!(f, "{} (publication {number})", self.place)?,
            None => writeln!(f, "{}", self.place)?,
        }
        for role in &self.roles {
            write!(f, "  {:<9}", role.role)?;
            match (role.version, role.expires) {
                (Some(version), Some(expires)) => write!(f, " version {version}, {}", until(expires, self.at))?,
                _ => write!(f, " not published")?,
            }
            writeln!(f, "; {} of {} {}", role.threshold, role.keys.len(), plural(role.keys.len(), "key"))?;
            for key in &role.keys {
                writeln!(f, "    {} {}{}", key.id, key.scheme, if key.signed { ", signed" } else { "" })?;
            }
        }
        if !self.targets.is_empty() {
            writeln!(f, "  {} {}", self.targets.len(), plural(self.targets.len(), "target"))?;
        }
        for target in &self.targets {
            write!(f, "    {} ({} bytes, sha256:{})", target.name, target.length, target.sha256)?;
            match target.custom["sigstore"]["usage"].as_str() {
                Some(usage) => {
                    let part = |name: &str| target.custom["sigstore"][name].as_str().map(|text| format!(" {text}"));
                    writeln!(f, " {usage}{}{}", part("status").unwrap_or_default(), part("uri").unwrap_or_default())?;
                }
                None => writeln!(f)?,
            }
        }
        self.staged.iter().try_for_each(|staged| staged.write(f, self.at))
    }
}

impl StagedStatus {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Timestamp) -> fmt::Result {
        write!(f, "  staged: {} version {}", self.role, self.version)?;
        match self.expires {
            Some(expires) => writeln!(f, ", {}", until(expires, now))?,
            None => writeln!(f)?,
        }
        for change in &self.changes {
            writeln!(f, "    {change}")?;
        }
        for need in &self.needs {
            let done = if need.signed.len() >= need.threshold { ": enough" } else { "" };
            writeln!(f, "    {} of {} signatures by the rule of {}{done}", need.signed.len(), need.threshold, need.rule)?;
            need.signed.iter().try_for_each(|id| writeln!(f, "      signed  {id}"))?;
            need.missing.iter().try_for_each(|id| writeln!(f, "      missing {id}"))?;
        }
        Ok(())
    }
}

fn until(expires: Timestamp, now: Timestamp) -> String {
    let left: SignedDuration = expires.duration_since(now);
    let days = left.as_hours() / 24;
    match left.is_positive() {
        true if days > 0 => format!("valid until {expires} ({days} {})", plural(usize::try_from(days).unwrap_or(2), "day")),
        true => format!("valid until {expires} ({} h)", left.as_hours()),
        false => format!("EXPIRED at {expires}"),
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}
