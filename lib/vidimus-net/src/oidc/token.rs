//! An OpenID Connect identity token (OpenID Connect Core 1.0 §2, RFC 7519), read without checking its signature.
//!
//! The certificate authority is the one that relies on the token and checks it. We read the claims for three reasons: to know what
//! the proof of possession has to be signed over, to refuse an expired token before anything is sent, and to say whose identity is
//! about to be used. Nothing here is a statement about the token being genuine.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;

/// Longest token that is read: HTTP servers commonly refuse header lines over 8 KiB to 16 KiB, so a longer one could not be used.
pub const MAX_BYTES: usize = 16 << 10;

/// A token that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a compact JWT with a JSON payload that carries the claims every identity token has.
    #[error("not an identity token (JWT): {0}")]
    Malformed(String),
    /// Too late.
    #[error("the identity token expired at {expired}, it is {now} now; get a new one and try again")]
    Expired {
        /// The token's `exp`.
        expired: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// Too early.
    #[error("the identity token is not valid before {not_before}, it is {now} now; is this machine's clock right?")]
    NotYetValid {
        /// The token's `nbf`.
        not_before: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// The issuer says itself that the address was not verified; no authority would certify it.
    #[error("the identity token names the e-mail address {0}, which its issuer has not verified")]
    EmailNotVerified(String),
    /// For somebody else.
    #[error("the identity token is for the audience {seen}, not for {expected:?}")]
    Audience {
        /// The audience asked for.
        expected: String,
        /// The token's `aud`, for a person to read.
        seen: String,
    },
}

/// A parsed identity token and the text it came from. The text is a credential: it does not appear in `Debug`.
#[derive(Clone)]
pub struct IdentityToken {
    raw: String,
    algorithm: String,
    claims: Claims,
}

#[derive(Clone, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(default, deserialize_with = "one_or_many")]
    aud: Vec<String>,
    exp: Seconds,
    nbf: Option<Seconds>,
    nonce: Option<String>,
    at_hash: Option<String>,
    email: Option<String>,
    email_verified: Option<serde_json::Value>,
}

