//! HTTP around the timestamp authority: `POST /api/v1/timestamp` and `GET /api/v1/timestamp/certchain`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::{TimestampRequest, Tsa};

/// Bytes of a request: a DER query with SHA-512 and a nonce has 110, a JSON one 300. Sigstore's own service stops at 1 KiB.
const REQUEST_BYTES: usize = 1 << 10;

/// The routes, for the origin's root.
pub fn router(tsa: Arc<Tsa>) -> Router {
    Router::new()
        .route("/api/v1/timestamp", post(timestamp))
        .route("/api/v1/timestamp/certchain", get(certchain))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(tsa)
}

async fn timestamp(State(tsa): State<Arc<Tsa>>, headers: HeaderMap, body: Bytes) -> Response {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let request = match media_type.split(';').next().unwrap_or_default().trim() {
        "application/timestamp-query" => TimestampRequest::from_der(&body),
        "application/json" => TimestampRequest::from_json(&body),
        other => {
            let known = "only [application/json application/timestamp-query] are allowed";
            return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("unsupported media type \"{other}\", {known}"));
        }
    };
    match request.map(|request| tsa.stamp(&request)) {
        Ok(Ok(reply)) => (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/timestamp-reply")], reply).into_response(),
        Ok(Err(e)) => {
            tracing::error!(error = %e, "timestamp");
            error(StatusCode::INTERNAL_SERVER_ERROR, "Error generating timestamp response".to_owned())
        }
        Err(e) => error(StatusCode::BAD_REQUEST, e.to_string()),
    }
}

async fn certchain(State(tsa): State<Arc<Tsa>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/pem-certificate-chain")], tsa.chain().pem())
}

fn error(status: StatusCode, message: String) -> Response {
    (status, axum::Json(json!({ "code": status.as_u16(), "message": message }))).into_response()
}
