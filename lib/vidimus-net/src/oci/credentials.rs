//! Whose credentials to use: docker's `config.json` with its helpers, then `REGISTRY_AUTH_FILE`, then containers' `auth.json`.
//!
//! The order is go-containerregistry's, with one difference: a file that knows nothing about the registry does not hide the next
//! one. A file that cannot be read, or a helper that fails, is an error: going on anonymously would turn "could not log in" into
//! "not there".

use std::{
    collections::BTreeMap,
    env, fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use vidimus_core::{Repository, encoding, reference::DOCKER_HUB};

use super::{OciError, helper};

/// What proves to a registry who we are.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token (docker's "identity token"), to be exchanged for access tokens.
    Identity(String),
    /// An access token, sent as it is.
    Registry(String),
}

impl Credential {
    /// A pair as files and helpers keep it, where the user name `<token>` marks a refresh token.
    pub(super) fn from_pair(username: String, secret: String) -> Self {
        if username == "<token>" { Self::Identity(secret) } else { Self::Basic { username, password: secret } }
    }
}

/// Shows what kind of secret it is, never the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username}:…)"),
            Self::Identity(_) => f.write_str("Identity(…)"),
            Self::Registry(_) => f.write_str("Registry(…)"),
        }
    }
}

/// Where credentials are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CredentialSources {
    /// Files in docker's or containers' format, in order. Missing files are skipped.
    pub files: Vec<PathBuf>,
}

impl CredentialSources {
    /// Nowhere: anonymous.
    pub fn none() -> Self {
        Self::default()
    }

    /// Where the environment says.
    pub fn from_env() -> Self {
        let var = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let mut files = vec![docker_config_file()];
        files.push(var("REGISTRY_AUTH_FILE"));
        files.push(var("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")));
        Self { files: files.into_iter().flatten().collect() }
    }

    /// The credential for a repository, or `None` if no source has one.
    pub(super) async fn find(&self, repository: &Repository) -> Result<Option<Credential>, OciError> {
        for file in &self.files {
            let Some(config) = ConfigFile::load(file)? else { continue };
            let failed = |why| OciError::Credentials { registry: repository.registry().to_owned(), why };
            if let Some(credential) = config.find(repository).await.map_err(|why| failed(format!("{}: {why}", file.display())))? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Docker's own file: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
pub(super) fn docker_config_file() -> Option<PathBuf> {
    let var = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let directory = var("DOCKER_CONFIG").or_else(|| var("HOME").map(|home| home.join(".docker")));
    directory.map(|d| d.join("config.json"))
}

/// Both formats: containers' has no `credsStore`, docker's no keys with a path.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    pub(super) creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl ConfigFile {
    /// Reads a file; `None` if it does not exist.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, OciError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(OciError::io(path, e)),
        };
        // serde's message quotes no values of strings, so it cannot show a secret.
        serde_json::from_slice(&bytes).map(Some).map_err(|e| OciError::io(path, e))
    }

    async fn find(&self, repository: &Repository) -> Result<Option<Credential>, String> {
        for name in names(repository) {
            if let Some(name_of_helper) = self.helper_for(&name) {
                if let Some(credential) = helper::get(name_of_helper, &server_key(&name)).await? {
                    return Ok(Some(credential));
                }
                continue;
            }
            let entries = self.auths.iter().filter(|(key, _)| normalised(key) == name);
            for (key, entry) in entries {
                if let Some(credential) = entry.credential().map_err(|why| format!("auths[{key:?}]: {why}"))? {
                    return Ok(Some(credential));
                }
            }
        }
        Ok(None)
    }

    /// The helper responsible for a name. The general store is asked for whole registries only: that is what docker keeps in it.
    pub(super) fn helper_for(&self, name: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().find(|(key, _)| normalised(key) == name).map(|(_, helper)| helper);
        let general = self.creds_store.as_ref().filter(|_| !name.contains('/'));
        own.or(general).map(String::as_str).filter(|h| !h.is_empty())
    }
}

