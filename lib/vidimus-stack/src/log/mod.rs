//! An append-only Merkle log (RFC 6962 hashes, C2SP tlog-tiles layout) that answers only after its promise is on the disk.
//!
//! Used three times: Rekor v1, Rekor v2 and the CT log. What an entry means, and how a checkpoint is signed, is the caller's business.
//!
//! One thread, the sequencer, owns all writing. It takes whatever has queued up while the last batch was being written, appends one
//! record (entries, and the checkpoint signed over them) to a journal, makes it durable with one fsync, and only then lets readers see
//! the new head and acknowledges every entry of the batch. Tiles, entry bundles and the `checkpoint` file are written behind; they can
//! always be made again from the journal, and a journal is removed only after everything it covers is durable in tiles.
//!
//! After any failed write the log is *poisoned*: what the disk holds is no longer known, so it acknowledges nothing more, keeps
//! serving the last durable head, and says so. A restart reads what is really there.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
};

use bytes::Bytes;
use tokio::sync::oneshot;
use vidimus_core::merkle::Hash;

mod journal;
mod recovery;
mod sequencer;
pub mod tiles;
mod tree;

#[cfg(test)]
mod tests;

pub use tree::Tree;

use crate::storage::{Storage, StorageError};

/// Requests waiting for the sequencer. Beyond that the log answers "busy": at 64 KiB an entry this bounds the memory to 128 MiB.
const QUEUE: usize = 2048;

/// The longest leaf: entry bundles of C2SP tlog-tiles count bytes in 16 bits.
pub const LEAF_BYTES: usize = 65_535;

/// The most bytes that may be kept beside a leaf. Certificate chains and in-toto payloads are far smaller.
pub const EXTRA_BYTES: usize = 1 << 20;

/// Signs checkpoints.
pub trait CheckpointSigner: Send + Sync {
    /// The signed checkpoint for a tree. Called once a batch, before the batch is durable; it is published only afterwards.
    fn sign(&self, size: u64, root: &Hash) -> Result<String, LogError>;
}

/// Something to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the tree hashes.
    pub leaf: Bytes,
    /// What is kept beside it and not hashed: times, chains, index keys.
    pub extra: Bytes,
}

/// The answer to an append: the entry is durable and covered by `head`.
#[derive(Debug, Clone)]
pub struct Sequenced {
    /// The entry's index.
    pub index: u64,
    /// Whether the log had this leaf already.
    pub duplicate: bool,
    /// A durable, published head that covers the entry.
    pub head: Arc<Head>,
}

/// A state of the log that was, or is, published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Leaves.
    pub size: u64,
    /// The root hash.
    pub root: Hash,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// What a log says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogStatus {
    /// Durable entries.
    pub size: u64,
    /// Why the log takes no more entries, if it does not.
    pub failed: Option<String>,
}

/// Why a log did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Too many requests are waiting. Nothing was logged; try again.
    #[error("the log is busy: {QUEUE} entries are waiting")]
    Busy,
    /// A write failed, now or earlier. Whether this entry is in the log is known only after a restart.
    #[error("the log stopped taking entries: {reason}; restart the stack once the cause is removed")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The log is being shut down.
    #[error("the log is shutting down")]
    Closed,
    /// The entry can not be stored.
    #[error("the entry has {size} bytes where {limit} are allowed")]
    TooLarge {
        /// Bytes of the leaf or of what is kept beside it.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// What is on the disk can not be a log of ours: refused, since going on could rewrite history.
    #[error("the log is damaged: {what}")]
    Damaged {
        /// What was found, and where.
        what: String,
    },
    /// The storage failed.
    #[error("{0}")]
    Storage(Arc<StorageError>),
    /// A checkpoint could not be signed.
    #[error("cannot sign: {0}")]
    Signing(String),
    /// There is no such index, size or range in the published tree.
    #[error("the tree has {size} entries; {asked} is beyond that")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// The published size.
        size: u64,
    },
}

impl From<StorageError> for LogError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl LogError {
    /// Whether a client may try the same again later.
    pub fn is_unavailable(&self) -> bool {
        !matches!(self, Self::TooLarge { .. } | Self::OutOfRange { .. })
    }
}

/// How to open a log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The entry that a new log begins with.
    pub genesis: Option<Entry>,
    /// What to call the log in messages.
    pub name: &'static str,
    /// The size at which a journal is left behind for a new one. It bounds what a restart after a crash has to read.
    pub journal_bytes: u64,
}

impl LogOptions {
    /// A log without a genesis entry.
    pub fn named(name: &'static str) -> Self {
        Self { genesis: None, name, journal_bytes: 32 << 20 }
    }

    /// The entry that a new log begins with.
    #[must_use]
    pub fn genesis(self, entry: Entry) -> Self {
        Self { genesis: Some(entry), ..self }
    }
}

/// A log. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

/// What the sequencer writes and everybody reads.
#[derive(Debug)]
struct Shared {
    name: &'static str,
    storage: Arc<dyn Storage>,
    state: RwLock<State>,
    head: RwLock<Arc<Head>>,
    failed: OnceLock<Arc<str>>,
}

