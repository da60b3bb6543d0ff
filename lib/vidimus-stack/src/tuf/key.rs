//! TUF keys: their description in a root, their ids, and signing with them.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use vidimus_core::{digest, encoding};

use super::{TufError, canonical_json};

/// A public key as a root describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key_type: String,
    scheme: String,
    public: String,
    id: String,
}

impl PublicKey {
    /// An ECDSA key on P-256, from its SubjectPublicKeyInfo DER.
    pub fn ecdsa_p256(spki: &[u8]) -> Self {
        Self::new("ecdsa", "ecdsa-sha2-nistp256", encoding::pem("PUBLIC KEY", spki))
    }

    /// A key of any type; `public` is written as the type wants it (PEM, or hex for `ed25519`).
    pub fn new(key_type: &str, scheme: &str, public: String) -> Self {
        let (key_type, scheme) = (key_type.to_owned(), scheme.to_owned());
        let mut key = Self { key_type, scheme, public, id: String::new() };
        // Over exactly these three fields: clients that recompute ids (tough, go-tuf) leave no room for more.
        // Strings alone cannot fail to be canonical.
        let canonical = canonical_json(&key.to_json()).unwrap_or_default();
        key.id = hex::encode(digest::sha256(&canonical));
        key
    }

    /// The key id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key's entry in `keys` of a root.
    pub fn to_json(&self) -> Value {
        json!({"keytype": self.key_type, "scheme": self.scheme, "keyval": {"public": self.public}})
    }
}

/// Something that signs for a key: a key in memory here, a token or a service elsewhere.
pub trait Signer: std::fmt::Debug + Send + Sync {
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
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| TufError::Key("public key export".into()))?;
        let public = PublicKey::ecdsa_p256(spki.as_ref());
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
