//! Signed documents (specification 1.0, §4): how they are read, and who has signed them.
//!
//! Read strictly where the specification is: versions are at least 1, times have one form, roles say each thing once. Read leniently
//! where it leaves room: fields that nobody knows are kept under the signature, keys of an unknown kind count as no key. Signatures
//! cover the canonical form of what was parsed; what is stored are the bytes as they came.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU64, NonZeroUsize},
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sigstore_tuf::{Key, canonical_json::to_canonical_bytes};
use vidimus_core::{Algorithm, Digest};

use super::delegation::Delegations;

/// The roles that every root names.
const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];
/// Kinds of keys, and the schemes that go with them: those of the specification first. `ecdsa-sha2-…` is what old repositories write.
const SCHEMES: [(&str, &str); 11] = [
    ("ed25519", "ed25519"),
    ("ecdsa", "ecdsa-sha2-nistp256"),
    ("rsa", "rsassa-pss-sha256"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("rsa", "rsassa-pss-sha384"),
    ("rsa", "rsassa-pss-sha512"),
    ("ml-dsa", "ml-dsa-44/1"),
    ("ml-dsa", "ml-dsa-65/1"),
    ("ml-dsa", "ml-dsa-87/1"),
];

/// Why a document is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It breaks this rule.
    Because(String),
    /// It was right until then.
    Expired { role: String, expires: Timestamp },
}

impl Refused {
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self::Because(why.into())
    }
}

/// What a role's document says besides the fields of every document.
pub(crate) trait Role: DeserializeOwned {
    const TYPE: &'static str;

    /// The rules that the types do not hold.
    fn check(&self) -> Result<(), String>;
}

/// A document with its signatures, which nobody has checked yet.
#[derive(Debug, Clone)]
pub(crate) struct Document<T> {
    pub version: u64,
    expires: DateTime,
    pub body: T,
    signatures: Vec<Signature>,
    canonical: Vec<u8>,
}

#[derive(Debug, Clone, Deserialize)]
struct Signature {
    keyid: String,
    sig: String,
}

#[derive(Deserialize)]
struct Common {
    _type: String,
    spec_version: String,
    version: NonZeroU64,
    expires: String,
}

impl<T: Role> Document<T> {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refused> {
        Self::parse(bytes).map_err(|why| Refused::Because(format!("malformed {} metadata: {why}", T::TYPE)))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut envelope: Value = serde_json::from_slice(bytes).map_err(|e| format!("not JSON: {e}"))?;
        let mut part = |name: &str| envelope.get_mut(name).map(Value::take).ok_or_else(|| format!("it has no {name:?}"));
        let (signed, signatures) = (part("signed")?, part("signatures")?);
        let common = Common::deserialize(&signed).map_err(|e| e.to_string())?;
        if common._type != T::TYPE {
            return Err(format!("its _type is {:?}", common._type));
        }
        check_spec_version(&common.spec_version)?;
        let expires = read_time(&common.expires).ok_or_else(|| format!("it expires at {:?}", common.expires))?;
        let body = T::deserialize(&signed).map_err(|e| e.to_string())?;
        body.check()?;
        let signatures = Vec::<Signature>::deserialize(signatures).map_err(|e| format!("signatures: {e}"))?;
        // §4.2: "multiple signatures with the same keyid are not allowed", whoever's they are.
        all_different(signatures.iter().map(|s| &s.keyid)).map_err(|id| format!("it has two signatures of key {id:?}"))?;
        let canonical = to_canonical_bytes(&signed).map_err(|e| e.to_string())?;
        Ok(Self { version: common.version.get(), expires, body, signatures, canonical })
    }

