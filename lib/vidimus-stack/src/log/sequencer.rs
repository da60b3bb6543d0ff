//! The one thread that writes a log.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use vidimus_core::merkle::{Hash, leaf_hash};

use super::{
    CheckpointSigner, Entry, Head, LogError, Message, Sequenced, Shared, index, journal, journal::Journal, recovery, tiles,
};
use crate::storage::StorageError;

/// Entries in one batch: as many as may wait, so that a burst is one fsync.
const BATCH: usize = super::QUEUE;
/// Bytes after which a batch is closed, so that a burst of large entries does not become one long write.
const BATCH_BYTES: usize = 8 << 20;
/// How long to gather a batch while requests come faster than they can be written one by one. Alone, a request never waits.
const GATHER: Duration = Duration::from_millis(2);
/// How often to look whether the static files are due when nothing comes.
const IDLE: Duration = Duration::from_millis(100);
/// How often the static files are brought up to date. Every time, a bundle of up to 255 entries is written again.
const PUBLISH: Duration = Duration::from_secs(1);
/// Partial tiles of that many published heads are kept, for those who read the directory while it changes.
const PARTIALS: usize = 8;

type Answer = oneshot::Sender<Result<Sequenced, LogError>>;

pub(super) struct Sequencer {
    shared: Arc<Shared>,
    signer: Arc<dyn CheckpointSigner>,
    journal: Journal,
    journal_bytes: u64,
    older: Vec<u64>,
    /// Complete tiles that are written, for each level of tiles.
    tiles: [u64; 8],
    /// Complete files written since the current journal began: to be made durable before it may go.
    unsynced: Vec<String>,
    /// The partial files of the last published heads.
    partials: VecDeque<Vec<String>>,
    /// The partial files that the oldest journal starts from.
    base_partials: Vec<String>,
    /// The size that the `checkpoint` file says.
    published: Option<u64>,
    published_at: Instant,
    last_batch: usize,
    flush: Option<JoinHandle<Result<(), StorageError>>>,
}

struct Pending {
    entry: Entry,
    leaf_hash: Hash,
    answer: Option<Answer>,
}

/// What came out of the queue.
#[derive(Default)]
struct Batch {
    pending: Vec<Pending>,
    bytes: usize,
    close: Option<oneshot::Sender<()>>,
    disconnected: bool,
}

impl Batch {
    fn take(&mut self, message: Message) {
        match message {
            Message::Append { entry, leaf_hash, answer } => {
                self.bytes += entry.leaf.len() + entry.extra.len();
                self.pending.push(Pending { entry, leaf_hash, answer: Some(answer) });
            }
            Message::Close { answer } => self.close = Some(answer),
        }
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= BATCH || self.bytes >= BATCH_BYTES || self.close.is_some()
    }
}

impl Sequencer {
    pub(super) fn new(
        shared: Arc<Shared>,
        signer: Arc<dyn CheckpointSigner>,
        journals: recovery::Journals,
        journal_bytes: u64,
    ) -> Result<Self, LogError> {
        let durable = journals.older.first().copied().unwrap_or(journals.current.base);
        let tiles = std::array::from_fn(|level| durable.checked_shr(tile_shift(level + 1)).unwrap_or(0));
        let mut sequencer = Self {
            shared,
            signer,
            journal: journals.current,
            journal_bytes,
            older: journals.older,
            tiles,
            unsynced: Vec::new(),
            partials: VecDeque::new(),
            base_partials: Vec::new(),
            published: None,
            published_at: Instant::now(),
            last_batch: 0,
            flush: None,
        };
        sequencer.base_partials = sequencer.partial_names(durable);
        sequencer.write_complete()?;
        Ok(sequencer)
    }

    /// Appends an entry before the thread runs.
    pub(super) fn append_one(&mut self, entry: Entry) -> Result<(), LogError> {
        let leaf_hash = leaf_hash(&entry.leaf);
        self.commit(vec![Pending { entry, leaf_hash, answer: None }])
    }

