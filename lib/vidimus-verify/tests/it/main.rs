//! The engine on bundles that real services made, and on evidence that no honest service would make. Nothing here needs a network.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod bundles;
mod certificates;
mod checks;
mod common;
mod forge;
mod keys;
mod layers;
mod mutation;
mod oracle;
mod timestamps;
