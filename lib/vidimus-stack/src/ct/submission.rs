//! Chains that are posted to the log: read, and checked against the accepted roots (RFC 6962 §3.1, §4.1, §4.2).

use const_oid::ObjectIdentifier;
use der::{Decode, Encode, asn1::Null};
use vidimus_core::digest::sha256;
use x509_cert::{Certificate, TbsCertificate};

use crate::verifier::{self, Refused, check_chain, check_issued};

/// The critical extension that makes a certificate a precertificate.
const POISON: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3");

/// A chain whose signatures lead to an accepted root.
pub(super) struct Submission {
    /// As posted, and the root if it was left out.
    pub(super) chain: Vec<Vec<u8>>,
    certificates: Vec<Certificate>,
}

impl Submission {
    /// Reads and checks a chain.
    pub(super) fn read(mut chain: Vec<Vec<u8>>, roots: &[Vec<u8>]) -> Result<Self, Refused> {
        let refused = |why: &str| Refused::Chain(why.to_owned());
        let mut certificates = chain.iter().map(|der| verifier::certificate(der)).collect::<Result<Vec<_>, _>>()?;
        let last = certificates.last().ok_or_else(|| refused("empty"))?;
        check_chain(&certificates)?;
        if !roots.iter().any(|root| chain.last() == Some(root)) {
            let issued_by = |root: &&Vec<u8>| verifier::certificate(root).is_ok_and(|issuer| check_issued(last, &issuer).is_ok());
            let root = roots.iter().find(issued_by).ok_or_else(|| refused("it does not lead to an accepted root"))?;
            certificates.push(verifier::certificate(root)?);
            chain.push(root.clone());
        }
        if certificates.len() < 2 {
            return Err(refused("a root is not logged"));
        }
        Ok(Self { chain, certificates })
    }

    /// The final certificate, and those above it.
    pub(super) fn certificate(mut self) -> Result<(Vec<u8>, Vec<Vec<u8>>), Refused> {
        if poison_of(&self.certificates[0].tbs_certificate).is_some() {
            return Err(Refused::Certificate("a precertificate, which goes to add-pre-chain".to_owned()));
        }
        Ok((self.chain.remove(0), self.chain))
    }

    /// The hash of the issuer's key, and the precertificate's TBSCertificate without its poison.
    pub(super) fn precertificate(&self) -> Result<([u8; 32], Vec<u8>), Refused> {
        let refused = |why: &str| Refused::Certificate(why.to_owned());
        let mut tbs = self.certificates[0].tbs_certificate.clone();
        let poison = poison_of(&tbs).ok_or_else(|| refused("not a precertificate: it has no poison extension"))?;
        let extensions = tbs.extensions.as_mut().ok_or_else(|| refused("no extensions"))?;
        let poison = extensions.remove(poison);
        if !poison.critical || Null::from_der(poison.extn_value.as_bytes()).is_err() {
            return Err(refused("the poison extension must be critical and NULL"));
        }
        // A list of no extensions is no DER of X.509; the final certificate has none either.
        tbs.extensions = tbs.extensions.filter(|extensions| !extensions.is_empty());
        let tbs = tbs.to_der().map_err(|e| refused(&e.to_string()))?;
        let issuer = &self.certificates[1].tbs_certificate.subject_public_key_info;
        let issuer = issuer.to_der().map_err(|e| refused(&e.to_string()))?;
        Ok((sha256(&issuer), tbs))
    }
}

fn poison_of(tbs: &TbsCertificate) -> Option<usize> {
    tbs.extensions.as_ref()?.iter().position(|extension| extension.extn_id == POISON)
}
