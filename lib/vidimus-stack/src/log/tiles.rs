//! The static files of a log: C2SP tlog-tiles v1 (`checkpoint`, `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]`), and beside them
//! `extra/<N>[.p/<W>]` with what the log keeps for its entries and does not hash.

use bytes::Bytes;
use vidimus_core::merkle::Hash;

use super::{Entry, LogError, index, length};
use crate::storage::Storage;

/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 256;
/// Levels of the tree in one level of tiles.
pub const HEIGHT: u32 = 8;

/// Which tile a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilePath {
    /// The level; `None` for an entry bundle.
    pub level: Option<u8>,
    /// The number within the level.
    pub number: u64,
    /// Hashes or entries: 256 unless the path says that it is partial.
    pub width: u64,
}

impl TilePath {
    /// Reads what follows `tile/`. There is one spelling of each path; others are `None`.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => None,
            digits => Some(decimal(digits)?.try_into().ok().filter(|level| *level < 64)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, decimal(width)?),
            None => (rest, WIDTH),
        };
        if rest.contains(".p/") && !(1..WIDTH).contains(&width) {
            return None;
        }
        let tile = Self { level, number: parse_number(number)?, width };
        (tile.to_string().strip_prefix("tile/") == Some(path)).then_some(tile)
    }
}

impl std::fmt::Display for TilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            None => f.write_str("tile/entries/")?,
            Some(level) => write!(f, "tile/{level}/")?,
        }
        f.write_str(&number_path(self.number, self.width))
    }
}

/// `x001/x234/067` for 1234067, with `.p/<W>` for a partial one.
fn number_path(number: u64, width: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < WIDTH { format!("{path}.p/{width}") } else { path }
}

fn parse_number(path: &str) -> Option<u64> {
    // Seven groups hold every number of 64 bits.
    let groups: Vec<&str> = path.split('/').take(8).collect();
    let (last, front) = groups.split_last().filter(|(_, front)| front.len() < 7)?;
    let three = |group: &str| (group.len() == 3).then(|| decimal(group)).flatten();
    let mut number = 0u64;
    for group in front {
        number = number.checked_mul(1000)?.checked_add(three(group.strip_prefix('x')?)?)?;
    }
    number.checked_mul(1000)?.checked_add(three(last)?)
}

fn decimal(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// The file of a hash tile.
pub(super) fn tile_file(level: u8, number: u64, width: u64) -> String {
    TilePath { level: Some(level), number, width }.to_string()
}

/// The file of an entry bundle.
pub(super) fn bundle_file(number: u64, width: u64) -> String {
    TilePath { level: None, number, width }.to_string()
}

/// The file of what is kept beside the entries of a bundle.
pub(super) fn extra_file(number: u64, width: u64) -> String {
    format!("extra/{}", number_path(number, width))
}

/// An entry bundle: 16-bit lengths and leaves.
pub(super) fn encode_leaves(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(|e| e.leaf.len() + 2).sum());
    for entry in entries {
        let size = u16::try_from(entry.leaf.len()).expect("the size of a leaf is checked before it is queued");
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&entry.leaf);
    }
    out
}

/// The extras of a bundle: 32-bit lengths and bytes. `None` if there are none at all.
pub(super) fn encode_extras(entries: &[Entry]) -> Option<Vec<u8>> {
    if entries.iter().all(|e| e.extra.is_empty()) {
        return None;
    }
    let mut out = Vec::with_capacity(entries.iter().map(|e| e.extra.len() + 4).sum());
    for entry in entries {
        let size = u32::try_from(entry.extra.len()).expect("the size of an extra is checked before it is queued");
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&entry.extra);
    }
    Some(out)
}

/// The first `width` entries of a bundle, from the full file or from the partial one.
pub(super) fn read_bundle(storage: &dyn Storage, number: u64, width: u64) -> Result<Vec<Entry>, LogError> {
    let leaves = read(storage, |width| bundle_file(number, width), width)?;
    let leaves = leaves.ok_or_else(|| damaged(&bundle_file(number, width), "missing"))?;
    let leaves = split_lengths::<2>(&leaves, width).ok_or_else(|| damaged(&bundle_file(number, width), "torn"))?;
    let extras = match read(storage, |width| extra_file(number, width), width)? {
        None => vec![Bytes::new(); leaves.len()],
        Some(bytes) => split_lengths::<4>(&bytes, width).ok_or_else(|| damaged(&extra_file(number, width), "torn"))?,
    };
    Ok(leaves.into_iter().zip(extras).map(|(leaf, extra)| Entry { leaf, extra }).collect())
}

