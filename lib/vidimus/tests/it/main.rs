//! The library beside the real tools.

mod create;
mod log;
mod peers;
mod services;
