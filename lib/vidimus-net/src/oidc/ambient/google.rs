//! Tokens of Google Cloud: from the metadata server of the machine, from a service account's key (RFC 7523), or, through either, of
//! another service account.
//!
//! External account files (federation from other clouds) are not read; such a file is a failure that says so.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use vidimus_core::encoding::pem_one;

use super::{Context, Outcome, ci::failed};
use crate::endpoint::below;

/// Largest answer: a token in some JSON.
const LIMIT: u64 = 64 << 10;
/// The scope that lets a service account make tokens of another.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Where tokens of other service accounts are made.
const IAM: &str = "https://iamcredentials.googleapis.com";
/// Where a metadata server is found, unless `GCE_METADATA_HOST` says otherwise. An address, so that nothing has to be resolved.
const METADATA: &str = "169.254.169.254";
/// Says on which hardware this is.
const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";

/// The credentials that are there.
enum Credentials {
    /// This machine's metadata server.
    Metadata(Url),
    /// A service account's key.
    Key(Key),
    /// A person's login (`gcloud auth application-default login`). Gives access tokens, but no identity tokens for an audience.
    User(User),
}

#[derive(Deserialize)]
struct Key {
    client_email: String,
    private_key: String,
    token_uri: Url,
}

#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    #[serde(default = "google_token_uri")]
    token_uri: Url,
}

/// An identity token of the machine's or the key's own service account.
pub(super) async fn workload_identity(context: &Context<'_>, now: Timestamp) -> Result<String, Outcome> {
    match credentials(context)? {
        Credentials::Metadata(base) => {
            let mut url = below(&base, "computeMetadata/v1/instance/service-accounts/default/identity");
            url.query_pairs_mut().append_pair("audience", context.audience).append_pair("format", "full");
            metadata(context, &url).await
        }
        Credentials::Key(key) => {
            let answer = key.exchange(context, &json!({ "target_audience": context.audience }), now).await?;
            answer.id_token.ok_or_else(|| Outcome::Failed(format!("{} gave no id_token", key.token_uri)))
        }
        Credentials::User(_) => {
            let why =
                "a person's Google login gives no identity tokens; set GOOGLE_SERVICE_ACCOUNT_NAME to use a service account's";
            Err(Outcome::NotHere(why.to_owned()))
        }
    }
}

/// An identity token of the service account that `GOOGLE_SERVICE_ACCOUNT_NAME` names.
pub(super) async fn impersonate(context: &Context<'_>, now: Timestamp) -> Result<String, Outcome> {
    let Some(account) = context.env.var("GOOGLE_SERVICE_ACCOUNT_NAME") else {
        return Err(Outcome::NotHere("GOOGLE_SERVICE_ACCOUNT_NAME is not set".to_owned()));
    };
    let iam = IAM.parse().map_err(|e| Outcome::Failed(format!("{IAM}: {e}")))?;
    impersonate_at(context, &iam, account, now).await
}

async fn impersonate_at(context: &Context<'_>, iam: &Url, account: &str, now: Timestamp) -> Result<String, Outcome> {
    #[derive(Deserialize)]
    struct Answer {
        token: String,
    }
    let access_token = access_token(context, now).await?;
    if !account.bytes().all(|b| b.is_ascii_alphanumeric() || b"@.-_".contains(&b)) {
        return Err(Outcome::Failed(format!("GOOGLE_SERVICE_ACCOUNT_NAME is not the name of a service account: {account:?}")));
    }
    let url = below(iam, &format!("v1/projects/-/serviceAccounts/{account}:generateIdToken"));
    let request = context.http.post(&url).bearer(&access_token);
    let request = request.json(&json!({ "audience": context.audience, "includeEmail": true })).repeatable();
    let answer = request.limit(LIMIT).send().await.map_err(failed)?;
    Ok(answer.json::<Answer>().map_err(failed)?.token)
}

