//! Requests as the Sigstore clients send them, made from fresh keys.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use vidimus_core::{digest::sha256, encoding};

/// A client's signing key.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        encoding::pem("PUBLIC KEY", &self.spki())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// `POST /api/v2/log/entries`
    pub(crate) fn rekor_v2(&self, artifact: &[u8]) -> Value {
        let verifier = json!({"keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": {"rawBytes": encoding::encode(self.spki())}});
        json!({"hashedRekordRequestV002": {
            "digest": encoding::encode(sha256(artifact)),
            "signature": {"content": encoding::encode(self.sign(artifact)), "verifier": verifier}
        }})
    }

    /// `POST /api/v1/log/entries`
    pub(crate) fn rekor_v1(&self, artifact: &[u8]) -> Value {
        json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hex::encode(sha256(artifact))}},
            "signature": {"content": encoding::encode(self.sign(artifact)), "publicKey": {"content": encoding::encode(self.pem())}}
        }})
    }

    /// `POST /api/v2/signingCert`
    pub(crate) fn certificate(&self, token: &str, email: &str) -> Value {
        json!({"credentials": {"oidcIdentityToken": token}, "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": self.pem()},
            "proofOfPossession": encoding::encode(self.sign(email.as_bytes()))
        }})
    }
}
