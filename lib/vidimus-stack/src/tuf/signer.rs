//! Signing for TUF: keys in PEM files (PKCS #8) that only their owner can read, and a trait for keys that lie elsewhere.

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA256, RsaKeyPair},
};
use vidimus_core::encoding;

use super::{KeyType, PublicKey, TufError};
use crate::secret_file::{self, SecretFileError};

/// A key file: an RSA key of 8192 bits has 6.4 KiB in PEM.
const KEY_FILE_BYTES: u64 = 64 << 10;

/// Something that signs for a key: a key in memory here, a token or a service elsewhere.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The key it signs for.
    fn public_key(&self) -> &PublicKey;
    /// A signature over `message`.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TufError>;
}

/// An ECDSA key on P-256.
#[derive(Debug)]
pub struct EcdsaKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl EcdsaKey {
    /// Reads a PKCS #8 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TufError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        let pair = pair.map_err(|error| TufError::Key(format!("not a P-256 key in PKCS #8: {error}")))?;
        let public = PublicKey::ecdsa_p256(&spki(pair.public_key())?);
        Ok(Self { pair, public })
    }
}

impl Signer for EcdsaKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TufError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| TufError::Key("signing failed".into()))?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A key of any of the kinds.
#[derive(Debug)]
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A key file that could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file could not be read or written, or others can read it.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// There is a file already. Keys are never overwritten.
    #[error("{}: there is a file of this name already, and a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// The content is no key that can be used.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl PrivateKey {
    /// Makes a key. Gives it with its PKCS #8 form.
    pub fn generate(kind: KeyType) -> Result<(Self, Vec<u8>), TufError> {
        let failed = |_: Unspecified| TufError::Key("the cryptographic library could not make a key".into());
        let pkcs8 = match kind {
            KeyType::EcdsaP256 => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
                made.map_err(failed)?.as_ref().to_vec()
            }
            // Version 1: OpenSSL reads no other.
            KeyType::Ed25519 => Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(failed)?.as_ref().to_vec(),
            KeyType::RsaPss => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?;
                AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?.as_ref().to_vec()
            }
        };
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    /// Reads a PKCS #8 key of any of the kinds.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TufError> {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            let public = PublicKey::from_spki(&spki(pair.public_key())?)?;
            return Ok(Self { pair: Pair::Ecdsa(pair), public });
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            let public = PublicKey::from_spki(&spki(pair.public_key())?)?;
            return Ok(Self { pair: Pair::Ed25519(pair), public });
        }
        let rejected = |e: KeyRejected| TufError::Key(format!("not an ECDSA P-256, Ed25519 or RSA key in PKCS #8: {e}"));
        let pair = RsaKeyPair::from_pkcs8(der).map_err(rejected)?;
        let public = PublicKey::from_spki(&spki(pair.public_key())?)?;
        Ok(Self { pair: Pair::Rsa(pair), public })
    }

    /// Reads a key file. One that others can read is refused.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let unusable = |why: String| KeyFileError::Unusable { path: path.to_owned(), why };
        let text = secret_file::read_text(path, KEY_FILE_BYTES)?;
        let blocks = encoding::pem_blocks(&text).map_err(|e| unusable(e.to_string()))?;
        match blocks.as_slice() {
            [block] if block.label == "PRIVATE KEY" => Self::from_pkcs8(&block.der).map_err(|e| unusable(e.to_string())),
            [block] if block.label.ends_with("PRIVATE KEY") => Err(unusable(format!(
                "it holds an {}; convert it with: openssl pkcs8 -topk8 -nocrypt -in {} -out NEW",
                block.label,
                path.display()
            ))),
            _ => Err(unusable("it is not one PEM block PRIVATE KEY".to_owned())),
        }
    }

    /// Makes a key and keeps it: `path` for its owner alone, and `path` with `.pub` appended for everybody.
    pub fn create(path: &Path, kind: KeyType) -> Result<(Self, PathBuf), KeyFileError> {
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        let unusable = |e: TufError| KeyFileError::Unusable { path: path.to_owned(), why: e.to_string() };
        for path in [path, &public_path] {
            if path.symlink_metadata().is_ok() {
                return Err(KeyFileError::Exists(path.to_owned()));
            }
        }
        let (key, pkcs8) = Self::generate(kind).map_err(unusable)?;
        secret_file::replace(path, encoding::pem("PRIVATE KEY", &pkcs8).as_bytes())?;
        let pem = key.public.to_pem().map_err(unusable)?;
        let written = fs::File::create_new(&public_path).and_then(|mut file| file.write_all(pem.as_bytes()));
        written.map_err(SecretFileError::io(&public_path))?;
        Ok((key, public_path))
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TufError> {
        let failed = |_| TufError::Key(format!("{}: signing failed", self.public.id()));
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl PublicKey {
    /// Reads the file of a public key; of a private key's file, its public half.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let io = SecretFileError::io(path);
        let text = fs::read_to_string(path).map_err(io)?;
        let unusable = |e: TufError| KeyFileError::Unusable { path: path.to_owned(), why: e.to_string() };
        if text.contains("PRIVATE KEY-----") {
            return PrivateKey::read(path).map(|key| key.public);
        }
        Self::from_pem(&text).map_err(unusable)
    }
}

fn spki(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Vec<u8>, TufError> {
    let der = key.as_der().map_err(|_| TufError::Key("the public key cannot be exported".into()))?;
    Ok(der.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ALL: [KeyType; 3] = [KeyType::EcdsaP256, KeyType::Ed25519, KeyType::RsaPss];

    #[test]
    fn every_kind_signs_and_its_description_verifies() {
        for kind in ALL {
            let (key, _) = PrivateKey::generate(kind).unwrap();
            let public = PublicKey::from_json(key.public.id(), &key.public.to_json()).unwrap();
            assert_eq!((public.key_type(), &public), (Some(kind), key.public_key()));
            let signature = key.sign(b"message").unwrap();
            public.verify(b"message", &signature).unwrap();
            assert!(public.verify(b"massage", &signature).is_err(), "{kind:?}");
            assert!(PrivateKey::generate(kind).unwrap().0.public.verify(b"message", &signature).is_err(), "{kind:?}");
            assert_eq!(PublicKey::from_pem(&public.to_pem().unwrap()).unwrap(), public);
        }
    }

    #[test]
    fn key_files_are_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ALL {
            let path = dir.path().join(kind.name());
            let (key, public_path) = PrivateKey::create(&path, kind).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(PrivateKey::read(&path).unwrap().public, key.public);
            assert_eq!(PublicKey::read(&public_path).unwrap(), key.public);
            assert_eq!(PublicKey::read(&path).unwrap(), key.public);
            assert!(matches!(PrivateKey::create(&path, kind), Err(KeyFileError::Exists(_))));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let error = PrivateKey::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(kind.name()), "{error}");
        }
        let public = dir.path().join("ed25519.pub");
        fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(PrivateKey::read(&public), Err(KeyFileError::Unusable { .. })));
    }

    #[test]
    fn other_curves_are_refused() {
        use aws_lc_rs::signature::ECDSA_P384_SHA384_ASN1_SIGNING;
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        let error = PublicKey::from_spki(&spki(pair.public_key()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("P-256"), "{error}");
    }
}
