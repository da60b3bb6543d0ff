//! What every command gets: the user interface, the flags of every command, and a place for its report.

use std::{future::Future, io::Write, path::Path, time::Duration};

use serde_json::{Map, Value, json};
use vidimus::net::http::{Client, Config, Network};

use crate::{
    args::groups::{GlobalArgs, NetworkChoice},
    exit::{End, Failure, file_error},
    ui::Ui,
};

/// One run of one command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ui: Ui,
    pub(crate) global: GlobalArgs,
    report: Map<String, Value>,
}

impl Context {
    pub(crate) fn new(global: GlobalArgs) -> Self {
        Self { ui: Ui::new(&global), global, report: Map::new() }
    }

    /// Runs something that waits for the network, at most `--timeout` long. Only commands that need a runtime start one.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limit = if self.global.timeout.is_zero() { Duration::from_secs(u64::from(u32::MAX)) } else { self.global.timeout };
        runtime()?.block_on(async {
            match tokio::time::timeout(limit, work).await {
                Ok(result) => result,
                Err(_) => Err(Failure::undetermined(format!("timed out after {limit:?}")).hint("--timeout sets the limit")),
            }
        })
    }

    /// An HTTP client that obeys `--network`.
    pub(crate) fn http(&self) -> Client {
        Client::new(self.http_config())
    }

    /// Whether `--network=none` was asked for.
    pub(crate) fn is_without_network(&self) -> bool {
        self.global.network == NetworkChoice::None
    }

    /// How HTTP clients of this run behave.
    pub(crate) fn http_config(&self) -> Config {
        let mut config = Config::default();
        if self.is_without_network() {
            config.network = Network::None;
        }
        config
    }

    /// Notes a result for `--report`.
    pub(crate) fn note(&mut self, key: &str, value: impl serde::Serialize) {
        if self.global.report.is_some() {
            self.report.insert(key.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        }
    }

    /// Writes `--report`, if asked for.
    pub(crate) fn write_report(&mut self, end: End, failure: Option<&Failure>) -> Result<(), Failure> {
        let Some(path) = self.global.report.clone() else { return Ok(()) };
        let mut report = Map::from_iter([
            ("schema".to_owned(), json!("vidimus.report/v1")),
            ("version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
            ("outcome".to_owned(), end.outcome().map_or(json!("usage"), |o| json!(o))),
            ("exitCode".to_owned(), json!(end.code())),
        ]);
        if let Some(failure) = failure {
            report.insert("error".to_owned(), json!(failure.message));
            report.insert("hint".to_owned(), json!(failure.hint));
        }
        report.append(&mut self.report);
        let mut bytes = serde_json::to_vec_pretty(&Value::Object(report)).map_err(Failure::undetermined)?;
        bytes.push(b'\n');
        write_atomically(&path, &bytes, Access::Shared)
    }
}

/// A runtime for the network: two threads, because the work waits more than it computes.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|e| Failure::undetermined(format!("no runtime: {e}")))
}

/// Who may read a file that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The owner alone (mode 0600), as cosign writes bundles.
    Private,
    /// As the process's umask says for new files.
    Shared,
}

/// Writes a file as a whole or not at all: a full disk leaves the old file, or none.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], access: Access) -> Result<(), Failure> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        // A device such as /dev/stdout or a pipe cannot be replaced, only written to.
        if path.exists() && !path.is_file() {
            return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
        }
        let mut file = match access {
            Access::Private => tempfile::NamedTempFile::new_in(dir)?,
            Access::Shared => tempfile::Builder::new().permissions(shared_permissions()).tempfile_in(dir)?,
        };
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| file_error("writing", path, &e))
}

fn shared_permissions() -> std::fs::Permissions {
    // The umask takes away what it must.
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// Reads a file of the user's, "-" meaning stdin, with a limit.
pub(crate) fn read_input(what: &str, path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let read = |source: &mut dyn Read, expected: usize| -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(expected.min(limit) + 1);
        source.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = if path == Path::new("-") {
        read(&mut std::io::stdin().lock(), 0)
    } else {
        std::fs::File::open(path).and_then(|mut file| {
            let expected = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            read(&mut file, expected)
        })
    };
    let bytes = bytes.map_err(|e| file_error(what, path, &e))?;
    if bytes.len() > limit {
        return Err(Failure::usage(format!("{what} {}: more than the {limit} bytes allowed", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.json");
        write_atomically(&path, b"one", Access::Private).unwrap();
        write_atomically(&path, b"two", Access::Private).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_wrong_usage() {
        let failure = write_atomically(Path::new("/no/such/dir/b.json"), b"x", Access::Private).unwrap_err();
        assert_eq!(failure.end, End::Usage);
        assert!(failure.message.contains("/no/such/dir/b.json"), "{failure}");
    }

    #[test]
    fn input_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_input("predicate", &path, 5).unwrap(), b"12345");
        assert_eq!(read_input("predicate", &path, 4).unwrap_err().end, End::Usage);
    }
}
