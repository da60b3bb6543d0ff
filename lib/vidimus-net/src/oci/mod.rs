//! OCI registries: the distribution specification 1.1, what hangs off an image, and image layouts.
//!
//! ```text
//! Registry            one client for all registries: credentials, tokens, scheme        transport, auth, credentials
//!   resolve, manifest, blob, push_*, tags, delete                                        manifests, blobs
//!   referrers         API with pagination, and the fallback tag                          referrers
//!   discover          everything that hangs off an image, each blob fetched once         discover
//!   attach_*          bundles as referrers, legacy layers; safe against lost updates     attach, shared_tag
//! Layout              a directory with images                                            layout
//! ```
//!
//! Bytes first: a manifest is handed on with the bytes it was read from, and its digest is computed here. "Not there" is only what
//! a registry answered with 404; every other failure is an [`OciError`] and means that we could not tell.
//!
//! Deliberately absent: platform selection, layer extraction, foreign layer URLs, image building beyond a tiny image for tests.

mod artifacts;
mod attach;
mod auth;
mod blobs;
mod challenge;
mod credentials;
mod discover;
mod error;
mod helper;
mod layout;
mod login;
mod manifests;
mod referrers;
mod shared_tag;
mod tiny_image;
mod transport;

pub use self::{
    artifacts::{Artifact, ArtifactKind, Artifacts, DiscoverOptions, Fetch, Found, Location, Problem},
    attach::{Attached, BundleAttachment, Via},
    blobs::Content,
    credentials::{Credential, CredentialSources},
    error::OciError,
    layout::Layout,
    login::Login,
    manifests::Pushed,
    referrers::{Referrers, ReferrersSource},
    tiny_image::TinyImage,
    transport::{Registry, RegistryOptions},
};

#[cfg(test)]
mod tests {
    use vidimus_core::{Digest, Reference};

    use super::*;
    use crate::http::{Client, Kind};

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    #[tokio::test]
    async fn everything_can_be_spawned_and_nothing_works_without_network() {
        let registry = Registry::new(&Client::disabled(), RegistryOptions::default());
        let reference: Reference = "127.0.0.1:1/app".parse().unwrap();
        let error = is_send(registry.resolve(&reference)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Disabled);
        let image = Digest::sha256(b"");
        let artifacts = is_send(registry.discover(reference.repository(), &image, &DiscoverOptions::default())).await;
        assert!(artifacts.items.is_empty() && !artifacts.is_complete());
        let tiny = TinyImage::new("f", b"").unwrap();
        assert!(is_send(tiny.push(&registry, &reference)).await.is_err());
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(directory.path()).unwrap();
        let listed = tiny.write(&layout, None).unwrap();
        assert!(is_send(registry.push_layout(&layout, &listed, &reference)).await.is_err());
        assert!(is_send(registry.pull_layout(&reference, &layout)).await.is_err());
        let attachment = BundleAttachment {
            bundle: "{}".into(),
            content: vidimus_core::oci::BundleContent::DsseEnvelope,
            predicate_type: None,
            created: "2026-01-01T00:00:00Z",
        };
        let subject = tiny.manifest.descriptor();
        assert!(is_send(registry.attach_bundle(reference.repository(), &subject, &attachment)).await.is_err());
    }
}
