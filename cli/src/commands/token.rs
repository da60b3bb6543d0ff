//! Whose identity signs: the library finds a token, this shows people what they have to do for it.

use std::io;

use jiff::Timestamp;
use vidimus::{
    net::{
        environment::Environment,
        oidc::{
            Ambient, FlowError, IdentityToken, Interactivity, Message, OidcError, Outcome, Person, TokenRequest, identify as find,
        },
    },
    services::Services,
};

use crate::{
    args::groups::SignerArgs,
    context::{Context, read_input},
    exit::{End, Failure},
    ui::{self, Ui},
};

/// A client secret's file: far more than any issuer gives.
const SECRET: usize = 64 << 10;

/// An identity token: given, from the surroundings, or from a person. Nobody is asked where nobody sits.
pub(super) async fn identify(context: &Context, signer: &SignerArgs, services: &Services) -> Result<IdentityToken, Failure> {
    let request = request(signer, services)?;
    let environment = Environment::from_process();
    let found = find(&context.http(), &environment, &request, &Terminal(&context.ui), Timestamp::now()).await;
    let identified = found.map_err(|e| failure(&e))?;
    context.ui.detail(format!("identity token from {}", identified.source));
    Ok(identified.token)
}

fn request(signer: &SignerArgs, services: &Services) -> Result<TokenRequest, Failure> {
    let ambient = match (&signer.oidc_provider, signer.oidc_disable_ambient_providers) {
        (_, true) => Ambient::Disabled,
        (Some(name), false) => Ambient::Only(name.parse().map_err(Failure::usage)?),
        (None, false) => Ambient::All,
    };
    let secret = signer.oidc_client_secret_file.as_ref().map(|path| read_input("--oidc-client-secret-file", path, SECRET));
    let secret = secret.transpose()?.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    Ok(TokenRequest {
        given: signer.identity_token.clone(),
        ambient,
        // The certificate authority takes tokens for the same name, whoever asks for them.
        audience: signer.oidc_client_id.clone(),
        flow: signer.fulcio_auth_flow.as_deref().map(str::parse).transpose().map_err(Failure::usage)?,
        interactivity: if ui::can_ask() { Interactivity::Terminal } else { Interactivity::None },
        issuer: services.oidc_issuer.as_ref().map(issuer_name),
        client_id: signer.oidc_client_id.clone(),
        client_secret: secret.filter(|s| !s.is_empty()),
        redirect_url: signer.oidc_redirect_url.clone(),
    })
}

/// An issuer's name is compared letter by letter; a URL without a path must not gain a slash on the way.
fn issuer_name(url: &url::Url) -> String {
    let text = url.as_str();
    if url.path() == "/" && url.query().is_none() { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
}

fn failure(error: &OidcError) -> Failure {
    match error {
        OidcError::Given { .. } => Failure::new(End::Rejected, error).hint("get a new identity token"),
        OidcError::GivenFile { .. } | OidcError::NoIssuer(_) => Failure::usage(error),
        OidcError::Ambient { tried } => match tried.iter().any(|attempt| matches!(attempt.outcome, Outcome::Failed(_))) {
            true => Failure::undetermined(error),
            false => Failure::new(End::Rejected, error),
        },
        OidcError::None { .. } => Failure::usage(error).hint("pass --identity-token TOKEN, or set SIGSTORE_ID_TOKEN"),
        OidcError::Flow(
            FlowError::Refused { .. } | FlowError::Token(_) | FlowError::TokenIssuer { .. } | FlowError::Binding(_),
        ) => Failure::new(End::Rejected, error),
        _ => Failure::undetermined(error),
    }
}

/// The person at the terminal.
struct Terminal<'a>(&'a Ui);

impl Person for Terminal<'_> {
    fn tell(&self, message: &Message<'_>) {
        self.0.insist(match message {
            Message::BrowserOpened { url } => format!("Your browser will now be opened to:\n{url}"),
            Message::TypeTheCode { url, why } => {
                format!("No browser could be opened ({why}). Open this address, then type the code it ends with:\n{url}")
            }
            Message::ConfirmOnDevice { url, code, seconds } => {
                format!("Open {url} on any device and confirm the code {code} (within {seconds} s)")
            }
            other => format!("{other:?}"),
        });
    }

    fn verification_code(&self) -> io::Result<String> {
        self.0.insist("Enter verification code:");
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_keep_their_names() {
        let name = |text: &str| issuer_name(&text.parse().unwrap());
        assert_eq!(name("http://127.0.0.1:4000"), "http://127.0.0.1:4000");
        assert_eq!(name("https://accounts.example.com/realms/a"), "https://accounts.example.com/realms/a");
        assert_eq!(name("https://a.example.com/x/"), "https://a.example.com/x/");
    }
}
