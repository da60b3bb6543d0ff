//! Repositories as mirrors: the stack's under `GET /tuf/…`, and any that lies in a directory.

use std::{io, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http::{StatusCode, header};

use super::Repository;

/// The routes under `/tuf`.
pub fn router(repository: Arc<Repository>) -> Router {
    Router::new().route("/tuf/{*file}", get(file)).with_state(repository)
}

/// The routes of a repository that lies in a directory, as [`super::Ceremony`] publishes it. Each request looks at the directory anew, so
/// that a publication is served whole from the moment it is made. Knows only GET, and files below `published`.
pub fn static_router(published: PathBuf) -> Router {
    Router::new().route("/{*file}", get(static_file)).with_state(Arc::new(published))
}

async fn static_file(State(published): State<Arc<PathBuf>>, Path(file): Path<String>) -> Response {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    if !file.split('/').all(plain) {
        return absent();
    }
    let path = published.join(&file);
    let read = tokio::task::spawn_blocking(move || match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => std::fs::read(&path).map(Some),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    });
    match read.await {
        Ok(Ok(Some(bytes))) => found(&file, bytes.into()),
        Ok(Ok(None)) => absent(),
        // Never a 404: clients take that for the end of the chain of roots.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n").into_response(),
    }
}

async fn file(State(repository): State<Arc<Repository>>, Path(file): Path<String>) -> Response {
    // Not a name of the specification: `cosign initialize --root URL` and people look for the root under it.
    let bytes = if file == "root.json" { repository.root() } else { repository.file(&file) };
    bytes.map_or_else(absent, |bytes| found(&file, bytes))
}

fn absent() -> Response {
    (StatusCode::NOT_FOUND, "no such file in the repository\n").into_response()
}

fn found(file: &str, bytes: Bytes) -> Response {
    let kind = if file.ends_with(".json") { "application/json" } else { "application/octet-stream" };
    // Everything but the timestamp and root.json is named by its version or hash; a proxy that holds those back holds back updates.
    let cache = if matches!(file, "timestamp.json" | "root.json") { "no-cache" } else { "public, max-age=300" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes).into_response()
}
