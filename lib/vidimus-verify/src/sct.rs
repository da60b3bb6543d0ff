//! `cert.sct`: the certificate was submitted to Certificate Transparency logs, which promised to publish it (RFC 6962 §3.2, embedded
//! SCTs of version 1).
//!
//! A log signs the certificate before the SCTs are in it. What it signed is the certificate's signed part without that one extension,
//! all other bytes untouched, together with the hash of the issuer's key: so this check comes after the chain.

use const_oid::db::rfc6962::CT_PRECERT_SCTS;
use jiff::Timestamp;
use vidimus_core::{Algorithm, digest::sha256};

use crate::{
    CheckId, Rejection,
    asn1::{OCTET_STRING, content},
    chain::VerifiedChain,
    check::Journal,
    key::{KeyAlgorithm, Scheme},
    policy::Policy,
    trust::{Log, TrustRoot},
    x509::{Certificate, hex},
};

/// SCTs in one certificate. Fulcio embeds one, web certificates two to five.
const SCTS: usize = 16;

/// A signed certificate timestamp.
pub(crate) struct Sct<'a> {
    log_id: &'a [u8],
    timestamp: u64,
    extensions: &'a [u8],
    hash: u8,
    signature_algorithm: u8,
    signature: &'a [u8],
}

/// Checks that enough logs promised to publish the certificate.
pub(crate) fn check(
    leaf: &Certificate,
    chain: &VerifiedChain<'_>,
    trust: &TrustRoot,
    policy: &Policy,
    journal: &mut Journal,
) -> Result<(), Rejection> {
    if policy.scts == 0 {
        return Ok(());
    }
    let not_enough = |verified, problems| Rejection::NotEnoughScts { required: policy.scts, verified, problems };
    let scts = read_list(leaf).map_err(|why| not_enough(0, vec![why]))?;
    let issuer_key_hash = sha256(chain.issuer().certificate.spki());
    let precertificate = leaf.tbs_without_scts().map_err(|e| not_enough(0, vec![e.to_string()]))?;
    let (mut logs, mut problems) = (Vec::new(), Vec::new());
    for sct in &scts {
        match verify(sct, &issuer_key_hash, &precertificate, trust) {
            // Two promises of one log are one.
            Ok((log, _)) if logs.contains(&&log.id) => {}
            Ok((log, time)) => {
                logs.push(&log.id);
                journal.proved(CheckId::CertSct, "a log promised to publish the certificate").by(&*log.name).at(time);
            }
            Err(why) => problems.push(why),
        }
    }
    if logs.len() < policy.scts {
        return Err(not_enough(logs.len(), problems));
    }
    problems.into_iter().for_each(|why| journal.note(CheckId::CertSct, why));
    Ok(())
}

fn verify<'t>(
    sct: &Sct<'_>,
    issuer_key_hash: &[u8; 32],
    precertificate: &[u8],
    trust: &'t TrustRoot,
) -> Result<(&'t Log, Timestamp), String> {
    let time = i64::try_from(sct.timestamp).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let time = time.ok_or("an SCT with an impossible time")?;
    let signed = sct.signed_data(issuer_key_hash, precertificate).ok_or("a certificate too large for an SCT")?;
    let mut why = None;
    for log in trust.ct_logs.iter().filter(|log| log.id == sct.log_id) {
        if !log.valid_for.contains(time) {
            why = Some(format!("an SCT of {time}, outside of the validity of the log {}", log.name));
        } else if !sct.scheme(log).is_some_and(|scheme| log.key.verifies(scheme, &signed, sct.signature)) {
            why = Some(format!("an SCT that the log {} did not sign", log.name));
        } else {
            return Ok((log, time));
        }
    }
    Err(why.unwrap_or_else(|| format!("an SCT of the log {}, which the trusted root does not have", hex(sct.log_id))))
}

