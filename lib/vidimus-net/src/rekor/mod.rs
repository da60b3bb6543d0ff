//! Clients of transparency logs: Rekor v1 and Rekor v2 (rekor-tiles).
//!
//! A client sends what was signed and takes the answer only if it is about exactly that: same digest, same signature, same key, and
//! an inclusion proof that leads to the root which the checkpoint states. Whether the log's own signatures hold, and whether the log
//! is trusted, is decided by `vidimus-verify`.

pub mod tiles;
mod v1;
mod v2;

use der::{Decode, Encode, asn1::ObjectIdentifier};
use vidimus_core::{
    Algorithm, Digest, ParseError,
    bundle::TlogEntry,
    checkpoint::Note,
    dsse::Envelope,
    encoding::pem,
    limits,
    merkle::{Hash, leaf_hash, root_from_inclusion},
};
use x509_cert::{Certificate, spki::SubjectPublicKeyInfoOwned};

pub use self::{
    v1::{LogInfo, RekorV1, Search, Shard},
    v2::RekorV2,
};
use crate::http::HttpError;

/// What was signed, and the signature.
#[derive(Debug, Clone, Copy)]
pub enum Signed<'a> {
    /// A signature over an artifact, known by its digest.
    Artifact {
        /// The artifact's digest.
        digest: &'a Digest,
        /// The signature.
        signature: &'a [u8],
    },
    /// A DSSE envelope with one signature.
    Envelope(&'a Envelope),
}

/// Who signed.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// A certificate, in DER.
    Certificate(&'a [u8]),
    /// A bare public key, as DER SubjectPublicKeyInfo.
    PublicKey(&'a [u8]),
}

impl Signer<'_> {
    fn der(&self) -> &[u8] {
        match self {
            Self::Certificate(der) | Self::PublicKey(der) => der,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "CERTIFICATE",
            Self::PublicKey(_) => "PUBLIC KEY",
        }
    }

    fn pem(&self) -> String {
        pem(self.label(), self.der())
    }

    fn scheme(&self) -> Result<Scheme, RekorError> {
        let unreadable = |e: der::Error| RekorError::Signer(e.to_string());
        let spki = match self {
            Self::Certificate(der) => Certificate::from_der(der).map_err(unreadable)?.tbs_certificate.subject_public_key_info,
            Self::PublicKey(der) => SubjectPublicKeyInfoOwned::from_der(der).map_err(unreadable)?,
        };
        Scheme::of(&spki)
    }
}

/// How a kind of key signs in Rekor v2: its name in protobuf-specs, and the digest that goes into the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scheme {
    key_details: &'static str,
    digest: Algorithm,
}

impl Scheme {
    fn of(spki: &SubjectPublicKeyInfoOwned) -> Result<Self, RekorError> {
        let scheme = |key_details, digest| Ok(Self { key_details, digest });
        let algorithm = &spki.algorithm;
        let parameters = algorithm.parameters.as_ref();
        match (algorithm.oid, parameters.and_then(|p| p.decode_as::<ObjectIdentifier>().ok())) {
            (EC, Some(P256)) => scheme("PKIX_ECDSA_P256_SHA_256", Algorithm::Sha256),
            (EC, Some(P384)) => scheme("PKIX_ECDSA_P384_SHA_384", Algorithm::Sha384),
            (EC, Some(P521)) => scheme("PKIX_ECDSA_P521_SHA_512", Algorithm::Sha512),
            // Rekor v2 takes Ed25519 only over the digest (RFC 8032 Ed25519ph), because it never sees the artifact.
            (ED25519, _) => scheme("PKIX_ED25519_PH", Algorithm::Sha512),
            (RSA, _) => match spki.to_der().map_err(|e| RekorError::Signer(e.to_string()))?.len() {
                // The DER of a SubjectPublicKeyInfo has 294, 422 or 550 bytes for the three sizes that Rekor takes.
                290..=298 => scheme("PKIX_RSA_PKCS1V15_2048_SHA256", Algorithm::Sha256),
                418..=426 => scheme("PKIX_RSA_PKCS1V15_3072_SHA256", Algorithm::Sha256),
                546..=554 => scheme("PKIX_RSA_PKCS1V15_4096_SHA256", Algorithm::Sha256),
                _ => Err(RekorError::Signer("an RSA key must have 2048, 3072 or 4096 bits".to_owned())),
            },
            (oid, _) => Err(RekorError::Signer(format!("keys of algorithm {oid} cannot be logged"))),
        }
    }
}

/// A log that did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RekorError {
    /// The request failed; see its kind.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer cannot be read.
    #[error("{url}: {source}")]
    Malformed {
        /// The URL that answered.
        url: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The answer is about something else.
    #[error("{url}: the log's answer has another {what} than what was sent: {seen} instead of {expected}")]
    Mismatch {
        /// The URL that answered.
        url: String,
        /// What differs.
        what: &'static str,
        /// What was sent.
        expected: String,
        /// What came back.
        seen: String,
    },
    /// The key or certificate is not one that logs take.
    #[error("the signer's key: {0}")]
    Signer(String),
    /// The artifact's digest does not go with the key.
    #[error("a {key} key signs {expected} digests in Rekor v2, this one is {seen}")]
    DigestAlgorithm {
        /// The kind of key.
        key: &'static str,
        /// The digest it goes with.
        expected: &'static str,
        /// The digest given.
        seen: &'static str,
    },
    /// An envelope that has no signature, or several.
    #[error("an envelope with {0} signatures cannot be logged; exactly one is needed")]
    Signatures(usize),
    /// The log has the same entry already, and what it has could not be fetched.
    #[error("{url}: the log has this entry already, and it could not be fetched: {why}")]
    Exists {
        /// The URL that answered.
        url: String,
        /// Why not.
        why: String,
    },
}

/// The one signature of an envelope.
fn only_signature(envelope: &Envelope) -> Result<&vidimus_core::dsse::Signature, RekorError> {
    match envelope.signatures.as_slice() {
        [one] => Ok(one),
        several => Err(RekorError::Signatures(several.len())),
    }
}

/// Whether an entry proves its own inclusion: the path leads from the body to the root, and the checkpoint states that root.
fn check_inclusion(entry: &TlogEntry) -> Result<(), ParseError> {
    let fail = |why: &str| ParseError::new("inclusion proof", why);
    let proof = entry.inclusion_proof.as_ref().ok_or_else(|| fail("there is none"))?;
    limits::check_count("inclusion proof", "hashes", proof.hashes.len(), limits::PROOF_HASHES)?;
    let hash = |bytes: &[u8]| Hash::try_from(bytes).map_err(|_| fail("a hash is not 32 bytes long"));
    let path = proof.hashes.iter().map(|h| hash(&h.0)).collect::<Result<Vec<_>, _>>()?;
    let (index, size) = (proof.log_index.to_u64()?, proof.tree_size.to_u64()?);
    let root = root_from_inclusion(index, size, leaf_hash(&entry.canonicalized_body.0), &path)?;
    if root != hash(&proof.root_hash.0)? {
        return Err(fail("it does not lead to the stated root"));
    }
    let note = &proof.checkpoint.as_ref().ok_or_else(|| fail("it has no checkpoint"))?.envelope;
    let checkpoint = Note::parse(note)?.checkpoint()?;
    if (checkpoint.size, checkpoint.root) != (size, root) {
        return Err(fail("the checkpoint states another size or root"));
    }
    Ok(())
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests;
