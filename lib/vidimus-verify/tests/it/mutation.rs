//! Every field and every byte of every decoded part of every valid fixture, changed one at a time: the change is refused, or it is one
//! of a short list of changes that cannot matter, and then the verdict is the same: the same signer, the same statement, no other time
//! and no other log entry than before. Every changed bundle is also given to `sigstore-verify`, which must agree, or the difference is
//! one of another short list.
//!
//! By default a sample is tried; `scripts/mutation` tries all.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use vidimus_verify::{TimeSource, Verified, VerifiedEntry};

mod changes;
mod subjects;

use changes::Change;
use subjects::{Subject, subject};

/// Of the changes, every so many are tried by default, and of those every so many on `sigstore-verify` too.
const SAMPLE: (usize, usize) = (41, 8);
/// Threads. Each takes every so many changes of every subject.
const THREADS: usize = 2;

#[derive(Default)]
struct Tally {
    tried: usize,
    refused: usize,
    compared: usize,
    /// Why changes were accepted, and how many.
    harmless: BTreeMap<&'static str, usize>,
    /// Why the other verifier decided otherwise, and how many.
    differences: BTreeMap<&'static str, usize>,
    problems: Vec<String>,
}

#[test]
fn every_change_is_refused_or_harmless() {
    let wanted = std::env::var("VIDIMUS_MUTATIONS").ok();
    let all = wanted.is_some();
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == "all" || name.contains(wanted));
    let (stride, oracle_stride) = if all { (1, 1) } else { SAMPLE };
    let done = AtomicUsize::new(0);
    let work = |thread: usize| {
        let mut tally = Tally::default();
        for index in 0..subjects::count() {
            let judge = Judge::new(subject(index));
            if !is_wanted(&judge.subject.name) {
                continue;
            }
            let changes = changes::all(&judge.subject.document);
            for (i, change) in changes.iter().step_by(stride).enumerate().skip(thread).step_by(THREADS) {
                judge.judge(change, (i / THREADS).is_multiple_of(oracle_stride), &mut tally);
            }
            if all {
                println!(
                    "{} of {}: {} changes of {}",
                    done.fetch_add(1, Ordering::Relaxed) + 1,
                    subjects::count() * THREADS,
                    changes.len(),
                    judge.subject.name
                );
            }
        }
        tally
    };
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).fold(Tally::default(), Tally::add)
    });
    tally.print();
    assert!(tally.problems.is_empty(), "{} problems", tally.problems.len());
    assert!(tally.tried > 500 && tally.refused > tally.tried / 2);
}

impl Tally {
    fn add(mut self, other: Self) -> Self {
        self.tried += other.tried;
        self.refused += other.refused;
        self.compared += other.compared;
        for (mine, others) in [(&mut self.harmless, other.harmless), (&mut self.differences, other.differences)] {
            others.into_iter().for_each(|(why, n)| *mine.entry(why).or_default() += n);
        }
        self.problems.extend(other.problems);
        self
    }

    fn print(&self) {
        let (tried, refused, compared) = (self.tried, self.refused, self.compared);
        println!(
            "{tried} changes of {} fixtures: {refused} refused, {compared} compared with sigstore-verify",
            subjects::count()
        );
        println!("accepted, with the verdict as before:");
        self.harmless.iter().for_each(|(why, n)| println!("{n:8}  {why}"));
        println!("decided otherwise by sigstore-verify:");
        self.differences.iter().for_each(|(why, n)| println!("{n:8}  {why}"));
        self.problems.iter().take(60).for_each(|problem| println!("PROBLEM {problem}"));
    }
}

/// A subject with its original verdict.
struct Judge {
    subject: Subject,
    original: Verified,
}

impl Judge {
    fn new(subject: Subject) -> Self {
        let json = serde_json::to_vec(&subject.document).unwrap();
        let original = subject.judge(&json).unwrap_or_else(|e| panic!("{}: {e}", subject.name));
        Self { subject, original }
    }