impl<'a> Sct<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (log_id, rest) = rest.split_at_checked(32)?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let (extensions, rest) = vector(rest)?;
        let (&[hash, signature_algorithm], rest) = rest.split_first_chunk()?;
        let (signature, rest) = vector(rest)?;
        let timestamp = u64::from_be_bytes(*timestamp);
        (*version == 0 && rest.is_empty()).then_some(Self { log_id, timestamp, extensions, hash, signature_algorithm, signature })
    }

    /// `digitally-signed struct` of RFC 6962 §3.2 for a precertificate.
    fn signed_data(&self, issuer_key_hash: &[u8; 32], precertificate: &[u8]) -> Option<Vec<u8>> {
        let length = u32::try_from(precertificate.len()).ok().filter(|len| *len < 1 << 24)?.to_be_bytes();
        let mut out = Vec::with_capacity(precertificate.len() + 64);
        // Version v1, certificate_timestamp, time, precert_entry.
        out.extend([0, 0]);
        out.extend(self.timestamp.to_be_bytes());
        out.extend([0, 1]);
        out.extend(issuer_key_hash);
        out.extend(&length[1..]);
        out.extend(precertificate);
        out.extend(u16::try_from(self.extensions.len()).ok()?.to_be_bytes());
        out.extend(self.extensions);
        Some(out)
    }

    /// The scheme that the SCT names (RFC 5246 §7.4.1.4.1), if it is one for the log's key.
    fn scheme(&self, log: &Log) -> Option<Scheme> {
        let hash = match self.hash {
            4 => Algorithm::Sha256,
            5 => Algorithm::Sha384,
            6 => Algorithm::Sha512,
            _ => return None,
        };
        match (self.signature_algorithm, log.key.algorithm()) {
            (1, KeyAlgorithm::Rsa) => Some(Scheme::Hashed(hash)),
            (3, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521) => Some(Scheme::Hashed(hash)),
            _ => None,
        }
    }
}

/// The embedded SCTs.
fn read_list(leaf: &Certificate) -> Result<Vec<Sct<'_>>, String> {
    let extension = leaf.extension(CT_PRECERT_SCTS).ok_or("the certificate has none")?;
    parse_list(extension)
}

/// A TLS-encoded list in an `OCTET STRING`.
pub(crate) fn parse_list(der: &[u8]) -> Result<Vec<Sct<'_>>, String> {
    let unreadable = || "the certificate's list of SCTs cannot be read".to_owned();
    let list = content(der, OCTET_STRING).map_err(|_| unreadable())?;
    let (mut rest, tail) = vector(list).ok_or_else(unreadable)?;
    let mut scts = Vec::new();
    while !rest.is_empty() && scts.len() < SCTS {
        let (sct, tail) = vector(rest).ok_or_else(unreadable)?;
        scts.push(Sct::parse(sct).ok_or_else(unreadable)?);
        rest = tail;
    }
    if rest.is_empty() && tail.is_empty() { Ok(scts) } else { Err(unreadable()) }
}

/// A TLS vector with a 16-bit length, and what follows it.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sct() -> Vec<u8> {
        let mut sct = vec![0];
        sct.extend([7; 32]);
        sct.extend(1_795_294_022_000_u64.to_be_bytes());
        sct.extend([0, 2, 0xaa, 0xbb, 4, 3, 0, 3, 1, 2, 3]);
        sct
    }

    #[test]
    fn reads_an_sct() {
        let bytes = sct();
        let sct = Sct::parse(&bytes).unwrap();
        assert_eq!((sct.log_id, sct.timestamp, sct.extensions), (&[7; 32][..], 1_795_294_022_000, &[0xaa, 0xbb][..]));
        assert_eq!((sct.hash, sct.signature_algorithm, sct.signature), (4, 3, &[1, 2, 3][..]));
        let signed = sct.signed_data(&[9; 32], b"tbs").unwrap();
        assert_eq!(signed[..2], [0, 0]);
        assert_eq!(signed[10..12], [0, 1]);
        assert_eq!(signed[12..44], [9; 32]);
        assert_eq!(signed[44..], [0, 0, 3, b't', b'b', b's', 0, 2, 0xaa, 0xbb]);
    }

    #[test]
    fn refuses_what_is_not_an_sct() {
        let good = sct();
        for len in 0..good.len() {
            assert!(Sct::parse(&good[..len]).is_none(), "{len} bytes");
        }
        assert!(Sct::parse(&[&good[..], &[0]].concat()).is_none(), "trailing bytes");
        let mut newer = good;
        newer[0] = 1;
        assert!(Sct::parse(&newer).is_none(), "another version");
    }
}
