//! Which identity providers are trusted and what their tokens become: Fulcio's own configuration format, in YAML or JSON.
//!
//! `oidc-issuers` names issuers by URL, `meta-issuers` by pattern (`*` stands for one run of letters, digits, `-` and `_`), and
//! `ci-issuer-metadata` says how the claims of a CI system become certificate extensions. Everything that can be checked without
//! a token is checked here, when the file is read. The stack's own issuer is added by the code that owns it.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use vidimus_core::encoding;
use vidimus_core::fulcio::Extension;

use super::template::{Template, TemplateError, Values};
use super::uri;

/// Bytes of a configuration: the public instance's has 16 KiB.
pub const CONFIG_BYTES: usize = 1 << 20;
/// Issuers in one configuration.
const ISSUERS: usize = 1_000;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not YAML of the right shape.
    #[error("Fulcio configuration: {0}")]
    Syntax(String),
    /// An issuer that contradicts itself.
    #[error("Fulcio configuration: issuer {issuer}: {why}")]
    Issuer {
        /// URL or pattern.
        issuer: String,
        /// What is wrong.
        why: String,
    },
    /// A CI provider's metadata that cannot be used.
    #[error("Fulcio configuration: ci-issuer-metadata {provider}: {why}")]
    Provider {
        /// The provider's name.
        provider: String,
        /// What is wrong.
        why: String,
    },
}

/// What an issuer's tokens stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum IssuerType {
    /// People, by mail address.
    #[serde(rename = "email")]
    Email,
    /// Accounts of a service, by URI.
    #[serde(rename = "uri")]
    Uri,
    /// Accounts of a service, by name.
    #[serde(rename = "username")]
    Username,
    /// Service accounts of a cluster.
    #[serde(rename = "kubernetes")]
    Kubernetes,
    /// Workloads.
    #[serde(rename = "spiffe")]
    Spiffe,
    /// CI jobs, through `ci-issuer-metadata`.
    #[serde(rename = "ci-provider")]
    CiProvider,
    /// Chainguard identities.
    #[serde(rename = "chainguard-identity")]
    Chainguard,
    /// Buildkite, before `ci-provider`.
    #[serde(rename = "buildkite-job")]
    BuildkiteJob,
    /// Codefresh, before `ci-provider`.
    #[serde(rename = "codefresh-workflow")]
    CodefreshWorkflow,
    /// GitHub, before `ci-provider`.
    #[serde(rename = "github-workflow")]
    GithubWorkflow,
    /// GitLab, before `ci-provider`.
    #[serde(rename = "gitlab-pipeline")]
    GitlabPipeline,
}

impl IssuerType {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Uri => "uri",
            Self::Username => "username",
            Self::Kubernetes => "kubernetes",
            Self::Spiffe => "spiffe",
            Self::CiProvider => "ci-provider",
            Self::Chainguard => "chainguard-identity",
            Self::BuildkiteJob => "buildkite-job",
            Self::CodefreshWorkflow => "codefresh-workflow",
            Self::GithubWorkflow => "github-workflow",
            Self::GitlabPipeline => "gitlab-pipeline",
        }
    }
}

/// A trusted issuer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IssuerConfig {
    /// Its URL: what a token's `iss` must equal. For a meta issuer, its pattern.
    #[serde(default, alias = "IssuerURL")]
    pub issuer_url: String,
    /// What a token's `aud` must contain.
    #[serde(alias = "ClientID")]
    pub client_id: String,
    /// What its tokens stand for.
    #[serde(rename = "type", alias = "Type")]
    pub issuer_type: IssuerType,
    /// The entry of `ci-issuer-metadata`, for [`IssuerType::CiProvider`].
    #[serde(default, alias = "CIProvider")]
    pub ci_provider: String,
    /// JSONPath of the claim that names the issuer to write, for issuers that federate.
    #[serde(default, alias = "IssuerClaim")]
    pub issuer_claim: String,
    /// For `uri` the origin of all subjects; for `username` the domain to append.
    #[serde(default, alias = "SubjectDomain")]
    pub subject_domain: String,
    /// The trust domain of all subjects, for `spiffe`.
    #[serde(default, alias = "SPIFFETrustDomain")]
    pub spiffe_trust_domain: String,
    /// The claim that clients sign to prove possession of their key; told to clients, see [`IssuerConfig::challenge_claim`].
    #[serde(default, alias = "ChallengeClaim")]
    challenge_claim: String,
    /// CA certificates in PEM that the issuer's TLS certificate may chain to, beside the system's.
    #[serde(default, alias = "CACert")]
    pub ca_cert: String,
    /// Accept tokens that do not say that the address was verified.
    #[serde(default, alias = "SkipEmailVerification")]
    pub skip_email_verification: bool,
}

