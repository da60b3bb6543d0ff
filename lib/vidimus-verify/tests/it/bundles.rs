//! Bundles: what is accepted, what is proven by it, and what each check refuses.

use vidimus_verify::verify;

use crate::common::*;

#[test]
fn real_bundles_verify() {
    let mut bad = 0;
    for case in CASES {
        let bytes = case.artifact_bytes();
        let trust = case.trust();
        for u in trust.unusable() {
            println!("{}: {u}", case.root);
        }
        match verify(&case.entity(), &case.artifact(&bytes), &trust, &case.policy(), now()) {
            Ok(verified) => {
                println!("{}: {:?}", case.bundle, verified.checks().iter().map(|c| c.id.as_str()).collect::<Vec<_>>())
            }
            Err(e) => {
                bad += 1;
                println!("{}: {e} ({})", case.bundle, e.check_id())
            }
        }
    }
    assert_eq!(bad, 0);
}
