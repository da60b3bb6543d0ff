//! What the certificate authority needs of a certificate transparency log: a timestamp for a precertificate (RFC 6962 §3.1).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::ct::{CtLog, Sct};

/// A precertificate on its way to a log.
#[derive(Debug, Clone)]
pub struct Precertificate {
    /// The `TBSCertificate` without the poison extension, in DER: what the log signs.
    pub tbs: Vec<u8>,
    /// SHA-256 of the issuer's `SubjectPublicKeyInfo`: what the log signs along with it.
    pub issuer_key_hash: [u8; 32],
    /// The signed precertificate with its poison extension, then its issuers, root last, in DER: what the log keeps for its
    /// readers.
    pub chain: Vec<Vec<u8>>,
}

/// The log did not take a precertificate: nothing may be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate transparency log: {0}")]
pub struct CtError(pub String);

/// The answer of a log, to be awaited.
pub type CtFuture<'a> = Pin<Box<dyn Future<Output = Result<Sct, CtError>> + Send + 'a>>;

/// A log that takes precertificates. The stack's own is one; tests have others, which fail.
pub trait CtSubmit: fmt::Debug + Send + Sync {
    /// Logs a precertificate durably and answers with its timestamp.
    fn submit(&self, precertificate: Precertificate) -> CtFuture<'_>;
}

impl CtSubmit for CtLog {
    fn submit(&self, precertificate: Precertificate) -> CtFuture<'_> {
        let Precertificate { tbs, issuer_key_hash, chain } = precertificate;
        Box::pin(async move { self.submit_precert(issuer_key_hash, tbs, chain).await.map_err(|e| CtError(e.to_string())) })
    }
}
