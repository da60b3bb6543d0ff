//! What Rekor v1 keeps beside an entry and does not hash: when it was logged, what it is found by, and an in-toto payload.

use vidimus_core::digest::sha256;

/// The hash of an index key. Half of a SHA-256: enough that nobody finds two keys with the same one.
pub(super) type KeyHash = [u8; 16];

const VERSION: u8 = 1;

/// The record of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extra {
    /// Seconds since 1970.
    pub(super) integrated_time: i64,
    /// The hashes of the index keys.
    pub(super) index_keys: Vec<KeyHash>,
    /// The payload.
    pub(super) attestation: Option<Vec<u8>>,
}

/// The hash of an index key.
pub(super) fn key_hash(key: &str) -> KeyHash {
    let mut short = KeyHash::default();
    short.copy_from_slice(&sha256(key.as_bytes())[..16]);
    short
}

impl Extra {
    /// The bytes that are stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.integrated_time.to_be_bytes());
        let count = u16::try_from(self.index_keys.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        self.index_keys.iter().take(usize::from(count)).for_each(|key| out.extend_from_slice(key));
        if let Some(attestation) = &self.attestation {
            out.push(1);
            out.extend_from_slice(attestation);
        }
        out
    }

    /// Reads what was stored; `None` if it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (keys, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*count)) * 16)?;
        let attestation = match rest.split_first() {
            None => None,
            Some((1, payload)) => Some(payload.to_vec()),
            Some(_) => return None,
        };
        let index_keys = keys.as_chunks::<16>().0.to_vec();
        (*version == VERSION).then_some(Self { integrated_time: i64::from_be_bytes(*time), index_keys, attestation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        for attestation in [None, Some(vec![]), Some(vec![1, 2])] {
            for count in [0, 1, 5] {
                let extra =
                    Extra { integrated_time: -5, index_keys: vec![key_hash("k"); count], attestation: attestation.clone() };
                let bytes = extra.encode();
                assert_eq!(Extra::decode(&bytes), Some(extra));
                assert_eq!(Extra::decode(&bytes[..10]), None);
            }
        }
        assert_eq!(Extra::decode(&[2; 40]), None);
    }
}
