//! Attestations that people published on PyPI, from five identity providers.

use serde_json::{Value, json};

const PUBLISH: &str = "https://docs.pypi.org/attestations/publish/v1";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// An attestation, and what it says.
pub(crate) struct Published {
    /// Under `testdata/public/`.
    pub(crate) file: &'static str,
    /// SHA-256 of the package, in hex.
    pub(crate) digest: &'static str,
    pub(crate) predicate_type: &'static str,
    pub(crate) signer: &'static str,
    pub(crate) issuer: &'static str,
    /// Something that the certificate says.
    pub(crate) claim: &'static str,
}

/// All of them.
pub(crate) const ALL: &[Published] = &[
    Published {
        file: "pep740/circleci.publish.attestation",
        digest: "8cb34da1e27336f11a2c43f3f9c7433bd76f24f470c904724f06ad7f131d9e9f",
        predicate_type: PUBLISH,
        signer: "https://circleci.com/api/v2/projects/fdd9283f-e619-46af-8f9c-851f7d3e8b2b/pipeline-definitions/8e4f8ab2-8d7c-4827-9f15-de076d6d647f",
        issuer: "https://oidc.circleci.com",
        claim: "IssuerV2=https://oidc.circleci.com",
    },
    Published {
        file: "pep740/google-cloud-build.provenance",
        digest: "461317362419124b6012e855423a9078d6de8aed3e74fa78cc74d669b23dc6cf",
        predicate_type: PUBLISH,
        signer: "919436158236-compute@developer.gserviceaccount.com",
        issuer: "https://accounts.google.com",
        claim: "Issuer=https://accounts.google.com",
    },
    Published {
        file: "pep740/gitlab.publish.attestation",
        digest: "c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8",
        predicate_type: PUBLISH,
        signer: "https://gitlab.com/facutuesca/gitlab-oidc-project//.gitlab-ci.yml@refs/heads/main",
        issuer: "https://gitlab.com",
        claim: "SourceRepositoryURI=https://gitlab.com/facutuesca/gitlab-oidc-project",
    },
    Published {
        file: "pep740/github.publish.attestation",
        digest: "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
        predicate_type: PUBLISH,
        signer: "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19",
        issuer: GITHUB,
        claim: "SourceRepositoryRef~^refs/tags/v[0-9.]+$",
    },
    Published {
        file: "pep740/github.slsa.attestation",
        digest: "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
        predicate_type: "slsaprovenance1",
        signer: "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19",
        issuer: GITHUB,
        claim: "build-trigger=release",
    },
    Published {
        file: "pypi-publish.sigstore.json",
        digest: "c9709ce6fd5b67b59b4a28758cf14d3f411803c4b89b6068b1f1a8e4ee94c8ef",
        predicate_type: PUBLISH,
        signer: "https://github.com/trailofbits/pypi-attestation-models/.github/workflows/release.yml@refs/tags/v0.0.4a2",
        issuer: GITHUB,
        claim: "GithubWorkflowRepository=trailofbits/pypi-attestation-models",
    },
    Published {
        file: "pep740/person.publish.attestation",
        digest: "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201",
        predicate_type: PUBLISH,
        signer: "william@yossarian.net",
        issuer: "https://github.com/login/oauth",
        claim: "IssuerV2=https://github.com/login/oauth",
    },
];

/// The bundle with an attestation's parts: PyPI keeps them in a form of its own (PEP 740), which has the same parts.
pub(crate) fn bundle(file: &Value) -> Value {
    let first = &file["attestation_bundles"][0]["attestations"][0];
    let attestation = if first.is_null() { file } else { first };
    if attestation["envelope"].is_null() {
        return file.clone();
    }
    let (material, envelope) = (&attestation["verification_material"], &attestation["envelope"]);
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": material["certificate"]},
            "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": envelope["statement"],
            "signatures": [{"sig": envelope["signature"]}],
        },
    })
}
