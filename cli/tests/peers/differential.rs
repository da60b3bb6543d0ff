//! Changed bundles and trusted roots, judged by us, by the real cosign and by the real sigstore-python: the verdicts are the same, or the
//! difference is one that is listed with its reason. All bundles of `testdata/` that somebody can judge are judged as they are; of most
//! of them, each member is also removed, emptied, altered and written in the other forms that protobuf's JSON mapping has for it.
//!
//! A cosign is a process for each verdict, so it is asked about some of the changes; with `VIDIMUS_DIFFERENTIAL=all`, about all.

use std::collections::{BTreeMap, BTreeSet};

mod cases;
mod changes;
mod judges;
mod listed;

use cases::Case;
use changes::Change;
use judges::{Peers, Question, Verdict};
use listed::{Listed, Peer};

#[test]
fn changed_bundles_get_the_same_verdict() {
    let Some(peers) = Peers::find() else { return };
    let cases = cases::all();
    let changes = cases.iter().flat_map(|case| {
        let every = case.every.max(1);
        let changed = if case.every == 0 { vec![] } else { changes::all(&case.bundle) };
        std::iter::once(Change::none(&case.bundle)).chain(changed.into_iter().step_by(every)).map(move |change| (case, change))
    });
    let changes: Vec<_> = changes.collect();
    let questions: Vec<_> =
        changes.iter().map(|(case, change)| Question { case, bundle: &change.text, root: &case.root }).collect();
    compare(&peers, listed::BUNDLES, &questions, &changes);
}

#[test]
fn changed_trusted_roots_get_the_same_verdict() {
    let Some(peers) = Peers::find() else { return };
    let cases = cases::all();
    let of_ours = cases.iter().filter(|case| case.name.starts_with("wire/bundle-a"));
    let changes = of_ours.flat_map(|case| {
        let root = serde_json::from_str(&case.root).unwrap();
        let changed = changes::all(&root);
        std::iter::once(Change::none(&root)).chain(changed).map(move |change| (case, change))
    });
    let changes: Vec<_> = changes.collect();
    let bundles: Vec<_> = changes.iter().map(|(case, _)| case.bundle.to_string()).collect();
    let both = changes.iter().zip(&bundles);
    let questions: Vec<_> = both.map(|((case, change), bundle)| Question { case, bundle, root: &change.text }).collect();
    compare(&peers, listed::ROOTS, &questions, &changes);
}

/// Asks all three, and fails if a difference is not listed.
fn compare(peers: &Peers, listed: &[Listed], questions: &[Question<'_>], changes: &[(&Case, Change)]) {
    let ours: Vec<_> = questions.iter().map(judges::ours).collect();
    let mut problems = spellings(changes, &ours);
    let mut used = BTreeSet::new();
    for peer in [Peer::SigstorePython, Peer::Cosign] {
        let theirs = peers.verdicts(peer, questions, |i| changes[i].1.is_none());
        let mut reasons = BTreeMap::<_, usize>::new();
        for i in differences(changes, &ours, &theirs) {
            let ((case, change), theirs) = (&changes[i], &theirs[&i]);
            match listed.iter().position(|row| row.is(peer, theirs.is_ok(), &case.name, change)) {
                Some(row) => {
                    used.insert(row);
                    *reasons.entry(listed[row].why).or_default() += 1;
                }
                None => {
                    problems.push(format!("{} {} {}: we {:?}, {peer:?} {theirs:?}", case.name, change.at, change.what, ours[i]))
                }
            }
        }
        println!("{peer:?}: {} verdicts, {} listed differences", theirs.len(), reasons.values().sum::<usize>());
        reasons.iter().for_each(|(why, n)| println!("{n:8}  {why}"));
        assert!(theirs.len() > 200);
    }
    if judges::ask_all() {
        let unused = (0..listed.len()).filter(|row| !used.contains(row));
        problems.extend(unused.map(|row| format!("no longer so: {:?}", listed[row])));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// The questions on which a peer and we disagree. Where it refuses a case as it is, its refusals of changed ones say nothing.
fn differences(changes: &[(&Case, Change)], ours: &[Verdict], theirs: &BTreeMap<usize, Verdict>) -> Vec<usize> {
    let (mut out, mut refuses_all) = (Vec::new(), false);
    for (&i, verdict) in theirs {
        let is_original = changes[i].1.is_none();
        if is_original {
            refuses_all = verdict.is_err();
        }
        if verdict.is_ok() != ours[i].is_ok() && (is_original || !refuses_all || verdict.is_ok()) {
            out.push(i);
        }
    }
    out
}

/// What protobuf's JSON mapping says is the same is the same to us.
fn spellings(changes: &[(&Case, Change)], ours: &[Verdict]) -> Vec<String> {
    let mut original = &Ok(());
    let mut problems = Vec::new();
    for ((case, change), verdict) in changes.iter().zip(ours) {
        if change.is_none() {
            original = verdict;
            assert!(verdict.is_ok() || case.every == 0, "{}: {verdict:?}", case.name);
        } else if change.same && verdict.is_ok() != original.is_ok() {
            problems.push(format!("{} {} {}: {verdict:?}", case.name, change.at, change.what));
        } else if change.refused && verdict.is_ok() {
            problems.push(format!("{} {} {}: accepted", case.name, change.at, change.what));
        }
    }
    problems
}
