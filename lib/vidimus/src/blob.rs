//! Files: their signatures and statements about them, without any network.
//!
//! Nothing here is asynchronous: a file, a bundle and a trust root are all it takes.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use jiff::Timestamp;
use vidimus_core::{
    Algorithm, Digest, ParseError,
    bundle::Bundle,
    digest::Hasher,
    intoto::{Statement, Subject, statement_v1},
    jsonl, limits,
};
use vidimus_verify::{Artifact, Content, Instances, Policy, Quorum, Rejection, SignedEntity, Tally, Verified};

use crate::{
    origin,
    predicate::{Predicate, PredicateType},
    verify_image::tally,
};

/// Files up to this size are held in memory, which pure Ed25519 signatures need; larger ones are hashed as they are read. With
/// everything else a process then stays below 64 MiB, whatever the file.
const IN_MEMORY: u64 = 32 << 20;
/// Bytes read at a time: large enough that system calls do not count.
const CHUNK: usize = 256 << 10;
/// All that a signature may be over.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

/// A file to verify: its bytes, or the digests of a large one.
#[derive(Debug, Clone)]
pub enum Blob {
    /// In memory.
    Bytes(Vec<u8>),
    /// Known by digests.
    Digests(Vec<Digest>),
    /// A large file, known by the digest that nearly all signatures are over.
    File(LargeFile),
}

/// A file that is not held in memory.
#[derive(Debug, Clone)]
pub struct LargeFile {
    path: PathBuf,
    sha256: Digest,
    /// Its digests with every algorithm, once they were asked for.
    all: OnceLock<Vec<Digest>>,
}

/// A file that was not accepted, or could not be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The bundle cannot be read.
    #[error("{0}")]
    Bundle(#[from] ParseError),
    /// The signature does not prove what was asked.
    #[error("{rejection}")]
    Rejected {
        /// Why.
        rejection: Box<Rejection>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The statement is of another type.
    #[error("the statement is of the predicate type {found}, not {wanted}")]
    PredicateType {
        /// What was asked for.
        wanted: PredicateType,
        /// What it is.
        found: String,
    },
    /// The bundle holds a signature over the file where a statement about it was asked for.
    #[error("the bundle holds a signature, not a statement; use verify-blob")]
    NotAStatement,
    /// There is nothing to verify.
    #[error("no signature was given")]
    NoSignature,
    /// Of several signatures, none proves it.
    #[error("{best} (and {others} more that proved nothing)")]
    None {
        /// The best explanation.
        best: Box<BlobError>,
        /// How many others there are.
        others: usize,
    },
    /// Some of those who must have signed did, but not enough of them.
    #[error("{tally}")]
    TooFew {
        /// Who signed, and who did not.
        tally: Tally,
    },
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Blob {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, BlobError> {
        let fail = |source| BlobError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_file() && metadata.len() > IN_MEMORY {
            let [sha256] = hash(Vec::new(), file, [Algorithm::Sha256]).map_err(fail)?;
            return Ok(Self::File(LargeFile { path: path.to_owned(), sha256, all: OnceLock::new() }));
        }
        Self::read(file).map_err(fail)
    }

    /// Reads to the end of a stream of any length, in bounded memory.
    pub fn read(mut source: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        source.by_ref().take(IN_MEMORY + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len <= IN_MEMORY) {
            return Ok(Self::Bytes(bytes));
        }
        Ok(Self::Digests(hash(bytes, source, ALGORITHMS)?.into()))
    }

    /// As what a signature must be about.
    pub fn artifact(&self) -> Artifact<'_> {
        match self {
            Self::Bytes(bytes) => Artifact::bytes(bytes),
            Self::Digests(digests) => Artifact::digests(digests.clone()),
            Self::File(file) => Artifact::digest(file.sha256.clone()),
        }
    }

    /// With more digests than before, where there are more. They are all of one reading: a file that changes meanwhile is judged as
    /// one or the other, not as a mixture.
    fn in_full(&self) -> Result<Option<Artifact<'_>>, BlobError> {
        let Self::File(file) = self else { return Ok(None) };
        if file.all.get().is_none() {
            let digests = File::open(&file.path).and_then(|open| hash(Vec::new(), open, ALGORITHMS));
            let digests = digests.map_err(|source| BlobError::Io { path: file.path.clone(), source })?;
            file.all.get_or_init(|| digests.into());
        }
        Ok(file.all.get().map(|digests| Artifact::digests(digests.clone())))
    }

    /// The SHA-256.
    pub fn sha256(&self) -> Option<Digest> {
        self.artifact().digest_with(Algorithm::Sha256).cloned()
    }
}

