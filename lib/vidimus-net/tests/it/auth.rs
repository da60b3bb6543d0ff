//! Who we are to a registry, and to whom we do not say it.

use axum::http::Method;
use futures_util::future::join_all;
use vidimus_core::Digest;
use vidimus_net::{
    http::Kind,
    oci::{Content, CredentialSources, Login, RegistryOptions, TinyImage},
};

use crate::server::{Auth, Behaviour, Reply, Server, http, registry, registry_with};

fn pair(username: &str, password: &str) -> impl FnOnce(&mut RegistryOptions) {
    let (username, password) = (username.to_owned(), password.to_owned());
    move |options| {
        options.username = Some(username);
        options.password = Some(password);
    }
}

async fn server(auth: Auth) -> Server {
    Server::start(Behaviour { auth, ..Behaviour::default() }).await
}

#[tokio::test]
async fn user_and_password_over_both_schemes() {
    for auth in [Auth::Basic, Auth::Bearer] {
        let server = server(auth).await;
        let image = TinyImage::new("f", b"x").unwrap();
        let reference = server.reference("app:v1");
        image.push(&registry_with(pair("user", "pass")), &reference).await.unwrap();
        registry_with(pair("user", "pass")).resolve(&reference).await.unwrap();
        let wrong = registry_with(pair("user", "wrong")).resolve(&reference).await.unwrap_err();
        assert_eq!(wrong.kind(), Kind::Denied, "{auth:?}: refused, and not tried anonymously");
        let half = registry_with(|o| o.username = Some("user".into())).resolve(&reference).await.unwrap_err();
        assert_eq!(half.kind(), Kind::Denied);
    }
}

