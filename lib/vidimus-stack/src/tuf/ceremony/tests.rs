use std::{
    cell::RefCell,
    fs,
    io::{Read, Write},
};

use super::*;
use crate::tuf::{KeyType, PrivateKey, PublicKey, Signer};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-01-01T00:00:00Z")
}

fn key(kind: KeyType) -> PrivateKey {
    PrivateKey::generate(kind).unwrap().0
}

fn public(key: &PrivateKey) -> PublicKey {
    key.public_key().clone()
}

/// Two root holders, one of them for the targets too, and an online key.
struct People {
    ann: PrivateKey,
    bob: PrivateKey,
    online: PrivateKey,
}

impl People {
    fn new() -> Self {
        Self { ann: key(KeyType::EcdsaP256), bob: key(KeyType::Ed25519), online: key(KeyType::Ed25519) }
    }

    fn roles(&self) -> BTreeMap<Role, RoleKeys> {
        let role = |keys: &[&PrivateKey], threshold| RoleKeys { keys: keys.iter().map(|key| public(key)).collect(), threshold };
        [
            (Role::Root, role(&[&self.ann, &self.bob], 2)),
            (Role::Targets, role(&[&self.ann], 1)),
            (Role::Snapshot, role(&[&self.online], 1)),
            (Role::Timestamp, role(&[&self.online], 1)),
        ]
        .into()
    }

    fn begin(&self, dir: &Path) -> Ceremony {
        Ceremony::create(dir, self.roles(), Validity::default(), now()).unwrap()
    }

    /// With one target, signed by both and published.
    fn published(&self, dir: &Path) -> Ceremony {
        let mut ceremony = self.begin(dir);
        ceremony.add_target("trusted_root.json", b"one", None, now()).unwrap();
        ceremony.sign(&[&self.ann, &self.bob]).unwrap();
        ceremony.publish(&[&self.online], now(), |_| Ok(())).unwrap();
        ceremony
    }
}

/// A directory as an independent client reads it.
struct Files(PathBuf);

impl sigstore_tuf::Repository for Files {
    fn fetch_metadata<'a>(&'a self, name: &'a str, _: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { Ok(fs::read(self.0.join(name)).ok()) })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, _: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { Ok(fs::read(self.0.join("targets").join(path)).ok()) })
    }
}

/// What a client gets that starts from the first root.
fn fetched(dir: &Path, target: &str, now: Timestamp) -> Result<Vec<u8>, sigstore_tuf::Error> {
    let root = fs::read(dir.join("1.root.json")).unwrap();
    fetched_from(&root, dir, target, now)
}

fn fetched_from(root: &[u8], dir: &Path, target: &str, now: Timestamp) -> Result<Vec<u8>, sigstore_tuf::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut updater = sigstore_tuf::client::Updater::new(Files(dir.to_owned()), root)?;
        updater.refresh(now).await?;
        updater.get_target(target, now).await
    })
}

