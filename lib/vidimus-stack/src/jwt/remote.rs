//! Keys of other issuers: OpenID Connect Discovery §4 and the JWK set it points to, fetched under limits and kept for a while.
//!
//! Keys are fetched again when they are an hour old, and when a token names a key that is not among them, but not more often
//! than every ten seconds for one issuer, or anybody who can write a key id could make the stack hammer a provider.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

use crate::fulcio::config::IssuerConfig;

/// One request, from connecting to the last byte: what Fulcio gives discovery.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A discovery document or key set: the largest providers' have 10 KiB.
const DOCUMENT_BYTES: usize = 512 << 10;
/// Keys of one issuer.
const KEYS: usize = 64;
/// Redirects followed, all on the issuer's own host.
const REDIRECTS: usize = 3;
/// How long keys are used without asking again.
const FRESH: Duration = Duration::from_secs(3600);
/// The shortest time between two fetches from one issuer, whatever their outcome.
const PAUSE: Duration = Duration::from_secs(10);
/// Issuers remembered: patterns can name any number of them.
const ISSUERS: usize = 100;

/// An issuer's keys could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[error("keys of issuer {issuer}: {url}: {why}")]
pub struct RemoteError {
    /// The issuer.
    pub issuer: String,
    /// What was asked.
    pub url: String,
    /// What went wrong.
    pub why: String,
}

/// An issuer's keys as published.
#[derive(Debug)]
pub(super) struct KeySet {
    pub(super) algorithms: Vec<Algorithm>,
    keys: Vec<(Option<String>, DecodingKey)>,
}

/// The keys of all issuers asked for so far.
#[derive(Debug, Default)]
pub(super) struct RemoteKeys {
    slots: Mutex<HashMap<String, Arc<AsyncMutex<Slot>>>>,
}

#[derive(Debug, Default)]
struct Slot {
    keys: Option<(Arc<KeySet>, Instant)>,
    tried: Option<(Instant, Option<RemoteError>)>,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RawKeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// The keys that may have signed a token with this key id.
    pub(super) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a DecodingKey> {
        let fits = move |known: &Option<String>| id.is_none() || known.is_none() || known.as_deref() == id;
        self.keys.iter().filter(move |(known, _)| fits(known)).map(|(_, key)| key)
    }
}

impl RemoteKeys {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The keys of an issuer. With `fresh`, keys fetched just now or none: the ones at hand have been tried.
    pub(super) async fn keys(&self, issuer: &IssuerConfig, fresh: bool) -> Result<Option<Arc<KeySet>>, RemoteError> {
        let slot = self.slot(&issuer.issuer_url);
        // Held while fetching: one fetch serves everybody who waits for it.
        let mut slot = slot.lock().await;
        match &slot.keys {
            Some((keys, at)) if !fresh && at.elapsed() < FRESH => return Ok(Some(keys.clone())),
            _ => {}
        }
        if let Some((at, outcome)) = &slot.tried
            && at.elapsed() < PAUSE
        {
            return outcome.clone().map_or(Ok(None), Err);
        }
        let fetched = fetch(issuer).await;
        slot.tried = Some((Instant::now(), fetched.as_ref().err().cloned()));
        let keys = Arc::new(fetched?);
        slot.keys = Some((keys.clone(), Instant::now()));
        Ok(Some(keys))
    }

    fn slot(&self, issuer: &str) -> Arc<AsyncMutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(issuer) && slots.len() >= ISSUERS {
            // Forgetting all is rare and cheap: each issuer in use is fetched once more.
            slots.clear();
        }
        slots.entry(issuer.to_owned()).or_default().clone()
    }
}

async fn fetch(issuer: &IssuerConfig) -> Result<KeySet, RemoteError> {
    let base = issuer.issuer_url.trim_end_matches('/');
    let url = format!("{base}/.well-known/openid-configuration");
    let fail = |url: &str, why: String| RemoteError { issuer: issuer.issuer_url.clone(), url: url.to_owned(), why };
    let client = client(&issuer.ca_cert).map_err(|e| fail(&url, e.to_string()))?;
    let discovery: Discovery = document(&client, &url).await.map_err(|why| fail(&url, why))?;
    if discovery.issuer != issuer.issuer_url {
        return Err(fail(&url, format!("it is the issuer {:?}", discovery.issuer)));
    }
    if url.starts_with("https:") && !discovery.jwks_uri.starts_with("https:") {
        return Err(fail(&url, format!("keys at {:?}, without TLS", discovery.jwks_uri)));
    }
    let raw: RawKeySet = document(&client, &discovery.jwks_uri).await.map_err(|why| fail(&discovery.jwks_uri, why))?;
    if raw.keys.len() > KEYS {
        return Err(fail(&discovery.jwks_uri, format!("{} keys, more than the limit of {KEYS}", raw.keys.len())));
    }
    let algorithms = algorithms(&discovery.id_token_signing_alg_values_supported);
    Ok(KeySet { algorithms, keys: raw.keys.into_iter().filter_map(key).collect() })
}

/// What the issuer announces and we know, never a shared secret; RS256 if it announces nothing (OpenID Connect Discovery §3).
fn algorithms(names: &[String]) -> Vec<Algorithm> {
    let asymmetric = |a: &Algorithm| !matches!(a, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
    let known: Vec<_> = names.iter().filter_map(|n| n.parse().ok()).filter(asymmetric).collect();
    if names.is_empty() { vec![Algorithm::RS256] } else { known }
}

/// A signature key of a kind we know; others in the set are for others.
fn key(value: Value) -> Option<(Option<String>, DecodingKey)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
    let symmetric = matches!(jwk.algorithm, jsonwebtoken::jwk::AlgorithmParameters::OctetKey(_));
    if !for_signatures || symmetric {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id, key))
}

fn client(ca_cert: &str) -> reqwest::Result<Client> {
    let mut builder = Client::builder().timeout(TIMEOUT).redirect(same_host());
    for certificate in reqwest::Certificate::from_pem_bundle(ca_cert.as_bytes())? {
        builder = builder.tls_certs_merge([certificate]);
    }
    builder.build()
}

/// A provider that redirects to another host would let that host choose the keys.
fn same_host() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let first = attempt.previous().first();
        let stays = first.is_some_and(|f: &Url| f.host() == attempt.url().host() && f.scheme() == attempt.url().scheme());
        match stays && attempt.previous().len() <= REDIRECTS {
            true => attempt.follow(),
            false => attempt.error("a redirect away from the issuer"),
        }
    })
}

async fn document<T: DeserializeOwned>(client: &Client, url: &str) -> Result<T, String> {
    let response = client.get(url).header("accept", "application/json").send().await.map_err(|e| chain(&e))?;
    if !response.status().is_success() {
        return Err(format!("HTTP {}", response.status()));
    }
    let body = limited(response).await?;
    serde_json::from_slice(&body).map_err(|e| e.to_string())
}

async fn limited(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e))? {
        if body.len() + chunk.len() > DOCUMENT_BYTES {
            return Err(format!("more than {DOCUMENT_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes: reqwest's own text stops before the interesting part.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
