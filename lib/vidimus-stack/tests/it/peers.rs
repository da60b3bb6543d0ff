//! The real clients against a whole stack: what one signs the others verify.
//!
//! They come from `scripts/peers`; where one is missing its test is skipped, or fails if `VIDIMUS_REQUIRE_PEERS=1`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use vidimus_core::digest::sha256;
use vidimus_stack::stack::{Running, Stack, StackConfig};

const EMAIL: &str = "dev@example.com";
const PREDICATE: &str = r#"{"buildDefinition":{"buildType":"https://example.com/build","externalParameters":{}},"runDetails":{"builder":{"id":"https://example.com/builder"}}}"#;

/// A stack, and a home directory for the clients with the stack's public files and something to sign.
struct Bench {
    running: Running,
    home: TempDir,
    token: String,
}

impl Bench {
    /// Starts a stack, if all of these clients are there.
    async fn with(peers: &[&str]) -> Option<Self> {
        Self::start(peers, StackConfig::default()).await
    }

    async fn start(peers: &[&str], config: StackConfig) -> Option<Self> {
        for peer in peers {
            if !program(peer).is_some_and(|program| program.exists()) {
                assert!(std::env::var("VIDIMUS_REQUIRE_PEERS").as_deref() != Ok("1"), "{peer} is not installed");
                eprintln!("skipped: {peer} is not installed");
                return None;
            }
        }
        let running = Stack::start(config).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        running.export(home.path()).unwrap();
        let token = running.token(EMAIL).unwrap();
        let bench = Self { running, home, token };
        bench.write("f", b"content");
        bench.write("predicate.json", PREDICATE.as_bytes());
        let digest = hex::encode(sha256(b"content"));
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"f","digest":{{"sha256":"{digest}"}}}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{PREDICATE}}}"#
        );
        bench.write("statement.json", statement.as_bytes());
        Some(bench)
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.home.path().join(name), content).unwrap();
    }

    /// Runs a client with words separated by spaces, in which `{origin}` and so on stand for the stack's.
    fn try_run(&self, peer: &str, words: &str) -> Result<String, String> {
        let origin = self.running.origin();
        let filled = |word: &str| {
            let word = word.replace("{origin}", origin).replace("{registry}", self.running.registry());
            word.replace("{tuf}", &format!("{origin}/tuf")).replace("{token}", &self.token).replace("{email}", EMAIL)
        };
        let mut command = Command::new(program(peer).unwrap());
        command.args(words.split_whitespace().map(filled)).current_dir(self.home.path()).env("HOME", self.home.path());
        for (name, _) in
            std::env::vars().filter(|(name, _)| ["COSIGN_", "SIGSTORE_", "TUF_", "REKOR_"].iter().any(|p| name.starts_with(p)))
        {
            command.env_remove(name);
        }
        // Each keeps its own TUF state, as on two machines.
        if peer == "cosign2" {
            command.env("TUF_ROOT", self.home.path().join("cosign2"));
        }
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(text) }
    }

    fn run(&self, peer: &str, words: &str) -> String {
        self.try_run(peer, words).unwrap_or_else(|text| panic!("{peer} {words}\n{text}"))
    }

    /// Pushes a small image and returns its reference by digest.
    fn image(&self) -> String {
        self.run("oras", "push --plain-http {registry}/app:v1 f");
        let digest = self.run("crane", "digest --insecure {registry}/app:v1");
        format!("{}/app@{}", self.running.registry(), digest.trim())
    }
}

fn program(name: &str) -> Option<PathBuf> {
    Some(Path::new(&std::env::var_os("VIDIMUS_PEERS")?).join("bin").join(name))
}

const IDENTITY: &str = "--certificate-identity {email} --certificate-oidc-issuer {origin}";
const JS_TRUST: &str = "--tuf-mirror {tuf} --tuf-root root.json --tuf-cache js-cache";