async fn access_token(context: &Context<'_>, now: Timestamp) -> Result<String, Outcome> {
    let credentials = credentials(context).map_err(|outcome| match outcome {
        // Here an account was named, so credentials are missing rather than out of place.
        Outcome::NotHere(why) => Outcome::Failed(why),
        other => other,
    })?;
    let answer = match &credentials {
        Credentials::Metadata(base) => {
            let url = below(base, "computeMetadata/v1/instance/service-accounts/default/token");
            let text = metadata(context, &url).await?;
            serde_json::from_str(&text).map_err(|e| Outcome::Failed(format!("{url}: {e}")))?
        }
        Credentials::Key(key) => key.exchange(context, &json!({ "scope": CLOUD_PLATFORM }), now).await?,
        Credentials::User(user) => {
            let fields = [
                ("grant_type", "refresh_token"),
                ("client_id", &user.client_id),
                ("client_secret", &user.client_secret),
                ("refresh_token", &user.refresh_token),
            ];
            let answer = context.http.post(&user.token_uri).form(&fields).limit(LIMIT).send().await.map_err(failed)?;
            answer.json().map_err(failed)?
        }
    };
    answer.access_token.ok_or_else(|| Outcome::Failed("Google gave no access token".to_owned()))
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    id_token: Option<String>,
}

impl Key {
    /// Exchanges an assertion signed with the key for a token (RFC 7523 §2.1).
    async fn exchange(&self, context: &Context<'_>, wanted: &serde_json::Value, now: Timestamp) -> Result<TokenAnswer, Outcome> {
        let assertion = self.assertion(wanted, now)?;
        let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
        let request = context.http.post(&self.token_uri).form(&fields).repeatable();
        request.limit(LIMIT).send().await.map_err(failed)?.json().map_err(failed)
    }

