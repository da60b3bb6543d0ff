//! A storage that fails on purpose, for tests: at any chosen step, before or after the step took effect.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Segment, Storage, StorageError};

/// A step that changes the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Counted from 0 over the life of the storage.
    pub number: usize,
    /// The call: "put", "sync", "replace", "segment", "append", "sync segment", "truncate", "remove".
    pub call: &'static str,
    /// The (first) file.
    pub path: String,
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing was done.
    Before,
    /// It was done and fails all the same.
    After,
}

type Hook = dyn Fn(&Step) -> Option<Fault> + Send + Sync;

/// A storage under a hook that may break each step.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    steps: Arc<Mutex<Vec<Step>>>,
    hook: Arc<Hook>,
}

impl Faulty {
    /// Puts `hook` over `inner`. It is asked before each step.
    pub fn new(inner: Arc<dyn Storage>, hook: impl Fn(&Step) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self { inner, steps: Arc::default(), hook: Arc::new(hook) }
    }

    /// The steps so far.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn step<T>(&self, call: &'static str, path: &str, act: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
        let step = {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            let step = Step { number: steps.len(), call, path: path.to_owned() };
            steps.push(step.clone());
            step
        };
        let failure = || StorageError { action: call, path: path.to_owned(), source: io::Error::other("injected fault") };
        match (self.hook)(&step) {
            None => act(),
            Some(Fault::Before) => Err(failure()),
            Some(Fault::After) => act().and_then(|_| Err(failure())),
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Storage for Faulty {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read(path)
    }

    fn read_secret(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read_secret(path)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(dir)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.step("put", path, || self.inner.put(path, bytes))
    }

    fn sync(&self, paths: &[String]) -> Result<(), StorageError> {
        self.step("sync", paths.first().map_or("", String::as_str), || self.inner.sync(paths))
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.step("replace", path, || self.inner.replace(path, bytes))
    }

    fn segment(&self, path: &str) -> Result<Box<dyn Segment>, StorageError> {
        let inner = self.step("segment", path, || self.inner.segment(path))?;
        Ok(Box::new(FaultySegment { storage: self.clone(), path: path.to_owned(), inner }))
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        self.step("truncate", path, || self.inner.truncate(path, len))
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.step("remove", path, || self.inner.remove(path))
    }
}

struct FaultySegment {
    storage: Faulty,
    path: String,
    inner: Box<dyn Segment>,
}

impl Segment for FaultySegment {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let (storage, path, inner) = (self.storage.clone(), self.path.clone(), &mut self.inner);
        storage.step("append", &path, || inner.append(bytes))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let (storage, path, inner) = (self.storage.clone(), self.path.clone(), &mut self.inner);
        storage.step("sync segment", &path, || inner.sync())
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }
}