#[test]
fn two_holders_publish_and_rotate_one_key_by_files_alone() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let ceremony = people.begin(here.path());
    ceremony.add_target("trusted_root.json", b"one", None, now()).unwrap();
    assert_eq!(ceremony.sign(&[&people.ann]).unwrap().len(), 2, "root and targets");
    drop(ceremony);

    // Bob has nothing but the file and his key.
    let bobs = Path::new("root.json");
    let sent = fs::read(here.path().join("staged/root.json")).unwrap();
    let (signed, made) = sign_document(bobs, &sent, &[&people.bob], None).unwrap();
    assert_eq!((made[0].role, made[0].keyid.as_str()), (Role::Root, people.bob.public_key().id()));

    let mut ceremony = Ceremony::open(here.path()).unwrap();
    let early = ceremony.publish(&[&people.online], now(), |_| Ok(())).unwrap_err();
    assert!(matches!(&early, CeremonyError::Unsigned(lacks) if lacks.threshold == 2 && lacks.signed.len() == 1), "{early}");
    assert_eq!(ceremony.import("root.json", &signed).unwrap().len(), 1);
    let done = ceremony.publish(&[&people.online], now(), |_| Ok(())).unwrap();
    assert_eq!(done.versions.map(|(_, version)| version), [1, 1, 1, 1]);
    let published = ceremony.published_dir();
    assert_eq!(fetched(&published, "trusted_root.json", now()).unwrap(), b"one");
    let first = fs::read(published.join("1.root.json")).unwrap();

    // Bob is followed by Cleo, who has an RSA key.
    let cleo = key(KeyType::RsaPss);
    let edited = ceremony.rotate(&people.bob.public_key().id()[..8], &public(&cleo), &Role::ALL, now()).unwrap();
    assert_eq!((edited.version, edited.voided), (2, 0));
    ceremony.sign(&[&people.ann]).unwrap();
    let refused = ceremony.publish(&[&people.online], now(), |_| Ok(())).unwrap_err().to_string();
    assert!(refused.contains("root 1, which clients trust now") && refused.contains(people.bob.public_key().id()), "{refused}");
    let sent = fs::read(here.path().join("staged/root.json")).unwrap();
    assert!(matches!(sign_document(bobs, &sent, &[&people.bob], None), Err(CeremonyError::Stranger { .. })));
    let before = Root::from_json("", Envelope::parse("", &first).unwrap().signed()).unwrap();
    for signer in [&people.bob, &cleo] {
        let (signed, _) = sign_document(bobs, &sent, &[signer], Some(&before)).unwrap();
        ceremony.import("root.json", &signed).unwrap();
    }
    let done = ceremony.publish(&[&people.online], now(), |_| Ok(())).unwrap();
    assert_eq!(done.versions.map(|(_, version)| version), [2, 1, 2, 2]);
    assert_eq!(fetched_from(&first, &published, "trusted_root.json", now()).unwrap(), b"one");
}

#[test]
fn every_key_is_rotated_and_old_clients_follow() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let mut ceremony = people.published(here.path());
    let first = fs::read(ceremony.published_dir().join("1.root.json")).unwrap();
    let mut old = people;
    for version in 2..5 {
        let new = People::new();
        for (old, new) in [(&old.ann, &new.ann), (&old.bob, &new.bob), (&old.online, &new.online)] {
            ceremony.rotate(old.public_key().id(), &public(new), &Role::ALL, now()).unwrap();
        }
        ceremony.sign(&[&old.ann, &old.bob, &new.ann, &new.bob]).unwrap();
        let error = ceremony.publish(&[&new.online], now(), |_| Ok(())).unwrap_err();
        assert!(error.hint().unwrap().contains("tuf renew targets"), "{error}");
        ceremony.renew(Role::Targets, now()).unwrap();
        assert!(matches!(ceremony.sign(&[&old.online]), Err(CeremonyError::Stranger { .. })));
        ceremony.sign(&[&new.ann]).unwrap();
        let error = ceremony.publish(&[&old.online], now(), |_| Ok(())).unwrap_err();
        assert!(matches!(&error, CeremonyError::Unsigned(lacks) if lacks.document.starts_with("snapshot")), "{error}");
        ceremony.publish(&[&new.online], now(), |_| Ok(())).unwrap();
        assert_eq!(ceremony.status(now()).unwrap().roles[0].version, Some(version));
        assert_eq!(fetched_from(&first, &ceremony.published_dir(), "trusted_root.json", now()).unwrap(), b"one");
        old = new;
    }
}

