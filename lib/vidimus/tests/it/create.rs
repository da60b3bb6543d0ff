//! `trusted-root create`, `signing-config create`, `bundle create` and `bundle upgrade` give the JSON values that cosign gives.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vidimus::{
    bundle_tools::{self, Inputs, Parts},
    core::{Digest, encoding},
    net::{http::Client, rekor::RekorV1},
    service_spec::SpecError,
    signing_config, trusted_root,
};

use crate::peers::{Peer, testdata};

const REST: &str = "api-version=1,start-time=2024-01-01T00:00:00Z,operator=o";

/// The chains of the fixture's trusted root as PEM files.
fn chains(dir: &Path) {
    let root: Value = serde_json::from_slice(&fs::read(testdata("wire/trusted_root.json")).unwrap()).unwrap();
    for (file, authorities) in [("fulcio.pem", "certificateAuthorities"), ("tsa.pem", "timestampAuthorities")] {
        let certificates = root[authorities][0]["certChain"]["certificates"].as_array().unwrap();
        let pem = |c: &Value| encoding::pem("CERTIFICATE", &encoding::decode(c["rawBytes"].as_str().unwrap()).unwrap());
        fs::write(dir.join(file), certificates.iter().map(pem).collect::<String>()).unwrap();
    }
}

fn flags<'a>(flag: &'a str, specs: &'a [String]) -> impl Iterator<Item = &'a str> {
    specs.iter().flat_map(move |spec| [flag, spec.as_str()])
}

#[test]
fn trusted_roots_equal_cosigns() {
    let Some(cosign) = Peer::find("cosign") else { return };
    let dir = tempfile::tempdir().unwrap();
    chains(dir.path());
    let keys = testdata("keys");
    // Every log has a start of its own: cosign orders logs with the same start at random.
    let log = |n: usize, key: &str, rest: &str| {
        format!("url=https://log{n}.example,public-key={}/{key}.pub,start-time=202{n}-01-01T00:00:00Z{rest}", keys.display())
    };
    let authority =
        |file: &str, rest: &str| format!("url=https://{file},certificate-chain={}/{file}{rest}", dir.path().display());
    let request = trusted_root::Request {
        base: None,
        fulcio: vec![
            authority("fulcio.pem", ""),
            authority("fulcio.pem", ",start-time=2026-01-01T00:00:00.5+02:00,end-time=2027-01-01T00:00:00.123456789Z"),
        ],
        tsa: vec![authority("tsa.pem", ""), authority("tsa.pem", ",end-time=2030-01-01T00:00:00Z")],
        rekor: vec![
            log(6, "ed25519", ",origin=localhost"),
            log(1, "p384", ",end-time=2025-01-01T00:00:00Z"),
            log(2, "rsa2048", ""),
            log(3, "rsa3072", ",origin=log.example"),
            log(4, "rsa4096", ""),
            log(5, "p521", ",origin=o"),
        ],
        ctfe: vec![log(7, "p384", ""), log(8, "ed25519", ",origin=log.example")],
    };
    let mut args = vec!["trusted-root", "create"];
    args.extend(flags("--fulcio", &request.fulcio).chain(flags("--tsa", &request.tsa)));
    args.extend(flags("--rekor", &request.rekor).chain(flags("--ctfe", &request.ctfe)));
    let expected = cosign.json(&args);
    assert_eq!(serde_json::to_value(trusted_root::create(request).unwrap()).unwrap(), expected);
    let nothing = serde_json::to_value(trusted_root::create(trusted_root::Request::default()).unwrap()).unwrap();
    assert_eq!(nothing, cosign.json(&["trusted-root", "create"]));
}

#[test]
fn signing_configs_equal_cosigns() {
    let Some(cosign) = Peer::find("cosign") else { return };
    let request = signing_config::Request {
        fulcio: vec![format!("url=https://f,{REST},end-time=2025-01-01T00:00:00Z"), format!("url=https://g,{REST}")],
        oidc_provider: vec![format!("url=https://i, {REST}")],
        rekor: vec![format!("url=https://r,{}", REST.replace("version=1", "version=2"))],
        rekor_config: Some("any".into()),
        tsa: vec![format!("url=https://t/api/v1/timestamp,{REST}")],
        tsa_config: Some("EXACT:1".into()),
        base: None,
    };
    let mut args = vec!["signing-config", "create", "--rekor-config", "any", "--tsa-config", "EXACT:1"];
    args.extend(flags("--fulcio", &request.fulcio).chain(flags("--oidc-provider", &request.oidc_provider)));
    args.extend(flags("--rekor", &request.rekor).chain(flags("--tsa", &request.tsa)));
    let expected = cosign.json(&args);
    assert_eq!(serde_json::to_value(signing_config::create(request).unwrap()).unwrap(), expected);
    assert_eq!(serde_json::to_value(signing_config::empty()).unwrap(), cosign.json(&["signing-config", "create"]));
}

#[test]
fn both_refuse_the_same() {
    let Some(cosign) = Peer::find("cosign") else { return };
    for rule in ["SOME", "ANY:1", "EXACT", "EXACT:x"] {
        let tsa = format!("url=https://t,{REST}");
        let refused = cosign.run(&["signing-config", "create", "--tsa", &tsa, "--tsa-config", rule]);
        let request = signing_config::Request { tsa: vec![tsa], tsa_config: Some(rule.into()), ..Default::default() };
        assert!(refused.is_err() && matches!(signing_config::create(request), Err(SpecError::Spec { .. })), "{rule}");
    }
}

