//! What is trusted and what is accepted, beside cosign: the same files and flags give the same verdict.

use serde_json::Value;
use vidimus::core::encoding;

use crate::{
    peer,
    sandbox::{Ran, SIGNER, Sandbox},
};

/// cosign 2, told to use the stack.
fn cosign2(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let services = ["--fulcio-url", &sandbox.origin, "--rekor-url", &sandbox.origin, "--yes", "--identity-token", &sandbox.token];
    sandbox.peer(&find("cosign2"), &[&args[..1], &services, &args[1..]].concat())
}

fn find(name: &str) -> std::path::PathBuf {
    peer::find(name).expect("the test checked that it is there")
}

fn start() -> Option<Sandbox> {
    peer::find("cosign2")?;
    let sandbox = Sandbox::start();
    let (mirror, root) = (format!("{}/tuf", sandbox.origin), sandbox.public("root.json"));
    sandbox.peer(&find("cosign2"), &["initialize", "--mirror", &mirror, "--root", &root]).ok();
    sandbox.vidimus(&["initialize"]).ok();
    Some(sandbox)
}

fn whom(sandbox: &Sandbox) -> [String; 4] {
    ["--certificate-identity", SIGNER, "--certificate-oidc-issuer", &sandbox.origin].map(str::to_owned)
}

#[test]
fn files_that_cosign_2_wrote() {
    let Some(sandbox) = start() else { return };
    let whom = whom(&sandbox);
    let whom: Vec<_> = whom.iter().map(String::as_str).collect();
    let (file, other) = (sandbox.write("f", b"content\n"), sandbox.write("g", b"other\n"));
    let predicate = sandbox.write("p", b"{}");
    let [old, sig, cert, att] = ["old.json", "f.sig", "f.pem", "att.json"].map(|name| sandbox.arg(name));
    cosign2(&sandbox, &["sign-blob", "--bundle", &old, "--output-signature", &sig, "--output-certificate", &cert, &file]).ok();
    cosign2(&sandbox, &["attest-blob", "--bundle", &att, "--predicate", &predicate, "--type", "custom", &file]).ok();

    let blob = |rest: &[&str], file: &str| sandbox.vidimus(&[&["verify-blob"], &whom[..], rest, &[file]].concat());
    blob(&["--bundle", &old], &file).ok();
    blob(&["--bundle", &old], &other).refused("no matching signatures");
    // A signature without its log entry, which the log is asked for.
    blob(&["--signature", &sig, "--certificate", &cert], &file).ok();
    blob(&["--signature", &sig, "--certificate", &cert], &other).refused("0 of 1 required log entries");
    // Without asking, nothing says when it was made.
    let detached = ["--signature", &sig, "--certificate", &cert, "--insecure-ignore-tlog"];
    blob(&detached, &file).refused("prove when the signature was made");
    blob(&[&detached[..], &["--insecure-current-time"]].concat(), &file).ok();

    let attested = |rest: &[&str]| sandbox.vidimus(&[&["verify-blob-attestation", "--bundle", &att], &whom[..], rest].concat());
    attested(&["--type", "custom", &file]).ok();
    attested(&["--type", "custom", &other]).refused("the statement is about");
    attested(&["--type", "spdxjson", &file]).refused("predicate type");
}

#[test]
fn the_custom_predicate_is_cosigns() {
    let Some(sandbox) = start() else { return };
    let file = sandbox.write("f", b"content\n");
    let text = "any \"text\" <at all>\n";
    let predicate = sandbox.write("p", text.as_bytes());
    let (theirs, ours) = (sandbox.arg("theirs.json"), sandbox.arg("ours.json"));
    let services = ["--new-bundle-format", "--bundle", &theirs, "--predicate", &predicate, "--type", "custom", &file];
    cosign2(&sandbox, &[&["attest-blob"], &services[..]].concat()).ok();
    sandbox.vidimus(&["attest-blob", "-y", "--bundle", &ours, "--predicate", &predicate, &file]).ok();
    let [theirs, ours] = [theirs, ours].map(|path| {
        let bundle: Value = serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("JSON");
        let payload = bundle["dsseEnvelope"]["payload"].as_str().expect("a payload").to_owned();
        serde_json::from_slice::<Value>(&encoding::decode(payload).expect("base64")).expect("a statement")
    });
    for statement in [&theirs, &ours] {
        let predicate = statement["predicate"].as_object().expect("an object");
        assert_eq!(predicate.keys().collect::<Vec<_>>(), ["Data", "Timestamp"], "{statement}");
        assert_eq!(predicate["Data"], text);
        assert_eq!(predicate["Timestamp"].as_str().map(str::len), Some("2026-11-21T20:24:34Z".len()));
    }
    assert_eq!(theirs["predicateType"], ours["predicateType"]);
}

