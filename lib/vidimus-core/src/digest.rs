//! Content digests, written as `sha256:<hex>` (OCI image specification, "Digests").

use std::{fmt, str::FromStr};

use aws_lc_rs::digest as lc;
use serde::{Deserialize, Serialize, de};

use crate::ParseError;

/// Bytes up to which a copy is cheaper than hashing piece by piece.
const JOINED: usize = 32 << 10;

/// A digest algorithm of the OCI and in-toto specifications that we compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The name in OCI digests and in-toto digest sets: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm as aws-lc-rs names it.
    pub fn as_lc(self) -> &'static lc::Algorithm {
        match self {
            Self::Sha256 => &lc::SHA256,
            Self::Sha384 => &lc::SHA384,
            Self::Sha512 => &lc::SHA512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            "sha512" => Ok(Self::Sha512),
            _ => Err(ParseError::new("digest", format_args!("algorithm {name:?} is not one of sha256, sha384, sha512"))),
        }
    }
}

/// A digest together with its algorithm. The length always fits the algorithm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

impl Digest {
    /// A digest of known bytes; their number must fit the algorithm.
    pub fn new(algorithm: Algorithm, bytes: impl Into<Vec<u8>>) -> Result<Self, ParseError> {
        let bytes = bytes.into();
        if bytes.len() != algorithm.size() {
            return Err(ParseError::new(
                "digest",
                format_args!("{} bytes where {} has {}", bytes.len(), algorithm.name(), algorithm.size()),
            ));
        }
        Ok(Self { algorithm, bytes: bytes.into() })
    }

    /// The SHA-256 of `content`.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    /// The digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        Self { algorithm, bytes: lc::digest(algorithm.as_lc(), content).as_ref().into() }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw digest.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest in lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    /// Whether `content` has this digest.
    pub fn matches(&self, content: &[u8]) -> bool {
        Self::of(self.algorithm, content) == *self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (algorithm, encoded) =
            text.split_once(':').ok_or_else(|| ParseError::new("digest", format_args!("{text:?} has no ':'")))?;
        // Upper-case hex is a different (invalid) digest by the specification; accepting it would give one content two names.
        if encoded.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseError::new("digest", "hex digits must be lower case"));
        }
        let bytes = hex::decode(encoded).map_err(|e| ParseError::new("digest", e))?;
        Self::new(algorithm.parse()?, bytes)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The SHA-256 of `content`, as an array.
pub fn sha256(content: &[u8]) -> [u8; 32] {
    sha256_of([content])
}

/// The SHA-256 of the concatenated `parts`.
pub fn sha256_of<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut out = [0; 32];
    // One call over a copy costs less than a context: verifying an inclusion proof is a dozen of these over 65 bytes.
    let digest = match parts.iter().map(|part| part.len()).sum() {
        0..=JOINED => lc::digest(&lc::SHA256, &parts.concat()),
        _ => {
            let mut context = lc::Context::new(&lc::SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish()
        }
    };
    out.copy_from_slice(digest.as_ref());
    out
}

/// A digest that is being computed over a stream.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: lc::Context,
}

impl Hasher {
    /// Starts a digest.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, context: lc::Context::new(algorithm.as_lc()) }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest { algorithm: self.algorithm, bytes: self.context.finish().as_ref().into() }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parts_are_hashed_as_one() {
        for len in [0, 1, JOINED - 1, JOINED, JOINED + 1] {
            let (a, b) = (vec![1; len], [2; 3]);
            assert_eq!(sha256_of([&a, &b]), sha256(&[&a[..], &b].concat()), "{len}");
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::sha256(b""));
        assert!(Digest::sha256(b"a").matches(b"a"));
        assert!(!Digest::sha256(b"a").matches(b"b"));
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        for bad in
            ["", "sha256", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", &EMPTY.to_uppercase(), &EMPTY[..70]]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