/// The files of a signature, made by the real cosign 2 with a key and no log.
struct Signed {
    dir: tempfile::TempDir,
}

impl Signed {
    fn by(cosign: &Peer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let signed = Self { dir };
        fs::write(signed.path("file"), "hello\n").unwrap();
        fs::write(signed.path("predicate"), "{}").unwrap();
        let key = [signed.path("k.key"), signed.path("file")];
        let prefix = signed.path("k");
        cosign.run(&["generate-key-pair", "--output-key-prefix", &prefix]).unwrap();
        let common = ["--key", &key[0], "--tlog-upload=false", "--yes"];
        let (bundle, signature) = (signed.path("old.json"), signed.path("sig"));
        let sign = ["sign-blob", "--bundle", &bundle, "--output-signature", &signature];
        cosign.run(&[&sign[..], &common, &[&key[1]]].concat()).unwrap();
        let (old, envelope, predicate) = (signed.path("old.att.json"), signed.path("att.json"), signed.path("predicate"));
        let attest = ["attest-blob", "--bundle", &old, "--output-signature", &envelope, "--predicate", &predicate];
        cosign.run(&[&attest[..], &common, &[&key[1]]].concat()).unwrap();
        let der = fs::read(testdata("wire/r.tsr")).unwrap();
        fs::write(signed.path("tsr"), json!({"SignedRFC3161Timestamp": encoding::encode(der)}).to_string()).unwrap();
        fs::write(signed.path("cert"), encoding::encode(fs::read(testdata("fulcio/uri.pem")).unwrap())).unwrap();
        signed
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// Both spellings of version 0.3 as the one that is written here.
fn new_spelling(mut bundle: Value) -> Value {
    if bundle["mediaType"] == "application/vnd.dev.sigstore.bundle+json;version=0.3" {
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.3+json".into();
    }
    bundle
}

#[test]
fn created_bundles_equal_cosigns() {
    let (Some(cosign), Some(old_cosign)) = (Peer::find("cosign"), Peer::find("cosign2")) else { return };
    let signed = Signed::by(&old_cosign);
    for case in [
        &["--bundle", "old.json", "--key", "k.pub"][..],
        &["--signature", "sig", "--key", "k.pub"],
        &["--signature", "sig", "--certificate", "cert"],
        &["--signature", "sig", "--key", "k.pub", "--rfc3161-timestamp", "tsr"],
        &["--signature", "sig", "--attestation", "att.json", "--key", "k.pub"],
    ] {
        let paths: Vec<_> = case.iter().map(|a| if a.starts_with("--") { (*a).to_owned() } else { signed.path(a) }).collect();
        let file = signed.path("file");
        let mut args = vec!["bundle", "create", "--ignore-tlog", "--artifact", &file];
        args.extend(paths.iter().map(String::as_str));
        let expected = new_spelling(cosign.json(&args));
        let given = |flag: &str| case.iter().position(|a| *a == flag).map(|at| signed.read(case[at + 1]));
        let files = ["--bundle", "--signature", "--attestation", "--certificate", "--key", "--rfc3161-timestamp"].map(given);
        let [bundle, signature, attestation, certificate, key, timestamp] = files.each_ref().map(Option::as_deref);
        let inputs = Inputs { bundle, signature, attestation, certificate, key, timestamp };
        let made = Parts::read(Digest::sha256(b"hello\n"), inputs).unwrap().into_bundle(None);
        assert_eq!(serde_json::to_value(made).unwrap(), expected, "{case:?}");
    }
    // cosign 2 puts a public key where the certificate belongs; cosign 3 fails on its bundles.
    let old = signed.read("old.att.json");
    let made =
        Parts::read(Digest::sha256(b"hello\n"), Inputs { bundle: Some(&old), ..Inputs::default() }).unwrap().into_bundle(None);
    assert!(made.dsse_envelope.is_some() && made.verification_material.public_key.is_some());
}

/// Protobuf's JSON leaves out what has its default; we write some of it.
fn without_defaults(value: Value) -> Value {
    let is_default = |v: &Value| matches!(v, Value::Null) || *v == json!("0") || *v == json!([]) || *v == json!("");
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, v)| !is_default(v))
            .map(|(k, v)| (k, without_defaults(v)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.into_iter().map(without_defaults).collect(),
        other => other,
    }
}

#[tokio::test]
async fn upgraded_bundles_equal_cosigns() {
    let Some(cosign) = Peer::find("cosign") else { return };
    let log = RekorV1::new(Client::disabled(), &"http://127.0.0.1:1".parse().unwrap());
    for fixture in ["wire/bundle-js.sign.json", "wire/bundle-a.v1.json"] {
        let path = testdata(fixture);
        let expected = cosign.json(&["bundle", "upgrade", "--rekor-url", "http://127.0.0.1:1", &path.display().to_string()]);
        let made = bundle_tools::upgrade(&fs::read(&path).unwrap(), &log).await.unwrap();
        assert_eq!(without_defaults(serde_json::from_slice(&made.json).unwrap()), without_defaults(expected), "{fixture}");
        assert_eq!(made.changes.is_empty(), fixture.contains("v1"), "{:?}", made.changes);
    }
}
