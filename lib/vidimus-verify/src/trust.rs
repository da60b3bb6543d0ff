//! Whom to trust, prepared: keys parsed at once, chains between the members of the trust root checked when they are first needed, and
//! then once for any number of signatures. A trust root lists the authorities of years, of which one signature needs one or two.
//!
//! A member that cannot be used (an exotic key, a broken chain) does not spoil the others: it is known as [`Unusable`], with the reason,
//! and whatever only it could have proven is not proven.

use std::{fmt, sync::OnceLock};

use const_oid::{ObjectIdentifier, db::rfc5280};
use jiff::Timestamp;
use serde::Serialize;
use vidimus_core::{
    Algorithm, ParseError,
    checkpoint::KeyHint,
    limits,
    trust::{CertificateAuthority, TimeRange, TransparencyLog, TrustedRoot},
};

use crate::{
    SignedEntity,
    key::{KeyAlgorithm, PublicKey, Scheme},
    x509::{Certificate, hex},
};

/// Logs or authorities in a trust root. The public-good root has 2 to 4 of each after five years.
const MEMBERS: usize = 256;

/// A prepared trust root.
#[derive(Debug, Default)]
pub struct TrustRoot {
    pub(crate) logs: Vec<Log>,
    pub(crate) ct_logs: Vec<Log>,
    pub(crate) authorities: Vec<Authority>,
    pub(crate) timestamp_authorities: Vec<Authority>,
    /// Members that could not even be read.
    unreadable: Vec<Unusable>,
}

/// A member of the trust root that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Unusable {
    /// Which member.
    pub what: String,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl TrustRoot {
    /// A trust root without any member: enough for managed keys without log entries.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Prepares a trusted root.
    pub fn new(root: &TrustedRoot) -> Result<Self, ParseError> {
        let count = |what, len| limits::check_count("trusted root", what, len, MEMBERS);
        count("tlogs", root.tlogs.len())?;
        count("ctlogs", root.ctlogs.len())?;
        count("certificateAuthorities", root.certificate_authorities.len())?;
        count("timestampAuthorities", root.timestamp_authorities.len())?;
        let mut trust = Self::default();
        for log in &root.tlogs {
            let prepared = trust.keep("log", &log.base_url, Log::new(log));
            trust.logs.extend(prepared);
        }
        for log in &root.ctlogs {
            let prepared = trust.keep("Certificate Transparency log", &log.base_url, Log::new(log));
            trust.ct_logs.extend(prepared);
        }
        for authority in &root.certificate_authorities {
            let prepared = Authority::new(authority, Purpose::CodeSigning);
            let prepared = trust.keep("certificate authority", &authority.uri, prepared);
            trust.authorities.extend(prepared);
        }
        for authority in &root.timestamp_authorities {
            let prepared = Authority::new(authority, Purpose::TimeStamping);
            let prepared = trust.keep("timestamp authority", &authority.uri, prepared);
            trust.timestamp_authorities.extend(prepared);
        }
        Ok(trust)
    }

    /// The members that could not even be read.
    pub fn unreadable(&self) -> &[Unusable] {
        &self.unreadable
    }

    /// All members that cannot be used. Checks every chain that was not needed yet.
    pub fn unusable(&self) -> Vec<Unusable> {
        let authorities = self.authorities.iter().chain(&self.timestamp_authorities);
        self.unreadable.iter().cloned().chain(authorities.flat_map(Authority::unusable)).collect()
    }

    /// Whether one of its members had a part in a signature, as far as the signature itself says: nothing is verified. Tells which
    /// instance something is of.
    pub fn knows(&self, entity: &SignedEntity) -> bool {
        let logged = entity.log_entries().iter().any(|entry| self.logs.iter().any(|log| log.is(&entry.log_id.key_id.0)));
        let certificate = entity.certificate().and_then(|der| Certificate::parse(der).ok());
        logged
            || certificate.is_some_and(|leaf| {
                self.authorities.iter().any(|a| a.issuers_named(leaf.issuer()).any(|(_, issuer)| issuer.may_have_issued(&leaf)))
            })
    }

    fn keep<T>(&mut self, what: &str, name: &str, member: Result<T, ParseError>) -> Option<T> {
        member.map_err(|e| self.unreadable.push(Unusable { what: format!("{what} {name}"), why: e.to_string() })).ok()
    }
}

