//! Rekor v1: `POST /api/v1/log/entries` and the calls that read.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;
use vidimus_core::{
    Digest, ParseError,
    bundle::TlogEntry,
    encoding,
    merkle::{Hash, leaf_hash},
    rekor::{Body, DsseProposal, HashedRekordV001, HexHash, LogEntriesV1, LogEntryV1},
};

use super::{RekorError, Signed, Signer, check_inclusion, only_signature};
use crate::{
    endpoint::below,
    http::{Client, Response, StatusCode},
};

/// Time for one attempt. Public Rekor takes some seconds at its worst; cosign waits 90.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer: an entry with an attestation may be large; Rekor's own request limit is 32 MiB.
const LIMIT: u64 = 32 << 20;
/// Most entries that one `retrieve` call gives.
const RETRIEVE: usize = 10;

/// A Rekor v1 log.
#[derive(Debug, Clone)]
pub struct RekorV1 {
    http: Client,
    base: Url,
}

/// What a log says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogInfo {
    /// The shard that is written to.
    #[serde(flatten)]
    pub active: Shard,
    /// Shards that are only read.
    #[serde(default)]
    pub inactive_shards: Option<Vec<Shard>>,
}

/// One tree of a log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// The tree's id, a decimal number.
    #[serde(rename = "treeID")]
    pub tree_id: String,
    /// Leaves.
    pub tree_size: u64,
    /// The root, in hex.
    pub root_hash: String,
    /// The checkpoint: a signed note.
    pub signed_tree_head: String,
}

/// What to look for in a log's index. Several keys are joined by "and".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// An e-mail address.
    pub email: Option<String>,
    /// An artifact's digest.
    pub digest: Option<Digest>,
    /// A public key or certificate, as PEM.
    pub public_key: Option<String>,
}

/// What was sent, to compare the answer with.
enum Sent {
    HashedRekord(HashedRekordV001),
    Dsse { envelope_hash: HexHash, payload_hash: HexHash, signature: String },
}

impl RekorV1 {
    /// A log at a base URL.
    pub fn new(http: Client, base: &Url) -> Self {
        Self { http, base: base.clone() }
    }

    /// Logs a signature and gives the entry with its proof. If the log has the same entry already, that one.
    ///
    /// An artifact's signature becomes a `hashedrekord` 0.0.1, an envelope a `dsse` 0.0.1.
    pub async fn log(&self, signed: Signed<'_>, signer: Signer<'_>) -> Result<TlogEntry, RekorError> {
        let (proposal, sent) = proposal(signed, signer)?;
        let url = below(&self.base, "api/v1/log/entries");
        // Repeating is harmless: the second time the log answers 409 and names the entry that the first time made.
        let request = self.http.post(&url).json(&proposal).repeatable().allow(StatusCode::CONFLICT);
        let answer = request.header(http::header::ACCEPT, "application/json").timeout(TIMEOUT).limit(LIMIT).send().await?;
        let (uuid, entry) = if answer.status == StatusCode::CONFLICT {
            let uuid = existing_uuid(&answer)?;
            self.fetch(&uuid).await.map_err(|e| RekorError::Exists { url: url.to_string(), why: e.to_string() })?
        } else {
            only_entry(&answer)?
        };
        let (uuid, entry) = match entry.verification.as_ref().and_then(|v| v.inclusion_proof.as_ref()) {
            Some(_) => (uuid, entry),
            // Logs may answer before the entry is integrated; reading it back gives the proof.
            None => self.fetch(&uuid).await?,
        };
        accept(&url, &uuid, &entry, &sent, signer)
    }

    /// The entry of a UUID (64 hex digits, or 80 with the tree's id in front).
    pub async fn entry(&self, uuid: &str) -> Result<LogEntryV1, RekorError> {
        if !matches!(uuid.len(), 64 | 80) || !uuid.bytes().all(|b| b.is_ascii_hexdigit()) {
            let source = ParseError::new("entry UUID", format_args!("{uuid:?} is not 64 or 80 hex digits"));
            return Err(RekorError::Malformed { url: self.base.to_string(), source });
        }
        Ok(self.fetch(uuid).await?.1)
    }

    /// The entry of an index, and its UUID.
    pub async fn entry_at(&self, index: u64) -> Result<(String, LogEntryV1), RekorError> {
        let mut url = below(&self.base, "api/v1/log/entries");
        url.query_pairs_mut().append_pair("logIndex", &index.to_string());
        only_entry(&self.get(&url).await?)
    }

