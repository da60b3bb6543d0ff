//! Rekor v2: the API of rekor-tiles 2.3 (`hashedrekord` 0.0.2), and its tiles as C2SP tlog-tiles has them.
//!
//! A request is read strictly, its signature is checked, and it is answered once a published checkpoint covers it. There is no time
//! in the answer: clients bring a timestamp of their own. Two things are friendlier than upstream: an entry that is in the log already
//! is answered as if it were new (upstream says 409, which no client handles, and which only deterministic signatures meet), and
//! `dsseRequestV002`, which sigstore-js still sends, is logged as the `hashedrekord` over its pre-authentication encoding, which is
//! what the other clients send and what all of them verify.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use vidimus_core::{encoding, limits};

use crate::{
    keys::{KeyError, KeyKind, generate},
    log::{Entry, LEAF_BYTES, Log, LogError, LogOptions, LogStatus, Sequenced, tiles::TilePath},
    notes::Ed25519Notes,
    storage::Storage,
};

mod request;

use request::{Invalid, Proposal};

/// A request with a message signature has under 8 KiB; one with a DSSE envelope has its payload.
const REQUEST_BYTES: usize = limits::BUNDLE_BYTES;
/// Beyond this a request is read and hashed on a thread for blocking work: it takes longer than an asynchronous task may.
const INLINE_BYTES: usize = 64 << 10;

/// A Rekor v2 log. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct RekorV2 {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    key_id: [u8; 32],
    /// The key id as answers have it.
    key_id_text: String,
    spki: Vec<u8>,
}

impl RekorV2 {
    /// Opens the log in `storage` with a PKCS#8 Ed25519 key. `origin` is the host name of the log's base URL, without port: clients
    /// expect checkpoints of that name. Blocks.
    pub fn open(storage: Arc<dyn Storage>, key_pkcs8: &[u8], origin: &str) -> Result<Self, LogError> {
        let signing = |e: KeyError| LogError::Signing(e.to_string());
        let notes = Ed25519Notes::from_pkcs8(origin.to_owned(), key_pkcs8).map_err(signing)?;
        let (key_id, spki) = (notes.key_id(), notes.spki().to_vec());
        let options = LogOptions::named("rekor-v2").genesis(genesis(origin).map_err(signing)?);
        let log = Log::open(storage, Arc::new(notes), options)?;
        Ok(Self { inner: Arc::new(Inner { log, key_id, key_id_text: encoding::encode(key_id), spki }) })
    }

    /// The log's id: the C2SP key id of origin and key.
    pub fn log_id(&self) -> [u8; 32] {
        self.inner.key_id
    }

    /// The log's SubjectPublicKeyInfo DER.
    pub fn public_key(&self) -> &[u8] {
        &self.inner.spki
    }

    /// Size and health.
    pub fn status(&self) -> LogStatus {
        self.inner.log.status()
    }

    /// Writes everything out and stops taking entries.
    pub async fn close(&self) {
        self.inner.log.close().await;
    }

    /// Logs a request's entry and answers with its proof.
    async fn create(&self, request: Bytes) -> Result<Vec<u8>, Error> {
        let proposal = if request.len() <= INLINE_BYTES {
            Proposal::read(&request)?
        } else {
            let read = tokio::task::spawn_blocking(move || Proposal::read(&request));
            read.await.map_err(|_| Invalid::new("the request could not be read"))??
        };
        let body = Bytes::from(proposal.body);
        if body.len() > LEAF_BYTES {
            return Err(Invalid::new(format!("the entry has {} bytes where {LEAF_BYTES} are allowed", body.len())).into());
        }
        let sequenced = self.inner.log.append(Entry { leaf: body.clone(), extra: Bytes::new() }).await?;
        self.answer(&sequenced, &body)
    }

    /// A protobuf-specs `TransparencyLogEntry`.
    fn answer(&self, sequenced: &Sequenced, body: &[u8]) -> Result<Vec<u8>, Error> {
        let head = &sequenced.head;
        let hashes = self.inner.log.inclusion_proof(sequenced.index, head.size)?;
        let entry = TransparencyLogEntry {
            log_index: sequenced.index.to_string(),
            log_id: LogId { key_id: &self.inner.key_id_text },
            kind_version: KindVersion { kind: "hashedrekord", version: "0.0.2" },
            integrated_time: "0",
            inclusion_promise: None,
            inclusion_proof: InclusionProof {
                log_index: sequenced.index.to_string(),
                root_hash: encoding::encode(head.root),
                tree_size: head.size.to_string(),
                hashes: hashes.iter().map(encoding::encode).collect(),
                checkpoint: Envelope { envelope: &head.checkpoint },
            },
            canonicalized_body: encoding::encode(body),
        };
        Ok(serde_json::to_vec(&entry).expect("strings and lists of strings"))
    }
}

