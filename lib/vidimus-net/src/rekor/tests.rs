//! The clients against logs that the tests play: small, honest where not told otherwise, and wrong in every way that matters.

use std::sync::Mutex;

use serde_json::{Value, json};
use vidimus_core::{
    bundle::{Int64, LogId},
    encoding::{Base64, encode},
    jcs,
    merkle::node_hash,
    rekor::{Body, DsseProposedContent, DsseSignature, DsseV001},
};

use super::*;
use crate::{
    http::{Client, Kind},
    keys::{EphemeralKey, SigningKey},
    testing::{Reply, Seen, Server, impatient, persistent},
};

const TREE: &str = "0123456789abcdef";

/// A key, a signature over an artifact, and one over an envelope.
struct Signing {
    key: EphemeralKey,
    digest: Digest,
    signature: Vec<u8>,
    envelope: Envelope,
}

impl Signing {
    fn new() -> Self {
        let key = EphemeralKey::generate().unwrap();
        let signature = key.sign(b"artifact").unwrap();
        let pae = vidimus_core::dsse::pae("t", b"payload");
        let envelope = Envelope::new("t", b"payload".to_vec(), key.sign(&pae).unwrap());
        Self { key, digest: Digest::sha256(b"artifact"), signature, envelope }
    }

    fn artifact(&self) -> Signed<'_> {
        Signed::Artifact { digest: &self.digest, signature: &self.signature }
    }

    fn signer(&self) -> Signer<'_> {
        Signer::PublicKey(self.key.public_key_der())
    }
}

/// A checkpoint whose signature nobody checks here.
fn note(size: u64, root: &Hash) -> String {
    format!("log - 1\n{size}\n{}\n\n— log {}\n", encode(root), encode([0; 70]))
}

/// The stored form of what was posted to a v1 log.
fn stored_v1(posted: &Value) -> Vec<u8> {
    if posted["kind"] != "dsse" {
        return jcs::canonical(posted).unwrap();
    }
    let content: DsseProposedContent = serde_json::from_value(posted["spec"]["proposedContent"].clone()).unwrap();
    let envelope = Envelope::from_json(content.envelope.as_bytes()).unwrap();
    let signature = DsseSignature { signature: encode(&envelope.signatures[0].sig.0), verifier: content.verifiers[0].clone() };
    DsseV001::new(content.envelope.as_bytes(), &envelope.payload.0, vec![signature]).canonical()
}

/// A v1 answer: the entry is the second leaf of a tree of two.
fn entry_v1(body: &[u8]) -> Value {
    let (other, leaf) = (leaf_hash(b"genesis"), leaf_hash(body));
    let root = node_hash(&other, &leaf);
    let proof = json!({"checkpoint": note(2, &root), "hashes": [hex::encode(other)], "logIndex": 1, "rootHash": hex::encode(root),
        "treeSize": 2});
    json!({format!("{TREE}{}", hex::encode(leaf)): {"body": encode(body), "integratedTime": 1_795_294_022, "logID": "00".repeat(32),
        "logIndex": 1, "verification": {"inclusionProof": proof, "signedEntryTimestamp": encode([1])}}})
}

/// Changes the only entry of a v1 answer.
fn only(answer: &mut Value) -> &mut Value {
    answer.as_object_mut().unwrap().values_mut().next().unwrap()
}

