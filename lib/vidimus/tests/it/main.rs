//! The library beside the real tools.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod create;
mod fuzz;
mod log;
mod peers;
mod services;
