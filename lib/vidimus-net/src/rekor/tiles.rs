//! Inclusion proofs out of tiles: the arithmetic of C2SP tlog-tiles over the tree of RFC 6962 §2.1.
//!
//! A tile of level `l` and index `n` holds the roots of 256 neighbouring complete subtrees of height `8·l`; the last tile of a level
//! may be partial. Pure: [`inclusion`] says which tiles it needs, somebody else fetches them.

use std::collections::BTreeMap;

use vidimus_core::{
    ParseError,
    merkle::{Hash, node_hash},
};

/// Hashes in a full tile.
pub const WIDTH: u64 = 256;
/// Bytes of a full tile.
pub const TILE_BYTES: usize = 256 * 32;

/// Which tile: level, index, and how many hashes of it exist in the tree at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileId {
    /// Level; 0 holds leaf hashes.
    pub level: u32,
    /// Index within the level.
    pub index: u64,
    /// Hashes in it, 1 to 256.
    pub width: u64,
}

impl TileId {
    /// The tile's path below `tile/`: `0/x001/x234/067` or, when partial, `0/000.p/5`.
    pub fn path(self) -> String {
        format!("{}/{}{}", self.level, index_path(self.index), self.partial())
    }

    /// The path of the entry bundle with the leaves of this level-0 tile: `entries/000.p/5`.
    pub fn entries_path(self) -> String {
        format!("entries/{}{}", index_path(self.index), self.partial())
    }

    fn partial(self) -> String {
        if self.width == WIDTH { String::new() } else { format!(".p/{}", self.width) }
    }
}

/// An index as C2SP tlog-tiles writes it: groups of three digits, all but the last prefixed with `x`.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// The tiles needed for an inclusion proof of leaf `index` in a tree of `size` leaves.
pub fn needed(index: u64, size: u64) -> Result<Vec<TileId>, ParseError> {
    let mut ids = Vec::new();
    for range in path(index, size)? {
        for (level, from, to) in subtrees(range) {
            let (level, first, _) = hashes_of(level, from, to);
            let id = tile_at(level, first / WIDTH, size);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

/// The inclusion proof of leaf `index` in a tree of `size` leaves, out of the tiles that [`needed`] names.
pub fn inclusion(index: u64, size: u64, tiles: &BTreeMap<TileId, Vec<Hash>>) -> Result<Vec<Hash>, ParseError> {
    path(index, size)?.into_iter().map(|range| range_root(range, size, tiles)).collect()
}

/// Splits a tile's bytes into hashes; the number has to be the tile's width.
pub fn parse(id: TileId, bytes: &[u8]) -> Result<Vec<Hash>, ParseError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || u64::try_from(hashes.len()).ok() != Some(id.width) {
        let why = format_args!("{} bytes where {} hashes were asked for", bytes.len(), id.width);
        return Err(ParseError::at("tile", id.path(), why));
    }
    Ok(hashes.to_vec())
}

/// Splits an entry bundle into its entries: 16-bit big-endian length, then as many bytes, one after the other.
pub fn parse_entries(id: TileId, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, ParseError> {
    let fail = |why: &str| ParseError::at("entry bundle", id.entries_path(), why);
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or_else(|| fail("it ends inside a length"))?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, rest) = rest.split_at_checked(len).ok_or_else(|| fail("it ends inside an entry"))?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    if u64::try_from(entries.len()).ok() != Some(id.width) {
        return Err(fail("it does not hold as many entries as were asked for"));
    }
    Ok(entries)
}

/// A half-open range of leaves whose root is one step of the proof.
type Range = (u64, u64);

/// The audit path (RFC 6962 §2.1.1) as ranges of leaves, from the leaf upwards.
fn path(index: u64, size: u64) -> Result<Vec<Range>, ParseError> {
    if index >= size {
        return Err(ParseError::new("inclusion proof", format_args!("leaf {index} is not in a tree of {size} leaves")));
    }
    let (mut from, mut to, mut steps) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            steps.push((middle, to));
            to = middle;
        } else {
            steps.push((from, middle));
            from = middle;
        }
    }
    steps.reverse();
    Ok(steps)
}

/// The largest power of two below `n`, for `n` of at least two.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The complete subtrees that make up a range, from the left: height, first leaf, first leaf after it.
fn subtrees((mut from, to): Range) -> Vec<(u32, u64, u64)> {
    let mut found = Vec::new();
    while from < to {
        let height = (63 - (to - from).leading_zeros()).min(if from == 0 { 63 } else { from.trailing_zeros() });
        found.push((height, from, from + (1 << height)));
        from += 1 << height;
    }
    found
}

/// Of a complete subtree: the tile level that holds its parts, and the half-open range of hashes on that level.
fn hashes_of(height: u32, from: u64, to: u64) -> (u32, u64, u64) {
    let level = height / 8;
    (level, from >> (8 * level), to >> (8 * level))
}

