//! The network: HTTP with limits and retries, OIDC, Fulcio, Rekor, timestamp authorities, TUF, OCI registries.

pub mod http;
pub mod keys;
pub mod oci;
pub mod oidc;
pub mod tsa;
