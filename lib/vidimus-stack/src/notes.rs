//! Signing of checkpoints as C2SP signed notes, with the two kinds of key that the logs have.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use vidimus_core::{
    checkpoint::{Checkpoint, Note, NoteSignature, ecdsa_key_id, ed25519_key_id, hint},
    merkle::Hash,
};

use crate::{
    keys::{KeyError, KeyKind, P256Signer, public_key},
    log::{CheckpointSigner, LogError},
};

/// Signs with ECDSA P-256 over SHA-256: Rekor v1 and the CT log.
#[derive(Debug)]
pub struct EcdsaNotes {
    origin: String,
    name: String,
    signer: Arc<P256Signer>,
}

impl EcdsaNotes {
    /// Signs checkpoints of `origin` under `name`. They differ in Rekor v1: `<host> - <tree id>` and `<host>`.
    pub fn new(origin: String, name: String, signer: Arc<P256Signer>) -> Self {
        Self { origin, name, signer }
    }
}

impl CheckpointSigner for EcdsaNotes {
    fn sign(&self, size: u64, root: &Hash) -> Result<String, LogError> {
        let text = checkpoint_text(&self.origin, size, root);
        let signature = self.signer.sign(text.as_bytes()).map_err(|e| LogError::Signing(e.to_string()))?;
        let hint = hint(&ecdsa_key_id(self.signer.spki()));
        Ok(note(text, NoteSignature { name: self.name.clone(), hint, signature }))
    }
}

/// Signs with Ed25519: Rekor v2. Origin and name are the same.
#[derive(Debug)]
pub struct Ed25519Notes {
    origin: String,
    pair: Ed25519KeyPair,
    key_id: [u8; 32],
    spki: Vec<u8>,
}

impl Ed25519Notes {
    /// Signs checkpoints of `origin` with a PKCS#8 key.
    pub fn from_pkcs8(origin: String, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let kind = KeyKind::Ed25519;
        let rejected = || KeyError::Kind { name: origin.clone(), kind };
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| rejected())?;
        let raw: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| rejected())?;
        Ok(Self { key_id: ed25519_key_id(&origin, &raw), spki: public_key(pkcs8, kind)?, origin, pair })
    }

    /// The C2SP key id, which is the log's id.
    pub fn key_id(&self) -> [u8; 32] {
        self.key_id
    }

    /// The public key as SubjectPublicKeyInfo DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

impl CheckpointSigner for Ed25519Notes {
    fn sign(&self, size: u64, root: &Hash) -> Result<String, LogError> {
        let text = checkpoint_text(&self.origin, size, root);
        let signature = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        Ok(note(text, NoteSignature { name: self.origin.clone(), hint: hint(&self.key_id), signature }))
    }
}

fn checkpoint_text(origin: &str, size: u64, root: &Hash) -> String {
    Checkpoint { origin: origin.to_owned(), size, root: *root, extensions: Vec::new() }.text()
}

fn note(text: String, signature: NoteSignature) -> String {
    Note { text, signatures: vec![signature] }.to_string()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;
    use crate::keys::generate;

    fn check(
        signer: &dyn CheckpointSigner,
        algorithm: &'static dyn VerificationAlgorithm,
        spki: &[u8],
        name: &str,
        origin: &str,
    ) {
        let text = signer.sign(7, &[3; 32]).unwrap();
        let note = Note::parse(&text).unwrap();
        let checkpoint = note.checkpoint().unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size, checkpoint.root), (origin, 7, [3; 32]));
        assert_eq!(note.signatures[0].name, name);
        let key = UnparsedPublicKey::new(algorithm, spki);
        key.verify(note.text.as_bytes(), &note.signatures[0].signature).unwrap();
        assert!(key.verify(b"other", &note.signatures[0].signature).is_err());
    }

    #[test]
    fn checkpoints_verify_with_the_public_key() {
        let signer = Arc::new(P256Signer::from_pkcs8(&generate(KeyKind::EcdsaP256).unwrap()).unwrap());
        let spki = signer.spki().to_vec();
        check(&EcdsaNotes::new("h - 5".into(), "h".into(), signer), &ECDSA_P256_SHA256_ASN1, &spki, "h", "h - 5");
        let notes = Ed25519Notes::from_pkcs8("h".into(), &generate(KeyKind::Ed25519).unwrap()).unwrap();
        let spki = notes.spki().to_vec();
        check(&notes, &ED25519, &spki, "h", "h");
    }
}
