//! Each client of a signing service against the stack's, and the TUF cache together with cosign.

use std::{io, path::Path, sync::Mutex};

use jiff::Timestamp;
use url::Url;
use vidimus_core::{
    Digest,
    dsse::{Envelope, pae},
    encoding::pem_one,
    merkle::check_consistency,
};
use vidimus_net::{
    environment::Environment,
    fulcio::{Fulcio, FulcioError, IssuedCertificate},
    http::{Client, header},
    keys::{EphemeralKey, SigningKey},
    oidc::{self, Ambient, Flow, IdentityToken, Interactivity, Message, Person, Provider, TokenRequest},
    rekor::{RekorV1, RekorV2, Search, Signed, Signer},
    tsa,
    tuf::{Freshness, TrustMaterial, Tuf, TufOptions, initialize},
};
use vidimus_stack::{
    identity,
    stack::{Running, Stack, StackConfig},
};

use crate::peers::Peer;

const EMAIL: &str = "jdoe@example.com";

async fn stack() -> Running {
    Stack::start(StackConfig::default()).await.unwrap()
}

fn origin(stack: &Running) -> Url {
    stack.origin().parse().unwrap()
}

fn tuf_options(stack: &Running, cache: &Path) -> TufOptions {
    TufOptions {
        mirror: Some(format!("{}/tuf", stack.origin())),
        root: Some(stack.root().join("public/root.json").display().to_string()),
        cache: Some(cache.to_owned()),
        ..TufOptions::default()
    }
}

async fn certified(stack: &Running) -> (EphemeralKey, IssuedCertificate) {
    let key = EphemeralKey::generate().unwrap();
    let token = IdentityToken::parse(&stack.token(EMAIL).unwrap()).unwrap();
    let certificate = Fulcio::new(Client::default(), &origin(stack)).certify(&token, &key).await.unwrap();
    (key, certificate)
}

#[tokio::test]
async fn certificates_timestamps_and_entries_of_both_logs() {
    let stack = stack().await;
    let (key, certificate) = certified(&stack).await;
    assert!(certificate.chain_der().len() > 1);
    let (http, base) = (Client::default(), origin(&stack));
    let signer = Signer::Certificate(certificate.leaf_der());
    let (digest, signature) = (Digest::sha256(b"artifact"), key.sign(b"artifact").unwrap());
    let envelope = Envelope::new("t", b"payload".to_vec(), key.sign(&pae("t", b"payload")).unwrap());
    let artifact = Signed::Artifact { digest: &digest, signature: &signature };

    let stamped = tsa::timestamp(&http, &base.join("api/v1/timestamp").unwrap(), &signature).await.unwrap();
    let age = Timestamp::now().duration_since(stamped.time).as_secs();
    assert!((-2..60).contains(&age), "{}", stamped.time);

    let v1 = RekorV1::new(http.clone(), &base);
    let entry = v1.log(artifact, signer).await.unwrap();
    let logged = v1.log(Signed::Envelope(&envelope), signer).await.unwrap();
    assert_eq!((entry.kind_version.kind.as_str(), logged.kind_version.kind.as_str()), ("hashedrekord", "dsse"));
    // The same again is the same entry.
    assert_eq!(v1.log(artifact, signer).await.unwrap().log_index, entry.log_index);

    let v2 = RekorV2::new(http, &base);
    let first = v2.log(artifact, signer).await.unwrap();
    let second = v2.log(Signed::Envelope(&envelope), signer).await.unwrap();
    assert!(second.log_index.0 > first.log_index.0);
    let again = v2.with_log_id(first.log_id.clone()).log(artifact, signer).await.unwrap();
    assert_eq!((again.log_index, &again.log_id), (first.log_index, &first.log_id));
    stack.shutdown().await;
}

#[tokio::test]
async fn a_v1_log_is_read_back() {
    let stack = stack().await;
    let (key, certificate) = certified(&stack).await;
    let log = RekorV1::new(Client::default(), &origin(&stack));
    let before = log.info().await.unwrap();
    let mut indexes = Vec::new();
    for text in ["one", "two", "three"] {
        let (digest, signature) = (Digest::sha256(text.as_bytes()), key.sign(text.as_bytes()).unwrap());
        let signed = Signed::Artifact { digest: &digest, signature: &signature };
        indexes.push(log.log(signed, Signer::Certificate(certificate.leaf_der())).await.unwrap().log_index.to_u64().unwrap());
    }
    let after = log.info().await.unwrap();
    assert_eq!(after.active.tree_size, before.active.tree_size + 3);
    let root = |hex: &str| hex::decode(hex).unwrap().try_into().unwrap();
    let (first, last) = (before.active.tree_size, after.active.tree_size);
    let proof = log.consistency(first, last, Some(&after.active.tree_id)).await.unwrap();
    check_consistency(first, &root(&before.active.root_hash), last, &root(&after.active.root_hash), &proof).unwrap();

    let (uuid, entry) = log.entry_at(indexes[1]).await.unwrap();
    assert_eq!(log.entry(&uuid).await.unwrap().body, entry.body);
    assert_eq!(log.entries(std::slice::from_ref(&uuid)).await.unwrap()[0].0, uuid);
    pem_one(&log.public_key().await.unwrap(), "PUBLIC KEY").unwrap();
    let found = log.search(&Search { digest: Some(Digest::sha256(b"two")), ..Search::default() }).await.unwrap();
    assert_eq!(found, [uuid]);
    let by_mail = Search { email: Some(EMAIL.to_owned()), ..Search::default() };
    assert_eq!(log.search(&by_mail).await.unwrap().len(), 3);
    let missing = log.entry(&"0".repeat(64)).await.unwrap_err();
    assert!(matches!(&missing, vidimus_net::rekor::RekorError::Http(error) if error.is_not_found()), "{missing}");
    stack.shutdown().await;
}

