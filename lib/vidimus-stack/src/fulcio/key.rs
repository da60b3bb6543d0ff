//! Keys that certificates are asked for: read, judged, and proven to be in the caller's hands.
//!
//! Proof is either a signature over a claim of the token, or a PKCS #10 request (RFC 2986) signed with the key. Which keys are
//! good enough is Fulcio's list; see [`RequestedKey::from_spki`].

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1,
    SECP_521_R_1, SHA_256_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{AnyRef, BitString};
use der::{Decode, Encode, Reader, SliceReader};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use vidimus_core::encoding;
use x509_cert::request::CertReq;

/// Why a key or its proof is refused. The texts are Fulcio's; clients show them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a public key.
    #[error("The public key supplied in the request could not be parsed")]
    Unreadable(String),
    /// A key that is too weak or of a kind that is not allowed.
    #[error("The public key supplied in the request is insecure")]
    Insecure(String),
    /// The proof does not hold.
    #[error("The signature supplied in the request could not be verified")]
    Unproven(String),
    /// Not a PKCS #10 request.
    #[error("The certificate signing request could not be parsed")]
    UnreadableRequest(String),
    /// A request signed with another hash than the key is for.
    #[error("signing algorithm not permitted: {0}")]
    NotPermitted(String),
}

impl KeyError {
    /// What exactly was found, for the log.
    pub fn detail(&self) -> &str {
        match self {
            Self::Unreadable(d) | Self::Insecure(d) | Self::Unproven(d) | Self::UnreadableRequest(d) | Self::NotPermitted(d) => d,
        }
    }
}

/// The kinds of keys that are certified, each with the one hash that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// A key that is good enough to be certified, not yet proven to be the caller's.
#[derive(Debug)]
pub(super) struct RequestedKey {
    kind: Kind,
    parsed: ParsedPublicKey,
    spki: SubjectPublicKeyInfoOwned,
}

/// A key that the caller has proven to hold.
#[derive(Debug)]
pub(super) struct ProvenKey(SubjectPublicKeyInfoOwned);

impl ProvenKey {
    pub(super) fn spki(&self) -> &SubjectPublicKeyInfoOwned {
        &self.0
    }
}

impl RequestedKey {
    /// Reads a key in PEM (`PUBLIC KEY`, or PKCS #1's `RSA PUBLIC KEY`), or in DER.
    pub(super) fn read(content: &[u8]) -> Result<Self, KeyError> {
        let bad = |why: &dyn std::fmt::Display| KeyError::Unreadable(why.to_string());
        let text = std::str::from_utf8(content).ok().filter(|t| t.contains("-----BEGIN "));
        let Some(text) = text else { return Self::from_spki(content) };
        let blocks = encoding::pem_blocks(text).map_err(|e| bad(&e))?;
        match blocks.as_slice() {
            [block] if block.label == "PUBLIC KEY" => Self::from_spki(&block.der),
            [block] if block.label == "RSA PUBLIC KEY" => Self::from_spki(&pkcs1_to_spki(&block.der).map_err(|e| bad(&e))?),
            [block] => Err(bad(&format_args!("a {}", block.label))),
            blocks => Err(bad(&format_args!("{} PEM blocks", blocks.len()))),
        }
    }

    /// Reads and judges a `SubjectPublicKeyInfo`: P-256, P-384, P-521, RSA of 2048, 3072 or 4096 bits with exponent 65537, Ed25519.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoOwned::from_der(der).map_err(|e| KeyError::Unreadable(e.to_string()))?;
        let kind = kind(&spki.algorithm)?;
        let bits = spki.subject_public_key.as_bytes().ok_or_else(|| KeyError::Unreadable("unused bits".to_owned()))?;
        if kind == Kind::Rsa {
            check_rsa(bits)?;
        }
        let parsed = ParsedPublicKey::new(kind.verification(), bits).map_err(|e| KeyError::Unreadable(e.to_string()))?;
        Ok(Self { kind, parsed, spki })
    }

    /// Takes a signature over any one of the challenges as proof.
    pub(super) fn prove(self, challenges: &[String], signature: &[u8]) -> Result<ProvenKey, KeyError> {
        let proven = challenges.iter().any(|c| self.parsed.verify_sig(c.as_bytes(), signature).is_ok());
        if proven { Ok(ProvenKey(self.spki)) } else { Err(KeyError::Unproven(format!("over none of {challenges:?}"))) }
    }
}

