//! Base64 and PEM, the two text coats that binary values wear in these formats.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use base64_simd::STANDARD as FAST;
use serde::{Deserialize, Serialize, de};

use crate::ParseError;

/// A multiple of three, so that the pieces' base64 is the whole's.
const PIECE: usize = 48 << 10;

/// Bytes that are standard base64 (RFC 4648 §4, padded) in JSON; in protobuf's JSON and DSSE envelopes, any base64 of that document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Base64 {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Base64 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({})", encode(&self.0))
    }
}

impl fmt::Display for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Piece by piece: the text of a large attestation need not be in memory as a whole to be written.
        self.0.chunks(PIECE).try_for_each(|piece| f.write_str(&encode(piece)))
    }
}

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Base64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a base64 string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                self.visit_bytes(text.as_bytes())
            }
            /// The string, as `serde_json` gives it: not yet checked for being UTF-8, which base64 is anyway.
            fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Base64, E> {
                decode(text).map(Base64).map_err(E::custom)
            }
            /// The bytes, as our reader of protobuf's JSON gives them.
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Base64, E> {
                Ok(Base64(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// Standard base64 with padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    FAST.encode_to_string(bytes)
}

/// Reads standard base64 with padding.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, ParseError> {
    let text = text.as_ref();
    // The fast reader refuses the same texts, and does not say why.
    FAST.decode_to_vec(text).or_else(|_| STANDARD.decode(text)).map_err(|e| ParseError::new("base64", e))
}

/// Reads standard or URL-safe base64, with or without padding, as protobuf's JSON mapping and the DSSE envelope allow.
pub fn decode_any(text: &[u8]) -> Result<Vec<u8>, ParseError> {
    // What everybody writes comes first, and is read once.
    decode(text).or_else(|e| {
        let other = match (text.iter().any(|c| b"-_".contains(c)), text.ends_with(b"=")) {
            (true, true) => URL_SAFE,
            (true, false) => URL_SAFE_NO_PAD,
            (false, _) => STANDARD_NO_PAD,
        };
        other.decode(text).map_err(|_| e)
    })
}

/// One PEM block (RFC 7468): 64 characters a line, with a final newline.
pub fn pem(label: &str, der: &[u8]) -> String {
    let body = encode(der);
    let mut out = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 36);
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// A PEM block as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemBlock {
    /// The label: `CERTIFICATE`, `PUBLIC KEY`.
    pub label: String,
    /// The decoded bytes.
    pub der: Vec<u8>,
}

/// All PEM blocks of a text, in order. Text between blocks is skipped, as every PEM reader does; headers inside a block are
/// refused.
pub fn pem_blocks(text: &str) -> Result<Vec<PemBlock>, ParseError> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) else { continue };
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => body.push_str(line.trim()),
                None => return Err(ParseError::at("PEM", label, "no END line")),
            }
        }
        blocks.push(PemBlock { label: label.to_owned(), der: decode(&body).map_err(|e| ParseError::at("PEM", label, e.why))? });
    }
    Ok(blocks)
}

/// The only PEM block of a text, which must carry the given label.
pub fn pem_one(text: &str, label: &str) -> Result<Vec<u8>, ParseError> {
    let mut blocks = pem_blocks(text)?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(block), true) if block.label == label => Ok(block.der),
        (Some(block), true) => Err(ParseError::new("PEM", format_args!("a {} where a {label} was expected", block.label))),
        (Some(_), false) => Err(ParseError::new("PEM", format_args!("several blocks where one {label} was expected"))),
        (None, _) => Err(ParseError::new("PEM", format_args!("no {label} block"))),
    }
}

/// JSON as Go's encoder writes it: compact, and with `<`, `>`, `&` and the two Unicode line separators escaped. Digests are over
/// bytes, so whatever must equal what a Go program writes goes through here.
pub fn go_json<T: Serialize + ?Sized>(value: &T) -> String {
    // Only types of this crate and plain maps get here: string keys, no failing `Serialize`.
    let plain = serde_json::to_string(value).expect("the formats of this crate always encode");
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            // All five can only stand inside a string, where the escape means the same.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_escapes() {
        assert_eq!(go_json("a<b>&\u{2028}\"é"), r#""a\u003cb\u003e\u0026\u2028\"é""#);
    }

    /// Lengths on both sides of every vector's width; texts that differ from proper ones in one character.
    #[test]
    fn both_readers_of_base64_agree() {
        let bytes: Vec<u8> = (0..200).map(|i: u8| i.wrapping_mul(151)).collect();
        for len in 0..bytes.len() {
            let text = STANDARD.encode(&bytes[..len]);
            assert_eq!(encode(&bytes[..len]), text);
            assert_eq!(FAST.decode_to_vec(&text).unwrap(), &bytes[..len]);
            let last = text.len().saturating_sub(8);
            for at in last..text.len() {
                for other in 0..=255 {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = other;
                    assert_eq!(FAST.decode_to_vec(&changed).ok(), STANDARD.decode(&changed).ok(), "{len} {at} {other}");
                }
                let shorter = &text[..at];
                assert_eq!(FAST.decode_to_vec(shorter).ok(), STANDARD.decode(shorter).ok(), "{shorter}");
            }
        }
    }

    #[test]
    fn pem_round_trip() {
        for len in [0, 1, 47, 48, 49, 200] {
            let der = vec![7; len];
            let text = format!("comment\n{}{}", pem("A B", &der), pem("C", b"x"));
            let blocks = pem_blocks(&text).unwrap();
            assert_eq!(blocks[0], PemBlock { label: "A B".into(), der });
            assert_eq!(blocks[1].der, b"x");
        }
    }

    #[test]
    fn pem_refuses_truncation_and_surprises() {
        assert!(pem_blocks("-----BEGIN X-----\nAAAA\n").is_err());
        assert!(pem_blocks("-----BEGIN X-----\n*\n-----END X-----").is_err());
        assert!(pem_one(&pem("X", b"1"), "Y").is_err());
        assert!(pem_one(&format!("{}{}", pem("X", b"1"), pem("X", b"2")), "X").is_err());
        assert_eq!(pem_one(&pem("X", b"1"), "X").unwrap(), b"1");
    }
}