#[tokio::test]
async fn a_v2_log_is_read_back_out_of_tiles() {
    let stack = stack().await;
    let (key, certificate) = certified(&stack).await;
    let log = RekorV2::new(Client::default(), &origin(&stack));
    let signed: Vec<_> = (0..300_u32).map(|n| (Digest::sha256(&n.to_be_bytes()), key.sign(&n.to_be_bytes()).unwrap())).collect();
    let mut entries = Vec::new();
    for some in signed.chunks(50) {
        let calls = some.iter().map(|(digest, signature)| {
            log.log(Signed::Artifact { digest, signature }, Signer::Certificate(certificate.leaf_der()))
        });
        entries.extend(futures_util::future::try_join_all(calls).await.unwrap());
    }
    for logged in entries.iter().step_by(37) {
        let index = logged.log_index.to_u64().unwrap();
        let read = log.entry_at(index, &logged.log_id).await.unwrap();
        assert_eq!(read.canonicalized_body, logged.canonicalized_body);
    }
    let (_, checkpoint) = log.checkpoint().await.unwrap();
    assert!(log.body(checkpoint.size, checkpoint.size).await.is_err());
    stack.shutdown().await;
}

#[tokio::test]
async fn an_authority_that_does_not_know_the_token_says_so() {
    let (stack, other) = (stack().await, stack().await);
    let foreign = IdentityToken::parse(&other.token(EMAIL).unwrap()).unwrap();
    let error = Fulcio::new(Client::default(), &origin(&stack)).certify(&foreign, &EphemeralKey::generate().unwrap()).await;
    let Err(FulcioError::Refused { status: 400, message, .. }) = &error else { panic!("{error:?}") };
    assert!(message.contains("identity token"), "{message}");
    stack.shutdown().await;
    other.shutdown().await;
}

async fn material(cache: &Path, http: Client) -> TrustMaterial {
    let options = TufOptions { cache: Some(cache.to_owned()), ..TufOptions::default() };
    (*Tuf::new(http, options).material(Timestamp::now()).await.unwrap()).clone()
}

