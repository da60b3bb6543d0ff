//! The authority as a whole: golden certificates of a real Fulcio, every type of issuer, every refusal, and the wire.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use der::{Decode, Encode};
use serde_json::{Value, json};
use vidimus_core::fulcio::{Claims, Extension, Identity};
use x509_cert::Certificate;

use super::ct::{CtFuture, Precertificate, Sct};
use super::*;
use crate::jwt::IdToken;
use crate::oidc::key::{TokenKey, install_for_test};
use crate::testing::{Answer, call};

const ISSUER: &str = "http://127.0.0.1:4000";

/// A log that remembers what it was given.
#[derive(Debug, Default)]
struct TestLog {
    seen: std::sync::Mutex<Vec<Precertificate>>,
    broken: bool,
}

impl CtSubmit for TestLog {
    fn submit(&self, precertificate: Precertificate) -> CtFuture<'_> {
        Box::pin(async move {
            if self.broken {
                return Err(CtError("full disk".into()));
            }
            self.seen.lock().unwrap().push(precertificate);
            Ok(Sct { log_id: [9; 32], timestamp: 1_795_294_752_720, extensions: vec![], signature: vec![7; 70] })
        })
    }
}

struct Bench {
    fulcio: Arc<Fulcio>,
    log: Arc<TestLog>,
    key: Arc<TokenKey>,
    now: Timestamp,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(TestLog::default())
    }

    fn with(log: TestLog) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T20:59:12.7Z".parse().unwrap();
        install_for_test(dir.path(), 0);
        let key = Arc::new(TokenKey::open(dir.path()).unwrap());
        let mut config = FulcioConfig::built_in().unwrap();
        config.insert(config::IssuerConfig::email(ISSUER, "sigstore"));
        let tokens = Arc::new(TokenVerifier::new(ISSUER, key.clone(), config, Clock::fixed(now)));
        let log = Arc::new(log);
        let authority = Authority::open(dir.path(), &Clock::fixed(now)).unwrap();
        let fulcio = Arc::new(Fulcio::new(authority, tokens, log.clone(), Clock::fixed(now)));
        Self { fulcio, log, key, now, _dir: dir }
    }

    fn claims(&self) -> Value {
        let now = self.now.as_second();
        json!({ "iss": ISSUER, "aud": "sigstore", "sub": "jdoe", "email": "jdoe@example.com", "email_verified": true,
                "iat": now, "exp": now + 300 })
    }

    fn token(&self) -> String {
        self.key.sign(&self.claims()).unwrap()
    }

    fn router(&self) -> Router {
        router(self.fulcio.clone())
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        call(&self.router(), request.body(Body::from(body.to_string())).unwrap()).await
    }
}

/// A caller's key.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn pem(&self) -> String {
        let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        encoding::pem("PUBLIC KEY", der.as_ref())
    }

    fn sign(&self, message: &str) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
    }

    fn request_v2(&self, challenge: &str) -> Value {
        let proof = encoding::encode(self.sign(challenge));
        json!({ "publicKeyRequest": { "publicKey": { "algorithm": "ECDSA", "content": self.pem() }, "proofOfPossession": proof } })
    }
}

