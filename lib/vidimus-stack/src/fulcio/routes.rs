//! HTTP around the certificate authority: Fulcio's v2 API as its gRPC gateway speaks JSON, and the v1 API of older clients.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::config::IssuerConfig;
use super::{Fulcio, IssueRefusal, Issued, Proof, grpc};

/// Bytes of a request: a token of 16 KiB, an RSA key, a request with it. Fulcio takes 4 MiB and needs none of it.
pub(super) const REQUEST_BYTES: usize = 64 << 10;

/// The routes, for the origin's root: sigstore-python drops any path of the URL it is given.
pub fn router(fulcio: Arc<Fulcio>) -> Router {
    Router::new()
        .route("/api/v2/signingCert", post(signing_cert_v2))
        .route("/api/v2/trustBundle", get(trust_bundle))
        .route("/api/v2/configuration", get(configuration))
        .route("/api/v1/signingCert", post(signing_cert_v1))
        .route("/api/v1/rootCert", get(root_cert))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(middleware::from_fn(cors))
        .with_state(fulcio.clone())
        .merge(grpc::router(fulcio))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestV2 {
    credentials: Option<Credentials>,
    #[serde(alias = "public_key_request")]
    public_key_request: Option<PublicKeyRequest>,
    #[serde(alias = "certificate_signing_request", deserialize_with = "bytes")]
    certificate_signing_request: Vec<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Credentials {
    #[serde(alias = "oidc_identity_token")]
    oidc_identity_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PublicKeyRequest {
    #[serde(alias = "public_key")]
    public_key: Option<PublicKey>,
    #[serde(alias = "proof_of_possession", deserialize_with = "bytes")]
    proof_of_possession: Vec<u8>,
}

/// The algorithm beside it is ignored, as Fulcio does: clients write things there that are not in the enumeration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicKey {
    content: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestV1 {
    public_key: Option<PublicKeyV1>,
    #[serde(deserialize_with = "bytes")]
    signed_email_address: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    certificate_signing_request: Vec<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicKeyV1 {
    #[serde(deserialize_with = "bytes")]
    content: Vec<u8>,
}

/// Bytes as the protobuf JSON mapping takes them: standard or URL-safe base64, padded or not; `null` is nothing.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, LENIENT).decode(text).map_err(serde::de::Error::custom)
}

async fn signing_cert_v2(State(fulcio): State<Arc<Fulcio>>, headers: HeaderMap, body: Bytes) -> Response {
    let request: RequestV2 = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(e) => return error(StatusCode::BAD_REQUEST, &e.to_string()),
    };
    let in_body = request.credentials.and_then(|c| c.oidc_identity_token).filter(|t| !t.is_empty());
    let token = in_body.or_else(|| bearer(&headers)).unwrap_or_default();
    let key = request.public_key_request.unwrap_or_default();
    let content = key.public_key.and_then(|k| k.content).unwrap_or_default();
    let proof = if request.certificate_signing_request.is_empty() {
        Proof::Signature { key: content.as_bytes(), signature: &key.proof_of_possession }
    } else {
        Proof::Request(&request.certificate_signing_request)
    };
    match fulcio.issue(&token, proof).await {
        Ok(issued) => {
            let chain = json!({ "certificates": chain_v2(&fulcio, &issued) });
            axum::Json(json!({ "signedCertificateEmbeddedSct": { "chain": chain } })).into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

async fn signing_cert_v1(State(fulcio): State<Arc<Fulcio>>, headers: HeaderMap, body: Bytes) -> Response {
    let request: RequestV1 = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(e) => return error(StatusCode::BAD_REQUEST, &e.to_string()),
    };
    let token = bearer(&headers).unwrap_or_default();
    let content = request.public_key.unwrap_or_default().content;
    let proof = if request.certificate_signing_request.is_empty() {
        Proof::Signature { key: &content, signature: &request.signed_email_address }
    } else {
        Proof::Request(&request.certificate_signing_request)
    };
    match fulcio.issue(&token, proof).await {
        Ok(issued) => (StatusCode::CREATED, [PEM], format!("{}{}", issued.pem, fulcio.chain().pem())).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

async fn trust_bundle(State(fulcio): State<Arc<Fulcio>>) -> impl IntoResponse {
    let certificates: Vec<_> = fulcio.chain().certificates().iter().map(|c| c.pem.clone()).collect();
    axum::Json(json!({ "chains": [{ "certificates": certificates }] }))
}

async fn root_cert(State(fulcio): State<Arc<Fulcio>>) -> impl IntoResponse {
    ([PEM], fulcio.chain().pem())
}

async fn configuration(State(fulcio): State<Arc<Fulcio>>) -> impl IntoResponse {
    let config = fulcio.config();
    let named = config.issuers().map(|i| issuer_json("issuerUrl", i));
    let patterns = config.meta_issuers().map(|i| issuer_json("wildcardIssuerUrl", i));
    axum::Json(json!({ "issuers": named.chain(patterns).collect::<Vec<_>>() }))
}

fn issuer_json(url_field: &str, issuer: &IssuerConfig) -> Value {
    json!({
        url_field: issuer.issuer_url,
        "audience": issuer.client_id,
        "challengeClaim": issuer.challenge_claim(),
        "spiffeTrustDomain": issuer.spiffe_trust_domain,
        "issuerType": issuer.issuer_type.name(),
        "subjectDomain": issuer.subject_domain,
        "skipEmailVerification": issuer.skip_email_verification,
    })
}

const PEM: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/pem-certificate-chain");

/// Leaf, intermediate, root; this API's PEM has no final newline.
pub(super) fn chain_v2(fulcio: &Fulcio, issued: &Issued) -> Vec<String> {
    let chain = fulcio.chain().certificates().iter().map(|c| c.pem.as_str());
    std::iter::once(issued.pem.as_str()).chain(chain).map(|pem| pem.trim_end().to_owned()).collect()
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn refused(refusal: &IssueRefusal) -> Response {
    match refusal {
        IssueRefusal::Unavailable(_) => error(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
        IssueRefusal::Internal(_) | IssueRefusal::Log(_) => error(StatusCode::INTERNAL_SERVER_ERROR, &refusal.to_string()),
        _ => error(StatusCode::BAD_REQUEST, &refusal.to_string()),
    }
}

/// An error as the gRPC gateway writes it: gRPC's code for the status, and no details.
fn error(status: StatusCode, message: &str) -> Response {
    let code = match status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 13,
    };
    (status, axum::Json(json!({ "code": code, "message": message, "details": [] }))).into_response()
}

/// Browsers may ask too: nothing here depends on cookies, so any origin may read the answers, as with Fulcio.
async fn cors(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, accept"));
    }
    response
}