/// May run ahead of the head by the batch that is being written; readers look only at what the head covers.
#[derive(Debug, Default)]
struct State {
    tree: Tree,
    by_hash: LeafIndex,
    /// Entries that are not in a complete, written bundle. The first has an index that 256 divides.
    tail_start: u64,
    tail: Vec<Entry>,
}

enum Message {
    Append { entry: Entry, leaf_hash: Hash, answer: oneshot::Sender<Result<Sequenced, LogError>> },
    Close { answer: oneshot::Sender<()> },
}

impl Log {
    /// Opens the log in `storage`, recovering whatever a crash left behind. Blocks.
    pub fn open(storage: Arc<dyn Storage>, signer: Arc<dyn CheckpointSigner>, options: LogOptions) -> Result<Self, LogError> {
        let recovered = recovery::recover(storage.as_ref(), signer.as_ref())?;
        let shared = Arc::new(Shared {
            name: options.name,
            storage,
            head: RwLock::new(Arc::new(recovered.head)),
            state: RwLock::new(recovered.state),
            failed: OnceLock::new(),
        });
        let mut sequencer = sequencer::Sequencer::new(shared.clone(), signer, recovered.journal, options.journal_bytes)?;
        if let (0, Some(genesis)) = (shared.head().size, options.genesis) {
            sequencer.append_one(genesis)?;
        }
        let (queue, requests) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name(format!("log-{}", shared.name))
            .spawn(move || sequencer.run(&requests))
            .map_err(|source| StorageError { action: "start a thread for", path: shared.name.to_owned(), source })?;
        Ok(Self { shared, queue })
    }

    /// Appends an entry. Returns once a published checkpoint that covers it is durable.
    pub async fn append(&self, entry: Entry) -> Result<Sequenced, LogError> {
        check_size(&entry)?;
        self.shared.check_healthy()?;
        let leaf_hash = vidimus_core::merkle::leaf_hash(&entry.leaf);
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Message::Append { entry, leaf_hash, answer }).map_err(|e| match e {
            TrySendError::Full(_) => LogError::Busy,
            TrySendError::Disconnected(_) => self.shared.check_healthy().err().unwrap_or(LogError::Closed),
        })?;
        answered.await.unwrap_or_else(|_| Err(self.shared.check_healthy().err().unwrap_or(LogError::Closed)))
    }

    /// Writes everything out and stops taking entries.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        let mut message = Message::Close { answer };
        while let Err(TrySendError::Full(full)) = self.queue.try_send(message) {
            message = full;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // An error means that the sequencer has ended already.
        let _ = answered.await;
    }

    /// The last durable, published head.
    pub fn head(&self) -> Arc<Head> {
        self.shared.head()
    }

    /// Size and health.
    pub fn status(&self) -> LogStatus {
        LogStatus { size: self.head().size, failed: self.shared.failed.get().map(ToString::to_string) }
    }

    /// The index of the leaf with this hash.
    pub fn find(&self, leaf_hash: &Hash) -> Option<u64> {
        let size = self.head().size;
        let state = self.shared.state();
        state.by_hash.find(&state.tree, leaf_hash).filter(|index| *index < size)
    }

    /// The audit path of a leaf in the tree of `size` leaves.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.check_published(size)?;
        if index >= size {
            return Err(LogError::OutOfRange { asked: index, size });
        }
        Ok(self.shared.state().tree.inclusion_proof(index, size))
    }

    /// The proof that the tree of `second` leaves extends the tree of `first`.
    pub fn consistency_proof(&self, first: u64, second: u64) -> Result<Vec<Hash>, LogError> {
        self.check_published(second)?;
        if first > second {
            return Err(LogError::OutOfRange { asked: first, size: second });
        }
        Ok(self.shared.state().tree.consistency_proof(first, second))
    }

    /// The root of the tree of the first `size` leaves.
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        self.check_published(size)?;
        Ok(self.shared.state().tree.root(size))
    }

    /// The entries `first..end`, read from memory or bundles. Blocks on the disk for old ones.
    pub fn entries(&self, first: u64, end: u64) -> Result<Vec<Entry>, LogError> {
        self.check_published(end)?;
        let mut out = Vec::new();
        let mut next = first;
        while next < end {
            let bundle_end = end.min((next / tiles::WIDTH + 1) * tiles::WIDTH);
            out.extend(self.shared.entries_of_bundle(next, bundle_end)?);
            next = bundle_end;
        }
        Ok(out)
    }

    /// One entry.
    pub fn entry(&self, index: u64) -> Result<Entry, LogError> {
        let end = index.checked_add(1).ok_or(LogError::OutOfRange { asked: index, size: self.head().size })?;
        self.entries(index, end)?.pop().ok_or(LogError::OutOfRange { asked: index, size: self.head().size })
    }

    /// The hashes of published leaves. Indexes beyond the head are left out.
    pub fn leaf_hashes(&self, indexes: &[u64]) -> Vec<Hash> {
        let size = self.head().size;
        let state = self.shared.state();
        indexes.iter().filter(|index| **index < size).filter_map(|index| state.tree.leaf(*index).copied()).collect()
    }

    /// Calls `each` with the index and the extra of every published entry. Reads no leaves. Blocks.
    pub fn for_each_extra(&self, mut each: impl FnMut(u64, &[u8])) -> Result<(), LogError> {
        let size = self.head().size;
        for number in 0..size.div_ceil(tiles::WIDTH) {
            let first = number * tiles::WIDTH;
            for (extra, index) in self.shared.extras_of_bundle(number, size)?.iter().zip(first..size) {
                each(index, extra);
            }
        }
        Ok(())
    }

    /// A hash tile of `width` hashes, if the published tree has it.
    pub fn tile(&self, level: u8, number: u64, width: u64) -> Option<Bytes> {
        let shift = u32::from(level).checked_mul(tiles::HEIGHT).filter(|s| *s < u64::BITS)?;
        let available = self.head().size >> shift;
        let first = number.checked_mul(tiles::WIDTH)?;
        let end = first.checked_add(width).filter(|end| *end <= available)?;
        Some(self.shared.state().tree.hashes(shift, first, end).concat().into())
    }

    /// A bundle of `width` entries in tlog-tiles form, if the published tree has it. Blocks on the disk for old ones.
    pub fn bundle(&self, number: u64, width: u64) -> Result<Option<Bytes>, LogError> {
        let Some(first) = number.checked_mul(tiles::WIDTH) else { return Ok(None) };
        let Some(end) = first.checked_add(width).filter(|end| *end <= self.head().size) else { return Ok(None) };
        Ok(Some(tiles::encode_leaves(&self.entries(first, end)?).into()))
    }

    fn check_published(&self, size: u64) -> Result<(), LogError> {
        let published = self.head().size;
        if size > published { Err(LogError::OutOfRange { asked: size, size: published }) } else { Ok(()) }
    }
}

