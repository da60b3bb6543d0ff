//! The life of a stack: start, state on disk, status, environment, tokens, export, stop.
//!
//! A stack belongs to a directory. The directory keeps its origin for good (log ids and trust roots contain it), and a lock in it makes
//! sure that one process at a time serves it. A stack without a directory lives in memory and ends with its process.

mod dir;
mod env;
mod services;
mod status;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use services::{Base, Services};
use tokio::{net::TcpListener, task::JoinHandle};

pub use dir::{Record, StackDir};
pub use env::{env, render_exports, variables};
pub use status::{Service, Status, status};

use crate::{
    guard::{Hosts, guard},
    identity,
    registry::{Access, Writers},
    server::{self, Server},
};

/// How often is looked whether TUF metadata is to be signed anew: far more often than the shortest half-life, three and a half days.
const RENEWAL: Duration = Duration::from_secs(600);

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct StackConfig {
    /// Where everything is kept; `None` keeps it in memory and loses it at the end.
    pub dir: Option<PathBuf>,
    /// The port; 0 takes the directory's own port again, or any free one the first time.
    pub port: u16,
    /// The name in the origin, `127.0.0.1` unless given. Fixed for a directory at its first start.
    pub host: Option<String>,
    /// Listen on this address. Anything but loopback is refused unless `expose` is set too.
    pub listen: Option<IpAddr>,
    /// Allows an address beyond loopback; writing to the registry then takes the name and password of one of the stack's users.
    pub expose: bool,
    /// Imitates registries older than distribution-spec 1.1: no referrers API.
    pub without_referrers: bool,
    /// Further trusted issuers, in Fulcio's own YAML.
    pub fulcio_config: Option<PathBuf>,
}

/// Why a stack could not be started, asked or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Reading or writing a file of the stack failed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the stack does not hold what it should.
    #[error("{}: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process serves the directory.
    #[error("{} is already served by process {pid}; stop it with `vidimus stack down`", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that holds the lock.
        pid: u32,
    },
    /// The port is taken.
    #[error("cannot listen on {address}: {source}{}", if *kept { "; this directory keeps its port because its logs and trust root name it" } else { "" })]
    Bind {
        /// Where the stack wanted to listen.
        address: SocketAddr,
        /// Whether the port comes from the directory rather than from the caller.
        kept: bool,
        /// What the system said.
        source: std::io::Error,
    },
    /// The caller wants another origin than the directory's.
    #[error("{} belongs to {kept}, not to {wanted}: its logs and trust root name that origin. Use another directory", dir.display())]
    Origin {
        /// The directory.
        dir: PathBuf,
        /// The origin of the directory.
        kept: String,
        /// The origin asked for.
        wanted: String,
    },
    /// Listening beyond loopback was asked for without saying so explicitly.
    #[error(
        "{0} is not a loopback address: anyone who reaches it could get certificates and write to the logs; add the flag that exposes the stack if that is meant"
    )]
    NotLoopback(IpAddr),
    /// Not the name of a host, as it stands in URLs.
    #[error("'{0}' is not a host name or address as URLs have it (lower case, IPv6 in brackets, no port)")]
    Host(String),
    /// There is no stack in the directory.
    #[error("{}: no stack here; start one with `vidimus stack up --dir {}`", .0.display(), .0.display())]
    NoStack(PathBuf),
    /// No process serves the directory.
    #[error("{}: the stack is not running", .0.display())]
    NotRunning(PathBuf),
    /// The process did not end in time.
    #[error("process {pid} did not stop within {seconds} seconds")]
    StillRunning {
        /// The process.
        pid: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// A service could not be set up.
    #[error("{service}: {why}")]
    Service {
        /// Which one.
        service: &'static str,
        /// What failed.
        why: String,
    },
}

/// Starts stacks.
#[derive(Debug)]
pub struct Stack;

/// A stack that is serving.
#[derive(Debug)]
pub struct Running {
    origin: String,
    root: PathBuf,
    // Holds the lock for as long as the stack serves.
    dir: Option<StackDir>,
    exposes: Option<String>,
    server: Server,
    services: Arc<Services>,
    renewal: JoinHandle<()>,
    // Holds the files of a stack in memory until it ends.
    _scratch: Option<tempfile::TempDir>,
}

