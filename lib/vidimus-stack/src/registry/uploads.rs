//! Uploads under way: each a temporary file and a running digest.
//!
//! They do not outlive the process. A client that loses one is told so with BLOB_UPLOAD_UNKNOWN and starts again, as it must anyway when
//! a registry forgets an upload.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Body;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use vidimus_core::{Algorithm, Digest, digest::Hasher};

use super::RegistryError;
use crate::files::Tree;

/// Uploads at once: a client pushes about five layers in parallel, so this serves some fifty pushes.
const UPLOADS: usize = 256;
/// Largest blob: four times the largest layer that common registries accept (10 GB).
const BLOB: u64 = 40 << 30;
/// An upload nobody has touched for this long is discarded.
const IDLE: Duration = Duration::from_secs(3600);
/// Longest silence within a request body.
const SILENCE: Duration = Duration::from_secs(60);

/// The uploads under way.
#[derive(Debug)]
pub(super) struct Uploads {
    tree: Tree,
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Debug, Clone)]
struct Session {
    name: String,
    touched: Instant,
    upload: Arc<tokio::sync::Mutex<Upload>>,
}

/// One upload.
#[derive(Debug)]
pub(super) struct Upload {
    file: tempfile::NamedTempFile,
    hasher: Hasher,
    /// Bytes that have arrived.
    pub(super) arrived: u64,
}

impl Uploads {
    /// Starts with none.
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree, sessions: Mutex::default() }
    }

    /// A fresh upload that no session names, for content that comes in one request.
    pub(super) fn fresh(&self) -> io::Result<Upload> {
        Ok(Upload { file: self.tree.temporary()?, hasher: Hasher::new(Algorithm::Sha256), arrived: 0 })
    }

    /// Starts a session in repository `name` and returns its id.
    pub(super) fn begin(&self, name: &str) -> Result<String, RegistryError> {
        let upload = Arc::new(tokio::sync::Mutex::new(self.fresh()?));
        let id = random_id()?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.touched.elapsed() < IDLE || Arc::strong_count(&session.upload) > 1);
        if sessions.len() >= UPLOADS {
            return Err(RegistryError::TooMany("uploads are"));
        }
        sessions.insert(id.clone(), Session { name: name.to_owned(), touched: Instant::now(), upload });
        Ok(id)
    }

    /// The session `id` of repository `name`.
    pub(super) fn find(&self, name: &str, id: &str) -> Result<Arc<tokio::sync::Mutex<Upload>>, RegistryError> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(id).filter(|session| session.name == name);
        let session = session.ok_or_else(|| RegistryError::UploadUnknown(id.to_owned()))?;
        session.touched = Instant::now();
        Ok(Arc::clone(&session.upload))
    }

    /// Forgets a session; its file goes when the last request on it ends.
    pub(super) fn end(&self, name: &str, id: &str) -> Result<(), RegistryError> {
        self.find(name, id)?;
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }
}

impl Upload {
    /// Appends a request body. What has arrived before an interruption counts: the client asks how much it was and goes on there.
    pub(super) async fn append(&mut self, body: Body) -> Result<(), RegistryError> {
        let mut file = tokio::fs::File::from_std(self.file.as_file().try_clone()?);
        let mut stream = body.into_data_stream();
        loop {
            let chunk = match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    file.flush().await?;
                    return Err(RegistryError::Interrupted(error.to_string()));
                }
                Err(_) => {
                    file.flush().await?;
                    return Err(RegistryError::Interrupted(format!("nothing came for {} seconds", SILENCE.as_secs())));
                }
            };
            let length = chunk.len() as u64;
            if self.arrived + length > BLOB {
                return Err(RegistryError::TooBig(format!("a blob may have {BLOB} bytes")));
            }
            file.write_all(&chunk).await?;
            self.hasher.update(&chunk);
            self.arrived += length;
        }
        // Tokio's files report the last write's failure only here.
        Ok(file.flush().await?)
    }

    /// Ends the upload: the file, if its content has `digest`.
    pub(super) fn finish(self, digest: &Digest) -> Result<tempfile::NamedTempFile, RegistryError> {
        let Self { file, hasher, .. } = self;
        let found = match digest.algorithm() {
            Algorithm::Sha256 => hasher.finish(),
            other => digest_of_file(file.path(), other)?,
        };
        if found == *digest {
            return Ok(file);
        }
        Err(RegistryError::DigestInvalid(format!("the content is {found}, not {digest}")))
    }
}

fn digest_of_file(path: &Path, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(hex::encode(bytes))
}
