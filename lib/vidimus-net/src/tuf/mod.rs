//! Trust from a TUF repository (The Update Framework 1.0): who is trusted, and where to sign.
//!
//! [`initialize`] pins a root and fetches everything once. After that, [`Tuf::material`] gives the trusted root and the signing
//! configuration from the cache while they are fresh, and refreshes them otherwise, at most once for each [`Tuf`].
//!
//! The client workflow (signatures, thresholds, versions, expiry, hashes) is in `workflow`, for this cache and for
//! [`RepositoryClient`] alike. Here nothing half-done is ever written: a refresh works on a copy in memory, and what it made replaces
//! the cached files in one step or not at all.

mod client;
mod error;
mod instance;
mod layout;
mod material;
mod source;
#[cfg(test)]
mod tests;
mod workflow;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::OnceCell;
use vidimus_core::{Algorithm, Digest, limits};

pub(crate) use self::workflow::judge;
pub use self::{
    client::{Downloaded, RepositoryClient, TARGET_BYTES, trust_root},
    error::TufError,
    layout::CacheError,
    material::{TrustMaterial, TrustSource, TufState},
};
use self::{
    instance::{built_in_root, check_name, mirror_of},
    layout::{Files, Layout, Lock, read_optional},
    source::{Mirror, Source, from_http},
    workflow::{Store, Workflow},
};
use crate::{
    environment::Environment,
    http::{Client, Network, Retry},
};

/// Sigstore's public-good instance.
pub const PUBLIC_GOOD_MIRROR: &str = "https://tuf-repo-cdn.sigstore.dev";
/// Sigstore's staging instance.
pub const STAGING_MIRROR: &str = "https://tuf-repo-cdn.sigstage.dev";
/// The public instances, each by its name for people and its mirror. [`TrustMaterial::built_in`] knows their trusted roots.
pub const PUBLIC_INSTANCES: [(&str, &str); 3] = [
    ("Sigstore's public-good instance", PUBLIC_GOOD_MIRROR),
    ("Sigstore's staging instance", STAGING_MIRROR),
    ("GitHub's instance for private repositories and releases", "https://tuf-repo.github.com"),
];
/// The target with the trusted root.
const TRUSTED_ROOT: &str = "trusted_root.json";
/// The target with the signing configuration; the name is part of the interface between Sigstore's clients and repositories.
const SIGNING_CONFIG: &str = "signing_config.v0.2.json";
/// Time for one file of a mirror while the cache could be used instead.
const BRIEF: Duration = Duration::from_secs(5);

/// When cached metadata may be used without asking the mirror. Expired metadata never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Never: every command asks.
    Always,
    /// While it has not expired.
    UntilExpiry,
    /// While it has not expired and the last refresh is no longer ago than this.
    Within(Duration),
}

impl Default for Freshness {
    /// A day. Repositories sign for a week or more; a revoked key should not stay trusted that long on machines that have a network.
    fn default() -> Self {
        Self::Within(Duration::from_secs(24 * 60 * 60))
    }
}

/// Which repository, which root, which cache.
#[derive(Debug, Clone, Default)]
pub struct TufOptions {
    /// The mirror: a URL, `file://…` or a path. Without it, the one that [`initialize`] chose, else Sigstore's public-good instance.
    pub mirror: Option<String>,
    /// The root to start from: a path. (For [`initialize`] also a URL or `env://NAME`.) Without it, the built-in root of a public
    /// instance, else the cached one.
    pub root: Option<String>,
    /// The digest that `root` must have: hex of SHA-256, or `sha256:…`, or `sha512:…`.
    pub root_checksum: Option<String>,
    /// The cache. Without it everything stays in memory.
    pub cache: Option<PathBuf>,
    /// When the cache may be used without asking the mirror.
    pub freshness: Freshness,
    /// One of several repositories side by side: a name that [`initialize`] gave, or a public instance's (`public-good`, `staging`,
    /// `github`), or a mirror. Instead of `mirror`; [`initialize`] gives `mirror` this name and leaves the one that is used without a
    /// name as it was.
    pub instance: Option<String>,
}

