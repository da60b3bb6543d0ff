//! The parsers behind [`crate::verify`] that no public type leads to directly, for the fuzz targets. Not part of the API: what they
//! read is unverified, and nothing is decided here.

use std::hint::black_box;

use crate::{rfc3161::Token, sct, x509::Certificate};

/// Reads a certificate and everything in it.
pub fn certificate(der: &[u8]) {
    let Ok(certificate) = Certificate::parse(der) else { return };
    black_box((
        certificate.basic_constraints().is_ok(),
        certificate.key_usage().is_ok(),
        certificate.extended_key_usage().is_ok(),
    ));
    black_box((certificate.subject_key_id(), certificate.authority_key_id(), certificate.unknown_critical()));
    black_box((certificate.subject_text(), certificate.issuer_text()));
    black_box((certificate.tbs_without_scts().is_ok(), crate::CertificateSigner::new(&certificate, "").is_ok()));
    if let Ok(key) = crate::PublicKey::from_spki(certificate.spki()) {
        black_box(certificate.is_signed_by(&key).is_ok());
    }
}

/// Reads a list of SCTs as the certificate extension has it, inside its octet string.
pub fn scts(list: &[u8]) {
    let _ = black_box(sct::parse_list(list).map(|scts| scts.len()));
}

/// Reads an RFC 3161 timestamp.
pub fn timestamp(der: &[u8]) {
    let _ = black_box(Token::parse(der).map(|token| token.is_over(der)));
}
