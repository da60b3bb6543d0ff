//! The journal of a log: what makes an entry durable.
//!
//! A journal file is named after the size of the tree at its beginning and starts with a magic string and a random salt, followed by
//! records. A record is one batch: where it starts, the head after it with its signed checkpoint, and the entries; behind a length and
//! before a checksum. The first record of a file has no entries and repeats the head that the file starts from.
//!
//! The salt goes into the checksums, so that nobody can put something that reads as a record into an entry.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use vidimus_core::{digest::sha256_of, merkle::Hash};

use super::{Entry, Head, LogError, index, length};
use crate::storage::{Segment, Storage};

const MAGIC: &[u8; 8] = b"vdmslog1";
const SALT: usize = 16;
const HEADER: usize = MAGIC.len() + SALT;
const CHECKSUM: usize = 16;
/// No batch that we write is longer, so a length beyond it is damage.
const RECORD_BYTES: usize = 64 << 20;

/// The salt of one journal file.
type Salt = [u8; SALT];

/// A journal that is being written.
pub(super) struct Journal {
    segment: Box<dyn Segment>,
    salt: Salt,
    /// The size of the tree at its beginning.
    pub(super) base: u64,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) first: u64,
    pub(super) head: Head,
    pub(super) entries: Vec<Entry>,
}

/// A journal as found on the disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    salt: Salt,
    /// Bytes up to the end of the last good record.
    pub(super) good: u64,
    /// Whether bytes follow that are no record: a batch that was being written when the power went.
    pub(super) torn: bool,
}

/// The file of the journal that starts at `base`. The digits make names sort as numbers.
pub(super) fn file(base: u64) -> String {
    format!("journal/{base:020}")
}

impl Journal {
    /// Starts a new journal, durably, at a head that is already durable.
    pub(super) fn create(storage: &dyn Storage, head: &Head) -> Result<Self, LogError> {
        let mut salt = Salt::default();
        SystemRandom::new().fill(&mut salt).map_err(|_| LogError::Signing("no randomness".to_owned()))?;
        let mut segment = storage.segment(&file(head.size))?;
        let mut bytes = [&MAGIC[..], &salt].concat();
        encode(&salt, head.size, head, &[], &mut bytes);
        segment.append(&bytes)?;
        segment.sync()?;
        Ok(Self { segment, salt, base: head.size })
    }

    /// Goes on writing a journal that was read with [`read`]; a torn tail is cut off first.
    pub(super) fn reopen(storage: &dyn Storage, base: u64, found: &Found) -> Result<Self, LogError> {
        if found.torn {
            tracing::warn!(journal = file(base), bytes = found.good, "cutting off a batch that was never acknowledged");
            storage.truncate(&file(base), found.good)?;
        }
        Ok(Self { segment: storage.segment(&file(base))?, salt: found.salt, base })
    }

    /// Writes one batch and makes it durable: the moment from which its entries may be acknowledged.
    pub(super) fn write(&mut self, first: u64, head: &Head, entries: &[Entry]) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(entries.iter().map(|e| e.leaf.len() + e.extra.len() + 8).sum::<usize>() + 1024);
        encode(&self.salt, first, head, entries, &mut bytes);
        self.segment.append(&bytes)?;
        self.segment.sync()?;
        Ok(())
    }

    /// Bytes in the file.
    pub(super) fn size(&self) -> u64 {
        self.segment.size()
    }
}

/// Reads a journal. `None` if it was being created when the power went: nothing was written to it yet.
pub(super) fn read(storage: &dyn Storage, base: u64) -> Result<Option<Found>, LogError> {
    let file = file(base);
    let bytes = Bytes::from(storage.read(&file)?.unwrap_or_default());
    let Some((magic, salt)) = bytes.get(..HEADER).map(|header| header.split_at(MAGIC.len())) else { return Ok(None) };
    // A file system may leave zeroes where the header was to be.
    if magic != MAGIC && bytes.iter().any(|b| *b != 0) {
        return Err(super::tiles::damaged(&file, "not a journal"));
    }
    let salt = Salt::try_from(salt).unwrap_or_default();
    let mut records = Vec::new();
    let mut good = HEADER;
    while let Some((record, end)) = decode(&salt, &bytes, good) {
        records.push(record);
        good = end;
    }
    // One batch is written at a time, each after the last is durable: only the last can be torn.
    if (good + 1..bytes.len()).any(|at| decode(&salt, &bytes, at).is_some()) {
        return Err(LogError::Damaged { what: format!("{file} has good records after a bad one at byte {good}") });
    }
    let torn = good < bytes.len();
    Ok((!records.is_empty()).then_some(Found { records, salt, good: length(good), torn }))
}

