//! The key that signs identity tokens: RSA, because cosign takes a token on its command line only when it is signed with RS256
//! (RFC 7518 §3.3).

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vidimus_core::encoding;

use crate::pki::OpenError;
use crate::pki::key::CryptoFailure;
use crate::secret_file::{self, SecretFileError};

/// Bytes of the key file: PKCS #8 of RSA 2048 in PEM has 1.7 KiB.
const FILE_BYTES: u64 = 64 << 10;

/// The key, with the public half as a JWK needs it.
#[derive(Debug)]
pub(crate) struct TokenKey {
    pair: RsaKeyPair,
    id: String,
    header: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl TokenKey {
    /// Reads the key in `keys`/`oidc`, or makes it.
    pub(crate) fn open(keys: &Path) -> Result<Self, OpenError> {
        match Self::read(keys) {
            Err(OpenError::File(e)) if e.is_not_found() => {}
            done => return done,
        }
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| CryptoFailure("key generation"))?;
        let der = pair.as_der().map_err(|_| CryptoFailure("key export"))?;
        secret_file::create_dir(&keys.join("oidc"))?;
        secret_file::replace(&file(keys), encoding::pem("PRIVATE KEY", der.as_ref()).as_bytes())?;
        Ok(Self::new(pair))
    }

    /// Reads the key in `keys`/`oidc`, which must be there.
    pub(crate) fn read(keys: &Path) -> Result<Self, OpenError> {
        let path = file(keys);
        let text = secret_file::read_text(&path, FILE_BYTES)?;
        let der = encoding::pem_one(&text, "PRIVATE KEY").map_err(|e| SecretFileError::malformed(&path, e))?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|e| SecretFileError::malformed(&path, e))?;
        Ok(Self::new(pair))
    }

    fn new(pair: RsaKeyPair) -> Self {
        let public = pair.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
        // RFC 7638 §3: the members in this order, without white space.
        let canonical = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(&exponent), base64url(&modulus));
        let id = base64url(digest(&SHA256, canonical.as_bytes()).as_ref());
        let header = base64url(json!({ "alg": "RS256", "kid": id, "typ": "JWT" }).to_string().as_bytes());
        Self { pair, id, header, modulus, exponent }
    }

    /// Signs claims into a JWT.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, CryptoFailure> {
        let signed = format!("{}.{}", self.header, base64url(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| CryptoFailure("signing"))?;
        Ok(format!("{signed}.{}", base64url(&signature)))
    }

    /// The key id in the header of its tokens.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Modulus and exponent, big-endian.
    pub(crate) fn public_components(&self) -> (&[u8], &[u8]) {
        (&self.modulus, &self.exponent)
    }

    /// RFC 7517 §5.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": base64url(&self.modulus), "e": base64url(&self.exponent),
        }] })
    }
}

/// RFC 7515 §2: base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn file(keys: &Path) -> std::path::PathBuf {
    keys.join("oidc").join("signing.key.pem")
}

/// A key for a test, in its place: one of three that are made once, since making one takes a second of a busy machine.
#[cfg(test)]
pub(crate) fn install_for_test(keys: &Path, which: usize) {
    use std::sync::OnceLock;
    static KEYS: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    let pem = KEYS[which].get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        TokenKey::open(dir.path()).unwrap();
        std::fs::read(file(dir.path())).unwrap()
    });
    secret_file::create_dir(&keys.join("oidc")).unwrap();
    secret_file::replace(&file(keys), pem).unwrap();
}
