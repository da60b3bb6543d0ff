//! The API as clients see it.

use axum::{
    body::Body,
    http::{HeaderMap, Request},
};
use serde_json::{Value, json};
use vidimus_core::{
    Algorithm, Digest,
    bundle::Bundle,
    checkpoint::Note,
    dsse,
    merkle::{check_consistency, leaf_hash, root_from_inclusion},
    rekor::{Body as EntryBody, LogEntriesV1},
};

use super::*;
use crate::{
    keys::{KeyKind, generate},
    storage::{Crash, Memory},
    testing::{Answer, call},
    verifier::PublicKey,
};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

fn open_in(storage: &Memory, key: &[u8]) -> RekorV1 {
    let clock = Clock::fixed("2026-11-21T20:34:09Z".parse().unwrap());
    RekorV1::open(Arc::new(storage.clone()), key, "localhost", clock).unwrap()
}

fn open() -> RekorV1 {
    open_in(&Memory::new(), &generate(KeyKind::EcdsaP256).unwrap())
}

fn signer() -> P256Signer {
    P256Signer::from_pkcs8(&generate(KeyKind::EcdsaP256).unwrap()).unwrap()
}

fn pem(signer: &P256Signer) -> String {
    encoding::pem("PUBLIC KEY", signer.spki())
}

fn hashedrekord(signer: &P256Signer, message: &[u8]) -> Value {
    let digest = Digest::sha256(message);
    serde_json::to_value(HashedRekordV001::new(&digest, &signer.sign(message).unwrap(), &pem(signer))).unwrap()
}

/// An envelope's JSON text, signed by each signer.
fn envelope(payload: &[u8], signers: &[&P256Signer]) -> String {
    let pae = dsse::pae(PAYLOAD_TYPE, payload);
    let signatures: Vec<Value> = signers.iter().map(|s| json!({ "keyid": "", "sig": encode(s.sign(&pae).unwrap()) })).collect();
    json!({ "payloadType": PAYLOAD_TYPE, "payload": encode(payload), "signatures": signatures }).to_string()
}

fn dsse_request(envelope: &str, signers: &[&P256Signer]) -> Value {
    let verifiers: Vec<String> = signers.iter().map(|s| encode(pem(s))).collect();
    json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": { "proposedContent": { "envelope": envelope, "verifiers": verifiers } } })
}

fn intoto_2(payload: &[u8], signer: &P256Signer) -> Value {
    let signature = encode(signer.sign(&dsse::pae(PAYLOAD_TYPE, payload)).unwrap());
    json!({ "apiVersion": "0.0.2", "kind": "intoto", "spec": { "content": {
        "envelope": { "payloadType": PAYLOAD_TYPE, "payload": encode(encode(payload)),
            "signatures": [{ "sig": encode(signature), "publicKey": encode(pem(signer)) }] },
        "hash": { "algorithm": "sha256", "value": hex::encode([7; 32]) },
        "payloadHash": { "algorithm": "sha256", "value": Digest::sha256(payload).hex() },
    }}})
}

async fn post(log: &RekorV1, path: &str, body: impl ToString) -> Answer {
    call(&router(log.clone()), Request::post(format!("/api/v1/{path}")).body(Body::from(body.to_string())).unwrap()).await
}

async fn create(log: &RekorV1, request: &Value) -> Answer {
    post(log, "log/entries", request).await
}

async fn read(log: &RekorV1, path: &str) -> Answer {
    call(&router(log.clone()), Request::get(format!("/api/v1/{path}")).body(Body::empty()).unwrap()).await
}

