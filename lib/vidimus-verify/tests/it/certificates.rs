//! `cert.chain`, `cert.usage`, `cert.validity` and the identity checks, on certificates with chosen faults.

use const_oid::{ObjectIdentifier, db::rfc5280};
use der::Encode as _;
use vidimus_core::fulcio::Extension as Claim;
use vidimus_verify::{
    Artifact, CertificateIdentity, CheckId, Pattern, Policy, Rejection, SignedEntity, TimeSource, Verified, verify,
};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

use crate::forge::*;

const ARTIFACT: &[u8] = b"an artifact";

fn policy() -> Policy {
    Policy::keyless(CertificateIdentity::exact(NAME, ISSUER)).unsafe_without_sct()
}

/// A signature with this certificate, in the log.
fn entity(instance: &Instance, leaf: Vec<u8>, key: &Key) -> SignedEntity {
    let signature = key.sign(ARTIFACT);
    let entry = instance.promised_signature(ARTIFACT, &signature, &certificate_pem(&leaf));
    SignedEntity::detached(signature).with_certificate(&leaf).unwrap().with_log_entry(entry)
}

fn judge(instance: &Instance, draft: Draft) -> Result<Verified, Rejection> {
    let key = Key::new();
    let leaf = instance.issue(draft, &key);
    judge_with(instance, leaf, &key, &policy())
}

fn judge_with(instance: &Instance, leaf: Vec<u8>, key: &Key, policy: &Policy) -> Result<Verified, Rejection> {
    let now = at("2026-02-01T00:00:00Z");
    verify(&entity(instance, leaf, key), &Artifact::bytes(ARTIFACT), &instance.trust(), policy, now)
}

fn refused(result: Result<Verified, Rejection>, check: CheckId) -> String {
    let rejection = result.expect_err("must be refused");
    assert_eq!(rejection.check_id(), check, "{rejection}");
    rejection.to_string()
}

#[test]
fn a_proper_certificate_is_accepted() {
    let verified = judge(&Instance::new(), Draft::leaf()).unwrap();
    for check in [CheckId::CertChain, CheckId::CertUsage, CheckId::CertValidity, CheckId::IdentitySan, CheckId::IdentityIssuer] {
        assert!(verified.has(check), "{check}");
    }
    assert!(!verified.has(CheckId::CertSct));
    assert_eq!(verified.waivers().iter().map(|w| w.check).collect::<Vec<_>>(), [CheckId::CertSct]);
    assert_eq!(verified.certificate().unwrap().name(), NAME);
    assert_eq!(verified.signed_at(), Some(signed_at()));
    assert_eq!(verified.times()[0].source, TimeSource::LogPromise);
}

#[test]
fn usage() {
    let instance = Instance::new();
    let poison = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3");
    let eku = |oid| extension(rfc5280::ID_CE_EXT_KEY_USAGE, false, &ExtendedKeyUsage(vec![oid]));
    for (what, draft) in [
        (
            "a CA",
            Draft::leaf().with(extension(
                rfc5280::ID_CE_BASIC_CONSTRAINTS,
                true,
                &BasicConstraints { ca: true, path_len_constraint: None },
            )),
        ),
        ("for servers", Draft::leaf().with(eku(rfc5280::ID_KP_SERVER_AUTH))),
        ("for anything", Draft::leaf().with(eku(rfc5280::ANY_EXTENDED_KEY_USAGE))),
        ("without purpose", Draft::leaf().without(rfc5280::ID_CE_EXT_KEY_USAGE)),
        (
            "for key agreement",
            Draft::leaf().with(extension(rfc5280::ID_CE_KEY_USAGE, true, &KeyUsage(KeyUsages::KeyAgreement.into()))),
        ),
        ("a precertificate", Draft::leaf().with(raw_extension(poison, true, vec![5, 0]))),
        ("unknown critical", Draft::leaf().with(raw_extension(ObjectIdentifier::new_unwrap("1.2.3.4"), true, vec![5, 0]))),
        ("unreadable usage", Draft::leaf().with(raw_extension(rfc5280::ID_CE_EXT_KEY_USAGE, false, vec![5, 0]))),
    ] {
        println!("{what}: {}", refused(judge(&instance, draft), CheckId::CertUsage));
    }
    let unknown = raw_extension(ObjectIdentifier::new_unwrap("1.2.3.4"), false, vec![5, 0]);
    assert!(judge(&instance, Draft::leaf().with(unknown)).is_ok(), "what is not critical may be unknown");
}

