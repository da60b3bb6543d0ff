//! `cert.usage`, `cert.chain`, `cert.validity`: the signer's certificate is one for signing code, a trusted authority issued it, and
//! everything in the chain was valid at every verified time (client specification §4.3, the "hybrid model").

use const_oid::db::rfc5280;
use jiff::Timestamp;

use crate::{
    CheckId, Rejection,
    check::Journal,
    time::VerifiedTimes,
    trust::{Authority, Issuer, TrustRoot},
    x509::Certificate,
};

/// A certificate whose chain was verified at every verified time.
pub(crate) struct VerifiedChain<'a> {
    authority: &'a Authority,
    issuer: &'a Issuer,
}

impl<'a> VerifiedChain<'a> {
    pub(crate) fn issuer(&self) -> &'a Issuer {
        self.issuer
    }

    pub(crate) fn issuer_name(&self) -> String {
        format!("{} ({})", self.issuer.name, self.authority.name)
    }
}

/// `cert.usage`: what RFC 5280 and Fulcio's profile ask of a certificate that signs artifacts.
pub(crate) fn check_usage(leaf: &Certificate, journal: &mut Journal) -> Result<(), Rejection> {
    let bad = |why: String| Rejection::CertificateUnusable { why };
    let read = |e: vidimus_core::ParseError| Rejection::CertificateUnusable { why: e.to_string() };
    if let Some(oid) = leaf.unknown_critical() {
        return Err(bad(format!("its critical extension {oid} is not understood")));
    }
    // A CA certificate that also signs artifacts could have issued the identities it then uses.
    if leaf.is_ca().map_err(read)? {
        return Err(bad("it is a CA certificate".to_owned()));
    }
    if leaf.key_usage().map_err(read)?.is_some_and(|usage| !usage.digital_signature()) {
        return Err(bad("its key is not for digital signatures".to_owned()));
    }
    let purposes = leaf.extended_key_usage().map_err(read)?.map(|p| p.0).unwrap_or_default();
    if !purposes.contains(&rfc5280::ID_KP_CODE_SIGNING) {
        return Err(bad("it is not for signing code".to_owned()));
    }
    journal.proved(CheckId::CertUsage, "the certificate is for signing code");
    Ok(())
}

/// `cert.chain` and `cert.validity`.
pub(crate) fn check<'a>(
    leaf: &Certificate,
    times: &VerifiedTimes,
    trust: &'a TrustRoot,
    journal: &mut Journal,
) -> Result<VerifiedChain<'a>, Rejection> {
    // Validity costs nothing, so that it is checked before the signature.
    times.each(|time, source| check_leaf_time(leaf, time, source))?;
    let chain = find_issuer(leaf, times, trust)?;
    let times_text = times.text();
    journal.proved(CheckId::CertChain, format!("the certificate was issued by {}", chain.issuer.name)).by(chain.issuer_name());
    journal
        .proved(CheckId::CertValidity, format!("certificate and authority were valid at {times_text}"))
        .by(chain.issuer_name());
    Ok(chain)
}

fn check_leaf_time(leaf: &Certificate, time: Timestamp, source: &str) -> Result<(), Rejection> {
    if leaf.not_before <= time && time <= leaf.not_after {
        return Ok(());
    }
    Err(Rejection::CertificateNotValid {
        whose: "the certificate".to_owned(),
        time,
        source: source.to_owned(),
        not_before: Some(leaf.not_before),
        not_after: Some(leaf.not_after),
    })
}

/// The authority that issued the certificate and was valid at every time. Several entries of a trust root may have the same
/// certificates with different spans of validity; one of them has to fit.
fn find_issuer<'a>(leaf: &Certificate, times: &VerifiedTimes, trust: &'a TrustRoot) -> Result<VerifiedChain<'a>, Rejection> {
    let mut named = false;
    let mut not_valid = None;
    for (authority, issuer) in candidates(leaf, trust) {
        named = true;
        if let Err(rejection) = times.each(|time, source| check_authority_time(authority, issuer, time, source)) {
            not_valid = Some((rejection, issuer));
        } else if is_signed(leaf, issuer)? {
            return Ok(VerifiedChain { authority, issuer });
        }
    }
    match not_valid {
        // Blaming a span of validity makes sense only if it is otherwise the right authority.
        Some((rejection, issuer)) if is_signed(leaf, issuer)? => Err(rejection),
        _ if named => Err(Rejection::CertificateForged { issuer: leaf.issuer_text() }),
        _ => Err(unknown(leaf, trust)),
    }
}

fn unknown(leaf: &Certificate, trust: &TrustRoot) -> Rejection {
    let issuer = leaf.issuer_text();
    match trust.authorities.iter().find_map(|a| a.why_unusable(leaf.issuer())) {
        Some(why) => Rejection::CertificateAuthorityUnusable { issuer, why: why.to_string() },
        None => Rejection::CertificateAuthorityUnknown { issuer, trusted: trusted_names(trust) },
    }
}

/// The issuers with the right name, those with the right key id first: two authorities may share a name.
fn candidates<'a>(leaf: &Certificate, trust: &'a TrustRoot) -> Vec<(&'a Authority, &'a Issuer)> {
    let named = trust.authorities.iter().flat_map(|a| a.issuers_named(leaf.issuer()).map(move |(_, issuer)| (a, issuer)));
    let mut named: Vec<_> = named.collect();
    if named.len() > 1 {
        let wanted = leaf.authority_key_id();
        named.sort_by_key(|(_, issuer)| issuer.certificate.subject_key_id() != wanted);
    }
    named
}

fn is_signed(leaf: &Certificate, issuer: &Issuer) -> Result<bool, Rejection> {
    leaf.is_signed_by(&issuer.key).map_err(|e| Rejection::CertificateUnusable { why: e.to_string() })
}

fn check_authority_time(authority: &Authority, issuer: &Issuer, time: Timestamp, source: &str) -> Result<(), Rejection> {
    let not_valid = |whose: String, not_before, not_after| {
        Err(Rejection::CertificateNotValid { whose, time, source: source.to_owned(), not_before, not_after })
    };
    if !authority.valid_for.contains(time) {
        let span = authority.valid_for;
        return not_valid(format!("the authority {} in the trusted root", authority.name), span.start, span.end);
    }
    if issuer.not_before <= time && time <= issuer.not_after {
        return Ok(());
    }
    let blamed = issuer.path.iter().find(|(_, from, to)| time < *from || *to < time);
    let (name, from, to) = blamed.unwrap_or(&issuer.path[0]);
    not_valid(format!("the authority {name:?}"), Some(*from), Some(*to))
}

fn trusted_names(trust: &TrustRoot) -> Vec<String> {
    let mut names: Vec<_> = trust.authorities.iter().flat_map(Authority::names).collect();
    names.dedup();
    names
}
