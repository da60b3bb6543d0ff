//! Tokens of CI systems.

use std::process::Stdio;

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{Context, Outcome};
use crate::{
    endpoint::below,
    http::{HttpError, Kind, Network},
};

/// Largest answer: a token in some JSON.
const LIMIT: u64 = 64 << 10;

/// GitHub Actions: `GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=…`.
pub(super) async fn github_actions(context: &Context<'_>) -> Result<String, Outcome> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }
    let env = context.env;
    let (url, token) = match (env.var("ACTIONS_ID_TOKEN_REQUEST_URL"), env.var("ACTIONS_ID_TOKEN_REQUEST_TOKEN")) {
        (Some(url), Some(token)) => (url, token),
        _ if env.var("GITHUB_ACTIONS") == Some("true") => {
            return Err(Outcome::Failed("this job may not ask for a token; give it `permissions: id-token: write`".to_owned()));
        }
        _ => return Err(Outcome::NotHere("ACTIONS_ID_TOKEN_REQUEST_URL and …_TOKEN are not set".to_owned())),
    };
    let mut url: Url = url.parse().map_err(|e| Outcome::Failed(format!("ACTIONS_ID_TOKEN_REQUEST_URL: {e}")))?;
    url.query_pairs_mut().append_pair("audience", context.audience);
    let answer = context.http.get(&url).bearer(token).limit(LIMIT).send().await.map_err(failed)?;
    Ok(answer.json::<Answer>().map_err(failed)?.value)
}

/// GitLab CI: a variable that the job's `id_tokens` makes, named after the audience. `SIGSTORE_ID_TOKEN` has its own provider.
pub(super) fn gitlab(context: &Context<'_>) -> Result<String, Outcome> {
    if context.env.var("GITLAB_CI").is_none() {
        return Err(Outcome::NotHere("GITLAB_CI is not set".to_owned()));
    }
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name = format!("{}_ID_TOKEN", context.audience.chars().map(upper).collect::<String>());
    context.env.var(&name).map(str::to_owned).ok_or_else(|| {
        Outcome::Failed(format!("this job has no {name}; give it `id_tokens: {{{name}: {{aud: {}}}}}`", context.audience))
    })
}

/// Buildkite: the agent's API.
pub(super) async fn buildkite(context: &Context<'_>) -> Result<String, Outcome> {
    #[derive(Deserialize)]
    struct Answer {
        token: String,
    }
    let env = context.env;
    let Some(token) = env.var("BUILDKITE_AGENT_ACCESS_TOKEN") else {
        return Err(Outcome::NotHere("BUILDKITE_AGENT_ACCESS_TOKEN is not set".to_owned()));
    };
    let job = env.var("BUILDKITE_JOB_ID").ok_or_else(|| Outcome::Failed("BUILDKITE_JOB_ID is not set".to_owned()))?;
    if !job.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Outcome::Failed(format!("BUILDKITE_JOB_ID is not the id of a job: {job:?}")));
    }
    let base = env.var("BUILDKITE_AGENT_ENDPOINT").unwrap_or("https://agent.buildkite.com/v3");
    let base: Url = base.parse().map_err(|e| Outcome::Failed(format!("BUILDKITE_AGENT_ENDPOINT: {e}")))?;
    let request = context.http.post(&below(&base, &format!("jobs/{job}/oidc/tokens")));
    // Repeating is harmless: it makes one more token.
    let request = request.authorization(&format!("Token {token}")).json(&json!({ "audience": context.audience })).repeatable();
    let answer = request.limit(LIMIT).send().await.map_err(failed)?;
    Ok(answer.json::<Answer>().map_err(failed)?.token)
}

