//! Every service of a stack, opened in the right order and put on one router.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Json, Router, extract::State, routing::get};
use jiff::Timestamp;

use super::{Service, StackConfig, StackError, Status};
use crate::{
    clock::Clock,
    ct::{self, CtLog, CtOptions},
    files::Tree,
    identity::{Identity, IdentityKeys},
    keys::{self, KeyKind},
    log::LogStatus,
    oidc,
    pki::Chain,
    registry::{self, Registry},
    rekor::{
        v1::{self, RekorV1},
        v2::{self, RekorV2},
    },
    storage::{Directory, Memory, Storage, Subdirectory},
    trust::{AuthorityChain, LogKey, Material, json_file},
    tuf,
};

/// Where a stack keeps what, and under which name it is known.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// The stack's directory, or a scratch directory.
    pub(super) root: PathBuf,
    /// Whether it outlives the process: then writes are flushed.
    pub(super) durable: bool,
    /// `http://HOST:PORT`.
    pub(super) origin: String,
    /// The host alone: what checkpoints are called by.
    pub(super) host: String,
}

/// Handles to everything that serves.
#[derive(Debug)]
pub(super) struct Services {
    base: Base,
    started: Timestamp,
    registry: Arc<Registry>,
    tuf: Arc<tuf::Repository>,
    rekor_v1: RekorV1,
    rekor_v2: RekorV2,
    ct: CtLog,
    identity: Identity,
}

impl Services {
    /// Opens everything; makes the keys the first time. Blocks, for the time an RSA key takes at the very first start.
    pub(super) fn open(base: Base, config: &StackConfig) -> Result<Self, StackError> {
        let clock = Clock::system();
        let keys = base.root.join("keys");
        let storage = storage(&base)?;
        // The authorities first: their certificates date the trust root, and nothing may be logged before that date.
        let keys = IdentityKeys::open(&keys, clock.clone()).map_err(failed("identity"))?;
        let ct = open_ct(&storage, &base.host, keys.fulcio_chain(), &clock)?;
        let rekor_v2 = open_rekor_v2(&storage, &base.host)?;
        let rekor_v1 = open_rekor_v1(&storage, &base.host, &clock)?;
        let registry = Registry::open(&base.root.join("registry"), base.durable).map_err(failed("registry"))?;
        let fulcio_config = fulcio_config(config)?;
        let identity =
            Identity::new(keys, &base.origin, Arc::new(ct.clone()), fulcio_config.as_deref()).map_err(failed("identity"))?;
        let (fulcio, tsa) = (&identity.fulcio, &identity.tsa);
        let material = Material {
            origin: base.origin.clone(),
            fulcio: AuthorityChain::new(fulcio.chain(), fulcio.validity().0),
            tsa: AuthorityChain::new(tsa.chain(), tsa.validity().0),
            ct: LogKey::p256(ct.public_key()),
            rekor_v1: LogKey::p256(rekor_v1.public_key()),
            rekor_v2: LogKey::ed25519(rekor_v2.public_key(), rekor_v2.log_id()),
        };
        let tuf = open_tuf(&base, &storage, &material, clock.now())?;
        write_public(&base, &material, &tuf)?;
        let started = clock.now();
        let (registry, tuf) = (Arc::new(registry), Arc::new(tuf));
        Ok(Self { base, started, registry, tuf, rekor_v1, rekor_v2, ct, identity })
    }

    /// All routes.
    pub(super) fn router(self: &Arc<Self>, access: registry::Access) -> Router {
        Router::new()
            .route("/healthz", get(health))
            .route("/status.json", get(status))
            .with_state(Arc::clone(self))
            .merge(self.identity.router())
            .nest("/ctlog", ct::router(self.ct.clone()))
            .merge(v1::router(self.rekor_v1.clone()))
            .merge(v2::router(self.rekor_v2.clone()))
            .merge(tuf::router(self.tuf.clone()))
            .merge(registry::router(self.registry.clone(), access))
    }

