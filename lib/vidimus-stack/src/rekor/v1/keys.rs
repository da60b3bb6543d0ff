//! Keys and certificates as Rekor v1 takes them: PEM, stored in one canonical form, searchable by what they name.

use der::{Decode, asn1::Utf8StringRef};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use vidimus_core::{Algorithm, Digest, encoding, limits};
use x509_cert::{
    Certificate,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::verifier::{self, PublicKey, Refused};

/// A verifier from a request.
#[derive(Debug, Clone)]
pub(super) struct PemVerifier {
    key: PublicKey,
    /// The PEM that is stored: a SubjectPublicKeyInfo, a certificate, or a chain.
    pub(super) pem: String,
    /// What the (first) certificate names, in lower case.
    pub(super) subjects: Vec<String>,
}

impl PemVerifier {
    /// Reads a public key, a certificate, or a chain whose certificates sign each other.
    pub(super) fn read(pem: &[u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(pem).map_err(|_| Refused::Key("not PEM".to_owned()))?;
        let blocks = encoding::pem_blocks(text).map_err(|e| Refused::Key(e.to_string()))?;
        let first = blocks.first().ok_or_else(|| Refused::Key("invalid PEM block".to_owned()))?;
        match first.label.as_str() {
            "PUBLIC KEY" => Self::from_key(PublicKey::from_spki(&first.der)?),
            "RSA PUBLIC KEY" => Self::from_key(PublicKey::from_spki(&rsa_spki(&first.der)?)?),
            "CERTIFICATE" => {
                limits::check_count("PEM", "certificates", blocks.len(), limits::CHAIN)
                    .map_err(|e| Refused::Chain(e.to_string()))?;
                if blocks.iter().any(|block| block.label != "CERTIFICATE") {
                    return Err(Refused::Chain("something else among certificates".to_owned()));
                }
                Self::from_chain(&blocks.into_iter().map(|block| block.der).collect::<Vec<_>>())
            }
            label => Err(Refused::Unsupported(format!("PEM block {label:?}"))),
        }
    }

    fn from_key(key: PublicKey) -> Result<Self, Refused> {
        Ok(Self { pem: encoding::pem("PUBLIC KEY", key.spki()), key, subjects: Vec::new() })
    }

    fn from_chain(chain: &[Vec<u8>]) -> Result<Self, Refused> {
        let certificates = chain.iter().map(|der| verifier::certificate(der)).collect::<Result<Vec<_>, _>>()?;
        verifier::check_chain(&certificates)?;
        let key = PublicKey::from_certificate(&certificates[0])?;
        let pem = chain.iter().map(|der| encoding::pem("CERTIFICATE", der)).collect();
        Ok(Self { key, pem, subjects: subjects_of(&certificates[0]) })
    }

    /// Checks a signature over an artifact of which the digest is known.
    pub(super) fn verify_digest(&self, digest: &Digest, signature: &[u8]) -> Result<(), Refused> {
        self.key.verify_digest(digest, signature)
    }

    /// Checks a signature over an envelope's pre-authentication encoding. Rekor takes SHA-256 for every curve, clients the hash that
    /// goes with the curve; both exist.
    pub(super) fn verify_message(&self, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        self.key.verify(message, signature).or_else(|refused| match self.key.default_hash() {
            Algorithm::Sha256 => Err(refused),
            _ => self.key.verify_hashed_with(Algorithm::Sha256, message, signature),
        })
    }
}

/// SubjectPublicKeyInfo around a PKCS #1 key.
fn rsa_spki(pkcs1: &[u8]) -> Result<Vec<u8>, Refused> {
    use const_oid::db::rfc5912::RSA_ENCRYPTION;
    use der::{
        Encode,
        asn1::{AnyRef, BitStringRef},
    };
    let bad = |e: der::Error| Refused::Key(e.to_string());
    let algorithm = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) };
    let subject_public_key = BitStringRef::from_bytes(pkcs1).map_err(bad)?;
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().map_err(bad)
}

fn subjects_of(certificate: &Certificate) -> Vec<String> {
    // A certificate with an unreadable name can sign; it can only not be searched for by that name.
    let names = certificate.tbs_certificate.get::<SubjectAltName>().ok().flatten();
    let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    names.iter().take(limits::SUBJECTS).filter_map(name_of).map(|name| name.to_lowercase()).collect()
}

fn name_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(name) | GeneralName::DnsName(name) | GeneralName::UniformResourceIdentifier(name) => {
            Some(name.to_string())
        }
        GeneralName::OtherName(other) => {
            use der::Encode;
            let value = other.value.to_der().ok()?;
            Utf8StringRef::from_der(&value).ok().map(|name| name.as_str().to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rsa::{KeyPair, KeySize},
        signature::KeyPair as _,
    };

    use super::*;

    #[test]
    fn one_form_is_stored() {
        let pem = include_str!("../../../../../testdata/fulcio/email.pem");
        let canonical = encoding::pem("CERTIFICATE", &encoding::pem_blocks(pem).unwrap()[0].der);
        let read = PemVerifier::read(format!("text\n{}\n\n", pem.replace('\n', "\r\n")).as_bytes()).unwrap();
        assert_eq!(read.pem, canonical);
        assert!(read.subjects.iter().all(|s| s.contains('@')) && !read.subjects.is_empty(), "{:?}", read.subjects);
        let github = include_bytes!("../../../../../testdata/fulcio/github.pem");
        assert!(PemVerifier::read(github).unwrap().subjects[0].starts_with("https://github.com/"));
    }

    #[test]
    fn pkcs1_becomes_spki() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let pem = encoding::pem("RSA PUBLIC KEY", pair.public_key().as_ref());
        assert_eq!(PemVerifier::read(pem.as_bytes()).unwrap().pem, encoding::pem("PUBLIC KEY", spki.as_ref()));
    }

    #[test]
    fn what_is_no_verifier() {
        let leaf = include_str!("../../../../../testdata/fulcio/email.pem");
        let key = encoding::pem("PRIVATE KEY", b"x");
        for bad in ["", "x", &key, &format!("{leaf}{key}"), &format!("{leaf}{leaf}"), &encoding::pem("PUBLIC KEY", b"x")] {
            assert!(PemVerifier::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
