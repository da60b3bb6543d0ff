//! The demo's Sigstore: in this process and gone with it, or with `--keep` in a process and a directory that stay.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::runtime::Runtime;
use vidimus_stack::stack::{self, Running, Stack, StackConfig, StackError};

use crate::exit::Failure;

/// How long a new stack may take to say that it is ready. It takes a fraction of a second; a loaded machine takes longer.
const READY: Duration = Duration::from_secs(30);

/// A private Sigstore and a directory to work in.
pub(super) struct Sigstore {
    place: Place,
    origin: String,
    work: tempfile::TempDir,
}

enum Place {
    Here(Box<Running>),
    Kept(PathBuf),
}

impl Sigstore {
    pub(super) fn start(runtime: &Runtime, keep: bool) -> Result<Self, Failure> {
        let work = tempfile::Builder::new().prefix("vidimus-demo-").tempdir();
        let work = work.map_err(|e| Failure::undetermined(format!("a temporary directory: {e}")))?;
        let (place, origin) = if keep { kept(work.path())? } else { here(runtime)? };
        let sigstore = Self { place, origin, work };
        sigstore.export()?;
        Ok(sigstore)
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// `127.0.0.1:PORT`
    pub(super) fn registry(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// Where the commands run.
    pub(super) fn work_dir(&self) -> PathBuf {
        self.work.path().to_owned()
    }

    /// An identity token for somebody.
    pub(super) fn token(&self, email: &str) -> Result<String, Failure> {
        match &self.place {
            Place::Here(running) => running.token(email),
            Place::Kept(dir) => stack::token(dir, email),
        }
        .map_err(|e| failure(&e))
    }

    /// Ends the Sigstore, or says how to use and end it.
    pub(super) fn finish(self, runtime: &Runtime) -> String {
        match self.place {
            Place::Here(running) => {
                runtime.block_on(running.shutdown());
                String::new()
            }
            Place::Kept(dir) => {
                // The directory holds the stack that stays.
                let _ = self.work.keep();
                let dir = dir.display();
                format!(
                    "\nThe private Sigstore stays up. To use it:\n  eval \"$(vidimus stack env --dir {dir})\"\n  \
                     export SIGSTORE_ID_TOKEN=$(vidimus stack token --email you@example.com)\n  \
                     vidimus initialize\n  vidimus sign -y $VIDIMUS_REGISTRY/NAME@sha256:…\n\
                     To end it:\n  vidimus stack down --dir {dir}\n"
                )
            }
        }
    }

    /// Puts the root and the rest of the public material into the working directory.
    fn export(&self) -> Result<(), Failure> {
        let work = self.work.path();
        match &self.place {
            Place::Here(running) => running.export(work),
            Place::Kept(dir) => stack::export(dir, work),
        }
        .map(drop)
        .map_err(|e| failure(&e))
    }
}

fn here(runtime: &Runtime) -> Result<(Place, String), Failure> {
    let running = runtime.block_on(Stack::start(StackConfig::default())).map_err(|e| failure(&e))?;
    let origin = running.origin().to_owned();
    Ok((Place::Here(Box::new(running)), origin))
}

/// Starts `vidimus stack up` and leaves it alone.
fn kept(work: &Path) -> Result<(Place, String), Failure> {
    let failed = |e: std::io::Error| Failure::undetermined(format!("starting `vidimus stack up`: {e}"));
    let dir = work.join("stack");
    let program = std::env::current_exe().map_err(failed)?;
    let log = std::fs::File::create(work.join("stack.log")).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["stack", "up", "--dir"]).arg(&dir);
    // A group of its own: the interrupt that ends a demo must not end what it was told to keep.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().map_err(failed)?;
    let stdout = child.stdout.take().ok_or_else(|| Failure::undetermined("no stdout of `vidimus stack up`"))?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line).map(|_| line);
        // Nobody listens any more if it took too long.
        let _ = sender.send(read);
    });
    let line = receiver.recv_timeout(READY).map_err(|_| Failure::undetermined("`vidimus stack up` did not get ready"));
    match line?.map_err(failed)?.trim().strip_prefix("ready ") {
        Some(origin) => Ok((Place::Kept(dir), origin.to_owned())),
        None => {
            let log = std::fs::read_to_string(work.join("stack.log")).unwrap_or_default();
            Err(Failure::undetermined(format!("`vidimus stack up` failed: {}", log.trim())))
        }
    }
}

fn failure(error: &StackError) -> Failure {
    Failure::undetermined(format!("the private Sigstore: {error}"))
}