async fn v1(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Server {
    Server::start(move |seen| {
        let mut answer = entry_v1(&stored_v1(&seen.json()));
        change(&mut answer);
        Reply::json(201, &answer)
    })
    .await
}

fn log_v1(server: &Server) -> RekorV1 {
    RekorV1::new(impatient(), &server.url)
}

#[tokio::test]
async fn v1_logs_artifacts_and_envelopes() {
    let (signing, server) = (Signing::new(), v1(|_| {}).await);
    let entry = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap();
    assert_eq!((entry.kind_version.kind.as_str(), entry.log_index), ("hashedrekord", Int64(1)));
    assert!(entry.inclusion_promise.is_some());
    let entry = log_v1(&server).log(Signed::Envelope(&signing.envelope), signing.signer()).await.unwrap();
    assert_eq!(entry.kind_version.kind, "dsse");
    assert_eq!(server.calls(), ["POST /api/v1/log/entries"; 2]);
    // As a service below a prefix.
    let below = server.url.join("rekor/").unwrap();
    RekorV1::new(impatient(), &below).log(signing.artifact(), signing.signer()).await.unwrap();
    assert_eq!(server.calls()[2], "POST /rekor/api/v1/log/entries");
}

#[tokio::test]
async fn v1_answers_about_something_else_are_refused() {
    let signing = Signing::new();
    let other = Signing::new();
    let foreign = |spec: fn(&mut Value, &Signing)| {
        let mut posted = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": signing.digest.hex()}},
            "signature": {"content": encode(&signing.signature), "publicKey": {"content": encode(signing.key.public_key_pem())}}}});
        spec(&mut posted["spec"], &other);
        entry_v1(&jcs::canonical(&posted).unwrap())
    };
    for (answer, what) in [
        (foreign(|spec, _| spec["data"]["hash"]["value"] = "00".repeat(32).into()), "digest"),
        (foreign(|spec, other| spec["signature"]["content"] = encode(&other.signature).into()), "signature"),
        (foreign(|spec, other| spec["signature"]["publicKey"]["content"] = encode(other.key.public_key_pem()).into()), "key"),
    ] {
        let server = Server::start(move |_| Reply::json(201, &answer)).await;
        let error = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap_err();
        assert!(matches!(&error, RekorError::Mismatch { what: seen, .. } if seen.starts_with(what)), "{what}: {error}");
    }
    // An envelope where an artifact was logged.
    let posted = json!(DsseProposalJson::of(&signing));
    let answer = entry_v1(&stored_v1(&posted));
    let server = Server::start(move |_| Reply::json(201, &answer)).await;
    let error = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap_err();
    assert!(matches!(error, RekorError::Mismatch { what: "kind", .. }), "{error}");
}

/// A `dsse` proposal as JSON.
struct DsseProposalJson;

impl DsseProposalJson {
    fn of(signing: &Signing) -> Value {
        let envelope = serde_json::to_string(&signing.envelope).unwrap();
        json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": {"envelope": envelope,
            "verifiers": [encode(signing.key.public_key_pem())]}}})
    }
}

