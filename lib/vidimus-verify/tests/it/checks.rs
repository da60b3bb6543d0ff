//! Every check, by its id: something on which it is performed and passes, and something that fails on it and on no other. A check
//! that is added to the engine without both cases fails here.

use serde_json::{Value, json};
use vidimus_core::{
    Digest,
    bundle::Version,
    cosign::{LayerKind, Payload},
    fulcio::Extension as Claim,
};
use vidimus_verify::{Artifact, CertificateIdentity, CheckId, Pattern, Policy, Rejection, SignedEntity, Verified, verify};

use crate::{
    bundles::{V1, V2, changed, entry, flip, judge, public},
    common::*,
    forge::{Draft, ISSUER as TEST_ISSUER, Instance, Key, NAME, at, certificate_pem, extension},
    layers::{Bench, Witness, image, keyless, rekor_2},
};

type Verdict = Result<Verified, Rejection>;

/// What passes a check, and what fails on it.
struct Cases {
    accepted: Verdict,
    rejected: Verdict,
}

#[test]
fn every_check_has_an_accepted_and_a_rejected_case() {
    for check in CheckId::ALL {
        let cases = cases(*check).unwrap_or_else(|| panic!("{check} has no cases"));
        let verified = cases.accepted.unwrap_or_else(|e| panic!("{check}: the good case: {e}"));
        assert!(verified.has(*check), "{check} is not among the checks of the good case");
        let rejection = cases.rejected.err().unwrap_or_else(|| panic!("{check}: the bad case was accepted"));
        assert_eq!(rejection.check_id(), *check, "{rejection}");
        assert!(!rejection.to_string().is_empty());
    }
}

/// A real bundle as it is, and after a change that only one check can notice.
fn after(case: &Case, change: impl FnOnce(&mut Value)) -> Option<Cases> {
    Some(Cases { accepted: changed(case, |_| ()), rejected: changed(case, change) })
}

/// A real bundle under two policies.
fn under(case: &Case, good: Policy, bad: Policy) -> Option<Cases> {
    Some(Cases { accepted: judge(case, &case.json(), &good), rejected: judge(case, &case.json(), &bad) })
}

