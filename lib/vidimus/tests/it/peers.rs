//! The real tools that some tests are judged by, as `scripts/peers` installs them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A tool with a home directory of its own.
pub(crate) struct Peer {
    program: PathBuf,
    home: TempDir,
}

impl Peer {
    /// The tool; `None`, and a word on stderr, if it is not installed. Where it must be (`VIDIMUS_REQUIRE_PEERS`), the test fails.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
        let program = std::env::var_os("VIDIMUS_PEERS").map_or_else(default, PathBuf::from).join("bin").join(name);
        if program.exists() {
            return Some(Self { program, home: tempfile::tempdir().unwrap() });
        }
        assert!(std::env::var_os("VIDIMUS_REQUIRE_PEERS").is_none(), "{name} is missing: run scripts/peers");
        eprintln!("skipped: needs {name} (scripts/peers installs it)");
        None
    }

    /// Its home, where it also runs.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs it and gives its stdout, or its stderr if it fails.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        self.run_with(&[], args)
    }

    /// As [`Self::run`], with some variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.program);
        // The keys that tests make have no password.
        command.args(args).env("HOME", self.home.path()).env("COSIGN_PASSWORD", "").current_dir(self.home.path());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs it and reads its stdout as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let stdout = self.run(args).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        serde_json::from_slice(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"))
    }
}

/// A file of `testdata`.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata")).join(path)
}
