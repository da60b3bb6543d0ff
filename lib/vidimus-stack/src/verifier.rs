//! Public keys that come with log entries, and the signatures that the logs accept under them.
//!
//! A log entry says "this key made this signature"; the logs check that, and nothing else: neither who holds the key nor whether a
//! certificate is valid or trusted. That is for those who verify a bundle.

use aws_lc_rs::{
    digest as lc,
    signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm},
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1,
            SECP_384_R_1, SECP_521_R_1, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{Decode, Encode, Sequence, asn1::UintRef};
use ed25519_dalek::VerifyingKey;
use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update, consts::U64};
use spki::SubjectPublicKeyInfoRef;
use vidimus_core::{Algorithm, Digest, limits};
use x509_cert::Certificate;

/// The kinds of key that sign log entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyType {
    P256,
    P384,
    P521,
    /// With the number of bits.
    Rsa(usize),
    Ed25519,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    kind: KeyType,
    spki: Vec<u8>,
    /// The BIT STRING: a point, an RSAPublicKey, an Ed25519 key.
    raw: Vec<u8>,
}

/// Why a key or a signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("not a SubjectPublicKeyInfo: {0}")]
    Key(String),
    #[error("not a certificate: {0}")]
    Certificate(String),
    #[error("unsupported key: {0}")]
    Unsupported(String),
    #[error("invalid signature when validating ASN.1 encoded signature")]
    Signature,
    #[error("certificate chain: {0}")]
    Chain(String),
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn from_spki(spki: &[u8]) -> Result<Self, Refused> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|e| Refused::Key(e.to_string()))?;
        let raw = info.subject_public_key.as_bytes().ok_or_else(|| Refused::Key("unused bits".to_owned()))?.to_vec();
        let curve = || info.algorithm.parameters.and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
        let kind = match info.algorithm.oid {
            ID_EC_PUBLIC_KEY => match curve() {
                Some(SECP_256_R_1) => KeyType::P256,
                Some(SECP_384_R_1) => KeyType::P384,
                Some(SECP_521_R_1) => KeyType::P521,
                _ => return Err(Refused::Unsupported("an elliptic curve that is not P-256, P-384 or P-521".to_owned())),
            },
            RSA_ENCRYPTION => KeyType::Rsa(rsa_bits(&raw)?),
            ID_ED_25519 => KeyType::Ed25519,
            oid => return Err(Refused::Unsupported(format!("algorithm {oid}"))),
        };
        Ok(Self { kind, spki: spki.to_vec(), raw })
    }

    /// The key of a certificate.
    pub(crate) fn from_certificate(certificate: &Certificate) -> Result<Self, Refused> {
        let spki = certificate.tbs_certificate.subject_public_key_info.to_der();
        Self::from_spki(&spki.map_err(|e| Refused::Certificate(e.to_string()))?)
    }

    /// The kind.
    pub(crate) fn kind(&self) -> KeyType {
        self.kind
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The hash that goes with the key where the format does not name one: DSSE, Rekor v2.
    pub(crate) fn default_hash(&self) -> Algorithm {
        match self.kind {
            KeyType::P256 | KeyType::Rsa(_) => Algorithm::Sha256,
            KeyType::P384 => Algorithm::Sha384,
            KeyType::P521 | KeyType::Ed25519 => Algorithm::Sha512,
        }
    }

    /// Checks a signature over `message`. Ed25519 is the pure one here.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        self.verify_hashed_with(self.default_hash(), message, signature)
    }

    /// Checks a signature over `message` with a given hash.
    pub(crate) fn verify_hashed_with(&self, hash: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let key = UnparsedPublicKey::new(self.algorithm(hash), &self.raw);
        key.verify(message, signature).map_err(|_| Refused::Signature)
    }

    /// Checks a signature over a message of which only the digest is known. Ed25519 is the prehashed one (RFC 8032 §5.1) here.
    pub(crate) fn verify_digest(&self, digest: &Digest, signature: &[u8]) -> Result<(), Refused> {
        if self.kind == KeyType::Ed25519 {
            return self.verify_ed25519ph(digest, signature);
        }
        let hash = digest.algorithm();
        let digest = lc::Digest::import_less_safe(digest.bytes(), hash.as_lc()).map_err(|_| Refused::Signature)?;
        let key = UnparsedPublicKey::new(self.algorithm(hash), &self.raw);
        key.verify_digest(&digest, signature).map_err(|_| Refused::Signature)
    }

    fn verify_ed25519ph(&self, digest: &Digest, signature: &[u8]) -> Result<(), Refused> {
        let key = self.raw.as_slice().try_into().ok().and_then(|raw| VerifyingKey::from_bytes(raw).ok());
        let key = key.ok_or_else(|| Refused::Key("not a point of edwards25519".to_owned()))?;
        let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| Refused::Signature)?;
        // A prehash of another length is not SHA-512, and Ed25519ph knows no other.
        let prehash = Prehashed(digest.bytes().try_into().map_err(|_| Refused::Signature)?);
        key.verify_prehashed_strict(prehash, None, &signature).map_err(|_| Refused::Signature)
    }

    fn algorithm(&self, hash: Algorithm) -> &'static dyn VerificationAlgorithm {
        match (self.kind, hash) {
            (KeyType::P256, Algorithm::Sha256) => &sig::ECDSA_P256_SHA256_ASN1,
            (KeyType::P256, Algorithm::Sha384) => &sig::ECDSA_P256_SHA384_ASN1,
            (KeyType::P256, Algorithm::Sha512) => &sig::ECDSA_P256_SHA512_ASN1,
            (KeyType::P384, Algorithm::Sha256) => &sig::ECDSA_P384_SHA256_ASN1,
            (KeyType::P384, Algorithm::Sha384) => &sig::ECDSA_P384_SHA384_ASN1,
            (KeyType::P384, Algorithm::Sha512) => &sig::ECDSA_P384_SHA512_ASN1,
            (KeyType::P521, Algorithm::Sha256) => &sig::ECDSA_P521_SHA256_ASN1,
            (KeyType::P521, Algorithm::Sha384) => &sig::ECDSA_P521_SHA384_ASN1,
            (KeyType::P521, Algorithm::Sha512) => &sig::ECDSA_P521_SHA512_ASN1,
            (KeyType::Rsa(_), Algorithm::Sha256) => &sig::RSA_PKCS1_2048_8192_SHA256,
            (KeyType::Rsa(_), Algorithm::Sha384) => &sig::RSA_PKCS1_2048_8192_SHA384,
            (KeyType::Rsa(_), Algorithm::Sha512) => &sig::RSA_PKCS1_2048_8192_SHA512,
            (KeyType::Ed25519, _) => &sig::ED25519,
        }
    }
}