#[tokio::test]
async fn v1_broken_proofs_and_answers_are_refused() {
    let signing = Signing::new();
    type Change = fn(&mut Value);
    let changes: [Change; 9] = [
        |answer| only(answer)["verification"]["inclusionProof"]["hashes"] = json!([]),
        |answer| only(answer)["verification"]["inclusionProof"]["hashes"] = json!(["00".repeat(32)]),
        |answer| only(answer)["verification"]["inclusionProof"]["hashes"] = json!(["zz"]),
        |answer| only(answer)["verification"]["inclusionProof"]["rootHash"] = "00".repeat(32).into(),
        |answer| only(answer)["verification"]["inclusionProof"]["checkpoint"] = note(2, &[0; 32]).into(),
        |answer| only(answer)["verification"]["inclusionProof"]["checkpoint"] = "x".into(),
        |answer| only(answer)["body"] = "?".into(),
        |answer| *answer = json!({}),
        |answer| *answer = json!([]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let server = v1(change).await;
        let error = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap_err();
        assert!(matches!(error, RekorError::Malformed { .. }), "{number}: {error}");
    }
    let server = v1(|answer| {
        let entry = only(answer).clone();
        *answer = json!({format!("{TREE}{}", "00".repeat(32)): entry});
    })
    .await;
    let error = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap_err();
    assert!(matches!(error, RekorError::Mismatch { what: "UUID", .. }), "{error}");
}

#[tokio::test]
async fn v1_conflict_gives_the_existing_entry() {
    for in_header in [true, false] {
        let entries = Mutex::new(Vec::new());
        let server = Server::start(move |seen| {
            let mut entries = entries.lock().unwrap();
            if seen.method == "GET" {
                return Reply::json(200, &entries[0]);
            }
            let answer = entry_v1(&stored_v1(&seen.json()));
            let uuid = answer.as_object().unwrap().keys().next().unwrap().clone();
            entries.push(answer);
            let words = format!("an equivalent entry already exists in the transparency log with UUID {uuid}");
            let reply = Reply::json(409, &json!({"code": 409, "message": if in_header { "exists" } else { &words }}));
            if in_header { reply.with("location", &format!("/api/v1/log/entries/{uuid}")) } else { reply }
        })
        .await;
        let signing = Signing::new();
        let entry = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap();
        assert_eq!(entry.kind_version.kind, "hashedrekord");
        assert!(server.calls()[1].starts_with(&format!("GET /api/v1/log/entries/{TREE}")));
    }
    let server = Server::start(|_| Reply::json(409, &json!({"message": "exists"}))).await;
    let signing = Signing::new();
    let error = log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap_err();
    assert!(matches!(error, RekorError::Exists { .. }), "{error}");
}

#[tokio::test]
async fn v1_an_entry_without_its_proof_is_read_back() {
    let stored = Mutex::new(Value::Null);
    let server = Server::start(move |seen| {
        let mut stored = stored.lock().unwrap();
        if seen.method == "GET" {
            return Reply::json(200, &stored);
        }
        *stored = entry_v1(&stored_v1(&seen.json()));
        let mut answer = stored.clone();
        only(&mut answer)["verification"]["inclusionProof"].take();
        Reply::json(201, &answer)
    })
    .await;
    let signing = Signing::new();
    assert!(log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap().inclusion_proof.is_some());
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn faults_are_faults_and_outages_are_retried() {
    for (status, kind) in [(400, Kind::Status(400)), (401, Kind::Denied), (404, Kind::NotFound), (500, Kind::Unavailable)] {
        let server = Server::start(move |_| Reply::json(status, &json!({"code": 1, "message": "why"}))).await;
        let signing = Signing::new();
        for error in [
            log_v1(&server).log(signing.artifact(), signing.signer()).await.unwrap_err(),
            RekorV2::new(impatient(), &server.url).log(signing.artifact(), signing.signer()).await.unwrap_err(),
        ] {
            let RekorError::Http(error) = error else { panic!("{error}") };
            assert_eq!((error.kind, error.detail.as_str()), (kind, "why"));
        }
    }
    let server = Server::start(|_| Reply::new(503, "")).await;
    let signing = Signing::new();
    RekorV1::new(persistent(), &server.url).log(signing.artifact(), signing.signer()).await.unwrap_err();
    RekorV2::new(persistent(), &server.url).log(signing.artifact(), signing.signer()).await.unwrap_err();
    assert_eq!(server.seen().len(), 6);
    let error = RekorV1::new(Client::disabled(), &server.url).log(signing.artifact(), signing.signer()).await.unwrap_err();
    assert!(matches!(error, RekorError::Http(HttpError { kind: Kind::Disabled, .. })), "{error}");
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn v1_reads_what_the_log_says() {
    let body = jcs::canonical(&json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {}})).unwrap();
    let entry = entry_v1(&body);
    let uuid = entry.as_object().unwrap().keys().next().unwrap().clone();
    let answer = entry.clone();
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/api/v1/log" => Reply::json(
            200,
            &json!({"inactiveShards": null, "rootHash": "00", "signedTreeHead": "sth", "treeID": "42", "treeSize": 7}),
        ),
        "/api/v1/log/proof?firstSize=1&lastSize=2&treeID=42" => {
            Reply::json(200, &json!({"rootHash": "", "hashes": ["11".repeat(32)]}))
        }
        "/api/v1/log/proof?firstSize=2&lastSize=3" => Reply::json(200, &json!({"rootHash": "", "hashes": ["11"]})),
        "/api/v1/log/publicKey" => Reply::new(200, pem("PUBLIC KEY", b"k")),
        "/api/v1/index/retrieve" => Reply::json(200, &json!(["a", "b"])),
        "/api/v1/log/entries/retrieve" => Reply::json(200, &json!([answer])),
        path if path.starts_with("/api/v1/log/entries") => Reply::json(200, &answer),
        _ => Reply::new(404, ""),
    })
    .await;
    let log = log_v1(&server);
    let info = log.info().await.unwrap();
    assert_eq!((info.active.tree_id.as_str(), info.active.tree_size, info.inactive_shards), ("42", 7, None));
    assert_eq!(log.consistency(1, 2, Some("42")).await.unwrap(), [[0x11; 32]]);
    assert!(matches!(log.consistency(2, 3, None).await, Err(RekorError::Malformed { .. })));
    assert!(log.public_key().await.unwrap().contains("PUBLIC KEY"));
    assert_eq!(log.entry(&uuid).await.unwrap().log_index, 1);
    assert_eq!(log.entry_at(1).await.unwrap().0, uuid);
    assert_eq!(log.entries(&vec![uuid; 11]).await.unwrap().len(), 2, "two calls of at most ten");
    for bad in ["", "../../x", "zz"] {
        assert!(matches!(log.entry(bad).await, Err(RekorError::Malformed { .. })), "{bad}");
    }
    let search = Search { email: Some("a@b".into()), digest: Some(Digest::sha256(b"")), public_key: Some("P".into()) };
    assert_eq!(log.search(&search).await.unwrap(), ["a", "b"]);
    let sent = server.seen().last().unwrap().json();
    assert_eq!(
        (&sent["email"], &sent["operator"], &sent["publicKey"]["content"]),
        (&json!("a@b"), &json!("and"), &json!("UA=="))
    );
    assert!(sent["hash"].as_str().unwrap().starts_with("sha256:"));
}

