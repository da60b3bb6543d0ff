//! What goes wrong, in which class it ends, and what the message says: what was found, and what to change.

use vidimus::core::encoding;

use crate::sandbox::{JDOE, Misbehaving, Sandbox, image, nobody, stack, start};

/// A signed image.
fn signed(name: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let image = image(name).to_string();
    sandbox.run(&format!("sign -y {image}")).exits(0);
    (sandbox, image)
}

#[test]
fn the_wrong_identity() {
    let (sandbox, image) = signed("wrong-identity");
    let issuer = stack().origin();
    let ran = sandbox.run(&format!("verify --certificate-identity eve@example.com --certificate-oidc-issuer {issuer} {image}"));
    assert_eq!(
        ran.scrubbed(),
        "\
$ vidimus verify --certificate-identity eve@example.com --certificate-oidc-issuer http://HOST HOST/wrong-identity@DIGEST
--- stderr
Error: no matching signatures: signed by jdoe@example.com (issuer http://HOST); you asked for eve@example.com (issuer http://HOST)
hint: pass --certificate-identity jdoe@example.com if that is right
--- exit 12
"
    );
}

#[test]
fn the_wrong_issuer() {
    let (sandbox, image) = signed("wrong-issuer");
    let ran =
        sandbox.run(&format!("verify --certificate-identity {JDOE} --certificate-oidc-issuer https://issuer.example {image}"));
    let ran = ran.exits(12).prints_nothing().says("no matching signatures: signed by jdoe@example.com");
    ran.says("you asked for jdoe@example.com (issuer https://issuer.example)")
        .says("hint: pass --certificate-oidc-issuer http://127");
}

#[test]
fn the_wrong_workflow() {
    let (sandbox, image) = signed("wrong-workflow");
    let signer = sandbox.signer();
    let ran = sandbox.run(&format!("verify {signer} --certificate-github-workflow-repository acme/app {image}"));
    ran.exits(12).says("acme/app");
}

#[test]
fn an_unsigned_image() {
    let sandbox = Sandbox::new();
    let image = image("unsigned");
    let signer = sandbox.signer();
    sandbox
        .run(&format!("verify {signer} {image}"))
        .exits(10)
        .prints_nothing()
        .says("no signatures found")
        .says("nothing is attached");
    sandbox.run(&format!("verify-attestation {signer} {image}")).exits(10).says("no matching attestations");
    let ran = sandbox.run(&format!("tree {image}")).exits(0);
    assert!(ran.stdout.starts_with("No Supply Chain Security Related Artifacts found for image"), "{ran}");
    let ran = sandbox.run(&format!("validate image --image {image} {signer}")).exits(1).says("success criteria not met");
    assert!(ran.stdout.contains("Image signature check failed: no signatures found"), "{ran}");
}

#[test]
fn an_attestation_is_not_a_signature() {
    let sandbox = Sandbox::new();
    let image = image("only-attested");
    sandbox.file("p.json", "{}");
    sandbox.run(&format!("attest -y --predicate p.json {image}")).exits(0);
    let signer = sandbox.signer();
    let ran = sandbox.run(&format!("verify {signer} {image}")).exits(10);
    ran.says("no signatures found").says("verify-attestation");
    let ran = sandbox.run(&format!("validate image --image {image} {signer} --output json")).exits(1);
    assert_eq!(ran.json()["components"][0]["violations"][0]["metadata"]["code"], "builtin.image.signature_check", "{ran}");
}

#[test]
fn another_predicate_type() {
    let sandbox = Sandbox::new();
    let image = image("other-type");
    sandbox.file("p.json", "{}");
    sandbox.run(&format!("attest -y --type https://example.com/p --predicate p.json {image}")).exits(0);
    let signer = sandbox.signer();
    let ran = sandbox.run(&format!("verify-attestation --type spdxjson {signer} {image}")).exits(12);
    ran.says("none of the attestations matched the predicate type: https://spdx.dev/Document, found: https://example.com/p");
}

#[test]
fn no_such_tag() {
    let sandbox = Sandbox::new();
    image("tags");
    let signer = sandbox.signer();
    let missing = format!("{}/tags:2", stack().registry());
    for line in
        [format!("verify {signer} {missing}"), format!("verify-attestation {signer} {missing}"), format!("tree {missing}")]
    {
        sandbox.run(&line).exits(11).prints_nothing().says("image tag not found").says(&missing);
    }
    sandbox.run(&format!("sign -y {missing}")).exits(1).says("image tag not found");
    let ran = sandbox.run(&format!("validate image --image {missing} {signer}")).exits(1);
    assert!(ran.stdout.contains("builtin.image.accessible") && ran.stdout.contains("Image URL is not accessible"), "{ran}");
}

#[test]
fn an_expired_token() {
    let mut sandbox = Sandbox::new();
    let image = image("expired-token");
    let payload = format!(
        r#"{{"iss":"{}","sub":"x","aud":"sigstore","email":"{JDOE}","email_verified":true,"exp":1000000000}}"#,
        stack().origin()
    );
    let part = |text: &str| encoding::encode(text).replace('+', "-").replace('/', "_").replace('=', "");
    sandbox.set("SIGSTORE_ID_TOKEN", format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(&payload), part("x")));
    let ran = sandbox.run(&format!("sign -y {image}")).exits(1).says("expired").says("hint: get a new identity token");
    ran.does_not_say("Pushed");
}

