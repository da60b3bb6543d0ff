//! What a registry can do wrong, and what must be made of it. Only a 404 is "not there".

use std::time::Duration;

use axum::http::Method;
use vidimus_core::{
    Digest,
    oci::{Descriptor, INDEX, MANIFEST},
};
use vidimus_net::{
    http::{Client, Config, Kind, Retry},
    oci::{DiscoverOptions, OciError, TinyImage},
};

use crate::server::{Behaviour, Reply, Server, http, registry};

async fn server() -> (Server, TinyImage) {
    let server = Server::start(Behaviour::default()).await;
    let image = TinyImage::new("f", b"content").unwrap();
    image.push(&registry(), &server.reference("app:v1")).await.unwrap();
    (server, image)
}

/// The kind of failure that a reply to `GET …/manifests/…` gives.
async fn kind_of(replies: impl IntoIterator<Item = Reply>) -> Kind {
    let (server, _) = server().await;
    server.script(Method::GET, "/manifests/", replies);
    registry().resolve(&server.reference("app:v1")).await.unwrap_err().kind()
}

#[tokio::test]
async fn each_status_has_its_kind() {
    for (status, kind) in [
        (400, Kind::Status(400)),
        (401, Kind::Denied),
        (403, Kind::Denied),
        (404, Kind::NotFound),
        (405, Kind::Status(405)),
        (410, Kind::Status(410)),
        (429, Kind::RateLimited { retry_after: None }),
        (500, Kind::Unavailable),
        (501, Kind::Unavailable),
        (503, Kind::Unavailable),
        (304, Kind::Status(304)),
    ] {
        assert_eq!(kind_of([Reply::status(status)]).await, kind, "{status}");
    }
}