/// The digests of what was read already and of the rest.
fn hash<const N: usize>(mut bytes: Vec<u8>, mut source: impl Read, algorithms: [Algorithm; N]) -> io::Result<[Digest; N]> {
    let mut hashers = algorithms.map(Hasher::new);
    hashers.iter_mut().for_each(|h| h.update(&bytes));
    bytes.resize(CHUNK, 0);
    bytes.shrink_to_fit();
    loop {
        match source.read(&mut bytes) {
            Ok(0) => return Ok(hashers.map(Hasher::finish)),
            Ok(read) => hashers.iter_mut().for_each(|h| h.update(&bytes[..read])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// What is to be proven about a file.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whom to trust.
    pub trust: &'a Instances,
    /// What must be proven about a signature.
    pub policy: &'a Policy,
    /// How many of the policy's identities must have signed.
    pub quorum: Quorum,
    /// The time to judge at.
    pub at: Timestamp,
}

/// A file that was accepted.
#[derive(Debug)]
pub struct Proven {
    /// What is proven, by each signature that holds; never empty.
    pub accepted: Vec<Verified>,
    /// Which of the policy's identities signed; none where it asks for a key.
    pub tally: Option<Tally>,
    /// Why the other signatures prove nothing.
    pub refused: Vec<BlobError>,
}

/// The entities in a file: bundles of any version, one or a row of them (JSON Lines, as GitHub's CLI downloads them), or what
/// `cosign sign-blob --bundle` wrote before there were bundles. One of several that cannot be read takes nothing from the others.
pub fn entities(file: &[u8]) -> Result<Vec<Result<SignedEntity, ParseError>>, ParseError> {
    Ok(jsonl::documents("bundle", file)?.into_iter().map(entity).collect())
}

/// The entity in one document.
pub fn entity(json: &[u8]) -> Result<SignedEntity, ParseError> {
    match Bundle::from_json(json) {
        Ok(bundle) => SignedEntity::from_bundle(bundle),
        // The old form has a name of its own for the signature, so this cannot turn a broken bundle into something else.
        Err(_) if is_old(json) => SignedEntity::from_cosign_blob_bundle(json),
        Err(error) => Err(error),
    }
}

/// Whether a document has the field that only the old form has.
fn is_old(json: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(json).is_ok_and(|value| value.get("base64Signature").is_some())
}

/// Verifies signatures over a file, or statements about it.
pub fn verify_blob(
    candidates: Vec<Result<SignedEntity, ParseError>>,
    blob: &Blob,
    request: &Request<'_>,
) -> Result<Proven, BlobError> {
    let artifact = blob.artifact();
    judge(candidates, request, |entity| request.verify(entity, blob, &artifact))
}

/// Verifies statements about a file, which must be of a type.
pub fn verify_blob_attestation(
    candidates: Vec<Result<SignedEntity, ParseError>>,
    blob: &Blob,
    wanted: &PredicateType,
    request: &Request<'_>,
) -> Result<Proven, BlobError> {
    let artifact = blob.artifact();
    judge(candidates, request, |entity| {
        if !matches!(entity.content(), Content::Envelope { .. }) {
            return Err(BlobError::NotAStatement);
        }
        let verified = request.verify(entity, blob, &artifact)?;
        let found = verified.statement().map(|s| s.predicate_type.as_str()).unwrap_or_default();
        if found != wanted.as_str() {
            return Err(BlobError::PredicateType { wanted: wanted.clone(), found: found.to_owned() });
        }
        Ok(verified)
    })
}

impl Request<'_> {
    fn verify(&self, entity: &SignedEntity, blob: &Blob, artifact: &Artifact<'_>) -> Result<Verified, BlobError> {
        let judge = |artifact: &Artifact<'_>| self.trust.verify(entity, artifact, self.policy, self.at);
        let mut verdict = judge(artifact);
        if verdict.as_ref().is_err_and(Rejection::depends_on_digests) {
            verdict = blob.in_full()?.map_or(verdict, |artifact| judge(&artifact));
        }
        verdict.map_err(|rejection| {
            let hint = origin::hint(&rejection, entity);
            BlobError::Rejected { rejection: Box::new(rejection), hint }
        })
    }
}

/// One signature that holds is enough, unless more signers are asked for. If none does, the best explanation is given.
fn judge(
    candidates: Vec<Result<SignedEntity, ParseError>>,
    request: &Request<'_>,
    verify: impl Fn(&SignedEntity) -> Result<Verified, BlobError>,
) -> Result<Proven, BlobError> {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match candidate.map_err(BlobError::Bundle).and_then(|entity| verify(&entity)) {
            Ok(verified) => accepted.push(verified),
            Err(error) => refused.push(error),
        }
    }
    refused.sort_by_key(|error| std::cmp::Reverse(error.rank()));
    if accepted.is_empty() {
        let others = refused.len().saturating_sub(1);
        let best = refused.into_iter().next().unwrap_or(BlobError::NoSignature);
        return Err(if others == 0 { best } else { BlobError::None { best: Box::new(best), others } });
    }
    match tally(request.policy, request.quorum, accepted.iter()) {
        Some(tally) if !tally.is_reached() => Err(BlobError::TooFew { tally }),
        tally => Ok(Proven { accepted, tally, refused }),
    }
}

impl BlobError {
    /// How much this explains, see [`Rejection::rank`].
    fn rank(&self) -> u8 {
        match self {
            Self::Rejected { rejection, .. } => rejection.rank(),
            Self::PredicateType { .. } => u8::MAX,
            Self::None { best, .. } => best.rank(),
            _ => 0,
        }
    }

    /// The rejection that explains it best, if it is one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected { rejection, .. } => Some(rejection),
            Self::None { best, .. } => best.rejection(),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Rejected { hint, .. } => hint.clone(),
            Self::None { best, .. } => best.hint(),
            Self::PredicateType { found, .. } => Some(format!("pass --type {found} if that is right")),
            _ => None,
        }
    }
}

