//! What the command line does with a stack's directory: status, environment, tokens, export, stop.

use std::os::unix::fs::PermissionsExt;

use vidimus_core::trust::ClientTrustConfig;
use vidimus_stack::stack::{self, Stack, StackConfig, StackError};

fn config(dir: &tempfile::TempDir) -> StackConfig {
    StackConfig { dir: Some(dir.path().to_owned()), ..StackConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_of_a_running_and_of_a_stopped_stack() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(stack::status(dir.path()).await, Err(StackError::NoStack(_))));
    let running = Stack::start(config(&dir)).await.unwrap();
    let status = stack::status(dir.path()).await.unwrap();
    assert_eq!((status.pid, &*status.origin), (Some(std::process::id()), running.origin()));
    let names: Vec<_> = status.services.iter().map(|service| &*service.name).collect();
    for name in ["fulcio", "ct log", "rekor v2", "tsa", "tuf", "registry"] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(status.to_string().contains("running, process"), "{status}");
    let origin = running.origin().to_owned();
    running.shutdown().await;
    let status = stack::status(dir.path()).await.unwrap();
    assert_eq!((status.pid, status.to_string()), (None, format!("{origin} not running\n")));
    assert!(matches!(stack::down(dir.path()).await, Err(StackError::NotRunning(_))));
}

#[tokio::test]
async fn the_public_files_are_what_tuf_serves() {
    let running = crate::stack().await;
    let into = tempfile::tempdir().unwrap();
    let written = running.export(into.path()).unwrap();
    assert!(written.iter().any(|path| path.ends_with("fulcio_v1.crt.pem")));
    let config = ClientTrustConfig::from_json(&std::fs::read(into.path().join("trust_config.json")).unwrap()).unwrap();
    assert_eq!(config.signing_config.ca_urls[0].url, running.origin());
    let root = reqwest::get(format!("{}/tuf/1.root.json", running.origin())).await.unwrap().bytes().await.unwrap();
    let variables = running.env();
    let file = &variables.iter().find(|(name, _)| *name == "TUF_ROOT_JSON").unwrap().1;
    assert_eq!(std::fs::read(file).unwrap(), root);
    let next = reqwest::get(format!("{}/tuf/2.root.json", running.origin())).await.unwrap();
    assert_eq!(next.status().as_u16(), 404, "the end of the chain of roots");
}

#[tokio::test]
async fn nobody_else_reads_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let running = Stack::start(config(&dir)).await.unwrap();
    let mut dirs = vec![dir.path().join("keys")];
    let mut seen = 0;
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            seen += 1;
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", entry.path().display());
        }
    }
    assert!(seen >= 10, "{seen} key files");
    running.shutdown().await;
}

#[tokio::test]
async fn tokens_and_environment_need_no_running_stack() {
    let dir = tempfile::tempdir().unwrap();
    let running = Stack::start(config(&dir)).await.unwrap();
    let origin = running.origin().to_owned();
    running.shutdown().await;
    let token = stack::token(dir.path(), "dev@example.com").unwrap();
    assert_eq!(token.split('.').count(), 3);
    let env = stack::env(dir.path()).unwrap();
    assert!(env.contains(&("COSIGN_FULCIO_URL", origin)));
    assert!(std::path::Path::new(&env.iter().find(|(name, _)| *name == "TUF_ROOT_JSON").unwrap().1).is_file());
}
