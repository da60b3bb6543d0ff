//! Every way in which an image can fail to be what was asked for, in both formats and for signatures and attestations: the same exit
//! code, and an explanation on one screen that says what was found, what was wanted and what to do.

use serde_json::{Value, json};

use crate::{
    attached::{FORMATS, Format, Logged, TYPE, attest, by_key, sign},
    sandbox::{JDOE, Ran, Sandbox, image, stack},
};

/// A screen, of which the explanation must leave something.
const LINES: usize = 12;

/// An image that is signed and attested by the builder.
fn prepared(format: Format, name: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let image = image(&format!("table/{name}-{format:?}").to_lowercase());
    sign(&sandbox, format, &image, &image, Logged::Yes);
    attest(&sandbox, format, &image, &image, Logged::Yes);
    (sandbox, image.to_string())
}

/// Runs `verify` and `verify-attestation` with the same flags: both end alike and say these words.
fn both(sandbox: &Sandbox, image: &str, flags: &str, code: i32, words: &[&str]) {
    for command in ["verify".to_owned(), format!("verify-attestation --type {TYPE}")] {
        refused(sandbox.run(&format!("{command} {flags} {image}")), code, words);
    }
}

fn refused(ran: Ran, code: i32, words: &[&str]) {
    let ran = words.iter().fold(ran.exits(code).prints_nothing(), |ran, words| ran.says(words));
    assert!(ran.stderr.lines().count() <= LINES, "more than one screen\n{ran}");
}

#[test]
fn what_was_asked_for_is_accepted() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "good");
        let signer = sandbox.signer();
        let ran = sandbox.run(&format!("verify {signer} -a team=red {image}")).exits(0).says("annotations were verified");
        assert_eq!(ran.json()[0]["optional"]["Subject"], JDOE, "{ran}");
        sandbox.run(&format!("verify-attestation --type {TYPE} {signer} {image}")).exits(0).says("claims were validated");
    }
}

#[test]
fn another_signer() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "signer");
        let issuer = stack().origin();
        let flags = format!("--certificate-identity eve@example.com --certificate-oidc-issuer {issuer}");
        let found = format!("signed by {JDOE} (issuer {issuer})");
        let hint = format!("hint: pass --certificate-identity {JDOE} if that is right");
        both(&sandbox, &image, &flags, 12, &["no matching", &found, "you asked for eve@example.com", &hint]);
    }
}

#[test]
fn another_issuer() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "issuer");
        let flags = format!("--certificate-identity {JDOE} --certificate-oidc-issuer https://accounts.example");
        let hint = format!("hint: pass --certificate-oidc-issuer {} if that is right", stack().origin());
        both(&sandbox, &image, &flags, 12, &["no matching", "(issuer https://accounts.example)", &hint]);
    }
}

#[test]
fn another_workflow() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "workflow");
        let signer = sandbox.signer();
        let flags = format!("{signer} --certificate-github-workflow-repository other/repo");
        both(&sandbox, &image, &flags, 12, &["GithubWorkflowRepository", "other/repo"]);
    }
}

#[test]
fn another_key() {
    for format in FORMATS {
        for logged in [Logged::Yes, Logged::No] {
            let sandbox = Sandbox::new();
            let image = image(&format!("table/key-{format:?}-{logged:?}").to_lowercase());
            let key = by_key(&sandbox, format, &image, logged);
            let waiver = if logged == Logged::No { "--insecure-ignore-tlog" } else { "" };
            let image = image.to_string();
            sandbox.run(&format!("verify --key {key} {waiver} {image}")).exits(0).says("the specified public key");
            sandbox.run(&format!("verify-attestation --type {TYPE} --key {key} {waiver} {image}")).exits(0);
            sandbox.file("other.pub", OTHER_KEY);
            // A log entry tells at once that the key is another one; without it, the signature does.
            let words = if logged == Logged::Yes { "is not about this signature" } else { "does not verify with the key" };
            both(&sandbox, &image, &format!("--key other.pub {waiver}"), 12, &["no matching", words]);
        }
    }
}

/// A key that signed nothing here.
const OTHER_KEY: &str = include_str!("../../../testdata/public/managed-key.pub");

#[test]
fn a_key_where_a_certificate_was_asked_for() {
    for format in FORMATS {
        let sandbox = Sandbox::new();
        let image = image(&format!("table/keyed-{format:?}").to_lowercase());
        by_key(&sandbox, format, &image, Logged::Yes);
        let words = ["no certificate", "hint: it was signed with a managed key: pass --key"];
        both(&sandbox, &image.to_string(), &sandbox.signer(), 13, &words);
    }
}

#[test]
fn a_certificate_where_a_key_was_asked_for() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "keyless");
        sandbox.file("other.pub", OTHER_KEY);
        both(&sandbox, &image, "--key other.pub", 12, &["no matching"]);
    }
}

#[test]
fn another_annotation() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "annotation");
        let signer = sandbox.signer();
        let ran = sandbox.run(&format!("verify {signer} -a team=blue {image}"));
        refused(ran, 12, &["no matching signatures: missing or incorrect annotation", r#"team is "red", not "blue""#]);
        let ran = sandbox.run(&format!("verify {signer} -a owner=me {image}"));
        refused(ran, 12, &["missing or incorrect annotation", "owner is not there"]);
    }
}

