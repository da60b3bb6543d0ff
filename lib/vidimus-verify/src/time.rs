//! `time.rfc3161`, `time.source`: when the signature existed. A time counts only if a log's promise or a timestamp authority's
//! signature proves it for this very signature; an inclusion proof does not say when.

use jiff::{SignedDuration, Timestamp};

use crate::{
    CheckId, Rejection, TimeSource, VerifiedTime, check::Journal, log::LogEvidence, policy::Policy, rfc3161::Token,
    trust::TrustRoot,
};

/// How far a verified time may lie in the future: clocks differ, and a signer verifies its own bundle in the second it was made.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// More timestamps than this in one entity are an attack on the verifier's time. What sigstore-go accepts.
const TIMESTAMPS: usize = vidimus_core::limits::BUNDLE_EVIDENCE;

/// The times at which the signature existed. Only [`establish`] makes these.
pub(crate) struct VerifiedTimes {
    times: Vec<VerifiedTime>,
}

impl VerifiedTimes {
    /// Calls `check` with every time and its source; the first error counts.
    pub(crate) fn each(&self, mut check: impl FnMut(Timestamp, &str) -> Result<(), Rejection>) -> Result<(), Rejection> {
        self.times.iter().try_for_each(|t| check(t.time, &t.by))
    }

    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.times.iter().map(|t| t.time).min()
    }

    pub(crate) fn text(&self) -> String {
        self.times.iter().map(|t| t.time.to_string()).collect::<Vec<_>>().join(" and ")
    }

    pub(crate) fn into_vec(self) -> Vec<VerifiedTime> {
        self.times
    }
}

/// Collects the times and checks that there are enough, from different sources, and none in the future.
pub(crate) fn establish(
    logs: &[LogEvidence<'_>],
    timestamps: &[Vec<u8>],
    signature: &[u8],
    trust: &TrustRoot,
    policy: &Policy,
    at: Timestamp,
    journal: &mut Journal,
) -> Result<VerifiedTimes, Rejection> {
    let mut times: Vec<_> = logs.iter().filter_map(LogEvidence::time).collect();
    let (signed, problems) = verify_timestamps(timestamps, signature, trust, journal)?;
    let authorities = distinct(&signed);
    times.extend(signed);
    for time in &times {
        let now = at.checked_add(SKEW).unwrap_or(Timestamp::MAX);
        if time.time > now {
            return Err(Rejection::TimeInFuture { time: time.time, source: time.by.clone(), now: at });
        }
    }
    let not_enough =
        |check, required, verified| Rejection::NotEnoughTimes { check, required, verified, problems: problems.clone() };
    if authorities < policy.signed_timestamps {
        return Err(not_enough(CheckId::TimeRfc3161, policy.signed_timestamps, authorities));
    }
    let sources = distinct(&times);
    if sources < policy.times {
        return Err(not_enough(CheckId::TimeSource, policy.times, sources));
    }
    for problem in problems {
        journal.note(CheckId::TimeRfc3161, problem);
    }
    if times.is_empty() && policy.current_time {
        times.push(VerifiedTime { time: at, source: TimeSource::CurrentTime, by: "this machine's clock".to_owned() });
    } else if !times.is_empty() {
        journal.proved(CheckId::TimeSource, format!("{sources} independent source(s) say when the signature existed"));
    }
    Ok(VerifiedTimes { times })
}

/// The timestamps that verify, and what is wrong with the others. A timestamp of an unknown or broken authority proves nothing, and
/// takes nothing from what the others prove.
fn verify_timestamps(
    timestamps: &[Vec<u8>],
    signature: &[u8],
    trust: &TrustRoot,
    journal: &mut Journal,
) -> Result<(Vec<VerifiedTime>, Vec<String>), Rejection> {
    let malformed = |why: &str| Rejection::malformed(CheckId::TimeRfc3161, why);
    if timestamps.len() > TIMESTAMPS {
        return Err(malformed("more timestamps than any signer makes"));
    }
    let (mut times, mut problems) = (Vec::new(), Vec::new());
    for (i, der) in timestamps.iter().enumerate() {
        if timestamps[..i].contains(der) {
            return Err(malformed("the same timestamp twice"));
        }
        match verify_timestamp(der, signature, trust) {
            Ok(time) => {
                journal.proved(CheckId::TimeRfc3161, "a timestamp authority saw the signature").by(&*time.by).at(time.time);
                times.push(time);
            }
            Err(why) => problems.push(format!("timestamp {i}: {why}")),
        }
    }
    Ok((times, problems))
}

fn verify_timestamp(der: &[u8], signature: &[u8], trust: &TrustRoot) -> Result<VerifiedTime, String> {
    let token = Token::parse(der)?;
    let mut why = "no timestamp authority of the trusted root made it".to_owned();
    for authority in &trust.timestamp_authorities {
        // An authority whose certificate the token does not even name has nothing to say about what is wrong with it.
        let named = authority.signer.as_ref().is_none_or(|certificate| token.names(certificate));
        if !named {
            continue;
        }
        match token.verify(signature, authority) {
            Ok(verified) => {
                return Ok(VerifiedTime {
                    time: verified.time,
                    source: TimeSource::TimestampAuthority,
                    by: authority.name.clone(),
                });
            }
            Err(e) => why = format!("{}: {e}", authority.name),
        }
    }
    Err(why)
}

/// The number of different sources.
fn distinct(times: &[VerifiedTime]) -> usize {
    let mut seen: Vec<_> = times.iter().map(|t| (t.source == TimeSource::LogPromise, &t.by)).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len()
}
