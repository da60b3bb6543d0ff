//! Managed keys: all algorithms, with and without a log, over artifacts, envelopes and payloads.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self as lc, KeyPair},
};
use const_oid::{
    ObjectIdentifier,
    db::{rfc5912, rfc8410},
};
use der::{Any, Encode, asn1::BitString};
use vidimus_core::{Algorithm, Digest, dsse, encoding, intoto, trust::TimeRange};
use vidimus_verify::{Artifact, CheckId, Policy, PublicKey, Rejection, SignedEntity, Signer, TrustRoot, Verified, verify};

use crate::{
    common::{entity, file},
    forge::{Instance, Key, at, signed_at},
};

const ARTIFACT: &[u8] = b"an artifact";

fn judge(key: &PublicKey, entity: &SignedEntity, artifact: &Artifact<'_>) -> Result<Verified, Rejection> {
    let policy = Policy::key(key.clone()).unsafe_without_log();
    verify(entity, artifact, &TrustRoot::empty(), &policy, at("2026-02-01T00:00:00Z"))
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Some key, and how it signs.
struct Pair {
    name: &'static str,
    hash: Algorithm,
    public: PublicKey,
    sign: Sign,
}

fn public(raw: &[u8], oid: ObjectIdentifier, parameters: Option<Any>) -> PublicKey {
    let algorithm = spki::AlgorithmIdentifierOwned { oid, parameters };
    let spki = spki::SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(raw).unwrap() };
    PublicKey::from_spki(&spki.to_der().unwrap()).unwrap()
}

fn ecdsa(name: &'static str, hash: Algorithm, signing: &'static lc::EcdsaSigningAlgorithm, curve: ObjectIdentifier) -> Pair {
    let pair = lc::EcdsaKeyPair::generate(signing).unwrap();
    let public = public(pair.public_key().as_ref(), rfc5912::ID_EC_PUBLIC_KEY, Some(Any::encode_from(&curve).unwrap()));
    Pair { name, hash, public, sign: Box::new(move |m| pair.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()) }
}

fn rsa(name: &'static str, size: aws_lc_rs::rsa::KeySize, padding: &'static lc::RsaSignatureEncoding) -> Pair {
    let pair = lc::RsaKeyPair::generate(size).unwrap();
    let public = public(pair.public_key().as_ref(), rfc5912::RSA_ENCRYPTION, Some(Any::null()));
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    Pair { name, hash: Algorithm::Sha256, public, sign: Box::new(sign) }
}

fn pairs() -> Vec<Pair> {
    let ed = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let ed_public = || public(ed.verifying_key().as_bytes(), rfc8410::ID_ED_25519, None);
    let pure = lc::Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let prehashed = {
        let ed = ed.clone();
        move |message: &[u8]| {
            let digest = sha2::Digest::chain_update(sha2::Sha512::default(), message);
            ed25519_dalek::DigestSigner::sign_digest(&ed, digest).to_bytes().to_vec()
        }
    };
    vec![
        ecdsa("P-256", Algorithm::Sha256, &lc::ECDSA_P256_SHA256_ASN1_SIGNING, rfc5912::SECP_256_R_1),
        ecdsa("P-384", Algorithm::Sha384, &lc::ECDSA_P384_SHA384_ASN1_SIGNING, rfc5912::SECP_384_R_1),
        ecdsa("P-521", Algorithm::Sha512, &lc::ECDSA_P521_SHA512_ASN1_SIGNING, rfc5912::SECP_521_R_1),
        ecdsa("P-521 as old cosign", Algorithm::Sha256, &lc::ECDSA_P521_SHA256_ASN1_SIGNING, rfc5912::SECP_521_R_1),
        rsa("RSA 2048", aws_lc_rs::rsa::KeySize::Rsa2048, &lc::RSA_PKCS1_SHA256),
        rsa("RSA 3072 PSS", aws_lc_rs::rsa::KeySize::Rsa3072, &lc::RSA_PSS_SHA256),
        Pair { name: "Ed25519ph", hash: Algorithm::Sha512, public: ed_public(), sign: Box::new(prehashed) },
        Pair {
            name: "Ed25519",
            hash: Algorithm::Sha512,
            public: ed_public(),
            sign: Box::new(move |m| pure.sign(m).as_ref().to_vec()),
        },
    ]
}

#[test]
fn every_algorithm_over_files_digests_and_envelopes() {
    let statement = intoto::cosign_sign_statement(&Digest::sha256(ARTIFACT), serde_json::Map::new()).unwrap();
    let pae = dsse::pae(dsse::IN_TOTO_PAYLOAD, &statement);
    for pair in pairs() {
        let entity = SignedEntity::detached((pair.sign)(ARTIFACT));
        let verified = judge(&pair.public, &entity, &Artifact::bytes(ARTIFACT)).unwrap_or_else(|e| panic!("{}: {e}", pair.name));
        assert!(matches!(verified.signer(), Signer::Key(_)));
        let wrong = judge(&pair.public, &entity, &Artifact::bytes(b"other")).unwrap_err();
        assert_eq!(wrong.check_id(), CheckId::SignatureMessage, "{}", pair.name);
        let by_digest = judge(&pair.public, &entity, &Artifact::digest(Digest::of(pair.hash, ARTIFACT)));
        if pair.name == "Ed25519" {
            assert!(
                matches!(by_digest, Err(Rejection::ArtifactDigestUnknown { wanted: None, .. })),
                "pure Ed25519 needs the bytes"
            );
        } else {
            assert!(by_digest.is_ok(), "{}", pair.name);
        }
        let envelope = dsse::Envelope::new(dsse::IN_TOTO_PAYLOAD, statement.clone(), (pair.sign)(&pae));
        let entity = SignedEntity::detached_envelope(&serde_json::to_vec(&envelope).unwrap()).unwrap();
        assert!(judge(&pair.public, &entity, &Artifact::bytes(ARTIFACT)).is_ok(), "{}", pair.name);
    }
}

