//! The issuer's discovery document and its token endpoint (RFC 6749 §3.2).

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{FlowError, parse_issuer};
use crate::{
    endpoint::below,
    http::{Client, StatusCode},
};

/// Largest answer: discovery documents have some KiB.
const LIMIT: u64 = 256 << 10;
/// Time for one attempt; a person is waiting.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the issuer says about itself; only what we use.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Discovery {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Url,
    pub(super) device_authorization_endpoint: Option<Url>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
}

impl Discovery {
    pub(super) async fn fetch(http: &Client, issuer: &str) -> Result<Self, FlowError> {
        let url = below(&parse_issuer(issuer)?, ".well-known/openid-configuration");
        let answer = http.get(&url).timeout(TIMEOUT).limit(LIMIT).send().await?;
        let discovery: Self = answer.json()?;
        // Exactly, as Discovery §4.3 says: anything else lets one issuer speak for another. An issuer without a path is the same
        // URL with and without its slash (RFC 3986 §6.2.3), and URL types write it.
        if !is_same(issuer, &discovery.issuer) {
            return Err(FlowError::IssuerMismatch { expected: issuer.to_owned(), seen: discovery.issuer });
        }
        Ok(discovery)
    }

    /// Without S256 a code that leaks could be redeemed by whoever sees it.
    pub(super) fn require_pkce(&self) -> Result<(), FlowError> {
        if self.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Ok(());
        }
        Err(self.lacks("PKCE with S256"))
    }

    pub(super) fn lacks(&self, what: &'static str) -> FlowError {
        FlowError::NotOffered { issuer: self.issuer.clone(), what }
    }
}

fn is_same(configured: &str, seen: &str) -> bool {
    let bare = |text: &str| text.strip_suffix('/').filter(|rest| rest.matches('/').count() == 2).unwrap_or(text).to_owned();
    bare(configured) == bare(seen)
}

/// What a token endpoint answers, for good or ill.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenAnswer {
    id_token: Option<String>,
    pub(super) access_token: Option<String>,
    pub(super) error: Option<String>,
    error_description: Option<String>,
}

impl TokenAnswer {
    /// The identity token, or the refusal.
    pub(super) fn id_token(self) -> Result<String, FlowError> {
        match (self.id_token, self.error) {
            (_, Some(error)) => {
                let description = self.error_description.map(|words| format!(": {words}")).unwrap_or_default();
                Err(FlowError::Refused { error, description })
            }
            (Some(token), None) if !token.is_empty() => Ok(token),
            _ => Err(FlowError::NoIdToken),
        }
    }
}

/// Posts a form to an endpoint. Statuses with which OAuth servers carry an error object are answers; providers differ in which.
pub(super) async fn ask(
    http: &Client,
    url: &Url,
    client_id: &str,
    secret: Option<&str>,
    fields: &[(&str, &str)],
) -> Result<TokenAnswer, FlowError> {
    let mut form = fields.to_vec();
    form.push(("client_id", client_id));
    form.extend(secret.map(|secret| ("client_secret", secret)));
    let request = http.post(url).form(&form).header(http::header::ACCEPT, "application/json");
    let request = request.allow(StatusCode::BAD_REQUEST).allow(StatusCode::UNAUTHORIZED).allow(StatusCode::FORBIDDEN);
    let answer = request.timeout(TIMEOUT).limit(LIMIT).send().await?;
    match answer.json::<TokenAnswer>() {
        Ok(read) if answer.status.is_success() || read.error.is_some() => Ok(read),
        Err(unreadable) if answer.status.is_success() => Err(unreadable.into()),
        _ => Err(answer.into_error().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn issuers_are_compared_exactly() {
        assert!(is_same("https://i.example", "https://i.example"));
        assert!(is_same("https://i.example/", "https://i.example") && is_same("https://i.example", "https://i.example/"));
        for other in
            ["https://i.example/a/", "http://i.example/a", "https://j.example/a", "https://i.example/a?b", "https://i.example"]
        {
            assert!(!is_same("https://i.example/a", other), "{other}");
        }
    }
}