    /// Whether a threshold of a role's keys has signed this.
    pub(crate) fn signed_by(&self, keys: &Keys, speakers: &Speakers, role: &str) -> Result<(), Refused> {
        let mut signers = BTreeSet::new();
        for signature in self.signatures.iter().filter(|s| speakers.keyids.contains(&s.keyid)) {
            if let (Some(key), Ok(bytes)) = (keys.get(&signature.keyid).and_then(usable), hex::decode(&signature.sig))
                && key.verify(&self.canonical, &bytes.into()).is_ok()
            {
                // One key under two ids is one key: a threshold asks for several holders.
                signers.insert(key.keyval.public.split_whitespace().collect::<String>());
            }
        }
        let (found, asked) = (signers.len(), speakers.threshold.get());
        if found >= asked {
            return Ok(());
        }
        Err(Refused::Because(format!("signature threshold not met for role {role}: {found}/{asked} valid signatures")))
    }

    /// Whether another document says the same, whoever signed it.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// §5: what expires now has expired.
    pub(crate) fn fresh(&self, role: &str, now: Timestamp) -> Result<(), Refused> {
        if self.expires > TimeZone::UTC.to_datetime(now) {
            return Ok(());
        }
        Err(Refused::Expired { role: role.to_owned(), expires: self.expires() })
    }

    /// When it expires; the last moment there is for what is later.
    pub(crate) fn expires(&self) -> Timestamp {
        TimeZone::UTC.to_timestamp(self.expires).unwrap_or(Timestamp::MAX)
    }
}

/// Keys by their ids. Ids are names: many repositories choose them otherwise than by the digest of the key.
pub(crate) type Keys = BTreeMap<String, Value>;

/// Who speaks for a role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Speakers {
    pub keyids: Vec<String>,
    pub threshold: NonZeroUsize,
}

impl Speakers {
    pub(super) fn check(&self) -> Result<(), String> {
        all_different(&self.keyids).map_err(|id| format!("it names key {id:?} twice for one role"))
    }
}

/// `root.json` (§4.3).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Root {
    #[serde(default)]
    pub consistent_snapshot: bool,
    pub keys: Keys,
    pub roles: BTreeMap<String, Speakers>,
}

impl Root {
    pub(super) fn speakers(&self, role: &str) -> Result<&Speakers, Refused> {
        self.roles.get(role).ok_or_else(|| Refused::Because(format!("the root names nobody for {role}")))
    }

    /// Whether some key that spoke for `role` does not any more in `next`.
    pub(super) fn revokes(&self, next: &Self, role: &str) -> bool {
        let keys = |root: &Self| -> BTreeMap<String, Option<Value>> {
            let ids = root.roles.get(role).map(|speakers| speakers.keyids.clone()).unwrap_or_default();
            ids.into_iter().map(|id| (id.clone(), root.keys.get(&id).cloned())).collect()
        };
        let after = keys(next);
        keys(self).into_iter().any(|(id, key)| after.get(&id) != Some(&key))
    }
}

impl Role for Root {
    const TYPE: &'static str = "root";

    fn check(&self) -> Result<(), String> {
        if let Some(missing) = TOP_LEVEL.into_iter().find(|role| !self.roles.contains_key(*role)) {
            return Err(format!("it names nobody for {missing}"));
        }
        self.roles.values().try_for_each(Speakers::check)
    }
}

/// What a document says about another one (`METAFILES`).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pin {
    version: NonZeroU64,
    pub length: Option<u64>,
    pub hashes: Option<BTreeMap<String, String>>,
}

impl Pin {
    pub(crate) fn version(&self) -> u64 {
        self.version.get()
    }

    pub(super) fn fits(&self, bytes: &[u8], what: &str) -> Result<(), Refused> {
        fits(bytes, self.length, self.hashes.as_ref(), what)
    }

    fn check(&self) -> Result<(), String> {
        match self.hashes.as_ref().is_some_and(BTreeMap::is_empty) {
            true => Err("it lists hashes, and there are none".to_owned()),
            false => Ok(()),
        }
    }
}

/// `timestamp.json` (§4.6).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TimestampRole {
    meta: BTreeMap<String, Pin>,
}

impl TimestampRole {
    pub(crate) fn snapshot(&self) -> &Pin {
        self.meta.get("snapshot.json").expect("check() has seen it")
    }
}

impl Role for TimestampRole {
    const TYPE: &'static str = "timestamp";