/// The stored form of what was posted to a v2 log.
fn stored_v2(posted: &Value) -> Vec<u8> {
    let request = &posted["hashedRekordRequestV002"];
    let data = json!({"algorithm": "SHA2_256", "digest": request["digest"]});
    let spec = json!({"hashedRekordV002": {"data": data, "signature": request["signature"]}});
    jcs::canonical(&json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec})).unwrap()
}

fn entry_v2(body: &[u8]) -> Value {
    let (other, leaf) = (leaf_hash(b"genesis"), leaf_hash(body));
    let root = node_hash(&other, &leaf);
    let proof = json!({"logIndex": "1", "rootHash": encode(root), "treeSize": "2", "hashes": [encode(other)],
        "checkpoint": {"envelope": note(2, &root)}});
    json!({"logIndex": "1", "logId": {"keyId": encode([9; 32])}, "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
        "integratedTime": "0", "inclusionPromise": null, "inclusionProof": proof, "canonicalizedBody": encode(body)})
}

#[tokio::test]
async fn v2_logs_artifacts_and_envelopes() {
    let server = Server::start(|seen| Reply::json(201, &entry_v2(&stored_v2(&seen.json())))).await;
    let (signing, log) = (Signing::new(), RekorV2::new(impatient(), &server.url));
    let entry = log.log(signing.artifact(), signing.signer()).await.unwrap();
    assert_eq!((entry.log_index, entry.integrated_time, entry.inclusion_promise), (Int64(1), Int64(0), None));
    log.log(Signed::Envelope(&signing.envelope), signing.signer()).await.unwrap();
    let sent = server.seen()[1].json();
    let pae = Digest::sha256(&signing.envelope.pae());
    assert_eq!(sent["hashedRekordRequestV002"]["digest"], encode(pae.bytes()));
    assert_eq!(sent["hashedRekordRequestV002"]["signature"]["verifier"]["keyDetails"], "PKIX_ECDSA_P256_SHA_256");
}

#[tokio::test]
async fn v2_takes_a_real_answer_to_its_own_request_only() {
    let capture = include_str!("../../../../testdata/wire/rekor2-create.http");
    let body = capture.split_once("\r\n\r\n").or_else(|| capture.split_once("\n\n")).unwrap().1.to_owned();
    let answer: TlogEntry = serde_json::from_str(&body).unwrap();
    let Body::HashedRekordV002(stored) = Body::parse(&answer.canonicalized_body.0).unwrap() else { panic!("another kind") };
    let server = Server::start(move |_| Reply::new(201, body.clone())).await;
    let log = RekorV2::new(impatient(), &server.url);
    let digest = stored.content.data.to_digest().unwrap();
    let key = stored.content.signature.verifier.public_key.unwrap().raw_bytes.0;
    let mut signature = stored.content.signature.content.0;
    let logged = log.log(Signed::Artifact { digest: &digest, signature: &signature }, Signer::PublicKey(&key)).await.unwrap();
    assert_eq!(logged, answer);
    signature[10] ^= 1;
    let error = log.log(Signed::Artifact { digest: &digest, signature: &signature }, Signer::PublicKey(&key)).await.unwrap_err();
    assert!(matches!(error, RekorError::Mismatch { what: "signature", .. }), "{error}");
}

