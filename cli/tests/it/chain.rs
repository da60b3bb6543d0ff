//! The main job, as its users type it: initialize, sign, attest, tree, verify, validate.

use serde_json::{Value, json};
use vidimus::report::yaml;
use vidimus_stack::stack::{Running, StackConfig};

use crate::sandbox::{JDOE, Sandbox, image_on, scrub, stack, start};

const PREDICATE: &str = r#"{"builder":{"id":"https://localhost/dummy-id"},"buildType":"https://example.com/tekton-pipeline","invocation":{},"buildConfig":{},"metadata":{"completeness":{"parameters":false,"environment":false,"materials":false},"reproducible":false},"materials":[]}"#;

/// A sandbox with the variables of `stack env`, and nothing else that knows of the stack.
fn with_stack_env(stack: &Running) -> Sandbox {
    let mut sandbox = Sandbox::bare();
    for (name, value) in stack.env() {
        sandbox.set(name, value);
    }
    sandbox.set("SIGSTORE_ID_TOKEN", stack.token(JDOE).unwrap());
    sandbox.file("predicate.json", PREDICATE);
    sandbox
}

fn whole_chain(stack: &Running) {
    let sandbox = with_stack_env(stack);
    let image = image_on(stack.registry(), "chain/app");
    let reference = format!("{}/chain/app:1", stack.registry());
    sandbox.run("initialize").exits(0).prints_nothing();
    let remote = std::fs::read_to_string(sandbox.path().join(".sigstore/root/remote.json")).unwrap();
    assert!(remote.contains(stack.origin()), "{remote}");
    sandbox
        .run(&format!("sign -y {reference}"))
        .exits(0)
        .prints_nothing()
        .says("uses a tag, not a digest")
        .says("tlog entry created with index:");
    sandbox.run(&format!("attest -y --predicate ./predicate.json --type slsaprovenance {reference}")).exits(0).prints_nothing();

    let tree = sandbox.run(&format!("tree {reference}")).exits(0);
    assert_eq!(
        scrub(&tree.stdout),
        "\
📦 Supply Chain Security Related artifacts for an image: HOST/chain/app:1
└── 🔗 https://sigstore.dev/cosign/sign/v1 artifacts via OCI referrer: HOST/chain/app@DIGEST
   └── 🍒 DIGEST
          signer: jdoe@example.com (issuer http://HOST)
          time: TIME (log index N)
└── 🔗 https://slsa.dev/provenance/v0.2 artifacts via OCI referrer: HOST/chain/app@DIGEST
   └── 🍒 DIGEST
          signer: jdoe@example.com (issuer http://HOST)
          time: TIME (log index N)
"
    );

    let verified = sandbox.run(&format!("verify --certificate-identity {JDOE} {reference}")).exits(0);
    assert!(verified.stdout.starts_with("\n[{\"critical\":") && verified.stdout.ends_with("}]\n"), "{verified}");
    let payload = &verified.json()[0];
    assert_eq!(payload["critical"]["identity"]["docker-reference"], reference);
    assert_eq!(payload["critical"]["image"]["docker-manifest-digest"], image.digest().unwrap().to_string());
    assert_eq!((&payload["optional"]["Subject"], &payload["optional"]["Issuer"]), (&json!(JDOE), &json!(stack.origin())));
    let verified = verified.says("The cosign claims were validated");
    verified.says("Existence of the claims in the transparency log was verified offline").does_not_say("annotations");

    let attested =
        sandbox.run(&format!("verify-attestation --type slsaprovenance --certificate-identity {JDOE} {reference}")).exits(0);
    let envelope: Value = serde_json::from_str(&attested.stdout).unwrap();
    let payload = vidimus::core::encoding::decode(envelope["payload"].as_str().unwrap()).unwrap();
    assert!(String::from_utf8(payload).unwrap().ends_with(&format!("\"predicate\":{PREDICATE}}}")));

    let validate = format!(
        "validate image --image {reference} --certificate-identity-regexp {JDOE} --certificate-oidc-issuer-regexp 127.0.0.1 --show-successes"
    );
    let report = sandbox.run(&format!("{validate} --output yaml")).exits(0);
    let end = "\nkey: \"\"\npolicy: {}\nsuccess: true\n";
    assert!(report.stdout.ends_with(end), "{report}");
    let value = yaml::from_str(&report.stdout).unwrap();
    let codes: Vec<_> =
        value["components"][0]["successes"].as_array().unwrap().iter().map(|s| s["metadata"]["code"].clone()).collect();
    assert_eq!(
        codes,
        ["builtin.attestation.signature_check", "builtin.attestation.syntax_check", "builtin.image.signature_check"]
    );
    assert_eq!(value["components"][0]["attestations"][0]["predicateBuildType"], "https://example.com/tekton-pipeline");
    let report = sandbox.run(&format!("{validate} --output json=r.json --output text")).exits(0);
    assert!(report.stdout.starts_with("Success: true\nResult: SUCCESS\nViolations: 0, Warnings: 0, Successes: 3\n"), "{report}");
    assert_eq!(sandbox.json("r.json")["success"], true);
}

#[test]
fn on_a_registry_with_the_referrers_api() {
    whole_chain(stack());
}

#[test]
fn on_a_registry_without_the_referrers_api() {
    let config = StackConfig { without_referrers: true, ..StackConfig::default() };
    whole_chain(&start(config));
}

#[test]
fn trust_needs_no_initialize_when_the_environment_names_the_mirror() {
    let sandbox = with_stack_env(stack());
    let image = image_on(stack().registry(), "no-initialize");
    sandbox.run(&format!("sign -y {image}")).exits(0);
}

#[test]
fn annotations_are_signed_and_asked_for() {
    let sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "annotations");
    sandbox.run(&format!("sign -y -a team=red -a stage=prod {image}")).exits(0).does_not_say("uses a tag");
    let signer = sandbox.signer();
    let ran =
        sandbox.run(&format!("verify {signer} -a team=red {image}")).exits(0).says("The specified annotations were verified.");
    assert_eq!(ran.json()[0]["optional"]["team"], "red");
    sandbox.run(&format!("verify {signer} -a team=blue {image}")).exits(12).says("missing or incorrect annotation").says("red");
}

#[test]
fn several_images_and_the_worst_end() {
    let sandbox = Sandbox::new();
    let (one, two) = (image_on(stack().registry(), "several/one"), image_on(stack().registry(), "several/two"));
    let unsigned = image_on(stack().registry(), "several/unsigned");
    sandbox.run(&format!("sign -y {one} {two}")).exits(0);
    let signer = sandbox.signer();
    let ran = sandbox.run(&format!("verify {signer} {one} {two}")).exits(0);
    assert_eq!(ran.stdout.matches("\"critical\"").count(), 2, "{ran}");
    let ran =
        sandbox.run(&format!("verify {signer} --report r.json {one} {unsigned} {two}")).exits(10).says(&unsigned.to_string());
    assert_eq!(ran.stdout.matches("\"critical\"").count(), 2, "{ran}");
    let outcomes: Vec<_> = sandbox.json("r.json")["images"].as_array().unwrap().iter().map(|i| i["outcome"].clone()).collect();
    assert_eq!(outcomes, ["accepted", "rejected", "accepted"]);
}

#[test]
fn what_is_not_pushed_can_be_kept() {
    let sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "kept");
    sandbox.run(&format!("sign -y --upload=false --bundle b.json {image}")).exits(0);
    assert_eq!(sandbox.json("b.json")["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    sandbox.run(&format!("verify {} {image}", sandbox.signer())).exits(10).says("no signatures found");
    sandbox.file("p.json", PREDICATE);
    let ran = sandbox.run(&format!("attest -y --no-upload --type slsaprovenance --predicate p.json {image}")).exits(0);
    assert_eq!(ran.json()["payloadType"], "application/vnd.in-toto+json");
}

#[test]
fn a_statement_of_ones_own_must_be_about_the_image() {
    let sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "statement");
    let statement = |hex: &str| {
        format!(
            r#"{{ "_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"x","digest":{{"sha256":"{hex}"}}}}],"predicateType":"https://example.com/p","predicate":{{}} }}"#
        )
    };
    let good = statement(&image.digest().unwrap().hex());
    sandbox.file("good.json", &good);
    sandbox.file("bad.json", statement(&"0".repeat(64)));
    sandbox.run(&format!("attest -y --statement bad.json {image}")).exits(2).says("none of the subjects");
    sandbox.run(&format!("attest -y --statement good.json {image}")).exits(0);
    let ran = sandbox.run(&format!("verify-attestation --type https://example.com/p {} {image}", sandbox.signer())).exits(0);
    assert_eq!(vidimus::core::encoding::decode(ran.json()["payload"].as_str().unwrap()).unwrap(), good.into_bytes());
}

#[test]
fn a_predicate_of_another_type_is_refused_before_anything_is_signed() {
    let sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "schema");
    sandbox.file("p.json", PREDICATE);
    let ran = sandbox.run(&format!("attest -y --type slsaprovenance1 --predicate p.json {image}")).exits(2);
    ran.says("buildDefinition").says("--type slsaprovenance");
    assert_eq!(sandbox.run(&format!("tree -o json {image}")).json()["artifacts"], json!([]));
}
