//! What is posted to Rekor v1, and the canonical bodies that become of it.
//!
//! Kinds: `hashedrekord` 0.0.1, `dsse` 0.0.1, `intoto` 0.0.1 and 0.0.2. Each signature is checked. The bodies are those that the real
//! service writes, byte for byte, so that an entry has the same UUID in both.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use vidimus_core::{
    Digest,
    digest::sha256,
    dsse::{self, IN_TOTO_PAYLOAD},
    encoding, jcs, limits,
    rekor::{
        DsseProposal, DsseSignature, DsseV001, Entry, HashedRekordV001, HexHash, IntotoV001, IntotoV001Content, IntotoV002,
        IntotoV002Content, IntotoV002Envelope,
    },
};

use super::{error::ApiError, keys::PemVerifier};

/// The longest in-toto payload that is kept beside its entry: the default of the real service.
const ATTESTATION_BYTES: usize = 100 << 10;
/// Index keys of one entry. A statement with 1 024 subjects of two digests, and as many materials, fits.
const INDEX_KEYS: usize = 8 << 10;

/// An entry that may be logged: its signatures are good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The canonical body.
    pub(super) body: Vec<u8>,
    /// What the entry can be found by.
    pub(super) index_keys: Vec<String>,
    /// The payload of an in-toto entry, whose body has only its digest.
    pub(super) attestation: Option<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    kind: Option<String>,
    api_version: Option<String>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

impl Proposal {
    /// Reads a request, checks its signatures and writes the body.
    pub(super) fn read(json: &[u8]) -> Result<Self, ApiError> {
        let request: Request<'_> = serde_json::from_slice(json).map_err(|e| ApiError::body(&e))?;
        let kind = request.kind.ok_or_else(|| ApiError::required("kind in body"))?;
        if !matches!(kind.as_str(), "hashedrekord" | "dsse" | "intoto") {
            return Err(ApiError::body(&format_args!("invalid kind value: {kind:?}")));
        }
        let version = request.api_version.ok_or_else(|| ApiError::required("apiVersion in body"))?;
        let spec = request.spec.ok_or_else(|| ApiError::required("spec in body"))?;
        match (kind.as_str(), version.as_str()) {
            ("hashedrekord", "0.0.1") => hashed_rekord(&parse(spec)?),
            ("dsse", "0.0.1") => envelope(&parse(spec)?),
            ("intoto", "0.0.1") => intoto_1(&parse(spec)?),
            ("intoto", "0.0.2") => intoto_2(parse(spec)?),
            _ => Err(ApiError::entry(&format_args!("{kind}Impl version '{version}' not supported"))),
        }
    }

    /// The leaf hash of a proposal or of an entry as stored: what it would have in the log.
    pub(super) fn leaf_hash(entry: &RawValue) -> Result<[u8; 32], ApiError> {
        let value: Value = serde_json::from_str(entry.get()).map_err(|e| ApiError::body(&e))?;
        let stored = match value["kind"].as_str() {
            Some("dsse") => value.pointer("/spec/proposedContent").is_none(),
            Some("intoto") => value.pointer("/spec/content/envelope").is_none_or(|e| e.is_object() && e.get("payload").is_none()),
            _ => false,
        };
        let body = if stored {
            jcs::canonical(&value).map_err(|e| ApiError::body(&e))?
        } else {
            Self::read(entry.get().as_bytes())?.body
        };
        Ok(vidimus_core::merkle::leaf_hash(&body))
    }
}

fn parse<T: DeserializeOwned>(spec: &RawValue) -> Result<T, ApiError> {
    serde_json::from_str(spec.get()).map_err(|e| ApiError::entry(&e))
}

fn hashed_rekord(spec: &HashedRekordV001) -> Result<Proposal, ApiError> {
    let hash = HexHash { algorithm: spec.data.hash.algorithm.clone(), value: spec.data.hash.value.to_lowercase() };
    let digest = hash.to_digest().map_err(|_| ApiError::entry(&"invalid value for hash"))?;
    let verifier = PemVerifier::read(&spec.signature.public_key.content.0).map_err(|e| ApiError::entry(&e))?;
    let signature = &spec.signature.content.0;
    verifier.verify_digest(&digest, signature).map_err(|e| ApiError::entry(&format_args!("verifying signature: {e}")))?;
    let body = HashedRekordV001::new(&digest, signature, &verifier.pem).canonical();
    let mut index_keys = key_names(&verifier);
    index_keys.push(digest.to_string());
    Ok(Proposal { body, index_keys, attestation: None })
}

