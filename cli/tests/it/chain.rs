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

/// Pushes an index of two platforms, and what BuildKit leaves in one.
fn index(name: &str) -> String {
    use vidimus::core::{oci, reference::Repository};
    let registry = crate::sandbox::registry();
    let repository: Repository = format!("{}/{name}", stack().registry()).parse().unwrap();
    let mut manifests = Vec::new();
    for (position, arch) in ["amd64", "arm64", "unknown"].into_iter().enumerate() {
        let image = vidimus::net::oci::TinyImage::new(arch, name.as_bytes()).unwrap();
        let by_digest = repository.digest(image.manifest.digest.clone());
        let pushed = crate::sandbox::block_on(image.push(&registry, &by_digest)).unwrap();
        let mut entry = json!({"mediaType": oci::MANIFEST, "digest": pushed.digest, "size": pushed.size,
            "platform": {"architecture": arch, "os": "linux"}});
        if position == 2 {
            entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        }
        manifests.push(entry);
    }
    let bytes = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": oci::INDEX, "manifests": manifests})).unwrap();
    let tag = repository.tag("1").unwrap();
    let pushed = crate::sandbox::block_on(registry.push_manifest(&tag, oci::INDEX, &bytes)).unwrap();
    repository.digest(pushed.digest).to_string()
}

#[test]
fn every_platform_of_an_index_is_judged() {
    let sandbox = Sandbox::new();
    let index = index("index");
    sandbox.file("p.json", PREDICATE);
    sandbox.run(&format!("sign -y {index}")).exits(0);
    sandbox.run(&format!("attest -y -r --type slsaprovenance --predicate p.json {index}")).exits(0);
    let validate = format!("validate image --image {index} {} --output json", sandbox.signer());
    let components = |report: &Value| -> Vec<(String, bool)> {
        let list = report["components"].as_array().unwrap();
        list.iter().map(|c| (c["name"].as_str().unwrap().to_owned(), c["success"].as_bool().unwrap())).collect()
    };
    // Only the index is signed so far.
    let report = sandbox.run(&validate).exits(1).json();
    let accepted: Vec<_> = components(&report).into_iter().filter(|(_, success)| *success).collect();
    assert_eq!(accepted, [("Unnamed".to_owned(), true)], "{report}");
    sandbox.run(&format!("sign -y -r {index}")).exits(0);
    let report = sandbox.run(&validate).exits(0).json();
    let mut names: Vec<_> =
        components(&report).into_iter().map(|(name, _)| name.replace(|c: char| c.is_ascii_digit(), "")).collect();
    names.sort_by_key(String::len);
    assert_eq!(names.len(), 3, "{report}");
    assert!(names[1..].iter().all(|n| n.starts_with("Unnamed-sha:")), "{names:?}");
}

#[test]
fn signatures_kept_in_a_repository_of_their_own() {
    let mut sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "elsewhere/image");
    let signer = sandbox.signer();
    sandbox.set("COSIGN_REPOSITORY", format!("{}/elsewhere/signatures", stack().registry()));
    sandbox.run(&format!("sign -y {image}")).exits(0).says("/elsewhere/signatures@sha256:");
    sandbox.run(&format!("verify {signer} {image}")).exits(0);
    sandbox.unset("COSIGN_REPOSITORY");
    sandbox.run(&format!("verify {signer} {image}")).exits(10);
}

#[test]
fn a_snapshot_of_several_images() {
    let sandbox = Sandbox::new();
    let (good, bad) = (image_on(stack().registry(), "snapshot/good"), image_on(stack().registry(), "snapshot/bad"));
    sandbox.file("p.json", PREDICATE);
    sandbox.run(&format!("sign -y {good}")).exits(0);
    sandbox.run(&format!("attest -y --type slsaprovenance --predicate p.json {good}")).exits(0);
    sandbox
        .file("s.yaml", format!("components:\n- name: good\n  containerImage: {good}\n- name: bad\n  containerImage: {bad}\n"));
    let line = format!("validate image --images s.yaml {} --output text", sandbox.signer());
    let ran = sandbox.run(&format!("{line} -o all.json")).exits(1);
    assert!(ran.stdout.contains("Components:\n- Name: good\n") && ran.stdout.contains("- Name: bad\n"), "{ran}");
    assert_eq!(sandbox.json("all.json")["components"].as_array().unwrap().len(), 2);
    sandbox.run(&format!("{line} --strict=false")).exits(0);
}

#[test]
fn titles_and_times_when_asked() {
    let sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "titles");
    let ran = sandbox
        .run(&format!("validate image --image {image} {} --info --output json --effective-time 2999-01-01", sandbox.signer()));
    let report = ran.exits(1).json();
    assert_eq!(report["effective-time"], "2999-01-01T00:00:00Z");
    let violation = &report["components"][0]["violations"][0]["metadata"];
    assert_eq!(violation["title"], "Attestation signature check passed");
    assert_eq!(violation["description"], "The attestation signature matches available signing materials.");
}

#[test]
fn an_attestation_that_breaks_its_schema() {
    let sandbox = Sandbox::new();
    let image = image_on(stack().registry(), "broken-schema");
    let digest = image.digest().unwrap().hex();
    // `attest --predicate` would refuse it; a whole statement is signed as it is.
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"x","digest":{{"sha256":"{digest}"}}}}],"predicateType":"https://slsa.dev/provenance/v0.2","predicate":{{"builder":{{}}}}}}"#
    );
    sandbox.file("s.json", statement);
    sandbox.run(&format!("sign -y {image}")).exits(0);
    sandbox.run(&format!("attest -y --statement s.json {image}")).exits(0);
    let ran = sandbox.run(&format!("validate image --image {image} {} --show-successes", sandbox.signer())).exits(1);
    assert!(ran.stdout.contains("✕ [Violation] builtin.attestation.syntax_check"), "{ran}");
    assert!(ran.stdout.contains("Attestation syntax check failed: https://slsa.dev/provenance/v0.2"), "{ran}");
    assert!(ran.stdout.contains("✓ [Success] builtin.attestation.signature_check"), "{ran}");
}