fn cases(check: CheckId) -> Option<Cases> {
    let message = |b: &mut Value, place: &str| flip(&mut b["messageSignature"][place]);
    match check {
        CheckId::BundleContent => after(V1, |b| b["messageSignature"]["signature"] = json!("")),
        CheckId::BundleVersion => {
            let policy = || Policy::keyless(CertificateIdentity::exact(SIGNER, ISSUER)).min_bundle_version(Version::V03);
            let old = |b: &mut Value| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
            let mut bundle: Value = serde_json::from_slice(&V1.json()).unwrap();
            old(&mut bundle);
            let rejected = judge(V1, &serde_json::to_vec(&bundle).unwrap(), &policy());
            Some(Cases { accepted: judge(V1, &V1.json(), &policy()), rejected })
        }
        CheckId::CertChain => leaf(|instance, key| Draft::leaf().issue(key, "intermediate", &instance.root_key)),
        CheckId::CertUsage => leaf(|instance, key| {
            let servers = x509_cert::ext::pkix::ExtendedKeyUsage(vec![const_oid::db::rfc5280::ID_KP_SERVER_AUTH]);
            instance.issue(Draft::leaf().with(extension(const_oid::db::rfc5280::ID_CE_EXT_KEY_USAGE, false, &servers)), key)
        }),
        CheckId::CertValidity => {
            leaf(|instance, key| instance.issue(Draft { not_after: at("2025-12-31T23:59:59Z"), ..Draft::leaf() }, key))
        }
        CheckId::CertSct => under(V1, V1.policy(), V1.policy().require_scts(2)),
        CheckId::ClaimImage => claim(),
        CheckId::IdentityClaim => {
            let identity = |value: &str| {
                Policy::keyless(CertificateIdentity::exact(SIGNER, ISSUER).with_claim(Claim::IssuerV2, Pattern::exact(value)))
            };
            under(V1, identity(ISSUER), identity("https://other.test"))
        }
        CheckId::IdentityIssuer => {
            under(V1, V1.policy(), Policy::keyless(CertificateIdentity::exact(SIGNER, "https://other.test")))
        }
        CheckId::IdentityKey => key_validity(),
        CheckId::IdentitySan => under(V1, V1.policy(), Policy::keyless(CertificateIdentity::exact("x@example.test", ISSUER))),
        CheckId::LogBinding => after(V1, |b| message(b, "signature")),
        CheckId::LogCheckpoint => after(V2, |b| {
            let envelope = &mut entry(b)["inclusionProof"]["checkpoint"]["envelope"];
            *envelope = json!(envelope.as_str().unwrap().replace("\u{2014} localhost ", "\u{2014} elsewhere "));
        }),
        CheckId::LogEntries => after(V1, |b| b["verificationMaterial"]["tlogEntries"] = json!([])),
        CheckId::LogInclusion => after(V2, |b| flip(&mut entry(b)["inclusionProof"]["hashes"][0])),
        CheckId::LogPromise => after(V1, |b| flip(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"])),
        CheckId::LogWitness => {
            let (bench, witness) = (Bench::new(), Witness::new());
            let (entity, note) = rekor_2(&bench, b"x", "rekor2.test");
            let policy = Policy::key(bench.key.public()).require_witnesses(witness.policy());
            let verdict = |entity: &SignedEntity| verify(entity, &Artifact::bytes(b"x"), &bench.trust, &policy, later());
            Some(Cases { accepted: verdict(&witness.cosign(&entity, &note)), rejected: verdict(&entity) })
        }
        CheckId::SignatureDsse => envelope_by_another_key(),
        CheckId::SignatureMessage => managed_message(),
        CheckId::SignaturePayload => payload_by_another_key(),
        CheckId::StatementSubject => {
            let case = public("happy-path");
            let other = Artifact::digest(Digest::sha256(b"other"));
            let rejected = verify(&case.entity(), &other, &case.trust(), &case.policy(), now());
            Some(Cases { accepted: judge(case, &case.json(), &case.policy()), rejected })
        }
        CheckId::TimeRfc3161 => {
            let two = V2.policy().require_signed_timestamps(2);
            under(V2, V2.policy().require_signed_timestamps(1), two)
        }
        CheckId::TimeSource => after(V2, |b| {
            flip(&mut b["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"]);
        }),
        _ => None,
    }
}

fn later() -> jiff::Timestamp {
    at("2026-02-01T00:00:00Z")
}

/// A signature with a proper certificate, and one with the certificate that `bad` issues.
fn leaf(bad: impl Fn(&Instance, &Key) -> Vec<u8>) -> Option<Cases> {
    let (instance, key) = (Instance::new(), Key::new());
    let policy = Policy::keyless(CertificateIdentity::exact(NAME, TEST_ISSUER)).unsafe_without_sct();
    let verdict = |leaf: Vec<u8>| {
        let signature = key.sign(b"x");
        let entry = instance.promised_signature(b"x", &signature, &certificate_pem(&leaf));
        let entity = SignedEntity::detached(signature).with_certificate(&leaf).unwrap().with_log_entry(entry);
        verify(&entity, &Artifact::bytes(b"x"), &instance.trust(), &policy, later())
    };
    Some(Cases { accepted: verdict(instance.issue(Draft::leaf(), &key)), rejected: verdict(bad(&instance, &key)) })
}

fn claim() -> Option<Cases> {
    let bench = Bench::new();
    let (layer, payload) = bench.simple_signing();
    let entity = SignedEntity::from_cosign_layer(&layer, &payload).unwrap();
    let verdict = |digest: Digest| verify(&entity, &Artifact::digest(digest), &bench.trust, &keyless(), later());
    Some(Cases { accepted: verdict(image()), rejected: verdict(Digest::sha256(b"another image")) })
}

fn key_validity() -> Option<Cases> {
    let bench = Bench::new();
    let signature = bench.key.sign(b"x");
    let pem = vidimus_core::encoding::pem("PUBLIC KEY", &bench.key.spki());
    let entry = bench.instance.promised_signature(b"x", &signature, &pem);
    let entity = SignedEntity::detached(signature).with_log_entry(entry);
    let verdict = |until: &str| {
        let range = vidimus_core::trust::TimeRange { start: None, end: Some(at(until)) };
        let policy = Policy::key_valid_for(bench.key.public(), range);
        verify(&entity, &Artifact::bytes(b"x"), &bench.trust, &policy, later())
    };
    Some(Cases { accepted: verdict("2026-01-02T00:00:00Z"), rejected: verdict("2025-01-02T00:00:00Z") })
}

/// A policy of one key, without log, on something that another key signed.
fn by_keys(entity: &SignedEntity, artifact: &Artifact<'_>, key: &Key) -> Verdict {
    let policy = Policy::key(key.public()).unsafe_without_log();
    verify(entity, artifact, &vidimus_verify::TrustRoot::empty(), &policy, later())
}

fn managed_message() -> Option<Cases> {
    let key = Key::new();
    let entity = SignedEntity::detached(key.sign(b"x"));
    let verdict = |bytes: &[u8]| by_keys(&entity, &Artifact::bytes(bytes), &key);
    Some(Cases { accepted: verdict(b"x"), rejected: verdict(b"y") })
}

fn envelope_by_another_key() -> Option<Cases> {
    let bench = Bench::new();
    let entity = SignedEntity::detached_envelope(&bench.envelope().1).unwrap();
    let verdict = |key: &Key| by_keys(&entity, &Artifact::digest(image()), key);
    Some(Cases { accepted: verdict(&bench.key), rejected: verdict(&Key::new()) })
}

fn payload_by_another_key() -> Option<Cases> {
    let key = Key::new();
    let payload = Payload::new("registry.test/app", image(), &std::collections::BTreeMap::new()).to_bytes();
    let mut layer = vidimus_core::cosign::Layer::new(LayerKind::SimpleSigning);
    layer.signature = Some(key.sign(&payload));
    let entity = SignedEntity::from_cosign_layer(&layer, &payload).unwrap();
    let verdict = |key: &Key| by_keys(&entity, &Artifact::digest(image()), key);
    Some(Cases { accepted: verdict(&key), rejected: verdict(&Key::new()) })
}