impl TufOptions {
    /// What the environment says about using trust: `TUF_ROOT` (cache), `TUF_MIRROR`, `TUF_ROOT_JSON`.
    pub fn from_environment(env: &Environment) -> Self {
        Self {
            mirror: env.var("TUF_MIRROR").map(str::to_owned),
            root: env.var("TUF_ROOT_JSON").map(str::to_owned),
            root_checksum: None,
            cache: Layout::from_environment(env).map(|layout| layout.dir().to_owned()),
            freshness: Freshness::default(),
            instance: None,
        }
    }

    /// The same cache, but this instance. What the environment says about mirror and root is about another one.
    pub fn with_instance(self, instance: &str) -> Self {
        Self { mirror: None, root: None, root_checksum: None, instance: Some(instance.to_owned()), ..self }
    }

    /// What the environment says about initialising: `COSIGN_MIRROR`, `COSIGN_ROOT`, `COSIGN_ROOT_CHECKSUM` as cosign binds its flags,
    /// then `TUF_URL`, then those of [`Self::from_environment`].
    pub fn for_initialize(env: &Environment) -> Self {
        let used = Self::from_environment(env);
        let first = |names: &[&str]| names.iter().find_map(|name| env.var(name)).map(str::to_owned);
        Self {
            mirror: first(&["COSIGN_MIRROR", "TUF_URL"]).or(used.mirror),
            root: first(&["COSIGN_ROOT"]).or(used.root),
            root_checksum: first(&["COSIGN_ROOT_CHECKSUM"]),
            ..used
        }
    }

    fn layout(&self) -> Option<Layout> {
        self.cache.clone().map(Layout::new)
    }
}

/// What [`initialize`] did.
#[derive(Debug)]
pub struct Initialized {
    /// What is trusted now.
    pub material: TrustMaterial,
    /// The mirror's directory in the cache; nothing if everything stayed in memory.
    pub directory: Option<PathBuf>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Pins a root, fetches everything from the mirror, and only then makes it what later commands use.
///
/// Unlike later refreshes this does not look at what was cached before: it is how a person replaces one root of trust by another.
pub async fn initialize(http: &Client, options: &TufOptions, now: Timestamp) -> Result<Initialized, TufError> {
    let layout = options.layout();
    let name = match (&options.mirror, &options.instance) {
        (Some(mirror), _) => mirror.clone(),
        (None, Some(instance)) => mirror_of(layout.as_ref(), instance)?,
        (None, None) => PUBLIC_GOOD_MIRROR.to_owned(),
    };
    if let Some(instance) = &options.instance {
        check_name(instance, &name)?;
    }
    let mirror = Mirror::parse(&name).map_err(TufError::Usage)?;
    let mut warnings = Vec::new();
    let root = match (&options.root, built_in_root(&name)) {
        (Some(place), _) => given_root(http, place, options.root_checksum.as_deref(), &mut warnings).await?,
        (None, Some(root)) => root.to_vec(),
        (None, None) => cached_root(layout.as_ref(), &name)?.ok_or_else(|| TufError::NoRoot { mirror: name.clone() })?,
    };
    let repository = mirror.repository(http);
    let (fetched, files) = fetch(&name, repository, &root, Files::new(), now).await?;
    let material = fetched.into_material(&name, true, &mut warnings)?;
    let directory = match &layout {
        None => None,
        Some(layout) => {
            let lock = lock(layout, &name).await?;
            layout.replace(&lock, &name, &files, now)?;
            match &options.instance {
                Some(instance) => layout.name_instance(&lock, instance, &name)?,
                None => layout.choose(&lock, &name)?,
            }
            Some(layout.mirror_dir(&name))
        }
    };
    Ok(Initialized { material, directory, warnings })
}

/// A TUF repository as one command uses it.
#[derive(Debug)]
pub struct Tuf {
    http: Client,
    options: TufOptions,
    once: OnceCell<Arc<TrustMaterial>>,
}

impl Tuf {
    /// A repository. Reads and fetches nothing yet.
    pub fn new(http: Client, options: TufOptions) -> Self {
        Self { http, options, once: OnceCell::new() }
    }

