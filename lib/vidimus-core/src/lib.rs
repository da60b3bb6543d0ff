//! The formats of container signing, as values.
//!
//! Everything here is synchronous and pure: no I/O, no clock, no environment. A function takes bytes and gives a value or a
//! [`ParseError`] that says which format was being read, where, and why it was refused. Nothing here decides whether to *trust*
//! anything; that is `vidimus-verify`.

pub mod bundle;
pub mod checkpoint;
pub mod cosign;
pub mod digest;
pub mod dsse;
pub mod encoding;
pub mod error;
pub mod fulcio;
pub mod intoto;
pub mod jcs;
pub mod jsonl;
pub mod limits;
pub mod merkle;
pub mod oci;
mod protobuf;
pub mod reference;
pub mod rekor;
pub mod trust;

pub use digest::{Algorithm, Digest};
pub use error::ParseError;
pub use reference::{Reference, Repository};