/// How the claims of a CI system become a certificate.
#[derive(Debug, Clone)]
pub struct CiProvider {
    /// Values for claims that a token lacks.
    pub defaults: Values,
    /// The URI in the certificate.
    pub subject: Template,
    /// The extensions, in Fulcio's order.
    pub extensions: Vec<(Extension, Template)>,
}

/// A configuration, checked.
#[derive(Debug, Clone, Default)]
pub struct FulcioConfig {
    issuers: BTreeMap<String, IssuerConfig>,
    patterns: Vec<(Regex, IssuerConfig)>,
    providers: BTreeMap<String, CiProvider>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawConfig {
    #[serde(alias = "OIDCIssuers")]
    oidc_issuers: BTreeMap<String, IssuerConfig>,
    #[serde(alias = "MetaIssuers")]
    meta_issuers: BTreeMap<String, IssuerConfig>,
    #[serde(alias = "CIIssuerMetadata")]
    ci_issuer_metadata: BTreeMap<String, RawProvider>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawProvider {
    #[serde(alias = "DefaultTemplateValues")]
    default_template_values: Values,
    #[serde(alias = "ExtensionTemplates")]
    extension_templates: Values,
    #[serde(alias = "SubjectAlternativeNameTemplate")]
    subject_alternative_name_template: String,
}

impl FulcioConfig {
    /// No issuers; the well-known CI providers.
    pub fn built_in() -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.merge(include_str!("ci-providers.yaml"))?;
        Ok(config)
    }

    /// The well-known CI providers and what `text` says.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::built_in()?;
        config.merge(text)?;
        Ok(config)
    }

    /// Trusts one more issuer, or changes a trusted one.
    pub fn insert(&mut self, issuer: IssuerConfig) {
        self.issuers.insert(issuer.issuer_url.clone(), issuer);
    }

    /// What is known about the issuer of a token: named ones first, then the longest pattern.
    pub fn issuer(&self, url: &str) -> Option<IssuerConfig> {
        if let Some(issuer) = self.issuers.get(url) {
            return Some(issuer.clone());
        }
        let (_, issuer) = self.patterns.iter().find(|(pattern, _)| pattern.is_match(url))?;
        Some(IssuerConfig { issuer_url: url.to_owned(), ..issuer.clone() })
    }