/// A log and its key: Rekor, or Certificate Transparency.
#[derive(Debug)]
pub(crate) struct Log {
    /// The URL, or the id of a log that has none.
    pub(crate) name: String,
    base_url: String,
    pub(crate) id: Vec<u8>,
    /// The key's id in checkpoints, where that is another one.
    checkpoint_id: Option<Vec<u8>>,
    /// The start of the key's id in checkpoints.
    pub(crate) hint: KeyHint,
    pub(crate) key: PublicKey,
    pub(crate) valid_for: TimeRange,
    scheme: Scheme,
}

impl Log {
    fn new(log: &TransparencyLog) -> Result<Self, ParseError> {
        let key = match log.public_key.key_details.starts_with("PKCS1_RSA") {
            true => PublicKey::from_pkcs1(&log.public_key.raw_bytes.0)?,
            false => PublicKey::from_spki(&log.public_key.raw_bytes.0)?,
        };
        let checkpoint_id = log.checkpoint_key_id.as_ref().map(|id| id.key_id.0.clone()).filter(|id| !id.is_empty());
        // Roots of Rekor v2 may name the one instead of the other (rekor-tiles, CLIENTS.md).
        let given = Some(log.log_id.key_id.0.clone()).filter(|id| !id.is_empty());
        let id = given.or_else(|| checkpoint_id.clone()).unwrap_or_default();
        let hint = checkpoint_id.as_ref().unwrap_or(&id).first_chunk().copied();
        let hint = hint.ok_or_else(|| ParseError::at("trusted root", "logId", "less than four bytes"))?;
        if !matches!(log.hash_algorithm.as_str(), "SHA2_256" | "") {
            let why = format_args!("{} trees are not supported", log.hash_algorithm).to_string();
            return Err(ParseError::at("trusted root", "hashAlgorithm", why));
        }
        // Clients agree that it is required: a key that was valid "since ever" cannot be replaced without a gap.
        let valid_for = log.public_key.valid_for.filter(|range| range.start.is_some());
        let valid_for = valid_for.ok_or_else(|| ParseError::at("trusted root", "validFor", "no start"))?;
        Ok(Self {
            name: if log.base_url.is_empty() { hex(&id) } else { log.base_url.clone() },
            base_url: log.base_url.clone(),
            id,
            checkpoint_id,
            hint,
            scheme: scheme(&log.public_key.key_details, key.algorithm())?,
            key,
            valid_for,
        })
    }

    /// Whether the log signed this.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        if self.key.verifies(self.scheme, message, signature) {
            return true;
        }
        // Rekor v1 signs with SHA-256 whatever the curve of its key, while `keyDetails` can only name the curve's own hash.
        let larger_curve = matches!(self.key.algorithm(), KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521);
        larger_curve && self.key.verifies(Scheme::Hashed(Algorithm::Sha256), message, signature)
    }

    /// Rekor v1's log ids are those of Certificate Transparency, the key's digest; Rekor v2's depend on the log's name as well.
    pub(crate) fn is_rekor_v1(&self) -> bool {
        self.id == self.key.fingerprint()
    }

    pub(crate) fn base_url(&self) -> Option<&str> {
        Some(self.base_url.trim_end_matches('/')).filter(|url| !url.is_empty())
    }

    /// Whether an entry with this log id is of this log.
    pub(crate) fn is(&self, id: &[u8]) -> bool {
        self.id == id || self.checkpoint_id.as_deref() == Some(id)
    }

    pub(crate) fn id_hex(&self) -> String {
        hex(&self.id)
    }

    pub(crate) fn is_at(&self, base_url: &str) -> bool {
        !self.base_url.is_empty() && self.base_url.trim_end_matches('/') == base_url.trim_end_matches('/')
    }

    pub(crate) fn url_without_scheme(&self) -> &str {
        let url = self.base_url.split_once("://").map_or(self.base_url.as_str(), |(_, rest)| rest);
        url.trim_end_matches('/')
    }

    /// The host name in the base URL, without port: the origin of a Rekor v2 log's checkpoints.
    pub(crate) fn host(&self) -> &str {
        let authority = self.url_without_scheme().split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        }
    }
}

