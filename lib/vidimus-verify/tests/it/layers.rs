//! What cosign wrote before bundles: layers with annotations, old blob bundles, detached signatures; and entries of all kinds.

use std::collections::BTreeMap;

use serde_json::json;
use vidimus_core::{
    Digest,
    cosign::{Layer, LayerKind, Payload, RekorBundle, RekorPayload},
    dsse::{self, Envelope},
    encoding, intoto, jcs,
    rekor::{DsseSignature, DsseV001, HashedRekordV002, RawBytes, Verifier},
};
use vidimus_verify::{
    Artifact, CertificateIdentity, CheckId, Policy, Rejection, SignedEntity, TrustRoot, Verified, WitnessPolicy, verify,
};

use crate::forge::*;

pub(crate) fn image() -> Digest {
    Digest::sha256(b"a manifest")
}

pub(crate) fn keyless() -> Policy {
    Policy::keyless(CertificateIdentity::exact(NAME, ISSUER)).unsafe_without_sct()
}

fn judge(entity: &SignedEntity, trust: &TrustRoot, policy: &Policy) -> Result<Verified, Rejection> {
    verify(entity, &Artifact::digest(image()), trust, policy, at("2026-02-01T00:00:00Z"))
}

fn refused(result: Result<Verified, Rejection>, check: CheckId) -> String {
    let rejection = result.expect_err("must be refused");
    assert_eq!(rejection.check_id(), check, "{rejection}");
    rejection.to_string()
}

/// An instance, a signer's key and certificate.
pub(crate) struct Bench {
    pub(crate) instance: Instance,
    pub(crate) trust: TrustRoot,
    pub(crate) key: Key,
    pub(crate) leaf: Vec<u8>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (instance, key) = (Instance::new(), Key::new());
        Self { trust: instance.trust(), leaf: instance.issue(Draft::leaf(), &key), instance, key }
    }

    pub(crate) fn pem(&self) -> String {
        certificate_pem(&self.leaf)
    }

    /// A layer as cosign attaches it: certificate, and the entry's promise.
    pub(crate) fn layer(&self, kind: LayerKind, entry: &vidimus_core::bundle::TlogEntry) -> Layer {
        let promise = entry.inclusion_promise.as_ref().unwrap().signed_entry_timestamp.clone();
        let payload = RekorPayload {
            body: entry.canonicalized_body.clone(),
            integrated_time: entry.integrated_time.0,
            log_index: entry.log_index.0,
            log_id: entry.log_id.key_id.0.iter().map(|b| format!("{b:02x}")).collect(),
        };
        let mut layer = Layer::new(kind);
        layer.certificate = Some(self.pem());
        layer.bundle = Some(RekorBundle { signed_entry_timestamp: promise, payload });
        layer
    }

    /// A signed payload as a `.sig` layer.
    pub(crate) fn simple_signing(&self) -> (Layer, Vec<u8>) {
        let payload = Payload::new("registry.test/app", image(), &BTreeMap::new()).to_bytes();
        let signature = self.key.sign(&payload);
        let entry = self.instance.promised_signature(&payload, &signature, &self.pem());
        let layer = Layer { signature: Some(signature), ..self.layer(LayerKind::SimpleSigning, &entry) };
        (layer, payload)
    }

    /// A signed statement, as the envelope's value and as cosign 2 stores it.
    pub(crate) fn envelope(&self) -> (Envelope, Vec<u8>) {
        let payload = intoto::cosign_sign_statement(&image(), serde_json::Map::new()).unwrap();
        let signature = self.key.sign(&dsse::pae(dsse::IN_TOTO_PAYLOAD, &payload));
        let envelope = Envelope::new(dsse::IN_TOTO_PAYLOAD, payload.clone(), signature.clone());
        let (payload, sig) = (encoding::encode(payload), encoding::encode(signature));
        let text = format!(
            r#"{{"payloadType":"application/vnd.in-toto+json","payload":"{payload}","signatures":[{{"keyid":"","sig":"{sig}"}}]}}"#
        );
        (envelope, text.into_bytes())
    }
}