#[test]
fn signatures_from_elsewhere_are_looked_at() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let ceremony = people.begin(here.path());
    let sent = fs::read(here.path().join("staged/root.json")).unwrap();
    let name = Path::new("root.json");

    let stranger = key(KeyType::Ed25519);
    let mut forged = Envelope::parse("", &sent).unwrap();
    forged.sign(&stranger).unwrap();
    assert!(matches!(ceremony.import("root.json", &forged.to_bytes()), Err(CeremonyError::Stranger { .. })));
    let text = String::from_utf8(sign_document(name, &sent, &[&people.ann], None).unwrap().0).unwrap();
    let broken = text.replace("\"sig\": \"30", "\"sig\": \"31");
    assert!(matches!(ceremony.import("root.json", broken.as_bytes()), Err(CeremonyError::Tuf(_))));
    let changed = text.replace("\"threshold\": 2", "\"threshold\": 1");
    let error = ceremony.import("root.json", changed.as_bytes()).unwrap_err();
    assert!(matches!(&error, CeremonyError::Different { why, .. } if why.contains("something else")), "{error}");
    assert!(ceremony.staged(Role::Root).unwrap().unwrap().signatures().is_empty());
    assert_eq!(ceremony.import("root.json", text.as_bytes()).unwrap().len(), 1);
    assert_eq!(ceremony.import("root.json", text.as_bytes()).unwrap().len(), 0, "nothing new");
}

#[test]
fn edits_void_signatures_and_say_so() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let ceremony = people.begin(here.path());
    ceremony.sign(&[&people.ann, &people.bob]).unwrap();
    let edited = ceremony.set_threshold(Role::Root, 1, now()).unwrap();
    assert_eq!((edited.version, edited.voided), (1, 2));
    let edited = ceremony.add_target("a/b.txt", b"x", None, now()).unwrap();
    assert_eq!((edited.role, edited.version, edited.voided), (Role::Targets, 1, 1));
    assert!(matches!(ceremony.remove_target("c", now()), Err(CeremonyError::NoTarget { .. })));
}

#[test]
fn impossible_roots_and_names_are_refused() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let ceremony = people.begin(here.path());
    let ann = people.ann.public_key();
    assert!(matches!(ceremony.set_threshold(Role::Root, 3, now()), Err(CeremonyError::Roles { role: "root", .. })));
    assert!(matches!(ceremony.set_threshold(Role::Root, 0, now()), Err(CeremonyError::Roles { .. })));
    assert!(matches!(ceremony.remove_key(Role::Root, ann.id(), None, now()), Err(CeremonyError::Roles { .. })));
    assert!(matches!(ceremony.remove_key(Role::Targets, ann.id(), None, now()), Err(CeremonyError::Roles { .. })));
    assert!(matches!(ceremony.add_key(Role::Root, ann.clone(), None, now()), Err(CeremonyError::Roles { .. })));
    assert!(matches!(ceremony.remove_key(Role::Snapshot, ann.id(), None, now()), Err(CeremonyError::NoKey { .. })));
    assert!(matches!(ceremony.rotate("", ann, &Role::ALL, now()), Err(CeremonyError::NoKey { .. })));
    assert!(matches!(ceremony.renew(Role::Snapshot, now()), Err(CeremonyError::Roles { .. })));
    for name in ["", "/a", "a//b", "../a", ".a", "a/..", "a\\b", "a?b", "a\nb"] {
        let result = ceremony.add_target(name, b"", None, now());
        assert!(matches!(result, Err(CeremonyError::TargetName { .. })), "{name:?}");
    }
    ceremony.remove_key(Role::Root, ann.id(), Some(1), now()).unwrap();
    assert!(matches!(Ceremony::open(here.path()), Err(CeremonyError::Busy(_))), "one at a time");
    drop(ceremony);
    assert!(matches!(Ceremony::create(here.path(), people.roles(), Validity::default(), now()), Err(CeremonyError::Exists(_))));
    let nowhere = here.path().join("none");
    assert!(matches!(Ceremony::open(&nowhere), Err(CeremonyError::NoRepository(_))));
}