    fn judge(&self, change: &Change, ask_oracle: bool, tally: &mut Tally) {
        let json = change.apply(&self.subject.document);
        let ours = self.subject.judge(&json);
        tally.tried += 1;
        let mut problem = |why: String| {
            tally.problems.push(format!("{}: {} {}: {why}", self.subject.name, change.at, change.what));
        };
        match &ours {
            Err(_) => tally.refused += 1,
            Ok(verified) if !self.is_same(verified) => problem("accepted with another verdict".to_owned()),
            Ok(verified) => match self.harmless(change, verified) {
                Some(why) => *tally.harmless.entry(why).or_default() += 1,
                None => problem("accepted".to_owned()),
            },
        }
        let Some(oracle) = self.subject.oracle.as_ref().filter(|_| ask_oracle) else { return };
        tally.compared += 1;
        let mut problem = |why: String| {
            tally.problems.push(format!("{}: {} {}: {why}", self.subject.name, change.at, change.what));
        };
        let excuse = match (&ours, oracle.verify(&json)) {
            (Ok(_), Ok(())) | (Err(_), Err(_)) => return,
            (Ok(verified), Err(e)) => self.right_to_accept(change, verified).ok_or(format!("we accept, it refuses: {e}")),
            (Err(e), Ok(())) => right_to_refuse(change).ok_or(format!("we refuse, it accepts: {e}")),
        };
        match excuse {
            Ok(why) => *tally.differences.entry(why).or_default() += 1,
            Err(why) => problem(why),
        }
    }

    /// Whether nothing is claimed to be proven that was not before.
    fn is_same(&self, verified: &Verified) -> bool {
        let original = &self.original;
        let as_before = |entry: &VerifiedEntry, before: &VerifiedEntry| {
            let at_most = |now: bool, before: bool| !now || before;
            // Rekor v1 signs the index over all shards in its promise alone; without, the one in the proof is told.
            let unpromised = entry.integrated_time.is_none() && before.integrated_time.is_some();
            (&entry.log_id, &entry.kind) == (&before.log_id, &before.kind)
                && (entry.index == before.index || unpromised)
                && at_most(entry.included, before.included)
                && (entry.integrated_time.is_none() || entry.integrated_time == before.integrated_time)
                && (entry.tree_size.is_none() || entry.tree_size == before.tree_size)
        };
        verified.signer() == original.signer()
            && verified.statement() == original.statement()
            && verified.matched_identity() == original.matched_identity()
            && verified.times().iter().all(|time| original.times().contains(time))
            && verified.log_entries().iter().all(|e| original.log_entries().iter().any(|before| as_before(e, before)))
    }

