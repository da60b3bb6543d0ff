//! `tuf` and the instances of `initialize`: what they refuse and how they end. The ceremony itself is in docs/tuf.md, which a test runs.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::sandbox::{Sandbox, stack};

/// A repository that one person keeps with one key, published, with the shared Sigstore's trust as targets.
fn repository(sandbox: &Sandbox) {
    stack().export(sandbox.path()).unwrap();
    sandbox.run("tuf key generate one").exits(0);
    sandbox
        .run("tuf init --dir repo --root-key one.pub --targets-key one.pub --snapshot-key one.pub --timestamp-key one.pub")
        .exits(0);
    for name in ["trusted_root.json", "signing_config.v0.2.json"] {
        sandbox.run(&format!("tuf target add --dir repo {name}")).exits(0).says("staged targets 1");
    }
    sandbox.run("tuf sign --dir repo --key one").exits(0);
    sandbox.run("tuf publish --dir repo --key one").exits(0).says("published root 1, targets 1, snapshot 1, timestamp 1");
}

#[test]
fn refusals_name_the_file_the_role_or_the_key_and_the_way_out() {
    let sandbox = Sandbox::bare();
    sandbox.run("tuf show --dir repo").exits(2).says("there is no TUF repository").says("`tuf init` begins one");
    repository(&sandbox);
    let id = sandbox.run("tuf key id one.pub").exits(0).stdout.trim().to_owned();
    sandbox.run("tuf key generate one").exits(2).says("never overwritten");
    sandbox.run("tuf key generate two --type ed25519").exits(0);
    sandbox.run("tuf sign --dir repo --key one").exits(2).says("nothing is staged");
    sandbox
        .run("tuf key add --dir repo root two.pub --threshold 3")
        .exits(2)
        .says("the role root: 3 signatures cannot come from 2 keys");
    sandbox.run("tuf key remove --dir repo root ffffffff").exits(2).says("the role root has no key ffffffff").says(&id);
    sandbox.run("tuf target remove --dir repo none").exits(2).says("no target \"none\"");
    sandbox.run("tuf target add --dir repo one.pub --name ../x").exits(2).says("cannot be the name of a target");
    sandbox.run("tuf target add --dir repo one.pub --custom []").exits(2).says("not a JSON object");

    sandbox.run("tuf key add --dir repo root two.pub --threshold 2").exits(0).says("staged root 2");
    sandbox.run("tuf sign --dir repo --key one").exits(0);
    let refused =
        sandbox.run("tuf publish --dir repo --key one").exits(1).says("root 2: 1 of the 2 signatures that root 2 itself");
    refused.says(sandbox.run("tuf key id two").stdout.trim()).says("hint: the holders of these keys sign the staged root.json");
    sandbox.run("tuf key threshold --dir repo root 1").exits(0).says("1 signatures of its earlier draft are void");
    sandbox.run("tuf sign --dir repo --key two").exits(0);
    sandbox.run("tuf publish --dir repo --key one").exits(1).says("root 1, which clients trust now,").says(&id);
    sandbox.run("tuf publish --dir repo --key two").exits(1);

    let key = sandbox.path().join("two");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    sandbox.run("tuf sign --dir repo --key two").exits(2).says("two: readable by others (mode 644); run: chmod 600 two");
    sandbox.run("tuf sign --dir repo --key none").exits(2).says("none");
    sandbox.file("junk.json", "{}");
    sandbox.run("tuf import --dir repo junk.json").exits(3).says("junk.json");
    sandbox.run("tuf serve --dir repo --listen 0.0.0.0").exits(2).says("--expose");
    let shown = sandbox.run("tuf show --dir repo -o json").exits(0).json();
    assert_eq!((shown["publication"].as_u64(), shown["staged"][0]["version"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_directory_is_a_mirror_and_instances_lie_side_by_side() {
    let mut sandbox = Sandbox::bare();
    repository(&sandbox);
    sandbox.set("TUF_ROOT", sandbox.path().join("trust").display().to_string());
    let mirror = format!("file://{}", sandbox.path().join("repo/published").display());
    let first = sandbox.path().join("repo/published/1.root.json").display().to_string();
    sandbox
        .run(&format!("initialize --network=none --name ours --mirror {mirror} --root {first}"))
        .exits(0)
        .says("root version 1");
    sandbox.file("hello.txt", "hello");
    sandbox.set("SIGSTORE_ID_TOKEN", stack().token(crate::sandbox::JDOE).unwrap());
    sandbox.run("sign-blob -y --instance ours --bundle hello.bundle hello.txt").exits(0);
    let verify = |instance: &str| {
        sandbox.run(&format!("verify-blob --network=none {instance} --bundle hello.bundle {} hello.txt", sandbox.signer()))
    };
    verify("--instance ours").exits(0);
    verify(&format!("--instance {mirror}")).exits(0);
    // Without a network and without a cache, a public instance is what was built in, and says so.
    verify("").exits(1).says("trusting https://tuf-repo-cdn.sigstore.dev as it was").says("not in the trusted root");
    verify("--instance staging").exits(1).says("trusting https://tuf-repo-cdn.sigstage.dev as it was");
    verify("--instance nobodys").exits(2).says("ours, public-good, staging, github");
    sandbox.run("initialize --network=none --staging").exits(3).says("tuf-repo-cdn.sigstage.dev");
    // The names and the cache are only read: a home that cannot be written is no hindrance.
    fs::set_permissions(sandbox.path().join("trust"), fs::Permissions::from_mode(0o500)).unwrap();
    verify("--instance ours").exits(0);
    fs::set_permissions(sandbox.path().join("trust"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_conformance_protocol_ends_with_0_or_1() {
    let sandbox = Sandbox::bare();
    repository(&sandbox);
    let path = |name: &str| sandbox.path().join(name).display().to_string();
    let run = |line: &str| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/conformance-tuf");
        let mut command = Command::new(script);
        command.args(line.split_whitespace()).env("VIDIMUS", env!("CARGO_BIN_EXE_vidimus"));
        command.output().unwrap().status.code().unwrap()
    };
    let (meta, mirror, targets) = (path("meta"), path("repo/published"), path("targets"));
    let url = format!("file://{mirror}");
    let download = |name: &str| {
        let flags = format!("--metadata-url {url} --metadata-dir {meta} --target-name {name}");
        run(&format!("{flags} --target-dir {targets} --target-base-url {url}/targets download"))
    };
    assert_eq!(run(&format!("--metadata-url {url} --metadata-dir {meta} refresh")), 1, "nothing is trusted yet");
    assert_eq!(run(&format!("--metadata-dir {meta} init {}", path("one.pub"))), 1);
    assert_eq!(run(&format!("--metadata-dir {meta} init {mirror}/1.root.json")), 0);
    assert_eq!(fs::read(format!("{meta}/root.json")).unwrap(), fs::read(format!("{mirror}/1.root.json")).unwrap());
    assert!(!Path::new(&format!("{meta}/timestamp.json")).exists(), "init asks nobody");
    assert_eq!(run(&format!("--metadata-url {url} --metadata-dir {meta} refresh")), 0);
    assert_eq!(fs::read(format!("{meta}/timestamp.json")).unwrap(), fs::read(format!("{mirror}/timestamp.json")).unwrap());
    assert_eq!(download("trusted_root.json --target-name signing_config.v0.2.json"), 0);
    assert_eq!(fs::read(format!("{targets}/trusted_root.json")).unwrap(), sandbox.read("trusted_root.json").into_bytes());
    for line in ["", "refresh", "nonsense", "--metadata-dir", "--no-such-flag"] {
        assert_eq!(run(line), 1, "{line}");
    }
    assert_eq!(download("none"), 1);
}
