//! Fixtures by name.

use std::path::PathBuf;

use vidimus_core::{Digest, bundle::Bundle, trust::TrustedRoot};
use vidimus_verify::{Artifact, CertificateIdentity, Policy, PublicKey, SignedEntity, TrustRoot};

pub(crate) const SIGNER: &str = "dev@signet.test";
pub(crate) const ISSUER: &str = "http://127.0.0.1:5600";

/// Who signed a case, as its policy.
#[derive(Clone, Copy)]
pub(crate) enum By {
    /// Name and issuer.
    Identity(&'static str, &'static str),
    /// The same, on an instance with a timestamp authority alone.
    TimestampOnly(&'static str, &'static str),
    /// The key in this file.
    Key(&'static str),
}

/// What was signed.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// This file.
    File(&'static str),
    /// Something with this digest.
    Digest(&'static str),
}

/// A bundle that verifies.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) bundle: &'static str,
    pub(crate) root: &'static str,
    pub(crate) of: Of,
    pub(crate) by: By,
}

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITHUB_LOGIN: &str = "https://github.com/login/oauth";
const BEACON: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const A_TXT: &str = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";

const fn case(bundle: &'static str, root: &'static str, of: Of, by: By) -> Case {
    Case { bundle, root, of, by }
}

/// Bundles that real services made and that must verify; provenance in the `README.md` beside them.
pub(crate) const CASES: &[Case] = &[
    case("wire/bundle-a.v1.json", "wire/trusted_root.json", Of::File("wire/a.txt"), By::Identity(SIGNER, ISSUER)),
    case("wire/bundle-a.v2.json", "wire/trusted_root.json", Of::File("wire/a.txt"), By::Identity(SIGNER, ISSUER)),
    case("wire/bundle-js.sign.json", "wire/trusted_root.json", Of::File("wire/p.txt"), By::Identity(SIGNER, ISSUER)),
    case(
        "public/conda-attestation.sigstore.json",
        "public/roots/production.json",
        Of::File("public/signed-package.conda"),
        By::Identity("https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main", GITHUB),
    ),
    case(
        "public/conda-attestation-rekor2.sigstore.json",
        "public/roots/staging.json",
        Of::File("public/signed-package.conda"),
        By::Identity("jku@goto.fi", GITHUB_LOGIN),
    ),
    case(
        "public/cosign-blob.sigstore.json",
        "public/roots/production.json",
        Of::File("public/cosign-blob.txt"),
        By::Identity("w.vollprecht@gmail.com", GITHUB_LOGIN),
    ),
    case(
        "public/github-whl.sigstore.json",
        "public/roots/production.json",
        Of::Digest("sha256:c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201"),
        By::Identity("https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2", GITHUB),
    ),
    case("public/happy-path.sigstore.json", "public/roots/production.json", Of::Digest(A_TXT), By::Identity(BEACON, GITHUB)),
    case(
        "public/sigstore-js-2.0.0-provenance.sigstore.json",
        "public/roots/production.json",
        Of::Digest(
            "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c",
        ),
        By::Identity("https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main", GITHUB),
    ),
    case(
        "public/staging-rekor2-dsse.sigstore.json",
        "public/roots/staging.json",
        Of::Digest(A_TXT),
        By::Identity(BEACON, GITHUB),
    ),
    case(
        "public/staging-rekor2.sigstore.json",
        "public/roots/staging.json",
        Of::File("public/staging-rekor2.txt"),
        By::Identity("jku@goto.fi", GITHUB_LOGIN),
    ),
    case(
        "public/sct-multi-intermediate.sigstore.json",
        "public/roots/staging.json",
        Of::Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        By::Identity(
            "https://github.com/sigstore/root-signing-staging/.github/workflows/custom-test.yml@refs/heads/main",
            GITHUB,
        ),
    ),
    case("public/timestamped.sigstore.json", "public/roots/timestamped.json", Of::Digest(A_TXT), By::Identity(BEACON, GITHUB)),
    case(
        "public/github-private-attestation.sigstore.json",
        "public/roots/github.json",
        Of::Digest("sha256:76f1fe8593bf227cca2c089e3c16dc95014a8d3e89c5dd220530469ca043c428"),
        By::TimestampOnly("https://dotcom.releases.github.com", ""),
    ),
    case(
        "public/managed-key.sigstore.json",
        "public/roots/production.json",
        Of::File("public/managed-key.txt"),
        By::Key("public/managed-key.pub"),
    ),
];

impl Case {
    pub(crate) fn trust(&self) -> TrustRoot {
        trust(&file(self.root))
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        file(self.bundle)
    }

    pub(crate) fn entity(&self) -> SignedEntity {
        entity(&self.json())
    }

    pub(crate) fn artifact_bytes(&self) -> Option<Vec<u8>> {
        match self.of {
            Of::File(path) => Some(file(path)),
            Of::Digest(_) => None,
        }
    }

    pub(crate) fn artifact<'a>(&self, bytes: &'a Option<Vec<u8>>) -> Artifact<'a> {
        match (bytes, self.of) {
            (Some(bytes), _) => Artifact::bytes(bytes),
            (None, Of::Digest(digest)) => Artifact::digest(digest.parse::<Digest>().unwrap()),
            (None, Of::File(_)) => unreachable!("a file has bytes"),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        let identity = |san, issuer: &'static str| CertificateIdentity::from_flags(Some(san), None, Some(issuer), None).unwrap();
        match self.by {
            By::Identity(san, issuer) => Policy::keyless(identity(san, issuer)),
            By::TimestampOnly(san, issuer) => Policy::timestamp_authority_only(identity(san, issuer)),
            By::Key(path) => Policy::key(PublicKey::from_pem_or_der(&file(path)).unwrap()),
        }
    }
}

pub(crate) fn file(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn trust(json: &[u8]) -> TrustRoot {
    TrustRoot::new(&TrustedRoot::from_json(json).unwrap()).unwrap()
}

pub(crate) fn entity(json: &[u8]) -> SignedEntity {
    SignedEntity::from_bundle(Bundle::from_json(json).unwrap()).unwrap()
}

/// After all of the fixtures' times.
pub(crate) fn now() -> jiff::Timestamp {
    "2026-11-22T00:00:00Z".parse().unwrap()
}
