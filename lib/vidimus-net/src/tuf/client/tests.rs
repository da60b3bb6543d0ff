//! The client workflow (specification §5), rule by rule, against repositories that the tests write, sign and break themselves.

mod delegations;
mod roots;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;
use tempfile::TempDir;
use vidimus_core::digest::sha256;

use super::*;
use crate::testing::{Reply, Server, impatient};

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

const VALID: &str = "2026-12-31T00:00:00Z";
const PAST: &str = "2026-05-31T23:59:59Z";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key(seed: u8) -> Value {
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(pair(seed).public_key().as_ref())}})
}

/// Ids are names, not digests: a client has to take them as they are.
fn id(seed: u8) -> String {
    format!("key-{seed}")
}

fn sign(signed: &Value, seeds: &[u8]) -> Value {
    let bytes = to_canonical_bytes(signed).unwrap();
    let signature = |seed: &u8| json!({"keyid": id(*seed), "sig": hex::encode(pair(*seed).sign(&bytes))});
    json!({"signatures": seeds.iter().map(signature).collect::<Vec<_>>(), "signed": signed})
}

/// A role's document: what is to be signed, and by whom.
#[derive(Clone)]
struct Doc {
    signed: Value,
    seeds: Vec<u8>,
}

/// A repository in a directory, and a client's directories.
struct Repo {
    dir: TempDir,
    home: TempDir,
    root: Doc,
    roles: BTreeMap<String, Doc>,
}

impl Repo {
    /// Keys 1 to 4 for root, timestamp, snapshot and targets; one target.
    fn new() -> Self {
        let role = |seed: u8| json!({"keyids": [id(seed)], "threshold": 1});
        let root = json!({"_type": "root", "spec_version": "1.0.31", "version": 1, "expires": VALID, "consistent_snapshot": true,
            "keys": (1..=4).map(|seed| (id(seed), key(seed))).collect::<BTreeMap<_, _>>(),
            "roles": {"root": role(1), "timestamp": role(2), "snapshot": role(3), "targets": role(4)}});
        let dir = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut repo = Self { dir, home, root: Doc { signed: root, seeds: vec![1] }, roles: BTreeMap::new() };
        for (name, kind, seed, field) in
            [("timestamp", "timestamp", 2, "meta"), ("snapshot", "snapshot", 3, "meta"), ("targets", "targets", 4, "targets")]
        {
            repo.add_role(name, kind, seed, field);
        }
        repo.add_target("targets", "file.txt", b"content");
        repo.write_root();
        repo.publish();
        assert!(trust_root(&repo.metadata(), &repo.dir.path().join("1.root.json")).unwrap().is_none());
        repo
    }

    fn add_role(&mut self, name: &str, kind: &str, seed: u8, field: &str) {
        let signed = json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": VALID, field: {}});
        self.roles.insert(name.to_owned(), Doc { signed, seeds: vec![seed] });
    }

    fn doc(&mut self, role: &str) -> &mut Doc {
        self.roles.get_mut(role).unwrap()
    }

    fn consistent(&self) -> bool {
        self.root.signed["consistent_snapshot"] == true
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }

    fn write_root(&self) {
        let name = format!("{}.root.json", self.root.signed["version"]);
        self.write(&name, sign(&self.root.signed, &self.root.seeds).to_string());
    }

    /// The next root: changed, signed by its keys before and after the change.
    fn next_root(&mut self, seeds: &[u8], change: impl FnOnce(&mut Value)) {
        self.root.signed["version"] = json!(self.root.signed["version"].as_u64().unwrap() + 1);
        change(&mut self.root.signed);
        self.root.seeds = seeds.to_vec();
        self.write_root();
    }

    /// Gives a role another key.
    fn rekey(&mut self, role: &str, seed: u8) {
        self.next_root(&[1], |root| {
            root["keys"][id(seed)] = key(seed);
            root["roles"][role] = json!({"keyids": [id(seed)], "threshold": 1});
        });
        self.doc(role).seeds = vec![seed];
    }