/// The scheme that protobuf-specs' name for a key's details means.
fn scheme(details: &str, key: KeyAlgorithm) -> Result<Scheme, ParseError> {
    let default = match key {
        KeyAlgorithm::Ed25519 => Scheme::Pure,
        other => Scheme::Hashed(other.default_hash()),
    };
    Ok(match details {
        "" | "PUBLIC_KEY_DETAILS_UNSPECIFIED" => default,
        "PKIX_ED25519" => Scheme::Pure,
        "PKIX_ED25519_PH" => Scheme::Prehashed,
        "PKIX_ECDSA_P256_SHA_256" | "PKIX_ECDSA_P384_SHA_256" | "PKIX_ECDSA_P521_SHA_256" => Scheme::Hashed(Algorithm::Sha256),
        "PKIX_ECDSA_P384_SHA_384" => Scheme::Hashed(Algorithm::Sha384),
        "PKIX_ECDSA_P521_SHA_512" => Scheme::Hashed(Algorithm::Sha512),
        rsa if rsa.contains("RSA") && rsa.contains("PSS") => Scheme::Pss(Algorithm::Sha256),
        rsa if rsa.contains("RSA") => Scheme::Hashed(Algorithm::Sha256),
        other => return Err(ParseError::at("trusted root", "keyDetails", format_args!("{other} is not supported"))),
    })
}

/// What an authority's certificates are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    CodeSigning,
    TimeStamping,
}

impl Purpose {
    pub(crate) fn oid(self) -> ObjectIdentifier {
        match self {
            Self::CodeSigning => rfc5280::ID_KP_CODE_SIGNING,
            Self::TimeStamping => rfc5280::ID_KP_TIME_STAMPING,
        }
    }
}

/// A certificate authority or timestamp authority with its certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    /// The URL, or the name of an authority that has none.
    pub(crate) name: String,
    pub(crate) valid_for: TimeRange,
    purpose: Purpose,
    /// The CA certificates, the root last.
    chain: Vec<Certificate>,
    /// What is known of each of them as an issuer, once it was asked for.
    issuers: Vec<OnceLock<Result<Issuer, ParseError>>>,
    /// The certificate that signs timestamps, where the trust root has it.
    pub(crate) signer: Option<Certificate>,
    /// What is known of it, once it was asked for: with the index of its issuer.
    checked_signer: OnceLock<Result<(TimestampSigner, usize), ParseError>>,
}

/// A CA certificate whose path to the root was checked, except for time.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) certificate: Certificate,
    /// The certificate's subject, for people.
    pub(crate) name: String,
    pub(crate) key: PublicKey,
    /// When every certificate of the path is valid.
    pub(crate) not_before: Timestamp,
    /// When every certificate of the path is valid.
    pub(crate) not_after: Timestamp,
    /// The certificate to blame outside of that, by name, and its validity.
    pub(crate) path: Vec<(String, Timestamp, Timestamp)>,
}

/// A certificate that may sign timestamps.
#[derive(Debug)]
pub(crate) struct TimestampSigner {
    pub(crate) certificate: Certificate,
    pub(crate) key: PublicKey,
}

impl Authority {
    fn new(authority: &CertificateAuthority, purpose: Purpose) -> Result<Self, ParseError> {
        let certificates = &authority.cert_chain.certificates;
        limits::check_count("trusted root", "certChain", certificates.len(), limits::CHAIN)?;
        let mut chain = certificates.iter().map(|c| Certificate::parse(&c.raw_bytes.0)).collect::<Result<Vec<_>, _>>()?;
        let mut signer = None;
        if purpose == Purpose::TimeStamping && chain.first().is_some_and(|c| !c.is_ca().unwrap_or(false)) {
            signer = Some(chain.remove(0));
        }
        let first = chain.first().ok_or_else(|| ParseError::at("trusted root", "certChain", "no CA certificate"))?;
        Ok(Self {
            name: if authority.uri.is_empty() { first.subject_text() } else { authority.uri.clone() },
            valid_for: authority.valid_for.unwrap_or_default(),
            purpose,
            issuers: chain.iter().map(|_| OnceLock::new()).collect(),
            chain,
            signer,
            checked_signer: OnceLock::new(),
        })
    }

