//! Whole stacks, spoken to over HTTP.

// Clippy knows test functions, not the helpers beside them.
#![allow(clippy::unwrap_used)]

mod durability;
mod life;
mod peers;
mod registry;
mod server;
mod wire;

use vidimus_stack::stack::{Running, Stack, StackConfig};

/// A stack in memory on a free port.
async fn stack() -> Running {
    Stack::start(StackConfig::default()).await.expect("a stack in memory starts")
}
