//! When to try again, and after how long.
//!
//! Exponential back-off with full jitter, bounded by attempts and by time. What the server asks for in `Retry-After` is honoured if
//! it fits the time left; if it does not, giving up at once is more useful than a call that hangs.

use std::time::{Duration, Instant};

use super::{HttpError, Kind};

/// How often and how long a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// No attempt starts after this time.
    pub budget: Duration,
    /// The longest wait before the second attempt; doubled for each further one.
    pub base: Duration,
}

impl Default for Retry {
    /// Four attempts within a minute: an outage of a load balancer's back end is over in seconds, and a refused connection costs
    /// at most 1.4 s.
    fn default() -> Self {
        Self { attempts: 4, budget: Duration::from_secs(60), base: Duration::from_millis(200) }
    }
}

impl Retry {
    /// One attempt only.
    pub const NEVER: Self = Self { attempts: 1, budget: Duration::ZERO, base: Duration::ZERO };

    /// How long to wait before the next attempt, or `None` to give up.
    pub(crate) fn wait(&self, error: &HttpError, attempt: u32, started: Instant, repeatable: Repeatable) -> Option<Duration> {
        if attempt >= self.attempts || !is_transient(error, repeatable) {
            return None;
        }
        let wait = match error.kind {
            Kind::RateLimited { retry_after: Some(asked) } => asked.max(jitter(self.base)),
            _ => jitter(self.base.saturating_mul(1 << (attempt - 1).min(10))),
        };
        (started.elapsed() + wait < self.budget).then_some(wait)
    }
}

/// Whether sending a request twice is the same as sending it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// It is.
    Yes,
    /// It may not be: only repeated if the server cannot have acted on it.
    No,
}

fn is_transient(error: &HttpError, repeatable: Repeatable) -> bool {
    let unprocessed = match error.kind {
        Kind::RateLimited { .. } => true,
        _ => !error.sent,
    };
    let transient = match error.kind {
        Kind::Timeout | Kind::RateLimited { .. } => true,
        // 501 and 505 will not change their mind.
        Kind::Unavailable => !error.status.is_some_and(|s| matches!(s.as_u16(), 501 | 505)),
        _ => false,
    };
    transient && (repeatable == Repeatable::Yes || unprocessed)
}

/// A random part of `longest`, so that many clients do not come back at the same moment.
pub(crate) fn jitter(longest: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the full wait is still a correct one.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return longest;
    }
    longest.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    fn error(kind: Kind, status: Option<u16>) -> HttpError {
        HttpError {
            method: Method::GET,
            url: String::new(),
            kind,
            status: status.map(|s| StatusCode::from_u16(s).unwrap()),
            detail: String::new(),
            attempts: 1,
            headers: None,
            sent: status.is_some(),
        }
    }

    fn retried(error: &HttpError, repeatable: Repeatable) -> bool {
        Retry::default().wait(error, 1, Instant::now(), repeatable).is_some()
    }

    #[test]
    fn transient_errors_are_retried_and_final_ones_are_not() {
        let limited = error(Kind::RateLimited { retry_after: None }, Some(429));
        let refused = error(Kind::Unavailable, None);
        let gateway = error(Kind::Unavailable, Some(502));
        assert!([&limited, &refused, &gateway].iter().all(|e| retried(e, Repeatable::Yes)));
        assert!(retried(&limited, Repeatable::No) && retried(&refused, Repeatable::No));
        assert!(!retried(&gateway, Repeatable::No), "the server may have acted");
        for kind in [Kind::NotFound, Kind::Denied, Kind::Conflict, Kind::Malformed, Kind::TooLarge { limit: 1 }, Kind::Disabled] {
            assert!(!retried(&error(kind, None), Repeatable::Yes), "{kind:?}");
        }
        assert!(!retried(&error(Kind::Unavailable, Some(501)), Repeatable::Yes));
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        let policy = Retry { attempts: 3, budget: Duration::from_secs(10), base: Duration::from_millis(1) };
        let gateway = error(Kind::Unavailable, Some(502));
        assert!(policy.wait(&gateway, 2, Instant::now(), Repeatable::Yes).is_some());
        assert!(policy.wait(&gateway, 3, Instant::now(), Repeatable::Yes).is_none());
        let patient = error(Kind::RateLimited { retry_after: Some(Duration::from_secs(3600)) }, Some(429));
        assert!(policy.wait(&patient, 1, Instant::now(), Repeatable::Yes).is_none());
        let soon = error(Kind::RateLimited { retry_after: Some(Duration::from_secs(2)) }, Some(429));
        assert!(policy.wait(&soon, 1, Instant::now(), Repeatable::Yes).unwrap() >= Duration::from_secs(2));
    }
}
