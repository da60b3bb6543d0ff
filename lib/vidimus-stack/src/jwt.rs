//! Identity tokens, verified: the signature by the issuer's current key, the issuer by the configuration, the audience, the times.
//!
//! OpenID Connect Core §3.1.3.7, as far as it concerns a relying party that did not start the login (nonce and `at_hash` are for
//! the client that did). Tokens of the stack's own issuer are checked with its key in memory; keys of other issuers come through
//! [`remote`]. The clock is the stack's; there is no leeway on expiry, as in Fulcio, and five minutes on `nbf`.

pub mod remote;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{Timestamp, ToSpan};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::fulcio::config::{FulcioConfig, IssuerConfig};
use crate::oidc::key::TokenKey;
use remote::{RemoteError, RemoteKeys};

/// Bytes of a token: CI tokens have 2 KiB; a header field carries 16 KiB at most on any server.
const TOKEN_BYTES: usize = 16 << 10;
/// How far in the future a token may say it begins.
const NOT_BEFORE_LEEWAY_MINUTES: i64 = 5;

/// A verified token's claims. Only [`TokenVerifier`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct IdToken {
    claims: Map<String, Value>,
    issuer: String,
    subject: String,
}

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a JWT.
    #[error("malformed token: {0}")]
    Malformed(String),
    /// An issuer that the configuration does not name.
    #[error("issuer {0:?} is not trusted")]
    UnknownIssuer(String),
    /// Signed in a way that the issuer does not announce.
    #[error("algorithm {0} is not one of the issuer's")]
    Algorithm(String),
    /// The signature is by none of the issuer's keys.
    #[error("the signature is by none of the keys of {0}")]
    Signature(String),
    /// For somebody else.
    #[error("audience {seen}, expected {expected:?}")]
    Audience {
        /// What was expected.
        expected: String,
        /// What the token says.
        seen: String,
    },
    /// Over.
    #[error("expired at {expired}, now {now}")]
    Expired {
        /// `exp`.
        expired: Timestamp,
        /// The time.
        now: Timestamp,
    },
    /// Not yet.
    #[error("not valid before {begins}, now {now}")]
    NotYetValid {
        /// `nbf`.
        begins: Timestamp,
        /// The time.
        now: Timestamp,
    },
    /// The issuer's keys could not be had: nothing can be said about the token.
    #[error(transparent)]
    Unavailable(#[from] RemoteError),
}

/// Verifies tokens of the stack's own issuer and of the configured ones.
#[derive(Debug)]
pub struct TokenVerifier {
    own_issuer: String,
    own_key: (Arc<TokenKey>, DecodingKey),
    config: FulcioConfig,
    remote: RemoteKeys,
    clock: Clock,
}

#[derive(Debug)]
struct Parts {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

impl TokenVerifier {
    pub(crate) fn new(own_issuer: &str, key: Arc<TokenKey>, config: FulcioConfig, clock: Clock) -> Self {
        let (modulus, exponent) = key.public_components();
        let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Self { own_issuer: own_issuer.to_owned(), own_key: (key, decoding), config, remote: RemoteKeys::new(), clock }
    }

    /// The issuers and what their tokens become.
    pub fn config(&self) -> &FulcioConfig {
        &self.config
    }

    /// Verifies a token of any configured issuer, for that issuer's audience.
    pub async fn verify(&self, token: &str) -> Result<(IdToken, IssuerConfig), TokenError> {
        let parts = Parts::read(token)?;
        let issuer = text(&parts.claims, "iss")?;
        let config = self.config.issuer(&issuer).ok_or_else(|| TokenError::UnknownIssuer(issuer.clone()))?;
        if issuer == self.own_issuer {
            self.check_own_signature(token, &parts)?;
        } else {
            self.check_remote_signature(token, &parts, &config).await?;
        }
        self.check_audience(&parts.claims, &config.client_id)?;
        self.check_times(&parts.claims)?;
        Ok((IdToken::new(parts.claims, issuer)?, config))
    }

    /// Verifies a token of the stack's own issuer for an audience.
    pub fn verify_own(&self, token: &str, audience: &str) -> Result<IdToken, TokenError> {
        let parts = Parts::read(token)?;
        let issuer = text(&parts.claims, "iss")?;
        if issuer != self.own_issuer {
            return Err(TokenError::UnknownIssuer(issuer));
        }
        self.check_own_signature(token, &parts)?;
        self.check_audience(&parts.claims, audience)?;
        self.check_times(&parts.claims)?;
        IdToken::new(parts.claims, issuer)
    }

