//! `version`, `env`, `completion`, help, and how wrong calls end.

use crate::sandbox::Sandbox;

#[test]
fn version() {
    let sandbox = Sandbox::bare();
    let ran = sandbox.run("version").exits(0);
    assert!(ran.stdout.starts_with(&format!("vidimus {} (", env!("CARGO_PKG_VERSION"))), "{ran}");
    assert_eq!(sandbox.run("version --json").exits(0).json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn secrets_are_masked() {
    let mut sandbox = Sandbox::bare();
    sandbox.set("SIGSTORE_ID_TOKEN", "secret-token");
    sandbox.set("COSIGN_UNHEARD_OF", "secret-other");
    let ran = sandbox.run("env").exits(0);
    assert!(ran.stdout.contains("SIGSTORE_ID_TOKEN=\"******\"") && !ran.stdout.contains("secret"), "{ran}");
    let ran = sandbox.run("env --show-sensitive-values --show-descriptions=false").exits(0);
    assert!(ran.stdout.contains("secret-token") && ran.stdout.contains("secret-other") && !ran.stdout.contains('#'), "{ran}");
}

#[test]
fn completions_know_commands_and_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Sandbox::bare().run(&format!("completion {shell}")).exits(0);
        for word in ["verify-attestation", "certificate-identity-regexp", "insecure-ignore-tlog"] {
            assert!(ran.stdout.contains(word), "{word} is missing for {shell}");
        }
    }
}

#[test]
fn help_teaches_with_examples() {
    let sandbox = Sandbox::bare();
    for command in
        ["sign", "attest", "verify", "verify-attestation", "verify-blob", "tree", "validate image", "initialize", "stack up"]
    {
        let ran = sandbox.run(&format!("{command} --help")).exits(0);
        assert!(ran.stdout.contains("Example") || ran.stdout.contains("vidimus tree"), "{ran}");
        assert_eq!(ran.stderr, "", "{ran}");
    }
}

#[test]
fn wrong_usage_is_2() {
    let sandbox = Sandbox::bare();
    for line in [
        "",
        "no-such-command",
        "bundle no-such-verb",
        "verify",
        "verify --no-such-flag x",
        "verify h/a",
        "verify --certificate-identity a h/a",
        "verify --certificate-identity-regexp ( --certificate-oidc-issuer b h/a",
        "verify --key no-such-file h/a",
        "verify --certificate-identity a --certificate-oidc-issuer b https://h/a",
        "attest h/a",
        "attest --predicate no-such-file h/a",
        "tree --output xml h/a",
        "tree -t soon h/a",
        "sign --key cosign.key h/a",
        "sign-blob no-such-file",
        "verify-blob no-such-file",
        "validate image",
        "validate image --image h/a --policy p.yaml --certificate-identity a --certificate-oidc-issuer b",
        "validate image --image h/a --output junit --certificate-identity a --certificate-oidc-issuer b",
        "initialize --mirror ftp://h",
        "stack env --dir no-such-dir",
        "login h",
    ] {
        let ran = sandbox.run(line).exits(2).prints_nothing();
        assert!(!ran.stderr.is_empty(), "{ran}");
    }
}

#[test]
fn stdout_goes_to_a_file_when_asked() {
    let sandbox = Sandbox::bare();
    sandbox.run("version --output-file out.txt").exits(0).prints_nothing();
    assert!(sandbox.read("out.txt").starts_with("vidimus "));
}
