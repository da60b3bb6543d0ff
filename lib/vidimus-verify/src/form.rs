//! `bundle.content`: the entity has a form that its format allows, so that there is one signature by one signer to judge, and no part
//! of it that one verifier reads and another does not (protobuf-specs `sigstore_bundle.proto`, client specification §4.1).

use vidimus_core::bundle::Version;

use crate::{CheckId, Content, Format, Material, Rejection, SignedEntity, check::Journal};

/// `bundle.content`
pub(crate) fn check(entity: &SignedEntity, journal: &mut Journal) -> Result<(), Rejection> {
    let malformed = |why: &str| Err(Rejection::malformed(CheckId::BundleContent, why));
    // From 0.3 on the certificate stands alone: an intermediate that travels along must not find its way into a chain.
    if entity.format() == Format::Bundle(Version::V03) && entity.has_chain() {
        return malformed("a bundle 0.3 with a certificate chain instead of the signer's certificate");
    }
    if matches!(entity.material(), Material::Certificates(chain) if chain.is_empty()) {
        return malformed("an empty certificate chain");
    }
    if let Content::Envelope { envelope, .. } = entity.content() {
        // Whatever DSSE allows: with two, "the signature" in log entries and timestamps would mean either.
        if envelope.signatures.len() != 1 {
            return malformed(&format!("the envelope has {} signatures instead of one", envelope.signatures.len()));
        }
    }
    if entity.signature().is_empty() {
        return malformed("the signature is empty");
    }
    if let Some(hint) = entity.stated_digest() {
        hint.to_digest().map_err(|e| Rejection::malformed(CheckId::BundleContent, e))?;
    }
    journal.proved(CheckId::BundleContent, format!("the {} has one signature by one signer", entity.format()));
    Ok(())
}
