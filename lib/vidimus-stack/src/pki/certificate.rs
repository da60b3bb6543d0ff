//! Certificates of authorities: the profiles of RFC 5280 §4.2 that a root, an intermediate and a timestamping leaf need.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use const_oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{Any, BitString, GeneralizedTime, OctetString, SetOfVec, UtcTime, Utf8StringRef};
use der::flagset::FlagSet;
use der::{DateTime, Encode};
use jiff::Timestamp;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};

use super::key::{CryptoFailure, EcKey, random, signature_algorithm};

/// RFC 5280 §4.2.1.12, `id-kp-codeSigning`.
pub(crate) const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// RFC 5280 §4.2.1.12, `id-kp-timeStamping`.
pub(crate) const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The machine is not fit to sign.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
    /// A value has no DER form.
    #[error("encoding a certificate: {0}")]
    Encoding(#[from] der::Error),
}

/// Who signs: a name and its key.
#[derive(Debug)]
pub(crate) struct Issuer<'a> {
    pub(crate) name: &'a Name,
    pub(crate) key: &'a EcKey,
}

/// The rank of a certificate in its hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Self-signed, any purpose.
    Root,
    /// May issue leaves with this extended key usage and no further authorities.
    Intermediate(ObjectIdentifier),
    /// A timestamping leaf (RFC 3161 §2.3: the usage is critical and the only one).
    TimestampLeaf,
}

/// Signs a certificate for `subject`.
pub(crate) fn issue(
    issuer: &Issuer<'_>,
    subject: &Name,
    public_key: &SubjectPublicKeyInfoOwned,
    rank: Rank,
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let extensions = extensions(rank, public_key, issuer.key.public_key())?;
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: serial_number()?,
        signature: signature_algorithm(),
        issuer: issuer.name.clone(),
        validity,
        subject: subject.clone(),
        subject_public_key_info: public_key.clone(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    };
    let signature = BitString::from_bytes(&issuer.key.sign(&tbs.to_der()?)?)?;
    Ok(Certificate { tbs_certificate: tbs, signature_algorithm: signature_algorithm(), signature })
}

/// An organisation and a common name, both `UTF8String`.
pub(crate) fn name(organization: &str, common_name: &str) -> Result<Name, der::Error> {
    let part = |oid: ObjectIdentifier, text: &str| {
        let value = Any::encode_from(&Utf8StringRef::new(text)?)?;
        Ok::<_, der::Error>(RelativeDistinguishedName(SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?))
    };
    Ok(RdnSequence(vec![part(ORGANIZATION_NAME, organization)?, part(COMMON_NAME, common_name)?]))
}

/// A positive random serial number that fits RFC 5280's 20 octets: 159 random bits.
pub(crate) fn serial_number() -> Result<SerialNumber, IssueError> {
    let mut bytes = random::<20>()?;
    // Positive (top bit clear), and never shorter than 20 octets (next bit set), which also keeps it from being zero.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::new(&bytes)?)
}

/// RFC 5280 §4.1.2.5: `UTCTime` until 2049, `GeneralizedTime` after; whole seconds, rounded down.
pub(crate) fn time(at: Timestamp) -> Result<Time, der::Error> {
    let date = date_time(at)?;
    Ok(if date.year() <= UtcTime::MAX_YEAR {
        UtcTime::from_date_time(date)?.into()
    } else {
        GeneralizedTime::from_date_time(date).into()
    })
}

/// A point in time without its fraction of a second.
pub(crate) fn date_time(at: Timestamp) -> Result<DateTime, der::Error> {
    let seconds = u64::try_from(at.as_second()).map_err(|_| der::ErrorKind::DateTime)?;
    DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))
}

/// RFC 5280 §4.2.1.2, method 1: SHA-1 of the subject public key's bits.
pub(crate) fn key_identifier(public_key: &SubjectPublicKeyInfoOwned) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, public_key.subject_public_key.raw_bytes()).as_ref().to_vec()
}

/// One extension.
pub(crate) fn extension<T: Encode + AssociatedOid>(value: &T, critical: bool) -> Result<Extension, der::Error> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// The identifier of an algorithm without parameters.
pub(crate) fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: None }
}

fn extensions(
    rank: Rank,
    subject: &SubjectPublicKeyInfoOwned,
    issuer: &SubjectPublicKeyInfoOwned,
) -> Result<Extensions, der::Error> {
    let authority_usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let mut list = match rank {
        Rank::Root => vec![
            extension(&BasicConstraints { ca: true, path_len_constraint: Some(1) }, true)?,
            extension(&authority_usage, true)?,
        ],
        Rank::Intermediate(purpose) => vec![
            extension(&BasicConstraints { ca: true, path_len_constraint: Some(0) }, true)?,
            extension(&authority_usage, true)?,
            extension(&ExtendedKeyUsage(vec![purpose]), false)?,
        ],
        Rank::TimestampLeaf => vec![
            extension(&BasicConstraints { ca: false, path_len_constraint: None }, true)?,
            extension(&KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)), true)?,
            extension(&ExtendedKeyUsage(vec![TIME_STAMPING]), true)?,
        ],
    };
    list.push(extension(&SubjectKeyIdentifier(OctetString::new(key_identifier(subject))?), false)?);
    list.push(extension(&authority_key_identifier(issuer)?, false)?);
    Ok(list)
}

/// The authority key identifier that points at `issuer`.
pub(crate) fn authority_key_identifier(issuer: &SubjectPublicKeyInfoOwned) -> Result<AuthorityKeyIdentifier, der::Error> {
    Ok(AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(key_identifier(issuer))?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    })
}
