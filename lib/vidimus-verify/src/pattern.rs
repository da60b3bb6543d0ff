//! Patterns for identities, issuers and claims: exact text, or regular expressions in Go's meaning.
//!
//! cosign's `-regexp` flags are RE2 patterns that match anywhere in the text. The `regex` crate is a close relative of RE2; what
//! differs is translated here, so that a pattern accepts exactly the same texts in both: Perl classes and word boundaries are ASCII,
//! `\Q…\E` quotes, and there are no set operations inside brackets.

use std::fmt;

use regex::Regex;
use serde::{Serialize, Serializer};

/// A compiled pattern may take this much memory. Go has no limit; patterns people write take kilobytes.
const COMPILED_BYTES: usize = 4 << 20;

/// A pattern that is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a valid regular expression: {why}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// What a text must be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Pattern {
    /// Anything, even nothing.
    Any,
    /// This text.
    Exact(String),
    /// A text in which this expression matches.
    Regex(RegexPattern),
}

/// A regular expression with the text it was written as.
#[derive(Debug, Clone)]
pub struct RegexPattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// This text.
    pub fn exact(text: impl Into<String>) -> Self {
        Self::Exact(text.into())
    }

    /// A text in which this expression, in Go's syntax and meaning, matches somewhere.
    pub fn regex(pattern: &str) -> Result<Self, PatternError> {
        let err = |why: String| PatternError { pattern: pattern.to_owned(), why };
        let translated = from_go(pattern).map_err(err)?;
        let regex = regex::RegexBuilder::new(&translated).size_limit(COMPILED_BYTES).build().map_err(|e| err(e.to_string()))?;
        Ok(Self::Regex(RegexPattern { source: pattern.to_owned(), regex }))
    }

    /// Whether a text is as it must be.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == text,
            Self::Regex(wanted) => wanted.regex.is_match(text),
        }
    }

    /// Whether this is an expression that also matches in the middle of a longer text, such as `github.com/acme` in
    /// `https://evil.example/github.com/acme`.
    pub fn is_unanchored(&self) -> bool {
        match self {
            Self::Any | Self::Exact(_) => false,
            Self::Regex(RegexPattern { source, .. }) => {
                let starts = source.starts_with('^') || source.starts_with(r"\A");
                let ends = source.ends_with('$') && !source.ends_with(r"\$") || source.ends_with(r"\z");
                !(starts && ends)
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Exact(text) => f.write_str(text),
            Self::Regex(pattern) => write!(f, "/{}/", pattern.source),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.source == b.source,
            _ => false,
        }
    }
}

impl Eq for Pattern {}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A pattern of Go's `regexp` in the syntax of the `regex` crate.
fn from_go(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out, false)?,
            '[' => class(&mut chars, &mut out)?,
            '(' => {
                out.push('(');
                if chars.peek() == Some(&'?') {
                    group(&mut chars, &mut out)?;
                }
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn escape(chars: &mut Chars<'_>, out: &mut String, in_class: bool) -> Result<(), String> {
    let c = chars.next().ok_or("it ends in a backslash")?;
    match (c, in_class) {
        ('d', false) => out.push_str("[0-9]"),
        ('d', true) => out.push_str("0-9"),
        ('D', _) => out.push_str("[^0-9]"),
        ('w', false) => out.push_str("[0-9A-Za-z_]"),
        ('w', true) => out.push_str("0-9A-Za-z_"),
        ('W', _) => out.push_str("[^0-9A-Za-z_]"),
        ('s', false) => out.push_str(r"[\t\n\f\r ]"),
        ('s', true) => out.push_str(r"\t\n\f\r "),
        ('S', _) => out.push_str(r"[^\t\n\f\r ]"),
        ('b', false) => out.push_str(r"(?-u:\b)"),
        ('Q', false) => quoted(chars, out),
        // Valid in Go and not here, or the other way round, or with another meaning; nobody needs them for identities.
        ('B' | 'C' | 'E' | 'u' | 'U' | '<' | '>', _) => return Err(format!("\\{c} is not supported")),
        (c, _) => {
            out.push('\\');
            out.push(c);
        }
    }
    Ok(())
}

/// The rest of `\Q…\E`, literally.
fn quoted(chars: &mut Chars<'_>, out: &mut String) {
    let mut literal = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            break;
        }
        literal.push(c);
    }
    out.push_str(&regex::escape(&literal));
}

