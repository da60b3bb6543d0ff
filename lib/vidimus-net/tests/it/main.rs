//! The network against servers on loopback ports: good ones, misbehaving ones, and real ones where they are installed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod attach;
mod auth;
mod client;
mod discover;
mod hostile;
mod peers;
mod server;
mod transfer;
