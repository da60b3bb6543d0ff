//! Signed notes and log checkpoints (C2SP signed-note v1, tlog-checkpoint v1).
//!
//! Reading, writing and key ids. Signatures are made and verified by the caller, over [`Note::text`].

use std::fmt::Write as _;

use crate::{ParseError, digest::sha256_of, encoding, limits, merkle::Hash};

/// The first four bytes of a key id: what a signature line carries.
pub type KeyHint = [u8; 4];

/// A note as read: the signed text and its signature lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its final newline.
    pub text: String,
    /// The signature lines, in order.
    pub signatures: Vec<NoteSignature>,
}

/// One signature line: `— <name> base64(hint ‖ signature)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The signer's name.
    pub name: String,
    /// The first four bytes of the key's id.
    pub hint: KeyHint,
    /// The signature. For cosignatures it starts with an eight-byte time.
    pub signature: Vec<u8>,
}

/// What a log says of its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root of the Merkle tree.
    pub root: Hash,
    /// Extension lines, usually none. (Rekor v1 once wrote a `Timestamp:` line.)
    pub extensions: Vec<String>,
}

impl Note {
    /// Reads a note: text, an empty line, and at least one signature line, to the last newline.
    pub fn parse(note: &str) -> Result<Self, ParseError> {
        let err = |why: &str| ParseError::new("signed note", why);
        limits::check_len("signed note", note.len(), limits::NOTE_BYTES)?;
        if note.bytes().any(|b| b < b' ' && b != b'\n') {
            return Err(err("control characters"));
        }
        // The last empty line separates, so that the text may have empty lines of its own.
        let split = note.rfind("\n\n").ok_or_else(|| err("no empty line before the signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or_else(|| err("no newline at the end"))?;
        let signatures = lines.split('\n').map(NoteSignature::parse).collect::<Result<Vec<_>, _>>()?;
        limits::check_count("signed note", "signatures", signatures.len(), limits::NOTE_SIGNATURES)?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The checkpoint that the text says.
    pub fn checkpoint(&self) -> Result<Checkpoint, ParseError> {
        Checkpoint::parse(&self.text)
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        f.write_char('\n')?;
        self.signatures.iter().try_for_each(|s| writeln!(f, "{s}"))
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Result<Self, ParseError> {
        let err = |why: &str| ParseError::at("signed note", format_args!("signature line {line:?}"), why);
        let rest = line.strip_prefix("\u{2014} ").ok_or_else(|| err("does not start with an em dash and a space"))?;
        let (name, blob) = rest.split_once(' ').ok_or_else(|| err("no space after the name"))?;
        if name.is_empty() || name.contains('+') || name.chars().any(char::is_whitespace) {
            return Err(err("the name is empty or has a plus sign or white space"));
        }
        let blob = encoding::decode(blob).map_err(|e| err(&e.why))?;
        let (hint, signature) = blob.split_first_chunk().ok_or_else(|| err("too short"))?;
        if signature.is_empty() {
            return Err(err("too short"));
        }
        Ok(Self { name: name.to_owned(), hint: *hint, signature: signature.to_vec() })
    }
}

impl std::fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\u{2014} {} {}", self.name, encoding::encode([&self.hint[..], &self.signature].concat()))
    }
}

impl Checkpoint {
    /// Reads a note's text as a checkpoint.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let err = |at: &str, why: &str| ParseError::at("checkpoint", at, why);
        let body = text.strip_suffix('\n').ok_or_else(|| err("end", "no newline"))?;
        let mut lines = body.split('\n');
        let mut next = |what: &'static str| lines.next().filter(|l| !l.is_empty()).ok_or_else(|| err(what, "missing"));
        let origin = next("origin")?.to_owned();
        let size = next("size")?;
        if size.len() > 1 && size.starts_with('0') || !size.bytes().all(|b| b.is_ascii_digit()) {
            return Err(err("size", "not a decimal number without leading zeroes"));
        }
        let size = size.parse().map_err(|_| err("size", "too large"))?;
        let root = encoding::decode(next("root hash")?).map_err(|e| err("root hash", &e.why))?;
        let root = Hash::try_from(root).map_err(|_| err("root hash", "not 32 bytes"))?;
        let extensions = lines.map(str::to_owned).collect();
        Ok(Self { origin, size, root, extensions })
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, encoding::encode(self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// The id of an Ed25519 key for notes: `SHA-256(name ‖ LF ‖ 0x01 ‖ key)`. Rekor v2 uses all 32 bytes as the log id.
pub fn ed25519_key_id(name: &str, key: &[u8; 32]) -> [u8; 32] {
    sha256_of([name.as_bytes(), b"\n\x01", key])
}

/// The id of an ECDSA key: SHA-256 of its SubjectPublicKeyInfo, as Rekor and Certificate Transparency have it.
pub fn ecdsa_key_id(spki: &[u8]) -> [u8; 32] {
    sha256_of([spki])
}

/// The id of an RSA key of a Rekor v2 log: `SHA-256(name ‖ LF ‖ 0xFF ‖ "PKIX-RSA-PKCS#1v1.5" ‖ SPKI)`.
pub fn rsa_key_id(name: &str, spki: &[u8]) -> [u8; 32] {
    sha256_of([name.as_bytes(), b"\n\xff", b"PKIX-RSA-PKCS#1v1.5", spki])
}

/// The first four bytes of a key id.
pub fn hint(id: &[u8; 32]) -> KeyHint {
    [id[0], id[1], id[2], id[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = "localhost\n1\np/a+ClPeOBdRY6HgPQnd5Le2BTx0lDno8uTazw6QDIU=\n\n\u{2014} localhost lk5yIQ6gqy52cH7rDVrN8x/2kUmbTyGFCnmYdvJiD6fD1i8spTCrkdaPyd2s07nTPqcNCEHX/nH6FD0r+qAO/owXfgk=\n";

    #[test]
    fn round_trip_of_a_real_rekor_2_checkpoint() {
        let note = Note::parse(NOTE).unwrap();
        let checkpoint = note.checkpoint().unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("localhost", 1));
        assert_eq!(checkpoint.text(), note.text);
        assert_eq!(note.to_string(), NOTE);
        let key = encoding::decode("MCowBQYDK2VwAyEAdPM3mOENg01kB0fNpixEaQdkZQXdvjHrLXkBcK+7ezI=").unwrap();
        let id = ed25519_key_id("localhost", key.last_chunk().unwrap());
        assert_eq!(encoding::encode(id), "lk5yIbXDxmH1w2Y97fQOCg1I8tLZbVDZwx6lejDMhyE=");
        assert_eq!(hint(&id), note.signatures[0].hint);
    }

    #[test]
    fn refuses_what_is_not_a_note() {
        for bad in [
            "",
            "a\n",
            "a\n\n",
            "a\n\n\u{2014} x AAAA\n",
            &NOTE[..NOTE.len() - 1],
            &NOTE.replace("\u{2014} ", "- "),
            &NOTE.replace("localhost lk", "local+host lk"),
            &NOTE.replace("lk5y", "lk5*"),
            &format!("{NOTE}trailing"),
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_checkpoint() {
        for bad in
            ["a\n", "a\n1\n", "a\n01\nAA==\n", "a\n+1\nAA==\n", "\n1\nAA==\n", "a\n1\nAA==\n", "a\n99999999999999999999\nAA==\n"]
        {
            assert!(Checkpoint::parse(bad).is_err(), "{bad:?}");
        }
    }
}
