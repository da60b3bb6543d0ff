//! Trust in single files, as clients had it before there were trusted roots: certificate authorities in PEM, a log's key, a
//! Certificate Transparency log's key, a timestamp authority's chain.
//!
//! What such files leave out is filled in as generously as those clients did: keys are valid since ever, names are missing. Whoever can
//! should give a trusted root instead. Rekor v2 logs cannot be described this way, because their checkpoints name the log.

use der::{Decode, Encode};
use jiff::Timestamp;
use vidimus_core::{
    ParseError,
    bundle::{Certificate, CertificateChain, LogId},
    encoding, limits,
    trust::{self, CertificateAuthority, DistinguishedName, TRUSTED_ROOT_MEDIA_TYPE, TimeRange, TransparencyLog, TrustedRoot},
};
use vidimus_verify::PublicKey;

/// Certificates in one file. Bundles of public roots, which somebody might pass, have under two hundred.
const CERTIFICATES: usize = 256;

/// What single files say. A part that no file speaks of is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SingleFiles {
    /// Certificate authorities.
    pub authorities: Option<Vec<CertificateAuthority>>,
    /// Rekor logs.
    pub logs: Option<Vec<TransparencyLog>>,
    /// Certificate Transparency logs.
    pub ct_logs: Option<Vec<TransparencyLog>>,
    /// Timestamp authorities.
    pub timestamp_authorities: Option<Vec<CertificateAuthority>>,
}

impl SingleFiles {
    /// Whether no file says anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Of each part what this says, otherwise what the other one says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            authorities: self.authorities.or(other.authorities),
            logs: self.logs.or(other.logs),
            ct_logs: self.ct_logs.or(other.ct_logs),
            timestamp_authorities: self.timestamp_authorities.or(other.timestamp_authorities),
        }
    }

    /// The trusted root: of each part what the files say, otherwise what `base` says.
    pub fn over(self, base: Option<TrustedRoot>) -> TrustedRoot {
        let base = base.unwrap_or(TrustedRoot {
            media_type: TRUSTED_ROOT_MEDIA_TYPE.to_owned(),
            tlogs: Vec::new(),
            certificate_authorities: Vec::new(),
            ctlogs: Vec::new(),
            timestamp_authorities: Vec::new(),
        });
        TrustedRoot {
            media_type: base.media_type,
            tlogs: self.logs.unwrap_or(base.tlogs),
            certificate_authorities: self.authorities.unwrap_or(base.certificate_authorities),
            ctlogs: self.ct_logs.unwrap_or(base.ctlogs),
            timestamp_authorities: self.timestamp_authorities.unwrap_or(base.timestamp_authorities),
        }
    }
}

/// Roots in one file, authorities below them in another (`--ca-roots`, `--ca-intermediates`).
pub fn roots(roots: &[u8], intermediates: Option<&[u8]>) -> Result<Vec<CertificateAuthority>, ParseError> {
    let roots = links(roots)?;
    let intermediates = intermediates.map(links).transpose()?.unwrap_or_default();
    Ok(roots.iter().map(|root| authority(root, &intermediates)).collect())
}

/// Certificates in any order, of which those that issued themselves are roots (`SIGSTORE_ROOT_FILE`).
pub fn self_signed(pem: &[u8]) -> Result<Vec<CertificateAuthority>, ParseError> {
    let (roots, intermediates): (Vec<_>, Vec<_>) = links(pem)?.into_iter().partition(|c| c.issuer == c.subject);
    if roots.is_empty() {
        return Err(ParseError::new("certificate authorities", "no root in it: every certificate was issued by another one"));
    }
    Ok(roots.iter().map(|root| authority(root, &intermediates)).collect())
}

/// A chain from the certificate that issues to the root, which may be any authority (`--certificate-chain`,
/// `--timestamp-certificate-chain`, `SIGSTORE_TSA_CERTIFICATE_FILE`).
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateAuthority>, ParseError> {
    let links = links(pem)?;
    limits::check_count("certificate chain", "certificates", links.len(), limits::CHAIN)?;
    Ok(vec![described(links.iter().collect())])
}

/// Public keys of logs, PEM or DER (`SIGSTORE_REKOR_PUBLIC_KEY`, `SIGSTORE_CT_LOG_PUBLIC_KEY_FILE`).
pub fn logs(file: &[u8]) -> Result<Vec<TransparencyLog>, ParseError> {
    let blocks = match std::str::from_utf8(file) {
        Ok(text) if text.contains("-----BEGIN ") => encoding::pem_blocks(text)?.into_iter().map(|block| block.der).collect(),
        _ => vec![file.to_vec()],
    };
    limits::check_count("log keys", "keys", blocks.len(), CERTIFICATES)?;
    blocks.iter().map(|der| log(der)).collect()
}

