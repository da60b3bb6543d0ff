//! The API as clients see it.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use vidimus_core::{
    Algorithm, Digest,
    checkpoint::Note,
    merkle::{leaf_hash, root_from_inclusion},
    rekor::{Body as EntryBody, HashedRekordV002, RawBytes, Verifier},
};

use super::*;
use crate::{
    keys::P256Signer,
    storage::{Fault, Faulty, Memory, Step},
    testing::{Answer, call},
};

fn open(storage: Arc<dyn Storage>) -> RekorV2 {
    RekorV2::open(storage, &generate(KeyKind::Ed25519).unwrap(), "localhost").unwrap()
}

fn signer() -> P256Signer {
    P256Signer::from_pkcs8(&generate(KeyKind::EcdsaP256).unwrap()).unwrap()
}

fn request_for(signer: &P256Signer, message: &[u8]) -> Value {
    json!({ "hashedRekordRequestV002": {
        "digest": encoding::encode(Digest::sha256(message).bytes()),
        "signature": { "content": encoding::encode(signer.sign(message).unwrap()), "verifier": verifier_for(signer) },
    }})
}

fn verifier_for(signer: &P256Signer) -> Value {
    json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": { "rawBytes": encoding::encode(signer.spki()) } })
}

async fn post_text(log: &RekorV2, body: impl Into<Body>) -> Answer {
    call(&router(log.clone()), Request::post("/api/v2/log/entries").body(body.into()).unwrap()).await
}

async fn post(log: &RekorV2, body: &Value) -> Answer {
    post_text(log, body.to_string()).await
}

async fn read(log: &RekorV2, path: &str) -> Answer {
    call(&router(log.clone()), Request::get(format!("/api/v2/{path}")).body(Body::empty()).unwrap()).await
}

/// The canonicalized body, after checking that the answer proves it.
fn proven_body(log: &RekorV2, answer: &Value) -> Vec<u8> {
    let number = |v: &Value| v.as_str().unwrap().parse::<u64>().unwrap();
    let bytes = |v: &Value| encoding::decode(v.as_str().unwrap()).unwrap();
    let body = bytes(&answer["canonicalizedBody"]);
    let proof = &answer["inclusionProof"];
    let hashes: Vec<[u8; 32]> = proof["hashes"].as_array().unwrap().iter().map(|h| bytes(h).try_into().unwrap()).collect();
    let (index, size) = (number(&proof["logIndex"]), number(&proof["treeSize"]));
    let root = root_from_inclusion(index, size, leaf_hash(&body), &hashes).unwrap();
    assert_eq!(bytes(&proof["rootHash"]), root);
    let note = Note::parse(proof["checkpoint"]["envelope"].as_str().unwrap()).unwrap();
    let checkpoint = note.checkpoint().unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size, checkpoint.root), ("localhost", size, root));
    assert_eq!(note.signatures[0].name, "localhost");
    assert_eq!(note.signatures[0].hint, log.log_id()[..4]);
    let key = crate::verifier::PublicKey::from_spki(log.public_key()).unwrap();
    key.verify(note.text.as_bytes(), &note.signatures[0].signature).unwrap();
    assert_eq!(answer["logIndex"], proof["logIndex"]);
    assert_eq!(bytes(&answer["logId"]["keyId"]), log.log_id());
    body
}

/// Every value replaced by its kind, members in their order.
fn shape(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let end = start + 1 + rest[start + 1..].find('"').unwrap();
        let is_name = rest[end + 1..].starts_with(':');
        out.push_str(&rest[..start]);
        out.push_str(if is_name { &rest[start..=end] } else { "_" });
        rest = &rest[end + 1..];
    }
    out + rest
}

#[tokio::test]
async fn the_answer_has_the_shape_of_the_real_one() {
    let log = open(Arc::new(Memory::new()));
    let (signer, message) = (signer(), b"hello");
    let answer = post(&log, &request_for(&signer, message)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["content-type"], "application/json");
    let real = include_str!("../../../../../testdata/wire/rekor2-create.http");
    let (_, real) = real.split_once("\n\n").or_else(|| real.split_once("\r\n\r\n")).unwrap();
    let ours = answer.text().replacen("\"hashes\":[\"", "\"hashes\":[", 1);
    let hash = ours.split("\"hashes\":[").nth(1).unwrap().split(']').next().unwrap().to_owned();
    assert_eq!(shape(&ours.replacen(&hash, "", 1)), shape(real.trim_end()));

    let json = answer.json();
    assert_eq!(json["logIndex"], "1", "the genesis entry has index 0");
    assert_eq!((&json["integratedTime"], &json["inclusionPromise"]), (&json!("0"), &Value::Null));
    let EntryBody::HashedRekordV002(body) = EntryBody::parse(&proven_body(&log, &json)).unwrap() else { panic!() };
    assert_eq!(body.content.data.digest.0, Digest::sha256(message).bytes());
}

