//! How a process ends: the one place where exit codes are chosen.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | accepted: done, or every required check proven |
//! | 1 | rejected: something is proven false, or required evidence is absent |
//! | 2 | wrong usage |
//! | 3 | could not tell: network, credentials, throttling, trust root, malformed answer, time-out |
//! | 10 to 13 | `verify` and `verify-attestation` of images, as cosign documents them, true for every format |

use std::{fmt, process::ExitCode};

use vidimus::Outcome;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Accepted,
    Rejected,
    NothingAttached,
    NoSuchTag,
    NothingMatched,
    NoCertificate,
    Usage,
    Undetermined,
}

impl End {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Rejected => 1,
            Self::Usage => 2,
            Self::Undetermined => 3,
            Self::NothingAttached => 10,
            Self::NoSuchTag => 11,
            Self::NothingMatched => 12,
            Self::NoCertificate => 13,
        }
    }

    /// Which of the outcomes it is; wrong usage has none.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Accepted => Some(Outcome::Accepted),
            Self::Undetermined => Some(Outcome::Undetermined),
            Self::Usage => None,
            _ => Some(Outcome::Rejected),
        }
    }

    /// The worse of two ends, for commands over several images.
    pub(crate) fn worse(self, other: Self) -> Self {
        let badness = |end: Self| match end {
            Self::Accepted => 0,
            Self::Undetermined => 2,
            Self::Usage => 3,
            _ => 1,
        };
        if badness(other) > badness(self) { other } else { self }
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted => Self::Accepted,
            Outcome::Rejected => Self::Rejected,
            Outcome::Undetermined => Self::Undetermined,
        }
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end.code())
    }
}

/// Why a command did not succeed, in words, and what to do about it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) end: End,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub(crate) fn new(end: End, message: impl fmt::Display) -> Self {
        Self { end, message: message.to_string(), hint: None }
    }

    /// The call's words are wrong.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(End::Usage, message)
    }

    /// The question could not be answered.
    pub(crate) fn undetermined(message: impl fmt::Display) -> Self {
        Self::new(End::Undetermined, message)
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reading or writing the user's own files.
pub(crate) fn file_error(what: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    let message = format!("{what} {}: {error}", path.display());
    match error.kind() {
        // A name that is not there was typed wrongly; anything else is the machine's state.
        NotFound | PermissionDenied => Failure::usage(message),
        _ => Failure::undetermined(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_fixed() {
        let all = [
            End::Accepted,
            End::Rejected,
            End::Usage,
            End::Undetermined,
            End::NothingAttached,
            End::NoSuchTag,
            End::NothingMatched,
            End::NoCertificate,
        ];
        assert_eq!(all.map(End::code), [0, 1, 2, 3, 10, 11, 12, 13]);
    }

    #[test]
    fn the_worst_of_several_images_wins() {
        assert_eq!(End::Accepted.worse(End::NothingMatched), End::NothingMatched);
        assert_eq!(End::NothingMatched.worse(End::Undetermined), End::Undetermined);
        assert_eq!(End::Undetermined.worse(End::NothingMatched), End::Undetermined);
        assert_eq!(End::NothingAttached.worse(End::Rejected), End::NothingAttached);
    }
}
