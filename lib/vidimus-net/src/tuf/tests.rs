//! The client against a small repository that the tests write and sign themselves: as a directory, and over HTTP with faults.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    http::Kind,
    testing::{Reply, Server, impatient},
};

const TRUST: &[u8] = include_bytes!("../../../../testdata/wire/trusted_root.json");
const CONFIG: &[u8] = include_bytes!("../../../../testdata/wire/signing_config.v0.2.json");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-21T20:00:00Z")
}

/// A signing key and its TUF form.
struct Key {
    pair: Ed25519KeyPair,
    id: String,
}

impl Key {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let id = hex::encode(vidimus_core::digest::sha256(&to_canonical_bytes(&Self::json_of(&pair)).unwrap()));
        Self { pair, id }
    }

    fn json_of(pair: &Ed25519KeyPair) -> Value {
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(pair.public_key().as_ref())}})
    }

    fn json(&self) -> Value {
        Self::json_of(&self.pair)
    }
}

/// A repository: one key for the root, one for the other roles, consistent snapshots.
struct Repository {
    dir: TempDir,
    root_key: Key,
    online_key: Key,
    version: u64,
}

impl Repository {
    /// With a root, a trusted root and a signing configuration, valid until the end of 2026.
    fn new() -> Self {
        let repository = Self { dir: tempfile::tempdir().unwrap(), root_key: Key::new(1), online_key: Key::new(2), version: 0 };
        repository.write_root(1, &[&repository.root_key], &repository.root_key);
        let mut repository = repository;
        repository.publish(&[(TRUSTED_ROOT, TRUST), (SIGNING_CONFIG, CONFIG)], "2026-12-31T00:00:00Z");
        repository
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    fn root_file(&self) -> String {
        self.path().join("1.root.json").display().to_string()
    }

    fn sign(signed: Value, keys: &[&Key]) -> Vec<u8> {
        let bytes = to_canonical_bytes(&signed).unwrap();
        let signatures: Vec<Value> =
            keys.iter().map(|key| json!({"keyid": key.id, "sig": hex::encode(key.pair.sign(&bytes))})).collect();
        serde_json::to_vec(&json!({"signed": signed, "signatures": signatures})).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A root of `version`, signed by `signers`, that names `root_key` for itself.
    fn write_root(&self, version: u64, signers: &[&Key], root_key: &Key) {
        let role = |key: &Key| json!({"keyids": [key.id], "threshold": 1});
        let online = role(&self.online_key);
        let signed = json!({"_type": "root", "spec_version": "1.0.31", "version": version, "expires": "2030-01-01T00:00:00Z",
            "consistent_snapshot": true, "keys": {&root_key.id: root_key.json(), &self.online_key.id: self.online_key.json()},
            "roles": {"root": role(root_key), "timestamp": online, "snapshot": online, "targets": online}});
        self.write(&format!("{version}.root.json"), &Self::sign(signed, signers));
    }

    /// Publishes these targets as the next version.
    fn publish(&mut self, targets: &[(&str, &[u8])], expires: &str) {
        self.version += 1;
        let mut listed = BTreeMap::new();
        for (name, bytes) in targets {
            let digest = hex::encode(vidimus_core::digest::sha256(bytes));
            self.write(&format!("targets/{digest}.{name}"), bytes);
            listed.insert(*name, json!({"length": bytes.len(), "hashes": {"sha256": digest}}));
        }
        let version = self.version;
        let meta = |file: &str| json!({file: {"version": version}});
        let role = |kind: &str, rest: (&str, Value)| {
            let mut signed = json!({"_type": kind, "spec_version": "1.0.31", "version": version, "expires": expires});
            signed[rest.0] = rest.1;
            Self::sign(signed, &[&self.online_key])
        };
        self.write(&format!("{version}.targets.json"), &role("targets", ("targets", json!(listed))));
        self.write(&format!("{version}.snapshot.json"), &role("snapshot", ("meta", meta("targets.json"))));
        self.write("timestamp.json", &role("timestamp", ("meta", meta("snapshot.json"))));
    }

    /// Serves the repository; the switch turns every answer into the given reply.
    async fn serve(&self, fault: Option<Reply>) -> (Server, Arc<AtomicBool>) {
        let (dir, broken) = (self.path().to_owned(), Arc::new(AtomicBool::new(false)));
        let switch = Arc::clone(&broken);
        let server = Server::start(move |seen| match &fault {
            Some(reply) if switch.load(Ordering::SeqCst) => reply.clone(),
            _ => match fs::read(dir.join(seen.path.trim_start_matches('/'))) {
                Ok(bytes) => Reply::new(200, bytes),
                Err(_) => Reply::new(404, "no such file"),
            },
        })
        .await;
        (server, broken)
    }
}

fn options(cache: &Path, mirror: &str, root: &str) -> TufOptions {
    TufOptions {
        mirror: Some(mirror.to_owned()),
        root: Some(root.to_owned()),
        cache: Some(cache.to_owned()),
        ..TufOptions::default()
    }
}

/// What later commands use: only the cache is named.
fn later(cache: &Path) -> TufOptions {
    TufOptions { cache: Some(cache.to_owned()), ..TufOptions::default() }
}

async fn material(http: &Client, options: TufOptions, now: Timestamp) -> Result<Arc<TrustMaterial>, TufError> {
    Tuf::new(http.clone(), options).material(now).await
}

/// All files below a directory with their content, without the lock.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found.retain(|path, _| !path.ends_with(".lock"));
    found
}

#[tokio::test]
async fn initialize_pins_and_caches_for_later_commands_without_a_network() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    let (server, _) = repository.serve(None).await;
    let cache = home.path().join("root");
    let done = initialize(&impatient(), &options(&cache, server.url.as_str(), &repository.root_file()), now()).await.unwrap();
    assert_eq!(done.material.trusted_root_json, TRUST);
    assert_eq!(done.warnings, Vec::<String>::new());
    let asked = server.calls().len();
    let (first, second) = (Client::disabled(), impatient());
    for http in [&first, &second] {
        let used = material(http, later(&cache), now()).await.unwrap();
        assert_eq!(used.trusted_root_json, TRUST);
        assert_eq!(used.signing_config_json.as_deref(), Some(CONFIG));
        let TrustSource::Tuf(state) = &used.source else { panic!("not from TUF") };
        assert_eq!((state.root_version, state.timestamp_version, state.refreshed), (1, 1, false));
        assert_eq!(state.expires, at("2026-12-31T00:00:00Z"));
    }
    assert_eq!(server.calls().len(), asked, "a fresh cache asks nobody");
}

