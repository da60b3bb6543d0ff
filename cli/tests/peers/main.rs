//! The stack and the client against programs that we did not write: what one signs, the others verify, and the other way round.
//!
//! The programs come from `scripts/peers`. One that is missing skips its test with a word on stderr, or fails it where
//! `VIDIMUS_REQUIRE_PEERS` is set. Known divergences of the peers are listed beside the table that they are missing from.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blobs;
mod bundles;
mod differential;
mod images;
mod peer;
mod rekor;
mod sandbox;
mod trust;
mod tuf;
mod tuf_client;
