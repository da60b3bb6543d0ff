//! A stack of its own, a home of its own, and commands that see nothing else.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Who signs in all of these tests.
pub(crate) const SIGNER: &str = "jdoe@example.com";
const SERVER_START: Duration = Duration::from_secs(20);

/// A running stack in a temporary folder; both are gone when it is dropped.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    servers: Vec<Child>,
    environment: Vec<(String, String)>,
    pub(crate) origin: String,
    pub(crate) token: String,
}

/// What a command did.
pub(crate) struct Ran {
    line: String,
    output: Output,
}

impl Sandbox {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A home and nothing else: no stack.
    pub(crate) fn bare() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { dir, servers: vec![], environment: vec![], origin: String::new(), token: String::new() }
    }

    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let mut sandbox = Self::bare();
        let mut up = Command::new(env!("CARGO_BIN_EXE_vidimus"));
        up.args(["stack", "up", "--port", "0", "--dir"]).arg(sandbox.path("stack")).args(flags);
        let mut child = up.stdout(Stdio::piped()).spawn().expect("vidimus starts");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        sandbox.servers.push(child);
        BufReader::new(stdout).read_line(&mut ready).expect("a ready line");
        sandbox.origin = ready.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {ready:?}")).to_owned();
        let exports = sandbox.vidimus(&["stack", "env"]).stdout();
        sandbox.environment = exports.lines().map(export).collect();
        sandbox.token = sandbox.vidimus(&["stack", "token", "--email", SIGNER]).stdout().trim().to_owned();
        sandbox
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the sandbox, as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What the stack publishes for clients without TUF: `trusted_root.json` and so on.
    pub(crate) fn public(&self, name: &str) -> String {
        self.path("stack/public").join(name).display().to_string()
    }

    /// A file in the sandbox.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).expect("writing into the sandbox");
        self.arg(name)
    }

    /// `host:port` of the stack's registry.
    pub(crate) fn registry(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// Runs our own binary with the environment that `stack env` prints.
    pub(crate) fn vidimus(&self, args: &[&str]) -> Ran {
        self.vidimus_with(&[], args)
    }

    /// The same, with more variables.
    pub(crate) fn vidimus_with(&self, variables: &[(&str, String)], args: &[&str]) -> Ran {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_vidimus")));
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command.env("VIDIMUS_STACK_DIR", self.path("stack"));
        if !self.token.is_empty() {
            command.env("SIGSTORE_ID_TOKEN", &self.token);
        }
        command.envs(variables.iter().map(|(k, v)| (k, v)));
        run(command, args)
    }

    /// Runs a peer with nothing but a home of its own: two versions of cosign cannot share one.
    pub(crate) fn peer(&self, program: &Path, args: &[&str]) -> Ran {
        self.peer_with(program, &[], args)
    }

    /// The same, with variables.
    pub(crate) fn peer_with(&self, program: &Path, variables: &[(&str, String)], args: &[&str]) -> Ran {
        let mut command = self.command(program);
        command.envs(variables.iter().map(|(k, v)| (k, v)));
        run(command, args)
    }

    /// A command that sees nothing but a home of its own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let home = self.path("home").join(program.file_name().unwrap_or_default());
        fs::create_dir_all(&home).expect("a home");
        command.env_clear().env("HOME", home).current_dir(self.dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Serves docker-registry (distribution 2.8, no referrers API); its `host:port`.
    pub(crate) fn docker_registry(&mut self, program: &Path) -> String {
        let address = free_address();
        let root = self.arg("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {address}}}\n"
        );
        let config = self.write("registry.yml", config.as_bytes());
        let mut command = self.command(program);
        command.args(["serve", &config]).stdout(Stdio::null()).stderr(Stdio::null());
        self.servers.push(command.spawn().expect("docker-registry starts"));
        let until = Instant::now() + SERVER_START;
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < until, "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        address
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Ran {
    /// Its standard output; panics if it failed.
    #[track_caller]
    pub(crate) fn stdout(&self) -> String {
        assert!(self.output.status.success(), "{self}");
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Whether it succeeded.
    pub(crate) fn is_ok(&self) -> bool {
        self.output.status.success()
    }

    /// Panics unless it succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) {
        assert!(self.output.status.success(), "{self}");
    }

    /// Panics unless it failed and said so with these words.
    #[track_caller]
    pub(crate) fn refused(&self, words: &str) {
        assert!(!self.output.status.success(), "{self}");
        assert!(self.to_string().contains(words), "no {words:?} in: {self}");
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let Output { status, stdout, stderr } = &self.output;
        write!(f, "$ {}\n{status}\n{}\n{}", self.line, text(stdout), text(stderr))
    }
}

fn run(mut command: Command, args: &[&str]) -> Ran {
    let output = command.args(args).stdin(Stdio::null()).output();
    let line = format!("{} {}", command.get_program().display(), args.join(" "));
    Ran { output: output.unwrap_or_else(|e| panic!("{line}: {e}")), line }
}

fn export(line: &str) -> (String, String) {
    let assignment = line.strip_prefix("export ").unwrap_or_else(|| panic!("not an export: {line}"));
    let (name, value) = assignment.split_once('=').unwrap_or_else(|| panic!("not an export: {line}"));
    (name.to_owned(), value.trim_matches('\'').to_owned())
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").to_string()
}
