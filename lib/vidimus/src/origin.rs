//! Which public Sigstore instance a signature comes from, for explanations only: what the trusted roots that are built in say.
//! Nobody is trusted because of this.

use vidimus_net::tuf::{PUBLIC_INSTANCES, TrustMaterial};
use vidimus_verify::{Rejection, SignedEntity, TrustRoot};

/// The name of the public instance whose services made a signature, if one of them did.
pub fn of(entity: &SignedEntity) -> Option<&'static str> {
    let knows = |mirror| {
        let material = TrustMaterial::built_in(mirror)?;
        TrustRoot::new(&material.trusted_root).ok().map(|root| root.knows(entity))
    };
    PUBLIC_INSTANCES.iter().find(|(_, mirror)| knows(mirror) == Some(true)).map(|(name, _)| *name)
}

/// What to do about a rejection, with the name of the instance that the signature comes from where that is what matters.
pub fn hint(rejection: &Rejection, entity: &SignedEntity) -> Option<String> {
    let name = of(entity).filter(|_| rejection.is_of_another_instance());
    match name {
        Some(name) => {
            Some(format!("it was made by {name}, which the trusted root does not have: use that instance's trusted root"))
        }
        None => rejection.hint(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(name: &str) -> SignedEntity {
        let path = format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"));
        crate::blob::entity(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn public_bundles_have_a_home() {
        for (file, home) in [
            ("public/happy-path.sigstore.json", Some("Sigstore's public-good instance")),
            ("public/staging-rekor2.sigstore.json", Some("Sigstore's staging instance")),
            ("public/github-private-attestation.sigstore.json", Some("GitHub's instance for private repositories and releases")),
            ("wire/bundle-a.v1.json", None),
        ] {
            assert_eq!(of(&entity(file)), home, "{file}");
        }
    }
}