/// The routes, for the origin's root.
pub fn router(log: RekorV2) -> Router {
    Router::new()
        .route("/api/v2/log/entries", post(create_entry))
        .route("/api/v2/checkpoint", get(checkpoint))
        .route("/api/v2/tile/{*path}", get(tile))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(log)
}

async fn create_entry(State(log): State<RekorV2>, body: Result<Bytes, BytesRejection>) -> Response {
    let result = match body {
        Ok(body) => log.create(body).await,
        Err(rejection) => return grpc_error(rejection.status(), 3, &rejection.body_text()),
    };
    match result {
        Ok(entry) => (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], entry).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn checkpoint(State(log): State<RekorV2>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, log.inner.log.head().checkpoint.clone()).into_response()
}

async fn tile(State(log): State<RekorV2>, Path(path): Path<String>) -> Response {
    let Some(tile) = TilePath::parse(&path) else { return not_found() };
    let bytes = match tile.level {
        Some(level) => Ok(log.inner.log.tile(level, tile.number, tile.width)),
        None => tokio::task::spawn_blocking(move || log.inner.log.bundle(tile.number, tile.width))
            .await
            .unwrap_or_else(|_| Err(LogError::Damaged { what: "reading a bundle panicked".to_owned() })),
    };
    match bytes {
        Ok(Some(bytes)) => {
            // A tile never changes; C2SP tlog-tiles asks for this header.
            let cache = "public, max-age=31536000, immutable";
            ([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, cache)], bytes).into_response()
        }
        Ok(None) => not_found(),
        Err(error) => Error::Log(error).into_response(),
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

/// Why an entry was not logged.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match &self {
            Self::Invalid(invalid) => grpc_error(StatusCode::BAD_REQUEST, 3, &invalid.to_string()),
            Self::Log(error) => {
                let status = super::log_error_status(error);
                // google.rpc.Code: INVALID_ARGUMENT, UNAVAILABLE, INTERNAL.
                let code = match status {
                    StatusCode::BAD_REQUEST => 3,
                    StatusCode::SERVICE_UNAVAILABLE => 14,
                    _ => 13,
                };
                grpc_error(status, code, &error.to_string())
            }
        }
    }
}

/// An error as grpc-gateway writes it.
fn grpc_error(status: StatusCode, code: u16, message: &str) -> Response {
    #[derive(Serialize)]
    struct Status<'a> {
        code: u16,
        message: &'a str,
        details: [(); 0],
    }
    (status, axum::Json(Status { code, message, details: [] })).into_response()
}

/// The first entry of a log: a valid one, by a key that nobody keeps, so that no client ever gets index 0 (some read it as absent).
fn genesis(origin: &str) -> Result<Entry, KeyError> {
    let key = crate::keys::P256Signer::from_pkcs8(&generate(KeyKind::EcdsaP256)?)?;
    let message = format!("genesis of {origin}");
    let digest = vidimus_core::Digest::sha256(message.as_bytes());
    let signature = key.sign(message.as_bytes())?;
    let body = request::body(&digest, &signature, "PKIX_ECDSA_P256_SHA_256", request::VerifierDer::PublicKey(key.spki()));
    Ok(Entry { leaf: body.into(), extra: Bytes::new() })
}

/// The answer, in the order of the real service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransparencyLogEntry<'a> {
    log_index: String,
    log_id: LogId<'a>,
    kind_version: KindVersion,
    integrated_time: &'static str,
    inclusion_promise: Option<()>,
    inclusion_proof: InclusionProof<'a>,
    canonicalized_body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogId<'a> {
    key_id: &'a str,
}

#[derive(Serialize)]
struct KindVersion {
    kind: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InclusionProof<'a> {
    log_index: String,
    root_hash: String,
    tree_size: String,
    hashes: Vec<String>,
    checkpoint: Envelope<'a>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    envelope: &'a str,
}

#[cfg(test)]
mod tests;
