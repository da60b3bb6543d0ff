//! `inspect`, and the makers of bundles, trusted roots and signing configurations.

use serde_json::Value;
use vidimus::core::{encoding, trust::TrustedRoot};

use crate::sandbox::{JDOE, Misbehaving, Sandbox, image, nobody, stack};

/// A file with a bundle of Rekor v1, whose entries can be fetched by their content.
fn signed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    let config = "--signing-config signing_config_rekor_v1.v0.2.json";
    sandbox.run(&format!("sign-blob -y {config} --bundle f.json f")).exits(0);
    sandbox
}

#[test]
fn a_bundle_is_shown_and_nobody_is_asked() {
    let mut sandbox = signed();
    sandbox.unset("COSIGN_TRUST_CONFIG");
    let shown = sandbox.run("inspect --network=none f.json").exits(0);
    for words in ["Sigstore bundle (not verified): f.json\n", &format!("- email: {JDOE}"), "genTime: ", "kind: hashedrekord"] {
        assert!(shown.stdout.contains(words), "{words:?} is missing\n{shown}");
    }
    let bundle = sandbox.read("f.json");
    assert_eq!(sandbox.run_with("inspect -", bundle.as_bytes()).exits(0).stdout, shown.stdout.replace(": f.json", ": -"));
    assert_eq!(sandbox.run("bundle inspect f.json").exits(0).stdout, shown.stdout);
    let json = sandbox.run("inspect -o json f.json").exits(0).json();
    assert_eq!((json["status"].as_str(), json["documents"][0]["document"].as_str()), (Some("not verified"), Some("bundle")));
}

