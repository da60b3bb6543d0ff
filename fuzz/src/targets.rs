//! One function for each format that strangers can hand us. They must neither panic nor hang nor take memory out of proportion,
//! whatever the bytes; some also say what must be true of everything that is accepted.

use std::{hint::black_box, sync::LazyLock};

use jiff::Timestamp;
use vidimus::inspect;
use vidimus_core::{
    Digest, Reference, Repository,
    bundle::Bundle,
    checkpoint::{Checkpoint, Note},
    cosign::{Layer, Payload},
    dsse::Envelope,
    encoding, fulcio,
    intoto::Statement,
    jsonl,
    oci::{Descriptor, Document, Raw, ReferrerList, merge_referrers},
    rekor::{Body, LogEntriesV1},
    trust::{ClientTrustConfig, SigningConfig, TrustedRoot},
};
use vidimus_verify::{Artifact, Pattern, Policy, PublicKey, SignedEntity, TrustRoot, fuzzing, verify};

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Target] = &[
    ("bundle", bundle),
    ("certificate", certificate),
    ("cosign_layer", cosign_layer),
    ("dsse", dsse),
    ("inspect", inspect_anything),
    ("jsonl", json_lines),
    ("key", key),
    ("note", note),
    ("oci", oci),
    ("pattern", pattern),
    ("reference", reference),
    ("rekor", rekor),
    ("sct", sct),
    ("timestamp", timestamp),
    ("trusted_root", trusted_root),
    ("tuf", tuf),
];

/// Runs a target.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = ALL.iter().find(|(target, _)| *target == name).expect("the name of a target");
    target(data);
}

/// A trust root that knows the logs and authorities of the seeds, so that fuzzing gets past the lookup of a log.
static TRUST: LazyLock<Vec<TrustRoot>> = LazyLock::new(|| {
    let roots: [&[u8]; 3] = [
        include_bytes!("../../testdata/wire/trusted_root.json"),
        include_bytes!("../../testdata/public/roots/production.json"),
        include_bytes!("../../testdata/public/roots/staging.json"),
    ];
    roots.iter().filter_map(|root| TrustRoot::new(&TrustedRoot::from_json(root).ok()?).ok()).collect()
});

/// A moment after all seeds.
fn now() -> Timestamp {
    Timestamp::from_second(1_795_305_600).unwrap_or(Timestamp::MAX)
}

fn judge(entity: &SignedEntity) {
    let artifact = Artifact::bytes(b"artifact");
    let policies = [Policy::unsafe_any_signer(), Policy::unsafe_any_signer().unsafe_without_log().unsafe_without_sct()];
    for trust in TRUST.iter() {
        for policy in &policies {
            match verify(entity, &artifact, trust, policy, now()) {
                Ok(verified) => drop(black_box(serde_json::to_string(&verified))),
                Err(rejection) => drop(black_box((rejection.to_string(), rejection.hint(), serde_json::to_string(&rejection)))),
            }
        }
    }
}

fn bundle(data: &[u8]) {
    let Ok(bundle) = Bundle::from_json(data) else { return };
    assert_eq!(Bundle::from_json(&bundle.to_json()).as_ref(), Ok(&bundle), "what is written is read again");
    if let Ok(entity) = SignedEntity::from_bundle(bundle) {
        judge(&entity);
    }
}

fn certificate(data: &[u8]) {
    fuzzing::certificate(data);
    black_box(inspect::documents(data, Some(inspect::Kind::Certificate)).is_ok());
    // The first byte chooses a claim, the rest is its value.
    if let Some((arc, value)) = data.split_first()
        && let Some(claim) = fulcio::Extension::ALL.get(usize::from(*arc) % fulcio::Extension::ALL.len())
        && let Ok(text) = claim.decode(value)
    {
        assert_eq!(claim.encode(&text).and_then(|der| claim.decode(&der)), Ok(text));
    }
}

fn cosign_layer(data: &[u8]) {
    black_box(Payload::parse(data).is_ok());
    if let Ok(entity) = SignedEntity::from_cosign_blob_bundle(data) {
        judge(&entity);
    }
    // A descriptor with annotations, an empty line, and the layer's bytes.
    let split = data.windows(2).position(|w| w == b"\n\n").unwrap_or(data.len());
    let (descriptor, content) = (&data[..split], data.get(split + 2..).unwrap_or_default());
    let Ok(descriptor) = serde_json::from_slice::<Descriptor>(descriptor) else { return };
    if let Ok(Some(layer)) = Layer::parse(&descriptor) {
        assert_eq!(Layer::parse(&layer.descriptor(content)), Ok(Some(layer.clone())));
        if let Ok(entity) = SignedEntity::from_cosign_layer(&layer, content) {
            judge(&entity);
        }
    }
}

