//! The HTTP API of RFC 6962 §4, under `/ct/v1/`.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use vidimus_core::{
    encoding::{self, Base64, encode},
    limits,
    merkle::Hash,
};

use super::{CtLog, submission::Submission};
use crate::{
    fulcio::ct::Sct,
    log::{Entry, LogError},
    verifier::Refused,
};

/// A chain of ten certificates of 6 KiB under base64.
const REQUEST_BYTES: usize = 80 << 10;
/// Entries in one answer. Clients must expect fewer than they asked for; this is what one bundle on the disk has.
const ENTRIES: u64 = 256;

/// The routes, for the origin's root or a prefix.
pub fn router(log: CtLog) -> Router {
    Router::new()
        .route("/ct/v1/get-sth", get(get_sth))
        .route("/ct/v1/get-sth-consistency", get(get_sth_consistency))
        .route("/ct/v1/get-proof-by-hash", get(get_proof_by_hash))
        .route("/ct/v1/get-entries", get(get_entries))
        .route("/ct/v1/get-entry-and-proof", get(get_entry_and_proof))
        .route("/ct/v1/get-roots", get(get_roots))
        .route("/ct/v1/add-chain", post(add_chain))
        .route("/ct/v1/add-pre-chain", post(add_pre_chain))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(log)
}

type Answer = Result<Json<Value>, Error>;

async fn get_sth(State(log): State<CtLog>) -> Answer {
    let head = log.tree_head()?;
    Ok(Json(json!({
        "tree_size": head.size,
        "timestamp": head.timestamp,
        "sha256_root_hash": encode(head.root),
        "tree_head_signature": encode(head.signature),
    })))
}

#[derive(Deserialize)]
struct Sizes {
    first: u64,
    second: u64,
}

async fn get_sth_consistency(State(log): State<CtLog>, Query(sizes): Query<Sizes>) -> Answer {
    let proof = log.inner.log.consistency_proof(sizes.first, sizes.second)?;
    Ok(Json(json!({ "consistency": texts(&proof) })))
}

#[derive(Deserialize)]
struct ByHash {
    hash: String,
    tree_size: u64,
}

async fn get_proof_by_hash(State(log): State<CtLog>, Query(query): Query<ByHash>) -> Answer {
    let hash = encoding::decode(&query.hash).ok().and_then(|hash| Hash::try_from(hash).ok());
    let hash = hash.ok_or_else(|| Error::Bad("hash is not base64 of 32 bytes".to_owned()))?;
    let index = log.inner.log.find(&hash).filter(|index| *index < query.tree_size).ok_or(Error::NotFound)?;
    let proof = log.inner.log.inclusion_proof(index, query.tree_size)?;
    Ok(Json(json!({ "leaf_index": index, "audit_path": texts(&proof) })))
}

#[derive(Deserialize)]
struct Range {
    start: u64,
    end: u64,
}

async fn get_entries(State(log): State<CtLog>, Query(range): Query<Range>) -> Answer {
    let size = log.inner.log.head().size;
    if range.start > range.end || range.start >= size {
        return Err(Error::Bad(format!("no entries {} to {} in a tree of {size}", range.start, range.end)));
    }
    let end = size.min(range.end.saturating_add(1)).min(range.start.saturating_add(ENTRIES));
    let entries = read(log, range.start, end).await?;
    let entries: Vec<Value> = entries.iter().map(entry_json).collect();
    Ok(Json(json!({ "entries": entries })))
}

#[derive(Deserialize)]
struct OneEntry {
    leaf_index: u64,
    tree_size: u64,
}

async fn get_entry_and_proof(State(log): State<CtLog>, Query(query): Query<OneEntry>) -> Answer {
    let proof = log.inner.log.inclusion_proof(query.leaf_index, query.tree_size)?;
    let entry = read(log, query.leaf_index, query.leaf_index + 1).await?.pop().ok_or(Error::NotFound)?;
    let mut answer = entry_json(&entry);
    answer["audit_path"] = json!(texts(&proof));
    Ok(Json(answer))
}

async fn get_roots(State(log): State<CtLog>) -> Json<Value> {
    let roots: Vec<String> = log.inner.roots.iter().map(encode).collect();
    Json(json!({ "certificates": roots }))
}

#[derive(Deserialize)]
struct Chain {
    chain: Vec<Base64>,
}

async fn add_chain(State(log): State<CtLog>, body: Bytes) -> Answer {
    let (certificate, issuers) = submission(&log, &body)?.certificate()?;
    Ok(sct_json(&log.submit_certificate(certificate, issuers).await?))
}

async fn add_pre_chain(State(log): State<CtLog>, body: Bytes) -> Answer {
    let submission = submission(&log, &body)?;
    let (issuer_key_hash, tbs) = submission.precertificate()?;
    Ok(sct_json(&log.submit_precert(issuer_key_hash, tbs, submission.chain).await?))
}

fn submission(log: &CtLog, body: &[u8]) -> Result<Submission, Error> {
    let request: Chain = serde_json::from_slice(body).map_err(|e| Error::Bad(format!("not a chain: {e}")))?;
    limits::check_count("chain", "certificates", request.chain.len(), limits::CHAIN).map_err(|e| Error::Bad(e.to_string()))?;
    let chain = request.chain.into_iter().map(|certificate| certificate.0).collect();
    Ok(Submission::read(chain, &log.inner.roots)?)
}

fn sct_json(sct: &Sct) -> Json<Value> {
    Json(json!({
        "sct_version": 0,
        "id": encode(sct.log_id),
        "timestamp": sct.timestamp,
        "extensions": encode(&sct.extensions),
        "signature": encode(super::wire::digitally_signed(&sct.signature)),
    }))
}

async fn read(log: CtLog, first: u64, end: u64) -> Result<Vec<Entry>, Error> {
    let entries = tokio::task::spawn_blocking(move || log.inner.log.entries(first, end)).await;
    Ok(entries.unwrap_or_else(|_| Err(LogError::Damaged { what: "reading entries panicked".to_owned() }))?)
}

fn entry_json(entry: &Entry) -> Value {
    json!({ "leaf_input": encode(&entry.leaf), "extra_data": encode(&entry.extra) })
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(encode).collect()
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Bad(String),
    #[error("not in the log")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            // RFC 6962 has no "not found" of its own; a size beyond the tree is the caller's mistake.
            Self::Bad(_) | Self::Refused(_) | Self::Log(LogError::OutOfRange { .. } | LogError::TooLarge { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Log(LogError::Busy | LogError::Poisoned { .. } | LogError::Closed) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Log(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{self}\n")).into_response()
    }
}
