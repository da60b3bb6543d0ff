//! Reading a log back after a shutdown or a crash.
//!
//! Tiles are durable up to the beginning of the oldest journal; from there the journals say what happened. Everything found is
//! checked against the roots that were signed. What can not be explained by a power cut is refused: a log that forgets or rewrites is
//! worse than one that does not start.

use vidimus_core::{checkpoint::Note, merkle::leaf_hash};

use super::{CheckpointSigner, Head, LogError, State, index, journal, journal::Journal, length, tiles, tree::Tree};
use crate::storage::Storage;

/// A log as found.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) head: Head,
    pub(super) journal: Journals,
}

/// The journals in use.
pub(super) struct Journals {
    /// The one that is written.
    pub(super) current: Journal,
    /// The beginnings of older ones, kept until the tiles they cover are durable. Oldest first.
    pub(super) older: Vec<u64>,
}

/// Reads the log in `storage`, or starts one.
pub(super) fn recover(storage: &dyn Storage, signer: &dyn CheckpointSigner) -> Result<Recovered, LogError> {
    let mut bases = journal_bases(storage)?;
    let mut found = Vec::new();
    for base in &bases {
        found.push(journal::read(storage, *base)?);
    }
    if let Some(None) = found.last() {
        // It was being created: nothing is in it, and the one before it is still complete.
        found.pop();
        storage.remove(&journal::file(bases.pop().unwrap_or_default()))?;
    }
    let found =
        found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| damaged("a journal before the last has no record"))?;
    let Some(oldest) = found.first() else { return start(storage, signer) };

    let mut state = load_tiles(storage, &oldest.records[0].head)?;
    let mut head = oldest.records[0].head.clone();
    for (number, journal) in found.iter().enumerate() {
        if journal.torn && number + 1 < found.len() {
            return Err(damaged("a journal before the last is torn"));
        }
        journal.records.iter().try_for_each(|record| replay(record, &mut state, &mut head))?;
    }
    check_published(storage, &state.tree)?;
    // Signed again, so that a checkpoint of the log is always by the key and name the log has now.
    head.checkpoint = signer.sign(head.size, &head.root)?;
    let (Some(last), Some(base)) = (found.last(), bases.pop()) else { return Err(damaged("no journal")) };
    let journal = Journals { current: Journal::reopen(storage, base, last)?, older: bases };
    Ok(Recovered { state, head, journal })
}

/// A log without entries.
fn start(storage: &dyn Storage, signer: &dyn CheckpointSigner) -> Result<Recovered, LogError> {
    if storage.read("checkpoint")?.is_some() || !storage.list("tile")?.is_empty() {
        return Err(damaged("there are tiles but no journal"));
    }
    let state = State::default();
    let root = state.tree.root(0);
    let head = Head { size: 0, root, checkpoint: signer.sign(0, &root)? };
    let journal = Journals { current: Journal::create(storage, &head)?, older: Vec::new() };
    Ok(Recovered { state, head, journal })
}

fn journal_bases(storage: &dyn Storage) -> Result<Vec<u64>, LogError> {
    let names = storage.list("journal")?;
    names.iter().map(|name| name.parse().map_err(|_| damaged(format!("journal/{name} is not ours")))).collect()
}

/// The tree up to the head that a journal starts from.
fn load_tiles(storage: &dyn Storage, head: &Head) -> Result<State, LogError> {
    let mut state = State::default();
    let width_of = |number: u64| (head.size - number * tiles::WIDTH).min(tiles::WIDTH);
    for number in 0..head.size.div_ceil(tiles::WIDTH) {
        for hash in tiles::read_leaf_hashes(storage, number, width_of(number))? {
            state.by_hash.insert(&hash, state.tree.size());
            state.tree.push(hash);
        }
    }
    if state.tree.root(head.size) != head.root {
        return Err(damaged(format!("the tiles do not lead to the root that was signed for size {}", head.size)));
    }
    let partial = head.size / tiles::WIDTH;
    state.tail_start = partial * tiles::WIDTH;
    if head.size > state.tail_start {
        state.tail = tiles::read_bundle(storage, partial, width_of(partial))?;
    }
    let hashed = state.tail.iter().zip(state.tail_start..).all(|(e, i)| state.tree.leaf(i) == Some(&leaf_hash(&e.leaf)));
    if hashed { Ok(state) } else { Err(damaged(format!("entry bundle {partial} is not what the tiles say"))) }
}

fn replay(record: &journal::Record, state: &mut State, head: &mut Head) -> Result<(), LogError> {
    if record.first != state.tree.size() {
        return Err(damaged(format!("a batch starts at {} where the tree has {} leaves", record.first, state.tree.size())));
    }
    for entry in &record.entries {
        let hash = leaf_hash(&entry.leaf);
        state.by_hash.insert(&hash, state.tree.size());
        state.tree.push(hash);
        state.tail.push(entry.clone());
    }
    let size = record.first + length(record.entries.len());
    if (size, state.tree.root(size)) != (record.head.size, record.head.root) {
        return Err(damaged(format!("the batch at {} does not lead to the root that was signed for it", record.first)));
    }
    *head = record.head.clone();
    Ok(())
}

/// The `checkpoint` file lags behind the journal and is not synced, so it may be torn; but it must never be ahead.
fn check_published(storage: &dyn Storage, tree: &Tree) -> Result<(), LogError> {
    let Some(bytes) = storage.read("checkpoint")? else { return Ok(()) };
    let Ok(note) = Note::parse(&String::from_utf8_lossy(&bytes)) else { return Ok(()) };
    let Ok(checkpoint) = note.checkpoint() else { return Ok(()) };
    if checkpoint.size > tree.size() {
        let what = format!("a checkpoint for {} entries was published and {} are left", checkpoint.size, tree.size());
        return Err(damaged(what));
    }
    if tree.root(checkpoint.size) != checkpoint.root {
        return Err(damaged(format!("the published checkpoint for {} entries is of another tree", checkpoint.size)));
    }
    Ok(())
}

fn damaged(what: impl Into<String>) -> LogError {
    LogError::Damaged { what: what.into() }
}

impl State {
    /// The part of the tail that complete bundles have: what can be written out.
    pub(super) fn complete_bundles(&self) -> impl Iterator<Item = (u64, &[super::Entry])> {
        let width = index(tiles::WIDTH);
        self.tail.chunks_exact(width).zip(self.tail_start / tiles::WIDTH..).map(|(entries, number)| (number, entries))
    }
}
