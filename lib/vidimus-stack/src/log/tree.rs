//! A Merkle tree in memory: 64 bytes a leaf, every complete subtree's hash at hand, so that a proof is a handful of look-ups.

use vidimus_core::merkle::{Hash, empty_root, node_hash};

use super::{index, length};

/// The hashes of all complete subtrees: `levels[l][i]` covers leaves `i·2^l .. (i+1)·2^l`.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Adds a leaf's hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(&row[row.len() - 2], &row[row.len() - 1]);
        }
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |row| length(row.len()))
    }

    /// The hash of a leaf.
    pub fn leaf(&self, leaf: u64) -> Option<&Hash> {
        self.levels.first()?.get(index(leaf))
    }

    /// Hashes `first..end` of the subtrees with `2^height` leaves. They must be complete.
    pub fn hashes(&self, height: u32, first: u64, end: u64) -> &[Hash] {
        let row = usize::try_from(height).ok().and_then(|height| self.levels.get(height));
        row.and_then(|row| row.get(index(first)..index(end))).unwrap_or_default()
    }

    /// The root over the first `size` leaves.
    pub fn root(&self, size: u64) -> Hash {
        if size == 0 { empty_root() } else { self.range(0, size) }
    }

    /// The audit path of leaf `leaf` in the tree of `size` leaves (RFC 6962 §2.1.1). `leaf < size <= self.size()`.
    pub fn inclusion_proof(&self, leaf: u64, size: u64) -> Vec<Hash> {
        let (mut low, mut high) = (0, size);
        let mut path = Vec::with_capacity(64);
        while high - low > 1 {
            let middle = low + split(high - low);
            if leaf < middle {
                path.push(self.range(middle, high));
                high = middle;
            } else {
                path.push(self.range(low, middle));
                low = middle;
            }
        }
        path.reverse();
        path
    }

    /// The proof that the tree of `second` leaves extends that of `first` (RFC 6962 §2.1.2). `first <= second <= self.size()`.
    pub fn consistency_proof(&self, first: u64, second: u64) -> Vec<Hash> {
        let mut path = Vec::new();
        if first == 0 || first == second {
            return path;
        }
        let (mut low, mut high, mut whole) = (0, second, true);
        while first != high {
            let middle = low + split(high - low);
            if first <= middle {
                path.push(self.range(middle, high));
                high = middle;
            } else {
                path.push(self.range(low, middle));
                low = middle;
                whole = false;
            }
        }
        if !whole {
            path.push(self.range(low, high));
        }
        path.reverse();
        path
    }

    /// The hash over leaves `low..high`, where `low` is a multiple of the largest power of two that is not above `high - low`.
    fn range(&self, low: u64, high: u64) -> Hash {
        let size = high - low;
        if size.is_power_of_two() {
            let height = size.trailing_zeros();
            let row = usize::try_from(height).unwrap_or(usize::MAX);
            return self.levels[row][index(low >> height)];
        }
        let middle = low + split(size);
        node_hash(&self.range(low, middle), &self.range(middle, high))
    }
}

/// The largest power of two below `n`, for `n > 1`.
fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use vidimus_core::merkle::{check_consistency, leaf_hash, root_from_inclusion};

    use super::*;

    /// The checker is another implementation (of RFC 9162's algorithms), so the two judge each other.
    #[test]
    fn every_proof_of_small_trees_is_accepted() {
        let mut tree = Tree::default();
        let mut roots = vec![empty_root()];
        for n in 0..70u64 {
            tree.push(leaf_hash(&n.to_be_bytes()));
            roots.push(tree.root(n + 1));
        }
        assert_eq!(tree.size(), 70);
        for size in 1..=70u64 {
            let root = roots[index(size)];
            for leaf in 0..size {
                let proof = tree.inclusion_proof(leaf, size);
                assert_eq!(root_from_inclusion(leaf, size, *tree.leaf(leaf).unwrap(), &proof).unwrap(), root);
                let proof = tree.consistency_proof(leaf, size);
                check_consistency(leaf, &roots[index(leaf)], size, &root, &proof).unwrap();
            }
            assert!(tree.consistency_proof(size, size).is_empty());
        }
    }

    #[test]
    fn old_roots_do_not_change() {
        let mut tree = Tree::default();
        let mut before = Vec::new();
        for n in 0..33u64 {
            before.push(tree.root(n));
            tree.push(leaf_hash(&[1]));
        }
        for (n, root) in before.iter().enumerate() {
            assert_eq!(tree.root(length(n)), *root);
        }
    }
}
