//! The commands of the documents, typed as they stand there: every block marked `sh run`, in order, in one shell; those marked
//! `sh cosign` too, where the real cosign is installed.

use std::process::Command;

use crate::sandbox::Sandbox;

#[test]
fn the_commands_of_the_readme_work() {
    let (stdout, stderr) = run("README.md");
    assert!(stdout.contains("success: true") && stderr.contains("Verified OK"), "--- stdout\n{stdout}\n--- stderr\n{stderr}");
}

#[test]
fn the_ceremony_of_the_manual_works() {
    let (stdout, stderr) = run("docs/tuf.md");
    for words in ["published root 2, targets 1, snapshot 2, timestamp 2", "root 3, timestamp 3, snapshot 3, targets 2"] {
        assert!(stderr.contains(words), "{words:?} is missing\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    }
}

/// Runs a document, and gives what it printed.
fn run(document: &str) -> (String, String) {
    let text = std::fs::read_to_string(format!("{}/../{document}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let cosign = cosign();
    let fences = text.split("```sh ").skip(1).filter_map(|rest| rest.split("```").next().unwrap().split_once('\n'));
    let blocks: Vec<_> =
        fences.filter(|(kind, _)| *kind == "run" || *kind == "cosign" && cosign.is_some()).map(|(_, block)| block).collect();
    assert!(!blocks.is_empty(), "no block of {document} is marked `sh run`");
    let sandbox = Sandbox::bare();
    let bin = sandbox.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vidimus"), bin.join("vidimus")).unwrap();
    if let Some(cosign) = cosign {
        std::os::unix::fs::symlink(cosign, bin.join("cosign")).unwrap();
    }
    // What was started in the background ends with the shell, also when a command fails half-way.
    let script = format!("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", blocks.join("\n"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(sandbox.path())
        .env_clear()
        .env("HOME", sandbox.path())
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    (stdout.into_owned(), stderr.into_owned())
}

/// The real cosign, as `scripts/peers` installs it.
fn cosign() -> Option<std::path::PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers").into();
    let path = std::env::var_os("VIDIMUS_PEERS").map_or(default, std::path::PathBuf::from).join("bin/cosign");
    if path.exists() {
        return path.canonicalize().ok();
    }
    assert!(std::env::var_os("VIDIMUS_REQUIRE_PEERS").is_none(), "cosign is missing: run scripts/peers");
    eprintln!("skipped in part: needs cosign (scripts/peers installs it)");
    None
}
