//! Bundles: what is accepted, what is proven by it, and what each check refuses.

use serde_json::{Value, json};
use vidimus_core::{Algorithm, Digest, bundle::Version, encoding};
use vidimus_verify::{Artifact, CertificateIdentity, CheckId, Policy, Rejection, TimeSource, TrustRoot, Verified, verify};

use crate::common::*;

/// A valid bundle of each sort.
pub(crate) const V1: &Case = &CASES[0];
pub(crate) const V2: &Case = &CASES[1];

pub(crate) fn public(name: &str) -> &'static Case {
    CASES.iter().find(|c| c.bundle.contains(&format!("/{name}."))).unwrap()
}

pub(crate) fn judge(case: &Case, json: &[u8], policy: &Policy) -> Result<Verified, Rejection> {
    let bytes = case.artifact_bytes();
    verify(&entity(json), &case.artifact(&bytes), &case.trust(), policy, now())
}

/// The verdict on a bundle after a change.
pub(crate) fn changed(case: &Case, change: impl FnOnce(&mut Value)) -> Result<Verified, Rejection> {
    let mut bundle: Value = serde_json::from_slice(&case.json()).unwrap();
    change(&mut bundle);
    judge(case, &serde_json::to_vec(&bundle).unwrap(), &case.policy())
}

fn refused(result: Result<Verified, Rejection>, check: CheckId) -> Rejection {
    let rejection = result.expect_err("must be refused");
    assert_eq!(rejection.check_id(), check, "{rejection}");
    rejection
}

pub(crate) fn flip(value: &mut Value) {
    let mut bytes = encoding::decode(value.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *value = json!(encoding::encode(bytes));
}

pub(crate) fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

#[test]
fn real_bundles_verify() {
    for case in CASES {
        let verified = judge(case, &case.json(), &case.policy()).unwrap_or_else(|e| panic!("{}: {e}", case.bundle));
        let log = !matches!(case.by, By::TimestampOnly(..));
        assert_eq!(verified.has(CheckId::LogEntries), log, "{}", case.bundle);
        assert_eq!(verified.has(CheckId::CertSct), matches!(case.by, By::Identity(..)), "{}", case.bundle);
        assert!(!verified.times().is_empty());
        assert!(serde_json::to_value(&verified).unwrap()["checks"].as_array().unwrap().len() > 5);
    }
}

#[test]
fn what_a_rekor_v1_bundle_proves() {
    let verified = judge(V1, &V1.json(), &V1.policy()).unwrap();
    let ids: Vec<_> = verified.checks().iter().map(|c| c.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "bundle.content",
            "cert.usage",
            "log.binding",
            "log.promise",
            "log.inclusion",
            "log.checkpoint",
            "log.entries",
            "time.rfc3161",
            "time.source",
            "cert.chain",
            "cert.validity",
            "cert.sct",
            "signature.message",
            "identity.san",
            "identity.issuer"
        ]
    );
    assert_eq!(verified.times().len(), 2);
    let [entry] = verified.log_entries() else { panic!("one entry") };
    assert!(entry.included);
    assert_eq!(entry.integrated_time, verified.signed_at());
    assert_eq!(verified.notes(), []);
    assert_eq!(verified.waivers(), []);
}

#[test]
fn what_a_rekor_v2_bundle_proves() {
    let verified = judge(V2, &V2.json(), &V2.policy()).unwrap();
    assert!(!verified.has(CheckId::LogPromise));
    assert_eq!(verified.times().iter().map(|t| t.source).collect::<Vec<_>>(), [TimeSource::TimestampAuthority]);
    assert_eq!(verified.log_entries()[0].integrated_time, None);
}

#[test]
fn artifacts_by_digest_and_wrong_artifacts() {
    for case in [V1, V2, public("cosign-blob"), public("conda-attestation")] {
        let bytes = case.artifact_bytes().unwrap();
        let with = |artifact: &Artifact<'_>| verify(&case.entity(), artifact, &case.trust(), &case.policy(), now());
        assert!(with(&Artifact::digest(Digest::sha256(&bytes))).is_ok());
        let wrong = with(&Artifact::bytes(b"other")).unwrap_err();
        assert!(matches!(wrong.check_id(), CheckId::LogBinding | CheckId::StatementSubject), "{wrong}");
        let other = with(&Artifact::digest(Digest::of(Algorithm::Sha512, &bytes))).unwrap_err();
        assert!(matches!(other, Rejection::ArtifactDigestUnknown { .. } | Rejection::StatementNotAbout { .. }), "{other}");
    }
}