/// The extras of a complete bundle, without its entries.
pub(super) fn read_extras(storage: &dyn Storage, number: u64) -> Result<Vec<Bytes>, LogError> {
    match read(storage, |width| extra_file(number, width), WIDTH)? {
        None => Ok(vec![Bytes::new(); index(WIDTH)]),
        Some(bytes) => split_lengths::<4>(&bytes, WIDTH).ok_or_else(|| damaged(&extra_file(number, WIDTH), "torn")),
    }
}

/// The first `width` hashes of a level-0 tile.
pub(super) fn read_leaf_hashes(storage: &dyn Storage, number: u64, width: u64) -> Result<Vec<Hash>, LogError> {
    let file = tile_file(0, number, width);
    let bytes = read(storage, |width| tile_file(0, number, width), width)?.ok_or_else(|| damaged(&file, "missing"))?;
    let (hashes, _) = bytes.as_chunks::<32>();
    match hashes.get(..index(width)) {
        Some(hashes) => Ok(hashes.to_vec()),
        None => Err(damaged(&file, "torn")),
    }
}

fn read(storage: &dyn Storage, file: impl Fn(u64) -> String, width: u64) -> Result<Option<Bytes>, LogError> {
    // The partial file first: while it exists, the full one may be a leftover of a crash and torn.
    if width < WIDTH
        && let Some(bytes) = storage.read(&file(width))?
    {
        return Ok(Some(bytes.into()));
    }
    Ok(storage.read(&file(WIDTH))?.map(Bytes::from))
}

/// The first `count` of a list of byte strings with lengths of `N` bytes.
fn split_lengths<const N: usize>(bytes: &Bytes, count: u64) -> Option<Vec<Bytes>> {
    let mut out = Vec::with_capacity(index(count));
    let mut at = 0;
    while length(out.len()) < count {
        let size: [u8; N] = bytes.get(at..at + N)?.try_into().ok()?;
        let size = size.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        at += N;
        bytes.get(at..at.checked_add(size)?)?;
        out.push(bytes.slice(at..at + size));
        at += size;
    }
    Some(out)
}

pub(super) fn damaged(file: &str, why: &str) -> LogError {
    LogError::Damaged { what: format!("{file} is {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_in_the_specification() {
        for (path, level, number, width) in [
            ("0/000", Some(0), 0, 256),
            ("0/000.p/1", Some(0), 0, 1),
            ("1/x001/x234/067", Some(1), 1_234_067, 256),
            ("entries/x001/x234/067.p/255", None, 1_234_067, 255),
            ("63/999", Some(63), 999, 256),
        ] {
            let tile = TilePath { level, number, width };
            assert_eq!(TilePath::parse(path), Some(tile), "{path}");
            assert_eq!(tile.to_string(), format!("tile/{path}"));
        }
        for bad in [
            "",
            "0",
            "0/",
            "0/0",
            "0/00",
            "0/0000",
            "00/000",
            "64/000",
            "-1/000",
            "0/x000/000",
            "0/001/000",
            "0/x001/x234/67",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/000.p/1/",
            "data/000",
            "0/x999/x999/x999/x999/x999/x999/999",
            "0/../000",
        ] {
            assert_eq!(TilePath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn bundles_round_trip_and_tears_are_seen() {
        let entries: Vec<Entry> =
            [(&b"abc"[..], &b"x"[..]), (b"", b""), (b"d", b"yz")].map(|(l, e)| Entry { leaf: l.into(), extra: e.into() }).into();
        let storage = crate::storage::Memory::new();
        storage.put(&bundle_file(7, 3), &encode_leaves(&entries)).unwrap();
        storage.put(&extra_file(7, 3), &encode_extras(&entries).unwrap()).unwrap();
        assert_eq!(read_bundle(&storage, 7, 3).unwrap(), entries);
        assert!(read_bundle(&storage, 7, 2).is_err(), "there is no file of that width");
        storage.put(&bundle_file(7, 3), &encode_leaves(&entries)[..7]).unwrap();
        assert!(matches!(read_bundle(&storage, 7, 3), Err(LogError::Damaged { .. })));
        assert_eq!(encode_extras(&[Entry { leaf: Bytes::new(), extra: Bytes::new() }]), None);
    }
}
