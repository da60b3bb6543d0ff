//! The decision: does this signature prove what it claims, under this trust root and policy, at this time?
//!
//! [`verify`] is a function of its arguments. It opens nothing, asks nobody and reads no clock. All formats (bundles of every version,
//! layers that cosign attached, detached signatures) become a [`SignedEntity`] and take the same path; the yardstick is Sigstore's
//! client specification, section 4.
//!
//! Success is a [`Verified`], which only that function can make and which lists every check with what it proved and by whom. Failure is
//! a [`Rejection`], which holds the evidence and can explain itself.
//!
//! ```no_run
//! use vidimus_core::{bundle::Bundle, trust::TrustedRoot};
//! use vidimus_verify::{Artifact, CertificateIdentity, Policy, SignedEntity, TrustRoot, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = TrustRoot::new(&TrustedRoot::from_json(&std::fs::read("trusted_root.json")?)?)?;
//! let entity = SignedEntity::from_bundle(Bundle::from_json(&std::fs::read("a.txt.sigstore.json")?)?)?;
//! let artifact = std::fs::read("a.txt")?;
//! let policy = Policy::keyless(CertificateIdentity::exact("dev@example.com", "https://accounts.example.com"));
//! let verified = verify(&entity, &Artifact::bytes(&artifact), &trust, &policy, jiff::Timestamp::now())?;
//! println!("signed {:?}", verified.signed_at());
//! # Ok(())
//! # }
//! ```

mod artifact;
mod asn1;
mod binding;
mod chain;
mod check;
mod engine;
mod entity;
mod form;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod instances;
mod key;
mod log;
mod pattern;
mod policy;
mod quorum;
mod rejection;
mod rfc3161;
mod sct;
mod signature;
mod time;
mod trust;
mod verified;
mod witness;
mod x509;

pub use artifact::Artifact;
pub use check::{Check, CheckId, Note, Waiver};
pub use engine::verify;
pub use entity::{Content, Format, Material, SignedEntity};
pub use identity::CertificateIdentity;
pub use instances::Instances;
pub use key::{KeyAlgorithm, PublicKey, Scheme};
pub use pattern::{Pattern, PatternError, RegexPattern};
pub use policy::{Policy, RequiredSigner};
pub use quorum::{IDENTITIES, Met, Quorum, Tally};
pub use rejection::{IdentityPart, Mismatch, Rejection};
pub use trust::{TrustRoot, Unusable};
pub use verified::{CertificateSigner, KeySigner, Signer, TimeSource, Verified, VerifiedEntry, VerifiedTime};
pub use vidimus_core::intoto::Header as Statement;
pub use witness::WitnessPolicy;
