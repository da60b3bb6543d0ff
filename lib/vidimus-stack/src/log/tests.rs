//! The invariants of the log under faults and power cuts: nothing acknowledged is lost, and every checkpoint ever published is
//! consistent with the last.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use vidimus_core::{
    checkpoint::Note,
    merkle::{check_consistency, leaf_hash, root_from_inclusion},
};

use super::*;
use crate::storage::{Crash, Fault, Faulty, Memory, Step};

/// Writes checkpoints that anybody could: what is signed is not the matter here.
struct Unsigned;

impl CheckpointSigner for Unsigned {
    fn sign(&self, size: u64, root: &Hash) -> Result<String, LogError> {
        Ok(format!("test\n{size}\n{}\n\n\u{2014} test AAAAAAA=\n", vidimus_core::encoding::encode(root)))
    }
}

fn entry(n: usize) -> Entry {
    Entry { leaf: format!("entry {n}").into(), extra: format!("extra {n}").into() }
}

fn open(storage: Arc<dyn Storage>) -> Result<Log, LogError> {
    Log::open(storage, Arc::new(Unsigned), LogOptions::named("test").genesis(entry(0)))
}

/// With a journal so short that it is left behind after every burst.
fn open_short(storage: Arc<dyn Storage>) -> Result<Log, LogError> {
    let options = LogOptions { journal_bytes: 1000, ..LogOptions::named("test").genesis(entry(0)) };
    Log::open(storage, Arc::new(Unsigned), options)
}

/// What the outside world knows about a log.
#[derive(Default)]
struct Witness {
    acknowledged: Vec<(u64, Entry)>,
    heads: Vec<Arc<Head>>,
}

impl Witness {
    async fn append(&mut self, log: &Log, entries: impl Iterator<Item = usize>) -> Result<(), LogError> {
        let mut result = Ok(());
        let waiting: Vec<_> = entries
            .map(|n| {
                let log = log.clone();
                (entry(n), tokio::spawn(async move { log.append(entry(n)).await }))
            })
            .collect();
        for (entry, answer) in waiting {
            match answer.await.unwrap() {
                Ok(sequenced) => {
                    self.acknowledged.push((sequenced.index, entry));
                    self.heads.push(sequenced.head);
                }
                Err(error) => result = Err(error),
            }
        }
        self.heads.push(log.head());
        result
    }

    /// The invariants.
    fn check(&self, log: &Log) {
        let last = log.head();
        let note = Note::parse(&last.checkpoint).unwrap().checkpoint().unwrap();
        assert_eq!((note.size, note.root), (last.size, last.root));
        assert_eq!(log.root(last.size).unwrap(), last.root);
        let entries = log.entries(0, last.size).unwrap();
        let hashes: Vec<Hash> = entries.iter().map(|e| leaf_hash(&e.leaf)).collect();
        for (index, hash) in (0..).zip(&hashes) {
            assert_eq!(log.find(hash), Some(index));
            let proof = log.inclusion_proof(index, last.size).unwrap();
            assert_eq!(root_from_inclusion(index, last.size, *hash, &proof).unwrap(), last.root);
        }
        for (index, entry) in &self.acknowledged {
            assert_eq!(entries[super::index(*index)], *entry, "entry {index}");
        }
        let mut heads: Vec<&Head> = self.heads.iter().map(Arc::as_ref).collect();
        heads.dedup();
        for head in heads {
            let proof = log.consistency_proof(head.size, last.size).unwrap();
            check_consistency(head.size, &head.root, last.size, &last.root, &proof).unwrap();
        }
    }
}

#[tokio::test]
async fn entries_are_sequenced_proven_and_read() {
    let storage = Memory::new();
    let log = open(Arc::new(storage.clone())).unwrap();
    let mut witness = Witness::default();
    for round in 0..7 {
        witness.append(&log, (round * 100 + 1)..(round * 100 + 101)).await.unwrap();
    }
    witness.check(&log);
    assert_eq!(log.status(), LogStatus { size: 701, failed: None });
    let mut extras = Vec::new();
    log.for_each_extra(|index, extra| extras.push((index, extra.to_vec()))).unwrap();
    let expected: Vec<_> = log.entries(0, 701).unwrap().iter().zip(0..).map(|(e, i)| (i, e.extra.to_vec())).collect();
    assert_eq!(extras, expected);

    log.close().await;
    assert!(matches!(log.append(entry(1000)).await, Err(LogError::Closed)));
    let reopened = open(Arc::new(storage.crash(Crash::Lost))).unwrap();
    assert_eq!(reopened.head().size, 701);
    witness.check(&reopened);
}

