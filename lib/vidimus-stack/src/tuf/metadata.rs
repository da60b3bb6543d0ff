//! TUF metadata, written: the four roles' documents and the envelope that carries their signatures (specification §4).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use vidimus_core::digest;

use super::{PublicKey, Signer, TufError, canonical_json};

/// The specification that the metadata follows.
const SPEC_VERSION: &str = "1.0.31";

/// A top-level role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Says which keys speak for which role.
    Root,
    /// Says what the target files are.
    Targets,
    /// Says which targets metadata is current.
    Snapshot,
    /// Says which snapshot is current.
    Timestamp,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The name in metadata and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

/// The keys that speak for a role, and how many of them must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// How many signatures make the role's metadata valid.
    pub threshold: usize,
}

/// The content of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its number, from 1.
    pub version: u64,
    /// When it ends.
    pub expires: Timestamp,
    /// Keys of every role.
    pub roles: BTreeMap<Role, RoleKeys>,
}

impl RoleKeys {
    /// The key of this id.
    pub fn find(&self, id: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

impl Root {
    /// Reads the document of a root: `signed` of an envelope. Fields that are not of the specification are not kept.
    pub fn from_json(file: &str, document: &Value) -> Result<Self, TufError> {
        let corrupt = |why: String| TufError::Corrupt { file: file.to_owned(), why };
        if document["_type"] != "root" {
            return Err(corrupt("it is not a root".into()));
        }
        let version = document["version"].as_u64().ok_or_else(|| corrupt("'version' is not a number".into()))?;
        let expires = document["expires"].as_str().and_then(|text| text.parse().ok());
        let expires = expires.ok_or_else(|| corrupt("'expires' is not a time".into()))?;
        let mut roles = BTreeMap::new();
        for role in Role::ALL {
            let described = &document["roles"][role.name()];
            let ids = described["keyids"].as_array().ok_or_else(|| corrupt(format!("it lacks the role {}", role.name())))?;
            let key = |id: &Value| {
                let id = id.as_str().unwrap_or_default();
                PublicKey::from_json(id, &document["keys"][id])
            };
            let keys = ids.iter().map(key).collect::<Result<_, _>>()?;
            let threshold = described["threshold"].as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
            let threshold = threshold.ok_or_else(|| corrupt(format!("the threshold of {} is not a number", role.name())))?;
            roles.insert(role, RoleKeys { keys, threshold });
        }
        Ok(Self { version, expires, roles })
    }

    /// The keys of a role.
    pub fn role(&self, role: Role) -> &RoleKeys {
        // Every way to make a root names all four; a role nobody speaks for can never be satisfied.
        const NOBODY: &RoleKeys = &RoleKeys { keys: Vec::new(), threshold: usize::MAX };
        self.roles.get(&role).unwrap_or(NOBODY)
    }

    /// The document to sign.
    pub fn to_json(&self) -> Value {
        let mut keys = Map::new();
        let mut roles = Map::new();
        for (role, role_keys) in &self.roles {
            keys.extend(role_keys.keys.iter().map(|key| (key.id().to_owned(), key.to_json())));
            let ids: Vec<_> = role_keys.keys.iter().map(PublicKey::id).collect();
            roles.insert(role.name().to_owned(), json!({"keyids": ids, "threshold": role_keys.threshold}));
        }
        let mut root = header(Role::Root, self.version, self.expires);
        root["consistent_snapshot"] = json!(true);
        root["keys"] = Value::Object(keys);
        root["roles"] = Value::Object(roles);
        root
    }
}

/// A file that clients may download.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
    /// What the repository says about it besides hash and length.
    pub custom: Option<Value>,
}

impl Target {
    /// Where the file is served: `targets/<sha256>.<name>`.
    pub fn path(&self) -> String {
        target_path(&self.name, &hex::encode(digest::sha256(&self.content)))
    }