#[tokio::test]
async fn a_directory_is_a_mirror_even_without_a_network() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    for mirror in [repository.url(), repository.path().display().to_string()] {
        let done = initialize(&Client::disabled(), &options(home.path(), &mirror, &repository.root_file()), now()).await;
        assert_eq!(done.unwrap().material.trusted_root_json, TRUST);
        assert_eq!(material(&Client::disabled(), later(home.path()), now()).await.unwrap().trusted_root_json, TRUST);
    }
}

#[tokio::test]
async fn a_failed_initialize_leaves_every_file_as_it_was() {
    let (good, home) = (Repository::new(), tempfile::tempdir().unwrap());
    initialize(&impatient(), &options(home.path(), &good.url(), &good.root_file()), now()).await.unwrap();
    fs::write(home.path().join("mine.txt"), "not yours").unwrap();
    let before = snapshot(home.path());

    let mut broken = Repository::new();
    broken.publish(&[("other", b"x")], "2026-12-31T00:00:00Z");
    let stranger = Repository { online_key: Key::new(9), ..Repository::new() };
    stranger.write_root(1, &[&stranger.root_key], &stranger.root_key);
    let (server, switch) = good.serve(Some(Reply::new(500, "down"))).await;
    switch.store(true, Ordering::SeqCst);
    for (mirror, root) in [
        (broken.url(), broken.root_file()),
        (good.url(), stranger.root_file()),
        (good.url(), "/nonexistent/root.json".to_owned()),
        (server.url.to_string(), good.root_file()),
        ("http://127.0.0.1:1".to_owned(), good.root_file()),
        ("gopher://127.0.0.1".to_owned(), good.root_file()),
    ] {
        let result = initialize(&impatient(), &options(home.path(), &mirror, &root), now()).await;
        assert!(result.is_err(), "{mirror} {root}");
        assert!(snapshot(home.path()) == before, "{mirror} {root}");
    }
}

