//! Leaf certificates: Fulcio's profile, byte for byte in its order, with the log's timestamp inside.
//!
//! RFC 5280, RFC 6962 §3.1, and the profile of Fulcio: no subject, ten minutes, no back-dating, whole seconds; key
//! usage, extended key usage, key identifiers, one critical name, Fulcio's extensions, and last the poison (in what the log sees)
//! or the timestamps (in what the caller gets). Serial number, order and validity are the same in both.

use aws_lc_rs::digest::{SHA256, digest};
use const_oid::ObjectIdentifier;
use der::asn1::{BitString, Null, OctetString};
use der::flagset::FlagSet;
use der::{Encode, Sequence};
use jiff::{Timestamp, ToSpan};
use spki::AlgorithmIdentifierOwned;
use vidimus_core::ParseError;
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::{Name, RdnSequence};
use x509_cert::time::Validity;
use x509_cert::{Certificate, TbsCertificate};

use super::ct::{CtError, CtSubmit, Precertificate};
use super::key::ProvenKey;
use super::principal::Principal;
use crate::pki::Chain;
use crate::pki::certificate::{
    CODE_SIGNING, IssueError, authority_key_identifier, extension, key_identifier, serial_number, time,
};
use crate::pki::key::{EcKey, signature_algorithm};

/// RFC 6962 §3.1: marks a precertificate.
const POISON: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3");
/// RFC 6962 §3.3: holds the timestamps.
const TIMESTAMPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
/// Fulcio's, and long enough to sign something.
const MINUTES: i64 = 10;

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// A name or claim has no form in a certificate.
    #[error(transparent)]
    Claim(#[from] ParseError),
    /// Signing or encoding failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The log did not take it.
    #[error(transparent)]
    Log(#[from] CtError),
}

impl From<der::Error> for LeafError {
    fn from(e: der::Error) -> Self {
        Self::Issue(e.into())
    }
}

/// The issuing authority, with the parts of a leaf that never change.
#[derive(Debug)]
pub(super) struct LeafIssuer {
    key: EcKey,
    key_hash: [u8; 32],
    name: Name,
    fixed: [Extension; 2],
    authority: Extension,
    chain: Vec<Vec<u8>>,
}

#[derive(Sequence)]
struct Signed {
    tbs: der::Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

impl LeafIssuer {
    pub(super) fn new(key: EcKey, certificate: &Certificate, chain: &Chain) -> Result<Self, IssueError> {
        let mut key_hash = [0; 32];
        key_hash.copy_from_slice(digest(&SHA256, &key.public_key().to_der()?).as_ref());
        let usage = extension(&KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)), true)?;
        let purpose = extension(&ExtendedKeyUsage(vec![CODE_SIGNING]), false)?;
        let authority = extension(&authority_key_identifier(key.public_key())?, false)?;
        let name = certificate.tbs_certificate.subject.clone();
        let chain = chain.certificates().iter().map(|c| c.der.clone()).collect();
        Ok(Self { key, key_hash, name, fixed: [usage, purpose], authority, chain })
    }

    /// Logs and signs a certificate; DER.
    pub(super) async fn issue(
        &self,
        principal: &Principal,
        key: &ProvenKey,
        now: Timestamp,
        log: &dyn CtSubmit,
    ) -> Result<Vec<u8>, LeafError> {
        let mut tbs = self.tbs(principal, key, now)?;
        let submission = Precertificate {
            tbs: tbs.to_der()?,
            issuer_key_hash: self.key_hash,
            certificate: self.sign(&with_last(&mut tbs, POISON, true, Null.to_der()?)?)?,
            chain: self.chain.clone(),
        };
        let sct = log.submit(submission).await?;
        let list = sct.to_list().map_err(|e| CtError(format!("its timestamp has no encoding: {e}")))?;
        // RFC 6962 §3.3: an OCTET STRING within the extension's own.
        Ok(self.sign(&with_last(&mut tbs, TIMESTAMPS, false, OctetString::new(list)?.to_der()?)?)?)
    }

    fn tbs(&self, principal: &Principal, key: &ProvenKey, now: Timestamp) -> Result<TbsCertificate, LeafError> {
        let [usage, purpose] = self.fixed.clone();
        let identifier = SubjectKeyIdentifier(OctetString::new(key_identifier(key.spki()))?);
        let mut extensions = vec![usage, purpose, extension(&identifier, false)?, self.authority.clone()];
        extensions.push(principal.identity.to_x509()?);
        extensions.extend(principal.extensions.to_x509()?);
        Ok(TbsCertificate {
            version: Version::V3,
            serial_number: serial_number()?,
            signature: signature_algorithm(),
            issuer: self.name.clone(),
            validity: Validity { not_before: time(now)?, not_after: time(now + MINUTES.minutes())? },
            subject: RdnSequence::default(),
            subject_public_key_info: key.spki().clone(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(extensions),
        })
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, IssueError> {
        let signature = BitString::from_bytes(&self.key.sign(tbs)?)?;
        Ok(Signed { tbs: der::Decode::from_der(tbs)?, algorithm: signature_algorithm(), signature }.to_der()?)
    }
}

/// The DER of `tbs` with one more extension at the end; `tbs` itself is left as it was.
fn with_last(tbs: &mut TbsCertificate, oid: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Result<Vec<u8>, der::Error> {
    let last = Extension { extn_id: oid, critical, extn_value: OctetString::new(value)? };
    tbs.extensions.get_or_insert_default().push(last);
    let der = tbs.to_der();
    tbs.extensions.get_or_insert_default().pop();
    der
}
