//! The kinds of document that can be inspected.

use std::{fmt, str::FromStr};

use vidimus_core::ParseError;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $title:literal;)*) => {
        /// What a document is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in JSON and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The name for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

kinds! {
    /// A Sigstore bundle.
    Bundle = "bundle", "Sigstore bundle";
    /// An X.509 certificate, PEM or DER.
    Certificate = "certificate", "Certificate";
    /// A client trust configuration.
    ClientTrustConfig = "client-trust-config", "Client trust configuration";
    /// An OCI descriptor; cosign hung signatures on those of layers before there were bundles.
    Descriptor = "descriptor", "OCI descriptor";
    /// A line of `cosign download signature`.
    CosignSignature = "cosign-signature", "Signature as cosign downloads it";
    /// cosign's JSON around a timestamp.
    CosignTimestamp = "cosign-timestamp", "Timestamp as cosign keeps it";
    /// What `cosign sign-blob --bundle` wrote before Sigstore bundles.
    CosignBlobBundle = "cosign-blob-bundle", "Blob signature of old cosign";
    /// A DSSE envelope.
    Dsse = "dsse", "DSSE envelope";
    /// A certificate authority's answer.
    Fulcio = "fulcio-answer", "Answer of a certificate authority";
    /// The canonical body of a log entry.
    LogBody = "log-body", "Body of a log entry";
    /// Entries as a Rekor v1 server answers.
    LogEntry = "log-entry", "Log entry as Rekor v1 answers";
    /// A checkpoint or another signed note.
    Note = "note", "Signed note";
    /// An OCI image index.
    OciIndex = "oci-index", "OCI index";
    /// An OCI manifest.
    OciManifest = "oci-manifest", "OCI manifest";
    /// A public key, PEM or DER.
    PublicKey = "public-key", "Public key";
    /// cosign's annotation with a log entry.
    RekorBundle = "rekor-bundle", "Log entry as old cosign keeps it";
    /// A log's JSON answer with a signed certificate timestamp.
    Sct = "sct", "Signed certificate timestamp";
    /// Signed certificate timestamps in TLS encoding, as certificates carry them.
    SctList = "sct-list", "Signed certificate timestamps";
    /// A signing configuration.
    SigningConfig = "signing-config", "Signing configuration";
    /// A simple-signing payload.
    SimpleSigning = "simple-signing", "Simple-signing payload";
    /// An in-toto statement.
    Statement = "statement", "in-toto statement";
    /// An RFC 3161 timestamp: answer or token.
    Timestamp = "timestamp", "RFC 3161 timestamp";
    /// An entry as bundles carry it, and as Rekor v2 answers.
    TlogEntry = "tlog-entry", "Log entry as bundles carry it";
    /// A trusted root.
    TrustedRoot = "trusted-root", "Trusted root";
    /// TUF metadata of any role.
    Tuf = "tuf", "TUF metadata";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            ParseError::new("kind", format_args!("{name:?} is not one of {}", names.join(", ")))
        })
    }
}