#[test]
fn a_machine_with_the_timestamp_key_alone_keeps_it_fresh() {
    let (here, mut people) = (tempfile::tempdir().unwrap(), People::new());
    let clock = key(KeyType::EcdsaP256);
    let mut roles = people.roles();
    roles.insert(Role::Timestamp, RoleKeys { keys: vec![public(&clock)], threshold: 1 });
    let mut ceremony = Ceremony::create(here.path(), roles, Validity::default(), now()).unwrap();
    ceremony.sign(&[&people.ann, &people.bob]).unwrap();
    ceremony.publish(&[&people.online, &clock], now(), |_| Ok(())).unwrap();
    let later = at("2026-01-20T00:00:00Z");
    let done = ceremony.publish(&[&clock], later, |_| Ok(())).unwrap();
    assert_eq!(done.versions.map(|(_, version)| version), [1, 1, 1, 2]);
    assert!(fetched(&ceremony.published_dir(), "none", later).unwrap_err().to_string().contains("not listed"));
    ceremony.add_target("a", b"a", None, later).unwrap();
    ceremony.sign(&[&people.ann]).unwrap();
    assert!(matches!(ceremony.publish(&[&clock], later, |_| Ok(())), Err(CeremonyError::Unsigned(_))));
    people.online = clock;
    let expired = ceremony.publish(&[&people.online], at("2028-01-01T00:00:00Z"), |_| Ok(())).unwrap_err();
    assert!(matches!(expired, CeremonyError::Expired { role: "root", .. }), "{expired}");
}

#[test]
fn a_publication_that_a_client_refuses_is_not_made() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let mut ceremony = people.published(here.path());
    ceremony.add_target("trusted_root.json", b"two", None, now()).unwrap();
    ceremony.sign(&[&people.ann]).unwrap();
    let seen = RefCell::new(Vec::new());
    let refused = ceremony.publish(&[&people.online], now(), |dir| {
        *seen.borrow_mut() = fetched(dir, "trusted_root.json", now()).unwrap();
        Err("no".into())
    });
    assert!(matches!(refused, Err(CeremonyError::Check(_))) && *seen.borrow() == b"two");
    assert_eq!(fetched(&ceremony.published_dir(), "trusted_root.json", now()).unwrap(), b"one");
    ceremony.publish(&[&people.online], now(), |_| Ok(())).unwrap();
    assert_eq!(fetched(&ceremony.published_dir(), "trusted_root.json", now()).unwrap(), b"two");
}

/// The power fails after each single change on the disk: what is served stays whole, and the next attempt succeeds.
#[test]
fn a_power_failure_at_any_step_leaves_a_valid_repository() {
    let people = People::new();
    let new = People::new();
    let mut steps = 0;
    loop {
        let here = tempfile::tempdir().unwrap();
        let ceremony = people.published(here.path());
        // The worst case: every key changes together with a target.
        for (old, new) in [(&people.ann, &new.ann), (&people.bob, &new.bob), (&people.online, &new.online)] {
            ceremony.rotate(old.public_key().id(), &public(new), &Role::ALL, now()).unwrap();
        }
        ceremony.add_target("trusted_root.json", b"two", None, now()).unwrap();
        ceremony.sign(&[&people.ann, &people.bob, &new.ann, &new.bob]).unwrap();
        let published = ceremony.published_dir();
        drop(ceremony);

        let mut ceremony = Ceremony::open_on(here.path(), Disk::failing_after(steps)).unwrap();
        let outcome = ceremony.publish(&[&new.online], now(), |_| Ok(()));
        drop(ceremony);
        let seen = fetched(&published, "trusted_root.json", now()).unwrap();
        assert!(seen == b"one" || seen == b"two", "after {steps} steps");

        let mut again = Ceremony::open(here.path()).unwrap();
        again.publish(&[&new.online], now(), |_| Ok(())).unwrap();
        assert_eq!(fetched(&published, "trusted_root.json", now()).unwrap(), b"two", "after {steps} steps");
        assert!(!here.path().join("staged/root.json").exists());
        if outcome.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 15, "only {steps} steps were tried");
}

