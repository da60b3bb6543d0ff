//! Logging in: what an authorization request must look like, and what comes of a name and a password.

use std::sync::{Arc, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use url::Url;

use super::tables::{CODE_LIFE, Code, Full};
use super::{CLIENT_ID, Issuer, base64url};
use crate::pki::key::{CryptoFailure, random};
use crate::users::Account;

/// RFC 8252's predecessor: "show the code, the user types it".
pub(super) const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
/// Bytes of any parameter: state and nonce are random strings of 40.
const PARAMETER_BYTES: usize = 2 << 10;

/// An authorization request (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3). It travels through the login form and is checked anew
/// when it comes back, so nothing has to be remembered for people who never log in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AuthorizationRequest {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) response_type: String,
    pub(super) scope: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) code_challenge: String,
    pub(super) code_challenge_method: String,
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestFault {
    /// The client or its redirect is not known: never redirect, tell the person.
    Page(String),
    /// RFC 6749 §4.1.2.1: tell the client.
    Redirect {
        /// The code of the error.
        error: &'static str,
        /// For the person who reads it.
        description: &'static str,
    },
}

/// A login that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginFailure {
    /// Wrong name or password: which of the two is not said.
    Wrong,
    /// Too many failures lately.
    Wait,
    /// The accounts could not be read, or the machine is not fit to sign.
    Broken(String),
}

impl AuthorizationRequest {
    /// Checks everything, the redirect first: it decides where faults go.
    pub(super) fn check(&self) -> Result<(), RequestFault> {
        let fault = |error, description| Err(RequestFault::Redirect { error, description });
        let all = [&self.client_id, &self.redirect_uri, &self.state, &self.nonce, &self.code_challenge, &self.scope];
        if all.iter().any(|p| p.len() > PARAMETER_BYTES) {
            return Err(RequestFault::Page("A parameter of the request is too long.".to_owned()));
        }
        if self.client_id != CLIENT_ID {
            return Err(RequestFault::Page(format!(
                "The client {:?} is not known here; the only one is {CLIENT_ID:?}.",
                self.client_id
            )));
        }
        if !is_allowed_redirect(&self.redirect_uri) {
            let why = "only programs on the machine of the browser (localhost, 127.0.0.1, [::1]) may receive a login";
            return Err(RequestFault::Page(format!("The redirect to {:?} is refused: {why}.", self.redirect_uri)));
        }
        if self.response_type != "code" {
            return fault("unsupported_response_type", "only response_type=code");
        }
        if !self.scope.split(' ').any(|s| s == "openid") {
            return fault("invalid_scope", "the scope must contain openid");
        }
        // Without PKCE any program on the machine could use a code it came by; "plain" is no protection against that.
        if self.code_challenge_method != "S256" || self.code_challenge.len() != 43 {
            return fault("invalid_request", "PKCE with S256 is required");
        }
        Ok(())
    }

    /// The redirect with these parameters added.
    pub(super) fn redirect(&self, parameters: &[(&str, &str)]) -> Option<String> {
        let mut url = Url::parse(&self.redirect_uri).ok().filter(|_| self.redirect_uri != OUT_OF_BAND)?;
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(parameters);
            if !self.state.is_empty() {
                query.append_pair("state", &self.state);
            }
        }
        Some(url.into())
    }
}

/// RFC 8252 §7.3: any port and any path, on the loopback only.
fn is_allowed_redirect(uri: &str) -> bool {
    if uri == OUT_OF_BAND {
        return true;
    }
    let Ok(url) = Url::parse(uri) else { return false };
    let host = url.host_str().unwrap_or_default();
    url.scheme() == "http"
        && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}

impl Issuer {
    /// Checks a name and a password, slowly and not too often.
    pub(super) async fn log_in(self: &Arc<Self>, email: &str, password: &str) -> Result<Account, LoginFailure> {
        let (name, password) = (email.trim().to_ascii_lowercase(), password.to_owned());
        self.checked(name.clone(), move |issuer| issuer.users.log_in(&name, &password)).await
    }

    /// Checks a client's id and secret, likewise.
    pub(super) async fn log_in_client(self: &Arc<Self>, id: &str, secret: &str) -> Result<Account, LoginFailure> {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        self.checked(format!("client:{id}"), move |issuer| issuer.users.log_in_client(&id, &secret)).await
    }

