//! The log as the CA, a monitor and another CA see it.

use std::str::FromStr;

use axum::{body::Body, http::Request};
use const_oid::{ObjectIdentifier, db::rfc5912::ECDSA_WITH_SHA_256};
use der::{
    Decode, Encode,
    asn1::{BitString, OctetString},
};
use serde_json::{Value, json};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use vidimus_core::{
    digest::sha256,
    encoding::{decode, encode},
    merkle::{check_consistency, leaf_hash, root_from_inclusion},
};
use x509_cert::{Certificate, TbsCertificate, Version, ext::Extension, name::Name, serial_number::SerialNumber, time::Validity};

use super::*;
use crate::{
    keys::{KeyKind, generate},
    storage::{Crash, Memory},
    testing::{Answer, call},
    verifier::PublicKey,
};

const POISON: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3");

fn signer() -> P256Signer {
    P256Signer::from_pkcs8(&generate(KeyKind::EcdsaP256).unwrap()).unwrap()
}

fn certificate(issuer: (&str, &P256Signer), subject: (&str, &P256Signer), extensions: Vec<Extension>) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None };
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&[1]).unwrap(),
        signature: algorithm.clone(),
        issuer: Name::from_str(issuer.0).unwrap(),
        validity: Validity::from_now(std::time::Duration::from_secs(60)).unwrap(),
        subject: Name::from_str(subject.0).unwrap(),
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(subject.1.spki()).unwrap(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions).filter(|e| !e.is_empty()),
    };
    let signature = BitString::from_bytes(&issuer.1.sign(&tbs.to_der().unwrap()).unwrap()).unwrap();
    Certificate { tbs_certificate: tbs, signature_algorithm: algorithm, signature }.to_der().unwrap()
}

fn poison(critical: bool) -> Extension {
    Extension { extn_id: POISON, critical, extn_value: OctetString::new([5, 0]).unwrap() }
}

/// A root, and a log that accepts it.
struct World {
    root_key: P256Signer,
    root: Vec<u8>,
    key: Vec<u8>,
    storage: Memory,
    log: CtLog,
}

impl World {
    fn new() -> Self {
        let root_key = signer();
        let root = certificate(("CN=root", &root_key), ("CN=root", &root_key), vec![]);
        let (storage, key) = (Memory::new(), generate(KeyKind::EcdsaP256).unwrap());
        let log = Self::open(&storage, &key, &root);
        Self { root_key, root, key, storage, log }
    }

    fn open(storage: &Memory, key: &[u8], root: &[u8]) -> CtLog {
        let options = CtOptions { origin: "localhost/ct".into(), roots: vec![root.to_vec()], clock: Clock::system() };
        CtLog::open(Arc::new(storage.clone()), key, options).unwrap()
    }