#[test]
fn a_simple_signing_layer() {
    let bench = Bench::new();
    let (layer, payload) = bench.simple_signing();
    let verdict = |layer: &Layer, payload: &[u8]| {
        judge(&SignedEntity::from_cosign_layer(layer, payload).unwrap(), &bench.trust, &keyless())
    };
    let verified = verdict(&layer, &payload).unwrap();
    for check in [CheckId::ClaimImage, CheckId::SignaturePayload, CheckId::LogPromise, CheckId::LogBinding] {
        assert!(verified.has(check), "{check}");
    }
    assert!(!verified.has(CheckId::LogInclusion), "an annotation cannot carry a proof");
    let other = Payload::new("registry.test/app", Digest::sha256(b"other"), &BTreeMap::new()).to_bytes();
    refused(verdict(&layer, &other), CheckId::LogBinding);
    let mut no_log = layer.clone();
    no_log.bundle = None;
    refused(verdict(&no_log, &payload), CheckId::LogEntries);
    let mut borrowed = layer.clone();
    borrowed.bundle = bench.simple_signing().0.bundle;
    refused(verdict(&borrowed, &payload), CheckId::LogBinding);
    let mut no_certificate = layer;
    no_certificate.certificate = None;
    refused(verdict(&no_certificate, &payload), CheckId::IdentitySan);
}

#[test]
fn a_simple_signing_layer_of_another_image() {
    let bench = Bench::new();
    let (layer, payload) = bench.simple_signing();
    let entity = SignedEntity::from_cosign_layer(&layer, &payload).unwrap();
    let other = Artifact::digest(Digest::sha256(b"other"));
    let rejection = verify(&entity, &other, &bench.trust, &keyless(), at("2026-02-01T00:00:00Z")).unwrap_err();
    assert_eq!(rejection.check_id(), CheckId::ClaimImage, "{rejection}");
}

#[test]
fn a_payload_that_is_not_one() {
    let bench = Bench::new();
    let payload = b"{}".to_vec();
    let signature = bench.key.sign(&payload);
    let entry = bench.instance.promised_signature(&payload, &signature, &bench.pem());
    let layer = Layer { signature: Some(signature), ..bench.layer(LayerKind::SimpleSigning, &entry) };
    refused(judge(&SignedEntity::from_cosign_layer(&layer, &payload).unwrap(), &bench.trust, &keyless()), CheckId::ClaimImage);
}

#[test]
fn an_attestation_layer_with_each_kind_of_entry() {
    let bench = Bench::new();
    let (envelope, text) = bench.envelope();
    let pem = encoding::encode(bench.pem());
    let (payload_hash, envelope_hash) = (Digest::sha256(&envelope.payload.0).hex(), Digest::sha256(&text).hex());
    let sig = encoding::encode(&envelope.signatures[0].sig.0);
    let hash = |value: &str| json!({"algorithm": "sha256", "value": value});
    let intoto = |version: &str, content: serde_json::Value| {
        let spec = match version {
            "0.0.1" => json!({"content": content, "publicKey": pem}),
            _ => json!({"content": content}),
        };
        jcs::canonical(&json!({"apiVersion": version, "kind": "intoto", "spec": spec})).unwrap()
    };
    let v002 = |payload_type: &str, sig: &str, payload_hash: &str| {
        let signature = json!({"publicKey": pem, "sig": encoding::encode(sig)});
        let envelope = json!({"payloadType": payload_type, "signatures": [signature]});
        intoto("0.0.2", json!({"envelope": envelope, "hash": hash(&envelope_hash), "payloadHash": hash(payload_hash)}))
    };
    let dsse_001 = |signature: &str| {
        let signature = DsseSignature { signature: signature.to_owned(), verifier: bench.pem().into_bytes().into() };
        DsseV001::new(&text, &envelope.payload.0, vec![signature]).canonical()
    };
    let other = Digest::sha256(b"other").hex();
    let other_sig = encoding::encode(bench.key.sign(b"other"));
    let verdict = |body: Vec<u8>| {
        let entry = bench.instance.promise(body, signed_at());
        let layer = bench.layer(LayerKind::Dsse, &entry);
        judge(&SignedEntity::from_cosign_layer(&layer, &text).unwrap(), &bench.trust, &keyless())
    };
    for good in [
        dsse_001(&sig),
        intoto("0.0.1", json!({"hash": hash(&envelope_hash), "payloadHash": hash(&payload_hash)})),
        intoto("0.0.1", json!({"hash": hash(&envelope_hash)})),
        v002(dsse::IN_TOTO_PAYLOAD, &sig, &payload_hash),
    ] {
        let text = String::from_utf8(good.clone()).unwrap();
        let verified = verdict(good).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(verified.has(CheckId::SignatureDsse) && verified.has(CheckId::StatementSubject));
    }
    for bad in [
        dsse_001(&other_sig),
        intoto("0.0.1", json!({"hash": hash(&other), "payloadHash": hash(&payload_hash)})),
        intoto("0.0.1", json!({"hash": hash(&envelope_hash), "payloadHash": hash(&other)})),
        v002(dsse::IN_TOTO_PAYLOAD, &sig, &other),
        v002("text/plain", &sig, &payload_hash),
        v002(dsse::IN_TOTO_PAYLOAD, &other_sig, &payload_hash),
    ] {
        refused(verdict(bad), CheckId::LogBinding);
    }
}

