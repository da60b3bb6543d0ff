//! A Fulcio certificate authority's client: a short-lived certificate for a key, on the word of an identity token.
//!
//! Speaks the REST form of `dev.sigstore.fulcio.v2.CA/CreateSigningCertificate`, and version 1 where a server does not know it. The
//! answer is checked for being a certificate of *our* key that carries a signed certificate timestamp. Whether the chain leads to a
//! trusted root, and whether the timestamp holds, is decided by `vidimus-verify`.

use std::time::Duration;

use der::{Decode, Encode, asn1::ObjectIdentifier};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use vidimus_core::{
    ParseError,
    encoding::{self, pem},
    limits,
};
use x509_cert::Certificate;

use crate::{
    endpoint::below,
    http::{Client, HttpError, Kind, Response},
    keys::{EphemeralKey, KeyError, SigningKey, certificate_request},
    oidc::token::IdentityToken,
};

/// Time for one attempt: issuing waits for a Certificate Transparency log.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer: ten certificates of 8 KiB, with room.
const LIMIT: u64 = 256 << 10;
/// The list of embedded signed certificate timestamps (RFC 6962 §3.3).
const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// A certificate authority at a base URL.
#[derive(Debug, Clone)]
pub struct Fulcio {
    http: Client,
    base: Url,
}

/// A certificate for our key, and the chain that came with it. Not yet verified against any root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    chain: Vec<Vec<u8>>,
}