#[test]
fn an_extension_twice_is_refused() {
    let mut draft = Draft::leaf();
    let twice = draft.extensions[3].clone();
    draft.extensions.push(twice);
    refused(judge(&Instance::new(), draft), CheckId::CertUsage);
}

#[test]
fn chain() {
    let (instance, key) = (Instance::new(), Key::new());
    let other = Instance::new();
    let forged = other.issue(Draft::leaf(), &key);
    let text = refused(judge_with(&instance, forged, &key, &policy()), CheckId::CertChain);
    assert!(text.contains("did not sign it"), "{text}");
    let unknown = Draft::leaf().issue(&key, "somebody", &other.ca_key);
    let rejection = judge_with(&instance, unknown, &key, &policy()).unwrap_err();
    assert!(matches!(rejection, Rejection::CertificateAuthorityUnknown { .. }));
    assert!(rejection.hint().unwrap().contains("another Sigstore instance"));
}

/// A word for what is wrong, and a certificate with it.
type Fault = (&'static str, fn() -> Draft);

#[test]
fn authorities_that_may_not_issue() {
    let key = Key::new();
    let faults: [Fault; 5] = [
        ("not a CA", || Draft::ca("intermediate", None).without(rfc5280::ID_CE_BASIC_CONSTRAINTS)),
        ("not for certificates", || {
            Draft::ca("intermediate", None).with(extension(
                rfc5280::ID_CE_KEY_USAGE,
                true,
                &KeyUsage(KeyUsages::DigitalSignature.into()),
            ))
        }),
        ("for timestamps", || {
            let purposes = ExtendedKeyUsage(vec![rfc5280::ID_KP_TIME_STAMPING]);
            Draft::ca("intermediate", None).with(extension(rfc5280::ID_CE_EXT_KEY_USAGE, false, &purposes))
        }),
        ("constrained", || {
            Draft::ca("intermediate", None).with(raw_extension(rfc5280::ID_CE_NAME_CONSTRAINTS, true, vec![0x30, 0]))
        }),
        ("unknown critical", || {
            Draft::ca("intermediate", None).with(raw_extension(ObjectIdentifier::new_unwrap("1.2.3.4"), true, vec![5, 0]))
        }),
    ];
    for (what, draft) in faults {
        let mut instance = Instance::new();
        instance.chain[0] = draft().issue(&instance.ca_key, "root", &instance.root_key);
        assert!(!instance.trust().unusable().is_empty(), "{what}");
        let leaf = instance.issue(Draft::leaf(), &key);
        refused(judge_with(&instance, leaf, &key, &policy()), CheckId::CertChain);
    }
}

#[test]
fn a_path_longer_than_an_authority_allows() {
    let mut instance = Instance::new();
    let middle = Key::new();
    instance.chain = vec![
        Draft::ca("intermediate", None).issue(&instance.ca_key, "middle", &middle),
        Draft::ca("middle", Some(0)).issue(&middle, "root", &instance.root_key),
        instance.chain[1].clone(),
    ];
    refused(judge(&instance, Draft::leaf()), CheckId::CertChain);
    instance.chain[1] = Draft::ca("middle", Some(1)).issue(&middle, "root", &instance.root_key);
    assert!(judge(&instance, Draft::leaf()).is_ok());
}

#[test]
fn validity_of_the_certificate() {
    let instance = Instance::new();
    let late = Draft { not_before: at("2026-01-01T00:00:01Z"), ..Draft::leaf() };
    let early = Draft { not_after: at("2025-12-31T23:59:59Z"), ..Draft::leaf() };
    refused(judge(&instance, late), CheckId::CertValidity);
    refused(judge(&instance, early), CheckId::CertValidity);
    let exact = Draft { not_before: signed_at(), not_after: signed_at(), ..Draft::leaf() };
    assert!(judge(&instance, exact).is_ok(), "both ends belong to the validity");
}

#[test]
fn validity_of_the_authority() {
    let mut instance = Instance::new();
    instance.ca_valid_for = ("2020-01-01T00:00:00Z", "2025-12-31T00:00:00Z");
    let text = refused(judge(&instance, Draft::leaf()), CheckId::CertValidity);
    assert!(text.contains("in the trusted root"), "{text}");
    let mut instance = Instance::new();
    let expired = Draft { not_after: at("2025-12-31T00:00:00Z"), ..Draft::ca("root", None) };
    instance.chain[1] = expired.issue(&instance.root_key, "root", &instance.root_key);
    let text = refused(judge(&instance, Draft::leaf()), CheckId::CertValidity);
    assert!(text.contains("CN=root"), "{text}");
}

#[test]
fn identity() {
    let (instance, key) = (Instance::new(), Key::new());
    let leaf = instance.issue(Draft::leaf(), &key);
    let with = |identity| judge_with(&instance, leaf.clone(), &key, &Policy::keyless(identity).unsafe_without_sct());
    let text = refused(with(CertificateIdentity::exact("x@example.test", ISSUER)), CheckId::IdentitySan);
    assert_eq!(
        text,
        "signed by dev@example.test (issuer https://issuer.test); you asked for x@example.test (issuer https://issuer.test)"
    );
    refused(with(CertificateIdentity::exact(NAME, "https://other.test")), CheckId::IdentityIssuer);
    let regexp = |san, issuer| CertificateIdentity::from_flags(None, Some(san), None, Some(issuer)).unwrap();
    let verified = with(regexp("@example.test$", "^https://")).unwrap();
    assert_eq!(verified.notes().len(), 2, "both patterns are open at one end");
    refused(with(regexp("^example", ".*")), CheckId::IdentitySan);
    let both = CertificateIdentity::from_flags(Some(NAME), Some("^other"), Some(ISSUER), None).unwrap();
    refused(with(both), CheckId::IdentitySan);
    let exact = CertificateIdentity::exact(NAME, ISSUER);
    refused(with(exact.clone().with_claim(Claim::BuildTrigger, Pattern::exact("push"))), CheckId::IdentityClaim);
    assert!(with(exact.with_claim(Claim::IssuerV2, Pattern::exact(ISSUER))).unwrap().has(CheckId::IdentityClaim));
}

#[test]
fn hints_say_what_to_pass() {
    let (instance, key) = (Instance::new(), Key::new());
    let leaf = instance.issue(Draft::leaf(), &key);
    let policy = Policy::keyless(CertificateIdentity::exact("x@example.test", ISSUER)).unsafe_without_sct();
    let rejection = judge_with(&instance, leaf, &key, &policy).unwrap_err();
    assert_eq!(rejection.hint().unwrap(), "pass --certificate-identity dev@example.test if that is right");
    let json = serde_json::to_value(&rejection).unwrap();
    assert_eq!(json["check"], "identity.san");
    assert_eq!(json["evidence"]["kind"], "identity-mismatch");
    assert_eq!(json["evidence"]["found"], NAME);
}

#[test]
fn one_of_several_identities() {
    let (instance, key) = (Instance::new(), Key::new());
    let leaf = instance.issue(Draft::leaf(), &key);
    let identities = [CertificateIdentity::exact("x@example.test", ISSUER), CertificateIdentity::exact(NAME, ISSUER)];
    let any = Policy::keyless_any(identities).unsafe_without_sct();
    assert_eq!(judge_with(&instance, leaf.clone(), &key, &any).unwrap().matched_identity(), Some(1));
    let none = Policy::keyless_any([]).unsafe_without_sct();
    refused(judge_with(&instance, leaf, &key, &none), CheckId::IdentitySan);
}

#[test]
fn two_issuers_in_one_certificate() {
    let old = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
    let draft = Draft::leaf().with(raw_extension(old, false, b"https://other.test".to_vec()));
    refused(judge(&Instance::new(), draft), CheckId::IdentityIssuer);
}

#[test]
fn a_certificate_without_name_matches_nothing() {
    let (instance, key) = (Instance::new(), Key::new());
    let leaf = instance.issue(Draft::leaf().without(rfc5280::ID_CE_SUBJECT_ALT_NAME), &key);
    let anything = CertificateIdentity::new(Pattern::Any, Pattern::Any);
    assert!(anything.is_unrestricted());
    refused(judge_with(&instance, leaf, &key, &Policy::keyless(anything).unsafe_without_sct()), CheckId::IdentitySan);
}

#[test]
fn an_sct_is_required_by_default() {
    let (instance, key) = (Instance::new(), Key::new());
    let leaf = instance.issue(Draft::leaf(), &key);
    let policy = Policy::keyless(CertificateIdentity::exact(NAME, ISSUER));
    refused(judge_with(&instance, leaf, &key, &policy), CheckId::CertSct);
    let garbage = raw_extension(
        const_oid::db::rfc6962::CT_PRECERT_SCTS,
        false,
        der::asn1::OctetString::new([0, 1, 2]).unwrap().to_der().unwrap(),
    );
    let leaf = instance.issue(Draft::leaf().with(garbage), &key);
    let text = refused(judge_with(&instance, leaf, &key, &policy), CheckId::CertSct);
    assert!(text.contains("cannot be read"), "{text}");
}
