//! Publication: the staged documents, a fresh snapshot and a fresh timestamp become what clients see, all at once.

use std::path::Path;

use jiff::Timestamp;

use super::{Ceremony, CeremonyError, PUBLICATIONS, STAGED, State, Unsigned, disk, version};
use crate::tuf::{
    Envelope, Role, RoleKeys, Root, Signer,
    metadata::{snapshot, target_path, timestamp},
};

/// The online keys.
pub type Signers<'a> = [&'a dyn Signer];

/// What a publication changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The number of the publication.
    pub number: u64,
    /// Versions in force: root, targets, snapshot, timestamp.
    pub versions: [(Role, u64); 4],
    /// The earliest expiry, and whose it is: by then somebody has to publish again.
    pub expires: (Role, Timestamp),
}

impl Ceremony {
    /// Publishes what is staged; if nothing is, renews snapshot and timestamp. `signers` sign these two.
    ///
    /// `check` is given the complete new publication before it becomes the published one, to look at it as a client would.
    pub fn publish(
        &mut self,
        signers: &Signers<'_>,
        now: Timestamp,
        check: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Published, CeremonyError> {
        let next = self.prepare(signers, now)?;
        let staging = self.dir.join(PUBLICATIONS).join(format!("{}.unfinished", next.number));
        self.disk.remove_dir(&staging)?;
        self.write_publication(&staging, &next)?;
        check(&staging).map_err(CeremonyError::Check)?;
        let place = disk::publication(next.number);
        self.disk.remove_dir(&self.dir.join(&place))?;
        self.disk.rename(&staging, &self.dir.join(&place))?;
        // This is the moment.
        self.disk.point(&self.published_dir(), &place)?;
        self.published = Some(next.clone());
        self.clear_away()?;
        Ok(summary(&next))
    }

    /// The documents of the next publication, all signed, all checked.
    fn prepare(&self, signers: &Signers<'_>, now: Timestamp) -> Result<State, CeremonyError> {
        let before = self.published.as_ref();
        let (root, root_document) = self.next_root(now)?;
        let targets = self.next_targets(&root, now)?;
        let snapshot = self.next_snapshot(&root, &targets, signers, now)?;
        let number = before.map_or(1, |state| version(&state.timestamp) + 1);
        let bytes = snapshot.to_bytes();
        let document = timestamp(number, self.validity.from(Role::Timestamp, now), version(&snapshot), &bytes);
        let timestamp = sign_online(Role::Timestamp, document, root.role(Role::Timestamp), signers)?;
        let number = before.map_or(1, |state| state.number + 1);
        Ok(State { number, root, root_document, targets, snapshot, timestamp })
    }

    fn next_root(&self, now: Timestamp) -> Result<(Root, Envelope), CeremonyError> {
        let before = self.published.as_ref();
        let (root, document) = match (self.staged_root()?, before) {
            (Some((root, document)), _) => {
                let expected = before.map_or(1, |state| state.root.version + 1);
                if root.version != expected {
                    let why = format!("it has version {}, and clients look for {expected}", root.version);
                    return Err(CeremonyError::malformed(&self.staged_file(Role::Root), why));
                }
                let name = format!("root {}", root.version);
                if let Some(state) = before {
                    let rule = format!("root {}, which clients trust now,", state.root.version);
                    require(&name, &document, state.root.role(Role::Root), rule, SIGN_ROOT)?;
                }
                require(&name, &document, root.role(Role::Root), format!("root {} itself", root.version), SIGN_ROOT)?;
                (root, document)
            }
            (None, Some(state)) => (state.root.clone(), state.root_document.clone()),
            (None, None) => return Err(CeremonyError::NothingStaged),
        };
        unexpired(Role::Root, &document, now)?;
        Ok((root, document))
    }

    fn next_targets(&self, root: &Root, now: Timestamp) -> Result<Envelope, CeremonyError> {
        let (document, hint) = match (self.staged(Role::Targets)?, &self.published) {
            (Some(document), _) => (document, SIGN_TARGETS),
            (None, Some(state)) => (state.targets.clone(), RENEW_TARGETS),
            (None, None) => return Err(CeremonyError::NothingStaged),
        };
        let name = format!("targets {}", version(&document));
        require(&name, &document, root.role(Role::Targets), format!("root {}", root.version), hint)?;
        unexpired(Role::Targets, &document, now)?;
        Ok(document)
    }

    /// A new snapshot if there is something new to say or the keys for it are at hand; otherwise the one there is, so that a machine
    /// that holds the key of the timestamp alone can keep a repository fresh.
    fn next_snapshot(
        &self,
        root: &Root,
        targets: &Envelope,
        signers: &Signers<'_>,
        now: Timestamp,
    ) -> Result<Envelope, CeremonyError> {
        let keys = root.role(Role::Snapshot);
        let given = signers.iter().filter(|signer| keys.find(signer.public_key().id()).is_some()).count();
        if let Some(state) = &self.published
            && given < keys.threshold
            && state.targets.signed() == targets.signed()
            && state.targets.signatures() == targets.signatures()
            && state.snapshot.valid_signers(keys)?.len() >= keys.threshold
            && unexpired(Role::Snapshot, &state.snapshot, now).is_ok()
        {
            return Ok(state.snapshot.clone());
        }
        let number = self.published.as_ref().map_or(1, |state| version(&state.snapshot) + 1);
        let document = snapshot(number, self.validity.from(Role::Snapshot, now), version(targets), &targets.to_bytes());
        sign_online(Role::Snapshot, document, keys, signers)
    }

    fn write_publication(&self, dir: &Path, next: &State) -> Result<(), CeremonyError> {
        if let Some(state) = &self.published {
            self.disk.link_tree(&self.dir.join(disk::publication(state.number)), dir)?;
        }
        self.place_targets(dir, &next.targets)?;
        let root = next.root_document.to_bytes();
        for (name, bytes) in [
            (format!("{}.targets.json", version(&next.targets)), next.targets.to_bytes()),
            (format!("{}.snapshot.json", version(&next.snapshot)), next.snapshot.to_bytes()),
            (format!("{}.root.json", next.root.version), root.clone()),
            // Not a name of the specification: people and `cosign initialize --root URL` look for the root under it.
            ("root.json".to_owned(), root),
            ("timestamp.json".to_owned(), next.timestamp.to_bytes()),
        ] {
            let path = dir.join(name);
            if self.disk.read(&path)?.as_ref() != Some(&bytes) {
                self.disk.write(&path, &bytes)?;
            }
        }
        Ok(())
    }

    /// Every file that the targets name has to be there, either staged or published already.
    fn place_targets(&self, dir: &Path, targets: &Envelope) -> Result<(), CeremonyError> {
        for (name, entry) in targets.signed()["targets"].as_object().into_iter().flatten() {
            let path = target_path(name, entry["hashes"]["sha256"].as_str().unwrap_or_default());
            let (staged, place) = (self.dir.join(STAGED).join(&path), dir.join(&path));
            match (self.disk.exists(&place), self.disk.exists(&staged)) {
                (true, _) => {}
                (false, true) => self.disk.link_file(&staged, &place)?,
                (false, false) => {
                    let why = format!("the file of the target {name:?} is missing; add the target again");
                    return Err(CeremonyError::malformed(&staged, why));
                }
            }
        }
        Ok(())
    }
}

const SIGN_ROOT: &str = "the holders of these keys sign the staged root.json: `tuf sign --key FILE` here, or `tuf sign root.json --key \
                         FILE` elsewhere and `tuf import root.json` here";
const SIGN_TARGETS: &str = "the holders of these keys sign the staged targets.json: `tuf sign --key FILE` here, or elsewhere and then \
                            `tuf import targets.json` here";
const RENEW_TARGETS: &str = "the keys of the targets have changed: `tuf renew targets`, then sign them";

fn sign_online(
    role: Role,
    document: serde_json::Value,
    keys: &RoleKeys,
    signers: &Signers<'_>,
) -> Result<Envelope, CeremonyError> {
    let mut document = Envelope::new(document);
    for signer in signers.iter().filter(|signer| keys.find(signer.public_key().id()).is_some()) {
        document.sign(*signer)?;
    }
    let name = format!("{} {}", role.name(), version(&document));
    let hint = format!("pass the keys of the role {} with --key", role.name());
    require(&name, &document, keys, "the root".to_owned(), &hint)?;
    Ok(document)
}

/// Refuses a document with too few signatures by `keys`.
fn require(name: &str, document: &Envelope, keys: &RoleKeys, rule: String, hint: &str) -> Result<(), CeremonyError> {
    let signed = document.valid_signers(keys)?;
    if signed.len() >= keys.threshold {
        return Ok(());
    }
    let missing = keys.keys.iter().map(|key| key.id().to_owned()).filter(|id| !signed.contains(id)).collect();
    Err(CeremonyError::Unsigned(Box::new(Unsigned {
        document: name.to_owned(),
        rule,
        threshold: keys.threshold,
        signed: signed.into_iter().collect(),
        missing,
        hint: hint.to_owned(),
    })))
}

fn unexpired(role: Role, document: &Envelope, now: Timestamp) -> Result<(), CeremonyError> {
    match document.expires() {
        Some(expires) if expires > now => Ok(()),
        expires => Err(CeremonyError::Expired { role: role.name(), expires: expires.unwrap_or(Timestamp::UNIX_EPOCH) }),
    }
}

fn summary(state: &State) -> Published {
    let of = |role, document: &Envelope| (role, version(document), document.expires().unwrap_or(Timestamp::UNIX_EPOCH));
    let all = [
        of(Role::Root, &state.root_document),
        of(Role::Targets, &state.targets),
        of(Role::Snapshot, &state.snapshot),
        of(Role::Timestamp, &state.timestamp),
    ];
    let first = all.iter().min_by_key(|(_, _, expires)| *expires).map_or((Role::Timestamp, Timestamp::MAX), |(r, _, e)| (*r, *e));
    Published { number: state.number, versions: all.map(|(role, version, _)| (role, version)), expires: first }
}
