//! The one input of verification: a signature with its evidence, wherever it came from.
//!
//! Bundles of all versions, layers that cosign attached before there were bundles, and detached signatures over files differ only in
//! how a [`SignedEntity`] is made of them; from here on there is one path. Nothing here is trusted yet.

use std::fmt;

use serde::{Deserialize, Serialize};
use vidimus_core::{
    Digest, ParseError,
    bundle::{Bundle, HashOutput, InclusionPromise, Int64, KindVersion, LogId, TlogEntry, Version},
    cosign::{Layer, LayerKind, RekorBundle},
    dsse::Envelope,
    encoding::{self, Base64},
    limits, rekor,
};

/// Where an entity came from, which decides the evidence it must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// A Sigstore bundle.
    #[serde(rename = "bundle")]
    Bundle(Version),
    /// A layer with annotations, as cosign 1 and 2 attach it.
    CosignLayer,
    /// A signature over a file, with certificate, log entry and timestamps in files of their own.
    Detached,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(version) => write!(f, "bundle {version}"),
            Self::CosignLayer => f.write_str("cosign layer"),
            Self::Detached => f.write_str("detached signature"),
        }
    }
}

/// What was signed, with the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A signature over the artifact.
    Message {
        /// The signature.
        signature: Vec<u8>,
        /// What the bundle says the artifact's digest is; a hint.
        digest: Option<HashOutput>,
    },
    /// A signed envelope about the artifact.
    Envelope {
        /// The envelope.
        envelope: Envelope,
        /// SHA-256 of its text as stored, where that is known: entries of kind `intoto` 0.0.1 have it.
        text: Option<Digest>,
    },
    /// A signed simple-signing payload about the artifact.
    Payload {
        /// The payload's exact bytes.
        payload: Vec<u8>,
        /// The signature.
        signature: Vec<u8>,
    },
}

/// Who signed, as the entity says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Material {
    /// Certificates in DER, the signer's first. Only that one is used: the others must be in the trust root.
    Certificates(Vec<Vec<u8>>),
    /// A managed key, with a hint at it.
    PublicKey {
        /// The hint; unauthenticated.
        hint: Option<String>,
    },
}

/// A signature with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEntity {
    format: Format,
    content: Content,
    material: Material,
    /// Whether the certificates came as a chain, whatever its length.
    has_chain: bool,
    entries: Vec<TlogEntry>,
    timestamps: Vec<Vec<u8>>,
}

impl SignedEntity {
    /// The entity in a bundle.
    pub fn from_bundle(bundle: Bundle) -> Result<Self, ParseError> {
        let version = bundle.version()?;
        let timestamps = bundle.timestamps().map(<[u8]>::to_vec).collect();
        let has_chain = bundle.verification_material.x509_certificate_chain.is_some();
        let material = match bundle.verification_material.signer()? {
            vidimus_core::bundle::Signer::PublicKey(hint) => {
                Material::PublicKey { hint: Some(hint.to_owned()).filter(|h| !h.is_empty()) }
            }
            vidimus_core::bundle::Signer::Certificates(chain) => {
                Material::Certificates(chain.into_iter().map(<[u8]>::to_vec).collect())
            }
        };
        bundle.content()?;
        let content = match (bundle.message_signature, bundle.dsse_envelope) {
            (_, Some(envelope)) => Content::Envelope { envelope, text: None },
            (Some(message), None) => Content::Message { signature: message.signature.0, digest: message.message_digest },
            (None, None) => return Err(ParseError::new("bundle", "no content")),
        };
        let entries = bundle.verification_material.tlog_entries;
        Ok(Self { format: Format::Bundle(version), content, material, has_chain, entries, timestamps })
    }

    /// The entity in a layer that cosign attached: `content` are the layer's bytes.
    pub fn from_cosign_layer(layer: &Layer, content: &[u8]) -> Result<Self, ParseError> {
        let content = match (layer.kind, &layer.signature) {
            (LayerKind::Dsse, _) => envelope(content)?,
            (LayerKind::SimpleSigning, Some(signature)) => {
                Content::Payload { payload: content.to_vec(), signature: signature.clone() }
            }
            (LayerKind::SimpleSigning, None) => return Err(ParseError::new("cosign layer", "no signature")),
        };
        let mut entity = Self::new(Format::CosignLayer, content);
        if let Some(pem) = &layer.certificate {
            entity = entity.with_certificate(pem.as_bytes())?;
        }
        if let Some(bundle) = &layer.bundle {
            entity = entity.with_rekor_bundle(bundle)?;
        }
        Ok(entity.with_timestamps(layer.rfc3161_timestamp.clone()))
    }

    /// A signature over a file. Certificate, log entry and timestamps are added with the `with_` methods.
    pub fn detached(signature: Vec<u8>) -> Self {
        Self::new(Format::Detached, Content::Message { signature, digest: None })
    }

    /// A signed statement in a file of its own.
    pub fn detached_envelope(json: &[u8]) -> Result<Self, ParseError> {
        Ok(Self::new(Format::Detached, envelope(json)?))
    }

