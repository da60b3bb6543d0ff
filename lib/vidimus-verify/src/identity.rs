//! Who signed, and whether that is whom the policy asks for.

use std::fmt;

use serde::Serialize;
use vidimus_core::fulcio::{Extension, Identity};

use crate::{
    CertificateSigner, CheckId, Pattern, PatternError, Rejection,
    chain::VerifiedChain,
    check::Journal,
    policy::{Policy, RequiredSigner},
    rejection::{IdentityPart, Mismatch},
};

/// An identity that a certificate must have: a name, the issuer that vouched for it, and further claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateIdentity {
    /// The subject alternative name.
    pub san: Vec<Pattern>,
    /// The OIDC issuer.
    pub issuer: Vec<Pattern>,
    /// Fulcio's other claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<(Extension, Pattern)>,
}

impl CertificateIdentity {
    /// This name, vouched for by this issuer.
    pub fn new(san: Pattern, issuer: Pattern) -> Self {
        Self { san: vec![san], issuer: vec![issuer], claims: Vec::new() }
    }

    /// Exactly this name, vouched for by exactly this issuer.
    pub fn exact(san: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self::new(Pattern::exact(san), Pattern::exact(issuer))
    }

    /// cosign's four flags: a name or an expression for it, and the same for the issuer. Where both are given, both must match.
    /// Empty texts count as not given, as they do there.
    pub fn from_flags(
        san: Option<&str>,
        san_regexp: Option<&str>,
        issuer: Option<&str>,
        issuer_regexp: Option<&str>,
    ) -> Result<Self, PatternError> {
        Ok(Self { san: patterns(san, san_regexp)?, issuer: patterns(issuer, issuer_regexp)?, claims: Vec::new() })
    }

    /// Also asks for a claim.
    #[must_use]
    pub fn with_claim(mut self, claim: Extension, value: Pattern) -> Self {
        self.claims.push((claim, value));
        self
    }

    /// Whether neither name nor issuer is restricted, which accepts everybody.
    pub fn is_unrestricted(&self) -> bool {
        let open = |patterns: &[Pattern]| patterns.iter().all(|p| matches!(p, Pattern::Any));
        open(&self.san) && open(&self.issuer)
    }

    /// Whether a signer has this identity. Says nothing about whether the signer's certificate may be believed: only that of a
    /// [`crate::Verified`] may.
    pub fn matches(&self, signer: &CertificateSigner) -> bool {
        self.mismatch(signer).is_none()
    }

    /// The patterns for name, issuer and claims.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.san.iter().chain(&self.issuer).chain(self.claims.iter().map(|(_, value)| value))
    }

    /// What is different about a signer; nothing if this is the one.
    fn mismatch(&self, signer: &CertificateSigner) -> Option<Mismatch> {
        let all = |patterns: &[Pattern], text: &str| patterns.iter().all(|p| p.matches(text));
        let wanted = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let issuer = signer.issuer().unwrap_or_default();
        // A certificate without a name, or with names that nobody compares, must not match "anything".
        let comparable = signer.names().iter().filter(|name| !matches!(name, Identity::Other(_)));
        if !comparable.into_iter().any(|name| all(&self.san, name.as_str())) {
            let found = signer.names().iter().map(Identity::as_str).collect::<Vec<_>>().join(", ");
            return Some(Mismatch { part: IdentityPart::San, wanted: wanted(&self.san), found });
        }
        if !all(&self.issuer, issuer) {
            return Some(Mismatch { part: IdentityPart::Issuer, wanted: wanted(&self.issuer), found: issuer.to_owned() });
        }
        let other = self.claims.iter().find(|(claim, value)| !signer.claim(*claim).is_some_and(|text| value.matches(text)));
        other.map(|(claim, value)| Mismatch {
            part: IdentityPart::Claim(*claim),
            wanted: value.to_string(),
            found: signer.claim(*claim).unwrap_or_default().to_owned(),
        })
    }
}

impl fmt::Display for CertificateIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        write!(f, "{} (issuer {})", join(&self.san), join(&self.issuer))?;
        self.claims.iter().try_for_each(|(claim, value)| write!(f, ", {claim} {value}"))
    }
}

fn patterns(exact: Option<&str>, regexp: Option<&str>) -> Result<Vec<Pattern>, PatternError> {
    let mut patterns = Vec::new();
    if let Some(text) = exact.filter(|t| !t.is_empty()) {
        patterns.push(Pattern::exact(text));
    }
    if let Some(text) = regexp.filter(|t| !t.is_empty()) {
        patterns.push(Pattern::regex(text)?);
    }
    if patterns.is_empty() {
        patterns.push(Pattern::Any);
    }
    Ok(patterns)
}

/// `identity.san`, `identity.issuer`, `identity.claim`: the holder of the verified certificate is one of those asked for. The index
/// of the identity that matched.
pub(crate) fn check(
    chain: &VerifiedChain<'_>,
    signer: &CertificateSigner,
    policy: &Policy,
    journal: &mut Journal,
) -> Result<Option<usize>, Rejection> {
    let identities = match &policy.signer {
        RequiredSigner::Identities(identities) => identities,
        // A managed key has no certificate, so that this is not asked for one.
        RequiredSigner::UnsafeAnyone | RequiredSigner::Key { .. } => return Ok(None),
    };
    if let Some((old, new)) = signer.claims().issuer_mismatch() {
        return Err(Rejection::IssuerContradiction { old: old.to_owned(), new: new.to_owned() });
    }
    let mismatches: Vec<_> = identities.iter().map(|identity| identity.mismatch(signer)).collect();
    let Some(matched) = mismatches.iter().position(Option::is_none) else {
        return Err(Rejection::identity(signer, identities, mismatches.into_iter().flatten()));
    };
    let identity = &identities[matched];
    let by = chain.issuer_name();
    journal.proved(CheckId::IdentitySan, format!("signed by {}", signer.name())).by(&by);
    journal.proved(CheckId::IdentityIssuer, format!("{} vouched for that", signer.issuer().unwrap_or("nobody"))).by(&by);
    for (claim, _) in &identity.claims {
        let value = signer.claim(*claim).unwrap_or_default();
        journal.proved(CheckId::IdentityClaim, format!("{claim} is {value}")).by(&by);
    }
    for pattern in identity.patterns().filter(|p| p.is_unanchored()) {
        journal.note(CheckId::IdentitySan, format!("the pattern {pattern} matches anywhere in a text; anchor it with ^ and $"));
    }
    Ok(Some(matched))
}
