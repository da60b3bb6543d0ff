//! A private Sigstore in one process: OIDC issuer, CA, CT log, transparency logs, timestamp authority, TUF repository, OCI registry.
//!
//! [`stack::Stack::start`] brings all of it up on one port; the other functions of [`stack`] look after a stack's directory.

pub mod clock;
pub mod ct;
mod files;
pub mod fulcio;
mod guard;
pub mod identity;
pub mod jwt;
pub mod keys;
pub mod log;
pub mod notes;
pub mod oidc;
pub mod pki;
pub mod registry;
pub mod rekor;
pub mod secret_file;
pub mod server;
pub mod stack;
pub mod storage;
#[cfg(test)]
mod testing;
pub mod trust;
pub mod tsa;
pub mod tuf;
pub mod users;
mod verifier;
