//! The network: HTTP with limits and retries, OIDC, Fulcio, Rekor, timestamp authorities, TUF, OCI registries.

pub mod keys;
pub mod oidc;
pub mod tsa;
