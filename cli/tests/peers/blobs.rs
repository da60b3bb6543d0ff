//! Files: everybody signs, everybody verifies.

use crate::{
    peer,
    sandbox::{Ran, SIGNER, Sandbox},
};

/// A program that signs files, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    Vidimus,
    VidimusRekor1,
    Cosign,
    Cosign2,
    Python,
    PythonRekor1,
    Js,
    Go,
}

/// A program that verifies bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verifier {
    Vidimus,
    Cosign,
    Cosign2,
    Python,
    Js,
    Go,
}

use Signer as S;
use Verifier as V;

const SIGNERS: [Signer; 8] = [S::Vidimus, S::VidimusRekor1, S::Cosign, S::Cosign2, S::Python, S::PythonRekor1, S::Js, S::Go];
const VERIFIERS: [Verifier; 6] = [V::Vidimus, V::Cosign, V::Cosign2, V::Python, V::Js, V::Go];

/// Why a pair is not expected to work: a defect of the peer, not of the bundle.
fn divergence(signer: Signer, verifier: Verifier) -> Option<&'static str> {
    match (signer, verifier) {
        (S::Vidimus | S::Cosign | S::Python | S::Js | S::Go, V::Cosign2) => Some("cosign 2.5 cannot read Rekor v2 entries"),
        _ => None,
    }
}

#[test]
fn what_one_signs_the_others_verify() {
    let programs = ["cosign", "cosign2", "sigstore-python", "sigstore-js", "sigstore-go-signing", "sigstore-go-verification"];
    if programs.map(peer::find).iter().any(Option::is_none) {
        return;
    }
    let sandbox = Sandbox::start();
    initialize(&sandbox);
    let file = sandbox.write("a.txt", b"an artifact\n");
    let other = sandbox.write("b.txt", b"another artifact\n");
    let mut surprises = Vec::new();
    for signer in SIGNERS {
        let bundle = sandbox.arg(&format!("{signer:?}.json"));
        sign(&sandbox, signer, &file, &bundle).ok();
        for verifier in VERIFIERS {
            let works = verify(&sandbox, verifier, &file, &bundle, SIGNER);
            match divergence(signer, verifier) {
                None if works.is_ok() => {
                    let wrong_file = verify(&sandbox, verifier, &other, &bundle, SIGNER);
                    let wrong_signer = verify(&sandbox, verifier, &file, &bundle, "eve@example.com");
                    if wrong_file.is_ok() || wrong_signer.is_ok() {
                        surprises.push(format!("{verifier:?} accepts anything of {signer:?}"));
                    }
                }
                None => surprises.push(format!("{verifier:?} refuses {signer:?}: {works}")),
                Some(why) if works.is_ok() => surprises.push(format!("{verifier:?} accepts {signer:?} although: {why}")),
                Some(_) => {}
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n\n"));
}

/// Each client's own way of being told whom to trust.
fn initialize(sandbox: &Sandbox) {
    sandbox.vidimus(&["initialize"]).ok();
    let (mirror, root) = (format!("{}/tuf", sandbox.origin), sandbox.public("root.json"));
    for cosign in ["cosign2", "cosign"] {
        // Version 3 last: it clears the folder that both use.
        sandbox.peer(&find(cosign), &["initialize", "--mirror", &mirror, "--root", &root]).ok();
    }
    sandbox.peer(&find("sigstore-python"), &["--instance", &mirror, "trust-instance", &root]).ok();
}

fn sign(sandbox: &Sandbox, signer: Signer, file: &str, bundle: &str) -> Ran {
    let Sandbox { origin, token, .. } = sandbox;
    let mirror = format!("{origin}/tuf");
    let tsa = format!("{origin}/api/v1/timestamp");
    let (trusted, config) = (sandbox.public("trusted_root.json"), sandbox.public("signing_config.v0.2.json"));
    match signer {
        S::Vidimus => sandbox.vidimus(&["sign-blob", "-y", "--bundle", bundle, file]),
        S::VidimusRekor1 => {
            let config = sandbox.public("signing_config_rekor_v1.v0.2.json");
            sandbox.vidimus(&["sign-blob", "-y", "--signing-config", &config, "--bundle", bundle, file])
        }
        S::Cosign => sandbox.peer(&find("cosign"), &["sign-blob", "--yes", "--identity-token", token, "--bundle", bundle, file]),
        S::Cosign2 => {
            let services = ["--fulcio-url", origin, "--rekor-url", origin, "--timestamp-server-url", &tsa];
            let what = ["--new-bundle-format", "--yes", "--identity-token", token, "--bundle", bundle, file];
            sandbox.peer(&find("cosign2"), &[&["sign-blob"], &services[..], &what[..]].concat())
        }
        S::Python | S::PythonRekor1 => {
            let version = if signer == S::Python { "2" } else { "1" };
            let what = ["sign", "--identity-token", token, "--rekor-version", version, "--bundle", bundle, file];
            sandbox.peer(&find("sigstore-python"), &[&["--instance", &mirror], &what[..]].concat())
        }
        S::Js => {
            let args = ["sign", "--token", token, "--signing-config", &config, "--bundle", bundle, file];
            sandbox.peer(&find("sigstore-js"), &args)
        }
        S::Go => {
            let args = ["-id-token", token, "-tsa", "-rekor", "-signing-config", &config, "-trusted-root", &trusted, file];
            let ran = sandbox.peer(&find("sigstore-go-signing"), &args);
            // It prints its key first.
            let json = ran.stdout().lines().find(|line| line.starts_with('{')).unwrap_or_default().to_owned();
            std::fs::write(bundle, json).expect("writing into the sandbox");
            ran
        }
    }
}

fn verify(sandbox: &Sandbox, verifier: Verifier, file: &str, bundle: &str, identity: &str) -> Ran {
    let origin = &*sandbox.origin;
    let mirror = format!("{origin}/tuf");
    let trusted = sandbox.public("trusted_root.json");
    let whom = ["--certificate-identity", identity, "--certificate-oidc-issuer", origin, "--bundle", bundle];
    match verifier {
        V::Vidimus => sandbox.vidimus(&[&["verify-blob"], &whom[..], &[file]].concat()),
        V::Cosign => sandbox.peer(&find("cosign"), &[&["verify-blob"], &whom[..], &[file]].concat()),
        V::Cosign2 => {
            // It ignores the mirror it was initialised with for bundles.
            let how = ["verify-blob", "--new-bundle-format", "--trusted-root", &trusted, "--use-signed-timestamps"];
            sandbox.peer(&find("cosign2"), &[&how[..], &whom[..], &[file]].concat())
        }
        V::Python => {
            let whom = ["--cert-identity", identity, "--cert-oidc-issuer", origin, "--bundle", bundle, file];
            sandbox.peer(&find("sigstore-python"), &[&["--instance", &mirror, "verify", "identity"], &whom[..]].concat())
        }
        V::Js => {
            let whom = ["--bundle", bundle, "--email", identity, "--issuer", origin, file];
            sandbox.peer(&find("sigstore-js"), &[&["verify", "--trusted-root", &trusted], &whom[..]].concat())
        }
        V::Go => {
            let whom = ["-expectedSAN", identity, "-expectedIssuer", origin, "-trustedrootJSONpath", &trusted, bundle];
            sandbox.peer(&find("sigstore-go-verification"), &[&["-artifact", file], &whom[..]].concat())
        }
    }
}

fn find(name: &str) -> std::path::PathBuf {
    peer::find(name).expect("the test checked that it is there")
}
