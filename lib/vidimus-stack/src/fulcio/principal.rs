//! From a verified token to what its certificate says: the identity and the extensions, for every type of issuer that Fulcio knows.
//!
//! The rules and the bytes are Fulcio's. Two things are stricter: Kubernetes names must be names (Fulcio writes an empty one into
//! the URI), and a Chainguard subject may not climb out of its issuer's path.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vidimus_core::fulcio::{Extension, Extensions, Identity};

use super::config::{CiProvider, FulcioConfig, IssuerConfig, IssuerType};
use super::template::{TemplateError, Values};
use super::uri;
use crate::jwt::IdToken;

/// Who a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The one subject alternative name.
    pub identity: Identity,
    /// The extensions.
    pub extensions: Extensions,
    /// What a client may have signed to prove possession of its key. Fulcio takes one of the two, depending on the issuer's type,
    /// while clients choose by whether there is a mail address; taking either makes every token of every type work, and proves
    /// the same thing.
    pub challenges: Vec<String>,
}

/// A believed token that no certificate can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrincipalError {
    /// A claim is missing, malformed, or not allowed for this issuer.
    #[error("{0}")]
    Claim(String),
    /// A template of the CI provider does not fit the token.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The identity is no URI.
    #[error("{0:?} is not a URI")]
    Uri(String),
}

impl Principal {
    /// Applies the rules of the issuer's type.
    pub fn from_token(token: &IdToken, issuer: &IssuerConfig, config: &FulcioConfig) -> Result<Self, PrincipalError> {
        let (identity, values) = match issuer.issuer_type {
            IssuerType::Email => return email(token, issuer),
            IssuerType::Uri => (subject_uri(token, issuer)?, Extensions::new()),
            IssuerType::Username => (username(token, issuer)?, Extensions::new()),
            IssuerType::Kubernetes => (kubernetes(token)?, Extensions::new()),
            IssuerType::Spiffe => (spiffe(token, issuer)?, Extensions::new()),
            IssuerType::Chainguard => (chainguard(token)?, Extensions::new()),
            IssuerType::CiProvider => ci(token, provider(config, &issuer.ci_provider)?)?,
            IssuerType::GithubWorkflow => legacy(token, provider(config, "github-workflow")?, GITHUB)?,
            IssuerType::GitlabPipeline => gitlab(token, provider(config, "gitlab-pipeline")?)?,
            IssuerType::CodefreshWorkflow => legacy(token, provider(config, "codefresh-workflow")?, CODEFRESH)?,
            IssuerType::BuildkiteJob => {
                let (identity, _) = legacy(token, provider(config, "buildkite-job")?, BUILDKITE)?;
                (identity, Extensions::new())
            }
        };
        Ok(Self::new(token, identity, values, token.issuer()))
    }

    fn new(token: &IdToken, identity: Identity, mut extensions: Extensions, issuer: &str) -> Self {
        extensions.set(Extension::Issuer, issuer);
        extensions.set(Extension::IssuerV2, issuer);
        extensions.set(Extension::TokenSubject, token.subject());
        let email = token.claim("email").and_then(Value::as_str).filter(|e| !e.is_empty());
        let challenges = email.into_iter().chain([token.subject()]).map(str::to_owned).collect();
        Self { identity, extensions, challenges }
    }
}

fn claim_error(why: impl Into<String>) -> PrincipalError {
    PrincipalError::Claim(why.into())
}

fn email(token: &IdToken, config: &IssuerConfig) -> Result<Principal, PrincipalError> {
    let address = token.claim("email").and_then(Value::as_str).ok_or_else(|| claim_error("token missing email claim"))?;
    // Some providers write booleans as strings.
    let verified = matches!(token.claim("email_verified"), Some(Value::Bool(true)))
        || token.claim("email_verified").and_then(Value::as_str) == Some("true");
    if !verified && !config.skip_email_verification {
        return Err(claim_error("email_verified claim was false"));
    }
    if !uri::is_email(address) {
        return Err(claim_error("email address is not valid"));
    }
    let issuer = match config.issuer_claim.as_str() {
        "" => token.issuer(),
        path => json_path(token.claims(), path).ok_or_else(|| claim_error(format!("no issuer in claim {path}")))?,
    };
    Ok(Principal::new(token, Identity::Email(address.to_owned()), Extensions::new(), issuer))
}