/// CircleCI: its own program asks for the token, because the job's variables have one for a fixed audience only.
pub(super) async fn circleci(context: &Context<'_>) -> Result<String, Outcome> {
    if context.env.var("CIRCLECI").is_none() {
        return Err(Outcome::NotHere("CIRCLECI is not set".to_owned()));
    }
    if context.http.config().network == Network::None {
        return Err(Outcome::Failed("the network is switched off".to_owned()));
    }
    let claims = json!({ "aud": context.audience }).to_string();
    let mut command = tokio::process::Command::new("circleci");
    command.args(["run", "oidc", "get", "--root-issuer", "--claims", &claims]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| Outcome::Failed(format!("the program `circleci`: {e}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().last().unwrap_or_default().chars().take(200).collect::<String>();
        return Err(Outcome::Failed(format!("`circleci run oidc get`: {}: {last}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|e| Outcome::Failed(format!("`circleci run oidc get`: {e}")))
}

pub(super) fn failed(error: HttpError) -> Outcome {
    match error.kind {
        Kind::Disabled => Outcome::Failed("the network is switched off".to_owned()),
        _ => Outcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        environment::Environment,
        http::Client,
        testing::{Reply, Server, impatient, persistent},
    };

    fn context<'a>(http: &'a Client, env: &'a Environment) -> Context<'a> {
        Context { http, env, audience: "sigstore" }
    }

    fn github(server: &Server) -> Environment {
        let url = format!("{}token?api-version=2", server.url);
        Environment::from_pairs([
            ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret"),
            ("GITHUB_ACTIONS", "true"),
        ])
    }

    #[tokio::test]
    async fn github_gives_a_token_for_the_audience() {
        let server = Server::start(|_| Reply::json(200, &json!({"count": 1, "value": "a.b.c"}))).await;
        let (http, env) = (impatient(), github(&server));
        assert_eq!(github_actions(&context(&http, &env)).await.unwrap(), "a.b.c");
        let seen = &server.seen()[0];
        assert_eq!(seen.path, "/token?api-version=2&audience=sigstore");
        assert_eq!(seen.header("authorization"), Some("Bearer secret"));
    }

    #[tokio::test]
    async fn github_failures_are_failures() {
        for reply in [
            Reply::new(401, ""),
            Reply::new(404, ""),
            Reply::new(500, ""),
            Reply::new(200, "<html>"),
            Reply::new(200, vec![b' '; 1 << 20]),
        ] {
            let server = Server::start(move |_| reply.clone()).await;
            let (http, env) = (impatient(), github(&server));
            let outcome = github_actions(&context(&http, &env)).await.unwrap_err();
            assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
            assert!(!format!("{outcome:?}").contains("secret"));
        }
        let server = Server::start(|_| Reply::new(500, "")).await;
        let (http, env) = (Client::disabled(), github(&server));
        assert!(matches!(github_actions(&context(&http, &env)).await, Err(Outcome::Failed(_))));
        assert!(server.seen().is_empty());
        let (http, env) = (persistent(), github(&server));
        github_actions(&context(&http, &env)).await.unwrap_err();
        assert_eq!(server.seen().len(), 3, "an outage is retried");
    }

    #[tokio::test]
    async fn github_without_the_permission_says_which_one() {
        let http = Client::disabled();
        let env = Environment::from_pairs([("GITHUB_ACTIONS", "true")]);
        let Err(Outcome::Failed(why)) = github_actions(&context(&http, &env)).await else { panic!("not a failure") };
        assert!(why.contains("id-token: write"), "{why}");
        let env = Environment::from_pairs::<&str, &str>([]);
        assert!(matches!(github_actions(&context(&http, &env)).await, Err(Outcome::NotHere(_))));
    }

    #[test]
    fn gitlab_names_the_variable_after_the_audience() {
        let http = Client::disabled();
        let env = Environment::from_pairs([("GITLAB_CI", "true"), ("TRUSTED_ARTIFACT_SIGNER_ID_TOKEN", "t")]);
        let with = |audience| Context { audience, ..context(&http, &env) };
        assert_eq!(gitlab(&with("trusted-artifact-signer")).unwrap(), "t");
        let Err(Outcome::Failed(why)) = gitlab(&with("sigstore")) else { panic!("not a failure") };
        assert!(why.contains("SIGSTORE_ID_TOKEN: {aud: sigstore}"), "{why}");
    }

    #[tokio::test]
    async fn buildkite_asks_its_agent() {
        let server = Server::start(|_| Reply::json(200, &json!({"token": "t"}))).await;
        let http = impatient();
        let endpoint = format!("{}v3", server.url);
        let pairs =
            [("BUILDKITE_AGENT_ACCESS_TOKEN", "secret"), ("BUILDKITE_JOB_ID", "0-a"), ("BUILDKITE_AGENT_ENDPOINT", &endpoint)];
        let env = Environment::from_pairs(pairs);
        assert_eq!(buildkite(&context(&http, &env)).await.unwrap(), "t");
        let seen = &server.seen()[0];
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v3/jobs/0-a/oidc/tokens"));
        assert_eq!(seen.header("authorization"), Some("Token secret"));
        assert_eq!(seen.json(), json!({"audience": "sigstore"}));
        let env = Environment::from_pairs([("BUILDKITE_AGENT_ACCESS_TOKEN", "secret"), ("BUILDKITE_JOB_ID", "../x")]);
        assert!(matches!(buildkite(&context(&http, &env)).await, Err(Outcome::Failed(_))));
        let env = Environment::from_pairs::<&str, &str>([]);
        assert!(matches!(buildkite(&context(&http, &env)).await, Err(Outcome::NotHere(_))));
    }

    #[tokio::test]
    async fn circleci_runs_nothing_without_a_network() {
        let http = Client::disabled();
        let env = Environment::from_pairs([("CIRCLECI", "true")]);
        assert!(matches!(circleci(&context(&http, &env)).await, Err(Outcome::Failed(_))));
        let env = Environment::from_pairs::<&str, &str>([]);
        assert!(matches!(circleci(&context(&http, &env)).await, Err(Outcome::NotHere(_))));
    }
}
