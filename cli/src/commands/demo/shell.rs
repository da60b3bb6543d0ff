//! Runs commands of this program in an environment that knows nothing but the demo's Sigstore.

use std::{
    ffi::OsString,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::sigstore::Sigstore;
use crate::exit::Failure;

/// Variables of the user's that change nothing but how things look or where programs are.
const KEPT: [&str; 6] = ["LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TERM", "TMPDIR"];
/// More than any step writes.
const OUTPUT: u64 = 4 << 20;

/// A working directory and an environment.
pub(super) struct Shell {
    program: PathBuf,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// What a command wrote, stdout and stderr in the order in which it wrote them, and how it ended.
pub(super) struct Output {
    pub(super) text: String,
    pub(super) code: i32,
}

impl Shell {
    /// A shell for somebody, whose identity token is in its environment.
    pub(super) fn new(sigstore: &Sigstore, email: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|e| Failure::undetermined(format!("where this program is: {e}")))?;
        let directory = sigstore.work_dir();
        let mut environment: Vec<(OsString, OsString)> =
            KEPT.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect();
        let mut set = |name: &str, value: OsString| environment.push((name.into(), value));
        set("HOME", directory.clone().into());
        set("DOCKER_CONFIG", directory.join("docker").into());
        set("TUF_ROOT", directory.join("sigstore-root").into());
        set("NO_COLOR", "1".into());
        set("SIGSTORE_ID_TOKEN", sigstore.token(email)?.into());
        Ok(Self { program, directory, environment })
    }

    /// Runs one command line.
    pub(super) fn run(&self, line: &[&str]) -> Result<Output, Failure> {
        let failed = |e: std::io::Error| Failure::undetermined(format!("running vidimus {}: {e}", quoted(line)));
        let (mut reader, writer) = std::io::pipe().map_err(failed)?;
        let mut child = Command::new(&self.program)
            .args(line)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer)
            .spawn()
            .map_err(failed)?;
        let mut text = Vec::new();
        reader.by_ref().take(OUTPUT).read_to_end(&mut text).map_err(failed)?;
        drop(reader);
        let status = child.wait().map_err(failed)?;
        // A process that a signal ended has no code; no step expects that.
        Ok(Output { text: String::from_utf8_lossy(&text).into_owned(), code: status.code().unwrap_or(-1) })
    }
}

/// A command line as one would type it.
pub(super) fn quoted(line: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+%".contains(c);
    let word = |word: &&str| match !word.is_empty() && word.chars().all(plain) {
        true => (*word).to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    line.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_typed_as_shown() {
        assert_eq!(quoted(&["verify", "h:1/a@sha256:00", "a b", "it's", ""]), r"verify h:1/a@sha256:00 'a b' 'it'\''s' ''");
    }
}