    /// The trust material: the first call reads the cache, and refreshes it if it is not fresh; later calls give the same again.
    pub async fn material(&self, now: Timestamp) -> Result<Arc<TrustMaterial>, TufError> {
        self.once.get_or_try_init(|| async { self.load(now).await.map(Arc::new) }).await.cloned()
    }

    async fn load(&self, now: Timestamp) -> Result<TrustMaterial, TufError> {
        let layout = self.options.layout();
        let name = match (&self.options.instance, &self.options.mirror, &layout) {
            (Some(instance), ..) => mirror_of(layout.as_ref(), instance)?,
            (None, Some(mirror), _) => mirror.clone(),
            (None, None, Some(layout)) => layout.remote()?.unwrap_or_else(|| PUBLIC_GOOD_MIRROR.to_owned()),
            (None, None, None) => PUBLIC_GOOD_MIRROR.to_owned(),
        };
        let mirror = Mirror::parse(&name).map_err(TufError::Usage)?;
        let root = self.root(layout.as_ref(), &name).await?;
        let mut warnings = Vec::new();

        let cached = self.cached(layout.as_ref(), &name, &root, now).await?;
        let offline = self.http.config().network == Network::None && matches!(mirror, Mirror::Http(_));
        if let Ok(fetched) = cached.as_ref().map_err(|_| ())
            && (offline || self.is_fresh(layout.as_ref(), &name, now))
        {
            return fetched.clone().into_material(&name, false, &mut warnings);
        }
        self.refresh(layout.as_ref(), &name, &mirror, &root, cached, now).await
    }

    /// Refreshes over the network while holding the lock, so that of several processes one does the work.
    async fn refresh(
        &self,
        layout: Option<&Layout>,
        name: &str,
        mirror: &Mirror,
        root: &[u8],
        cached: Result<Fetched, TufError>,
        now: Timestamp,
    ) -> Result<TrustMaterial, TufError> {
        let mut warnings = Vec::new();
        let held = match layout {
            None => None,
            Some(layout) => match lock(layout, name).await {
                Ok(lock) => Some((layout, lock)),
                Err(e) if e.is_busy() => return Err(e.into()),
                // A read-only home, a full disk: what is fetched now is as good as what would have been kept.
                Err(e) => {
                    warnings.push(format!("the TUF cache cannot be written, so the next command fetches everything again: {e}"));
                    None
                }
            },
        };
        let files = layout.map(|layout| layout.load(name)).transpose()?.unwrap_or_default();
        if held.is_some()
            && self.is_fresh(layout, name, now)
            && let Ok((fetched, _)) = fetch(name, Source::Cache(files.clone()), root, Files::new(), now).await
        {
            return fetched.into_material(name, false, &mut warnings);
        }
        let http = if cached.is_ok() { brief(&self.http) } else { self.http.clone() };
        match fetch(name, mirror.repository(&http), root, files, now).await {
            Ok((fetched, files)) => {
                let kept = held.as_ref().map_or(Ok(()), |(layout, lock)| layout.replace(lock, name, &files, now));
                if let Err(e) = kept {
                    warnings
                        .push(format!("the TUF cache could not be written, so the next command fetches everything again: {e}"));
                }
                fetched.into_material(name, true, &mut warnings)
            }
            Err(error) => match (error, cached) {
                // An outage is no reason to stop trusting what is signed to be valid now.
                (TufError::Unreachable { why, .. }, Ok(fetched)) => {
                    warnings.push(format!("the TUF mirror {name} could not be reached, using its cached metadata: {why}"));
                    fetched.into_material(name, false, &mut warnings)
                }
                (TufError::Unreachable { mirror, why, .. }, Err(error)) => {
                    // An empty cache is no reason to mention the cache.
                    let cached = (!matches!(error, TufError::Incomplete { .. })).then(|| error.to_string());
                    Err(TufError::Unreachable { mirror, why, cached })
                }
                (error, _) => Err(error),
            },
        }
    }