impl Stack {
    /// Starts everything and returns once requests are answered.
    pub async fn start(config: StackConfig) -> Result<Running, StackError> {
        let listen = listen_address(&config)?;
        let mut dir = config.dir.as_deref().map(StackDir::lock).transpose()?;
        let kept = dir.as_ref().and_then(|dir| dir.record().cloned());
        let host = wanted_host(&config, kept.as_ref())?;
        let listener = listen_on(listen, &host, &config, kept.as_ref())?;
        let port =
            listener.local_addr().map_err(|source| StackError::Bind { address: (listen, 0).into(), kept: false, source })?.port();
        let origin = origin_of(&host, port);
        if let Some(dir) = &mut dir {
            dir.save(Record::new(&origin, &host, port, config.without_referrers))?;
        }
        let scratch = if dir.is_none() { Some(scratch()?) } else { None };
        let root = dir.as_ref().map(StackDir::path).or(scratch.as_ref().map(tempfile::TempDir::path)).unwrap_or(Path::new("."));
        let root = root.to_path_buf();
        let base = Base { root: root.clone(), durable: dir.is_some(), origin: origin.clone(), host: host.clone() };
        let writers = (!listen.is_loopback()).then(|| writers(&root));
        let access = Access { writers, without_referrers: config.without_referrers };
        let services = blocking(move || Services::open(base, &config)).await?;
        let services = Arc::new(services);
        let hosts = if listen.is_loopback() { Hosts::Loopback(host) } else { Hosts::Any };
        let router = guard(services.router(access), hosts);
        let server = Server::start(listener, router).map_err(|source| StackError::Bind {
            address: (listen, port).into(),
            kept: false,
            source,
        })?;
        let renewal = tokio::spawn(renew(services.clone()));
        let exposes = exposes(listen, &origin);
        Ok(Running { origin, root, dir, exposes, server, services, renewal, _scratch: scratch })
    }
}

impl Running {
    /// `http://127.0.0.1:PORT`: the URL of Fulcio, Rekor, the OIDC issuer, and the prefix of every other service.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `127.0.0.1:PORT`: what image references on the stack's registry start with.
    pub fn registry(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// What listening beyond loopback exposes, in words for the operator; `None` on loopback.
    pub fn exposes(&self) -> Option<&str> {
        self.exposes.as_deref()
    }

    /// The variables of `stack env`, also for a stack in memory.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let dir = self.dir.as_ref().map(StackDir::path);
        variables(&self.origin, &self.root.join(services::PUBLIC).join("root.json"), dir)
    }

    /// The stack's files: its directory, or for a stack in memory a scratch directory that goes with it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// As [`token`], also for a stack in memory.
    pub fn token(&self, email: &str) -> Result<String, StackError> {
        services::token(&self.root, &self.origin, email)
    }

    /// As [`export`], also for a stack in memory.
    pub fn export(&self, into: &Path) -> Result<Vec<PathBuf>, StackError> {
        copy_public(&self.root, into)
    }

    /// What everything holds.
    pub fn status(&self) -> Status {
        self.services.status()
    }

    /// Waits until the process is asked to end (SIGTERM or SIGINT).
    pub async fn terminated() -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        Ok(())
    }

    /// Stops serving: requests under way get two seconds.
    pub async fn shutdown(self) {
        self.renewal.abort();
        self.server.shutdown().await;
        self.services.close().await;
    }
}

/// An identity token for `email` from the stack in `dir`, signed with its OIDC key: works for whoever may read the key, running or not.
pub fn token(dir: &Path, email: &str) -> Result<String, StackError> {
    let origin = StackDir::read(dir)?.origin;
    services::token(dir, &origin, email)
}

