//! RFC 3161 timestamps: taking a token apart and checking it against one authority of the trust root.
//!
//! The token is CMS SignedData (RFC 5652) with one signer and signed attributes. Certificates that travel in a token are used only to
//! find the signer's where the trust root has the authority's CA alone; trust comes from the root. Times are `genTime`; the stated
//! accuracy is a second or so and makes no difference to certificates that are valid for minutes.

use const_oid::{
    ObjectIdentifier,
    db::{rfc5911, rfc5912},
};
use der::{Decode, Tag, asn1::UintRef};
use jiff::{Timestamp, civil};
use spki::AlgorithmIdentifierRef;
use vidimus_core::{Algorithm, Digest, limits};

use crate::{
    asn1::{self, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, children, content, context, item, tag},
    key::{KeyAlgorithm, PublicKey, Scheme},
    trust::{Authority, Issuer, TimestampSigner},
    x509::{Certificate, KeyFamily, hash_of, scheme_of},
};

/// A token is about 600 bytes, with certificates up to 5 KiB.
const TOKEN_BYTES: usize = 64 << 10;

const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// A token, parsed and not verified.
pub(crate) struct Token<'a> {
    tst_info: &'a [u8],
    imprint_hash: Algorithm,
    imprint: &'a [u8],
    time: Timestamp,
    certificates: Vec<&'a [u8]>,
    signer: SignerInfo<'a>,
}

struct SignerInfo<'a> {
    sid: &'a [u8],
    digest: Algorithm,
    /// The signed attributes, in the DER that is signed.
    attributes: Vec<u8>,
    content_type: ObjectIdentifier,
    message_digest: &'a [u8],
    signing_certificate: SigningCertificate<'a>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