    /// Why an accepted change cannot matter.
    fn harmless(&self, change: &Change, verified: &Verified) -> Option<&'static str> {
        let (at, what) = (change.at.as_str(), change.what.as_str());
        let v2 = self.original.log_entries().iter().any(|e| e.kind == "hashedrekord 0.0.2");
        let fewer_times = verified.times().len() < self.original.times().len();
        let is_bundle = self.subject.document.get("verificationMaterial").is_some();
        if what == "an unknown member" && !is_bundle {
            return Some("members that nobody knows are ignored in what old cosign wrote, and in envelopes (DSSE)");
        }
        if what == "as a list" && !is_bundle {
            return Some("the same values without their names, in what old cosign wrote");
        }
        if changes::OTHER_BASE64.contains(&what) {
            return Some("the same bytes, in another base64 that protobuf's JSON mapping and DSSE have");
        }
        if at.contains("rfc3161Timestamps") || at.ends_with("timestampVerificationData") {
            // With a log's promise beside it, a broken timestamp is one that was never made. Without, only what no signature covers.
            return if fewer_times && !verified.times().is_empty() {
                Some("a broken timestamp is one that was never made; another source still proves the time")
            } else {
                (!fewer_times).then_some("a part of the timestamp that its signature does not cover, and that is not used")
            };
        }
        let unsigned = [
            ("/verificationMaterial/publicKey", "a hint at a key that the policy names anyway"),
            ("/keyid", "a hint at a key"),
            ("/messageSignature/messageDigest", "the stated digest is a hint; compared where it is there"),
            ("/mediaType", "both spellings of 0.3; older versions need less, see Policy::min_bundle_version"),
            ("/x509CertificateChain/certificates", "certificates after the first are not used"),
            ("/annotations/dev.sigstore.cosign~1bundle", "of an annotation that is there twice, the last counts"),
            ("/annotations/dev.sigstore.cosign~1certificate", "certificates after the first are not used"),
            ("/annotations/dev.sigstore.cosign~1chain", "certificates after the first are not used"),
            ("/annotations/dev.cosignproject.cosign~1signature", "an attestation's signature is in its envelope"),
            ("/annotations/predicateType", "a hint at what the statement says"),
        ];
        let of_bundle = |place: &str| place.ends_with("~1bundle");
        let applies = |place: &str| at.contains(place) && (!of_bundle(place) || at.ends_with(place) && what == "twice, the same");
        if let Some((_, why)) = unsigned.iter().find(|(place, _)| applies(place)) {
            return Some(why);
        }
        let ignored = [
            "/integratedTime",
            "/inclusionPromise",
            "/inclusionProof/logIndex",
            "/inclusionProof/rootHash",
            "/inclusionProof/treeSize",
        ];
        if v2 && ignored.iter().any(|place| at.contains(place)) {
            return Some("Rekor v2 says to ignore it");
        }
        if v2 && at.ends_with("/checkpoint/envelope") {
            return Some("another signature line than the log's");
        }
        let old = self.subject.document["mediaType"].as_str().is_some_and(|t| t.ends_with("version=0.1"));
        if old && at.contains("/inclusionProof") {
            return Some("bundle 0.1 may do without the proof");
        }
        if at.contains("/inclusionPromise") || at.ends_with("/integratedTime") || at.ends_with("/logIndex") {
            let timestamped = verified.times().iter().any(|t| t.source == TimeSource::TimestampAuthority);
            if fewer_times && timestamped {
                return Some("the timestamp proves the time, the proof the log entry");
            }
            if self.subject.by_key {
                return Some("a key needs no time, and the proof proves the log entry");
            }
        }
        if at.ends_with("/cert") {
            return Some(match self.subject.by_key {
                true => "a certificate beside a managed key's signature says nothing",
                false => "certificates after the first are not used",
            });
        }
        None
    }

    /// Why `sigstore-verify` refuses what we accept.
    fn right_to_accept(&self, change: &Change, verified: &Verified) -> Option<&'static str> {
        let at = change.at.as_str();
        if changes::OTHER_BASE64.contains(&change.what.as_str()) {
            return Some("it reads one of the forms of base64 that protobuf's JSON mapping has");
        }
        if at.contains("rfc3161Timestamps") || at.contains("timestampVerificationData") {
            let counted = verified.times().len() == self.original.times().len();
            return Some(match counted {
                true => "it reads more of the timestamp than is signed or used",
                false => "it lets one broken timestamp spoil the others",
            });
        }
        if change.what == "is null" {
            return Some("it does not know that null is a member that is not there");
        }
        if at.contains("/inclusionProof/") || at.ends_with("/inclusionProof") || at.ends_with("/integratedTime") {
            return Some("it reads strictly what Rekor v2 says to ignore, or what bundle 0.1 does not need");
        }
        None
    }
}

/// Why we refuse what `sigstore-verify` accepts.
fn right_to_refuse(change: &Change) -> Option<&'static str> {
    if change.what.starts_with("twice, ") {
        return Some("it reads a member that is there twice");
    }
    if change.what == "as a list" || change.what == "is []" && ["Data", "/publicKey"].iter().any(|m| change.at.ends_with(m)) {
        return Some("it reads a list of values for a message");
    }
    if change.what == "an unknown member" {
        return Some("it ignores members that nobody knows; protobuf's JSON mapping has them refused");
    }
    [
        ("/mediaType", "it takes a bundle without type for version 0.1"),
        ("/checkpoint/envelope", "it does not look at the name in the log's signature line"),
        ("/tlogEntries/0/logId", "it finds Rekor v2's keys by the checkpoint alone"),
        ("/tlogEntries", "it accepts one entry twice"),
        ("/inclusionProof/treeSize", "it does not compare Rekor v1's tree size with the checkpoint's"),
        ("/rfc3161Timestamps", "it does not look at the timestamp's signature algorithm"),
    ]
    .into_iter()
    .find(|(place, _)| change.at.contains(place))
    .map(|(_, why)| why)
}
