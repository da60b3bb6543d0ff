//! A registry on a loopback port, in memory, that can be told to misbehave.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    response::Response,
};
use vidimus_core::{
    Digest, Reference, Repository,
    encoding::decode,
    oci::{INDEX, MANIFEST, Raw},
};
use vidimus_net::{
    http::{Client, Config, Retry},
    oci::{Registry, RegistryOptions},
};

/// How the registry asks for credentials. The only good pair is `user` and `pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    None,
    Basic,
    Bearer,
}

/// What kind of registry it is.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub auth: Auth,
    pub referrers_api: bool,
    /// Whether a listed manifest is acknowledged with `OCI-Subject`.
    pub oci_subject: bool,
    pub page: usize,
    pub etag: bool,
    pub honours_conditions: bool,
    pub token_lifetime: u64,
    /// Waited before each answer.
    pub latency: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            referrers_api: true,
            oci_subject: true,
            page: 1000,
            etag: false,
            honours_conditions: false,
            token_lifetime: 300,
            latency: Duration::ZERO,
        }
    }
}

/// An answer that replaces the real one.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Never answers.
    Hang,
    /// The head, then a body that never ends.
    Endless,
    /// The head and the beginning of a body that was announced longer.
    Truncated(Vec<u8>),
    /// The real answer.
    Real,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), format!(r#"{{"errors":[{{"code":"C{status}","message":"m"}}]}}"#).into_bytes())
    }

    pub(crate) fn ok(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Status(200, Vec::new(), bytes.into())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub method: Method,
    pub target: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Store {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<(String, String), String>,
    uploads: HashMap<String, Vec<u8>>,
    next_upload: u64,
    tokens: Vec<String>,
    log: Vec<Seen>,
    /// Replies by `METHOD path-fragment`; the last one stays.
    scripts: Vec<(Method, String, VecDeque<Reply>)>,
}

/// The server. It lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    behaviour: Behaviour,
    address: String,
    store: Arc<Mutex<Store>>,
}

impl Server {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { behaviour, address, store: Arc::default() };
        let app = Router::new().fallback(handle).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    pub(crate) fn repository(&self, name: &str) -> Repository {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// From now on, requests of this method whose target contains `fragment` get these replies, the last one for ever.
    pub(crate) fn script(&self, method: Method, fragment: &str, replies: impl IntoIterator<Item = Reply>) {
        self.store.lock().unwrap().scripts.push((method, fragment.to_owned(), replies.into_iter().collect()));
    }

    pub(crate) fn requests(&self, method: Method, fragment: &str) -> usize {
        self.log().iter().filter(|s| s.method == method && s.target.contains(fragment)).count()
    }

    pub(crate) fn log(&self) -> Vec<Seen> {
        self.store.lock().unwrap().log.clone()
    }

    pub(crate) fn put_tag(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut store = self.store.lock().unwrap();
        store.manifests.insert(format!("{repository}@{digest}"), (media_type.to_owned(), bytes.to_vec()));
        store.tags.insert((repository.to_owned(), tag.to_owned()), digest.to_string());
        digest
    }

    pub(crate) fn tag_bytes(&self, repository: &str, tag: &str) -> Option<Vec<u8>> {
        let store = self.store.lock().unwrap();
        let digest = store.tags.get(&(repository.to_owned(), tag.to_owned()))?;
        store.manifests.get(&format!("{repository}@{digest}")).map(|(_, bytes)| bytes.clone())
    }

    pub(crate) fn expire_tokens(&self) {
        self.store.lock().unwrap().tokens.clear();
    }

    fn scripted(&self, method: &Method, target: &str) -> Option<Reply> {
        let mut store = self.store.lock().unwrap();
        let (_, _, replies) = store.scripts.iter_mut().rev().find(|(m, f, _)| m == method && target.contains(f.as_str()))?;
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    }
}

/// A client with little patience.
pub(crate) fn http() -> Client {
    let mut config = Config::default();
    config.timeout = Duration::from_millis(700);
    config.read_timeout = Duration::from_millis(500);
    config.retry = Retry { attempts: 3, budget: Duration::from_secs(20), base: Duration::from_millis(2) };
    Client::new(config)
}

pub(crate) fn registry() -> Registry {
    registry_with(|_| {})
}

pub(crate) fn registry_with(set: impl FnOnce(&mut RegistryOptions)) -> Registry {
    let mut options = RegistryOptions::default();
    set(&mut options);
    Registry::new(&http(), options)
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

async fn handle(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.to_string();
    let authorization = parts.headers.get(header::AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
    server.store.lock().unwrap().log.push(Seen {
        method: parts.method.clone(),
        target: target.clone(),
        authorization: authorization.clone(),
    });
    tokio::time::sleep(server.behaviour.latency).await;
    match server.scripted(&parts.method, &target) {
        None | Some(Reply::Real) => {}
        Some(Reply::Status(status, headers, body)) => {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            return answer(status, &headers, body);
        }
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Endless) => {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16])));
            return answer(200, &[], Body::from_stream(chunks));
        }
        Some(Reply::Truncated(bytes)) => {
            let broken = futures_util::stream::iter([Ok(Bytes::from(bytes)), Err(std::io::Error::other("gone"))]);
            return answer(200, &[], Body::from_stream(broken));
        }
    }
    let body = axum::body::to_bytes(body, 256 << 20).await.unwrap();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    if parts.uri.path() == "/token" {
        return server.token(&parts.method, authorization.as_deref(), &query, &body);
    }
    if let Some(refusal) = server.refusal(authorization.as_deref()) {
        return refusal;
    }
    server.route(&parts.method, parts.uri.path(), &query, &parts.headers, body)
}

