//! What a signature is supposed to be about: bytes in memory, or digests that the caller computed over a stream.

use std::sync::OnceLock;

use vidimus_core::{Algorithm, Digest};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

/// The artifact (file, image manifest) that must have been signed.
///
/// Digests are computed when first needed and kept, so that one artifact can be checked against many signatures.
#[derive(Debug, Clone, Default)]
pub struct Artifact<'a> {
    bytes: Option<&'a [u8]>,
    digests: [OnceLock<Digest>; 3],
}

impl<'a> Artifact<'a> {
    /// An artifact in memory. The only form for pure Ed25519 signatures, which are over the bytes themselves.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self { bytes: Some(bytes), digests: Default::default() }
    }

    /// An artifact of which only a digest is known.
    pub fn digest(digest: Digest) -> Self {
        Self::digests([digest])
    }

    /// An artifact of which several digests are known, at most one for each algorithm.
    pub fn digests(digests: impl IntoIterator<Item = Digest>) -> Self {
        let artifact = Self::default();
        for digest in digests {
            // The first digest of an algorithm wins; a second, different one would be another artifact.
            let _ = artifact.digests[slot(digest.algorithm())].set(digest);
        }
        artifact
    }

    /// The bytes, if the artifact is in memory.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        self.bytes
    }

    /// The digest with this algorithm, if it is known or can be computed.
    pub fn digest_with(&self, algorithm: Algorithm) -> Option<&Digest> {
        let slot = &self.digests[slot(algorithm)];
        match self.bytes {
            Some(bytes) => Some(slot.get_or_init(|| Digest::of(algorithm, bytes))),
            None => slot.get(),
        }
    }

    /// The digests that are known so far.
    pub fn known(&self) -> impl Iterator<Item = &Digest> {
        self.digests.iter().filter_map(OnceLock::get)
    }

    /// The digest by which people know the artifact: SHA-256 where possible.
    pub(crate) fn name(&self) -> Option<&Digest> {
        ALGORITHMS.into_iter().find_map(|algorithm| self.digest_with(algorithm))
    }
}

fn slot(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha256 => 0,
        Algorithm::Sha384 => 1,
        Algorithm::Sha512 => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_bytes_are_computed_and_given_ones_are_kept() {
        let artifact = Artifact::bytes(b"x");
        assert_eq!(artifact.known().count(), 0);
        assert_eq!(artifact.digest_with(Algorithm::Sha384), Some(&Digest::of(Algorithm::Sha384, b"x")));
        assert_eq!(artifact.known().count(), 1);
        let given = Artifact::digest(Digest::sha256(b"x"));
        assert_eq!(given.digest_with(Algorithm::Sha256), artifact.digest_with(Algorithm::Sha256));
        assert_eq!(given.digest_with(Algorithm::Sha512), None);
        assert_eq!(given.as_bytes(), None);
    }
}
