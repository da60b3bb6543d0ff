//! Rekor v2 (rekor-tiles): `POST /api/v2/log/entries`, and the tiles of C2SP tlog-tiles to read.
//!
//! Every entry is a `hashedrekord` 0.0.2; for a DSSE envelope the digest is that of its pre-authentication encoding. The log gives no
//! time: a timestamp authority has to.

use std::{collections::BTreeMap, time::Duration};

use url::Url;
use vidimus_core::{
    Digest, ParseError,
    bundle::{CheckpointEnvelope, InclusionProof, Int64, LogId, TlogEntry},
    checkpoint::{Checkpoint, Note},
    encoding::Base64,
    limits,
    merkle::Hash,
    rekor::{Body, CreateEntryV2, HashedRekordV002, RawBytes, SignatureV002, Verifier},
};

use super::{RekorError, Signed, Signer, check_inclusion, only_signature, tiles, tiles::TileId};
use crate::{
    endpoint::below,
    http::{Client, Response, StatusCode},
};

/// Time for one attempt: the log answers only after a checkpoint that covers the entry, which may take seconds, and clients of the
/// field allow at least 20 s.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer with an entry: a body has at most 64 KiB, a proof and a checkpoint some more.
const ENTRY_LIMIT: u64 = 1 << 20;
/// Largest entry bundle: 256 entries of at most 65 535 bytes with their lengths.
const BUNDLE_LIMIT: u64 = 256 * (65_535 + 2);

/// A Rekor v2 log.
#[derive(Debug, Clone)]
pub struct RekorV2 {
    http: Client,
    base: Url,
    log_id: Option<LogId>,
}

impl RekorV2 {
    /// A log at a base URL.
    pub fn new(http: Client, base: &Url) -> Self {
        Self { http, base: base.clone(), log_id: None }
    }

    /// The log's id, as a trusted root gives it. Needed to put an entry together from tiles, which do not carry it.
    #[must_use]
    pub fn with_log_id(self, log_id: LogId) -> Self {
        Self { log_id: Some(log_id), ..self }
    }

    /// Logs a signature and gives the entry with its proof. If the log has the same entry already, that one.
    pub async fn log(&self, signed: Signed<'_>, signer: Signer<'_>) -> Result<TlogEntry, RekorError> {
        let (request, sent) = request(signed, signer)?;
        let url = below(&self.base, "api/v2/log/entries");
        // Repeating is harmless: the log recognises an entry that it has.
        let post = self.http.post(&url).json(&request).repeatable().allow(StatusCode::CONFLICT);
        let answer = post.timeout(TIMEOUT).limit(ENTRY_LIMIT).send().await?;
        if answer.status == StatusCode::CONFLICT {
            return self.existing(&answer, &sent).await;
        }
        let entry: TlogEntry =
            serde_json::from_slice(&answer.body).map_err(|e| malformed(&url, ParseError::new("Rekor v2 answer", e)))?;
        accept(&url, entry, &sent)
    }

    /// The log's newest checkpoint, as the signed note and as what it says. Its signature is not checked here.
    pub async fn checkpoint(&self) -> Result<(String, Checkpoint), RekorError> {
        let url = below(&self.base, "api/v2/checkpoint");
        let limit = u64::try_from(limits::NOTE_BYTES).unwrap_or(u64::MAX);
        let answer = self.http.get(&url).limit(limit).send().await?;
        let note = answer.text()?.to_owned();
        let checkpoint = Note::parse(&note).and_then(|note| note.checkpoint()).map_err(|e| malformed(&url, e))?;
        Ok((note, checkpoint))
    }

    /// The canonical body of the entry at `index`, in a tree of `size` leaves.
    pub async fn body(&self, index: u64, size: u64) -> Result<Vec<u8>, RekorError> {
        let at = index / tiles::WIDTH;
        let full = TileId { level: 0, index: at, width: size.saturating_sub(at * tiles::WIDTH).min(tiles::WIDTH) };
        if index >= size {
            let why = format_args!("there is no entry {index} in a tree of {size}");
            return Err(malformed(&self.base, ParseError::new("entry bundle", why)));
        }
        let url = below(&self.base, &format!("api/v2/tile/{}", full.entries_path()));
        let answer = self.http.get(&url).limit(BUNDLE_LIMIT).send().await?;
        let mut entries = tiles::parse_entries(full, &answer.body).map_err(|e| malformed(&url, e))?;
        let within = usize::try_from(index % tiles::WIDTH).ok().filter(|i| *i < entries.len());
        let missing = || malformed(&url, ParseError::new("entry bundle", "it is too short"));
        Ok(entries.swap_remove(within.ok_or_else(missing)?))
    }