fn log(der: &[u8]) -> Result<TransparencyLog, ParseError> {
    let key = PublicKey::from_pem_or_der(der)?;
    Ok(TransparencyLog {
        base_url: String::new(),
        hash_algorithm: "SHA2_256".to_owned(),
        log_id: LogId { key_id: key.fingerprint().to_vec().into() },
        checkpoint_key_id: None,
        public_key: trust::PublicKey {
            raw_bytes: key.spki().into(),
            key_details: String::new(),
            valid_for: Some(TimeRange::since(Timestamp::UNIX_EPOCH)),
        },
    })
}

/// A certificate as far as it matters for putting chains together.
#[derive(Debug, Clone)]
struct Link {
    der: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    name: String,
}

fn links(pem: &[u8]) -> Result<Vec<Link>, ParseError> {
    const FORMAT: &str = "certificates";
    let text = std::str::from_utf8(pem).map_err(|e| ParseError::new(FORMAT, e))?;
    let blocks = encoding::pem_blocks(text)?;
    limits::check_count(FORMAT, "certificates", blocks.len(), CERTIFICATES)?;
    if blocks.is_empty() {
        return Err(ParseError::new(FORMAT, "no certificate in PEM in it"));
    }
    let link = |block: encoding::PemBlock| {
        if block.label != "CERTIFICATE" {
            return Err(ParseError::new(FORMAT, format_args!("it has a {}", block.label)));
        }
        let bad = |e: der::Error| ParseError::new(FORMAT, e);
        let parsed = x509_cert::Certificate::from_der(&block.der).map_err(bad)?.tbs_certificate;
        let (subject, issuer) = (parsed.subject.to_der().map_err(bad)?, parsed.issuer.to_der().map_err(bad)?);
        Ok(Link { der: block.der, subject, issuer, name: parsed.subject.to_string() })
    };
    blocks.into_iter().map(link).collect()
}

/// A root with those of the others that lead to it. Names decide here, signatures later.
fn authority(root: &Link, others: &[Link]) -> CertificateAuthority {
    let mut members = vec![root];
    loop {
        let next = others.iter().find(|other| {
            let new = members.iter().all(|m| m.der != other.der);
            new && members.iter().any(|m| m.subject == other.issuer) && other.subject != other.issuer
        });
        match next {
            Some(next) => members.push(next),
            None => break,
        }
    }
    members.reverse();
    described(members)
}

fn described(members: Vec<&Link>) -> CertificateAuthority {
    let name = members.last().map(|root| root.name.clone()).unwrap_or_default();
    let certificates = members.iter().map(|m| Certificate { raw_bytes: m.der.as_slice().into() }).collect();
    CertificateAuthority {
        subject: DistinguishedName { organization: String::new(), common_name: name },
        uri: String::new(),
        cert_chain: CertificateChain { certificates },
        valid_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE_ROOT: &[u8] = include_bytes!("../../../testdata/wire/trusted_root.json");

    fn wire() -> TrustedRoot {
        TrustedRoot::from_json(WIRE_ROOT).unwrap()
    }

    fn pem(authority: &CertificateAuthority) -> Vec<String> {
        authority.cert_chain.certificates.iter().map(|c| encoding::pem("CERTIFICATE", &c.raw_bytes.0)).collect()
    }

    #[test]
    fn the_same_authority_in_every_form() {
        let wanted = &wire().certificate_authorities[0];
        let blocks = pem(wanted);
        let (root, intermediates) = blocks.split_last().unwrap();
        let from_roots = roots(root.as_bytes(), Some(intermediates.concat().as_bytes()).filter(|i| !i.is_empty())).unwrap();
        let mut reversed = blocks.clone();
        reversed.reverse();
        for found in
            [&from_roots, &self_signed(reversed.concat().as_bytes()).unwrap(), &chain(blocks.concat().as_bytes()).unwrap()]
        {
            assert_eq!(found[0].cert_chain, wanted.cert_chain);
            assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn a_key_gets_the_id_that_logs_use() {
        let wanted = &wire().tlogs[0];
        let key = encoding::pem("PUBLIC KEY", &wanted.public_key.raw_bytes.0);
        let found = logs(key.as_bytes()).unwrap();
        assert_eq!((found.len(), &found[0].log_id), (1, &wanted.log_id));
        assert_eq!(logs(&wanted.public_key.raw_bytes.0).unwrap(), found, "DER as well");
    }

    #[test]
    fn files_replace_parts() {
        let none = SingleFiles::default();
        assert!(none.is_empty());
        assert_eq!(none.over(Some(wire())), wire());
        let some = SingleFiles { logs: Some(Vec::new()), ..SingleFiles::default() };
        let root = some.over(Some(wire()));
        assert!(root.tlogs.is_empty() && root.certificate_authorities == wire().certificate_authorities);
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [&b""[..], b"x", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(roots(bad, None).is_err() && self_signed(bad).is_err() && chain(bad).is_err() && logs(bad).is_err());
        }
    }
}
