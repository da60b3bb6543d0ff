//! rekor-cli against the log.

use crate::{
    peer,
    sandbox::{SIGNER, Sandbox},
};

#[test]
fn rekor_cli_uploads_gets_searches_and_proves() {
    let Some(rekor) = peer::find("rekor-cli") else { return };
    let sandbox = Sandbox::start();
    let cli = |args: &[&str]| sandbox.peer(&rekor, &[args, &["--rekor_server", &sandbox.origin]].concat());
    let config = sandbox.public("signing_config_rekor_v1.v0.2.json");
    sandbox.vidimus(&["initialize"]).ok();
    let mut artifacts = Vec::new();
    for name in ["a.txt", "b.txt"] {
        let file = sandbox.write(name, name.as_bytes());
        let bundle = sandbox.arg(&format!("{name}.sigstore.json"));
        sandbox.vidimus(&["sign-blob", "-y", "--signing-config", &config, "--bundle", &bundle, &file]).ok();
        artifacts.push((file, bundle));
    }
    cli(&["loginfo"]).ok();

    // By digest and by signer.
    let found = cli(&["search", "--artifact", &artifacts[0].0]).stdout();
    let uuid = found.lines().last().expect("an entry").trim().to_owned();
    let entry = cli(&["get", "--uuid", &uuid]).stdout();
    assert!(entry.contains("Index: 1\n"), "{entry}");
    cli(&["verify", "--uuid", &uuid]).ok();
    let by_signer = cli(&["search", "--email", SIGNER]).stdout();
    assert_eq!(by_signer.lines().filter(|l| l.len() == 80).count(), 2, "{by_signer}");
    cli(&["logproof", "--first-size", "1", "--last-size", "3"]).ok();

    // What is there already is found again, and what does not verify is not taken.
    let (signature, certificate) = signature_and_certificate(&sandbox, &artifacts[0].1);
    let upload = |content: &str| {
        let hash = vidimus_core::Digest::sha256(content.as_bytes()).hex();
        let key = ["--signature", &signature, "--public-key", &certificate, "--pki-format", "x509"];
        cli(&[&["upload", "--type", "hashedrekord", "--artifact-hash", &hash], &key[..]].concat())
    };
    let again = upload("a.txt").stdout();
    assert!(again.contains("already exists"), "{again}");
    upload("b.txt").refused("invalid signature");
}

/// The signature and the certificate of a bundle, as files.
fn signature_and_certificate(sandbox: &Sandbox, bundle: &str) -> (String, String) {
    let bundle: serde_json::Value = serde_json::from_slice(&std::fs::read(bundle).expect("a bundle")).expect("JSON");
    let certificate = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str().expect("a string");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
    let signature = bundle["messageSignature"]["signature"].as_str().expect("a string");
    let signature = vidimus_core::encoding::decode(signature).expect("base64");
    (sandbox.write("signature", &signature), sandbox.write("certificate.pem", pem.as_bytes()))
}
