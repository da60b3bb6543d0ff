//! The search index: from hashes of index keys to the entries that have them. In memory, 24 bytes for each pair; made again at every
//! start from what is stored beside the entries, so that it can not be out of step with the log.

use super::extra::KeyHash;

/// Pairs that are kept unsorted, to be searched one by one.
const RECENT: usize = 4 << 10;

/// Key hashes and entries.
#[derive(Debug, Default)]
pub(super) struct SearchIndex {
    /// Sorted runs, each at most half as long as the one before.
    runs: Vec<Vec<(KeyHash, u64)>>,
    recent: Vec<(KeyHash, u64)>,
}

impl SearchIndex {
    /// Adds an entry.
    pub(super) fn insert(&mut self, keys: &[KeyHash], entry: u64) {
        self.recent.extend(keys.iter().map(|key| (*key, entry)));
        if self.recent.len() >= RECENT {
            let mut run = std::mem::take(&mut self.recent);
            while let Some(last) = self.runs.pop_if(|last| last.len() < 2 * run.len()) {
                run.extend(last);
            }
            run.sort_unstable();
            run.dedup();
            self.runs.push(run);
        }
    }

    /// The entries that have a key, oldest first.
    pub(super) fn find(&self, key: &KeyHash) -> Vec<u64> {
        let in_run = |run: &'_ Vec<(KeyHash, u64)>| {
            let from = run.partition_point(|(k, _)| k < key);
            let to = run.partition_point(|(k, _)| k <= key);
            run[from..to].to_vec()
        };
        let recent = self.recent.iter().filter(|(k, _)| k == key).copied();
        let mut found: Vec<u64> = self.runs.iter().flat_map(in_run).chain(recent).map(|(_, entry)| entry).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> KeyHash {
        super::super::extra::key_hash(&n.to_string())
    }

    #[test]
    fn finds_what_was_inserted_and_nothing_else() {
        let mut index = SearchIndex::default();
        for entry in 0..20_000 {
            index.insert(&[key(entry % 100), key(1000 + entry), key(1000 + entry)], entry);
        }
        for n in 0..100 {
            assert_eq!(index.find(&key(n)), (0..200).map(|i| i * 100 + n).collect::<Vec<_>>());
        }
        assert_eq!(index.find(&key(1000 + 19_999)), [19_999]);
        assert_eq!(index.find(&key(1000)), [0]);
        assert!(index.find(&key(500)).is_empty());
        assert!(index.runs.len() < 6, "{}", index.runs.len());
    }
}