#[test]
fn the_body_written_by_hand_is_canonical() {
    for (hash, algorithm) in [(Algorithm::Sha256, "a"), (Algorithm::Sha384, "b"), (Algorithm::Sha512, "c")] {
        let digest = Digest::of(hash, b"x");
        let der = RawBytes { raw_bytes: vec![0xfb, 0xff, 0xfe].into() };
        let verifier = |k, c| Verifier { key_details: algorithm.to_owned(), public_key: k, x509_certificate: c };
        let by_key = HashedRekordV002::new(&digest, b"sig", verifier(Some(der.clone()), None)).canonical();
        let by_certificate = HashedRekordV002::new(&digest, b"sig", verifier(None, Some(der.clone()))).canonical();
        let der = &der.raw_bytes.0;
        assert_eq!(request::body(&digest, b"sig", algorithm, request::VerifierDer::PublicKey(der)), by_key);
        assert_eq!(request::body(&digest, b"sig", algorithm, request::VerifierDer::Certificate(der)), by_certificate);
    }
}

#[tokio::test]
async fn real_entries_are_accepted_with_certificates() {
    let log = open(Arc::new(Memory::new()));
    let bundle = include_bytes!("../../../../../testdata/wire/bundle-a.v2.json");
    let bundle = vidimus_core::bundle::Bundle::from_json(bundle).unwrap();
    let stored = &bundle.verification_material.tlog_entries[0].canonicalized_body.0;
    let body: Value = serde_json::from_slice(stored).unwrap();
    let spec = &body["spec"]["hashedRekordV002"];
    assert!(spec["signature"]["verifier"]["x509Certificate"].is_object());
    let request = json!({ "hashedRekordRequestV002": { "digest": spec["data"]["digest"], "signature": spec["signature"] } });
    let answer = post(&log, &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(proven_body(&log, &answer.json()), *stored, "the very bytes that the real service stored");
}

#[tokio::test]
async fn the_same_entry_again_is_answered_with_the_first() {
    let log = open(Arc::new(Memory::new()));
    let (signer, other) = (signer(), signer());
    let request = request_for(&signer, b"hello");
    let first = post(&log, &request).await.json();
    assert_eq!(post(&log, &request_for(&other, b"x")).await.json()["logIndex"], "2");
    let again = post(&log, &request).await;
    assert_eq!((again.status.as_u16(), &again.json()["logIndex"]), (201, &first["logIndex"]));
    assert_eq!(proven_body(&log, &again.json()), proven_body(&log, &first));
    assert_eq!(log.status().size, 3);
}

#[tokio::test]
async fn an_envelope_is_logged_as_the_digest_of_what_is_signed() {
    let log = open(Arc::new(Memory::new()));
    let signer = signer();
    let pae = vidimus_core::dsse::pae("application/vnd.in-toto+json", b"{}");
    let envelope = |signature: &[u8]| {
        json!({ "dsseRequestV002": {
            "envelope": { "payload": encoding::encode("{}"), "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "sig": encoding::encode(signature), "keyid": "" }] },
            "verifiers": [verifier_for(&signer)],
        }})
    };
    let answer = post(&log, &envelope(&signer.sign(&pae).unwrap())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let EntryBody::HashedRekordV002(body) = EntryBody::parse(&proven_body(&log, &answer.json())).unwrap() else { panic!() };
    assert_eq!(body.content.data.digest.0, Digest::sha256(&pae).bytes());
    let refused = post(&log, &envelope(&signer.sign(b"{}").unwrap())).await;
    assert_eq!((refused.status.as_u16(), log.status().size), (400, 2));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_not_logged() {
    let log = open(Arc::new(Memory::new()));
    let signer = signer();
    let good = request_for(&signer, b"hello");
    let changed = |pointer: &str, value: Value| {
        let mut request = good.clone();
        *request.pointer_mut(pointer).unwrap() = value;
        request
    };
    let digest = "/hashedRekordRequestV002/digest";
    let verifier = "/hashedRekordRequestV002/signature/verifier";
    let spki = encoding::encode(signer.spki());
    for bad in [
        json!({}),
        json!({ "hashedRekordRequestV002": {} }),
        changed(digest, json!(encoding::encode(Digest::sha256(b"other").bytes()))),
        changed(digest, json!(encoding::encode([0; 31]))),
        changed(digest, json!("***")),
        changed("/hashedRekordRequestV002/signature/content", json!("")),
        changed("/hashedRekordRequestV002/signature/content", json!(encoding::encode(signer.sign(b"other").unwrap()))),
        changed(verifier, json!({ "keyDetails": "PKIX_ECDSA_P384_SHA_384", "publicKey": { "rawBytes": spki } })),
        changed(verifier, json!({ "publicKey": { "rawBytes": spki } })),
        changed(verifier, json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256" })),
        changed(verifier, json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": { "rawBytes": spki } })),
        changed(
            verifier,
            json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": { "rawBytes": spki }, "x509Certificate": {} }),
        ),
        changed(verifier, verifier_for(&self::signer())),
    ] {
        let answer = post(&log, &bad).await;
        assert_eq!(answer.status, 400, "{bad} {}", answer.text());
        let json = answer.json();
        assert_eq!((&json["code"], &json["details"]), (&json!(3), &json!([])), "{}", answer.text());
        assert!(!json["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(log.status().size, 1);
}

#[tokio::test]
async fn json_is_read_as_strictly_as_upstream_does() {
    let log = open(Arc::new(Memory::new()));
    let answer = post_text(&log, r#"{"foo":1}"#).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), r#"{"code":3,"message":"proto: (line 1:2): unknown field \"foo\"","details":[]}"#);
    for bad in ["", "[]", "{", "null", "{}x", r#"{"hashedRekordRequestV002":{"digest":1}}"#] {
        let answer = post_text(&log, bad).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.json()["message"].as_str().unwrap().starts_with("proto: "), "{}", answer.text());
    }
    let deep = "[".repeat(100_000);
    assert_eq!(post_text(&log, deep).await.status, 400);

    // protobuf's other spellings are accepted.
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let signer = signer();
    let request = json!({ "hashed_rekord_request_v002": {
        "digest": URL_SAFE_NO_PAD.encode(Digest::sha256(b"hello").bytes()),
        "signature": { "content": URL_SAFE_NO_PAD.encode(signer.sign(b"hello").unwrap()),
            "verifier": { "key_details": "PKIX_ECDSA_P256_SHA_256", "public_key": { "raw_bytes": URL_SAFE_NO_PAD.encode(signer.spki()) } } },
    }});
    let answer = post(&log, &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn an_entry_that_no_bundle_can_hold_is_refused_before_sequencing() {
    use der::{Decode, Encode};
    let log = open(Arc::new(Memory::new()));
    let signer = signer();
    let pem = include_str!("../../../../../testdata/fulcio/email.pem");
    let mut certificate = x509_cert::Certificate::from_der(&encoding::pem_blocks(pem).unwrap()[0].der).unwrap();
    certificate.tbs_certificate.subject_public_key_info = spki::SubjectPublicKeyInfoOwned::from_der(signer.spki()).unwrap();
    certificate.signature = der::asn1::BitString::from_bytes(&[0; 60_000]).unwrap();
    let mut request = request_for(&signer, b"hello");
    let der = encoding::encode(certificate.to_der().unwrap());
    request["hashedRekordRequestV002"]["signature"]["verifier"] =
        json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": { "rawBytes": der } });
    let answer = post(&log, &request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().unwrap().contains("65535"), "{}", answer.text());
    assert_eq!(log.status().size, 1);
}

#[tokio::test]
async fn tiles_are_static_content() {
    let log = open(Arc::new(Memory::new()));
    let signer = signer();
    for n in 0..3u8 {
        assert_eq!(post(&log, &request_for(&signer, &[n])).await.status, 201);
    }
    let checkpoint = read(&log, "checkpoint").await;
    assert_eq!(checkpoint.status, 200);
    let checkpoint = Note::parse(checkpoint.text()).unwrap().checkpoint().unwrap();
    assert_eq!(checkpoint.size, 4);
    let hashes = read(&log, "tile/0/000.p/4").await;
    let bundle = read(&log, "tile/entries/000.p/4").await;
    assert_eq!((hashes.status.as_u16(), hashes.body.len(), bundle.status.as_u16()), (200, 128, 200));
    assert!(hashes.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let size = usize::from(u16::from_be_bytes([bundle.body[0], bundle.body[1]]));
    assert_eq!(leaf_hash(&bundle.body[2..2 + size]), hashes.body[..32]);
    assert!(
        matches!(EntryBody::parse(&bundle.body[2..2 + size]).unwrap(), EntryBody::HashedRekordV002(_)),
        "the genesis is an entry"
    );
    for path in [
        "tile/0/000",
        "tile/0/000.p/5",
        "tile/1/000.p/1",
        "tile/0/001",
        "tile/entries/000",
        "tile/0/0",
        "tile/x",
        "tile/0/000.p/04",
    ] {
        assert_eq!(read(&log, path).await.status, 404, "{path}");
    }
    let head = Request::head("/api/v2/tile/0/000.p/4").body(Body::empty()).unwrap();
    let head = call(&router(log.clone()), head).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(read(&log, "log/entries").await.status, 405);
}

#[tokio::test]
async fn a_failed_disk_is_unavailable_and_reads_go_on() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let hook = {
        let broken = broken.clone();
        move |step: &Step| {
            (step.call == "sync segment" && broken.load(std::sync::atomic::Ordering::SeqCst)).then_some(Fault::Before)
        }
    };
    let log = open(Arc::new(Faulty::new(Arc::new(Memory::new()), hook)));
    let signer = signer();
    assert_eq!(post(&log, &request_for(&signer, b"1")).await.status, 201);
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    for message in [b"2", b"3"] {
        let answer = post(&log, &request_for(&signer, message)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!(14)));
    }
    assert!(log.status().failed.is_some());
    assert_eq!(read(&log, "tile/0/000.p/2").await.status, 200);
}
