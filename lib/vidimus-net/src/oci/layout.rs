//! Images in a directory (OCI image layout 1.0): `oci-layout`, `index.json`, `blobs/<algorithm>/<hex>`.
//!
//! Content is checked against its digest when it is read. `index.json` is replaced at once, never written in place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use vidimus_core::{
    Digest, Reference, Repository, limits,
    oci::{Descriptor, Document, INDEX, Index, Manifest, REF_NAME, Raw},
};

use super::{Content, OciError, Registry};

const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Indexes in indexes. Images have one level; some builders make two.
const MAX_DEPTH: usize = 4;
/// One layer on its way to disk. Model weights and Windows base layers reach tens of GiB.
const MAX_LAYER: u64 = 256 << 30;
/// Blobs of one image on the way at the same time.
const PARALLEL: usize = 4;

/// A directory in the OCI image layout.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Opens a layout.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, OciError> {
        let root = root.into();
        let marker = root.join("oci-layout");
        let text = fs::read(&marker).map_err(|e| OciError::io(&marker, e))?;
        let version: serde_json::Value = serde_json::from_slice(&text).map_err(|e| OciError::io(&marker, e))?;
        match version["imageLayoutVersion"].as_str() {
            Some("1.0.0") => Ok(Self { root }),
            other => Err(OciError::io(&marker, format!("image layout version {other:?} is not 1.0.0"))),
        }
    }

    /// Opens a layout, or makes an empty one if the directory is empty or not there.
    pub fn open_or_create(root: impl Into<PathBuf>) -> Result<Self, OciError> {
        let root = root.into();
        if root.join("oci-layout").exists() {
            return Self::open(root);
        }
        let blobs = root.join("blobs/sha256");
        if fs::read_dir(&root).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(OciError::io(root, "the directory is neither empty nor an image layout"));
        }
        fs::create_dir_all(&blobs).map_err(|e| OciError::io(&blobs, e))?;
        let layout = Self { root };
        layout.replace("index.json", format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#).as_bytes())?;
        layout.replace("oci-layout", VERSION.as_bytes())?;
        Ok(layout)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The list of images.
    pub fn index(&self) -> Result<Index, OciError> {
        let path = self.root.join("index.json");
        let bytes = read_limited(&path, limits::MANIFEST_BYTES as u64)?;
        let document = Raw::parse(bytes, Some(INDEX)).and_then(Raw::into_index);
        document.map(|raw| raw.value).map_err(|source| OciError::malformed(path.display(), source))
    }

    /// The image with a tag or a digest; without a name, the only image there is.
    pub fn find(&self, name: Option<&str>) -> Result<Descriptor, OciError> {
        let manifests = self.index()?.manifests;
        let chosen: Vec<Descriptor> = match name {
            None => manifests,
            Some(name) => {
                let fits = |d: &Descriptor| d.annotation(REF_NAME) == Some(name) || d.digest.to_string() == name;
                manifests.into_iter().filter(fits).collect()
            }
        };
        match <[Descriptor; 1]>::try_from(chosen) {
            Ok([only]) => Ok(only),
            Err(several) => {
                let why = format!("{} images fit {name:?}, expected one", several.len());
                Err(OciError::io(self.root.join("index.json"), why))
            }
        }
    }

    /// Where a blob is kept.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// A blob, its size and digest checked.
    pub fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, OciError> {
        let path = self.blob_path(&descriptor.digest);
        let bytes = read_limited(&path, limit)?;
        let url = path.display().to_string();
        let seen = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if seen != descriptor.size {
            return Err(OciError::Size { url, expected: descriptor.size, seen });
        }
        if !descriptor.digest.matches(&bytes) {
            let seen = Digest::of(descriptor.digest.algorithm(), &bytes);
            return Err(OciError::Digest { url, expected: descriptor.digest.clone(), seen });
        }
        Ok(bytes.into())
    }

    /// A manifest or an index, its size and digest checked.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Raw<Document>, OciError> {
        let bytes = self.blob(descriptor, limits::MANIFEST_BYTES as u64)?;
        let content_type = Some(descriptor.media_type.as_str());
        let mut raw = Raw::parse(bytes.to_vec(), content_type)
            .map_err(|source| OciError::malformed(self.blob_path(&descriptor.digest).display(), source))?;
        raw.digest = descriptor.digest.clone();
        Ok(raw)
    }

    /// Keeps a blob.
    pub fn put_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, OciError> {
        let descriptor = Descriptor::of(media_type, bytes);
        let path = self.blob_path(&descriptor.digest);
        if !path.exists() {
            let name = path.strip_prefix(&self.root).expect("a blob's path begins with the root").to_owned();
            self.replace(name, bytes)?;
        }
        Ok(descriptor)
    }

    /// Lists an image whose blobs are there, under a tag if one is given. The tag moves if another image had it.
    pub fn list(&self, mut image: Descriptor, tag: Option<&str>) -> Result<(), OciError> {
        let mut index = self.index()?;
        if let Some(tag) = tag {
            image.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        let same_tag = |d: &Descriptor| tag.is_some() && d.annotation(REF_NAME) == tag;
        let same_entry = |d: &Descriptor| d.digest == image.digest && d.annotations == image.annotations;
        index.manifests.retain(|d| !same_tag(d) && !same_entry(d));
        index.manifests.push(image);
        self.replace("index.json", &Raw::write(INDEX, index).bytes)
    }

    fn replace(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<(), OciError> {
        let path = self.root.join(name);
        let write = || -> io::Result<()> {
            let directory = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(directory)?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            io::Write::write_all(&mut file, bytes)?;
            make_readable(file.as_file())?;
            file.as_file().sync_all()?;
            file.persist(&path).map(|_| ()).map_err(|e| e.error)
        };
        write().map_err(|e| OciError::io(&path, e))
    }
}

/// A layout is for others to read; temporary files are not.
fn make_readable(file: &fs::File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, OciError> {
    let failed = |e: io::Error| OciError::io(path, e);
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit.saturating_add(1)), &mut bytes).map_err(failed)?;
    match u64::try_from(bytes.len()).is_ok_and(|len| len <= limit) {
        true => Ok(bytes),
        false => Err(OciError::Limit { url: path.display().to_string(), what: "bytes", limit }),
    }
}

