//! The HTTP API of Rekor v1.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use vidimus_core::{
    digest::sha256,
    encoding::{self, Base64},
    limits,
};

use super::{LogEntry, Proposal, RekorV1, error::ApiError, keys::PemVerifier, one_entry};
use crate::log::LogError;

/// An attestation comes with its payload; the body of a message signature has under 8 KiB.
const REQUEST_BYTES: usize = limits::BUNDLE_BYTES;
/// Beyond this a request is read and hashed on a thread for blocking work: it takes longer than an asynchronous task may.
const INLINE_BYTES: usize = 64 << 10;
/// Entries that one `retrieve` may ask for: the real service's limit.
const RETRIEVE: usize = 10;
/// Entries that a search may find. Beyond it the answer would not be complete, so there is none.
const FOUND: usize = 100_000;

/// The routes, for the origin's root.
pub fn router(log: RekorV1) -> Router {
    Router::new()
        .route("/api/v1/log", get(log_info))
        .route("/api/v1/log/publicKey", get(public_key))
        .route("/api/v1/log/proof", get(log_proof))
        .route("/api/v1/log/entries", post(create_entry).get(entry_by_index))
        .route("/api/v1/log/entries/retrieve", post(retrieve))
        .route("/api/v1/log/entries/{uuid}", get(entry_by_uuid))
        .route("/api/v1/index/retrieve", post(search_index))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(log)
}

type Body = Result<Bytes, BytesRejection>;

fn received(body: Body) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| ApiError::Unreadable(rejection.status(), rejection.body_text()))
}

async fn create_entry(State(log): State<RekorV1>, body: Body) -> Result<Response, ApiError> {
    let proposal = read_proposal(received(body)?).await?;
    let (uuid, answer) = log.create(proposal).await?;
    let location = format!("/api/v1/log/entries/{uuid}");
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, uuid), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

async fn read_proposal(body: Bytes) -> Result<Proposal, ApiError> {
    if body.len() <= INLINE_BYTES {
        return Proposal::read(&body);
    }
    blocking(move || Proposal::read(&body)).await
}

/// Runs what reads the disk, or computes for long.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, ApiError> {
    let result = tokio::task::spawn_blocking(act).await;
    result.unwrap_or_else(|_| Err(LogError::Damaged { what: "a request panicked".to_owned() }.into()))
}

fn json_entry(entry: &(String, LogEntry)) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], one_entry(entry)).into_response()
}

async fn entry_by_uuid(State(log): State<RekorV1>, Path(uuid): Path<String>) -> Result<Response, ApiError> {
    let index = log.find(&uuid)?.ok_or(ApiError::NotFound)?;
    let entry = blocking(move || log.entry(index)).await?;
    Ok(json_entry(&entry))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByIndex {
    log_index: Option<String>,
}

async fn entry_by_index(State(log): State<RekorV1>, Query(query): Query<ByIndex>) -> Result<Response, ApiError> {
    let index = query.log_index.ok_or_else(|| ApiError::required("logIndex in query"))?;
    let index = index.parse().map_err(|_| ApiError::minimum("logIndex in query", 0))?;
    let entry = blocking(move || log.entry(index)).await?;
    Ok(json_entry(&entry))
}

/// What is looked for: by id, by index, by content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Retrieve {
    #[serde(default, rename = "entryUUIDs")]
    entry_uuids: Option<Vec<String>>,
    #[serde(default)]
    log_indexes: Option<Vec<u64>>,
    #[serde(default)]
    entries: Option<Vec<Box<RawValue>>>,
}

async fn retrieve(State(log): State<RekorV1>, body: Body) -> Result<Json<Vec<Value>>, ApiError> {
    let body = received(body)?;
    blocking(move || find_all(&log, &body)).await
}