#[test]
fn another_image() {
    for format in FORMATS {
        let sandbox = Sandbox::new();
        let from = image(&format!("table/from-{format:?}").to_lowercase());
        let to = image(&format!("table/to-{format:?}").to_lowercase());
        sign(&sandbox, format, &from, &to, Logged::Yes);
        attest(&sandbox, format, &from, &to, Logged::Yes);
        let (found, wanted) = (from.digest().unwrap().to_string(), to.digest().unwrap().to_string());
        both(&sandbox, &to.to_string(), &sandbox.signer(), 12, &[&found, &wanted]);
    }
}

#[test]
fn no_log_entry() {
    for format in FORMATS {
        let sandbox = Sandbox::new();
        let image = image(&format!("table/unlogged-{format:?}").to_lowercase());
        sign(&sandbox, format, &image, &image, Logged::No);
        attest(&sandbox, format, &image, &image, Logged::No);
        let (signer, image) = (sandbox.signer(), image.to_string());
        both(&sandbox, &image, &signer, 12, &["0 of 1 required log entries", "hint:"]);
        // The timestamp authority saw it: where that is enough, it is said what is not proven.
        let ran = sandbox.run(&format!("verify --evidence timestamp-authority {signer} {image}")).exits(0);
        let ran = ran.says("not proven, as asked: that the signature is public").says("NOT checked, as asked");
        let waived: Vec<_> =
            ran.json()[0]["waivers"].as_array().unwrap().iter().map(|w| w["check"].as_str().unwrap().to_owned()).collect();
        assert_eq!(waived, ["log.entries", "cert.sct"], "{ran}");
        let flags = format!("verify-attestation --type {TYPE} --insecure-ignore-tlog {signer} {image}");
        sandbox.run(&flags).exits(0).says("NOT checked, as asked: that the signature is in a transparency log");
    }
}

#[test]
fn no_certificate_log() {
    for format in FORMATS {
        let (mut sandbox, image) = prepared(format, "sct");
        let mut root = sandbox.json("trusted_root.json");
        root["ctlogs"] = json!([]);
        sandbox.file("without-ct.json", root.to_string());
        sandbox.unset("COSIGN_TRUST_CONFIG");
        let flags = format!("--trusted-root without-ct.json {}", sandbox.signer());
        both(&sandbox, &image, &flags, 12, &["0 of 1 required certificate timestamps (SCTs)", "the trusted root does not have"]);
        let waived = format!("verify --insecure-ignore-sct {flags} {image}");
        sandbox.run(&waived).exits(0).says("NOT checked, as asked: that the certificate is in a Certificate Transparency log");
    }
}

#[test]
fn another_type() {
    for format in FORMATS {
        let (sandbox, image) = prepared(format, "type");
        let signer = sandbox.signer();
        let ran = sandbox.run(&format!("verify-attestation --type spdxjson {signer} {image}"));
        let words = format!("none of the attestations matched the predicate type: https://spdx.dev/Document, found: {TYPE}");
        refused(ran, 12, &[&words, &format!("hint: pass --type {TYPE} if that is right")]);
    }
}

#[test]
fn another_instance() {
    for format in FORMATS {
        let (mut sandbox, image) = prepared(format, "instance");
        sandbox.unset("COSIGN_TRUST_CONFIG");
        let production = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/public/roots/production.json");
        let flags = format!("--trusted-root {production} {}", sandbox.signer());
        both(&sandbox, &image, &flags, 12, &["trusted root", "hint:", "instance"]);
        // Beside the right one it does no harm: each signature is judged by the instance that it is of.
        let ran = sandbox.run(&format!(
            "verify --trusted-root {production} --trusted-root trusted_root.json --report r.json {} {image}",
            sandbox.signer()
        ));
        ran.exits(0);
        let report = sandbox.json("r.json");
        let name = report["images"][0]["accepted"][0]["verified"]["trustRoot"].as_str().unwrap().to_owned();
        assert!(name.contains("trusted_root.json"), "{report}");
    }
}

#[test]
fn the_best_explanation_of_many() {
    for format in FORMATS {
        let sandbox = Sandbox::new();
        let image = image(&format!("table/many-{format:?}").to_lowercase());
        let other = crate::sandbox::image("table/many-other");
        // One of another image, one by a key, one by the wrong signer: the last is nearest to what is asked for.
        sign(&sandbox, format, &other, &image, Logged::Yes);
        by_key(&sandbox, format, &image, Logged::Yes);
        sign(&sandbox, format, &image, &image, Logged::Yes);
        let flags = format!("--certificate-identity eve@example.com --certificate-oidc-issuer {}", stack().origin());
        let ran = sandbox.run(&format!("verify {flags} --report r.json {image}"));
        refused(ran, 12, &[&format!("signed by {JDOE}"), "(and 2 more that proved nothing)"]);
        let report: Value = sandbox.json("r.json");
        assert_eq!(report["images"][0]["refused"].as_array().map(Vec::len), Some(3), "{report}");
    }
}

#[test]
fn wrong_words() {
    let sandbox = Sandbox::new();
    for (line, words) in [
        ("verify img", "--certificate-identity or --certificate-identity-regexp is required"),
        ("verify --certificate-identity a img", "--certificate-oidc-issuer or --certificate-oidc-issuer-regexp is required"),
        ("verify --key no/such.pub img", "no/such.pub"),
        ("verify --key env://VIDIMUS_NOT_SET img", "VIDIMUS_NOT_SET"),
        ("verify --no-such-flag img", "--no-such-flag"),
        ("bundle foo", "foo"),
        ("certify img", "certify"),
        ("verify-blob --key k f", "k"),
        ("verify --certificate-identity-regexp ( --certificate-oidc-issuer a img", "not a valid regular expression"),
    ] {
        sandbox.run(line).exits(2).prints_nothing().says(words);
    }
}
