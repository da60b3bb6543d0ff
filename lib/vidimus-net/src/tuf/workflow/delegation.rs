//! Delegations (specification 1.0, §4.5): who may speak for which targets. With the hash bins of TAP 15 (`succinct_roles`).

use serde::Deserialize;
use vidimus_core::digest::sha256;

use super::document::{Keys, Speakers};

/// The names that no delegated role may have: it would take the place of another document.
const RESERVED: [&str; 5] = ["", "root", "timestamp", "snapshot", "targets"];
/// TAP 15: no more than 32 bits of the digest tell the bins apart.
const MOST_BITS: u32 = 32;

/// What a targets role says about others.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Delegations {
    pub keys: Keys,
    roles: Option<Vec<Delegated>>,
    succinct_roles: Option<Bins>,
}

#[derive(Debug, Clone, Deserialize)]
struct Delegated {
    name: String,
    #[serde(flatten)]
    speakers: Speakers,
    #[serde(default)]
    terminating: bool,
    paths: Option<Vec<String>>,
    path_hash_prefixes: Option<Vec<String>>,
}

/// Roles that share all targets among themselves, by the first bits of the digest of a target's name.
#[derive(Debug, Clone, Deserialize)]
struct Bins {
    #[serde(flatten)]
    speakers: Speakers,
    bit_length: u32,
    name_prefix: String,
}

/// A role to ask for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub role: String,
    /// Nobody else is asked after it and those that it delegates to.
    pub terminating: bool,
}

impl Delegations {
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.roles, &self.succinct_roles) {
            (Some(roles), None) => check_roles(roles),
            (None, Some(bins)) => bins.check(),
            _ => Err("delegations have either roles or succinct_roles".to_owned()),
        }
    }

    /// Who speaks for a role; nobody if it is not delegated to.
    pub(super) fn speakers(&self, role: &str) -> Option<&Speakers> {
        let listed = self.roles.iter().flatten().find(|delegated| delegated.name == role).map(|delegated| &delegated.speakers);
        listed.or_else(|| self.succinct_roles.as_ref().filter(|bins| bins.contain(role)).map(|bins| &bins.speakers))
    }

    /// The roles that may speak for a target, in the order in which they are asked, up to one that ends the search.
    pub(super) fn roles_for(&self, target: &str) -> Vec<Ask> {
        if let Some(bins) = &self.succinct_roles {
            return vec![Ask { role: bins.role_for(target), terminating: true }];
        }
        let mut asked = Vec::new();
        for delegated in self.roles.iter().flatten().filter(|delegated| delegated.speaks_for(target)) {
            asked.push(Ask { role: delegated.name.clone(), terminating: delegated.terminating });
            if delegated.terminating {
                break;
            }
        }
        asked
    }
}

fn check_roles(roles: &[Delegated]) -> Result<(), String> {
    for (i, role) in roles.iter().enumerate() {
        let name = &role.name;
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("it delegates to {name:?}, which is no name for a delegated role"));
        }
        if roles[..i].iter().any(|earlier| earlier.name == *name) {
            return Err(format!("it delegates to {name:?} twice"));
        }
        if role.paths.is_some() && role.path_hash_prefixes.is_some() {
            return Err(format!("it delegates to {name:?} both by paths and by path_hash_prefixes"));
        }
        role.speakers.check()?;
    }
    Ok(())
}

impl Delegated {
    fn speaks_for(&self, target: &str) -> bool {
        if let Some(prefixes) = &self.path_hash_prefixes {
            let digest = hex::encode(sha256(target.as_bytes()));
            return prefixes.iter().any(|prefix| digest.starts_with(prefix));
        }
        self.paths.iter().flatten().any(|pattern| matches_path(pattern, target))
    }
}

impl Bins {
    fn check(&self) -> Result<(), String> {
        if !(1..=MOST_BITS).contains(&self.bit_length) {
            return Err(format!("succinct_roles: bit_length is {}, not 1 to {MOST_BITS}", self.bit_length));
        }
        self.speakers.check()
    }

    fn role_for(&self, target: &str) -> String {
        let [a, b, c, d, ..] = sha256(target.as_bytes());
        self.name(u32::from_be_bytes([a, b, c, d]) >> (MOST_BITS - self.bit_length))
    }

    fn contain(&self, role: &str) -> bool {
        let number = role.strip_prefix(&self.name_prefix).and_then(|rest| rest.strip_prefix('-'));
        let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        number.is_some_and(|number| number <= self.last() && self.name(number) == role)
    }

    fn name(&self, number: u32) -> String {
        let digits = format!("{:x}", self.last()).len();
        format!("{}-{number:0digits$x}", self.name_prefix)
    }

    fn last(&self) -> u32 {
        u32::MAX >> (MOST_BITS - self.bit_length)
    }
}

/// `PATHPATTERN`: shell patterns within each part of the path; no wildcard reaches across a `/`.
fn matches_path(pattern: &str, target: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), target.split('/').collect());
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| matches_part(pattern, part))
}