#[test]
fn message_digest() {
    let rejection =
        refused(changed(V1, |b| flip(&mut b["messageSignature"]["messageDigest"]["digest"])), CheckId::SignatureMessage);
    assert!(matches!(rejection, Rejection::ArtifactMismatch { .. }));
    refused(changed(V1, |b| b["messageSignature"]["messageDigest"]["algorithm"] = json!("MD5")), CheckId::BundleContent);
    assert!(changed(V1, |b| drop(b["messageSignature"].as_object_mut().unwrap().remove("messageDigest"))).is_ok());
}

#[test]
fn log_binding() {
    for place in ["signature", "certificate"] {
        let result = changed(V1, |b| match place {
            "signature" => flip(&mut b["messageSignature"]["signature"]),
            _ => {
                let other: Value = serde_json::from_slice(&V2.json()).unwrap();
                b["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"].clone();
            }
        });
        let text = refused(result, CheckId::LogBinding).to_string();
        assert!(text.contains(place), "{text}");
    }
    refused(changed(V1, |b| entry(b)["kindVersion"]["version"] = json!("0.0.2")), CheckId::LogBinding);
    refused(changed(V1, |b| entry(b)["canonicalizedBody"] = json!(encoding::encode("{}"))), CheckId::LogBinding);
}

#[test]
fn a_borrowed_log_entry() {
    let json = file("public/cve-2022-36056.sigstore.json");
    let trust = trust(&file("public/roots/staging.json"));
    let artifact = Artifact::digest(digest_of_message(&json));
    refused(verify(&entity(&json), &artifact, &trust, &Policy::unsafe_any_signer(), now()), CheckId::LogBinding);
}

fn digest_of_message(json: &[u8]) -> Digest {
    let bundle: Value = serde_json::from_slice(json).unwrap();
    let digest = bundle["messageSignature"]["messageDigest"]["digest"].as_str().unwrap();
    Digest::new(Algorithm::Sha256, encoding::decode(digest).unwrap()).unwrap()
}

