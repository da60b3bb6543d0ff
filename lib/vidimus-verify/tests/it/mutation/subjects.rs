//! What is changed: real bundles, and what cosign wrote before bundles, with their verdicts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vidimus_core::{
    ParseError,
    bundle::Bundle,
    cosign::{self, Layer, LayerKind},
    encoding,
    oci::Descriptor,
    rekor::{DsseSignature, DsseV001},
};
use vidimus_verify::{Artifact, Policy, PublicKey, Rejection, SignedEntity, TrustRoot, Verified, verify};

use crate::{
    common::*,
    forge::{at, signed_at},
    layers::{Bench, image, keyless},
    oracle::Oracle,
};

type Read = Box<dyn Fn(&[u8]) -> Result<SignedEntity, ParseError>>;

/// A valid document, and all it takes to judge it.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) document: Value,
    pub(crate) by_key: bool,
    pub(crate) oracle: Option<Oracle>,
    read: Read,
    trust: TrustRoot,
    policy: Policy,
    bytes: Option<Vec<u8>>,
    case: Option<&'static Case>,
    now: jiff::Timestamp,
}

impl Subject {
    pub(crate) fn judge(&self, json: &[u8]) -> Result<Verified, String> {
        let entity = (self.read)(json).map_err(|e| e.to_string())?;
        let artifact = match (&self.case, &self.bytes) {
            (Some(case), bytes) => case.artifact(bytes),
            (None, Some(bytes)) => Artifact::bytes(bytes),
            (None, None) => Artifact::digest(image()),
        };
        verify(&entity, &artifact, &self.trust, &self.policy, self.now).map_err(|e: Rejection| e.to_string())
    }
}

/// How many there are.
pub(crate) fn count() -> usize {
    CASES.len() + MANAGED.len() + FORGED.len()
}

/// One of them. Made anew by every thread: what it holds is not meant to be shared.
pub(crate) fn subject(index: usize) -> Subject {
    if let Some(case) = CASES.get(index) {
        return real(case);
    }
    match MANAGED.get(index - CASES.len()) {
        Some(name) => managed(name),
        None => FORGED[index - CASES.len() - MANAGED.len()](&Bench::new()),
    }
}

fn bundle(json: &[u8]) -> Result<SignedEntity, ParseError> {
    Bundle::from_json(json).and_then(SignedEntity::from_bundle)
}

fn real(case: &'static Case) -> Subject {
    Subject {
        name: case.bundle.to_owned(),
        document: serde_json::from_slice(&case.json()).unwrap(),
        by_key: matches!(case.by, By::Key(_)),
        oracle: Oracle::new(case),
        read: Box::new(bundle),
        trust: case.trust(),
        policy: case.policy(),
        bytes: case.artifact_bytes(),
        case: Some(case),
        now: now(),
    }
}

/// Signatures by managed keys without log, which `sigstore-verify` does not judge.
const MANAGED: &[&str] = &["ed25519.blob-bundle", "ed25519.sigstore", "p256.blob-bundle", "p256.sigstore", "p256.envelope"];

fn managed(name: &str) -> Subject {
    let key = file(&format!("cosign/{}.pub", name.split('.').next().unwrap()));
    let read: Read = match name.split_once('.').unwrap().1 {
        "sigstore" => Box::new(bundle),
        "envelope" => Box::new(SignedEntity::detached_envelope),
        _ => Box::new(SignedEntity::from_cosign_blob_bundle),
    };
    Subject {
        name: format!("cosign/{name}.json"),
        document: serde_json::from_slice(&file(&format!("cosign/{name}.json"))).unwrap(),
        by_key: true,
        oracle: None,
        read,
        trust: TrustRoot::empty(),
        policy: Policy::key(PublicKey::from_pem_or_der(&key).unwrap()).unsafe_without_log(),
        bytes: Some(file("cosign/artifact")),
        case: None,
        now: now(),
    }
}

/// What cosign attached before bundles, made by an instance whose keys are ours.
const FORGED: &[fn(&Bench) -> Subject] = &[simple_signing, attestation, blob_bundle];

fn forged(name: &str, bench: &Bench, document: Value, read: Read) -> Subject {
    Subject {
        name: name.to_owned(),
        document,
        by_key: false,
        oracle: None,
        read,
        trust: bench.instance.trust(),
        policy: keyless(),
        bytes: None,
        case: None,
        now: at("2026-02-01T00:00:00Z"),
    }
}

/// A layer as one document: its annotations, those with JSON in them taken apart, and its content.
fn layer_document(layer: &Layer, raw: &[u8]) -> Value {
    let descriptor = layer.descriptor(raw);
    let annotations: BTreeMap<_, _> = descriptor.annotations.iter().map(|(key, text)| (key, open(key, text))).collect();
    // An envelope is taken apart as well.
    let content = serde_json::from_slice(raw).ok().filter(|_| layer.kind == LayerKind::Dsse);
    let content = content.unwrap_or_else(|| json!(encoding::encode(raw)));
    json!({"mediaType": descriptor.media_type, "annotations": annotations, "content": content})
}

fn open(key: &str, text: &str) -> Value {
    if key == cosign::BUNDLE { serde_json::from_str(text).unwrap() } else { json!(text) }
}

/// The layer of such a document. JSON keeps what was made of it, also what no `Value` can hold: it is cut out of the text.
fn layer(json: &[u8]) -> Result<SignedEntity, ParseError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Document {
        media_type: String,
        annotations: BTreeMap<String, Box<serde_json::value::RawValue>>,
        content: Box<serde_json::value::RawValue>,
    }
    let document: Document = serde_json::from_slice(json).map_err(|e| ParseError::new("layer", e))?;
    let content = match serde_json::from_str::<encoding::Base64>(document.content.get()) {
        Ok(bytes) => bytes.0,
        Err(_) => document.content.get().as_bytes().to_vec(),
    };
    let mut descriptor = Descriptor::of(&document.media_type, &content);
    for (key, value) in document.annotations {
        let text = serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned());
        descriptor.annotations.insert(key, text);
    }
    let layer = Layer::parse(&descriptor)?.ok_or_else(|| ParseError::new("layer", "of another kind"))?;
    SignedEntity::from_cosign_layer(&layer, &content)
}

fn simple_signing(bench: &Bench) -> Subject {
    let (signed, payload) = bench.simple_signing();
    forged("a simple-signing layer", bench, layer_document(&signed, &payload), Box::new(layer))
}

fn attestation(bench: &Bench) -> Subject {
    let (envelope, text) = bench.envelope();
    let sig = encoding::encode(&envelope.signatures[0].sig.0);
    let signature = DsseSignature { signature: sig, verifier: bench.pem().into_bytes().into() };
    let body = DsseV001::new(&text, &envelope.payload.0, vec![signature]).canonical();
    let signed = bench.layer(LayerKind::Dsse, &bench.instance.promise(body, signed_at()));
    forged("an attestation layer", bench, layer_document(&signed, &text), Box::new(layer))
}

fn blob_bundle(bench: &Bench) -> Subject {
    let signature = bench.key.sign(b"a file");
    let entry = bench.instance.promised_signature(b"a file", &signature, &bench.pem());
    let document = json!({
        "base64Signature": encoding::encode(&signature),
        "cert": encoding::encode(bench.pem()),
        "rekorBundle": bench.layer(LayerKind::SimpleSigning, &entry).bundle,
    });
    let subject = forged("an old blob bundle", bench, document, Box::new(SignedEntity::from_cosign_blob_bundle));
    Subject { bytes: Some(b"a file".to_vec()), ..subject }
}
