//! The flows against an issuer that the tests play.

use std::sync::{Mutex, mpsc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::{
    oidc::token::tests::jwt,
    testing::{Reply, Seen, Server, impatient},
};

fn now() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

/// An issuer. `token` decides what the token endpoint says, from the request and the base URL.
async fn issuer(token: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |seen| {
        let base = format!("http://{}", seen.header("host").unwrap());
        match seen.path.as_str() {
            "/.well-known/openid-configuration" => Reply::json(
                200,
                &json!({"issuer": base, "authorization_endpoint": format!("{base}/auth"), "token_endpoint": format!("{base}/token"),
                    "device_authorization_endpoint": format!("{base}/device"), "jwks_uri": format!("{base}/keys"),
                    "code_challenge_methods_supported": ["S256"]}),
            ),
            "/device" => Reply::json(
                200,
                &json!({"device_code": "dc", "user_code": "ABCD", "verification_uri": format!("{base}/activate"), "expires_in": 300,
                    "interval": 0}),
            ),
            "/token" => token(seen, &base),
            _ => Reply::new(404, ""),
        }
    })
    .await
}

fn base(server: &Server) -> String {
    server.url.as_str().trim_end_matches('/').to_owned()
}

fn claims(iss: &str) -> Value {
    json!({"iss": iss, "sub": "s", "aud": "sigstore", "exp": 1_900_000_000, "email": "a@b.example", "email_verified": true})
}

fn gives(token: &Value) -> Reply {
    Reply::json(200, &json!({"access_token": "at", "token_type": "bearer", "id_token": jwt(token)}))
}

/// A person whose browser follows the address at once, or who has none and types a code.
struct Somebody {
    browser: bool,
    told: Mutex<Vec<String>>,
    opened: Mutex<mpsc::Sender<String>>,
}

impl Somebody {
    fn new(browser: bool) -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel();
        (Self { browser, told: Mutex::default(), opened: Mutex::new(sender) }, receiver)
    }
}

impl Person for Somebody {
    fn tell(&self, message: &Message<'_>) {
        self.told.lock().unwrap().push(format!("{message:?}"));
    }

    fn open_browser(&self, url: &str) -> Result<(), String> {
        if !self.browser {
            return Err("no screen".to_owned());
        }
        self.opened.lock().unwrap().send(url.to_owned()).unwrap();
        let url: Url = url.parse().unwrap();
        let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        let mut back: Url = query["redirect_uri"].parse().unwrap();
        back.set_host(Some("127.0.0.1")).unwrap();
        back.query_pairs_mut().append_pair("code", &query["nonce"]).append_pair("state", &query["state"]);
        tokio::spawn(async move { impatient().get(&back).send().await.unwrap() });
        Ok(())
    }

    fn verification_code(&self) -> io::Result<String> {
        Ok(" typed\n".to_owned())
    }
}

async fn sign_in(flow: Flow, server: &Server, person: &Somebody) -> Result<IdentityToken, FlowError> {
    run(flow, &impatient(), &base(server), &TokenRequest::default(), person, now()).await
}

/// The test's browser hands the nonce back as the code, so that the issuer knows it.
fn with_nonce(seen: &Seen, iss: &str) -> Value {
    let mut claims = claims(iss);
    claims["nonce"] = seen.form()["code"].clone().into();
    claims
}

#[tokio::test]
async fn the_browser_flow_sends_what_issuers_expect_and_checks_what_comes_back() {
    let server = issuer(|seen, iss| {
        let mut claims = with_nonce(seen, iss);
        let digest = vidimus_core::digest::sha256(b"at");
        claims["at_hash"] = URL_SAFE_NO_PAD.encode(&digest[..16]).into();
        gives(&claims)
    })
    .await;
    let (person, opened) = Somebody::new(true);
    let token = sign_in(Flow::Normal, &server, &person).await.unwrap();
    assert_eq!(token.email(), Some("a@b.example"));
    let url: Url = opened.recv().unwrap().parse().unwrap();
    let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    for (name, value) in
        [("client_id", "sigstore"), ("scope", "openid email"), ("response_type", "code"), ("code_challenge_method", "S256")]
    {
        assert_eq!(query[name], value);
    }
    assert!(query["redirect_uri"].starts_with("http://localhost:") && query["redirect_uri"].ends_with("/auth/callback"));
    let form = server.seen().into_iter().find(|seen| seen.path == "/token").unwrap().form();
    assert_eq!((form["grant_type"].as_str(), form["client_id"].as_str()), ("authorization_code", "sigstore"));
    assert_eq!(form["redirect_uri"], query["redirect_uri"]);
    let challenge = URL_SAFE_NO_PAD.encode(vidimus_core::digest::sha256(form["code_verifier"].as_bytes()));
    assert_eq!(challenge, query["code_challenge"]);
}