    /// The certificate of the chain at an index, as an issuer: its path is checked now if it was not yet.
    pub(crate) fn issuer(&self, index: usize) -> Result<&Issuer, &ParseError> {
        self.issuers[index].get_or_init(|| Issuer::new(&self.chain, index, self.purpose)).as_ref()
    }

    /// The usable issuers with this name (a DER `Name`).
    pub(crate) fn issuers_named(&self, name: &[u8]) -> impl Iterator<Item = (usize, &Issuer)> {
        let named = self.chain.iter().enumerate().filter(move |(_, c)| c.subject() == name);
        named.filter_map(|(index, _)| Some((index, self.issuer(index).ok()?)))
    }

    /// What is wrong with the first certificate of this name that is no usable issuer.
    pub(crate) fn why_unusable(&self, name: &[u8]) -> Option<&ParseError> {
        (0..self.chain.len()).filter(|i| self.chain[*i].subject() == name).find_map(|i| self.issuer(i).err())
    }

    /// The usable issuer that issued a certificate.
    pub(crate) fn issuer_of(&self, certificate: &Certificate) -> Result<Option<usize>, ParseError> {
        for (index, issuer) in self.issuers_named(certificate.issuer()) {
            if certificate.is_signed_by(&issuer.key)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The certificate that signs timestamps with its issuer, both checked; none where the trust root leaves it to the tokens.
    pub(crate) fn timestamp_signer(&self) -> Option<Result<(&TimestampSigner, &Issuer), &ParseError>> {
        let certificate = self.signer.as_ref()?;
        let checked = self.checked_signer.get_or_init(|| {
            let signer = TimestampSigner::unissued(certificate.clone())?;
            let issuer = self.issuer_of(certificate)?;
            let issuer =
                issuer.ok_or_else(|| ParseError::new("timestamp certificate", "no certificate of the chain issued it"))?;
            Ok((signer, issuer))
        });
        Some(checked.as_ref().and_then(|(signer, issuer)| Ok((signer, self.issuer(*issuer)?))))
    }

    /// The names of the certificates that may have issued others, for people.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.chain.iter().map(Certificate::subject_text)
    }

    fn unusable(&self) -> impl Iterator<Item = Unusable> {
        let signer = self.timestamp_signer().and_then(Result::err).map(|e| (format!("timestamp authority {}", self.name), e));
        let issuers = (0..self.chain.len())
            .filter_map(|i| Some((format!("certificate {:?}", self.chain[i].subject_text()), self.issuer(i).err()?)));
        issuers.chain(signer).map(|(what, why)| Unusable { what, why: why.to_string() })
    }
}

impl Issuer {
    /// Names and key ids fit; the signature is not checked.
    fn may_have_issued(&self, leaf: &Certificate) -> bool {
        let ids = leaf.authority_key_id().zip(self.certificate.subject_key_id());
        self.certificate.subject() == leaf.issuer() && ids.is_none_or(|(wanted, found)| wanted == found)
    }

