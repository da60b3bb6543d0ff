//! Transparency logs that speak Rekor's protocols.
//!
//! [`v1`] is the API of rekor 1.x, with signed entry timestamps and a search index; [`v2`] that of rekor-tiles, a tiled log whose time
//! comes from elsewhere. They are two logs with two keys: clients tell them apart by key.

pub mod v1;
pub mod v2;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::log::LogError;

/// The status for an error of the log, and whether it is worth a line in our own log.
fn log_error_status(error: &LogError) -> StatusCode {
    match error {
        LogError::TooLarge { .. } => StatusCode::BAD_REQUEST,
        LogError::OutOfRange { .. } => StatusCode::NOT_FOUND,
        LogError::Busy | LogError::Poisoned { .. } | LogError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `{"code", "message"}`, which every client shows.
fn error_response(status: StatusCode, code: u16, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}
