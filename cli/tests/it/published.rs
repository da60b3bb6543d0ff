//! Attestations that people published on PyPI, from five identity providers, verified offline with nothing but what is built in.

use self::attestations::Published;
use crate::sandbox::Sandbox;

#[path = "../shared/attestations.rs"]
mod attestations;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/public");

#[test]
fn attestations_of_many_providers() {
    for published in attestations::ALL {
        let Published { file, digest, predicate_type, signer, issuer, claim } = published;
        let mut sandbox = Sandbox::bare();
        // Its author tried it on the staging instance.
        if file.contains("person") {
            sandbox.set("TUF_MIRROR", "https://tuf-repo-cdn.sigstage.dev");
        }
        let json = serde_json::from_slice(&std::fs::read(format!("{FOLDER}/{file}")).unwrap()).unwrap();
        sandbox.file("b.json", attestations::bundle(&json).to_string());
        let line = |signer: &str, claim: &str, digest: &str| {
            let whom = format!("--certificate-identity {signer} --certificate-oidc-issuer {issuer} --claim {claim}");
            let what = format!("--type {predicate_type} --bundle b.json --digest {digest}");
            sandbox.run(&format!("verify-blob-attestation --network=none {whom} {what}"))
        };
        line(signer, claim, digest).exits(0).says("Verified OK");
        line("eve@example.com", claim, digest).exits(1).says(&format!("signed by {signer}"));
        line(signer, "TokenSubject=nobody", digest).exits(1);
        line(signer, claim, &"0".repeat(64)).exits(1).says("the statement is about");
    }
}