    async fn checked(
        self: &Arc<Self>,
        name: String,
        check: impl FnOnce(&Self) -> Result<Option<Account>, crate::users::UsersError> + Send + 'static,
    ) -> Result<Account, LoginFailure> {
        // A long name is nobody's, and must not fill the table of failures.
        if name.len() > 320 {
            return Err(LoginFailure::Wrong);
        }
        let _turn = self.checks.acquire().await.map_err(|e| LoginFailure::Broken(e.to_string()))?;
        let limiter = || self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if !limiter().may_try(&name, self.clock.now()) {
            return Err(LoginFailure::Wait);
        }
        let issuer = self.clone();
        let found = tokio::task::spawn_blocking(move || check(&issuer)).await.map_err(|e| LoginFailure::Broken(e.to_string()))?;
        match found {
            Ok(Some(account)) => Ok(account),
            Ok(None) => {
                limiter().failed(&name, self.clock.now());
                Err(LoginFailure::Wrong)
            }
            Err(e) => Err(LoginFailure::Broken(e.to_string())),
        }
    }

    /// A code for a client whose user has just logged in. The request has been checked.
    pub(super) fn grant_code(&self, request: &AuthorizationRequest, account: Account) -> Result<String, LoginFailure> {
        let secret = secret().map_err(|e| LoginFailure::Broken(e.to_string()))?;
        let code = Code {
            account,
            client_id: request.client_id.clone(),
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.code_challenge.clone(),
            nonce: Some(request.nonce.clone()).filter(|n| !n.is_empty()),
        };
        let now = self.clock.now();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        match tables.codes.insert(secret.clone(), code, now + CODE_LIFE, now) {
            Ok(()) => Ok(secret),
            Err(Full) => Err(LoginFailure::Wait),
        }
    }

    /// The value that a form must send back along with this browser's cookie: no other site can make a browser send both.
    pub(super) fn form_token(&self, cookie: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.form_key);
        base64url(hmac::sign(&key, cookie.as_bytes()).as_ref())
    }

    /// Whether a form came from a page of ours in the same browser.
    pub(super) fn is_own_form(&self, cookie: Option<&str>, token: &str) -> bool {
        cookie.is_some_and(|c| verify_slices_are_equal(self.form_token(c).as_bytes(), token.as_bytes()).is_ok())
    }
}

/// 256 random bits as text.
pub(super) fn secret() -> Result<String, CryptoFailure> {
    Ok(base64url(&random::<32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        let good = [
            "http://localhost:41234/auth/callback",
            "http://127.0.0.1:1/",
            "http://[::1]:9/x?y=z",
            "http://localhost",
            OUT_OF_BAND,
        ];
        for uri in good {
            assert!(is_allowed_redirect(uri), "{uri}");
        }
        let bad = [
            "",
            "https://localhost/",
            "http://evil.example/",
            "http://localhost.evil.example/",
            "http://a@localhost/",
            "http://localhost/#x",
            "http://127.0.0.2/",
            "javascript:alert(1)",
            "//localhost/",
            "http://localhost@evil.example/",
            "urn:other",
        ];
        for uri in bad {
            assert!(!is_allowed_redirect(uri), "{uri}");
        }
    }

    #[test]
    fn requests() {
        let good = AuthorizationRequest {
            client_id: CLIENT_ID.into(),
            redirect_uri: "http://localhost:9/cb?x=1".into(),
            response_type: "code".into(),
            scope: "openid email".into(),
            state: "s&t".into(),
            nonce: String::new(),
            code_challenge: "c".repeat(43),
            code_challenge_method: "S256".into(),
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.redirect(&[("code", "a b")]).unwrap(), "http://localhost:9/cb?x=1&code=a+b&state=s%26t");
        let with = |change: fn(&mut AuthorizationRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request.check().unwrap_err()
        };
        assert!(matches!(with(|r| r.client_id = "x".into()), RequestFault::Page(_)));
        assert!(matches!(with(|r| r.redirect_uri = "http://x/".into()), RequestFault::Page(_)));
        assert!(matches!(with(|r| r.state = "x".repeat(3000)), RequestFault::Page(_)));
        let error = |fault| if let RequestFault::Redirect { error, .. } = fault { error } else { "page" };
        assert_eq!(error(with(|r| r.response_type = "token".into())), "unsupported_response_type");
        assert_eq!(error(with(|r| r.scope = "email".into())), "invalid_scope");
        assert_eq!(error(with(|r| r.code_challenge_method = "plain".into())), "invalid_request");
        assert_eq!(error(with(|r| r.code_challenge = String::new())), "invalid_request");
    }
}