impl IdentityToken {
    /// Reads a compact JWT. Surrounding white space is dropped: tokens come from files and shells.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let malformed = |why: &dyn std::fmt::Display| TokenError::Malformed(why.to_string());
        let raw = text.trim();
        if raw.len() > MAX_BYTES {
            return Err(malformed(&format_args!("{} bytes, more than the limit of {MAX_BYTES}", raw.len())));
        }
        let parts: Vec<&str> = raw.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(malformed(&format_args!("{} parts between dots where a signed JWT has 3", parts.len())));
        };
        if signature.is_empty() {
            return Err(malformed(&"it carries no signature"));
        }
        let header = decode("header", header)?;
        let header: Header = serde_json::from_slice(&header).map_err(|e| malformed(&format_args!("header: {e}")))?;
        let payload = decode("payload", payload)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|e| malformed(&format_args!("claims: {e}")))?;
        if claims.iss.is_empty() || claims.sub.is_empty() {
            return Err(malformed(&"claims: `iss` or `sub` is empty"));
        }
        Ok(Self { raw: raw.to_owned(), algorithm: header.alg, claims })
    }

    /// Whether `text` has the outer form of a JWT. Decides between "a token" and "the path of a file" where one word may be either.
    pub fn looks_like(text: &str) -> bool {
        let mut parts = text.trim().split('.');
        let header = parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        header.is_some_and(|header| serde_json::from_slice::<Header>(&header).is_ok()) && parts.count() == 2
    }

    /// The compact JWT itself.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// `alg` of the header: `RS256`.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// `iss`: who made the token.
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// `sub`: the issuer's own name for whom it is about.
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// `aud`: for whom the token is.
    pub fn audience(&self) -> &[String] {
        &self.claims.aud
    }

    /// `exp`.
    pub fn expires(&self) -> Timestamp {
        self.claims.exp.0
    }

    /// `email`, if there is one.
    pub fn email(&self) -> Option<&str> {
        self.claims.email.as_deref().filter(|email| !email.is_empty())
    }

    /// `nonce`, if there is one.
    pub fn nonce(&self) -> Option<&str> {
        self.claims.nonce.as_deref()
    }

    /// `at_hash`, if there is one.
    pub fn access_token_hash(&self) -> Option<&str> {
        self.claims.at_hash.as_deref()
    }

    /// `email_verified`; some issuers write the boolean as a string.
    pub fn email_verified(&self) -> Option<bool> {
        match self.claims.email_verified.as_ref()? {
            serde_json::Value::Bool(verified) => Some(*verified),
            serde_json::Value::String(text) => Some(text == "true"),
            _ => Some(false),
        }
    }

    /// The claims that a proof of possession may be signed over, best first: `email` where the token has one, then `sub`.
    ///
    /// A certificate authority compares with the claim that its issuer *type* names (`email` for people, `sub` for workloads),
    /// which the token does not tell. The first is right for every issuer that puts an e-mail only into tokens of people.
    pub fn subject_claims(&self) -> Vec<&str> {
        self.email().into_iter().chain([self.subject()]).collect()
    }

    /// Refuses a token that is not valid at `now`. The certificate authority would refuse it too, with fewer words.
    pub fn check_time(&self, now: Timestamp) -> Result<(), TokenError> {
        let expired = self.expires();
        if now >= expired {
            return Err(TokenError::Expired { expired, now });
        }
        match self.claims.nbf {
            // Issuers and their readers commonly allow a minute of clock difference; so do we.
            Some(Seconds(not_before)) if not_before.as_second() > now.as_second().saturating_add(60) => {
                Err(TokenError::NotYetValid { not_before, now })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a token whose e-mail address the issuer calls unverified.
    pub fn check_email(&self) -> Result<(), TokenError> {
        match (self.email(), self.email_verified()) {
            (Some(email), Some(false)) => Err(TokenError::EmailNotVerified(email.to_owned())),
            _ => Ok(()),
        }
    }

    /// Refuses a token that is not for `expected`.
    pub fn check_audience(&self, expected: &str) -> Result<(), TokenError> {
        if self.audience().iter().any(|seen| seen == expected) {
            return Ok(());
        }
        let seen = if self.audience().is_empty() { "nobody".to_owned() } else { format!("{:?}", self.audience().join(", ")) };
        Err(TokenError::Audience { expected: expected.to_owned(), seen })
    }
}

impl std::fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityToken")
            .field("iss", &self.issuer())
            .field("sub", &self.subject())
            .field("aud", &self.audience())
            .field("exp", &self.expires())
            .field("email", &self.email())
            .finish_non_exhaustive()
    }
}

/// What makes a JSON object a JOSE header: it names an algorithm.
#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// A NumericDate (RFC 7519 §2), which may carry a fraction.
#[derive(Clone, Copy)]
struct Seconds(Timestamp);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        // The fraction is dropped from the text, not by a float: no rounding, no casts.
        let text = number.to_string();
        let whole = text.split('.').next().unwrap_or(&text);
        let seconds = whole.parse().map_err(|_| serde::de::Error::custom(format_args!("{text} is not a time in seconds")))?;
        Timestamp::from_second(seconds).map(Seconds).map_err(serde::de::Error::custom)
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

