//! `scripts/conformance-tuf` and python-tuf, the reference implementation, on the same repositories: some 300 sound and broken ones that
//! `tuf_client/run.py` builds and serves. Our verdict and the files that we trust afterwards are those of the specification, and those of
//! python-tuf too, or the difference is one that is listed here with its reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde::Deserialize;

use crate::peer;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/tuf_client/run.py");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/conformance-tuf");

/// Where the two differ: cases, and why.
const DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "a threshold asks for several keys: one key under two ids is one (§5.3.4, \"each KEY MUST only contribute one SIGNATURE\")",
        &["one_key_by_two_ids", "delegated_one_key_by_two_ids"],
    ),
    (
        "adopters can define kinds of keys (§4.2.2): one that we do not know is no key to us, python-tuf refuses the whole document",
        &[
            "unknown_keytype_beside_a_good_one",
            "unknown_scheme_beside_a_good_one",
            "unknown_keytype_nobody_uses",
            "unknown_keyval_nobody_uses",
            "delegated_with_an_unknown_keytype_beside_a_good_one",
        ],
    ),
    (
        "the specification knows a role mirrors, and lets fields be added; python-tuf wants exactly four roles",
        &["role_mirrors", "unknown_role"],
    ),
    (
        "keys and signatures beyond those of the specification that python-tuf takes: P-521, PKCS #1 v1.5, PSS with a longer salt",
        &["ecdsa_p521", "rsa_pkcs1v15_256", "rsa_salt_of_another_length"],
    ),
    ("python-tuf checks the signature over what it kept of the document, and does not keep this", &["timestamp_names_more"]),
    ("digests that only python-tuf computes", &["pinned_by_sha224", "pinned_by_blake2b", "pinned_by_sha3"]),
    (
        "one digest that fits is enough: we pass over those that we cannot compute, and read hex in capitals",
        &["pinned_by_an_unknown_hash_beside_sha256", "pinned_in_capitals"],
    ),
    (
        "§5.3.11: new keys for either, timestamp or snapshot, end the trust in both files; python-tuf asks which it can still verify",
        &["fast_forward_snapshot_by_new_snapshot_keys", "fast_forward_targets_by_new_timestamp_keys"],
    ),
    ("the example in §4.5 has no \"terminating\" either; python-tuf insists on it", &["terminating_left_out"]),
    ("paths and path_hash_prefixes are both optional (§4.5): such a role speaks for nothing", &["neither_prefixes_nor_paths"]),
];

/// Where both accept and ask for different files.
const ASKED: &[(&str, &[&str])] = &[
    ("§5.3.11: the snapshot is fetched anew, although it is the same", &["new_keys_but_old_signatures"]),
    (
        "a target lies under each of its digests: python-tuf takes the first one listed, we take SHA-256",
        &["target_by_sha512_then_sha256"],
    ),
];

#[derive(Deserialize)]
struct Step {
    case: String,
    step: u32,
    /// What went wrong in the case itself.
    broken: Option<String>,
    #[serde(default)]
    accepted: bool,
    /// Root, timestamp, snapshot, targets; 0 for none.
    versions: Option<[u64; 4]>,
    ours: Option<Seen>,
    #[serde(rename = "python-tuf")]
    peer: Option<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    code: i32,
    says: String,
    trusted: BTreeMap<String, String>,
    versions: BTreeMap<String, serde_json::Value>,
    targets: BTreeMap<String, String>,
    asked: Vec<String>,
}

impl Seen {
    fn versions(&self) -> [u64; 4] {
        ["root", "timestamp", "snapshot", "targets"]
            .map(|role| self.versions.get(role).and_then(serde_json::Value::as_u64).unwrap_or_default())
    }
}

#[test]
fn every_repository_gets_the_verdict_of_the_specification_and_of_python_tuf() {
    let Some(peer) = peer::find("python-tuf") else { return };
    let python = peer.parent().and_then(|bin| bin.parent()).expect("a folder of peers").join("python/bin/python");
    let run = Command::new(python).arg("-B").arg(SCRIPT).arg(CLIENT).env("VIDIMUS", env!("CARGO_BIN_EXE_vidimus")).output();
    let run = run.expect("python starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (mut problems, mut differ, mut asked, mut steps) = (Vec::new(), BTreeSet::new(), BTreeSet::new(), 0);
    for line in String::from_utf8(run.stdout).expect("JSON").lines() {
        let step: Step = serde_json::from_str(line).expect("a step");
        steps += 1;
        judge(&step, &mut problems, &mut differ);
        if let (Some(ours), Some(peer)) = (&step.ours, &step.peer)
            && (ours.code, peer.code) == (0, 0)
            && ours.asked != peer.asked
        {
            asked.insert(step.case);
        }
    }
    for (found, listed, what) in [(&differ, DIFFERENCES, "verdict or files"), (&asked, ASKED, "requests")] {
        let listed: BTreeSet<_> = listed.iter().flat_map(|(_, cases)| *cases).map(|case| (*case).to_owned()).collect();
        problems.extend(found.difference(&listed).map(|case| format!("{case}: other {what} than python-tuf's, and not listed")));
        problems.extend(listed.difference(found).map(|case| format!("{case}: listed for other {what}, and there are none")));
    }
    println!("{steps} steps, {} cases differ as listed", differ.len() + asked.len());
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(steps > 550, "{steps} steps");
}

fn judge(step: &Step, problems: &mut Vec<String>, differ: &mut BTreeSet<String>) {
    let mut problem = |why: String| problems.push(format!("{} {}: {why}", step.case, step.step));
    let (Some(ours), Some(peer)) = (&step.ours, &step.peer) else {
        return problem(format!("the case is broken: {:?}", step.broken));
    };
    if ours.code != i32::from(!step.accepted) {
        problem(format!("exit code {}, accepted should be {}: {}", ours.code, step.accepted, ours.says));
    }
    if let Some(versions) = step.versions.filter(|versions| *versions != ours.versions()) {
        problem(format!("trusts {:?}, should trust {versions:?}: {}", ours.versions(), ours.says));
    }
    if (ours.code == 0, &ours.trusted, &ours.targets) != (peer.code == 0, &peer.trusted, &peer.targets) {
        differ.insert(step.case.clone());
    }
}
