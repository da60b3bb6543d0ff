//! Bundles: what is accepted, what is proven by it, and what each check refuses.

use vidimus_verify::{Artifact, verify};

use crate::common::*;

#[test]
fn wire_bundles_verify() {
    let trust = wire_trust();
    assert_eq!(trust.unusable(), []);
    for (bundle, artifact) in WIRE {
        let artifact = wire(artifact);
        let verified = verify(&entity(&wire(bundle)), &Artifact::bytes(&artifact), &trust, &wire_policy(), now());
        let verified = verified.unwrap_or_else(|e| panic!("{bundle}: {e}"));
        println!("{}", serde_json::to_string_pretty(&verified).unwrap());
    }
}