fn testdata(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../testdata/fulcio/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn golden(name: &str) -> (Certificate, IdToken) {
    let der = encoding::pem_one(&testdata(&format!("{name}.pem")), "CERTIFICATE").unwrap();
    let claims = serde_json::from_str(&testdata(&format!("{name}.claims.json"))).unwrap();
    (Certificate::from_der(&der).unwrap(), IdToken::unverified_for_test(claims))
}

fn config_for(name: &str) -> FulcioConfig {
    let fields = match name {
        "email" => "type: email",
        "github" => "type: ci-provider\n    ci-provider: github-workflow",
        "github-legacy" => "type: github-workflow",
        "k8s" => "type: kubernetes",
        _ => "type: uri\n    subject-domain: http://127.0.0.1",
    };
    let issuer = name.split('-').next().unwrap();
    FulcioConfig::parse(&format!("oidc-issuers:\n  http://127.0.0.1:5601/{issuer}:\n    client-id: sigstore\n    {fields}"))
        .unwrap()
}

fn principal(token: &IdToken, config: &FulcioConfig) -> Result<Principal, PrincipalError> {
    Principal::from_token(token, &config.issuer(token.issuer()).unwrap(), config)
}

/// The certificate's extensions in order, without the values that differ between any two certificates.
fn shape(certificate: &Certificate) -> Vec<(String, bool, Vec<u8>)> {
    let variable = ["2.5.29.14", "2.5.29.35", "1.3.6.1.4.1.11129.2.4.2"];
    let all = certificate.tbs_certificate.extensions.as_deref().unwrap();
    all.iter()
        .map(|e| {
            let oid = e.extn_id.to_string();
            let value = if variable.contains(&oid.as_str()) { vec![] } else { e.extn_value.as_bytes().to_vec() };
            (oid, e.critical, value)
        })
        .collect()
}

#[tokio::test]
async fn golden_certificates() {
    for name in ["email", "github", "github-legacy", "k8s", "uri"] {
        let bench = Bench::new();
        let (expected, token) = golden(name.split('-').next().unwrap());
        let principal = principal(&token, &config_for(name)).unwrap();
        let signer = Signer::new();
        let key = RequestedKey::read(signer.pem().as_bytes()).unwrap();
        let proven = key.prove(&principal.challenges, &signer.sign(token.subject())).unwrap();
        let der = bench.fulcio.authority.leaves.issue(&principal, &proven, bench.now, &*bench.log).await.unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(shape(&certificate), shape(&expected), "{name}");
        let (ours, theirs) = (&certificate.tbs_certificate, &expected.tbs_certificate);
        assert_eq!((ours.version, &ours.subject, &ours.signature), (theirs.version, &theirs.subject, &theirs.signature));
        assert_eq!(ours.validity.not_before.to_string(), "2026-11-21T20:59:12Z");
        assert_eq!(ours.validity.not_after.to_string(), "2026-11-21T21:09:12Z");
        assert_eq!(ours.serial_number.as_bytes().len(), 20);
    }
}

#[tokio::test]
async fn the_log_sees_the_same_certificate() {
    let bench = Bench::new();
    let signer = Signer::new();
    let (key, signature) = (signer.pem(), signer.sign("jdoe@example.com"));
    let proof = Proof::Signature { key: key.as_bytes(), signature: &signature };
    let issued = bench.fulcio.issue(&bench.token(), proof).await.unwrap();
    let seen = bench.log.seen.lock().unwrap().pop().unwrap();
    let mut certificate = Certificate::from_der(&issued.der).unwrap();
    let mut precertificate = Certificate::from_der(&seen.certificate).unwrap();
    let sct = certificate.tbs_certificate.extensions.as_mut().unwrap().pop().unwrap();
    let poison = precertificate.tbs_certificate.extensions.as_mut().unwrap().pop().unwrap();
    assert_eq!(certificate.tbs_certificate, precertificate.tbs_certificate);
    assert_eq!(certificate.tbs_certificate.to_der().unwrap(), seen.tbs);
    assert_eq!(
        (poison.extn_id.to_string().as_str(), poison.critical, poison.extn_value.as_bytes()),
        ("1.3.6.1.4.1.11129.2.4.3", true, &[5, 0][..])
    );
    // OCTET STRING 119+, list of 117+, SCT of 115+: lengths of RFC 6962 §3.3, then version 1 and the log's id.
    let value = sct.extn_value.as_bytes();
    assert_eq!(value[..8], [0x04, 0x79, 0x00, 0x77, 0x00, 0x75, 0x00, 0x09]);
    assert_eq!(seen.chain.len(), 2);
}

#[tokio::test]
async fn openssl_accepts_the_chain() {
    let bench = Bench::new();
    let signer = Signer::new();
    let answer = bench.post("/api/v1/signingCert", Some(&bench.token()), &v1(&signer, "jdoe@example.com")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/pem-certificate-chain");
    let blocks = encoding::pem_blocks(answer.text()).unwrap();
    assert_eq!(blocks.len(), 3);
    let dir = tempfile::tempdir().unwrap();
    for (name, block) in ["leaf", "int", "root"].iter().zip(&blocks) {
        std::fs::write(dir.path().join(name), encoding::pem("CERTIFICATE", &block.der)).unwrap();
    }
    let out = std::process::Command::new("openssl")
        .args(["verify", "-x509_strict", "-attime", &bench.now.as_second().to_string()])
        .args(["-CAfile", "root", "-untrusted", "int", "leaf"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let root = call(&bench.router(), Request::get("/api/v1/rootCert").body(Body::empty()).unwrap()).await;
    assert_eq!(encoding::pem_blocks(root.text()).unwrap(), blocks[1..]);
}

fn v1(signer: &Signer, challenge: &str) -> Value {
    json!({ "publicKey": { "content": encoding::encode(signer.pem()), "algorithm": "" },
            "signedEmailAddress": encoding::encode(signer.sign(challenge)), "certificateSigningRequest": null })
}

#[tokio::test]
async fn v2_wire() {
    let bench = Bench::new();
    let signer = Signer::new();
    let body = signer.request_v2("jdoe@example.com");
    let answer = bench.post("/api/v2/signingCert", Some(&bench.token()), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let json = answer.json();
    let certificates = json["signedCertificateEmbeddedSct"]["chain"]["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 3);
    assert!(certificates.iter().all(|c| c.as_str().unwrap().ends_with("-----END CERTIFICATE-----")));
    let leaf = encoding::pem_one(certificates[0].as_str().unwrap(), "CERTIFICATE").unwrap();
    let claims = Claims::from_certificate(&Certificate::from_der(&leaf).unwrap()).unwrap();
    assert_eq!(claims.identity(), Some(&Identity::Email("jdoe@example.com".into())));
    assert_eq!((claims.issuer(), claims.get(Extension::TokenSubject)), (Some(ISSUER), Some("jdoe")));
    // A token in the body wins over the header; snake case, the subject as challenge, unpadded and URL-safe base64 are fine too.
    let proof = encoding::encode(signer.sign("jdoe")).replace('+', "-").replace('/', "_").replace('=', "");
    let body = json!({ "credentials": { "oidc_identity_token": bench.token() }, "unknown": 1,
        "public_key_request": { "public_key": { "content": signer.pem().trim_end() }, "proof_of_possession": proof } });
    assert_eq!(bench.post("/api/v2/signingCert", Some("nonsense"), &body).await.status, StatusCode::OK);
    let bundle = call(&bench.router(), Request::get("/api/v2/trustBundle").body(Body::empty()).unwrap()).await.json();
    assert_eq!(bundle["chains"][0]["certificates"][0].as_str().unwrap().trim_end(), certificates[1]);
    let config = call(&bench.router(), Request::get("/api/v2/configuration").body(Body::empty()).unwrap()).await;
    assert_eq!(config.headers["access-control-allow-origin"], "*");
    let expected = json!({ "issuers": [{ "issuerUrl": ISSUER, "audience": "sigstore", "challengeClaim": "email", "spiffeTrustDomain": "",
        "issuerType": "email", "subjectDomain": "", "skipEmailVerification": false }] });
    assert_eq!(config.json(), expected);
}

#[tokio::test]
async fn tokens_that_are_refused() {
    let bench = Bench::new();
    let signer = Signer::new();
    let now = bench.now.as_second();
    let body = signer.request_v2("jdoe@example.com");
    let changes: [(&str, Value); 12] = [
        ("exp", json!(now)),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("nbf", json!(now + 301)),
        ("aud", json!("other")),
        ("aud", json!(["a", "b"])),
        ("iss", json!("http://127.0.0.1:4001")),
        ("sub", json!("")),
        ("email", json!("not an address")),
        ("email", Value::Null),
        ("email_verified", json!(false)),
        ("email_verified", json!("yes")),
    ];
    for (claim, value) in changes {
        let mut claims = bench.claims();
        claims[claim] = value.clone();
        let token = bench.key.sign(&claims).unwrap();
        let answer = bench.post("/api/v2/signingCert", Some(&token), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{claim} {value}");
        let expected = json!({ "code": 3, "message": "There was an error processing the identity token", "details": [] });
        assert_eq!(answer.json(), expected, "{claim} {value}");
    }
    for (claim, value) in
        [("aud", json!(["a", "sigstore"])), ("nbf", json!(now + 299)), ("exp", json!(now + 1)), ("email_verified", json!("true"))]
    {
        let mut claims = bench.claims();
        claims[claim] = value;
        let token = bench.key.sign(&claims).unwrap();
        assert_eq!(bench.post("/api/v2/signingCert", Some(&token), &body).await.status, StatusCode::OK, "{claim}");
    }
    assert!(bench.log.seen.lock().unwrap().len() == 4, "nothing refused was logged");
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let bench = Bench::new();
    let signer = Signer::new();
    let body = signer.request_v2("jdoe@example.com");
    let token = bench.token();
    let parts: Vec<_> = token.split('.').collect();
    let other_dir = tempfile::tempdir().unwrap();
    install_for_test(other_dir.path(), 1);
    let foreign = TokenKey::open(other_dir.path()).unwrap().sign(&bench.claims()).unwrap();
    let header = |json: Value| crate::oidc::key::base64url(json.to_string().as_bytes());
    let none = format!("{}.{}.", header(json!({"alg": "none"})), parts[1]);
    let hmac = format!("{}.{}.{}", header(json!({"alg": "HS256"})), parts[1], parts[2]);
    let crit = format!("{}.{}.{}", header(json!({"alg": "RS256", "crit": ["x"]})), parts[1], parts[2]);
    let changed = format!("{}.{}.{}", parts[0], header(json!({"iss": ISSUER, "aud": "sigstore"})), parts[2]);
    let long = format!("{}.{}.{}", parts[0], "A".repeat(20_000), parts[2]);
    for bad in [foreign, none, hmac, crit, changed, long, String::new(), "a.b".into(), "a.b.c.d".into(), format!("{token}x")] {
        let answer = bench.post("/api/v2/signingCert", Some(&bad), &body).await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (StatusCode::BAD_REQUEST, Some(3)), "{bad}");
    }
    assert_eq!(bench.post("/api/v2/signingCert", None, &body).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn proofs_and_keys_that_are_refused() {
    let bench = Bench::new();
    let signer = Signer::new();
    let message = |answer: &Answer| answer.json()["message"].as_str().unwrap().to_owned();
    for challenge in ["someone@example.com", "", "JDOE"] {
        let answer = bench.post("/api/v2/signingCert", Some(&bench.token()), &signer.request_v2(challenge)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(message(&answer), "The signature supplied in the request could not be verified");
        let answer = bench.post("/api/v1/signingCert", Some(&bench.token()), &v1(&signer, challenge)).await;
        assert_eq!(message(&answer), "The signature supplied in the request could not be verified");
    }
    for content in ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", &testdata("email.pem")] {
        let body = json!({ "publicKeyRequest": { "publicKey": { "content": content }, "proofOfPossession": "AAAA" } });
        let answer = bench.post("/api/v2/signingCert", Some(&bench.token()), &body).await;
        assert_eq!(message(&answer), "The public key supplied in the request could not be parsed", "{content}");
    }
    let answer = bench.post("/api/v2/signingCert", Some(&bench.token()), &json!({"certificateSigningRequest": "AAAA"})).await;
    assert_eq!(message(&answer), "The certificate signing request could not be parsed");
    let answer = bench.post("/api/v2/signingCert", Some(&bench.token()), &json!([])).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn nothing_is_issued_when_the_log_fails() {
    let bench = Bench::with(TestLog { broken: true, ..TestLog::default() });
    let answer = bench.post("/api/v2/signingCert", Some(&bench.token()), &Signer::new().request_v2("jdoe")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.json(), json!({ "code": 13, "message": "Error entering certificate in CTL", "details": [] }));
}

/// Keys of every kind, made by openssl together with a signature and a certificate request.
#[test]
fn every_kind_of_key() {
    let cases: &[(&str, &[&str], &str, bool)] = &[
        ("P-256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "-sha256", true),
        ("P-384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "-sha384", true),
        ("P-521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], "-sha512", true),
        ("RSA 2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "-sha256", true),
        ("RSA 3072", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"], "-sha256", true),
        ("RSA 2560", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2560"], "-sha256", false),
        ("RSA 1024", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], "-sha256", false),
        (
            "exponent 3",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"],
            "-sha256",
            false,
        ),
        ("secp256k1", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "-sha256", false),
    ];
    for (name, algorithm, hash, good) in cases {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |arguments: &[&str]| {
            let out = std::process::Command::new("openssl").args(arguments).current_dir(dir.path()).output().unwrap();
            assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        };
        openssl(&[&["genpkey", "-out", "key"], *algorithm].concat());
        openssl(&["pkey", "-in", "key", "-pubout", "-out", "pub"]);
        std::fs::write(dir.path().join("m"), "sub").unwrap();
        openssl(&["dgst", hash, "-sign", "key", "-out", "sig", "m"]);
        openssl(&["req", "-new", "-key", "key", "-subj", "/CN=ignored", hash, "-out", "csr"]);
        let read = |file| std::fs::read(dir.path().join(file)).unwrap();
        let (key, signature, csr) = (read("pub"), read("sig"), read("csr"));
        let by_signature = RequestedKey::read(&key).and_then(|k| k.prove(&["email".into(), "sub".into()], &signature));
        let by_request = key::prove_by_request(&csr);
        if *good {
            assert_eq!(by_signature.unwrap().spki(), by_request.unwrap().spki(), "{name}");
            openssl(&[
                "req",
                "-new",
                "-key",
                "key",
                "-subj",
                "/CN=x",
                if *hash == "-sha256" { "-sha512" } else { "-sha256" },
                "-out",
                "csr2",
            ]);
            assert!(matches!(key::prove_by_request(&read("csr2")), Err(KeyError::NotPermitted(_))), "{name}");
        } else {
            assert!(matches!(by_signature, Err(KeyError::Insecure(_))), "{name}: {by_signature:?}");
            assert!(matches!(by_request, Err(KeyError::Insecure(_))), "{name}: {by_request:?}");
        }
    }
}

#[test]
fn ed25519_is_pure() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let key = || RequestedKey::from_spki(der.as_ref()).unwrap();
    assert!(key().prove(&["sub".into()], pair.sign(b"sub").as_ref()).is_ok());
    assert!(matches!(key().prove(&["sub".into()], pair.sign(b"sup").as_ref()), Err(KeyError::Unproven(_))));
}

#[test]
fn a_request_signed_by_another_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        assert!(std::process::Command::new("sh").args(["-ec", script]).current_dir(dir.path()).status().unwrap().success())
    };
    run(
        "for k in a b; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $k; openssl req -new -key $k -subj /CN=x -outform DER -out $k.csr; done 2>/dev/null",
    );
    let read = |file| x509_cert::request::CertReq::from_der(&std::fs::read(dir.path().join(file)).unwrap()).unwrap();
    let (mut a, b) = (read("a.csr"), read("b.csr"));
    assert!(key::prove_by_request(&a.to_der().unwrap()).is_ok());
    a.signature = b.signature;
    assert!(matches!(key::prove_by_request(&a.to_der().unwrap()), Err(KeyError::Unproven(_))));
}

#[test]
fn principals_of_every_type() {
    let of = |fields: &str, extra: Value| {
        let mut claims = json!({ "iss": "https://id.example.com", "sub": "s" });
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let config =
            FulcioConfig::parse(&format!("oidc-issuers:\n  https://id.example.com:\n    client-id: sigstore\n    {fields}"))
                .unwrap();
        principal(&IdToken::unverified_for_test(claims), &config)
    };
    let uri = |text: &str| Identity::Uri(text.into());

    let username = "type: username\n    subject-domain: example.com";
    let p = of(username, json!({ "sub": "alice", "email": "a@b.c" })).unwrap();
    assert_eq!(p.identity, Identity::Username("alice!example.com".into()));
    assert_eq!(p.challenges, ["a@b.c", "alice"]);
    for bad in ["a!b", "a@example.com"] {
        assert!(of(username, json!({ "sub": bad })).is_err(), "{bad}");
    }

    let account = "type: uri\n    subject-domain: https://users.example.com";
    assert_eq!(
        of(account, json!({ "sub": "https://users.example.com/1" })).unwrap().identity,
        uri("https://users.example.com/1")
    );
    for bad in
        ["http://users.example.com/1", "https://example.com/1", "https://users.example.com@evil/1", "a@users.example.com", "x"]
    {
        assert!(of(account, json!({ "sub": bad })).is_err(), "{bad}");
    }

    let spiffe = "type: spiffe\n    spiffe-trust-domain: example.com";
    assert_eq!(of(spiffe, json!({ "sub": "spiffe://example.com/ns/a" })).unwrap().identity, uri("spiffe://example.com/ns/a"));
    for bad in ["spiffe://evil.com/ns/a", "spiffe://example.com/../a", "https://example.com"] {
        assert!(of(spiffe, json!({ "sub": bad })).is_err(), "{bad}");
    }

    let cluster =
        |namespace: &str, name: &str| json!({ "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": name } } });
    assert!(of("type: kubernetes", cluster("ns", "sa")).is_ok());
    for (ns, sa) in [("", "sa"), ("ns", ""), ("a/b", "sa"), ("ns", "..\u{2f}x")] {
        assert!(of("type: kubernetes", cluster(ns, sa)).is_err(), "{ns} {sa}");
    }
    assert!(of("type: kubernetes", json!({})).is_err());

    assert_eq!(of("type: chainguard-identity", json!({ "sub": "a/b" })).unwrap().identity, uri("https://id.example.com/a/b"));
    assert!(of("type: chainguard-identity", json!({ "sub": "../b" })).is_err());

    let dex = "type: email\n    issuer-claim: $.federated_claims.connector_id";
    let verified =
        json!({ "email": "a@b.c", "email_verified": true, "federated_claims": { "connector_id": "https://up.example" } });
    assert_eq!(of(dex, verified).unwrap().extensions.get(Extension::IssuerV2), Some("https://up.example"));
    assert!(of(dex, json!({ "email": "a@b.c", "email_verified": true })).is_err());
    assert!(of("type: email", json!({ "email": "a@b.c" })).is_err());
    assert!(of("type: email\n    skip-email-verification: true", json!({ "email": "a@b.c" })).is_ok());
}

#[test]
fn principals_of_ci_systems() {
    let of = |kind: &str, claims: Value| {
        let fields = kind.split_once(' ').map_or(format!("type: {kind}"), |(t, p)| format!("type: {t}\n    ci-provider: {p}"));
        let mut all = json!({ "iss": "https://ci.example.com", "sub": "s" });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let config =
            FulcioConfig::parse(&format!("oidc-issuers:\n  https://ci.example.com:\n    client-id: sigstore\n    {fields}"))
                .unwrap();
        principal(&IdToken::unverified_for_test(all), &config)
    };
    let gitlab = json!({ "project_path": "g/p", "project_id": "1", "pipeline_source": "push", "pipeline_id": "2", "ci_config_sha": "c",
        "ci_config_ref_uri": "gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main", "namespace_path": "g", "namespace_id": "3", "job_id": "4",
        "ref": "main", "ref_type": "branch", "sha": "s1", "runner_environment": "gitlab-hosted", "runner_id": 5, "project_visibility": "public" });
    let modern = of("ci-provider gitlab-pipeline", gitlab.clone()).unwrap();
    assert_eq!(modern, of("gitlab-pipeline", gitlab.clone()).unwrap());
    let san = "https://gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main";
    assert_eq!(modern.identity, Identity::Uri(san.into()));
    for (extension, value) in [
        (Extension::BuildSignerUri, san),
        (Extension::BuildConfigUri, san),
        (Extension::BuildConfigDigest, "c"),
        (Extension::SourceRepositoryUri, "https://gitlab.com/g/p"),
        (Extension::SourceRepositoryRef, "refs/heads/main"),
        (Extension::SourceRepositoryOwnerUri, "https://gitlab.com/g"),
        (Extension::RunInvocationUri, "https://gitlab.com/g/p/-/jobs/4"),
        (Extension::SourceRepositoryVisibilityAtSigning, "public"),
        (Extension::BuildTrigger, "push"),
    ] {
        assert_eq!(modern.extensions.get(extension), Some(value));
    }
    for missing in ["runner_id", "ref_type", "sha"] {
        let mut claims = gitlab.clone();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(of("gitlab-pipeline", claims).is_err(), "{missing}");
    }
    let mut odd = gitlab;
    odd["ref_type"] = json!("other");
    assert!(of("gitlab-pipeline", odd).is_err());

    let buildkite = json!({ "organization_slug": "o", "pipeline_slug": "p", "build_number": 12, "job_id": "j", "build_commit": "c",
        "build_source": "ui", "runner_environment": "self-hosted" });
    let p = of("ci-provider buildkite-job", buildkite.clone()).unwrap();
    assert_eq!(p.identity, Identity::Uri("https://buildkite.com/o/p".into()));
    assert_eq!(p.extensions.get(Extension::RunInvocationUri), Some("https://buildkite.com/o/p/builds/12#j"));
    let old = of("buildkite-job", buildkite).unwrap();
    assert_eq!((old.identity, old.extensions.iter().count()), (p.identity, 3));
    assert_eq!(
        of("ci-provider buildkite-job", json!({})),
        Err(PrincipalError::Template(template::TemplateError::Missing("organization_slug".into())))
    );

    let codefresh =
        json!({ "account_id": "1", "account_name": "a", "pipeline_id": "2", "pipeline_name": "x/y", "workflow_id": "3" });
    let p = of("ci-provider codefresh-workflow", codefresh.clone()).unwrap();
    assert_eq!(p, of("codefresh-workflow", codefresh).unwrap());
    assert_eq!(p.identity, Identity::Uri("https://g.codefresh.io/a/x/y:1/2".into()));
    assert_eq!(p.extensions.get(Extension::RunInvocationUri), Some("https://g.codefresh.io/build/3"));
    assert_eq!(p.extensions.get(Extension::RunnerEnvironment), None);

    let circle = json!({ "oidc.circleci.com/project-id": "p", "oidc.circleci.com/pipeline-definition-id": "d", "oidc.circleci.com/ssh-rerun": true });
    let p = of("ci-provider circleci-job", circle).unwrap();
    assert_eq!(p.identity, Identity::Uri("https://circleci.com/api/v2/projects/p/pipeline-definitions/d".into()));
    assert_eq!(p.extensions.get(Extension::RunnerEnvironment), Some("ssh-rerun"));

    let buddy = json!({ "workspace_domain": "w", "project_name": "p", "pipeline_id": 7, "execution_id": 8, "triggered_on": "PUSH", "runner_environment": "h" });
    let p = of("ci-provider buddy-pipeline", buddy).unwrap();
    assert_eq!(
        p.extensions.get(Extension::RunInvocationUri),
        Some("https://app.buddy.works/w/p/pipelines/pipeline/7/execution/8")
    );
    assert_eq!(p.extensions.get(Extension::SourceRepositoryDigest), None);
}

/// A client that knows protocol buffers: fields by number, with their lengths in one or two bytes.
fn protobuf(number: u8, content: &[u8]) -> Vec<u8> {
    let (low, high) = (u8::try_from(content.len() % 128).unwrap(), u8::try_from(content.len() / 128).unwrap());
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [vec![number << 3 | 2], length, content.to_vec()].concat()
}

#[tokio::test]
async fn grpc_wire() {
    let bench = Bench::new();
    let signer = Signer::new();
    let call_with = async |proof: Vec<u8>| {
        let key = protobuf(1, &[vec![1 << 3, 2], protobuf(2, signer.pem().as_bytes())].concat());
        let request =
            [protobuf(1, &protobuf(1, bench.token().as_bytes())), protobuf(2, &[key, protobuf(2, &proof)].concat())].concat();
        let framed = [vec![0], u32::try_from(request.len()).unwrap().to_be_bytes().to_vec(), request].concat();
        let path = "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate";
        let request = Request::post(path).header("content-type", "application/grpc").body(Body::from(framed)).unwrap();
        call(&bench.router(), request).await
    };
    let answer = call_with(signer.sign("jdoe@example.com")).await;
    assert_eq!((answer.status, answer.trailers["grpc-status"].as_bytes()), (StatusCode::OK, &b"0"[..]));
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert_eq!(answer.body[..1], [0]);
    assert_eq!(usize::try_from(u32::from_be_bytes(answer.body[1..5].try_into().unwrap())).unwrap(), answer.body.len() - 5);
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!((text.matches("-----BEGIN CERTIFICATE-----").count(), answer.body[5]), (3, 2 << 3 | 2));
    let refused = call_with(signer.sign("other")).await;
    assert_eq!((refused.status, refused.headers["grpc-status"].as_bytes(), refused.body.len()), (StatusCode::OK, &b"3"[..], 0));
    assert_eq!(refused.headers["grpc-message"], "The signature supplied in the request could not be verified");
    for (method, content) in [("GetTrustBundle", "-----BEGIN CERTIFICATE-----"), ("GetConfiguration", ISSUER)] {
        let request = Request::post(format!("/dev.sigstore.fulcio.v2.CA/{method}")).body(Body::from(vec![0; 5])).unwrap();
        let answer = call(&bench.router(), request).await;
        assert_eq!(answer.trailers["grpc-status"], "0");
        assert!(String::from_utf8_lossy(&answer.body).contains(content), "{method}");
    }
}