/// Which certificate the signer says it used (RFC 5816, RFC 2634).
enum SigningCertificate<'a> {
    V1 { sha1: &'a [u8] },
    V2 { hash: Algorithm, value: &'a [u8] },
}

/// A token that one authority made over these bytes.
pub(crate) struct VerifiedToken {
    pub(crate) time: Timestamp,
}

impl<'a> Token<'a> {
    /// Reads a `TimeStampResp`, which must be granted, or a bare token.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, String> {
        limits::check_len("timestamp", der.len(), TOKEN_BYTES).map_err(|e| e.to_string())?;
        let unreadable = |e: der::Error| format!("not a readable timestamp: {e}");
        let outer = children(der, SEQUENCE).map_err(unreadable)?;
        let first = item(&outer, 0).map_err(unreadable)?;
        let content_info = match tag(first) {
            Some(SEQUENCE) => {
                granted(first).map_err(unreadable)?.then_some(()).ok_or("the authority did not grant the timestamp")?;
                item(&outer, 1).map_err(|_| "the response has no token".to_owned())?
            }
            _ => der,
        };
        Self::from_content_info(content_info).map_err(unreadable)
    }

    fn from_content_info(der: &'a [u8]) -> der::Result<Self> {
        let info = children(der, SEQUENCE)?;
        expect_oid(item(&info, 0)?, rfc5911::ID_SIGNED_DATA)?;
        let signed_data = children(content(item(&info, 1)?, context(0))?, SEQUENCE)?;
        let encapsulated = children(item(&signed_data, 2)?, SEQUENCE)?;
        expect_oid(item(&encapsulated, 0)?, TST_INFO)?;
        let tst_info = content(content(item(&encapsulated, 1)?, context(0))?, OCTET_STRING)?;
        let certificates = signed_data.iter().skip(3).find(|f| tag(f) == Some(context(0)));
        let certificates = certificates.map(|set| children(set, context(0))).transpose()?.unwrap_or_default();
        let signers = signed_data.iter().skip(3).find(|f| tag(f) == Some(SET)).ok_or_else(|| Tag::Set.value_error())?;
        // RFC 3161 §2.4.2: exactly one signature.
        let [signer] = children(signers, SET)?[..] else { return Err(Tag::Set.value_error()) };
        let (imprint_hash, imprint, time) = read_tst_info(tst_info)?;
        Ok(Self { tst_info, imprint_hash, imprint, time, certificates, signer: SignerInfo::parse(signer)? })
    }

    /// Whether the token is about these bytes.
    pub(crate) fn is_over(&self, bytes: &[u8]) -> bool {
        Digest::of(self.imprint_hash, bytes).bytes() == self.imprint
    }

    /// Whether the token says that this certificate signed it.
    pub(crate) fn names(&self, certificate: &Certificate) -> bool {
        self.signer.names(certificate)
    }

    /// Checks the token against an authority: its signer, its chain and span of validity at the token's time.
    pub(crate) fn verify(&self, over: &[u8], authority: &Authority) -> Result<VerifiedToken, String> {
        if !self.is_over(over) {
            return Err("it is about another signature".to_owned());
        }
        match authority.timestamp_signer() {
            Some(Ok((signer, issuer))) => self.verify_by(signer, issuer)?,
            Some(Err(unusable)) => return Err(format!("the trusted root's chain cannot be used: {unusable}")),
            None => self.verify_by_embedded(authority)?,
        }
        if !authority.valid_for.contains(self.time) {
            return Err(format!("its time {} is outside of the authority's validity in the trusted root", self.time));
        }
        Ok(VerifiedToken { time: self.time })
    }

    /// Checks a token whose signer's certificate travels with it, under an authority of which the root has only CA certificates.
    fn verify_by_embedded(&self, authority: &Authority) -> Result<(), String> {
        for der in self.certificates.iter().take(limits::CHAIN) {
            let Ok(certificate) = Certificate::parse(der) else { continue };
            if !self.signer.names(&certificate) {
                continue;
            }
            let issuer = authority.issuer_of(&certificate).map_err(|e| e.to_string())?;
            let issuer = issuer.ok_or("its certificate was not issued by this authority")?;
            let issuer = authority.issuer(issuer).map_err(ToString::to_string)?;
            let signer = TimestampSigner::unissued(certificate).map_err(|e| e.to_string())?;
            return self.verify_by(&signer, issuer);
        }
        Err("it has no certificate of its signer, and the trusted root has none either".to_owned())
    }

    fn verify_by(&self, signer: &TimestampSigner, issuer: &Issuer) -> Result<(), String> {
        let certificate = &signer.certificate;
        if !self.signer.names(certificate) {
            return Err("another certificate signed it".to_owned());
        }
        let from = certificate.not_before.max(issuer.not_before);
        let to = certificate.not_after.min(issuer.not_after);
        if self.time < from || to < self.time {
            return Err(format!("its time {} is outside of the certificates' validity, {from} to {to}", self.time));
        }
        self.signer.verify(self.tst_info, certificate, &signer.key)
    }
}

