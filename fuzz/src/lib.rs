//! What is fuzzed, and what it starts from.

pub mod seeds;
pub mod targets;
