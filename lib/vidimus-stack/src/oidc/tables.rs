//! What the issuer must remember between two requests: codes, devices, and failed logins. Everything in it expires, and everything
//! is bounded: a full table refuses instead of growing or forgetting.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::users::Account;

/// Entries of a table. Codes need a login first; devices do not, so this is what an idle attacker can hold.
const ENTRIES: usize = 1_000;
/// RFC 6749 §4.1.2: ten minutes at most; a redirect to the loopback takes none.
pub(super) const CODE_LIFE: SignedDuration = SignedDuration::from_mins(2);
/// Time to find a browser.
pub(super) const DEVICE_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Seconds between two polls of a device.
pub(super) const DEVICE_INTERVAL: i64 = 1;
/// Failed logins for one name before it has to wait…
const FAILURES: u32 = 5;
/// …and for all names together, against guessing one password for many names.
const FAILURES_OF_ALL: u32 = 100;
/// How long failures count.
const FAILURE_WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// Too many entries that have not expired yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Values by secret name, each until its time.
#[derive(Debug)]
pub(super) struct Table<T>(HashMap<String, (Timestamp, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Table<T> {
    pub(super) fn insert(&mut self, name: String, value: T, until: Timestamp, now: Timestamp) -> Result<(), Full> {
        if self.0.len() >= ENTRIES {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() >= ENTRIES {
            return Err(Full);
        }
        self.0.insert(name, (until, value));
        Ok(())
    }

    /// Takes a value out: it can be used once.
    pub(super) fn take(&mut self, name: &str, now: Timestamp) -> Option<T> {
        self.0.remove(name).filter(|(until, _)| *until > now).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, name: &str, now: Timestamp) -> Option<&mut T> {
        self.0.get_mut(name).filter(|(until, _)| *until > now).map(|(_, value)| value)
    }

    fn find_mut(&mut self, now: Timestamp, wanted: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.0.values_mut().filter(|(until, _)| *until > now).map(|(_, value)| value).find(|v| wanted(v))
    }
}

/// A login that a client may now turn into a token (RFC 6749 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) account: Account,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) nonce: Option<String>,
}

/// A device that waits for somebody to log in elsewhere (RFC 8628).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) client_id: String,
    pub(super) user_code: String,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) answer: Option<Answer>,
    pub(super) polled: Option<Timestamp>,
}

/// What the person said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Yes(Account),
    No,
}

/// All that is pending.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) codes: Table<Code>,
    pub(super) devices: Table<Device>,
}

impl Tables {
    /// The device that shows this code, if nobody has answered for it yet. Case and dash do not matter (RFC 8628 §6.1).
    pub(super) fn device_showing(&mut self, user_code: &str, now: Timestamp) -> Option<&mut Device> {
        let typed = plain(user_code);
        self.devices.find_mut(now, |d| d.answer.is_none() && !typed.is_empty() && plain(&d.user_code) == typed)
    }
}

fn plain(user_code: &str) -> String {
    user_code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// Failed logins.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    names: HashMap<String, (Timestamp, u32)>,
    all: Option<(Timestamp, u32)>,
}

impl Limiter {
    /// Whether a login for this name may be tried now.
    pub(super) fn may_try(&mut self, name: &str, now: Timestamp) -> bool {
        self.names.retain(|_, (since, _)| now.duration_since(*since) < FAILURE_WINDOW);
        self.all = self.all.filter(|(since, _)| now.duration_since(*since) < FAILURE_WINDOW);
        let of_name = self.names.get(name).map_or(0, |(_, count)| *count);
        of_name < FAILURES && self.all.map_or(0, |(_, count)| count) < FAILURES_OF_ALL
    }

    /// Counts a failure. The number of names is bounded by the number of failures that count.
    pub(super) fn failed(&mut self, name: &str, now: Timestamp) {
        self.names.entry(name.to_owned()).or_insert((now, 0)).1 += 1;
        self.all.get_or_insert((now, 0)).1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    #[test]
    fn entries_are_used_once_and_expire() {
        let mut table = Table::default();
        table.insert("a".into(), 1, at(10), at(0)).unwrap();
        table.insert("b".into(), 2, at(10), at(0)).unwrap();
        assert_eq!((table.take("a", at(9)), table.take("a", at(9))), (Some(1), None));
        assert_eq!(table.get_mut("b", at(10)), None);
        assert_eq!(table.take("b", at(10)), None);
    }

    #[test]
    fn a_full_table_refuses_until_something_expires() {
        let mut table = Table::default();
        for n in 0..ENTRIES {
            table.insert(n.to_string(), n, at(10), at(0)).unwrap();
        }
        assert_eq!(table.insert("more".into(), 0, at(20), at(9)), Err(Full));
        assert_eq!(table.insert("more".into(), 0, at(20), at(10)), Ok(()));
    }

    #[test]
    fn guessing_is_slowed_down() {
        let mut limiter = Limiter::default();
        for _ in 0..FAILURES {
            assert!(limiter.may_try("a", at(0)));
            limiter.failed("a", at(0));
        }
        assert!(!limiter.may_try("a", at(59)));
        assert!(limiter.may_try("b", at(59)));
        assert!(limiter.may_try("a", at(60)));
        for n in 0..FAILURES_OF_ALL {
            limiter.failed(&n.to_string(), at(100));
        }
        assert!(!limiter.may_try("fresh", at(100)));
        assert!(limiter.may_try("fresh", at(160)));
    }
}
