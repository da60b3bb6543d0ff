//! The stack's verbs, and a real registry of the world outside where one is installed.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::sandbox::{JDOE, Sandbox, image_on, stack};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of the peers, if they are installed. Where they must be, a missing one fails the test.
fn peer(name: &str) -> Option<PathBuf> {
    let path =
        std::env::var_os("VIDIMUS_PEERS").map(|dir| PathBuf::from(dir).join("bin").join(name)).filter(|path| path.exists());
    assert!(path.is_some() || std::env::var_os("VIDIMUS_REQUIRE_PEERS").is_none(), "{name} is not installed; see scripts/peers");
    path
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_stack_from_up_to_down() {
    let mut sandbox = Sandbox::bare();
    let dir = sandbox.path().join("stack").display().to_string();
    let up = Command::new(env!("CARGO_BIN_EXE_vidimus"))
        .args(["stack", "up", "--dir", &dir])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let up = Running(up);
    let status = sandbox.run(&format!("stack status --wait 60s --dir {dir}")).exits(0);
    assert!(status.stdout.contains("running"), "{status}");
    sandbox.set("VIDIMUS_STACK_DIR", &dir);
    let env = sandbox.run("stack env").exits(0);
    assert!(env.stdout.contains("export TUF_MIRROR='http://127.0.0.1:"), "{env}");
    let token = sandbox.run(&format!("stack token --email {JDOE}")).exits(0);
    assert_eq!(token.stdout.matches('.').count(), 2, "{token}");
    sandbox.run("stack token --email nonsense").exits(2);
    sandbox.run_with("stack user add --password-stdin jdoe@example.com", b"correct horse\n").exits(0).says("added");
    sandbox.run_with("stack user add --password-stdin jdoe@example.com", b"battery staple\n").exits(0).says("changed");
    sandbox.run_with("stack user add --password-stdin eve@example.com", b"short\n").exits(2).says("password");
    assert_eq!(sandbox.run("stack user list").exits(0).stdout, "jdoe@example.com\n");
    sandbox.run("stack user remove jdoe@example.com").exits(0);
    sandbox.run("stack user remove jdoe@example.com").exits(2);
    let image = sandbox.run("stack image --name try/it").exits(0).stdout;
    assert!(image.contains("/try/it@sha256:"), "{image}");
    sandbox.run(&format!("tree {}", image.trim())).exits(0);
    let exported = sandbox.run("stack export --out public").exits(0);
    assert!(exported.stdout.contains("public/trusted_root.json"), "{exported}");
    sandbox.run(&format!("stack up --dir {dir}")).exits(3).says("already served");
    sandbox.run("stack down").exits(0);
    sandbox.run("stack down").exits(3).says("not running");
    sandbox.run("stack status --wait 100ms").exits(3).says("no stack was ready");
    drop(up);
}

#[test]
fn listening_beyond_loopback_takes_a_flag() {
    Sandbox::bare().run("stack up --listen 0.0.0.0").exits(2).says("--expose");
}

/// docker's registry knows nothing of referrers.
#[test]
fn the_chain_on_dockers_registry() {
    let Some(program) = peer("docker-registry") else { return };
    let sandbox = Sandbox::new();
    let port = free_port();
    let data = sandbox.path().join("registry");
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        data.display()
    );
    let config = sandbox.file("registry.yml", config);
    let child = Command::new(program).arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _registry = Running(child);
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "the registry did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let image = image_on(&format!("127.0.0.1:{port}"), "app");
    sandbox.file("p.json", "{}");
    sandbox.run(&format!("sign -y {image}")).exits(0);
    sandbox.run(&format!("attest -y --predicate p.json {image}")).exits(0);
    let signer = sandbox.signer();
    sandbox.run(&format!("verify {signer} {image}")).exits(0);
    sandbox.run(&format!("verify-attestation {signer} {image}")).exits(0);
    let tree = sandbox.run(&format!("tree -o json {image}")).exits(0).json();
    assert_eq!(tree["artifacts"].as_array().unwrap().len(), 2, "{tree}");
    sandbox.run(&format!("validate image --image {image} {signer}")).exits(0);
    if let Some(cosign) = peer("cosign") {
        let line = format!(
            "verify --trusted-root trusted_root.json --certificate-identity {JDOE} --certificate-oidc-issuer {} {image}",
            stack().origin()
        );
        sandbox.program(&cosign, &line, b"").exits(0).says("The cosign claims were validated");
    }
}
