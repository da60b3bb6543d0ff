//! `bundle create` and `bundle upgrade` where a log has to be asked: a Rekor v1 on loopback that knows one entry, or lies.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use vidimus::{
    bundle_tools::{self, BundleToolError, Inputs, Parts},
    core::{
        Digest,
        bundle::{Bundle, TlogEntry},
        encoding,
        merkle::leaf_hash,
    },
    net::{
        http::{Client, Config},
        rekor::RekorV1,
    },
};

use crate::peers::testdata;

fn fixture() -> Bundle {
    Bundle::from_json(&std::fs::read(testdata("wire/bundle-a.v1.json")).unwrap()).unwrap()
}

/// An entry as a Rekor v1 server answers it.
fn answer(entry: &TlogEntry) -> Value {
    let proof = entry.inclusion_proof.as_ref().unwrap();
    json!({
        "body": entry.canonicalized_body,
        "integratedTime": entry.integrated_time.0,
        "logID": hex::encode(&entry.log_id.key_id.0),
        "logIndex": entry.log_index.0,
        "verification": {
            "signedEntryTimestamp": entry.inclusion_promise.as_ref().unwrap().signed_entry_timestamp,
            "inclusionProof": {
                "checkpoint": proof.checkpoint.as_ref().unwrap().envelope,
                "hashes": proof.hashes.iter().map(|h| hex::encode(&h.0)).collect::<Vec<_>>(),
                "logIndex": proof.log_index.0, "rootHash": hex::encode(&proof.root_hash.0), "treeSize": proof.tree_size.0,
            },
        },
    })
}

/// A log that gives one answer to what is asked for by index or by UUID, and 404 to everything else.
async fn log(uuid: String, entry: Value) -> RekorV1 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let entry = Arc::new(json!({ &*uuid: entry }).to_string());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (entry, uuid) = (Arc::clone(&entry), uuid.clone());
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let read = stream.read(&mut request).await.unwrap();
                let line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
                let known = line.contains(&uuid) || line.contains("?logIndex=0 ");
                let (status, body) = if known { ("200 OK", entry.as_str()) } else { ("404 Not Found", "") };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
            });
        }
    });
    RekorV1::new(Client::new(Config::default()), &url)
}

async fn honest_log(bundle: &Bundle) -> RekorV1 {
    let entry = &bundle.verification_material.tlog_entries[0];
    log(hex::encode(leaf_hash(&entry.canonicalized_body.0)), answer(entry)).await
}

/// The files from which the fixture would have been made.
fn parts(bundle: &Bundle, file: &[u8]) -> Parts {
    let signature = bundle.message_signature.as_ref().unwrap().signature.to_string();
    let certificate =
        encoding::pem("CERTIFICATE", bundle.verification_material.certificate.as_ref().unwrap().raw_bytes.as_bytes());
    let inputs = Inputs { signature: Some(signature.as_bytes()), certificate: Some(certificate.as_bytes()), ..Inputs::default() };
    Parts::read(Digest::sha256(file), inputs).unwrap()
}

#[tokio::test]
async fn an_entry_is_found_by_its_content() {
    let mut expected = fixture();
    let log = honest_log(&expected).await;
    let parts = parts(&expected, b"hello\n");
    let entry = parts.find_entry(&log).await.unwrap();
    expected.verification_material.timestamp_verification_data = None;
    assert_eq!(parts.into_bundle(Some(entry)), expected);
}

#[tokio::test]
async fn another_file_has_no_entry_and_a_dead_log_is_no_answer() {
    let bundle = fixture();
    let log = honest_log(&bundle).await;
    let other = parts(&bundle, b"other");
    assert!(matches!(other.find_entry(&log).await, Err(BundleToolError::NotLogged)));
    let dead = RekorV1::new(Client::disabled(), &"http://127.0.0.1:1".parse().unwrap());
    assert!(matches!(other.find_entry(&dead).await, Err(BundleToolError::Log(_))));
}

/// The fixture as version 0.1 had it: a promise and no proof.
fn with_promise_only(bundle: &Bundle) -> Vec<u8> {
    let mut old = serde_json::to_value(bundle).unwrap();
    old["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    let material = &mut old["verificationMaterial"];
    material["x509CertificateChain"] = json!({"certificates": [material["certificate"].take()]});
    material.as_object_mut().unwrap().remove("certificate");
    material["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    old.to_string().into_bytes()
}

#[tokio::test]
async fn upgrading_fetches_the_proof_of_the_same_entry() {
    let bundle = fixture();
    let old = with_promise_only(&bundle);
    let made = bundle_tools::upgrade(&old, &honest_log(&bundle).await).await.unwrap();
    assert_eq!(Bundle::from_json(&made.json).unwrap(), bundle);
    assert_eq!(made.changes.len(), 3, "{:?}", made.changes);
}

#[tokio::test]
async fn a_log_with_another_entry_in_its_place_is_refused() {
    let bundle = fixture();
    let old = with_promise_only(&bundle);
    let entry = &bundle.verification_material.tlog_entries[0];
    let uuid = hex::encode(leaf_hash(&entry.canonicalized_body.0));
    for (field, value) in [("integratedTime", json!(1)), ("logID", json!("00".repeat(32)))] {
        let mut lie = answer(entry);
        lie[field] = value;
        let error = bundle_tools::upgrade(&old, &log(uuid.clone(), lie).await).await.unwrap_err();
        assert!(matches!(error, BundleToolError::OtherEntry { .. }), "{field}: {error}");
    }
    let mut unproven = answer(entry);
    unproven["verification"].as_object_mut().unwrap().remove("inclusionProof");
    assert!(bundle_tools::upgrade(&old, &log(uuid, unproven).await).await.is_err());
}
