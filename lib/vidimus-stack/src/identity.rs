//! The services that turn an identity into a certificate, and a signature into a time: issuer, certificate authority, timestamp
//! authority, opened together over one folder of keys.
//!
//! Order matters: [`IdentityKeys::open`] makes the keys, so that the CT log can be told which root it accepts;
//! [`Identity::new`] then serves them with that log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;

use crate::clock::Clock;
use crate::fulcio::config::{ConfigError, FulcioConfig, IssuerConfig};
use crate::fulcio::ct::CtSubmit;
use crate::fulcio::{self, Authority, Fulcio};
use crate::oidc::{self, CLIENT_ID, Issuer, IssuerKey};
use crate::pki::{Chain, OpenError};
use crate::tsa::{self, Tsa};
use crate::users::Users;

/// The identity services could not be brought up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Keys or certificates.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration of further issuers.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Every key of the identity services, opened, or made the first time.
#[derive(Debug)]
pub struct IdentityKeys {
    keys: PathBuf,
    clock: Clock,
    issuer: IssuerKey,
    authority: Authority,
    tsa: Tsa,
}

/// The identity services.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The OIDC issuer.
    pub issuer: Arc<Issuer>,
    /// The certificate authority.
    pub fulcio: Arc<Fulcio>,
    /// The timestamp authority.
    pub tsa: Arc<Tsa>,
}

impl IdentityKeys {
    /// Opens the keys in the folder `keys`: `oidc`, `fulcio` and `tsa` in it. Blocks; the first time for some 100 ms.
    pub fn open(keys: &Path, clock: Clock) -> Result<Self, OpenError> {
        // Making an RSA key takes longer than everything else together, so it has a thread of its own.
        let (issuer, others) = std::thread::scope(|scope| {
            let issuer = scope.spawn(|| IssuerKey::open(keys));
            let others = Authority::open(keys, &clock).and_then(|authority| Ok((authority, Tsa::open(keys, clock.clone())?)));
            (issuer.join(), others)
        });
        let (authority, tsa) = others?;
        let issuer = issuer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Self { keys: keys.to_owned(), clock, issuer, authority, tsa })
    }

    /// Intermediate and root of the certificate authority: the CT log accepts chains that end in the last one.
    pub fn fulcio_chain(&self) -> &Chain {
        self.authority.chain()
    }
}

impl Identity {
    /// Serves the keys at `origin`, which is the issuer's URL too. `fulcio_config` is the text of a configuration with further
    /// issuers, in Fulcio's format. Accounts are in `users.json` in the folder of the keys.
    pub fn new(
        keys: IdentityKeys,
        origin: &str,
        ct_log: Arc<dyn CtSubmit>,
        fulcio_config: Option<&str>,
    ) -> Result<Self, IdentityError> {
        let IdentityKeys { keys, clock, issuer, authority, tsa } = keys;
        let mut config = fulcio_config.map_or_else(FulcioConfig::built_in, FulcioConfig::parse)?;
        // Last, so that no file can make our own tokens mean something else.
        config.insert(IssuerConfig::email(origin, CLIENT_ID));
        let tokens = Arc::new(issuer.verifier(origin, config, clock.clone()));
        let fulcio = Fulcio::new(authority, tokens.clone(), ct_log, clock.clone());
        let issuer = Issuer::new(origin, issuer, tokens, users(&keys), clock).map_err(OpenError::from)?;
        Ok(Self { issuer: Arc::new(issuer), fulcio: Arc::new(fulcio), tsa: Arc::new(tsa) })
    }

    /// All routes, for the origin's root.
    pub fn router(&self) -> Router {
        oidc::router(self.issuer.clone()).merge(fulcio::router(self.fulcio.clone())).merge(tsa::router(self.tsa.clone()))
    }
}

/// The accounts that belong to a folder of keys.
pub fn users(keys: &Path) -> Users {
    Users::at(&keys.join("users.json"))
}
