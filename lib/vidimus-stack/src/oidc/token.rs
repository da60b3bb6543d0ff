//! The token endpoint (RFC 6749 §3.2): four kinds of grants, each checked and turned into a pair of tokens.

use std::sync::{Arc, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::authorize::{LoginFailure, secret};
use super::tables::{Answer, DEVICE_INTERVAL, DEVICE_LIFE, Device, Full};
use super::{CLIENT_ID, Grant, Issuer, TokenPair, ambient_audience, base64url};
use crate::jwt::TokenError;
use crate::pki::key::{CryptoFailure, random};
use crate::users::Account;

/// RFC 8628 §3.4.
pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8693 §2.1.
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 §3: the kinds of tokens that are taken and given; all of them are the same JWT here.
const TOKEN_TYPES: &[&str] = &[
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:access_token",
    "urn:ietf:params:oauth:token-type:jwt",
];
/// RFC 8628 §6.1: letters that are not mistaken for one another and spell nothing; 20^8 codes.
const USER_CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Bytes of an audience that somebody asks a token for.
const AUDIENCE_BYTES: usize = 256;

/// The form that is posted, for all kinds of grants.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenRequest {
    pub(super) grant_type: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) code: String,
    pub(super) redirect_uri: String,
    pub(super) code_verifier: String,
    pub(super) device_code: String,
    pub(super) subject_token: String,
    pub(super) subject_token_type: String,
    pub(super) requested_token_type: String,
    pub(super) audience: String,
}

/// The form that starts a device login (RFC 8628 §3.1).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeviceRequest {
    pub(super) client_id: String,
    pub(super) scope: String,
    pub(super) nonce: String,
    pub(super) code_challenge: String,
    pub(super) code_challenge_method: String,
}

/// RFC 6749 §5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantError {
    pub(super) error: &'static str,
    pub(super) description: String,
}

fn refuse<T>(error: &'static str, description: impl Into<String>) -> Result<T, GrantError> {
    Err(GrantError { error, description: description.into() })
}

impl From<CryptoFailure> for GrantError {
    fn from(e: CryptoFailure) -> Self {
        Self { error: "server_error", description: e.to_string() }
    }
}

impl From<LoginFailure> for GrantError {
    fn from(failure: LoginFailure) -> Self {
        let (error, description) = match failure {
            LoginFailure::Wrong => ("invalid_client", "wrong client id or secret".to_owned()),
            LoginFailure::Wait => ("temporarily_unavailable", "too many failures; wait a minute".to_owned()),
            LoginFailure::Broken(why) => {
                tracing::error!(why, "login");
                ("server_error", "the accounts cannot be read".to_owned())
            }
        };
        Self { error, description }
    }
}

impl Issuer {
    /// Answers a token request; `basic` is the Authorization header.
    pub(super) async fn token(self: &Arc<Self>, mut request: TokenRequest, basic: Option<&str>) -> Result<Value, GrantError> {
        if let Some(header) = basic {
            (request.client_id, request.client_secret) = basic_credentials(header)?;
        }
        let pair = match request.grant_type.as_str() {
            "authorization_code" => self.code(&request)?,
            DEVICE_CODE => self.device(&request)?,
            "client_credentials" => self.client_credentials(&request).await?,
            TOKEN_EXCHANGE => self.exchange(&request).await?,
            other => return refuse("unsupported_grant_type", format!("{other:?}")),
        };
        let mut answer = json!({
            "access_token": pair.access,
            "id_token": pair.id,
            "token_type": "Bearer",
            "expires_in": pair.seconds,
            "scope": "openid email",
        });
        if request.grant_type == TOKEN_EXCHANGE {
            answer["issued_token_type"] = json!(TOKEN_TYPES[0]);
        }
        Ok(answer)
    }

    fn code(&self, request: &TokenRequest) -> Result<TokenPair, GrantError> {
        public_client(request)?;
        // Taken before it is judged: a code that somebody tries in vain is spent (RFC 6749 §10.5).
        let code = self.tables.lock().unwrap_or_else(PoisonError::into_inner).codes.take(&request.code, self.clock.now());
        let Some(code) = code else { return refuse("invalid_grant", "the code is not known, used, or too old") };
        if code.client_id != request.client_id || code.redirect_uri != request.redirect_uri {
            return refuse("invalid_grant", "the code was given to another client or redirect_uri");
        }
        check_verifier(&code.challenge, &request.code_verifier)?;
        Ok(self.issue(Grant {
            account: &code.account,
            audience: CLIENT_ID,
            client: None,
            nonce: code.nonce.as_deref(),
            until: None,
        })?)
    }

