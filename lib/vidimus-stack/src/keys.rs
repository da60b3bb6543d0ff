//! The stack's private keys: PKCS#8 in PEM files that only their owner can read.
//!
//! A key is made once, durably before its first use, and never changed: log ids and trust roots name it.

use std::io;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
        KeyPair, RsaKeyPair,
    },
};
use vidimus_core::{ParseError, encoding};

use crate::storage::{Storage, StorageError};

/// The kinds of key that a stack uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256: CA, timestamp authority, Rekor v1, CT log, TUF.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519: Rekor v2.
    Ed25519,
    /// RSA with 2048 bits: the OIDC issuer, since clients take inline tokens only as RS256.
    Rsa2048,
}

/// A key that could not be made, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is not one PEM block of PKCS#8.
    #[error("key file {name}: {source}")]
    Pem {
        /// The key's file.
        name: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The key is of another kind, or damaged.
    #[error("key {name} is not a usable {kind:?} key")]
    Kind {
        /// The key's file, or the service it is for.
        name: String,
        /// The kind that is needed.
        kind: KeyKind,
    },
    /// The random generator or the signer failed.
    #[error("the cryptographic library could not make a key or a signature")]
    Crypto,
}

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self::Crypto
    }
}

/// The PKCS#8 DER of the key `name` (file `keys/<name>.pem`), made now if it is not there.
pub fn load_or_create(storage: &dyn Storage, name: &str, kind: KeyKind) -> Result<Vec<u8>, KeyError> {
    let path = format!("keys/{name}.pem");
    let Some(pem) = storage.read_secret(&path)? else {
        let pkcs8 = generate(kind)?;
        storage.replace(&path, encoding::pem("PRIVATE KEY", &pkcs8).as_bytes())?;
        return Ok(pkcs8);
    };
    let text = String::from_utf8(pem).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
    let text = text.map_err(|source| StorageError { action: "read", path: path.clone(), source })?;
    let pkcs8 = encoding::pem_one(&text, "PRIVATE KEY").map_err(|source| KeyError::Pem { name: path.clone(), source })?;
    public_key(&pkcs8, kind).map_err(|_| KeyError::Kind { name: path, kind })?;
    Ok(pkcs8)
}

/// A fresh key as PKCS#8 DER.
pub fn generate(kind: KeyKind) -> Result<Vec<u8>, KeyError> {
    let random = SystemRandom::new();
    Ok(match kind {
        KeyKind::EcdsaP256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?.as_ref().to_vec(),
        KeyKind::EcdsaP384 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &random)?.as_ref().to_vec(),
        KeyKind::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random)?.as_ref().to_vec(),
        KeyKind::Rsa2048 => AsDer::<Pkcs8V1Der<'_>>::as_der(&RsaKeyPair::generate(KeySize::Rsa2048)?)?.as_ref().to_vec(),
    })
}

/// The SubjectPublicKeyInfo DER that belongs to a PKCS#8 key.
pub fn public_key(pkcs8: &[u8], kind: KeyKind) -> Result<Vec<u8>, KeyError> {
    let rejected = |_| KeyError::Kind { name: "given".to_owned(), kind };
    let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| -> Result<Vec<u8>, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(rejected)?;
        Ok(AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())?.as_ref().to_vec())
    };
    match kind {
        KeyKind::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyKind::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
            Ok(AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())?.as_ref().to_vec())
        }
        KeyKind::Rsa2048 => {
            let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
            Ok(AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())?.as_ref().to_vec())
        }
    }
}

/// A P-256 key that signs with SHA-256 and writes ASN.1 DER: what Rekor v1, CT and their clients agree on.
#[derive(Debug)]
pub struct P256Signer {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl P256Signer {
    /// Reads a PKCS#8 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let kind = KeyKind::EcdsaP256;
        let rejected = |_| KeyError::Kind { name: "given".to_owned(), kind };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).map_err(rejected)?;
        Ok(Self { pair, spki: public_key(pkcs8, kind)? })
    }

    /// The DER signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    }

    /// The public key as SubjectPublicKeyInfo DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let storage = Memory::new();
        for (name, kind) in
            [("p256", KeyKind::EcdsaP256), ("p384", KeyKind::EcdsaP384), ("ed", KeyKind::Ed25519), ("rsa", KeyKind::Rsa2048)]
        {
            let first = load_or_create(&storage, name, kind).unwrap();
            assert_eq!(load_or_create(&storage, name, kind).unwrap(), first, "{kind:?}");
            assert!(public_key(&first, kind).unwrap().starts_with(&[0x30]));
            let other = if kind == KeyKind::Ed25519 { KeyKind::EcdsaP256 } else { KeyKind::Ed25519 };
            assert!(matches!(load_or_create(&storage, name, other), Err(KeyError::Kind { .. })));
        }
        storage.replace("keys/bad.pem", b"garbage").unwrap();
        assert!(matches!(load_or_create(&storage, "bad", KeyKind::Ed25519), Err(KeyError::Pem { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::{fs, os::unix::fs::PermissionsExt};

        use crate::storage::Directory;

        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::open(dir.path()).unwrap();
        load_or_create(&storage, "k", KeyKind::Ed25519).unwrap();
        let path = dir.path().join("keys/k.pem");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load_or_create(&storage, "k", KeyKind::Ed25519).unwrap_err().to_string();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        load_or_create(&storage, "k", KeyKind::Ed25519).unwrap();
    }
}