    /// The issuers known by name.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerConfig> {
        self.issuers.values()
    }

    /// The issuers known by pattern.
    pub fn meta_issuers(&self) -> impl Iterator<Item = &IssuerConfig> {
        self.patterns.iter().map(|(_, issuer)| issuer)
    }

    /// How a CI system's claims become a certificate.
    pub fn provider(&self, name: &str) -> Option<&CiProvider> {
        self.providers.get(name)
    }

    fn merge(&mut self, text: &str) -> Result<(), ConfigError> {
        if text.len() > CONFIG_BYTES {
            return Err(ConfigError::Syntax(format!("more than {CONFIG_BYTES} bytes")));
        }
        // An empty file is a configuration without issuers.
        let raw: Option<RawConfig> =
            serde_saphyr::from_str(&plain_alias_keys(text)).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let raw = raw.unwrap_or_default();
        if raw.oidc_issuers.len() + raw.meta_issuers.len() > ISSUERS {
            return Err(ConfigError::Syntax(format!("more than {ISSUERS} issuers")));
        }
        for (name, provider) in raw.ci_issuer_metadata {
            let compiled = CiProvider::compile(&provider)
                .map_err(|why| ConfigError::Provider { provider: name.clone(), why: why.to_string() })?;
            self.providers.insert(name, compiled);
        }
        for (url, issuer) in raw.oidc_issuers {
            let issuer = self.checked(&url, issuer, false)?;
            self.issuers.insert(url, issuer);
        }
        for (pattern, issuer) in raw.meta_issuers {
            let issuer = self.checked(&pattern, issuer, true)?;
            let regex = meta_regex(&pattern).map_err(|e| ConfigError::Syntax(e.to_string()))?;
            self.patterns.push((regex, issuer));
        }
        self.patterns.sort_by_key(|(_, issuer)| std::cmp::Reverse(issuer.issuer_url.len()));
        Ok(())
    }

    fn checked(&self, name: &str, mut issuer: IssuerConfig, meta: bool) -> Result<IssuerConfig, ConfigError> {
        let bad = |why: &str| Err(ConfigError::Issuer { issuer: name.to_owned(), why: why.to_owned() });
        if meta || issuer.issuer_url.is_empty() {
            issuer.issuer_url = name.to_owned();
        }
        if issuer.issuer_url != name {
            return bad(&format!("its issuer-url is another one: {}", issuer.issuer_url));
        }
        if issuer.client_id.is_empty() {
            return bad("client-id is empty: a token for any audience would do");
        }
        if !issuer.issuer_claim.is_empty() && issuer.issuer_type != IssuerType::Email {
            return bad("only email issuers can use issuer claim mapping");
        }
        if issuer.issuer_type == IssuerType::CiProvider && !self.providers.contains_key(&issuer.ci_provider) {
            return bad(&format!("ci-provider {:?} is not in ci-issuer-metadata", issuer.ci_provider));
        }
        if !issuer.ca_cert.is_empty() && !encoding::pem_blocks(&issuer.ca_cert).is_ok_and(|blocks| !blocks.is_empty()) {
            return bad("ca-cert is not PEM");
        }
        match subject_domain_error(&issuer, meta) {
            Some(why) => bad(&why),
            None => Ok(issuer),
        }
    }
}

impl IssuerConfig {
    /// An issuer of people known by mail address.
    pub fn email(issuer_url: &str, client_id: &str) -> Self {
        Self {
            issuer_url: issuer_url.to_owned(),
            client_id: client_id.to_owned(),
            issuer_type: IssuerType::Email,
            ci_provider: String::new(),
            issuer_claim: String::new(),
            subject_domain: String::new(),
            spiffe_trust_domain: String::new(),
            challenge_claim: String::new(),
            ca_cert: String::new(),
            skip_email_verification: false,
        }
    }

    /// The claim that clients sign to prove possession of their key.
    pub fn challenge_claim(&self) -> &str {
        match self.issuer_type {
            _ if !self.challenge_claim.is_empty() => &self.challenge_claim,
            IssuerType::Email => "email",
            _ => "sub",
        }
    }
}

impl CiProvider {
    fn compile(raw: &RawProvider) -> Result<Self, TemplateError> {
        let syntax = |template: &str, why: &str| TemplateError::Syntax { template: template.to_owned(), why: why.to_owned() };
        if raw.subject_alternative_name_template.trim().is_empty() {
            return Err(syntax("", "subject-alternative-name-template should not be empty"));
        }
        let mut extensions = Vec::new();
        for (name, template) in &raw.extension_templates {
            let known = Extension::from_config_name(name);
            let known = known.or_else(|| {
                Extension::ALL.iter().copied().find(|e| e.name() == name || (name == "Subject" && e.name() == "TokenSubject"))
            });
            let extension = known.ok_or_else(|| syntax(template, &format!("{name:?} is not an extension")))?;
            // These always come from the token itself.
            let fixed = matches!(extension, Extension::Issuer | Extension::IssuerV2 | Extension::TokenSubject);
            if !fixed && !template.trim().is_empty() {
                extensions.push((extension, Template::parse(template)?));
            }
        }
        extensions.sort_by_key(|(extension, _)| *extension);
        let subject = Template::parse(&raw.subject_alternative_name_template)?;
        Ok(Self { defaults: raw.default_template_values.clone(), subject, extensions })
    }
}

