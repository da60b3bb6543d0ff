//! Real registries and clients, where they are installed (`scripts/peers`): docker-registry 2.8, which has no referrers API, oras and
//! cosign as readers of what we attach.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use vidimus_core::{
    Reference,
    cosign::{Attachment, Layer, LayerKind},
    oci::{BUNDLE_V03, Descriptor},
};
use vidimus_net::{
    http::Client,
    oci::{ArtifactKind, DiscoverOptions, Registry, RegistryOptions, TinyImage, Via},
};

use crate::{
    discover::{SIGN, bundle},
    server::registry,
};

/// A program of `scripts/peers`, or `None` where it is not installed and need not be.
fn peer(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("VIDIMUS_PEERS").map(|dir| Path::new(&dir).join("bin").join(name)).filter(|path| path.exists());
    let required = std::env::var_os("VIDIMUS_REQUIRE_PEERS").is_some();
    assert!(found.is_some() || !required, "{name} is not installed; run scripts/peers");
    if found.is_none() {
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// A real registry, ended with the test.
struct RealRegistry {
    child: Child,
    address: String,
    directory: TempDir,
}

impl RealRegistry {
    async fn start() -> Option<Self> {
        let program = peer("docker-registry")?;
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = directory.path().join("config.yml");
        let root = directory.path().join("data");
        std::fs::write(
            &config,
            format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {address}}}\n", root.display()),
        )
        .unwrap();
        let child = Command::new(program).arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, address, directory };
        let probe = format!("{}/app", server.address).parse().unwrap();
        for _ in 0..200 {
            if registry().tags(&probe).await.is_err_and(|e| e.is_not_found()) {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("docker-registry does not answer");
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    async fn image(&self) -> Descriptor {
        TinyImage::new("f", b"content").unwrap().push(&registry(), &self.reference("app:v1")).await.unwrap()
    }

    /// Runs a client with a home of its own, and gives what it printed.
    fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).env("HOME", self.directory.path()).output().unwrap();
        assert!(output.status.success(), "{program:?} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn impatient(settle: u64) -> Registry {
    let mut options = RegistryOptions::default();
    options.settle = Some(Duration::from_millis(settle));
    Registry::new(&Client::default(), options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_parallel_attaches_are_all_visible() {
    let Some(server) = RealRegistry::start().await else { return };
    let image = server.image().await;
    let repository = server.reference("app").repository().clone();
    let names: BTreeSet<String> = (0..20).map(|n| format!("bundle {n}")).collect();
    let attached = join_all(names.iter().map(|name| {
        let (repository, image) = (&repository, &image);
        async move {
            // A client each, as if each were a process.
            let client = impatient(400);
            client.attach_bundle(repository, image, &bundle(name, SIGN)).await.unwrap()
        }
    }))
    .await;
    assert!(attached.iter().all(|a| matches!(a.via, Via::Tag { .. })));
    let artifacts = registry().discover(&repository, &image.digest, &DiscoverOptions::default()).await;
    let seen: BTreeSet<String> =
        artifacts.items.iter().filter_map(|a| a.content.as_ref()).map(|c| String::from_utf8(c.to_vec()).unwrap()).collect();
    assert_eq!((artifacts.has_api, artifacts.is_complete()), (Some(false), true));
    assert_eq!(seen, names, "{:?}", attached.iter().map(|a| &a.via).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_parallel_legacy_signatures_are_all_visible() {
    let Some(server) = RealRegistry::start().await else { return };
    let image = server.image().await;
    let repository = server.reference("app").repository().clone();
    join_all((0..20_u8).map(|n| {
        let (repository, image) = (&repository, &image);
        async move {
            let layer = Layer { signature: Some(vec![n]), ..Layer::new(LayerKind::SimpleSigning) };
            let client = impatient(400);
            client.attach_legacy(repository, &image.digest, Attachment::Signature, "", &layer, "payload".into()).await.unwrap();
        }
    }))
    .await;
    let artifacts = registry().discover(&repository, &image.digest, &DiscoverOptions::default()).await;
    assert_eq!(artifacts.items.iter().filter(|a| a.found.kind == ArtifactKind::Signature).count(), 20);
}

#[tokio::test]
async fn oras_lists_what_we_attach() {
    let (Some(server), Some(oras)) = (RealRegistry::start().await, peer("oras")) else { return };
    let image = server.image().await;
    let reference = server.reference("app").with_digest(image.digest.clone());
    let attached = impatient(1).attach_bundle(reference.repository(), &image, &bundle("b", SIGN)).await.unwrap();
    let printed = server.run(&oras, &["discover", "--plain-http", "--format", "json", &reference.to_string()]);
    let listed: Value = serde_json::from_str(&printed).unwrap();
    let entry = listed["referrers"].as_array().or(listed["manifests"].as_array()).map(|a| &a[0]).unwrap();
    assert_eq!(entry["digest"], attached.manifest.digest.to_string(), "{printed}");
    assert_eq!(entry["artifactType"], BUNDLE_V03);
}

#[tokio::test]
async fn cosign_lists_what_we_attach_and_we_list_what_cosign_attaches() {
    let (Some(server), Some(cosign)) = (RealRegistry::start().await, peer("cosign")) else { return };
    let image = server.image().await;
    let reference = server.reference("app").with_digest(image.digest.clone());
    let ours = impatient(1).attach_bundle(reference.repository(), &image, &bundle("{}", SIGN)).await.unwrap();
    let key = server.directory.path().join("cosign");
    let prefix = key.to_str().unwrap();
    let signing_config = server.directory.path().join("signing-config.json");
    std::fs::write(
        &signing_config,
        r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}"#,
    )
    .unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&cosign);
        command.args(arguments).env("HOME", server.directory.path()).env("COSIGN_PASSWORD", "");
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let tree = run(&["tree", &reference.to_string()]).1;
    assert!(tree.contains(&ours.manifest.digest.to_string()) && tree.contains(&ours.layer.digest.to_string()), "{tree}");
    assert!(run(&["generate-key-pair", "--output-key-prefix", prefix]).0);
    let key_file = format!("{prefix}.key");
    let config = signing_config.to_str().unwrap();
    let (signed, words) = run(&["sign", "-y", "--key", &key_file, "--signing-config", config, &reference.to_string()]);
    assert!(signed, "{words}");
    let artifacts = registry().discover(reference.repository(), &image.digest, &DiscoverOptions::default()).await;
    assert!(artifacts.is_complete(), "{:?}", artifacts.problems);
    let predicates: Vec<_> = artifacts.items.iter().map(|a| (a.found.kind, a.found.predicate_type())).collect();
    assert_eq!(predicates, [(ArtifactKind::Bundle, Some(SIGN)); 2]);
    // cosign's manifest, made again from its parts, has the same bytes.
    let theirs = artifacts.items.iter().find(|a| a.found.manifest.digest != ours.manifest.digest).unwrap();
    let made_again = vidimus_core::oci::BundleReferrer {
        bundle: theirs.found.layer.clone().unwrap(),
        subject: image.clone(),
        content: vidimus_core::oci::BundleContent::DsseEnvelope,
        predicate_type: theirs.found.predicate_type(),
        created: &theirs.found.annotations[vidimus_core::oci::CREATED],
    };
    assert_eq!(made_again.manifest().digest, theirs.found.manifest.digest);
}

#[tokio::test]
async fn layers_written_by_cosign_2_are_found_and_kept() {
    let (Some(server), Some(cosign)) = (RealRegistry::start().await, peer("cosign2")) else { return };
    let image = server.image().await;
    let reference = server.reference("app").with_digest(image.digest.clone());
    let prefix = server.directory.path().join("cosign").to_str().unwrap().to_owned();
    let key = format!("{prefix}.key");
    let run = |arguments: &[&str]| {
        let output = Command::new(&cosign)
            .args(arguments)
            .env("HOME", server.directory.path())
            .env("COSIGN_PASSWORD", "")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["generate-key-pair", "--output-key-prefix", &prefix]);
    run(&["sign", "-y", "--tlog-upload=false", "--key", &key, &reference.to_string()]);
    let client = impatient(1);
    let before = client.discover(reference.repository(), &image.digest, &DiscoverOptions::default()).await;
    assert!(before.is_complete() && before.items.len() == 1, "{before:?}");
    let theirs = before.items[0].found.layer.as_ref().map(Layer::parse).unwrap().unwrap().unwrap();
    let payload = before.items[0].content.clone().unwrap();
    // Their signature attached once more changes nothing; another one goes beside it, and theirs still verifies.
    let same = client.attach_legacy(reference.repository(), &image.digest, Attachment::Signature, "", &theirs, payload.clone());
    assert!(matches!(same.await.unwrap().via, Via::Tag { writes: 0, .. }));
    let other = Layer { signature: Some(vec![1]), ..Layer::new(LayerKind::SimpleSigning) };
    client.attach_legacy(reference.repository(), &image.digest, Attachment::Signature, "", &other, payload).await.unwrap();
    let after = client.discover(reference.repository(), &image.digest, &DiscoverOptions::default()).await;
    assert_eq!(after.items.len(), 2);
    run(&["verify", "--insecure-ignore-tlog", "--key", &format!("{prefix}.pub"), &reference.to_string()]);
}
