//! Every field and every byte of every decoded part of every valid bundle, changed one at a time: the change is refused, or it is one
//! of a short list of changes that cannot matter, and then the signer and the statement are the same as before. Every changed bundle is
//! also given to `sigstore-verify`, which must agree, or the difference is one of another short list.
//!
//! By default every seventh change is tried, and every eighth of those on both; `VIDIMUS_MUTATIONS=all` tries all on both, which takes a while.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use vidimus_core::{bundle::Bundle, encoding};
use vidimus_verify::{Rejection, SignedEntity, TimeSource, Verified, verify};

use crate::{common::*, oracle::Oracle};

struct Mutation {
    /// Where, as a JSON pointer.
    at: String,
    /// What was done there.
    what: String,
    bundle: Value,
}

#[test]
fn every_change_is_refused_or_harmless() {
    let all = std::env::var("VIDIMUS_MUTATIONS").is_ok_and(|v| v == "all");
    let (stride, oracle_stride) = if all { (1, 1) } else { (7, 8) };
    let (tried, refused, compared) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut problems = Vec::new();
        while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
            let judge = Judge::new(case);
            for (i, mutation) in mutations(&case.json()).into_iter().step_by(stride).enumerate() {
                tried.fetch_add(1, Ordering::Relaxed);
                let (problem, was_refused, was_compared) = judge.judge(&mutation, i % oracle_stride == 0);
                refused.fetch_add(usize::from(was_refused), Ordering::Relaxed);
                compared.fetch_add(usize::from(was_compared), Ordering::Relaxed);
                problems.extend(problem);
            }
        }
        problems
    };
    let problems = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    println!(
        "{} changes of {} bundles: {} refused, {} compared with sigstore-verify",
        tried.into_inner(),
        CASES.len(),
        refused.into_inner(),
        compared.into_inner()
    );
    for problem in problems.iter().take(60) {
        println!("{problem}");
    }
    assert!(problems.is_empty(), "{} problems", problems.len());
}

/// A case with its original verdict.
struct Judge<'a> {
    case: &'a Case,
    trust: vidimus_verify::TrustRoot,
    policy: vidimus_verify::Policy,
    bytes: Option<Vec<u8>>,
    original: Verified,
    oracle: Option<Oracle>,
}

impl<'a> Judge<'a> {
    fn new(case: &'a Case) -> Self {
        let (trust, policy, bytes) = (case.trust(), case.policy(), case.artifact_bytes());
        let original = verify(&case.entity(), &case.artifact(&bytes), &trust, &policy, now()).unwrap();
        Self { case, trust, policy, bytes, original, oracle: Oracle::new(case) }
    }

    /// A problem if there is one, whether the change was refused, and whether the oracle was asked.
    fn judge(&self, mutation: &Mutation, ask_oracle: bool) -> (Option<String>, bool, bool) {
        let json = serde_json::to_vec(&mutation.bundle).unwrap();
        let ours = self.ours(&json);
        let theirs = self.oracle.as_ref().filter(|_| ask_oracle).map(|oracle| oracle.verify(&json));
        let describe = |why: String| Some(format!("{}: {} {}: {why}", self.case.bundle, mutation.at, mutation.what));
        let mut problem = None;
        if let Ok(verified) = &ours {
            if verified.signer() != self.original.signer() || verified.statement() != self.original.statement() {
                problem = describe("accepted with another signer or statement".to_owned());
            } else if self.harmless(mutation, verified).is_none() {
                problem = describe("accepted".to_owned());
            }
        }
        if let Some(theirs) = &theirs {
            match (&ours, theirs) {
                (Ok(_), Ok(())) | (Err(_), Err(_)) => {}
                (Ok(verified), Err(e)) if self.we_are_right_to_accept(mutation, verified).is_none() => {
                    problem = problem.or_else(|| describe(format!("we accept, sigstore-verify refuses: {e}")));
                }
                (Err(e), Ok(())) if self.we_are_right_to_refuse(mutation).is_none() => {
                    problem = problem.or_else(|| describe(format!("we refuse, sigstore-verify accepts: {e}")));
                }
                _ => {}
            }
        }
        (problem, ours.is_err(), theirs.is_some())
    }

    fn ours(&self, json: &[u8]) -> Result<Verified, String> {
        let entity = Bundle::from_json(json).and_then(SignedEntity::from_bundle).map_err(|e| e.to_string())?;
        let artifact = self.case.artifact(&self.bytes);
        verify(&entity, &artifact, &self.trust, &self.policy, now()).map_err(|e: Rejection| e.to_string())
    }