    async fn root(&self, layout: Option<&Layout>, name: &str) -> Result<Vec<u8>, TufError> {
        if let Some(place) = &self.options.root {
            return given_root(&self.http, place, self.options.root_checksum.as_deref(), &mut Vec::new()).await;
        }
        if let Some(root) = built_in_root(name) {
            return Ok(root.to_vec());
        }
        cached_root(layout, name)?.ok_or_else(|| TufError::NoRoot { mirror: name.to_owned() })
    }

    /// What the cache gives when it is put through every check again, or why it gives nothing.
    async fn cached(
        &self,
        layout: Option<&Layout>,
        name: &str,
        root: &[u8],
        now: Timestamp,
    ) -> Result<Result<Fetched, TufError>, TufError> {
        let files = layout.map(|layout| layout.load(name)).transpose()?.unwrap_or_default();
        Ok(fetch(name, Source::Cache(files), root, Files::new(), now).await.map(|(fetched, _)| fetched))
    }

    fn is_fresh(&self, layout: Option<&Layout>, name: &str, now: Timestamp) -> bool {
        match self.options.freshness {
            Freshness::Always => false,
            Freshness::UntilExpiry => true,
            Freshness::Within(longest) => {
                let last = layout.and_then(|layout| layout.last_refresh(name));
                // A time in the future is a wrong clock, then or now: not fresh.
                last.and_then(|last| Duration::try_from(now.duration_since(last)).ok()).is_some_and(|age| age <= longest)
            }
        }
    }
}

/// What a run of the TUF workflow found.
#[derive(Debug, Clone)]
struct Fetched {
    trusted_root: Vec<u8>,
    signing_config: Option<Vec<u8>>,
    root_version: u64,
    timestamp_version: u64,
    expires: Timestamp,
}

impl Fetched {
    fn into_material(self, mirror: &str, refreshed: bool, warnings: &mut Vec<String>) -> Result<TrustMaterial, TufError> {
        let bad = |target| move |source| TufError::Target { mirror: mirror.to_owned(), target, source };
        if self.signing_config.is_none() {
            warnings
                .push(format!("the TUF mirror {mirror} has no {SIGNING_CONFIG}: it says whom to trust, but not where to sign"));
        }
        let state = TufState {
            mirror: mirror.to_owned(),
            root_version: self.root_version,
            timestamp_version: self.timestamp_version,
            expires: self.expires,
            refreshed,
            warnings: warnings.clone(),
        };
        let material = TrustMaterial::new(self.trusted_root, TrustSource::Tuf(state)).map_err(bad(TRUSTED_ROOT))?;
        match self.signing_config {
            Some(json) => material.with_signing_config(json).map_err(bad(SIGNING_CONFIG)),
            None => Ok(material),
        }
    }
}

/// Runs the whole workflow from `root`, with `seed` as what was trusted before (no version may fall below it). Gives what it found,
/// and the files to keep.
async fn fetch(name: &str, repository: Source, root: &[u8], seed: Files, now: Timestamp) -> Result<(Fetched, Files), TufError> {
    let targets = repository.targets();
    let mut workflow = Workflow::start(name, repository, targets, root, Staging(seed))?;
    workflow.refresh(now).await?;
    let trusted_root = staged_target(&mut workflow, TRUSTED_ROOT, now).await?;
    let signing_config = match staged_target(&mut workflow, SIGNING_CONFIG, now).await {
        Ok(bytes) => Some(bytes),
        Err(TufError::NoTarget { .. }) => None,
        Err(error) => return Err(error),
    };
    let [root_version, timestamp_version, ..] = workflow.trusted().versions();
    let expires = workflow.trusted().expires();
    Ok((Fetched { trusted_root, signing_config, root_version, timestamp_version, expires }, workflow.store.0))
}

/// A target: the copy that is there already if it is still the right one.
async fn staged_target(workflow: &mut Workflow<Staging>, name: &str, now: Timestamp) -> Result<Vec<u8>, TufError> {
    let target = workflow.find(name, now).await?;
    let kept = format!("targets/{name}");
    if let Some(bytes) = workflow.store.load(&kept).filter(|bytes| target.fits(bytes, name).is_ok()) {
        return Ok(bytes);
    }
    let bytes = workflow.fetch_target(name, &target, u64::try_from(limits::TRUST_BYTES).unwrap_or(u64::MAX)).await?;
    workflow.store.keep(&kept, &bytes)?;
    Ok(bytes)
}

/// The working copy of a refresh.
#[derive(Debug)]
struct Staging(Files);

impl Store for Staging {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.0.get(name).cloned()
    }

    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        self.0.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn drop_floors(&mut self) -> Result<(), CacheError> {
        self.0.retain(|name, _| !matches!(name.as_str(), "timestamp.json" | "snapshot.json"));
        Ok(())
    }
}