/// The statement with a predicate about one thing.
pub fn statement(name: &str, digest: &Digest, predicate: &Predicate) -> Result<Vec<u8>, ParseError> {
    let digest = [(digest.algorithm().name().to_owned(), digest.hex())].into();
    let subject = Subject { name: name.to_owned(), digest, annotations: None };
    statement_v1(&[subject], predicate.predicate_type.as_str(), predicate.json.get().as_bytes())
}

/// The digest of the first thing that a statement is about.
pub fn first_subject(statement: &[u8]) -> Result<Digest, ParseError> {
    let statement = Statement::from_json(statement)?;
    let digests = statement.subject.iter().flat_map(|subject| &subject.digest);
    let mut known = digests.filter_map(|(name, hex)| format!("{name}:{hex}").parse().ok());
    known.next().ok_or_else(|| ParseError::at("in-toto statement", "subject", "no digest that is known here"))
}

/// A whole statement given by the user: kept byte for byte, but it must be one, and about this digest.
pub fn given_statement(bytes: Vec<u8>, digest: &Digest) -> Result<Vec<u8>, ParseError> {
    limits::check_len("in-toto statement", bytes.len(), limits::ATTESTATION_BYTES)?;
    let statement = Statement::from_json(&bytes)?;
    if !statement.is_about(digest) {
        return Err(ParseError::at("in-toto statement", "subject", format_args!("none of the subjects is {digest}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use vidimus_core::dsse;
    use vidimus_verify::PublicKey;

    use super::*;

    #[test]
    fn large_files_are_hashed_without_being_kept() {
        let len = IN_MEMORY + 12_345;
        let Blob::Digests(digests) = Blob::read(io::repeat(7).take(len)).unwrap() else { panic!("kept in memory") };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let chunk = vec![7; 1 << 20];
        let mut left = usize::try_from(len).unwrap();
        while left > 0 {
            let now = left.min(chunk.len());
            hasher.update(&chunk[..now]);
            left -= now;
        }
        assert_eq!(digests[0], hasher.finish());
    }

    /// A statement whose only subject has a digest of `algorithm`, by a managed key; the file is larger than what is held in memory.
    fn large_file_and_statement(folder: &Path, algorithm: Algorithm) -> (PathBuf, SignedEntity, PublicKey) {
        use aws_lc_rs::{
            encoding::AsDer,
            rand::SystemRandom,
            signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
        };
        let path = folder.join("large");
        File::create(&path).unwrap().set_len(IN_MEMORY + 1).unwrap();
        let digest = Digest::of(algorithm, &vec![0; usize::try_from(IN_MEMORY).unwrap() + 1]);
        let predicate = Predicate::new(PredicateType::default(), b"{}").unwrap();
        let payload = statement("large", &digest, &predicate).unwrap();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let signature = pair.sign(&SystemRandom::new(), &dsse::pae(dsse::IN_TOTO_PAYLOAD, &payload)).unwrap();
        let envelope = dsse::Envelope::new(dsse::IN_TOTO_PAYLOAD, payload, signature.as_ref().to_vec());
        let entity = SignedEntity::detached_envelope(&serde_json::to_vec(&envelope).unwrap()).unwrap();
        (path, entity, PublicKey::from_spki(spki.as_ref()).unwrap())
    }

    #[test]
    fn a_large_file_is_read_again_for_a_digest_that_was_left_out() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = tempfile::tempdir().unwrap();
            let (path, entity, key) = large_file_and_statement(folder.path(), algorithm);
            let policy = Policy::key(key).unsafe_without_log();
            let trust = Instances::empty();
            let request = Request { trust: &trust, policy: &policy, quorum: Quorum::default(), at: Timestamp::now() };
            let blob = Blob::open(&path).unwrap();
            verify_blob(vec![Ok(entity.clone())], &blob, &request).unwrap();
            let Blob::File(file) = &blob else { panic!("in memory") };
            assert_eq!(file.all.get().is_some(), algorithm != Algorithm::Sha256);

            File::options().write(true).open(&path).unwrap().set_len(IN_MEMORY + 2).unwrap();
            let error = verify_blob(vec![Ok(entity)], &Blob::open(&path).unwrap(), &request).unwrap_err();
            assert!(matches!(error.rejection(), Some(Rejection::StatementNotAbout { .. })), "{error}");
        }
    }

    #[test]
    fn small_files_stay_in_memory() {
        let blob = Blob::read(&b"abc"[..]).unwrap();
        assert!(matches!(&blob, Blob::Bytes(bytes) if bytes == b"abc"));
        assert_eq!(blob.sha256(), Some(Digest::sha256(b"abc")));
    }

    #[test]
    fn a_given_statement_must_be_about_the_thing() {
        let (x, y) = (Digest::sha256(b"x"), Digest::sha256(b"y"));
        let predicate = Predicate::new(PredicateType::default(), b"{ }").unwrap();
        let bytes = statement("x", &x, &predicate).unwrap();
        assert_eq!(given_statement(bytes.clone(), &x).unwrap(), bytes);
        assert_eq!(first_subject(&bytes).unwrap(), x);
        assert!(given_statement(bytes, &y).is_err());
        assert!(first_subject(br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{}],"predicateType":"t"}"#).is_err());
        assert!(given_statement(b"{}".to_vec(), &x).is_err());
    }

    #[test]
    fn a_broken_bundle_is_reported_as_one() {
        let error = entity(br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#).unwrap_err();
        assert_eq!(error.format, "bundle");
    }
}
