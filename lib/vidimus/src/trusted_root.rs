//! `trusted-root create`: a trusted root (protobuf-specs `TrustedRoot`, in the form that every client reads) from descriptions of
//! services and files with their keys and certificates.
//!
//! The same JSON as cosign's for what both accept, with authorities and logs ordered by their start. Refused here and written by
//! cosign: unknown keys, an end before the start, and chains whose certificates are out of order, which no client could use.

use der::Decode;
use jiff::Timestamp;
use vidimus_core::{
    ParseError,
    bundle::{Certificate, CertificateChain, LogId},
    checkpoint, encoding, limits,
    trust::{self, CertificateAuthority, DistinguishedName, TRUSTED_ROOT_MEDIA_TYPE, TransparencyLog, TrustedRoot},
};
use vidimus_verify::{KeyAlgorithm, PublicKey};
use x509_cert::{attr::AttributeTypeAndValue, ext::pkix::BasicConstraints, name::Name, spki::SubjectPublicKeyInfoRef};

use crate::service_spec::{Spec, SpecError};

const AUTHORITY_KEYS: &[&str] = &["url", "certificate-chain", "start-time", "end-time"];
const LOG_KEYS: &[&str] = &["url", "public-key", "start-time", "end-time", "origin"];

/// What to put into a trusted root.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A trusted root whose services come first. A log described anew replaces the one with the same id.
    pub base: Option<TrustedRoot>,
    /// Certificate authorities: `url=,certificate-chain=[,start-time=,end-time=]`.
    pub fulcio: Vec<String>,
    /// Rekor logs: `url=,public-key=,start-time=[,end-time=,origin=]`. The origin makes the id of an Ed25519 or RSA key (Rekor v2).
    pub rekor: Vec<String>,
    /// Certificate Transparency logs, as `rekor`.
    pub ctfe: Vec<String>,
    /// Timestamp authorities, as `fulcio`, the chain starting with the certificate that signs.
    pub tsa: Vec<String>,
}

/// Makes a trusted root.
pub fn create(request: Request) -> Result<TrustedRoot, SpecError> {
    let mut root = request.base.unwrap_or_else(empty);
    for text in &request.fulcio {
        root.certificate_authorities.push(authority("--fulcio", text, Starts::WithAuthority)?);
    }
    for text in &request.tsa {
        root.timestamp_authorities.push(authority("--tsa", text, Starts::WithSigner)?);
    }
    for text in &request.rekor {
        put(&mut root.tlogs, log("--rekor", text)?);
    }
    for text in &request.ctfe {
        put(&mut root.ctlogs, log("--ctfe", text)?);
    }
    root.certificate_authorities.sort_by_key(|ca| ca.valid_for.and_then(|range| range.start));
    root.timestamp_authorities.sort_by_key(|tsa| tsa.valid_for.and_then(|range| range.start));
    root.tlogs.sort_by_key(|log| log.public_key.valid_for.and_then(|range| range.start));
    root.ctlogs.sort_by_key(|log| log.public_key.valid_for.and_then(|range| range.start));
    Ok(root)
}

fn empty() -> TrustedRoot {
    TrustedRoot {
        media_type: TRUSTED_ROOT_MEDIA_TYPE.to_owned(),
        tlogs: Vec::new(),
        certificate_authorities: Vec::new(),
        ctlogs: Vec::new(),
        timestamp_authorities: Vec::new(),
    }
}

fn put(logs: &mut Vec<TransparencyLog>, log: TransparencyLog) {
    logs.retain(|known| known.log_id != log.log_id);
    logs.push(log);
}

/// What the first certificate of a chain is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Starts {
    /// The authority that issues signers' certificates.
    WithAuthority,
    /// The certificate that signs timestamps. Clients need it: most timestamps come without it.
    WithSigner,
}

fn authority(flag: &'static str, text: &str, starts: Starts) -> Result<CertificateAuthority, SpecError> {
    let spec = Spec::parse(flag, text, AUTHORITY_KEYS)?;
    let uri = spec.required("url")?.to_owned();
    let chain = spec.file("certificate-chain", chain)?;
    let (first, root) = (&chain[0], &chain[chain.len() - 1]);
    if starts == Starts::WithSigner {
        if is_authority(&first.parsed) {
            return Err(spec.error("the chain must start with the certificate that signs timestamps, not with an authority"));
        }
        if chain.len() < 2 {
            return Err(spec.error("the chain needs at least two certificates: the one that signs and its authority"));
        }
    }
    let start = if starts == Starts::WithSigner { not_before(&first.parsed) } else { not_before(&root.parsed) };
    let certificates = chain.iter().map(|c| Certificate { raw_bytes: c.der.as_slice().into() }).collect();
    Ok(CertificateAuthority {
        subject: subject(&root.parsed.tbs_certificate.subject),
        uri,
        cert_chain: CertificateChain { certificates },
        valid_for: Some(spec.valid_for(start)?),
    })
}

