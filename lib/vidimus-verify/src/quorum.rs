//! How many of the identities asked for must have signed: any, all, or N of M.
//!
//! Two identities are never met by one signer: whoever asks for two people does not want one person whom two patterns describe. So
//! identities and signers are paired, and the largest pairing counts.

use std::fmt;

use serde::Serialize;

use crate::{CertificateIdentity, CertificateSigner, Verified, check::printable};

/// Identities in one policy. Release processes ask for a handful; pairing takes quadratic time.
pub const IDENTITIES: usize = 256;

/// How many identities must have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Quorum {
    /// One of them.
    #[default]
    Any,
    /// Each of them.
    All,
    /// This many of them.
    AtLeast(usize),
}

/// Which identities were met, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Tally {
    /// How many identities must have signed.
    pub required: usize,
    /// The identities that signed, each with the signer that counts for it.
    pub met: Vec<Met>,
    /// The identities for which nobody counts.
    pub missing: Vec<String>,
}

/// An identity that signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Met {
    /// The identity that was asked for.
    pub identity: String,
    /// Who signed.
    pub signer: String,
}

impl Quorum {
    /// How many of so many identities.
    pub fn required(self, identities: usize) -> usize {
        match self {
            Self::Any => 1,
            Self::All => identities.max(1),
            Self::AtLeast(n) => n.max(1),
        }
    }

    /// Counts the identities that signed.
    pub fn count<'v>(self, identities: &[CertificateIdentity], signed: impl IntoIterator<Item = &'v Verified>) -> Tally {
        let signers = distinct(signed.into_iter().filter_map(Verified::certificate));
        let pairs = pair(identities.len(), signers.len(), |i, s| identities[i].matches(signers[s]));
        let (mut met, mut missing) = (Vec::new(), Vec::new());
        for (identity, signer) in identities.iter().zip(&pairs) {
            match signer {
                Some(s) => met.push(Met { identity: identity.to_string(), signer: signers[*s].name() }),
                None => missing.push(identity.to_string()),
            }
        }
        Tally { required: self.required(identities.len()), met, missing }
    }
}

impl Tally {
    /// Whether enough identities signed.
    pub fn is_reached(&self) -> bool {
        self.met.len() >= self.required
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.met.len() + self.missing.len();
        let signers: Vec<_> = self.met.iter().map(|met| met.signer.as_str()).collect();
        let who = if signers.is_empty() { String::new() } else { printable(format!(" ({})", signers.join(", "))) };
        write!(f, "{} of {all} identities signed{who}, {} must", self.met.len(), self.required)?;
        if !self.missing.is_empty() && !self.is_reached() {
            write!(f, "; not signed by: {}", self.missing.join("; "))?;
        }
        Ok(())
    }
}

/// One person with several certificates is one signer.
fn distinct<'v>(signers: impl Iterator<Item = &'v CertificateSigner>) -> Vec<&'v CertificateSigner> {
    let mut found: Vec<&CertificateSigner> = Vec::new();
    for signer in signers {
        if !found.iter().any(|other| other.names() == signer.names() && other.issuer() == signer.issuer()) {
            found.push(signer);
        }
    }
    found
}

/// A largest pairing of `left` with `right` things (augmenting paths, as Kuhn's algorithm finds them): for each left one its partner.
fn pair(left: usize, right: usize, fits: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    let mut partner_of_right: Vec<Option<usize>> = vec![None; right];
    for start in 0..left {
        augment(start, &fits, &mut partner_of_right, &mut vec![false; right]);
    }
    let mut pairs = vec![None; left];
    for (r, partner) in partner_of_right.iter().enumerate() {
        if let Some(l) = partner {
            pairs[*l] = Some(r);
        }
    }
    pairs
}

/// Finds `l` a partner, moving others to another one where that makes room. At most as deep as there are identities.
fn augment(l: usize, fits: &impl Fn(usize, usize) -> bool, partners: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for r in 0..partners.len() {
        if seen[r] || !fits(l, r) {
            continue;
        }
        seen[r] = true;
        if partners[r].is_none_or(|other| augment(other, fits, partners, seen)) {
            partners[r] = Some(l);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_as_many_as_possible() {
        // The first identity fits both signers, the second only the first: both can still be met.
        let fits = |l: usize, r: usize| matches!((l, r), (0, 0 | 1) | (1, 0));
        assert_eq!(pair(2, 2, fits), [Some(1), Some(0)]);
        assert_eq!(pair(2, 1, |_, _| true).iter().flatten().count(), 1, "one signer meets one identity");
        assert_eq!(pair(3, 2, |_, _| false), [None; 3]);
        assert_eq!(pair(0, 2, |_, _| true), []);
    }

    #[test]
    fn how_many_are_required() {
        assert_eq!([Quorum::Any, Quorum::All, Quorum::AtLeast(2)].map(|q| q.required(3)), [1, 3, 2]);
        assert_eq!(Quorum::All.required(0), 1, "of nobody, nobody is not enough");
    }

    #[test]
    fn a_tally_says_who_is_missing() {
        let met = vec![Met { identity: "a".into(), signer: "a".into() }];
        let tally = Tally { required: 2, met, missing: vec!["b".into()] };
        assert!(!tally.is_reached());
        assert_eq!(tally.to_string(), "1 of 2 identities signed (a), 2 must; not signed by: b");
        assert!(Tally { required: 1, ..tally }.is_reached());
    }
}