#[tokio::test(flavor = "multi_thread")]
async fn blobs_signed_by_one_are_verified_by_all() {
    let Some(bench) = Bench::with(&["cosign", "sigstore-python", "sigstore-js", "sigstore-go-verification"]).await else {
        return;
    };
    bench.run("cosign", "initialize --mirror {tuf} --root root.json");
    bench.run("cosign", "sign-blob --yes --identity-token {token} --bundle cosign.json f");
    bench.run("sigstore-python", "--trust-config trust_config.json sign --identity-token {token} --bundle python.json f");
    bench.run(
        "sigstore-python",
        "--trust-config trust_config.json sign --identity-token {token} --rekor-version 1 --bundle python-v1.json f",
    );
    bench.run("sigstore-js", &format!("sign --token {{token}} {JS_TRUST} --bundle js.json f"));
    for bundle in ["cosign.json", "python.json", "python-v1.json", "js.json"] {
        bench.run("cosign", &format!("verify-blob --bundle {bundle} {IDENTITY} f"));
        let python = "--trust-config trust_config.json verify identity --cert-identity {email} --cert-oidc-issuer {origin}";
        bench.run("sigstore-python", &format!("{python} --bundle {bundle} f"));
        bench.run("sigstore-js", &format!("verify {JS_TRUST} --bundle {bundle} --email {{email}} --issuer {{origin}} f"));
        let go = "-artifact f -expectedSAN {email} -expectedIssuer {origin} -trustedrootJSONpath trusted_root.json";
        bench.run("sigstore-go-verification", &format!("{go} {bundle}"));
    }
    let wrong =
        bench.try_run("cosign", "verify-blob --bundle js.json --certificate-identity x@y.z --certificate-oidc-issuer {origin} f");
    assert!(wrong.unwrap_err().contains("no matching CertificateIdentity"));
    bench.write("f", b"other content");
    bench.try_run("cosign", &format!("verify-blob --bundle js.json {IDENTITY} f")).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn attestations_signed_by_one_are_verified_by_all() {
    let Some(bench) = Bench::with(&["cosign", "sigstore-python", "sigstore-js", "sigstore-go-verification"]).await else {
        return;
    };
    bench.run("cosign", "initialize --mirror {tuf} --root root.json");
    bench.run("cosign", "attest-blob --yes --identity-token {token} --bundle cosign.json --statement statement.json");
    bench.run(
        "sigstore-python",
        "--trust-config trust_config.json attest --identity-token {token} --predicate predicate.json \
         --predicate-type https://slsa.dev/provenance/v1 --bundle python.json f",
    );
    let js = "attest --token {token} --fulcio {origin} --rekor {origin}";
    bench.run("sigstore-js", &format!("{js} --tsa {{origin}} --bundle js.json statement.json"));
    bench.run("sigstore-js", &format!("{js} --legacy --bundle js-intoto.json statement.json"));
    for bundle in ["cosign.json", "python.json", "js.json", "js-intoto.json"] {
        bench.run("cosign", &format!("verify-blob-attestation --bundle {bundle} --type slsaprovenance1 {IDENTITY} f"));
        bench.run("sigstore-js", &format!("verify {JS_TRUST} --bundle {bundle} --email {{email}} --issuer {{origin}}"));
        let go = "-artifact f -expectedSAN {email} -expectedIssuer {origin} -trustedrootJSONpath trusted_root.json";
        bench.run("sigstore-go-verification", &format!("{go} {bundle}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_with_and_without_the_referrers_api() {
    for without_referrers in [false, true] {
        let config = StackConfig { without_referrers, ..StackConfig::default() };
        let Some(bench) = Bench::start(&["cosign", "cosign2", "oras", "crane"], config).await else { return };
        let image = bench.image();
        bench.run("cosign", "initialize --mirror {tuf} --root root.json");
        bench.run("cosign", &format!("sign --yes --identity-token {{token}} {image}"));
        bench.run(
            "cosign",
            &format!("attest --yes --identity-token {{token}} --predicate predicate.json --type slsaprovenance1 {image}"),
        );
        bench.run("cosign", &format!("verify {IDENTITY} {image}"));
        bench.run("cosign", &format!("verify-attestation --type slsaprovenance1 {IDENTITY} {image}"));
        assert!(bench.run("cosign", &format!("tree {image}")).contains("https://slsa.dev/provenance/v1"));
        bench
            .try_run("cosign", &format!("verify --certificate-identity x@y.z --certificate-oidc-issuer {{origin}} {image}"))
            .unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_2_with_nothing_but_initialize() {
    let Some(bench) = Bench::with(&["cosign", "cosign2", "oras", "crane"]).await else { return };
    let image = bench.image();
    let services = "--fulcio-url {origin} --rekor-url {origin} --yes --identity-token {token}";
    bench.run("cosign2", "initialize --mirror {tuf} --root root.json");
    bench.run("cosign2", &format!("sign-blob {services} --bundle b.json f"));
    bench.run("cosign2", &format!("verify-blob --rekor-url {{origin}} --bundle b.json {IDENTITY} f"));
    bench.run("cosign2", &format!("sign {services} {image}"));
    bench.run("cosign2", &format!("attest {services} --predicate predicate.json --type slsaprovenance1 {image}"));
    bench.run("cosign2", &format!("verify --rekor-url {{origin}} {IDENTITY} {image}"));
    bench.run("cosign2", &format!("verify-attestation --rekor-url {{origin}} --type slsaprovenance1 {IDENTITY} {image}"));
    bench.run("cosign", "initialize --mirror {tuf} --root root.json");
    bench.run("cosign", &format!("verify {IDENTITY} {image}"));
    bench.run(
        "cosign2",
        &format!("sign-blob --new-bundle-format --timestamp-server-url {{origin}}/api/v1/timestamp {services} --bundle n.json f"),
    );
    // This release asks the public instance's TUF repository unless it is given a root.
    let given = "--new-bundle-format --trusted-root trusted_root.json --use-signed-timestamps";
    bench.run("cosign2", &format!("verify-blob {given} --bundle n.json {IDENTITY} f"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rekor_cli_uploads_finds_and_proves() {
    let Some(bench) = Bench::with(&["rekor-cli"]).await else { return };
    let key = crate::wire::Key::new();
    bench.write("key.pub", key.pem().as_bytes());
    bench.write("f.sig", &key.sign(b"content"));
    let hash = hex::encode(sha256(b"content"));
    let server = "--rekor_server {origin}";
    let entry = format!(
        "--artifact f --signature f.sig --pki-format x509 --public-key key.pub --type hashedrekord --artifact-hash {hash}"
    );
    bench.run("rekor-cli", &format!("{server} upload {entry}"));
    bench.run("rekor-cli", &format!("{server} loginfo"));
    assert!(bench.run("rekor-cli", &format!("{server} search --sha {hash}")).contains("Found matching entries"));
    assert!(bench.run("rekor-cli", &format!("{server} get --log-index 1")).contains(&hash));
    assert!(bench.run("rekor-cli", &format!("{server} verify {entry}")).contains("Inclusion Proof"));
    bench.run("rekor-cli", &format!("{server} logproof --last-size 2"));
    bench.write("f.sig", &key.sign(b"something else"));
    bench.try_run("rekor-cli", &format!("{server} upload {entry}")).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn python_tuf_follows_the_repository() {
    let Some(bench) = Bench::with(&["python-tuf"]).await else { return };
    bench.run("python-tuf", "--metadata-dir tuf init root.json");
    bench.run("python-tuf", "--metadata-dir tuf --metadata-url {tuf} refresh");
    std::fs::create_dir(bench.home.path().join("got")).unwrap();
    let target = "--target-name trusted_root.json --target-base-url {tuf}/targets --target-dir got";
    bench.run("python-tuf", &format!("--metadata-dir tuf --metadata-url {{tuf}} {target} download"));
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_clients_push_copy_and_delete() {
    let Some(bench) = Bench::with(&["oras", "crane", "skopeo"]).await else { return };
    let image = bench.image();
    bench.run("oras", &format!("attach --plain-http --artifact-type application/x.note {image} f"));
    assert!(bench.run("oras", &format!("discover --plain-http {image}")).contains("application/x.note"));
    bench.run("crane", &format!("copy --insecure {image} {{registry}}/copied/app:v2"));
    assert_eq!(bench.run("crane", "catalog --insecure {registry}"), "app\ncopied/app\n");
    let (from, to) = ("docker://{registry}/copied/app:v2", "docker://{registry}/moved:v3");
    bench.run("skopeo", &format!("copy --src-tls-verify=false --dest-tls-verify=false {from} {to}"));
    bench.run("skopeo", &format!("delete --tls-verify=false {to}"));
    bench.try_run("crane", "digest --insecure {registry}/moved:v3").unwrap_err();
    bench.run("oras", "pull --plain-http -o got {registry}/copied/app:v2");
    assert_eq!(std::fs::read(bench.home.path().join("got/f")).unwrap(), b"content");
}
