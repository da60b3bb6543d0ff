//! X.509 certificates (RFC 5280) as this crate needs them: the exact bytes that were signed, the names, the validity, the key and
//! the extensions, read once.
//!
//! The signed part is kept as a slice of the input and never re-encoded, so that a certificate that is not perfect DER is judged by
//! the bytes its issuer signed. Which certificate is *trusted* is decided in `chain`.

use std::{fmt, ops::Range};

use const_oid::{
    ObjectIdentifier,
    db::{rfc5280, rfc5912, rfc6962, rfc8410},
};
use der::{
    Decode, Reader, SliceReader, Tag,
    asn1::{BitStringRef, ObjectIdentifier as Oid, UintRef},
};
use jiff::Timestamp;
use spki::AlgorithmIdentifierRef;
use vidimus_core::{Algorithm, ParseError, limits};
use x509_cert::{
    ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier},
    name::Name,
    time::Time,
};

use crate::asn1;
use crate::key::{KeyAlgorithm, PublicKey, Scheme};

/// A certificate of the chains we read is 1 to 3 KiB; Fulcio's largest (all extensions filled) is below 8 KiB.
const CERTIFICATE_BYTES: usize = 64 << 10;
/// Fulcio writes up to 30 extensions.
const EXTENSIONS: usize = 64;

/// Extensions that this crate understands, and that may therefore be critical.
const UNDERSTOOD: [Oid; 4] =
    [rfc5280::ID_CE_BASIC_CONSTRAINTS, rfc5280::ID_CE_EXT_KEY_USAGE, rfc5280::ID_CE_KEY_USAGE, rfc5280::ID_CE_SUBJECT_ALT_NAME];

/// A certificate, parsed. Not necessarily a trusted one.
#[derive(Clone)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    tbs: Range<usize>,
    serial: Vec<u8>,
    issuer: Range<usize>,
    subject: Range<usize>,
    spki: Range<usize>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    extensions: Vec<Extension>,
    scheme: Result<(KeyFamily, Scheme), Oid>,
    signature: Range<usize>,
}

/// Where an extension and its parts lie in the certificate.
#[derive(Clone)]
struct Extension {
    whole: Range<usize>,
    oid: Range<usize>,
    critical: bool,
    value: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFamily {
    Ecdsa,
    Ed25519,
    Rsa,
}

impl Certificate {
    /// Reads a DER certificate of version 3.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, ParseError> {
        limits::check_len("certificate", der.len(), CERTIFICATE_BYTES)?;
        let outer = Outer::read(der).map_err(|e| ParseError::new("certificate", e))?;
        let tbs = Tbs::read(outer.tbs).map_err(|e| ParseError::new("certificate", e))?;
        if tbs.signature != outer.algorithm {
            // RFC 5280 §4.1.1.2: the two fields must be the same.
            return Err(ParseError::new("certificate", "the signature algorithm inside differs from the one outside"));
        }
        limits::check_count("certificate", "extensions", tbs.extensions.len(), EXTENSIONS)?;
        refuse_duplicates(&tbs.extensions)?;
        let place = |part: &[u8]| range_in(der, part);
        let extensions = tbs.extensions.iter().map(|e| e.place_in(der)).collect();
        Ok(Self {
            tbs: place(outer.tbs),
            serial: tbs.serial.to_vec(),
            issuer: place(tbs.issuer),
            subject: place(tbs.subject),
            spki: place(tbs.spki),
            not_before: tbs.not_before,
            not_after: tbs.not_after,
            extensions,
            scheme: scheme_of(&outer.algorithm),
            signature: place(outer.signature),
            der: der.to_vec(),
        })
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn issuer(&self) -> &[u8] {
        &self.der[self.issuer.clone()]
    }

    pub(crate) fn subject(&self) -> &[u8] {
        &self.der[self.subject.clone()]
    }

    pub(crate) fn spki(&self) -> &[u8] {
        &self.der[self.spki.clone()]
    }

    /// The serial number's bytes, as encoded.
    pub(crate) fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The issuer in RFC 4514 text, for people.
    pub(crate) fn issuer_text(&self) -> String {
        name_text(self.issuer())
    }

    /// The subject in RFC 4514 text, for people. Fulcio leaves it empty.
    pub(crate) fn subject_text(&self) -> String {
        name_text(self.subject())
    }

    /// The extensions: the content of each object identifier, and the value.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.extensions.iter().map(|e| (&self.der[e.oid.clone()], &self.der[e.value.clone()]))
    }

    /// The value of an extension.
    pub(crate) fn extension(&self, oid: Oid) -> Option<&[u8]> {
        self.extensions().find_map(|(id, value)| (id == oid.as_bytes()).then_some(value))
    }