#[test]
fn a_changed_bundle_is_shown_all_the_same() {
    let sandbox = signed();
    let changed = sandbox.read("f.json").replace(r#""signature":"M"#, r#""signature":"A"#);
    sandbox.file("changed.json", &changed);
    sandbox.run(&format!("verify-blob --bundle changed.json {} f", sandbox.signer())).exits(1);
    let shown = sandbox.run("inspect changed.json").exits(0);
    assert!(shown.stdout.starts_with("Sigstore bundle (not verified)"), "{shown}");
}

#[test]
fn what_the_stack_hands_out_is_shown() {
    let sandbox = Sandbox::new();
    for (file, title) in [
        ("trusted_root.json", "Trusted root"),
        ("trust_config.json", "Client trust configuration"),
        ("signing_config.v0.2.json", "Signing configuration"),
        ("root.json", "TUF metadata"),
        ("fulcio_v1.crt.pem", "Certificate"),
        ("rekor.pub", "Public key"),
    ] {
        let shown = sandbox.run(&format!("inspect {file}")).exits(0);
        assert!(shown.stdout.starts_with(&format!("{title} (not verified): {file}\n")), "{shown}");
        assert!(!shown.stdout.contains("unreadable"), "{shown}");
    }
}

#[test]
fn what_cannot_be_shown_says_why() {
    let sandbox = signed();
    sandbox.file("text.txt", "hello");
    sandbox.run("inspect text.txt").exits(1).prints_nothing().says("of no kind that we know");
    sandbox.run("inspect --kind certificate f.json").exits(1).prints_nothing().says("it is a bundle, not a certificate");
    sandbox.run("bundle inspect trusted_root.json").exits(1).says("it is a trusted-root, not a bundle");
    sandbox.run("inspect --kind nonsense f.json").exits(2).says("is not one of bundle, certificate");
    // A mistyped file name is not a question to Docker Hub.
    sandbox.run("inspect no-such.json").exits(2).says("no-such.json");
    sandbox.run(&format!("inspect {}/app:1", nobody())).exits(3);
}

#[test]
fn nothing_in_a_document_acts_on_the_terminal() {
    let sandbox = Sandbox::bare();
    let statement = "{\"_type\":\"\\u001b[31m\",\"predicateType\":\"\\u009b2J\u{202e}\",\"predicate\":{\"a\":\"\u{85}\"}}";
    let shown = sandbox.run_with("inspect -", statement.as_bytes()).exits(0);
    assert!(!shown.stdout.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{shown}");
    assert!(shown.stdout.contains(r"_type: \u{1b}[31m"), "{shown}");
}

#[test]
fn an_image_with_what_hangs_off_it() {
    let sandbox = Sandbox::new();
    let image = image("inspected");
    sandbox.file("predicate.json", r#"{"big": 12345678901234567890}"#);
    sandbox.run(&format!("sign -y {image}")).exits(0);
    sandbox.run(&format!("attest -y --type https://example.com/p --predicate predicate.json {image}")).exits(0);
    let shown = sandbox.run(&format!("inspect {image}")).exits(0);
    assert_eq!(shown.stdout.matches("Sigstore bundle (not verified)").count(), 2, "{shown}");
    assert!(shown.stdout.starts_with("OCI manifest (not verified): "), "{shown}");
    assert!(shown.stdout.contains(r#""big": 12345678901234567890"#), "{shown}");
    let json = sandbox.run(&format!("inspect -o json {image}")).exits(0).json();
    assert_eq!(json["documents"].as_array().unwrap().len(), 3);
    assert_eq!(json["problems"], Value::Array(Vec::new()));
    sandbox.run(&format!("inspect {}/none:1", stack().registry())).exits(1).says("404");
}

#[test]
fn a_registry_that_hides_something_is_not_believed() {
    let sandbox = Sandbox::new();
    let image = image("half-inspected");
    sandbox.run(&format!("sign -y {image}")).exits(0);
    for status in [401, 429, 500] {
        let registry = Misbehaving::new(move |path| path.contains("/referrers/").then_some(status));
        let shown = sandbox.run(&format!("inspect -o json {}", registry.name(&image))).exits(3).says("could not be read");
        assert_eq!(shown.json()["documents"][0]["document"], "oci-manifest", "{shown}");
        assert_ne!(shown.json()["problems"], Value::Array(Vec::new()), "{shown}");
    }
}

#[test]
fn a_bundle_out_of_its_parts_verifies() {
    let sandbox = signed();
    let bundle = sandbox.json("f.json");
    let certificate = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str().unwrap();
    sandbox.file("cert.pem", encoding::pem("CERTIFICATE", &encoding::decode(certificate).unwrap()));
    sandbox.file("sig", bundle["messageSignature"]["signature"].as_str().unwrap());
    let parts = "--artifact f --signature sig --certificate cert.pem";
    let log = format!("--rekor-url {}", stack().origin());
    sandbox.run(&format!("bundle create {parts} {log} --out made.json")).exits(0).prints_nothing();
    sandbox.run(&format!("verify-blob --bundle made.json {} f", sandbox.signer())).exits(0);
    let made = sandbox.json("made.json");
    assert_eq!(made["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!(made["messageSignature"], bundle["messageSignature"]);
    assert_eq!(
        sandbox.run(&format!("bundle create {parts} --ignore-tlog")).exits(0).json()["messageSignature"],
        bundle["messageSignature"]
    );
    sandbox.file("g", "other");
    sandbox.run(&format!("bundle create --artifact g --signature sig --certificate cert.pem {log}")).exits(1).says("no entry");
    sandbox.run(&format!("bundle create {parts} --rekor-url http://{}", nobody())).exits(3).prints_nothing();
    sandbox.run("bundle create --artifact f --signature sig --ignore-tlog").exits(2).says("no signer");
}

#[test]
fn an_old_bundle_upgraded_verifies() {
    let sandbox = signed();
    let mut old = sandbox.json("f.json");
    old["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    let material = &mut old["verificationMaterial"];
    material["x509CertificateChain"] = serde_json::json!({ "certificates": [material["certificate"].take()] });
    material.as_object_mut().unwrap().remove("certificate");
    material["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    sandbox.file("old.json", old.to_string());
    let log = format!("--rekor-url {}", stack().origin());
    let upgraded = sandbox.run(&format!("bundle upgrade old.json {log} --out new.json")).exits(0).prints_nothing();
    upgraded.says("version 0.1 to 0.3").says("inclusion proof fetched").does_not_say("deprecated");
    sandbox.run(&format!("verify-blob --bundle new.json {} f", sandbox.signer())).exits(0);
    let again = sandbox.run(&format!("bundle upgrade new.json --rekor-url http://{}", nobody())).exits(0).says("0.3 already");
    assert_eq!(again.json(), sandbox.json("new.json"));
    sandbox.run(&format!("bundle upgrade old.json --rekor-url http://{}", nobody())).exits(3).prints_nothing();
    sandbox.run("bundle upgrade trusted_root.json").exits(1);
}

#[test]
fn a_trusted_root_out_of_its_parts_is_trusted() {
    let sandbox = signed();
    let root = TrustedRoot::from_json(sandbox.read("trusted_root.json").as_bytes()).unwrap();
    let read = |name: &str| sandbox.read(name);
    sandbox.file("fulcio.pem", read("fulcio_intermediate_v1.crt.pem") + &read("fulcio_v1.crt.pem"));
    sandbox.file("tsa.pem", read("tsa_leaf.crt.pem") + &read("tsa_intermediate_0.crt.pem") + &read("tsa_root.crt.pem"));
    let start = root.tlogs[0].public_key.valid_for.unwrap().start.unwrap();
    let log = |flag: &str, file: &str| format!("--{flag} url={},public-key={file},start-time={start}", stack().origin());
    let authority =
        |flag: &str, file: &str| format!("--{flag} url={},certificate-chain={file},start-time={start}", stack().origin());
    let parts =
        [authority("fulcio", "fulcio.pem"), authority("tsa", "tsa.pem"), log("rekor", "rekor.pub"), log("ctfe", "ctfe.pub")];
    sandbox.run(&format!("trusted-root create {} --out made.json", parts.join(" "))).exits(0).prints_nothing();
    let mut sandbox = sandbox;
    sandbox.unset("COSIGN_TRUST_CONFIG");
    let verify = format!("verify-blob --network=none --bundle f.json {} --trusted-root", sandbox.signer());
    sandbox.run(&format!("{verify} made.json f")).exits(0);
    sandbox.run(&format!("trusted-root create {} --out less.json", parts[..2].join(" "))).exits(0);
    sandbox.run(&format!("{verify} less.json f")).exits(1);
    let typo = parts[0].replace("start-time", "starttime");
    sandbox.run(&format!("trusted-root create {typo}")).exits(2).says("starttime");
    sandbox.run("trusted-root create --fulcio url=u,certificate-chain=missing.pem").exits(2).says("missing.pem");
    sandbox.run("trusted-root create --fulcio url=u,certificate-chain=rekor.pub").exits(1).says("rekor.pub");
}

#[test]
fn a_signing_config_out_of_its_parts_signs() {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    let rest = "start-time=2020-01-01T00:00:00Z,operator=example.com";
    let (origin, v1) = (stack().origin(), "api-version=1");
    let parts = format!(
        "--fulcio url={origin},{v1},{rest} --rekor url={origin},{v1},{rest} --rekor-config ANY \
         --tsa url={origin}/api/v1/timestamp,{v1},{rest} --tsa-config EXACT:1"
    );
    sandbox.run(&format!("signing-config create {parts} --out made.json")).exits(0).prints_nothing();
    sandbox.run("sign-blob -y --signing-config made.json --bundle f.json f").exits(0);
    sandbox.run(&format!("verify-blob --bundle f.json {} f", sandbox.signer())).exits(0);
    let empty = sandbox.run("signing-config create").exits(0);
    let expected =
        "{\"mediaType\":\"application/vnd.dev.sigstore.signingconfig.v0.2+json\",\"rekorTlogConfig\":{},\"tsaConfig\":{}}\n";
    assert_eq!(empty.stdout, expected);
    sandbox.run(&format!("signing-config create --rekor url={origin},{v1},{rest}")).exits(2).says("--rekor-config");
}

#[test]
fn default_services_come_from_the_tuf_repository() {
    let mut sandbox = Sandbox::bare();
    stack().export(sandbox.path()).unwrap();
    sandbox.set("TUF_MIRROR", format!("{}/tuf", stack().origin()));
    sandbox.set("TUF_ROOT_JSON", "root.json");
    let root = sandbox.run("trusted-root create --with-default-services --no-default-tsa").exits(0).json();
    let mut expected = sandbox.json("trusted_root.json");
    expected.as_object_mut().unwrap().remove("timestampAuthorities");
    assert_eq!(root, expected);
    let config = sandbox.run("signing-config create --with-default-services --no-default-rekor").exits(0).json();
    assert_eq!(config["caUrls"], sandbox.json("signing_config.v0.2.json")["caUrls"]);
    assert_eq!((config.get("rekorTlogUrls"), &config["rekorTlogConfig"]), (None, &serde_json::json!({})));
}
