//! Hanging something off an image: bundles as referrers, legacy layers under `.sig` and `.att`.
//!
//! Nothing is reported as attached before it can be found: listed by the registry itself, or seen in the tag that lists it.

use bytes::Bytes;
use vidimus_core::{
    Digest, Repository,
    cosign::{Attachment, Layer},
    oci::{self, BUNDLE_V03, BundleContent, BundleReferrer, Descriptor, EMPTY_JSON, Raw, referrer_entry},
};

use super::{
    Content, OciError, Registry,
    shared_tag::{Entries, Layers},
};

/// A Sigstore bundle to attach.
#[derive(Debug, Clone)]
pub struct BundleAttachment<'a> {
    /// The bundle's JSON.
    pub bundle: Bytes,
    /// What it holds.
    pub content: BundleContent,
    /// The predicate type of its statement, as an annotation.
    pub predicate_type: Option<&'a str>,
    /// The time, in RFC 3339 with whole seconds, as an annotation.
    pub created: &'a str,
}

/// How something became visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// The registry lists it by itself.
    ReferrersApi,
    /// It is listed under a tag, and was seen there.
    Tag {
        /// The tag.
        tag: String,
        /// How often the tag had to be written; 0 if it was there already.
        writes: u32,
    },
}

/// What was attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The manifest that holds it.
    pub manifest: Descriptor,
    /// The layer that it is.
    pub layer: Descriptor,
    /// How it became visible.
    pub via: Via,
}

impl Registry {
    /// Attaches a bundle to `subject` as an OCI referrer, as cosign 3 does. When this returns, the bundle can be found.
    pub async fn attach_bundle(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        attachment: &BundleAttachment<'_>,
    ) -> Result<Attached, OciError> {
        let content = Content::bytes(attachment.bundle.clone());
        let layer = content.descriptor(BUNDLE_V03);
        let manifest = BundleReferrer {
            bundle: layer.clone(),
            subject: subject.clone(),
            content: attachment.content,
            predicate_type: attachment.predicate_type,
            created: attachment.created,
        }
        .manifest();
        let empty = Content::bytes(EMPTY_JSON);
        tokio::try_join!(self.push_blob(repository, &empty, None), self.push_blob(repository, &content, None))?;
        let via = self.push_referrer(repository, subject, &manifest).await?;
        Ok(Attached { manifest: referrer_entry(&manifest), layer, via })
    }

    /// Pushes a manifest with a subject, whose blobs are there, and makes sure that it is listed.
    pub async fn push_referrer(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        manifest: &Raw<oci::Manifest>,
    ) -> Result<Via, OciError> {
        let reference = repository.digest(manifest.digest.clone());
        let pushed = self.push_manifest(&reference, &manifest.media_type, &manifest.bytes).await?;
        if pushed.subject.as_ref() == Some(&subject.digest) {
            return Ok(Via::ReferrersApi);
        }
        // Some registries list referrers without saying so; a 404 says that they do not.
        if self.referrers_api(repository, &subject.digest).await?.is_some() {
            return Ok(Via::ReferrersApi);
        }
        let tag = Attachment::Referrers.tag(&subject.digest, "");
        let writes = self.update_tag(repository, &tag, Entries::new(referrer_entry(manifest))).await?;
        Ok(Via::Tag { tag, writes })
    }

    /// Adds a layer under the `.sig` or `.att` tag of an image, beside those that are there.
    pub async fn attach_legacy(
        &self,
        repository: &Repository,
        image: &Digest,
        attachment: Attachment,
        prefix: &str,
        layer: &Layer,
        content: Bytes,
    ) -> Result<Attached, OciError> {
        let descriptor = layer.descriptor(&content);
        self.push_blob(repository, &Content::bytes(content), None).await?;
        let tag = attachment.tag(image, prefix);
        let writes = self.update_tag(repository, &tag, Layers::new(descriptor.clone())).await?;
        let reference = repository.tag(&tag).map_err(|source| OciError::malformed(repository, source))?;
        let manifest = self.resolve(&reference).await?;
        Ok(Attached { manifest, layer: descriptor, via: Via::Tag { tag, writes } })
    }
}
