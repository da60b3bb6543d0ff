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
    let manifest = "inspect/input/oci-manifest.json";
    let annotation = |name: &str| part(manifest, "/layers/0/annotations")[name].as_str().unwrap().as_bytes().to_vec();
    let sct = serde_json::json!({
        "sct_version": 0, "id": "zjYbIoIqPeDSVsrOrFbRgnkPlEh8znIMQP47NBw6osA=", "timestamp": 1_795_294_752_673_u64,
        "extensions": "", "signature": "BAMAAA==",
    });
    let mut inputs = vec![
        (Kind::Bundle, "bundle", read(v1)),
        (Kind::Bundle, "bundle-chain", read("wire/bundle-js.sign.json")),
        (Kind::Bundle, "bundle-rekor2", read("wire/bundle-a.v2.json")),
        (Kind::Certificate, "certificate", read("fulcio/github.pem")),
        (Kind::ClientTrustConfig, "client-trust-config", both.to_string().into_bytes()),
        (Kind::CosignTimestamp, "cosign-timestamp", annotation(vidimus_core::cosign::RFC3161_TIMESTAMP)),
        (Kind::Descriptor, "descriptor", part(manifest, "/layers/0").to_string().into_bytes()),
        (Kind::Dsse, "dsse", part("inspect/input/bundle-dsse.json", "/dsseEnvelope").to_string().into_bytes()),
        (Kind::LogBody, "log-body", part_text(v1, &format!("{entry}/canonicalizedBody")).into_bytes()),
        (Kind::Note, "note", part_text(v1, &format!("{entry}/inclusionProof/checkpoint/envelope")).into_bytes()),
        (Kind::PublicKey, "public-key", part_text("wire/trusted_root.json", "/tlogs/1/publicKey/rawBytes").into_bytes()),
        (Kind::RekorBundle, "rekor-bundle", annotation(vidimus_core::cosign::BUNDLE)),
        (Kind::Sct, "sct", sct.to_string().into_bytes()),
        (Kind::SctList, "sct-list", sct_list()),
        (Kind::SigningConfig, "signing-config", read("wire/signing_config.v0.2.json")),
        (Kind::Statement, "statement", part_text("inspect/input/bundle-dsse.json", "/dsseEnvelope/payload").into_bytes()),
        (Kind::Timestamp, "timestamp", read("wire/r.tsr")),
        (Kind::TlogEntry, "tlog-entry", part(v1, entry).to_string().into_bytes()),
        (Kind::TrustedRoot, "trusted-root", read("wire/trusted_root.json")),
    ];
    for (kind, name) in [
        (Kind::Bundle, "bundle-dsse"),
        (Kind::CosignBlobBundle, "cosign-blob-bundle"),
        (Kind::CosignSignature, "cosign-signature"),
        (Kind::Fulcio, "fulcio-answer"),
        (Kind::LogEntry, "log-entry"),
        (Kind::OciIndex, "oci-index"),
        (Kind::OciManifest, "oci-manifest"),
        (Kind::SimpleSigning, "simple-signing"),
        (Kind::Tuf, "tuf-root"),
        (Kind::Tuf, "tuf-timestamp"),
    ] {
        inputs.push((kind, name, read(&format!("inspect/input/{name}.json"))));
    }
    inputs
}

