//! The TLS structures of RFC 6962: leaves, extra data, tree heads. Lengths of 16 and 24 bits before what they count.

use vidimus_core::merkle::Hash;

use crate::log::{EXTRA_BYTES, LEAF_BYTES, LogError};

/// `log_entry_type`.
const X509_ENTRY: u16 = 0;
const PRECERT_ENTRY: u16 = 1;

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignedEntry<'a> {
    /// A final certificate.
    Certificate { der: &'a [u8] },
    /// A precertificate: its issuer's key and the TBSCertificate without poison.
    Precert { issuer_key_hash: [u8; 32], tbs: &'a [u8] },
}

/// The `MerkleTreeLeaf`, which is also what the SCT signs.
pub(super) fn leaf(timestamp: u64, entry: &SignedEntry<'_>) -> Result<Vec<u8>, LogError> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&timestamp.to_be_bytes());
    match entry {
        SignedEntry::Certificate { der } => {
            out.extend_from_slice(&X509_ENTRY.to_be_bytes());
            put24(&mut out, der);
        }
        SignedEntry::Precert { issuer_key_hash, tbs } => {
            out.extend_from_slice(&PRECERT_ENTRY.to_be_bytes());
            out.extend_from_slice(issuer_key_hash);
            put24(&mut out, tbs);
        }
    }
    out.extend_from_slice(&[0, 0]);
    check(out, LEAF_BYTES)
}

/// The extra data of a certificate: the chain above it.
pub(super) fn chain_extra(chain: &[Vec<u8>]) -> Result<Vec<u8>, LogError> {
    check(chain_of(chain), EXTRA_BYTES)
}

/// The extra data of a precertificate: itself, then the chain above it.
pub(super) fn precert_extra(chain: &[Vec<u8>]) -> Result<Vec<u8>, LogError> {
    let (precert, issuers) = chain.split_first().map_or((&[][..], chain), |(first, rest)| (&first[..], rest));
    let mut out = Vec::new();
    put24(&mut out, precert);
    out.extend(chain_of(issuers));
    check(out, EXTRA_BYTES)
}

/// What a signed tree head signs.
pub(super) fn tree_head(timestamp: u64, size: u64, root: &Hash) -> Vec<u8> {
    let mut out = vec![0, 1];
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(root);
    out
}

/// A `digitally-signed` value by ECDSA with SHA-256.
pub(super) fn digitally_signed(der: &[u8]) -> Vec<u8> {
    let mut out = vec![4, 3];
    put16(&mut out, der);
    out
}

fn chain_of(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for der in certificates {
        put24(&mut list, der);
    }
    let mut out = Vec::with_capacity(list.len() + 3);
    put24(&mut out, &list);
    out
}

/// The lengths written above wrap at 2^16 and 2^24, far beyond these limits, so nothing that passes here has wrapped.
fn check(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, LogError> {
    if bytes.len() > limit { Err(LogError::TooLarge { size: bytes.len(), limit }) } else { Ok(bytes) }
}

fn put16(out: &mut Vec<u8>, bytes: &[u8]) {
    let [.., a, b] = bytes.len().to_be_bytes();
    out.extend_from_slice(&[a, b]);
    out.extend_from_slice(bytes);
}

fn put24(out: &mut Vec<u8>, bytes: &[u8]) {
    let [.., a, b, c] = bytes.len().to_be_bytes();
    out.extend_from_slice(&[a, b, c]);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_and_their_limits() {
        let entry = SignedEntry::Precert { issuer_key_hash: [5; 32], tbs: b"tbs" };
        let leaf_bytes = leaf(1, &entry).unwrap();
        assert_eq!(leaf_bytes, [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1][..], &[5; 32], &[0, 0, 3], b"tbs", &[0, 0]].concat());
        let entry = SignedEntry::Certificate { der: b"c" };
        assert_eq!(leaf(0, &entry).unwrap(), [&[0; 12][..], &[0, 0, 1], b"c", &[0, 0]].concat());
        assert!(matches!(leaf(0, &SignedEntry::Certificate { der: &[0; 70_000] }), Err(LogError::TooLarge { .. })));
        assert_eq!(precert_extra(&[b"p".to_vec(), b"i".to_vec()]).unwrap(), [0, 0, 1, b'p', 0, 0, 4, 0, 0, 1, b'i']);
        assert_eq!(chain_extra(&[]).unwrap(), [0, 0, 0]);
    }
}
