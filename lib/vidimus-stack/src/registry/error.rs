//! What a registry refuses, as the distribution specification's error codes.

use std::io;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// Why a request to the registry was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No such blob in the repository.
    #[error("blob {0} is not in this repository")]
    BlobUnknown(String),
    /// No such upload: never started, finished, cancelled, expired, or lost with a restart.
    #[error("upload {0} is not known: start it again")]
    UploadUnknown(String),
    /// An upload that cannot be continued.
    #[error("{0}")]
    UploadInvalid(String),
    /// A digest that is malformed or does not match the content.
    #[error("{0}")]
    DigestInvalid(String),
    /// A manifest names something that was not uploaded to the repository.
    #[error("the manifest names {0}, which is not in this repository")]
    ManifestBlobUnknown(String),
    /// A manifest that cannot be accepted.
    #[error("{0}")]
    ManifestInvalid(String),
    /// No such manifest.
    #[error("manifest {0} is not in this repository")]
    ManifestUnknown(String),
    /// A repository name or tag outside the grammar.
    #[error("{0}")]
    NameInvalid(String),
    /// No such repository.
    #[error("repository {0} does not exist")]
    NameUnknown(String),
    /// Not a path of the registry API.
    #[error("there is nothing at {0}")]
    NotFound(String),
    /// The method means nothing here.
    #[error("{0} is not possible here")]
    Method(http::Method),
    /// A chunk that does not start where the upload stands, or a byte range outside the blob. Carries where the upload stands.
    #[error("{why}")]
    Range {
        /// What does not fit.
        why: String,
        /// For uploads: where it is, and how much has arrived.
        upload: Option<(String, u64)>,
        /// For blobs: how long it is.
        length: Option<u64>,
    },
    /// More bytes than accepted.
    #[error("{0}")]
    TooBig(String),
    /// Too much of something at once.
    #[error("too many {0} under way; retry when some have finished")]
    TooMany(&'static str),
    /// Writing takes a user's name and password.
    #[error("writing to this registry takes the name and password of one of the stack's users")]
    Unauthorized,
    /// The client stopped sending.
    #[error("the request ended early: {0}")]
    Interrupted(String),
    /// The disk refused.
    #[error("storage: {0}")]
    Storage(#[from] io::Error),
}

impl RegistryError {
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BlobUnknown(_) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::UploadUnknown(_) => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::UploadInvalid(_) | Self::Interrupted(_) => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::DigestInvalid(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::ManifestBlobUnknown(_) => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
            Self::ManifestInvalid(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::ManifestUnknown(_) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::NameInvalid(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::NameUnknown(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::Range { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Self::TooBig(_) => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Storage(error) if error.kind() == io::ErrorKind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN"),
            Self::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        }
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let (status, code) = self.code();
        if let Self::Storage(error) = &self {
            tracing::error!(%error, "the registry's storage refuses");
        }
        let body = json!({"errors": [{"code": code, "message": self.to_string(), "detail": null}]});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        match &self {
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"vidimus stack\""));
            }
            Self::Range { upload, length, .. } => {
                if let Some((location, arrived)) = upload {
                    insert(headers, header::LOCATION, location);
                    insert(headers, header::RANGE, &format!("0-{}", arrived.saturating_sub(1)));
                }
                if let Some(length) = length {
                    insert(headers, header::CONTENT_RANGE, &format!("bytes */{length}"));
                }
            }
            _ => {}
        }
        response
    }
}

fn insert(headers: &mut http::HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
