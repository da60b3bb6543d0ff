//! The fuzz targets without a fuzzer: every seed, everything that ever failed, and some thousands of random changes of the seeds go
//! through the same functions. Always the same changes, so that a failure can be repeated.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
};

#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets")]
#[path = "../../../../fuzz/src/seeds.rs"]
mod seeds;
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets")]
#[path = "../../../../fuzz/src/targets.rs"]
mod targets;

/// Random inputs for each target; with the seeds, some seconds of an unoptimised build.
const CHANGES: usize = 200;
/// Inputs of each kept corpus, spread evenly over it: all of them take minutes.
const KEPT: usize = 150;

#[test]
fn targets_survive_seeds_regressions_and_changes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let seeds = seeds::all(&root.join("testdata"));
    let mut tried = 0;
    for (name, _) in targets::ALL {
        let seeds = seeds.get(name).map(Vec::as_slice).unwrap_or_default();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let changed = (0..CHANGES).map(|i| random.change(&seeds[i % seeds.len()], seeds));
        let regressions = regressions(&root.join("fuzz/regressions").join(name));
        for input in seeds.iter().cloned().chain(regressions).chain(changed) {
            tried += 1;
            let survived = catch_unwind(AssertUnwindSafe(|| targets::run(name, &input)));
            assert!(survived.is_ok(), "{name}: {:?}", String::from_utf8_lossy(&input));
        }
    }
    println!("{tried} inputs for {} targets", targets::ALL.len());
}

/// What fuzzers found worth keeping, of `scripts/fuzz`.
#[test]
fn targets_survive_what_fuzzers_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut tried = 0;
    for (name, _) in targets::ALL {
        let unpacked = tempfile::tempdir().unwrap();
        let archive = folder.join(format!("{name}.tar.xz"));
        let tar = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(unpacked.path()).status();
        if !tar.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "{}: needs tar and xz", archive.display());
            println!("skipped: needs tar and xz");
            return;
        }
        let inputs = regressions(unpacked.path());
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs.iter().step_by(inputs.len().div_ceil(KEPT)) {
            tried += 1;
            let survived = catch_unwind(AssertUnwindSafe(|| targets::run(name, input)));
            assert!(survived.is_ok(), "{name}: {:?}", String::from_utf8_lossy(input));
        }
    }
    println!("{tried} kept inputs");
}

/// Gives a fuzzer the seeds: `VIDIMUS_SEEDS` names the folder for them.
#[test]
fn seeds_are_written_where_asked() {
    let Some(folder) = std::env::var_os("VIDIMUS_SEEDS") else { return };
    for (target, seeds) in seeds::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")) {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        for (i, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{i:03}")), seed).unwrap();
        }
    }
}

#[test]
fn every_target_has_its_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    for (name, _) in targets::ALL {
        let text = fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("run({name:?}, data)")), "{name}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), targets::ALL.len());
}

fn regressions(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// A few changes of the kinds that find something: flipped bits, lost, repeated and swapped pieces, odd bytes.
    fn change(&mut self, seed: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seed.to_vec();
        for _ in 0..=self.below(4) {
            let (from, len) = (self.below(input.len()), self.below(40));
            let piece = from..(from + len).min(input.len());
            match self.below(7) {
                0 | 1 if !input.is_empty() => input[from] ^= 1 << self.below(8),
                2 => drop(input.drain(piece)),
                3 => {
                    let copy = input[piece].to_vec();
                    input.splice(from..from, copy);
                }
                4 => {
                    let odd: [&[u8]; 8] = [b"\x00", b"\xff", b"\"", b"{", b"-1", b"99999999999999999999", b"\n\n", b"\x80"];
                    input.splice(from..from, odd[self.below(odd.len())].iter().copied());
                }
                5 => {
                    let other = &others[self.below(others.len())];
                    let start = self.below(other.len());
                    let end = (start + len).min(other.len());
                    input.splice(piece, other[start..end].iter().copied());
                }
                _ => input.truncate(from),
            }
        }
        input
    }
}
