//! Every flow over a real loopback socket, as clients run them, and what each of them refuses.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{Client, Response, redirect};
use serde_json::Map;
use url::Url;

use super::*;
use crate::fulcio::config::{FulcioConfig, IssuerConfig};
use crate::server::{self, Server};
use crate::users::Federated;

const VERIFIER: &str = "0123456789-0123456789-0123456789-0123456789-abc";
const CALLBACK: &str = "http://localhost:41234/auth/callback";

/// An issuer that serves, with two accounts, and a clock that the test moves.
struct Site {
    url: String,
    client: Client,
    users: Users,
    keys: PathBuf,
    offset: Arc<AtomicI64>,
    _server: Server,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn open() -> Self {
        Self::trusting(0, |_| {}).await
    }

    async fn trusting(key: usize, change: impl FnOnce(&mut FulcioConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let offset = Arc::new(AtomicI64::new(0));
        let clock = Clock::new({
            let offset = offset.clone();
            move || Timestamp::now() + offset.load(Ordering::SeqCst).seconds()
        });
        let mut config = FulcioConfig::built_in().unwrap();
        config.insert(IssuerConfig::email(&url, CLIENT_ID));
        change(&mut config);
        let users = Users::at(&dir.path().join("users.json"));
        users.add_user("jdoe@example.com", "correct horse", Timestamp::now()).unwrap();
        users.add_client("ci", "ci@example.com", Some("ci secret: %+"), vec![], Timestamp::now()).unwrap();
        key::install_for_test(dir.path(), key);
        let key = IssuerKey::open(dir.path()).unwrap();
        let tokens = Arc::new(key.verifier(&url, config, clock.clone()));
        let issuer = Issuer::new(&url, key, tokens, users.clone(), clock).unwrap();
        let _server = Server::start(listener, router(Arc::new(issuer))).unwrap();
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { url, client, users, keys: dir.path().to_owned(), offset, _server, _dir: dir }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn wait(&self, seconds: i64) {
        self.offset.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn json(&self, path: &str) -> Value {
        self.client.get(self.at(path)).send().await.unwrap().json().await.unwrap()
    }

    async fn token(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let response = self.client.post(self.at("/oauth2/token")).form(form).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        (response.status(), response.json().await.unwrap())
    }

    /// Opens a page with a form, and gives back its fields and the cookie.
    async fn form(&self, path: &str, query: &[(&str, &str)]) -> (HashMap<String, String>, String) {
        let response = self.client.get(self.at(path)).query(query).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        (fields(&response.text().await.unwrap()), cookie)
    }

    async fn submit(&self, path: &str, cookie: &str, fields: &HashMap<String, String>) -> Response {
        self.client.post(self.at(path)).header("cookie", cookie).form(fields).send().await.unwrap()
    }

    /// A whole login in the browser; the code.
    async fn log_in(&self, redirect_uri: &str) -> String {
        let (mut fields, cookie) = self.form("/oauth2/authorize", &authorization(redirect_uri)).await;
        fields.insert("email".into(), "jdoe@example.com".into());
        fields.insert("password".into(), "correct horse".into());
        let response = self.submit("/oauth2/authorize", &cookie, &fields).await;
        if redirect_uri == authorize::OUT_OF_BAND {
            let page = response.text().await.unwrap();
            return page.split("<pre>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        }
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let location = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
        assert!(location.as_str().starts_with(redirect_uri));
        let query: HashMap<_, _> = location.query_pairs().into_owned().collect();
        assert_eq!(query["state"], "st&te");
        query["code"].clone()
    }

    /// The claims of a token, after its signature has been checked with the published keys.
    async fn verified(&self, token: &str) -> Map<String, Value> {
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(self.json("/oauth2/keys").await).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
        let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(header.alg);
        validation.set_issuer(&[&self.url]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &key, &validation).unwrap().claims
    }
}

fn challenge() -> String {
    base64url(digest(&SHA256, VERIFIER.as_bytes()).as_ref())
}

fn authorization(redirect_uri: &str) -> Vec<(&str, &str)> {
    let challenge: &str = Box::leak(challenge().into_boxed_str());
    vec![
        ("client_id", "sigstore"),
        ("redirect_uri", redirect_uri),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("state", "st&te"),
        ("nonce", "n-1"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("access_type", "online"),
    ]
}

fn code_form<'a>(code: &'a str, redirect_uri: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("client_id", "sigstore"),
        ("code_verifier", VERIFIER),
    ]
}

/// The hidden inputs of a page.
fn fields(html: &str) -> HashMap<String, String> {
    let inputs = html.split("<input type=hidden name=").skip(1);
    let unescape = |v: &str| v.replace("&quot;", "\"").replace("&amp;", "&");
    inputs
        .map(|input| {
            let (name, rest) = input.split_once(" value=\"").unwrap();
            (name.to_owned(), unescape(rest.split('"').next().unwrap()))
        })
        .collect()
}

#[tokio::test]
async fn discovery_as_clients_need_it() {
    let site = Site::open().await;
    let found = site.json("/.well-known/openid-configuration").await;
    assert_eq!(found["issuer"], site.url);
    assert_eq!(found["code_challenge_methods_supported"], json!(["S256"]));
    for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri", "device_authorization_endpoint"] {
        assert!(found[endpoint].as_str().unwrap().starts_with(&site.url), "{endpoint}");
    }
    assert_eq!(found["id_token_signing_alg_values_supported"], json!(["RS256"]));
}

#[tokio::test]
async fn authorization_code() {
    let site = Site::open().await;
    let code = site.log_in(CALLBACK).await;
    let (status, answer) = site.token(&code_form(&code, CALLBACK)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (access, id) = (answer["access_token"].as_str().unwrap(), answer["id_token"].as_str().unwrap());
    let claims = site.verified(id).await;
    for (name, value) in [("aud", "sigstore"), ("email", "jdoe@example.com"), ("sub", "jdoe@example.com"), ("nonce", "n-1")] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["at_hash"], base64url(&digest(&SHA256, access.as_bytes()).as_ref()[..16]));
    // sigstore-python uses the access token as the identity token.
    assert_eq!(site.verified(access).await["email"], "jdoe@example.com");
    // A code works once.
    let (status, answer) = site.token(&code_form(&code, CALLBACK)).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_grant")));
}

#[tokio::test]
async fn authorization_code_by_basic_and_out_of_band() {
    let site = Site::open().await;
    let code = site.log_in(authorize::OUT_OF_BAND).await;
    let mut form = code_form(&code, authorize::OUT_OF_BAND);
    form.retain(|(name, _)| *name != "client_id");
    let basic = format!("Basic {}", STANDARD.encode("sigstore:"));
    let request = site.client.post(site.at("/oauth2/token")).header("authorization", basic).form(&form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(answer["id_token"].is_string(), "{answer}");
}

#[tokio::test]
async fn codes_are_bound() {
    let site = Site::open().await;
    let wrong: [(&str, &str, &str); 5] = [
        ("code_verifier", "another-verifier-another-verifier-another-verifier", "invalid_grant"),
        ("code_verifier", "", "invalid_grant"),
        ("redirect_uri", "http://localhost:41234/other", "invalid_grant"),
        ("client_id", "other", "invalid_client"),
        ("code", "other", "invalid_grant"),
    ];
    for (name, value, error) in wrong {
        let code = site.log_in(CALLBACK).await;
        let mut form = code_form(&code, CALLBACK);
        form.iter_mut().find(|(n, _)| *n == name).unwrap().1 = value;
        assert_eq!(site.token(&form).await.1["error"], error, "{name}");
    }
    let code = site.log_in(CALLBACK).await;
    let mut form = code_form(&code, CALLBACK);
    form.push(("client_secret", "x"));
    assert_eq!(site.token(&form).await.0, StatusCode::UNAUTHORIZED);
    let code = site.log_in(CALLBACK).await;
    site.wait(121);
    assert_eq!(site.token(&code_form(&code, CALLBACK)).await.1["error"], "invalid_grant");
    assert_eq!(site.token(&[("grant_type", "password")]).await.1["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn login_page_refuses() {
    let site = Site::open().await;
    let (mut fields, cookie) = site.form("/oauth2/authorize", &authorization(CALLBACK)).await;
    fields.insert("email".into(), "jdoe@example.com".into());
    fields.insert("password".into(), "wrong password".into());
    for _ in 0..5 {
        let response = site.submit("/oauth2/authorize", &cookie, &fields).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.text().await.unwrap().contains("Wrong mail address or password."));
    }
    // Now even the right password has to wait.
    fields.insert("password".into(), "correct horse".into());
    assert_eq!(site.submit("/oauth2/authorize", &cookie, &fields).await.status(), StatusCode::TOO_MANY_REQUESTS);
    site.wait(61);
    // Another site can make the browser post, but has neither cookie nor form token.
    let own = fields["form_token"].clone();
    for (cookie, token) in
        [("", own.as_str()), ("vidimus_form=other", own.as_str()), (cookie.as_str(), "other"), (cookie.as_str(), "")]
    {
        fields.insert("form_token".into(), token.to_owned());
        assert_eq!(site.submit("/oauth2/authorize", cookie, &fields).await.status(), StatusCode::FORBIDDEN);
    }
    fields.insert("form_token".into(), own);
    assert_eq!(site.submit("/oauth2/authorize", &cookie, &fields).await.status(), StatusCode::SEE_OTHER);
    // Fields of the form are checked anew.
    fields.insert("redirect_uri".into(), "http://evil.example/".into());
    let response = site.submit("/oauth2/authorize", &cookie, &fields).await;
    assert_eq!((response.status(), response.headers().get("location")), (StatusCode::BAD_REQUEST, None));
}

#[tokio::test]
async fn faults_of_a_request_go_to_the_client_only_if_it_is_known() {
    let site = Site::open().await;
    let get = async |name: &str, value: &'static str| {
        let mut query = authorization(CALLBACK);
        query.iter_mut().find(|(n, _)| *n == name).unwrap().1 = value;
        site.client.get(site.at("/oauth2/authorize")).query(&query).send().await.unwrap()
    };
    for (name, value) in [("redirect_uri", "http://evil.example/"), ("client_id", "evil")] {
        let response = get(name, value).await;
        assert_eq!((response.status(), response.headers().get("location")), (StatusCode::BAD_REQUEST, None), "{name}");
    }
    for (name, value, error) in
        [("code_challenge_method", "plain", "invalid_request"), ("response_type", "token", "unsupported_response_type")]
    {
        let response = get(name, value).await;
        let location = response.headers()["location"].to_str().unwrap();
        assert!(
            location.starts_with(&format!("{CALLBACK}?error={error}&")) && location.ends_with("&state=st%26te"),
            "{location}"
        );
    }
}

#[tokio::test]
async fn device() {
    let site = Site::open().await;
    let start = [
        ("client_id", "sigstore"),
        ("scope", "openid email"),
        ("code_challenge_method", "S256"),
        ("code_challenge", &*challenge()),
    ];
    let started: Value =
        site.client.post(site.at("/oauth2/device/code")).form(&start).send().await.unwrap().json().await.unwrap();
    let device_code = started["device_code"].as_str().unwrap().to_owned();
    let user_code = started["user_code"].as_str().unwrap();
    assert_eq!((user_code.len(), started["interval"].as_i64()), (9, Some(1)));
    let poll = [
        ("grant_type", token::DEVICE_CODE),
        ("client_id", "sigstore"),
        ("device_code", &*device_code),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(
        site.token(&poll).await,
        (StatusCode::BAD_REQUEST, json!({"error": "authorization_pending", "error_description": "nobody has logged in yet"}))
    );
    assert_eq!(site.token(&poll).await.1["error"], "slow_down");
    site.wait(1);
    let unbound = [("grant_type", token::DEVICE_CODE), ("client_id", "sigstore"), ("device_code", &*device_code)];
    assert_eq!(site.token(&unbound).await.1["error"], "invalid_grant");

    let (mut fields, cookie) = site.form("/oauth2/device", &[("user_code", user_code)]).await;
    fields.insert("email".into(), "jdoe@example.com".into());
    fields.insert("password".into(), "wrong password".into());
    fields.insert("user_code".into(), user_code.to_ascii_lowercase().replace('-', " "));
    fields.insert("answer".into(), "yes".into());
    assert_eq!(site.submit("/oauth2/device", &cookie, &fields).await.status(), StatusCode::UNAUTHORIZED);
    fields.insert("password".into(), "correct horse".into());
    assert_eq!(site.submit("/oauth2/device", "", &fields).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(site.submit("/oauth2/device", &cookie, &fields).await.status(), StatusCode::OK);
    // Nobody else can answer for it any more.
    assert_eq!(site.submit("/oauth2/device", &cookie, &fields).await.status(), StatusCode::NOT_FOUND);

    let (status, answer) = site.token(&poll).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(site.verified(answer["id_token"].as_str().unwrap()).await["email"], "jdoe@example.com");
    assert_eq!(site.token(&poll).await.1["error"], "expired_token");
}

#[tokio::test]
async fn device_refused_and_expired() {
    let site = Site::open().await;
    let start = async || {
        let form = [("client_id", "sigstore"), ("scope", "openid email")];
        let started: Value =
            site.client.post(site.at("/oauth2/device/code")).form(&form).send().await.unwrap().json().await.unwrap();
        (started["device_code"].as_str().unwrap().to_owned(), started["user_code"].as_str().unwrap().to_owned())
    };
    let poll = async |code: &str| {
        site.token(&[("grant_type", token::DEVICE_CODE), ("client_id", "sigstore"), ("device_code", code)]).await.1["error"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (device_code, user_code) = start().await;
    let (mut fields, cookie) = site.form("/oauth2/device", &[]).await;
    fields.extend([("user_code".into(), user_code), ("answer".into(), "no".into())]);
    assert_eq!(site.submit("/oauth2/device", &cookie, &fields).await.status(), StatusCode::OK);
    assert_eq!(poll(&device_code).await, "access_denied");
    let (device_code, _) = start().await;
    site.wait(601);
    assert_eq!(poll(&device_code).await, "expired_token");
    assert_eq!(poll("other").await, "expired_token");
    let form = [("client_id", "other"), ("scope", "openid")];
    let response = site.client.post(site.at("/oauth2/device/code")).form(&form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn client_credentials() {
    let site = Site::open().await;
    let form =
        [("grant_type", "client_credentials"), ("client_id", "ci"), ("client_secret", "ci secret: %+"), ("scope", "openid")];
    let (status, answer) = site.token(&form).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let claims = site.verified(answer["id_token"].as_str().unwrap()).await;
    assert_eq!((claims["sub"].as_str(), claims["email"].as_str()), (Some("client:ci"), Some("ci@example.com")));
    // Fulcio looks for its own name in the audience, cosign for that of the client.
    assert_eq!((&claims["aud"], &claims["azp"]), (&json!(["sigstore", "ci"]), &json!("ci")));
    // RFC 6749 §2.3.1: in the header both are form-encoded.
    let basic = format!("Basic {}", STANDARD.encode("ci:ci+secret%3A+%25%2B"));
    let request =
        site.client.post(site.at("/oauth2/token")).header("authorization", basic).form(&[("grant_type", "client_credentials")]);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    for (id, secret) in [("ci", "wrong"), ("ci", ""), ("sigstore", ""), ("jdoe@example.com", "correct horse")] {
        let (status, answer) =
            site.token(&[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)]).await;
        assert_eq!((status, answer["error"].as_str()), (StatusCode::UNAUTHORIZED, Some("invalid_client")), "{id}");
    }
}

#[tokio::test]
async fn tokens_of_the_owner_and_of_ci_jobs() {
    let site = Site::open().await;
    let now = Timestamp::now();
    let own = owner_token(&site.keys, &site.url, "owner@example.com", now).unwrap();
    let claims = site.verified(&own).await;
    assert_eq!((claims["email"].as_str(), claims["aud"].as_str()), (Some("owner@example.com"), Some("sigstore")));
    assert!(matches!(owner_token(&site.keys, &site.url, "nobody", now), Err(OwnerTokenError::Email(_))));
    assert!(matches!(owner_token(Path::new("none"), &site.url, "a@example.com", now), Err(OwnerTokenError::Key(_))));

    let request_token = ambient_token(&site.keys, &site.url, "job@example.com", now).unwrap();
    let get = async |token: &str, audience: &str| {
        let url = format!("{}&audience={audience}", ambient_url(&site.url));
        site.client.get(url).header("authorization", format!("bearer {token}")).send().await.unwrap()
    };
    let answer: Value = get(&request_token, "sigstore").await.json().await.unwrap();
    let claims = site.verified(answer["value"].as_str().unwrap()).await;
    assert_eq!((claims["email"].as_str(), claims["aud"].as_str()), (Some("job@example.com"), Some("sigstore")));
    // Neither token does the other's work, and a request token cannot be had for one.
    assert_eq!(get(&own, "sigstore").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(get("", "sigstore").await.status(), StatusCode::UNAUTHORIZED);
    let own_audience = url::form_urlencoded::byte_serialize(ambient_audience(&site.url).as_bytes()).collect::<String>();
    assert_eq!(get(&request_token, &own_audience).await.status(), StatusCode::BAD_REQUEST);
    site.wait(6 * 3600);
    assert_eq!(get(&request_token, "sigstore").await.status(), StatusCode::UNAUTHORIZED);
}

fn exchange<'a>(token: &'a str, audience: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", token::TOKEN_EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("audience", audience),
    ]
}

#[tokio::test]
async fn exchange_of_own_tokens() {
    let site = Site::open().await;
    let own = owner_token(&site.keys, &site.url, "owner@example.com", Timestamp::now()).unwrap();
    let (status, answer) = site.token(&exchange(&own, "https://service.example.com")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:id_token");
    let narrowed = answer["access_token"].as_str().unwrap();
    let claims = site.verified(narrowed).await;
    assert_eq!(
        (claims["aud"].as_str(), claims["email"].as_str()),
        (Some("https://service.example.com"), Some("owner@example.com"))
    );
    // The service it was for cannot make it wider again.
    assert_eq!(site.token(&exchange(narrowed, "sigstore")).await.1["error"], "invalid_grant");
    assert_eq!(site.token(&exchange("nonsense", "sigstore")).await.1["error"], "invalid_grant");
    assert_eq!(site.token(&exchange(&own, &ambient_audience(&site.url))).await.1["error"], "invalid_target");
    // Nor does exchanging make a token live longer.
    site.wait(3500);
    let (_, answer) = site.token(&exchange(&own, "")).await;
    assert!(answer["expires_in"].as_i64().unwrap() <= 100, "{answer}");
    let mut form = exchange(&own, "");
    form[2].1 = "urn:ietf:params:oauth:token-type:saml2";
    assert_eq!(site.token(&form).await.1["error"], "invalid_request");
}

#[tokio::test]
async fn exchange_of_foreign_tokens() {
    let foreign = Site::open().await;
    let site = Site::trusting(1, |config| config.insert(IssuerConfig::email(&foreign.url, CLIENT_ID))).await;
    let elsewhere = Federated { issuer: foreign.url.clone(), subject: "bot@example.com".into() };
    site.users.add_client("bot", "bot@stack.example.com", None, vec![elsewhere], Timestamp::now()).unwrap();
    let token = |email| owner_token(&foreign.keys, &foreign.url, email, Timestamp::now()).unwrap();
    let (status, answer) = site.token(&exchange(&token("bot@example.com"), "")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let claims = site.verified(answer["id_token"].as_str().unwrap()).await;
    assert_eq!((claims["sub"].as_str(), claims["email"].as_str()), (Some("client:bot"), Some("bot@stack.example.com")));
    // A trusted issuer cannot speak for our own people.
    assert_eq!(site.token(&exchange(&token("jdoe@example.com"), "")).await.1["error"], "invalid_grant");
    // An issuer that is not trusted cannot speak at all.
    let third = Site::trusting(2, |_| {}).await;
    let token = owner_token(&third.keys, &third.url, "bot@example.com", Timestamp::now()).unwrap();
    assert_eq!(site.token(&exchange(&token, "")).await.1["error"], "invalid_grant");
}

/// Foreign keys are fetched, kept, and fetched again when an unknown one signs; an issuer that cannot be reached is not a bad token.
#[tokio::test]
async fn keys_of_other_issuers() {
    use crate::jwt::TokenError;
    let foreign = Site::open().await;
    let dir = tempfile::tempdir().unwrap();
    key::install_for_test(dir.path(), 1);
    let mut config = FulcioConfig::built_in().unwrap();
    config.insert(IssuerConfig::email(&foreign.url, CLIENT_ID));
    config.insert(IssuerConfig::email("http://127.0.0.1:1", CLIENT_ID));
    config.insert(IssuerConfig::email(&format!("{}/", foreign.url), CLIENT_ID));
    let verifier = IssuerKey::open(dir.path()).unwrap().verifier("http://own", config, Clock::system());
    let now = Timestamp::now();
    let good = owner_token(&foreign.keys, &foreign.url, "a@example.com", now).unwrap();
    assert_eq!(verifier.verify(&good).await.unwrap().0.claim("email").unwrap(), "a@example.com");
    // Our own key says it is the foreign issuer.
    let forged = owner_token(dir.path(), &foreign.url, "a@example.com", now).unwrap();
    assert!(matches!(verifier.verify(&forged).await, Err(TokenError::Signature(_))));
    let unreachable = owner_token(&foreign.keys, "http://127.0.0.1:1", "a@example.com", now).unwrap();
    assert!(matches!(verifier.verify(&unreachable).await, Err(TokenError::Unavailable(_))));
    // What is found at an issuer's URL must call itself by exactly that URL.
    let other_name = owner_token(&foreign.keys, &format!("{}/", foreign.url), "a@example.com", now).unwrap();
    match verifier.verify(&other_name).await {
        Err(TokenError::Unavailable(e)) => assert!(e.why.contains("it is the issuer"), "{e}"),
        other => panic!("{other:?}"),
    }
    let parts: Vec<_> = good.split('.').collect();
    let hmac = format!("{}.{}.{}", base64url(br#"{"alg":"HS256"}"#), parts[1], parts[2]);
    assert!(matches!(verifier.verify(&hmac).await, Err(TokenError::Algorithm(_))));
    assert!(URL_SAFE_NO_PAD.decode(parts[2]).is_ok());
}
