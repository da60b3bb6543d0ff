//! cosign's contracts about flags: variables, aliases, deprecation.

use crate::sandbox::Sandbox;

#[test]
fn every_flag_is_a_variable_too() {
    let mut sandbox = Sandbox::bare();
    sandbox.set("COSIGN_CERTIFICATE_IDENTITY", "a");
    sandbox.run("verify --network none h.example/a").exits(2).says("--certificate-oidc-issuer");
    sandbox.set("COSIGN_CERTIFICATE_OIDC_ISSUER", "b");
    sandbox.set("COSIGN_NETWORK", "none");
    sandbox.run("verify --insecure-ignore-sct h.example/a").exits(3);
    sandbox.set("COSIGN_INSECURE_IGNORE_SCT", "maybe");
    sandbox.run("verify h.example/a").exits(2).says("neither true nor false");
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let mut sandbox = Sandbox::bare();
    sandbox.set("COSIGN_KEY", "");
    sandbox.set("COSIGN_INSECURE_IGNORE_TLOG", "");
    sandbox.run("verify h.example/a").exits(2).says("--certificate-identity");
}

#[test]
fn what_was_typed_beats_the_environment() {
    let mut sandbox = Sandbox::bare();
    sandbox.set("COSIGN_TIMEOUT", "nonsense");
    sandbox.run("tree --timeout 5s --network none h.example/a").exits(3);
}

#[test]
fn a_flag_that_is_not_built_is_an_error_from_wherever_it_comes() {
    let mut sandbox = Sandbox::bare();
    sandbox.run("sign --key k h.example/a").exits(2).says("--key is not built yet");
    sandbox.run("sign --new-bundle-format=false h.example/a").exits(2).says("--new-bundle-format=false is not built yet");
    sandbox.set("COSIGN_KEY", "k");
    sandbox.run("sign h.example/a").exits(2).says("COSIGN_KEY is not built yet");
}

#[test]
fn deprecated_flags_warn_once() {
    let ran =
        Sandbox::bare().run("verify --offline --network none --certificate-identity a --certificate-oidc-issuer b h.example/a");
    assert_eq!(ran.stderr.matches("Flag --offline has been deprecated").count(), 1, "{ran}");
    ran.exits(3);
}

#[test]
fn quiet_hides_everything_but_the_error() {
    let ran = Sandbox::bare()
        .run("verify -q --offline --network none --certificate-identity a --certificate-oidc-issuer b h.example/a");
    assert!(ran.stderr.starts_with("Error:"), "{ran}");
}