    /// Signs TUF metadata anew when its time has come.
    pub(super) fn refresh(&self) {
        if let Err(error) = self.tuf.refresh(Timestamp::now()) {
            // Clients go on with what is published until it expires, days from now; the operator has to know by then.
            tracing::error!(%error, "cannot renew the TUF metadata");
        }
    }

    /// Stops the logs once they have written what they accepted.
    pub(super) async fn close(&self) {
        tokio::join!(self.rekor_v1.close(), self.rekor_v2.close(), self.ct.close());
    }

    /// What everything holds, and when what expires.
    pub(super) fn status(&self) -> Status {
        let origin = &self.base.origin;
        let counts = match self.registry.counts() {
            Ok(counts) => format!("{} repositories, {} blobs, {} bytes", counts.repositories, counts.blobs, counts.bytes),
            Err(error) => format!("cannot be counted: {error}"),
        };
        let tuf = self.tuf.expiries();
        let versions: Vec<_> = tuf.iter().map(|(role, version, _)| format!("{} {version}", role.name())).collect();
        let services = vec![
            Service::new("fulcio", origin, "certificate authority", Some(self.identity.fulcio.validity().1)),
            Service::new("ct log", &format!("{origin}/ctlog"), &entries(&self.ct.status()), None),
            Service::new("rekor v1", origin, &entries(&self.rekor_v1.status()), None),
            Service::new("rekor v2", origin, &entries(&self.rekor_v2.status()), None),
            Service::new(
                "tsa",
                &format!("{origin}/api/v1/timestamp"),
                "timestamp authority",
                Some(self.identity.tsa.validity().1),
            ),
            Service::new("tuf", &format!("{origin}/tuf"), &versions.join(", "), tuf.iter().map(|(_, _, expires)| *expires).min()),
            Service::new("registry", &format!("{origin}/v2/"), &counts, None),
        ];
        Status {
            origin: origin.clone(),
            pid: Some(std::process::id()),
            started: Some(self.started),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services,
        }
    }
}

/// A log that could not write takes no more entries until a restart: that is not health.
async fn health(State(services): State<Arc<Services>>) -> (http::StatusCode, Json<serde_json::Value>) {
    let logs = [services.rekor_v1.status(), services.rekor_v2.status(), services.ct.status()];
    match logs.into_iter().find_map(|log| log.failed) {
        None => (http::StatusCode::OK, Json(serde_json::json!({"status": "SERVING"}))),
        Some(why) => (http::StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({"status": "NOT_SERVING", "message": why}))),
    }
}

async fn status(State(services): State<Arc<Services>>) -> Result<Json<Status>, http::StatusCode> {
    // Counting a registry walks its files.
    let status = tokio::task::spawn_blocking(move || services.status()).await;
    status.map(Json).map_err(|_| http::StatusCode::INTERNAL_SERVER_ERROR)
}

fn entries(status: &LogStatus) -> String {
    let entries = if status.size == 1 { "1 entry".to_owned() } else { format!("{} entries", status.size) };
    match &status.failed {
        None => entries,
        Some(reason) => format!("{entries}; TAKES NO MORE: {reason}"),
    }
}

/// Logs without a directory live in memory; everything else of such a stack is in the scratch directory.
fn storage(base: &Base) -> Result<Arc<dyn Storage>, StackError> {
    if !base.durable {
        return Ok(Arc::new(Memory::new()));
    }
    Ok(Arc::new(Directory::open(&base.root).map_err(failed("storage"))?))
}

fn key(storage: &Arc<dyn Storage>, name: &str, kind: KeyKind) -> Result<Vec<u8>, StackError> {
    keys::load_or_create(&**storage, name, kind).map_err(failed("keys"))
}

fn subdirectory(storage: &Arc<dyn Storage>, name: &str) -> Arc<dyn Storage> {
    Arc::new(Subdirectory::new(Arc::clone(storage), name))
}

