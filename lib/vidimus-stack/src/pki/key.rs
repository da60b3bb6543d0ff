//! ECDSA P-256 signing keys.
//!
//! P-256 for every rank: each certificate and timestamp is verified up to its root, and a P-384 signature costs three times as
//! much to check for no strength that the leaf key beneath it could use.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use der::Decode;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use vidimus_core::ParseError;
use vidimus_core::encoding;

/// The random source or the signing primitive failed: the machine is not fit to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library failed: {0}")]
pub struct CryptoFailure(pub(crate) &'static str);

/// A private key.
#[derive(Debug)]
pub(crate) struct EcKey {
    pair: EcdsaKeyPair,
    spki: SubjectPublicKeyInfoOwned,
}

impl EcKey {
    pub(crate) fn generate() -> Result<Self, CryptoFailure> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| CryptoFailure("key generation"))?;
        Self::new(pair)
    }

    /// Reads PKCS #8 in PEM.
    pub(crate) fn from_pem(text: &str) -> Result<Self, ParseError> {
        let der = encoding::pem_one(text, "PRIVATE KEY")?;
        let bad = |e: &dyn std::fmt::Display| ParseError::new("P-256 private key", e);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).map_err(|e| bad(&e))?;
        Self::new(pair).map_err(|e| bad(&e))
    }

    /// PKCS #8 in PEM.
    pub(crate) fn to_pem(&self) -> Result<String, CryptoFailure> {
        let der = self.pair.to_pkcs8v1().map_err(|_| CryptoFailure("key export"))?;
        Ok(encoding::pem("PRIVATE KEY", der.as_ref()))
    }

    fn new(pair: EcdsaKeyPair) -> Result<Self, CryptoFailure> {
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| CryptoFailure("public key export"))?;
        let spki = SubjectPublicKeyInfoOwned::from_der(der.as_ref()).map_err(|_| CryptoFailure("public key export"))?;
        Ok(Self { pair, spki })
    }

    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfoOwned {
        &self.spki
    }

    /// Signs with SHA-256; the signature is DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| CryptoFailure("signing"))?;
        Ok(signature.as_ref().to_vec())
    }
}

/// The identifier of the signature algorithm, without parameters (RFC 5758 §3.2).
pub(crate) fn signature_algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CryptoFailure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CryptoFailure("random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trip_keeps_the_key() {
        let key = EcKey::generate().unwrap();
        assert_eq!(EcKey::from_pem(&key.to_pem().unwrap()).unwrap().public_key(), key.public_key());
        assert!(EcKey::from_pem("nonsense").is_err());
        assert!(EcKey::from_pem(&encoding::pem("PRIVATE KEY", b"x")).is_err());
    }
}