impl<'a> SignerInfo<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        let fields = children(der, SEQUENCE)?;
        let algorithm_at = |index| AlgorithmIdentifierRef::from_der(item(&fields, index)?);
        let digest = hash_of(algorithm_at(2)?.oid).ok_or_else(|| Tag::ObjectIdentifier.value_error())?;
        let attributes = children(item(&fields, 3)?, context(0))?;
        let value = |oid| attribute(&attributes, oid);
        let signing_certificate = match value(SIGNING_CERTIFICATE_V2)? {
            Some(v2) => SigningCertificate::parse_v2(v2)?,
            // RFC 3161 §2.4.2 demands the attribute: without it the signature could be claimed for another certificate of the key.
            None => SigningCertificate::parse_v1(value(SIGNING_CERTIFICATE)?.ok_or_else(|| Tag::Set.value_error())?)?,
        };
        let content_type = value(rfc5911::ID_CONTENT_TYPE)?.ok_or_else(|| Tag::Set.value_error())?;
        let message_digest = value(rfc5911::ID_MESSAGE_DIGEST)?.ok_or_else(|| Tag::Set.value_error())?;
        Ok(Self {
            sid: item(&fields, 1)?,
            digest,
            content_type: ObjectIdentifier::from_der(content_type)?,
            message_digest: content(message_digest, OCTET_STRING)?,
            signing_certificate,
            algorithm: algorithm_at(4)?,
            signature: content(item(&fields, 5)?, OCTET_STRING)?,
            attributes: signed_attributes(attributes)?,
        })
    }

    /// Whether the signer identifier is of this certificate: by issuer and serial number, or by key id.
    fn names(&self, certificate: &Certificate) -> bool {
        match tag(self.sid) {
            Some(SEQUENCE) => children(self.sid, SEQUENCE).is_ok_and(|sid| match sid[..] {
                [issuer, serial] => {
                    issuer == certificate.issuer()
                        && UintRef::from_der(serial).is_ok_and(|s| s.as_bytes() == certificate.serial())
                }
                _ => false,
            }),
            // [0] IMPLICIT OCTET STRING
            Some(0x80) => content(self.sid, 0x80).is_ok_and(|id| certificate.subject_key_id().as_deref() == Some(id)),
            _ => false,
        }
    }

    fn verify(&self, tst_info: &[u8], certificate: &Certificate, key: &PublicKey) -> Result<(), String> {
        if self.content_type != TST_INFO {
            return Err("its signed attributes are about something else".to_owned());
        }
        if Digest::of(self.digest, tst_info).bytes() != self.message_digest {
            return Err("its signed attributes have another digest".to_owned());
        }
        if !self.signing_certificate.is(certificate) {
            return Err("its signed attributes name another certificate".to_owned());
        }
        let scheme = self.scheme(key).ok_or("its signature algorithm is not supported")?;
        if !key.verifies(scheme, &self.attributes, self.signature) {
            return Err("its signature does not verify".to_owned());
        }
        Ok(())
    }

    /// CMS writers name either the whole algorithm, or the key's with the digest's beside it.
    fn scheme(&self, key: &PublicKey) -> Option<Scheme> {
        let family = match key.algorithm() {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => KeyFamily::Ecdsa,
            KeyAlgorithm::Ed25519 => KeyFamily::Ed25519,
            KeyAlgorithm::Rsa => KeyFamily::Rsa,
        };
        match self.algorithm.oid {
            rfc5912::RSA_ENCRYPTION if family == KeyFamily::Rsa => Some(Scheme::Hashed(self.digest)),
            rfc5912::ID_EC_PUBLIC_KEY if family == KeyFamily::Ecdsa => Some(Scheme::Hashed(self.digest)),
            _ => scheme_of(&self.algorithm).ok().filter(|(f, _)| *f == family).map(|(_, scheme)| scheme),
        }
    }
}

impl<'a> SigningCertificate<'a> {
    /// `SigningCertificateV2 ::= SEQUENCE { SEQUENCE OF ESSCertIDv2, … }`; the first identifies the signer.
    fn parse_v2(der: &'a [u8]) -> der::Result<Self> {
        let ids = children(item(&children(der, SEQUENCE)?, 0)?, SEQUENCE)?;
        let id = children(item(&ids, 0)?, SEQUENCE)?;
        let first = item(&id, 0)?;
        // The hash algorithm is absent where it is SHA-256, the default.
        if tag(first) == Some(OCTET_STRING) {
            return Ok(Self::V2 { hash: Algorithm::Sha256, value: content(first, OCTET_STRING)? });
        }
        let hash = hash_of(AlgorithmIdentifierRef::from_der(first)?.oid).ok_or_else(|| Tag::ObjectIdentifier.value_error())?;
        Ok(Self::V2 { hash, value: content(item(&id, 1)?, OCTET_STRING)? })
    }

    fn parse_v1(der: &'a [u8]) -> der::Result<Self> {
        let ids = children(item(&children(der, SEQUENCE)?, 0)?, SEQUENCE)?;
        let id = children(item(&ids, 0)?, SEQUENCE)?;
        Ok(Self::V1 { sha1: content(item(&id, 0)?, OCTET_STRING)? })
    }

    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::V2 { hash, value } => Digest::of(*hash, certificate.der()).bytes() == *value,
            // SHA-1 here only tells a certificate that we trust already from others that we trust.
            Self::V1 { sha1 } => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
                digest.as_ref() == *sha1
            }
        }
    }
}

/// Whether a `PKIStatusInfo` says granted (0) or granted with modifications (1).
fn granted(status: &[u8]) -> der::Result<bool> {
    let value = content(item(&children(status, SEQUENCE)?, 0)?, INTEGER)?;
    Ok(matches!(value, [0 | 1]))
}