    /// Checks the path from a certificate of an authority's chain to its root, the last certificate.
    fn new(chain: &[Certificate], index: usize, purpose: Purpose) -> Result<Self, ParseError> {
        let path = path_to_root(chain, index, purpose)?;
        let certificate = chain[index].clone();
        let key = PublicKey::from_spki(certificate.spki())?;
        let members = path.iter().map(|&i| &chain[i]);
        Ok(Self {
            name: certificate.subject_text(),
            key,
            not_before: members.clone().map(|c| c.not_before).max().unwrap_or(certificate.not_before),
            not_after: members.clone().map(|c| c.not_after).min().unwrap_or(certificate.not_after),
            path: members.map(|c| (c.subject_text(), c.not_before, c.not_after)).collect(),
            certificate,
        })
    }
}

/// The indices from `start` up to the root. Each certificate signed the one before it and may do so (RFC 5280 §6.1.4).
fn path_to_root(chain: &[Certificate], start: usize, purpose: Purpose) -> Result<Vec<usize>, ParseError> {
    let root = chain.len() - 1;
    let mut path = vec![start];
    check_ca(&chain[start], purpose, 0)?;
    while let Some(&current) = path.last().filter(|&&i| i != root) {
        let below = path.len();
        let mut problem =
            ParseError::new("certificate chain", format_args!("{:?} has no issuer in it", chain[current].subject_text()));
        let parent = (0..chain.len()).filter(|i| !path.contains(i)).find(|&i| {
            chain[i].subject() == chain[current].issuer()
                && match is_issued_by(&chain[current], &chain[i]).and_then(|()| check_ca(&chain[i], purpose, below)) {
                    Ok(()) => true,
                    Err(e) => {
                        problem = e;
                        false
                    }
                }
        });
        path.push(parent.ok_or(problem)?);
    }
    Ok(path)
}

fn is_issued_by(child: &Certificate, parent: &Certificate) -> Result<(), ParseError> {
    if child.is_signed_by(&PublicKey::from_spki(parent.spki())?)? {
        return Ok(());
    }
    let why = format_args!("{:?} did not sign {:?}", parent.subject_text(), child.subject_text()).to_string();
    Err(ParseError::new("certificate chain", why))
}

/// Whether a certificate may issue others for a purpose, with `below` CA certificates between it and the end.
fn check_ca(certificate: &Certificate, purpose: Purpose, below: usize) -> Result<(), ParseError> {
    let bad = |why: &dyn fmt::Display| ParseError::at("CA certificate", certificate.subject_text(), why);
    if let Some(oid) = certificate.unknown_critical() {
        return Err(bad(&format_args!("the critical extension {oid} is not understood")));
    }
    // RFC 5280 §4.2.1.10: not implemented, and ignoring a constraint would widen what the authority may do.
    if certificate.extension(rfc5280::ID_CE_NAME_CONSTRAINTS).is_some() {
        return Err(bad(&"name constraints are not supported"));
    }
    let constraints = certificate.basic_constraints()?.filter(|b| b.ca).ok_or_else(|| bad(&"not a CA"))?;
    if constraints.path_len_constraint.is_some_and(|limit| below > usize::from(limit)) {
        return Err(bad(&"more CA certificates below it than it allows"));
    }
    if certificate.key_usage()?.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(bad(&"not for signing certificates"));
    }
    // A CA with a list of purposes issues for those only, as every implementation of path validation has it.
    let purposes = certificate.extended_key_usage()?;
    let any = rfc5280::ANY_EXTENDED_KEY_USAGE;
    if purposes.is_some_and(|p| !p.0.iter().any(|oid| *oid == purpose.oid() || *oid == any)) {
        return Err(bad(&"not for this purpose"));
    }
    Ok(())
}

impl TimestampSigner {
    /// Checks what RFC 3161 §2.3 asks of the certificate: that it is for signing timestamps, and says so critically and exclusively.
    pub(crate) fn unissued(certificate: Certificate) -> Result<Self, ParseError> {
        let bad = |why: &dyn fmt::Display| ParseError::new("timestamp certificate", why);
        if let Some(oid) = certificate.unknown_critical() {
            return Err(bad(&format_args!("the critical extension {oid} is not understood")));
        }
        if certificate.is_ca()? {
            return Err(bad(&"it is a CA"));
        }
        if certificate.key_usage()?.is_some_and(|usage| !usage.digital_signature() && !usage.non_repudiation()) {
            return Err(bad(&"not for signatures"));
        }
        let critical = certificate.has_critical(rfc5280::ID_CE_EXT_KEY_USAGE);
        let purposes = certificate.extended_key_usage()?.map(|p| p.0).unwrap_or_default();
        if !critical || purposes != [Purpose::TimeStamping.oid()] {
            return Err(bad(&"its extended key usage is not timeStamping alone, critical"));
        }
        let key = PublicKey::from_spki(certificate.spki())?;
        Ok(Self { certificate, key })
    }
}
