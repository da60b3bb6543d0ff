//! Signatures: made here, made elsewhere, and taken over.

use std::{collections::BTreeMap, path::Path};

use super::{Ceremony, CeremonyError, parse, root_of, version};
use crate::tuf::{Envelope, PublicKey, Role, Root, Signer};

/// The keys that may sign a document, by id.
type Keys = BTreeMap<String, PublicKey>;

/// A signature that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What was signed.
    pub role: Role,
    /// Its version.
    pub version: u64,
    /// By which key.
    pub keyid: String,
}

impl Ceremony {
    /// Signs everything that is staged with every key that may. A key that may sign nothing is refused, and then nothing is signed.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<Vec<Signature>, CeremonyError> {
        let mut documents = self.staged_documents()?;
        if documents.is_empty() {
            return Err(CeremonyError::NothingStaged);
        }
        let mut made = Vec::new();
        for signer in signers {
            let id = signer.public_key().id();
            let before = made.len();
            for (role, document, allowed) in &mut documents {
                if allowed.contains_key(id) {
                    document.sign(*signer)?;
                    made.push(Signature { role: *role, version: version(document), keyid: id.to_owned() });
                }
            }
            if made.len() == before {
                let what = documents.iter().map(|(role, ..)| format!("the staged {}", role.name())).collect::<Vec<_>>();
                let known = documents.iter().flat_map(|(_, _, allowed)| allowed.keys().cloned()).collect();
                return Err(CeremonyError::Stranger { keyid: id.to_owned(), what: what.join(" or "), known });
            }
        }
        for (role, document, _) in &documents {
            self.stage(*role, document)?;
        }
        Ok(made)
    }

    /// Takes the signatures over that a copy of a staged document has gained elsewhere. All of them have to verify.
    pub fn import(&self, file: &str, bytes: &[u8]) -> Result<Vec<Signature>, CeremonyError> {
        let copy = parse(Path::new(file), bytes)?;
        let kind = copy.signed()["_type"].as_str().unwrap_or_default().to_owned();
        let documents = self.staged_documents()?;
        let Some((role, mut document, allowed)) = documents.into_iter().find(|(role, ..)| role.name() == kind) else {
            let why = "nothing like it is staged here".to_owned();
            return Err(CeremonyError::Different { file: file.to_owned(), role: kind_name(&kind), why });
        };
        if copy.signed() != document.signed() {
            let why = difference(&copy, &document);
            return Err(CeremonyError::Different { file: file.to_owned(), role: role.name(), why });
        }
        let mut taken = Vec::new();
        for (id, signature) in copy.signatures().iter().filter(|(id, sig)| document.signatures().get(*id) != Some(*sig)) {
            let stranger = || CeremonyError::Stranger {
                keyid: id.clone(),
                what: format!("the staged {}", role.name()),
                known: allowed.keys().cloned().collect(),
            };
            taken.push((allowed.get(id).ok_or_else(stranger)?, signature));
        }
        let mut made = Vec::new();
        for (key, signature) in taken {
            document.add(key, signature)?;
            made.push(Signature { role, version: version(&document), keyid: key.id().to_owned() });
        }
        self.stage(role, &document)?;
        Ok(made)
    }

    /// What is staged, each with the keys that may sign it: a root is signed by its own keys and by those of the root before it.
    fn staged_documents(&self) -> Result<Vec<(Role, Envelope, Keys)>, CeremonyError> {
        let mut documents = Vec::new();
        if let Some((root, document)) = self.staged_root()? {
            let before = self.published.as_ref().map(|state| &state.root);
            documents.push((Role::Root, document, root_signers(&root, before)));
        }
        if let Some(document) = self.staged(Role::Targets)? {
            documents.push((Role::Targets, document, by_id(&self.coming_root()?, Role::Targets)));
        }
        Ok(documents)
    }
}

/// Signs a copy of a staged document, on the machine of a key holder. Gives the signed copy.
///
/// `in_force` is the root that clients trust now: a holder who leaves signs the next root with a key that only this one names. Targets
/// metadata does not name its keys, so that it is needed there, too.
pub fn sign_document(
    file: &Path,
    bytes: &[u8],
    signers: &[&dyn Signer],
    in_force: Option<&Root>,
) -> Result<(Vec<u8>, Vec<Signature>), CeremonyError> {
    let mut document = parse(file, bytes)?;
    let (role, allowed) = match document.signed()["_type"].as_str() {
        Some("root") => (Role::Root, root_signers(&root_of(file, &document)?, in_force)),
        Some("targets") => {
            let needed = || CeremonyError::malformed(file, "targets do not name the keys that sign them; pass --root FILE");
            (Role::Targets, by_id(in_force.ok_or_else(needed)?, Role::Targets))
        }
        _ => return Err(CeremonyError::malformed(file, "it is neither a root nor targets")),
    };
    let mut made = Vec::new();
    for signer in signers {
        let keyid = signer.public_key().id().to_owned();
        if !allowed.contains_key(&keyid) {
            let what = format!("{} ({} version {})", file.display(), role.name(), version(&document));
            return Err(CeremonyError::Stranger { keyid, what, known: allowed.into_keys().collect() });
        }
        document.sign(*signer)?;
        made.push(Signature { role, version: version(&document), keyid });
    }
    Ok((document.to_bytes(), made))
}

fn root_signers(root: &Root, before: Option<&Root>) -> Keys {
    let mut keys = before.map(|before| by_id(before, Role::Root)).unwrap_or_default();
    keys.extend(by_id(root, Role::Root));
    keys
}

fn by_id(root: &Root, role: Role) -> Keys {
    root.role(role).keys.iter().map(|key| (key.id().to_owned(), key.clone())).collect()
}

fn kind_name(kind: &str) -> &'static str {
    Role::ALL.into_iter().map(Role::name).find(|name| *name == kind).unwrap_or("document")
}

fn difference(copy: &Envelope, staged: &Envelope) -> String {
    match (version(copy), version(staged)) {
        (theirs, ours) if theirs != ours => format!("it has version {theirs}, not {ours}"),
        _ => "it says something else; the staged one was changed after it was copied".to_owned(),
    }
}
