//! The second attack: a copy of the image with its genuine signature, and its attestation changed.

use bytes::Bytes;
use jiff::Timestamp;
use vidimus::{
    core::{
        bundle::Bundle,
        cosign::SIGN_PREDICATE,
        encoding::Base64,
        intoto::Statement,
        oci::BundleContent,
        reference::{Reference, Repository},
    },
    net::oci::{ArtifactKind, BundleAttachment, DiscoverOptions, Registry},
};

use super::{super::failures, image::copy};
use crate::exit::{End, Failure};

/// Copies an image with its signature; in the attestation another builder is named.
pub(super) async fn tampered_copy(registry: &Registry, image: &Reference, to: &str) -> Result<Reference, Failure> {
    let repository: Repository = to.parse().map_err(Failure::undetermined)?;
    let digest = image.digest().cloned().ok_or_else(|| Failure::undetermined("the image has no digest"))?;
    let subject = copy(registry, image, &repository.digest(digest.clone())).await.map_err(|e| failures::oci(&e))?;
    let attached = registry.discover(image.repository(), &digest, &DiscoverOptions::default()).await;
    let created = Timestamp::now().to_string();
    let mut tampered = 0;
    for artifact in attached.items {
        let (ArtifactKind::Bundle, Some(content)) = (artifact.found.kind, artifact.content) else { continue };
        let mut bundle = Bundle::from_json(&content).map_err(Failure::undetermined)?;
        let predicate_type = predicate_type(&bundle)?;
        if predicate_type != SIGN_PREDICATE {
            tamper(&mut bundle);
            tampered += 1;
        }
        let attachment = BundleAttachment {
            bundle: Bytes::from(bundle.to_json()),
            content: BundleContent::DsseEnvelope,
            predicate_type: Some(&predicate_type),
            created: &created,
        };
        registry.attach_bundle(&repository, &subject, &attachment).await.map_err(|e| failures::oci(&e))?;
    }
    match tampered {
        0 => Err(Failure::new(End::Rejected, "there was no attestation to tamper with")),
        _ => Ok(repository.digest(digest)),
    }
}

fn predicate_type(bundle: &Bundle) -> Result<String, Failure> {
    let envelope = bundle.dsse_envelope.as_ref().ok_or_else(|| Failure::undetermined("a bundle without a statement"))?;
    Ok(Statement::from_envelope(envelope).map_err(Failure::undetermined)?.predicate_type)
}

/// Names another builder, keeping everything else, the signature included.
fn tamper(bundle: &mut Bundle) {
    if let Some(envelope) = &mut bundle.dsse_envelope {
        let payload = String::from_utf8_lossy(envelope.payload.as_bytes());
        let forged = payload.replace("https://localhost/dummy-id", "https://trusted.example.com/builder");
        envelope.payload = Base64(forged.into_bytes());
    }
}
