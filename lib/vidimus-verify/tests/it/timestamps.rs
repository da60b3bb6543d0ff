//! `time.rfc3161` on tokens with chosen faults, and authorities of which the trust root has more or less.

use const_oid::{ObjectIdentifier, db::rfc5280};
use der::Encode as _;
use serde_json::json;
use vidimus_core::{Digest, encoding, trust::TrustedRoot};
use vidimus_verify::{Artifact, CheckId, Policy, Rejection, SignedEntity, TrustRoot, Verified, verify};
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};

use crate::forge::*;

const ARTIFACT: &[u8] = b"an artifact";

const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_CERTIFICATE: &str = "1.2.840.113549.1.9.16.2.12";
const SIGNING_CERTIFICATE_V2: &str = "1.2.840.113549.1.9.16.2.47";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let mut out = vec![tag];
    der::Length::try_from(value.len()).unwrap().encode_to_vec(&mut out).unwrap();
    out.extend(value);
    out
}

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

fn oid(text: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(text).to_der().unwrap()
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    tlv(4, &[bytes])
}

fn attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), &tlv(0x31, &[value])])
}

/// A timestamp authority: a CA and the certificate that signs.
struct Tsa {
    ca_key: Key,
    ca: Vec<u8>,
    key: Key,
    leaf: Vec<u8>,
}

fn purposes(critical: bool, oids: &[ObjectIdentifier]) -> x509_cert::ext::Extension {
    extension(rfc5280::ID_CE_EXT_KEY_USAGE, critical, &ExtendedKeyUsage(oids.to_vec()))
}

fn tsa_leaf() -> Draft {
    Draft {
        subject: "tsa",
        not_before: at("2025-01-01T00:00:00Z"),
        not_after: at("2027-01-01T00:00:00Z"),
        extensions: vec![
            extension(rfc5280::ID_CE_KEY_USAGE, true, &KeyUsage(KeyUsages::DigitalSignature.into())),
            purposes(true, &[rfc5280::ID_KP_TIME_STAMPING]),
        ],
    }
}

/// A token to be: change what should be wrong with it.
struct Token<'a> {
    over: &'a [u8],
    time: &'a str,
    /// The certificate that the signed attributes name.
    names: Option<(&'a str, Vec<u8>)>,
    content_type: &'a str,
    embedded: Option<&'a [u8]>,
    status: u8,
}

impl Tsa {
    fn new(leaf: Draft) -> Self {
        let (ca_key, key) = (Key::new(), Key::new());
        let ca = Draft::ca("tsa root", None).issue(&ca_key, "tsa root", &ca_key);
        Self { leaf: leaf.issue(&key, "tsa root", &ca_key), ca, ca_key, key }
    }

    fn names_v2(&self) -> (&'static str, Vec<u8>) {
        let id = seq(&[&octets(Digest::sha256(&self.leaf).bytes())]);
        (SIGNING_CERTIFICATE_V2, seq(&[&seq(&[&id])]))
    }

    fn token<'a>(&self, over: &'a [u8]) -> Token<'a> {
        let names = Some(self.names_v2());
        Token { over, time: "20260101000000Z", names, content_type: TST_INFO, embedded: None, status: 0 }
    }

    fn sign(&self, token: &Token<'_>) -> Vec<u8> {
        let sha256 = seq(&[&oid(SHA256)]);
        let imprint = seq(&[&sha256, &octets(Digest::sha256(token.over).bytes())]);
        let time = tlv(0x18, &[token.time.as_bytes()]);
        let info = seq(&[&[2, 1, 1], &oid("1.2.3.4"), &imprint, &[2, 1, 9], &time]);
        let mut attributes = vec![
            attribute(CONTENT_TYPE, &oid(token.content_type)),
            attribute(MESSAGE_DIGEST, &octets(Digest::sha256(&info).bytes())),
        ];
        attributes.extend(token.names.as_ref().map(|(kind, value)| attribute(kind, value)));
        attributes.sort();
        let parts: Vec<_> = attributes.iter().map(Vec::as_slice).collect();
        let signature = self.key.sign(&tlv(0x31, &parts));
        let issuer = <x509_cert::name::Name as std::str::FromStr>::from_str("CN=tsa root").unwrap().to_der().unwrap();
        let sid = seq(&[&issuer, &[2, 3, 1, 2, 3]]);
        let algorithm = seq(&[&oid(ECDSA_SHA256)]);
        let signer = seq(&[&[2, 1, 1], &sid, &sha256, &tlv(0xa0, &parts), &algorithm, &octets(&signature)]);
        let encapsulated = seq(&[&oid(TST_INFO), &tlv(0xa0, &[&octets(&info)])]);
        let certificates = token.embedded.map(|der| tlv(0xa0, &[der])).unwrap_or_default();
        let data = seq(&[&[2, 1, 3], &tlv(0x31, &[&sha256]), &encapsulated, &certificates, &tlv(0x31, &[&signer])]);
        let content_info = seq(&[&oid(SIGNED_DATA), &tlv(0xa0, &[&data])]);
        seq(&[&seq(&[&[2, 1, token.status]]), &content_info])
    }

    /// The authority's entry in a trusted root.
    fn entry(&self, uri: &str, with_leaf: bool, until: &str) -> serde_json::Value {
        let chain: Vec<_> = [with_leaf.then_some(&self.leaf), Some(&self.ca)]
            .into_iter()
            .flatten()
            .map(|der| json!({"rawBytes": encoding::encode(der)}))
            .collect();
        json!({"uri": uri, "certChain": {"certificates": chain}, "validFor": {"start": "2025-01-01T00:00:00Z", "end": until}})
    }
}