    fn to_json(&self) -> Value {
        let mut target = json!({"length": self.content.len(), "hashes": {"sha256": hex::encode(digest::sha256(&self.content))}});
        if let Some(custom) = &self.custom {
            target["custom"] = custom.clone();
        }
        target
    }
}

/// Where a target is served. Its digest stands before the last part of its name: `targets/dir/<sha256>.file` (§7.2).
pub fn target_path(name: &str, sha256: &str) -> String {
    match name.rsplit_once('/') {
        Some((dir, file)) => format!("targets/{dir}/{sha256}.{file}"),
        None => format!("targets/{sha256}.{name}"),
    }
}

/// The entries of targets metadata for these files.
pub fn target_entries(targets: &[Target]) -> Value {
    Value::Object(targets.iter().map(|target| (target.name.clone(), target.to_json())).collect())
}

/// Targets metadata; `entries` as [`target_entries`] makes them.
pub fn targets(version: u64, expires: Timestamp, entries: Value) -> Value {
    let mut document = header(Role::Targets, version, expires);
    document["targets"] = entries;
    document
}

/// Snapshot metadata naming targets metadata.
pub fn snapshot(version: u64, expires: Timestamp, targets_version: u64, targets: &[u8]) -> Value {
    let mut document = header(Role::Snapshot, version, expires);
    document["meta"] = json!({"targets.json": meta(targets_version, targets)});
    document
}

/// Timestamp metadata naming a snapshot.
pub fn timestamp(version: u64, expires: Timestamp, snapshot_version: u64, snapshot: &[u8]) -> Value {
    let mut document = header(Role::Timestamp, version, expires);
    document["meta"] = json!({"snapshot.json": meta(snapshot_version, snapshot)});
    document
}

fn meta(version: u64, bytes: &[u8]) -> Value {
    json!({"version": version, "length": bytes.len(), "hashes": {"sha256": hex::encode(digest::sha256(bytes))}})
}

fn header(role: Role, version: u64, expires: Timestamp) -> Value {
    // Whole seconds: the specification's format has no fraction.
    let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"_type": role.name(), "spec_version": SPEC_VERSION, "version": version, "expires": expires})
}

/// A signed document.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    signed: Value,
    signatures: BTreeMap<String, String>,
}

impl Envelope {
    /// A document nobody has signed yet.
    pub fn new(signed: Value) -> Self {
        Self { signed, signatures: BTreeMap::new() }
    }

    /// Reads a signed document, to show it or to add signatures. Verifies nothing.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, TufError> {
        let corrupt = |why: String| TufError::Corrupt { file: file.to_owned(), why };
        let mut value: Value = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        let signed = value["signed"].take();
        if !signed.is_object() {
            return Err(corrupt("there is no object 'signed'".into()));
        }
        let listed = value["signatures"].as_array().ok_or_else(|| corrupt("there is no list 'signatures'".into()))?;
        let pair = |entry: &Value| Some((entry["keyid"].as_str()?.to_owned(), entry["sig"].as_str()?.to_owned()));
        let signatures =
            listed.iter().map(pair).collect::<Option<_>>().ok_or_else(|| corrupt("a signature is not one".into()))?;
        Ok(Self { signed, signatures })
    }

    /// Adds a signature, in place of an older one of the same key.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<(), TufError> {
        let signature = signer.sign(&canonical_json(&self.signed)?)?;
        self.signatures.insert(signer.public_key().id().to_owned(), hex::encode(signature));
        Ok(())
    }

    /// Adds a signature that was made elsewhere, if it is by this key and over this document.
    pub fn add(&mut self, key: &PublicKey, signature: &str) -> Result<(), TufError> {
        let bytes = hex::decode(signature).map_err(|e| TufError::Key(format!("the signature of {}: {e}", key.id())))?;
        key.verify(&canonical_json(&self.signed)?, &bytes)?;
        self.signatures.insert(key.id().to_owned(), signature.to_owned());
        Ok(())
    }

    /// Ids of the keys among `keys` whose signatures verify.
    pub fn valid_signers(&self, keys: &RoleKeys) -> Result<BTreeSet<String>, TufError> {
        let message = canonical_json(&self.signed)?;
        let valid = |key: &&PublicKey| {
            let signature = self.signatures.get(key.id()).and_then(|text| hex::decode(text).ok());
            signature.is_some_and(|signature| key.verify(&message, &signature).is_ok())
        };
        Ok(keys.keys.iter().filter(valid).map(|key| key.id().to_owned()).collect())
    }

    /// The signatures, by key id.
    pub fn signatures(&self) -> &BTreeMap<String, String> {
        &self.signatures
    }

    /// The document.
    pub fn signed(&self) -> &Value {
        &self.signed
    }

    /// Ids of the keys that have signed.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.keys().map(String::as_str)
    }

    /// The version of the document.
    pub fn version(&self) -> Option<u64> {
        self.signed["version"].as_u64()
    }

    /// When the document ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.signed["expires"].as_str()?.parse().ok()
    }

    /// The bytes to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures: Vec<_> = self.signatures.iter().map(|(id, sig)| json!({"keyid": id, "sig": sig})).collect();
        let mut text = serde_json::to_vec_pretty(&json!({"signatures": signatures, "signed": self.signed})).unwrap_or_default();
        text.push(b'\n');
        text
    }
}
