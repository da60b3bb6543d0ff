//! Errors in the words and numbers of the real service, which its clients match on.

use std::fmt;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    log::LogError,
    rekor::{error_response, log_error_status},
};

/// go-openapi's codes for what is wrong with a parameter.
const REQUIRED: u16 = 602;
const PATTERN: u16 = 605;
const MINIMUM: u16 = 609;

/// Why a call was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ApiError {
    /// The request is well-formed and can not be done.
    #[error("{0}")]
    Bad(String),
    /// A parameter or member breaks the API's schema.
    #[error("{1}")]
    Schema(u16, String),
    /// The body could not be received: too long, cut off.
    #[error("{1}")]
    Unreadable(StatusCode, String),
    /// The entry is in the log; its UUID.
    #[error("an equivalent entry already exists in the transparency log with UUID {0}")]
    Exists(String),
    /// There is no such entry.
    #[error("not found")]
    NotFound,
    /// The log did not do it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ApiError {
    /// The body is not JSON of the API's schema.
    pub(super) fn body(why: &dyn fmt::Display) -> Self {
        Self::Bad(format!("parsing body body from \"\" failed, because {why}"))
    }

    /// The entry was refused.
    pub(super) fn entry(why: &dyn fmt::Display) -> Self {
        Self::Bad(format!("error processing entry: {why}"))
    }

    /// Something is missing.
    pub(super) fn required(what: &str) -> Self {
        Self::Schema(REQUIRED, format!("{what} is required"))
    }

    /// Something is not spelt as it must be.
    pub(super) fn pattern(what: &str, pattern: &str) -> Self {
        Self::Schema(PATTERN, format!("{what} should match '{pattern}'"))
    }

    /// A number is too small.
    pub(super) fn minimum(what: &str, minimum: u64) -> Self {
        Self::Schema(MINIMUM, format!("{what} should be greater than or equal to {minimum}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match &self {
            Self::Bad(message) => error_response(StatusCode::BAD_REQUEST, 400, message),
            Self::Schema(code, message) => error_response(StatusCode::UNPROCESSABLE_ENTITY, *code, message),
            Self::Unreadable(status, message) => error_response(*status, status.as_u16(), message),
            Self::Exists(uuid) => {
                let mut response = error_response(StatusCode::CONFLICT, 409, &self.to_string());
                if let Ok(location) = format!("/api/v1/log/entries/{uuid}").parse() {
                    response.headers_mut().insert(header::LOCATION, location);
                }
                response
            }
            Self::NotFound | Self::Log(LogError::OutOfRange { .. }) => StatusCode::NOT_FOUND.into_response(),
            Self::Log(error) => {
                let status = log_error_status(error);
                error_response(status, status.as_u16(), &error.to_string())
            }
        }
    }
}
