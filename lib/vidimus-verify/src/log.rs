//! `log.binding`, `log.promise`, `log.checkpoint`, `log.inclusion`, `log.entries`: the signature is in a transparency log.
//!
//! The order is one of types. An entry becomes a [`BoundEntry`] only if its body describes this signature, this key and this
//! artifact; only a bound entry can be [`Included`] or [`Promised`]; and only a promise yields a time, because `integratedTime` is not
//! part of what the tree holds. A borrowed entry or an unproven time is therefore not a value that the later checks could take.

use jiff::Timestamp;
use vidimus_core::{
    bundle::{InclusionProof, TlogEntry, Version},
    checkpoint::{Checkpoint, Note},
    limits,
    merkle::{self, Hash},
    rekor::promise_payload,
};

use crate::{
    CheckId, Format, Rejection, TimeSource, VerifiedEntry, VerifiedTime,
    binding::{self, Expected},
    check::Journal,
    policy::Policy,
    rejection::UNKNOWN_LOG,
    time::VerifiedTimes,
    trust::{Log, TrustRoot},
    witness,
    x509::hex,
};

/// An entry whose body describes this signature, of a log that is trusted.
struct BoundEntry<'a> {
    entry: &'a TlogEntry,
    log: &'a Log,
}

/// Proof that an entry is in the tree whose root the log signed.
struct Included {
    tree_size: u64,
    witnesses: Vec<String>,
}

/// Proof that the log promised to include the entry, and when.
struct Promised {
    time: Timestamp,
}

/// A log entry with the evidence that was verified for it.
pub(crate) struct LogEvidence<'a> {
    bound: BoundEntry<'a>,
    included: Option<Included>,
    promised: Option<Promised>,
}

/// Verifies the entity's log entries. Entries of logs that the trust root does not have are noted and do not count; an entry of a
/// trusted log that does not verify is a sign of tampering and refuses the entity, unless the policy does without logs.
pub(crate) fn check<'a>(
    entries: &'a [TlogEntry],
    format: Format,
    expected: &Expected<'_>,
    trust: &'a TrustRoot,
    policy: &Policy,
    journal: &mut Journal,
) -> Result<Vec<LogEvidence<'a>>, Rejection> {
    refuse_duplicates(entries)?;
    let (mut verified, mut problems) = (Vec::new(), Vec::new());
    for entry in entries {
        match verify_entry(entry, format, expected, trust, policy) {
            Ok(Some(evidence)) => verified.push(evidence),
            Ok(None) => problems.push(format!("the log {} is {UNKNOWN_LOG}", hex(&entry.log_id.key_id.0))),
            Err(rejection) if policy.log_entries == 0 => problems.push(rejection.to_string()),
            Err(rejection) => return Err(rejection),
        }
    }
    let logs = distinct_logs(&verified);
    if logs < policy.log_entries {
        return Err(Rejection::NotEnoughLogEntries { required: policy.log_entries, verified: logs, problems });
    }
    problems.into_iter().for_each(|why| journal.note(CheckId::LogEntries, why));
    verified.iter().for_each(|evidence| evidence.report(journal));
    if policy.log_entries > 0 {
        journal.proved(CheckId::LogEntries, format!("the signature is in {logs} transparency log(s)"));
    }
    Ok(verified)
}

/// One entry twice would count twice where entries are counted.
fn refuse_duplicates(entries: &[TlogEntry]) -> Result<(), Rejection> {
    if entries.len() > limits::BUNDLE_EVIDENCE {
        return Err(Rejection::malformed(CheckId::LogEntries, "more log entries than any signer makes"));
    }
    let same = |a: &TlogEntry, b: &TlogEntry| a.log_id == b.log_id && a.log_index == b.log_index;
    if entries.iter().enumerate().any(|(i, entry)| entries[..i].iter().any(|other| same(entry, other))) {
        return Err(Rejection::malformed(CheckId::LogEntries, "the same log entry twice"));
    }
    Ok(())
}