/// A certificate with the bytes that it was read from.
struct Link {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

/// A chain in PEM, each certificate issued by the one after it.
fn chain(pem: &[u8]) -> Result<Vec<Link>, ParseError> {
    const FORMAT: &str = "certificate chain";
    let text = std::str::from_utf8(pem).map_err(|e| ParseError::new(FORMAT, e))?;
    let blocks = encoding::pem_blocks(text)?;
    if blocks.is_empty() {
        return Err(ParseError::new(FORMAT, "no certificate in it"));
    }
    limits::check_count(FORMAT, "certificates", blocks.len(), limits::CHAIN)?;
    let link = |block: encoding::PemBlock| match block.label.as_str() {
        "CERTIFICATE" => {
            let parsed = x509_cert::Certificate::from_der(&block.der).map_err(|e| ParseError::new(FORMAT, e))?;
            Ok(Link { der: block.der, parsed })
        }
        other => Err(ParseError::new(FORMAT, format_args!("it has a {other}"))),
    };
    let chain = blocks.into_iter().map(link).collect::<Result<Vec<_>, _>>()?;
    for (n, pair) in chain.windows(2).enumerate() {
        let (issuer, next) = (&pair[0].parsed.tbs_certificate.issuer, &pair[1].parsed.tbs_certificate.subject);
        if issuer != next {
            let why = format_args!("it was issued by {issuer}, and the next certificate is that of {next}");
            return Err(ParseError::at(FORMAT, format_args!("certificate {}", n + 1), why));
        }
    }
    Ok(chain)
}

fn is_authority(certificate: &x509_cert::Certificate) -> bool {
    matches!(certificate.tbs_certificate.get::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca)
}

fn not_before(certificate: &x509_cert::Certificate) -> Option<Timestamp> {
    let seconds = certificate.tbs_certificate.validity.not_before.to_unix_duration().as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn subject(name: &Name) -> DistinguishedName {
    use const_oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};
    let attributes = || name.0.iter().flat_map(|rdn| rdn.0.iter());
    let text = |a: &AttributeTypeAndValue| std::str::from_utf8(a.value.value()).ok().map(str::to_owned);
    // As Go has it: the first organisation, the last common name.
    let organization = attributes().find(|a| a.oid == ORGANIZATION_NAME).and_then(text);
    let common_name = attributes().rfind(|a| a.oid == COMMON_NAME).and_then(text);
    DistinguishedName { organization: organization.unwrap_or_default(), common_name: common_name.unwrap_or_default() }
}

fn log(flag: &'static str, text: &str) -> Result<TransparencyLog, SpecError> {
    let spec = Spec::parse(flag, text, LOG_KEYS)?;
    let base_url = spec.required("url")?.to_owned();
    let key = spec.file("public-key", key)?;
    let origin = spec.optional("origin");
    Ok(TransparencyLog {
        base_url,
        hash_algorithm: "SHA2_256".to_owned(),
        public_key: trust::PublicKey {
            raw_bytes: key.spki.as_slice().into(),
            key_details: key.details.to_owned(),
            valid_for: Some(spec.valid_for(None)?),
        },
        log_id: LogId { key_id: log_id(&key, origin).as_slice().into() },
        checkpoint_key_id: None,
    })
}

struct LogKey {
    spki: Vec<u8>,
    algorithm: KeyAlgorithm,
    details: &'static str,
}

fn key(pem: &[u8]) -> Result<LogKey, ParseError> {
    let key = PublicKey::from_pem_or_der(pem)?;
    let spki = key.spki().to_vec();
    Ok(LogKey { algorithm: key.algorithm(), details: details(key.algorithm(), &spki)?, spki })
}

/// The name that protobuf-specs give a key and the signatures that a log makes with it.
fn details(algorithm: KeyAlgorithm, spki: &[u8]) -> Result<&'static str, ParseError> {
    let refused = |why: &str| Err(ParseError::new("public key of a log", why));
    Ok(match algorithm {
        KeyAlgorithm::EcdsaP256 => "PKIX_ECDSA_P256_SHA_256",
        KeyAlgorithm::EcdsaP384 => "PKIX_ECDSA_P384_SHA_384",
        KeyAlgorithm::EcdsaP521 => "PKIX_ECDSA_P521_SHA_512",
        KeyAlgorithm::Ed25519 => "PKIX_ED25519",
        KeyAlgorithm::Rsa => {
            let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|e| ParseError::new("public key of a log", e))?;
            match crate::inspect::rsa_bits(&spki) {
                Some(2048) => "PKIX_RSA_PKCS1V15_2048_SHA256",
                Some(3072) => "PKIX_RSA_PKCS1V15_3072_SHA256",
                Some(4096) => "PKIX_RSA_PKCS1V15_4096_SHA256",
                _ => return refused("an RSA key must have 2048, 3072 or 4096 bits"),
            }
        }
        _ => return refused("an algorithm that no log uses"),
    })
}

