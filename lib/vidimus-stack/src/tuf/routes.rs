//! The repository as a mirror: `GET /tuf/…`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

use super::Repository;

/// The routes under `/tuf`.
pub fn router(repository: Arc<Repository>) -> Router {
    Router::new().route("/tuf/{*file}", get(file)).with_state(repository)
}

async fn file(State(repository): State<Arc<Repository>>, Path(file): Path<String>) -> Response {
    // Not a name of the specification: `cosign initialize --root URL` and people look for the root under it.
    let bytes = if file == "root.json" { repository.root() } else { repository.file(&file) };
    let Some(bytes) = bytes else { return (StatusCode::NOT_FOUND, "no such file in the repository\n").into_response() };
    let kind = if file.ends_with(".json") { "application/json" } else { "application/octet-stream" };
    // Everything but the timestamp and root.json is named by its version or hash; a proxy that holds those back holds back updates.
    let cache = if matches!(file.as_str(), "timestamp.json" | "root.json") { "no-cache" } else { "public, max-age=300" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes).into_response()
}
