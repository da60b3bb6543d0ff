//! `sign` and `attest`: a statement about an image, signed, verified by ourselves, and attached to it.
//!
//! The digest is resolved once and used for everything after; nothing is pushed before our own verification accepted it.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};
use vidimus_core::{
    ParseError,
    intoto::{Header, cosign_sign_statement},
    oci::{BundleContent, Document},
    reference::{Reference, Repository},
};
use vidimus_net::oci::{Attached, BundleAttachment, OciError, Registry};
use vidimus_verify::{Artifact, Rejection, Verified};

use crate::{
    attached::Image,
    blob::{given_statement, statement},
    predicate::Predicate,
    signer::{Session, SignError, Signed},
    verify_image::{VerifyError, resolve},
};

/// What is said about the image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Saying {
    /// That it is signed, with annotations (`-a`).
    Signature(Map<String, Value>),
    /// A predicate.
    Predicate(Predicate),
    /// A whole statement, which must be about the image.
    Statement(Vec<u8>),
}

/// A signed statement about an image.
#[derive(Debug, Clone)]
pub struct SignedImage {
    /// The image.
    pub image: Image,
    /// The bundle and what is proven about it.
    pub signed: Signed,
    /// The predicate type of the statement.
    pub predicate_type: String,
}

/// An image that was not signed, or whose signature was not attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignImageError {
    /// There is no such image, or the registry did not tell.
    #[error(transparent)]
    Image(#[from] VerifyError),
    /// The registry did not take the bundle, or did not answer.
    #[error("the bundle was not attached to {image}: {source}")]
    Attach {
        /// The image.
        image: Box<Reference>,
        /// Why not.
        source: Box<OciError>,
    },
    /// What is to be signed is not in order.
    #[error(transparent)]
    Statement(#[from] ParseError),
    /// It was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl SignedImage {
    /// What our own verification proved.
    pub fn verified(&self) -> &Verified {
        &self.signed.verified
    }

    /// The bundle's JSON.
    pub fn bundle_json(&self) -> Vec<u8> {
        self.signed.bundle.to_json()
    }
}

/// The images to sign for one reference: itself, and with `recursive` every manifest of an index below it.
pub async fn images(registry: &Registry, reference: &Reference, recursive: bool) -> Result<Vec<Image>, SignImageError> {
    let image = resolve(registry, reference).await?;
    let mut images = vec![image.clone()];
    if !recursive {
        return Ok(images);
    }
    let by_digest = image.by_digest();
    let document = registry
        .manifest(&by_digest)
        .await
        .map_err(|source| VerifyError::Registry { reference: by_digest.clone(), source: Box::new(source) })?;
    if let Document::Index(index) = &document.value {
        images
            .extend(index.manifests.iter().map(|descriptor| Image { given: by_digest.clone(), descriptor: descriptor.clone() }));
    }
    Ok(images)
}

/// Signs a statement about an image. Pushes nothing.
pub async fn sign(session: &Session, image: Image, saying: &Saying) -> Result<SignedImage, SignImageError> {
    let digest = &image.descriptor.digest;
    let payload = match saying {
        Saying::Signature(annotations) => cosign_sign_statement(digest, annotations.clone())?,
        Saying::Predicate(predicate) => statement(&image.given.repository().to_string(), digest, predicate)?,
        Saying::Statement(bytes) => given_statement(bytes.clone(), digest)?,
    };
    let predicate_type = Header::from_json(&payload)?.predicate_type;
    let signed = session.sign_statement(payload, &Artifact::digest(digest.clone())).await?;
    Ok(SignedImage { image, signed, predicate_type })
}

/// Attaches what was signed to its image, in `repository` if signatures are kept apart from images.
pub async fn attach(
    registry: &Registry,
    signed: &SignedImage,
    repository: Option<&Repository>,
) -> Result<Attached, SignImageError> {
    let repository = repository.unwrap_or_else(|| signed.image.given.repository());
    // Whole seconds, as cosign writes it; cut off, so that it never lies in the future.
    let created = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default().to_string();
    let attachment = BundleAttachment {
        bundle: Bytes::from(signed.bundle_json()),
        content: BundleContent::DsseEnvelope,
        predicate_type: Some(&signed.predicate_type),
        created: &created,
    };
    registry
        .attach_bundle(repository, &signed.image.descriptor, &attachment)
        .await
        .map_err(|source| SignImageError::Attach { image: Box::new(signed.image.by_digest()), source: Box::new(source) })
}

impl SignImageError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sign(SignError::SelfCheck(rejection)) => rejection.hint().or_else(|| Some(services_hint(rejection))),
            Self::Image(error) => error.hint(),
            _ => None,
        }
    }
}

fn services_hint(_: &Rejection) -> String {
    "the trusted root and the services that signed do not belong together; run `vidimus initialize` for this instance".into()
}