fn dsse(data: &[u8]) {
    black_box(Statement::from_json(data).map(|s| (s.predicate_json().len(), s.is_about(&Digest::sha256(b"")))).is_ok());
    if let Ok(envelope) = Envelope::from_json(data) {
        black_box((envelope.pae().len(), Statement::from_envelope(&envelope).is_ok()));
    }
    if let Ok(entity) = SignedEntity::detached_envelope(data) {
        judge(&entity);
    }
}

fn inspect_anything(data: &[u8]) {
    let Ok(documents) = inspect::documents(data, None) else { return };
    let inspection = inspect::Inspection::new("fuzz", documents);
    let (mut text, mut json) = (Vec::new(), Vec::new());
    inspect::text::render(&inspection, &mut text).expect("writing to memory does not fail");
    inspect::json::render(&inspection, &mut json).expect("writing to memory does not fail");
    let clean = |c: char| !c.is_control() || c == '\n';
    assert!(String::from_utf8(text).is_ok_and(|text| text.chars().all(clean)), "nothing that a terminal obeys");
    assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "JSON is JSON");
}

fn json_lines(data: &[u8]) {
    black_box((jsonl::bundles(data).is_ok(), jsonl::trusted_roots(data).is_ok()));
    if let Ok(documents) = jsonl::documents("JSON", data) {
        let written = jsonl::write(&documents);
        assert_eq!(jsonl::documents("JSON", &written).map(|d| d.len()), Ok(documents.len()));
    }
}

fn key(data: &[u8]) {
    if let Ok(key) = PublicKey::from_pem_or_der(data) {
        black_box((key.to_string(), key.fingerprint()));
        assert_eq!(PublicKey::from_spki(key.spki()), Ok(key));
    }
    black_box(PublicKey::from_pkcs1(data).is_ok());
    if let Ok(blocks) = std::str::from_utf8(data).map(encoding::pem_blocks) {
        black_box(blocks.is_ok());
    }
}

fn note(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(note) = Note::parse(text) {
        assert_eq!(Note::parse(&note.to_string()).as_ref(), Ok(&note));
        if let Ok(checkpoint) = note.checkpoint() {
            assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
        }
    }
}

fn oci(data: &[u8]) {
    if let Ok(document) = Raw::<Document>::parse(data.to_vec(), None) {
        black_box(document.subject().is_some());
    }
    if let Ok(list) = ReferrerList::parse(data) {
        black_box(list.entries.len());
    }
    let new = [Descriptor::of("application/x", b"x")];
    if let Ok(merged) = merge_referrers(Some(data), &new) {
        assert_eq!(merge_referrers(Some(&merged), &new), Ok(merged.clone()), "merging twice is merging once");
    }
}

fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, subject) = text.split_once('\n').unwrap_or((text, "https://github.com/acme/app"));
    if let Ok(pattern) = Pattern::regex(pattern) {
        black_box((pattern.matches(subject), pattern.is_unanchored(), pattern.to_string()));
    }
}

fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()), "what is shown means the same");
        black_box((reference.tag_or_latest(), reference.repository().host()));
    }
    if let Ok(repository) = text.parse::<Repository>() {
        assert_eq!(repository.to_string().parse(), Ok(repository));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
}

fn rekor(data: &[u8]) {
    if let Ok(body) = Body::parse(data) {
        black_box(body.kind_version());
    }
    if let Ok(entries) = serde_json::from_slice::<LogEntriesV1>(data) {
        black_box(entries.values().filter(|entry| entry.to_tlog_entry().is_ok()).count());
    }
}

fn sct(data: &[u8]) {
    fuzzing::scts(data);
    black_box(inspect::documents(data, Some(inspect::Kind::SctList)).is_ok());
}

fn timestamp(data: &[u8]) {
    fuzzing::timestamp(data);
    black_box(inspect::documents(data, Some(inspect::Kind::Timestamp)).is_ok());
}

fn trusted_root(data: &[u8]) {
    if let Ok(root) = TrustedRoot::from_json(data) {
        black_box(TrustRoot::new(&root).map(|trust| trust.unusable().len()).is_ok());
    }
    black_box((SigningConfig::from_json(data).is_ok(), ClientTrustConfig::from_json(data).is_ok()));
}

fn tuf(data: &[u8]) {
    // Two documents, one after the other: the root that is trusted, and what a repository answers.
    let split = data.windows(2).position(|w| w == b"\n\n").unwrap_or(data.len());
    let (root, next) = (&data[..split], data.get(split + 2..).unwrap_or_default());
    vidimus::net::fuzzing::tuf(root, next, now());
}