#[test]
fn log_promise() {
    refused(changed(V1, |b| flip(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"])), CheckId::LogPromise);
    refused(changed(V1, |b| entry(b)["integratedTime"] = json!("1795293701")), CheckId::LogPromise);
    refused(changed(V1, |b| entry(b)["integratedTime"] = json!("0")), CheckId::LogPromise);
    refused(changed(V1, |b| entry(b)["logIndex"] = json!("1")), CheckId::LogPromise);
    let text = refused(changed(V1, |b| entry(b)["integratedTime"] = json!("1")), CheckId::LogPromise).to_string();
    assert!(text.contains("outside of the log's validity"), "{text}");
}

#[test]
fn log_inclusion() {
    refused(changed(V2, |b| flip(&mut entry(b)["inclusionProof"]["hashes"][0])), CheckId::LogInclusion);
    refused(changed(V2, |b| drop(entry(b)["inclusionProof"]["hashes"].as_array_mut().unwrap().pop())), CheckId::LogInclusion);
    refused(changed(V2, |b| entry(b)["logIndex"] = json!("5")), CheckId::LogInclusion);
    refused(changed(V2, |b| entry(b)["logIndex"] = json!("-1")), CheckId::LogInclusion);
    refused(changed(V2, |b| drop(entry(b).as_object_mut().unwrap().remove("inclusionProof"))), CheckId::LogInclusion);
    refused(changed(V1, |b| drop(entry(b).as_object_mut().unwrap().remove("inclusionProof"))), CheckId::LogInclusion);
    refused(changed(V1, |b| entry(b)["inclusionProof"]["treeSize"] = json!("2")), CheckId::LogInclusion);
    let ignored = changed(V2, |b| entry(b)["inclusionProof"]["treeSize"] = json!("2"));
    assert!(ignored.is_ok(), "Rekor v2 says to ignore what the proof repeats");
}

#[test]
fn log_checkpoint() {
    let envelope = |b: &mut Value, f: &dyn Fn(&str) -> String| {
        let place = &mut entry(b)["inclusionProof"]["checkpoint"]["envelope"];
        *place = json!(f(place.as_str().unwrap()));
    };
    for case in [V1, V2] {
        refused(changed(case, |b| envelope(b, &|e| e.replace("\u{2014} ", "\u{2014} x"))), CheckId::LogCheckpoint);
        refused(changed(case, |b| envelope(b, &|e| e[..e.len() - 1].to_owned())), CheckId::LogCheckpoint);
        refused(
            changed(case, |b| drop(entry(b)["inclusionProof"].as_object_mut().unwrap().remove("checkpoint"))),
            CheckId::LogCheckpoint,
        );
        // A witness's line that nobody knows does not matter.
        let line = "\u{2014} witness.test AAAAAAAAAAAAAAAAAAAAAAAA\n";
        assert!(changed(case, |b| envelope(b, &|e| format!("{e}{line}"))).is_ok());
    }
    let resigned = changed(V2, |b| {
        envelope(b, &|e| {
            let (text, line) = e.split_once("\n\n\u{2014} localhost ").unwrap();
            let mut blob = encoding::decode(line.trim_end()).unwrap();
            *blob.last_mut().unwrap() ^= 1;
            format!("{text}\n\n\u{2014} localhost {}\n", encoding::encode(blob))
        });
    });
    assert!(refused(resigned, CheckId::LogCheckpoint).to_string().contains("did not sign"));
}

#[test]
fn no_checkpoint_in_a_real_bundle() {
    let json = file("public/no-checkpoint.sigstore.json");
    let artifact = Artifact::digest(digest_of_message(&json));
    let trust = trust(&file("public/roots/staging.json"));
    refused(verify(&entity(&json), &artifact, &trust, &Policy::unsafe_any_signer(), now()), CheckId::LogCheckpoint);
}

#[test]
fn log_entries() {
    let none = changed(V1, |b| b["verificationMaterial"]["tlogEntries"] = json!([]));
    assert_eq!(refused(none, CheckId::LogEntries), Rejection::NotEnoughLogEntries { required: 1, verified: 0, problems: vec![] });
    let unknown = refused(changed(V1, |b| flip(&mut entry(b)["logId"]["keyId"])), CheckId::LogEntries);
    assert!(unknown.hint().unwrap().contains("trusted root of the instance that signed"));
    let twice = changed(V1, |b| {
        let copy = entry(b).clone();
        b["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(copy);
    });
    refused(twice, CheckId::LogEntries);
    refused(judge(V1, &V1.json(), &V1.policy().require_log_entries(2)), CheckId::LogEntries);
}

#[test]
fn without_log_by_explicit_waiver() {
    let mut bundle: Value = serde_json::from_slice(&V2.json()).unwrap();
    bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    let json = serde_json::to_vec(&bundle).unwrap();
    let verified = judge(V2, &json, &V2.policy().unsafe_without_log()).unwrap();
    assert!(!verified.has(CheckId::LogEntries));
    assert_eq!(verified.waivers()[0].check, CheckId::LogEntries);
    // A broken entry is noted, and proves nothing: not even a time.
    let mut bundle: Value = serde_json::from_slice(&V1.json()).unwrap();
    entry(&mut bundle)["integratedTime"] = json!("1795293701");
    let verified = judge(V1, &serde_json::to_vec(&bundle).unwrap(), &V1.policy().unsafe_without_log()).unwrap();
    assert_eq!(verified.times().len(), 1);
    assert_eq!(verified.notes()[0].check, CheckId::LogEntries);
}

#[test]
fn timestamps() {
    let token =
        |b: &mut Value| b["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"].take();
    let set = |b: &mut Value, value: Value| {
        b["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"] = value;
    };
    // Rekor v2 has no other time.
    let broken = changed(V2, |b| {
        let mut value = token(b);
        flip(&mut value);
        set(b, value);
    });
    let text = refused(broken, CheckId::TimeSource).to_string();
    assert!(text.contains("its signature does not verify"), "{text}");
    let mut other: Value = serde_json::from_slice(&V1.json()).unwrap();
    let others = token(&mut other);
    let text = refused(changed(V2, |b| set(b, others.clone())), CheckId::TimeSource).to_string();
    assert!(text.contains("another signature"), "{text}");
    // Rekor v1 has: the timestamp is noted, and does not count.
    let noted = changed(V1, |b| {
        let mut value = token(b);
        flip(&mut value);
        set(b, value);
    })
    .unwrap();
    assert_eq!((noted.times().len(), noted.notes().len()), (1, 1));
    assert_eq!(noted.notes()[0].check, CheckId::TimeRfc3161);
    let twice = changed(V2, |b| {
        let list = b["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    refused(twice, CheckId::TimeRfc3161);
}

#[test]
fn thresholds_for_times() {
    assert!(judge(V1, &V1.json(), &V1.policy().require_times(2)).is_ok());
    refused(judge(V1, &V1.json(), &V1.policy().require_times(3)), CheckId::TimeSource);
    refused(judge(V2, &V2.json(), &V2.policy().require_times(2)), CheckId::TimeSource);
    assert!(judge(V2, &V2.json(), &V2.policy().require_signed_timestamps(1)).is_ok());
    let no_timestamp = public("happy-path");
    refused(judge(no_timestamp, &no_timestamp.json(), &no_timestamp.policy().require_signed_timestamps(1)), CheckId::TimeRfc3161);
}

#[test]
fn a_time_in_the_future() {
    let bytes = V1.artifact_bytes();
    let before = "2026-11-21T20:00:00Z".parse().unwrap();
    refused(verify(&V1.entity(), &V1.artifact(&bytes), &V1.trust(), &V1.policy(), before), CheckId::TimeSource);
    let seconds_before = "2026-11-21T20:41:30Z".parse().unwrap();
    assert!(verify(&V1.entity(), &V1.artifact(&bytes), &V1.trust(), &V1.policy(), seconds_before).is_ok(), "clocks differ");
}

#[test]
fn no_time_at_all() {
    let json = file("public/no-signed-time.sigstore.json");
    let artifact = Artifact::digest(digest_of_message(&json));
    for root in ["public/roots/staging.json", "public/roots/production.json"] {
        let result = verify(&entity(&json), &artifact, &trust(&file(root)), &Policy::unsafe_any_signer(), now());
        if root.contains("production") {
            refused(result, CheckId::TimeSource);
        } else {
            assert!(result.is_err());
        }
    }
}

#[test]
fn statements() {
    let case = public("happy-path");
    let verified = judge(case, &case.json(), &case.policy()).unwrap();
    assert!(verified.has(CheckId::StatementSubject));
    assert!(verified.statement().unwrap().predicate_type.starts_with("https://"));
    let other = Artifact::digest(Digest::sha256(b"other"));
    let rejection = verify(&case.entity(), &other, &case.trust(), &case.policy(), now()).unwrap_err();
    assert!(matches!(&rejection, Rejection::StatementNotAbout { subjects, .. } if subjects.len() == 1), "{rejection}");
    refused(changed(case, |b| b["dsseEnvelope"]["payloadType"] = json!("text/plain")), CheckId::SignatureDsse);
    refused(changed(case, |b| flip(&mut b["dsseEnvelope"]["payload"])), CheckId::LogBinding);
}

#[test]
fn two_signatures_in_an_envelope() {
    let json = file("public/dsse-2sigs.sigstore.json");
    let artifact = Artifact::digest(Digest::sha256(b""));
    let trust = trust(&file("public/roots/production.json"));
    refused(verify(&entity(&json), &artifact, &trust, &Policy::unsafe_any_signer(), now()), CheckId::BundleContent);
}

#[test]
fn an_sct_of_an_unknown_log() {
    let json = file("public/invalid-ct-key.sigstore.json");
    let artifact = Artifact::digest(digest_of_message(&json));
    let trust = trust(&file("public/roots/invalid-ct-key.json"));
    let verdict = |policy: &Policy| verify(&entity(&json), &artifact, &trust, policy, now());
    refused(verdict(&Policy::unsafe_any_signer()), CheckId::CertSct);
    assert!(verdict(&Policy::unsafe_any_signer().unsafe_without_sct()).is_ok());
}

#[test]
fn a_threshold_for_scts() {
    let two = judge(V1, &V1.json(), &V1.policy().require_scts(2));
    assert_eq!(refused(two, CheckId::CertSct), Rejection::NotEnoughScts { required: 2, verified: 1, problems: vec![] });
}

#[test]
fn a_log_key_without_start_is_unusable() {
    let mut root: Value = serde_json::from_slice(&file("wire/trusted_root.json")).unwrap();
    root["tlogs"][0]["publicKey"]["validFor"] = json!({});
    let trust = trust(&serde_json::to_vec(&root).unwrap());
    assert!(trust.unusable()[0].why.contains("no start"), "{:?}", trust.unusable());
    let bytes = V1.artifact_bytes();
    refused(verify(&V1.entity(), &V1.artifact(&bytes), &trust, &V1.policy(), now()), CheckId::LogEntries);
}

#[test]
fn versions() {
    assert!(judge(V1, &V1.json(), &V1.policy().min_bundle_version(Version::V03)).unwrap().has(CheckId::BundleVersion));
    // The same bundle, rewritten as an older one without its proof: the log's promise still holds, the policy says no.
    let mut bundle: Value = serde_json::from_slice(&V1.json()).unwrap();
    bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1");
    entry(&mut bundle).as_object_mut().unwrap().remove("inclusionProof");
    let json = serde_json::to_vec(&bundle).unwrap();
    assert!(judge(V1, &json, &V1.policy()).is_ok());
    refused(judge(V1, &json, &V1.policy().min_bundle_version(Version::V03)), CheckId::BundleVersion);
    refused(judge(V1, &json, &V1.policy().require_inclusion_proof()), CheckId::LogInclusion);
}

#[test]
fn bundle_0_1_needs_a_promise() {
    let promise = changed(public("sigstore-js-2.0.0-provenance"), |b| {
        entry(b).as_object_mut().unwrap().remove("inclusionPromise");
    });
    refused(promise, CheckId::LogPromise);
}

#[test]
fn bundle_0_3_has_one_certificate() {
    let as_chain = |b: &mut Value, length: usize| {
        let leaf = b["verificationMaterial"].as_object_mut().unwrap().remove("certificate").unwrap();
        b["verificationMaterial"]["x509CertificateChain"] = json!({"certificates": vec![leaf; length]});
    };
    for length in [1, 2] {
        refused(changed(V1, |b| as_chain(b, length)), CheckId::BundleContent);
    }
    let older = changed(V1, |b| {
        as_chain(b, 1);
        b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
    });
    assert!(older.is_ok(), "older versions have chains");
}

#[test]
fn another_instance() {
    let trust = trust(&file("public/roots/production.json"));
    let bytes = V1.artifact_bytes();
    let rejection = verify(&V1.entity(), &V1.artifact(&bytes), &trust, &V1.policy(), now()).unwrap_err();
    assert!(rejection.hint().unwrap().contains("instance"), "{rejection}");
    let nobody = verify(&V1.entity(), &V1.artifact(&bytes), &TrustRoot::empty(), &V1.policy(), now());
    refused(nobody, CheckId::LogEntries);
}

#[test]
fn a_timestamp_authority_alone() {
    let case = public("github-private-attestation");
    let verified = judge(case, &case.json(), &case.policy()).unwrap();
    let waived: Vec<_> = verified.waivers().iter().map(|w| w.check).collect();
    assert_eq!(waived, [CheckId::LogEntries, CheckId::CertSct]);
    let identity = CertificateIdentity::from_flags(Some("https://dotcom.releases.github.com"), None, None, None).unwrap();
    refused(judge(case, &case.json(), &Policy::keyless(identity.clone())), CheckId::LogEntries);
    refused(judge(case, &case.json(), &Policy::keyless(identity).unsafe_without_log()), CheckId::CertSct);
}

#[test]
fn the_best_explanation_ranks_highest() {
    let identity = judge(V1, &V1.json(), &Policy::keyless(CertificateIdentity::exact("x", ISSUER))).unwrap_err();
    let log = changed(V1, |b| b["verificationMaterial"]["tlogEntries"] = json!([])).unwrap_err();
    let content = changed(V1, |b| b["messageSignature"]["signature"] = json!("")).unwrap_err();
    assert!(identity.rank() > log.rank() && log.rank() > content.rank());
}

#[test]
fn a_log_may_have_a_checkpoint_key_id_instead_of_a_log_id() {
    for (case, index) in [(V1, 0), (V2, 1)] {
        let judge = |edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut root: Value = serde_json::from_slice(&file(case.root)).unwrap();
            edit(root["tlogs"][index].as_object_mut().unwrap());
            let bytes = case.artifact_bytes();
            verify(&case.entity(), &case.artifact(&bytes), &trust(root.to_string().as_bytes()), &case.policy(), now())
        };
        let renamed = |log: &mut serde_json::Map<String, Value>| {
            let id = log.remove("logId").unwrap();
            log.insert("checkpointKeyId".to_owned(), id);
        };
        assert!(judge(&renamed).is_ok(), "{}", case.bundle);
        refused(judge(&|log| drop(log.remove("logId"))), CheckId::LogEntries);
    }
}

#[test]
fn one_unusable_member_does_not_spoil_a_root() {
    let mut root: Value = serde_json::from_slice(&file("wire/trusted_root.json")).unwrap();
    let mut exotic = root["tlogs"][0].clone();
    exotic["publicKey"]["rawBytes"] = json!("AAAA");
    root["tlogs"].as_array_mut().unwrap().insert(0, exotic.clone());
    exotic["publicKey"].as_object_mut().unwrap().remove("rawBytes");
    root["tlogs"].as_array_mut().unwrap().insert(0, exotic);
    let mut broken = root["certificateAuthorities"][0].clone();
    broken["certChain"]["certificates"].as_array_mut().unwrap().remove(1);
    root["certificateAuthorities"].as_array_mut().unwrap().insert(0, broken);
    let trust = trust(&serde_json::to_vec(&root).unwrap());
    assert_eq!(trust.unusable().len(), 2, "{:?}", trust.unusable());
    let bytes = V1.artifact_bytes();
    assert!(verify(&V1.entity(), &V1.artifact(&bytes), &trust, &V1.policy(), now()).is_ok());
}
