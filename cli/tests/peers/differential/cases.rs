//! The bundles of `testdata/` that somebody can judge, and what each is about.

use serde_json::{Value, json};
use vidimus::core::{Digest, encoding};

#[expect(dead_code, reason = "the other user of the list asks for claims")]
#[path = "../../shared/attestations.rs"]
mod attestations;

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/");
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITHUB_LOGIN: &str = "https://github.com/login/oauth";
const BEACON: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const A_TXT: &str = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
const STAGING: &str = "public/roots/staging.json";
const PRODUCTION: &str = "public/roots/production.json";
const WIRE: (&str, By) = ("wire/trusted_root.json", By::Identity("dev@signet.test", "http://127.0.0.1:5600"));

/// Who must have signed.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// Name and issuer.
    Identity(&'static str, &'static str),
    /// The same, with a timestamp instead of a log entry and an SCT.
    TimestampOnly(&'static str, &'static str),
    /// The key in this file.
    Key(&'static str),
    /// The same, without log entry.
    UnloggedKey(&'static str),
    /// Anyone.
    Anyone,
}

/// What must have been signed.
#[derive(Clone, Copy)]
enum Of {
    File(&'static str),
    Digest(&'static str),
    /// What the bundle itself says: nobody has the file.
    Whatever,
}

/// A bundle, and the question that is asked about it.
pub(super) struct Case {
    pub(super) name: String,
    /// As it is, but with the indexes 0 that protobuf's writers leave out: sigstore-python does not read it without.
    pub(super) bundle: Value,
    /// The trusted root's text.
    pub(super) root: String,
    /// A path of a file with the same.
    pub(super) root_path: String,
    /// The artifact, if it is there.
    pub(super) file: Option<String>,
    pub(super) digest: Digest,
    pub(super) by: By,
    /// Of changes to this bundle, every so many are tried; 0 is none.
    pub(super) every: usize,
}

/// Name, trusted root, artifact, signer, and of how many changes one is tried. A mix of what there is in the world: both Rekors, bundle
/// 0.1 to 0.3, messages and envelopes, public and private instances.
const CASES: &[(&str, &str, Of, By, usize)] = &[
    ("wire/bundle-a.v1.json", WIRE.0, Of::File("wire/a.txt"), WIRE.1, 1),
    ("wire/bundle-a.v2.json", WIRE.0, Of::File("wire/a.txt"), WIRE.1, 1),
    ("wire/bundle-js.sign.json", WIRE.0, Of::File("wire/p.txt"), WIRE.1, 1),
    (
        "public/conda-attestation.sigstore.json",
        PRODUCTION,
        Of::File("public/signed-package.conda"),
        By::Identity("https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main", GITHUB),
        1,
    ),
    (
        "public/conda-attestation-rekor2.sigstore.json",
        STAGING,
        Of::File("public/signed-package.conda"),
        By::Identity("jku@goto.fi", GITHUB_LOGIN),
        7,
    ),
    (
        "public/cosign-blob.sigstore.json",
        PRODUCTION,
        Of::File("public/cosign-blob.txt"),
        By::Identity("w.vollprecht@gmail.com", GITHUB_LOGIN),
        1,
    ),
    (
        "public/github-whl.sigstore.json",
        PRODUCTION,
        Of::Digest("sha256:c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201"),
        By::Identity("https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2", GITHUB),
        3,
    ),
    ("public/happy-path.sigstore.json", PRODUCTION, Of::Digest(A_TXT), By::Identity(BEACON, GITHUB), 7),
    (
        "public/sigstore-js-2.0.0-provenance.sigstore.json",
        PRODUCTION,
        Of::Digest(
            "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c",
        ),
        By::Identity("https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main", GITHUB),
        3,
    ),
    ("public/staging-rekor2-dsse.sigstore.json", STAGING, Of::Digest(A_TXT), By::Identity(BEACON, GITHUB), 1),
    (
        "public/staging-rekor2.sigstore.json",
        STAGING,
        Of::File("public/staging-rekor2.txt"),
        By::Identity("jku@goto.fi", GITHUB_LOGIN),
        1,
    ),
    (
        "public/sct-multi-intermediate.sigstore.json",
        STAGING,
        Of::Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        By::Identity(
            "https://github.com/sigstore/root-signing-staging/.github/workflows/custom-test.yml@refs/heads/main",
            GITHUB,
        ),
        11,
    ),
    ("public/timestamped.sigstore.json", "public/roots/timestamped.json", Of::Digest(A_TXT), By::Identity(BEACON, GITHUB), 11),
    (
        "public/github-private-attestation.sigstore.json",
        "public/roots/github.json",
        Of::Digest("sha256:76f1fe8593bf227cca2c089e3c16dc95014a8d3e89c5dd220530469ca043c428"),
        By::TimestampOnly("https://dotcom.releases.github.com", ""),
        3,
    ),
    ("public/managed-key.sigstore.json", PRODUCTION, Of::File("public/managed-key.txt"), By::Key("public/managed-key.pub"), 3),
    ("cosign/p256.sigstore.json", PRODUCTION, Of::File("cosign/artifact"), By::UnloggedKey("cosign/p256.pub"), 3),
    ("cosign/ed25519.sigstore.json", PRODUCTION, Of::File("cosign/artifact"), By::UnloggedKey("cosign/ed25519.pub"), 3),
    ("public/cve-2022-36056.sigstore.json", STAGING, Of::Whatever, By::Anyone, 0),
    ("public/dsse.sigstore.json", PRODUCTION, Of::Whatever, By::Anyone, 0),
    ("public/dsse-2sigs.sigstore.json", PRODUCTION, Of::Whatever, By::Anyone, 0),
    ("public/invalid-ct-key.sigstore.json", "public/roots/invalid-ct-key.json", Of::Whatever, By::Anyone, 0),
    ("public/no-cert-v1.sigstore.json", STAGING, Of::Whatever, By::Anyone, 0),
    ("public/no-checkpoint.sigstore.json", STAGING, Of::Whatever, By::Anyone, 0),
    ("public/no-log-entry.sigstore.json", STAGING, Of::Whatever, By::Anyone, 0),
    ("public/no-signed-time.sigstore.json", PRODUCTION, Of::Whatever, By::Anyone, 0),
    ("public/othername.sigstore.json", STAGING, Of::Whatever, By::Anyone, 0),
    ("public/v03-message.sigstore.json", STAGING, Of::Whatever, By::Anyone, 0),
];

/// All cases.
pub(super) fn all() -> Vec<Case> {
    let listed = CASES.iter().map(|&(name, root, of, by, every)| {
        let bundle = json_file(name);
        let digest = of.digest(&bundle);
        Case { file: of.file(), ..Case::new(name, bundle, root, digest, by, every) }
    });
    let published = attestations::ALL.iter().map(|published| {
        let name = format!("public/{}", published.file);
        let root = if name.contains("person") { STAGING } else { PRODUCTION };
        let digest = format!("sha256:{}", published.digest).parse().unwrap();
        let by = By::Identity(published.signer, published.issuer);
        Case::new(&name, attestations::bundle(&json_file(&name)), root, digest, by, 11)
    });
    listed.chain(published).collect()
}

/// Where a file of `testdata/` is.
pub(super) fn path(name: &str) -> String {
    format!("{TESTDATA}{name}")
}

fn json_file(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

impl Case {
    fn new(name: &str, bundle: Value, root: &str, digest: Digest, by: By, every: usize) -> Self {
        let (root, root_path) = (std::fs::read_to_string(path(root)).unwrap(), path(root));
        let bundle = with_zeros(bundle);
        Self { name: name.to_owned(), bundle, root, root_path, file: None, digest, by, every }
    }
}

impl Of {
    fn file(self) -> Option<String> {
        match self {
            Self::File(name) => Some(path(name)),
            Self::Digest(_) | Self::Whatever => None,
        }
    }

    fn digest(self, bundle: &Value) -> Digest {
        let decoded = |value: &Value| encoding::decode(value.as_str().unwrap()).unwrap();
        match self {
            Self::File(name) => Digest::sha256(&std::fs::read(path(name)).unwrap()),
            Self::Digest(digest) => digest.parse().unwrap(),
            Self::Whatever => match &bundle["messageSignature"]["messageDigest"]["digest"] {
                Value::Null => {
                    let statement: Value = serde_json::from_slice(&decoded(&bundle["dsseEnvelope"]["payload"])).unwrap();
                    let digest = &statement["subject"][0]["digest"];
                    let algorithm = if digest["sha256"].is_null() { "sha512" } else { "sha256" };
                    format!("{algorithm}:{}", digest[algorithm].as_str().unwrap()).parse().unwrap()
                }
                digest => Digest::new(vidimus::core::Algorithm::Sha256, decoded(digest)).unwrap(),
            },
        }
    }
}

/// The bundle with the indexes 0 that protobuf's writers leave out.
fn with_zeros(mut bundle: Value) -> Value {
    let entries = bundle.pointer_mut("/verificationMaterial/tlogEntries").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        entry.as_object_mut().unwrap().entry("logIndex").or_insert(json!("0"));
        if let Some(proof) = entry.get_mut("inclusionProof").and_then(Value::as_object_mut) {
            proof.entry("logIndex").or_insert(json!("0"));
            proof.entry("hashes").or_insert(json!([]));
        }
    }
    bundle
}
