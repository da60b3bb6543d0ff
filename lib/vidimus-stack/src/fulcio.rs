//! A certificate authority that speaks Fulcio's protocol: short-lived code signing certificates for whoever proves an identity with
//! a token and the possession of a key.
//!
//! [`Fulcio::issue`] is the whole service: token → [`principal`] → proven key → certificate, logged before it exists. [`router`]
//! puts HTTP around it. Which issuers are trusted, and what their tokens become, is [`config`]. Nothing is stored here: the log
//! has every certificate.

pub mod config;
pub mod ct;
mod grpc;
mod key;
mod leaf;
pub mod principal;
mod routes;
pub mod template;
mod uri;

pub(crate) use uri::is_email;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use vidimus_core::encoding;

pub use key::KeyError;
pub use leaf::LeafError;
pub use routes::router;

use crate::clock::Clock;
use crate::jwt::{TokenError, TokenVerifier};
use crate::pki::certificate::CODE_SIGNING;
use crate::pki::hierarchy::{Hierarchy, Plan};
use crate::pki::{Chain, OpenError};
use config::FulcioConfig;
use ct::{CtError, CtSubmit};
use key::RequestedKey;
use leaf::LeafIssuer;
use principal::{Principal, PrincipalError};

const PLAN: Plan =
    Plan { organization: "vidimus stack", names: &["vidimus stack intermediate", "vidimus stack root"], purpose: CODE_SIGNING };

/// The keys and certificates of the authority, opened before the log that accepts only its root.
#[derive(Debug)]
pub struct Authority {
    leaves: LeafIssuer,
    chain: Chain,
    valid: (Timestamp, Timestamp),
}

/// A certificate authority.
#[derive(Debug)]
pub struct Fulcio {
    authority: Authority,
    tokens: Arc<TokenVerifier>,
    log: Arc<dyn CtSubmit>,
    clock: Clock,
}

/// How a caller proves that a key is in its hands.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// The key (PEM or DER), and a signature over the token's mail address or subject.
    Signature {
        /// The key.
        key: &'a [u8],
        /// The signature.
        signature: &'a [u8],
    },
    /// A PKCS #10 request, PEM or DER.
    Request(&'a [u8]),
}

/// A certificate, just issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// DER.
    pub der: Vec<u8>,
    /// PEM.
    pub pem: String,
}

/// Why no certificate was issued. The text is what the caller is told; the source says more, for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueRefusal {
    /// The token is not believed.
    #[error("There was an error processing the identity token")]
    Token(#[source] TokenError),
    /// Whether the token is to be believed could not be found out.
    #[error("the identity provider of the token could not be reached")]
    Unavailable(#[source] TokenError),
    /// The token is genuine and says something no certificate can be made from.
    #[error("There was an error processing the identity token")]
    Principal(#[source] PrincipalError),
    /// A claim of the token does not fit the configured template.
    #[error("{0}")]
    Template(#[source] PrincipalError),
    /// The key or its proof is refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A name or claim has no form in a certificate.
    #[error("{0}")]
    Claim(#[source] LeafError),
    /// The log did not take the certificate.
    #[error("Error entering certificate in CTL")]
    Log(#[source] CtError),
    /// The authority itself failed.
    #[error("error communicating with CA backend")]
    Internal(#[source] LeafError),
}

impl Authority {
    /// Opens the authority whose keys are in `keys`/`fulcio`, and makes them the first time.
    pub fn open(keys: &Path, clock: &Clock) -> Result<Self, OpenError> {
        let Hierarchy { key, signer, chain, not_after, not_before } = Hierarchy::open(&keys.join("fulcio"), &PLAN, clock.now())?;
        let leaves = LeafIssuer::new(key, &signer, &chain)?;
        Ok(Self { leaves, chain, valid: (not_before, not_after) })
    }

    /// Intermediate and root.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// From when to when both certificates are valid.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        self.valid
    }
}

impl Fulcio {
    /// Serves an authority: tokens are verified by `tokens`, certificates logged in `log`.
    pub fn new(authority: Authority, tokens: Arc<TokenVerifier>, log: Arc<dyn CtSubmit>, clock: Clock) -> Self {
        Self { authority, tokens, log, clock }
    }

    /// Intermediate and root.
    pub fn chain(&self) -> &Chain {
        self.authority.chain()
    }

    /// From when to when both certificates are valid.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        self.authority.validity()
    }

    /// The trusted issuers.
    pub fn config(&self) -> &FulcioConfig {
        self.tokens.config()
    }

    /// Issues a certificate.
    pub async fn issue(&self, token: &str, proof: Proof<'_>) -> Result<Issued, IssueRefusal> {
        let result = self.try_issue(token, proof).await;
        if let Err(refusal) = &result {
            let cause = std::error::Error::source(refusal).map(ToString::to_string);
            let detail = if let IssueRefusal::Key(e) = refusal { Some(e.detail().to_owned()) } else { cause };
            tracing::info!(%refusal, detail, "no certificate");
        }
        result
    }

    async fn try_issue(&self, token: &str, proof: Proof<'_>) -> Result<Issued, IssueRefusal> {
        let (token, issuer) = self.tokens.verify(token).await.map_err(|e| match e {
            TokenError::Unavailable(_) => IssueRefusal::Unavailable(e),
            _ => IssueRefusal::Token(e),
        })?;
        let principal = Principal::from_token(&token, &issuer, self.config()).map_err(|e| match e {
            PrincipalError::Claim(_) => IssueRefusal::Principal(e),
            _ => IssueRefusal::Template(e),
        })?;
        let key = match proof {
            Proof::Signature { key, signature } => RequestedKey::read(key)?.prove(&principal.challenges, signature)?,
            Proof::Request(request) => key::prove_by_request(request)?,
        };
        let der = self.authority.leaves.issue(&principal, &key, self.clock.now(), &*self.log).await.map_err(|e| match e {
            LeafError::Claim(_) => IssueRefusal::Claim(e),
            LeafError::Log(e) => IssueRefusal::Log(e),
            LeafError::Issue(_) => IssueRefusal::Internal(e),
        })?;
        let pem = encoding::pem("CERTIFICATE", &der);
        Ok(Issued { der, pem })
    }
}

#[cfg(test)]
mod tests;
