//! A root, an intermediate and, for timestamps, a leaf: made once, kept in a directory, read back at every start.
//!
//! The directory appears whole (it is filled under another name and renamed), so a crash in the middle of the first start
//! leaves nothing half made. What is read back is checked: keys must belong to their certificates, and each certificate must
//! be signed by the next.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use const_oid::ObjectIdentifier;
use der::{Decode, Encode};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use vidimus_core::encoding;
use x509_cert::Certificate;
use x509_cert::time::Validity;

use super::certificate::{IssueError, Issuer, Rank, issue, name, time};
use super::key::{CryptoFailure, EcKey};
use crate::secret_file::{self, SecretFileError};

/// Years that authorities are valid. There is no renewal protocol between an authority and the trust roots that name it, so it
/// is as long as a real Sigstore's.
const YEARS: i64 = 10;
/// Bytes of a key or certificate file: they are under 1 KiB.
const FILE_BYTES: u64 = 64 << 10;

/// A hierarchy could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file could not be read or written, or is not what it should be.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The machine is not fit to sign.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl From<der::Error> for OpenError {
    fn from(e: der::Error) -> Self {
        Self::Issue(e.into())
    }
}

/// What to make when there is nothing yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// The organisation in every name.
    pub(crate) organization: &'static str,
    /// Common names, from the certificate that signs down to the root.
    pub(crate) names: &'static [&'static str],
    /// The purpose that the intermediate is limited to.
    pub(crate) purpose: ObjectIdentifier,
}

/// A certificate with the bytes it is known by.
#[derive(Debug, Clone)]
pub struct CertificateBytes {
    /// DER.
    pub der: Vec<u8>,
    /// PEM with a final newline.
    pub pem: String,
}

/// Certificates, each signed by the next; the last one is the root.
#[derive(Debug, Clone)]
pub struct Chain(Vec<CertificateBytes>);

impl Chain {
    /// The certificates, root last.
    pub fn certificates(&self) -> &[CertificateBytes] {
        &self.0
    }

    /// All of them in PEM, root last.
    pub fn pem(&self) -> String {
        self.0.iter().map(|c| c.pem.as_str()).collect()
    }
}

/// An opened hierarchy: the key of the first certificate, and the chain.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) key: EcKey,
    pub(crate) signer: Certificate,
    pub(crate) chain: Chain,
    /// When the first of the certificates ends.
    pub(crate) not_after: Timestamp,
    /// When all of the certificates have begun.
    pub(crate) not_before: Timestamp,
}

impl Hierarchy {
    /// Reads the hierarchy in `dir`, or makes it.
    pub(crate) fn open(dir: &Path, plan: &Plan, now: Timestamp) -> Result<Self, OpenError> {
        if !dir.exists() {
            create(dir, plan, now)?;
        }
        load(dir, plan)
    }
}

fn create(dir: &Path, plan: &Plan, now: Timestamp) -> Result<(), OpenError> {
    let parent = dir.parent().unwrap_or(Path::new("."));
    secret_file::create_dir(parent)?;
    let fresh = secret_file::temporary_dir(parent)?;
    let keys = plan.names.iter().map(|_| EcKey::generate()).collect::<Result<Vec<_>, _>>()?;
    for (index, key) in keys.iter().enumerate() {
        let certificate = certificate(plan, &keys, index, now)?;
        let (key_file, certificate_file) = files(fresh.path(), plan, index);
        secret_file::replace(&key_file, key.to_pem().as_bytes())?;
        secret_file::replace(&certificate_file, encoding::pem("CERTIFICATE", &certificate.to_der()?).as_bytes())?;
    }
    fs::rename(fresh.keep(), dir).and_then(|()| secret_file::sync_dir(parent)).map_err(SecretFileError::io(dir))?;
    Ok(())
}

fn certificate(plan: &Plan, keys: &[EcKey], index: usize, now: Timestamp) -> Result<Certificate, OpenError> {
    let last = keys.len() - 1;
    let rank = match last - index {
        0 => Rank::Root,
        1 => Rank::Intermediate(plan.purpose),
        _ => Rank::TimestampLeaf,
    };
    let above = (index + 1).min(last);
    let issuer_name = name(plan.organization, plan.names[above])?;
    let issuer = Issuer { name: &issuer_name, key: &keys[above] };
    Ok(issue(&issuer, &name(plan.organization, plan.names[index])?, keys[index].public_key(), rank, validity(now)?)?)
}

/// From a minute ago, so that a trust root which starts with this certificate holds for the very first signature even when a
/// verifier's clock lags a little.
fn validity(now: Timestamp) -> Result<Validity, OpenError> {
    let start = now - 1.minute();
    let end = start.to_zoned(TimeZone::UTC).saturating_add(YEARS.years()).timestamp();
    Ok(Validity { not_before: time(start)?, not_after: time(end)? })
}

