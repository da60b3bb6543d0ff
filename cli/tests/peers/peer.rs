//! Where the real programs are.

use std::path::PathBuf;

/// The path of a peer; `None`, and a word on stderr, if it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("VIDIMUS_PEERS").map_or_else(default_folder, PathBuf::from);
    let path = folder.join("bin").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("VIDIMUS_REQUIRE_PEERS").is_none(),
        "{name} is missing from {}: run scripts/peers",
        folder.display()
    );
    eprintln!("skipped: needs {name} (scripts/peers installs it)");
    None
}

fn default_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers")
}

/// The Python that has sigstore-python.
pub(crate) fn python() -> Option<PathBuf> {
    find("sigstore-python").map(|wrapper| wrapper.with_file_name("../python/bin/python"))
}
