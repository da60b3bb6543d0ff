//! `login`: tries credentials before it keeps them, in docker's `config.json`.

use std::path::{Path, PathBuf};

use http::StatusCode;
use serde_json::{Map, Value, json};
use vidimus_core::{Repository, encoding};

use super::{
    OciError, Registry, RegistryOptions,
    auth::Scopes,
    credentials::{ConfigFile, docker_config_file, server_key},
    helper,
};
use crate::http::{Client, Method};

/// Where a login was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// In this file, base64 but not encrypted.
    File(PathBuf),
    /// By this credential helper.
    Helper(String),
}

impl Login {
    /// Checks a user name and a password with a registry and, if it accepts them, keeps them where docker, cosign and oras look.
    /// `file` is the `config.json` to use instead of docker's own.
    pub async fn login(
        http: &Client,
        options: &RegistryOptions,
        registry: &str,
        username: &str,
        password: &str,
        file: Option<&Path>,
    ) -> Result<Self, OciError> {
        let failed = |why: String| OciError::Credentials { registry: registry.to_owned(), why };
        // Any name will do to speak of the registry as a whole; it is not asked about.
        let repository: Repository = format!("{registry}/login").parse().map_err(|e: vidimus_core::ParseError| failed(e.why))?;
        let options = RegistryOptions { username: Some(username.into()), password: Some(password.into()), ..options.clone() };
        let client = Registry::new(http, options);
        let base = client.endpoint(repository.registry()).await?.base;
        let url = base.join("v2/").map_err(|e| failed(e.to_string()))?;
        let shape = |r: crate::http::Request| r.allow(StatusCode::NOT_FOUND);
        client.send(&repository, &Scopes::default(), Method::GET, &url, shape).await?;
        let file = file.map(Path::to_owned).or_else(docker_config_file);
        let file = file.ok_or_else(|| failed("neither DOCKER_CONFIG nor HOME says where to keep them".into()))?;
        let key = server_key(repository.registry());
        let config = ConfigFile::load(&file)?.unwrap_or_default();
        match config.helper_for(repository.registry()) {
            Some(name) => {
                helper::store(name, &key, username, password).await.map_err(failed)?;
                Ok(Self::Helper(name.to_owned()))
            }
            None => {
                keep(&file, &key, &format!("{username}:{password}")).map_err(|e| OciError::io(&file, e))?;
                Ok(Self::File(file))
            }
        }
    }
}

/// Puts an entry into the file, keeping everything else in it. The new file replaces the old one at once, readable by its owner.
fn keep(file: &Path, key: &str, pair: &str) -> std::io::Result<()> {
    let directory = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    // A link is followed: people keep this file elsewhere.
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let directory = file.parent().unwrap_or(directory);
    let mut config: Map<String, Value> = match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(e) => return Err(e),
    };
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    let auths = auths.as_object_mut().ok_or_else(|| std::io::Error::other("its auths is not an object"))?;
    auths.insert(key.to_owned(), json!({ "auth": encoding::encode(pair) }));
    // tempfile creates with mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut new, &config)?;
    std::io::Write::write_all(&mut new, b"\n")?;
    new.as_file().sync_all()?;
    new.persist(&file).map(|_| ()).map_err(|e| e.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeping_changes_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deep/config.json");
        keep(&file, "r.io", "u:p").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen('{', r#"{"proxies":{"x":1},"#, 1)).unwrap();
        keep(&file, "q.io", "a:b").unwrap();
        let config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(config["proxies"]["x"], 1);
        assert_eq!(config["auths"]["r.io"]["auth"], "dTpw");
        assert_eq!(config["auths"]["q.io"]["auth"], "YTpi");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_broken_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, "{ not json").unwrap();
        assert!(keep(&file, "r.io", "u:p").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ not json");
    }
}