/// Reads a certificate.
pub(crate) fn certificate(der: &[u8]) -> Result<Certificate, Refused> {
    Certificate::from_der(der).map_err(|e| Refused::Certificate(e.to_string()))
}

/// Checks that each certificate was signed by the next one and names it as its issuer. Validity and purposes are not looked at: the
/// logs record what was signed, whenever that is.
pub(crate) fn check_chain(chain: &[Certificate]) -> Result<(), Refused> {
    limits::check_count("certificate chain", "certificates", chain.len(), limits::CHAIN)
        .map_err(|e| Refused::Chain(e.to_string()))?;
    chain.windows(2).try_for_each(|pair| check_issued(&pair[0], &pair[1]))
}

/// Checks that `issuer` signed `certificate`.
pub(crate) fn check_issued(certificate: &Certificate, issuer: &Certificate) -> Result<(), Refused> {
    let refused = |why: &str| Refused::Chain(format!("{}: {why}", certificate.tbs_certificate.subject));
    if certificate.tbs_certificate.issuer != issuer.tbs_certificate.subject {
        return Err(refused("the next certificate is not its issuer's"));
    }
    let hash = match certificate.signature_algorithm.oid {
        ECDSA_WITH_SHA_256 | SHA_256_WITH_RSA_ENCRYPTION => Algorithm::Sha256,
        ECDSA_WITH_SHA_384 | SHA_384_WITH_RSA_ENCRYPTION => Algorithm::Sha384,
        ECDSA_WITH_SHA_512 | SHA_512_WITH_RSA_ENCRYPTION | ID_ED_25519 => Algorithm::Sha512,
        oid => return Err(refused(&format!("unsupported signature algorithm {oid}"))),
    };
    let tbs = certificate.tbs_certificate.to_der().map_err(|e| refused(&e.to_string()))?;
    let key = PublicKey::from_certificate(issuer)?;
    key.verify_hashed_with(hash, &tbs, certificate.signature.raw_bytes()).map_err(|_| refused("not signed by the next one's key"))
}

