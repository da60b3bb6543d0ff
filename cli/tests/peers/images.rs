//! Images: signed and attested here, judged there, on a registry with the referrers API and on one without.

use std::path::PathBuf;

use crate::{
    peer,
    sandbox::{SIGNER, Sandbox},
};

const PREDICATE: &[u8] = br#"{"builder":{"id":"https://localhost/dummy-id"},"buildType":"https://example.com/tekton-pipeline","invocation":{},"buildConfig":{},"metadata":{"completeness":{"parameters":false,"environment":false,"materials":false},"reproducible":false},"materials":[]}"#;

struct Peers {
    cosign: PathBuf,
    cosign2: PathBuf,
    crane: PathBuf,
    docker_registry: PathBuf,
}

impl Peers {
    fn find() -> Option<Self> {
        Some(Self {
            cosign: peer::find("cosign")?,
            cosign2: peer::find("cosign2")?,
            crane: peer::find("crane")?,
            docker_registry: peer::find("docker-registry")?,
        })
    }
}

/// An image with some content of its own; its reference by digest.
fn push_image(sandbox: &Sandbox, peers: &Peers, reference: &str) -> String {
    let mut layer = tar_file("hello.txt", reference.as_bytes());
    layer.resize(layer.len() + 1024, 0);
    let layer = sandbox.write("layer.tar", &layer);
    sandbox.peer(&peers.crane, &["append", "--insecure", "-f", &layer, "-t", reference]).ok();
    let digest = sandbox.peer(&peers.crane, &["digest", "--insecure", reference]).stdout();
    let (repository, _) = reference.rsplit_once(':').expect("a tag");
    format!("{repository}@{}", digest.trim())
}

/// One file in the format of POSIX 1003.1 (ustar), without the end of the archive.
fn tar_file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", content.len()));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

#[test]
fn images_on_both_kinds_of_registry() {
    let Some(peers) = Peers::find() else { return };
    let mut sandbox = Sandbox::start();
    let predicate = sandbox.write("predicate.json", PREDICATE);
    let old_registry = sandbox.docker_registry(&peers.docker_registry);
    sandbox.vidimus(&["initialize"]).ok();
    let (mirror, root) = (format!("{}/tuf", sandbox.origin), sandbox.public("root.json"));
    for cosign in [&peers.cosign2, &peers.cosign] {
        sandbox.peer(cosign, &["initialize", "--mirror", &mirror, "--root", &root]).ok();
    }
    for registry in [sandbox.registry().to_owned(), old_registry] {
        ours(&sandbox, &peers, &registry, &predicate);
        cosign_3(&sandbox, &peers, &registry, &predicate);
        cosign_2(&sandbox, &peers, &registry, &predicate);
    }
}

/// Ours are accepted by us and by cosign 3; the wrong signer by neither.
fn ours(sandbox: &Sandbox, peers: &Peers, registry: &str, predicate: &str) {
    let image = push_image(sandbox, peers, &format!("{registry}/ours:1"));
    sandbox.vidimus(&["sign", "-y", &image]).ok();
    sandbox.vidimus(&["attest", "-y", "--predicate", predicate, "--type", "slsaprovenance", &image]).ok();
    accepted_by_us(sandbox, &image);
    let whom = whom(sandbox, SIGNER);
    sandbox.peer(&peers.cosign, &with(&["verify"], &whom, &image)).ok();
    sandbox.peer(&peers.cosign, &with(&["verify-attestation", "--type", "slsaprovenance"], &whom, &image)).ok();
    let eve = self::whom(sandbox, "eve@example.com");
    sandbox.vidimus(&with(&["verify"], &eve, &image)).refused(SIGNER);
    sandbox.peer(&peers.cosign, &with(&["verify"], &eve, &image)).refused(SIGNER);
    let tree = sandbox.vidimus(&["tree", &image]).stdout();
    assert_eq!(tree.matches("via OCI referrer").count(), 2, "{tree}");
}

fn cosign_3(sandbox: &Sandbox, peers: &Peers, registry: &str, predicate: &str) {
    let image = push_image(sandbox, peers, &format!("{registry}/cosign3:1"));
    let token = ["--yes", "--identity-token", &sandbox.token];
    sandbox.peer(&peers.cosign, &[&["sign"], &token[..], &[&image]].concat()).ok();
    let what = ["attest", "--predicate", predicate, "--type", "slsaprovenance"];
    sandbox.peer(&peers.cosign, &[&what[..], &token[..], &[&image]].concat()).ok();
    accepted_by_us(sandbox, &image);
}

/// cosign 2 writes `.sig` and `.att` tags.
fn cosign_2(sandbox: &Sandbox, peers: &Peers, registry: &str, predicate: &str) {
    let image = push_image(sandbox, peers, &format!("{registry}/cosign2:1"));
    let services = ["--fulcio-url", &sandbox.origin, "--rekor-url", &sandbox.origin, "--yes", "--identity-token", &sandbox.token];
    sandbox.peer(&peers.cosign2, &[&["sign"], &services[..], &[&image]].concat()).ok();
    for entry in ["dsse", "intoto"] {
        let what = ["attest", "--predicate", predicate, "--type", "slsaprovenance", "--rekor-entry-type", entry];
        sandbox.peer(&peers.cosign2, &[&what[..], &services[..], &[&image]].concat()).ok();
    }
    accepted_by_us(sandbox, &image);
    let tree = sandbox.vidimus(&["tree", &image]).stdout();
    assert!(tree.contains("🔐 Signatures for an image tag:") && tree.contains("💾 Attestations for an image tag:"), "{tree}");
}

fn accepted_by_us(sandbox: &Sandbox, image: &str) {
    let whom = whom(sandbox, SIGNER);
    sandbox.vidimus(&with(&["verify"], &whom, image)).ok();
    sandbox.vidimus(&with(&["verify-attestation", "--type", "slsaprovenance"], &whom, image)).ok();
    let judged = ["validate", "image", "--certificate-identity-regexp", SIGNER, "--certificate-oidc-issuer-regexp", "127.0.0.1"];
    let report = sandbox.vidimus(&[&judged[..], &["--output", "yaml", "--show-successes", "--image", image]].concat()).stdout();
    for code in ["builtin.attestation.signature_check", "builtin.attestation.syntax_check", "builtin.image.signature_check"] {
        assert!(report.contains(&format!("code: {code}\n")), "{report}");
    }
    assert!(report.ends_with("success: true\n"), "{report}");
}

fn whom(sandbox: &Sandbox, identity: &str) -> [String; 4] {
    ["--certificate-identity", identity, "--certificate-oidc-issuer", &sandbox.origin].map(str::to_owned)
}

fn with<'a>(command: &[&'a str], flags: &'a [String], image: &'a str) -> Vec<&'a str> {
    command.iter().copied().chain(flags.iter().map(String::as_str)).chain([image]).collect()
}
