//! The X.509 that the certificate authority and the timestamp authority share: ECDSA keys, certificates of the three ranks, and
//! their place on disk (RFC 5280).
//!
//! Leaf certificates for signers are not made here; see [`crate::fulcio`].

pub(crate) mod certificate;
pub(crate) mod hierarchy;
pub(crate) mod key;

pub use hierarchy::{Chain, OpenError};
