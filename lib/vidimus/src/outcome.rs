//! The three outcomes of every question this project answers.
//!
//! "Could not tell" exists so that a throttled registry or an unreachable trust root is never mistaken for an answer.

use serde::{Deserialize, Serialize};

/// What a judgement came to. The order is the order of badness: in a set, the worst one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every required check was proven.
    Accepted,
    /// Something was proven false, or required evidence is absent.
    Rejected,
    /// The question could not be answered: network, credentials, throttling, trust root, malformed answer, time-out.
    Undetermined,
}

impl Outcome {
    /// The worst of a set; an empty set has no outcome.
    pub fn worst(outcomes: impl IntoIterator<Item = Self>) -> Option<Self> {
        outcomes.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{self, *};

    #[test]
    fn the_worst_wins() {
        assert_eq!(Outcome::worst([Accepted, Rejected, Accepted]), Some(Rejected));
        assert_eq!(Outcome::worst([Undetermined, Rejected, Accepted]), Some(Undetermined));
        assert_eq!(Outcome::worst([Accepted]), Some(Accepted));
        assert_eq!(Outcome::worst([]), None);
    }
}