#[test]
fn single_files_mean_what_they_mean_to_cosign() {
    let Some(sandbox) = start() else { return };
    let whom = whom(&sandbox);
    let whom: Vec<_> = whom.iter().map(String::as_str).collect();
    let image = sandbox.vidimus(&["stack", "image", "--name", "single"]).stdout().trim().to_owned();
    cosign2(&sandbox, &["sign", &image]).ok();
    members(&sandbox);
    let [root, chain, logs, ct, wrong] =
        ["roots.pem", "chain.pem", "rekor.pub", "ctfe.pub", "wrong.pub"].map(|name| sandbox.arg(name));
    let good = [("SIGSTORE_ROOT_FILE", &*chain), ("SIGSTORE_REKOR_PUBLIC_KEY", &logs), ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", &ct)];
    let with = |name: &str, path: &str| good.map(|(n, p)| (n, if n == name { path.to_owned() } else { p.to_owned() }));
    let own = |pairs: [(&'static str, &str); 3]| pairs.map(|(n, p)| (n, p.to_owned()));
    let tsa = sandbox.arg("tsa.pem");
    for (what, variables, flags, accepted) in [
        ("all right", own(good), vec![], true),
        ("another log", with("SIGSTORE_REKOR_PUBLIC_KEY", &wrong), vec![], false),
        ("another CT log", with("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", &wrong), vec![], false),
        ("another authority", with("SIGSTORE_ROOT_FILE", &tsa), vec![], false),
        ("a chain by flag", own(good), vec!["--certificate-chain", &*chain], true),
        ("another chain by flag", own(good), vec!["--certificate-chain", &*tsa], false),
    ] {
        let args = [&["verify"], &whom[..], &flags[..], &[&image]].concat();
        let ours = sandbox.vidimus_with(&variables, &[&["--network=any"], &args[..]].concat());
        let theirs = sandbox.peer_with(&find("cosign2"), &variables, &args);
        assert_eq!((ours.is_ok(), theirs.is_ok()), (accepted, accepted), "{what}\n{ours}\n{theirs}");
    }
    // A known divergence: cosign takes the authorities between root and signer from the signature, here they must be in the files.
    let args = [&["verify"], &whom[..], &["--certificate-chain", &root, &image]].concat();
    sandbox.vidimus_with(&own(good), &args).refused("which the trusted root does not have");
    sandbox.peer_with(&find("cosign2"), &own(good), &args).ok();
}

/// The members of the stack's trusted root as single files. The chain's root alone does not lead to the signers' issuer.
fn members(sandbox: &Sandbox) {
    let bytes = std::fs::read(sandbox.public("trusted_root.json")).expect("the stack publishes it");
    let root: Value = serde_json::from_slice(&bytes).expect("JSON");
    let der = |value: &Value| encoding::decode(value["rawBytes"].as_str().expect("text")).expect("base64");
    let chain = |authority: &Value| -> Vec<String> {
        let certificates = authority["certChain"]["certificates"].as_array().expect("a list");
        certificates.iter().map(|c| encoding::pem("CERTIFICATE", &der(c))).collect()
    };
    let key = |log: &Value| encoding::pem("PUBLIC KEY", &der(&log["publicKey"]));
    let fulcio = chain(&root["certificateAuthorities"][0]);
    sandbox.write("chain.pem", fulcio.concat().as_bytes());
    sandbox.write("roots.pem", fulcio.last().expect("a root").as_bytes());
    sandbox.write("tsa.pem", chain(&root["timestampAuthorities"][0])[1..].concat().as_bytes());
    sandbox.write("ctfe.pub", key(&root["ctlogs"][0]).as_bytes());
    // cosign takes one ECDSA key; the other log of the stack is of version 2 and has an Ed25519 one.
    let logs = root["tlogs"].as_array().expect("a list");
    let v1 = logs.iter().find(|log| log["publicKey"]["keyDetails"].as_str().is_some_and(|d| d.contains("ECDSA")));
    sandbox.write("rekor.pub", key(v1.expect("a Rekor v1 log")).as_bytes());
    sandbox.write("wrong.pub", include_bytes!("../../../testdata/public/managed-key.pub"));
}