fn subject_domain_error(issuer: &IssuerConfig, meta: bool) -> Option<String> {
    let host = |u| uri::authority(u).map(|a| (a.scheme.to_owned(), a.host.to_owned()));
    match issuer.issuer_type {
        // One trust domain has one issuer; a pattern would give it many.
        IssuerType::Spiffe if meta => Some("SPIFFE meta issuers not supported".into()),
        IssuerType::Spiffe if issuer.spiffe_trust_domain.is_empty() => {
            Some("spiffe issuer must have spiffe-trust-domain set".into())
        }
        IssuerType::Spiffe if !uri::is_trust_domain(&issuer.spiffe_trust_domain) => Some("spiffe trust domain is invalid".into()),
        IssuerType::Uri if !meta || !issuer.subject_domain.is_empty() => {
            let Some((scheme, domain)) = host(&issuer.subject_domain) else {
                return Some("uri issuer must have subject-domain set, with a scheme".into());
            };
            match host(&issuer.issuer_url) {
                Some((s, _)) if s != scheme => Some("subject and issuer URI schemes do not match".into()),
                Some((_, h)) => domain_error(&domain, &h),
                None => Some("issuer for uri must contain scheme".into()),
            }
        }
        IssuerType::Username if issuer.subject_domain.is_empty() => Some("username issuer must have subject-domain set".into()),
        IssuerType::Username if issuer.subject_domain.contains("://") => {
            Some("subject-domain for username should not contain scheme".into())
        }
        IssuerType::Username => match host(&issuer.issuer_url) {
            Some((_, h)) => domain_error(&issuer.subject_domain, &h),
            None => Some("issuer for username must contain scheme".into()),
        },
        IssuerType::Uri => Some("uri issuer must have subject-domain set".into()),
        _ => None,
    }
}

/// Subjects may be in another sub-domain than the issuer, not in another second-level domain.
fn domain_error(subject: &str, issuer: &str) -> Option<String> {
    if subject == issuer {
        return None;
    }
    let last_two = |host: &str| {
        let labels: Vec<_> = host.rsplit('.').take(2).map(str::to_owned).collect();
        (labels.len() == 2).then_some(labels)
    };
    match (last_two(subject), last_two(issuer)) {
        (None, _) => Some(format!("URI hostname too short: {subject}")),
        (_, None) => Some(format!("URI hostname too short: {issuer}")),
        (a, b) if a == b => None,
        _ => Some(format!("hostname top-level and second-level domains do not match: {subject}, {issuer}")),
    }
}

/// Anchored at both ends: a pattern must not match in the middle of somebody else's URL.
fn meta_regex(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^{}$", regex::escape(pattern).replace(r"\*", "[-_a-zA-Z0-9]+")))
}