#[test]
fn a_digest_of_the_wrong_kind_cannot_tell() {
    let pair = ecdsa("P-384", Algorithm::Sha384, &lc::ECDSA_P384_SHA384_ASN1_SIGNING, rfc5912::SECP_384_R_1);
    let entity = SignedEntity::detached((pair.sign)(ARTIFACT));
    let rejection = judge(&pair.public, &entity, &Artifact::digest(Digest::of(Algorithm::Sha512, ARTIFACT))).unwrap_err();
    assert_eq!(rejection, Rejection::ArtifactDigestUnknown { check: CheckId::SignatureMessage, wanted: Some("sha384".into()) });
}

#[test]
fn another_key() {
    let entity = SignedEntity::detached(Key::new().sign(ARTIFACT));
    let rejection = judge(&Key::new().public(), &entity, &Artifact::bytes(ARTIFACT)).unwrap_err();
    assert_eq!(rejection.check_id(), CheckId::SignatureMessage);
}

#[test]
fn a_log_is_required_by_default() {
    let key = Key::new();
    let entity = SignedEntity::detached(key.sign(ARTIFACT));
    let policy = Policy::key(key.public());
    let rejection = verify(&entity, &Artifact::bytes(ARTIFACT), &TrustRoot::empty(), &policy, signed_at()).unwrap_err();
    assert_eq!(rejection.check_id(), CheckId::LogEntries);
}

#[test]
fn validity_of_a_key() {
    let (instance, key) = (Instance::new(), Key::new());
    let signature = key.sign(ARTIFACT);
    let entry = instance.promised_signature(ARTIFACT, &signature, &encoding::pem("PUBLIC KEY", &key.spki()));
    let entity = SignedEntity::detached(signature.clone()).with_log_entry(entry);
    let trust = instance.trust();
    let verdict = |entity: &SignedEntity, from: &str, to: &str| {
        let range = TimeRange { start: Some(at(from)), end: Some(at(to)) };
        let policy = Policy::key_valid_for(key.public(), range);
        verify(entity, &Artifact::bytes(ARTIFACT), &trust, &policy, at("2026-02-01T00:00:00Z"))
    };
    assert!(verdict(&entity, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z").is_ok());
    let expired = verdict(&entity, "2025-01-01T00:00:00Z", "2025-12-31T00:00:00Z").unwrap_err();
    assert_eq!(expired.check_id(), CheckId::IdentityKey);
    // Without a time there is no telling whether the key was valid.
    let bare = SignedEntity::detached(signature);
    assert!(verdict(&bare, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z").is_err());
}

#[test]
fn keys_from_pem_and_der() {
    let key = Key::new();
    let pem = encoding::pem("PUBLIC KEY", &key.spki());
    assert_eq!(PublicKey::from_pem_or_der(pem.as_bytes()).unwrap(), key.public());
    assert_eq!(PublicKey::from_pem_or_der(&key.spki()).unwrap(), key.public());
    assert!(PublicKey::from_pem_or_der(b"nothing").is_err());
    // PKCS #1: what `openssl rsa -RSAPublicKey_out` writes is the content of the other form's bit string.
    let rsa = PublicKey::from_pem_or_der(&file("keys/rsa2048.pub")).unwrap();
    let pem = encoding::pem("RSA PUBLIC KEY", &rsa.spki()[24..]);
    assert_eq!(PublicKey::from_pem_or_der(pem.as_bytes()).unwrap(), rsa);
    assert!(PublicKey::from_pem_or_der(encoding::pem("RSA PUBLIC KEY", &key.spki()).as_bytes()).is_err());
}

#[test]
fn what_cosign_writes_with_keys() {
    let artifact = file("cosign/artifact");
    for name in ["p256", "ed25519"] {
        let key = PublicKey::from_pem_or_der(&file(&format!("cosign/{name}.pub"))).unwrap();
        let old = SignedEntity::from_cosign_blob_bundle(&file(&format!("cosign/{name}.blob-bundle.json"))).unwrap();
        let new = entity(&file(&format!("cosign/{name}.sigstore.json")));
        for entity in [old, new] {
            let verdict = judge(&key, &entity, &Artifact::bytes(&artifact));
            verdict.unwrap_or_else(|e| panic!("{name}, {}: {e}", entity.format()));
            assert!(judge(&key, &entity, &Artifact::bytes(b"other")).is_err());
        }
    }
}

#[test]
fn what_cosign_writes_into_files_of_their_own() {
    let (artifact, key) = (file("cosign/artifact"), PublicKey::from_pem_or_der(&file("cosign/p256.pub")).unwrap());
    let signature = encoding::decode(String::from_utf8(file("cosign/p256.sig")).unwrap().trim()).unwrap();
    assert!(judge(&key, &SignedEntity::detached(signature), &Artifact::bytes(&artifact)).is_ok());
    let envelope = SignedEntity::detached_envelope(&file("cosign/p256.envelope.json")).unwrap();
    let verified = judge(&key, &envelope, &Artifact::bytes(&artifact)).unwrap();
    assert_eq!(verified.statement().unwrap().predicate_type, "https://cosign.sigstore.dev/attestation/v1");
}
