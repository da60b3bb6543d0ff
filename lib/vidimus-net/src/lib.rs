//! The network: HTTP with limits and retries, OIDC, Fulcio, Rekor, timestamp authorities, TUF, OCI registries.

mod endpoint;
pub mod environment;
pub mod fulcio;
pub mod fuzzing;
pub mod http;
pub mod keys;
pub mod oci;
pub mod oidc;
pub mod rekor;
#[cfg(test)]
mod testing;
pub mod tsa;
pub mod tuf;