    fn add_target(&mut self, role: &str, name: &str, content: &[u8]) {
        let digest = hex::encode(sha256(content));
        let (dir, file) = name.rsplit_once('/').map_or((String::new(), name), |(dir, file)| (format!("{dir}/"), file));
        match self.consistent() {
            true => self.write(&format!("targets/{dir}{digest}.{file}"), content),
            false => self.write(&format!("targets/{name}"), content),
        }
        self.doc(role).signed["targets"][name] = json!({"length": content.len(), "hashes": {"sha256": digest}});
    }

    /// `parent` lets `child` speak, by key `seed`, for what `rule` says.
    fn delegate(&mut self, parent: &str, child: &str, seed: u8, rule: Value) {
        if !self.roles.contains_key(child) {
            self.add_role(child, "targets", seed, "targets");
        }
        let parent = &mut self.doc(parent).signed;
        if parent["delegations"].is_null() {
            parent["delegations"] = json!({"keys": {}, "roles": []});
        }
        parent["delegations"]["keys"][id(seed)] = key(seed);
        let mut role = json!({"name": child, "keyids": [id(seed)], "threshold": 1, "terminating": false});
        role.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        parent["delegations"]["roles"].as_array_mut().unwrap().push(role);
    }

    /// Writes everything but roots, with pins that fit.
    fn publish(&mut self) {
        let names: Vec<_> =
            self.roles.keys().filter(|name| !matches!(name.as_str(), "timestamp" | "snapshot")).cloned().collect();
        for name in names {
            let pin = self.write_role(&name);
            self.doc("snapshot").signed["meta"][format!("{name}.json")] = pin;
        }
        let pin = self.write_role("snapshot");
        self.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
        self.write_role("timestamp");
    }

    fn write_role(&self, role: &str) -> Value {
        let Doc { signed, seeds } = &self.roles[role];
        let bytes = sign(signed, seeds).to_string();
        let file: String = url::form_urlencoded::byte_serialize(role.as_bytes()).collect();
        match self.consistent() && role != "timestamp" {
            true => self.write(&format!("{}.{file}.json", signed["version"]), &bytes),
            false => self.write(&format!("{file}.json"), &bytes),
        }
        json!({"version": signed["version"], "length": bytes.len(), "hashes": {"sha256": hex::encode(sha256(bytes.as_bytes()))}})
    }

    /// The next version of roles, published.
    fn bump(&mut self, roles: &[&str]) {
        for role in roles {
            let signed = &mut self.doc(role).signed;
            signed["version"] = json!(signed["version"].as_u64().unwrap() + 1);
        }
        self.publish();
    }

    fn metadata(&self) -> PathBuf {
        self.home.path().join("metadata")
    }

    fn trusted(&self, name: &str) -> Vec<u8> {
        fs::read(self.metadata().join(name)).unwrap()
    }

    /// Versions that the client trusts on disk: root, timestamp, snapshot, targets.
    fn versions(&self) -> [u64; 4] {
        ["root", "timestamp", "snapshot", "targets"].map(|role| {
            let bytes = fs::read(self.metadata().join(format!("{role}.json"))).unwrap_or(b"{}".to_vec());
            serde_json::from_slice::<Value>(&bytes).unwrap()["signed"]["version"].as_u64().unwrap_or_default()
        })
    }

    fn client(&self) -> RepositoryClient {
        let place = self.dir.path().display().to_string();
        RepositoryClient::open(&Client::disabled(), &self.metadata(), &place, None).unwrap()
    }

    fn refresh_at(&self, now: Timestamp) -> Result<(), TufError> {
        block_on(self.client().refresh(now))
    }

    fn refresh(&self) -> Result<(), TufError> {
        self.refresh_at(now())
    }

    /// Refreshes, and gives what a target holds.
    fn get(&self, name: &str) -> Result<Vec<u8>, TufError> {
        block_on(async {
            let mut client = self.client();
            client.refresh(now()).await?;
            let done = client.download(name, &self.home.path().join("targets"), now()).await?;
            Ok(fs::read(done.path).unwrap())
        })
    }