impl Entry {
    fn credential(&self) -> Result<Option<Credential>, String> {
        let given = |field: &Option<String>| field.clone().filter(|v| !v.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credential::Registry(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let pair = encoding::decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = pair.ok_or("its auth is not base64 of text")?;
            let (username, password) = pair.split_once(':').ok_or("its auth has no ':' between user name and password")?;
            // Docker pads with NUL bytes on Windows.
            return Ok(Some(Credential::from_pair(username.to_owned(), password.trim_matches('\0').to_owned())));
        }
        match (given(&self.username), given(&self.password)) {
            (Some(username), Some(password)) => Ok(Some(Credential::from_pair(username, password))),
            _ => Ok(None),
        }
    }
}

/// The names under which a repository's credential may be filed, the most specific first: `host/a/b`, `host/a`, `host`.
fn names(repository: &Repository) -> Vec<String> {
    let full = repository.to_string();
    let mut names = vec![full.clone()];
    names.extend(full.rmatch_indices('/').map(|(at, _)| full[..at].to_owned()));
    names
}

/// A key without the decorations of older docker versions: `https://index.docker.io/v1/` is Docker Hub.
fn normalised(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare.split_once('/') {
        _ if bare == "docker.io" => DOCKER_HUB.to_owned(),
        Some(("docker.io", path)) => format!("{DOCKER_HUB}/{path}"),
        _ => bare.to_owned(),
    }
}

/// The name under which docker files a registry, and by which helpers know it.
pub(super) fn server_key(registry: &str) -> String {
    if registry == DOCKER_HUB { format!("https://{DOCKER_HUB}/v1/") } else { registry.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(json: &str, repository: &str) -> Result<Option<Credential>, String> {
        serde_json::from_str::<ConfigFile>(json).unwrap().find(&repository.parse().unwrap()).await
    }

    fn basic(username: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic { username: username.into(), password: password.into() })
    }

    #[tokio::test]
    async fn the_most_specific_key_wins() {
        let config = format!(
            r#"{{"auths":{{"r.io":{{"auth":"{}"}},"r.io/team":{{"username":"t","password":"p"}},"https://index.docker.io/v1/":{{"identitytoken":"id"}}}}}}"#,
            encoding::encode("u:p:w")
        );
        assert_eq!(find(&config, "r.io/other/app").await.unwrap(), basic("u", "p:w"));
        assert_eq!(find(&config, "r.io/team/app").await.unwrap(), basic("t", "p"));
        assert_eq!(find(&config, "r.io/teams/app").await.unwrap(), basic("u", "p:w"));
        assert_eq!(find(&config, "alpine").await.unwrap(), Some(Credential::Identity("id".into())));
        assert_eq!(find(&config, "x.io/app").await.unwrap(), None);
        assert_eq!(
            find(r#"{"auths":{"docker.io":{"registrytoken":"r"}}}"#, "alpine").await.unwrap(),
            Some(Credential::Registry("r".into()))
        );
    }

    #[tokio::test]
    async fn broken_entries_and_helpers_are_errors() {
        assert!(find(r#"{"auths":{"r.io":{"auth":"***"}}}"#, "r.io/a").await.is_err());
        assert!(find(r#"{"auths":{"r.io":{"auth":"bm9jb2xvbg=="}}}"#, "r.io/a").await.is_err());
        assert!(find(r#"{"credsStore":"there-is-no-such-helper"}"#, "r.io/a").await.is_err());
        assert!(find(r#"{"credHelpers":{"r.io":"../../evil"}}"#, "r.io/a").await.unwrap_err().contains("not the name"));
        assert_eq!(find(r#"{"credHelpers":{"q.io":"nope"}}"#, "r.io/a").await.unwrap(), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!("{:?} {:?}", basic("user", "secret"), Credential::Identity("secret".into()));
        assert!(!shown.contains("secret"));
    }
}