#[tokio::test]
async fn a_leaf_is_logged_once() {
    let log = open(Arc::new(Memory::new())).unwrap();
    let first = log.append(entry(1)).await.unwrap();
    assert!(!first.duplicate);
    let answers: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn({
                let log = log.clone();
                async move { log.append(entry(1)).await }
            })
        })
        .collect();
    for answer in answers {
        let again = answer.await.unwrap().unwrap();
        assert_eq!((again.index, again.duplicate), (first.index, true));
    }
    let together: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn({
                let log = log.clone();
                async move { log.append(entry(2)).await }
            })
        })
        .collect();
    let mut fresh = 0;
    for answer in together {
        fresh += usize::from(!answer.await.unwrap().unwrap().duplicate);
    }
    assert_eq!((fresh, log.head().size), (1, 3));
}

#[tokio::test]
async fn the_directory_is_a_static_tiled_log() {
    let storage = Memory::new();
    let log = open(Arc::new(storage.clone())).unwrap();
    let mut witness = Witness::default();
    witness.append(&log, 1..600).await.unwrap();
    log.close().await;

    let text = String::from_utf8(storage.read("checkpoint").unwrap().unwrap()).unwrap();
    let checkpoint = Note::parse(&text).unwrap().checkpoint().unwrap();
    assert_eq!(checkpoint.size, 600);
    let mut tree = Tree::default();
    for (file, width) in [("tile/0/000", 256), ("tile/0/001", 256), ("tile/0/002.p/88", 88)] {
        let tile = storage.read(file).unwrap().unwrap();
        assert_eq!(tile.len(), 32 * width, "{file}");
        let bundle = storage.read(&file.replace("tile/0", "tile/entries")).unwrap().unwrap();
        let mut rest = &bundle[..];
        for hash in tile.as_chunks::<32>().0 {
            let (size, after) = rest.split_first_chunk::<2>().unwrap();
            let (leaf, after) = after.split_at(usize::from(u16::from_be_bytes(*size)));
            assert_eq!(leaf_hash(leaf), *hash);
            tree.push(*hash);
            rest = after;
        }
        assert!(rest.is_empty());
    }
    assert_eq!(tree.root(600), checkpoint.root);
    let level_1 = storage.read("tile/1/000.p/2").unwrap().unwrap();
    assert_eq!(level_1, [tree.hashes(8, 0, 1)[0], tree.hashes(8, 1, 2)[0]].concat());

    // What is served has the same bytes, and any width up to what there is.
    assert_eq!(log.tile(1, 0, 2).unwrap(), level_1);
    assert_eq!(log.tile(0, 2, 88).unwrap(), storage.read("tile/0/002.p/88").unwrap().unwrap());
    assert_eq!(log.bundle(1, 256).unwrap().unwrap(), storage.read("tile/entries/001").unwrap().unwrap());
    assert_eq!(
        log.bundle(2, 7).unwrap().unwrap().len(),
        log.entries(512, 519).unwrap().iter().map(|e| e.leaf.len() + 2).sum::<usize>()
    );
    assert_eq!(log.tile(0, 2, 89), None);
    assert_eq!(log.tile(2, 0, 1), None);
    assert_eq!(log.tile(63, 0, 1), None);
    assert_eq!(log.bundle(2, 89).unwrap(), None);
    assert_eq!(log.bundle(u64::MAX, 1).unwrap(), None);
}

#[tokio::test]
async fn what_was_never_published_is_not_answered() {
    let log = open(Arc::new(Memory::new())).unwrap();
    let beyond = |result: Result<_, LogError>| assert!(matches!(result, Err(LogError::OutOfRange { .. })));
    beyond(log.inclusion_proof(0, 2).map(drop));
    beyond(log.inclusion_proof(1, 1).map(drop));
    beyond(log.consistency_proof(1, 2).map(drop));
    beyond(log.consistency_proof(u64::MAX, 1).map(drop));
    beyond(log.root(2).map(drop));
    beyond(log.entry(1).map(drop));
    beyond(log.entry(u64::MAX).map(drop));
    assert!(matches!(
        log.append(Entry { leaf: vec![0; LEAF_BYTES + 1].into(), extra: Bytes::new() }).await,
        Err(LogError::TooLarge { .. })
    ));
}

type Open = fn(Arc<dyn Storage>) -> Result<Log, LogError>;

/// One life of a log: a few bursts, the end at a fault or by closing. Returns whether the fault came.
async fn live(open: Open, storage: &Faulty, witness: &mut Witness, from: usize) -> bool {
    let Ok(log) = open(Arc::new(storage.clone())) else { return true };
    for burst in 0..3 {
        if witness.append(&log, (from + burst * 90)..(from + burst * 90 + 90)).await.is_err() {
            let failed = log.status().failed.expect("a refusal has a reason");
            assert!(matches!(log.append(entry(9999)).await, Err(LogError::Poisoned { .. })), "{failed}");
            // What is published goes on being served.
            witness.check(&log);
            return true;
        }
    }
    log.close().await;
    log.status().failed.is_some()
}