    /// The file that `cosign sign-blob --bundle` and `attest-blob --bundle` wrote before there were bundles.
    pub fn from_cosign_blob_bundle(json: &[u8]) -> Result<Self, ParseError> {
        limits::check_len("cosign blob bundle", json.len(), limits::BUNDLE_BYTES)?;
        let old: OldBlobBundle = serde_json::from_slice(json).map_err(|e| ParseError::new("cosign blob bundle", e))?;
        // `attest-blob --bundle` wrote the whole envelope where `sign-blob --bundle` wrote the signature. No signature is JSON: those
        // of ECDSA start with 0x30, and an RSA or Ed25519 one that parses as an envelope cannot be made.
        let mut entity = match Envelope::from_json(&old.base64_signature.0) {
            Ok(_) => Self::detached_envelope(&old.base64_signature.0)?,
            Err(_) => Self::detached(old.base64_signature.0),
        };
        if let Some(cert) = old.cert.filter(|c| !c.is_empty()) {
            // The PEM is base64 once more; very old versions wrote it bare.
            let pem = if cert.starts_with("-----BEGIN") { cert.into_bytes() } else { encoding::decode(&cert)? };
            // For managed keys the field holds the public key, which proves nothing.
            if !String::from_utf8_lossy(&pem).contains("-----BEGIN PUBLIC KEY") {
                entity = entity.with_certificate(&pem)?;
            }
        }
        match &old.rekor_bundle {
            Some(bundle) => entity.with_rekor_bundle(bundle),
            None => Ok(entity),
        }
    }

    fn new(format: Format, content: Content) -> Self {
        let material = Material::PublicKey { hint: None };
        Self { format, content, material, has_chain: false, entries: Vec::new(), timestamps: Vec::new() }
    }

    /// Adds the signer's certificate: PEM (the first block counts, others are its chain) or DER.
    pub fn with_certificate(mut self, certificate: &[u8]) -> Result<Self, ParseError> {
        let chain = match std::str::from_utf8(certificate) {
            Ok(text) if text.contains("-----BEGIN ") => certificates(text)?,
            _ => vec![certificate.to_vec()],
        };
        self.material = Material::Certificates(chain);
        Ok(self)
    }

    /// Adds a log entry in the form of cosign's annotation: a promise, no proof.
    pub fn with_rekor_bundle(self, bundle: &RekorBundle) -> Result<Self, ParseError> {
        let key_id = hex_bytes(&bundle.payload.log_id)?;
        // An entry of a kind that we do not know gets no kind; the check of the entry says what is wrong with it.
        let none = KindVersion { kind: String::new(), version: String::new() };
        let kind_version = rekor::Body::parse(&bundle.payload.body.0).map_or(none, |body| body.kind_version());
        Ok(self.with_log_entry(TlogEntry {
            log_index: Int64(bundle.payload.log_index),
            log_id: LogId { key_id: key_id.into() },
            kind_version,
            integrated_time: Int64(bundle.payload.integrated_time),
            inclusion_promise: Some(InclusionPromise { signed_entry_timestamp: bundle.signed_entry_timestamp.clone() }),
            inclusion_proof: None,
            canonicalized_body: bundle.payload.body.clone(),
        }))
    }

    /// Adds a log entry.
    #[must_use]
    pub fn with_log_entry(mut self, entry: TlogEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds RFC 3161 timestamps over the signature, in DER.
    #[must_use]
    pub fn with_timestamps(mut self, timestamps: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.timestamps.extend(timestamps);
        self
    }

    /// Where it came from.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What was signed.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Who signed, as it says.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The log entries, unverified.
    pub fn log_entries(&self) -> &[TlogEntry] {
        &self.entries
    }

    /// The timestamps in DER, unverified.
    pub fn timestamps(&self) -> &[Vec<u8>] {
        &self.timestamps
    }

    /// The signed bytes that travel with the signature: the envelope's or the simple-signing payload. None for a signature over the
    /// artifact itself.
    pub fn payload(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Message { .. } => None,
            Content::Envelope { envelope, .. } => Some(&envelope.payload.0),
            Content::Payload { payload, .. } => Some(payload),
        }
    }

    /// The signature's bytes: those of the only signature, for an envelope.
    pub fn signature(&self) -> &[u8] {
        match &self.content {
            Content::Message { signature, .. } | Content::Payload { signature, .. } => signature,
            Content::Envelope { envelope, .. } => envelope.signatures.first().map_or(&[], |s| &s.sig.0),
        }
    }

    /// Whether the certificates came as a chain.
    pub(crate) fn has_chain(&self) -> bool {
        self.has_chain
    }

    /// The digest that a bundle states of its artifact. cosign 3 writes an empty one beside pure Ed25519 signatures.
    pub(crate) fn stated_digest(&self) -> Option<&HashOutput> {
        match &self.content {
            Content::Message { digest, .. } => digest.as_ref().filter(|d| !(d.algorithm.is_empty() && d.digest.0.is_empty())),
            _ => None,
        }
    }

    /// The signer's certificate in DER, unverified.
    pub fn certificate(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Certificates(chain) => chain.first().map(Vec::as_slice),
            Material::PublicKey { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldBlobBundle {
    base64_signature: Base64,
    #[serde(default)]
    cert: Option<String>,
    #[serde(default)]
    rekor_bundle: Option<RekorBundle>,
}

/// An envelope in a document of its own. Of its text only the digest is kept: it may be a hundred megabytes, which the envelope has
/// as well.
fn envelope(text: &[u8]) -> Result<Content, ParseError> {
    Ok(Content::Envelope { envelope: Envelope::from_json(text)?, text: Some(Digest::sha256(text)) })
}

fn certificates(text: &str) -> Result<Vec<Vec<u8>>, ParseError> {
    let blocks = encoding::pem_blocks(text)?;
    limits::check_count("certificate chain", "certificates", blocks.len(), limits::CHAIN)?;
    if let Some(other) = blocks.iter().find(|b| b.label != "CERTIFICATE") {
        return Err(ParseError::new("PEM", format_args!("a {} where a CERTIFICATE was expected", other.label)));
    }
    Ok(blocks.into_iter().map(|b| b.der).collect())
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, ParseError> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| ParseError::at("log entry", "logID", "not hex"))
}
