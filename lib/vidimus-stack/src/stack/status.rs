//! `stack status`: what a stack serves, how much it holds, and when what expires.

use std::{fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{StackDir, StackError};

/// A stack at a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The origin of the directory.
    pub origin: String,
    /// The process that serves it, when one does.
    pub pid: Option<u32>,
    /// When that process started.
    pub started: Option<jiff::Timestamp>,
    /// Version of the program.
    pub version: String,
    /// Every service.
    pub services: Vec<Service>,
}

/// One service of a stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `fulcio`, `rekor v1`, …
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// What it holds, in words: `12 entries`.
    pub holds: String,
    /// When what it relies on expires first.
    pub expires: Option<jiff::Timestamp>,
}

impl Service {
    pub(super) fn new(name: &str, url: &str, holds: &str, expires: Option<jiff::Timestamp>) -> Self {
        Self { name: name.to_owned(), url: url.to_owned(), holds: holds.to_owned(), expires }
    }
}

/// How long a running stack may take to tell: it counts its registry's files.
const ANSWER: Duration = Duration::from_secs(30);

/// Looks at the stack in `dir`. A running one is asked; of one that is not running, only what `stack.json` says is known.
pub async fn status(dir: &Path) -> Result<Status, StackError> {
    let record = StackDir::read(dir)?;
    match StackDir::holder(dir)? {
        Some(_) => ask(&record.origin).await,
        None => Ok(Status { origin: record.origin, pid: None, started: None, version: record.version, services: Vec::new() }),
    }
}

async fn ask(origin: &str) -> Result<Status, StackError> {
    let failed = |error: reqwest::Error| StackError::Service { service: "status", why: error.to_string() };
    // A proxy has no business between a stack and its own machine.
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER).build().map_err(failed)?;
    let answer = client.get(format!("{origin}/status.json")).send().await.map_err(failed)?;
    answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.started) {
            (Some(pid), Some(started)) => writeln!(out, "{} running, process {pid} since {started}", self.origin)?,
            _ => writeln!(out, "{} not running", self.origin)?,
        }
        for service in &self.services {
            write!(out, "  {:<12} {:<44} {}", service.name, service.url, service.holds)?;
            if let Some(expires) = service.expires {
                write!(out, ", expires {expires}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