fn load(dir: &Path, plan: &Plan) -> Result<Hierarchy, OpenError> {
    let (key_file, _) = files(dir, plan, 0);
    let key =
        EcKey::from_pem(&secret_file::read_text(&key_file, FILE_BYTES)?).map_err(|e| SecretFileError::malformed(&key_file, e))?;
    let mut certificates = Vec::new();
    let mut bytes = Vec::new();
    for index in 0..plan.names.len() {
        let (_, file) = files(dir, plan, index);
        let (certificate, read) = load_certificate(&file)?;
        certificates.push(certificate);
        bytes.push(read);
    }
    check(dir, &key, &certificates)?;
    let ends = certificates.iter().map(|c| c.tbs_certificate.validity.not_after);
    let starts = certificates.iter().map(|c| c.tbs_certificate.validity.not_before);
    let not_after = ends.map(timestamp).min().unwrap_or(Timestamp::MIN);
    let not_before = starts.map(timestamp).max().unwrap_or(Timestamp::MAX);
    Ok(Hierarchy { key, signer: certificates.swap_remove(0), chain: Chain(bytes), not_after, not_before })
}

fn load_certificate(file: &Path) -> Result<(Certificate, CertificateBytes), OpenError> {
    let text = secret_file::read_text(file, FILE_BYTES)?;
    let der = encoding::pem_one(&text, "CERTIFICATE").map_err(|e| SecretFileError::malformed(file, e))?;
    let certificate = Certificate::from_der(&der).map_err(|e| SecretFileError::malformed(file, e))?;
    let pem = encoding::pem("CERTIFICATE", &der);
    Ok((certificate, CertificateBytes { der, pem }))
}

fn check(dir: &Path, key: &EcKey, certificates: &[Certificate]) -> Result<(), OpenError> {
    let bad = |why: &str| OpenError::from(SecretFileError::malformed(dir, why));
    if certificates[0].tbs_certificate.subject_public_key_info != *key.public_key() {
        return Err(bad("the key does not belong to the certificate"));
    }
    for (index, certificate) in certificates.iter().enumerate() {
        let issuer = certificates.get(index + 1).unwrap_or(certificate);
        if certificate.tbs_certificate.issuer != issuer.tbs_certificate.subject || !signed_by(certificate, issuer) {
            return Err(bad("a certificate is not signed by the next one"));
        }
    }
    Ok(())
}

fn signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let key = issuer.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes();
    let tbs = certificate.tbs_certificate.to_der().unwrap_or_default();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(&tbs, certificate.signature.raw_bytes()).is_ok()
}

/// Key and certificate of one rank: `intermediate.key.pem`, `intermediate.crt.pem`.
fn files(dir: &Path, plan: &Plan, index: usize) -> (PathBuf, PathBuf) {
    let rank = match plan.names.len() - 1 - index {
        0 => "root",
        1 => "intermediate",
        _ => "leaf",
    };
    (dir.join(format!("{rank}.key.pem")), dir.join(format!("{rank}.crt.pem")))
}

fn timestamp(time: x509_cert::time::Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::certificate::TIME_STAMPING;
    use super::*;

    const PLAN: Plan = Plan { organization: "test", names: &["leaf", "int", "root"], purpose: TIME_STAMPING };

    #[test]
    fn made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let first = Hierarchy::open(&dir.path().join("keys/tsa"), &PLAN, now).unwrap();
        let again = Hierarchy::open(&dir.path().join("keys/tsa"), &PLAN, now + 24.hours()).unwrap();
        assert_eq!(first.chain.pem(), again.chain.pem());
        assert_eq!(first.chain.certificates().len(), 3);
        let mode =
            |path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.path().join(path)).unwrap().permissions()) & 0o777;
        assert_eq!((mode("keys/tsa"), mode("keys/tsa/leaf.key.pem"), mode("keys/tsa/root.crt.pem")), (0o700, 0o600, 0o600));
        assert_eq!(again.not_before, now - 1.minute());
        assert_eq!(again.not_after.to_string(), "2036-11-21T11:59:00Z");
    }

    #[test]
    fn a_foreign_key_or_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for path in [&a, &b] {
            Hierarchy::open(path, &PLAN, now).unwrap();
        }
        fs::copy(b.join("intermediate.crt.pem"), a.join("intermediate.crt.pem")).unwrap();
        let e = Hierarchy::open(&a, &PLAN, now).unwrap_err();
        assert!(e.to_string().contains("not signed by the next one"), "{e}");
        fs::copy(a.join("leaf.key.pem"), b.join("leaf.key.pem")).unwrap();
        let e = Hierarchy::open(&b, &PLAN, now).unwrap_err();
        assert!(e.to_string().contains("does not belong"), "{e}");
    }
}
