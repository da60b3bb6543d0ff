//! Public keys and the signatures they verify: ECDSA on P-256, P-384 and P-521, RSA (PKCS #1 v1.5 and PSS) of 2048 to 4096 bits,
//! Ed25519 and Ed25519ph. Everything is computed by aws-lc-rs, except Ed25519ph, which it does not offer.
//!
//! A key is parsed once and can then verify any number of signatures. Nothing here says whose key it is.

use std::{fmt, sync::OnceLock};

use aws_lc_rs::{digest as lc_digest, signature as lc};
use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef, UintRef},
};
use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Reset, Update, typenum::U64};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use vidimus_core::{Algorithm, Digest, ParseError, digest::sha256, encoding};

use crate::x509::hex;

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Ed25519 (RFC 8032), pure or prehashed.
    Ed25519,
    /// RSA.
    Rsa,
}

impl KeyAlgorithm {
    /// The hash that Sigstore's algorithm registry pairs with the key. Ed25519 pairs with SHA-512 where it signs a digest.
    pub fn default_hash(self) -> Algorithm {
        match self {
            Self::EcdsaP256 | Self::Rsa => Algorithm::Sha256,
            Self::EcdsaP384 => Algorithm::Sha384,
            Self::EcdsaP521 | Self::Ed25519 => Algorithm::Sha512,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::EcdsaP521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a signature relates to the signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// The key's usual scheme over a digest: ECDSA, or RSA with PKCS #1 v1.5 padding.
    Hashed(Algorithm),
    /// RSA with PSS padding over a digest.
    Pss(Algorithm),
    /// Ed25519 over the bytes themselves.
    Pure,
    /// Ed25519ph over the SHA-512 digest (RFC 8032 §5.1), without a context.
    Prehashed,
}

/// A public key, parsed.
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    /// One per hash, filled when first needed: aws-lc-rs binds the hash to the parsed key.
    parsed: [OnceLock<Option<lc::ParsedPublicKey>>; 3],
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`.
    pub fn from_spki(der: &[u8]) -> Result<Self, ParseError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|e| ParseError::new("public key", e))?;
        let algorithm = algorithm_of(&spki)?;
        let key = Self { algorithm, spki: der.to_vec(), parsed: Default::default() };
        // A key that cannot be loaded must be refused here, not look like a signature that does not verify.
        if key.parsed(algorithm.default_hash()).is_none() {
            return Err(ParseError::new("public key", format_args!("not a usable {algorithm} key")));
        }
        Ok(key)
    }

    /// Reads a DER `RSAPublicKey` (RFC 8017 §A.1.1), the form of some old entries of trust roots.
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, ParseError> {
        let bad = |e: der::Error| ParseError::new("RSA public key", e);
        let algorithm = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) };
        let subject_public_key = BitStringRef::from_bytes(der).map_err(bad)?;
        Self::from_spki(&SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().map_err(bad)?)
    }

    /// Reads a PEM `PUBLIC KEY` or PKCS #1's `RSA PUBLIC KEY`, or the DER of the first.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, ParseError> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN RSA PUBLIC KEY") => {
                Self::from_pkcs1(&encoding::pem_one(text, "RSA PUBLIC KEY")?)
            }
            Ok(text) if text.contains("-----BEGIN ") => Self::from_spki(&encoding::pem_one(text, "PUBLIC KEY")?),
            _ => Self::from_spki(bytes),
        }
    }

    /// The kind of key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the DER `SubjectPublicKeyInfo`: the key's id in CT and Rekor v1, and the hint that cosign writes.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// Whether `signature` over `message` is this key's.
    pub fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        match scheme {
            Scheme::Hashed(hash) if self.algorithm != KeyAlgorithm::Ed25519 => {
                self.parsed(hash).is_some_and(|key| key.verify_sig(message, signature).is_ok())
            }
            Scheme::Pss(hash) if self.algorithm == KeyAlgorithm::Rsa => {
                lc::UnparsedPublicKey::new(pss(hash), &self.spki).verify(message, signature).is_ok()
            }
            Scheme::Pure if self.algorithm == KeyAlgorithm::Ed25519 => {
                self.parsed(Algorithm::Sha512).is_some_and(|key| key.verify_sig(message, signature).is_ok())
            }
            Scheme::Prehashed => self.verifies_digest(scheme, &Digest::of(Algorithm::Sha512, message), signature),
            _ => false,
        }
    }

    /// Whether `signature` over the bytes that have this digest is this key's. Pure Ed25519 cannot be verified so.
    pub fn verifies_digest(&self, scheme: Scheme, digest: &Digest, signature: &[u8]) -> bool {
        let imported = || lc_digest::Digest::import_less_safe(digest.bytes(), digest.algorithm().as_lc()).ok();
        match scheme {
            Scheme::Hashed(hash) if self.algorithm != KeyAlgorithm::Ed25519 && hash == digest.algorithm() => {
                let (Some(key), Some(digest)) = (self.parsed(hash), imported()) else { return false };
                key.verify_digest_sig(&digest, signature).is_ok()
            }
            Scheme::Pss(hash) if self.algorithm == KeyAlgorithm::Rsa && hash == digest.algorithm() => {
                let Some(digest) = imported() else { return false };
                lc::UnparsedPublicKey::new(pss(hash), &self.spki).verify_digest(&digest, signature).is_ok()
            }
            Scheme::Prehashed if self.algorithm == KeyAlgorithm::Ed25519 => self.verifies_prehash(digest, signature),
            _ => false,
        }
    }

    fn verifies_prehash(&self, digest: &Digest, signature: &[u8]) -> bool {
        let key = self.spki.last_chunk::<32>().and_then(|raw| ed25519_dalek::VerifyingKey::from_bytes(raw).ok());
        let signature = ed25519_dalek::Signature::from_slice(signature).ok();
        match (key, signature, <[u8; 64]>::try_from(digest.bytes())) {
            (Some(key), Some(signature), Ok(digest)) => {
                key.verify_prehashed_strict(Precomputed(digest), None, &signature).is_ok()
            }
            _ => false,
        }
    }

    fn parsed(&self, hash: Algorithm) -> Option<&lc::ParsedPublicKey> {
        let (slot, algorithm) = self.lc_algorithm(hash);
        self.parsed[slot].get_or_init(|| lc::ParsedPublicKey::new(algorithm, &self.spki).ok()).as_ref()
    }

    fn lc_algorithm(&self, hash: Algorithm) -> (usize, &'static dyn lc::VerificationAlgorithm) {
        use Algorithm::{Sha256, Sha384, Sha512};
        use KeyAlgorithm::{EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Rsa};
        match (self.algorithm, hash) {
            (EcdsaP256, Sha256) => (0, &lc::ECDSA_P256_SHA256_ASN1),
            (EcdsaP256, Sha384) => (1, &lc::ECDSA_P256_SHA384_ASN1),
            (EcdsaP256, Sha512) => (2, &lc::ECDSA_P256_SHA512_ASN1),
            (EcdsaP384, Sha256) => (0, &lc::ECDSA_P384_SHA256_ASN1),
            (EcdsaP384, Sha384) => (1, &lc::ECDSA_P384_SHA384_ASN1),
            (EcdsaP384, Sha512) => (2, &lc::ECDSA_P384_SHA512_ASN1),
            (EcdsaP521, Sha256) => (0, &lc::ECDSA_P521_SHA256_ASN1),
            (EcdsaP521, Sha384) => (1, &lc::ECDSA_P521_SHA384_ASN1),
            (EcdsaP521, Sha512) => (2, &lc::ECDSA_P521_SHA512_ASN1),
            (Rsa, Sha256) => (0, &lc::RSA_PKCS1_2048_8192_SHA256),
            (Rsa, Sha384) => (1, &lc::RSA_PKCS1_2048_8192_SHA384),
            (Rsa, Sha512) => (2, &lc::RSA_PKCS1_2048_8192_SHA512),
            (Ed25519, _) => (2, &lc::ED25519),
        }
    }
}

impl Clone for PublicKey {
    fn clone(&self) -> Self {
        Self { algorithm: self.algorithm, spki: self.spki.clone(), parsed: Default::default() }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sha256:{}", self.algorithm, hex(&self.fingerprint()))
    }
}

fn pss(hash: Algorithm) -> &'static dyn lc::VerificationAlgorithm {
    match hash {
        Algorithm::Sha256 => &lc::RSA_PSS_2048_8192_SHA256,
        Algorithm::Sha384 => &lc::RSA_PSS_2048_8192_SHA384,
        Algorithm::Sha512 => &lc::RSA_PSS_2048_8192_SHA512,
    }
}

fn algorithm_of(spki: &SubjectPublicKeyInfoRef<'_>) -> Result<KeyAlgorithm, ParseError> {
    use const_oid::db::{rfc5912, rfc8410};
    let unsupported = |what: &dyn fmt::Display| ParseError::new("public key", format_args!("{what} is not supported"));
    match spki.algorithm.oid {
        rfc5912::ID_EC_PUBLIC_KEY => {
            let curve = spki.algorithm.parameters_oid().map_err(|_| unsupported(&"an EC key without a named curve"))?;
            match curve {
                rfc5912::SECP_256_R_1 => Ok(KeyAlgorithm::EcdsaP256),
                rfc5912::SECP_384_R_1 => Ok(KeyAlgorithm::EcdsaP384),
                rfc5912::SECP_521_R_1 => Ok(KeyAlgorithm::EcdsaP521),
                other => Err(unsupported(&format_args!("the curve {other}"))),
            }
        }
        RSA_ENCRYPTION => check_rsa_size(spki).map(|()| KeyAlgorithm::Rsa),
        rfc8410::ID_ED_25519 => Ok(KeyAlgorithm::Ed25519),
        other => Err(unsupported(&format_args!("the key algorithm {other}"))),
    }
}

/// NIST SP 800-131A asks for 2048 bits; above 4096 one verification costs more than every other check of a bundle together.
fn check_rsa_size(spki: &SubjectPublicKeyInfoRef<'_>) -> Result<(), ParseError> {
    let bad = |why: &dyn fmt::Display| ParseError::new("RSA public key", why);
    let raw = spki.subject_public_key.as_bytes().ok_or_else(|| bad(&"unused bits"))?;
    let bits = RsaModulus::from_der(raw).map_err(|e| bad(&e))?.bits();
    if (2048..=4096).contains(&bits) { Ok(()) } else { Err(bad(&format_args!("{bits} bits, not 2048 to 4096"))) }
}

#[derive(der::Sequence)]
struct RsaModulus<'a> {
    modulus: UintRef<'a>,
    #[allow(dead_code, reason = "part of the sequence")]
    exponent: UintRef<'a>,
}

impl RsaModulus<'_> {
    fn bits(&self) -> usize {
        let bytes = self.modulus.as_bytes();
        let leading = bytes.first().map_or(0, |b| b.leading_zeros());
        (bytes.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(8))
    }
}

/// A SHA-512 digest that has been computed already, for an API that wants to finish the computation itself.
#[derive(Clone)]
struct Precomputed([u8; 64]);

impl Default for Precomputed {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl HashMarker for Precomputed {}

impl OutputSizeUser for Precomputed {
    type OutputSize = U64;
}

impl Update for Precomputed {
    fn update(&mut self, _: &[u8]) {}
}

impl Reset for Precomputed {
    fn reset(&mut self) {}
}

impl FixedOutput for Precomputed {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{self as lc, KeyPair},
    };
    use ed25519_dalek::DigestSigner as _;

    use super::*;

    const MESSAGE: &[u8] = b"what was signed";

    fn spki(raw: &[u8], algorithm: spki::AlgorithmIdentifierOwned) -> Vec<u8> {
        let subject_public_key = der::asn1::BitString::from_bytes(raw).unwrap();
        spki::SubjectPublicKeyInfoOwned { algorithm, subject_public_key }.to_der().unwrap()
    }

    fn ec(curve: const_oid::ObjectIdentifier) -> spki::AlgorithmIdentifierOwned {
        spki::AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::ID_EC_PUBLIC_KEY,
            parameters: Some(der::Any::encode_from(&curve).unwrap()),
        }
    }

    #[test]
    fn ecdsa_over_message_and_digest() {
        use const_oid::db::rfc5912::{SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
        for (signing, curve, hash) in [
            (&lc::ECDSA_P256_SHA256_ASN1_SIGNING, SECP_256_R_1, Algorithm::Sha256),
            (&lc::ECDSA_P384_SHA384_ASN1_SIGNING, SECP_384_R_1, Algorithm::Sha384),
            (&lc::ECDSA_P521_SHA512_ASN1_SIGNING, SECP_521_R_1, Algorithm::Sha512),
        ] {
            let pair = lc::EcdsaKeyPair::generate(signing).unwrap();
            let signature = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
            let key = PublicKey::from_spki(&spki(pair.public_key().as_ref(), ec(curve))).unwrap();
            assert_eq!(key.algorithm().default_hash(), hash);
            accepts(&key, Scheme::Hashed(hash), signature.as_ref());
            assert!(!key.verifies(Scheme::Pure, MESSAGE, signature.as_ref()));
            assert!(!key.verifies(Scheme::Pss(hash), MESSAGE, signature.as_ref()));
        }
    }

    #[test]
    fn rsa_with_both_paddings() {
        let pair = lc::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let rsa = spki::AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: Some(der::Any::null()) };
        let key = PublicKey::from_spki(&spki(pair.public_key().as_ref(), rsa)).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&lc::RSA_PKCS1_SHA256, &SystemRandom::new(), MESSAGE, &mut signature).unwrap();
        accepts(&key, Scheme::Hashed(Algorithm::Sha256), &signature);
        pair.sign(&lc::RSA_PSS_SHA256, &SystemRandom::new(), MESSAGE, &mut signature).unwrap();
        accepts(&key, Scheme::Pss(Algorithm::Sha256), &signature);
        assert!(!key.verifies(Scheme::Hashed(Algorithm::Sha256), MESSAGE, &signature));
    }

    #[test]
    fn ed25519_pure_and_prehashed() {
        let pair = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let ed = spki::AlgorithmIdentifierOwned { oid: const_oid::db::rfc8410::ID_ED_25519, parameters: None };
        let key = PublicKey::from_spki(&spki(pair.verifying_key().as_bytes(), ed)).unwrap();
        let pure = lc::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().sign(MESSAGE);
        assert!(key.verifies(Scheme::Pure, MESSAGE, pure.as_ref()));
        assert!(!key.verifies(Scheme::Pure, b"other", pure.as_ref()));
        assert!(!key.verifies(Scheme::Prehashed, MESSAGE, pure.as_ref()));
        let prehashed: ed25519_dalek::Signature = pair.sign_digest(sha2::Digest::chain_update(sha2::Sha512::default(), MESSAGE));
        accepts(&key, Scheme::Prehashed, &prehashed.to_bytes());
        assert!(!key.verifies(Scheme::Pure, MESSAGE, &prehashed.to_bytes()));
    }

    fn accepts(key: &PublicKey, scheme: Scheme, signature: &[u8]) {
        let hash = match scheme {
            Scheme::Hashed(hash) | Scheme::Pss(hash) => hash,
            Scheme::Pure | Scheme::Prehashed => Algorithm::Sha512,
        };
        assert!(key.verifies(scheme, MESSAGE, signature));
        assert!(!key.verifies(scheme, b"other", signature));
        assert!(key.verifies_digest(scheme, &Digest::of(hash, MESSAGE), signature));
        assert!(!key.verifies_digest(scheme, &Digest::of(hash, b"other"), signature));
        let mut bad = signature.to_vec();
        *bad.last_mut().unwrap() ^= 1;
        assert!(!key.verifies(scheme, MESSAGE, &bad));
    }

    #[test]
    fn refuses_unusable_keys() {
        let pair = lc::EcdsaKeyPair::generate(&lc::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let mut point = pair.public_key().as_ref().to_vec();
        point[40] ^= 1;
        assert!(PublicKey::from_spki(&spki(&point, ec(const_oid::db::rfc5912::SECP_256_R_1))).is_err(), "off the curve");
        assert!(PublicKey::from_spki(&spki(&point, ec(const_oid::db::rfc5912::SECP_224_R_1))).is_err());
        assert!(PublicKey::from_spki(b"").is_err());
        assert!(PublicKey::from_pem_or_der(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    }
}