    async fn read(&self, path: &str) -> Answer {
        call(&router(self.log.clone()), Request::get(format!("/ct/v1/{path}")).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, chain: &[&[u8]]) -> Answer {
        let chain: Vec<String> = chain.iter().map(encode).collect();
        let body = Body::from(json!({ "chain": chain }).to_string());
        call(&router(self.log.clone()), Request::post(format!("/ct/v1/{path}")).body(body).unwrap()).await
    }
}

fn hashes(list: &Value) -> Vec<[u8; 32]> {
    list.as_array().unwrap().iter().map(|h| decode(h.as_str().unwrap()).unwrap().try_into().unwrap()).collect()
}

fn check_sct(log: &CtLog, sct: &Sct, issuer_key_hash: [u8; 32], tbs: &[u8]) {
    let size = &u32::try_from(tbs.len()).unwrap().to_be_bytes()[1..];
    let signed = [&[0, 0][..], &sct.timestamp.to_be_bytes(), &[0, 1], &issuer_key_hash, size, tbs, &[0, 0]].concat();
    PublicKey::from_spki(log.public_key()).unwrap().verify(&signed, &sct.signature).unwrap();
    assert_eq!(sct.log_id, sha256(log.public_key()));
    assert!(log.inner.log.find(&leaf_hash(&signed)).is_some(), "what the SCT signs is in the tree");
}

#[tokio::test]
async fn a_timestamp_is_given_for_what_is_durable() {
    let world = World::new();
    let mut submissions = Vec::new();
    for n in 0..20u8 {
        let log = world.log.clone();
        let precertificate = Precertificate {
            tbs: vec![n; 300],
            issuer_key_hash: [n; 32],
            certificate: vec![n, 1],
            chain: vec![vec![2], vec![3]],
        };
        submissions.push(tokio::spawn(async move { (n, log.submit(precertificate).await.unwrap()) }));
    }
    let mut scts = Vec::new();
    for submission in submissions {
        scts.push(submission.await.unwrap());
    }
    // The power goes the moment the last SCT is out.
    let found = World::open(&world.storage.crash(Crash::Lost), &world.key, &world.root);
    for (n, sct) in scts {
        check_sct(&found, &sct, [n; 32], &[n; 300]);
    }
    assert_eq!(found.status().size, 20);
}

#[tokio::test]
async fn monitors_can_follow_the_log() {
    let world = World::new();
    let (mut size, mut root) = (0, vidimus_core::merkle::empty_root());
    let key = PublicKey::from_spki(world.log.public_key()).unwrap();
    for n in 0..5u8 {
        world.log.submit_precert([n; 32], vec![n], vec![vec![1], vec![2]]).await.unwrap();
        let sth = world.read("get-sth").await.json();
        let new_size = sth["tree_size"].as_u64().unwrap();
        let new_root: [u8; 32] = decode(sth["sha256_root_hash"].as_str().unwrap()).unwrap().try_into().unwrap();
        let signed =
            [&[0, 1][..], &sth["timestamp"].as_u64().unwrap().to_be_bytes(), &new_size.to_be_bytes(), &new_root].concat();
        let signature = decode(sth["tree_head_signature"].as_str().unwrap()).unwrap();
        assert_eq!(signature[..2], [4, 3]);
        key.verify(&signed, &signature[4..]).unwrap();
        let proof = world.read(&format!("get-sth-consistency?first={size}&second={new_size}")).await.json();
        check_consistency(size, &root, new_size, &new_root, &hashes(&proof["consistency"])).unwrap();
        (size, root) = (new_size, new_root);
    }
    let entries = world.read("get-entries?start=1&end=1000").await.json();
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    let leaf = decode(entries[0]["leaf_input"].as_str().unwrap()).unwrap();
    let extra = decode(entries[0]["extra_data"].as_str().unwrap()).unwrap();
    assert_eq!(extra, [0, 0, 1, 1, 0, 0, 4, 0, 0, 1, 2]);
    let hash = encode(leaf_hash(&leaf)).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let proof = world.read(&format!("get-proof-by-hash?hash={hash}&tree_size=5")).await.json();
    assert_eq!(proof["leaf_index"], 1);
    assert_eq!(root_from_inclusion(1, 5, leaf_hash(&leaf), &hashes(&proof["audit_path"])).unwrap(), root);
    let both = world.read("get-entry-and-proof?leaf_index=1&tree_size=5").await.json();
    assert_eq!((&both["leaf_input"], &both["audit_path"]), (&entries[0]["leaf_input"], &proof["audit_path"]));
    assert_eq!(world.read("get-roots").await.json(), json!({ "certificates": [encode(&world.root)] }));

    let unknown = "A".repeat(43) + "%3D";
    assert_eq!(world.read(&format!("get-proof-by-hash?hash={unknown}&tree_size=5")).await.status, 404);
    for bad in [
        "get-sth-consistency?first=1&second=6",
        "get-sth-consistency?first=3&second=2",
        "get-sth-consistency?first=x&second=2",
        "get-proof-by-hash?hash=AA&tree_size=5",
        "get-entries?start=5&end=9",
        "get-entries?start=2&end=1",
        "get-entries",
        "get-entry-and-proof?leaf_index=5&tree_size=5",
        "get-entry-and-proof?leaf_index=0&tree_size=6",
    ] {
        assert_eq!(world.read(bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn chains_from_outside_must_lead_to_the_root() {
    let world = World::new();
    let (leaf_key, stranger) = (signer(), signer());
    let precert = certificate(("CN=root", &world.root_key), ("CN=leaf", &leaf_key), vec![poison(true)]);
    for chain in [&[&precert[..]][..], &[&precert, &world.root]] {
        let answer = world.post("add-pre-chain", chain).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let mut tbs = Certificate::from_der(&precert).unwrap().tbs_certificate;
        tbs.extensions = None;
        let signature = decode(json["signature"].as_str().unwrap()).unwrap();
        assert_eq!((&json["sct_version"], &json["extensions"], &signature[..2]), (&json!(0), &json!(""), &[4, 3][..]));
        let sct = Sct {
            log_id: decode(json["id"].as_str().unwrap()).unwrap().try_into().unwrap(),
            timestamp: json["timestamp"].as_u64().unwrap(),
            extensions: vec![],
            signature: signature[4..].to_vec(),
        };
        let mut expected = tbs.to_der().unwrap();
        if chain.len() == 1 {
            check_sct(&world.log, &sct, sha256(world.root_key.spki()), &expected);
        }
        expected[10] ^= 1;
        assert_eq!(world.log.inner.log.find(&leaf_hash(&expected)), None);
    }
    let last = world.log.status().size - 1;
    let entry = world.log.inner.log.entry(last).unwrap();
    assert!(entry.extra.windows(world.root.len()).any(|w| w == world.root), "monitors see the whole chain");

    let leaf = certificate(("CN=root", &world.root_key), ("CN=leaf", &leaf_key), vec![]);
    assert_eq!(world.post("add-chain", &[&leaf]).await.status, 200);
    let size = world.log.status().size;
    let foreign = certificate(("CN=root", &stranger), ("CN=leaf", &leaf_key), vec![poison(true)]);
    let soft = certificate(("CN=root", &world.root_key), ("CN=leaf", &leaf_key), vec![poison(false)]);
    for (path, chain) in [
        ("add-pre-chain", &[&foreign[..]][..]),
        ("add-pre-chain", &[&foreign, &world.root]),
        ("add-pre-chain", &[&leaf]),
        ("add-pre-chain", &[&soft]),
        ("add-pre-chain", &[]),
        ("add-pre-chain", &[b"x"]),
        ("add-chain", &[&precert]),
        ("add-chain", &[&world.root]),
        ("add-chain", &[&world.root, &leaf]),
    ] {
        let answer = world.post(path, chain).await;
        assert_eq!(answer.status, 400, "{path} {}", answer.text());
    }
    assert_eq!(world.log.status().size, size);
}