#[tokio::test]
async fn a_cache_is_refreshed_when_it_is_old_and_only_once_for_each_command() {
    let (mut repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    let (server, _) = repository.serve(None).await;
    initialize(&impatient(), &options(home.path(), server.url.as_str(), &repository.root_file()), now()).await.unwrap();
    repository.publish(&[(TRUSTED_ROOT, TRUST)], "2026-12-31T00:00:00Z");
    let next_day = at("2026-11-22T20:00:01Z");
    let tuf = Tuf::new(impatient(), later(home.path()));
    let asked = server.calls().len();
    let used = tuf.material(next_day).await.unwrap();
    let TrustSource::Tuf(state) = &used.source else { panic!("not from TUF") };
    assert_eq!((state.timestamp_version, state.refreshed), (2, true));
    assert!(used.signing_config.is_none() && used.warnings()[0].contains(SIGNING_CONFIG));
    let once = server.calls().len();
    assert!(once > asked);
    tuf.material(next_day).await.unwrap();
    material(&impatient(), later(home.path()), next_day).await.unwrap();
    assert_eq!(server.calls().len(), once);
}

#[tokio::test]
async fn an_outage_is_bridged_until_expiry_and_then_named() {
    for fault in
        [Reply::new(500, "down"), Reply::new(403, "no"), Reply::new(429, "slow down"), Reply::new(200, vec![b'x'; 1 << 20])]
    {
        let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
        let (server, switch) = repository.serve(Some(fault)).await;
        initialize(&impatient(), &options(home.path(), server.url.as_str(), &repository.root_file()), now()).await.unwrap();
        switch.store(true, Ordering::SeqCst);
        let before = snapshot(home.path());
        let used = material(&impatient(), later(home.path()), at("2026-12-24T00:00:00Z")).await.unwrap();
        assert!(used.warnings()[0].contains("could not be reached"), "{:?}", used.warnings());
        let error = material(&impatient(), later(home.path()), at("2027-01-01T00:00:00Z")).await.unwrap_err();
        let TufError::Unreachable { cached: Some(cached), .. } = &error else { panic!("{error}") };
        assert!(cached.contains("expired at 2026-12-31"), "{error}");
        assert!(snapshot(home.path()) == before);
    }
}

#[tokio::test]
async fn no_cache_and_no_network_is_unreachable_not_absent() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    let options = options(home.path(), "http://127.0.0.1:1/tuf", &repository.root_file());
    let error = material(&Client::disabled(), options, now()).await.unwrap_err();
    let TufError::Unreachable { why, cached: None, .. } = &error else { panic!("{error}") };
    assert_eq!(why.kind, Kind::Disabled);
    let error = material(&Client::disabled(), later(home.path()), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::Unreachable { mirror, .. } if mirror == PUBLIC_GOOD_MIRROR), "{error}");
}

#[tokio::test]
async fn an_unknown_mirror_needs_a_root() {
    let home = tempfile::tempdir().unwrap();
    let options = TufOptions { mirror: Some("http://127.0.0.1:1/tuf".into()), ..later(home.path()) };
    assert!(matches!(initialize(&Client::disabled(), &options, now()).await, Err(TufError::NoRoot { .. })));
    assert!(matches!(material(&Client::disabled(), options, now()).await, Err(TufError::NoRoot { .. })));
}

#[tokio::test]
async fn rolled_back_expired_and_forged_metadata_is_refused_and_never_cached() {
    let (mut repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    let old = fs::read(repository.path().join("timestamp.json")).unwrap();
    repository.publish(&[(TRUSTED_ROOT, TRUST)], "2026-12-31T00:00:00Z");
    initialize(&impatient(), &options(home.path(), &repository.url(), &repository.root_file()), now()).await.unwrap();
    let before = snapshot(home.path());
    let always = || TufOptions { freshness: Freshness::Always, ..later(home.path()) };

    repository.write("timestamp.json", &old);
    let error = material(&impatient(), always(), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::Rejected { why, .. } if why.contains("rollback")), "{error}");

    repository.publish(&[(TRUSTED_ROOT, TRUST)], "2026-11-01T00:00:00Z");
    let error = material(&impatient(), always(), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::Expired { .. }), "{error}");

    let mut forger = Repository { online_key: Key::new(7), ..Repository::new() };
    forger.version = 9;
    forger.publish(&[(TRUSTED_ROOT, b"{}")], "2026-12-31T00:00:00Z");
    repository.write("timestamp.json", &fs::read(forger.path().join("timestamp.json")).unwrap());
    let error = material(&impatient(), always(), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::Rejected { why, .. } if why.contains("threshold")), "{error}");
    assert!(snapshot(home.path()) == before);
}