#[test]
fn a_directory_is_served_and_nothing_else_of_it() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let ceremony = people.published(here.path());
    fs::write(here.path().join("secret"), "s").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let router = crate::tuf::static_router(ceremony.published_dir());
    let server = runtime.block_on(async {
        let listener = crate::server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        crate::server::Server::start(listener, router).unwrap()
    });
    // By hand: clients tidy paths up before they send them.
    let code = |path: &str| {
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    for path in ["/1.root.json", "/root.json", "/timestamp.json", "/1.snapshot.json"] {
        assert_eq!(code(path), 200, "{path}");
    }
    for path in ["/2.root.json", "/targets", "/../secret", "/%2e%2e/secret", "/..%2fsecret", "/.lock", "/"] {
        assert_eq!(code(path), 404, "{path}");
    }
}

#[test]
fn the_picture_says_who_is_missing_and_what_changes() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let ceremony = people.published(here.path());
    let new = key(KeyType::RsaPss);
    ceremony.rotate(people.bob.public_key().id(), &public(&new), &Role::ALL, now()).unwrap();
    let custom = json!({"sigstore": {"usage": "Rekor", "status": "Active", "uri": "https://rekor.example"}});
    ceremony.add_target("rekor.pub", b"k", Some(custom), now()).unwrap();
    ceremony.sign(&[&people.ann]).unwrap();
    let status = ceremony.status(now()).unwrap();
    let text = status.to_string();
    for words in [
        "(publication 1)",
        "root      version 1, valid until 2027-01-01T00:00:00Z (365 days); 2 of 2 keys",
        "ed25519, signed",
        "1 target\n    trusted_root.json (3 bytes",
        "staged: root version 2",
        &format!("root: without the key {}", people.bob.public_key().id()),
        &format!("root: with the key {}", new.public_key().id()),
        "1 of 2 signatures by the rule of root 1, which clients trust now\n",
        "staged: targets version 2",
        "adds rekor.pub",
        "1 of 1 signatures by the rule of root 2: enough",
    ] {
        assert!(text.contains(words), "{words:?} is missing\n{text}");
    }
    assert!(ceremony.status(at("2030-01-01T00:00:00Z")).unwrap().to_string().contains("EXPIRED at 2026-01-08"));
    let file = fs::read(here.path().join("staged/root.json")).unwrap();
    let seen = describe(Path::new("root.json"), &file, None, now()).unwrap();
    assert_eq!(seen.staged[0].needs[0].signed, [people.ann.public_key().id()]);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["roles"][0]["threshold"], 2);
    assert_eq!(json["staged"][0]["needs"][0]["missing"][0], people.bob.public_key().id());
}

/// tough computes key ids anew, refuses duplicate signatures, and wants every root signed by its predecessor.
#[test]
fn tough_follows_from_the_first_root() {
    let (here, people) = (tempfile::tempdir().unwrap(), People::new());
    let mut ceremony = Ceremony::create(here.path(), people.roles(), Validity::default(), Timestamp::now()).unwrap();
    ceremony.add_target("dir/trusted_root.json", b"one", None, Timestamp::now()).unwrap();
    ceremony.sign(&[&people.ann, &people.bob]).unwrap();
    ceremony.publish(&[&people.online], Timestamp::now(), |_| Ok(())).unwrap();
    let rsa = key(KeyType::RsaPss);
    ceremony.rotate(people.ann.public_key().id(), &public(&rsa), &[Role::Root], Timestamp::now()).unwrap();
    ceremony.sign(&[&people.ann, &people.bob, &rsa]).unwrap();
    ceremony.publish(&[&people.online], Timestamp::now(), |_| Ok(())).unwrap();
    let published = ceremony.published_dir();
    let root = fs::read(published.join("1.root.json")).unwrap();
    let url = |path: &Path| url::Url::from_directory_path(path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let versions = runtime.block_on(async {
        let loader = tough::RepositoryLoader::new(&root, url(&published), url(&published.join("targets")));
        let loaded = loader.transport(tough::FilesystemTransport).load().await.unwrap();
        (loaded.root().signed.version.get(), loaded.all_targets().count())
    });
    assert_eq!(versions, (2, 1));
}