fn subject_uri(token: &IdToken, config: &IssuerConfig) -> Result<Identity, PrincipalError> {
    let subject = token.subject();
    if uri::is_email(subject) {
        return Err(claim_error("uri subject should not be an email address"));
    }
    let seen = uri::authority(subject).ok_or_else(|| PrincipalError::Uri(subject.to_owned()))?;
    let expected = uri::authority(&config.subject_domain).ok_or_else(|| PrincipalError::Uri(config.subject_domain.clone()))?;
    if seen != expected {
        return Err(claim_error(format!("subject {subject:?} must be under {}://{}", expected.scheme, expected.host)));
    }
    uri_identity(subject)
}

fn username(token: &IdToken, config: &IssuerConfig) -> Result<Identity, PrincipalError> {
    let name = token.subject();
    if name.contains('!') {
        return Err(claim_error("username cannot contain ! character"));
    }
    if uri::is_email(name) {
        return Err(claim_error("username should not be an email address"));
    }
    Ok(Identity::Username(format!("{name}!{}", config.subject_domain)))
}

fn kubernetes(token: &IdToken) -> Result<Identity, PrincipalError> {
    let cluster = token.claim("kubernetes.io");
    let namespace = kubernetes_name(cluster.and_then(|c| c.get("namespace")))?;
    let account = kubernetes_name(cluster.and_then(|c| c.get("serviceaccount")?.get("name")))?;
    uri_identity(&format!("https://kubernetes.io/namespaces/{namespace}/serviceaccounts/{account}"))
}

/// RFC 1123 names, so that nothing in them can change the shape of the URI.
fn kubernetes_name(value: Option<&Value>) -> Result<&str, PrincipalError> {
    let name = value.and_then(Value::as_str).unwrap_or_default();
    let ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if ok { Ok(name) } else { Err(claim_error(format!("kubernetes.io claim: {name:?} is not a name"))) }
}

fn spiffe(token: &IdToken, config: &IssuerConfig) -> Result<Identity, PrincipalError> {
    let id = token.subject();
    match uri::spiffe_trust_domain(id) {
        Some(domain) if domain == config.spiffe_trust_domain => uri_identity(id),
        Some(domain) => {
            let expected = &config.spiffe_trust_domain;
            Err(claim_error(format!("spiffe ID trust domain {domain} doesn't match configured trust domain {expected}")))
        }
        None => Err(claim_error(format!("invalid spiffe ID provided: {id}"))),
    }
}

fn chainguard(token: &IdToken) -> Result<Identity, PrincipalError> {
    let subject = token.subject();
    if subject.split('/').any(|s| matches!(s, "" | "." | "..")) || subject.contains(['?', '#']) {
        return Err(claim_error(format!("subject {subject:?} is not a path")));
    }
    uri_identity(&format!("{}/{subject}", token.issuer().trim_end_matches('/')))
}

fn provider<'a>(config: &'a FulcioConfig, name: &str) -> Result<&'a CiProvider, PrincipalError> {
    config.provider(name).ok_or_else(|| claim_error(format!("metadata not found for ci provider {name}")))
}

fn ci(token: &IdToken, provider: &CiProvider) -> Result<(Identity, Extensions), PrincipalError> {
    let mut values = provider.defaults.clone();
    values.extend(strings(token.claims()));
    render(provider, &values)
}

fn render(provider: &CiProvider, values: &Values) -> Result<(Identity, Extensions), PrincipalError> {
    let identity = uri_identity(&provider.subject.render(values)?)?;
    let mut extensions = Extensions::new();
    for (extension, template) in &provider.extensions {
        extensions.set(*extension, template.render(values)?);
    }
    Ok((identity, extensions))
}

