//! The image that is signed: made here, or a copy of the user's own.

use std::path::PathBuf;

use vidimus::{
    core::{
        oci::{Descriptor, Document, Raw},
        reference::{Reference, Repository},
    },
    net::oci::{Content, Layout, OciError, Registry, TinyImage},
};

use super::super::failures;
use crate::{args::other::DemoArgs, exit::Failure, resolve};

/// The largest layer of an image of the user's that is copied: what common registries take.
const LAYER: u64 = 10 << 30;
/// Indexes in indexes.
const DEPTH: usize = 2;

/// Where the image comes from.
pub(super) enum Source {
    Made,
    Layout(PathBuf),
    Registry(Reference),
}

impl Source {
    pub(super) fn of(args: &DemoArgs) -> Result<Self, Failure> {
        Ok(match (&args.image, &args.layout) {
            (Some(image), _) => Self::Registry(resolve::reference(image)?),
            (None, Some(layout)) => Self::Layout(layout.clone()),
            (None, None) => Self::Made,
        })
    }

    /// Pushes the image to the demo's registry, and gives its reference by digest.
    pub(super) async fn push(&self, registry: &Registry, to: &str) -> Result<Reference, Failure> {
        let repository: Repository = to.parse().map_err(Failure::undetermined)?;
        let tag = repository.tag("1").map_err(Failure::undetermined)?;
        let pushed = match self {
            Self::Made => {
                let image = TinyImage::new("hello.txt", b"Hello from the vidimus demo.\n").map_err(Failure::undetermined)?;
                image.push(registry, &tag).await
            }
            Self::Layout(dir) => match Layout::open(dir).and_then(|layout| layout.find(None).map(|image| (layout, image))) {
                Ok((layout, image)) => registry.push_layout(&layout, &image, &tag).await,
                Err(error) => return Err(Failure::usage(error)),
            },
            Self::Registry(from) => copy(registry, from, &tag).await,
        };
        pushed.map(|image| repository.digest(image.digest)).map_err(|e| failures::oci(&e))
    }
}

/// Pushes an image that is not the builder's.
pub(super) async fn push_impostor(registry: &Registry, to: &str) -> Result<Reference, Failure> {
    let repository: Repository = to.parse().map_err(Failure::undetermined)?;
    let image =
        TinyImage::new("hello.txt", b"Hello, this is not the image you are looking for.\n").map_err(Failure::undetermined)?;
    let pushed = image.push(registry, &repository.tag("1").map_err(Failure::undetermined)?).await;
    pushed.map(|image| repository.digest(image.digest)).map_err(|e| failures::oci(&e))
}

/// Copies an image with everything its manifests point to.
pub(super) async fn copy(registry: &Registry, from: &Reference, to: &Reference) -> Result<Descriptor, OciError> {
    let document = registry.manifest(from).await?;
    copy_document(registry, from, to, &document, DEPTH).await?;
    Ok(document.descriptor())
}

async fn copy_document(
    registry: &Registry,
    from: &Reference,
    to: &Reference,
    document: &Raw<Document>,
    depth: usize,
) -> Result<(), OciError> {
    match &document.value {
        Document::Index(index) if depth > 0 => {
            for child in &index.manifests {
                let from = from.with_digest(child.digest.clone());
                let to = to.with_digest(child.digest.clone());
                let document = registry.manifest(&from).await?;
                Box::pin(copy_document(registry, &from, &to, &document, depth - 1)).await?;
            }
        }
        Document::Index(_) => {}
        Document::Manifest(manifest) => {
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                copy_blob(registry, from.repository(), to.repository(), blob).await?;
            }
        }
    }
    registry.push_manifest(to, &document.media_type, &document.bytes).await.map(drop)
}

async fn copy_blob(registry: &Registry, from: &Repository, to: &Repository, blob: &Descriptor) -> Result<(), OciError> {
    if registry.blob_exists(to, &blob.digest).await? {
        return Ok(());
    }
    let io = |e: std::io::Error| OciError::Io { path: std::env::temp_dir(), why: e.to_string() };
    let file = tempfile::NamedTempFile::new().map_err(io)?;
    let mut writer = tokio::fs::File::from_std(file.reopen().map_err(io)?);
    registry.blob_to(from, blob, LAYER, &mut writer).await?;
    tokio::io::AsyncWriteExt::flush(&mut writer).await.map_err(io)?;
    let content = Content::known_file(file.path().to_owned(), blob.digest.clone(), blob.size);
    registry.push_blob(to, &content, Some(from).filter(|f| f.registry() == to.registry())).await
}