/// An envelope as the real service reads it: signatures stay text, since their text is what is stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

impl Envelope {
    fn payload(&self) -> Result<Vec<u8>, ApiError> {
        let payload = STANDARD.decode(&self.payload).or_else(|_| URL_SAFE.decode(&self.payload));
        payload.map_err(|_| {
            ApiError::entry(&"could not verify envelope: unable to base64 decode payload (is payload in the right format?)")
        })
    }

    /// Matches every signature with a verifier, and every verifier with a signature.
    fn verify(&self, payload: &[u8], verifiers: &[PemVerifier]) -> Result<Vec<DsseSignature>, ApiError> {
        let too_many = |e: vidimus_core::ParseError| ApiError::entry(&e);
        limits::check_count("envelope", "signatures", self.signatures.len(), limits::DSSE_SIGNATURES).map_err(too_many)?;
        limits::check_count("envelope", "verifiers", verifiers.len(), limits::DSSE_SIGNATURES).map_err(too_many)?;
        if self.signatures.is_empty() {
            return Err(ApiError::entry(&"could not verify envelope: no signatures found"));
        }
        let pae = dsse::pae(&self.payload_type, payload);
        let mut used = vec![false; verifiers.len()];
        let mut matched = Vec::new();
        for EnvelopeSignature { sig } in &self.signatures {
            let bytes = encoding::decode(sig).map_err(|_| ApiError::entry(&"signature.signature in body is not base64"))?;
            let mut found = None;
            for (verifier, used) in verifiers.iter().zip(&mut used) {
                if verifier.verify_message(&pae, &bytes).is_ok() {
                    *used = true;
                    found = Some(verifier);
                }
            }
            let verifier = found.ok_or_else(|| ApiError::entry(&"all signatures must have a key that verifies it"))?;
            matched.push(DsseSignature { signature: sig.clone(), verifier: verifier.pem.as_bytes().into() });
        }
        if used.contains(&false) {
            return Err(ApiError::entry(
                &"could not verify envelope: accepted signatures do not match threshold, Found: 0, Expected 1",
            ));
        }
        matched.sort();
        matched.dedup();
        Ok(matched)
    }
}

fn envelope(spec: &DsseProposal) -> Result<Proposal, ApiError> {
    let text = &spec.proposed_content.envelope;
    let envelope: Envelope = serde_json::from_str(text).map_err(|e| ApiError::entry(&e))?;
    let verifiers = read_verifiers(spec.proposed_content.verifiers.iter().map(|v| v.0.as_slice()))?;
    let payload = envelope.payload()?;
    let signatures = envelope.verify(&payload, &verifiers)?;
    let entry = DsseV001::new(text.as_bytes(), &payload, signatures);
    let mut index_keys: Vec<String> = verifiers.iter().flat_map(key_names).collect();
    index_keys.push(Digest::sha256(text.as_bytes()).to_string());
    index_keys.extend(payload_names(&envelope.payload_type, &payload));
    Ok(Proposal { body: entry.canonical(), index_keys, attestation: None })
}

/// `intoto` 0.0.1 as posted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intoto1 {
    content: Intoto1Content,
    public_key: encoding::Base64,
}

#[derive(Deserialize)]
struct Intoto1Content {
    envelope: String,
}

fn intoto_1(spec: &Intoto1) -> Result<Proposal, ApiError> {
    let text = &spec.content.envelope;
    let envelope: Envelope = serde_json::from_str(text).map_err(|e| ApiError::entry(&e))?;
    let verifiers = read_verifiers([spec.public_key.0.as_slice()])?;
    let payload = envelope.payload()?;
    envelope.verify(&payload, &verifiers)?;
    let hash = Digest::sha256(text.as_bytes());
    let content = IntotoV001Content { hash: HexHash::of(&hash), payload_hash: Some(HexHash::of(&Digest::sha256(&payload))) };
    let spec = IntotoV001 { content, public_key: verifiers[0].pem.as_bytes().into() };
    let body = Entry { api_version: "0.0.1".to_owned(), kind: "intoto".to_owned(), spec }.canonical();
    let mut index_keys = vec![hash.to_string()];
    index_keys.extend(key_names(&verifiers[0]));
    index_keys.extend(payload_names(&envelope.payload_type, &payload));
    Ok(Proposal { body, index_keys, attestation: kept(payload) })
}