fn matches_part(pattern: &str, part: &str) -> bool {
    let (tokens, chars) = (tokens(pattern), part.chars().collect::<Vec<_>>());
    let (mut at, mut read) = (0, 0);
    // Where to go on if it does not fit: the last star, and how much it has taken. One star is enough to remember, so the work is
    // bounded by the product of the lengths.
    let mut star = None;
    while read < chars.len() {
        match tokens.get(at) {
            Some(Token::Any) => {
                star = Some((at, read));
                at += 1;
            }
            Some(token) if token.takes(chars[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((starred, taken)) = star else { return false };
                star = Some((starred, taken + 1));
                at = starred + 1;
                read = taken + 1;
            }
        }
    }
    tokens[at..].iter().all(|token| matches!(token, Token::Any))
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Char(char),
    Set { not: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Char(own) => *own == c,
            Self::Set { not, ranges } => ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *not,
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let chars: Vec<char> = pattern.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&c) = chars.get(at) {
        at += 1;
        let token = match c {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => match set(&chars[at..]) {
                Some((set, length)) => {
                    at += length;
                    set
                }
                None => Token::Char('['),
            },
            other => Token::Char(other),
        };
        tokens.push(token);
    }
    tokens
}

/// The set that begins after a `[`, and how long it is; nothing if it never ends, which makes the bracket an ordinary character.
fn set(chars: &[char]) -> Option<(Token, usize)> {
    let not = chars.first() == Some(&'!');
    let start = usize::from(not);
    // A ']' that comes first is a member.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let (members, mut ranges, mut at) = (&chars[start..end], Vec::new(), 0);
    while let Some(&first) = members.get(at) {
        let range = members.get(at + 1) == Some(&'-') && members.get(at + 2).is_some();
        let last = if range { members[at + 2] } else { first };
        ranges.push((first, last));
        at += if range { 3 } else { 1 };
    }
    Some((Token::Set { not, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stay_within_their_part_of_the_path() {
        for (pattern, fits, fits_not) in [
            ("*.tgz", &["foo.tgz", ".tgz"][..], &["targets/foo.tgz", "foo.txt"][..]),
            ("targets/*.tgz", &["targets/foo.tgz"], &["targets/foo.txt", "targets/a/foo.tgz"]),
            ("foo-version-?.tgz", &["foo-version-2.tgz"], &["foo-version-alpha.tgz", "foo-version-.tgz"]),
            ("a/**", &["a/b"], &["a/b/c", "a"]),
            ("*a*b*", &["xaxbx", "ab"], &["ba", "a"]),
            ("a?b", &["axb", "aéb"], &["a/b", "ab"]),
            ("", &[""], &["a"]),
        ] {
            assert!(fits.iter().all(|name| matches_path(pattern, name)), "{pattern}");
            assert!(!fits_not.iter().any(|name| matches_path(pattern, name)), "{pattern}");
        }
    }

    #[test]
    fn sets_are_those_of_the_shell() {
        for (pattern, fits, fits_not) in [
            ("[0-9a]", &["5", "a"][..], &["b", "", "55"][..]),
            ("[!0-9]", &["a"], &["5"]),
            ("a[]]b", &["a]b"], &["a[b"]),
            ("[!]]", &["a"], &["]"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[z-a]", &[], &["z", "a", "m"]),
            ("a[b", &["a[b"], &["ab"]),
            ("[]", &["[]"], &[""]),
            ("[!]", &["[!]"], &["a"]),
            ("[*]", &["*"], &["a"]),
            ("{a,b}", &["{a,b}"], &["a"]),
        ] {
            assert!(fits.iter().all(|name| matches_part(pattern, name)), "{pattern}");
            assert!(!fits_not.iter().any(|name| matches_part(pattern, name)), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_stars_costs_no_more_than_its_length() {
        let (pattern, name) = (format!("{}b", "a*".repeat(500)), "a".repeat(5_000));
        assert!(!matches_part(&pattern, &name));
    }

    #[test]
    fn bins_are_named_by_the_first_bits_of_the_digest() {
        let bins = |bit_length: u32| Bins {
            speakers: Speakers { keyids: Vec::new(), threshold: std::num::NonZeroUsize::MIN },
            bit_length,
            name_prefix: "bin".to_owned(),
        };
        // The SHA-256 of "path/to/0" begins with e22fe0f7.
        for (bits, name) in [(1, "bin-1"), (4, "bin-e"), (9, "bin-1c4"), (32, "bin-e22fe0f7")] {
            assert_eq!(bins(bits).role_for("path/to/0"), name);
            assert!(bins(bits).contain(name));
        }
        for other in ["bin-0", "bin-200", "bin-1C4", "bin-01c4", "bin-", "bin1c4", "other-1c4", "bin-+c4"] {
            assert!(!bins(9).contain(other), "{other}");
        }
        assert!(bins(0).check().is_err() && bins(33).check().is_err() && bins(32).check().is_ok());
    }
}