impl Shared {
    fn head(&self) -> Arc<Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, head: Head) -> Arc<Head> {
        let head = Arc::new(head);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head.clone();
        head
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_healthy(&self) -> Result<(), LogError> {
        match self.failed.get() {
            None => Ok(()),
            Some(reason) => Err(LogError::Poisoned { reason: reason.clone() }),
        }
    }

    /// Remembers the first failure and says it loudly.
    fn poison(&self, error: &LogError) -> LogError {
        let reason = self.failed.get_or_init(|| {
            tracing::error!(log = self.name, %error, "the log stopped taking entries; nothing acknowledged is lost");
            error.to_string().into()
        });
        LogError::Poisoned { reason: reason.clone() }
    }

    fn extras_of_bundle(&self, number: u64, size: u64) -> Result<Vec<Bytes>, LogError> {
        let first = number * tiles::WIDTH;
        {
            let state = self.state();
            if let Some(skip) = first.checked_sub(state.tail_start) {
                let width = index((size - first).min(tiles::WIDTH));
                return Ok(state.tail.iter().skip(index(skip)).take(width).map(|e| e.extra.clone()).collect());
            }
        }
        tiles::read_extras(self.storage.as_ref(), number)
    }

    /// Entries `first..end`, all in one bundle.
    fn entries_of_bundle(&self, first: u64, end: u64) -> Result<Vec<Entry>, LogError> {
        {
            let state = self.state();
            if let Some(skip) = first.checked_sub(state.tail_start) {
                let (skip, take) = (index(skip), index(end - first));
                return Ok(state.tail.iter().skip(skip).take(take).cloned().collect());
            }
        }
        let number = first / tiles::WIDTH;
        let entries = tiles::read_bundle(self.storage.as_ref(), number, tiles::WIDTH)?;
        Ok(entries.into_iter().skip(index(first % tiles::WIDTH)).take(index(end - first)).collect())
    }
}

/// Finds leaves by hash. Holds 8 bytes of each hash; the tree has the rest, and the few that collide are looked at one by one.
#[derive(Debug, Default)]
struct LeafIndex {
    first: HashMap<u64, u64>,
    colliding: Vec<u64>,
}

impl LeafIndex {
    fn insert(&mut self, leaf_hash: &Hash, index: u64) {
        if *self.first.entry(short(leaf_hash)).or_insert(index) != index {
            self.colliding.push(index);
        }
    }

    fn find(&self, tree: &Tree, leaf_hash: &Hash) -> Option<u64> {
        let first = self.first.get(&short(leaf_hash))?;
        std::iter::once(first).chain(&self.colliding).copied().find(|i| tree.leaf(*i) == Some(leaf_hash))
    }
}

fn short(hash: &Hash) -> u64 {
    let (head, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*head)
}

fn check_size(entry: &Entry) -> Result<(), LogError> {
    for (size, limit) in [(entry.leaf.len(), LEAF_BYTES), (entry.extra.len(), EXTRA_BYTES)] {
        if size > limit {
            return Err(LogError::TooLarge { size, limit });
        }
    }
    Ok(())
}

/// A position in memory. Trees with more leaves than the address space are not in memory.
fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A length as the formats count it.
fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
