//! What a registry keeps, as files:
//!
//! ```text
//! blobs/sha256/ab/abcd…                                    content, once, blobs and manifests alike
//! repositories/NAME/_blobs/sha256/HEX                      this repository has the blob
//! repositories/NAME/_manifests/sha256/HEX                  this repository has the manifest: its media type and subject
//! repositories/NAME/_tags/TAG                              the digest a tag points to
//! repositories/NAME/_referrers/sha256/HEX/sha256/HEX       a referrer of the first digest: its descriptor
//! ```
//! Content is flushed before the link that makes it visible, so that no link ever points to nothing.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vidimus_core::Digest;

use super::{
    RegistryError,
    manifest::Manifest,
    name::{Reference, checked_name},
    uploads::Uploads,
};
use crate::files::Tree;

/// A registry's content.
#[derive(Debug)]
pub struct Registry {
    pub(super) tree: Tree,
    pub(super) uploads: Uploads,
    names: RwLock<BTreeSet<String>>,
    // Deleting looks whether anything else links to the content: nothing may be linked between the look and the removal.
    links: RwLock<()>,
}

/// How much a registry holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Repositories.
    pub repositories: usize,
    /// Distinct blobs and manifests.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A stored manifest.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    media_type: String,
    subject: Option<Digest>,
}

impl Registry {
    /// Opens the registry in `root`, empty if new. Uploads that a former process left unfinished are discarded.
    pub fn open(root: &Path, durable: bool) -> io::Result<Self> {
        let tree = Tree::open(root, durable)?;
        let mut names = BTreeSet::new();
        collect_names(&tree, "", &mut names)?;
        Ok(Self { uploads: Uploads::new(tree.clone()), tree, names: RwLock::new(names), links: RwLock::new(()) })
    }