    /// Whether there is this extension, and it is critical.
    pub(crate) fn has_critical(&self, oid: Oid) -> bool {
        self.extensions.iter().any(|e| e.critical && &self.der[e.oid.clone()] == oid.as_bytes())
    }

    /// A critical extension that this crate does not understand, if there is one, by its object identifier: RFC 5280 §4.2 says to
    /// refuse the certificate. The poison of precertificates (RFC 6962 §3.1) is such an extension.
    pub(crate) fn unknown_critical(&self) -> Option<String> {
        let mut ids = self.extensions.iter().filter(|e| e.critical).map(|e| &self.der[e.oid.clone()]);
        let unknown = ids.find(|id| !UNDERSTOOD.iter().any(|oid| oid.as_bytes() == *id))?;
        Some(Oid::from_bytes(unknown).map_or_else(|_| hex(unknown), |oid| oid.to_string()))
    }

    pub(crate) fn basic_constraints(&self) -> Result<Option<BasicConstraints>, ParseError> {
        self.decode(rfc5280::ID_CE_BASIC_CONSTRAINTS, "basic constraints")
    }

    pub(crate) fn key_usage(&self) -> Result<Option<KeyUsage>, ParseError> {
        self.decode(rfc5280::ID_CE_KEY_USAGE, "key usage")
    }

    pub(crate) fn extended_key_usage(&self) -> Result<Option<ExtendedKeyUsage>, ParseError> {
        self.decode(rfc5280::ID_CE_EXT_KEY_USAGE, "extended key usage")
    }

    pub(crate) fn subject_key_id(&self) -> Option<Vec<u8>> {
        let id: SubjectKeyIdentifier = self.decode(rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER, "subject key id").ok()??;
        Some(id.0.into_bytes())
    }

    pub(crate) fn authority_key_id(&self) -> Option<Vec<u8>> {
        let id: AuthorityKeyIdentifier = self.decode(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, "authority key id").ok()??;
        id.key_identifier.map(|id| id.into_bytes())
    }

    pub(crate) fn is_ca(&self) -> Result<bool, ParseError> {
        Ok(self.basic_constraints()?.is_some_and(|b| b.ca))
    }

    /// Whether `issuer`'s key signed this certificate.
    pub(crate) fn is_signed_by(&self, issuer: &PublicKey) -> Result<bool, ParseError> {
        let (family, scheme) = self
            .scheme
            .map_err(|oid| ParseError::at("certificate", "signature algorithm", format_args!("{oid} is not supported")))?;
        let fits = match issuer.algorithm() {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => family == KeyFamily::Ecdsa,
            KeyAlgorithm::Ed25519 => family == KeyFamily::Ed25519,
            KeyAlgorithm::Rsa => family == KeyFamily::Rsa,
        };
        Ok(fits && issuer.verifies(scheme, &self.der[self.tbs.clone()], &self.der[self.signature.clone()]))
    }

    /// The signed part without the list of SCTs: what a CT log signed as the precertificate (RFC 6962 §3.2). Every other byte stays
    /// as it is.
    pub(crate) fn tbs_without_scts(&self) -> Result<Vec<u8>, ParseError> {
        let scts = rfc6962::CT_PRECERT_SCTS;
        let kept = self.extensions.iter().filter(|e| &self.der[e.oid.clone()] != scts.as_bytes());
        let kept: Vec<_> = kept.map(|e| &self.der[e.whole.clone()]).collect();
        rebuild_tbs(&self.der[self.tbs.clone()], &kept).map_err(|e| ParseError::new("certificate", e))
    }

    fn decode<'a, T: Decode<'a>>(&'a self, oid: Oid, what: &'static str) -> Result<Option<T>, ParseError> {
        let Some(value) = self.extension(oid) else { return Ok(None) };
        T::from_der(value).map(Some).map_err(|e| ParseError::at("certificate", what, e))
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?}, serial {})", self.subject_text(), hex(&self.serial))
    }
}

/// The bytes of a certificate's three fields.
struct Outer<'a> {
    tbs: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> Outer<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let outer = reader.sequence(|r| {
            let tbs = r.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierRef::decode(r)?;
            let signature = BitStringRef::decode(r)?.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
            Ok(Self { tbs, algorithm, signature })
        })?;
        reader.finish(outer)
    }
}

/// The fields of a `TBSCertificate`.
struct Tbs<'a> {
    serial: &'a [u8],
    signature: AlgorithmIdentifierRef<'a>,
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    not_before: Timestamp,
    not_after: Timestamp,
    extensions: Vec<ExtensionRef<'a>>,
}

