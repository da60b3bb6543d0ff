//! The published `sigstore-verify`, asked the same question.

use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, Verifier,
    trust_root::TrustedRoot,
    types::{Bundle, DerPublicKey, Sha256Hash},
};

use crate::common::*;

pub(crate) struct Oracle {
    verifier: Verifier,
    policy: Box<dyn sigstore_verify::Policy>,
    bytes: Option<Vec<u8>>,
    digest: Option<Sha256Hash>,
}

impl Oracle {
    /// None if it cannot be asked: it knows SHA-256 digests only.
    pub(crate) fn new(case: &Case) -> Option<Self> {
        let digest = match case.of {
            Of::File(_) => None,
            Of::Digest(digest) => Some(Sha256Hash::from_hex(digest.strip_prefix("sha256:")?).unwrap()),
        };
        let root = TrustedRoot::from_json(&String::from_utf8(file(case.root)).unwrap()).unwrap();
        let policy: Box<dyn sigstore_verify::Policy> = match case.by {
            By::Identity(san, issuer) => Box::new(VerificationPolicy::new(san, issuer)),
            By::TimestampOnly(san, _) => {
                Box::new(VerificationPolicy::any_identity().require_identity(san).skip_tlog_unsafe().skip_sct())
            }
            By::Key(path) => {
                let pem = String::from_utf8(file(path)).unwrap();
                Box::new(PublicKeyVerificationPolicy::new(DerPublicKey::from_pem(&pem).unwrap()))
            }
        };
        Some(Self { verifier: Verifier::new(&root).unwrap(), policy, bytes: case.artifact_bytes(), digest })
    }

    pub(crate) fn verify(&self, json: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(json).map_err(|e| e.to_string())?;
        let bundle = Bundle::from_json(text).map_err(|e| e.to_string())?;
        let result = match (&self.bytes, self.digest) {
            (Some(bytes), _) => self.verifier.verify(bytes.as_slice(), &bundle, self.policy.as_ref()),
            (None, Some(digest)) => self.verifier.verify(digest, &bundle, self.policy.as_ref()),
            (None, None) => unreachable!("an artifact is bytes or a digest"),
        };
        result.map(drop).map_err(|e| e.to_string())
    }
}
