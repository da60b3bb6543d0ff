//! `scripts/conformance-sigstore`: the protocol's arguments in, 0 or exactly 1 out.

use vidimus::core::Digest;
use vidimus_stack::stack::Running;

use crate::sandbox::{JDOE, Ran, Sandbox, stack};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/conformance-sigstore");

/// A sandbox with nothing in its environment that the protocol does not give.
fn sandbox(stack: &Running) -> Sandbox {
    let mut sandbox = Sandbox::on(stack);
    sandbox.unset("SIGSTORE_ID_TOKEN");
    sandbox.unset("COSIGN_TRUST_CONFIG");
    sandbox.set("VIDIMUS", env!("CARGO_BIN_EXE_vidimus"));
    sandbox.file("f", "content\n");
    sandbox
}

fn run(sandbox: &Sandbox, line: &str) -> Ran {
    sandbox.program(SCRIPT, line, b"")
}

fn sign(sandbox: &Sandbox, what: &str) -> Ran {
    let token = stack().token(JDOE).unwrap();
    let services = "--trusted-root trusted_root.json --signing-config signing_config.v0.2.json";
    run(sandbox, &format!("sign-bundle --identity-token {token} --bundle b.json {services} {what}"))
}

#[test]
fn bundles_are_signed_and_verified() {
    let sandbox = sandbox(stack());
    let (digest, other) = (Digest::sha256(b"content\n"), Digest::sha256(b"other"));
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{{}}}}"#,
        digest.hex()
    );
    sandbox.file("statement.json", statement);
    sandbox.file("g", "other");
    for what in ["f", "--in-toto statement.json"] {
        sign(&sandbox, what).exits(0);
        let issuer = stack().origin();
        let verify = |identity: &str, issuer: &str, file: &str| {
            let identity = format!("--certificate-identity {identity} --certificate-oidc-issuer {issuer}");
            run(&sandbox, &format!("verify-bundle --bundle b.json {identity} --trusted-root trusted_root.json {file}"))
        };
        verify(JDOE, issuer, "f").exits(0);
        verify(JDOE, issuer, &digest.to_string()).exits(0);
        verify(JDOE, issuer, &other.to_string()).exits(1);
        verify(JDOE, issuer, "g").exits(1);
        verify(JDOE, issuer, "nowhere").exits(1);
        // What it is must not depend on who can make a file of that name.
        sandbox.file(&other.to_string(), "content\n");
        verify(JDOE, issuer, &other.to_string()).exits(1).says("and the name of a file");
        verify(JDOE, issuer, &format!("./{other}")).exits(0);
        std::fs::remove_file(sandbox.path().join(other.to_string())).unwrap();
        verify("mallory@example.com", issuer, "f").exits(1).says(JDOE);
        verify(JDOE, "https://other.test", "f").exits(1);
    }
}

#[test]
fn every_failure_is_exit_1() {
    let sandbox = sandbox(stack());
    for line in [
        "",
        "unheard-of",
        "sign-bundle --identity-token x.y.z --bundle b.json --trusted-root trusted_root.json --signing-config signing_config.v0.2.json f",
        "verify-bundle",
        "verify-bundle --bundle nowhere --certificate-identity a --certificate-oidc-issuer b --trusted-root trusted_root.json f",
        "verify-bundle --bundle f --certificate-identity a --certificate-oidc-issuer b --trusted-root trusted_root.json f",
        "verify-bundle --bundle f --unheard-of --trusted-root trusted_root.json f",
    ] {
        run(&sandbox, line).exits(1);
    }
}

#[test]
fn managed_keys() {
    let sandbox = sandbox(stack());
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata");
    let verify = |key: &str, file: &str| {
        let bundle = format!("--bundle {data}/public/managed-key.sigstore.json --key {data}/{key}");
        run(&sandbox, &format!("verify-bundle {bundle} --trusted-root {data}/public/roots/production.json {data}/{file}"))
    };
    verify("public/managed-key.pub", "public/managed-key.txt").exits(0);
    verify("keys/p384.pub", "public/managed-key.txt").exits(1);
    verify("public/managed-key.pub", "public/cosign-blob.txt").exits(1);
}
