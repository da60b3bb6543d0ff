//! `kill -9` under load, again and again: nothing acknowledged may be missing, and no checkpoint may ever be contradicted.
//!
//! The stack runs as a process of its own: this test binary, started again for [`child`] alone. `VIDIMUS_KILLS` sets how often it is
//! killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use vidimus_core::{Digest, encoding, merkle};
use vidimus_stack::stack::{self, Running, Stack, StackConfig};

use crate::wire::Key;

const EMAIL: &str = "dev@example.com";
/// Clients of each service at once.
const CLIENTS: usize = 4;

/// The stack that gets killed. Runs only when started by [`nothing_acknowledged_is_lost`].
#[tokio::test]
#[ignore = "the child process of another test"]
async fn child() {
    let Some(dir) = std::env::var_os("VIDIMUS_CHILD_DIR") else { return };
    let running = Stack::start(StackConfig { dir: Some(dir.into()), ..StackConfig::default() }).await.unwrap();
    println!("ready {}", running.origin());
    Running::terminated().await.unwrap();
}

struct Process {
    child: Child,
    origin: String,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::child", "--ignored", "--nocapture"])
            .env("VIDIMUS_CHILD_DIR", dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready =
            lines.find_map(|line| line.ok().and_then(|line| line.split_once("ready ").map(|(_, origin)| origin.to_owned())));
        // The pipe must stay read, or the child would block on it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, origin: ready.expect("the stack gets ready") }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Everything the stack has promised.
#[derive(Default)]
struct Promises {
    /// Rekor v2 entries by index.
    v2: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// Rekor v1: uuid to body.
    v1: Mutex<Vec<(String, String)>>,
    /// Certificates' SCT times and serials.
    certificates: Mutex<Vec<Vec<u8>>>,
    /// Blobs by digest.
    blobs: Mutex<Vec<(Digest, Vec<u8>)>>,
    /// Sizes and roots of every checkpoint seen, per log.
    heads: Mutex<BTreeMap<(&'static str, u64), String>>,
}

impl Promises {
    /// A checkpoint that the stack has shown to anyone binds it for ever.
    fn saw(&self, log: &'static str, checkpoint: &str) {
        let mut lines = checkpoint.lines().skip(1);
        let size = lines.next().unwrap().parse().unwrap();
        let root = hex::encode(encoding::decode(lines.next().unwrap()).unwrap());
        let before = self.heads.lock().unwrap().insert((log, size), root.clone());
        assert!(before.as_ref().is_none_or(|before| *before == root), "{log}: two roots for size {size}: {before:?} and {root}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let kills: u32 = std::env::var("VIDIMUS_KILLS").ok().map_or(6, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let promises = Arc::new(Promises::default());
    for kill in 0..kills {
        let process = Process::start(dir.path());
        let load = spawn_load(&process.origin, dir.path(), &promises);
        // From "hardly anything begun" to "everything under way".
        tokio::time::sleep(Duration::from_millis(u64::from(random()) % 500)).await;
        process.kill();
        for client in load {
            client.await.unwrap();
        }
        // Every time would be quadratic in a long run.
        if kill % 10 == 9 || kill + 1 == kills {
            let process = Process::start(dir.path());
            check(&process.origin, &promises).await;
            process.kill();
        }
    }
    let counts = |promises: &Promises| {
        let (v2, v1) = (promises.v2.lock().unwrap().len(), promises.v1.lock().unwrap().len());
        let (certificates, blobs) = (promises.certificates.lock().unwrap().len(), promises.blobs.lock().unwrap().len());
        (v2, v1, certificates, blobs, promises.heads.lock().unwrap().len())
    };
    println!("{kills} kills; rekor v2, rekor v1, certificates, blobs, checkpoints: {:?}", counts(&promises));
    assert!(counts(&promises).0 > 0, "a test without load proves nothing");
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    u16::from_be_bytes(bytes)
}

fn spawn_load(origin: &str, dir: &Path, promises: &Arc<Promises>) -> Vec<tokio::task::JoinHandle<()>> {
    let token = stack::token(dir, EMAIL).unwrap();
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let load = || Load {
            client: Client::new(),
            origin: origin.to_owned(),
            token: token.clone(),
            promises: promises.clone(),
            key: Key::new(),
        };
        let (a, b, c, d) = (load(), load(), load(), load());
        tasks.push(tokio::spawn(async move { while a.rekor_v2().await.is_some() {} }));
        tasks.push(tokio::spawn(async move { while b.rekor_v1().await.is_some() {} }));
        tasks.push(tokio::spawn(async move { while c.certificate().await.is_some() {} }));
        tasks.push(tokio::spawn(async move { while d.blob().await.is_some() {} }));
    }
    tasks
}

/// A client; its calls give `None` once the stack is gone.
struct Load {
    client: Client,
    origin: String,
    token: String,
    promises: Arc<Promises>,
    key: Key,
}

impl Load {
    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let answer = self.client.post(format!("{}{path}", self.origin)).json(body).send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).ok()
    }

    fn artifact() -> [u8; 16] {
        let mut artifact = [0; 16];
        aws_lc_rs::rand::fill(&mut artifact).unwrap();
        artifact
    }

    async fn rekor_v2(&self) -> Option<()> {
        let entry = self.post("/api/v2/log/entries", &self.key.rekor_v2(&Self::artifact())).await?;
        let index = entry["logIndex"].as_str().unwrap().parse().unwrap();
        let body = encoding::decode(entry["canonicalizedBody"].as_str().unwrap()).unwrap();
        self.promises.saw("v2", entry["inclusionProof"]["checkpoint"]["envelope"].as_str().unwrap());
        let before = self.promises.v2.lock().unwrap().insert(index, body);
        assert_eq!(before, None, "index {index} was given twice");
        Some(())
    }

    async fn rekor_v1(&self) -> Option<()> {
        let entry = self.post("/api/v1/log/entries", &self.key.rekor_v1(&Self::artifact())).await?;
        let (uuid, entry) = entry.as_object().unwrap().iter().next().unwrap();
        self.promises.saw("v1", entry["verification"]["inclusionProof"]["checkpoint"].as_str().unwrap());
        self.promises.v1.lock().unwrap().push((uuid.clone(), entry["body"].as_str().unwrap().to_owned()));
        Some(())
    }

    async fn certificate(&self) -> Option<()> {
        let answer = self.post("/api/v2/signingCert", &self.key.certificate(&self.token, EMAIL)).await?;
        let leaf = answer["signedCertificateEmbeddedSct"]["chain"]["certificates"][0].as_str().unwrap();
        let der = encoding::pem_one(leaf, "CERTIFICATE").unwrap();
        self.promises.certificates.lock().unwrap().push(serial(&der));
        Some(())
    }

    async fn blob(&self) -> Option<()> {
        let content = Self::artifact().repeat(usize::from(random()) % 512 + 1);
        let digest = Digest::sha256(&content);
        let url = format!("{}/v2/durable/blobs/uploads/?digest={digest}", self.origin);
        let answer = self.client.post(url).body(content.clone()).send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        self.promises.blobs.lock().unwrap().push((digest, content));
        Some(())
    }
}

/// The serial number's DER, which the CT log's entry carries too.
fn serial(certificate: &[u8]) -> Vec<u8> {
    use der::{Decode, Encode};
    x509_cert::Certificate::from_der(certificate).unwrap().tbs_certificate.serial_number.to_der().unwrap()
}

async fn check(origin: &str, promises: &Promises) {
    let client = Client::new();
    let get = |path: String| {
        let request = client.get(format!("{origin}{path}"));
        async move {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            answer.bytes().await.unwrap().to_vec()
        }
    };
    let blobs = promises.blobs.lock().unwrap().clone();
    for (digest, content) in blobs {
        assert_eq!(get(format!("/v2/durable/blobs/{digest}")).await, content);
    }
    let leaves = check_v2(&get, promises).await;
    check_heads("v2", &leaves, promises);
    let leaves = check_v1(&client, origin, promises).await;
    check_heads("v1", &leaves, promises);
    check_ct(&get, promises).await;
}

/// Reads the whole log from its tiles, and finds every entry at its place.
async fn check_v2<F: Future<Output = Vec<u8>>>(get: &impl Fn(String) -> F, promises: &Promises) -> Vec<merkle::Hash> {
    let checkpoint = String::from_utf8(get("/api/v2/checkpoint".into()).await).unwrap();
    promises.saw("v2", &checkpoint);
    let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let mut bodies = Vec::new();
    for tile in 0..size.div_ceil(256) {
        let width = (size - tile * 256).min(256);
        let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
        let mut bundle = &get(format!("/api/v2/tile/entries/{}{partial}", tile_path(tile))).await[..];
        while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
            let (body, rest) = rest.split_at(u16::from_be_bytes(*length).into());
            bodies.push(body.to_vec());
            bundle = rest;
        }
    }
    assert_eq!(bodies.len() as u64, size);
    for (index, body) in &*promises.v2.lock().unwrap() {
        assert_eq!(bodies.get(usize::try_from(*index).unwrap()), Some(body), "rekor v2 entry {index}");
    }
    bodies.iter().map(|body| merkle::leaf_hash(body)).collect()
}

/// C2SP tlog-tiles: three digits a part, all but the last with an `x`.
fn tile_path(mut number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    while number >= 1000 {
        number /= 1000;
        path = format!("x{:03}/{path}", number % 1000);
    }
    path
}

/// Reads the whole log by index, and finds every entry by its uuid.
async fn check_v1(client: &Client, origin: &str, promises: &Promises) -> Vec<merkle::Hash> {
    let info: Value = client.get(format!("{origin}/api/v1/log")).send().await.unwrap().json().await.unwrap();
    promises.saw("v1", info["signedTreeHead"].as_str().unwrap());
    let mut bodies: BTreeMap<String, String> = BTreeMap::new();
    let mut leaves = Vec::new();
    for first in (0..info["treeSize"].as_u64().unwrap()).step_by(10) {
        let indexes: Vec<u64> = (first..info["treeSize"].as_u64().unwrap().min(first + 10)).collect();
        let request = client.post(format!("{origin}/api/v1/log/entries/retrieve")).json(&json!({"logIndexes": indexes}));
        let entries: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(entries.len(), indexes.len());
        for entry in entries {
            let (uuid, entry) = entry.as_object().unwrap().iter().next().map(|(u, e)| (u.clone(), e.clone())).unwrap();
            let body = entry["body"].as_str().unwrap().to_owned();
            leaves.push((entry["logIndex"].as_u64().unwrap(), merkle::leaf_hash(&encoding::decode(&body).unwrap())));
            bodies.insert(uuid, body);
        }
    }
    for (uuid, body) in &*promises.v1.lock().unwrap() {
        assert_eq!(bodies.get(uuid), Some(body), "rekor v1 entry {uuid}");
    }
    leaves.sort_unstable();
    leaves.into_iter().map(|(_, leaf)| leaf).collect()
}

async fn check_ct<F: Future<Output = Vec<u8>>>(get: &impl Fn(String) -> F, promises: &Promises) {
    let head: Value = serde_json::from_slice(&get("/ctlog/ct/v1/get-sth".into()).await).unwrap();
    let size = head["tree_size"].as_u64().unwrap();
    let mut entries = Vec::new();
    while (entries.len() as u64) < size {
        let range = format!("/ctlog/ct/v1/get-entries?start={}&end={}", entries.len(), size - 1);
        let page: Value = serde_json::from_slice(&get(range).await).unwrap();
        let page = page["entries"].as_array().unwrap();
        assert!(!page.is_empty());
        entries.extend(page.iter().map(|entry| encoding::decode(entry["leaf_input"].as_str().unwrap()).unwrap()));
    }
    let leaves: Vec<_> = entries.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
    let root = hex::encode(encoding::decode(head["sha256_root_hash"].as_str().unwrap()).unwrap());
    promises.heads.lock().unwrap().insert(("ct", size), root);
    check_heads("ct", &leaves, promises);
    let logged: BTreeSet<_> = entries.iter().map(|entry| serial_of_leaf(entry)).collect();
    for serial in &*promises.certificates.lock().unwrap() {
        assert!(logged.contains(&serial[..]), "the certificate with serial {} is not in the CT log", hex::encode(serial));
    }
}

/// RFC 6962 §3.4: 12 bytes of header, the issuer's key hash, the length; then the TBSCertificate, whose header and version take 9.
fn serial_of_leaf(leaf: &[u8]) -> &[u8] {
    let serial = &leaf[12 + 32 + 3 + 9..];
    &serial[..2 + usize::from(serial[1])]
}

/// Every head ever seen must be the root of a prefix of today's leaves: then all of them are consistent with each other.
fn check_heads(log: &str, leaves: &[merkle::Hash], promises: &Promises) {
    let heads = promises.heads.lock().unwrap();
    let sizes: BTreeSet<u64> = heads.keys().filter(|(name, _)| *name == log).map(|(_, size)| *size).collect();
    let mut subtrees: Vec<(u32, merkle::Hash)> = Vec::new();
    let mut roots = BTreeMap::from([(0, merkle::empty_root())]);
    for (size, leaf) in (1_u64..).zip(leaves) {
        let mut top = (0, *leaf);
        while let Some((_, left)) = subtrees.pop_if(|(height, _)| *height == top.0) {
            top = (top.0 + 1, merkle::node_hash(&left, &top.1));
        }
        subtrees.push(top);
        if sizes.contains(&size) {
            let (_, last) = subtrees[subtrees.len() - 1];
            let rest = subtrees.iter().rev().skip(1);
            roots.insert(size, rest.fold(last, |right, (_, left)| merkle::node_hash(left, &right)));
        }
    }
    for ((name, size), root) in heads.iter().filter(|((name, _), _)| *name == log) {
        let found = roots.get(size).map(hex::encode);
        assert_eq!(found.as_ref(), Some(root), "{name}: the checkpoint of size {size} is not of this history");
    }
}