#[test]
fn a_token_that_the_authority_refuses() {
    let mut sandbox = Sandbox::new();
    let image = image("refused-token");
    let other = start(Default::default());
    sandbox.set("SIGSTORE_ID_TOKEN", other.token(JDOE).unwrap());
    sandbox.run(&format!("sign -y {image}")).exits(1).says("no certificate").does_not_say("Pushed");
}

#[test]
fn no_token_and_nobody_to_ask() {
    let mut sandbox = Sandbox::new();
    sandbox.unset("SIGSTORE_ID_TOKEN");
    let image = image("no-token");
    // With a prompt or a device flow this would hang or ask; it must end by itself.
    sandbox.run(&format!("sign {image}")).exits(2).says("no identity token").says("SIGSTORE_ID_TOKEN");
}

#[test]
fn a_registry_that_refuses_throttles_or_fails_is_not_an_unsigned_image() {
    let (sandbox, image) = signed("statuses");
    let signer = sandbox.signer();
    let reference = image.parse().unwrap();
    for status in [401, 403, 429, 500, 501] {
        for part in ["/manifests/sha256:", "/referrers/", "/blobs/"] {
            let registry = Misbehaving::new(move |path| path.contains(part).then_some(status));
            let ran = sandbox.run(&format!("verify {signer} {}", registry.name(&reference))).exits(3).prints_nothing();
            ran.does_not_say("no signatures found").says(&status.to_string());
        }
    }
    let registry = Misbehaving::new(|path| path.contains("/referrers/").then_some(429));
    let name = registry.name(&reference);
    sandbox.run(&format!("tree {name}")).exits(3).says("429");
    sandbox.run(&format!("verify-attestation {signer} {name}")).exits(3).says("429").says("hint: the registry limits requests");
    let ran = sandbox.run(&format!("validate image --output json {signer} --image {name}")).exits(3).says("429");
    assert!(ran.json()["components"][0]["undetermined"].as_str().is_some_and(|why| why.contains("429")), "{ran}");
}

#[test]
fn an_unsigned_image_is_only_called_so_when_every_place_was_seen() {
    let sandbox = Sandbox::new();
    let image = image("half-seen");
    let signer = sandbox.signer();
    for place in ["/referrers/", ".sig"] {
        let registry = Misbehaving::new(move |path| path.contains(place).then_some(503));
        let ran = sandbox.run(&format!("verify {signer} {}", registry.name(&image))).exits(3);
        ran.says("could not look everywhere").does_not_say("no signatures found");
    }
}

#[test]
fn a_signature_that_could_be_read_is_enough() {
    let (sandbox, image) = signed("partly-readable");
    let registry = Misbehaving::new(|path| path.ends_with(".att").then_some(500));
    let name = registry.name(&image.parse().unwrap());
    let signer = sandbox.signer();
    sandbox.run(&format!("verify {signer} {name}")).exits(0).says("WARNING: not everything that is attached could be read");
}

#[test]
fn an_unreachable_registry() {
    let sandbox = Sandbox::new();
    let (signer, nobody) = (sandbox.signer(), nobody());
    for line in [format!("verify {signer} {nobody}/app:1"), format!("tree {nobody}/app:1"), format!("sign -y {nobody}/app:1")] {
        sandbox.run(&line).exits(3).prints_nothing().says(&nobody.to_string()).says("hint:");
    }
}

#[test]
fn an_unreachable_tuf_repository() {
    let mut sandbox = Sandbox::new();
    let image = image("no-tuf");
    sandbox.unset("COSIGN_TRUST_CONFIG");
    sandbox.set("TUF_MIRROR", format!("http://{}", nobody()));
    let root = sandbox.path().join("root.json").display().to_string();
    sandbox.set("TUF_ROOT_JSON", root);
    let signer = sandbox.signer();
    sandbox.run(&format!("verify {signer} {image}")).exits(3).says("TUF mirror").says("--trusted-root");
    sandbox.run(&format!("sign -y {image}")).exits(3).says("TUF mirror").does_not_say("Pushed");
}