/// RFC 8017 §A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// Keys below 2048 bits are broken; above 4096 they only cost time, and no client of ours makes them.
fn rsa_bits(raw: &[u8]) -> Result<usize, Refused> {
    let key = RsaPublicKey::from_der(raw).map_err(|e| Refused::Key(e.to_string()))?;
    let modulus = key.modulus.as_bytes();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = modulus.len() * 8 - usize::try_from(leading).unwrap_or(0);
    if !(2048..=4096).contains(&bits) || key.exponent.as_bytes().is_empty() {
        return Err(Refused::Unsupported(format!("RSA with {bits} bits")));
    }
    Ok(bits)
}

/// A SHA-512 that was computed elsewhere, in the shape that the Ed25519ph API asks for.
struct Prehashed([u8; 64]);

impl Default for Prehashed {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl HashMarker for Prehashed {}

impl OutputSizeUser for Prehashed {
    type OutputSize = U64;
}

impl Update for Prehashed {
    fn update(&mut self, _: &[u8]) {}
}

impl FixedOutput for Prehashed {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rand::SystemRandom,
        rsa::KeySize,
        signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair},
    };
    use ed25519_dalek::SigningKey;
    use vidimus_core::encoding::pem_blocks;

    use super::*;

    fn spki<'a, K: AsDer<PublicKeyX509Der<'a>>>(key: &K) -> PublicKey {
        PublicKey::from_spki(key.as_der().unwrap().as_ref()).unwrap()
    }

    fn check(key: &PublicKey, kind: KeyType, hash: Algorithm, signature: &[u8]) {
        assert_eq!((key.kind(), key.default_hash()), (kind, hash));
        key.verify(b"message", signature).unwrap();
        assert_eq!(key.verify(b"massage", signature), Err(Refused::Signature));
        if kind != KeyType::Ed25519 {
            key.verify_digest(&Digest::of(hash, b"message"), signature).unwrap();
            assert_eq!(key.verify_digest(&Digest::of(hash, b"massage"), signature), Err(Refused::Signature));
        }
        assert_eq!(key.verify(b"message", &[]), Err(Refused::Signature));
    }

    #[test]
    fn every_kind_of_key() {
        let random = SystemRandom::new();
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let signature = pair.sign(&random, b"message").unwrap().as_ref().to_vec();
            (spki(pair.public_key()), signature)
        };
        let (key, signature) = ecdsa(&sig::ECDSA_P256_SHA256_ASN1_SIGNING);
        check(&key, KeyType::P256, Algorithm::Sha256, &signature);
        let (key, signature) = ecdsa(&sig::ECDSA_P384_SHA384_ASN1_SIGNING);
        check(&key, KeyType::P384, Algorithm::Sha384, &signature);
        let (key, signature) = ecdsa(&sig::ECDSA_P521_SHA512_ASN1_SIGNING);
        check(&key, KeyType::P521, Algorithm::Sha512, &signature);

        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&sig::RSA_PKCS1_SHA256, &random, b"message", &mut signature).unwrap();
        check(&spki(pair.public_key()), KeyType::Rsa(2048), Algorithm::Sha256, &signature);

        let pair = Ed25519KeyPair::generate().unwrap();
        check(&spki(pair.public_key()), KeyType::Ed25519, Algorithm::Sha512, pair.sign(b"message").as_ref());
    }

    #[test]
    fn prehashed_ed25519() {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let raw = signing.verifying_key().to_bytes();
        let key = PublicKey::from_spki(&[&hex::decode("302a300506032b6570032100").unwrap()[..], &raw].concat()).unwrap();
        let digest = Digest::of(Algorithm::Sha512, b"message");
        let prehash = Prehashed(digest.bytes().try_into().unwrap());
        let signature = signing.sign_prehashed(prehash, None).unwrap().to_bytes();
        key.verify_digest(&digest, &signature).unwrap();
        assert!(key.verify_digest(&Digest::of(Algorithm::Sha512, b"massage"), &signature).is_err());
        assert!(key.verify_digest(&Digest::sha256(b"message"), &signature).is_err());
        assert!(key.verify(b"message", &signature).is_err(), "the pure algorithm is another one");
    }

    #[test]
    fn keys_and_certificates_that_are_none() {
        assert!(matches!(PublicKey::from_spki(b"x"), Err(Refused::Key(_))));
        assert!(matches!(certificate(b"x"), Err(Refused::Certificate(_))));
        let pem = include_str!("../../../testdata/fulcio/email.pem");
        let der = &pem_blocks(pem).unwrap()[0].der;
        let leaf = certificate(der).unwrap();
        assert_eq!(PublicKey::from_certificate(&leaf).unwrap().kind(), KeyType::P256);
        assert!(matches!(check_chain(&[leaf.clone(), leaf]), Err(Refused::Chain(_))));
    }
}
