//! The network: HTTP with limits and retries, OIDC, Fulcio, Rekor, timestamp authorities, TUF, OCI registries.

mod endpoint;
pub mod fulcio;
pub mod http;
pub mod keys;
pub mod oci;
pub mod oidc;
pub mod rekor;
pub mod tsa;