    fn check_own_signature(&self, token: &str, parts: &Parts) -> Result<(), TokenError> {
        let (key, decoding) = &self.own_key;
        if parts.algorithm != Algorithm::RS256 {
            return Err(TokenError::Algorithm(format!("{:?}", parts.algorithm)));
        }
        let right_key = parts.key_id.as_deref().is_none_or(|id| id == key.id());
        if right_key && is_signed(token, parts.algorithm, decoding) {
            return Ok(());
        }
        Err(TokenError::Signature(self.own_issuer.clone()))
    }

    async fn check_remote_signature(&self, token: &str, parts: &Parts, config: &IssuerConfig) -> Result<(), TokenError> {
        // Once with the keys at hand; if none fits, once more with fresh ones: issuers rotate keys.
        for fresh in [false, true] {
            let Some(keys) = self.remote.keys(config, fresh).await? else { break };
            if !keys.algorithms.contains(&parts.algorithm) {
                return Err(TokenError::Algorithm(format!("{:?}", parts.algorithm)));
            }
            if keys.candidates(parts.key_id.as_deref()).any(|key| is_signed(token, parts.algorithm, key)) {
                return Ok(());
            }
        }
        Err(TokenError::Signature(config.issuer_url.clone()))
    }

    fn check_audience(&self, claims: &Map<String, Value>, expected: &str) -> Result<(), TokenError> {
        let found = match claims.get("aud") {
            Some(Value::String(one)) => one == expected,
            Some(Value::Array(many)) => many.iter().any(|a| a == expected),
            _ => false,
        };
        let seen = || claims.get("aud").map_or("none".to_owned(), Value::to_string);
        if found { Ok(()) } else { Err(TokenError::Audience { expected: expected.to_owned(), seen: seen() }) }
    }

    fn check_times(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let now = self.clock.now();
        let expired = time(claims, "exp")?.ok_or_else(|| TokenError::Malformed("no exp".to_owned()))?;
        if now >= expired {
            return Err(TokenError::Expired { expired, now });
        }
        match time(claims, "nbf")? {
            Some(begins) if now + NOT_BEFORE_LEEWAY_MINUTES.minutes() < begins => Err(TokenError::NotYetValid { begins, now }),
            _ => Ok(()),
        }
    }
}

impl IdToken {
    fn new(claims: Map<String, Value>, issuer: String) -> Result<Self, TokenError> {
        let subject = text(&claims, "sub")?;
        Ok(Self { claims, issuer, subject })
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`, never empty.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// A claim.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// All claims.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    #[cfg(test)]
    pub(crate) fn unverified_for_test(claims: Value) -> Self {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        let issuer = text(&claims, "iss").unwrap();
        Self::new(claims, issuer).unwrap()
    }
}

impl Parts {
    fn read(token: &str) -> Result<Self, TokenError> {
        let bad = |why: &dyn std::fmt::Display| TokenError::Malformed(why.to_string());
        if token.len() > TOKEN_BYTES {
            return Err(bad(&format_args!("more than {TOKEN_BYTES} bytes")));
        }
        let sections: Vec<_> = token.split('.').collect();
        let [header, payload, _] = sections.as_slice() else { return Err(bad(&"not three parts")) };
        let object = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|e| bad(&e))?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|e| bad(&e))
        };
        let header = object(header)?;
        // RFC 7515 §4.1.11: extensions that must be understood; none is.
        if header.contains_key("crit") {
            return Err(bad(&"critical header extensions"));
        }
        let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = name.parse::<Algorithm>().map_err(|_| TokenError::Algorithm(format!("{name:?}")))?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { algorithm, key_id, claims: object(payload)? })
    }
}

fn is_signed(token: &str, algorithm: Algorithm, key: &DecodingKey) -> bool {
    let mut signature_only = Validation::new(algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    key.family().algorithms().contains(&algorithm) && jsonwebtoken::decode::<Value>(token, key, &signature_only).is_ok()
}

fn text(claims: &Map<String, Value>, name: &str) -> Result<String, TokenError> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(TokenError::Malformed(format!("no {name}"))),
    }
}

/// RFC 7519 §2 `NumericDate`: seconds, perhaps with a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, TokenError> {
    let bad = || TokenError::Malformed(format!("{name} is not a time"));
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
            (Some(seconds), _) => Timestamp::from_second(seconds).map(Some).map_err(|_| bad()),
            (None, Some(seconds)) => {
                let span = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|_| bad())?;
                Timestamp::from_duration(span).map(Some).map_err(|_| bad())
            }
            _ => Err(bad()),
        },
        Some(_) => Err(bad()),
    }
}
