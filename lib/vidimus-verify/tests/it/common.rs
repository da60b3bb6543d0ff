//! Fixtures by name.

use std::path::PathBuf;

use vidimus_core::{bundle::Bundle, trust::TrustedRoot};
use vidimus_verify::{CertificateIdentity, Policy, SignedEntity, TrustRoot};

pub(crate) const SIGNER: &str = "dev@signet.test";
pub(crate) const ISSUER: &str = "http://127.0.0.1:5600";

/// The bundles of `testdata/wire` with their artifacts: Rekor v1, Rekor v2, and one that sigstore-js wrote.
pub(crate) const WIRE: [(&str, &str); 3] =
    [("bundle-a.v1.json", "a.txt"), ("bundle-a.v2.json", "a.txt"), ("bundle-js.sign.json", "p.txt")];

pub(crate) fn file(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn wire(name: &str) -> Vec<u8> {
    file(&format!("wire/{name}"))
}

pub(crate) fn wire_trust() -> TrustRoot {
    trust(&wire("trusted_root.json"))
}

pub(crate) fn trust(json: &[u8]) -> TrustRoot {
    TrustRoot::new(&TrustedRoot::from_json(json).unwrap()).unwrap()
}

pub(crate) fn entity(json: &[u8]) -> SignedEntity {
    SignedEntity::from_bundle(Bundle::from_json(json).unwrap()).unwrap()
}

pub(crate) fn wire_policy() -> Policy {
    Policy::keyless(CertificateIdentity::exact(SIGNER, ISSUER))
}

/// After all of the fixtures' times, inside the validity of their authorities.
pub(crate) fn now() -> jiff::Timestamp {
    "2026-11-22T00:00:00Z".parse().unwrap()
}
