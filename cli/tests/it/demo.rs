//! `demo`: ends well, shows everything, touches nothing.

use crate::sandbox::Sandbox;

#[test]
fn the_whole_chain_and_the_attacks() {
    let sandbox = Sandbox::bare();
    let ran = sandbox.run("demo").exits(0);
    for words in [
        "$ vidimus initialize --mirror",
        "$ vidimus sign -y",
        "$ vidimus attest -y --predicate predicate.json --type slsaprovenance",
        "📦 Supply Chain Security Related artifacts",
        "code: builtin.attestation.signature_check",
        "code: builtin.attestation.syntax_check",
        "code: builtin.image.signature_check",
        "policy: {}\nsuccess: true\n",
        "signed by mallory@example.com",
        "you asked for jdoe@example.com",
        "✕ [Violation] builtin.attestation.signature_check",
        "All 8 steps ended as they should",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is missing\n{ran}");
    }
    assert_eq!(std::fs::read_dir(sandbox.path()).unwrap().count(), 0, "the demo left something in the home directory");
}

#[test]
fn an_image_of_ones_own_from_a_layout() {
    use vidimus::net::oci::{Layout, TinyImage};
    let sandbox = Sandbox::bare();
    let layout = Layout::open_or_create(sandbox.path().join("layout")).unwrap();
    let image = TinyImage::new("own", b"own image").unwrap().write(&layout, Some("1")).unwrap();
    let ran = sandbox.run("demo --layout layout").exits(0);
    assert!(ran.stdout.contains(&image.digest.to_string()), "{ran}");
    sandbox.run("demo --layout no-such-layout").exits(2);
}

#[test]
fn keep_leaves_it_running() {
    let sandbox = Sandbox::bare();
    let ran = sandbox.run("demo --keep").exits(0);
    let dir = ran.stdout.lines().find_map(|l| l.trim().strip_prefix("vidimus stack down --dir ")).unwrap().to_owned();
    let status = sandbox.run(&format!("stack status --dir {dir}")).exits(0);
    let down = sandbox.run(&format!("stack down --dir {dir}"));
    std::fs::remove_dir_all(std::path::Path::new(&dir).parent().unwrap()).unwrap();
    assert!(status.stdout.contains("running"), "{status}");
    down.exits(0);
}