/// A client that does not insist: there is something to fall back to, and somebody waits.
fn brief(http: &Client) -> Client {
    let mut config = http.config().clone();
    config.retry = Retry::NEVER;
    config.connect_timeout = config.connect_timeout.min(BRIEF);
    config.timeout = config.timeout.min(BRIEF);
    Client::new(config)
}

async fn lock(layout: &Layout, mirror: &str) -> Result<Lock, CacheError> {
    let (waiting, name) = (layout.clone(), mirror.to_owned());
    let dir = layout.dir().to_owned();
    tokio::task::spawn_blocking(move || waiting.lock(&name))
        .await
        .unwrap_or_else(|e| Err(CacheError { path: dir, what: "cannot be locked", source: std::io::Error::other(e) }))
}

fn cached_root(layout: Option<&Layout>, mirror: &str) -> Result<Option<Vec<u8>>, CacheError> {
    let Some(layout) = layout else { return Ok(None) };
    read_optional(&layout.mirror_dir(mirror).join("root.json"))
}

/// The root that a person names: a path, a URL or `env://NAME`, as cosign takes them.
async fn given_root(http: &Client, place: &str, checksum: Option<&str>, warnings: &mut Vec<String>) -> Result<Vec<u8>, TufError> {
    let unavailable = |why: String| TufError::RootUnavailable { root: place.to_owned(), why };
    let expected = checksum.map(parse_checksum).transpose()?;
    let limit = u64::try_from(limits::TUF_BYTES).unwrap_or(u64::MAX);
    let bytes = match place.split_once("://") {
        Some(("http" | "https", _)) => {
            let url = place.parse().map_err(|e| TufError::Usage(format!("{place:?} is not a URL: {e}")))?;
            if expected.is_none() {
                let why = "it is taken on trust, because no --root-checksum says which root to expect";
                warnings.push(format!("the root comes from {place}: {why}"));
            }
            let fetched = from_http(http, &url, limit).await.map_err(|e| unavailable(e.to_string()))?;
            fetched.ok_or_else(|| unavailable("not found (HTTP 404)".to_owned()))?
        }
        Some(("env", name)) => std::env::var(name).map_err(|e| unavailable(e.to_string()))?.into_bytes(),
        Some(("file", path)) => read_file(path)?.ok_or_else(|| unavailable("there is no such file".to_owned()))?,
        Some((scheme, _)) => return Err(TufError::Usage(format!("a root cannot be read by {scheme}"))),
        None => read_file(place)?.ok_or_else(|| unavailable("there is no such file".to_owned()))?,
    };
    if let Some(expected) = expected
        && !expected.matches(&bytes)
    {
        let seen = Digest::of(expected.algorithm(), &bytes);
        return Err(TufError::RootChecksum { root: place.to_owned(), expected, seen });
    }
    Ok(bytes)
}

fn read_file(path: &str) -> Result<Option<Vec<u8>>, CacheError> {
    read_optional(path.as_ref())
}

/// `HEX`, `sha256:HEX` or `sha512:HEX`.
fn parse_checksum(text: &str) -> Result<Digest, TufError> {
    let (algorithm, hex) = text.split_once(':').unwrap_or(("sha256", text));
    let usage = |why: &dyn std::fmt::Display| TufError::Usage(format!("the root checksum {text:?} cannot be used: {why}"));
    let algorithm = match algorithm {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        other => return Err(usage(&format_args!("{other} is not sha256 or sha512"))),
    };
    let bytes = hex::decode(hex).map_err(|e| usage(&e))?;
    Digest::new(algorithm, bytes).map_err(|e| usage(&e))
}