#[tokio::test]
async fn a_token_of_another_login_issuer_or_client_is_refused() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 6] = [
        (|claims| claims["nonce"] = "other".into(), "its nonce is not ours"),
        (|claims| drop(claims.as_object_mut().unwrap().remove("nonce")), "its nonce is not ours"),
        (|claims| claims["at_hash"] = "other".into(), "its at_hash is not ours"),
        (|claims| claims["iss"] = "https://evil.example".into(), "is issued by https://evil.example"),
        (|claims| claims["aud"] = "other".into(), "for the audience"),
        (|claims| claims["exp"] = 1_700_000_000.into(), "expired"),
    ];
    for (change, expected) in changes {
        let server = issuer(move |seen, iss| {
            let mut claims = with_nonce(seen, iss);
            change(&mut claims);
            gives(&claims)
        })
        .await;
        let (person, _opened) = Somebody::new(true);
        let error = sign_in(Flow::Normal, &server, &person).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn without_a_browser_the_code_is_typed() {
    let server = issuer(|_, iss| gives(&claims(iss))).await;
    let (person, _opened) = Somebody::new(false);
    // The typed code cannot carry the nonce in this test, so the login ends at that check, after the code was redeemed.
    let error = sign_in(Flow::Normal, &server, &person).await.unwrap_err();
    assert!(matches!(error, FlowError::Binding("nonce")), "{error}");
    let form = server.seen().into_iter().find(|seen| seen.path == "/token").unwrap().form();
    assert_eq!((form["code"].as_str(), form["redirect_uri"].as_str()), ("typed", "urn:ietf:wg:oauth:2.0:oob"));
    assert!(person.told.lock().unwrap()[0].contains("no screen"));
}

#[tokio::test]
async fn the_device_flow_waits_for_the_confirmation() {
    let polls = Mutex::new(0);
    let server = issuer(move |_, iss| {
        let mut polls = polls.lock().unwrap();
        *polls += 1;
        match *polls {
            1 => Reply::json(400, &json!({"error": "authorization_pending"})),
            2 => Reply::json(401, &json!({"error": "authorization_pending"})),
            3 => Reply::json(200, &json!({"error": "authorization_pending"})),
            4 | 5 => Reply::new(503, "for a moment"),
            _ => Reply::json(200, &json!({"id_token": jwt(&claims(iss))})),
        }
    })
    .await;
    let (person, _opened) = Somebody::new(false);
    let token = sign_in(Flow::Device, &server, &person).await.unwrap();
    assert_eq!(token.subject(), "s");
    assert!(person.told.lock().unwrap()[0].contains("ABCD"));
    let seen = server.seen();
    let (start, poll) = (seen.iter().find(|s| s.path == "/device").unwrap().form(), seen.last().unwrap().form());
    assert_eq!((start["scope"].as_str(), start["code_challenge_method"].as_str()), ("openid email", "S256"));
    assert_eq!(start["code_challenge"], URL_SAFE_NO_PAD.encode(vidimus_core::digest::sha256(poll["code_verifier"].as_bytes())));
    assert_eq!(
        (poll["grant_type"].as_str(), poll["device_code"].as_str()),
        ("urn:ietf:params:oauth:grant-type:device_code", "dc")
    );
}

#[tokio::test]
async fn refusals_and_faults_of_the_token_endpoint_are_told_apart() {
    for (reply, expected) in [
        (Reply::json(400, &json!({"error": "access_denied", "error_description": "no"})), "refused: access_denied: no"),
        (Reply::json(200, &json!({"access_token": "at"})), "no id_token"),
        (Reply::json(401, &json!({"message": "who?"})), "access denied"),
        (Reply::new(500, "down"), "unavailable"),
        (Reply::new(429, ""), "too many requests"),
        (Reply::new(200, "<html>"), "malformed"),
        (Reply::new(200, vec![b' '; 1 << 20]), "bytes allowed"),
    ] {
        let server = issuer(move |_, _| reply.clone()).await;
        let (person, _opened) = Somebody::new(false);
        let error = sign_in(Flow::Device, &server, &person).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_client_secret_is_exchanged() {
    let server = issuer(|_, iss| gives(&claims(iss))).await;
    let request = TokenRequest { client_secret: Some("s3cret".into()), ..TokenRequest::default() };
    let (person, _opened) = Somebody::new(false);
    let token = run(Flow::ClientCredentials, &impatient(), &base(&server), &request, &person, now()).await.unwrap();
    assert_eq!(token.subject(), "s");
    let form = server.seen().last().unwrap().form();
    assert_eq!((form["grant_type"].as_str(), form["client_secret"].as_str()), ("client_credentials", "s3cret"));
}

#[tokio::test]
async fn an_issuer_has_to_be_itself_and_offer_the_flow() {
    let server = issuer(|_, iss| gives(&claims(iss))).await;
    let (person, _opened) = Somebody::new(true);
    let other = Server::start(|_| {
        Reply::json(200, &json!({"issuer": "https://evil.example", "token_endpoint": "https://evil.example/t"}))
    })
    .await;
    let error = sign_in(Flow::Device, &other, &person).await.unwrap_err();
    assert!(matches!(error, FlowError::IssuerMismatch { .. }), "{error}");
    let plain = Server::start(|seen| {
        let base = format!("http://{}", seen.header("host").unwrap());
        Reply::json(200, &json!({"issuer": base, "authorization_endpoint": base, "token_endpoint": base, "device_authorization_endpoint": base}))
    })
    .await;
    for flow in [Flow::Normal, Flow::Device] {
        let error = sign_in(flow, &plain, &person).await.unwrap_err();
        assert!(matches!(error, FlowError::NotOffered { what: "PKCE with S256", .. }), "{error}");
    }
    for bad in ["", "not a url", "ftp://x"] {
        let error = run(Flow::Device, &impatient(), bad, &TokenRequest::default(), &person, now()).await.unwrap_err();
        assert!(matches!(error, FlowError::IssuerUrl(_)), "{error}");
    }
    let error =
        run(Flow::Normal, &Client::disabled(), &base(&server), &TokenRequest::default(), &person, now()).await.unwrap_err();
    assert!(error.to_string().contains("switched off"), "{error}");
}
