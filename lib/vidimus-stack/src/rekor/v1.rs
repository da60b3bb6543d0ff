//! Rekor v1: the log API of rekor 1.x.
//!
//! An entry is answered with a signed entry timestamp, which alone authenticates its time, and with an inclusion proof against a
//! published checkpoint. An entry that is in the log already is 409 with its `Location`, which cosign 2 and rekor-cli follow. There
//! is one shard. Not spoken: kinds that container signing does not use, `treeID` of other shards, fetching keys from URLs.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::Serialize;
use vidimus_core::{
    checkpoint::ecdsa_key_id,
    digest::sha256_of,
    encoding::{self, encode},
    rekor::{HashedRekordV001, promise_payload},
};

use crate::{
    clock::Clock,
    keys::{KeyError, P256Signer},
    log::{Entry, Head, LEAF_BYTES, Log, LogError, LogOptions, LogStatus},
    notes::EcdsaNotes,
    storage::Storage,
};

mod entry;
mod error;
mod extra;
mod keys;
mod routes;
mod search;

#[cfg(test)]
mod tests;

pub use routes::router;

use entry::Proposal;
use error::ApiError;
use extra::{Extra, key_hash};
use search::SearchIndex;

/// A Rekor v1 log. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct RekorV1 {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    signer: Arc<P256Signer>,
    clock: Clock,
    log_id: [u8; 32],
    tree_id: u64,
    index: RwLock<SearchIndex>,
}

impl RekorV1 {
    /// Opens the log in `storage` with a PKCS#8 P-256 key. `host` is the host name of the log's base URL, without port: checkpoints
    /// are signed under that name, with the origin `<host> - <tree id>`. Blocks.
    pub fn open(storage: Arc<dyn Storage>, key_pkcs8: &[u8], host: &str, clock: Clock) -> Result<Self, LogError> {
        let signing = |e: KeyError| LogError::Signing(e.to_string());
        let signer = Arc::new(P256Signer::from_pkcs8(key_pkcs8).map_err(signing)?);
        let log_id = ecdsa_key_id(signer.spki());
        let tree_id = tree_id(&log_id);
        let notes = EcdsaNotes::new(format!("{host} - {tree_id}"), host.to_owned(), signer.clone());
        let genesis = genesis(host, &signer, &clock).map_err(signing)?;
        let log = Log::open(storage, Arc::new(notes), LogOptions::named("rekor-v1").genesis(genesis))?;
        let index = RwLock::new(read_index(&log)?);
        Ok(Self { inner: Arc::new(Inner { log, signer, clock, log_id, tree_id, index }) })
    }

    /// The log's id: SHA-256 of its SubjectPublicKeyInfo.
    pub fn log_id(&self) -> [u8; 32] {
        self.inner.log_id
    }

    /// The number of the tree, which is part of its origin.
    pub fn tree_id(&self) -> u64 {
        self.inner.tree_id
    }

    /// The log's SubjectPublicKeyInfo DER.
    pub fn public_key(&self) -> &[u8] {
        self.inner.signer.spki()
    }

    /// Size and health.
    pub fn status(&self) -> LogStatus {
        self.inner.log.status()
    }

    /// Writes everything out and stops taking entries.
    pub async fn close(&self) {
        self.inner.log.close().await;
    }

