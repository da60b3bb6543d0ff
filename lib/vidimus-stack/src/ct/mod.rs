//! A Certificate Transparency log (RFC 6962) for the built-in CA.
//!
//! The CA submits in process with [`CtLog::submit_precert`]; there is no merge delay: the entry is in the tree, durable and covered by
//! a published tree head before the SCT leaves, so a certificate without a log record can not exist. [`router`] serves the API of
//! RFC 6962 §4 for monitors, and for CAs outside of this process whose root the log accepts.

use std::sync::Arc;

use vidimus_core::{checkpoint, merkle::Hash};

use crate::{
    clock::Clock,
    fulcio::ct::{CtError, CtFuture, CtSubmit, Precertificate, Sct},
    keys::{KeyError, P256Signer},
    log::{Entry, Head, Log, LogError, LogOptions, LogStatus},
    notes::EcdsaNotes,
    storage::Storage,
};

mod routes;
mod submission;
mod wire;

pub use routes::router;

/// How to open a CT log.
#[derive(Debug, Clone)]
pub struct CtOptions {
    /// The name in the log's checkpoint; RFC 6962 has no names, monitors of the tiles need one.
    pub origin: String,
    /// The certificates (DER) that submitted chains must end in: the CA's root.
    pub roots: Vec<Vec<u8>>,
    /// Tells the times of timestamps and tree heads.
    pub clock: Clock,
}

/// A CT log. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct CtLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    signer: Arc<P256Signer>,
    log_id: [u8; 32],
    roots: Vec<Vec<u8>>,
    clock: Clock,
}

/// A signed tree head (RFC 6962 §3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTreeHead {
    /// Leaves.
    pub size: u64,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// The root hash.
    pub root: Hash,
    /// The signature as a TLS `digitally-signed` value.
    pub signature: Vec<u8>,
}

impl CtLog {
    /// Opens the log in `storage` with a PKCS#8 P-256 key. Blocks.
    pub fn open(storage: Arc<dyn Storage>, key_pkcs8: &[u8], options: CtOptions) -> Result<Self, LogError> {
        let signer = Arc::new(P256Signer::from_pkcs8(key_pkcs8).map_err(signing)?);
        let notes = EcdsaNotes::new(options.origin.clone(), options.origin, signer.clone());
        let log = Log::open(storage, Arc::new(notes), LogOptions::named("ct"))?;
        let log_id = checkpoint::ecdsa_key_id(signer.spki());
        Ok(Self { inner: Arc::new(Inner { log, signer, log_id, roots: options.roots, clock: options.clock }) })
    }

    /// Logs a precertificate and returns its SCT. `issuer_key_hash` is the SHA-256 of the issuer's SubjectPublicKeyInfo, `tbs_der` the
    /// TBSCertificate without poison and SCT list, `precert_chain` what monitors get to see: the precertificate, then its issuers.
    pub async fn submit_precert(
        &self,
        issuer_key_hash: [u8; 32],
        tbs_der: Vec<u8>,
        precert_chain: Vec<Vec<u8>>,
    ) -> Result<Sct, LogError> {
        let extra = wire::precert_extra(&precert_chain)?;
        self.log_entry(&wire::SignedEntry::Precert { issuer_key_hash, tbs: &tbs_der }, extra).await
    }

    /// Logs a final certificate and returns its SCT. `issuers` are the certificates above it.
    pub async fn submit_certificate(&self, certificate: Vec<u8>, issuers: Vec<Vec<u8>>) -> Result<Sct, LogError> {
        let extra = wire::chain_extra(&issuers)?;
        self.log_entry(&wire::SignedEntry::Certificate { der: &certificate }, extra).await
    }

    async fn log_entry(&self, entry: &wire::SignedEntry<'_>, extra: Vec<u8>) -> Result<Sct, LogError> {
        let timestamp = self.now();
        let leaf = wire::leaf(timestamp, entry)?;
        // What an SCT signs has the same bytes as the leaf: version 0, type 0, time, entry, extensions (RFC 6962 §3.2, §3.4).
        let signature = self.inner.signer.sign(&leaf).map_err(signing)?;
        self.inner.log.append(Entry { leaf: leaf.into(), extra: extra.into() }).await?;
        Ok(Sct { log_id: self.inner.log_id, timestamp, extensions: Vec::new(), signature })
    }

    /// The log's id: SHA-256 of its SubjectPublicKeyInfo.
    pub fn log_id(&self) -> [u8; 32] {
        self.inner.log_id
    }

    /// The log's SubjectPublicKeyInfo DER.
    pub fn public_key(&self) -> &[u8] {
        self.inner.signer.spki()
    }

    /// Size and health.
    pub fn status(&self) -> LogStatus {
        self.inner.log.status()
    }

    /// Writes everything out and stops taking certificates.
    pub async fn close(&self) {
        self.inner.log.close().await;
    }

    /// Milliseconds since 1970. A clock before that gives 0, which every verifier refuses.
    fn now(&self) -> u64 {
        u64::try_from(self.inner.clock.now().as_millisecond()).unwrap_or(0)
    }

    /// A tree head over everything logged, signed now.
    pub fn tree_head(&self) -> Result<SignedTreeHead, LogError> {
        let Head { size, root, .. } = *self.inner.log.head();
        let timestamp = self.now();
        let signature = self.inner.signer.sign(&wire::tree_head(timestamp, size, &root)).map_err(signing)?;
        Ok(SignedTreeHead { size, timestamp, root, signature: wire::digitally_signed(&signature) })
    }
}

fn signing(error: KeyError) -> LogError {
    LogError::Signing(error.to_string())
}

impl CtSubmit for CtLog {
    fn submit(&self, precertificate: Precertificate) -> CtFuture<'_> {
        Box::pin(async move {
            let Precertificate { tbs, issuer_key_hash, certificate, mut chain } = precertificate;
            chain.insert(0, certificate);
            self.submit_precert(issuer_key_hash, tbs, chain).await.map_err(|e| CtError(e.to_string()))
        })
    }
}

#[cfg(test)]
mod tests;
