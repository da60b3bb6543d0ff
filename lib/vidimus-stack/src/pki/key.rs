//! ECDSA P-256 signing keys.
//!
//! P-256 for every rank: each certificate and timestamp is verified up to its root, and a P-384 signature costs three times as
//! much to check for no strength that the leaf key beneath it could use.

use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use der::Decode;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use vidimus_core::ParseError;
use vidimus_core::encoding;

use crate::keys::{self, KeyKind, P256Signer};

/// The random source or the signing primitive failed: the machine is not fit to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library failed: {0}")]
pub struct CryptoFailure(pub(crate) &'static str);

/// A private key.
#[derive(Debug)]
pub(crate) struct EcKey {
    signer: P256Signer,
    pkcs8: Vec<u8>,
    spki: SubjectPublicKeyInfoOwned,
}

impl EcKey {
    pub(crate) fn generate() -> Result<Self, CryptoFailure> {
        let pkcs8 = keys::generate(KeyKind::EcdsaP256).map_err(|_| CryptoFailure("key generation"))?;
        Self::from_pkcs8(pkcs8).map_err(|_| CryptoFailure("key generation"))
    }

    /// Reads PKCS #8 in PEM.
    pub(crate) fn from_pem(text: &str) -> Result<Self, ParseError> {
        Self::from_pkcs8(encoding::pem_one(text, "PRIVATE KEY")?)
    }

    /// PKCS #8 in PEM.
    pub(crate) fn to_pem(&self) -> String {
        encoding::pem("PRIVATE KEY", &self.pkcs8)
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, ParseError> {
        let bad = |e: &dyn std::fmt::Display| ParseError::new("P-256 private key", e);
        let signer = P256Signer::from_pkcs8(&pkcs8).map_err(|e| bad(&e))?;
        let spki = SubjectPublicKeyInfoOwned::from_der(signer.spki()).map_err(|e| bad(&e))?;
        Ok(Self { signer, pkcs8, spki })
    }

    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfoOwned {
        &self.spki
    }

    /// Signs with SHA-256; the signature is DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
        self.signer.sign(message).map_err(|_| CryptoFailure("signing"))
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
        assert_eq!(EcKey::from_pem(&key.to_pem()).unwrap().public_key(), key.public_key());
        assert!(EcKey::from_pem("nonsense").is_err());
        assert!(EcKey::from_pem(&encoding::pem("PRIVATE KEY", b"x")).is_err());
    }
}