#[tokio::test]
async fn anonymous_tokens_read_and_do_not_write() {
    let server = server(Auth::Bearer).await;
    let image = TinyImage::new("f", b"x").unwrap();
    let reference = server.reference("app:v1");
    image.push(&registry_with(pair("user", "pass")), &reference).await.unwrap();
    registry().resolve(&reference).await.unwrap();
    assert_eq!(image.push(&registry(), &server.reference("app:v2")).await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn one_token_serves_many_requests_and_is_renewed_when_it_expires() {
    let server = server(Auth::Bearer).await;
    let client = registry_with(pair("user", "pass"));
    let repository = server.repository("app");
    client.push_blob(&repository, &Content::bytes("x"), None).await.unwrap();
    let before = server.requests(Method::GET, "/token");
    let blob = Digest::sha256(b"x");
    let answers = join_all((0..50).map(|_| client.blob_exists(&repository, &blob))).await;
    assert!(answers.into_iter().all(|a| a.unwrap()));
    assert_eq!(server.requests(Method::GET, "/token"), before, "the token for reading is known already");
    server.expire_tokens();
    assert!(client.blob_exists(&repository, &blob).await.unwrap());
    assert_eq!(server.requests(Method::GET, "/token"), before + 1);
}

#[tokio::test]
async fn tokens_are_renewed_before_they_are_refused() {
    let server = Server::start(Behaviour { auth: Auth::Bearer, token_lifetime: 5, ..Behaviour::default() }).await;
    let client = registry_with(pair("user", "pass"));
    let blob = Digest::sha256(b"x");
    client.blob_exists(&server.repository("app"), &blob).await.unwrap();
    client.blob_exists(&server.repository("app"), &blob).await.unwrap();
    let refused = server.requests(Method::HEAD, "/blobs/") - 2;
    assert_eq!((server.requests(Method::GET, "/token"), refused), (2, 0));
}

#[tokio::test]
async fn identity_and_registry_tokens() {
    let server = server(Auth::Bearer).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let write = |entry: &str| std::fs::write(&file, format!(r#"{{"auths":{{"{}":{entry}}}}}"#, server.address())).unwrap();
    let client = || registry_with(|o| o.credentials = CredentialSources { files: vec![file.clone()] });
    write(r#"{"identitytoken":"refresh"}"#);
    assert!(!client().blob_exists(&server.repository("app"), &Digest::sha256(b"x")).await.unwrap());
    assert_eq!(server.requests(Method::POST, "/token"), 1);
    write(r#"{"identitytoken":"revoked"}"#);
    let error = client().blob_exists(&server.repository("app"), &Digest::sha256(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let error = registry_with(|o| o.token = Some("made-up".into())).resolve(&server.reference("app")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let sent = server.log().pop().unwrap();
    assert_eq!(sent.authorization.as_deref(), Some("Bearer made-up"));
}

#[tokio::test]
async fn a_failing_token_service_is_not_anonymous_access() {
    for (reply, kind) in [
        (Reply::status(500), Kind::Unavailable),
        (Reply::status(429), Kind::RateLimited { retry_after: None }),
        (Reply::ok("{}"), Kind::Malformed),
        (Reply::ok("token"), Kind::Malformed),
        (Reply::Hang, Kind::Timeout),
    ] {
        let server = server(Auth::Bearer).await;
        server.script(Method::GET, "/token", [reply]);
        let error = registry_with(pair("user", "pass")).resolve(&server.reference("app")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(server.requests(Method::GET, "/manifests/"), 0);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error() {
    let server = server(Auth::Basic).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, "{").unwrap();
    let missing = directory.path().join("missing.json");
    let with = |files| registry_with(|o| o.credentials = CredentialSources { files });
    assert!(with(vec![file]).resolve(&server.reference("app")).await.unwrap_err().to_string().contains("config.json"));
    assert_eq!(with(vec![missing]).resolve(&server.reference("app")).await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let (ours, other) = (server(Auth::Basic).await, server(Auth::None).await);
    let image = TinyImage::new("f", b"x").unwrap();
    let client = registry_with(pair("user", "pass"));
    image.push(&client, &ours.reference("app:v1")).await.unwrap();
    image.push(&registry(), &other.reference("app:v1")).await.unwrap();
    let elsewhere = format!("http://{}/v2/app/manifests/v1", other.address());
    ours.script(Method::GET, "/manifests/v1", [Reply::Status(307, vec![("location", elsewhere)], Vec::new())]);
    client.resolve(&ours.reference("app:v1")).await.unwrap();
    let upload = format!("http://{}/v2/app/blobs/uploads/u9", other.address());
    ours.script(Method::POST, "/uploads/", [Reply::Status(202, vec![("location", upload)], Vec::new())]);
    // The upload fails there; what matters is what it was told.
    client.push_blob(&ours.repository("app"), &Content::bytes("new"), None).await.unwrap_err();
    assert!(other.requests(Method::PUT, "/uploads/u9") > 0);
    assert!(other.log().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn login_keeps_only_what_the_registry_accepts() {
    for auth in [Auth::Basic, Auth::Bearer] {
        let server = server(auth).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("docker/config.json");
        let options = RegistryOptions::default();
        let login = async |password| Login::login(&http(), &options, server.address(), "user", password, Some(&file)).await;
        assert_eq!(login("wrong").await.unwrap_err().kind(), Kind::Denied);
        assert!(!file.exists());
        assert_eq!(login("pass").await.unwrap(), Login::File(file.clone()));
        let client = registry_with(|o| o.credentials = CredentialSources { files: vec![file.clone()] });
        TinyImage::new("f", b"x").unwrap().push(&client, &server.reference("app:v1")).await.unwrap();
    }
}

#[tokio::test]
async fn tag_and_blob_traffic_carries_no_credentials_to_a_registry_that_asks_for_none() {
    let server = server(Auth::None).await;
    let image = TinyImage::new("f", b"x").unwrap();
    image.push(&registry_with(pair("user", "pass")), &server.reference("app:v1")).await.unwrap();
    assert!(server.log().iter().all(|seen| seen.authorization.is_none()));
}
