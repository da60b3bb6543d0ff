//! A repository that two people keep, as the clients of others read it: from its first root on, through every change of keys.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    peer::find,
    sandbox::{SIGNER, Sandbox},
};

const PEERS: [&str; 5] = ["cosign", "cosign2", "sigstore-python", "sigstore-js", "python-tuf"];

#[test]
fn old_clients_follow_from_the_first_root_through_every_rotation() {
    let Some(peers) = PEERS.map(find).into_iter().collect::<Option<Vec<_>>>() else { return };
    let sandbox = Sandbox::start();
    let run = |line: &str| sandbox.vidimus(&line.split_whitespace().collect::<Vec<_>>());
    // One key of each kind; the one of the machine changes its kind, too.
    for (name, kind) in
        [("ann", "ecdsa-p256"), ("bob", "ed25519"), ("cleo", "rsa-pss"), ("ann2", "rsa-pss"), ("cleo2", "ecdsa-p256")]
    {
        run(&format!("tuf key generate {name} --type {kind}")).ok();
    }
    run("tuf key generate online --type ecdsa-p256").ok();
    run("tuf key generate online2 --type ed25519").ok();
    run("tuf init --dir repo --root-key ann.pub --root-key bob.pub --threshold root=2 --targets-key ann.pub \
         --snapshot-key online.pub --timestamp-key online.pub")
    .ok();
    add_targets(&sandbox);
    run("tuf sign --dir repo --key ann").ok();
    by_file(&sandbox, "bob", "");
    run("tuf publish --dir repo --key online").ok();
    let server = Served::start(&sandbox);
    let first = sandbox.arg("repo/published/1.root.json");
    fs::copy(&first, sandbox.path("first.json")).expect("the first root");
    let first = sandbox.arg("first.json");
    meet(&sandbox, &peers, &server.url, &first);
    follow(&sandbox, &peers, &server.url, &first, "v1");

    let id = |name: &str| run(&format!("tuf key id {name}")).stdout().trim().to_owned();
    run(&format!("tuf rotate --dir repo {} cleo.pub", id("bob"))).ok();
    run("tuf sign --dir repo --key ann").ok();
    by_file(&sandbox, "bob", &format!("--root {first}"));
    by_file(&sandbox, "cleo", "");
    run("tuf publish --dir repo --key online").ok();
    follow(&sandbox, &peers, &server.url, &first, "v2");

    for (old, new) in [("ann", "ann2"), ("cleo", "cleo2"), ("online", "online2")] {
        run(&format!("tuf rotate --dir repo {} {new}.pub", id(old))).ok();
    }
    run("tuf renew targets --dir repo").ok();
    run("tuf sign --dir repo --key ann --key ann2 --key cleo --key cleo2").ok();
    run("tuf publish --dir repo --key online2").ok();
    follow(&sandbox, &peers, &server.url, &first, "v3");

    // What everybody has to refuse: the repository of somebody else under the same address.
    let forged = fs::read(sandbox.path("stack/tuf/timestamp.json")).expect("another timestamp");
    fs::write(sandbox.path("repo/published/timestamp.json"), forged).expect("putting it in place");
    let tuf = ["--metadata-dir", &sandbox.arg("tuf"), "--metadata-url", &server.url, "refresh"];
    assert!(!sandbox.peer(&peers[4], &tuf).is_ok());
    assert!(!run(&format!("tuf client {}", tuf.join(" "))).is_ok());
}

/// What the stack publishes, file by file, with what cosign 2 needs to find them by.
fn add_targets(sandbox: &Sandbox) {
    let public = sandbox.path("stack/public");
    for entry in fs::read_dir(public).expect("what the stack publishes") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let file = path.display().to_string();
        let usage = match name.as_str() {
            "trusted_root.json" | "signing_config.v0.2.json" => None,
            name if name.starts_with("fulcio") => Some("Fulcio"),
            name if name.starts_with("ctfe") => Some("CTFE"),
            name if name.starts_with("rekor") => Some("Rekor"),
            name if name.starts_with("tsa") => Some("TSA"),
            _ => continue,
        };
        let mut args = vec!["tuf", "target", "add", "--dir", "repo", &file];
        if let Some(usage) = usage {
            args.extend(["--usage", usage, "--uri", &sandbox.origin]);
        }
        sandbox.vidimus(&args).ok();
    }
}

