//! Changes, prepared: a root or targets with the next version, staged without signatures.
//!
//! While something is staged, further changes go into the same version. Each voids the signatures it had.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use vidimus_core::digest;

use super::{Ceremony, CeremonyError, STAGED, disk::TARGET_BYTES, version};
use crate::tuf::{
    Envelope, PublicKey, Role, Root,
    metadata::{target_path, targets},
};

/// Most keys of one role. Far more than people who meet, far fewer than would slow a client down.
const MAX_KEYS: usize = 32;
/// Longest name of a target. Its parts are file names, to which a digest of 65 characters is added.
const MAX_NAME: usize = 180;

/// What an edit staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The role whose metadata it is.
    pub role: Role,
    /// Its version.
    pub version: u64,
    /// How many signatures of an earlier draft of the same version are void now.
    pub voided: usize,
}

impl Ceremony {
    /// Gives a role a key.
    pub fn add_key(&self, role: Role, key: PublicKey, threshold: Option<usize>, now: Timestamp) -> Result<Edited, CeremonyError> {
        self.edit_root(now, |root| {
            let keys = role_keys(root, role)?;
            if keys.find(key.id()).is_some() {
                return Err(CeremonyError::roles(role, format_args!("it has the key {} already", key.id())));
            }
            keys.keys.push(key);
            keys.threshold = threshold.unwrap_or(keys.threshold);
            Ok(())
        })
    }

    /// Takes a key from a role.
    pub fn remove_key(&self, role: Role, id: &str, threshold: Option<usize>, now: Timestamp) -> Result<Edited, CeremonyError> {
        self.edit_root(now, |root| {
            let id = resolve(root, &[role], id)?;
            let keys = role_keys(root, role)?;
            keys.keys.retain(|key| key.id() != id);
            keys.threshold = threshold.unwrap_or(keys.threshold);
            Ok(())
        })
    }

    /// Says how many signatures a role's metadata needs.
    pub fn set_threshold(&self, role: Role, threshold: usize, now: Timestamp) -> Result<Edited, CeremonyError> {
        self.edit_root(now, |root| {
            role_keys(root, role)?.threshold = threshold;
            Ok(())
        })
    }

    /// Puts a key in the place of another, in every one of `roles` that has it.
    pub fn rotate(&self, old: &str, new: &PublicKey, roles: &[Role], now: Timestamp) -> Result<Edited, CeremonyError> {
        self.edit_root(now, |root| {
            let old = resolve(root, roles, old)?;
            for role in roles {
                let keys = role_keys(root, *role)?;
                if keys.find(&old).is_none() {
                    continue;
                }
                if keys.find(new.id()).is_some() {
                    return Err(CeremonyError::roles(*role, format_args!("it has the key {} already", new.id())));
                }
                keys.keys.iter_mut().filter(|key| key.id() == old).for_each(|key| *key = new.clone());
            }
            Ok(())
        })
    }

    /// Stages a root or targets that say the same for longer.
    pub fn renew(&self, role: Role, now: Timestamp) -> Result<Edited, CeremonyError> {
        match role {
            Role::Root => self.edit_root(now, |_| Ok(())),
            Role::Targets => self.edit_targets(now, |_| Ok(())),
            _ => Err(CeremonyError::roles(role, "it is signed anew with every publication")),
        }
    }

    /// Adds a target, or replaces the one of this name.
    pub fn add_target(&self, name: &str, content: &[u8], custom: Option<Value>, now: Timestamp) -> Result<Edited, CeremonyError> {
        check_name(name)?;
        if content.len() > TARGET_BYTES {
            return Err(CeremonyError::TargetName { name: name.to_owned(), why: "its content has more than 256 MiB" });
        }
        let sha256 = hex::encode(digest::sha256(content));
        // Before the metadata that names it.
        self.disk.write(&self.dir.join(STAGED).join(target_path(name, &sha256)), content)?;
        self.edit_targets(now, |entries| {
            let mut entry = json!({"length": content.len(), "hashes": {"sha256": sha256}});
            if let Some(custom) = custom {
                entry["custom"] = custom;
            }
            entries.insert(name.to_owned(), entry);
            Ok(())
        })
    }

    /// Removes a target. Clients in the middle of an update still find its file.
    pub fn remove_target(&self, name: &str, now: Timestamp) -> Result<Edited, CeremonyError> {
        self.edit_targets(now, |entries| match entries.remove(name) {
            Some(_) => Ok(()),
            None => Err(CeremonyError::NoTarget { name: name.to_owned() }),
        })
    }

