//! The distribution specification, endpoint by endpoint.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use vidimus_core::Digest;
use vidimus_stack::stack::{Running, Stack, StackConfig};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Registry {
    running: Running,
    client: Client,
}

impl Registry {
    async fn start() -> Self {
        Self { running: crate::stack().await, client: Client::new() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.running.origin()) };
        self.client.request(method, url)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn delete(&self, path: &str) -> StatusCode {
        self.request(Method::DELETE, path).send().await.unwrap().status()
    }

    /// Uploads a blob in one request.
    async fn blob(&self, name: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.request(Method::POST, &path).body(content.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        digest
    }

    async fn put(&self, name: &str, reference: &str, kind: &str, manifest: &Value) -> (Response, Digest) {
        let bytes = manifest.to_string();
        let digest = Digest::sha256(bytes.as_bytes());
        let reference = if reference.is_empty() { digest.to_string() } else { reference.to_owned() };
        let put = self.request(Method::PUT, &format!("/v2/{name}/manifests/{reference}")).header("content-type", kind);
        (put.body(bytes).send().await.unwrap(), digest)
    }

    /// Pushes an image with one layer.
    async fn image(&self, name: &str, tag: &str, layer: &[u8], more: Value) -> Digest {
        let (layer, config) = (self.blob(name, layer).await, self.blob(name, b"{}").await);
        let mut manifest = json!({"schemaVersion": 2, "mediaType": IMAGE,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": "application/x", "digest": layer, "size": 1}]});
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (answer, digest) = self.put(name, tag, IMAGE, &manifest).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        digest
    }

    async fn referrers(&self, name: &str, subject: &Digest, query: &str) -> (Response, Vec<Value>) {
        let path = format!("/v2/{name}/referrers/{subject}{query}");
        let list: Value = self.get(&path).await.json().await.unwrap();
        assert_eq!(list["mediaType"], INDEX);
        (self.get(&path).await, list["manifests"].as_array().unwrap().clone())
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn code(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn blobs_in_one_request_and_their_ranges() {
    let registry = Registry::start().await;
    let digest = registry.blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let head = registry.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "10"));
    assert_eq!(header(&head, "docker-content-digest"), digest.to_string());
    for (range, status, part, content) in [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=5-99", 206, "bytes 5-9/10", "56789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("nonsense", 200, "", "0123456789"),
    ] {
        let answer = registry.request(Method::GET, &path).header("range", range).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (status, part), "{range}");
        if status < 400 {
            assert_eq!(answer.text().await.unwrap(), content, "{range}");
        }
    }
    assert_eq!(
        code(registry.get(&format!("/v2/other/blobs/{digest}")).await).await,
        (StatusCode::NOT_FOUND, "BLOB_UNKNOWN".into())
    );
}

#[tokio::test]
async fn a_blob_that_is_not_its_digest_is_refused() {
    let registry = Registry::start().await;
    let wrong = Digest::sha256(b"other");
    let path = format!("/v2/a/blobs/uploads/?digest={wrong}");
    let answer = registry.request(Method::POST, &path).body("content").send().await.unwrap();
    assert_eq!(code(answer).await, (StatusCode::BAD_REQUEST, "DIGEST_INVALID".into()));
    assert_eq!(registry.get(&format!("/v2/a/blobs/{wrong}")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn chunks_come_in_order() {
    let registry = Registry::start().await;
    let begun = registry.request(Method::POST, "/v2/a/blobs/uploads/").send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let location = header(&begun, "location").to_owned();
    let chunk = |method: Method, range: &'static str, content: &'static str, query: String| {
        registry.request(method, &format!("{location}{query}")).header("content-range", range).body(content).send()
    };
    let first = chunk(Method::PATCH, "0-4", "01234", String::new()).await.unwrap();
    assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, "0-4"));
    for (range, content) in [("0-4", "01234"), ("6-9", "6789"), ("5-9", "5")] {
        let wrong = chunk(Method::PATCH, range, content, String::new()).await.unwrap();
        assert_eq!((wrong.status(), header(&wrong, "range")), (StatusCode::RANGE_NOT_SATISFIABLE, "0-4"), "{range}");
    }
    let asked = registry.get(&location).await;
    assert_eq!((asked.status(), header(&asked, "range")), (StatusCode::NO_CONTENT, "0-4"));
    let digest = Digest::sha256(b"0123456789");
    let last = chunk(Method::PUT, "5-9", "56789", format!("?digest={digest}")).await.unwrap();
    assert_eq!((last.status(), header(&last, "docker-content-digest")), (StatusCode::CREATED, &*digest.to_string()));
    let blob = registry.get(header(&last, "location")).await;
    assert_eq!(blob.text().await.unwrap(), "0123456789");
    assert_eq!(code(registry.get(&location).await).await, (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn uploads_belong_to_their_repository_and_can_be_cancelled() {
    let registry = Registry::start().await;
    let begun = registry.request(Method::POST, "/v2/a/blobs/uploads/").send().await.unwrap();
    let location = header(&begun, "location").to_owned();
    assert_eq!(registry.get(&location.replace("/a/", "/b/")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(registry.delete(&location).await, StatusCode::NO_CONTENT);
    assert_eq!(registry.get(&location).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn blobs_mount_across_repositories_and_go_with_the_last() {
    let registry = Registry::start().await;
    let digest = registry.blob("a", b"shared").await;
    let mount = |from: &str, digest: &Digest| {
        registry.request(Method::POST, &format!("/v2/b/blobs/uploads/?mount={digest}&from={from}")).send()
    };
    assert_eq!(mount("a", &digest).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(mount("nowhere", &Digest::sha256(b"x")).await.unwrap().status(), StatusCode::ACCEPTED, "a session instead");
    assert_eq!(registry.delete(&format!("/v2/a/blobs/{digest}")).await, StatusCode::ACCEPTED);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(registry.get(&format!("/v2/b/blobs/{digest}")).await.text().await.unwrap(), "shared");
    assert_eq!(registry.delete(&format!("/v2/b/blobs/{digest}")).await, StatusCode::ACCEPTED);
    assert_eq!(registry.delete(&format!("/v2/b/blobs/{digest}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn manifests_by_tag_and_digest() {
    let registry = Registry::start().await;
    let digest = registry.image("a", "v1", b"layer", json!({})).await;
    let by_tag = registry.get("/v2/a/manifests/v1").await;
    assert_eq!((header(&by_tag, "content-type"), header(&by_tag, "docker-content-digest")), (IMAGE, &*digest.to_string()));
    let bytes = by_tag.bytes().await.unwrap();
    assert!(digest.matches(&bytes), "the very bytes that were pushed");
    let head = registry.request(Method::HEAD, &format!("/v2/a/manifests/{digest}")).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), bytes.len().to_string());
    assert_eq!(registry.delete("/v2/a/manifests/v1").await, StatusCode::ACCEPTED);
    assert_eq!(code(registry.get("/v2/a/manifests/v1").await).await.1, "MANIFEST_UNKNOWN");
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).await.status(), StatusCode::OK, "only the tag went");
    registry.image("a", "v2", b"layer", json!({})).await;
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{digest}")).await, StatusCode::ACCEPTED);
    assert_eq!(registry.get("/v2/a/manifests/v2").await.status(), StatusCode::NOT_FOUND, "its tags went with it");
}

#[tokio::test]
async fn incomplete_and_wrong_manifests_are_refused() {
    let registry = Registry::start().await;
    let config = registry.blob("a", b"{}").await;
    let missing = Digest::sha256(b"missing");
    let entry = |digest: &Digest| json!({"mediaType": "x", "digest": digest, "size": 1});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": entry(&config), "layers": [entry(&missing)]});
    let (answer, _) = registry.put("a", "v1", IMAGE, &manifest).await;
    assert_eq!(code(answer).await, (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN".into()));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry(&missing)]});
    let (answer, _) = registry.put("a", "v1", INDEX, &index).await;
    assert_eq!(code(answer).await.1, "MANIFEST_BLOB_UNKNOWN");
    let good = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": entry(&config), "layers": []});
    let (answer, _) = registry.put("a", &missing.to_string(), IMAGE, &good).await;
    assert_eq!(code(answer).await.1, "DIGEST_INVALID");
    let (answer, _) = registry.put("a", "v1", INDEX, &good).await;
    assert_eq!(code(answer).await.1, "MANIFEST_INVALID");
    let (answer, _) = registry.put("a", "v1", IMAGE, &json!({"padding": "x".repeat(4 << 20)})).await;
    assert_eq!(code(answer).await, (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID".into()));
}

#[tokio::test]
async fn tags_and_repositories_in_pages() {
    let registry = Registry::start().await;
    for tag in ["b", "a", "C", "d"] {
        registry.image("x/y", tag, b"layer", json!({})).await;
    }
    registry.image("x", "v", b"layer", json!({})).await;
    let all: Value = registry.get("/v2/x/y/tags/list").await.json().await.unwrap();
    assert_eq!(all, json!({"name": "x/y", "tags": ["C", "a", "b", "d"]}));
    let page = registry.get("/v2/x/y/tags/list?n=2").await;
    assert_eq!(header(&page, "link"), "</v2/x/y/tags/list?n=2&last=a>; rel=\"next\"");
    let rest = registry.get("/v2/x/y/tags/list?n=2&last=a").await;
    assert_eq!(header(&rest, "link"), "");
    assert_eq!(rest.json::<Value>().await.unwrap()["tags"], json!(["b", "d"]));
    assert_eq!(registry.get("/v2/_catalog").await.json::<Value>().await.unwrap(), json!({"repositories": ["x", "x/y"]}));
    assert_eq!(code(registry.get("/v2/none/tags/list").await).await, (StatusCode::NOT_FOUND, "NAME_UNKNOWN".into()));
}

#[tokio::test]
async fn referrers_come_and_go() {
    let registry = Registry::start().await;
    let subject = registry.image("a", "v1", b"layer", json!({})).await;
    assert_eq!(registry.referrers("a", &subject, "").await.1, Vec::<Value>::new());
    let of = |kind: &str| {
        let subject = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
        json!({"artifactType": kind, "subject": subject, "annotations": {"of": kind}})
    };
    let one = registry.image("a", "", b"one", of("kind/one")).await;
    registry.image("a", "", b"two", of("kind/two")).await;
    let (_, list) = registry.referrers("a", &subject, "").await;
    assert_eq!(list.len(), 2);
    let (answer, list) = registry.referrers("a", &subject, "?artifactType=kind/one").await;
    assert_eq!((header(&answer, "oci-filters-applied"), list.len()), ("artifactType", 1));
    assert_eq!((&list[0]["digest"], &list[0]["annotations"]["of"]), (&json!(one), &json!("kind/one")));
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{one}")).await, StatusCode::ACCEPTED);
    assert_eq!(registry.referrers("a", &subject, "").await.1.len(), 1);
}

#[tokio::test]
async fn the_subject_is_acknowledged_unless_the_registry_plays_old() {
    for (without_referrers, acknowledged, listed) in [(false, true, StatusCode::OK), (true, false, StatusCode::NOT_FOUND)] {
        let config = StackConfig { without_referrers, ..StackConfig::default() };
        let registry = Registry { running: Stack::start(config).await.unwrap(), client: Client::new() };
        let subject = registry.image("a", "v1", b"layer", json!({})).await;
        let config = registry.blob("a", b"{}").await;
        let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
            "config": {"mediaType": "x", "digest": config, "size": 2}, "subject": {"mediaType": IMAGE, "digest": subject, "size": 1}});
        let (answer, _) = registry.put("a", "", IMAGE, &manifest).await;
        assert_eq!(header(&answer, "oci-subject") == subject.to_string(), acknowledged);
        assert_eq!(registry.get(&format!("/v2/a/referrers/{subject}")).await.status(), listed);
    }
}

#[tokio::test]
async fn many_at_once() {
    let registry = std::sync::Arc::new(Registry::start().await);
    let pushes: Vec<_> = (0..16_u8)
        .map(|n| {
            let registry = registry.clone();
            // Everybody pushes the same config and layer, half of them into the same repository.
            tokio::spawn(async move {
                registry.image(if n % 2 == 0 { "same" } else { "other" }, &format!("t{n}"), b"layer", json!({})).await
            })
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
    let tags: Value = registry.get("/v2/same/tags/list").await.json().await.unwrap();
    assert_eq!(tags["tags"].as_array().unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposed_registry_wants_a_password_for_writing() {
    let dir = tempfile::tempdir().unwrap();
    let users = vidimus_stack::identity::users(&dir.path().join("keys"));
    let config = StackConfig {
        dir: Some(dir.path().into()),
        listen: Some("0.0.0.0".parse().unwrap()),
        expose: true,
        ..StackConfig::default()
    };
    let running = Stack::start(config).await.unwrap();
    users.add_user("dev@example.com", "correct horse", jiff::Timestamp::now()).unwrap();
    let registry = Registry { running, client: Client::new() };
    let begin = |password: Option<&str>| {
        let request = registry.request(Method::POST, "/v2/a/blobs/uploads/");
        password.map_or(request.try_clone().unwrap(), |password| request.basic_auth("dev@example.com", Some(password))).send()
    };
    let refused = begin(None).await.unwrap();
    assert!(header(&refused, "www-authenticate").starts_with("Basic "));
    assert_eq!(code(refused).await, (StatusCode::UNAUTHORIZED, "UNAUTHORIZED".into()));
    assert_eq!(begin(Some("wrong")).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    for _ in 0..2 {
        assert_eq!(begin(Some("correct horse")).await.unwrap().status(), StatusCode::ACCEPTED);
    }
    assert_eq!(registry.get("/v2/").await.status(), StatusCode::UNAUTHORIZED, "where clients learn that there are passwords");
    assert_eq!(registry.get("/v2/_catalog").await.status(), StatusCode::OK, "reading is free");
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let config = StackConfig { dir: Some(dir.path().into()), ..StackConfig::default() };
    let registry = Registry { running: Stack::start(config).await.unwrap(), client: Client::new() };
    // Without a place for temporary files every write fails, as on a full disk.
    let temporary = dir.path().join("registry/.tmp");
    std::fs::remove_dir(&temporary).unwrap();
    let digest = Digest::sha256(b"content");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let answer = registry.request(Method::POST, &path).body("content").send().await.unwrap();
    assert_eq!(code(answer).await, (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN".into()));
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::NOT_FOUND);
    std::fs::create_dir(&temporary).unwrap();
    registry.blob("a", b"content").await;
    registry.running.shutdown().await;
}
