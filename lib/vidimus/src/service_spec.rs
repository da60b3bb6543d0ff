//! Services as `trusted-root create` and `signing-config create` are told of them: `key=value,key=value`, with cosign's keys.
//!
//! Stricter than cosign in one thing: a key that no service has is an error. cosign ignores it, so that a mistyped `endtime=` makes a
//! service that is trusted for ever.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf};

use jiff::Timestamp;
use vidimus_core::{ParseError, limits, trust::TimeRange};

/// A service that could not be described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The description itself.
    #[error("{flag} {spec:?}: {why}")]
    Spec {
        /// The flag it was given with.
        flag: &'static str,
        /// The description.
        spec: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that it names cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that it names does not hold what it should.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseError,
    },
}

/// A description, taken apart.
pub(crate) struct Spec<'a> {
    flag: &'static str,
    text: &'a str,
    values: BTreeMap<&'a str, &'a str>,
}

impl<'a> Spec<'a> {
    /// Reads `key=value,key=value`; all keys must be among `known`.
    pub(crate) fn parse(flag: &'static str, text: &'a str, known: &[&str]) -> Result<Self, SpecError> {
        let mut spec = Self { flag, text, values: BTreeMap::new() };
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or_else(|| spec.error(format_args!("{pair:?} is not key=value")))?;
            let (key, value) = (key.trim(), value.trim());
            if !known.contains(&key) {
                return Err(spec.error(format_args!("{key:?} is not one of {}", known.join(", "))));
            }
            if spec.values.insert(key, value).is_some() {
                return Err(spec.error(format_args!("{key} is given twice")));
            }
        }
        Ok(spec)
    }

    /// A value; an empty one counts as absent.
    pub(crate) fn optional(&self, key: &str) -> Option<&'a str> {
        self.values.get(key).copied().filter(|value| !value.is_empty())
    }

    /// A value that must be there.
    pub(crate) fn required(&self, key: &str) -> Result<&'a str, SpecError> {
        self.optional(key).ok_or_else(|| self.error(format_args!("{key} is missing or empty")))
    }

    /// `start-time` and `end-time`; `default` is the start if none is given.
    pub(crate) fn valid_for(&self, default: Option<Timestamp>) -> Result<TimeRange, SpecError> {
        let start = match (self.time("start-time")?, default) {
            (Some(start), _) | (None, Some(start)) => start,
            (None, None) => return Err(self.error("start-time is missing or empty")),
        };
        let end = self.time("end-time")?;
        if end.is_some_and(|end| end < start) {
            return Err(self.error("end-time is before start-time"));
        }
        Ok(TimeRange { start: Some(start), end })
    }

    fn time(&self, key: &str) -> Result<Option<Timestamp>, SpecError> {
        let parse = |text: &str| text.parse().map_err(|e| self.error(format_args!("{key}: {e}")));
        self.optional(key).map(parse).transpose()
    }

    /// The file under a key, read by `read`.
    pub(crate) fn file<T>(&self, key: &str, read: impl FnOnce(&[u8]) -> Result<T, ParseError>) -> Result<T, SpecError> {
        let path = PathBuf::from(self.required(key)?);
        let bytes = fs::read(&path).map_err(|source| SpecError::File { path: path.clone(), source })?;
        let content = limits::check_len("file", bytes.len(), limits::TRUST_BYTES).and_then(|()| read(&bytes));
        content.map_err(|source| SpecError::Content { path, source })
    }

    /// An error about this description.
    pub(crate) fn error(&self, why: impl fmt::Display) -> SpecError {
        SpecError::Spec { flag: self.flag, spec: self.text.to_owned(), why: why.to_string() }
    }
}