/// Threshold verification (client specification §4.6): entries of one log are one.
fn distinct_logs(verified: &[LogEvidence<'_>]) -> usize {
    let mut ids: Vec<_> = verified.iter().map(|e| &e.bound.log.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

/// None if the trust root does not have the log.
fn verify_entry<'a>(
    entry: &'a TlogEntry,
    format: Format,
    expected: &Expected<'_>,
    trust: &'a TrustRoot,
    policy: &Policy,
) -> Result<Option<LogEvidence<'a>>, Rejection> {
    let mut result = Ok(None);
    // A log that changed its host name or validity may be listed more than once under its id.
    for log in trust.logs.iter().filter(|log| log.is(&entry.log_id.key_id.0)) {
        result = verify_entry_of(BoundEntry::bind(entry, log, expected)?, format, policy).map(Some);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn verify_entry_of<'a>(bound: BoundEntry<'a>, format: Format, policy: &Policy) -> Result<LogEvidence<'a>, Rejection> {
    let required = bound.required_evidence(format, policy)?;
    let promised = bound.check_promise()?;
    let included = match bound.usable_proof(required)? {
        Some(proof) => Some(bound.check_inclusion(proof, policy)?),
        None => None,
    };
    Ok(LogEvidence { bound, included, promised })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Required {
    Promise,
    Proof,
    Both,
}

impl<'a> BoundEntry<'a> {
    /// `log.binding`
    fn bind(entry: &'a TlogEntry, log: &'a Log, expected: &Expected<'_>) -> Result<Self, Rejection> {
        binding::check(entry, &log.name, expected)?;
        Ok(Self { entry, log })
    }

    /// Rekor v2 promises nothing and knows no time.
    fn is_v2(&self) -> bool {
        self.entry.kind_version.version == "0.0.2" && self.entry.kind_version.kind == "hashedrekord"
    }

    fn invalid(&self, check: CheckId, why: impl Into<String>) -> Rejection {
        Rejection::LogEvidenceInvalid { check, log: self.log.name.clone(), index: self.entry.log_index.0, why: why.into() }
    }

    fn malformed(&self, check: CheckId, why: impl Into<String>) -> Rejection {
        Rejection::LogEntryMalformed { check, index: self.entry.log_index.0, why: why.into() }
    }

    /// What the format demands. Bundles 0.1 and cosign's annotations were made when logs gave promises only; from 0.2 on there must be
    /// a proof, which a forger with the log's key for promises alone cannot make without showing it to everybody.
    fn required_evidence(&self, format: Format, policy: &Policy) -> Result<Required, Rejection> {
        let old = !matches!(format, Format::Bundle(version) if version > Version::V01);
        if old && self.entry.inclusion_promise.is_none() && !self.is_v2() {
            return Err(self.malformed(CheckId::LogPromise, format!("a {format} needs the log's promise")));
        }
        Ok(match (old && !self.is_v2(), policy.always_inclusion_proof) {
            (true, true) => Required::Both,
            (true, false) => Required::Promise,
            (false, _) => Required::Proof,
        })
    }

    /// `log.promise`: the log signed body, time, index and its own id (Rekor's signed entry timestamp).
    fn check_promise(&self) -> Result<Option<Promised>, Rejection> {
        let Some(promise) = self.entry.inclusion_promise.as_ref().filter(|_| !self.is_v2()) else { return Ok(None) };
        let check = CheckId::LogPromise;
        let seconds = self.entry.integrated_time.0;
        let time = Timestamp::from_second(seconds).ok().filter(|_| seconds > 0);
        let time = time.ok_or_else(|| self.malformed(check, "a promise without a time"))?;
        if !self.log.valid_for.contains(time) {
            return Err(self.invalid(check, format!("its time {time} is outside of the log's validity in the trusted root")));
        }
        let payload = promise_payload(&self.entry.canonicalized_body.0, seconds, &self.log.id, self.entry.log_index.0);
        if !self.log.signed(&payload, &promise.signed_entry_timestamp.0) {
            return Err(self.invalid(check, "the log did not sign it"));
        }
        Ok(Some(Promised { time }))
    }

    /// The inclusion proof, if there is one that can be checked. One without checkpoint proves nothing: its root is anybody's. Old
    /// bundles have such proofs beside their promise.
    fn usable_proof(&self, required: Required) -> Result<Option<&'a InclusionProof>, Rejection> {
        let proof = self.entry.inclusion_proof.as_ref();
        let with_checkpoint = proof.filter(|p| p.checkpoint.as_ref().is_some_and(|c| !c.envelope.is_empty()));
        match (with_checkpoint, required) {
            (Some(proof), _) => Ok(Some(proof)),
            (None, Required::Promise) => Ok(None),
            (None, _) if proof.is_some() => Err(self.malformed(CheckId::LogCheckpoint, "its inclusion proof has no checkpoint")),
            (None, _) => Err(self.malformed(CheckId::LogInclusion, "it has no inclusion proof")),
        }
    }

    /// `log.checkpoint` and `log.inclusion`.
    fn check_inclusion(&self, proof: &InclusionProof, policy: &Policy) -> Result<Included, Rejection> {
        let envelope = proof.checkpoint.as_ref().map_or("", |c| &c.envelope);
        let note = Note::parse(envelope).map_err(|e| self.malformed(CheckId::LogCheckpoint, e.to_string()))?;
        let checkpoint = note.checkpoint().map_err(|e| self.malformed(CheckId::LogCheckpoint, e.to_string()))?;
        self.check_proof_fields(proof, &checkpoint)?;
        self.check_path(proof, &checkpoint)?;
        self.check_checkpoint(&note, &checkpoint)?;
        let witnesses = match &policy.witnesses {
            Some(witnesses) => witness::check(&note, witnesses)?,
            None => Vec::new(),
        };
        Ok(Included { tree_size: checkpoint.size, witnesses })
    }

    /// The proof repeats what the checkpoint says. Rekor v1's must agree; Rekor v2's are to be ignored (rekor-tiles, `CLIENTS.md`).
    fn check_proof_fields(&self, proof: &InclusionProof, checkpoint: &Checkpoint) -> Result<(), Rejection> {
        let same = proof.tree_size.to_u64() == Ok(checkpoint.size) && proof.root_hash.0 == checkpoint.root;
        if same || self.is_v2() {
            return Ok(());
        }
        Err(self.invalid(CheckId::LogInclusion, "it is for another tree than the checkpoint"))
    }

    /// The body's hash leads to the checkpoint's root.
    fn check_path(&self, proof: &InclusionProof, checkpoint: &Checkpoint) -> Result<(), Rejection> {
        let check = CheckId::LogInclusion;
        let malformed = |why: String| self.malformed(check, why);
        if proof.hashes.len() > limits::PROOF_HASHES {
            return Err(malformed("its inclusion proof is longer than any tree is high".to_owned()));
        }
        // In Rekor v1 the entry's index counts over all shards, the proof's in one.
        let index = if self.is_v2() { self.entry.log_index } else { proof.log_index };
        let index = index.to_u64().map_err(|e| malformed(e.to_string()))?;
        let hashes: Result<Vec<Hash>, _> = proof.hashes.iter().map(|h| Hash::try_from(&h.0[..])).collect();
        let hashes = hashes.map_err(|_| malformed("a hash of its inclusion proof is not 32 bytes".to_owned()))?;
        let leaf = merkle::leaf_hash(&self.entry.canonicalized_body.0);
        let root = merkle::root_from_inclusion(index, checkpoint.size, leaf, &hashes);
        if root.map_err(|e| self.invalid(check, e.why))? == checkpoint.root {
            return Ok(());
        }
        Err(self.invalid(check, "it leads to another root than the log signed"))
    }

    /// One of the note's signatures is the log's. Others, of witnesses or of keys to come, do not matter here.
    fn check_checkpoint(&self, note: &Note, checkpoint: &Checkpoint) -> Result<(), Rejection> {
        let check = CheckId::LogCheckpoint;
        let name = self.check_origin(checkpoint)?;
        let mut lines = note.signatures.iter().filter(|line| line.name == name && line.hint == self.log.hint).peekable();
        if lines.peek().is_none() {
            return Err(self.invalid(check, "it has no signature of the log's key"));
        }
        if !lines.any(|line| self.log.signed(note.text.as_bytes(), &line.signature)) {
            return Err(self.invalid(check, "the log did not sign it"));
        }
        Ok(())
    }

    /// The name under which the log signs. Rekor v2: the origin, which is the log's URL without scheme, or its host name alone.
    /// Rekor v1: the origin is the name followed by ` - ` and the number of the tree; its log ids do not depend on the name.
    fn check_origin<'c>(&self, checkpoint: &'c Checkpoint) -> Result<&'c str, Rejection> {
        let origin = checkpoint.origin.as_str();
        if !self.is_v2() {
            return Ok(origin.split_once(" - ").map_or(origin, |(name, _)| name));
        }
        if origin == self.log.host() || origin == self.log.url_without_scheme() {
            return Ok(origin);
        }
        Err(self.invalid(CheckId::LogCheckpoint, format!("it is of {origin:?}, another log")))
    }
}