fn root(entries: &[serde_json::Value]) -> TrustRoot {
    let root = json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "timestampAuthorities": entries,
    });
    TrustRoot::new(&TrustedRoot::from_json(root.to_string().as_bytes()).unwrap()).unwrap()
}

/// The verdict on a signature by a managed key with these timestamps, of which so many are required.
fn judge(trust: &TrustRoot, key: &Key, signature: &[u8], tokens: Vec<Vec<u8>>, required: usize) -> Result<Verified, Rejection> {
    let entity = SignedEntity::detached(signature.to_vec()).with_timestamps(tokens);
    let policy = Policy::key(key.public()).unsafe_without_log().require_signed_timestamps(required);
    verify(&entity, &Artifact::bytes(ARTIFACT), trust, &policy, at("2026-02-01T00:00:00Z"))
}

fn refused(result: Result<Verified, Rejection>) -> String {
    let rejection = result.expect_err("must be refused");
    assert_eq!(rejection.check_id(), CheckId::TimeRfc3161, "{rejection}");
    rejection.to_string()
}

#[test]
fn tokens() {
    let (tsa, key) = (Tsa::new(tsa_leaf()), Key::new());
    let signature = key.sign(ARTIFACT);
    let trust = root(&[tsa.entry("https://tsa.test", true, "2027-01-01T00:00:00Z")]);
    let verdict = |token: &Token<'_>| judge(&trust, &key, &signature, vec![tsa.sign(token)], 1);
    let good = || tsa.token(&signature);
    let verified = verdict(&good()).unwrap();
    assert_eq!(verified.signed_at(), Some(signed_at()));
    assert!(verified.has(CheckId::TimeRfc3161));
    let fraction = verdict(&Token { time: "20260101000000.5Z", ..good() }).unwrap();
    assert_eq!(fraction.signed_at().unwrap().to_string(), "2026-01-01T00:00:00.5Z");
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &tsa.leaf);
    let v1 = (SIGNING_CERTIFICATE, seq(&[&seq(&[&seq(&[&octets(sha1.as_ref())])])]));
    assert!(verdict(&Token { names: Some(v1), ..good() }).is_ok(), "old authorities name their certificate by SHA-1");
    assert!(verdict(&Token { status: 1, ..good() }).is_ok(), "granted with modifications");

    let other = (SIGNING_CERTIFICATE_V2, seq(&[&seq(&[&seq(&[&octets(&[0; 32])])])]));
    for (token, why) in [
        (Token { over: b"another", ..good() }, "another signature"),
        (Token { status: 2, ..good() }, "did not grant"),
        (Token { names: None, ..good() }, "not a readable timestamp"),
        (Token { names: Some(other), ..good() }, "name another certificate"),
        (Token { content_type: SIGNED_DATA, ..good() }, "about something else"),
        (Token { time: "20240101000000Z", ..good() }, "certificates' validity"),
        (Token { time: "20260101", ..good() }, "not a readable timestamp"),
    ] {
        let text = refused(verdict(&token));
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_token_signed_by_another_key() {
    let (tsa, other, key) = (Tsa::new(tsa_leaf()), Tsa::new(tsa_leaf()), Key::new());
    let signature = key.sign(ARTIFACT);
    let trust = root(&[tsa.entry("https://tsa.test", true, "2027-01-01T00:00:00Z")]);
    let token = Token { names: Some(tsa.names_v2()), ..tsa.token(&signature) };
    let text = refused(judge(&trust, &key, &signature, vec![other.sign(&token)], 1));
    assert!(text.contains("signature does not verify"), "{text}");
}

#[test]
fn certificates_that_may_not_sign_timestamps() {
    for (what, leaf) in [
        ("not critical", tsa_leaf().with(purposes(false, &[rfc5280::ID_KP_TIME_STAMPING]))),
        ("two purposes", tsa_leaf().with(purposes(true, &[rfc5280::ID_KP_TIME_STAMPING, rfc5280::ID_KP_CODE_SIGNING]))),
        ("another purpose", tsa_leaf().with(purposes(true, &[rfc5280::ID_KP_CODE_SIGNING]))),
        ("no purpose", tsa_leaf().without(rfc5280::ID_CE_EXT_KEY_USAGE)),
    ] {
        let (tsa, key) = (Tsa::new(leaf), Key::new());
        let signature = key.sign(ARTIFACT);
        for with_leaf in [true, false] {
            let trust = root(&[tsa.entry("https://tsa.test", with_leaf, "2027-01-01T00:00:00Z")]);
            assert_eq!(trust.unusable().len(), usize::from(with_leaf), "{what}");
            let token = tsa.sign(&Token { embedded: Some(&tsa.leaf), ..tsa.token(&signature) });
            refused(judge(&trust, &key, &signature, vec![token], 1));
        }
    }
}

#[test]
fn an_authority_known_by_its_ca_alone() {
    let (tsa, key) = (Tsa::new(tsa_leaf()), Key::new());
    let signature = key.sign(ARTIFACT);
    let trust = root(&[tsa.entry("https://tsa.test", false, "2027-01-01T00:00:00Z")]);
    let verdict = |embedded| {
        let token = tsa.sign(&Token { embedded, ..tsa.token(&signature) });
        judge(&trust, &key, &signature, vec![token], 1)
    };
    assert!(verdict(Some(&tsa.leaf)).is_ok());
    assert!(refused(verdict(None)).contains("no certificate of its signer"));
    // The same names, another CA.
    let stranger = Tsa::new(tsa_leaf());
    let token = stranger.sign(&Token { embedded: Some(&stranger.leaf), ..stranger.token(&signature) });
    let text = refused(judge(&trust, &key, &signature, vec![token], 1));
    assert!(text.contains("not issued by this authority"), "{text}");
}

#[test]
fn the_span_of_an_authority() {
    let (tsa, key) = (Tsa::new(tsa_leaf()), Key::new());
    let signature = key.sign(ARTIFACT);
    let token = tsa.sign(&tsa.token(&signature));
    let verdict =
        |until: &str| judge(&root(&[tsa.entry("https://tsa.test", true, until)]), &key, &signature, vec![token.clone()], 1);
    assert!(verdict("2026-01-01T00:00:00Z").is_ok(), "the end belongs to it");
    assert!(refused(verdict("2025-12-31T23:59:59Z")).contains("authority's validity"));
    // The span of one authority does not stretch the other's.
    let stranger = Tsa::new(tsa_leaf());
    let both = root(&[
        tsa.entry("https://tsa.test", true, "2025-12-31T23:59:59Z"),
        stranger.entry("https://stranger.test", true, "2027-01-01T00:00:00Z"),
    ]);
    refused(judge(&both, &key, &signature, vec![token], 1));
}

#[test]
fn several_authorities() {
    let (one, two, key) = (Tsa::new(tsa_leaf()), Tsa::new(tsa_leaf()), Key::new());
    let signature = key.sign(ARTIFACT);
    let trust = root(&[
        one.entry("https://one.test", true, "2027-01-01T00:00:00Z"),
        two.entry("https://two.test", true, "2027-01-01T00:00:00Z"),
    ]);
    let (first, second) = (one.sign(&one.token(&signature)), two.sign(&two.token(&signature)));
    let again = one.sign(&Token { time: "20260101000001Z", ..one.token(&signature) });
    let broken = one.sign(&one.token(b"another"));
    let verdict =
        |tokens: Vec<&Vec<u8>>, required| judge(&trust, &key, &signature, tokens.into_iter().cloned().collect(), required);
    assert!(verdict(vec![&first, &second], 2).is_ok());
    refused(verdict(vec![&first, &again], 2));
    let noted = verdict(vec![&broken, &second], 1).unwrap();
    assert_eq!((noted.times().len(), noted.notes().len()), (1, 1));
    refused(verdict(vec![&broken, &second], 2));
    refused(verdict(vec![&first, &first], 1));
    let strangers = root(&[]);
    assert!(refused(judge(&strangers, &key, &signature, vec![first], 1)).contains("no timestamp authority of the trusted root"));
}

#[test]
fn a_signer_certificate_that_its_ca_did_not_issue() {
    let mut tsa = Tsa::new(tsa_leaf());
    tsa.leaf = tsa_leaf().issue(&tsa.key, "tsa root", &Key::new());
    let trust = root(&[tsa.entry("https://tsa.test", true, "2027-01-01T00:00:00Z")]);
    assert_eq!(trust.unusable().len(), 1);
    tsa.leaf = tsa_leaf().issue(&tsa.key, "tsa root", &tsa.ca_key);
    assert_eq!(root(&[tsa.entry("https://tsa.test", true, "2027-01-01T00:00:00Z")]).unusable(), []);
}
