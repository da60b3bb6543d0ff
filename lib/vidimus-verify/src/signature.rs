//! `signature.message`, `signature.dsse`, `signature.payload`, and that what was signed is about the artifact: `statement.subject`,
//! `claim.image`.

use std::{borrow::Cow, sync::OnceLock};

use vidimus_core::{Algorithm, Digest, bundle::HashOutput, cosign, digest::Hasher, dsse};

use crate::{
    Artifact, CheckId, Content, Rejection, SignedEntity, Statement,
    check::Journal,
    key::{KeyAlgorithm, PublicKey, Scheme},
};

/// How many digests of a statement's subjects a rejection shows.
const SHOWN: usize = 5;

/// The bytes that a signature is over: the artifact itself, or something about it that travels with the signature.
pub(crate) struct Signed<'a> {
    entity: &'a SignedEntity,
    artifact: &'a Artifact<'a>,
    /// `DSSEv1 <n> <type> <n> `, for envelopes.
    prefix: Vec<u8>,
    digests: [OnceLock<Digest>; 3],
}

impl<'a> Signed<'a> {
    /// The form of the content was checked before.
    pub(crate) fn new(entity: &'a SignedEntity, artifact: &'a Artifact<'a>) -> Self {
        let mut prefix = Vec::new();
        if let Content::Envelope { envelope, .. } = entity.content() {
            prefix = dsse::pae(&envelope.payload_type, &[]);
            // The encoding of an empty payload ends in its length, "0 ".
            prefix.truncate(prefix.len() - 2);
            prefix.extend(format!("{} ", envelope.payload.0.len()).into_bytes());
        }
        Self { entity, artifact, prefix, digests: Default::default() }
    }

    pub(crate) fn signature(&self) -> &'a [u8] {
        self.entity.signature()
    }

    pub(crate) fn content(&self) -> &'a Content {
        self.entity.content()
    }

    /// The check that belongs to this kind of content.
    pub(crate) fn check_id(&self) -> CheckId {
        match self.entity.content() {
            Content::Message { .. } => CheckId::SignatureMessage,
            Content::Envelope { .. } => CheckId::SignatureDsse,
            Content::Payload { .. } => CheckId::SignaturePayload,
        }
    }

    /// The digest of the signed bytes; none if the artifact's digest with this algorithm is not known.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Option<&Digest> {
        let Some(payload) = self.entity.payload() else { return self.artifact.digest_with(algorithm) };
        let slot = match algorithm {
            Algorithm::Sha256 => 0,
            Algorithm::Sha384 => 1,
            Algorithm::Sha512 => 2,
        };
        // In two pieces: a payload may be a hundred megabytes, and joining them would copy it.
        let compute = || {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&self.prefix);
            hasher.update(payload);
            hasher.finish()
        };
        Some(self.digests[slot].get_or_init(compute))
    }

    /// The signed bytes; none if the artifact is known by digests only.
    fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self.entity.payload() {
            None => self.artifact.as_bytes().map(Cow::Borrowed),
            Some(payload) if self.prefix.is_empty() => Some(Cow::Borrowed(payload)),
            Some(payload) => Some(Cow::Owned([&self.prefix[..], payload].concat())),
        }
    }

    /// The digest that a bundle states of its artifact.
    fn stated_digest(&self) -> Result<Option<Digest>, Rejection> {
        let stated = self.entity.stated_digest().map(HashOutput::to_digest).transpose();
        stated.map_err(|e| Rejection::malformed(CheckId::BundleContent, e))
    }

    /// The hashes that a signature by this key may be over, the likeliest first.
    fn hashes(&self, key: &PublicKey) -> Result<Vec<Algorithm>, Rejection> {
        let mut hashes = Vec::with_capacity(3);
        if let Some(hint) = self.stated_digest()? {
            hashes.push(hint.algorithm());
        }
        hashes.push(key.algorithm().default_hash());
        // cosign before version 3 signed with SHA-256 whatever the key.
        hashes.push(Algorithm::Sha256);
        let mut seen = Vec::with_capacity(3);
        hashes.retain(|hash| {
            !seen.contains(hash) && {
                seen.push(*hash);
                true
            }
        });
        Ok(hashes)
    }

    /// Whether the key signed these bytes. An error if that cannot be told.
    fn is_signed_by(&self, key: &PublicKey) -> Result<bool, Rejection> {
        if key.algorithm() == KeyAlgorithm::Ed25519 {
            return self.is_signed_by_ed25519(key);
        }
        let (mut tried, hashes) = (false, self.hashes(key)?);
        for hash in &hashes {
            let Some(digest) = self.digest(*hash) else { continue };
            tried = true;
            let mut schemes = [Scheme::Hashed(*hash), Scheme::Pss(*hash)].into_iter();
            if schemes.any(|scheme| key.verifies_digest(scheme, digest, self.signature())) {
                return Ok(true);
            }
        }
        if tried { Ok(false) } else { Err(Rejection::digest_unknown(self.check_id(), hashes[0])) }
    }

    fn is_signed_by_ed25519(&self, key: &PublicKey) -> Result<bool, Rejection> {
        let bytes = self.bytes();
        if bytes.as_ref().is_some_and(|bytes| key.verifies(Scheme::Pure, bytes, self.signature())) {
            return Ok(true);
        }
        let digest = self.digest(Algorithm::Sha512);
        if digest.is_some_and(|digest| key.verifies_digest(Scheme::Prehashed, digest, self.signature())) {
            return Ok(true);
        }
        // Without the bytes, a pure signature cannot be told from a wrong one.
        if bytes.is_some() { Ok(false) } else { Err(Rejection::ArtifactDigestUnknown { check: self.check_id(), wanted: None }) }
    }
}