#[test]
fn a_failed_initialize_leaves_the_trust_that_was() {
    let sandbox = Sandbox::new();
    let mirror = format!("{}/tuf", stack().origin());
    sandbox.run(&format!("initialize --mirror {mirror} --root root.json")).exits(0);
    let root = sandbox.path().join(".sigstore/root");
    let listing = || {
        let mut names: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        (names, std::fs::read_to_string(root.join("remote.json")).unwrap())
    };
    let before = listing();
    sandbox.run(&format!("initialize --mirror http://{} --root root.json", nobody())).exits(3);
    let wrong = "0".repeat(64);
    sandbox.run(&format!("initialize --mirror {mirror} --root root.json --root-checksum {wrong}")).exits(1).says(&wrong);
    assert_eq!(listing(), before);
}

#[test]
fn an_unreachable_certificate_authority() {
    let sandbox = Sandbox::new();
    let image = image("no-fulcio");
    let ran = sandbox.run(&format!("sign -y --fulcio-url http://{} {image}", nobody())).exits(3).says("no certificate");
    ran.says("nothing was pushed").does_not_say("Pushed");
    assert_eq!(sandbox.run(&format!("tree -o json {image}")).json()["artifacts"].as_array().unwrap().len(), 0);
}

#[test]
fn what_we_would_not_verify_is_not_pushed() {
    let mut sandbox = Sandbox::new();
    let image = image("foreign-root");
    let other = start(Default::default());
    let elsewhere = Sandbox::on(&other);
    // Services of one instance, trust root of another.
    sandbox.unset("COSIGN_TRUST_CONFIG");
    let root = elsewhere.path().join("trusted_root.json").display().to_string();
    let config = sandbox.path().join("signing_config.v0.2.json").display().to_string();
    let ran = sandbox.run(&format!("sign -y --trusted-root {root} --signing-config {config} {image}")).exits(1);
    ran.says("what was signed does not verify").says("hint:").does_not_say("Pushed");
    assert_eq!(sandbox.run(&format!("tree -o json {image}")).json()["artifacts"].as_array().unwrap().len(), 0);
}

#[test]
fn a_signature_of_another_instance() {
    let (mut sandbox, image) = signed("other-instance");
    let other = start(Default::default());
    let elsewhere = Sandbox::on(&other);
    let root = elsewhere.path().join("trusted_root.json").display().to_string();
    sandbox.unset("COSIGN_TRUST_CONFIG");
    let signer = sandbox.signer();
    sandbox.run(&format!("verify --trusted-root {root} {signer} {image}")).exits(12).says("trusted root").says("hint:");
}

#[test]
fn no_network_means_no_network() {
    let (sandbox, image) = signed("no-network");
    let signer = sandbox.signer();
    for line in [
        format!("verify {signer} {image}"),
        format!("tree {image}"),
        format!("sign -y {image}"),
        "initialize --mirror http://127.0.0.1:9 --root http://127.0.0.1:9/r".into(),
    ] {
        sandbox.run(&format!("--network=none {line}")).exits(3).prints_nothing();
    }
}

#[test]
fn waivers_show_everywhere() {
    let (sandbox, image) = signed("waivers");
    let signer = sandbox.signer();
    let ran = sandbox.run(&format!("verify --insecure-ignore-tlog {signer} {image}")).exits(0);
    ran.says("WARNING: Skipping tlog verification is an insecure practice").says("NOT checked, as asked");
    let ran =
        sandbox.run(&format!("validate image --ignore-rekor --skip-image-sig-check --output json {signer} --image {image}"));
    let warnings = ran.json()["components"][0]["warnings"].to_string();
    assert!(warnings.contains("--skip-image-sig-check"), "{ran}");
}

#[test]
fn a_registry_that_never_answers() {
    let sandbox = Sandbox::new();
    // Connections are accepted by the kernel and stay open; nobody reads them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    sandbox.run(&format!("tree --timeout 300ms {address}/app:1")).exits(3).says("timed out after 300ms").says("--timeout");
}

#[test]
fn somebody_elses_signature_is_not_this_images() {
    use vidimus::{core::oci::BundleContent, net::oci::BundleAttachment};
    let (sandbox, image) = signed("borrowed/from");
    let other = crate::sandbox::image("borrowed/to");
    sandbox.run(&format!("sign -y --upload=false --bundle b.json {image}")).exits(0);
    let attachment = BundleAttachment {
        bundle: sandbox.read("b.json").into_bytes().into(),
        content: BundleContent::DsseEnvelope,
        predicate_type: None,
        created: "2026-01-01T00:00:00Z",
    };
    crate::sandbox::block_on(async {
        let registry = crate::sandbox::registry();
        let subject = registry.resolve(&other).await.unwrap();
        registry.attach_bundle(other.repository(), &subject, &attachment).await.unwrap();
    });
    let signer = sandbox.signer();
    let digest = image.rsplit('@').next().unwrap().to_owned();
    sandbox.run(&format!("verify {signer} {other}")).exits(12).says("the statement is about").says(&digest);
}
