//! A golden transcript for each kind, and hostile inputs. `VIDIMUS_BLESS=1 cargo test -p vidimus inspect` rewrites the transcripts.

use std::{fs, path::PathBuf};

use super::*;

fn testdata(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata")).join(path)
}

fn read(path: &str) -> Vec<u8> {
    fs::read(testdata(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn as_text(inspection: &Inspection) -> String {
    let mut out = Vec::new();
    text::render(inspection, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn as_json(inspection: &Inspection) -> String {
    let mut out = Vec::new();
    json::render(inspection, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn golden(name: &str, seen: &str) {
    let path = testdata("inspect").join(name);
    if std::env::var_os("VIDIMUS_BLESS").is_some() {
        fs::write(&path, seen).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(seen == expected, "{name} differs; is now:\n{seen}");
}

/// A part of a fixture, by JSON pointer.
fn part(path: &str, pointer: &str) -> serde_json::Value {
    let whole: serde_json::Value = serde_json::from_slice(&read(path)).unwrap();
    whole.pointer(pointer).unwrap_or_else(|| panic!("{path}: no {pointer}")).clone()
}

fn part_text(path: &str, pointer: &str) -> String {
    part(path, pointer).as_str().unwrap().to_owned()
}

/// Every kind with an input of it. Where a kind lives inside another fixture it is taken out of there.
fn inputs() -> Vec<(Kind, &'static str, Vec<u8>)> {
    let v1 = "wire/bundle-a.v1.json";
    let entry = "/verificationMaterial/tlogEntries/0";
    let both = serde_json::json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": part("wire/trusted_root.json", ""), "signingConfig": part("wire/signing_config.v0.2.json", ""),
    });
    vec![
        (Kind::Bundle, "bundle", read(v1)),
        (Kind::Bundle, "bundle-rekor2", read("wire/bundle-a.v2.json")),
        (Kind::Bundle, "bundle-chain", read("wire/bundle-js.sign.json")),
        (Kind::Certificate, "certificate", read("fulcio/github.pem")),
        (Kind::ClientTrustConfig, "client-trust-config", both.to_string().into_bytes()),
        (Kind::LogBody, "log-body", part_text(v1, &format!("{entry}/canonicalizedBody")).into_bytes()),
        (Kind::Note, "note", part_text(v1, &format!("{entry}/inclusionProof/checkpoint/envelope")).into_bytes()),
        (Kind::PublicKey, "public-key", part_text("wire/trusted_root.json", "/tlogs/1/publicKey/rawBytes").into_bytes()),
        (Kind::SigningConfig, "signing-config", read("wire/signing_config.v0.2.json")),
        (Kind::Timestamp, "timestamp", read("wire/r.tsr")),
        (Kind::TlogEntry, "tlog-entry", part(v1, entry).to_string().into_bytes()),
        (Kind::TrustedRoot, "trusted-root", read("wire/trusted_root.json")),
    ]
}

#[test]
fn transcripts() {
    for (kind, name, input) in inputs() {
        let found = documents(&input, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found[0].kind, kind, "{name}");
        let inspection = Inspection::new(name, found);
        golden(&format!("{name}.txt"), &as_text(&inspection));
        let json: serde_json::Value = serde_json::from_str(&as_json(&inspection)).unwrap();
        assert_eq!(json["status"], "not verified");
    }
}
