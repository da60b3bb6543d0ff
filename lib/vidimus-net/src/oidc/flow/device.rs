//! The device flow (RFC 8628), with PKCE as Sigstore's issuer wants it (RFC 7636 applied to the device code).

use std::time::{Duration, Instant};

use oauth2::{PkceCodeChallenge, StandardDeviceAuthorizationResponse};

use super::{FlowError, Message, Person, SCOPES, Session};
use crate::http::Kind;

/// The longest that a code is waited for, whatever the issuer allows.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Polls in a row that may fail without an answer.
const MISSES: u32 = 3;

pub(super) async fn sign_in(session: &Session<'_>, person: &dyn Person) -> Result<String, FlowError> {
    let discovery = session.discovery;
    let endpoint = discovery.device_authorization_endpoint.as_ref().ok_or_else(|| discovery.lacks("the device flow"))?;
    discovery.require_pkce()?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let scope = SCOPES.join(" ");
    let form = [
        ("client_id", session.request.client_id.as_str()),
        ("scope", &scope),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", challenge.method().as_str()),
    ];
    let answer = session.http.post(endpoint).form(&form).header(http::header::ACCEPT, "application/json").send().await?;
    let details: StandardDeviceAuthorizationResponse = answer.json()?;
    let url = details.verification_uri_complete().map_or(details.verification_uri().as_str(), |uri| uri.secret());
    let lifetime = details.expires_in().min(LONGEST);
    person.tell(&Message::ConfirmOnDevice { url, code: details.user_code().secret(), seconds: lifetime.as_secs() });

    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", details.device_code().secret()),
        ("scope", &scope),
        ("code_verifier", verifier.secret()),
    ];
    let (started, mut interval, mut misses) = (Instant::now(), details.interval(), 0);
    while started.elapsed() < lifetime {
        match session.ask(&fields).await {
            // RFC 8628 §3.5: an outage while a person types is waited out, with twice the pause.
            Err(FlowError::Http(error)) if is_transient(error.kind) && misses < MISSES => {
                misses += 1;
                interval *= 2;
            }
            Err(error) => return Err(error),
            Ok(answer) => match answer.error.as_deref() {
                Some("authorization_pending") => misses = 0,
                // RFC 8628 §3.5: five seconds more, from now on.
                Some("slow_down") => interval += Duration::from_secs(5),
                _ => return answer.id_token(),
            },
        }
        tokio::time::sleep(interval).await;
    }
    Err(FlowError::Abandoned { seconds: lifetime.as_secs() })
}

fn is_transient(kind: Kind) -> bool {
    matches!(kind, Kind::RateLimited { .. } | Kind::Timeout | Kind::Unavailable)
}