async fn found(log: &RekorV1, query: Value) -> Vec<String> {
    let answer = post(log, "index/retrieve", query).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn etag(headers: &HeaderMap) -> String {
    headers["etag"].to_str().unwrap().to_owned()
}

/// The body of the one entry in an answer, after checking everything that proves it.
fn proven(log: &RekorV1, answer: &[u8]) -> Vec<u8> {
    let entries: LogEntriesV1 = serde_json::from_slice(answer).unwrap();
    let (uuid, entry) = entries.iter().next().unwrap();
    let body = &entry.body.0;
    assert_eq!(*uuid, format!("{:016x}{}", log.tree_id(), hex::encode(leaf_hash(body))));
    assert_eq!((entry.log_id.as_str(), entry.integrated_time), (hex::encode(log.log_id()).as_str(), 1_795_293_249));
    let verification = entry.verification.as_ref().unwrap();
    let key = PublicKey::from_spki(log.public_key()).unwrap();
    let promise = promise_payload(body, entry.integrated_time, &log.log_id(), entry.log_index);
    key.verify(&promise, &verification.signed_entry_timestamp.as_ref().unwrap().0).unwrap();
    let proof = verification.inclusion_proof.as_ref().unwrap();
    let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|h| hex::decode(h).unwrap().try_into().unwrap()).collect();
    let (index, size) = (u64::try_from(proof.log_index).unwrap(), u64::try_from(proof.tree_size).unwrap());
    let root = root_from_inclusion(index, size, leaf_hash(body), &hashes).unwrap();
    assert_eq!(proof.root_hash, hex::encode(root));
    check_checkpoint(log, &proof.checkpoint, size, &root);
    assert_eq!(proof.log_index, entry.log_index);
    assert!(EntryBody::parse(body).is_ok());
    body.clone()
}

fn check_checkpoint(log: &RekorV1, text: &str, size: u64, root: &[u8; 32]) {
    let note = Note::parse(text).unwrap();
    let checkpoint = note.checkpoint().unwrap();
    assert_eq!(checkpoint.origin, format!("localhost - {}", log.tree_id()));
    assert_eq!((checkpoint.size, &checkpoint.root), (size, root));
    assert_eq!((note.signatures[0].name.as_str(), &note.signatures[0].hint[..]), ("localhost", &log.log_id()[..4]));
    PublicKey::from_spki(log.public_key()).unwrap().verify(note.text.as_bytes(), &note.signatures[0].signature).unwrap();
}

#[tokio::test]
async fn a_created_entry_is_answered_like_the_real_service_does() {
    let log = open();
    let request = hashedrekord(&signer(), b"hello");
    let answer = create(&log, &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let uuid = etag(&answer.headers);
    assert_eq!(answer.headers["location"], format!("/api/v1/log/entries/{uuid}"));
    let body = proven(&log, &answer.body);
    assert_eq!(body, vidimus_core::jcs::canonical(&request).unwrap());
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [&uuid]);
    let entry = &json[&uuid];
    assert_eq!(entry["logIndex"], 1, "the genesis entry has index 0");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(entry), ["body", "integratedTime", "logID", "logIndex", "verification"]);
    assert_eq!(names(&entry["verification"]), ["inclusionProof", "signedEntryTimestamp"]);
    assert_eq!(names(&entry["verification"]["inclusionProof"]), ["checkpoint", "hashes", "logIndex", "rootHash", "treeSize"]);
    let members = [
        "{\"",
        "\":{\"body\":\"",
        "\",\"integratedTime\":",
        ",\"logID\":\"",
        "\",\"logIndex\":1,\"verification\":{\"inclusionProof\":{",
    ];
    let mut rest = answer.text();
    for member in members {
        rest = &rest[rest.find(member).unwrap_or_else(|| panic!("{member} in {}", answer.text())) + member.len()..];
    }
}