#[test]
fn an_intoto_0_0_1_entry_for_an_envelope_in_a_bundle() {
    let bench = Bench::new();
    let (envelope, text) = bench.envelope();
    let spec = json!({
        "content": {"hash": {"algorithm": "sha256", "value": Digest::sha256(&text).hex()}},
        "publicKey": encoding::encode(bench.pem()),
    });
    let body = jcs::canonical(&json!({"apiVersion": "0.0.1", "kind": "intoto", "spec": spec})).unwrap();
    let entry = bench.instance.promise(body, signed_at());
    // The text is not known any more: it is made again as cosign makes it.
    let json = serde_json::to_vec(&envelope).unwrap();
    let entity = SignedEntity::detached_envelope(&json).unwrap().with_certificate(&bench.leaf).unwrap().with_log_entry(entry);
    assert!(judge(&entity, &bench.trust, &keyless()).is_ok());
}

#[test]
fn an_old_blob_bundle_and_detached_files() {
    let bench = Bench::new();
    let artifact = b"a file";
    let signature = bench.key.sign(artifact);
    let entry = bench.instance.promised_signature(artifact, &signature, &bench.pem());
    let layer = bench.layer(LayerKind::SimpleSigning, &entry);
    let json = json!({
        "base64Signature": encoding::encode(&signature),
        "cert": encoding::encode(bench.pem()),
        "rekorBundle": layer.bundle,
    });
    let verdict = |entity: &SignedEntity, policy: &Policy| {
        verify(entity, &Artifact::bytes(artifact), &bench.trust, policy, at("2026-02-01T00:00:00Z"))
    };
    let old = SignedEntity::from_cosign_blob_bundle(json.to_string().as_bytes()).unwrap();
    assert!(verdict(&old, &keyless()).is_ok());
    assert!(SignedEntity::from_cosign_blob_bundle(b"{}").is_err());
    let detached = SignedEntity::detached(signature).with_certificate(bench.pem().as_bytes()).unwrap();
    refused(verdict(&detached, &keyless()), CheckId::LogEntries);
    refused(verdict(&detached, &keyless().unsafe_without_log()), CheckId::TimeSource);
    // A certificate that was valid for minutes is not valid now.
    refused(verdict(&detached, &keyless().unsafe_without_log().unsafe_at_current_time()), CheckId::CertValidity);
    let with_entry = detached.with_rekor_bundle(layer.bundle.as_ref().unwrap()).unwrap();
    assert!(verdict(&with_entry, &keyless()).is_ok());
    assert!(
        SignedEntity::detached(vec![1])
            .with_certificate(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
            .is_err()
    );
}

#[test]
fn an_entry_with_the_bare_key_does_not_say_whose_certificate_it_was() {
    let bench = Bench::new();
    let artifact = b"a file";
    let signature = bench.key.sign(artifact);
    let entry = bench.instance.promised_signature(artifact, &signature, &encoding::pem("PUBLIC KEY", &bench.key.spki()));
    let entity = SignedEntity::detached(signature).with_certificate(&bench.leaf).unwrap().with_log_entry(entry);
    let verdict = |policy: &Policy| verify(&entity, &Artifact::bytes(artifact), &bench.trust, policy, at("2026-02-01T00:00:00Z"));
    refused(verdict(&keyless()), CheckId::LogBinding);
    assert!(verdict(&Policy::key(bench.key.public())).unwrap().has(CheckId::IdentityKey));
    refused(verdict(&Policy::key(Key::new().public())), CheckId::LogBinding);
}

/// A signature in a Rekor v2 log, without timestamp.
pub(crate) fn rekor_2(bench: &Bench, artifact: &[u8], origin: &str) -> (SignedEntity, vidimus_core::checkpoint::Note) {
    let signature = bench.key.sign(artifact);
    let key = RawBytes { raw_bytes: bench.key.spki().into() };
    let verifier = Verifier { key_details: "PKIX_ECDSA_P256_SHA_256".to_owned(), public_key: Some(key), x509_certificate: None };
    let body = HashedRekordV002::new(&Digest::sha256(artifact), &signature, verifier).canonical();
    let (entry, note) = bench.instance.include(body, origin);
    (SignedEntity::detached(signature).with_log_entry(entry), note)
}

#[test]
fn a_managed_key_in_a_rekor_2_log() {
    let bench = Bench::new();
    let verdict = |entity: &SignedEntity, policy: &Policy| {
        verify(entity, &Artifact::bytes(b"x"), &bench.trust, policy, at("2026-02-01T00:00:00Z"))
    };
    let policy = Policy::key(bench.key.public());
    let verified = verdict(&rekor_2(&bench, b"x", "rekor2.test").0, &policy).unwrap();
    assert!(verified.has(CheckId::LogInclusion) && verified.has(CheckId::IdentityKey));
    assert_eq!(verified.times(), []);
    let text = refused(verdict(&rekor_2(&bench, b"x", "elsewhere.test").0, &policy), CheckId::LogCheckpoint);
    assert!(text.contains("another log"), "{text}");
}

/// A witness of logs.
pub(crate) struct Witness {
    pair: aws_lc_rs::signature::Ed25519KeyPair,
    key: Vec<u8>,
    id: Digest,
}

impl Witness {
    pub(crate) fn new() -> Self {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let key = [&[4], aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref()].concat();
        let id = Digest::sha256(&[b"witness.test\n", &key[..]].concat());
        Self { pair, key, id }
    }

    pub(crate) fn policy(&self) -> WitnessPolicy {
        let hash: String = self.id.bytes()[..4].iter().map(|b| format!("{b:02x}")).collect();
        let vkey = format!("witness.test+{hash}+{}", encoding::encode(&self.key));
        WitnessPolicy::new([vkey.as_str()], 1).unwrap()
    }

    /// The entity with a cosignature on its checkpoint.
    pub(crate) fn cosign(&self, entity: &SignedEntity, note: &vidimus_core::checkpoint::Note) -> SignedEntity {
        let message = format!("cosignature/v1\ntime 1767225600\n{}", note.text);
        let signature = self.pair.sign(message.as_bytes());
        let blob = [&self.id.bytes()[..4], &1_767_225_600_u64.to_be_bytes(), signature.as_ref()].concat();
        let mut entry = entity.log_entries()[0].clone();
        let envelope = &mut entry.inclusion_proof.as_mut().unwrap().checkpoint.as_mut().unwrap().envelope;
        envelope.push_str(&format!("\u{2014} witness.test {}\n", encoding::encode(blob)));
        SignedEntity::detached(entity.signature().to_vec()).with_log_entry(entry)
    }
}

#[test]
fn witnesses() {
    let bench = Bench::new();
    let witness = Witness::new();
    let policy = || Policy::key(bench.key.public()).require_witnesses(witness.policy());
    let verdict =
        |entity: &SignedEntity| verify(entity, &Artifact::bytes(b"x"), &bench.trust, &policy(), at("2026-02-01T00:00:00Z"));
    let (entity, note) = rekor_2(&bench, b"x", "rekor2.test");
    refused(verdict(&entity), CheckId::LogWitness);
    let cosigned = witness.cosign(&entity, &note);
    let verified = verdict(&cosigned).unwrap();
    assert_eq!(verified.log_entries()[0].witnesses, ["witness.test"]);
    assert!(verified.has(CheckId::LogWitness));
    // A promise has no checkpoint that a witness could have seen.
    let signature = bench.key.sign(b"x");
    let entry = bench.instance.promised_signature(b"x", &signature, &encoding::pem("PUBLIC KEY", &bench.key.spki()));
    refused(verdict(&SignedEntity::detached(signature).with_log_entry(entry)), CheckId::LogWitness);
}

#[test]
fn a_log_that_was_retired_before_the_signature_was_made() {
    let bench = Bench::new();
    let (entity, _) = rekor_2(&bench, b"x", "rekor2.test");
    let retired = Instance { log2_until: "2025-12-01T00:00:00Z", ..bench.instance };
    let now = at("2026-02-01T00:00:00Z");
    let policy = Policy::key(bench.key.public());
    // Without any time nobody can tell, and a key needs none.
    assert!(verify(&entity, &Artifact::bytes(b"x"), &retired.trust(), &policy, now).is_ok());
    let signature = entity.signature();
    let promised = retired.promised_signature(b"x", signature, &encoding::pem("PUBLIC KEY", &bench.key.spki()));
    let entity = entity.clone().with_log_entry(promised);
    refused(verify(&entity, &Artifact::bytes(b"x"), &retired.trust(), &policy, now), CheckId::LogCheckpoint);
    // Nor can it have been in a log that starts only later.
    let before = at("2024-12-31T00:00:00Z");
    let (alone, _) = rekor_2(&Bench { instance: retired, ..bench }, b"x", "rekor2.test");
    refused(verify(&alone, &Artifact::bytes(b"x"), &Instance::new().trust(), &policy, before), CheckId::LogCheckpoint);
}
