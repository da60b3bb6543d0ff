//! TUF keys: their description in a root, their ids, and verifying with them. Signing is in [`super::signer`].

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1},
        rfc8410::ID_ED_25519,
    },
};
use der::Decode;
use serde_json::{Value, json};
use spki::SubjectPublicKeyInfoOwned;
use vidimus_core::{digest, encoding};

use super::{TufError, canonical_json};

/// DER of the SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The kinds of key that every client reads (specification §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256 with SHA-256, as the public Sigstore uses it.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
    /// RSA-PSS with SHA-256.
    RsaPss,
}

impl KeyType {
    /// How it is called in words and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Ed25519 => "ed25519",
            Self::RsaPss => "rsa-pss",
        }
    }

    fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "ecdsa-sha2-nistp256" => Some(Self::EcdsaP256),
            "ed25519" => Some(Self::Ed25519),
            "rsassa-pss-sha256" => Some(Self::RsaPss),
            _ => None,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Self::Ed25519 => &ED25519,
            Self::RsaPss => &RSA_PSS_2048_8192_SHA256,
        }
    }
}

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

    /// A key from its SubjectPublicKeyInfo DER.
    pub fn from_spki(der: &[u8]) -> Result<Self, TufError> {
        let spki = SubjectPublicKeyInfoOwned::from_der(der).map_err(|e| TufError::Key(format!("not a public key: {e}")))?;
        let curve = || spki.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        match spki.algorithm.oid {
            ID_EC_PUBLIC_KEY if curve() == Some(SECP_256_R_1) => Ok(Self::ecdsa_p256(der)),
            ID_EC_PUBLIC_KEY => {
                Err(TufError::Key("an ECDSA key on another curve than P-256, which not every client reads".into()))
            }
            ID_ED_25519 => Ok(Self::new("ed25519", "ed25519", hex::encode(spki.subject_public_key.raw_bytes()))),
            RSA_ENCRYPTION => Ok(Self::new("rsa", "rsassa-pss-sha256", encoding::pem("PUBLIC KEY", der))),
            oid => Err(TufError::Key(format!("a key of the kind {oid}; TUF clients read ECDSA P-256, Ed25519 and RSA"))),
        }
    }

    /// A key from a PEM file (`PUBLIC KEY`).
    pub fn from_pem(text: &str) -> Result<Self, TufError> {
        let der = encoding::pem_one(text, "PUBLIC KEY").map_err(|e| TufError::Key(e.to_string()))?;
        Self::from_spki(&der)
    }

    /// The key under `id` in `keys` of a root. The id is the one that is written there: it is a name, not a computation.
    pub fn from_json(id: &str, value: &Value) -> Result<Self, TufError> {
        let field = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let fields = (field(value, "keytype"), field(value, "scheme"), field(&value["keyval"], "public"));
        let (Some(key_type), Some(scheme), Some(public)) = fields else {
            return Err(TufError::Key(format!("{id} lacks 'keytype', 'scheme' or 'keyval.public'")));
        };
        Ok(Self { key_type, scheme, public, id: id.to_owned() })
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

    /// What kind of key it is; nothing for a kind that is not made here.
    pub fn key_type(&self) -> Option<KeyType> {
        KeyType::of_scheme(&self.scheme)
    }

    /// How the root names its signature scheme.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The key as a PEM file.
    pub fn to_pem(&self) -> Result<String, TufError> {
        match self.key_type() {
            Some(KeyType::Ed25519) => Ok(encoding::pem("PUBLIC KEY", &[&ED25519_SPKI[..], &self.raw()?].concat())),
            _ => Ok(self.public.clone()),
        }
    }

    /// Whether a signature over `message` is this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TufError> {
        let kind = self.key_type().ok_or_else(|| TufError::Key(format!("{} has the scheme {:?}", self.id, self.scheme)))?;
        let key = UnparsedPublicKey::new(kind.verification(), self.raw()?);
        key.verify(message, signature).map_err(|_| TufError::Key(format!("a signature of {} does not verify", self.id)))
    }

    /// The key as the cryptographic library takes it: the content of the SubjectPublicKeyInfo.
    fn raw(&self) -> Result<Vec<u8>, TufError> {
        let wrong = |why: String| TufError::Key(format!("{}: {why}", self.id));
        if self.key_type() == Some(KeyType::Ed25519) {
            return hex::decode(&self.public).map_err(|e| wrong(e.to_string()));
        }
        let der = encoding::pem_one(&self.public, "PUBLIC KEY").map_err(|e| wrong(e.to_string()))?;
        let spki = SubjectPublicKeyInfoOwned::from_der(&der).map_err(|e| wrong(e.to_string()))?;
        Ok(spki.subject_public_key.raw_bytes().to_vec())
    }
}