    pub(super) fn run(mut self, requests: &Receiver<Message>) {
        loop {
            let mut batch = Batch::default();
            match self.wait(requests) {
                Ok(message) => batch.take(message),
                Err(RecvTimeoutError::Timeout) => {
                    self.attempt(|this| this.publish_static(PUBLISH));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => batch.disconnected = true,
            }
            self.gather(requests, &mut batch);
            if !batch.pending.is_empty() {
                // Everyone in the batch has been told of an error; what follows is told by the poisoned state.
                let _ = self.commit(batch.pending);
            }
            if batch.close.is_some() || batch.disconnected {
                self.attempt(Self::finish);
                if let Some(answer) = batch.close {
                    let _ = answer.send(());
                }
                return;
            }
        }
    }

    /// Waits for a request; in between only as long as there is something to be written behind.
    fn wait(&self, requests: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        if self.published == Some(self.shared.head().size) || self.shared.check_healthy().is_err() {
            return requests.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        requests.recv_timeout(IDLE)
    }

    /// Takes what else is waiting. If the last batch was shared, requests come faster than fsyncs, and a short wait saves many.
    fn gather(&self, requests: &Receiver<Message>, batch: &mut Batch) {
        if self.last_batch > 1 && !batch.is_full() && !batch.disconnected {
            std::thread::sleep(GATHER);
        }
        while !batch.is_full() {
            match requests.try_recv() {
                Ok(message) => batch.take(message),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    batch.disconnected = true;
                    return;
                }
            }
        }
    }

    /// Places, writes, publishes, acknowledges: in this order.
    fn commit(&mut self, batch: Vec<Pending>) -> Result<(), LogError> {
        self.last_batch = batch.len();
        if let Err(error) = self.shared.check_healthy() {
            answer_all(batch.into_iter().filter_map(|p| p.answer), &error);
            return Err(error);
        }
        let first = self.shared.state().tree.size();
        let placed = self.place(batch);
        let result = self.write_batch(first);
        let head = match result {
            Ok(head) => head,
            Err(error) => {
                let error = self.shared.poison(&error);
                answer_all(placed.into_iter().filter_map(|p| p.0), &error);
                return Err(error);
            }
        };
        for (answer, index, duplicate) in placed {
            if let Some(answer) = answer {
                // A client that went away has its entry in the log all the same.
                let _ = answer.send(Ok(Sequenced { index, duplicate, head: head.clone() }));
            }
        }
        self.attempt(|this| {
            this.write_complete()?;
            this.publish_static(PUBLISH)?;
            this.rotate_if_long()
        });
        Ok(())
    }

    /// Gives every entry its index. Readers do not see the new ones: the head does not cover them yet.
    fn place(&self, batch: Vec<Pending>) -> Vec<(Option<Answer>, u64, bool)> {
        let mut state = self.shared.state_mut();
        let state = &mut *state;
        let mut place = |pending: Pending| {
            if let Some(index) = state.by_hash.find(&state.tree, &pending.leaf_hash) {
                return (pending.answer, index, true);
            }
            let index = state.tree.size();
            state.by_hash.insert(&pending.leaf_hash, index);
            state.tree.push(pending.leaf_hash);
            state.tail.push(pending.entry);
            (pending.answer, index, false)
        };
        batch.into_iter().map(&mut place).collect()
    }

    /// Makes the leaves from `first` on durable together with the checkpoint over them, then shows them to readers.
    fn write_batch(&mut self, first: u64) -> Result<Arc<Head>, LogError> {
        let head = {
            let state = self.shared.state();
            let size = state.tree.size();
            if size == first {
                return Ok(self.shared.head());
            }
            let root = state.tree.root(size);
            let head = Head { size, root, checkpoint: self.signer.sign(size, &root)? };
            let fresh = state.tail.len() - index(size - first);
            self.journal.write(first, &head, &state.tail[fresh..])?;
            head
        };
        Ok(self.shared.publish(head))
    }

    /// Runs what is not part of an acknowledgement; its failure stops the log all the same, since the disk is not what we think.
    fn attempt(&mut self, act: impl FnOnce(&mut Self) -> Result<(), LogError>) {
        if self.shared.check_healthy().is_ok()
            && let Err(error) = act(self)
        {
            self.shared.poison(&error);
        }
    }

    /// Writes the tiles and bundles that became complete, and frees the entries in memory.
    fn write_complete(&mut self) -> Result<(), LogError> {
        let (mut files, bundles) = {
            let state = self.shared.state();
            let mut files = Vec::new();
            for (level, written) in self.tiles.iter_mut().enumerate() {
                let available = state.tree.size().checked_shr(tile_shift(level + 1)).unwrap_or(0);
                for number in *written..available {
                    let hashes = state.tree.hashes(tile_shift(level), number * tiles::WIDTH, (number + 1) * tiles::WIDTH);
                    files.push((tiles::tile_file(tile_level(level), number, tiles::WIDTH), hashes.concat()));
                }
                *written = available;
            }
            let mut bundles = 0;
            for (number, entries) in state.complete_bundles() {
                bundles += 1;
                files.push((tiles::bundle_file(number, tiles::WIDTH), tiles::encode_leaves(entries)));
                files.extend(tiles::encode_extras(entries).map(|extras| (tiles::extra_file(number, tiles::WIDTH), extras)));
            }
            (files, bundles)
        };
        for (file, bytes) in files.drain(..) {
            self.shared.storage.put(&file, &bytes)?;
            self.unsynced.push(file);
        }
        if bundles > 0 {
            let mut state = self.shared.state_mut();
            state.tail.drain(..index(bundles * tiles::WIDTH));
            state.tail_start += bundles * tiles::WIDTH;
        }
        Ok(())
    }

    /// Brings the directory to the state of the head, if that was last done more than `every` ago: partial tiles, then `checkpoint`.
    fn publish_static(&mut self, every: Duration) -> Result<(), LogError> {
        let head = self.shared.head();
        if self.published == Some(head.size) || (self.published.is_some() && self.published_at.elapsed() < every) {
            return Ok(());
        }
        let mut names = Vec::new();
        for (file, bytes) in self.partial_files(head.size) {
            self.shared.storage.put(&file, &bytes)?;
            names.push(file);
        }
        self.shared.storage.put("checkpoint", head.checkpoint.as_bytes())?;
        self.published = Some(head.size);
        self.published_at = Instant::now();
        self.partials.push_back(names);
        while self.partials.len() > PARTIALS
            && let Some(old) = self.partials.pop_front()
        {
            for file in old.iter().filter(|file| !self.is_kept(file)) {
                self.shared.storage.remove(file)?;
            }
        }
        Ok(())
    }

    fn is_kept(&self, file: &String) -> bool {
        self.base_partials.contains(file) || self.partials.iter().any(|names| names.contains(file))
    }

    fn partial_files(&self, size: u64) -> Vec<(String, Vec<u8>)> {
        let state = self.shared.state();
        let mut files = Vec::new();
        for level in 0..self.tiles.len() {
            let available = size.checked_shr(tile_shift(level)).unwrap_or(0);
            let (number, width) = (available / tiles::WIDTH, available % tiles::WIDTH);
            if width > 0 {
                let hashes = state.tree.hashes(tile_shift(level), available - width, available);
                files.push((tiles::tile_file(tile_level(level), number, width), hashes.concat()));
            }
        }
        let (number, width) = (size / tiles::WIDTH, size % tiles::WIDTH);
        if width > 0 {
            let entries = &state.tail[..index(width)];
            files.push((tiles::bundle_file(number, width), tiles::encode_leaves(entries)));
            files.extend(tiles::encode_extras(entries).map(|extras| (tiles::extra_file(number, width), extras)));
        }
        files
    }

    fn rotate_if_long(&mut self) -> Result<(), LogError> {
        if self.flush.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end_flush()?;
        }
        if self.journal.size() < self.journal_bytes || self.flush.is_some() { Ok(()) } else { self.rotate() }
    }

