//! What the certificate authority needs of a certificate transparency log: a timestamp for a precertificate (RFC 6962 §3.1).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tls_codec::{SerializeBytes, TlsByteVecU16};

/// A precertificate on its way to a log.
#[derive(Debug, Clone)]
pub struct Precertificate {
    /// The `TBSCertificate` without the poison extension, in DER: what the log signs.
    pub tbs: Vec<u8>,
    /// SHA-256 of the issuer's `SubjectPublicKeyInfo`: what the log signs along with it.
    pub issuer_key_hash: [u8; 32],
    /// The signed precertificate with its poison extension, in DER: what the log keeps for its readers.
    pub certificate: Vec<u8>,
    /// The issuer's certificates in DER, root last.
    pub chain: Vec<Vec<u8>>,
}

/// A signed certificate timestamp, version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sct {
    /// SHA-256 of the log's `SubjectPublicKeyInfo`.
    pub log_id: [u8; 32],
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// Extensions: none are defined.
    pub extensions: Vec<u8>,
    /// ECDSA with SHA-256, in DER.
    pub signature: Vec<u8>,
}

/// The log did not take a precertificate: nothing may be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate transparency log: {0}")]
pub struct CtError(pub String);

/// The answer of a log, to be awaited.
pub type CtFuture<'a> = Pin<Box<dyn Future<Output = Result<Sct, CtError>> + Send + 'a>>;

/// A log that takes precertificates.
pub trait CtSubmit: fmt::Debug + Send + Sync {
    /// Logs a precertificate durably and answers with its timestamp.
    fn submit(&self, precertificate: Precertificate) -> CtFuture<'_>;
}

impl Sct {
    /// RFC 6962 §3.2, `SignedCertificateTimestamp`.
    pub fn to_tls(&self) -> Result<Vec<u8>, tls_codec::Error> {
        let mut out = vec![0];
        out.extend_from_slice(&self.log_id);
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend(TlsByteVecU16::from_slice(&self.extensions).tls_serialize()?);
        // RFC 5246 §7.4.1.4.1: hash SHA-256 (4), signature ECDSA (3).
        out.extend_from_slice(&[4, 3]);
        out.extend(TlsByteVecU16::from_slice(&self.signature).tls_serialize()?);
        Ok(out)
    }

    /// RFC 6962 §3.3, `SignedCertificateTimestampList` with this one timestamp.
    pub fn to_list(&self) -> Result<Vec<u8>, tls_codec::Error> {
        let one = TlsByteVecU16::from_slice(&self.to_tls()?).tls_serialize()?;
        TlsByteVecU16::from_slice(&one).tls_serialize()
    }
}