    /// The inclusion proof of the entry at `index` in the tree of `size` leaves, computed from the log's tiles.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, RekorError> {
        let unreadable = |e| malformed(&self.base, e);
        let mut fetched = BTreeMap::new();
        for id in tiles::needed(index, size).map_err(unreadable)? {
            let url = below(&self.base, &format!("api/v2/tile/{}", id.path()));
            let limit = u64::try_from(tiles::TILE_BYTES).unwrap_or(u64::MAX);
            let answer = self.http.get(&url).limit(limit).send().await?;
            fetched.insert(id, tiles::parse(id, &answer.body).map_err(|e| malformed(&url, e))?);
        }
        tiles::inclusion(index, size, &fetched).map_err(unreadable)
    }

    /// The entry at `index` with a proof against the newest checkpoint, put together from what anyone can read.
    pub async fn entry_at(&self, index: u64, log_id: &LogId) -> Result<TlogEntry, RekorError> {
        let (note, checkpoint) = self.checkpoint().await?;
        let body = self.body(index, checkpoint.size).await?;
        let hashes = self.inclusion(index, checkpoint.size).await?;
        let unreadable = |e| malformed(&self.base, e);
        let int = |n: u64| i64::try_from(n).map(Int64).map_err(|e| unreadable(ParseError::new("checkpoint", e)));
        let entry = TlogEntry {
            log_index: int(index)?,
            log_id: log_id.clone(),
            kind_version: Body::parse(&body).map_err(unreadable)?.kind_version(),
            integrated_time: Int64(0),
            inclusion_promise: None,
            inclusion_proof: Some(InclusionProof {
                log_index: int(index)?,
                root_hash: checkpoint.root.to_vec().into(),
                tree_size: int(checkpoint.size)?,
                hashes: hashes.iter().map(|h| Base64(h.to_vec())).collect(),
                checkpoint: Some(CheckpointEnvelope { envelope: note }),
            }),
            canonicalized_body: body.into(),
        };
        check_inclusion(&entry).map_err(unreadable)?;
        Ok(entry)
    }

    /// The entry that a 409 points at, if it is the one that was sent.
    async fn existing(&self, answer: &Response, sent: &HashedRekordV002) -> Result<TlogEntry, RekorError> {
        let exists = |why: String| RekorError::Exists { url: answer.requested.to_string(), why };
        let index = answer.header("x-log-index").and_then(|text| text.trim().parse().ok());
        let index = index.ok_or_else(|| exists("the answer does not say at which index".to_owned()))?;
        let log_id = self.log_id.as_ref().ok_or_else(|| exists(format!("it is entry {index}, but the log's id is unknown")))?;
        let entry = self.entry_at(index, log_id).await.map_err(|e| exists(e.to_string()))?;
        accept(&answer.requested, entry, sent)
    }
}

fn request(signed: Signed<'_>, signer: Signer<'_>) -> Result<(CreateEntryV2, HashedRekordV002), RekorError> {
    let scheme = signer.scheme()?;
    let (digest, signature) = match signed {
        Signed::Artifact { digest, signature } => (digest.clone(), signature),
        Signed::Envelope(envelope) => (Digest::of(scheme.digest, &envelope.pae()), only_signature(envelope)?.sig.as_bytes()),
    };
    if digest.algorithm() != scheme.digest {
        let (expected, seen) = (scheme.digest.name(), digest.algorithm().name());
        return Err(RekorError::DigestAlgorithm { key: scheme.key_details, expected, seen });
    }
    let raw = Some(RawBytes { raw_bytes: signer.der().into() });
    let (public_key, x509_certificate) = match signer {
        Signer::Certificate(_) => (None, raw),
        Signer::PublicKey(_) => (raw, None),
    };
    let verifier = Verifier { key_details: scheme.key_details.to_owned(), public_key, x509_certificate };
    let sent = HashedRekordV002::new(&digest, signature, verifier.clone()).spec;
    let signature = SignatureV002 { content: signature.into(), verifier };
    Ok((CreateEntryV2::HashedRekord { digest: digest.bytes().into(), signature }, sent))
}

/// Takes an answer that is about what was sent, with its proof in order.
fn accept(url: &Url, entry: TlogEntry, sent: &HashedRekordV002) -> Result<TlogEntry, RekorError> {
    let seen = match Body::parse(&entry.canonicalized_body.0).map_err(|e| malformed(url, e))? {
        Body::HashedRekordV002(seen) => seen,
        other => {
            let kind = other.kind_version();
            let (expected, seen) = ("hashedrekord 0.0.2".to_owned(), format!("{} {}", kind.kind, kind.version));
            return Err(RekorError::Mismatch { url: url.to_string(), what: "kind", expected, seen });
        }
    };
    let (expected, seen) = (&sent.content, &seen.content);
    let parts = [
        ("digest", format!("{:?}", expected.data), format!("{:?}", seen.data)),
        ("signature", expected.signature.content.to_string(), seen.signature.content.to_string()),
        ("key or certificate", format!("{:?}", expected.signature.verifier), format!("{:?}", seen.signature.verifier)),
    ];
    for (what, expected, seen) in parts {
        if expected != seen {
            return Err(RekorError::Mismatch { url: url.to_string(), what, expected, seen });
        }
    }
    check_inclusion(&entry).map_err(|e| malformed(url, e))?;
    Ok(entry)
}

fn malformed(url: &Url, source: ParseError) -> RekorError {
    RekorError::Malformed { url: url.to_string(), source }
}