impl IssuedCertificate {
    /// The certificate of our key, in DER.
    pub fn leaf_der(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The certificate of our key, as PEM.
    pub fn leaf_pem(&self) -> String {
        pem("CERTIFICATE", self.leaf_der())
    }

    /// Leaf first, root last, each in DER.
    pub fn chain_der(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Everything but the leaf, as PEM.
    pub fn issuers_pem(&self) -> String {
        self.chain[1..].iter().map(|der| pem("CERTIFICATE", der)).collect()
    }
}

/// No certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FulcioError {
    /// The request failed; see its kind.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The authority refuses this token or this request.
    #[error("{url}: the certificate authority refused (HTTP {status}): {message}")]
    Refused {
        /// The URL that answered.
        url: String,
        /// Its status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The answer cannot be read.
    #[error("{url}: {source}")]
    Malformed {
        /// The URL that answered.
        url: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The certificate is for another key.
    #[error("{url}: the certificate that came back is for another key than ours")]
    WrongKey {
        /// The URL that answered.
        url: String,
    },
    /// No embedded timestamp: nobody's verifier would accept the certificate.
    #[error(
        "{url}: the certificate carries no signed certificate timestamp; this authority writes to no certificate transparency log"
    )]
    NoSct {
        /// The URL that answered.
        url: String,
    },
    /// Our own key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// How possession of the key is shown.
#[derive(Clone, Copy)]
enum Proof<'a> {
    /// A signature over this claim of the token.
    Claim(&'a str),
    /// A certificate request, signed by the key. Does not depend on which claim the authority compares.
    Request,
}

impl Fulcio {
    /// An authority at a base URL.
    pub fn new(http: Client, base: &Url) -> Self {
        Self { http, base: base.clone() }
    }

    /// A certificate for `key`, about whom `token` is about.
    ///
    /// The proof of possession is a signature over the e-mail address if the token has one, else over the subject. An authority that
    /// treats the token's issuer as one of workloads wants the subject even then; it says that the signature does not verify, and gets
    /// a certificate request instead, which has no such ambiguity.
    pub async fn certify(&self, token: &IdentityToken, key: &EphemeralKey) -> Result<IssuedCertificate, FulcioError> {
        let claims = token.subject_claims();
        let first = self.certify_with(token, key, Proof::Claim(claims[0])).await;
        match first {
            Err(FulcioError::Refused { ref message, .. }) if claims.len() > 1 && message.contains("signature") => {
                tracing::debug!(%message, "asking again with a certificate request");
                self.certify_with(token, key, Proof::Request).await
            }
            other => other,
        }
    }

    async fn certify_with(
        &self,
        token: &IdentityToken,
        key: &EphemeralKey,
        proof: Proof<'_>,
    ) -> Result<IssuedCertificate, FulcioError> {
        match self.post("api/v2/signingCert", token, &v2_request(key, proof)?).await {
            Err(FulcioError::Http(error)) if error.is_not_found() => {}
            answer => return certificates_v2(&answer?, key),
        }
        let answer = self.post("api/v1/signingCert", token, &v1_request(key, proof)?).await?;
        certificates_v1(&answer, key)
    }

    async fn post(&self, path: &str, token: &IdentityToken, body: &Value) -> Result<Response, FulcioError> {
        let request = self.http.post(&below(&self.base, path)).bearer(token.as_str()).json(body);
        // Repeating is harmless: it makes one more certificate, which nobody uses.
        let answer = request.repeatable().timeout(TIMEOUT).limit(LIMIT).send().await;
        answer.map_err(|error| match (error.kind, error.status) {
            // gRPC gateways say 400 where others say 401.
            (Kind::Denied | Kind::Status(_), Some(status)) => {
                FulcioError::Refused { url: error.url, status: status.as_u16(), message: error.detail }
            }
            _ => FulcioError::Http(error),
        })
    }
}

fn v2_request(key: &EphemeralKey, proof: Proof<'_>) -> Result<Value, FulcioError> {
    Ok(match proof {
        Proof::Claim(claim) => json!({
            "publicKeyRequest": {
                "publicKey": { "algorithm": "ECDSA", "content": key.public_key_pem() },
                "proofOfPossession": encoding::encode(key.sign(claim.as_bytes())?),
            }
        }),
        Proof::Request => json!({ "certificateSigningRequest": encoding::encode(request_pem(key)?) }),
    })
}

fn v1_request(key: &EphemeralKey, proof: Proof<'_>) -> Result<Value, FulcioError> {
    Ok(match proof {
        Proof::Claim(claim) => json!({
            "publicKey": { "algorithm": "ecdsa", "content": encoding::encode(key.public_key_pem()) },
            "signedEmailAddress": encoding::encode(key.sign(claim.as_bytes())?),
        }),
        Proof::Request => json!({ "certificateSigningRequest": encoding::encode(request_pem(key)?) }),
    })
}

fn request_pem(key: &EphemeralKey) -> Result<String, FulcioError> {
    Ok(pem("CERTIFICATE REQUEST", &certificate_request(key)?))
}

/// The answer of version 2: JSON, in one of two forms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerV2 {
    signed_certificate_embedded_sct: Option<Embedded>,
    // Only its presence matters: a detached timestamp cannot be put into a bundle.
    signed_certificate_detached_sct: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Embedded {
    chain: Chain,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<String>,
}

fn certificates_v2(answer: &Response, key: &EphemeralKey) -> Result<IssuedCertificate, FulcioError> {
    let read: AnswerV2 =
        serde_json::from_slice(&answer.body).map_err(|e| malformed(answer, ParseError::new("Fulcio answer", e)))?;
    let chain = match (read.signed_certificate_embedded_sct, read.signed_certificate_detached_sct) {
        (Some(embedded), _) => embedded.chain.certificates,
        (None, Some(_)) => return Err(FulcioError::NoSct { url: answer.requested.to_string() }),
        (None, None) => return Err(malformed(answer, ParseError::new("Fulcio answer", "it has no certificate"))),
    };
    let ders = chain.iter().map(|text| encoding::pem_one(text, "CERTIFICATE")).collect::<Result<Vec<_>, _>>();
    accept(answer, ders.map_err(|e| malformed(answer, e))?, key)
}

/// The answer of version 1: PEM, the leaf first.
fn certificates_v1(answer: &Response, key: &EphemeralKey) -> Result<IssuedCertificate, FulcioError> {
    let blocks = encoding::pem_blocks(answer.text()?).map_err(|e| malformed(answer, e))?;
    let ders = blocks.into_iter().filter(|block| block.label == "CERTIFICATE").map(|block| block.der).collect();
    accept(answer, ders, key)
}

/// Takes a chain whose leaf is for our key and carries its timestamp.
fn accept(answer: &Response, chain: Vec<Vec<u8>>, key: &EphemeralKey) -> Result<IssuedCertificate, FulcioError> {
    let url = answer.requested.to_string();
    let unreadable = |e| malformed(answer, e);
    limits::check_count("certificate chain", "certificates", chain.len(), limits::CHAIN).map_err(unreadable)?;
    let parsed = chain.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>();
    let parsed = parsed.map_err(|e| unreadable(ParseError::new("certificate", e)))?;
    let leaf = parsed.first().ok_or_else(|| unreadable(ParseError::new("Fulcio answer", "it has no certificate")))?;
    let public_key = leaf.tbs_certificate.subject_public_key_info.to_der();
    if public_key.map_err(|e| unreadable(ParseError::new("certificate", e)))? != key.public_key_der() {
        return Err(FulcioError::WrongKey { url });
    }
    let extensions = leaf.tbs_certificate.extensions.iter().flatten();
    if !extensions.into_iter().any(|extension| extension.extn_id == SCT_LIST) {
        return Err(FulcioError::NoSct { url });
    }
    Ok(IssuedCertificate { chain })
}

fn malformed(answer: &Response, source: ParseError) -> FulcioError {
    FulcioError::Malformed { url: answer.requested.to_string(), source }
}

#[cfg(test)]
mod tests {
    use der::asn1::{BitString, OctetString};
    use x509_cert::{
        TbsCertificate, Version,
        ext::Extension,
        name::Name,
        serial_number::SerialNumber,
        spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
        time::Validity,
    };

    use super::*;
    use crate::{
        oidc::token::tests::jwt,
        testing::{Reply, Seen, Server, hasty, impatient},
    };

    fn person() -> IdentityToken {
        let claims = json!({"iss": "i", "sub": "s", "exp": 1_900_000_000, "email": "a@b.example"});
        IdentityToken::parse(&jwt(&claims)).unwrap()
    }

    fn workload() -> IdentityToken {
        IdentityToken::parse(&jwt(&json!({"iss": "i", "sub": "repo:x", "exp": 1_900_000_000}))).unwrap()
    }

    /// A certificate for a public key; nobody checks its signature here.
    fn certificate(spki: &[u8], sct: bool) -> String {
        let algorithm = AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), parameters: None };
        let list = Extension { extn_id: SCT_LIST, critical: false, extn_value: OctetString::new([4, 0]).unwrap() };
        let tbs_certificate = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::from(1_u8),
            signature: algorithm.clone(),
            issuer: Name::default(),
            validity: Validity::from_now(Duration::from_secs(600)).unwrap(),
            subject: Name::default(),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(spki).unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: sct.then(|| vec![list]),
        };
        let signature = BitString::from_bytes(&[0]).unwrap();
        pem("CERTIFICATE", &Certificate { tbs_certificate, signature_algorithm: algorithm, signature }.to_der().unwrap())
    }

    fn root() -> String {
        let capture = include_str!("../../../testdata/wire/fulcio2-response.http");
        let json: Value = serde_json::from_str(&capture[capture.find('{').unwrap()..]).unwrap();
        json["signedCertificateEmbeddedSct"]["chain"]["certificates"][1].as_str().unwrap().to_owned()
    }

    fn embedded(certificates: &[String]) -> Reply {
        Reply::json(200, &json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}}))
    }

    /// The key that a request of either version is about.
    fn requested_key(seen: &Seen) -> Vec<u8> {
        let body = seen.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let decoded = |value: &Value| text(value).map(|t| String::from_utf8(encoding::decode(t).unwrap()).unwrap());
        let key = text(&body["publicKeyRequest"]["publicKey"]["content"]).or_else(|| decoded(&body["publicKey"]["content"]));
        match key {
            Some(key) => encoding::pem_one(&key, "PUBLIC KEY").unwrap(),
            None => {
                let request = decoded(&body["certificateSigningRequest"]).unwrap();
                let der = encoding::pem_one(&request, "CERTIFICATE REQUEST").unwrap();
                x509_cert::request::CertReq::from_der(&der).unwrap().info.public_key.to_der().unwrap()
            }
        }
    }

    fn verifies(seen: &Seen, claim: &str) -> bool {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
        let body = seen.json();
        let proof = body["publicKeyRequest"]["proofOfPossession"].as_str().or_else(|| body["signedEmailAddress"].as_str());
        let proof = encoding::decode(proof.unwrap()).unwrap();
        let spki = SubjectPublicKeyInfoOwned::from_der(&requested_key(seen)).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki.subject_public_key.raw_bytes());
        key.verify(claim.as_bytes(), &proof).is_ok()
    }

    async fn certify(server: &Server, token: &IdentityToken) -> Result<IssuedCertificate, FulcioError> {
        Fulcio::new(impatient(), &server.url).certify(token, &EphemeralKey::generate().unwrap()).await
    }

    #[tokio::test]
    async fn a_certificate_for_our_key_is_taken() {
        for (token, claim) in [(person(), "a@b.example"), (workload(), "repo:x")] {
            let server = Server::start(|seen| embedded(&[certificate(&requested_key(seen), true), root()])).await;
            let issued = certify(&server, &token).await.unwrap();
            assert_eq!(issued.chain_der().len(), 2);
            assert_eq!(issued.leaf_pem(), pem("CERTIFICATE", issued.leaf_der()));
            assert_eq!(encoding::pem_one(&issued.issuers_pem(), "CERTIFICATE").unwrap(), issued.chain_der()[1]);
            let seen = &server.seen()[0];
            assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v2/signingCert"));
            assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", token.as_str()).as_str()));
            assert!(verifies(seen, claim) && !verifies(seen, "other"));
        }
    }

    #[tokio::test]
    async fn an_old_authority_is_asked_in_its_own_way() {
        let server = Server::start(|seen| match seen.path.as_str() {
            "/api/v1/signingCert" => Reply::new(201, certificate(&requested_key(seen), true) + &root()),
            _ => Reply::new(404, ""),
        })
        .await;
        assert_eq!(certify(&server, &person()).await.unwrap().chain_der().len(), 2);
        assert!(verifies(&server.seen()[1], "a@b.example"));
    }

    #[tokio::test]
    async fn an_authority_that_wants_another_claim_gets_a_certificate_request() {
        let refuse =
            || Reply::json(400, &json!({"code": 3, "message": "The signature supplied in the request could not be verified"}));
        let answer = move |seen: &Seen| match seen.json().get("certificateSigningRequest") {
            Some(_) => embedded(&[certificate(&requested_key(seen), true)]),
            None => refuse(),
        };
        let server = Server::start(answer).await;
        certify(&server, &person()).await.unwrap();
        assert_eq!(server.calls(), ["POST /api/v2/signingCert"; 2]);
        // Where the token has one claim only, there is nothing else to try.
        let server = Server::start(answer).await;
        let error = certify(&server, &workload()).await.unwrap_err();
        assert!(
            matches!(&error, FulcioError::Refused { status: 400, message, .. } if message.contains("could not be verified")),
            "{error}"
        );
        assert_eq!(server.calls().len(), 1);
    }

    #[tokio::test]
    async fn another_key_and_a_missing_timestamp_are_refused() {
        let server = Server::start(|_| embedded(&[certificate(EphemeralKey::generate().unwrap().public_key_der(), true)])).await;
        assert!(matches!(certify(&server, &person()).await, Err(FulcioError::WrongKey { .. })));
        let server = Server::start(|seen| embedded(&[certificate(&requested_key(seen), false)])).await;
        assert!(matches!(certify(&server, &person()).await, Err(FulcioError::NoSct { .. })));
        let detached = json!({"signedCertificateDetachedSct": {"chain": {"certificates": []}, "signedCertificateTimestamp": ""}});
        let server = Server::start(move |_| Reply::json(200, &detached)).await;
        assert!(matches!(certify(&server, &person()).await, Err(FulcioError::NoSct { .. })));
        // A real answer, to somebody else.
        let capture = include_str!("../../../testdata/wire/fulcio2-response.http");
        let body = capture[capture.find('{').unwrap()..].to_owned();
        let server = Server::start(move |_| Reply::new(200, body.clone())).await;
        assert!(matches!(certify(&server, &person()).await, Err(FulcioError::WrongKey { .. })));
    }

    #[tokio::test]
    async fn refusals_and_faults_are_told_apart() {
        let words = json!({"code": 3, "message": "There was an error processing the identity token"});
        for status in [400, 401, 403] {
            let words = words.clone();
            let server = Server::start(move |_| Reply::json(status, &words)).await;
            let error = certify(&server, &person()).await.unwrap_err();
            let FulcioError::Refused { status: seen, message, .. } = &error else { panic!("{error}") };
            assert_eq!((*seen, message.as_str()), (status, "There was an error processing the identity token"));
        }
        for (status, kind) in [(404, Kind::NotFound), (429, Kind::RateLimited { retry_after: None }), (500, Kind::Unavailable)] {
            let server = Server::start(move |_| Reply::new(status, "")).await;
            let error = certify(&server, &person()).await.unwrap_err();
            assert!(matches!(&error, FulcioError::Http(http) if http.kind == kind), "{error}");
        }
        let server = Server::start(|_| Reply::new(200, "").after(Duration::from_secs(600))).await;
        let error = Fulcio::new(hasty(), &server.url).certify(&person(), &EphemeralKey::generate().unwrap()).await.unwrap_err();
        assert!(matches!(&error, FulcioError::Http(http) if http.kind == Kind::Timeout), "{error}");
        let error = Fulcio::new(Client::disabled(), &server.url)
            .certify(&person(), &EphemeralKey::generate().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(&error, FulcioError::Http(http) if http.kind == Kind::Disabled), "{error}");
    }

    #[tokio::test]
    async fn broken_answers_are_refused() {
        let many = embedded(&vec![root(); limits::CHAIN + 1]);
        for reply in [
            Reply::new(200, "<html>"),
            Reply::json(200, &json!({})),
            embedded(&[]),
            embedded(&["no PEM".to_owned()]),
            embedded(&[pem("CERTIFICATE", b"no DER")]),
            many,
        ] {
            let server = Server::start(move |_| reply.clone()).await;
            let error = certify(&server, &person()).await.unwrap_err();
            assert!(matches!(error, FulcioError::Malformed { .. }), "{error}");
        }
        let server = Server::start(|_| Reply::new(200, vec![b' '; 1 << 20])).await;
        let error = certify(&server, &person()).await.unwrap_err();
        assert!(matches!(&error, FulcioError::Http(http) if matches!(http.kind, Kind::TooLarge { .. })), "{error}");
    }
}
