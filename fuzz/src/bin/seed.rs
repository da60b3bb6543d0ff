//! Writes the seeds of one target, or of all, into `corpus/TARGET/`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let only = std::env::args().nth(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, seeds) in vidimus_fuzz::seeds::all(&root.join("../testdata")) {
        if only.as_ref().is_some_and(|only| only != target) {
            continue;
        }
        let folder = root.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (i, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{i:03}")), seed)?;
        }
    }
    Ok(())
}