    fn check(&self) -> Result<(), String> {
        self.meta.get("snapshot.json").ok_or("it does not name snapshot.json")?.check()
    }
}

/// `snapshot.json` (§4.4).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Snapshot {
    pub meta: BTreeMap<String, Pin>,
}

impl Role for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn check(&self) -> Result<(), String> {
        self.meta.values().try_for_each(Pin::check)
    }
}

/// `targets.json`, and what delegated roles sign (§4.5).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Targets {
    pub targets: BTreeMap<String, Target>,
    pub delegations: Option<Delegations>,
}

/// One file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    pub length: u64,
    pub hashes: BTreeMap<String, String>,
}

impl Target {
    pub(crate) fn fits(&self, bytes: &[u8], name: &str) -> Result<(), Refused> {
        fits(bytes, Some(self.length), Some(&self.hashes), name)
    }

    /// The digest in the target's file name on a repository with consistent snapshots. Any would do; this is the one that others ask for.
    pub(super) fn prefix(&self) -> &str {
        let first = ["sha256", "sha512"].into_iter().find_map(|name| self.hashes.get(name));
        first.or(self.hashes.values().next()).map_or("", String::as_str)
    }
}

impl Role for Targets {
    const TYPE: &'static str = "targets";

    fn check(&self) -> Result<(), String> {
        if let Some((name, _)) = self.targets.iter().find(|(_, target)| target.hashes.is_empty()) {
            return Err(format!("target {name:?} has no hashes"));
        }
        self.delegations.as_ref().map_or(Ok(()), Delegations::check)
    }
}

/// Length and digests. Digests that nobody here can compute are passed over as long as there is one that somebody can.
fn fits(bytes: &[u8], length: Option<u64>, hashes: Option<&BTreeMap<String, String>>, what: &str) -> Result<(), Refused> {
    let failed = |why: String| Refused::Because(format!("integrity check failed: {what}: {why}"));
    if let Some(length) = length
        && u64::try_from(bytes.len()) != Ok(length)
    {
        return Err(failed(format!("it has {} bytes, not {length}", bytes.len())));
    }
    let Some(hashes) = hashes else { return Ok(()) };
    let mut known = 0;
    for (name, expected) in hashes {
        let algorithm = match name.as_str() {
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ => continue,
        };
        if !Digest::of(algorithm, bytes).hex().eq_ignore_ascii_case(expected) {
            return Err(failed(format!("its {name} is not {expected}")));
        }
        known += 1;
    }
    match known {
        0 => Err(failed(format!("of its hashes ({}) none is known", hashes.keys().cloned().collect::<Vec<_>>().join(", ")))),
        _ => Ok(()),
    }
}

/// A key that can check signatures. Anything else in the list of keys is somebody else's: of a later version, of another client.
fn usable(value: &Value) -> Option<Key> {
    let key = Key::deserialize(value).ok()?;
    SCHEMES.contains(&(key.keytype.as_str(), key.scheme.as_str())).then_some(key)
}

/// `1.MINOR` or `1.MINOR.FIX`: later minor versions only add (§4, `SPEC_VERSION`).
fn check_spec_version(text: &str) -> Result<(), String> {
    let parts: Vec<_> = text.split('.').collect();
    let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    match (parts.len(), parts[0], numbers) {
        (2 | 3, "1", true) => Ok(()),
        _ => Err(format!("it follows version {text:?} of the specification, not 1.x")),
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ` and nothing else (§4.2.3).
fn read_time(text: &str) -> Option<DateTime> {
    let form = b"0000-00-00T00:00:00Z";
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    let right = text.len() == form.len() && text.bytes().zip(form).all(fits);
    text.strip_suffix('Z').filter(|_| right)?.parse().ok()
}

fn all_different<'a>(ids: impl IntoIterator<Item = &'a String>) -> Result<(), &'a String> {
    let mut seen = BTreeSet::new();
    ids.into_iter().try_for_each(|id| if seen.insert(id) { Ok(()) } else { Err(id) })
}