/// The rest of a bracketed class, without the set operations and nested classes that Go does not have.
fn class(chars: &mut Chars<'_>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str(r"\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                out.push(']');
                return Ok(());
            }
            '\\' => escape(chars, out, true)?,
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            // Before another hyphen this would be a set difference.
            '-' if chars.peek() == Some(&'-') => out.push_str(r"\-"),
            c => out.push(c),
        }
    }
    Err("a bracket is not closed".to_owned())
}

/// The head of `(?…`: flags and names that both have.
fn group(chars: &mut Chars<'_>, out: &mut String) -> Result<(), String> {
    chars.next();
    out.push('?');
    while let Some(c) = chars.next() {
        match c {
            ':' | ')' | '>' => {
                out.push(c);
                return Ok(());
            }
            'i' | 'm' | 's' | 'U' | '-' => out.push(c),
            'P' | '<' => {
                out.push(c);
                for c in chars.by_ref() {
                    out.push(c);
                    if c == '>' {
                        return Ok(());
                    }
                }
            }
            c => return Err(format!("(?{c} is not supported")),
        }
    }
    Err("a group is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::regex(pattern).unwrap().matches(text)
    }

    #[test]
    fn exact_text_is_exact() {
        assert!(Pattern::exact("a.b").matches("a.b"));
        assert!(!Pattern::exact("a.b").matches("axb"));
        assert!(!Pattern::exact("a").matches("ab"));
    }

    #[test]
    fn expressions_match_anywhere_as_in_go() {
        assert!(matches("acme", "https://github.com/acme/app"));
        assert!(!matches("^acme", "https://github.com/acme/app"));
        assert!(matches("^https://github.com/acme/.*@refs/tags/v[0-9]+$", "https://github.com/acme/app/x.yml@refs/tags/v1"));
        assert!(!matches("^a$", "a\n"), "$ is the end of the text");
    }

    #[test]
    fn go_syntax_keeps_gos_meaning() {
        for (pattern, yes, no) in [
            (r"^\d+$", "12", "\u{0661}\u{0662}"),
            (r"^\w+$", "a_1", "\u{e9}"),
            (r"^[\w.]+$", "a.b", "a b"),
            (r"^[^\w]$", "-", "a"),
            (r"^\s$", "\t", "\u{b}"),
            (r"\bdev\b", "a-dev@x", "adev"),
            (r"^\Qa.b*\E$", "a.b*", "axb"),
            (r"^[a&&b]$", "&", "c"),
            (r"^[[a]$", "[", "b"),
            (r"^[]a]$", "]", "b"),
            (r"^[[:alpha:]-]+$", "a-b", "1"),
            (r"^[a-z0-9--]+$", "a-", "_"),
            (r"(?i)^DEV$", "dev", "dew"),
            (r"^(?:a|b)(?P<n>c)$", "ac", "cc"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_translate() {
        for bad in ["(", "[a", r"\C", "(?x)a", "a\\", "(?=a)", "(a{1000}){1000}"] {
            assert!(Pattern::regex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tells_when_a_pattern_is_not_anchored() {
        assert!(Pattern::regex("acme").unwrap().is_unanchored());
        assert!(Pattern::regex("^acme").unwrap().is_unanchored());
        assert!(Pattern::regex(r"^acme\$").unwrap().is_unanchored());
        assert!(!Pattern::regex("^acme$").unwrap().is_unanchored());
        assert!(!Pattern::exact("acme").is_unanchored());
    }
}
