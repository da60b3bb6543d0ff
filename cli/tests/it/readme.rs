//! The README's commands, typed as they stand there: every block marked `sh run`, in order, in one shell.

use std::process::Command;

use crate::sandbox::Sandbox;

#[test]
fn the_commands_of_the_readme_work() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let blocks: Vec<_> = text.split("```sh run\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "no block is marked `sh run`");
    let sandbox = Sandbox::bare();
    let bin = sandbox.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vidimus"), bin.join("vidimus")).unwrap();
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
    assert!(stdout.contains("success: true") && stderr.contains("Verified OK"), "--- stdout\n{stdout}\n--- stderr\n{stderr}");
}