/// Reads a PKCS #10 request in PEM or DER and takes its signature as proof. Everything else in it (subject, extensions) is ignored:
/// the token alone says who the certificate is for.
pub(super) fn prove_by_request(content: &[u8]) -> Result<ProvenKey, KeyError> {
    let bad = |why: &dyn std::fmt::Display| KeyError::UnreadableRequest(why.to_string());
    let text = std::str::from_utf8(content).ok().filter(|t| t.contains("-----BEGIN "));
    let der = match text.map(encoding::pem_blocks) {
        None => content.to_vec(),
        Some(Err(e)) => return Err(bad(&e)),
        Some(Ok(mut blocks)) => match (blocks.pop(), blocks.len()) {
            (Some(b), 0) if matches!(b.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => b.der,
            _ => return Err(bad(&"not one certificate request")),
        },
    };
    let request = CertReq::from_der(&der).map_err(|e| bad(&e))?;
    let signed = signed_part(&der).map_err(|e| bad(&e))?;
    let spki = request.info.public_key.to_der().map_err(|e| bad(&e))?;
    let key = RequestedKey::from_spki(&spki).map_err(|e| match e {
        KeyError::Unreadable(detail) => KeyError::UnreadableRequest(detail),
        other => other,
    })?;
    if request.algorithm.oid != key.kind.request_algorithm() {
        return Err(KeyError::NotPermitted(format!("{:?} with {}", key.kind, request.algorithm.oid)));
    }
    let signature = request.signature.as_bytes().ok_or_else(|| bad(&"unused bits"))?;
    key.parsed.verify_sig(signed, signature).map_err(|_| KeyError::Unproven("certificate request".to_owned()))?;
    Ok(ProvenKey(key.spki))
}

/// The bytes of `CertificationRequestInfo` as they stand in the request: what its signature covers.
fn signed_part(der: &[u8]) -> der::Result<&[u8]> {
    let mut outer = SliceReader::new(der)?;
    outer.sequence(|reader| {
        let info = reader.tlv_bytes()?;
        while !reader.is_finished() {
            reader.tlv_bytes()?;
        }
        Ok(info)
    })
}

fn kind(algorithm: &AlgorithmIdentifierOwned) -> Result<Kind, KeyError> {
    let parameters = algorithm.parameters.as_ref();
    match algorithm.oid {
        ID_ED_25519 if parameters.is_none() => Ok(Kind::Ed25519),
        RSA_ENCRYPTION if parameters.is_some_and(|p| AnyRef::from(p).is_null()) => Ok(Kind::Rsa),
        ID_EC_PUBLIC_KEY => match parameters.and_then(|p| p.decode_as::<ObjectIdentifier>().ok()) {
            Some(SECP_256_R_1) => Ok(Kind::P256),
            Some(SECP_384_R_1) => Ok(Kind::P384),
            Some(SECP_521_R_1) => Ok(Kind::P521),
            Some(curve) => Err(KeyError::Insecure(format!("curve {curve}"))),
            None => Err(KeyError::Unreadable("no named curve".to_owned())),
        },
        other => Err(KeyError::Unreadable(format!("algorithm {other}"))),
    }
}

impl Kind {
    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
            Self::Rsa => &RSA_PKCS1_2048_8192_SHA256,
            Self::Ed25519 => &ED25519,
        }
    }

    fn request_algorithm(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ECDSA_WITH_SHA_256,
            Self::P384 => ECDSA_WITH_SHA_384,
            Self::P521 => ECDSA_WITH_SHA_512,
            Self::Rsa => SHA_256_WITH_RSA_ENCRYPTION,
            Self::Ed25519 => ID_ED_25519,
        }
    }
}

/// The sizes that Fulcio certifies, the one exponent it takes, and moduli that are known to be weak. (Fulcio also tries a hundred
/// rounds of Fermat's factorisation, against primes that lie next to each other; this does not.)
fn check_rsa(pkcs1: &[u8]) -> Result<(), KeyError> {
    let key = rsa::PublicKey::from_der(pkcs1).map_err(|e| KeyError::Insecure(e.to_string()))?;
    let modulus = key.modulus().big_endian_without_leading_zero().to_vec();
    let bits = modulus.len() * 8 - usize::try_from(modulus[0].leading_zeros()).unwrap_or(0);
    if ![2048, 3072, 4096].contains(&bits) {
        return Err(KeyError::Insecure(format!("RSA of {bits} bits")));
    }
    if key.exponent().big_endian_without_leading_zero() != [1, 0, 1] {
        return Err(KeyError::Insecure("RSA exponent other than 65537".to_owned()));
    }
    if SMALL_PRIMES.iter().any(|p| remainder(&modulus, *p) == 0) {
        return Err(KeyError::Insecure("RSA modulus with a small factor".to_owned()));
    }
    if is_roca(&modulus) {
        return Err(KeyError::Insecure("RSA modulus of the family of CVE-2017-15361".to_owned()));
    }
    Ok(())
}

/// Odd primes below 200: a modulus with such a factor was never made by a sound generator.
const SMALL_PRIMES: &[u32] = &[
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127,
    131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199,
];

/// CVE-2017-15361 (ROCA): primes of that generator are powers of 65537 modulo every small prime up to 167, and so are their
/// products. A sound modulus passes all 38 of these tests with a probability of about 2^-27.
fn is_roca(modulus: &[u8]) -> bool {
    SMALL_PRIMES.iter().filter(|p| **p <= 167).all(|p| {
        let (target, mut power) = (remainder(modulus, *p), 1);
        for _ in 0..*p {
            if power == target {
                return true;
            }
            power = power * (65537 % p) % p;
        }
        false
    })
}

fn remainder(big_endian: &[u8], divisor: u32) -> u32 {
    big_endian.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % divisor)
}

fn pkcs1_to_spki(pkcs1: &[u8]) -> der::Result<Vec<u8>> {
    let algorithm = AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL.into()) };
    SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(pkcs1)? }.to_der()
}