    fn edit_root(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut Root) -> Result<(), CeremonyError>,
    ) -> Result<Edited, CeremonyError> {
        let staged = self.staged_root()?;
        let voided = staged.as_ref().map_or(0, |(_, document)| document.signatures().len());
        let mut root = match (staged, &self.published) {
            (Some((root, _)), _) => root,
            (None, Some(state)) => Root { version: state.root.version + 1, ..state.root.clone() },
            (None, None) => return self.coming_root().map(|root| Edited { role: Role::Root, version: root.version, voided }),
        };
        root.expires = self.validity.from(Role::Root, now);
        change(&mut root)?;
        check(&root)?;
        self.stage(Role::Root, &Envelope::new(root.to_json()))?;
        Ok(Edited { role: Role::Root, version: root.version, voided })
    }

    fn edit_targets(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut serde_json::Map<String, Value>) -> Result<(), CeremonyError>,
    ) -> Result<Edited, CeremonyError> {
        let staged = self.staged(Role::Targets)?;
        let voided = staged.as_ref().map_or(0, |document| document.signatures().len());
        let (number, base) = match (staged, &self.published) {
            (Some(document), _) => (version(&document), document),
            (None, Some(state)) => (version(&state.targets) + 1, state.targets.clone()),
            (None, None) => {
                return Err(CeremonyError::malformed(
                    &self.staged_file(Role::Targets),
                    "it is missing, and nothing is published",
                ));
            }
        };
        let mut entries = base.signed()["targets"].as_object().cloned().unwrap_or_default();
        change(&mut entries)?;
        let document = targets(number, self.validity.from(Role::Targets, now), Value::Object(entries));
        self.stage(Role::Targets, &Envelope::new(document))?;
        Ok(Edited { role: Role::Targets, version: number, voided })
    }
}

/// Refuses a root that nobody could satisfy, or whose threshold says more than it means.
pub(super) fn check(root: &Root) -> Result<(), CeremonyError> {
    for role in Role::ALL {
        let keys = root.role(role);
        let different: BTreeSet<_> = keys.keys.iter().map(PublicKey::id).collect();
        let refuse = |why: String| Err(CeremonyError::roles(role, why));
        match (keys.keys.len(), keys.threshold) {
            (0, _) => return refuse("it has no key".into()),
            (many, _) if many > MAX_KEYS => return refuse(format!("it has {many} keys; at most {MAX_KEYS} make sense")),
            (many, _) if many != different.len() => return refuse("it names a key twice".into()),
            (_, 0) => return refuse("a threshold of 0 would let anybody speak for it".into()),
            (many, threshold) if threshold > many => {
                return refuse(format!(
                    "{threshold} signatures cannot come from {many} {}",
                    if many == 1 { "key" } else { "keys" }
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A key id, from its beginning: at least eight characters, and only one key's.
fn resolve(root: &Root, roles: &[Role], start: &str) -> Result<String, CeremonyError> {
    let ids: BTreeSet<_> = roles.iter().flat_map(|role| &root.role(*role).keys).map(|key| key.id().to_owned()).collect();
    let found: Vec<_> = ids.iter().filter(|id| *id == start || start.len() >= 8 && id.starts_with(start)).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        _ => {
            let role = if let [role] = roles { role.name() } else { "of any of these" };
            Err(CeremonyError::NoKey { role: role.to_owned(), key: start.to_owned(), known: ids.into_iter().collect() })
        }
    }
}

fn role_keys(root: &mut Root, role: Role) -> Result<&mut crate::tuf::RoleKeys, CeremonyError> {
    root.roles.get_mut(&role).ok_or_else(|| CeremonyError::roles(role, "the root does not name it"))
}

/// A target's name becomes a path on a server and on every client.
fn check_name(name: &str) -> Result<(), CeremonyError> {
    let bad = |why| Err(CeremonyError::TargetName { name: name.to_owned(), why });
    if name.is_empty() || name.len() > MAX_NAME {
        return bad("it needs 1 to 180 bytes");
    }
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return bad("a part of it is empty or starts with a dot");
    }
    if name.contains(|c: char| c.is_control() || matches!(c, '\\' | '?' | '#' | '%' | ':')) {
        return bad("it has a character that file systems or URLs take for something else");
    }
    Ok(())
}