/// Appends `length ‖ body ‖ checksum` to `out`.
fn encode(salt: &Salt, first: u64, head: &Head, entries: &[Entry], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&head.size.to_be_bytes());
    out.extend_from_slice(&head.root);
    put(out, head.checkpoint.as_bytes());
    for entry in entries {
        put(out, &entry.leaf);
        put(out, &entry.extra);
    }
    let size = u32_of(out.len() - start - 4).to_be_bytes();
    out[start..start + 4].copy_from_slice(&size);
    let checksum = checksum(salt, &out[start..]);
    out.extend_from_slice(&checksum);
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32_of(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn u32_of(n: usize) -> u32 {
    u32::try_from(n).expect("the sequencer bounds batches to a few MiB")
}

fn checksum(salt: &Salt, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&sha256_of([salt, bytes])[..CHECKSUM]);
    short
}

/// The record at `at`, and where it ends.
fn decode(salt: &Salt, bytes: &Bytes, at: usize) -> Option<(Record, usize)> {
    let size: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let size = usize::try_from(u32::from_be_bytes(size)).ok().filter(|size| *size <= RECORD_BYTES)?;
    let body = at + 4..at + 4 + size;
    let end = body.end + CHECKSUM;
    if *bytes.get(body.end..end)? != checksum(salt, &bytes[at..body.end]) {
        return None;
    }
    let mut rest = bytes.slice(body);
    let first = take_u64(&mut rest)?;
    let size = take_u64(&mut rest)?;
    let root = Hash::try_from(&take(&mut rest, 32)?[..]).ok()?;
    let checkpoint = String::from_utf8(take_lengthed(&mut rest)?.to_vec()).ok()?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(Entry { leaf: take_lengthed(&mut rest)?, extra: take_lengthed(&mut rest)? });
    }
    Some((Record { first, head: Head { size, root, checkpoint }, entries }, end))
}

fn take(rest: &mut Bytes, n: usize) -> Option<Bytes> {
    (n <= rest.len()).then(|| rest.split_to(n))
}

fn take_u64(rest: &mut Bytes) -> Option<u64> {
    Some(u64::from_be_bytes(take(rest, 8)?[..].try_into().ok()?))
}

fn take_lengthed(rest: &mut Bytes) -> Option<Bytes> {
    let n = u32::from_be_bytes(take(rest, 4)?[..].try_into().ok()?);
    take(rest, index(u64::from(n)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    fn head(size: u64) -> Head {
        Head { size, root: [7; 32], checkpoint: format!("checkpoint {size}") }
    }

    fn entry(n: u8) -> Entry {
        Entry { leaf: vec![n; 9].into(), extra: vec![n; usize::from(n)].into() }
    }

    fn written() -> (Memory, Vec<u8>) {
        let storage = Memory::new();
        let mut journal = Journal::create(&storage, &head(3)).unwrap();
        journal.write(3, &head(5), &[entry(0), entry(1)]).unwrap();
        journal.write(5, &head(6), &[entry(2)]).unwrap();
        let bytes = storage.read(&file(3)).unwrap().unwrap();
        (storage, bytes)
    }

    #[test]
    fn what_was_written_is_read() {
        let (storage, bytes) = written();
        let found = read(&storage, 3).unwrap().unwrap();
        assert!(!found.torn);
        assert_eq!(found.good, length(bytes.len()));
        assert_eq!(found.records.len(), 3);
        assert_eq!(found.records[0], Record { first: 3, head: head(3), entries: vec![] });
        assert_eq!(found.records[1], Record { first: 3, head: head(5), entries: vec![entry(0), entry(1)] });
        let mut journal = Journal::reopen(&storage, 3, &found).unwrap();
        journal.write(6, &head(7), &[entry(3)]).unwrap();
        assert_eq!(read(&storage, 3).unwrap().unwrap().records.len(), 4);
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_seen_and_cut() {
        let (storage, bytes) = written();
        let last = bytes.len() - 100;
        for cut in 0..bytes.len() {
            storage.replace(&file(3), &bytes[..cut]).unwrap();
            match read(&storage, 3).unwrap() {
                None => assert!(cut < 150, "{cut}"),
                Some(found) => {
                    assert!(found.good <= length(cut));
                    assert_eq!(found.torn, found.good < length(cut));
                    Journal::reopen(&storage, 3, &found).unwrap();
                    assert_eq!(length(storage.read(&file(3)).unwrap().unwrap().len()), found.good);
                }
            }
            if cut > last {
                assert_eq!(read(&storage, 3).unwrap().unwrap().records.len(), 2);
            }
        }
    }

    #[test]
    fn damage_before_the_end_is_not_taken_for_a_tear() {
        let (storage, bytes) = written();
        for at in [HEADER, HEADER + 10, bytes.len() / 2] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            storage.replace(&file(3), &bad).unwrap();
            assert!(matches!(read(&storage, 3), Err(LogError::Damaged { .. })), "{at}");
        }
        storage.replace(&file(3), &[b"x".as_slice(), &bytes].concat()).unwrap();
        assert!(matches!(read(&storage, 3), Err(LogError::Damaged { .. })));
    }
}