/// Writes the public trust material of the stack in `dir` into `into`, as files: `trusted_root.json`, `signing_config.v0.2.json`,
/// `trust_config.json`, `root.json`, and every service's certificate or public key. Returns the paths written.
pub fn export(dir: &Path, into: &Path) -> Result<Vec<PathBuf>, StackError> {
    StackDir::read(dir)?;
    copy_public(dir, into)
}

fn copy_public(dir: &Path, into: &Path) -> Result<Vec<PathBuf>, StackError> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| StackError::File { path, source }
    };
    let files = services::public_files(dir).map_err(at(dir))?;
    std::fs::create_dir_all(into).map_err(at(into))?;
    let mut written = Vec::new();
    for (name, content) in files {
        let path = into.join(name);
        std::fs::write(&path, content).map_err(at(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// Asks the process that serves `dir` to stop and waits until it has. Returns its process id.
pub async fn down(dir: &Path) -> Result<u32, StackError> {
    dir::stop(dir).await
}

/// Work on files and keys, away from the threads that serve connections.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StackError> + Send + 'static) -> Result<T, StackError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StackError::Service { service: "start", why: error.to_string() })?
}

async fn renew(services: Arc<Services>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let services = services.clone();
        // A panic has been reported by the runtime; the next round is another try.
        let _ = tokio::task::spawn_blocking(move || services.refresh()).await;
    }
}

/// Takes the port that was asked for, or that the directory has, or any.
fn listen_on(listen: IpAddr, host: &str, config: &StackConfig, kept: Option<&Record>) -> Result<TcpListener, StackError> {
    let port = if config.port == 0 { kept.map_or(0, |record| record.port) } else { config.port };
    if let (Some(record), Some(dir)) = (kept, &config.dir) {
        check_origin(dir, record, &origin_of(host, port))?;
    }
    let address = SocketAddr::new(listen, port);
    server::bind(address).map_err(|source| StackError::Bind { address, kept: config.port == 0 && kept.is_some(), source })
}

fn listen_address(config: &StackConfig) -> Result<IpAddr, StackError> {
    let listen = config.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if listen.is_loopback() || config.expose { Ok(listen) } else { Err(StackError::NotLoopback(listen)) }
}

/// The host of the origin: log ids, checkpoints and the trust root contain it as it is written here.
fn wanted_host(config: &StackConfig, kept: Option<&Record>) -> Result<String, StackError> {
    let host = config.host.clone().or_else(|| kept.map(|record| record.host.clone())).unwrap_or_else(|| "127.0.0.1".to_owned());
    let url = url::Url::parse(&origin_of(&host, 1));
    match url.is_ok_and(|url| url.host_str() == Some(&host)) {
        true => Ok(host),
        false => Err(StackError::Host(host)),
    }
}

fn origin_of(host: &str, port: u16) -> String {
    format!("http://{host}:{port}")
}

fn check_origin(dir: &Path, record: &Record, wanted: &str) -> Result<(), StackError> {
    if record.origin == wanted {
        return Ok(());
    }
    Err(StackError::Origin { dir: dir.to_path_buf(), kept: record.origin.clone(), wanted: wanted.to_owned() })
}

fn exposes(listen: IpAddr, origin: &str) -> Option<String> {
    (!listen.is_loopback()).then(|| {
        format!(
            "listening on {listen} as {origin}, without TLS. Whoever reaches this port can read every log entry, certificate and \
             image, add entries to the logs and ask for timestamps. Certificates and pushes to the registry take the password of one \
             of the stack's users. Clients must reach it as {origin}: that name is in its trust root."
        )
    })
}

/// The stack's users and service accounts may write to a registry that others can reach.
fn writers(root: &Path) -> Writers {
    let users = identity::users(&root.join("keys"));
    Writers::new(move |name, password| {
        let found = users.log_in(name, password).and_then(|found| match found {
            None => users.log_in_client(name, password),
            found => Ok(found),
        });
        found.map(|found| found.is_some()).map_err(|error| error.to_string())
    })
}

fn scratch() -> Result<tempfile::TempDir, StackError> {
    tempfile::Builder::new()
        .prefix("vidimus-stack-")
        .tempdir()
        .map_err(|source| StackError::File { path: std::env::temp_dir(), source })
}