    /// Several entries by UUID, in the log's order. Those it does not have are missing.
    pub async fn entries(&self, uuids: &[String]) -> Result<Vec<(String, LogEntryV1)>, RekorError> {
        let url = below(&self.base, "api/v1/log/entries/retrieve");
        let mut found = Vec::new();
        for some in uuids.chunks(RETRIEVE) {
            let request = self.http.post(&url).json(&json!({ "entryUUIDs": some })).repeatable();
            let answer = request.timeout(TIMEOUT).limit(LIMIT).send().await?;
            let entries: Vec<LogEntriesV1> = read(&answer)?;
            found.extend(entries.into_iter().flatten());
        }
        Ok(found)
    }

    /// What the log says about itself.
    pub async fn info(&self) -> Result<LogInfo, RekorError> {
        read(&self.get(&below(&self.base, "api/v1/log")).await?)
    }

    /// The proof that the tree of `last` leaves extends the one of `first` leaves. Check it with
    /// [`vidimus_core::merkle::check_consistency`].
    pub async fn consistency(&self, first: u64, last: u64, tree_id: Option<&str>) -> Result<Vec<Hash>, RekorError> {
        #[derive(Deserialize)]
        struct Proof {
            hashes: Vec<String>,
        }
        let mut url = below(&self.base, "api/v1/log/proof");
        url.query_pairs_mut().append_pair("firstSize", &first.to_string()).append_pair("lastSize", &last.to_string());
        if let Some(id) = tree_id {
            url.query_pairs_mut().append_pair("treeID", id);
        }
        let answer = self.get(&url).await?;
        let proof: Proof = read(&answer)?;
        let bad = || malformed(&answer, ParseError::new("consistency proof", "a hash is not 64 hex digits"));
        let hash = |text: &String| hex::decode(text).ok().and_then(|h| Hash::try_from(h).ok()).ok_or_else(bad);
        proof.hashes.iter().map(hash).collect()
    }

    /// The log's public key, as PEM. Unauthenticated: trust comes from a trusted root, never from here.
    pub async fn public_key(&self) -> Result<String, RekorError> {
        let answer = self.get(&below(&self.base, "api/v1/log/publicKey")).await?;
        let text = answer.text()?;
        encoding::pem_one(text, "PUBLIC KEY").map_err(|source| malformed(&answer, source))?;
        Ok(text.to_owned())
    }

    /// UUIDs of the entries that the log's index has for a search. The index is a help, not a proof of presence or absence.
    pub async fn search(&self, search: &Search) -> Result<Vec<String>, RekorError> {
        let url = below(&self.base, "api/v1/index/retrieve");
        let request = self.http.post(&url).json(&search.to_json()).repeatable();
        read(&request.timeout(TIMEOUT).limit(LIMIT).send().await?)
    }

    async fn fetch(&self, uuid: &str) -> Result<(String, LogEntryV1), RekorError> {
        only_entry(&self.get(&below(&self.base, &format!("api/v1/log/entries/{uuid}"))).await?)
    }

    async fn get(&self, url: &Url) -> Result<Response, RekorError> {
        let request = self.http.get(url).header(http::header::ACCEPT, "application/json, application/x-pem-file");
        Ok(request.timeout(TIMEOUT).limit(LIMIT).send().await?)
    }
}

impl Search {
    fn to_json(&self) -> Value {
        let mut query = json!({ "operator": "and" });
        if let Some(email) = &self.email {
            query["email"] = email.as_str().into();
        }
        if let Some(digest) = &self.digest {
            query["hash"] = digest.to_string().into();
        }
        if let Some(pem) = &self.public_key {
            query["publicKey"] = json!({ "format": "x509", "content": encoding::encode(pem) });
        }
        query
    }
}

fn proposal(signed: Signed<'_>, signer: Signer<'_>) -> Result<(Value, Sent), RekorError> {
    fn to_value(entry: &impl Serialize) -> Result<Value, RekorError> {
        serde_json::to_value(entry).map_err(|e| RekorError::Signer(e.to_string()))
    }
    match signed {
        Signed::Artifact { digest, signature } => {
            let entry = HashedRekordV001::new(digest, signature, &signer.pem());
            Ok((to_value(&entry)?, Sent::HashedRekord(entry.spec)))
        }
        Signed::Envelope(envelope) => {
            let signature = encoding::encode(&only_signature(envelope)?.sig.0);
            let entry = DsseProposal::new(envelope, &signer.pem());
            let sent = Sent::Dsse {
                envelope_hash: HexHash::of(&Digest::sha256(entry.spec.proposed_content.envelope.as_bytes())),
                payload_hash: HexHash::of(&Digest::sha256(&envelope.payload.0)),
                signature,
            };
            Ok((to_value(&entry)?, sent))
        }
    }
}