#[tokio::test]
async fn a_rotated_root_is_followed_and_a_forged_one_is_not() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    initialize(&impatient(), &options(home.path(), &repository.url(), &repository.root_file()), now()).await.unwrap();
    let always = || TufOptions { freshness: Freshness::Always, ..later(home.path()) };
    let (next, forger) = (Key::new(3), Key::new(8));
    repository.write_root(2, &[&forger], &forger);
    let error = material(&impatient(), always(), now()).await.unwrap_err();
    assert!(matches!(error, TufError::Rejected { .. }), "{error}");
    repository.write_root(2, &[&repository.root_key, &next], &next);
    repository.write_root(3, &[&next], &next);
    let used = material(&impatient(), always(), now()).await.unwrap();
    let TrustSource::Tuf(state) = &used.source else { panic!("not from TUF") };
    assert_eq!(state.root_version, 3);
    // From the very first root, with what is cached: the history leads to the newest.
    let pinned = TufOptions { root: Some(repository.root_file()), mirror: Some(repository.url()), ..later(home.path()) };
    fs::remove_file(repository.path().join("2.root.json")).unwrap();
    let used = material(&Client::disabled(), pinned, now()).await.unwrap();
    let TrustSource::Tuf(state) = &used.source else { panic!("not from TUF") };
    assert_eq!((state.root_version, state.refreshed), (3, false));
}

#[tokio::test]
async fn a_root_has_to_have_the_promised_digest() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    let (server, _) = repository.serve(None).await;
    let root = fs::read(repository.root_file()).unwrap();
    let sha256 = Digest::sha256(&root);
    let sha512 = Digest::of(Algorithm::Sha512, &root).to_string();
    let url = server.url.join("1.root.json").unwrap().to_string();
    for (checksum, accepted) in [
        (sha256.hex(), true),
        (sha256.to_string(), true),
        (sha512, true),
        ("0".repeat(64), false),
        ("sha1:abcd".to_owned(), false),
        ("zz".to_owned(), false),
    ] {
        let options = TufOptions { root_checksum: Some(checksum.clone()), ..options(home.path(), server.url.as_str(), &url) };
        let result = initialize(&impatient(), &options, now()).await;
        assert_eq!(result.is_ok(), accepted, "{checksum}");
    }
    let done = initialize(&impatient(), &options(home.path(), server.url.as_str(), &url), now()).await.unwrap();
    assert!(done.warnings[0].contains("--root-checksum"), "{:?}", done.warnings);
    let gone = server.url.join("9.root.json").unwrap().to_string();
    let error = initialize(&impatient(), &options(home.path(), server.url.as_str(), &gone), now()).await.unwrap_err();
    assert!(matches!(error, TufError::RootUnavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_mirror_without_the_trusted_root_says_so() {
    let (mut repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.publish(&[("rekor.pub", b"x")], "2026-12-31T00:00:00Z");
    let error =
        initialize(&impatient(), &options(home.path(), &repository.url(), &repository.root_file()), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::NoTarget { target, .. } if target == TRUSTED_ROOT), "{error}");
    repository.publish(&[(TRUSTED_ROOT, b"{}")], "2026-12-31T00:00:00Z");
    let error =
        initialize(&impatient(), &options(home.path(), &repository.url(), &repository.root_file()), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::Target { target: TRUSTED_ROOT, .. }), "{error}");
    fs::remove_file(repository.path().join("timestamp.json")).unwrap();
    let error =
        initialize(&impatient(), &options(home.path(), &repository.url(), &repository.root_file()), now()).await.unwrap_err();
    assert!(matches!(&error, TufError::Incomplete { .. }), "{error}");
}

#[tokio::test]
async fn instances_live_side_by_side_under_their_names() {
    let (ours, theirs, home) = (Repository::new(), Repository::new(), tempfile::tempdir().unwrap());
    let http = Client::disabled();
    initialize(&http, &options(home.path(), &ours.url(), &ours.root_file()), now()).await.unwrap();
    let named =
        |name: &str| TufOptions { instance: Some(name.to_owned()), ..options(home.path(), &theirs.url(), &theirs.root_file()) };
    initialize(&http, &named("theirs"), now()).await.unwrap();
    let mirror = async |options: TufOptions| {
        let used = material(&http, options, now()).await?;
        let TrustSource::Tuf(state) = &used.source else { panic!("not from TUF") };
        assert!(!state.refreshed);
        Ok::<_, TufError>(state.mirror.clone())
    };
    assert_eq!(mirror(later(home.path())).await.unwrap(), ours.url(), "what is used without a name stays");
    assert_eq!(mirror(later(home.path()).with_instance("theirs")).await.unwrap(), theirs.url());
    assert_eq!(mirror(later(home.path()).with_instance(&theirs.url())).await.unwrap(), theirs.url());
    let error = mirror(later(home.path()).with_instance("nobodys")).await.unwrap_err();
    assert!(matches!(&error, TufError::Usage(text) if text.contains("theirs, public-good, staging, github")), "{error}");
    let error = mirror(later(home.path()).with_instance("staging")).await.unwrap_err();
    assert!(matches!(&error, TufError::Unreachable { mirror, .. } if mirror.contains("sigstage")), "{error}");
    for bad in ["staging", "", "a/b", ".", "https://x"] {
        assert!(matches!(initialize(&http, &named(bad), now()).await, Err(TufError::Usage(_))), "{bad:?}");
    }
}

#[tokio::test]
async fn without_a_home_everything_stays_in_memory() {
    let repository = Repository::new();
    let options = TufOptions { mirror: Some(repository.url()), root: Some(repository.root_file()), ..TufOptions::default() };
    let done = initialize(&impatient(), &options, now()).await.unwrap();
    assert!(done.directory.is_none());
    assert_eq!(material(&impatient(), options, now()).await.unwrap().trusted_root_json, TRUST);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_a_refresh_and_nothing_else() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let options = options(&file.join("root"), &repository.url(), &repository.root_file());
    let used = material(&impatient(), options.clone(), now()).await.unwrap();
    assert!(used.trusted_root_json == TRUST && used.warnings()[0].contains("cannot be written"), "{:?}", used.warnings());
    // Initialising means keeping: here it is an error.
    assert!(matches!(initialize(&impatient(), &options, now()).await, Err(TufError::Cache(_))));
}

#[tokio::test]
async fn commands_that_refresh_at_the_same_time_do_not_get_in_each_others_way() {
    let (repository, home) = (Repository::new(), tempfile::tempdir().unwrap());
    initialize(&impatient(), &options(home.path(), &repository.url(), &repository.root_file()), now()).await.unwrap();
    let always = TufOptions { freshness: Freshness::Always, ..later(home.path()) };
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let options = always.clone();
            tokio::spawn(async move { material(&impatient(), options, now()).await.map(|m| m.trusted_root_json.clone()) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), TRUST);
    }
    assert_eq!(material(&Client::disabled(), later(home.path()), now()).await.unwrap().trusted_root_json, TRUST);
}

