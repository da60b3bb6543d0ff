//! explore
use crate::common::*;
use vidimus_core::Digest;
use vidimus_verify::{Artifact, Policy, verify};
#[test]
fn explore() {
    for (b, root, digest) in [
        ("cve-2022-36056", "production", "sha256:c87b6d213ab08b3297 0c"),
        ("dsse", "production", ""),
        ("dsse-2sigs", "production", ""),
        ("invalid-ct-key", "invalid-ct-key", ""),
        ("no-checkpoint", "production", ""),
        ("no-log-entry", "production", ""),
        ("no-signed-time", "production", ""),
        ("othername", "production", ""),
        ("v03-message", "staging", ""),
        ("cve-2022-36056", "staging", ""),
        ("v03-message", "production", ""),
        ("no-cert-v1", "production", ""),
        ("managed-key", "production", ""),
    ] {
        let _ = digest;
        let json = file(&format!("public/{b}.sigstore.json"));
        let v: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let bundle = match vidimus_core::bundle::Bundle::from_json(&json) {
            Ok(b) => b,
            Err(e) => {
                println!("{b}: PARSE {e}");
                continue;
            }
        };
        let entity = vidimus_verify::SignedEntity::from_bundle(bundle).unwrap();
        let artifact = if let Some(d) = v.pointer("/messageSignature/messageDigest/digest") {
            Artifact::digest(
                Digest::new(vidimus_core::Algorithm::Sha256, vidimus_core::encoding::decode(d.as_str().unwrap()).unwrap())
                    .unwrap(),
            )
        } else {
            let p: serde_json::Value = serde_json::from_slice(entity.payload().unwrap()).unwrap();
            let d = p["subject"][0]["digest"].as_object().unwrap().iter().next().unwrap();
            Artifact::digest(format!("{}:{}", d.0, d.1.as_str().unwrap()).parse().unwrap())
        };
        match verify(&entity, &artifact, &trust(&file(&format!("public/roots/{root}.json"))), &Policy::unsafe_any_signer(), now())
        {
            Ok(_) => println!("{b} {root}: OK"),
            Err(e) => println!("{b} {root}: {} {} | {:?}", e.check_id(), e, e.hint()),
        }
    }
}
