//! An OCI registry: the distribution specification 1.1 with referrers API, chunked uploads, cross-repository mounts and deletion.
//!
//! Content is kept once, by digest; repositories hold links to it. Everything is a file, so that a stack in memory keeps its images in a
//! scratch directory: layers are too big for anything else. Not here: garbage collection beyond deleting what nothing links to any more,
//! proxying, and schema 1 manifests.

mod access;
mod error;
mod http;
mod manifest;
mod name;
mod parts;
mod store;
mod uploads;

pub use access::Writers;
pub use error::RegistryError;
pub use http::{Access, router};
pub use store::{Counts, Registry};