fn expect_oid(der: &[u8], expected: ObjectIdentifier) -> der::Result<()> {
    if content(der, OID)? == expected.as_bytes() { Ok(()) } else { Err(Tag::ObjectIdentifier.value_error()) }
}

/// The only value of the only attribute of this type; none if there is no such attribute.
fn attribute<'a>(attributes: &[&'a [u8]], oid: ObjectIdentifier) -> der::Result<Option<&'a [u8]>> {
    let mut found = None;
    for attribute in attributes {
        let fields = children(attribute, SEQUENCE)?;
        if content(item(&fields, 0)?, OID)? == oid.as_bytes() {
            let [value] = children(item(&fields, 1)?, SET)?[..] else { return Err(Tag::Set.value_error()) };
            if found.replace(value).is_some() {
                return Err(Tag::Set.value_error());
            }
        }
    }
    Ok(found)
}

/// RFC 5652 §5.4: what is signed is the DER of the attributes as a `SET OF`, whatever tag and order they travel in.
fn signed_attributes(mut attributes: Vec<&[u8]>) -> der::Result<Vec<u8>> {
    attributes.sort_unstable();
    asn1::tlv(SET, &attributes.concat())
}

/// Hash, imprint and time of a `TSTInfo`.
fn read_tst_info(der: &[u8]) -> der::Result<(Algorithm, &[u8], Timestamp)> {
    let fields = children(der, SEQUENCE)?;
    if content(item(&fields, 0)?, INTEGER)? != [1] {
        return Err(Tag::Integer.value_error());
    }
    let imprint = children(item(&fields, 2)?, SEQUENCE)?;
    let hash = hash_of(AlgorithmIdentifierRef::from_der(item(&imprint, 0)?)?.oid);
    let hash = hash.ok_or_else(|| Tag::ObjectIdentifier.value_error())?;
    let time = content(item(&fields, 4)?, GENERALIZED_TIME)?;
    let time = read_time(time).ok_or_else(|| Tag::GeneralizedTime.value_error())?;
    refuse_critical_extensions(&fields)?;
    Ok((hash, content(item(&imprint, 1)?, OCTET_STRING)?, time))
}

fn refuse_critical_extensions(fields: &[&[u8]]) -> der::Result<()> {
    let Some(extensions) = fields.iter().skip(5).find(|f| tag(f) == Some(context(1))) else { return Ok(()) };
    for extension in children(extensions, context(1))? {
        let critical = children(extension, SEQUENCE)?.get(1).is_some_and(|f| tag(f) == Some(BOOLEAN));
        if critical {
            return Err(Tag::Boolean.value_error());
        }
    }
    Ok(())
}

/// `YYYYMMDDhhmmss[.f…]Z` (RFC 3161 §2.4.2; RFC 5280 forbids the fraction, this one allows it).
fn read_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let part = |range: std::ops::Range<usize>| whole[range].parse::<i8>().ok();
    let nanoseconds = format!("{fraction:0<9}").parse::<i32>().ok()?;
    let date = civil::Date::new(whole[..4].parse().ok()?, part(4..6)?, part(6..8)?).ok()?;
    let time = civil::Time::new(part(8..10)?, part(10..12)?, part(12..14)?, nanoseconds).ok()?;
    date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_fraction() {
        let time = |text: &[u8]| read_time(text).map(|t| t.to_string());
        assert_eq!(time(b"20261121204139Z").as_deref(), Some("2026-11-21T20:41:39Z"));
        assert_eq!(time(b"20261121204139.25Z").as_deref(), Some("2026-11-21T20:41:39.25Z"));
        for bad in [&b"20261121204139"[..], b"20261321204139Z", b"2026112120413Z", b"20261121204139.Z", b"+0261121204139Z"] {
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn refuses_what_is_not_a_token() {
        for bad in [&b""[..], b"\x30\x00", b"\x30\x05\x30\x03\x02\x01\x02", &[0x30; 70_000]] {
            assert!(Token::parse(bad).is_err());
        }
    }
}