/// The claims that the older, hard-wired issuer types insist on.
const GITHUB: &[&str] = &[
    "job_workflow_ref",
    "sha",
    "event_name",
    "repository",
    "workflow",
    "ref",
    "job_workflow_sha",
    "runner_environment",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
    "workflow_ref",
    "workflow_sha",
    "run_id",
    "run_attempt",
];
const GITLAB: &[&str] = &[
    "project_path",
    "pipeline_source",
    "pipeline_id",
    "ci_config_ref_uri",
    "job_id",
    "ref",
    "ref_type",
    "namespace_path",
    "namespace_id",
    "project_id",
    "sha",
    "runner_environment",
    "runner_id",
];
const CODEFRESH: &[&str] = &["account_id", "pipeline_id", "workflow_id"];
const BUILDKITE: &[&str] = &["organization_slug", "pipeline_slug"];

/// The older issuer types: the same certificate as through `ci-provider`, from tokens that carry every claim. Claims that they do
/// not read count as empty, and there is no deployment environment.
fn legacy(token: &IdToken, provider: &CiProvider, required: &[&str]) -> Result<(Identity, Extensions), PrincipalError> {
    let claims = strings(token.claims());
    if let Some(missing) = required.iter().find(|name| claims.get(**name).is_none_or(String::is_empty)) {
        return Err(claim_error(format!("missing {missing} claim in ID token")));
    }
    let mut values = provider.defaults.clone();
    values.extend(claims);
    for optional in [
        "ci_config_sha",
        "project_visibility",
        "account_name",
        "pipeline_name",
        "build_number",
        "job_id",
        "build_commit",
        "build_source",
    ] {
        values.entry(optional.to_owned()).or_default();
    }
    values.entry("runner_environment".to_owned()).or_default();
    values.insert("environment".to_owned(), String::new());
    let (identity, mut extensions) = render(provider, &values)?;
    for uri in URIS {
        if let Some(text) = extensions.get(*uri).and_then(uri::normalized) {
            extensions.set(*uri, text);
        }
    }
    Ok((identity, extensions))
}

/// Extensions that the older types build as URLs, which escapes them; templates are plain text.
const URIS: &[Extension] = &[
    Extension::BuildSignerUri,
    Extension::SourceRepositoryUri,
    Extension::SourceRepositoryOwnerUri,
    Extension::BuildConfigUri,
    Extension::RunInvocationUri,
];

fn gitlab(token: &IdToken, provider: &CiProvider) -> Result<(Identity, Extensions), PrincipalError> {
    match token.claim("ref_type").and_then(Value::as_str) {
        None | Some("branch" | "tag") => legacy(token, provider, GITLAB),
        Some(other) => Err(claim_error(format!("unexpected ref_type: {other}"))),
    }
}

fn uri_identity(text: &str) -> Result<Identity, PrincipalError> {
    uri::normalized(text).map(Identity::Uri).ok_or_else(|| PrincipalError::Uri(text.to_owned()))
}

/// Claims as the strings that Go makes of them.
fn strings(claims: &Map<String, Value>) -> Values {
    claims.iter().map(|(name, value)| (name.clone(), go_string(value))).collect()
}

/// Go's `%v` of a decoded JSON value; numbers are floats there, and whole ones are written without a fraction.
fn go_string(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), |f| f.to_string()),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go_string).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            format!("map[{}]", sorted.iter().map(|(k, v)| format!("{k}:{}", go_string(v))).collect::<Vec<_>>().join(" "))
        }
    }
}

/// The JSONPath that Fulcio's configurations use: names from the root, `$.a.b` or `$['a']['b']`.
fn json_path<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a str> {
    let rest = path.strip_prefix('$')?.replace("['", ".").replace("']", "");
    let mut names = rest.strip_prefix('.')?.split('.');
    let mut value = claims.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    value.as_str().filter(|s| !s.is_empty())
}