/// The value of the extension in which a certificate carries its signed certificate timestamps.
fn sct_list() -> Vec<u8> {
    let der = encoding::pem_one(&String::from_utf8(read("fulcio/github.pem")).unwrap(), "CERTIFICATE").unwrap();
    let certificate = x509_cert::Certificate::from_der(&der).unwrap();
    let extensions = certificate.tbs_certificate.extensions.unwrap();
    let list = extensions.iter().find(|e| e.extn_id == const_oid::db::rfc6962::CT_PRECERT_SCTS).unwrap();
    list.extn_value.as_bytes().to_vec()
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

#[test]
fn every_kind_has_a_transcript() {
    let inputs = inputs();
    for kind in Kind::ALL {
        assert!(inputs.iter().any(|(k, ..)| k == kind), "{kind}");
    }
}

#[test]
fn an_asked_for_kind_must_be_the_kind() {
    for (kind, name, input) in inputs() {
        assert_eq!(documents(&input, Some(kind)).unwrap()[0].kind, kind, "{name}");
        for other in Kind::ALL.iter().filter(|other| **other != kind) {
            assert!(documents(&input, Some(*other)).is_err(), "{name} as {other}");
        }
    }
}

#[test]
fn rows_of_documents() {
    let bundle = read("wire/bundle-a.v2.json");
    let bundle = bundle.trim_ascii();
    let pem = read("fulcio/uri.pem");
    for (count, input) in [
        (2, [bundle, b"\n", bundle].concat()),
        (3, [b"[", bundle, b",", bundle, b"]\n", bundle].concat()),
        (2, [&pem[..], &pem[..]].concat()),
        (1, encoding::encode(&pem).into_bytes()),
    ] {
        assert_eq!(documents(&input, None).unwrap().len(), count);
    }
    let one_bad = [bundle, b"\n{}"].concat();
    assert!(documents(&one_bad, None).is_err());
}

/// A statement whose every string tries to act on the terminal, and whose predicate does as well.
fn hostile_statement() -> Vec<u8> {
    let text = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}gpj.exe\n\r\u{2028}\u{e0041}";
    serde_json::json!({
        "_type": text, "predicateType": text, text: [text], "subject": [{"name": text, "digest": {text: text}}],
        "predicate": {text: {"deep": text}},
    })
    .to_string()
    .into_bytes()
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    let envelope = serde_json::json!({
        "payloadType": "\u{1b}[2J", "payload": encoding::encode(hostile_statement()), "signatures": [{"sig": "\u{1b}"}],
    });
    for input in [hostile_statement(), envelope.to_string().into_bytes()] {
        let inspection = Inspection::new("\u{1b}name", documents(&input, None).unwrap());
        for output in [as_text(&inspection), as_json(&inspection)] {
            let acts = output.chars().find(|c| *c != '\n' && text::is_unsafe(*c));
            assert_eq!(acts, None, "{output}");
        }
        let json: serde_json::Value = serde_json::from_str(&as_json(&inspection)).unwrap();
        assert_eq!(json["source"], "\u{1b}name", "escapes change nothing for a program");
    }
}

#[test]
fn huge_counts_and_depths_are_refused() {
    let json = |body: String| documents(format!(r#"{{"_type":"t","predicateType":"p","subject":{body}}}"#).as_bytes(), None);
    assert!(json("[]".to_owned()).is_ok());
    assert!(json(format!("[{}1]", "1,".repeat(1_000_000))).is_err());
    assert!(json(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).is_err());
    assert!(documents(&b"{}\n".repeat(limits::DOCUMENTS + 1), Some(Kind::Tuf)).is_err());
    let pem = read("fulcio/uri.pem");
    assert!(documents(&pem.repeat(limits::CHAIN), None).is_ok());
    assert!(documents(&pem.repeat(limits::CHAIN + 1), None).is_err());
    assert!(documents(&vec![b' '; limits::ATTESTATION_BYTES + 1], None).is_err());
}

#[test]
fn what_is_of_no_kind_is_refused() {
    for input in [
        &b""[..],
        b" ",
        b"hello",
        b"{}",
        b"[]",
        b"[1]",
        b"\xff\xfe",
        b"\x30\x82",
        b"AAAA",
        b"-----BEGIN X-----\nAAAA\n-----END X-----\n",
    ] {
        assert!(documents(input, None).is_err(), "{input:?}");
    }
}

#[test]
fn no_prefix_and_no_flipped_byte_panics() {
    for (_, name, input) in inputs() {
        for end in (0..input.len()).step_by(input.len() / 20 + 1) {
            let _ = documents(&input[..end], None);
            let mut flipped = input.clone();
            flipped[end] ^= 0x15;
            if let Ok(found) = documents(&flipped, None) {
                let _ = as_text(&Inspection::new(name, found));
            }
        }
    }
}