#[tokio::test]
async fn bodies_of_the_real_service_come_out_again() {
    let log = open();
    for bundle in [
        &include_bytes!("../../../../../testdata/wire/bundle-a.v1.json")[..],
        include_bytes!("../../../../../testdata/wire/bundle-js.sign.json"),
    ] {
        let bundle = Bundle::from_json(bundle).unwrap();
        let stored = &bundle.verification_material.tlog_entries[0].canonicalized_body.0;
        let answer = create(&log, &serde_json::from_slice(stored).unwrap()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(String::from_utf8_lossy(&proven(&log, &answer.body)), String::from_utf8_lossy(stored));
    }
}

#[tokio::test]
async fn every_kind_is_logged() {
    let log = open();
    let (a, b) = (signer(), signer());
    let payload = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[]}"#;
    let text = envelope(payload, &[&a, &b]);
    let answer = create(&log, &dsse_request(&text, &[&b, &a])).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let EntryBody::DsseV001(entry) = EntryBody::parse(&proven(&log, &answer.body)).unwrap() else { panic!() };
    assert_eq!(entry.envelope_hash.value, Digest::sha256(text.as_bytes()).hex(), "of the text as posted");
    assert_eq!(entry.payload_hash.value, Digest::sha256(payload).hex());
    assert!(entry.signatures.is_sorted_by_key(|s| s.signature.clone()));
    for signature in &entry.signatures {
        let signer = if signature.verifier.0 == pem(&a).as_bytes() { &a } else { &b };
        let bytes = encoding::decode(&signature.signature).unwrap();
        PublicKey::from_spki(signer.spki()).unwrap().verify(&dsse::pae(PAYLOAD_TYPE, payload), &bytes).unwrap();
    }

    let text = envelope(payload, &[&a]);
    let request = json!({ "apiVersion": "0.0.1", "kind": "intoto",
        "spec": { "content": { "envelope": text }, "publicKey": encode(pem(&a)) } });
    let answer = create(&log, &request).await;
    let EntryBody::IntotoV001(entry) = EntryBody::parse(&proven(&log, &answer.body)).unwrap() else { panic!() };
    assert_eq!(entry.content.hash.value, Digest::sha256(text.as_bytes()).hex());
    assert_eq!(entry.content.payload_hash.unwrap().value, Digest::sha256(payload).hex());
    assert_eq!(entry.public_key.0, pem(&a).as_bytes());

    let request = intoto_2(payload, &a);
    let answer = create(&log, &request).await;
    let uuid = etag(&answer.headers);
    let EntryBody::IntotoV002(entry) = EntryBody::parse(&proven(&log, &answer.body)).unwrap() else { panic!() };
    assert!(entry.content.envelope.payload.is_none(), "the payload is not in the tree");
    assert_eq!(entry.content.hash.unwrap().value, hex::encode([7; 32]));
    let fetched = read(&log, &format!("log/entries/{uuid}")).await;
    proven(&log, &fetched.body);
    assert_eq!(fetched.json()[&uuid]["attestation"]["data"], encode(payload));
}

#[tokio::test]
async fn tampered_and_foreign_content_is_refused() {
    let log = open();
    let (a, b) = (signer(), signer());
    let size = log.status().size;
    let good = hashedrekord(&a, b"hello");
    let changed = |pointer: &str, value: Value| {
        let mut request = good.clone();
        *request.pointer_mut(pointer).unwrap() = value;
        request
    };
    let text = envelope(b"{}", &[&a]);
    let two = envelope(b"{}", &[&a, &b]);
    let other_payload = text.replace(&encode("{}"), &encode("[]"));
    let intoto = |envelope: &str, signer: &P256Signer| json!({ "apiVersion": "0.0.1", "kind": "intoto", "spec": { "content": { "envelope": envelope }, "publicKey": encode(pem(signer)) } });
    let mut foreign_intoto_2 = intoto_2(b"{}", &a);
    foreign_intoto_2["spec"]["content"]["envelope"]["signatures"][0]["publicKey"] = json!(encode(pem(&b)));
    let mut tampered_intoto_2 = intoto_2(b"{}", &a);
    tampered_intoto_2["spec"]["content"]["envelope"]["payload"] = json!(encode(encode(b"[]")));
    let mut hashless_intoto_2 = intoto_2(b"{}", &a);
    hashless_intoto_2["spec"]["content"].as_object_mut().unwrap().remove("hash");
    for bad in [
        changed("/spec/data/hash/value", json!(Digest::sha256(b"other").hex())),
        changed("/spec/data/hash/value", json!("00")),
        changed("/spec/data/hash/algorithm", json!("md5")),
        changed("/spec/signature/content", json!("AAAA")),
        changed("/spec/signature/publicKey/content", json!(encode(pem(&b)))),
        changed("/spec/signature/publicKey/content", json!(encode("no key"))),
        changed("/apiVersion", json!("0.0.9")),
        dsse_request(&other_payload, &[&a]),
        dsse_request(&text, &[&b]),
        dsse_request(&text, &[&a, &b]),
        dsse_request(&text, &[]),
        dsse_request(&two, &[&a]),
        dsse_request("{}", &[&a]),
        dsse_request(&envelope(b"{}", &[]), &[]),
        intoto(&other_payload, &a),
        intoto(&text, &b),
        intoto(&two, &a),
        foreign_intoto_2,
        tampered_intoto_2,
        hashless_intoto_2,
    ] {
        let answer = create(&log, &bad).await;
        assert_eq!(answer.status, 400, "{bad} {}", answer.text());
        let json = answer.json();
        assert_eq!(json["code"], 400);
        assert!(json["message"].as_str().unwrap().starts_with("error processing entry: "), "{json}");
    }
    assert_eq!(log.status().size, size);
}