impl Registry {
    /// Pushes an image of a layout, with everything its manifests point to, and gives the descriptor of what was pushed.
    pub async fn push_layout(&self, layout: &Layout, image: &Descriptor, to: &Reference) -> Result<Descriptor, OciError> {
        let order = tree(image, to, Source::Layout(layout)).await?;
        // Children before parents: registries refuse a manifest whose content they do not have.
        for descriptor in order.iter().skip(1).rev() {
            let manifest = layout.manifest(descriptor)?;
            self.push_document(layout, &manifest, &to.repository().digest(descriptor.digest.clone())).await?;
        }
        let manifest = layout.manifest(image)?;
        let target = if to.digest().is_some() { to.with_digest(image.digest.clone()) } else { to.clone() };
        self.push_document(layout, &manifest, &target).await?;
        Ok(manifest.descriptor())
    }

    /// Pulls an image into a layout, with everything its manifests point to, and lists it there under its tag.
    pub async fn pull_layout(&self, from: &Reference, layout: &Layout) -> Result<Descriptor, OciError> {
        let root = self.manifest(from).await?;
        let image = root.descriptor();
        let repository = from.repository();
        let order = tree(&image, from, Source::Registry(self, repository)).await?;
        for descriptor in order.iter().rev() {
            let document = self.manifest(&repository.digest(descriptor.digest.clone())).await?;
            if let Document::Manifest(manifest) = &document.value {
                let blobs = content(manifest).into_iter();
                stream::iter(blobs.map(|blob| async move { self.pull_blob_of(repository, &blob, layout).await }))
                    .buffer_unordered(PARALLEL)
                    .try_collect::<()>()
                    .await?;
            }
            layout.put_blob(&document.media_type, &document.bytes)?;
        }
        layout.list(image.clone(), from.tag())?;
        Ok(image)
    }

    async fn pull_blob_of(&self, from: &Repository, blob: &Descriptor, layout: &Layout) -> Result<(), OciError> {
        let path = layout.blob_path(&blob.digest);
        if path.exists() || !blob.urls.is_empty() {
            return Ok(());
        }
        let failed = |e: io::Error| OciError::io(&path, e);
        let directory = path.parent().unwrap_or(layout.root());
        fs::create_dir_all(directory).map_err(failed)?;
        let new = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(new.reopen().map_err(failed)?);
        self.blob_to(from, blob, MAX_LAYER, &mut file).await?;
        file.sync_all().await.map_err(failed)?;
        make_readable(new.as_file()).map_err(failed)?;
        new.persist(&path).map(|_| ()).map_err(|e| failed(e.error))
    }

