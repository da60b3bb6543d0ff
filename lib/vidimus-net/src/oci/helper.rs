//! Docker credential helpers: `docker-credential-<name> get|store` with the server on standard input.

use std::{process::Stdio, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::Credential;

/// A helper may ask a cloud's metadata service or unlock a key ring; one that waits for a person longer than this blocks a pipeline.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Tokens of cloud registries are a few KiB.
const MAX_OUTPUT: u64 = 1 << 20;
/// What every helper prints, by the protocol, when it knows nothing about a server.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stored<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// Asks a helper. `Ok(None)` only if it said that it has nothing.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, String> {
    let (success, output) = run(name, "get", server.as_bytes()).await?;
    if !success {
        let text = String::from_utf8_lossy(&output);
        return match text.contains(NOT_FOUND) {
            true => Ok(None),
            false => Err(format!("docker-credential-{name} failed: {}", crate::http::explain(&output))),
        };
    }
    // The output may hold a secret: the error must not quote it.
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| format!("docker-credential-{name} answered with something that is not JSON"))?;
    Ok(Some(Credential::from_pair(answer.username, answer.secret)))
}

/// Hands a credential to a helper for keeping.
pub(super) async fn store(name: &str, server: &str, username: &str, secret: &str) -> Result<(), String> {
    let input = serde_json::to_vec(&Stored { server_url: server, username, secret }).map_err(|e| e.to_string())?;
    match run(name, "store", &input).await? {
        (true, _) => Ok(()),
        (false, output) => Err(format!("docker-credential-{name} could not store it: {}", crate::http::explain(&output))),
    }
}

async fn run(name: &str, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>), String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(format!("{name:?} is not the name of a credential helper"));
    }
    let program = format!("docker-credential-{name}");
    let exchange = async {
        let mut child = Command::new(&program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        // A helper that answers without reading its input is not wrong.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let mut output = Vec::new();
        stdout.take(MAX_OUTPUT).read_to_end(&mut output).await?;
        Ok::<_, std::io::Error>((child.wait().await?.success(), output))
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(e)) => Err(format!("{program}: {e}")),
        Err(_) => Err(format!("{program} did not answer within {} s", TIMEOUT.as_secs())),
    }
}