/// `signature.*`: the key signed the bytes.
pub(crate) fn check(signed: &Signed<'_>, key: &PublicKey, journal: &mut Journal) -> Result<(), Rejection> {
    let check = signed.check_id();
    if !signed.is_signed_by(key)? {
        return Err(Rejection::SignatureInvalid { check, key: key.to_string() });
    }
    let what = match signed.content() {
        Content::Message { .. } => "the signature over the artifact verifies",
        Content::Envelope { .. } => "the envelope's signature verifies",
        Content::Payload { .. } => "the signature over the payload verifies",
    };
    journal.proved(check, what).by(key.to_string());
    Ok(())
}

/// `statement.subject`, `claim.image`: what was signed is about the artifact. For a signature over the artifact itself, its digest is
/// the one that the bundle names.
pub(crate) fn check_subject(
    signed: &Signed<'_>,
    artifact: &Artifact<'_>,
    journal: &mut Journal,
) -> Result<Option<Statement>, Rejection> {
    match signed.content() {
        Content::Message { .. } => {
            if let Some(stated) = signed.stated_digest()? {
                compare(CheckId::SignatureMessage, &stated, artifact)?;
            }
            Ok(None)
        }
        Content::Envelope { envelope, .. } => {
            if envelope.payload_type != dsse::IN_TOTO_PAYLOAD {
                return Err(Rejection::NotAStatement { why: format!("its type is {:?}", envelope.payload_type) });
            }
            let statement =
                Statement::from_json(&envelope.payload.0).map_err(|e| Rejection::NotAStatement { why: e.to_string() })?;
            let digest = is_about(&statement, artifact)?;
            journal.proved(CheckId::StatementSubject, format!("the statement is about {digest}"));
            Ok(Some(statement))
        }
        Content::Payload { payload, .. } => {
            let claim = cosign::Payload::parse(payload).map_err(|e| Rejection::malformed(CheckId::ClaimImage, e))?;
            let named = claim.critical.image.docker_manifest_digest;
            compare(CheckId::ClaimImage, &named, artifact)?;
            journal.proved(CheckId::ClaimImage, format!("the payload names {named}"));
            Ok(None)
        }
    }
}

fn compare(check: CheckId, named: &Digest, artifact: &Artifact<'_>) -> Result<(), Rejection> {
    match artifact.digest_with(named.algorithm()) {
        Some(digest) if digest == named => Ok(()),
        Some(digest) => Err(Rejection::ArtifactMismatch { check, wanted: digest.clone(), found: named.to_string() }),
        None => Err(Rejection::digest_unknown(check, named.algorithm())),
    }
}

/// The artifact's digest that one of the subjects has. Of a subject with several, any that is acceptable here decides (in-toto
/// attestation framework, `digest_set.md`).
fn is_about(statement: &Statement, artifact: &Artifact<'_>) -> Result<Digest, Rejection> {
    for (name, hex) in statement.digests() {
        let Some(digest) = name.parse().ok().and_then(|algorithm| artifact.digest_with(algorithm)) else { continue };
        if digest.hex() == hex {
            return Ok(digest.clone());
        }
    }
    Err(Rejection::StatementNotAbout {
        wanted: artifact.name().into_iter().chain(artifact.known()).cloned().fold(Vec::new(), |mut all, digest| {
            if !all.contains(&digest) {
                all.push(digest);
            }
            all
        }),
        subjects: statement.digests().take(SHOWN).map(|(name, hex)| format!("{name}:{hex}")).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_about_the_artifact_if_any_digest_is() {
        let (right, other) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let (right512, other512) = (Digest::of(Algorithm::Sha512, b"a"), Digest::of(Algorithm::Sha512, b"b"));
        let statement = |subjects: &[&[(&str, &Digest)]]| {
            let digests =
                |pairs: &[(&str, &Digest)]| pairs.iter().map(|(name, d)| format!("{name:?}:{:?}", d.hex())).collect::<Vec<_>>();
            let subjects: Vec<_> =
                subjects.iter().map(|pairs| format!(r#"{{"digest":{{{}}}}}"#, digests(pairs).join(","))).collect();
            let list = subjects.join(",");
            let json = format!(r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{list}],"predicateType":"p"}}"#);
            Statement::from_json(json.as_bytes()).unwrap()
        };
        let accepted =
            |subjects: &[&[(&str, &Digest)]], artifact: &Artifact<'_>| is_about(&statement(subjects), artifact).is_ok();
        let artifact = Artifact::bytes(b"a");
        assert!(accepted(&[&[("sha256", &right), ("sha512", &right512)]], &artifact));
        assert!(accepted(&[&[("sha256", &other)], &[("sha512", &right512)]], &artifact));
        assert!(accepted(&[&[("future", &other), ("sha256", &right)]], &artifact));
        assert!(accepted(&[&[("sha256", &right), ("sha512", &other512)]], &artifact));
        assert!(!accepted(&[&[("sha256", &other), ("sha512", &other512)]], &artifact));
        assert!(!accepted(&[&[("future", &right)]], &artifact) && !accepted(&[&[]], &artifact));
        assert!(accepted(&[&[("sha256", &right), ("sha512", &other512)]], &Artifact::digest(right.clone())));
        assert!(!accepted(&[&[("sha256", &other), ("sha512", &right512)]], &Artifact::digest(right.clone())));
    }
}