/// An extension (RFC 5280 §4.1): object identifier, criticality and value.
struct ExtensionRef<'a> {
    whole: &'a [u8],
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl<'a> ExtensionRef<'a> {
    fn read(whole: &'a [u8]) -> der::Result<Self> {
        let mut fields = asn1::content(whole, asn1::SEQUENCE)?;
        let oid = asn1::content(asn1::take(&mut fields)?, asn1::OID)?;
        let critical = asn1::tag(fields) == Some(asn1::BOOLEAN) && read_boolean(asn1::take(&mut fields)?)?;
        let value = asn1::content(fields, asn1::OCTET_STRING)?;
        Ok(Self { whole, oid, critical, value })
    }

    fn place_in(&self, certificate: &[u8]) -> Extension {
        let place = |part| range_in(certificate, part);
        Extension { whole: place(self.whole), oid: place(self.oid), critical: self.critical, value: place(self.value) }
    }
}

fn read_boolean(der: &[u8]) -> der::Result<bool> {
    match asn1::content(der, asn1::BOOLEAN)? {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(Tag::Boolean.value_error()),
    }
}

const VERSION: u8 = asn1::context(0);
const EXTENSIONS_TAG: u8 = asn1::context(3);

impl<'a> Tbs<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let tbs = reader.sequence(|r| {
            // [0] EXPLICIT INTEGER 2: version 3, the only one with extensions.
            if r.tlv_bytes()? != [VERSION, 3, 2, 1, 2] {
                return Err(Tag::Integer.value_error());
            }
            let serial = UintRef::decode(r)?.as_bytes();
            let signature = AlgorithmIdentifierRef::decode(r)?;
            let issuer = r.tlv_bytes()?;
            let (not_before, not_after) = r.sequence(|r| Ok((read_time(r)?, read_time(r)?)))?;
            let (subject, spki) = (r.tlv_bytes()?, r.tlv_bytes()?);
            let mut extensions = Vec::new();
            while !r.is_finished() {
                let optional = r.tlv_bytes()?;
                // The unique ids, [1] and [2], mean nothing to anybody.
                if optional.first() == Some(&EXTENSIONS_TAG) {
                    extensions = read_extensions(optional)?;
                }
            }
            Ok(Self { serial, signature, issuer, subject, spki, not_before, not_after, extensions })
        })?;
        reader.finish(tbs)
    }
}

fn read_time<'a>(reader: &mut impl Reader<'a>) -> der::Result<Timestamp> {
    let seconds = Time::decode(reader)?.to_unix_duration().as_secs();
    let seconds = i64::try_from(seconds).map_err(|_| Tag::GeneralizedTime.value_error())?;
    Timestamp::from_second(seconds).map_err(|_| Tag::GeneralizedTime.value_error())
}

fn read_extensions(explicit: &[u8]) -> der::Result<Vec<ExtensionRef<'_>>> {
    let list = asn1::children(asn1::content(explicit, EXTENSIONS_TAG)?, asn1::SEQUENCE)?;
    list.into_iter().map(ExtensionRef::read).collect()
}

/// The `TBSCertificate` with its list of extensions replaced.
fn rebuild_tbs(tbs: &[u8], extensions: &[&[u8]]) -> der::Result<Vec<u8>> {
    let mut fields = Vec::with_capacity(tbs.len());
    for field in asn1::children(tbs, asn1::SEQUENCE)? {
        if field.first() == Some(&EXTENSIONS_TAG) {
            // RFC 5280 §4.1: the list is never empty; without extensions the whole field is absent.
            if !extensions.is_empty() {
                let list = asn1::tlv(asn1::SEQUENCE, &extensions.concat())?;
                fields.extend(asn1::tlv(EXTENSIONS_TAG, &list)?);
            }
        } else {
            fields.extend_from_slice(field);
        }
    }
    asn1::tlv(asn1::SEQUENCE, &fields)
}