/// A holder who has nothing but the file and the key.
fn by_file(sandbox: &Sandbox, holder: &str, flags: &str) {
    fs::create_dir_all(sandbox.path("elsewhere")).expect("a folder");
    fs::copy(sandbox.path("repo/staged/root.json"), sandbox.path("elsewhere/root.json")).expect("the staged root");
    let line = format!("tuf sign elsewhere/root.json --key {holder} {flags}");
    sandbox.vidimus(&line.split_whitespace().collect::<Vec<_>>()).ok();
    sandbox.vidimus(&["tuf", "import", "--dir", "repo", "elsewhere/root.json"]).ok();
}

/// Clients that keep state are told of the first root once, and never again.
fn meet(sandbox: &Sandbox, peers: &[std::path::PathBuf], mirror: &str, first: &str) {
    sandbox.peer(&peers[2], &["--instance", mirror, "trust-instance", first]).ok();
    sandbox.peer(&peers[4], &["--metadata-dir", &sandbox.arg("tuf"), "init", first]).ok();
    sandbox.vidimus(&["tuf", "client", "--metadata-dir", &sandbox.arg("ours"), "init", first]).ok();
    sandbox.vidimus(&["initialize", "--name", "kept", "--mirror", mirror, "--root", first]).ok();
}

/// Everybody comes to the newest state, those with old state and those with the first root only, and can work with it.
fn follow(sandbox: &Sandbox, peers: &[std::path::PathBuf], mirror: &str, first: &str, at: &str) {
    let text = sandbox.write(&format!("{at}.txt"), at.as_bytes());
    for cosign in &peers[..2] {
        sandbox.peer(cosign, &["initialize", "--mirror", mirror, "--root", first]).ok();
    }
    let token = sandbox.token.as_str();
    let bundle = |name: &str| sandbox.arg(&format!("{at}.{name}"));
    sandbox.peer(&peers[0], &["sign-blob", "--yes", "--identity-token", token, "--bundle", &bundle("cosign"), &text]).ok();
    sandbox
        .peer(&peers[2], &["--instance", mirror, "sign", "--identity-token", token, "--bundle", &bundle("python"), &text])
        .ok();
    let (cache, js) = (sandbox.arg("js"), bundle("js"));
    let trust = ["--tuf-mirror", mirror, "--tuf-root", first, "--tuf-cache", &cache];
    sandbox.peer(&peers[3], &[&["sign", "--token", token][..], &trust, &["--bundle", &js, &text]].concat()).ok();
    for signer in ["cosign", "python", "js"] {
        let who = ["--certificate-identity", SIGNER, "--certificate-oidc-issuer", &sandbox.origin];
        let bundle = bundle(signer);
        let verify = [&["verify-blob", "--instance", "kept", "--bundle", &bundle][..], &who, &[&text]].concat();
        sandbox.vidimus(&verify).ok();
    }
    let base = format!("{mirror}/targets");
    for (ours, metadata) in [(true, sandbox.arg("ours")), (false, sandbox.arg("tuf"))] {
        let targets = sandbox.arg(&format!("targets-{at}-{ours}"));
        fs::create_dir_all(&targets).expect("a folder");
        let flags = ["--metadata-dir", &metadata, "--metadata-url", mirror, "--target-name", "trusted_root.json"];
        let flags = [&flags[..], &["--target-dir", &targets, "--target-base-url", &base, "download"]].concat();
        match ours {
            true => sandbox.vidimus(&[&["tuf", "client"][..], &flags].concat()).ok(),
            false => sandbox.peer(&peers[4], &flags).ok(),
        }
        let same = |file: &Path| fs::read(file).ok() == fs::read(sandbox.path("stack/public/trusted_root.json")).ok();
        assert!(same(&Path::new(&targets).join("trusted_root.json")), "{targets}");
    }
    let root = |dir: &str| fs::read(sandbox.path(dir).join("root.json")).expect("a trusted root");
    assert_eq!(root("ours"), fs::read(sandbox.path("repo/published/root.json")).expect("the newest root"));
    assert_eq!(root("ours"), root("tuf"), "python-tuf trusts another root");
}

/// `tuf serve`.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(sandbox: &Sandbox) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidimus"));
        command.args(["tuf", "serve", "--dir"]).arg(sandbox.path("repo"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("vidimus starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut ready).expect("a ready line");
        let url = ready.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {ready:?}")).to_owned();
        Self { child, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
