use super::*;
use crate::tuf::EcdsaKey;

fn key() -> Arc<dyn Signer> {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    Arc::new(EcdsaKey::from_pkcs8(pkcs8.as_ref()).unwrap())
}

fn signers() -> RoleSigners {
    RoleSigners { root: key(), targets: key(), snapshot: key(), timestamp: key() }
}

fn target(content: &str) -> Target {
    Target { name: "trusted_root.json".into(), content: content.into(), custom: None }
}

fn open(dir: &std::path::Path, signers: &RoleSigners) -> Result<Repository, TufError> {
    Repository::open(Tree::open(dir, false).unwrap(), signers.clone(), Lifetimes::default())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn versions(repository: &Repository) -> Vec<u64> {
    repository.expiries().into_iter().map(|(_, version, _)| version).collect()
}

#[test]
fn publishes_once_and_reads_back() {
    let (dir, signers) = (tempfile::tempdir().unwrap(), signers());
    let first = open(dir.path(), &signers).unwrap();
    first.publish(&[target("a")], at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(versions(&first), [1, 1, 1, 1]);
    let again = open(dir.path(), &signers).unwrap();
    again.publish(&[target("a")], at("2026-01-01T01:00:00Z")).unwrap();
    assert_eq!(versions(&again), [1, 1, 1, 1], "nothing changed, nothing is signed");
    again.publish(&[target("b")], at("2026-01-01T02:00:00Z")).unwrap();
    assert_eq!(versions(&again), [1, 2, 2, 2]);
    assert!(again.file("2.root.json").is_none());
    assert!(again.file(&target("a").path()).is_some(), "clients in the middle of an update still find the old file");
}

#[test]
fn renews_at_half_life_and_after_a_long_sleep() {
    let (dir, signers) = (tempfile::tempdir().unwrap(), signers());
    let repository = open(dir.path(), &signers).unwrap();
    repository.publish(&[target("a")], at("2026-01-01T00:00:00Z")).unwrap();
    repository.refresh(at("2026-01-04T11:00:00Z")).unwrap();
    assert_eq!(versions(&repository), [1, 1, 1, 1]);
    repository.refresh(at("2026-01-04T13:00:00Z")).unwrap();
    assert_eq!(versions(&repository), [1, 1, 1, 2]);
    repository.refresh(at("2026-01-17T00:00:00Z")).unwrap();
    assert_eq!(versions(&repository), [1, 1, 2, 3]);
    repository.refresh(at("2028-01-01T00:00:00Z")).unwrap();
    assert_eq!(versions(&repository), [2, 2, 3, 4]);
    let now = at("2028-01-01T00:00:00Z");
    assert!(repository.expiries().iter().all(|(_, _, expires)| *expires > now));
    assert!(repository.file("1.root.json").is_some(), "old roots stay: clients walk through all of them");
}

#[test]
fn a_crash_before_the_timestamp_changes_nothing() {
    let (dir, signers) = (tempfile::tempdir().unwrap(), signers());
    let repository = open(dir.path(), &signers).unwrap();
    repository.publish(&[target("a")], at("2026-01-01T00:00:00Z")).unwrap();
    let timestamp = std::fs::read(dir.path().join("timestamp.json")).unwrap();
    repository.publish(&[target("b")], at("2026-01-01T00:00:00Z")).unwrap();
    std::fs::write(dir.path().join("timestamp.json"), timestamp).unwrap();
    let again = open(dir.path(), &signers).unwrap();
    assert_eq!(versions(&again), [1, 1, 1, 1]);
    again.publish(&[target("c")], at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(versions(&again), [1, 2, 2, 2]);
}

#[test]
fn foreign_keys_and_damage_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let ours = signers();
    open(dir.path(), &ours).unwrap().publish(&[target("a")], at("2026-01-01T00:00:00Z")).unwrap();
    assert!(matches!(open(dir.path(), &signers()), Err(TufError::Corrupt { .. })));
    std::fs::remove_file(dir.path().join("1.snapshot.json")).unwrap();
    assert!(matches!(open(dir.path(), &ours), Err(TufError::Corrupt { file, .. }) if file == "1.snapshot.json"));
}

/// The repository as an independent client fetches it.
struct Mirror(Arc<Repository>);

impl sigstore_tuf::Repository for Mirror {
    fn fetch_metadata<'a>(&'a self, name: &'a str, _: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { Ok(self.0.file(name).map(|bytes| bytes.to_vec())) })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, _: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { Ok(self.0.file(&format!("targets/{path}")).map(|bytes| bytes.to_vec())) })
    }
}

async fn download(repository: &Arc<Repository>, root: &[u8], now: &str) -> Result<Vec<u8>, sigstore_tuf::Error> {
    let mut updater = sigstore_tuf::client::Updater::new(Mirror(repository.clone()), root)?;
    updater.refresh(at(now)).await?;
    updater.get_target("trusted_root.json", at(now)).await
}

#[tokio::test]
async fn an_independent_client_follows_from_the_first_root() {
    let (dir, signers) = (tempfile::tempdir().unwrap(), signers());
    let repository = Arc::new(open(dir.path(), &signers).unwrap());
    repository.publish(&[target("a")], at("2026-01-01T00:00:00Z")).unwrap();
    let root = repository.file("1.root.json").unwrap();
    assert_eq!(download(&repository, &root, "2026-01-02T00:00:00Z").await.unwrap(), b"a");
    let frozen = download(&repository, &root, "2026-01-09T00:00:00Z").await.unwrap_err();
    assert!(frozen.to_string().contains("expired"), "{frozen}");
    repository.refresh(at("2026-01-09T00:00:00Z")).unwrap();
    assert_eq!(download(&repository, &root, "2026-01-09T00:00:00Z").await.unwrap(), b"a");
    repository.publish(&[target("b")], at("2028-05-01T00:00:00Z")).unwrap();
    assert_eq!(download(&repository, &root, "2028-05-01T00:00:00Z").await.unwrap(), b"b", "two years later, from the old root");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = open(elsewhere.path(), &self::signers()).unwrap();
    other.publish(&[target("evil")], at("2028-05-01T00:00:00Z")).unwrap();
    assert!(download(&Arc::new(other), &root, "2028-05-01T00:00:00Z").await.is_err(), "another repository's keys");
}

/// tough recomputes key ids and reads the repository as files: a stricter reader than most.
#[tokio::test]
async fn tough_reads_what_lies_on_disk() {
    use tough::IntoVec;
    let (dir, signers) = (tempfile::tempdir().unwrap(), signers());
    let repository = open(dir.path(), &signers).unwrap();
    repository.publish(&[target("a")], Timestamp::now()).unwrap();
    let root = repository.root().unwrap();
    let url = |path: &std::path::Path| url::Url::from_directory_path(path).unwrap();
    let load = |root: Vec<u8>| async move {
        let loader = tough::RepositoryLoader::new(&root, url(dir.path()), url(&dir.path().join("targets")));
        let loaded = loader.transport(tough::FilesystemTransport).load().await?;
        let name = tough::TargetName::new("trusted_root.json").unwrap();
        loaded.read_target(&name).await?.unwrap().into_vec().await
    };
    assert_eq!(load(root.to_vec()).await.unwrap(), b"a");
}