/// Breaks every step of a log's life, before and after it took effect, then cuts the power and lets the log live on.
async fn break_every_step(open: Open, crash: Crash) {
    let mut broken = 0;
    for fault in [Fault::Before, Fault::After] {
        for at in 0.. {
            let memory = Memory::new();
            let hook = move |step: &Step| (step.number >= at).then_some(fault);
            let faulty = Faulty::new(Arc::new(memory.clone()), hook);
            let mut witness = Witness::default();
            let failed = live(open, &faulty, &mut witness, 1).await;
            broken += usize::from(failed);

            let found = memory.crash(crash);
            let healthy = Faulty::new(Arc::new(found.clone()), |_| None);
            assert!(!live(open, &healthy, &mut witness, 1000).await, "{fault:?} {crash:?} {at}");
            let log = open(Arc::new(found.crash(Crash::Lost))).unwrap();
            witness.check(&log);
            if !failed {
                break;
            }
        }
    }
    assert!(broken > 30, "only {broken} faults were injected");
}

#[tokio::test]
async fn faults_and_everything_unsynced_is_lost() {
    break_every_step(open, Crash::Lost).await;
    break_every_step(open_short, Crash::Lost).await;
}

#[tokio::test]
async fn faults_and_everything_unsynced_is_kept() {
    break_every_step(open, Crash::Kept).await;
    break_every_step(open_short, Crash::Kept).await;
}

#[tokio::test]
async fn faults_and_everything_unsynced_is_torn() {
    break_every_step(open, Crash::Torn).await;
    break_every_step(open_short, Crash::Torn).await;
}

/// Cuts the power between any two steps, without a fault being seen by the log, and again during the recovery.
#[tokio::test]
async fn power_cuts_at_every_step() {
    for (crash, open) in [Crash::Lost, Crash::Kept, Crash::Torn].into_iter().flat_map(|c| [(c, open as Open), (c, open_short)]) {
        let memory = Memory::new();
        let images: Arc<Mutex<Vec<Memory>>> = Arc::default();
        let hook = {
            let (memory, images) = (memory.clone(), images.clone());
            move |_: &Step| {
                images.lock().unwrap().push(memory.crash(crash));
                None
            }
        };
        let faulty = Faulty::new(Arc::new(memory.clone()), hook);
        let mut witness = Witness::default();
        assert!(!live(open, &faulty, &mut witness, 1).await);
        let end = open(Arc::new(memory.crash(Crash::Lost))).unwrap();
        witness.check(&end);
        for image in images.lock().unwrap().iter() {
            // Each image is a prefix of the history.
            let log = open(Arc::new(image.clone())).unwrap();
            let head = log.head();
            if head.size > 0 {
                assert_eq!(end.root(head.size).unwrap(), head.root);
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_said() {
    let memory = Memory::new();
    let full = Arc::new(AtomicUsize::new(0));
    let hook = {
        let full = full.clone();
        move |step: &Step| (full.load(Ordering::SeqCst) == 1 && step.call == "append").then_some(Fault::Before)
    };
    let log = open(Arc::new(Faulty::new(Arc::new(memory.clone()), hook))).unwrap();
    let mut witness = Witness::default();
    witness.append(&log, 1..10).await.unwrap();
    full.store(1, Ordering::SeqCst);
    assert!(matches!(witness.append(&log, 10..20).await, Err(LogError::Poisoned { .. })));
    full.store(0, Ordering::SeqCst);
    assert!(witness.append(&log, 20..30).await.is_err(), "only a restart knows what the disk holds");
    assert!(log.status().failed.unwrap().contains("cannot append journal/"));
    let log = open(Arc::new(memory.crash(Crash::Kept))).unwrap();
    witness.append(&log, 30..40).await.unwrap();
    witness.check(&log);
}

#[tokio::test]
async fn history_that_was_tampered_with_is_refused() {
    let memory = Memory::new();
    let log = open(Arc::new(memory.clone())).unwrap();
    let mut witness = Witness::default();
    witness.append(&log, 1..300).await.unwrap();
    log.close().await;
    let refused = |change: &dyn Fn(&Memory)| {
        let image = memory.crash(Crash::Lost);
        change(&image);
        assert!(matches!(open(Arc::new(image)), Err(LogError::Damaged { .. })));
    };
    let flip = |file: &str, image: &Memory| {
        let mut bytes = image.read(file).unwrap().unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        image.replace(file, &bytes).unwrap();
    };
    refused(&|image| flip("tile/0/000", image));
    refused(&|image| flip("tile/0/001.p/44", image));
    refused(&|image| flip("tile/entries/001.p/44", image));
    refused(&|image| image.remove("tile/0/000").unwrap());
    refused(&|image| image.remove("journal").unwrap());
    refused(&|image| image.replace("journal/00000000000000000300", b"").unwrap_or_default());
    refused(&|image| {
        let fork = Unsigned.sign(300, &[0; 32]).unwrap();
        image.replace("checkpoint", fork.as_bytes()).unwrap();
    });
    refused(&|image| image.replace("checkpoint", Unsigned.sign(301, &[0; 32]).unwrap().as_bytes()).unwrap());
}
