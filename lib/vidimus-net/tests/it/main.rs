//! The network against servers on loopback ports: good ones, misbehaving ones, and real ones where they are installed.

mod attach;
mod auth;
mod discover;
mod hostile;
mod peers;
mod server;
mod transfer;
