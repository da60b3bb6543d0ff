//! What hangs off an image, as signed entities: bundles and cosign's layers, told apart by what they state, not by where they lie.

use std::{fmt, sync::Arc};

use vidimus_core::{
    ParseError,
    bundle::Bundle,
    cosign::{Layer, LayerKind, SIGN_PREDICATE},
    intoto::Header,
    oci::Descriptor,
    reference::Reference,
};
use vidimus_net::oci::{self, ArtifactKind, DiscoverOptions, OciError, Registry};
use vidimus_verify::{Content, SignedEntity};

/// An image, resolved once; everything after goes by its digest.
#[derive(Debug, Clone)]
pub struct Image {
    /// The reference as it was given.
    pub given: Reference,
    /// What it pointed to.
    pub descriptor: Descriptor,
}

impl Image {
    /// Asks the registry what a reference points to.
    pub async fn resolve(registry: &Registry, given: &Reference) -> Result<Self, OciError> {
        Ok(Self { given: given.clone(), descriptor: registry.resolve(given).await? })
    }

    /// The image by digest.
    pub fn by_digest(&self) -> Reference {
        self.given.with_digest(self.descriptor.digest.clone())
    }
}

/// What a candidate claims to be. The claim is part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// A signature over the image.
    Signature,
    /// A statement of some predicate type about the image.
    Attestation(String),
}

/// A signed entity that hangs off an image. Nothing about it is verified.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it was found, and what the registry says about it.
    pub found: oci::Found,
    /// What it claims to be.
    pub claim: Claim,
    /// The signature with its evidence. Shared: it may hold a statement of a hundred megabytes.
    pub entity: Arc<SignedEntity>,
}

/// Something of a known type that cannot be read. It proves nothing, but it was there.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Where it was found.
    pub found: oci::Found,
    /// What is wrong with it.
    pub why: ParseError,
}

/// What hangs off an image.
#[derive(Debug, Clone)]
pub struct Attached {
    /// What can be verified.
    pub candidates: Vec<Candidate>,
    /// What cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Places that could not be looked into: what is missing above may be there.
    pub problems: Vec<oci::Problem>,
}

impl Attached {
    /// Everything that hangs off an image.
    pub async fn to(registry: &Registry, image: &Image, options: &DiscoverOptions) -> Self {
        let artifacts = registry.discover(image.given.repository(), &image.descriptor.digest, options).await;
        let mut attached = Self { candidates: Vec::new(), unreadable: Vec::new(), problems: artifacts.problems };
        for artifact in artifacts.items {
            let Some(content) = artifact.content else { continue };
            match entity(&artifact.found, &content) {
                Ok(Some((entity, claim))) => {
                    attached.candidates.push(Candidate { found: artifact.found, claim, entity: Arc::new(entity) });
                }
                Ok(None) => {}
                Err(why) => attached.unreadable.push(Unreadable { found: artifact.found, why }),
            }
        }
        attached
    }
}

/// The entity in an artifact's bytes; `None` for kinds that carry no signature.
fn entity(found: &oci::Found, content: &[u8]) -> Result<Option<(SignedEntity, Claim)>, ParseError> {
    let entity = match found.kind {
        ArtifactKind::Bundle => SignedEntity::from_bundle(Bundle::from_json(content)?)?,
        ArtifactKind::Signature | ArtifactKind::Attestation => {
            let layer = found.layer.as_ref().map(Layer::parse).transpose()?.flatten();
            match layer {
                Some(layer) => SignedEntity::from_cosign_layer(&layer, content)?,
                None => return Ok(None),
            }
        }
        ArtifactKind::Sbom | ArtifactKind::Other => return Ok(None),
    };
    let claim = claim(&entity)?;
    Ok(claim.map(|claim| (entity, claim)))
}

/// What an entity claims to be. A bare signature over a file is not a claim about an image.
fn claim(entity: &SignedEntity) -> Result<Option<Claim>, ParseError> {
    match entity.content() {
        Content::Payload { .. } => Ok(Some(Claim::Signature)),
        Content::Envelope { envelope, .. } => {
            let statement = Header::from_envelope(envelope)?;
            Ok(Some(match statement.predicate_type.as_str() {
                SIGN_PREDICATE => Claim::Signature,
                other => Claim::Attestation(other.to_owned()),
            }))
        }
        _ => Ok(None),
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found.manifest.digest, self.why)
    }
}

/// Whether a layer's annotations alone tell who signed it, so that its content need not be fetched for a picture.
pub(crate) fn annotated(found: &oci::Found) -> Option<Layer> {
    let layer = Layer::parse(found.layer.as_ref()?).ok().flatten()?;
    matches!(layer.kind, LayerKind::SimpleSigning | LayerKind::Dsse).then_some(layer)
}
