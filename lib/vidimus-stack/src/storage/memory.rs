//! A storage in memory, for ephemeral stacks and for tests. It keeps apart what was written and what was made durable, so that a
//! test can cut the power ([`Memory::crash`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Segment, Storage, StorageError, check_path};

/// A storage that lives as long as the process.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<String, Content>>>,
}

/// A file: `written` is `None` once the name is gone.
#[derive(Debug, Clone, Default)]
struct Content {
    written: Option<Vec<u8>>,
    durable: Durable,
}

/// What a power cut would surely leave. Only a replaced file is kept twice.
#[derive(Debug, Clone)]
enum Durable {
    AsWritten,
    Prefix(usize),
    Other(Option<Vec<u8>>),
}

impl Default for Durable {
    fn default() -> Self {
        Self::Other(None)
    }
}

impl Content {
    fn durable(&self) -> Option<&[u8]> {
        match &self.durable {
            Durable::AsWritten => self.written.as_deref(),
            Durable::Prefix(len) => self.written.as_deref().map(|w| &w[..*len]),
            Durable::Other(bytes) => bytes.as_deref(),
        }
    }

    fn overwrite(&mut self, bytes: Option<Vec<u8>>) {
        self.durable = Durable::Other(self.durable().map(<[u8]>::to_vec));
        self.written = bytes;
    }

    fn append(&mut self, bytes: &[u8]) {
        let written = self.written.get_or_insert_default();
        if matches!(self.durable, Durable::AsWritten) {
            self.durable = Durable::Prefix(written.len());
        }
        written.extend_from_slice(bytes);
    }
}

/// What a power cut does to bytes that were written and not made durable. All three happen in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// They are gone.
    Lost,
    /// They are there.
    Kept,
    /// Half of the appended bytes are there.
    Torn,
}

impl Memory {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: another storage, as a machine would find it after the restart.
    pub fn crash(&self, crash: Crash) -> Self {
        let mut files = BTreeMap::new();
        for (path, content) in self.lock().iter() {
            let durable = content.durable().map(<[u8]>::to_vec);
            let left = match (crash, &content.written) {
                (Crash::Lost, _) | (Crash::Torn, None) => durable,
                (Crash::Kept, written) => written.clone(),
                (Crash::Torn, Some(written)) => Some(torn(written, durable.as_deref().unwrap_or_default())),
            };
            if let Some(bytes) = left {
                files.insert(path.clone(), Content { written: Some(bytes), durable: Durable::AsWritten });
            }
        }
        Self { files: Arc::new(Mutex::new(files)) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Content>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Content)) {
        change(self.lock().entry(path.to_owned()).or_default());
    }

    fn make_durable(&self, path: &str) {
        self.change(path, |content| content.durable = Durable::AsWritten);
    }
}

/// The durable bytes and half of those appended to them; half of a file that was not an extension.
fn torn(written: &[u8], durable: &[u8]) -> Vec<u8> {
    let kept = if written.starts_with(durable) { durable.len() } else { 0 };
    written[..kept + (written.len() - kept) / 2].to_vec()
}

impl Storage for Memory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        check_path("read", path)?;
        Ok(self.lock().get(path).and_then(|c| c.written.clone()))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StorageError> {
        check_path("list", dir)?;
        let prefix = format!("{dir}/");
        let names: BTreeSet<String> = self
            .lock()
            .iter()
            .filter(|(_, content)| content.written.is_some())
            .filter_map(|(path, _)| path.strip_prefix(&prefix))
            .map(|rest| rest.split_once('/').map_or_else(|| rest.to_owned(), |(name, _)| format!("{name}/")))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        check_path("write", path)?;
        self.change(path, |content| content.overwrite(Some(bytes.to_vec())));
        Ok(())
    }

    fn sync(&self, paths: &[String]) -> Result<(), StorageError> {
        for path in paths {
            check_path("sync", path)?;
            if self.lock().get(path).is_none_or(|c| c.written.is_none()) {
                return Err(StorageError { action: "sync", path: path.clone(), source: io::ErrorKind::NotFound.into() });
            }
            self.make_durable(path);
        }
        Ok(())
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.put(path, bytes)?;
        self.make_durable(path);
        Ok(())
    }

    fn segment(&self, path: &str) -> Result<Box<dyn Segment>, StorageError> {
        check_path("open", path)?;
        let mut size = 0;
        self.change(path, |content| size = content.written.get_or_insert_default().len());
        self.make_durable(path);
        Ok(Box::new(Appended { storage: self.clone(), path: path.to_owned(), size: u64::try_from(size).unwrap_or(u64::MAX) }))
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        check_path("truncate", path)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.change(path, |content| {
            content.written.get_or_insert_default().truncate(len);
            content.durable = Durable::AsWritten;
        });
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        check_path("remove", path)?;
        let prefix = format!("{path}/");
        self.lock().retain(|name, _| name != path && !name.starts_with(&prefix));
        Ok(())
    }
}

struct Appended {
    storage: Memory,
    path: String,
    size: u64,
}

impl Segment for Appended {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage.change(&self.path, |content| content.append(bytes));
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.storage.make_durable(&self.path);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_what_was_durable() {
        let storage = Memory::new();
        storage.replace("safe", b"1").unwrap();
        storage.put("loose", b"12").unwrap();
        let mut segment = storage.segment("dir/log").unwrap();
        segment.append(b"ab").unwrap();
        segment.sync().unwrap();
        segment.append(b"cdef").unwrap();

        let read = |crash, path: &str| storage.crash(crash).read(path).unwrap();
        assert_eq!(read(Crash::Lost, "safe").unwrap(), b"1");
        assert_eq!(read(Crash::Lost, "loose"), None);
        assert_eq!(read(Crash::Lost, "dir/log").unwrap(), b"ab");
        assert_eq!(read(Crash::Torn, "dir/log").unwrap(), b"abcd");
        assert_eq!(read(Crash::Torn, "loose").unwrap(), b"1");
        assert_eq!(read(Crash::Kept, "dir/log").unwrap(), b"abcdef");
        assert_eq!(storage.list("dir").unwrap(), ["log"]);
        assert!(storage.sync(&["nothing".to_owned()]).is_err());
    }
}
