//! What every test here needs: a home directory of its own, the command, a private Sigstore, images, and registries that misbehave.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    thread,
};

use regex::Regex;
use serde_json::Value;
use tokio::runtime::Runtime;
use vidimus::{
    core::reference::{Reference, Repository},
    net::{
        http::{Client, Config},
        oci::{Registry, RegistryOptions, TinyImage},
    },
};
use vidimus_stack::stack::{Running, Stack, StackConfig};

/// The builder in every test.
pub(crate) const JDOE: &str = "jdoe@example.com";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STACK: LazyLock<Running> = LazyLock::new(|| start(StackConfig::default()));

/// The private Sigstore that all tests share. It ends with the process.
pub(crate) fn stack() -> &'static Running {
    &STACK
}

/// A private Sigstore of one's own.
pub(crate) fn start(config: StackConfig) -> Running {
    RUNTIME.block_on(Stack::start(config)).unwrap()
}

/// A directory and an environment in which the command runs.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    line: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Sandbox {
    /// Nobody trusted, no identity.
    pub(crate) fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display().to_string();
        let env = [("HOME", home.as_str()), ("DOCKER_CONFIG", &format!("{home}/docker")), ("PATH", "/usr/bin:/bin")];
        Self { env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(), dir }
    }

    /// The shared Sigstore trusted, by a file, and an identity on it.
    pub(crate) fn new() -> Self {
        Self::on(stack())
    }

    /// A Sigstore trusted, by a file, and an identity on it.
    pub(crate) fn on(stack: &Running) -> Self {
        let mut sandbox = Self::bare();
        stack.export(sandbox.path()).unwrap();
        sandbox.set("SIGSTORE_ID_TOKEN", stack.token(JDOE).unwrap());
        let config = sandbox.path().join("trust_config.json").display().to_string();
        sandbox.set("COSIGN_TRUST_CONFIG", config);
        sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.insert(name.to_owned(), value.into());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// Runs a command line, split at blanks.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(line, b"")
    }

    /// Runs a command line with something on stdin.
    pub(crate) fn run_with(&self, line: &str, stdin: &[u8]) -> Ran {
        self.program(env!("CARGO_BIN_EXE_vidimus"), line, stdin)
    }

    /// Runs another program in the same environment.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>, line: &str, stdin: &[u8]) -> Ran {
        let mut child = Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.path())
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its stdin may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Ran {
            line: line.to_owned(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// The two flags that ask for the builder's signature.
    pub(crate) fn signer(&self) -> String {
        format!("--certificate-identity {JDOE} --certificate-oidc-issuer {}", stack().origin())
    }
}

impl Ran {
    /// It ended like this; all it said is shown if not.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// It said these words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{words:?} is missing\n{self}");
        self
    }

    /// It did not say these words on stderr.
    #[track_caller]
    pub(crate) fn does_not_say(self, words: &str) -> Self {
        assert!(!self.stderr.contains(words), "{words:?} is there\n{self}");
        self
    }

    /// It wrote nothing to stdout.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "", "{self}");
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}\n{self}"))
    }

    /// The whole encounter with what changes between runs replaced by its name.
    pub(crate) fn scrubbed(&self) -> String {
        scrub(&self.to_string())
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "$ vidimus {}\n{}", self.line, self.stdout)?;
        if !self.stderr.is_empty() {
            write!(f, "--- stderr\n{}", self.stderr)?;
        }
        writeln!(f, "--- exit {}", self.code)
    }
}

/// Replaces hosts, digests, times and base64 by their names.
pub(crate) fn scrub(text: &str) -> String {
    let rules = [
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"sha256:[0-9a-f]{64}", "DIGEST"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"index:? \d+", "index N"),
        (r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", "PEM"),
        (r"\b[0-9a-f]{40}\b", "HEX"),
        (r"[A-Za-z0-9+/]{60,}={0,2}", "BASE64"),
    ];
    rules
        .iter()
        .fold(text.to_owned(), |text, (pattern, name)| Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned())
}

/// A registry client as tests use it.
pub(crate) fn registry() -> Registry {
    Registry::new(&Client::new(Config::default()), RegistryOptions::default())
}

/// Runs something asynchronous.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// Pushes a small image of its own to `host/name:1`, and gives its reference by digest.
pub(crate) fn image_on(host: &str, name: &str) -> Reference {
    let repository: Repository = format!("{host}/{name}").parse().unwrap();
    let image = TinyImage::new("name", name.as_bytes()).unwrap();
    let pushed = block_on(image.push(&registry(), &repository.tag("1").unwrap())).unwrap();
    repository.digest(pushed.digest)
}

/// Pushes a small image of its own to the shared Sigstore's registry.
pub(crate) fn image(name: &str) -> Reference {
    image_on(stack().registry(), name)
}

/// A registry that passes requests on to the shared one, but answers some of them itself. Speaks just enough HTTP to read.
pub(crate) struct Misbehaving {
    address: SocketAddr,
}

impl Misbehaving {
    /// `answer` gives a status for paths that are not passed on.
    pub(crate) fn new(answer: impl Fn(&str) -> Option<u16> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = std::sync::Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                // A client that goes away in the middle is its own business.
                thread::spawn(move || drop(serve(stream, &*answer)));
            }
        });
        Self { address }
    }

    /// An image of the shared registry under this one's name.
    pub(crate) fn name(&self, image: &Reference) -> String {
        image.to_string().replace(stack().registry(), &self.address.to_string())
    }
}

fn serve(mut client: TcpStream, answer: &dyn Fn(&str) -> Option<u16>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    if let Some(status) = answer(&path) {
        let body = r#"{"errors":[{"code":"NOPE","message":"as the test wants it"}]}"#;
        return write!(client, "HTTP/1.1 {status} Test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
    let mut upstream = TcpStream::connect(stack().registry())?;
    let kept = head
        .lines()
        .filter(|l| !l.to_ascii_lowercase().starts_with("host:") && !l.to_ascii_lowercase().starts_with("connection:"));
    let kept: Vec<_> = kept.filter(|l| !l.is_empty()).collect();
    write!(upstream, "{}\r\nHost: {}\r\nConnection: close\r\n\r\n", kept.join("\r\n"), stack().registry())?;
    let mut response = Vec::new();
    upstream.read_to_end(&mut response)?;
    client.write_all(&response)
}

/// A port on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