    fn device(&self, request: &TokenRequest) -> Result<TokenPair, GrantError> {
        public_client(request)?;
        let now = self.clock.now();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(device) = tables.devices.get_mut(&request.device_code, now) else {
            return refuse("expired_token", "the device code is not known, used, or too old");
        };
        if let Some(challenge) = &device.challenge {
            check_verifier(challenge, &request.code_verifier)?;
        }
        let early = device.polled.is_some_and(|at| now.as_millisecond() - at.as_millisecond() < DEVICE_INTERVAL * 1000 / 2);
        device.polled = Some(now);
        match device.answer {
            None if early => return refuse("slow_down", format!("poll every {DEVICE_INTERVAL} seconds")),
            None => return refuse("authorization_pending", "nobody has logged in yet"),
            Some(_) => {}
        }
        match tables.devices.take(&request.device_code, now) {
            Some(Device { answer: Some(Answer::Yes(account)), nonce, .. }) => Ok(self.issue(Grant {
                account: &account,
                audience: CLIENT_ID,
                client: None,
                nonce: nonce.as_deref(),
                until: None,
            })?),
            _ => refuse("access_denied", "the login was denied"),
        }
    }

    async fn client_credentials(self: &Arc<Self>, request: &TokenRequest) -> Result<TokenPair, GrantError> {
        let account = self.log_in_client(&request.client_id, &request.client_secret).await?;
        let audience = audience(&request.audience)?;
        let client = Some(request.client_id.as_str());
        Ok(self.issue(Grant { account: &account, audience, client, nonce: None, until: None })?)
    }

    /// RFC 8693: a token of ours becomes one for another audience; a token of a trusted issuer becomes one of the service account
    /// that names its subject. A foreign token never becomes a token for the mail address it states: that issuer is trusted to
    /// speak for itself, not for us.
    async fn exchange(self: &Arc<Self>, request: &TokenRequest) -> Result<TokenPair, GrantError> {
        if request.subject_token_type != TOKEN_TYPES[0] && !TOKEN_TYPES.contains(&request.subject_token_type.as_str()) {
            return refuse("invalid_request", "subject_token_type must be an id_token, access_token or jwt");
        }
        if !request.requested_token_type.is_empty() && !TOKEN_TYPES.contains(&request.requested_token_type.as_str()) {
            return refuse("invalid_request", "requested_token_type must be an id_token, access_token or jwt");
        }
        let audience = audience(&request.audience)?;
        let (token, _) = self.tokens.verify(&request.subject_token).await.map_err(subject_token_error)?;
        let until = token.claim("exp").and_then(Value::as_i64).and_then(|s| Timestamp::from_second(s).ok());
        let account = if token.issuer() == self.url {
            own_account(token.subject(), token.claim("email"))
        } else {
            self.users.federated(token.issuer(), token.subject()).map_err(|e| LoginFailure::Broken(e.to_string()))?
        };
        match account {
            Some(account) => Ok(self.issue(Grant { account: &account, audience, client: None, nonce: None, until })?),
            None => refuse("invalid_grant", format!("no account here for {} of {}", token.subject(), token.issuer())),
        }
    }

    /// A token for a CI job that presents its request token (GitHub's `ACTIONS_ID_TOKEN_REQUEST_TOKEN`).
    pub(super) fn ambient(&self, bearer: &str, wanted: &str) -> Result<String, GrantError> {
        let token = self.tokens.verify_own(bearer, &ambient_audience(&self.url)).map_err(subject_token_error)?;
        let audience = audience(wanted)?;
        match own_account(token.subject(), token.claim("email")) {
            Some(account) => {
                Ok(self.issue(Grant { account: &account, audience, client: None, nonce: None, until: None })?.access)
            }
            None => refuse("invalid_grant", "no mail address in the request token"),
        }
    }

