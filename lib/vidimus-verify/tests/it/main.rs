//! The engine on bundles that real services made, and on evidence that no honest service would make. Nothing here needs a network.

mod bundles;
mod certificates;
mod common;
mod forge;
mod mutation;
mod oracle;