    /// Logs a proposal; its UUID and the answer.
    async fn create(&self, proposal: Proposal) -> Result<(String, Vec<u8>), ApiError> {
        let Proposal { body, index_keys, attestation } = proposal;
        if body.len() > LEAF_BYTES {
            return Err(ApiError::entry(&format_args!("it has {} bytes where {LEAF_BYTES} are allowed", body.len())));
        }
        let mut keys: Vec<_> = index_keys.iter().map(|key| key_hash(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let extra = Extra { integrated_time: self.inner.clock.now().as_second(), index_keys: keys, attestation };
        let entry = Entry { leaf: body.into(), extra: extra.encode().into() };
        let sequenced = self.inner.log.append(entry.clone()).await?;
        if sequenced.duplicate {
            return Err(ApiError::Exists(self.uuid(&entry.leaf)));
        }
        self.inner.index.write().unwrap_or_else(PoisonError::into_inner).insert(&extra.index_keys, sequenced.index);
        let created = Extra { attestation: None, ..extra };
        let answer = self.answer(sequenced.index, &sequenced.head, &entry.leaf, &created)?;
        Ok((answer.0.clone(), one_entry(&answer)))
    }

    /// The entry at an index, proven against the current head. Blocks.
    fn entry(&self, index: u64) -> Result<(String, LogEntry), ApiError> {
        let entry = self.inner.log.entry(index)?;
        let extra = Extra::decode(&entry.extra).ok_or_else(|| damaged(index))?;
        self.answer(index, &self.inner.log.head(), &entry.leaf, &extra)
    }

    fn answer(&self, index: u64, head: &Head, body: &[u8], extra: &Extra) -> Result<(String, LogEntry), ApiError> {
        let log_index = i64::try_from(index).map_err(|_| LogError::OutOfRange { asked: index, size: head.size })?;
        let promise = promise_payload(body, extra.integrated_time, &self.inner.log_id, log_index);
        let promise = self.inner.signer.sign(&promise).map_err(|e| LogError::Signing(e.to_string()))?;
        let hashes = self.inner.log.inclusion_proof(index, head.size)?;
        let entry = LogEntry {
            attestation: extra.attestation.as_ref().map(|payload| Attestation { data: encode(payload) }),
            body: encode(body),
            integrated_time: extra.integrated_time,
            log_id: hex::encode(self.inner.log_id),
            log_index: index,
            verification: Verification {
                inclusion_proof: InclusionProof {
                    checkpoint: head.checkpoint.clone(),
                    hashes: hashes.iter().map(hex::encode).collect(),
                    log_index: index,
                    root_hash: hex::encode(head.root),
                    tree_size: head.size,
                },
                signed_entry_timestamp: encode(promise),
            },
        };
        Ok((self.uuid(body), entry))
    }

    /// Tree id and leaf hash, in hex.
    fn uuid(&self, body: &[u8]) -> String {
        self.uuid_of_hash(&vidimus_core::merkle::leaf_hash(body))
    }

    fn uuid_of_hash(&self, leaf_hash: &[u8; 32]) -> String {
        format!("{:016x}{}", self.inner.tree_id, hex::encode(leaf_hash))
    }

    /// The index of an entry id: a leaf hash, or the tree id and a leaf hash. Another tree's is not here.
    fn find(&self, id: &str) -> Result<Option<u64>, ApiError> {
        let bytes = hex::decode(id).ok().filter(|bytes| matches!(bytes.len(), 32 | 40));
        let bytes = bytes.ok_or_else(|| ApiError::pattern("entryUUID in path", "^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$"))?;
        let (tree, hash) = bytes.split_at(bytes.len() - 32);
        if !tree.is_empty() && tree != self.inner.tree_id.to_be_bytes() {
            return Ok(None);
        }
        Ok(hash.try_into().ok().and_then(|hash| self.inner.log.find(&hash)))
    }

    /// The UUIDs of the entries with an index key, oldest first.
    fn search(&self, key: &str) -> Vec<u64> {
        self.inner.index.read().unwrap_or_else(PoisonError::into_inner).find(&key_hash(key))
    }
}

fn damaged(index: u64) -> LogError {
    LogError::Damaged { what: format!("what is stored beside entry {index}") }
}

fn read_index(log: &Log) -> Result<SearchIndex, LogError> {
    let mut search = SearchIndex::default();
    let mut bad = None;
    log.for_each_extra(|index, bytes| match Extra::decode(bytes) {
        Some(extra) => search.insert(&extra.index_keys, index),
        None => bad = bad.or(Some(index)),
    })?;
    bad.map_or(Ok(search), |index| Err(damaged(index)))
}

/// A positive 63-bit number, as Trillian's are, that follows from the key: a log with another key is another tree.
fn tree_id(log_id: &[u8; 32]) -> u64 {
    let hash = sha256_of([b"rekor tree id\n", log_id]);
    let (head, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    (u64::from_be_bytes(*head) >> 1) | 1 << 62
}

/// The first entry of a log: the log's own signature over its name, so that no client ever gets index 0 (some read it as absent).
fn genesis(host: &str, signer: &P256Signer, clock: &Clock) -> Result<Entry, KeyError> {
    let message = format!("genesis of {host}");
    let digest = vidimus_core::Digest::sha256(message.as_bytes());
    let pem = encoding::pem("PUBLIC KEY", signer.spki());
    let body = HashedRekordV001::new(&digest, &signer.sign(message.as_bytes())?, &pem).canonical();
    let keys = vec![key_hash(&digest.to_string())];
    let extra = Extra { integrated_time: clock.now().as_second(), index_keys: keys, attestation: None };
    Ok(Entry { leaf: body.into(), extra: Bytes::from(extra.encode()) })
}

/// `{uuid: entry}`.
fn one_entry((uuid, entry): &(String, LogEntry)) -> Vec<u8> {
    serde_json::to_vec(&std::collections::BTreeMap::from([(uuid, entry)])).expect("strings, numbers and lists of strings")
}

/// An entry as answered, members in the order of the real service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation: Option<Attestation>,
    body: String,
    integrated_time: i64,
    #[serde(rename = "logID")]
    log_id: String,
    log_index: u64,
    verification: Verification,
}

#[derive(Debug, Serialize)]
struct Attestation {
    data: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    inclusion_proof: InclusionProof,
    signed_entry_timestamp: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InclusionProof {
    checkpoint: String,
    hashes: Vec<String>,
    log_index: u64,
    root_hash: String,
    tree_size: u64,
}