/// The id of a log: that of its key, or of key and origin where Rekor v2 has it so.
fn log_id(key: &LogKey, origin: Option<&str>) -> [u8; 32] {
    match (key.algorithm, origin, key.spki.last_chunk()) {
        (KeyAlgorithm::Ed25519, Some(origin), Some(raw)) => checkpoint::ed25519_key_id(origin, raw),
        (KeyAlgorithm::Rsa, Some(origin), _) => checkpoint::rsa_key_id(origin, &key.spki),
        _ => checkpoint::ecdsa_key_id(&key.spki),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ROOT: &[u8] = include_bytes!("../../../testdata/wire/trusted_root.json");
    const START: &str = "2026-11-21T19:33:51Z";

    /// The keys and chains of a real trusted root as files.
    fn files(dir: &Path) -> TrustedRoot {
        let root = TrustedRoot::from_json(ROOT).unwrap();
        let key = |log: &TransparencyLog| encoding::pem("PUBLIC KEY", log.public_key.raw_bytes.as_bytes());
        let pem = |ca: &CertificateAuthority| -> String {
            ca.cert_chain.certificates.iter().map(|c| encoding::pem("CERTIFICATE", c.raw_bytes.as_bytes())).collect()
        };
        for (name, text) in [
            ("rekor1", key(&root.tlogs[0])),
            ("rekor2", key(&root.tlogs[1])),
            ("ctfe", key(&root.ctlogs[0])),
            ("fulcio", pem(&root.certificate_authorities[0])),
            ("tsa", pem(&root.timestamp_authorities[0])),
        ] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        root
    }

    fn request(dir: &Path, root: &TrustedRoot) -> Request {
        let dir = dir.display();
        Request {
            fulcio: vec![format!("url={},certificate-chain={dir}/fulcio", root.certificate_authorities[0].uri)],
            rekor: vec![
                format!("url={},public-key={dir}/rekor1,start-time={START}", root.tlogs[0].base_url),
                format!("url={},public-key={dir}/rekor2,start-time={START},origin=localhost", root.tlogs[1].base_url),
            ],
            ctfe: vec![format!("url={},public-key={dir}/ctfe,start-time={START},origin=any", root.ctlogs[0].base_url)],
            tsa: vec![format!("url={},certificate-chain={dir}/tsa", root.timestamp_authorities[0].uri)],
            base: None,
        }
    }

    #[test]
    fn a_real_root_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = files(dir.path());
        // cosign names an authority after its root; the one who made the fixture took the certificate that signs.
        expected.timestamp_authorities[0].subject.common_name = "signet tsa root".to_owned();
        let request = request(dir.path(), &expected);
        assert_eq!(create(request.clone()).unwrap(), expected);
        // Logs replace those with the same id; authorities are added.
        let again = create(Request { base: Some(expected.clone()), ..request }).unwrap();
        assert_eq!((again.tlogs.len(), again.ctlogs.len(), again.certificate_authorities.len()), (2, 1, 2));
        assert_eq!(create(Request::default()).unwrap(), empty());
    }

    #[test]
    fn ordered_by_start() {
        let dir = tempfile::tempdir().unwrap();
        files(dir.path());
        let spec =
            |url: &str, start: &str| format!("url={url},certificate-chain={}/fulcio,start-time={start}", dir.path().display());
        let fulcio = vec![spec("b", START), spec("a", START), spec("c", "2020-01-01T00:00:00Z")];
        let root = create(Request { fulcio, ..Request::default() }).unwrap();
        let urls: Vec<_> = root.certificate_authorities.iter().map(|ca| ca.uri.as_str()).collect();
        assert_eq!(urls, ["c", "b", "a"]);
    }

    #[test]
    fn refuses_chains_that_no_client_could_use() {
        let dir = tempfile::tempdir().unwrap();
        files(dir.path());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        let parts: Vec<_> = read("tsa").split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect();
        std::fs::write(path("reversed"), parts.iter().rev().map(String::as_str).collect::<String>()).unwrap();
        std::fs::write(path("alone"), &parts[0]).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        let tsa =
            |file: &str| create(Request { tsa: vec![format!("url=t,certificate-chain={}", path(file))], ..Request::default() });
        assert!(tsa("tsa").is_ok());
        for bad in ["reversed", "alone", "empty", "fulcio", "rekor1", "missing"] {
            assert!(tsa(bad).is_err(), "{bad}");
        }
        let rekor = |rest: &str| create(Request { rekor: vec![format!("url=r,{rest}")], ..Request::default() });
        assert!(rekor(&format!("public-key={},start-time={START}", path("rekor1"))).is_ok());
        assert!(rekor(&format!("public-key={}", path("rekor1"))).is_err());
        assert!(rekor(&format!("public-key={},start-time={START}", path("fulcio"))).is_err());
    }
}
