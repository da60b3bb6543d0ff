//! Merkle trees of RFC 6962 §2: hashes, and checking of inclusion and consistency proofs (the algorithms of RFC 9162 §2.1.3.2 and
//! §2.1.4.2). Building and storing a tree is the log's business.

use crate::{ParseError, digest::sha256_of};

/// A node of the tree: SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf: `SHA-256(0x00 ‖ data)`.
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256_of([&[0], data])
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_of([&[1], left, right])
}

/// The root of the empty tree: `SHA-256("")`.
pub fn empty_root() -> Hash {
    sha256_of([])
}

/// The root that follows from a leaf and its inclusion proof. The caller compares it with the root that the log signed.
pub fn root_from_inclusion(index: u64, size: u64, leaf: Hash, proof: &[Hash]) -> Result<Hash, ParseError> {
    let err = |why: &str| ParseError::new("inclusion proof", why);
    if index >= size {
        return Err(err("the leaf's index is not below the tree's size"));
    }
    let (mut fn_, mut sn, mut hash) = (index, size - 1, leaf);
    for step in proof {
        if sn == 0 {
            return Err(err("more hashes than the tree has levels"));
        }
        if fn_ & 1 == 1 || fn_ == sn {
            hash = node_hash(step, &hash);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    if sn != 0 {
        return Err(err("fewer hashes than the tree has levels"));
    }
    Ok(hash)
}

/// Whether the tree of `size2` leaves with root `root2` extends the one of `size1` leaves with root `root1`.
pub fn check_consistency(size1: u64, root1: &Hash, size2: u64, root2: &Hash, proof: &[Hash]) -> Result<(), ParseError> {
    let err = |why: &str| ParseError::new("consistency proof", why);
    if size1 > size2 {
        return Err(err("the first tree is larger than the second"));
    }
    if size1 == size2 || size1 == 0 {
        let same = size1 == 0 || root1 == root2;
        return if !proof.is_empty() {
            Err(err("a proof where none is needed"))
        } else if same {
            Ok(())
        } else {
            Err(err("two roots for one size"))
        };
    }
    let (first, rest) = if size1.is_power_of_two() {
        (*root1, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or_else(|| err("no hashes"))?;
        (*first, rest)
    };
    let (mut fn_, mut sn) = (size1 - 1, size2 - 1);
    while fn_ & 1 == 1 {
        fn_ >>= 1;
        sn >>= 1;
    }
    let (mut old, mut new) = (first, first);
    for step in rest {
        if sn == 0 {
            return Err(err("more hashes than the tree has levels"));
        }
        if fn_ & 1 == 1 || fn_ == sn {
            old = node_hash(step, &old);
            new = node_hash(step, &new);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            new = node_hash(&new, step);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    if sn != 0 {
        return Err(err("fewer hashes than the tree has levels"));
    }
    if old != *root1 {
        return Err(err("it does not lead to the first root"));
    }
    if new != *root2 {
        return Err(err("it does not lead to the second root"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node_hash(&root(&leaves[..k]), &root(&leaves[k..]))
            }
        }
    }

    fn inclusion(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return vec![];
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut path, other) =
            if m < k { (inclusion(m, &leaves[..k]), &leaves[k..]) } else { (inclusion(m - k, &leaves[k..]), &leaves[..k]) };
        path.push(root(other));
        path
    }

    fn consistency(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { vec![] } else { vec![root(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut path, other) = if m <= k {
            (consistency(m, &leaves[..k], whole), root(&leaves[k..]))
        } else {
            (consistency(m - k, &leaves[k..], false), root(&leaves[..k]))
        };
        path.push(other);
        path
    }

    #[test]
    fn every_proof_of_small_trees() {
        let leaves: Vec<Hash> = (0..40u8).map(|i| leaf_hash(&[i])).collect();
        for n in 1..=leaves.len() {
            let whole = root(&leaves[..n]);
            for m in 0..n {
                let proof = inclusion(m, &leaves[..n]);
                assert_eq!(root_from_inclusion(m as u64, n as u64, leaves[m], &proof).unwrap(), whole);
                let mut long = proof.clone();
                long.push(whole);
                assert!(root_from_inclusion(m as u64, n as u64, leaves[m], &long).is_err());
                if let Some((_, short)) = proof.split_last() {
                    assert!(root_from_inclusion(m as u64, n as u64, leaves[m], short).is_err());
                }
                let proof = if m == 0 { vec![] } else { consistency(m, &leaves[..n], true) };
                let old = root(&leaves[..m]);
                check_consistency(m as u64, &old, n as u64, &whole, &proof).unwrap();
                if m > 0 {
                    assert!(check_consistency(m as u64, &leaf_hash(b"x"), n as u64, &whole, &proof).is_err());
                    assert!(check_consistency(m as u64, &old, n as u64, &leaf_hash(b"x"), &proof).is_err());
                }
            }
        }
    }
}