impl Server {
    fn refusal(&self, authorization: Option<&str>) -> Option<Response> {
        let challenge = match self.behaviour.auth {
            Auth::None => return None,
            Auth::Basic if authorization == Some("Basic dXNlcjpwYXNz") => return None,
            Auth::Basic => r#"Basic realm="test""#.to_owned(),
            Auth::Bearer => {
                let store = self.store.lock().unwrap();
                if authorization.and_then(|a| a.strip_prefix("Bearer ")).is_some_and(|t| store.tokens.iter().any(|k| k == t)) {
                    return None;
                }
                format!(r#"Bearer realm="http://{}/token",service="test""#, self.address)
            }
        };
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Some(answer(401, &[("www-authenticate", &challenge)], body))
    }

    fn token(&self, method: &Method, authorization: Option<&str>, query: &HashMap<String, String>, body: &[u8]) -> Response {
        let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let pair = authorization.and_then(|a| a.strip_prefix("Basic ")).map(|p| decode(p).unwrap());
        let allowed = match (method, pair) {
            (&Method::GET, None) => query.get("scope").is_none_or(|s| !s.contains("push")),
            (&Method::GET, Some(pair)) => pair == b"user:pass",
            (&Method::POST, _) => form.get("refresh_token").is_some_and(|t| t == "refresh"),
            _ => false,
        };
        if !allowed {
            return answer(401, &[], r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#);
        }
        let mut store = self.store.lock().unwrap();
        let token = format!("token-{}", store.log.len());
        store.tokens.push(token.clone());
        let lifetime = self.behaviour.token_lifetime;
        answer(200, &[], format!(r#"{{"token":"{token}","expires_in":{lifetime}}}"#))
    }

    fn route(&self, method: &Method, path: &str, query: &HashMap<String, String>, headers: &HeaderMap, body: Bytes) -> Response {
        let Some(rest) = path.strip_prefix("/v2/") else { return answer(404, &[], "") };
        if rest.is_empty() {
            return answer(200, &[], "{}");
        }
        for (marker, part) in [("/blobs/uploads/", 0), ("/blobs/", 1), ("/manifests/", 2), ("/referrers/", 3), ("/tags/list", 4)]
        {
            let Some((repository, tail)) = rest.split_once(marker) else { continue };
            return match part {
                0 => self.upload(method, repository, tail, query, body),
                1 => self.blob(method, repository, tail),
                2 => self.manifest(method, repository, tail, headers, body),
                3 => self.referrers(repository, tail, query),
                _ => self.tags(repository, query),
            };
        }
        answer(404, &[], "")
    }

    fn upload(&self, method: &Method, repository: &str, id: &str, query: &HashMap<String, String>, body: Bytes) -> Response {
        let mut store = self.store.lock().unwrap();
        if *method == Method::POST {
            let mount = query.get("mount").zip(query.get("from"));
            let mounted = mount.and_then(|(digest, from)| Some((digest, store.blobs.get(&format!("{from}@{digest}")).cloned()?)));
            if let Some((digest, bytes)) = mounted {
                store.blobs.insert(format!("{repository}@{digest}"), bytes);
                return answer(201, &[], "");
            }
            store.next_upload += 1;
            let id = format!("u{}", store.next_upload);
            store.uploads.insert(id.clone(), Vec::new());
            return answer(202, &[("location", &format!("/v2/{repository}/blobs/uploads/{id}?state=0"))], "");
        }
        let Some(upload) = store.uploads.get_mut(id) else { return answer(404, &[], "") };
        upload.extend_from_slice(&body);
        if *method == Method::PATCH {
            let state = upload.len();
            return answer(202, &[("location", &format!("/v2/{repository}/blobs/uploads/{id}?state={state}"))], "");
        }
        let bytes = store.uploads.remove(id).unwrap();
        let digest = Digest::sha256(&bytes).to_string();
        if query.get("digest") != Some(&digest) {
            return answer(400, &[], r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#);
        }
        store.blobs.insert(format!("{repository}@{digest}"), bytes);
        answer(201, &[("docker-content-digest", &digest)], "")
    }

    fn blob(&self, method: &Method, repository: &str, digest: &str) -> Response {
        match self.store.lock().unwrap().blobs.get(&format!("{repository}@{digest}")) {
            Some(_) if *method == Method::HEAD => answer(200, &[], ""),
            Some(bytes) => answer(200, &[], bytes.clone()),
            None => answer(404, &[], r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"m"}]}"#),
        }
    }

    fn manifest(&self, method: &Method, repository: &str, name: &str, headers: &HeaderMap, body: Bytes) -> Response {
        let mut store = self.store.lock().unwrap();
        let key = (repository.to_owned(), name.to_owned());
        let current = if name.contains(':') { Some(name.to_owned()) } else { store.tags.get(&key).cloned() };
        match *method {
            Method::PUT => {
                let conditions_hold =
                    [(header::IF_MATCH, true), (header::IF_NONE_MATCH, false)].iter().all(|(condition, must)| {
                        let Some(value) = headers.get(condition) else { return true };
                        let matches =
                            current.as_ref().is_some_and(|c| value == "*" || value.as_bytes() == format!("\"{c}\"").as_bytes());
                        matches == *must
                    });
                if self.behaviour.honours_conditions && !conditions_hold {
                    return answer(412, &[], "");
                }
                let media_type = headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
                let document = match Raw::parse(body.to_vec(), Some(&media_type)) {
                    Ok(document) => document,
                    Err(e) => return answer(400, &[], e.to_string()),
                };
                let digest = Digest::sha256(&body).to_string();
                store.manifests.insert(format!("{repository}@{digest}"), (media_type, body.to_vec()));
                if !name.contains(':') {
                    store.tags.insert(key, digest.clone());
                }
                let mut answers = vec![("docker-content-digest", digest)];
                let subject = document.subject().map(|s| s.digest.to_string());
                answers.extend(
                    subject.filter(|_| self.behaviour.referrers_api && self.behaviour.oci_subject).map(|s| ("oci-subject", s)),
                );
                let answers: Vec<(&str, &str)> = answers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                answer(201, &answers, "")
            }
            Method::DELETE => {
                let gone = current.and_then(|c| store.manifests.remove(&format!("{repository}@{c}")));
                answer(if gone.is_some() { 202 } else { 404 }, &[], "")
            }
            _ => {
                let found = current.and_then(|c| store.manifests.get(&format!("{repository}@{c}")).map(|m| (c, m)));
                let Some((digest, (media_type, bytes))) = found else {
                    return answer(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m"}]}"#);
                };
                let mut response = answer(
                    200,
                    &[("content-type", media_type), ("docker-content-digest", &digest)],
                    if *method == Method::HEAD { Vec::new() } else { bytes.clone() },
                );
                if self.behaviour.etag {
                    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&format!("\"{digest}\"")).unwrap());
                }
                response
            }
        }
    }

    fn referrers(&self, repository: &str, subject: &str, query: &HashMap<String, String>) -> Response {
        if !self.behaviour.referrers_api {
            return answer(404, &[], "404 page not found");
        }
        let store = self.store.lock().unwrap();
        let mut entries = Vec::new();
        for (key, (media_type, bytes)) in &store.manifests {
            if !key.starts_with(&format!("{repository}@")) || media_type != MANIFEST {
                continue;
            }
            let manifest = Raw::parse(bytes.clone(), Some(MANIFEST)).unwrap().into_manifest().unwrap();
            if manifest.subject.as_ref().is_some_and(|s| s.digest.to_string() == subject) {
                entries.push(vidimus_core::oci::referrer_entry(&manifest));
            }
        }
        let from: usize = query.get("from").map_or(0, |f| f.parse().unwrap());
        let to = (from + self.behaviour.page).min(entries.len());
        let page = serde_json::to_string(&entries[from..to]).unwrap();
        let body = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":{page}}}"#);
        let mut response = answer(200, &[("content-type", INDEX)], body);
        if to < entries.len() {
            let next = format!(r#"</v2/{repository}/referrers/{subject}?from={to}>; rel="next""#);
            response.headers_mut().insert(header::LINK, HeaderValue::from_str(&next).unwrap());
        }
        response
    }

    fn tags(&self, repository: &str, query: &HashMap<String, String>) -> Response {
        let store = self.store.lock().unwrap();
        let after = query.get("last").cloned().unwrap_or_default();
        let mut tags: Vec<&String> = store.tags.keys().filter(|(r, t)| r == repository && *t > after).map(|(_, t)| t).collect();
        let more = tags.len() > self.behaviour.page;
        tags.truncate(self.behaviour.page);
        let mut response = answer(200, &[], serde_json::json!({ "name": repository, "tags": tags }).to_string());
        if more {
            let next = format!(r#"</v2/{repository}/tags/list?last={}>; rel="next""#, tags[tags.len() - 1]);
            response.headers_mut().insert(header::LINK, HeaderValue::from_str(&next).unwrap());
        }
        response
    }
}
