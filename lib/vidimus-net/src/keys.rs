//! The key of one signing session: made in memory, certified once by Fulcio, forgotten at the end.
//!
//! ECDSA over P-256 with SHA-256 (FIPS 186-5), signatures in ASN.1 DER, public keys as SubjectPublicKeyInfo (RFC 5280 §4.1.2.7):
//! the one combination that every Sigstore service and client accepts. Managed keys (files, KMS) implement [`SigningKey`] elsewhere.

use aws_lc_rs::{
    digest::{Digest, SHA256},
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use der::{Decode, Encode, asn1::BitString};
use vidimus_core::encoding::pem;
use x509_cert::{
    attr::Attributes,
    name::Name,
    request::{CertReq, CertReqInfo, Version},
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
};

/// Something that signs. The one question and the one answer that the signing workflow needs of a key.
pub trait SigningKey: Send + Sync {
    /// The public half, as DER SubjectPublicKeyInfo.
    fn public_key_der(&self) -> &[u8];

    /// The public half, as PEM.
    fn public_key_pem(&self) -> String {
        pem("PUBLIC KEY", self.public_key_der())
    }

    /// The signature over `message`, in the encoding that X.509 uses for this kind of key (ECDSA: DER).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// A key that could not be made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The cryptographic library refused. It gives no reason by design.
    #[error("the cryptographic library could not {0}")]
    Refused(&'static str),
    /// A structure around the key could not be encoded.
    #[error("the {what} could not be encoded: {why}")]
    Encoding {
        /// What was being encoded.
        what: &'static str,
        /// What the encoder said.
        why: String,
    },
}

/// A P-256 key that lives as long as this value and is never written anywhere.
pub struct EphemeralKey {
    pair: EcdsaKeyPair,
    public_key_der: Vec<u8>,
    random: SystemRandom,
}

impl EphemeralKey {
    /// A new random key.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError::Refused("make a P-256 key"))?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyError::Refused("encode the public key"))?;
        let public_key_der = public.as_ref().to_vec();
        Ok(Self { pair, public_key_der, random: SystemRandom::new() })
    }

    /// The signature over bytes of which only the SHA-256 is at hand: those of a file too large to hold. The caller computed it from
    /// the bytes itself.
    pub fn sign_sha256(&self, digest: &vidimus_core::Digest) -> Result<Vec<u8>, KeyError> {
        let refused = |_| KeyError::Refused("sign a digest");
        if digest.algorithm() != vidimus_core::Algorithm::Sha256 {
            return Err(KeyError::Refused("sign a digest that is not SHA-256"));
        }
        let digest = Digest::import_less_safe(digest.bytes(), &SHA256).map_err(refused)?;
        Ok(self.pair.sign_digest(&digest).map_err(refused)?.as_ref().to_vec())
    }
}

impl SigningKey for EphemeralKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| KeyError::Refused("sign"))?;
        Ok(signature.as_ref().to_vec())
    }
}

impl std::fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EphemeralKey").field("public_key", &hex::encode(&self.public_key_der)).finish_non_exhaustive()
    }
}

/// A PKCS#10 certificate request (RFC 2986) with an empty subject, signed with ECDSA-SHA256 by `key`, as DER.
///
/// Fulcio takes the identity from the token, never from the request, so a subject would only be noise.
pub fn certificate_request(key: &EphemeralKey) -> Result<Vec<u8>, KeyError> {
    let fail = |what| move |e: der::Error| KeyError::Encoding { what, why: e.to_string() };
    let public_key = SubjectPublicKeyInfoOwned::from_der(key.public_key_der()).map_err(fail("public key"))?;
    let info = CertReqInfo { version: Version::V1, subject: Name::default(), public_key, attributes: Attributes::default() };
    let signature = key.sign(&info.to_der().map_err(fail("certificate request"))?)?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None },
        signature: BitString::from_bytes(&signature).map_err(fail("signature"))?,
    };
    request.to_der().map_err(fail("certificate request"))
}

/// RFC 5758 §3.2.
const ECDSA_WITH_SHA256: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use vidimus_core::encoding::pem_one;

    use super::*;

    /// The raw point inside a SubjectPublicKeyInfo.
    fn point(spki: &[u8]) -> Vec<u8> {
        SubjectPublicKeyInfoOwned::from_der(spki).unwrap().subject_public_key.raw_bytes().to_vec()
    }

    #[test]
    fn signs_what_its_public_key_verifies() {
        let key = EphemeralKey::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(key.public_key_der()));
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"massage", &signature).is_err());
        let by_digest = key.sign_sha256(&vidimus_core::Digest::sha256(b"message")).unwrap();
        public.verify(b"message", &by_digest).unwrap();
        let longer = vidimus_core::Digest::of(vidimus_core::Algorithm::Sha512, b"message");
        assert!(key.sign_sha256(&longer).is_err());
        assert_eq!(pem_one(&key.public_key_pem(), "PUBLIC KEY").unwrap(), key.public_key_der());
    }

    #[test]
    fn two_keys_differ_and_debug_shows_only_the_public_half() {
        let (one, two) = (EphemeralKey::generate().unwrap(), EphemeralKey::generate().unwrap());
        assert_ne!(one.public_key_der(), two.public_key_der());
        assert_eq!(format!("{one:?}"), format!("EphemeralKey {{ public_key: \"{}\", .. }}", hex::encode(one.public_key_der())));
    }

    #[test]
    fn certificate_request_is_signed_by_its_own_key() {
        let key = EphemeralKey::generate().unwrap();
        let der = certificate_request(&key).unwrap();
        let request = CertReq::from_der(&der).unwrap();
        assert!(request.info.subject.0.is_empty());
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(key.public_key_der()));
        public.verify(&request.info.to_der().unwrap(), request.signature.raw_bytes()).unwrap();
    }
}
