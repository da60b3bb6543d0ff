//! Where TUF files come from: an HTTP mirror, a directory, or what is cached.
//!
//! Only "there is no such file" is [`None`]. For the next root a 403 says so, too: object stores answer like that for what they do not
//! have. No other broken answer passes for the end of the chain of roots.

use std::path::{Path, PathBuf};

use url::Url;

use super::layout::{CacheError, Files, read_optional};
use crate::{
    endpoint::below,
    http::{Client, HttpError, StatusCode},
};

/// Why a file could not be had, which is not the same as that it is not there.
#[derive(Debug)]
pub(super) enum Fault {
    /// The mirror could not be asked, or its answer cannot be used.
    Http(Box<HttpError>),
    /// The directory could not be read.
    Disk(CacheError),
    /// The name or the file is not what can be served here.
    Unusable(String),
}

/// A mirror as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mirror {
    /// A directory.
    Directory(PathBuf),
    /// An HTTP server.
    Http(Url),
}

impl Mirror {
    /// Reads `https://…`, `http://…`, `file://…` or a path.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        let url: Url = text.parse().map_err(|e| format!("{text:?} is not a URL: {e}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Http(url)),
            "file" => url.to_file_path().map(Self::Directory).map_err(|()| format!("{text:?} does not name a local directory")),
            other => Err(format!("a mirror cannot be reached by {other}")),
        }
    }

    pub(super) fn repository(&self, http: &Client) -> Source {
        match self {
            Self::Directory(path) => Source::Directory(path.clone()),
            Self::Http(url) => Source::Http(http.clone(), url.clone()),
        }
    }
}

/// A place to fetch from.
#[derive(Debug)]
pub(super) enum Source {
    /// What is cached: metadata files without version numbers, targets without digests in their names.
    Cache(Files),
    /// The targets among them.
    CachedTargets(Files),
    /// A directory laid out like a mirror.
    Directory(PathBuf),
    /// A mirror.
    Http(Client, Url),
}

impl Source {
    /// The targets of a repository whose metadata is here.
    pub(super) fn targets(&self) -> Self {
        match self {
            Self::Cache(files) | Self::CachedTargets(files) => Self::CachedTargets(files.clone()),
            Self::Directory(dir) => Self::Directory(dir.join("targets")),
            Self::Http(http, base) => Self::Http(http.clone(), below(base, "targets")),
        }
    }

    /// A file, of at most `limit` bytes.
    pub(super) async fn fetch(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        match self {
            Self::Cache(files) => Ok(files.get(&cached_name(name)).cloned()),
            Self::CachedTargets(files) => Ok(files.get(&cached_name(&format!("targets/{name}"))).cloned()),
            Self::Directory(dir) => from_directory(dir, name, limit),
            // In a URL a backslash would be read as a slash.
            Self::Http(http, base) => {
                from_http(http, &below(base, &name.replace('\\', "%5C")), limit).await.map_err(|e| Fault::Http(e.into()))
            }
        }
    }

    /// The root of a version; nothing if there is none (yet).
    pub(super) async fn fetch_root(&self, version: u64, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        match self.fetch(&format!("{version}.root.json"), limit).await {
            Err(Fault::Http(error)) if error.status == Some(StatusCode::FORBIDDEN) => Ok(None),
            other => other,
        }
    }
}

/// The bytes at a URL; `None` only if the server says 404.
pub(super) async fn from_http(http: &Client, url: &Url, limit: u64) -> Result<Option<Vec<u8>>, HttpError> {
    match http.get(url).limit(limit).send().await {
        Ok(answer) => Ok(Some(answer.body.to_vec())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn from_directory(dir: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    // Names come from signed metadata or from us, but a name is not a licence to leave the directory.
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Fault::Unusable(format!("{name:?} is not a name below the mirror")));
    }
    match read_optional(&dir.join(name)).map_err(Fault::Disk)? {
        Some(bytes) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit => {
            Err(Fault::Unusable(format!("{name} has more than {limit} bytes")))
        }
        other => Ok(other),
    }
}

/// The name in the cache of a file that a mirror serves: `5.snapshot.json` is kept as `snapshot.json`, `7.root.json` in the history,
/// `targets/<digest>.x.json` as `targets/x.json`.
fn cached_name(name: &str) -> String {
    if let Some(target) = name.strip_prefix("targets/") {
        let plain =
            target.split_once('.').filter(|(prefix, _)| prefix.len() >= 64 && prefix.bytes().all(|b| b.is_ascii_hexdigit()));
        return format!("targets/{}", plain.map_or(target, |(_, rest)| rest));
    }
    match name.split_once('.') {
        Some((version, "root.json")) if is_number(version) => format!("root_history/{name}"),
        Some((version, rest)) if is_number(version) => rest.to_owned(),
        _ => name.to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_urls_or_paths() {
        assert_eq!(Mirror::parse("/srv/tuf"), Ok(Mirror::Directory("/srv/tuf".into())));
        assert_eq!(Mirror::parse("file:///srv/tuf"), Ok(Mirror::Directory("/srv/tuf".into())));
        assert_eq!(Mirror::parse("http://h:1/tuf"), Ok(Mirror::Http("http://h:1/tuf".parse().unwrap())));
        for bad in ["ftp://h/x", "https://", "file://host.example/x"] {
            assert!(Mirror::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cached_names_have_no_versions_and_no_digests() {
        let digest = "a".repeat(64);
        for (name, cached) in [
            ("timestamp.json", "timestamp.json".to_owned()),
            ("12.snapshot.json", "snapshot.json".to_owned()),
            ("3.targets.json", "targets.json".to_owned()),
            ("7.root.json", "root_history/7.root.json".to_owned()),
            ("root.json", "root.json".to_owned()),
            (&format!("targets/{digest}.signing_config.v0.2.json"), "targets/signing_config.v0.2.json".to_owned()),
            ("targets/signing_config.v0.2.json", "targets/signing_config.v0.2.json".to_owned()),
        ] {
            assert_eq!(cached_name(name), cached);
        }
    }

    #[test]
    fn a_directory_gives_what_it_has_and_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tuf")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(dir.path().join("tuf/1.root.json"), "root").unwrap();
        let tuf = dir.path().join("tuf");
        assert_eq!(from_directory(&tuf, "1.root.json", 4).unwrap().as_deref(), Some(&b"root"[..]));
        assert!(from_directory(&tuf, "2.root.json", 4).unwrap().is_none());
        assert!(from_directory(&tuf, "1.root.json", 3).is_err());
        for outside in ["../secret", "/etc/passwd", "a//b"] {
            assert!(from_directory(&tuf, outside, 9).is_err(), "{outside}");
        }
    }
}