#[tokio::test]
async fn requests_outside_of_the_schema() {
    let log = open();
    for (body, status, code, message) in [
        ("", 400, 400, "parsing body body from"),
        ("{", 400, 400, "parsing body body from"),
        ("{}", 422, 602, "kind in body is required"),
        (r#"{"kind":"rekord","apiVersion":"0.0.1","spec":{}}"#, 400, 400, "invalid kind value: \"rekord\""),
        (r#"{"kind":"dsse","spec":{}}"#, 422, 602, "apiVersion in body is required"),
        (r#"{"kind":"dsse","apiVersion":"0.0.1"}"#, 422, 602, "spec in body is required"),
        (r#"{"kind":"dsse","apiVersion":"0.0.1","spec":{}}"#, 400, 400, "error processing entry: "),
    ] {
        let answer = post(&log, "log/entries", body).await;
        let json = answer.json();
        assert_eq!((answer.status.as_u16(), &json["code"]), (status, &json!(code)), "{body} {json}");
        assert!(json["message"].as_str().unwrap().contains(message), "{json}");
    }
    for (path, code) in [
        ("log/entries/zz", 605),
        ("log/entries/00", 605),
        ("log/entries", 602),
        ("log/entries?logIndex=-1", 609),
        ("log/proof", 602),
        ("log/proof?lastSize=0", 609),
        ("log/proof?firstSize=-2&lastSize=1", 609),
    ] {
        let answer = read(&log, path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!(code)), "{path}");
    }
    for path in
        ["log/entries?logIndex=1", &format!("log/entries/{}", "00".repeat(32)), &format!("log/entries/{}", "00".repeat(40))]
    {
        let answer = read(&log, path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (404, 0), "{path}");
    }
}

#[tokio::test]
async fn the_same_entry_again_is_a_conflict_that_leads_to_the_first() {
    let log = open();
    let request = hashedrekord(&signer(), b"hello");
    let uuid = etag(&create(&log, &request).await.headers);
    let again = create(&log, &request).await;
    assert_eq!(again.status, 409);
    assert_eq!(again.headers["location"], format!("/api/v1/log/entries/{uuid}"));
    let message = format!("an equivalent entry already exists in the transparency log with UUID {uuid}");
    assert_eq!(again.json(), json!({ "code": 409, "message": message }));
    let answer = read(&log, &format!("log/entries/{uuid}")).await;
    assert_eq!(answer.status, 200);
    proven(&log, &answer.body);
}

#[tokio::test]
async fn entries_are_found_by_id_index_and_content() {
    let log = open();
    let signer = signer();
    let mut uuids = vec![];
    let mut requests = vec![hashedrekord(&signer, b"1"), hashedrekord(&signer, b"2")];
    requests.push(dsse_request(&envelope(b"{}", &[&signer]), &[&signer]));
    for request in &requests {
        uuids.push(etag(&create(&log, request).await.headers));
    }
    for (n, uuid) in uuids.iter().enumerate() {
        for path in
            [format!("log/entries/{uuid}"), format!("log/entries/{}", &uuid[16..]), format!("log/entries?logIndex={}", n + 1)]
        {
            let answer = read(&log, &path).await;
            assert_eq!(answer.json().as_object().unwrap().keys().next(), Some(uuid), "{path}");
            proven(&log, &answer.body);
        }
    }
    let stored = EntryBody::parse(&proven(&log, &read(&log, &format!("log/entries/{}", uuids[2])).await.body)).unwrap();
    let EntryBody::DsseV001(stored) = stored else { panic!() };
    let query = json!({
        "entryUUIDs": [uuids[0], &uuids[1][16..], "00".repeat(32)],
        "logIndexes": [2, 99],
        "entries": [requests[0], requests[2], { "apiVersion": "0.0.1", "kind": "dsse", "spec": stored }],
    });
    let answer = post(&log, "log/entries/retrieve", &query).await.json();
    let found: Vec<&String> = answer.as_array().unwrap().iter().map(|e| e.as_object().unwrap().keys().next().unwrap()).collect();
    assert_eq!(found, [&uuids[0], &uuids[1], &uuids[0], &uuids[2], &uuids[2], &uuids[1]]);
    assert_eq!(post(&log, "log/entries/retrieve", "{}").await.json(), json!([]));
    let many = post(&log, "log/entries/retrieve", json!({ "logIndexes": vec![1; 11] })).await;
    assert_eq!((many.status.as_u16(), &many.json()["message"]), (422, &json!("more than max allowed 10 entries in request")));
}

#[tokio::test]
async fn log_info_proofs_and_key() {
    let log = open();
    let signer = signer();
    let mut before: Option<(u64, [u8; 32])> = None;
    for n in 0..5u8 {
        create(&log, &hashedrekord(&signer, &[n])).await;
        let info = read(&log, "log").await;
        assert!(info.text().starts_with(r#"{"inactiveShards":null,"rootHash":""#));
        let info = info.json();
        assert_eq!(info["treeID"], log.tree_id().to_string());
        let size = info["treeSize"].as_u64().unwrap();
        let root: [u8; 32] = hex::decode(info["rootHash"].as_str().unwrap()).unwrap().try_into().unwrap();
        check_checkpoint(&log, info["signedTreeHead"].as_str().unwrap(), size, &root);
        if let Some((old_size, old_root)) = before {
            let proof =
                read(&log, &format!("log/proof?firstSize={old_size}&lastSize={size}&treeID={}", log.tree_id())).await.json();
            assert_eq!(proof["rootHash"], info["rootHash"]);
            let hashes = proof["hashes"].as_array().unwrap().iter();
            let hashes: Vec<[u8; 32]> = hashes.map(|h| hex::decode(h.as_str().unwrap()).unwrap().try_into().unwrap()).collect();
            check_consistency(old_size, &old_root, size, &root, &hashes).unwrap();
        }
        before = Some((size, root));
    }
    for (path, message) in [
        ("log/proof?firstSize=3&lastSize=2", "firstSize(3) must be less than lastSize(2)"),
        ("log/proof?lastSize=7", "the tree size requested(7) was greater than what is currently observable(6)"),
        ("log/publicKey?treeID=5", "there is no tree 5 in this log"),
    ] {
        let answer = read(&log, path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (400, json!({ "code": 400, "message": message })));
    }
    let key = read(&log, "log/publicKey").await;
    assert_eq!(key.headers["content-type"], "application/x-pem-file");
    assert_eq!(key.text(), encoding::pem("PUBLIC KEY", log.public_key()));
}

#[tokio::test]
async fn the_index_finds_by_everything_and_survives_a_restart() {
    let (storage, key) = (Memory::new(), generate(KeyKind::EcdsaP256).unwrap());
    let log = open_in(&storage, &key);
    let (a, b) = (signer(), signer());
    let bundle = Bundle::from_json(include_bytes!("../../../../../testdata/wire/bundle-a.v1.json")).unwrap();
    let real = serde_json::from_slice(&bundle.verification_material.tlog_entries[0].canonicalized_body.0).unwrap();
    let certified = etag(&create(&log, &real).await.headers);
    let message = etag(&create(&log, &hashedrekord(&a, b"hello")).await.headers);
    let same_artifact = etag(&create(&log, &hashedrekord(&b, b"hello")).await.headers);
    let payload = json!({ "subject": [{ "name": "x", "digest": { "sha256": "ab".repeat(32), "sha1": "CD".repeat(20) } }],
        "predicate": { "materials": [{ "digest": { "sha512": "ef".repeat(64) } }] } });
    let text = envelope(payload.to_string().as_bytes(), &[&a]);
    let attestation = etag(&create(&log, &dsse_request(&text, &[&a])).await.headers);

    log.close().await;
    let reopened = open_in(&storage.crash(Crash::Lost), &key);
    let hello = Digest::sha256(b"hello").hex();
    let key_of = |signer| json!({ "format": "x509", "content": encode(pem(signer)) });
    for log in [log, reopened] {
        assert_eq!(found(&log, json!({ "email": "DEV@signet.test" })).await, [certified.as_str()]);
        assert_eq!(found(&log, json!({ "subject": "dev@signet.test" })).await, [certified.as_str()]);
        for hash in [hello.clone(), format!("sha256:{hello}"), hello.to_uppercase()] {
            assert_eq!(found(&log, json!({ "hash": hash })).await, [message.as_str(), &same_artifact]);
        }
        assert_eq!(found(&log, json!({ "publicKey": key_of(&a) })).await, [message.as_str(), &attestation]);
        let query = json!({ "publicKey": key_of(&a), "hash": hello });
        assert_eq!(found(&log, query.clone()).await, [message.as_str(), &same_artifact, &attestation]);
        let mut both = query;
        both["operator"] = json!("and");
        assert_eq!(found(&log, both).await, [message.as_str()]);
        let envelope_hash = Digest::sha256(text.as_bytes()).hex();
        let payload_hash = Digest::sha256(payload.to_string().as_bytes()).hex();
        for hash in ["ab".repeat(32), "cd".repeat(20), "ef".repeat(64), envelope_hash, payload_hash] {
            assert_eq!(found(&log, json!({ "hash": hash })).await, [attestation.as_str()], "{hash}");
        }
        assert!(found(&log, json!({ "email": "nobody@signet.test" })).await.is_empty());
        assert!(found(&log, json!({})).await.is_empty());
        for bad in [
            json!({ "hash": "xyz" }),
            json!({ "hash": "sha512:".to_owned() + &"ab".repeat(32) }),
            json!({ "publicKey": { "format": "pgp", "content": "" } }),
            json!({ "publicKey": { "format": "x509", "url": "http://127.0.0.1/" } }),
            json!({ "operator": "xor" }),
        ] {
            let status = post(&log, "index/retrieve", &bad).await.status;
            assert!(status == 400 || status == 422, "{bad} {status}");
        }
    }
}

#[tokio::test]
async fn other_keys_and_hashes() {
    let log = open();
    let signing = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let spki = [&hex::decode("302a300506032b6570032100").unwrap()[..], &signing.verifying_key().to_bytes()].concat();
    let ed25519_pem = encoding::pem("PUBLIC KEY", &spki);
    use ed25519_dalek::{Digest as _, Signer as _};
    let prehash = sha2::Sha512::new().chain_update(b"hello");
    let signature = signing.sign_prehashed(prehash, None).unwrap().to_bytes();
    let digest = Digest::of(Algorithm::Sha512, b"hello");
    let request = serde_json::to_value(HashedRekordV001::new(&digest, &signature, &ed25519_pem)).unwrap();
    let answer = create(&log, &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let pure = signing.sign(b"hello").to_bytes();
    let request = serde_json::to_value(HashedRekordV001::new(&digest, &pure, &ed25519_pem)).unwrap();
    assert_eq!(create(&log, &request).await.status, 400, "a hashedrekord needs the prehashed algorithm");

    let pae = signing.sign(&dsse::pae(PAYLOAD_TYPE, b"{}")).to_bytes();
    let text =
        json!({ "payloadType": PAYLOAD_TYPE, "payload": encode("{}"), "signatures": [{ "sig": encode(pae) }] }).to_string();
    let request = json!({ "apiVersion": "0.0.1", "kind": "dsse",
        "spec": { "proposedContent": { "envelope": text, "verifiers": [encode(&ed25519_pem)] } } });
    assert_eq!(create(&log, &request).await.status, 201);

    use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
    let pkcs8 = generate(KeyKind::EcdsaP384).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &pkcs8).unwrap();
    let p384_pem = encoding::pem("PUBLIC KEY", &crate::keys::public_key(&pkcs8, KeyKind::EcdsaP384).unwrap());
    let signature = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), b"hello").unwrap();
    let digest = Digest::of(Algorithm::Sha384, b"hello");
    let request = serde_json::to_value(HashedRekordV001::new(&digest, signature.as_ref(), &p384_pem)).unwrap();
    assert_eq!(create(&log, &request).await.status, 201);
}
