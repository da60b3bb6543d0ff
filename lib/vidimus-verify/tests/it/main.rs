//! The engine on bundles that real services made. Nothing here needs a network.

mod bundles;
mod common;
mod mutation;
mod oracle;
mod refused;
