//! Identity tokens.

pub mod token;