/// Fulcio's own file writes `*name:` for a key that is an alias. YAML lets the colon be part of the alias' name, and readers differ;
/// with a space before the colon there is only one reading.
fn plain_alias_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n') {
        let body = line.trim_end();
        match body.trim_start().strip_prefix('*').and_then(|name| name.strip_suffix(':')) {
            Some(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) => {
                out.push_str(&body[..body.len() - 1]);
                out.push_str(" :\n");
            }
            _ => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(fields: &str) -> Result<FulcioConfig, ConfigError> {
        FulcioConfig::parse(&format!("oidc-issuers:\n  https://id.example.com:\n    client-id: sigstore\n{fields}"))
    }

    #[test]
    fn built_in_providers() {
        let config = FulcioConfig::built_in().unwrap();
        for name in
            ["github-workflow", "gitlab-pipeline", "buildkite-job", "codefresh-workflow", "circleci-job", "buddy-pipeline"]
        {
            assert!(config.provider(name).is_some(), "{name}");
        }
        assert_eq!(config.issuers().count(), 0);
    }

    #[test]
    fn the_public_file_format() {
        let text = r#"
define:
  - &github-type "github-workflow"
  - &mine "my-ci"
oidc-issuers:
  https://accounts.google.com:
    issuer-url: https://accounts.google.com
    client-id: sigstore
    type: email
    contact: tac@sigstore.dev
    description: "Google OIDC auth"
  https://token.actions.githubusercontent.com:
    issuer-url: https://token.actions.githubusercontent.com
    client-id: sigstore
    type: ci-provider
    ci-provider: *github-type
meta-issuers:
  https://token.actions.githubusercontent.com/*:
    client-id: sigstore
    type: ci-provider
    ci-provider: *mine
  # a comment
  https://*.oic.prod-aks.azure.com/*/*:
    client-id: sigstore
    type: kubernetes
ci-issuer-metadata:
  *mine:
    default-template-values:
      url: "https://ci.example.com"
    extension-templates:
      build-trigger: "event"
    subject-alternative-name-template: "{{ .url }}/{{ .job }}"
"#;
        let config = FulcioConfig::parse(text).unwrap();
        assert_eq!(config.issuer("https://accounts.google.com").unwrap().challenge_claim(), "email");
        let meta = config.issuer("https://token.actions.githubusercontent.com/my-org").unwrap();
        assert_eq!((meta.ci_provider.as_str(), meta.challenge_claim()), ("my-ci", "sub"));
        assert_eq!(meta.issuer_url, "https://token.actions.githubusercontent.com/my-org");
        assert!(config.issuer("https://eu.oic.prod-aks.azure.com/a/b").is_some());
        for other in [
            "https://eu.oic.prod-aks.azure.com/a/b/",
            "http://x?https://eu.oic.prod-aks.azure.com/a/b",
            "https://a.b.oic.prod-aks.azure.com/a/b",
        ] {
            assert!(config.issuer(other).is_none(), "{other}");
        }
        assert_eq!(config.provider("my-ci").unwrap().extensions.len(), 1);
    }

    #[test]
    fn json_as_fulcio_reads_it() {
        let config = FulcioConfig::parse(
            r#"{"OIDCIssuers":{"https://i.example":{"IssuerURL":"https://i.example","ClientID":"sigstore","Type":"email"}}}"#,
        );
        assert_eq!(config.unwrap().issuer("https://i.example").unwrap().issuer_type, IssuerType::Email);
        assert!(FulcioConfig::parse("").is_ok());
    }

    #[test]
    fn contradictions_are_refused_when_read() {
        assert!(issuer("    type: email").is_ok());
        assert!(issuer("    type: uri\n    subject-domain: https://users.example.com").is_ok());
        assert!(issuer("    type: username\n    subject-domain: example.com").is_ok());
        assert!(issuer("    type: spiffe\n    spiffe-trust-domain: example.com").is_ok());
        let bad = [
            "    type: nonsense",
            "    type: email\n    issuer-url: https://other.example.com",
            "    type: uri",
            "    type: uri\n    subject-domain: http://users.example.com",
            "    type: uri\n    subject-domain: https://example.org",
            "    type: username",
            "    type: username\n    subject-domain: https://example.com",
            "    type: username\n    subject-domain: example.org",
            "    type: spiffe",
            "    type: spiffe\n    spiffe-trust-domain: A/b",
            "    type: ci-provider\n    ci-provider: nobody",
            "    type: kubernetes\n    issuer-claim: $.a",
            "    type: kubernetes\n    ca-cert: nonsense",
        ];
        for fields in bad {
            assert!(issuer(fields).is_err(), "{fields}");
        }
        assert!(FulcioConfig::parse("oidc-issuers:\n  https://a.b:\n    type: email\n    client-id: ''").is_err());
        let spiffe = "meta-issuers:\n  https://*.b:\n    type: spiffe\n    client-id: s\n    spiffe-trust-domain: b";
        assert!(FulcioConfig::parse(spiffe).is_err());
        let template = "ci-issuer-metadata:\n  x:\n    subject-alternative-name-template: '{{range}}'";
        assert!(FulcioConfig::parse(template).is_err());
        let extension =
            "ci-issuer-metadata:\n  x:\n    subject-alternative-name-template: a\n    extension-templates: {no-such: a}";
        assert!(FulcioConfig::parse(extension).is_err());
    }
}