#[tokio::test]
async fn trust_is_pinned_refreshed_and_used_without_a_network() {
    let (stack, home) = (stack().await, tempfile::tempdir().unwrap());
    let done = initialize(&Client::default(), &tuf_options(&stack, home.path()), Timestamp::now()).await.unwrap();
    assert_eq!(done.warnings, Vec::<String>::new());
    let config = done.material.signing_config.unwrap();
    assert_eq!(config.fulcio(Timestamp::now()).unwrap().url, stack.origin());
    let always = TufOptions { cache: Some(home.path().to_owned()), freshness: Freshness::Always, ..TufOptions::default() };
    Tuf::new(Client::default(), always).material(Timestamp::now()).await.unwrap();
    stack.shutdown().await;
    let offline = material(home.path(), Client::disabled()).await;
    assert_eq!(offline.trusted_root_json, done.material.trusted_root_json);
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_uses_our_cache_and_we_use_cosigns() {
    let Some(cosign) = Peer::find("cosign") else { return };
    let stack = stack().await;
    let (ours, theirs) = (cosign.home().join("ours"), cosign.home().join("theirs"));
    std::fs::write(cosign.home().join("blob"), "content").unwrap();
    let (mirror, root) = (format!("{}/tuf", stack.origin()), stack.root().join("public/root.json"));
    let token = stack.token(EMAIL).unwrap();
    let sign = ["sign-blob", "--yes", "--identity-token", &token, "--bundle", "b.json", "blob"];
    let identity = ["--certificate-identity", EMAIL, "--certificate-oidc-issuer", stack.origin()];
    let verify = [&["verify-blob", "--bundle", "b.json"][..], &identity, &["blob"]].concat();
    let run = |cache: &Path, arguments: &[&str]| {
        let variables = [("TUF_ROOT", cache.to_str().unwrap())];
        tokio::task::block_in_place(|| cosign.run_with(&variables, arguments)).unwrap();
    };

    initialize(&Client::default(), &tuf_options(&stack, &ours), Timestamp::now()).await.unwrap();
    run(&ours, &sign);
    run(&ours, &verify);
    // What cosign left in our directory is still a good cache.
    material(&ours, Client::disabled()).await;

    run(&theirs, &["initialize", "--mirror", &mirror, "--root", root.to_str().unwrap()]);
    assert!(material(&theirs, Client::disabled()).await.signing_config.is_some());
    let always = TufOptions { cache: Some(theirs.clone()), freshness: Freshness::Always, ..TufOptions::default() };
    Tuf::new(Client::default(), always).material(Timestamp::now()).await.unwrap();
    run(&theirs, &verify);
    stack.shutdown().await;
}

/// A person with an account at the stack, and with or without a browser.
struct Account {
    browser: bool,
    stack: String,
    code: Mutex<Option<std::sync::mpsc::Receiver<String>>>,
}

const PASSWORD: &str = "correct horse battery staple";

/// Fills in a login page and gives what came of it.
async fn log_in(page: Url, extra: &[(&str, &str)]) -> String {
    let http = Client::default();
    let shown = http.get(&page).send().await.unwrap();
    let cookie = shown.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let html = shown.text().unwrap().to_owned();
    let mut fields: Vec<(String, String)> = Vec::new();
    for input in html.split("<input type=hidden ").skip(1) {
        let name = input.split("name=").nth(1).unwrap().split(' ').next().unwrap();
        let value = input.split("value=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        fields.push((name.to_owned(), value));
    }
    let given = [("email", EMAIL), ("password", PASSWORD)];
    let filled: Vec<(&str, &str)> =
        fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(given).chain(extra.iter().copied()).collect();
    let mut action = page;
    action.set_query(None);
    let done = http.post(&action).header(header::COOKIE, cookie).form(&filled).send().await.unwrap();
    done.text().unwrap().to_owned()
}

impl Person for Account {
    fn tell(&self, message: &Message<'_>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        *self.code.lock().unwrap() = Some(receiver);
        match message {
            Message::TypeTheCode { url, .. } => {
                let url = url.parse().unwrap();
                tokio::spawn(async move {
                    let page = log_in(url, &[]).await;
                    sender.send(page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap().to_owned()).unwrap();
                });
            }
            Message::ConfirmOnDevice { code, .. } => {
                let page: Url = format!("{}/oauth2/device", self.stack).parse().unwrap();
                let code = (*code).to_owned();
                tokio::spawn(async move { log_in(page, &[("user_code", &code), ("answer", "yes")]).await });
            }
            _ => {}
        }
    }

    fn open_browser(&self, url: &str) -> Result<(), String> {
        if !self.browser {
            return Err("no screen".to_owned());
        }
        let url = url.parse().unwrap();
        tokio::spawn(async move { log_in(url, &[]).await });
        Ok(())
    }

    fn verification_code(&self) -> io::Result<String> {
        let receiver = self.code.lock().unwrap().take().unwrap();
        Ok(tokio::task::block_in_place(|| receiver.recv().unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_a_browser_a_code_and_another_device() {
    let stack = stack().await;
    let users = identity::users(&stack.root().join("keys"));
    users.add_user(EMAIL, PASSWORD, Timestamp::now()).unwrap();
    let env = Environment::from_pairs::<&str, &str>([]).with_root("/nonexistent");
    let request = |flow| TokenRequest {
        ambient: Ambient::Disabled,
        flow,
        interactivity: Interactivity::Terminal,
        issuer: Some(stack.origin().to_owned()),
        ..TokenRequest::default()
    };
    for (flow, browser) in [(None, true), (Some(Flow::Normal), false), (Some(Flow::Device), false)] {
        let person = Account { browser, stack: stack.origin().to_owned(), code: Mutex::default() };
        let found = oidc::identify(&Client::default(), &env, &request(flow), &person, Timestamp::now()).await.unwrap();
        assert_eq!(found.token.email(), Some(EMAIL), "{flow:?}");
        let key = EphemeralKey::generate().unwrap();
        Fulcio::new(Client::default(), &origin(&stack)).certify(&found.token, &key).await.unwrap();
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_its_token_as_from_github() {
    let stack = stack().await;
    let url = format!("{}/oauth2/ambient?v=1", stack.origin());
    let env =
        Environment::from_pairs([("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "wrong")]);
    let person = Account { browser: false, stack: String::new(), code: Mutex::default() };
    let request = TokenRequest { ambient: Ambient::Only(Provider::GitHubActions), ..TokenRequest::default() };
    let error = oidc::identify(&Client::default(), &env, &request, &person, Timestamp::now()).await.unwrap_err();
    assert!(error.to_string().contains("access denied"), "{error}");
    stack.shutdown().await;
}