    fn assertion(&self, wanted: &serde_json::Value, now: Timestamp) -> Result<String, Outcome> {
        let bad = |why: &dyn std::fmt::Display| Outcome::Failed(format!("the key of {}: {why}", self.client_email));
        let mut claims = json!({ "iss": self.client_email, "sub": self.client_email, "aud": self.token_uri, "iat": now.as_second(),
            "exp": now.as_second() + 300 });
        for (name, value) in wanted.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
        let der = pem_one(&self.private_key, "PRIVATE KEY").map_err(|e| bad(&e))?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|e| bad(&e))?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| bad(&"it cannot sign"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

async fn metadata(context: &Context<'_>, url: &Url) -> Result<String, Outcome> {
    // The header proves that no confused browser or proxy sends this.
    let name = ::http::HeaderName::from_static("metadata-flavor");
    let answer = context.http.get(url).header(name, "Google").limit(LIMIT).send().await.map_err(failed)?;
    Ok(answer.text().map_err(failed)?.to_owned())
}

/// Google's order ("Application Default Credentials"): the file of the variable, the file of `gcloud`, the machine.
fn credentials(context: &Context<'_>) -> Result<Credentials, Outcome> {
    let env = context.env;
    if let Some(path) = env.var("GOOGLE_APPLICATION_CREDENTIALS") {
        let text = super::read_token_file(path.as_ref());
        return from_file(&text.map_err(|e| Outcome::Failed(format!("GOOGLE_APPLICATION_CREDENTIALS: {path}: {e}")))?, path);
    }
    if let Some(path) = env.home().map(|home| home.join(".config/gcloud/application_default_credentials.json"))
        && let Ok(text) = super::read_token_file(&path)
    {
        return from_file(&text, &path.display().to_string());
    }
    let host = match env.var("GCE_METADATA_HOST") {
        Some(host) => host,
        None if on_google_hardware(context) => METADATA,
        None => return Err(Outcome::NotHere("this is no machine of Google's, and there are no Google credentials".to_owned())),
    };
    let url = format!("http://{host}").parse().map_err(|e| Outcome::Failed(format!("GCE_METADATA_HOST: {e}")))?;
    Ok(Credentials::Metadata(url))
}

fn from_file(text: &str, path: &str) -> Result<Credentials, Outcome> {
    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum File {
        AuthorizedUser(User),
        ServiceAccount(Key),
        #[serde(other)]
        Other,
    }
    // Not serde's words: they may quote the key.
    match serde_json::from_str(text).map_err(|_| Outcome::Failed(format!("{path} is not a Google credentials file")))? {
        File::AuthorizedUser(user) => Ok(Credentials::User(user)),
        File::ServiceAccount(key) => Ok(Credentials::Key(key)),
        File::Other => Err(Outcome::Failed(format!("{path}: this kind of Google credentials is not supported"))),
    }
}

/// Asking the metadata server is no test: elsewhere its address answers nothing, or somebody else's does.
fn on_google_hardware(context: &Context<'_>) -> bool {
    let name = std::fs::read_to_string(context.env.path(PRODUCT_NAME)).unwrap_or_default();
    matches!(name.trim(), "Google" | "Google Compute Engine")
}

fn google_token_uri() -> Url {
    Url::parse("https://oauth2.googleapis.com/token").expect("a constant that is a URL")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_lc_rs::{
        encoding::AsDer,
        rsa::{KeyPair, KeySize},
        signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };
    use vidimus_core::encoding::pem;

    use super::*;
    use crate::{
        environment::Environment,
        http::Client,
        testing::{Reply, Server, impatient},
    };

    fn now() -> Timestamp {
        "2026-11-21T20:00:00Z".parse().unwrap()
    }

    fn metadata_server() -> impl Future<Output = Server> {
        Server::start(|seen| match seen.path.split('?').next().unwrap() {
            "/computeMetadata/v1/instance/service-accounts/default/identity" => Reply::new(200, "a.b.c"),
            "/computeMetadata/v1/instance/service-accounts/default/token" => Reply::json(200, &json!({"access_token": "at"})),
            "/v1/projects/-/serviceAccounts/sa@p.iam:generateIdToken" => Reply::json(200, &json!({"token": "x.y.z"})),
            _ => Reply::new(404, ""),
        })
    }

    fn on_machine(server: &Server) -> Environment {
        let host = server.url.authority().to_owned();
        Environment::from_pairs([("GCE_METADATA_HOST", host)]).with_root("/nonexistent")
    }

    #[tokio::test]
    async fn the_machine_gives_its_own_token() {
        let server = metadata_server().await;
        let (http, env) = (impatient(), on_machine(&server));
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        assert_eq!(workload_identity(&context, now()).await.unwrap(), "a.b.c");
        let seen = &server.seen()[0];
        assert!(seen.path.ends_with("?audience=sigstore&format=full"), "{}", seen.path);
        assert_eq!(seen.header("metadata-flavor"), Some("Google"));
    }

    #[tokio::test]
    async fn another_accounts_token_is_made_with_the_machines() {
        let server = metadata_server().await;
        let (http, env) = (impatient(), on_machine(&server));
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        assert_eq!(impersonate_at(&context, &server.url, "sa@p.iam", now()).await.unwrap(), "x.y.z");
        let seen = &server.seen()[1];
        assert_eq!(seen.header("authorization"), Some("Bearer at"));
        assert_eq!(seen.json(), json!({"audience": "sigstore", "includeEmail": true}));
        assert!(matches!(impersonate_at(&context, &server.url, "../x", now()).await, Err(Outcome::Failed(_))));
        assert!(matches!(impersonate(&context, now()).await, Err(Outcome::NotHere(_))));
    }

    #[tokio::test]
    async fn a_key_signs_for_its_token() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let server = Server::start(|_| Reply::json(200, &json!({"id_token": "a.b.c"}))).await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.json");
        let key = json!({"type": "service_account", "client_email": "sa@p.iam", "private_key": pem("PRIVATE KEY", der.as_ref()),
            "token_uri": server.url});
        std::fs::write(&file, key.to_string()).unwrap();
        let env = Environment::from_pairs([("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())]);
        let http = impatient();
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        assert_eq!(workload_identity(&context, now()).await.unwrap(), "a.b.c");
        let form: BTreeMap<_, _> = server.seen()[0].form();
        let (message, signature) = form["assertion"].rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
        public.verify(message.as_bytes(), &signature).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(message.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!((&claims["target_audience"], &claims["iss"]), (&json!("sigstore"), &json!("sa@p.iam")));
        std::fs::write(&file, json!({"type": "external_account"}).to_string()).unwrap();
        let Err(Outcome::Failed(why)) = workload_identity(&context, now()).await else { panic!("not a failure") };
        assert!(why.contains("not supported"), "{why}");
    }

    #[tokio::test]
    async fn elsewhere_nothing_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let env = Environment::from_pairs::<&str, &str>([]).with_root(root.path());
        let http = Client::disabled();
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        assert!(matches!(workload_identity(&context, now()).await, Err(Outcome::NotHere(_))));
        let product = env.path(PRODUCT_NAME);
        std::fs::create_dir_all(product.parent().unwrap()).unwrap();
        std::fs::write(product, "Google Compute Engine\n").unwrap();
        let Err(Outcome::Failed(why)) = workload_identity(&context, now()).await else { panic!("not a failure") };
        assert!(why.contains("switched off"), "{why}");
    }
}