fn intoto_2(spec: IntotoV002) -> Result<Proposal, ApiError> {
    let IntotoV002Content { envelope, hash, .. } = spec.content;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| ApiError::entry(&e));
    let payload = envelope.payload.as_ref().ok_or_else(|| ApiError::entry(&"missing envelope content"))?;
    let mut signatures = Vec::new();
    for signature in &envelope.signatures {
        signatures.push(EnvelopeSignature { sig: text(&signature.sig.0)? });
    }
    let posted = Envelope { payload: text(&payload.0)?, payload_type: envelope.payload_type.clone(), signatures };
    let verifiers = read_verifiers(envelope.signatures.iter().map(|s| s.public_key.0.as_slice()))?;
    let payload = posted.payload()?;
    posted.verify(&payload, &verifiers)?;

    // The digest of the envelope is the client's own, whose serialisation nobody else knows; it is stored as it came.
    let hash = hash.ok_or_else(|| ApiError::entry(&"missing envelope digest"))?;
    hash.to_digest().map_err(|e| ApiError::entry(&format_args!("error validating envelope digest: {e}")))?;
    let payload_hash = Some(HexHash::of(&Digest::sha256(&payload)));
    let stored = IntotoV002Envelope { payload: None, ..envelope };
    let spec = IntotoV002 { content: IntotoV002Content { envelope: stored, hash: Some(hash), payload_hash } };
    let body = Entry { api_version: "0.0.2".to_owned(), kind: "intoto".to_owned(), spec }.canonical();
    let mut index_keys: Vec<String> = verifiers.iter().flat_map(key_names).collect();
    index_keys.extend(payload_names(&posted.payload_type, &payload));
    Ok(Proposal { body, index_keys, attestation: kept(payload) })
}

fn read_verifiers<'a>(pems: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<PemVerifier>, ApiError> {
    let read =
        |pem| PemVerifier::read(pem).map_err(|e| ApiError::entry(&format_args!("could not parse public key as x509: {e}")));
    pems.into_iter().take(limits::DSSE_SIGNATURES + 1).map(read).collect()
}

fn kept(payload: Vec<u8>) -> Option<Vec<u8>> {
    (payload.len() <= ATTESTATION_BYTES).then_some(payload)
}

/// The names of a key. The real service has the hash with the prefix for some kinds and without for others; both find all kinds here.
fn key_names(verifier: &PemVerifier) -> Vec<String> {
    let hash = hex::encode(sha256(verifier.pem.as_bytes()));
    let mut names = vec![format!("sha256:{hash}"), hash];
    names.extend(verifier.subjects.iter().cloned());
    names
}

/// The names of an envelope's payload: its digest, and the digests of what an in-toto statement is about and what that was made from.
fn payload_names(payload_type: &str, payload: &[u8]) -> Vec<String> {
    let mut names = vec![Digest::sha256(payload).to_string()];
    let statement = (payload_type == IN_TOTO_PAYLOAD).then(|| serde_json::from_slice::<Value>(payload).ok()).flatten();
    let Some(statement) = statement else { return names };
    for list in [statement.get("subject"), statement.pointer("/predicate/materials")] {
        let digests = list.and_then(Value::as_array).into_iter().flatten().filter_map(|item| item.get("digest")?.as_object());
        for (algorithm, value) in digests.flatten() {
            names.extend(value.as_str().map(|value| format!("{algorithm}:{value}").to_lowercase()));
        }
    }
    if names.len() > INDEX_KEYS {
        tracing::warn!(names = names.len(), kept = INDEX_KEYS, "an entry has more subjects and materials than are indexed");
        names.truncate(INDEX_KEYS);
    }
    names
}