    /// How much it holds, counted now.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut counts = Counts { repositories: self.names().len(), ..Counts::default() };
        for algorithm in self.tree.list("blobs")? {
            for prefix in self.tree.list(&format!("blobs/{algorithm}"))? {
                for name in self.tree.list(&format!("blobs/{algorithm}/{prefix}"))? {
                    counts.blobs += 1;
                    counts.bytes += self.tree.size(&format!("blobs/{algorithm}/{prefix}/{name}"))?.unwrap_or(0);
                }
            }
        }
        Ok(counts)
    }

    /// Every repository's name, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The length of a blob of the repository.
    pub(super) fn blob(&self, name: &str, digest: &Digest) -> Result<u64, RegistryError> {
        let unknown = || RegistryError::BlobUnknown(digest.to_string());
        // Manifests are content like any other: docker's clients fetch them as blobs too.
        if !self.has_blob(name, digest)? && !self.has_manifest(name, digest)? {
            return Err(unknown());
        }
        self.tree.size(&content(digest))?.ok_or_else(unknown)
    }

    pub(super) fn has_blob(&self, name: &str, digest: &Digest) -> io::Result<bool> {
        Ok(self.tree.size(&blob_link(name, digest))?.is_some())
    }

    fn has_manifest(&self, name: &str, digest: &Digest) -> io::Result<bool> {
        Ok(self.tree.size(&manifest_link(name, digest))?.is_some())
    }

    /// Adds finished content to a repository; the bytes have been verified against `digest`.
    pub(super) fn add_blob(&self, name: &str, digest: &Digest, file: tempfile::NamedTempFile) -> io::Result<()> {
        let _linking = self.links.read().unwrap_or_else(PoisonError::into_inner);
        if !self.tree.settle(&content(digest))? {
            self.tree.place(file, &content(digest))?;
        }
        self.link_blob(name, digest)
    }

    /// Makes a blob of repository `from` one of `name` too; `false` if `from` does not have it.
    pub(super) fn mount(&self, name: &str, from: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let from = checked_name(from)?;
        let _linking = self.links.read().unwrap_or_else(PoisonError::into_inner);
        if !self.has_blob(&from, digest)? {
            return Ok(false);
        }
        self.link_blob(name, digest)?;
        Ok(true)
    }

    fn link_blob(&self, name: &str, digest: &Digest) -> io::Result<()> {
        if !self.tree.settle(&blob_link(name, digest))? {
            self.tree.write(&blob_link(name, digest), b"")?;
        }
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Ok(())
    }

    /// Takes a blob out of a repository, and its content out of the registry when no repository has it any more.
    pub(super) fn delete_blob(&self, name: &str, digest: &Digest) -> Result<(), RegistryError> {
        let _alone = self.links.write().unwrap_or_else(PoisonError::into_inner);
        if !self.tree.remove(&blob_link(name, digest))? {
            return Err(RegistryError::BlobUnknown(digest.to_string()));
        }
        Ok(self.remove_unlinked(digest)?)
    }

    fn remove_unlinked(&self, digest: &Digest) -> io::Result<()> {
        for name in self.names() {
            if self.has_blob(&name, digest)? || self.has_manifest(&name, digest)? {
                return Ok(());
            }
        }
        self.tree.remove(&content(digest)).map(|_| ())
    }

    /// Keeps a manifest under its digest and, given one, under a tag. Returns the digest and the subject.
    pub(super) fn put_manifest(
        &self,
        name: &str,
        reference: &Reference,
        content_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<(Digest, Option<Digest>), RegistryError> {
        let manifest = Manifest::parse(bytes, content_type)?;
        let digest = match reference {
            Reference::Digest(digest) if digest.matches(bytes) => digest.clone(),
            Reference::Digest(digest) => {
                return Err(RegistryError::DigestInvalid(format!("the manifest is {}, not {digest}", Digest::sha256(bytes))));
            }
            Reference::Tag(_) => Digest::sha256(bytes),
        };
        let _linking = self.links.read().unwrap_or_else(PoisonError::into_inner);
        self.check_complete(name, &manifest)?;
        if !self.tree.settle(&content(&digest))? {
            self.tree.write(&content(&digest), bytes)?;
        }
        if let Some(subject) = &manifest.subject {
            let descriptor = manifest.descriptor(&digest, bytes.len()).to_string();
            self.tree.write(&referrer(name, subject, &digest), descriptor.as_bytes())?;
        }
        let link = Link { media_type: manifest.media_type, subject: manifest.subject.clone() };
        self.tree.write(&manifest_link(name, &digest), &serde_json::to_vec(&link).map_err(io::Error::from)?)?;
        if let Reference::Tag(tag) = reference {
            self.tree.write(&format!("repositories/{name}/_tags/{tag}"), digest.to_string().as_bytes())?;
        }
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Ok((digest, manifest.subject))
    }

    fn check_complete(&self, name: &str, manifest: &Manifest) -> Result<(), RegistryError> {
        for digest in &manifest.blobs {
            if !self.has_blob(name, digest)? {
                return Err(RegistryError::ManifestBlobUnknown(digest.to_string()));
            }
        }
        for digest in &manifest.manifests {
            if !self.has_manifest(name, digest)? {
                return Err(RegistryError::ManifestBlobUnknown(digest.to_string()));
            }
        }
        Ok(())
    }

    /// The manifest behind a tag or digest.
    pub(super) fn manifest(&self, name: &str, reference: &Reference) -> Result<Stored, RegistryError> {
        let digest = self.resolve(name, reference)?;
        let unknown = || RegistryError::ManifestUnknown(digest.to_string());
        let link = self.link(name, &digest)?.ok_or_else(unknown)?;
        let bytes = self.tree.read(&content(&digest))?.ok_or_else(unknown)?;
        Ok(Stored { media_type: link.media_type, bytes, digest })
    }

    fn resolve(&self, name: &str, reference: &Reference) -> Result<Digest, RegistryError> {
        let tag = match reference {
            Reference::Digest(digest) => return Ok(digest.clone()),
            Reference::Tag(tag) => tag,
        };
        let text = self.tree.read(&format!("repositories/{name}/_tags/{tag}"))?;
        let text = text.ok_or_else(|| RegistryError::ManifestUnknown(tag.clone()))?;
        Ok(parse(&String::from_utf8_lossy(&text))?)
    }

    fn link(&self, name: &str, digest: &Digest) -> io::Result<Option<Link>> {
        let text = self.tree.read(&manifest_link(name, digest))?;
        text.map(|text| serde_json::from_slice(&text).map_err(io::Error::from)).transpose()
    }

    /// Removes a tag, or a manifest together with the tags that point to it.
    pub(super) fn delete_manifest(&self, name: &str, reference: &Reference) -> Result<(), RegistryError> {
        let _alone = self.links.write().unwrap_or_else(PoisonError::into_inner);
        let digest = match reference {
            Reference::Tag(tag) => {
                let removed = self.tree.remove(&format!("repositories/{name}/_tags/{tag}"))?;
                return if removed { Ok(()) } else { Err(RegistryError::ManifestUnknown(tag.clone())) };
            }
            Reference::Digest(digest) => digest,
        };
        let link = self.link(name, digest)?.ok_or_else(|| RegistryError::ManifestUnknown(digest.to_string()))?;
        for tag in self.tags(name)? {
            if self.resolve(name, &Reference::Tag(tag.clone()))? == *digest {
                self.tree.remove(&format!("repositories/{name}/_tags/{tag}"))?;
            }
        }
        if let Some(subject) = &link.subject {
            self.tree.remove(&referrer(name, subject, digest))?;
        }
        self.tree.remove(&manifest_link(name, digest))?;
        Ok(self.remove_unlinked(digest)?)
    }

    /// The tags of a repository, sorted by their bytes.
    pub(super) fn tags(&self, name: &str) -> Result<Vec<String>, RegistryError> {
        if !self.names.read().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return Err(RegistryError::NameUnknown(name.to_owned()));
        }
        Ok(self.tree.list(&format!("repositories/{name}/_tags"))?)
    }

    /// Descriptors of the manifests whose subject is `digest`, whether or not that exists, sorted by digest.
    pub(super) fn referrers(&self, name: &str, digest: &Digest) -> io::Result<Vec<Value>> {
        let dir = format!("repositories/{name}/_referrers/{}", slashed(digest));
        let mut descriptors = Vec::new();
        for algorithm in self.tree.list(&dir)? {
            for hex in self.tree.list(&format!("{dir}/{algorithm}"))? {
                let referrer = parse(&format!("{algorithm}:{hex}"))?;
                // The descriptor is written before the manifest's link: without the link the push was never acknowledged.
                if !self.has_manifest(name, &referrer)? {
                    continue;
                }
                let Some(text) = self.tree.read(&format!("{dir}/{algorithm}/{hex}"))? else { continue };
                descriptors.push(serde_json::from_slice(&text).map_err(io::Error::from)?);
            }
        }
        Ok(descriptors)
    }
}

fn collect_names(tree: &Tree, name: &str, names: &mut BTreeSet<String>) -> io::Result<()> {
    let children = tree.list(&format!("repositories/{name}"))?;
    if children.iter().any(|child| child == "_blobs" || child == "_manifests") {
        names.insert(name.to_owned());
    }
    for child in children.iter().filter(|child| !child.starts_with('_')) {
        let child = if name.is_empty() { child.clone() } else { format!("{name}/{child}") };
        collect_names(tree, &child, names)?;
    }
    Ok(())
}

/// Where content lies; the first byte spreads it over directories that stay small.
pub(super) fn content(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}/{hex}", digest.algorithm().name(), &hex[..2])
}

fn blob_link(name: &str, digest: &Digest) -> String {
    format!("repositories/{name}/_blobs/{}", slashed(digest))
}

fn manifest_link(name: &str, digest: &Digest) -> String {
    format!("repositories/{name}/_manifests/{}", slashed(digest))
}

fn referrer(name: &str, subject: &Digest, digest: &Digest) -> String {
    format!("repositories/{name}/_referrers/{}/{}", slashed(subject), slashed(digest))
}

fn slashed(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm().name(), digest.hex())
}

fn parse(text: &str) -> io::Result<Digest> {
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