#[tokio::test]
async fn the_servers_words_are_in_the_error() {
    let (server, _) = server().await;
    server.script(Method::GET, "/manifests/", [Reply::status(403)]);
    let error = registry().resolve(&server.reference("app:v1")).await.unwrap_err();
    let expected = format!("GET http://{}/v2/app/manifests/v1: access denied (HTTP 403): C403: m", server.address());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    assert_eq!(kind_of([Reply::Hang]).await, Kind::Timeout);
    assert_eq!(kind_of([Reply::Endless]).await, Kind::TooLarge { limit: 4 << 20 });
    assert_eq!(kind_of([Reply::ok(vec![b' '; (4 << 20) + 1])]).await, Kind::TooLarge { limit: 4 << 20 });
    assert_eq!(kind_of([Reply::Truncated(b"{".to_vec())]).await, Kind::Unavailable);
    for malformed in ["", "<html>", "{}", "[]", r#"{"schemaVersion":1}"#, r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#] {
        assert_eq!(kind_of([Reply::ok(malformed)]).await, Kind::Malformed, "{malformed}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(kind_of([Reply::ok(deep)]).await, Kind::Malformed);
}

#[tokio::test]
async fn redirects_are_bounded() {
    let to = |location: &str| Reply::Status(307, vec![("location", location.to_owned())], Vec::new());
    assert_eq!(kind_of([to("/v2/app/manifests/v1")]).await, Kind::Redirect);
    assert_eq!(kind_of([to("http://[")]).await, Kind::Redirect);
    assert_eq!(kind_of([to("file:///etc/passwd")]).await, Kind::Malformed);
    let (server, image) = server().await;
    server.script(Method::GET, "/manifests/v1", [to(&format!("/v2/app/manifests/{}", image.manifest.digest))]);
    assert_eq!(registry().resolve(&server.reference("app:v1")).await.unwrap().digest, image.manifest.digest);
}

#[tokio::test]
async fn content_under_a_wrong_digest_is_refused() {
    let (server, image) = server().await;
    let other = TinyImage::new("f", b"other").unwrap();
    server.script(Method::GET, "/manifests/sha256", [Reply::ok(other.manifest.bytes.clone())]);
    let by_digest = server.reference("app").with_digest(image.manifest.digest.clone());
    let error = registry().resolve(&by_digest).await.unwrap_err();
    assert!(
        matches!(error, OciError::Digest { expected, seen, .. } if expected == image.manifest.digest && seen == other.manifest.digest)
    );
    let lying_header =
        Reply::Status(200, vec![("docker-content-digest", image.manifest.digest.to_string())], other.manifest.bytes.clone());
    server.script(Method::GET, "/manifests/v1", [lying_header]);
    assert!(matches!(registry().resolve(&server.reference("app:v1")).await, Err(OciError::Digest { .. })));
}

#[tokio::test]
async fn blobs_that_are_not_what_they_should_be() {
    let (server, image) = server().await;
    let repository = server.repository("app");
    let layer = &image.manifest.layers[0];
    let ok = registry().blob(&repository, layer, 1 << 20).await.unwrap();
    assert_eq!(ok, image.layer);
    let mut changed = image.layer.clone();
    changed[0] ^= 1;
    let mut seen = Vec::new();
    for reply in
        [Reply::ok(changed), Reply::ok(&image.layer[1..]), Reply::ok([image.layer.as_slice(), b"x"].concat()), Reply::Endless]
    {
        server.script(Method::GET, "/blobs/", [reply]);
        let in_memory = registry().blob(&repository, layer, 1 << 20).await.unwrap_err().kind();
        let streamed = registry().blob_to(&repository, layer, 1 << 20, &mut Vec::new()).await.unwrap_err().kind();
        assert_eq!(in_memory, streamed);
        seen.push(in_memory);
    }
    let too_large = Kind::TooLarge { limit: layer.size };
    assert_eq!(seen, [Kind::Malformed, Kind::Malformed, too_large, too_large]);
    let error = registry().blob(&repository, layer, layer.size - 1).await.unwrap_err();
    assert!(matches!(error, OciError::Limit { .. }), "refused before anything is fetched");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let (server, _) = server().await;
    let limited = Reply::Status(429, vec![("retry-after", "0".to_owned())], Vec::new());
    server.script(Method::GET, "/manifests/v1", [Reply::status(503), limited, Reply::Real]);
    registry().resolve(&server.reference("app:v1")).await.unwrap();
    assert_eq!(server.requests(Method::GET, "/manifests/v1"), 3);
    server.script(Method::GET, "/manifests/v2", [Reply::status(403), Reply::Real]);
    registry().resolve(&server.reference("app:v2")).await.unwrap_err();
    assert_eq!(server.requests(Method::GET, "/manifests/v2"), 1);
    let hour = Reply::Status(429, vec![("retry-after", "3600".to_owned())], Vec::new());
    server.script(Method::GET, "/manifests/v3", [hour]);
    let error = registry().resolve(&server.reference("app:v3")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited { retry_after: Some(Duration::from_secs(3600)) });
    assert_eq!(server.requests(Method::GET, "/manifests/v3"), 1);
}

#[tokio::test]
async fn a_post_is_not_repeated_unless_that_is_harmless() {
    let (server, _) = server().await;
    server.script(Method::POST, "/entries", [Reply::status(500)]);
    let url = format!("http://{}/entries", server.address()).parse().unwrap();
    http().post(&url).json(&1).send().await.unwrap_err();
    assert_eq!(server.requests(Method::POST, "/entries"), 1);
    let error = http().post(&url).json(&1).repeatable().send().await.unwrap_err();
    assert_eq!((server.requests(Method::POST, "/entries"), error.attempts), (4, 3));
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = registry().resolve(&format!("{address}/app").parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let mut config = Config::default();
    config.retry = Retry::NEVER;
    let error = Client::new(config).get(&format!("http://{address}/").parse().unwrap()).send().await.unwrap_err();
    assert!(!error.sent && error.attempts == 1);
}

#[tokio::test]
async fn pages_without_end() {
    let (server, image) = server().await;
    let repository = server.repository("app");
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    let page = |next: &str| Reply::Status(200, vec![("link", format!("<{next}>; rel=\"next\""))], index.clone().into_bytes());
    let digest = &image.manifest.digest;
    let target = format!("/v2/app/referrers/{digest}");
    server.script(Method::GET, "/referrers/", [page(&target)]);
    assert_eq!(registry().referrers_api(&repository, digest).await.unwrap_err().kind(), Kind::Malformed, "a circle");
    server.script(Method::GET, "/referrers/", (0..200).map(|n| page(&format!("{target}?n={n}"))));
    assert_eq!(registry().referrers_api(&repository, digest).await.unwrap_err().kind(), Kind::TooLarge { limit: 100 });
    server.script(Method::GET, "/referrers/", [page("http://127.0.0.1:1/elsewhere")]);
    assert_eq!(registry().referrers_api(&repository, digest).await.unwrap_err().kind(), Kind::Malformed, "another host");
    server.script(Method::GET, "/referrers/", [page(&format!("{target}?n=1")), Reply::status(404)]);
    assert_eq!(registry().referrers_api(&repository, digest).await.unwrap_err().kind(), Kind::NotFound, "not: no such API");
    let entry = serde_json::to_string(&Descriptor::of(MANIFEST, b"x")).unwrap();
    let many = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![entry; 1001].join(","));
    server.script(Method::GET, "/referrers/", [Reply::ok(many)]);
    assert_eq!(registry().referrers_api(&repository, digest).await.unwrap_err().kind(), Kind::TooLarge { limit: 1000 });
    server.script(Method::GET, "/tags/list", [page("/v2/app/tags/list?n=1000")]);
    assert!(registry().tags(&repository).await.is_err());
}

#[tokio::test]
async fn a_registry_that_fails_does_not_look_like_one_without_signatures() {
    for place in ["/referrers/", "/manifests/sha256-"] {
        for reply in [
            Reply::status(400),
            Reply::status(401),
            Reply::status(403),
            Reply::status(405),
            Reply::status(429),
            Reply::status(500),
            Reply::status(501),
            Reply::ok("<html>login</html>"),
            Reply::ok("{}"),
            Reply::Truncated(b"{".to_vec()),
        ] {
            let (server, image) = server().await;
            server.script(Method::GET, place, [reply.clone()]);
            let artifacts =
                registry().discover(&server.repository("app"), &image.manifest.digest, &DiscoverOptions::default()).await;
            assert!(artifacts.items.is_empty() && !artifacts.is_complete(), "{place} {reply:?}");
        }
        let (server, image) = server().await;
        server.script(Method::GET, place, [Reply::status(404)]);
        let artifacts = registry().discover(&server.repository("app"), &image.manifest.digest, &DiscoverOptions::default()).await;
        assert!(artifacts.items.is_empty() && artifacts.is_complete(), "{place} 404: {:?}", artifacts.problems);
    }
}

#[tokio::test]
async fn a_push_that_fails_is_an_error() {
    let image = TinyImage::new("f", b"content").unwrap();
    for (method, place) in
        [(Method::HEAD, "/blobs/"), (Method::POST, "/uploads/"), (Method::PUT, "/uploads/"), (Method::PUT, "/manifests/")]
    {
        for status in [401, 403, 413, 429, 500] {
            let server = Server::start(Behaviour::default()).await;
            server.script(method.clone(), place, [Reply::status(status)]);
            assert!(image.push(&registry(), &server.reference("app:v1")).await.is_err(), "{method} {place} {status}");
        }
    }
    let server = Server::start(Behaviour::default()).await;
    server.script(Method::PUT, "/uploads/", [Reply::status(502), Reply::Real]);
    image.push(&registry(), &server.reference("app:v1")).await.unwrap();
    let wrong = Reply::Status(201, vec![("docker-content-digest", Digest::sha256(b"").to_string())], Vec::new());
    server.script(Method::PUT, "/manifests/", [wrong]);
    let error = image.push(&registry(), &server.reference("app:v2")).await.unwrap_err();
    assert!(matches!(error, OciError::Digest { .. }), "the registry says it stored something else");
}
