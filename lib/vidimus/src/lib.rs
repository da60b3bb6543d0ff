//! Workflows: sign, attest, verify, tree, validate and trust updates, with their reports.
//!
//! This crate joins the network (`vidimus-net`), the decision (`vidimus-verify`) and the formats (`vidimus-core`). It returns
//! values and typed errors; it prints nothing and asks nobody. The command line lives in another crate.

pub mod attached;
pub mod blob;
pub mod bundle_tools;
mod certificate;
pub mod inspect;
pub mod origin;
pub mod outcome;
pub mod predicate;
pub mod report;
pub mod service_spec;
pub mod services;
pub mod sign_image;
pub mod signer;
pub mod signing_config;
pub mod single_files;
pub mod slsa;
pub mod tree;
pub mod trusted_root;
pub mod validate;
pub mod verify_image;

pub use outcome::Outcome;
pub use vidimus_core as core;
pub use vidimus_net as net;
pub use vidimus_verify as engine;

/// Runs futures at the same time and gives their results in order.
pub async fn join_all<T>(work: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(work).await
}