    /// Starts a device login.
    pub(super) fn start_device(&self, request: &DeviceRequest) -> Result<Value, GrantError> {
        if request.client_id != CLIENT_ID {
            return refuse("invalid_client", format!("the client {:?} is not known", request.client_id));
        }
        if !request.scope.split(' ').any(|s| s == "openid") {
            return refuse("invalid_scope", "the scope must contain openid");
        }
        // Beyond RFC 8628: Sigstore's clients bind the device code with PKCE; others have none.
        let challenged = !request.code_challenge.is_empty();
        if challenged && (request.code_challenge_method != "S256" || request.code_challenge.len() != 43) {
            return refuse("invalid_request", "PKCE with S256 is required");
        }
        if request.nonce.len() > AUDIENCE_BYTES {
            return refuse("invalid_request", "nonce");
        }
        let (device_code, user_code) = (secret()?, user_code()?);
        let device = Device {
            client_id: request.client_id.clone(),
            user_code: user_code.clone(),
            challenge: challenged.then(|| request.code_challenge.clone()),
            nonce: Some(request.nonce.clone()).filter(|n| !n.is_empty()),
            answer: None,
            polled: None,
        };
        let now = self.clock.now();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(Full) = tables.devices.insert(device_code.clone(), device, now + DEVICE_LIFE, now) {
            return refuse("temporarily_unavailable", "too many devices are waiting");
        }
        let page = format!("{}/oauth2/device", self.url);
        Ok(json!({
            "device_code": device_code,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "verification_uri": page,
            "user_code": user_code,
            "expires_in": DEVICE_LIFE.as_secs(),
            "interval": DEVICE_INTERVAL,
        }))
    }
}

fn own_account(subject: &str, email: Option<&Value>) -> Option<Account> {
    let email = email.and_then(Value::as_str)?;
    Some(Account { subject: subject.to_owned(), email: email.to_owned() })
}

/// Sigstore's clients are public: one id, no secret.
fn public_client(request: &TokenRequest) -> Result<(), GrantError> {
    if request.client_id != CLIENT_ID || !request.client_secret.is_empty() {
        return refuse("invalid_client", format!("expected the client {CLIENT_ID:?} without a secret"));
    }
    Ok(())
}

/// RFC 7636 §4.6.
fn check_verifier(challenge: &str, verifier: &str) -> Result<(), GrantError> {
    let hashed = base64url(digest(&SHA256, verifier.as_bytes()).as_ref());
    // RFC 7636 §4.1: 43 characters at least.
    if verifier.len() < 43 || verify_slices_are_equal(hashed.as_bytes(), challenge.as_bytes()).is_err() {
        return refuse("invalid_grant", "the code_verifier does not fit the code_challenge");
    }
    Ok(())
}

fn audience(wanted: &str) -> Result<&str, GrantError> {
    match wanted {
        "" => Ok(CLIENT_ID),
        // What only this issuer hands out must not be had by asking for it.
        _ if wanted.contains("/oauth2/ambient") => refuse("invalid_target", "that audience is the issuer's own"),
        _ if wanted.len() <= AUDIENCE_BYTES && wanted.bytes().all(|b| b.is_ascii_graphic()) => Ok(wanted),
        _ => refuse("invalid_target", "audience"),
    }
}

fn subject_token_error(error: TokenError) -> GrantError {
    match error {
        TokenError::Unavailable(e) => GrantError { error: "temporarily_unavailable", description: e.to_string() },
        other => GrantError { error: "invalid_grant", description: other.to_string() },
    }
}

/// RFC 6749 §2.3.1: id and secret, each form-encoded, in RFC 7617's scheme.
fn basic_credentials(header: &str) -> Result<(String, String), GrantError> {
    let decoded = header.strip_prefix("Basic ").and_then(|b| STANDARD.decode(b.trim()).ok());
    let text = decoded.and_then(|b| String::from_utf8(b).ok());
    let Some((id, secret)) = text.as_deref().and_then(|t| t.split_once(':')) else {
        return refuse("invalid_client", "malformed Authorization header");
    };
    let plain = |encoded: &str| {
        let pairs = format!("v={encoded}");
        url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
    };
    Ok((plain(id), plain(secret)))
}

fn user_code() -> Result<String, CryptoFailure> {
    let mut code = String::with_capacity(9);
    while code.len() < 9 {
        let [byte] = random::<1>()?;
        // 240 is the largest multiple of 20 in a byte: taking more would prefer some letters.
        if byte < 240 {
            code.push(char::from(USER_CODE_LETTERS[usize::from(byte) % USER_CODE_LETTERS.len()]));
            if code.len() == 4 {
                code.push('-');
            }
        }
    }
    Ok(code)
}
