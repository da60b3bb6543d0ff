//! Repository names and tags (distribution specification, "Pulling manifests"), and the paths of the API that they appear in.
//!
//! A checked name is safe as a relative path: its components are never empty, never start with a dot or an underscore.

use vidimus_core::Digest;

use super::RegistryError;

/// Longest repository name: the specification's advice for "hostname and name together".
const NAME: usize = 255;
/// Longest tag by the grammar.
const TAG: usize = 128;

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// By name.
    Tag(String),
    /// By content.
    Digest(Digest),
}

/// A path under `/v2/`, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Catalog,
    Tags { name: String },
    Manifest { name: String, reference: Reference },
    Blob { name: String, digest: Digest },
    Uploads { name: String },
    Upload { name: String, id: String },
    Referrers { name: String, digest: Digest },
}

impl Target {
    /// Reads the part of a path after `/v2/`. The kind is found from the end, because names may contain the same words.
    pub(crate) fn parse(path: &str) -> Result<Self, RegistryError> {
        if path == "_catalog" {
            return Ok(Self::Catalog);
        }
        let parts: Vec<&str> = path.split('/').collect();
        let name = |words: usize| checked_name(&parts[..parts.len() - words].join("/"));
        match parts.as_slice() {
            [_, .., "tags", "list"] => Ok(Self::Tags { name: name(2)? }),
            [_, .., "blobs", "uploads", ""] => Ok(Self::Uploads { name: name(3)? }),
            [_, .., "blobs", "uploads"] => Ok(Self::Uploads { name: name(2)? }),
            [_, .., "blobs", "uploads", id] => Ok(Self::Upload { name: name(3)?, id: (*id).to_owned() }),
            [_, .., "blobs", digest] => Ok(Self::Blob { name: name(2)?, digest: checked_digest(digest)? }),
            [_, .., "manifests", reference] => Ok(Self::Manifest { name: name(2)?, reference: checked_reference(reference)? }),
            [_, .., "referrers", digest] => Ok(Self::Referrers { name: name(2)?, digest: checked_digest(digest)? }),
            _ => Err(RegistryError::NotFound(format!("/v2/{path}"))),
        }
    }
}

/// A repository name that keeps to the grammar.
pub(crate) fn checked_name(name: &str) -> Result<String, RegistryError> {
    if name.len() <= NAME && name.split('/').all(is_component) {
        return Ok(name.to_owned());
    }
    Err(RegistryError::NameInvalid(format!("'{}' is not a repository name", name.escape_debug())))
}

/// A digest that we can compute.
pub(crate) fn checked_digest(digest: &str) -> Result<Digest, RegistryError> {
    digest.parse().map_err(|error: vidimus_core::ParseError| RegistryError::DigestInvalid(error.to_string()))
}

fn checked_reference(reference: &str) -> Result<Reference, RegistryError> {
    if reference.contains(':') {
        return checked_digest(reference).map(Reference::Digest);
    }
    if is_tag(reference) {
        return Ok(Reference::Tag(reference.to_owned()));
    }
    Err(RegistryError::ManifestInvalid(format!("'{}' is neither a tag nor a digest", reference.escape_debug())))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG && tag.bytes().next().is_some_and(word) && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| alphanumeric(**byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|byte| !alphanumeric(**byte)).count();
        match &rest[..separator] {
            b"." | b"_" | b"__" => {}
            dashes if !dashes.is_empty() && dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_grammar() {
        for good in ["a", "app", "library/app", "a.b/c_d/e__f/g---h", "0/9", "blobs/uploads"] {
            assert!(checked_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "a//b", "A", ".a", "a.", "a..b", "a___b", "_a", "a_-b", "../x", "a/../b", "é", &long] {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_read_from_the_end() {
        let digest = Digest::sha256(b"x");
        let tag = |tag: &str| Reference::Tag(tag.to_owned());
        for (path, target) in [
            ("_catalog".to_owned(), Target::Catalog),
            ("a/tags/list".to_owned(), Target::Tags { name: "a".into() }),
            ("a/manifests/b/manifests/v1".to_owned(), Target::Manifest { name: "a/manifests/b".into(), reference: tag("v1") }),
            (
                format!("a/manifests/{digest}"),
                Target::Manifest { name: "a".into(), reference: Reference::Digest(digest.clone()) },
            ),
            (format!("a/b/blobs/{digest}"), Target::Blob { name: "a/b".into(), digest: digest.clone() }),
            ("a/blobs/uploads/".to_owned(), Target::Uploads { name: "a".into() }),
            ("a/blobs/uploads".to_owned(), Target::Uploads { name: "a".into() }),
            ("a/blobs/uploads/i".to_owned(), Target::Upload { name: "a".into(), id: "i".into() }),
            (format!("a/referrers/{digest}"), Target::Referrers { name: "a".into(), digest: digest.clone() }),
        ] {
            assert_eq!(Target::parse(&path).unwrap(), target, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "a", "tags/list", "a/blobs/md5:00", "a/manifests/", "a/manifests/-x", "a/manifests/x y", "A/tags/list"] {
            assert!(Target::parse(path).is_err(), "{path}");
        }
    }
}