/// RFC 5280 §4.2: an extension appears at most once.
fn refuse_duplicates(extensions: &[ExtensionRef<'_>]) -> Result<(), ParseError> {
    for (i, extension) in extensions.iter().enumerate() {
        if extensions[..i].iter().any(|e| e.oid == extension.oid) {
            return Err(ParseError::at("certificate", format_args!("extension {}", hex(extension.oid)), "present twice"));
        }
    }
    Ok(())
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// The scheme of a certificate's or a CMS signature's algorithm identifier.
pub(crate) fn scheme_of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(KeyFamily, Scheme), Oid> {
    use Algorithm::{Sha256, Sha384, Sha512};
    Ok(match algorithm.oid {
        rfc5912::ECDSA_WITH_SHA_256 => (KeyFamily::Ecdsa, Scheme::Hashed(Sha256)),
        rfc5912::ECDSA_WITH_SHA_384 => (KeyFamily::Ecdsa, Scheme::Hashed(Sha384)),
        rfc5912::ECDSA_WITH_SHA_512 => (KeyFamily::Ecdsa, Scheme::Hashed(Sha512)),
        rfc5912::SHA_256_WITH_RSA_ENCRYPTION => (KeyFamily::Rsa, Scheme::Hashed(Sha256)),
        rfc5912::SHA_384_WITH_RSA_ENCRYPTION => (KeyFamily::Rsa, Scheme::Hashed(Sha384)),
        rfc5912::SHA_512_WITH_RSA_ENCRYPTION => (KeyFamily::Rsa, Scheme::Hashed(Sha512)),
        rfc5912::ID_RSASSA_PSS => (KeyFamily::Rsa, Scheme::Pss(pss_hash(algorithm).ok_or(algorithm.oid)?)),
        rfc8410::ID_ED_25519 => (KeyFamily::Ed25519, Scheme::Pure),
        other => return Err(other),
    })
}

/// The hash of RSASSA-PSS parameters (RFC 4055 §3.1); SHA-1, their default, is not supported.
fn pss_hash(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<Algorithm> {
    let mut reader = SliceReader::new(algorithm.parameters?.value()).ok()?;
    let hash = asn1::content(reader.tlv_bytes().ok()?, asn1::context(0)).ok()?;
    hash_of(AlgorithmIdentifierRef::from_der(hash).ok()?.oid)
}

/// The hash that an object identifier names.
pub(crate) fn hash_of(oid: ObjectIdentifier) -> Option<Algorithm> {
    match oid {
        rfc5912::ID_SHA_256 => Some(Algorithm::Sha256),
        rfc5912::ID_SHA_384 => Some(Algorithm::Sha384),
        rfc5912::ID_SHA_512 => Some(Algorithm::Sha512),
        _ => None,
    }
}

fn name_text(der: &[u8]) -> String {
    Name::from_der(der).map_or_else(|_| "(unreadable name)".to_owned(), |name| name.to_string())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use vidimus_core::encoding;

    use super::*;

    fn golden() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/fulcio/github.pem");
        encoding::pem_one(&std::fs::read_to_string(path).unwrap(), "CERTIFICATE").unwrap()
    }

    #[test]
    fn reads_what_fulcio_writes() {
        let certificate = Certificate::parse(&golden()).unwrap();
        assert_eq!(certificate.der(), golden());
        assert_eq!(certificate.unknown_critical(), None);
        assert!(!certificate.is_ca().unwrap());
        assert!(certificate.not_before < certificate.not_after);
        assert!(PublicKey::from_spki(certificate.spki()).is_ok());
    }

    #[test]
    fn only_the_list_of_scts_is_taken_out() {
        let certificate = Certificate::parse(&golden()).unwrap();
        let list = certificate.extensions.iter().find(|e| certificate.der[e.oid.clone()] == *rfc6962::CT_PRECERT_SCTS.as_bytes());
        let list = &certificate.der[list.unwrap().whole.clone()];
        let tbs = &certificate.der[certificate.tbs.clone()];
        let without = certificate.tbs_without_scts().unwrap();
        assert!(!without.windows(list.len()).any(|w| w == list));
        // It is Fulcio's last extension: what is left is the rest, with shorter lengths in front.
        let end = tbs.len() - list.len();
        assert!(without.ends_with(&tbs[400..end]));
        assert!(tbs.len() - without.len() >= list.len());
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic() {
        let good = golden();
        for i in 0..good.len() {
            for bit in [1, 0x80] {
                let mut bad = good.clone();
                bad[i] ^= bit;
                if let Ok(certificate) = Certificate::parse(&bad) {
                    let _ = (certificate.basic_constraints(), certificate.key_usage(), certificate.extended_key_usage());
                    let _ = (certificate.tbs_without_scts(), certificate.subject_text(), certificate.authority_key_id());
                }
            }
            assert!(Certificate::parse(&good[..i]).is_err());
        }
    }

    #[test]
    fn refuses_contradictions() {
        let good = golden();
        let ecdsa_sha256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
        let last = good.windows(ecdsa_sha256.len()).rposition(|w| w == ecdsa_sha256).unwrap();
        let mut bad = good;
        bad[last + ecdsa_sha256.len()] ^= 1;
        assert!(Certificate::parse(&bad).unwrap_err().why.contains("differs"));
    }
}
