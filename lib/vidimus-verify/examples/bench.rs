//! How much a verification costs beyond its own signature checks.
//!
//! For a bundle of Rekor v1 (4 ECDSA P-256, 1 P-384) and one of Rekor v2 (2 P-256, 2 P-384, 1 Ed25519) from public instances, times
//! "parse the bundle and verify it", "these signature checks alone, with parsed keys over messages as long" and the published
//! `sigstore-verify` in alternation, in one thread, by CPU time, and prints medians and their ratios. Trust roots are prepared once.
//! Only ratios of one run mean anything.
//!
//! `cargo run --release -p vidimus-verify --example bench`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing to say")]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey},
};
use jiff::Timestamp;
use sigstore_verify::{VerificationPolicy, Verifier, types::Sha256Hash};
use vidimus_core::{
    Digest,
    bundle::{Bundle, Content, Signer},
    trust::TrustedRoot,
};
use vidimus_verify::{Artifact, Policy, SignedEntity, TrustRoot, verify};

const ROUNDS: usize = 15;
const PER_ROUND: usize = 300;
/// Bytes of a checkpoint or of a timestamp's signed attributes, about.
const SHORT: usize = 180;

fn main() {
    let a_txt = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf".parse::<Digest>().unwrap();
    compare("Rekor v1, bundle 0.3", "happy-path", "production", &a_txt, |sizes| {
        // Envelope, SCT, promise, checkpoint; certificate.
        vec![p256(sizes.payload), p256(sizes.certificate), p256(sizes.promise), p256(SHORT), p384(sizes.certificate)]
    });
    compare("Rekor v2, bundle 0.3", "staging-rekor2-dsse", "staging", &a_txt, |sizes| {
        // Envelope, SCT; certificate, timestamp; checkpoint.
        vec![p256(sizes.payload), p256(sizes.certificate), p384(sizes.certificate), p384(SHORT), ed25519(SHORT)]
    });
}

/// How long the messages are that a bundle's signatures are over.
struct Sizes {
    payload: usize,
    certificate: usize,
    promise: usize,
}

impl Sizes {
    fn of(bundle: &Bundle) -> Self {
        let payload = match bundle.content().unwrap() {
            Content::Dsse(envelope) => envelope.payload.0.len(),
            Content::Message(_) => 0,
        };
        let Signer::Certificates(chain) = bundle.verification_material.signer().unwrap() else { panic!("no certificate") };
        let body = &bundle.verification_material.tlog_entries[0].canonicalized_body.0;
        Self { payload, certificate: chain[0].len(), promise: body.len() * 4 / 3 }
    }
}

/// A signature check: a parsed key, a message and its signature.
type Check = (ParsedPublicKey, Vec<u8>, Vec<u8>);

fn compare(what: &str, bundle: &str, root: &str, digest: &Digest, checks: impl Fn(Sizes) -> Vec<Check>) {
    let trust = TrustRoot::new(&TrustedRoot::from_json(&file(&format!("roots/{root}.json"))).unwrap()).unwrap();
    let json = file(&format!("{bundle}.sigstore.json"));
    let (policy, now) = (Policy::unsafe_any_signer(), Timestamp::now());
    let engine = || {
        let entity = SignedEntity::from_bundle(Bundle::from_json(&json).unwrap()).unwrap();
        verify(&entity, &Artifact::digest(digest.clone()), &trust, &policy, now).unwrap();
    };
    let peer = peer(root, &json, digest);
    let checks = checks(Sizes::of(&Bundle::from_json(&json).unwrap()));
    let raw = || checks.iter().for_each(|(key, message, signature)| key.verify_sig(message, signature).unwrap());
    let (mut engines, mut raws, mut ratios, mut peers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (e, r, p) = (time(engine), time(raw), time(&peer));
        engines.push(e);
        raws.push(r);
        ratios.push(e / r);
        peers.push(p / r);
    }
    println!(
        "{what}: engine {:.0} us, its signature checks alone {:.0} us, ratio {:.3} (from {:.3} to {:.3}); sigstore-verify {:.3}",
        median(&mut engines),
        median(&mut raws),
        median(&mut ratios),
        ratios[0],
        ratios[ROUNDS - 1],
        median(&mut peers)
    );
}

/// The same question for `sigstore-verify`: no identity is asked for.
fn peer(root: &str, json: &[u8], digest: &Digest) -> impl Fn() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let root = sigstore_verify::trust_root::TrustedRoot::from_json(&text(file(&format!("roots/{root}.json")))).unwrap();
    let (verifier, json) = (Verifier::new(&root).unwrap(), text(json.to_vec()));
    let (policy, digest) = (VerificationPolicy::any_identity(), Sha256Hash::from_hex(&digest.hex()).unwrap());
    move || {
        let bundle = sigstore_verify::types::Bundle::from_json(&json).unwrap();
        verifier.verify(digest, &bundle, &policy).unwrap();
    }
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../testdata/public/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn p256(len: usize) -> Check {
    ecdsa(&lc::ECDSA_P256_SHA256_ASN1_SIGNING, &lc::ECDSA_P256_SHA256_ASN1, len)
}

fn p384(len: usize) -> Check {
    ecdsa(&lc::ECDSA_P384_SHA384_ASN1_SIGNING, &lc::ECDSA_P384_SHA384_ASN1, len)
}

fn ecdsa(signing: &'static lc::EcdsaSigningAlgorithm, verifying: &'static lc::EcdsaVerificationAlgorithm, len: usize) -> Check {
    let (pair, message) = (EcdsaKeyPair::generate(signing).unwrap(), vec![7; len]);
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec();
    (ParsedPublicKey::new(verifying, pair.public_key().as_ref()).unwrap(), message, signature)
}

fn ed25519(len: usize) -> Check {
    let (pair, message) = (Ed25519KeyPair::generate().unwrap(), vec![7; len]);
    let signature = pair.sign(&message).as_ref().to_vec();
    (ParsedPublicKey::new(&lc::ED25519, pair.public_key().as_ref()).unwrap(), message, signature)
}

/// Microseconds of CPU for one call.
fn time(mut call: impl FnMut()) -> f64 {
    call();
    let start = cpu_nanoseconds();
    (0..PER_ROUND).for_each(|_| call());
    let spent = u32::try_from((cpu_nanoseconds() - start) / 1_000).unwrap();
    f64::from(spent) / f64::from(u32::try_from(PER_ROUND).unwrap())
}

/// The CPU time of this thread so far, as Linux accounts for it.
fn cpu_nanoseconds() -> u64 {
    // Giving up the processor makes the kernel bring the account up to date.
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
