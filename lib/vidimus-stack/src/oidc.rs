//! The stack's own OpenID Connect issuer.

pub(crate) mod key;
