//! Image references: `registry/repository[:tag][@digest]`.
//!
//! The grammar is the OCI distribution specification's (`<name>`, `<reference>`), with the abbreviations that docker, crane and
//! cosign share: no registry means Docker Hub (`index.docker.io`), one component there means `library/`, no tag means `latest`.
//! Nothing is looked up here, and a reference that names both a tag and a digest means the digest: a tag beside a digest is
//! remembered for display only, because only the digest says which bytes are meant.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{Digest, ParseError};

/// Docker Hub, as go-containerregistry and cosign write it.
pub const DOCKER_HUB: &str = "index.docker.io";
/// The tag that an unqualified reference means.
pub const LATEST: &str = "latest";

/// A repository: a registry and a path in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry: a host, with its port if it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The registry without a port, and an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        split_port(&self.registry).0
    }

    /// The path in the registry: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The reference of a tag in this repository.
    pub fn tag(&self, tag: &str) -> Result<Reference, ParseError> {
        check_tag(tag)?;
        Ok(Reference { repository: self.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// The reference of a digest in this repository.
    pub fn digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl FromStr for Repository {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(refused(text, format_args!("leave out the {scheme}:// in front")));
        }
        let (registry, path) = match text.split_once('/') {
            // The rule of docker and go-containerregistry: a first component that looks like a host is one.
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DOCKER_HUB, text),
        };
        let registry = if registry == "docker.io" { DOCKER_HUB } else { registry };
        check_registry(registry)?;
        let path = match path.contains('/') {
            false if registry == DOCKER_HUB => format!("library/{path}"),
            _ => path.to_owned(),
        };
        check_path(&path)?;
        Ok(Self { registry: registry.to_owned(), path })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// A repository and what is meant in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The registry: a host, with its port if it has one.
    pub fn registry(&self) -> &str {
        self.repository.registry()
    }

    /// The tag as written, if one was.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the reference has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag that is meant when there is no digest: the one written, or `latest`.
    pub fn tag_or_latest(&self) -> &str {
        self.tag().unwrap_or(LATEST)
    }

    /// What the registry is asked for: the digest if there is one, else the tag, else `latest`.
    pub fn identifier(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag_or_latest().to_owned(),
        }
    }

    /// The same repository at a digest. The tag is dropped: it may move, and then would be a lie.
    pub fn with_digest(&self, digest: Digest) -> Self {
        self.repository.digest(digest)
    }

    /// The same repository at a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseError> {
        self.repository.tag(tag)
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|e: ParseError| refused(text, format_args!("after the '@': {}", e.why)))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        // A colon in the last component separates the tag; one before it belongs to a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        tag.map(check_tag).transpose()?;
        Ok(Self { repository: name.parse()?, tag: tag.map(str::to_owned), digest })
    }
}

/// As it was meant: the registry written out, the tag and the digest as far as they were given.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A host and the port after it. Brackets around an IPv6 address are taken off.
pub fn split_port(registry: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = registry.strip_prefix('[').and_then(|r| r.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|p| p.parse().ok()));
    }
    match registry.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (registry, None),
    }
}

fn refused(text: &str, why: impl fmt::Display) -> ParseError {
    ParseError::at("image reference", format_args!("{text:?}"), why)
}

/// A host name or address, then optionally a port. Anything else (user names, paths, white space) could redirect a request.
fn check_registry(registry: &str) -> Result<(), ParseError> {
    let (host, port) = split_port(registry);
    let bracketed = registry.starts_with('[');
    let valid_host = match bracketed {
        true => matches!(host.parse(), Ok(IpAddr::V6(_))),
        false => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
                && !host.starts_with(['.', '-'])
        }
    };
    let expected_len = host.len() + if bracketed { 2 } else { 0 };
    let valid_port = match registry.len() == expected_len {
        true => true,
        false => port.is_some_and(|p| registry[expected_len..] == format!(":{p}")),
    };
    if valid_host && valid_port {
        Ok(())
    } else {
        Err(refused(registry, "a registry is a host name or address, optionally with :port"))
    }
}