fn decode(what: &str, part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|e| TokenError::Malformed(format!("{what}: {e}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A JWT with these claims and a signature that nobody made.
    pub(crate) fn jwt(claims: &serde_json::Value) -> String {
        let part = |value: &str| URL_SAFE_NO_PAD.encode(value);
        format!("{}.{}.{}", part(r#"{"alg":"RS256","typ":"JWT"}"#), part(&claims.to_string()), part("signature"))
    }

    fn person() -> serde_json::Value {
        serde_json::json!({"iss": "http://127.0.0.1:1", "sub": "u1", "aud": "sigstore", "exp": 1_800_000_000, "email": "a@b.example",
            "email_verified": true})
    }

    #[test]
    fn reads_the_claims_of_a_person_and_of_a_workload() {
        let token = IdentityToken::parse(&format!(" {}\n", jwt(&person()))).unwrap();
        assert_eq!(token.subject_claims(), ["a@b.example", "u1"]);
        assert_eq!(token.audience(), ["sigstore"]);
        token.check_audience("sigstore").unwrap();
        token.check_email().unwrap();
        let workload = serde_json::json!({"iss": "i", "sub": "repo:x", "aud": ["a", "sigstore"], "exp": 1_800_000_000.75});
        let token = IdentityToken::parse(&jwt(&workload)).unwrap();
        assert_eq!(token.subject_claims(), ["repo:x"]);
        assert_eq!(token.expires().as_second(), 1_800_000_000);
        assert!(matches!(token.check_audience("b"), Err(TokenError::Audience { .. })));
    }

    #[test]
    fn reads_a_token_that_a_real_issuer_made() {
        let request: serde_json::Value =
            serde_json::from_slice(include_bytes!("../../../../testdata/wire/fulcio2-request.json")).unwrap();
        let text = request["credentials"]["oidcIdentityToken"].as_str().unwrap();
        assert!(IdentityToken::looks_like(text));
        let token = IdentityToken::parse(text).unwrap();
        assert_eq!((token.issuer(), token.email()), ("http://127.0.0.1:5600", Some("dev@signet.test")));
    }

    #[test]
    fn an_expired_token_says_when() {
        let token = IdentityToken::parse(&jwt(&person())).unwrap();
        token.check_time("2027-01-15T07:59:59Z".parse().unwrap()).unwrap();
        let now = "2027-01-15T08:00:00Z".parse().unwrap();
        let error = token.check_time(now).unwrap_err();
        assert!(error.to_string().contains("expired at 2027-01-15T08:00:00Z"), "{error}");
    }

    #[test]
    fn a_token_from_the_future_is_refused() {
        let mut claims = person();
        claims["nbf"] = 1_790_000_000.into();
        let token = IdentityToken::parse(&jwt(&claims)).unwrap();
        token.check_time(Timestamp::from_second(1_789_999_970).unwrap()).unwrap();
        let error = token.check_time(Timestamp::from_second(1_789_999_000).unwrap()).unwrap_err();
        assert!(matches!(error, TokenError::NotYetValid { .. }));
    }

    #[test]
    fn an_unverified_address_is_refused() {
        for (value, accepted) in [
            (serde_json::json!(true), true),
            (serde_json::json!("true"), true),
            (serde_json::json!(false), false),
            (serde_json::json!("false"), false),
            (serde_json::json!(1), false),
        ] {
            let mut claims = person();
            claims["email_verified"] = value.clone();
            assert_eq!(IdentityToken::parse(&jwt(&claims)).unwrap().check_email().is_ok(), accepted, "{value}");
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let unsigned = jwt(&person()).rsplit_once('.').unwrap().0.to_owned() + ".";
        let no_claims = jwt(&serde_json::json!({"iss": "i"}));
        let text_time = jwt(&serde_json::json!({"iss": "i", "sub": "s", "exp": "soon"}));
        let empty_subject = jwt(&serde_json::json!({"iss": "i", "sub": "", "exp": 1}));
        let long = "a".repeat(MAX_BYTES + 1);
        for bad in ["", "a.b", "a.b.c", "token.jwt.txt", &unsigned, &no_claims, &text_time, &empty_subject, &long] {
            assert!(IdentityToken::parse(bad).is_err(), "{bad}");
        }
        assert!(!IdentityToken::looks_like("/var/run/token.d/a.b"));
        assert!(!IdentityToken::looks_like("a.b.c"));
    }

    #[test]
    fn debug_does_not_show_the_credential() {
        let text = jwt(&person());
        let shown = format!("{:?}", IdentityToken::parse(&text).unwrap());
        assert!(shown.contains("a@b.example") && !shown.contains(&text[..40]), "{shown}");
    }
}
