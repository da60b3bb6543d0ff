//! The one error of this crate: bytes that are not what they claim to be.

use std::fmt;

/// A value that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The format that was being read, in the field's own words: "bundle", "DSSE envelope", "image reference".
    pub format: &'static str,
    /// Where in the input, if that helps: a JSON path, a line, a field name. Empty for the whole input.
    pub at: String,
    /// Why it was refused.
    pub why: String,
}

impl ParseError {
    /// An error about the input as a whole.
    pub fn new(format: &'static str, why: impl fmt::Display) -> Self {
        Self { format, at: String::new(), why: why.to_string() }
    }

    /// An error about one place of the input.
    pub fn at(format: &'static str, at: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { format, at: at.to_string(), why: why.to_string() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            write!(f, "not a valid {}: {}", self.format, self.why)
        } else {
            write!(f, "not a valid {}: {}: {}", self.format, self.at, self.why)
        }
    }
}

impl std::error::Error for ParseError {}