    /// The refresh is refused with these words, and what is trusted stays at these versions.
    #[track_caller]
    fn refuses(&self, words: &str, versions: [u64; 4]) {
        let error = self.refresh().unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
        assert_eq!(self.versions(), versions);
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn keeps_the_exact_bytes_under_plain_names_and_nothing_else() {
    for consistent in [true, false] {
        let mut repo = Repo::new();
        if !consistent {
            repo.next_root(&[1], |root| root["consistent_snapshot"] = json!(false));
            repo.add_target("targets", "file.txt", b"content");
            repo.publish();
        }
        assert_eq!(repo.versions(), [1, 0, 0, 0]);
        repo.refresh().unwrap();
        let prefix = if consistent { "1." } else { "" };
        for role in ["snapshot", "targets"] {
            assert_eq!(repo.trusted(&format!("{role}.json")), repo.read(&format!("{prefix}{role}.json")));
        }
        assert_eq!(repo.trusted("timestamp.json"), repo.read("timestamp.json"));
        assert_eq!(repo.trusted("root.json"), repo.read(if consistent { "1.root.json" } else { "2.root.json" }));
        let mut names: Vec<_> =
            fs::read_dir(repo.metadata()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [".lock", "root.json", "snapshot.json", "targets.json", "timestamp.json"]);
        assert_eq!(repo.get("file.txt").unwrap(), b"content");
    }
}

#[test]
fn thresholds_count_keys_not_signatures() {
    let mut repo = Repo::new();
    repo.next_root(&[1], |root| {
        root["keys"][id(6)] = key(6);
        root["roles"]["timestamp"] = json!({"keyids": [id(2), id(6)], "threshold": 2});
    });
    repo.refuses("1/2 valid signatures", [2, 0, 0, 0]);
    // The same key twice.
    repo.doc("timestamp").seeds = vec![2, 2];
    repo.publish();
    assert!(repo.refresh().is_err());
    // A key that the role does not have.
    repo.doc("timestamp").seeds = vec![2, 3];
    repo.publish();
    repo.refuses("1/2 valid signatures", [2, 0, 0, 0]);
    repo.doc("timestamp").seeds = vec![2, 6];
    repo.publish();
    repo.refresh().unwrap();
    // One key under two ids is one key.
    repo.next_root(&[1], |root| {
        root["keys"]["again"] = key(3);
        root["roles"]["snapshot"] = json!({"keyids": [id(3), "again"], "threshold": 2});
    });
    repo.bump(&["snapshot", "timestamp"]);
    let mut signed: Value = serde_json::from_slice(&repo.read("2.snapshot.json")).unwrap();
    let mut again = signed["signatures"][0].clone();
    again["keyid"] = json!("again");
    signed["signatures"].as_array_mut().unwrap().push(again);
    repo.write("2.snapshot.json", signed.to_string());
    repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": {"version": 2}});
    repo.write_role("timestamp");
    repo.refuses("1/2 valid signatures", [3, 2, 1, 1]);
    // A role that names one key twice, a threshold of nothing: no root.
    for roles in [json!({"keyids": [id(3), id(3)], "threshold": 1}), json!({"keyids": [id(3)], "threshold": 0})] {
        repo.root.signed["version"] = json!(3);
        repo.next_root(&[1], |root| root["roles"]["snapshot"] = roles);
        repo.refuses("malformed root metadata", [3, 2, 1, 1]);
    }
}

#[test]
fn versions_never_go_back() {
    let mut repo = Repo::new();
    let (timestamp, old) = (repo.read("timestamp.json"), repo.roles.clone());
    repo.bump(&["targets", "snapshot", "timestamp"]);
    repo.refresh().unwrap();
    repo.write("timestamp.json", timestamp);
    repo.refuses("rollback detected for timestamp", [1, 2, 2, 2]);
    // A newer timestamp that names the older snapshot.
    repo.roles.insert("snapshot".to_owned(), old["snapshot"].clone());
    repo.bump(&["timestamp"]);
    repo.refuses("rollback detected for snapshot", [1, 2, 2, 2]);
    // A newer snapshot that names the older targets.
    repo.doc("snapshot").signed["version"] = json!(3);
    repo.roles.insert("targets".to_owned(), old["targets"].clone());
    repo.bump(&["timestamp"]);
    repo.refuses("rollback detected for targets.json", [1, 4, 2, 2]);
    repo.refuses("rollback detected for targets.json", [1, 4, 2, 2]);
    // A newer snapshot that has forgotten a role.
    repo.doc("targets").signed["version"] = json!(3);
    repo.publish();
    repo.doc("snapshot").signed["version"] = json!(4);
    repo.add_role("other", "targets", 4, "targets");
    repo.publish();
    repo.doc("snapshot").signed["version"] = json!(5);
    repo.doc("timestamp").signed["version"] = json!(5);
    repo.publish();
    repo.refresh().unwrap();
    repo.doc("snapshot").signed["version"] = json!(6);
    repo.doc("snapshot").signed["meta"].as_object_mut().unwrap().remove("other.json");
    let pin = repo.write_role("snapshot");
    repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
    repo.doc("timestamp").signed["version"] = json!(6);
    repo.write_role("timestamp");
    repo.refuses("removes other.json", [1, 6, 5, 3]);
    repo.refuses("removes other.json", [1, 6, 5, 3]);
}

#[test]
fn the_same_timestamp_again_is_no_news_and_changes_nothing() {
    let mut repo = Repo::new();
    repo.refresh().unwrap();
    let before = repo.trusted("timestamp.json");
    // Same version, other content: the first one stays.
    repo.doc("timestamp").signed["note"] = json!("second");
    repo.publish();
    repo.refresh().unwrap();
    assert_eq!(repo.trusted("timestamp.json"), before);
}

#[test]
fn frozen_metadata_is_expired_metadata() {
    for (role, versions) in [("timestamp", [1, 0, 0, 0]), ("snapshot", [1, 1, 0, 0]), ("targets", [1, 1, 1, 0])] {
        let mut repo = Repo::new();
        repo.doc(role).signed["expires"] = json!(PAST);
        repo.publish();
        let error = repo.refresh().unwrap_err();
        assert!(matches!(&error, TufError::Expired { role: named, .. } if named == role), "{error}");
        assert_eq!(repo.versions(), versions, "{role}");
    }
    // What was fresh when it was fetched is not fresh for ever, though the mirror shows nothing newer.
    let repo = Repo::new();
    repo.refresh().unwrap();
    let error = repo.refresh_at("2027-01-01T00:00:00Z".parse().unwrap()).unwrap_err();
    assert!(matches!(error, TufError::Expired { .. }), "{error}");
}

#[test]
fn expired_metadata_still_marks_how_far_one_has_come() {
    let mut repo = Repo::new();
    let old = repo.read("timestamp.json");
    repo.doc("timestamp").signed["expires"] = json!("2026-06-02T00:00:00Z");
    repo.bump(&["targets", "snapshot", "timestamp"]);
    repo.refresh().unwrap();
    repo.write("timestamp.json", old);
    let error = repo.refresh_at("2026-06-03T00:00:00Z".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("rollback"), "{error}");
}

#[test]
fn new_keys_end_a_fast_forward_attack() {
    // An attacker with the online keys has pushed the versions up; the owner starts again with new ones.
    for rotated in [&["timestamp", "snapshot"][..], &["timestamp", "snapshot", "targets"]] {
        let mut repo = Repo::new();
        for role in ["timestamp", "snapshot", "targets"] {
            repo.doc(role).signed["version"] = json!(9_000);
        }
        repo.publish();
        repo.refresh().unwrap();
        for role in ["timestamp", "snapshot", "targets"] {
            repo.doc(role).signed["version"] = json!(2);
        }
        repo.publish();
        repo.refuses("rollback", [1, 9_000, 9_000, 9_000]);
        for (role, seed) in rotated.iter().zip(20..) {
            repo.rekey(role, seed);
        }
        repo.publish();
        repo.refresh().unwrap();
        assert_eq!(repo.versions(), [1 + u64::try_from(rotated.len()).unwrap(), 2, 2, 2]);
    }
}

#[test]
fn floors_fall_with_the_keys_that_made_them_and_only_with_them() {
    // The snapshot's key was stolen; the timestamp, whose key was not, names a snapshot far ahead.
    let mut repo = Repo::new();
    for role in ["snapshot", "targets"] {
        repo.doc(role).signed["version"] = json!(9_000);
    }
    repo.publish();
    repo.refresh().unwrap();
    for (role, version) in [("timestamp", 2), ("snapshot", 2), ("targets", 2)] {
        repo.doc(role).signed["version"] = json!(version);
    }
    repo.rekey("snapshot", 20);
    repo.publish();
    // A run that ends after the root does not forget what it has to forget.
    let timestamp = repo.read("timestamp.json");
    fs::remove_file(repo.dir.path().join("timestamp.json")).unwrap();
    assert!(matches!(repo.refresh(), Err(TufError::Incomplete { .. })));
    assert_eq!(repo.versions(), [2, 1, 9_000, 9_000]);
    repo.write("timestamp.json", &timestamp);
    repo.refresh().unwrap();
    assert_eq!(repo.versions(), [2, 2, 2, 2]);
    assert!(!repo.metadata().join(DROPPED).exists());
    // One key more is no reason to go back.
    repo.next_root(&[1], |root| {
        root["keys"][id(21)] = key(21);
        root["roles"]["timestamp"]["keyids"].as_array_mut().unwrap().push(json!(id(21)));
    });
    repo.doc("timestamp").signed["version"] = json!(1);
    repo.publish();
    repo.refuses("rollback detected for timestamp", [3, 2, 2, 2]);
}

#[test]
fn documents_are_read_as_the_specification_has_them() {
    type Change = fn(&mut Value);
    let refused: [Change; 9] = [
        |doc| doc["version"] = json!(0),
        |doc| doc["version"] = json!("1"),
        |doc| doc["expires"] = json!("2026-12-31T00:00:00.5Z"),
        |doc| doc["expires"] = json!("2026-12-31T00:00:00+00:00"),
        |doc| doc["expires"] = json!("2026-12-31 00:00:00Z"),
        |doc| doc["expires"] = json!("2026-02-30T00:00:00Z"),
        |doc| doc["meta"] = json!({}),
        |doc| doc["meta"]["snapshot.json"]["hashes"] = json!({}),
        |doc| doc["spec_version"] = json!("1.x"),
    ];
    for change in refused {
        let mut repo = Repo::new();
        change(&mut repo.doc("timestamp").signed);
        repo.write_role("timestamp");
        repo.refuses("malformed timestamp metadata", [1, 0, 0, 0]);
    }
    let accepted: [Change; 3] = [
        |doc| doc["expires"] = json!("9999-12-31T23:59:59Z"),
        |doc| doc["spec_version"] = json!("1.1"),
        |doc| doc["meta"]["snapshot.json"]["hashes"]["future"] = json!("00"),
    ];
    for change in accepted {
        let mut repo = Repo::new();
        change(&mut repo.doc("timestamp").signed);
        repo.write_role("timestamp");
        repo.refresh().unwrap();
    }
    // At the very second it expires it has expired.
    let repo = Repo::new();
    assert!(matches!(repo.refresh_at(VALID.parse().unwrap()), Err(TufError::Expired { .. })));
}

#[test]
fn mixed_and_matched_files_are_refused() {
    // Another snapshot than the timestamp names: by digest, by length, by version.
    for break_pin in [
        (|pin: &mut Value| pin["hashes"]["sha256"] = json!("0".repeat(64))) as fn(&mut Value),
        |pin| pin["length"] = json!(100_000),
        |pin| *pin = json!({"version": 1, "hashes": {"md5": "00"}}),
    ] {
        let mut repo = Repo::new();
        break_pin(&mut repo.doc("timestamp").signed["meta"]["snapshot.json"]);
        repo.write_role("timestamp");
        repo.refuses("integrity", [1, 1, 0, 0]);
        let mut repo = Repo::new();
        break_pin(&mut repo.doc("snapshot").signed["meta"]["targets.json"]);
        let pin = repo.write_role("snapshot");
        repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
        repo.write_role("timestamp");
        repo.refuses("integrity", [1, 1, 1, 0]);
    }
    let mut repo = Repo::new();
    repo.write("7.snapshot.json", repo.read("1.snapshot.json"));
    repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": {"version": 7}});
    repo.write_role("timestamp");
    repo.refuses("does not match timestamp pin 7", [1, 1, 0, 0]);
    // One role's file in the place of another's.
    let repo = Repo::new();
    repo.write("timestamp.json", repo.read("1.targets.json"));
    repo.refuses("_type", [1, 0, 0, 0]);
}

#[test]
fn metadata_that_never_ends_is_cut_off() {
    let repo = Repo::new();
    let endless = vec![b' '; 17 << 10];
    repo.write("timestamp.json", [repo.read("timestamp.json"), endless].concat());
    repo.refuses("more than", [1, 0, 0, 0]);
    let repo = Repo::new();
    repo.write("2.root.json", vec![b' '; 513 << 10]);
    repo.refuses("more than", [1, 0, 0, 0]);
}

#[test]
fn targets_have_the_length_and_digest_that_was_signed() {
    let repo = Repo::new();
    let name = format!("targets/{}.file.txt", hex::encode(sha256(b"content")));
    for wrong in [&b"CONTENT"[..], b"content and more", b""] {
        repo.write(&name, wrong);
        assert!(repo.get("file.txt").is_err());
        assert!(!repo.home.path().join("targets/file.txt").exists());
    }
    repo.write(&name, b"content");
    assert_eq!(repo.get("file.txt").unwrap(), b"content");
    assert!(matches!(repo.get("other.txt"), Err(TufError::NoTarget { .. })));
    let mut repo = Repo::new();
    repo.doc("targets").signed["targets"]["file.txt"]["hashes"] = json!({"md5": "00"});
    repo.publish();
    assert!(repo.get("file.txt").is_err(), "no digest that could be checked");
}

#[test]
fn signatures_cover_canonical_json() {
    let mut repo = Repo::new();
    let custom = json!({"text": "é \u{1F600} \"quoted\" back\\slash </tag> \u{7f}\u{1}\n\t", "number": -9_007_199_254_740_993_i64,
        "": null, "é": [true, false, {}]});
    repo.doc("targets").signed["targets"]["file.txt"]["custom"] = custom;
    repo.doc("targets").signed["x-unknown"] = json!({"b": 1, "a": [2]});
    repo.publish();
    // Written with other blanks, another order, other escapes than it was signed.
    let value: Value = serde_json::from_slice(&repo.read("1.targets.json")).unwrap();
    let text = serde_json::to_string_pretty(&value).unwrap().replace("</tag>", "\\u003c/tag\\u003e");
    repo.write("1.targets.json", &text);
    let pin = json!({"version": 1, "length": text.len(), "hashes": {"sha256": hex::encode(sha256(text.as_bytes()))}});
    repo.doc("snapshot").signed["meta"]["targets.json"] = pin;
    let pin = repo.write_role("snapshot");
    repo.doc("timestamp").signed["meta"] = json!({"snapshot.json": pin});
    repo.write_role("timestamp");
    assert_eq!(repo.get("file.txt").unwrap(), b"content");
    assert_eq!(repo.trusted("targets.json"), text.as_bytes());
    // A number with a fraction has no canonical form.
    let text = text.replace("-9007199254740993", "0.5");
    repo.write("1.targets.json", &text);
    assert!(repo.refresh().is_ok(), "what is trusted already is not fetched again");
    fs::remove_file(repo.metadata().join("targets.json")).unwrap();
    assert!(repo.refresh().is_err());
}

#[test]
fn other_major_versions_of_the_specification_are_refused() {
    for (version, accepted) in [("1.0.0", true), ("1.9.7", true), ("2.0.0", false), ("", false)] {
        let mut repo = Repo::new();
        repo.doc("timestamp").signed["spec_version"] = json!(version);
        repo.publish();
        assert_eq!(repo.refresh().is_ok(), accepted, "{version:?}");
    }
}

#[test]
fn damaged_files_of_ones_own_are_fetched_again() {
    let repo = Repo::new();
    repo.refresh().unwrap();
    for role in ["timestamp", "snapshot", "targets"] {
        fs::write(repo.metadata().join(format!("{role}.json")), "{\"signed\":").unwrap();
    }
    repo.refresh().unwrap();
    assert_eq!(repo.versions(), [1, 1, 1, 1]);
    fs::write(repo.metadata().join("root.json"), "{").unwrap();
    let place = repo.dir.path().display().to_string();
    assert!(RepositoryClient::open(&Client::disabled(), &repo.metadata(), &place, None).is_err());
}

#[test]
fn what_cannot_be_kept_is_a_failure() {
    let repo = Repo::new();
    fs::create_dir(repo.metadata().join("snapshot.json")).unwrap();
    assert!(matches!(repo.refresh(), Err(TufError::Cache(_))));
}

#[tokio::test]
async fn over_http_each_file_is_asked_for_once_and_no_broken_answer_ends_the_roots() {
    let mut repo = Repo::new();
    repo.add_target("targets", "a dir/file?.txt", b"odd");
    repo.publish();
    let (dir, asked) = (repo.dir.path().to_owned(), "/meta/2.root.json");
    let fault = Arc::new(Mutex::new(None));
    let answer = Arc::clone(&fault);
    let server = Server::start(move |seen| {
        if let (Some(code), true) = (*answer.lock().unwrap(), seen.path == asked) {
            return Reply::new(code, "broken");
        }
        let plain = seen.path.replace("%20", " ").replace("%3F", "?").replace("/meta/", "/").replace("/files/", "/targets/");
        match fs::read(dir.join(plain.trim_start_matches('/'))) {
            Ok(bytes) => Reply::new(200, bytes),
            Err(_) => Reply::new(404, "no such file"),
        }
    })
    .await;
    let (meta, files) = (server.url.join("meta").unwrap(), server.url.join("files/").unwrap());
    let open = || RepositoryClient::open(&impatient(), &repo.metadata(), meta.as_str(), Some(files.as_str())).unwrap();
    let targets = repo.home.path().join("targets");
    for code in [401, 429, 500] {
        *fault.lock().unwrap() = Some(code);
        assert!(matches!(open().refresh(now()).await, Err(TufError::Unreachable { .. })), "{code}");
    }
    *fault.lock().unwrap() = None;
    let before = server.calls().len();
    let mut client = open();
    client.refresh(now()).await.unwrap();
    for fetched in [true, false] {
        for name in ["file.txt", "a dir/file?.txt"] {
            let done = client.download(name, &targets, now()).await.unwrap();
            assert_eq!((done.path, done.fetched), (targets.join(local_name(name)), fetched));
        }
    }
    drop(client);
    let hash = |content: &[u8]| hex::encode(sha256(content));
    let expected = [
        "GET /meta/2.root.json".to_owned(),
        "GET /meta/timestamp.json".to_owned(),
        "GET /meta/1.snapshot.json".to_owned(),
        "GET /meta/1.targets.json".to_owned(),
        format!("GET /files/{}.file.txt", hash(b"content")),
        format!("GET /files/a%20dir/{}.file%3F.txt", hash(b"odd")),
    ];
    assert_eq!(server.calls()[before..], expected);
    // A second run asks for what may have changed, and for nothing else.
    let before = server.calls().len();
    let mut client = open();
    client.refresh(now()).await.unwrap();
    assert!(!client.download("file.txt", &targets, now()).await.unwrap().fetched);
    assert_eq!(server.calls()[before..], expected[..2]);
    // How an object store says that there is no such root.
    *fault.lock().unwrap() = Some(403);
    drop(client);
    open().refresh(now()).await.unwrap();
}
