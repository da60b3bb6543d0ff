//! The result of a verification that succeeded. Only [`crate::verify`] makes these values.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use vidimus_core::{
    Digest, ParseError,
    encoding::Base64,
    fulcio::{Claims, Extension, Identity},
    intoto::Header as Statement,
};

use crate::{Check, CheckId, Format, Note, Waiver, key::PublicKey, x509};

/// What has been proven about a signature.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    pub(crate) format: Format,
    pub(crate) signer: Signer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) matched_identity: Option<usize>,
    pub(crate) times: Vec<VerifiedTime>,
    pub(crate) log_entries: Vec<VerifiedEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) statement: Option<Statement>,
    pub(crate) checks: Vec<Check>,
    pub(crate) notes: Vec<Note>,
    pub(crate) waivers: Vec<Waiver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trust_root: Option<String>,
}

impl Verified {
    /// Where the signature came from.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Who signed.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The holder of the certificate, if it was not a managed key that signed.
    pub fn certificate(&self) -> Option<&CertificateSigner> {
        match &self.signer {
            Signer::Certificate(signer) => Some(signer),
            Signer::Key(_) => None,
        }
    }

    /// Which of the policy's identities the signer is, counted from 0: for rules over several signatures, such as N of M.
    pub fn matched_identity(&self) -> Option<usize> {
        self.matched_identity
    }

    /// When the signature existed, by each source that proves it.
    pub fn times(&self) -> &[VerifiedTime] {
        &self.times
    }

    /// The earliest verified time.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.times.iter().map(|t| t.time).min()
    }

    /// The log entries that count.
    pub fn log_entries(&self) -> &[VerifiedEntry] {
        &self.log_entries
    }

    /// The statement that was signed, if one was.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }

    /// Every check that was performed.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether a check was performed.
    pub fn has(&self, check: CheckId) -> bool {
        self.checks.iter().any(|c| c.id == check)
    }

    /// What was seen and does not count, and what the reader should know.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What the policy did not ask for although the safe default does.
    pub fn waivers(&self) -> &[Waiver] {
        &self.waivers
    }

    /// The name of the trust root that it belongs to, where there were several to choose from.
    pub fn trust_root(&self) -> Option<&str> {
        self.trust_root.as_deref()
    }
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "type")]
#[non_exhaustive]
pub enum Signer {
    /// The holder of a certificate.
    Certificate(Box<CertificateSigner>),
    /// The holder of a managed key.
    Key(KeySigner),
}

/// The holder of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSigner {
    #[serde(flatten)]
    claims: Claims,
    #[serde(rename = "issuer")]
    oidc_issuer: Option<String>,
    authority: String,
    serial: String,
    /// DER; reports show its digest.
    #[serde(rename = "fingerprint", serialize_with = "as_digest")]
    certificate: Base64,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl CertificateSigner {
    /// The holder of a certificate that this authority issued.
    pub(crate) fn new(certificate: &x509::Certificate, authority: &str) -> Result<Self, ParseError> {
        let claims = Claims::from_values(certificate.extensions())?;
        Ok(Self {
            oidc_issuer: claims.issuer().map(str::to_owned),
            claims,
            authority: authority.to_owned(),
            serial: x509::hex(certificate.serial()),
            certificate: certificate.der().into(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        })
    }

    /// The subject alternative names. Fulcio writes exactly one.
    pub fn names(&self) -> &[Identity] {
        &self.claims.identities
    }

    /// The names in one text, for people.
    pub fn name(&self) -> String {
        match self.names() {
            [] => "(no name)".to_owned(),
            names => names.iter().map(Identity::as_str).collect::<Vec<_>>().join(", "),
        }
    }

    /// The OIDC issuer that vouched for the name.
    pub fn issuer(&self) -> Option<&str> {
        self.oidc_issuer.as_deref()
    }

    /// All that the certificate says about its holder.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// One of Fulcio's claims.
    pub fn claim(&self, claim: Extension) -> Option<&str> {
        self.claims.get(claim)
    }

    /// The name of the authority that issued the certificate.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The certificate's serial number in hex.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &[u8] {
        self.certificate.as_bytes()
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Digest {
        Digest::sha256(self.certificate())
    }

    /// From when on the certificate is valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when the certificate is valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

fn as_digest<S: Serializer>(certificate: &Base64, serializer: S) -> Result<S::Ok, S::Error> {
    Digest::sha256(certificate.as_bytes()).serialize(serializer)
}

/// The holder of a managed key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySigner {
    algorithm: String,
    fingerprint: Digest,
}

impl KeySigner {
    pub(crate) fn new(key: &PublicKey) -> Self {
        Self { algorithm: key.algorithm().to_string(), fingerprint: Digest::sha256(key.spki()) }
    }

    /// The kind of key.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// SHA-256 of the key's `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }
}

/// A moment at which the signature existed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct VerifiedTime {
    /// The moment.
    pub time: Timestamp,
    /// What kind of source says so.
    pub source: TimeSource,
    /// Which one: the URL of the log or authority.
    pub by: String,
}

/// What can say when a signature existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TimeSource {
    /// Nothing did, and the policy allows to take the current time.
    CurrentTime,
    /// A Rekor v1 log, in its signed promise.
    LogPromise,
    /// A timestamp authority.
    TimestampAuthority,
}

/// A log entry that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct VerifiedEntry {
    /// The log's URL.
    pub log: String,
    /// The log's id in hex.
    pub log_id: String,
    /// The entry's index in the log.
    pub index: u64,
    /// Kind and version: `dsse 0.0.1`.
    pub kind: String,
    /// Whether an inclusion proof against a signed checkpoint was verified.
    pub included: bool,
    /// When the log says that it took the entry in, if its promise was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrated_time: Option<Timestamp>,
    /// The size of the tree in which the entry is, if its inclusion was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_size: Option<u64>,
    /// The names of the witnesses whose cosignatures were verified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
}