#[test]
fn the_environment_is_read_as_cosign_reads_it() {
    let env = Environment::from_pairs([
        ("TUF_ROOT", "/c"),
        ("TUF_MIRROR", "m"),
        ("TUF_ROOT_JSON", "r"),
        ("COSIGN_MIRROR", "cm"),
        ("TUF_URL", "u"),
    ]);
    let used = TufOptions::from_environment(&env);
    assert_eq!(
        (used.mirror.as_deref(), used.root.as_deref(), used.cache.as_deref()),
        (Some("m"), Some("r"), Some(Path::new("/c")))
    );
    assert_eq!(TufOptions::for_initialize(&env).mirror.as_deref(), Some("cm"));
    let env = Environment::from_pairs([("TUF_URL", "u"), ("COSIGN_ROOT", "cr"), ("HOME", "/h")]);
    let used = TufOptions::for_initialize(&env);
    assert_eq!((used.mirror.as_deref(), used.root.as_deref()), (Some("u"), Some("cr")));
    assert_eq!(TufOptions::from_environment(&env).mirror, None, "only `initialize` looks at these");
}

#[test]
fn public_instances_have_a_built_in_root() {
    for mirror in [PUBLIC_GOOD_MIRROR, "https://tuf-repo-cdn.sigstore.dev/", "https://tuf-repo-cdn.sigstage.dev"] {
        let root = built_in_root(mirror).unwrap();
        sigstore_tuf::TrustedMetadataSet::from_root(root).unwrap();
    }
    assert!(built_in_root("https://tuf-repo-cdn.sigstore.dev.example.com").is_none());
}

/// Keeps the helper honest: a repository that nobody tampered with passes another implementation's checks too.
#[test]
fn the_repository_of_these_tests_is_well_formed() {
    let repository = Repository::new();
    let root = fs::read(repository.root_file()).unwrap();
    let mut set = sigstore_tuf::TrustedMetadataSet::from_root(&root).unwrap();
    let file = |name: &str| fs::read(repository.path().join(name)).unwrap();
    set.update_timestamp(&file("timestamp.json"), now()).unwrap();
    set.update_snapshot(&file("1.snapshot.json"), now()).unwrap();
    set.update_targets(&file("1.targets.json"), now()).unwrap();
}