    /// Leaves the journal for a new one, and has the old one removed once the tiles it covers are durable.
    fn rotate(&mut self) -> Result<(), LogError> {
        self.publish_static(Duration::ZERO)?;
        let head = self.shared.head();
        if head.size == self.journal.base {
            return Ok(());
        }
        let next = Journal::create(self.shared.storage.as_ref(), &head)?;
        self.older.push(std::mem::replace(&mut self.journal, next).base);

        let storage = self.shared.storage.clone();
        let journals = std::mem::take(&mut self.older);
        let complete = std::mem::take(&mut self.unsynced);
        let partial = self.partials.back().cloned().unwrap_or_default();
        self.base_partials.extend(partial.iter().cloned());
        let flush = move || {
            storage.sync(&partial)?;
            storage.sync(&complete)?;
            for base in journals {
                storage.remove(&journal::file(base))?;
            }
            // Partial files of what is complete and durable are of no more use.
            complete.iter().try_for_each(|file| storage.remove(&format!("{file}.p")))
        };
        let thread = std::thread::Builder::new().name(format!("flush-{}", self.shared.name)).spawn(flush);
        self.flush =
            Some(thread.map_err(|source| StorageError { action: "start a thread for", path: "flush".to_owned(), source })?);
        Ok(())
    }

    fn end_flush(&mut self) -> Result<(), LogError> {
        let Some(flush) = self.flush.take() else { return Ok(()) };
        let result = flush.join().map_err(|_| LogError::Damaged { what: "writing tiles out panicked".to_owned() })?;
        result?;
        // What the journals that are gone started from is not needed any more; what the current one starts from is the last.
        self.base_partials = self.partial_names(self.journal.base);
        Ok(())
    }

    fn partial_names(&self, size: u64) -> Vec<String> {
        let mut names: Vec<String> = (0..self.tiles.len())
            .map(|level| (level, size.checked_shr(tile_shift(level)).unwrap_or(0)))
            .filter(|(_, available)| available % tiles::WIDTH > 0)
            .map(|(level, available)| tiles::tile_file(tile_level(level), available / tiles::WIDTH, available % tiles::WIDTH))
            .collect();
        let (number, width) = (size / tiles::WIDTH, size % tiles::WIDTH);
        if width > 0 {
            names.extend([tiles::bundle_file(number, width), tiles::extra_file(number, width)]);
        }
        names
    }

    /// Leaves a directory in which the tiles say everything and the journal is empty.
    fn finish(&mut self) -> Result<(), LogError> {
        self.end_flush()?;
        self.rotate()?;
        self.end_flush()
    }
}

fn answer_all(answers: impl Iterator<Item = Answer>, error: &LogError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}

/// The height in the tree of the hashes in tiles of a level.
fn tile_shift(level: usize) -> u32 {
    u32::try_from(level).map_or(u32::MAX, |level| level.saturating_mul(tiles::HEIGHT))
}

fn tile_level(level: usize) -> u8 {
    u8::try_from(level).expect("there are eight levels of tiles")
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        // A process that ends in an orderly way does not tear its own files.
        if let Some(flush) = self.flush.take() {
            let _ = flush.join();
        }
    }
}
