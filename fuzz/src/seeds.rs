//! Seeds: the fixtures of `testdata/`, taken apart into what each target reads.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use vidimus_core::{bundle::Bundle, cosign::Layer, encoding, oci::Manifest};

/// The seeds of each target, by its name.
pub type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// Larger ones make fuzzing slow and find nothing more.
const LARGEST: usize = 64 << 10;

/// All seeds, each once.
pub fn all(testdata: &Path) -> Seeds {
    let mut seeds = Seeds::new();
    for file in files(testdata) {
        let Ok(bytes) = fs::read(&file) else { continue };
        add(&mut seeds, "inspect", &bytes);
        file_seeds(&mut seeds, &bytes);
    }
    for text in REFERENCES {
        add(&mut seeds, "reference", text.as_bytes());
    }
    for text in PATTERNS {
        add(&mut seeds, "pattern", text.as_bytes());
    }
    for list in seeds.values_mut() {
        list.sort();
        list.dedup();
    }
    seeds
}

const REFERENCES: &[&str] = &[
    "alpine",
    "docker.io/library/alpine:3.20",
    "127.0.0.1:5000/a/b:tag@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "[::1]:5000/x__y/z-1.2:v",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

const PATTERNS: &[&str] = &[
    r"^https://github\.com/acme/.*@refs/tags/v\d+$",
    r"(?i)\Qacme.example\E[[:alpha:]]{2,5}\pL",
    r"(?P<name>a|b)[^]a-z&&[x]~~-]+?\bfoo\b",
];

fn add(seeds: &mut Seeds, target: &'static str, bytes: &[u8]) {
    if bytes.len() <= LARGEST {
        seeds.entry(target).or_default().push(bytes.to_vec());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().map(|e| e.path()).collect());
    let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn file_seeds(seeds: &mut Seeds, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if text.contains("sigstore.bundle") {
        add(seeds, "bundle", bytes);
        add(seeds, "jsonl", bytes);
        if let Ok(bundle) = Bundle::from_json(bytes) {
            bundle_seeds(seeds, &bundle);
        }
    }
    if text.contains("trustedroot") || text.contains("signingconfig") || text.contains("clienttrustconfig") {
        add(seeds, "trusted_root", bytes);
        add(seeds, "jsonl", bytes);
    }
    if text.contains("payloadType") {
        add(seeds, "dsse", bytes);
    }
    if text.contains("\"_type\"") && text.contains("\"signed\"") {
        let root = String::from_utf8_lossy(bytes).trim().to_owned();
        add(seeds, "tuf", format!("{root}\n\n{root}").as_bytes());
    }
    if text.contains("base64Signature") || text.contains("docker-manifest-digest") {
        add(seeds, "cosign_layer", bytes);
    }
    if text.contains("integratedTime") || text.contains("apiVersion") {
        add(seeds, "rekor", bytes);
    }
    if text.contains("schemaVersion") {
        add(seeds, "oci", bytes);
        layer_seeds(seeds, bytes);
    }
    if text.contains("-----BEGIN ") {
        add(seeds, "key", bytes);
        for block in encoding::pem_blocks(text).unwrap_or_default() {
            add(seeds, if block.label == "CERTIFICATE" { "certificate" } else { "key" }, &block.der);
        }
    }
    if bytes.starts_with(&[0x30]) {
        add(seeds, "timestamp", bytes);
    }
}

fn bundle_seeds(seeds: &mut Seeds, bundle: &Bundle) {
    if let Ok(vidimus_core::bundle::Signer::Certificates(chain)) = bundle.verification_material.signer() {
        for der in chain {
            add(seeds, "certificate", der);
            for list in sct_lists(der) {
                add(seeds, "sct", list);
            }
        }
    }
    for entry in &bundle.verification_material.tlog_entries {
        add(seeds, "rekor", &entry.canonicalized_body.0);
        let checkpoint = entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.as_ref());
        if let Some(checkpoint) = checkpoint {
            add(seeds, "note", checkpoint.envelope.as_bytes());
        }
    }
    for timestamp in bundle.timestamps() {
        add(seeds, "timestamp", timestamp);
    }
    if let Some(envelope) = &bundle.dsse_envelope {
        add(seeds, "dsse", &serde_json::to_vec(envelope).unwrap_or_default());
        add(seeds, "dsse", &envelope.payload.0);
    }
}

/// The values of the extension 1.3.6.1.4.1.11129.2.4.2, found by its bytes.
fn sct_lists(der: &[u8]) -> Vec<&[u8]> {
    const OID: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];
    let starts = der.windows(OID.len()).enumerate().filter(|(_, window)| *window == OID);
    // The octet string around the value: a tag, and a length in one byte below 128 or in two above.
    let value = |at: usize| match der.get(at + OID.len()..)? {
        [0x04, 0x81, len, rest @ ..] | [0x04, len, rest @ ..] => rest.get(..usize::from(*len)),
        _ => None,
    };
    starts.filter_map(|(at, _)| value(at)).collect()
}

fn layer_seeds(seeds: &mut Seeds, manifest: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return };
    for layer in manifest.layers.iter().filter(|layer| matches!(Layer::parse(layer), Ok(Some(_)))) {
        let payload = r#"{"critical":{"identity":{"docker-reference":"r.io/a"},"image":{"docker-manifest-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"type":"cosign container image signature"},"optional":null}"#;
        let descriptor = serde_json::to_string(layer).unwrap_or_default();
        add(seeds, "cosign_layer", format!("{descriptor}\n\n{payload}").as_bytes());
    }
}