fn open_ct(storage: &Arc<dyn Storage>, host: &str, authority: &Chain, clock: &Clock) -> Result<CtLog, StackError> {
    let root = authority.certificates().last().map(|root| root.der.clone());
    let options = CtOptions { origin: format!("{host}/ctlog"), roots: root.into_iter().collect(), clock: clock.clone() };
    let key = key(storage, "ct", KeyKind::EcdsaP256)?;
    CtLog::open(subdirectory(storage, "ct"), &key, options).map_err(failed("ct log"))
}

fn open_rekor_v1(storage: &Arc<dyn Storage>, host: &str, clock: &Clock) -> Result<RekorV1, StackError> {
    let key = key(storage, "rekor-v1", KeyKind::EcdsaP256)?;
    RekorV1::open(subdirectory(storage, "rekor-v1"), &key, host, clock.clone()).map_err(failed("rekor v1"))
}

fn open_rekor_v2(storage: &Arc<dyn Storage>, host: &str) -> Result<RekorV2, StackError> {
    let key = key(storage, "rekor-v2", KeyKind::Ed25519)?;
    RekorV2::open(subdirectory(storage, "rekor-v2"), &key, host).map_err(failed("rekor v2"))
}

fn fulcio_config(config: &StackConfig) -> Result<Option<String>, StackError> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|source| StackError::File { path: path.clone(), source });
    config.fulcio_config.as_ref().map(read).transpose()
}

fn open_tuf(base: &Base, storage: &Arc<dyn Storage>, material: &Material, now: Timestamp) -> Result<tuf::Repository, StackError> {
    let signer = |role: &str| -> Result<Arc<dyn tuf::Signer>, StackError> {
        let key = key(storage, &format!("tuf-{role}"), KeyKind::EcdsaP256)?;
        Ok(Arc::new(tuf::EcdsaKey::from_pkcs8(&key).map_err(failed("tuf"))?))
    };
    let signers = tuf::RoleSigners {
        root: signer("root")?,
        targets: signer("targets")?,
        snapshot: signer("snapshot")?,
        timestamp: signer("timestamp")?,
    };
    let tree = Tree::open(base.root.join("tuf"), base.durable).map_err(failed("tuf"))?;
    let repository = tuf::Repository::open(tree, signers, tuf::Lifetimes::default()).map_err(failed("tuf"))?;
    repository.publish(&material.targets(), now).map_err(failed("tuf"))?;
    Ok(repository)
}

/// The public files that `stack env` points to and `stack export` copies.
fn write_public(base: &Base, material: &Material, tuf: &tuf::Repository) -> Result<(), StackError> {
    let tree = Tree::open(base.root.join(PUBLIC), base.durable).map_err(failed("export"))?;
    let mut files = vec![
        ("root.json".to_owned(), tuf.root().unwrap_or_default().to_vec()),
        ("trusted_root.json".to_owned(), json_file(&material.trusted_root())),
        ("signing_config.v0.2.json".to_owned(), json_file(&material.signing_config(&[2, 1]))),
        ("signing_config_rekor_v1.v0.2.json".to_owned(), json_file(&material.signing_config(&[1]))),
        ("trust_config.json".to_owned(), json_file(&material.client_trust_config())),
    ];
    files.extend(material.files().into_iter().map(|file| (file.name, file.pem.into_bytes())));
    for (name, content) in files {
        // Nothing is flushed for nothing at every start.
        if tree.read(&name).map_err(failed("export"))?.as_ref() != Some(&content) {
            tree.write(&name, &content).map_err(failed("export"))?;
        }
    }
    Ok(())
}

/// Where the public files are, in the stack's directory.
pub(super) const PUBLIC: &str = "public";

fn failed<E: ToString>(service: &'static str) -> impl Fn(E) -> StackError {
    move |error| StackError::Service { service, why: error.to_string() }
}

/// The public files of the stack in `dir`.
pub(super) fn public_files(dir: &Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir.join(PUBLIC))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

/// A token of the stack's own issuer.
pub(super) fn token(dir: &Path, origin: &str, email: &str) -> Result<String, StackError> {
    oidc::owner_token(&dir.join("keys"), origin, email, Timestamp::now()).map_err(failed("oidc"))
}
