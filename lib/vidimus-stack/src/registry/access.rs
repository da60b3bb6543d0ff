//! Who may write to a registry that others can reach.
//!
//! Passwords are slow to check on purpose. A pair that was right a moment ago is remembered (by a keyed hash, not as such), since every
//! request of a push carries it; and only a few checks run at a time, so that guessing does not starve the stack.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use tokio::sync::Semaphore;

use super::RegistryError;

/// Checks at a time: each takes 19 MiB and a core for tens of milliseconds.
const CHECKS: usize = 2;
/// Longest wait for one's turn.
const TURN: Duration = Duration::from_secs(10);
/// How long a right password is remembered: the time that a removed user can still push.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Pairs remembered. More than a stack has users; reaching it only costs another check.
const PAIRS: usize = 1024;

type Check = dyn Fn(&str, &str) -> Result<bool, String> + Send + Sync;

/// The people who may write.
#[derive(Clone)]
pub struct Writers(Arc<Inner>);

struct Inner {
    check: Arc<Check>,
    turns: Semaphore,
    key: hmac::Key,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writers")
    }
}

impl Writers {
    /// Those whose name and password `check` accepts. It may block.
    pub fn new(check: impl Fn(&str, &str) -> Result<bool, String> + Send + Sync + 'static) -> Self {
        let mut key = [0; 32];
        // The key only keeps passwords from lying in memory as such: without randomness that is lost, and nothing else.
        let _ = aws_lc_rs::rand::fill(&mut key);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self(Arc::new(Inner { check: Arc::new(check), turns: Semaphore::new(CHECKS), key, remembered: Mutex::default() }))
    }

    /// Whether this pair may write. An error means that it could not be found out.
    pub(super) async fn admit(&self, user: String, password: String) -> Result<bool, RegistryError> {
        let pair = self.0.tag(&user, &password);
        if self.0.remembers(&pair) {
            return Ok(true);
        }
        let turn = tokio::time::timeout(TURN, self.0.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(RegistryError::TooMany("password checks are")) };
        let check = Arc::clone(&self.0.check);
        let checked = tokio::task::spawn_blocking(move || check(&user, &password)).await;
        let other = |why: String| RegistryError::Storage(std::io::Error::other(why));
        let right = checked.map_err(|error| other(error.to_string()))?.map_err(other)?;
        if right {
            self.0.remember(pair);
        }
        Ok(right)
    }
}

impl Inner {
    fn tag(&self, user: &str, password: &str) -> [u8; 32] {
        // A zero byte can be in neither: headers do not carry it.
        let tag = hmac::sign(&self.key, format!("{user}\0{password}").as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }

    fn remembers(&self, pair: &[u8; 32]) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(pair).is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    fn remember(&self, pair: [u8; 32]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, at| at.elapsed() < REMEMBERED);
        if remembered.len() < PAIRS {
            remembered.insert(pair, Instant::now());
        }
    }
}