#[tokio::test]
async fn v2_broken_answers_are_refused() {
    let signing = Signing::new();
    type Change = fn(&mut Value);
    let changes: [Change; 6] = [
        |answer| drop(answer["inclusionProof"].take()),
        |answer| answer["inclusionProof"]["hashes"] = json!([]),
        |answer| answer["inclusionProof"]["treeSize"] = "3".into(),
        |answer| answer["inclusionProof"]["checkpoint"]["envelope"] = note(3, &[0; 32]).into(),
        |answer| answer["canonicalizedBody"] = encode(b"{}").into(),
        |answer| *answer = json!("no"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let server = Server::start(move |seen| {
            let mut answer = entry_v2(&stored_v2(&seen.json()));
            change(&mut answer);
            Reply::json(201, &answer)
        })
        .await;
        let log = RekorV2::new(impatient(), &server.url);
        let error = log.log(signing.artifact(), signing.signer()).await.unwrap_err();
        assert!(matches!(error, RekorError::Malformed { .. }), "{number}: {error}");
    }
}

/// A v2 log of 300 entries, the last of which is what is posted; it answers 409 and serves its tiles.
fn tiled(seen: &Seen, posted: &Mutex<Vec<u8>>) -> Reply {
    const SIZE: u64 = 300;
    if seen.method == "POST" {
        *posted.lock().unwrap() = stored_v2(&seen.json());
        return Reply::json(409, &json!({"code": 6, "message": "exists"})).with("x-log-index", "299");
    }
    let body = posted.lock().unwrap().clone();
    let entries: Vec<Vec<u8>> = (0..SIZE - 1).map(|n| n.to_be_bytes().to_vec()).chain([body]).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let flat = |hashes: &[Hash]| Reply::new(200, hashes.concat());
    match seen.path.as_str() {
        "/api/v2/checkpoint" => Reply::new(200, note(SIZE, &root(&leaves))),
        "/api/v2/tile/0/000" => flat(&leaves[..256]),
        "/api/v2/tile/0/001.p/44" => flat(&leaves[256..]),
        "/api/v2/tile/1/000.p/1" => flat(&[root(&leaves[..256])]),
        "/api/v2/tile/entries/001.p/44" => {
            let framed = |entry: &Vec<u8>| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat();
            Reply::new(200, entries[256..].iter().flat_map(framed).collect::<Vec<u8>>())
        }
        _ => Reply::new(404, ""),
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

#[tokio::test]
async fn v2_conflict_gives_the_existing_entry_out_of_tiles() {
    let posted = Mutex::new(Vec::new());
    let server = Server::start(move |seen| tiled(seen, &posted)).await;
    let signing = Signing::new();
    let id = LogId { key_id: Base64(vec![9; 32]) };
    let log = RekorV2::new(impatient(), &server.url).with_log_id(id.clone());
    let entry = log.log(signing.artifact(), signing.signer()).await.unwrap();
    assert_eq!((entry.log_index, &entry.log_id), (Int64(299), &id));
    assert_eq!(entry.inclusion_proof.unwrap().tree_size, Int64(300));
    let log = RekorV2::new(impatient(), &server.url);
    let error = log.log(signing.artifact(), signing.signer()).await.unwrap_err();
    assert!(matches!(error, RekorError::Exists { .. }), "{error}");
    assert!(log.body(300, 300).await.is_err());
    assert!(log.inclusion(5, 299).await.is_err(), "tiles of another size are not served");
}

#[test]
fn keys_have_the_names_of_protobuf_specs() {
    let signing = Signing::new();
    assert_eq!(signing.signer().scheme().unwrap().key_details, "PKIX_ECDSA_P256_SHA_256");
    assert!(matches!(Signer::PublicKey(b"x").scheme(), Err(RekorError::Signer(_))));
    assert!(matches!(Signer::Certificate(signing.key.public_key_der()).scheme(), Err(RekorError::Signer(_))));
    let pem = include_str!("../../../../testdata/fulcio/email.pem");
    let der = &vidimus_core::encoding::pem_blocks(pem).unwrap()[0].der;
    assert_eq!(Signer::Certificate(der).scheme().unwrap().digest, Algorithm::Sha256);
}

#[tokio::test]
async fn what_cannot_be_logged_is_refused_before_anything_is_sent() {
    let (signing, server) = (Signing::new(), Server::start(|_| Reply::new(500, "")).await);
    let mut envelope = signing.envelope.clone();
    envelope.signatures.push(envelope.signatures[0].clone());
    let (one, two) = (log_v1(&server), RekorV2::new(impatient(), &server.url));
    assert!(matches!(one.log(Signed::Envelope(&envelope), signing.signer()).await, Err(RekorError::Signatures(2))));
    assert!(matches!(two.log(Signed::Envelope(&envelope), signing.signer()).await, Err(RekorError::Signatures(2))));
    let digest = Digest::of(Algorithm::Sha512, b"artifact");
    let signed = Signed::Artifact { digest: &digest, signature: &signing.signature };
    assert!(matches!(two.log(signed, signing.signer()).await, Err(RekorError::DigestAlgorithm { .. })));
    assert!(server.seen().is_empty());
}
