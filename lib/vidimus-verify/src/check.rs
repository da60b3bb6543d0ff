//! The checks, by name. Each has one id, which is stable: it appears in reports, in rejections and as a page of the documentation.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $id:literal;)*) => {
        /// A check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum CheckId { $($(#[$doc])* $variant,)* }

        impl CheckId {
            /// All checks, in the order of their ids.
            pub const ALL: &'static [CheckId] = &[$(CheckId::$variant,)*];

            /// The id: `log.inclusion`.
            pub fn as_str(self) -> &'static str {
                match self { $(CheckId::$variant => $id,)* }
            }
        }
    };
}

checks! {
    /// The bundle has a form that its version allows: one signature, the evidence the version requires.
    BundleContent = "bundle.content";
    /// The bundle is of the required version or newer.
    BundleVersion = "bundle.version";
    /// The signer's certificate was issued by a trusted authority.
    CertChain = "cert.chain";
    /// The certificate was submitted to Certificate Transparency logs.
    CertSct = "cert.sct";
    /// The certificate is one for signing code, and has no constraint that is not understood.
    CertUsage = "cert.usage";
    /// Certificate and authority were valid at every verified time of the signature.
    CertValidity = "cert.validity";
    /// The simple-signing payload names the artifact.
    ClaimImage = "claim.image";
    /// The certificate's claims are the required ones.
    IdentityClaim = "identity.claim";
    /// The identity was vouched for by the required issuer.
    IdentityIssuer = "identity.issuer";
    /// The signature was made with the required key.
    IdentityKey = "identity.key";
    /// The signer is the required one.
    IdentitySan = "identity.san";
    /// A log entry describes this signature, this key and this artifact.
    LogBinding = "log.binding";
    /// The root of the log's tree was signed by the log.
    LogCheckpoint = "log.checkpoint";
    /// Enough log entries were verified.
    LogEntries = "log.entries";
    /// The entry is in the log's tree.
    LogInclusion = "log.inclusion";
    /// The log promised to include the entry, and when it saw it.
    LogPromise = "log.promise";
    /// Enough witnesses saw the log's tree.
    LogWitness = "log.witness";
    /// The DSSE envelope's signature verifies.
    SignatureDsse = "signature.dsse";
    /// The signature over the artifact verifies.
    SignatureMessage = "signature.message";
    /// The signature over the simple-signing payload verifies.
    SignaturePayload = "signature.payload";
    /// The statement has the artifact among its subjects.
    StatementSubject = "statement.subject";
    /// A timestamp authority saw the signature.
    TimeRfc3161 = "time.rfc3161";
    /// Enough sources say when the signature existed.
    TimeSource = "time.source";
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A check that was performed and passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Check {
    /// Which check.
    pub id: CheckId,
    /// What is known since.
    pub proved: String,
    /// The key or authority that this rests on, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The time that this is about, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Something that was seen and does not count, or that the reader should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Note {
    /// The check it belongs to.
    pub check: CheckId,
    /// What was seen.
    pub what: String,
}

/// A check that the policy did not ask for although the safe default does. Appears in every output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Waiver {
    /// The check that was waived.
    pub check: CheckId,
    /// What is not proven because of it.
    pub not_proven: &'static str,
}

/// What has been proven so far, in the order in which it was proven.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) checks: Vec<Check>,
    pub(crate) notes: Vec<Note>,
}

impl Journal {
    pub(crate) fn proved(&mut self, id: CheckId, proved: impl Into<String>) -> &mut Check {
        self.checks.push(Check { id, proved: printable(proved.into()), by: None, at: None });
        self.checks.last_mut().expect("just pushed")
    }

    pub(crate) fn note(&mut self, check: CheckId, what: impl Into<String>) {
        self.notes.push(Note { check, what: printable(what.into()) });
    }
}

/// Texts for people hold what strangers wrote into certificates and bundles. Control characters in it could rewrite what a terminal
/// shows, invisible ones and those that turn the direction of text could make one name look like another; they are shown as escapes
/// instead.
pub(crate) fn printable(text: String) -> String {
    let plain = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if plain || !text.contains(is_deceptive) {
        return text;
    }
    text.chars().flat_map(|c| if is_deceptive(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Control characters, and Unicode's format characters that show nothing (UTS #39, UAX #9).
fn is_deceptive(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || invisible
}

impl Check {
    pub(crate) fn by(&mut self, by: impl Into<String>) -> &mut Self {
        self.by = Some(by.into());
        self
    }

    pub(crate) fn at(&mut self, at: Timestamp) -> &mut Self {
        self.at = Some(at);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_and_unique() {
        assert!(CheckId::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }

    #[test]
    fn nothing_in_a_text_can_command_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n".to_owned()), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("\u{202e}moc.elpmaxe".to_owned()), "\\u{202e}moc.elpmaxe");
        assert_eq!(printable("caf\u{e9}".to_owned()), "caf\u{e9}");
    }

    #[test]
    fn every_check_has_its_page() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checks");
        for check in CheckId::ALL {
            let page = std::fs::read_to_string(format!("{folder}/{check}.md")).unwrap_or_else(|e| panic!("{check}: {e}"));
            assert!(page.starts_with(&format!("# {check}\n")), "{check}");
        }
    }
}
