//! The browser flow: authorization code with PKCE, state and nonce (RFC 6749 §4.1, RFC 7636, RFC 8252), coming back to a listener on
//! loopback. Where no browser can be opened, the person opens the address anywhere and types the code that it shows.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient};

use super::{FlowError, Message, Person, SCOPES, Session, callback::Callback, check_access_token};
use crate::{http::Network, oidc::IdentityToken};

/// How long a person may take in the browser; cosign gives two minutes, which a second factor easily uses up.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Redirect address that makes the issuer show the code instead of sending it anywhere.
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

pub(super) async fn sign_in(session: &Session<'_>, person: &dyn Person, now: Timestamp) -> Result<IdentityToken, FlowError> {
    if session.http.config().network == Network::None {
        // A listener is a socket too.
        return Err(FlowError::Redirect { url: "localhost".into(), why: "the network is switched off".into() });
    }
    session.discovery.require_pkce()?;
    let callback = Callback::listen(session.request.redirect_url.as_deref()).await?;
    let here = Login::start(session, callback.url())?;
    let (login, code) = match person.open_browser(&here.url) {
        Ok(()) => {
            person.tell(&Message::BrowserOpened { url: &here.url });
            let code = callback.code(here.state.secret(), PATIENCE).await?;
            (here, code)
        }
        Err(why) => {
            drop(callback);
            let elsewhere = Login::start(session, OUT_OF_BAND)?;
            person.tell(&Message::TypeTheCode { url: &elsewhere.url, why: &why });
            let code = person.verification_code().map_err(FlowError::Code)?;
            (elsewhere, code.trim().to_owned())
        }
    };
    login.redeem(session, &code, now).await
}

/// One login: what was sent to the browser, and what has to come back.
struct Login {
    url: String,
    redirect: String,
    state: CsrfToken,
    nonce: CsrfToken,
    verifier: PkceCodeVerifier,
}

impl Login {
    fn start(session: &Session<'_>, redirect: &str) -> Result<Self, FlowError> {
        let discovery = session.discovery;
        let endpoint = discovery.authorization_endpoint.clone().ok_or_else(|| discovery.lacks("the authorization code flow"))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random();
        let bad = |e: url::ParseError| FlowError::Redirect { url: redirect.to_owned(), why: e.to_string() };
        let client = BasicClient::new(ClientId::new(session.request.client_id.clone()))
            .set_auth_uri(AuthUrl::from_url(endpoint))
            .set_redirect_uri(RedirectUrl::new(redirect.to_owned()).map_err(bad)?);
        let (url, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(SCOPES.map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .add_extra_param("nonce", nonce.secret())
            .add_extra_param("access_type", "online")
            .url();
        Ok(Self { url: url.into(), redirect: redirect.to_owned(), state, nonce, verifier })
    }

    async fn redeem(&self, session: &Session<'_>, code: &str, now: Timestamp) -> Result<IdentityToken, FlowError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect),
            ("code_verifier", self.verifier.secret()),
        ];
        let mut answer = session.ask(&fields).await?;
        let access_token = answer.access_token.take();
        let token = session.accept(&answer.id_token()?, now)?;
        if token.nonce() != Some(self.nonce.secret()) {
            return Err(FlowError::Binding("nonce"));
        }
        check_access_token(&token, access_token.as_deref())?;
        Ok(token)
    }
}

/// Opens the system's browser, or says why not. Does not wait for the browser, only for the program that finds it.
pub fn open_in_browser(url: &str) -> Result<(), String> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // On a machine without a screen xdg-open would start a browser in this very terminal.
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if cfg!(target_os = "linux") && !screen {
        return Err("there is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set)".to_owned());
    }
    let quiet = || Stdio::null();
    let child = Command::new(program).arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    let mut child = child.map_err(|e| format!("{program}: {e}"))?;
    // It ends at once when it finds no browser; with some desktops it stays as long as the browser.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{program}: {status}")),
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(e) => return Err(format!("{program}: {e}")),
        }
    }
    Ok(())
}