/// Takes an answer that is about what was sent, with its proof in order.
fn accept(url: &Url, uuid: &str, entry: &LogEntryV1, sent: &Sent, signer: Signer<'_>) -> Result<TlogEntry, RekorError> {
    let unreadable = |source| RekorError::Malformed { url: url.to_string(), source };
    let compare = |what: &'static str, expected: String, seen: String| match expected == seen {
        true => Ok(()),
        false => Err(RekorError::Mismatch { url: url.to_string(), what, expected, seen }),
    };
    let leaf = hex::encode(leaf_hash(&entry.body.0));
    compare("UUID", leaf, uuid.get(uuid.len().saturating_sub(64)..).unwrap_or_default().to_ascii_lowercase())?;
    let text = |h: &HexHash| format!("{}:{}", h.algorithm, h.value);
    let verifier = match (Body::parse(&entry.body.0).map_err(unreadable)?, sent) {
        (Body::HashedRekordV001(seen), Sent::HashedRekord(sent)) => {
            compare("digest", text(&sent.data.hash), text(&seen.data.hash))?;
            compare("signature", sent.signature.content.to_string(), seen.signature.content.to_string())?;
            seen.signature.public_key.content
        }
        (Body::DsseV001(seen), Sent::Dsse { envelope_hash, payload_hash, signature }) => {
            compare("payload hash", text(payload_hash), text(&seen.payload_hash))?;
            compare("envelope hash", text(envelope_hash), text(&seen.envelope_hash))?;
            let [one] = seen.signatures.as_slice() else {
                return Err(RekorError::Signatures(seen.signatures.len()));
            };
            compare("signature", signature.clone(), one.signature.clone())?;
            one.verifier.clone()
        }
        (other, sent) => {
            let seen = other.kind_version();
            let expected = if matches!(sent, Sent::Dsse { .. }) { "dsse 0.0.1" } else { "hashedrekord 0.0.1" };
            return Err(RekorError::Mismatch {
                url: url.to_string(),
                what: "kind",
                expected: expected.to_owned(),
                seen: format!("{} {}", seen.kind, seen.version),
            });
        }
    };
    // Logs re-encode PEM, so what is inside is compared.
    let der = std::str::from_utf8(&verifier.0).map_err(|e| unreadable(ParseError::new("PEM", e)));
    let der = encoding::pem_one(der?, signer.label()).map_err(unreadable)?;
    compare("key or certificate", encoding::encode(signer.der()), encoding::encode(der))?;
    let entry = entry.to_tlog_entry().map_err(unreadable)?;
    check_inclusion(&entry).map_err(unreadable)?;
    Ok(entry)
}

/// The one entry of an answer, and its UUID.
fn only_entry(answer: &Response) -> Result<(String, LogEntryV1), RekorError> {
    let entries: LogEntriesV1 = read(answer)?;
    let count = entries.len();
    let mut entries = entries.into_iter();
    match (entries.next(), entries.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(malformed(answer, ParseError::new("Rekor answer", format_args!("{count} entries where one was expected")))),
    }
}

/// The UUID that a 409 names: in `Location`, or at the end of its message.
fn existing_uuid(answer: &Response) -> Result<String, RekorError> {
    let is_uuid = |text: &&str| matches!(text.len(), 64 | 80) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let from_header = answer.header("location").and_then(|l| l.rsplit('/').next()).filter(is_uuid);
    let message = serde_json::from_slice::<Value>(&answer.body).ok();
    let message = message.as_ref().and_then(|json| json.get("message")).and_then(Value::as_str);
    let from_message = message.and_then(|m| m.rsplit(' ').next()).filter(is_uuid);
    from_header.or(from_message).map(str::to_owned).ok_or_else(|| RekorError::Exists {
        url: answer.requested.to_string(),
        why: format!("the answer does not say which it is{}", message.map(|m| format!(": {m}")).unwrap_or_default()),
    })
}

fn read<T: DeserializeOwned>(answer: &Response) -> Result<T, RekorError> {
    serde_json::from_slice(&answer.body).map_err(|e| malformed(answer, ParseError::new("Rekor answer", e)))
}

fn malformed(answer: &Response, source: ParseError) -> RekorError {
    RekorError::Malformed { url: answer.requested.to_string(), source }
}