    /// Why an accepted change cannot matter.
    fn harmless(&self, mutation: &Mutation, verified: &Verified) -> Option<&'static str> {
        let at = mutation.at.as_str();
        let v2 = self.original.log_entries().iter().any(|e| e.kind == "hashedrekord 0.0.2");
        let fewer_times = verified.times().len() < self.original.times().len();
        if at.contains("rfc3161Timestamps") || at.ends_with("timestampVerificationData") {
            // With a log's promise beside it, a broken timestamp is one that was never made. Without, only what no signature covers.
            return if fewer_times && !verified.times().is_empty() {
                Some("another source still proves the time")
            } else {
                (!fewer_times).then_some("not covered by the timestamp's signature, and not used")
            };
        }
        let unsigned = [
            ("/verificationMaterial/publicKey", "a hint"),
            ("/keyid", "a hint"),
            ("/messageSignature/messageDigest", "a hint; compared where it is there"),
            ("/mediaType", "both spellings of 0.3; older versions need less, see Policy::min_bundle_version"),
            ("/verificationMaterial/x509CertificateChain/certificates", "certificates after the first are not used"),
        ];
        if let Some((_, why)) = unsigned.iter().find(|(place, _)| at.contains(place)) {
            return Some(why);
        }
        if v2
            && [
                "/integratedTime",
                "/inclusionPromise",
                "/inclusionProof/logIndex",
                "/inclusionProof/rootHash",
                "/inclusionProof/treeSize",
            ]
            .iter()
            .any(|f| at.ends_with(f))
        {
            return Some("ignored in Rekor v2");
        }
        if v2 && at.ends_with("/checkpoint/envelope") {
            return Some("another signature line than the log's");
        }
        let old = self.case.json().windows(11).any(|w| w == b"version=0.1");
        if old && at.contains("/inclusionProof") {
            return Some("bundle 0.1 may do without the proof");
        }
        if at.contains("/inclusionPromise")
            && fewer_times
            && verified.times().iter().any(|t| t.source == TimeSource::TimestampAuthority)
        {
            return Some("the timestamp proves the time, the proof the log entry");
        }
        if matches!(self.case.by, By::Key(_)) && at.contains("/inclusionPromise") {
            return Some("keys need no time");
        }
        None
    }

    /// Why `sigstore-verify` refuses what we accept.
    fn we_are_right_to_accept(&self, mutation: &Mutation, verified: &Verified) -> Option<&'static str> {
        let at = mutation.at.as_str();
        if at.contains("rfc3161Timestamps") || at.contains("timestampVerificationData") {
            let counted = verified.times().len() == self.original.times().len();
            return Some(match counted {
                true => "it reads more of the timestamp than is signed or used",
                false => "it lets one broken timestamp spoil the others",
            });
        }
        if at.contains("/inclusionProof/") {
            return Some("it reads strictly what Rekor v2 says to ignore, or what bundle 0.1 does not need");
        }
        None
    }

    /// Why we refuse what `sigstore-verify` accepts.
    fn we_are_right_to_refuse(&self, mutation: &Mutation) -> Option<&'static str> {
        let at = mutation.at.as_str();
        [
            ("/mediaType", "it takes a bundle without type for version 0.1"),
            ("/checkpoint/envelope", "it does not look at the name in the log's signature line"),
            ("/tlogEntries/0/logId", "it finds Rekor v2's keys by the checkpoint alone"),
            ("/tlogEntries", "it accepts one entry twice"),
            ("/inclusionProof/treeSize", "it does not compare Rekor v1's tree size with the checkpoint's"),
            ("/rfc3161Timestamps", "it does not look at the timestamp's signature algorithm"),
        ]
        .into_iter()
        .find(|(place, _)| at.contains(place))
        .map(|(_, why)| why)
    }
}

/// All single changes of a document.
fn mutations(json: &[u8]) -> Vec<Mutation> {
    let document: Value = serde_json::from_slice(json).unwrap();
    let mut out = Vec::new();
    walk(&document, &document, String::new(), &mut out);
    out
}

fn walk(document: &Value, value: &Value, at: String, out: &mut Vec<Mutation>) {
    let mut push = |what: String, new: Option<Value>| {
        let mut bundle = document.clone();
        replace(&mut bundle, &at, new);
        out.push(Mutation { at: at.clone(), what, bundle });
    };
    if !at.is_empty() {
        push("removed".into(), None);
        push("null".into(), Some(Value::Null));
    }
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                walk(document, child, format!("{at}/{key}"), out);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let mut twice = items.clone();
                twice.push(item.clone());
                push(format!("element {i} twice"), Some(Value::Array(twice)));
            }
            for (i, item) in items.iter().enumerate() {
                walk(document, item, format!("{at}/{i}"), out);
            }
        }
        Value::String(text) => string_mutations(text).into_iter().for_each(|(what, new)| push(what, Some(new))),
        other => push("other value".into(), Some(json!(other.as_i64().unwrap_or(0) + 1))),
    }
}

fn string_mutations(text: &str) -> Vec<(String, Value)> {
    let mut out = vec![("empty".to_owned(), json!("")), ("doubled".to_owned(), json!(format!("{text}{text}")))];
    if let Ok(number) = text.parse::<i64>() {
        out.extend([number + 1, number - 1, 0, -1].map(|n| (format!("{n}"), json!(n.to_string()))));
        return out.into_iter().filter(|(_, v)| v != text).collect();
    }
    match encoding::decode(text) {
        Ok(bytes) if text.len() > 8 => {
            for i in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << (i % 8);
                out.push((format!("byte {i}"), json!(encoding::encode(changed))));
            }
            out.push(("one byte less".to_owned(), json!(encoding::encode(&bytes[..bytes.len() - 1]))));
            out.push(("one byte more".to_owned(), json!(encoding::encode([&bytes[..], &[0]].concat()))));
        }
        _ => {
            for (i, c) in text.char_indices() {
                let other = if c == 'b' { 'c' } else { 'b' };
                let changed = format!("{}{other}{}", &text[..i], &text[i + c.len_utf8()..]);
                out.push((format!("character {i}"), json!(changed)));
            }
        }
    }
    out
}

fn replace(document: &mut Value, at: &str, new: Option<Value>) {
    match new {
        Some(new) => *document.pointer_mut(at).unwrap() = new,
        None => {
            let (parent, key) = at.rsplit_once('/').unwrap();
            match document.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(key)),
                Value::Array(items) => drop(items.remove(key.parse().unwrap())),
                _ => unreachable!("only objects and arrays have children"),
            }
        }
    }
}
