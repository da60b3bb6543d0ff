//! Files: sign, verify, attest; offline.

use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Sandbox, image, stack};

fn signed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    sandbox.run("sign-blob -y --bundle f.sigstore.json f").exits(0).says("Signed as jdoe@example.com");
    sandbox
}

#[test]
fn signed_and_verified_without_a_network() {
    let sandbox = signed();
    assert_eq!(sandbox.path().join("f.sigstore.json").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let signer = sandbox.signer();
    let line = format!("verify-blob --network=none --trusted-root trusted_root.json --bundle f.sigstore.json {signer}");
    let mut offline = sandbox;
    offline.unset("COSIGN_TRUST_CONFIG");
    offline.run(&format!("{line} f")).exits(0).prints_nothing().says("Verified OK");
    offline.run_with(&format!("{line} -"), b"content\n").exits(0);
    let digest = vidimus::core::Digest::sha256(b"content\n");
    offline.run(&format!("{line} {digest}")).exits(0);
}

#[test]
fn another_file_is_refused() {
    let sandbox = signed();
    sandbox.file("g", "tampered\n");
    let signer = sandbox.signer();
    sandbox
        .run(&format!("verify-blob --bundle f.sigstore.json {signer} g"))
        .exits(1)
        .says("no matching signatures")
        .does_not_say("OK");
}

#[test]
fn a_bundle_that_is_none_is_refused() {
    let sandbox = signed();
    let signer = sandbox.signer();
    for (name, content) in [("empty", ""), ("text", "hello"), ("json", "{}"), ("array", "[]")] {
        sandbox.file(name, content);
        sandbox.run(&format!("verify-blob --bundle {name} {signer} f")).exits(1).says(name);
    }
}

#[test]
fn the_wrong_signer_is_named() {
    let sandbox = signed();
    let line = format!(
        "verify-blob --bundle f.sigstore.json --certificate-identity eve@example.com --certificate-oidc-issuer {}",
        stack().origin()
    );
    let ran = sandbox.run(&format!("{line} --report r.json f")).exits(1);
    ran.says("signed by jdoe@example.com")
        .says("you asked for eve@example.com")
        .says("hint: pass --certificate-identity jdoe@example.com");
    let report = sandbox.json("r.json");
    assert_eq!((report["outcome"].as_str(), report["exitCode"].as_u64()), (Some("rejected"), Some(1)), "{report}");
}

#[test]
fn attested_and_verified() {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    sandbox.file("p.json", r#"{"b": 12345678901234567890, "a":[ ]}"#);
    sandbox.run("attest-blob -y --type https://example.com/p --predicate p.json --bundle b.json f").exits(0);
    let signer = sandbox.signer();
    let line = format!("verify-blob-attestation --bundle b.json {signer}");
    sandbox.run(&format!("{line} --type https://example.com/p f")).exits(0).says("Verified OK");
    sandbox.run(&format!("{line} --type https://example.com/q f")).exits(1).says("https://example.com/p");
    sandbox.file("g", "other\n");
    sandbox.run(&format!("{line} --type https://example.com/p g")).exits(1);
    let payload = sandbox.json("b.json")["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
    let statement = String::from_utf8(vidimus::core::encoding::decode(payload).unwrap()).unwrap();
    assert!(statement.contains(r#""predicate":{"b": 12345678901234567890, "a":[ ]}"#), "{statement}");
}

#[test]
fn a_full_disk_leaves_no_half_bundle() {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    sandbox.run("sign-blob -y --bundle /dev/full f").exits(3).says("/dev/full");
    let image = image("full-disk");
    sandbox.run(&format!("sign -y --bundle /dev/full {image}")).exits(3).says("/dev/full");
    // Nothing was pushed for what could not be kept.
    assert_eq!(sandbox.run(&format!("tree --output json {image}")).exits(0).json()["artifacts"].as_array().unwrap().len(), 0);
}

#[test]
fn large_files_take_little_memory() {
    let sandbox = Sandbox::new();
    // Mostly a hole, so that it takes no room on the disk.
    let file = std::fs::File::create(sandbox.path().join("large")).unwrap();
    file.set_len(160 << 20).unwrap();
    // Kibibytes of everything that the process allocates (RLIMIT_DATA).
    sandbox.file("limited", "ulimit -d 65536 && exec \"$@\"\n");
    let limited = |line: &str| sandbox.program("/bin/bash", &format!("limited {} {line}", env!("CARGO_BIN_EXE_vidimus")), b"");
    limited("sign-blob -y --bundle large.sigstore.json large").exits(0);
    let verify = format!("verify-blob --bundle large.sigstore.json {} large", sandbox.signer());
    limited(&verify).exits(0).says("Verified OK");
    file.set_len((160 << 20) + 1).unwrap();
    limited(&verify).exits(1);
}