impl LogEvidence<'_> {
    /// The time that the log's promise proves.
    pub(crate) fn time(&self) -> Option<VerifiedTime> {
        let promised = self.promised.as_ref()?;
        Some(VerifiedTime { time: promised.time, source: TimeSource::LogPromise, by: self.bound.log.name.clone() })
    }

    pub(crate) fn is_included(&self) -> bool {
        self.included.is_some()
    }

    /// Whether the log was in service at some moment between the signature and now. A promise says so itself; without one, a key that
    /// leaked after its retirement could sign checkpoints for signatures that are younger.
    pub(crate) fn check_validity(&self, times: &VerifiedTimes, now: Timestamp) -> Result<(), Rejection> {
        let span = self.bound.log.valid_for;
        let too_early = span.start.is_some_and(|start| now < start);
        let too_late = times.earliest().zip(span.end).is_some_and(|(time, end)| end < time);
        if self.promised.is_some() || !too_early && !too_late {
            return Ok(());
        }
        let why = "the log's key was not valid at any time since the signature was made".to_owned();
        Err(self.bound.invalid(CheckId::LogCheckpoint, why))
    }

    fn report(&self, journal: &mut Journal) {
        let log = &self.bound.log.name;
        let index = self.index();
        journal.proved(CheckId::LogBinding, format!("entry {index} is about this signature, key and artifact")).by(log);
        if let Some(promised) = &self.promised {
            let check = journal.proved(CheckId::LogPromise, format!("the log promised to include entry {index}"));
            check.by(log).at(promised.time);
        }
        if let Some(included) = &self.included {
            let size = included.tree_size;
            journal.proved(CheckId::LogInclusion, format!("entry {index} is in the log's tree of {size} entries")).by(log);
            journal.proved(CheckId::LogCheckpoint, "the log signed the root of that tree").by(log);
            for witness in &included.witnesses {
                journal.proved(CheckId::LogWitness, "a witness saw that tree").by(witness);
            }
        }
    }

    /// The index that is proven. Without a promise, only the proof's is: Rekor v1 signs the index over all shards in the promise alone.
    fn index(&self) -> u64 {
        let entry = self.bound.entry;
        let proven = match (&self.promised, &entry.inclusion_proof) {
            (None, Some(proof)) if self.included.is_some() && !self.bound.is_v2() => proof.log_index,
            _ => entry.log_index,
        };
        proven.to_u64().unwrap_or_default()
    }

    /// For the result.
    pub(crate) fn summary(&self) -> VerifiedEntry {
        let entry = self.bound.entry;
        VerifiedEntry {
            log: self.bound.log.name.clone(),
            log_id: self.bound.log.id_hex(),
            index: self.index(),
            kind: format!("{} {}", entry.kind_version.kind, entry.kind_version.version),
            included: self.included.is_some(),
            integrated_time: self.promised.as_ref().map(|p| p.time),
            tree_size: self.included.as_ref().map(|i| i.tree_size),
            witnesses: self.included.as_ref().map(|i| i.witnesses.clone()).unwrap_or_default(),
        }
    }
}
