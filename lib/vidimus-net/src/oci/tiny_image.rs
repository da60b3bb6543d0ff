//! A tiny image, made from nothing, for demonstrations and tests.
//!
//! One file in one plain tar layer. Deliberately absent: everything an image builder does.

use vidimus_core::{
    Digest, ParseError, Reference,
    oci::{self, Descriptor, Manifest, Raw},
};

use super::{Content, Layout, OciError, Registry};

/// An image with one file in it: the smallest thing that can be signed and pulled.
#[derive(Debug, Clone)]
pub struct TinyImage {
    /// Its configuration.
    pub config: Vec<u8>,
    /// Its layer, a tar archive.
    pub layer: Vec<u8>,
    /// Its manifest.
    pub manifest: Raw<Manifest>,
}

impl TinyImage {
    /// An image for linux/amd64 that holds one file of at most 8 GiB at its root. The same arguments give the same digest.
    pub fn new(name: &str, content: &[u8]) -> Result<Self, ParseError> {
        let layer = tar(name, content)?;
        let diff_id = Digest::sha256(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        )
        .into_bytes();
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(oci::MANIFEST.to_owned()),
            config: Descriptor::of(oci::CONFIG, &config),
            layers: vec![Descriptor::of(oci::LAYER, &layer)],
            annotations: Default::default(),
            subject: None,
            artifact_type: None,
        };
        Ok(Self { config, layer, manifest: Raw::write(oci::MANIFEST, manifest) })
    }

    /// Puts it into a layout.
    pub fn write(&self, layout: &Layout, tag: Option<&str>) -> Result<Descriptor, OciError> {
        layout.put_blob(oci::CONFIG, &self.config)?;
        layout.put_blob(oci::LAYER, &self.layer)?;
        let descriptor = layout.put_blob(oci::MANIFEST, &self.manifest.bytes)?;
        layout.list(descriptor.clone(), tag)?;
        Ok(descriptor)
    }

    /// Pushes it.
    pub async fn push(&self, registry: &Registry, to: &Reference) -> Result<Descriptor, OciError> {
        let repository = to.repository();
        registry.push_blob(repository, &Content::bytes(self.config.clone()), None).await?;
        registry.push_blob(repository, &Content::bytes(self.layer.clone()), None).await?;
        registry.push_manifest(to, oci::MANIFEST, &self.manifest.bytes).await?;
        Ok(self.manifest.descriptor())
    }
}

/// A tar archive (POSIX ustar) with one file, from 1970.
fn tar(name: &str, content: &[u8]) -> Result<Vec<u8>, ParseError> {
    if name.is_empty() || name.len() > 99 || name.contains('\0') {
        return Err(ParseError::new("file name in a tar archive", "it must have 1 to 99 bytes"));
    }
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    // Padding to a whole block, and two empty blocks as the end.
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_one_that_tar_reads() {
        let archive = tar("a.txt", &[b'x'; 513]).unwrap();
        assert_eq!(archive.len(), 512 + 1024 + 1024);
        let sum: u32 =
            archive[..512].iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum();
        assert_eq!(&archive[148..154], format!("{sum:06o}").as_bytes());
        assert!(tar(&"n".repeat(100), b"").is_err());
    }
}
