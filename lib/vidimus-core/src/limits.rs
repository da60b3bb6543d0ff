//! The size of things we are willing to read, in one place. Each number says where it comes from.

use crate::ParseError;

/// A Sigstore bundle. A bundle carries its DSSE payload, so this bounds small attestations; larger ones are read under
/// [`ATTESTATION_BYTES`].
pub const BUNDLE_BYTES: usize = 16 << 20;
/// An attestation's bundle or envelope: cosign's own default for `COSIGN_MAX_ATTACHMENT_SIZE`.
pub const ATTESTATION_BYTES: usize = 128 << 20;
/// An OCI manifest or index: the distribution specification asks registries to accept at least 4 MiB.
pub const MANIFEST_BYTES: usize = 4 << 20;
/// Referrers of one image. Real images carry tens; a hostile registry can list millions.
pub const REFERRERS: usize = 1_000;
/// Pages of a paginated registry answer.
pub const PAGES: usize = 100;
/// Certificates in a chain. Sigstore's own chains have three.
pub const CHAIN: usize = 10;
/// Signatures in one DSSE envelope. Sigstore writes one.
pub const DSSE_SIGNATURES: usize = 8;
/// Subjects of one statement: what sigstore-go accepts.
pub const SUBJECTS: usize = 1_024;
/// Digests of one subject: what sigstore-go accepts.
pub const SUBJECT_DIGESTS: usize = 32;
/// Transparency log entries or timestamps in one bundle: what sigstore-go accepts.
pub const BUNDLE_EVIDENCE: usize = 32;
/// Hashes in an inclusion or consistency proof: a tree of 2^63 leaves has proofs of at most 64 + 63.
pub const PROOF_HASHES: usize = 128;
/// Signature lines of a checkpoint: C2SP tlog-witness asks clients to accept at least 16; logs with many witnesses carry tens.
pub const NOTE_SIGNATURES: usize = 100;
/// A checkpoint: C2SP signed-note asks for "reasonable limits"; ours fits the signature lines above.
pub const NOTE_BYTES: usize = 64 << 10;
/// TUF metadata of any role.
pub const TUF_BYTES: usize = 5 << 20;
/// A trusted root or signing configuration.
pub const TRUST_BYTES: usize = 5 << 20;

/// Documents in one file of JSON Lines: what GitHub's CLI fetches at most for one artifact.
pub const DOCUMENTS: usize = 1_000;
/// Nesting of JSON: real documents stay under 20, serde_json's own limit is 128.
pub const JSON_DEPTH: usize = 64;

/// Refuses an input that is longer than `limit` bytes.
pub fn check_len(format: &'static str, len: usize, limit: usize) -> Result<(), ParseError> {
    if len > limit {
        return Err(ParseError::new(format, format_args!("{len} bytes, more than the limit of {limit}")));
    }
    Ok(())
}

/// Refuses a list that has more than `limit` elements.
pub fn check_count(format: &'static str, what: &'static str, len: usize, limit: usize) -> Result<(), ParseError> {
    if len > limit {
        return Err(ParseError::at(format, what, format_args!("{len} of them, more than the limit of {limit}")));
    }
    Ok(())
}