/// What is not in the log is not in the answer.
fn find_all(log: &RekorV1, body: &[u8]) -> Result<Json<Vec<Value>>, ApiError> {
    let query: Retrieve = serde_json::from_slice(body).map_err(|e| ApiError::body(&e))?;
    let (uuids, indexes) = (query.entry_uuids.unwrap_or_default(), query.log_indexes.unwrap_or_default());
    let entries = query.entries.unwrap_or_default();
    if uuids.len() + indexes.len() + entries.len() > RETRIEVE {
        return Err(ApiError::Schema(422, format!("more than max allowed {RETRIEVE} entries in request")));
    }
    let mut found = Vec::new();
    for uuid in &uuids {
        found.extend(log.find(uuid)?);
    }
    for entry in &entries {
        found.extend(log.inner.log.find(&Proposal::leaf_hash(entry)?));
    }
    let size = log.inner.log.head().size;
    found.extend(indexes.into_iter().filter(|index| *index < size));
    let entry = |index: u64| log.entry(index).map(|(uuid, entry)| json!({ uuid: entry }));
    Ok(Json(found.into_iter().map(entry).collect::<Result<_, _>>()?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogInfo {
    inactive_shards: Option<()>,
    root_hash: String,
    signed_tree_head: String,
    #[serde(rename = "treeID")]
    tree_id: String,
    tree_size: u64,
}

async fn log_info(State(log): State<RekorV1>) -> Json<LogInfo> {
    let head = log.inner.log.head();
    Json(LogInfo {
        inactive_shards: None,
        root_hash: hex::encode(head.root),
        signed_tree_head: head.checkpoint.clone(),
        tree_id: log.inner.tree_id.to_string(),
        tree_size: head.size,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sizes {
    first_size: Option<String>,
    last_size: Option<String>,
    #[serde(rename = "treeID")]
    tree_id: Option<String>,
}

async fn log_proof(State(log): State<RekorV1>, Query(query): Query<Sizes>) -> Result<Json<Value>, ApiError> {
    let size = |text: String, what: &str| text.parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(|| ApiError::minimum(what, 1));
    let first = query.first_size.map_or(Ok(1), |text| size(text, "firstSize in query"))?;
    let last = size(query.last_size.ok_or_else(|| ApiError::required("lastSize in query"))?, "lastSize in query")?;
    check_tree(&log, query.tree_id.as_deref())?;
    if first > last {
        return Err(ApiError::Bad(format!("firstSize({first}) must be less than lastSize({last})")));
    }
    let head = log.inner.log.head();
    if last > head.size {
        let known = head.size;
        let why = format!("the tree size requested({last}) was greater than what is currently observable({known})");
        return Err(ApiError::Bad(why));
    }
    let hashes: Vec<String> = log.inner.log.consistency_proof(first, last)?.iter().map(hex::encode).collect();
    Ok(Json(json!({ "rootHash": hex::encode(head.root), "hashes": hashes })))
}

#[derive(Deserialize)]
struct OfTree {
    #[serde(rename = "treeID")]
    tree_id: Option<String>,
}

async fn public_key(State(log): State<RekorV1>, Query(query): Query<OfTree>) -> Result<Response, ApiError> {
    check_tree(&log, query.tree_id.as_deref())?;
    let pem = encoding::pem("PUBLIC KEY", log.public_key());
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}

/// There is one tree.
fn check_tree(log: &RekorV1, tree_id: Option<&str>) -> Result<(), ApiError> {
    match tree_id {
        Some(id) if id != log.inner.tree_id.to_string() => Err(ApiError::Bad(format!("there is no tree {id:.20} in this log"))),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Search {
    email: Option<String>,
    subject: Option<String>,
    hash: Option<String>,
    public_key: Option<SearchKey>,
    operator: Option<String>,
}

#[derive(Deserialize)]
struct SearchKey {
    format: Option<String>,
    content: Option<Base64>,
}

async fn search_index(State(log): State<RekorV1>, body: Body) -> Result<Json<Vec<String>>, ApiError> {
    let body = received(body)?;
    blocking(move || search(&log, &body)).await
}

fn search(log: &RekorV1, body: &[u8]) -> Result<Json<Vec<String>>, ApiError> {
    let query: Search = serde_json::from_slice(body).map_err(|e| ApiError::body(&e))?;
    let all = match query.operator.as_deref() {
        None | Some("" | "or") => false,
        Some("and") => true,
        Some(_) => return Err(ApiError::Schema(606, "operator in body should be one of [and or]".to_owned())),
    };
    let mut keys = Vec::new();
    keys.extend(query.hash.filter(|hash| !hash.is_empty()).map(|hash| hash_key(&hash)).transpose()?);
    keys.extend(query.public_key.map(|key| public_key_key(&key)).transpose()?);
    keys.extend(
        [query.email, query.subject].into_iter().flatten().filter(|name| !name.is_empty()).map(|name| name.to_lowercase()),
    );

    let mut found: Option<Vec<u64>> = None;
    for key in keys {
        let these = log.search(&key);
        found = Some(match found {
            None => these,
            Some(before) if all => before.into_iter().filter(|entry| these.binary_search(entry).is_ok()).collect(),
            Some(mut before) => {
                before.extend(these);
                before.sort_unstable();
                before.dedup();
                before
            }
        });
    }
    let found = found.unwrap_or_default();
    if found.len() > FOUND {
        return Err(ApiError::Bad(format!("{} entries match, more than the {FOUND} that one answer can have", found.len())));
    }
    let hashes = log.inner.log.leaf_hashes(&found);
    Ok(Json(hashes.iter().map(|hash| log.uuid_of_hash(hash)).collect()))
}

/// A digest, with the prefix that its length tells if it has none.
fn hash_key(hash: &str) -> Result<String, ApiError> {
    let hash = hash.to_lowercase();
    let (algorithm, value) = hash.split_once(':').map_or((None, hash.as_str()), |(algorithm, value)| (Some(algorithm), value));
    let of_length = match value.len() {
        40 => "sha1",
        64 => "sha256",
        96 => "sha384",
        128 => "sha512",
        _ => "",
    };
    if of_length.is_empty() || algorithm.is_some_and(|a| a != of_length) || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        let pattern = "^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$";
        return Err(ApiError::pattern("hash in body", pattern));
    }
    Ok(format!("{of_length}:{value}"))
}

fn public_key_key(key: &SearchKey) -> Result<String, ApiError> {
    if key.format.as_deref() != Some("x509") {
        return Err(ApiError::Bad("the PKI format requested is not supported by this server".to_owned()));
    }
    // Keys by URL are not fetched: a log is no proxy.
    let malformed = || ApiError::Bad("public key provided could not be parsed".to_owned());
    let verifier = PemVerifier::read(&key.content.as_ref().ok_or_else(malformed)?.0).map_err(|_| malformed())?;
    Ok(hex::encode(sha256(verifier.pem.as_bytes())))
}