/// Components of lower-case letters and digits, with `.`, `_`, `-` between them; 255 bytes in all as registries enforce. That each
/// component begins and ends with a letter or digit also keeps `..` out of the URLs built from it.
fn check_path(path: &str) -> Result<(), ParseError> {
    if path.len() > 255 {
        return Err(refused(path, "a repository name has at most 255 characters"));
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = |component: &str| {
        let bytes = component.as_bytes();
        bytes.iter().all(|&b| alphanumeric(b) || b"._-".contains(&b))
            && bytes.first().is_some_and(|&b| alphanumeric(b))
            && bytes.last().is_some_and(|&b| alphanumeric(b))
    };
    if !path.split('/').all(valid) {
        return Err(refused(path, "a repository name is made of a-z, 0-9 and, between them, '.', '_', '-' and '/'"));
    }
    Ok(())
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn check_tag(tag: &str) -> Result<(), ParseError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
        && tag.as_bytes().first().is_some_and(|&b| word(b));
    if valid {
        Ok(())
    } else {
        Err(refused(tag, "a tag has 1 to 128 characters: letters, digits, '_', and after the first '.' and '-'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e747a30b8b3d3cd105e7aeac8af0065bc4bebef484368afc33b4ed29176cf3af";

    #[test]
    fn abbreviations_mean_what_they_mean_to_cosign() {
        for (given, repository, identifier) in [
            ("alpine", "index.docker.io/library/alpine", "latest"),
            ("alpine:3", "index.docker.io/library/alpine", "3"),
            ("docker.io/alpine", "index.docker.io/library/alpine", "latest"),
            ("bitnami/redis:7", "index.docker.io/bitnami/redis", "7"),
            ("localhost/app", "localhost/app", "latest"),
            ("localhost:5000/app:v1", "localhost:5000/app", "v1"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", "latest"),
            ("[::1]:5000/app", "[::1]:5000/app", "latest"),
            ("[::1]:5000/app:x", "[::1]:5000/app", "x"),
            ("ghcr.io/o/r:sha256-abc.sig", "ghcr.io/o/r", "sha256-abc.sig"),
        ] {
            let reference: Reference = given.parse().unwrap();
            assert_eq!(reference.repository().to_string(), repository, "{given}");
            assert_eq!(reference.identifier(), identifier, "{given}");
        }
    }

    #[test]
    fn a_digest_outranks_the_tag_beside_it() {
        let text = format!("r.io/app:v1@sha256:{HEX}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.tag(), Some("v1"));
        assert_eq!(reference.identifier(), format!("sha256:{HEX}"));
        assert_eq!(reference.to_string(), text);
        let digest = reference.digest().unwrap().clone();
        assert_eq!(reference.with_digest(digest).to_string(), format!("r.io/app@sha256:{HEX}"));
        assert_eq!(reference.with_tag("v2").unwrap().to_string(), "r.io/app:v2");
    }

    #[test]
    fn host_is_the_registry_without_port_and_brackets() {
        for (given, host) in
            [("[::1]:5000/a", "::1"), ("localhost:1/a", "localhost"), ("r.io/a", "r.io"), ("[fe80::1]/a", "fe80::1")]
        {
            assert_eq!(given.parse::<Repository>().unwrap().host(), host);
        }
    }

    #[test]
    fn refuses_what_is_not_a_reference() {
        let long = "a".repeat(256);
        for bad in [
            "",
            ":tag",
            "app:",
            "App",
            "a b",
            "r.io/../x",
            "r.io/a//b",
            "r.io/-a",
            "r.io:port/a",
            "r.io:99999/a",
            "user@r.io/a",
            "https://r.io/a",
            "docker://r.io/a",
            "r.io/a@sha256:abc",
            "r.io/a@sha256",
            "r.io/a:.x",
            "[::1/a",
            "[x]/a",
            "r.io?/a",
            long.as_str(),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }
}
