//! A private Sigstore in one process: OIDC issuer, CA, CT log, transparency logs, timestamp authority, TUF repository, OCI registry.
//!
//! [`stack::Stack::start`] brings all of it up on one port; the other functions of [`stack`] look after a stack's directory.

mod files;
pub mod registry;
pub mod clock;
pub mod pki;
pub mod secret_file;
pub mod server;
pub mod stack;
#[cfg(test)]
mod testing;
pub mod tsa;