/// The tile `index` of `level`, as wide as a tree of `size` leaves makes it.
fn tile_at(level: u32, index: u64, size: u64) -> TileId {
    let hashes = size >> (8 * level);
    TileId { level, index, width: (hashes - index * WIDTH).min(WIDTH) }
}

/// The root over a range of leaves: its complete subtrees, joined from the right.
fn range_root(range: Range, size: u64, tiles: &BTreeMap<TileId, Vec<Hash>>) -> Result<Hash, ParseError> {
    let mut roots = subtrees(range)
        .into_iter()
        .map(|(height, from, to)| subtree_root(height, from, to, size, tiles))
        .collect::<Result<Vec<_>, _>>()?;
    let mut root = roots.pop().ok_or_else(|| ParseError::new("inclusion proof", "an empty range"))?;
    while let Some(left) = roots.pop() {
        root = node_hash(&left, &root);
    }
    Ok(root)
}

/// The root of a complete subtree, from at most 128 hashes of one tile.
fn subtree_root(height: u32, from: u64, to: u64, size: u64, tiles: &BTreeMap<TileId, Vec<Hash>>) -> Result<Hash, ParseError> {
    let (level, first, end) = hashes_of(height, from, to);
    let id = tile_at(level, first / WIDTH, size);
    let missing = || ParseError::at("inclusion proof", id.path(), "the tile is missing or too short");
    let tile = tiles.get(&id).ok_or_else(missing)?;
    let at = |n: u64| usize::try_from(n - id.index * WIDTH).ok();
    let hashes = at(first).zip(at(end)).and_then(|(first, end)| tile.get(first..end)).ok_or_else(missing)?;
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.pop().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use vidimus_core::merkle::{leaf_hash, root_from_inclusion};

    use super::*;

    /// All tiles of a tree, and its root, made the slow way.
    fn tree(size: u64) -> (BTreeMap<TileId, Vec<Hash>>, Hash, Vec<Hash>) {
        let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let mut tiles = BTreeMap::new();
        let (mut level, mut row) = (0, leaves.clone());
        while !row.is_empty() {
            for (index, hashes) in (0..).zip(row.chunks(256)) {
                tiles.insert(TileId { level, index, width: hashes.len() as u64 }, hashes.to_vec());
            }
            row = row.as_chunks::<256>().0.iter().map(|hashes| root(hashes)).collect();
            level += 1;
        }
        let root = root(&leaves);
        (tiles, root, leaves)
    }

    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&root(left), &root(right))
            }
        }
    }

    #[test]
    fn proofs_lead_to_the_root_in_trees_of_every_shape() {
        for size in [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_000] {
            let (tiles, root, leaves) = tree(size);
            for index in [0, 1, 2, 5, 127, 128, 255, 256, 300, 511, 65_000, 65_535, 65_536, size - 1] {
                if index >= size {
                    continue;
                }
                // Only what `needed` names may be used.
                let used: BTreeMap<_, _> = needed(index, size).unwrap().into_iter().map(|id| (id, tiles[&id].clone())).collect();
                let proof = inclusion(index, size, &used).unwrap();
                let leaf = leaves[usize::try_from(index).unwrap()];
                assert_eq!(root_from_inclusion(index, size, leaf, &proof).unwrap(), root, "{index} of {size}");
            }
        }
    }

    #[test]
    fn a_missing_tile_and_a_leaf_outside_are_errors() {
        let (mut tiles, ..) = tree(700);
        assert!(needed(700, 700).is_err());
        assert!(inclusion(700, 700, &tiles).is_err());
        tiles.pop_first();
        assert!(inclusion(3, 700, &tiles).is_err());
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(TileId { level: 3, index: 1_234_067, width: 256 }.path(), "3/x001/x234/067");
        assert_eq!(TileId { level: 0, index: 0, width: 5 }.path(), "0/000.p/5");
        assert_eq!(TileId { level: 0, index: 273, width: 112 }.entries_path(), "entries/273.p/112");
        assert_eq!(TileId { level: 0, index: 1_000, width: 256 }.entries_path(), "entries/x001/000");
    }

    #[test]
    fn tiles_and_bundles_of_the_wrong_length_are_refused() {
        let id = TileId { level: 0, index: 0, width: 2 };
        assert_eq!(parse(id, &[7; 64]).unwrap(), [[7; 32]; 2]);
        for bad in [0, 32, 63, 65, 96] {
            assert!(parse(id, &vec![0; bad]).is_err(), "{bad}");
        }
        assert_eq!(parse_entries(id, b"\0\x02ab\0\0").unwrap(), [b"ab".to_vec(), vec![]]);
        for bad in [&b""[..], b"\0", b"\0\x03ab", b"\0\x02ab", b"\0\0\0\0\0\0"] {
            assert!(parse_entries(id, bad).is_err(), "{bad:?}");
        }
    }
}