    async fn push_document(&self, layout: &Layout, document: &Raw<Document>, to: &Reference) -> Result<(), OciError> {
        if let Document::Manifest(manifest) = &document.value {
            let blobs = content(manifest).into_iter();
            stream::iter(blobs.map(|blob| async move { self.push_blob_of(layout, &blob, to.repository()).await }))
                .buffer_unordered(PARALLEL)
                .try_collect::<()>()
                .await?;
        }
        self.push_manifest(to, &document.media_type, &document.bytes).await.map(|_| ())
    }

    async fn push_blob_of(&self, layout: &Layout, blob: &Descriptor, to: &Repository) -> Result<(), OciError> {
        let path = layout.blob_path(&blob.digest);
        if !blob.urls.is_empty() && !path.exists() {
            return Ok(());
        }
        // The registry checks the digest, and we check that it is the file the descriptor means as far as its length tells.
        let size = fs::metadata(&path).map_err(|e| OciError::io(&path, e))?.len();
        if size != blob.size {
            return Err(OciError::Size { url: path.display().to_string(), expected: blob.size, seen: size });
        }
        self.push_blob(to, &Content::known_file(path, blob.digest.clone(), size), None).await
    }
}

/// Where an image is read from.
#[derive(Clone, Copy)]
enum Source<'a> {
    Layout(&'a Layout),
    Registry(&'a Registry, &'a Repository),
}

impl Source<'_> {
    async fn manifest(self, descriptor: &Descriptor) -> Result<Raw<Document>, OciError> {
        match self {
            Self::Layout(layout) => layout.manifest(descriptor),
            Self::Registry(registry, repository) => registry.manifest(&repository.digest(descriptor.digest.clone())).await,
        }
    }
}

/// What a manifest needs to be complete.
fn content(manifest: &Manifest) -> Vec<Descriptor> {
    std::iter::once(&manifest.config).chain(&manifest.layers).cloned().collect()
}

/// A manifest and everything below it, parents first.
async fn tree(image: &Descriptor, name: &Reference, source: Source<'_>) -> Result<Vec<Descriptor>, OciError> {
    let mut order = vec![image.clone()];
    let mut level = order.clone();
    for depth in 0.. {
        let mut children = Vec::new();
        for parent in level.into_iter().filter(Descriptor::is_index) {
            let index = source.manifest(&parent).await?.into_index().map_err(|source| OciError::malformed(name, source))?;
            children.extend(index.value.manifests);
        }
        if children.is_empty() {
            break;
        }
        order.extend(children.iter().cloned());
        if depth >= MAX_DEPTH || order.len() > limits::REFERRERS {
            return Err(OciError::Limit { url: name.to_string(), what: "nested manifests", limit: limits::REFERRERS as u64 });
        }
        level = children;
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::TinyImage;

    #[test]
    fn a_layout_keeps_what_it_was_given() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(directory.path().join("l")).unwrap();
        let image = TinyImage::new("hello.txt", b"hello\n").unwrap();
        let descriptor = image.write(&layout, Some("v1")).unwrap();
        image.write(&layout, Some("v1")).unwrap();
        let layout = Layout::open(layout.root()).unwrap();
        assert_eq!(layout.find(Some("v1")).unwrap().digest, descriptor.digest);
        assert_eq!(layout.find(None).unwrap().digest, descriptor.digest, "listed once");
        assert!(layout.find(Some("v2")).is_err());
        assert_eq!(layout.manifest(&descriptor).unwrap().into_manifest().unwrap(), image.manifest);
    }

    #[test]
    fn content_that_changed_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(directory.path()).unwrap();
        let blob = layout.put_blob("text/plain", b"abc").unwrap();
        fs::write(layout.blob_path(&blob.digest), b"abd").unwrap();
        assert!(matches!(layout.blob(&blob, 10), Err(OciError::Digest { .. })));
        fs::write(layout.blob_path(&blob.digest), b"abcd").unwrap();
        assert!(matches!(layout.blob(&blob, 10), Err(OciError::Size { .. })));
        assert!(matches!(layout.blob(&blob, 3), Err(OciError::Limit { .. })));
        assert!(Layout::open(directory.path().join("none")).is_err());
        fs::write(directory.path().join("blobs/x"), b"").unwrap();
        assert!(Layout::open_or_create(directory.path().join("blobs")).is_err(), "a directory with other files is left alone");
    }
}
