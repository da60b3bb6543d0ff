//! Which services sign: those of the signing configuration, unless the user names others.
//!
//! Client specification, "Signing configuration", as `vidimus-core` reads it, joined with cosign's older `--…-url` flags.

use jiff::Timestamp;
use url::Url;
use vidimus_core::{
    ParseError,
    trust::{Service, SigningConfig},
};

/// Rekor's versions that we speak.
const LOG_VERSIONS: [u32; 2] = [1, 2];

/// Services that the user names; each replaces the signing configuration's.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The certificate authority.
    pub fulcio: Option<Url>,
    /// The transparency log.
    pub rekor: Option<Url>,
    /// The timestamp authority, with the whole path of its call.
    pub timestamp_authority: Option<Url>,
    /// The OIDC issuer.
    pub oidc_issuer: Option<Url>,
    /// Write to no log at all.
    pub no_log: bool,
}

/// The services that one signature uses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Services {
    /// The certificate authority.
    pub fulcio: Url,
    /// Where identity tokens come from, for those who have none yet.
    pub oidc_issuer: Option<Url>,
    /// The logs that get an entry each.
    pub logs: Vec<Log>,
    /// The timestamp authorities that are asked, each at the full URL of its call.
    pub timestamp_authorities: Vec<Url>,
}

/// A transparency log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Log {
    /// Rekor v1 at a base URL.
    RekorV1(Url),
    /// Rekor v2 at a base URL.
    RekorV2(Url),
}

/// Services that cannot be used together, or are missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServicesError {
    /// The signing configuration is not usable.
    #[error(transparent)]
    Config(#[from] ParseError),
    /// Nothing says which certificate authority to use.
    #[error("no certificate authority is known; run `vidimus initialize`, or pass --signing-config")]
    NoAuthority,
    /// Nothing would say when the signature was made.
    #[error("neither a Rekor v1 log nor a timestamp authority is used, so nothing would prove when the signature was made")]
    NoTime,
    /// A URL of the signing configuration is none.
    #[error("the signing configuration has {url:?}, which is not a URL: {why}")]
    Url {
        /// What it has.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Services {
    /// The services to use at a time.
    pub fn resolve(config: Option<&SigningConfig>, overrides: &Overrides, at: Timestamp) -> Result<Self, ServicesError> {
        let fulcio = match (&overrides.fulcio, config) {
            (Some(named), _) => named.clone(),
            (None, Some(config)) => url(config.fulcio(at)?)?,
            (None, None) => return Err(ServicesError::NoAuthority),
        };
        let services = Self {
            fulcio,
            oidc_issuer: oidc_issuer(config, overrides, at)?,
            logs: logs(config, overrides, at)?,
            timestamp_authorities: timestamp_authorities(config, overrides, at)?,
        };
        let promised = services.logs.iter().any(|log| matches!(log, Log::RekorV1(_)));
        if promised || !services.timestamp_authorities.is_empty() { Ok(services) } else { Err(ServicesError::NoTime) }
    }
}

fn oidc_issuer(config: Option<&SigningConfig>, overrides: &Overrides, at: Timestamp) -> Result<Option<Url>, ServicesError> {
    match (&overrides.oidc_issuer, config) {
        (Some(named), _) => Ok(Some(named.clone())),
        // A configuration without an issuer that is usable now is one for those who bring their tokens along.
        (None, config) => config.and_then(|config| config.oidc(at).ok()).map(url).transpose(),
    }
}

fn logs(config: Option<&SigningConfig>, overrides: &Overrides, at: Timestamp) -> Result<Vec<Log>, ServicesError> {
    if overrides.no_log {
        return Ok(Vec::new());
    }
    let configured = match config {
        Some(config) => config.rekor(&LOG_VERSIONS, at)?.into_iter().map(log).collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    let Some(named) = &overrides.rekor else { return Ok(configured) };
    // A log that the configuration lists as well is used the way the configuration says; any other is what `--rekor-url` always
    // meant: version 1.
    let listed = configured.into_iter().find(|log| same(log.url(), named));
    Ok(vec![listed.unwrap_or_else(|| Log::RekorV1(named.clone()))])
}

fn timestamp_authorities(
    config: Option<&SigningConfig>,
    overrides: &Overrides,
    at: Timestamp,
) -> Result<Vec<Url>, ServicesError> {
    match (&overrides.timestamp_authority, config) {
        (Some(named), _) => Ok(vec![named.clone()]),
        (None, Some(config)) => config.tsa(at)?.into_iter().map(url).collect(),
        (None, None) => Ok(Vec::new()),
    }
}

impl Log {
    /// The log's base URL.
    pub fn url(&self) -> &Url {
        match self {
            Self::RekorV1(url) | Self::RekorV2(url) => url,
        }
    }
}

fn log(service: &Service) -> Result<Log, ServicesError> {
    let url = url(service)?;
    Ok(if service.major_api_version == 1 { Log::RekorV1(url) } else { Log::RekorV2(url) })
}

fn url(service: &Service) -> Result<Url, ServicesError> {
    Url::parse(&service.url).map_err(|e| ServicesError::Url { url: service.url.clone(), why: e.to_string() })
}

/// Whether two base URLs are the same, a final slash aside.
fn same(a: &Url, b: &Url) -> bool {
    a.as_str().trim_end_matches('/') == b.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(logs: &str, tsa: &str) -> SigningConfig {
        let service = |url: &str, version: u32| {
            format!(
                r#"{{"url":"{url}","majorApiVersion":{version},"validFor":{{"start":"2020-01-01T00:00:00Z"}},"operator":"o"}}"#
            )
        };
        let list = |text: &str| {
            let services: Vec<_> = text
                .split_whitespace()
                .map(|item| item.split_once('=').map(|(version, url)| service(url, version.parse().unwrap())).unwrap())
                .collect();
            services.join(",")
        };
        let json = format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","caUrls":[{}],"oidcUrls":[{}],
            "rekorTlogUrls":[{}],"rekorTlogConfig":{{"selector":"ANY"}},"tsaUrls":[{}],"tsaConfig":{{"selector":"ANY"}}}}"#,
            service("http://ca", 1),
            service("http://oidc", 1),
            list(logs),
            list(tsa)
        );
        SigningConfig::from_json(json.as_bytes()).unwrap()
    }

    fn at() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn u(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_configuration_decides() {
        let services =
            Services::resolve(Some(&config("1=http://log1 2=http://log2", "1=http://tsa/api")), &Overrides::default(), at())
                .unwrap();
        assert_eq!(services.fulcio, u("http://ca"));
        assert_eq!(services.logs, [Log::RekorV2(u("http://log2"))]);
        assert_eq!(services.timestamp_authorities, [u("http://tsa/api")]);
    }

    #[test]
    fn whoever_brings_a_token_needs_no_issuer() {
        let mut config = config("1=http://log", "");
        config.oidc_urls[0].major_api_version = 9;
        assert_eq!(Services::resolve(Some(&config), &Overrides::default(), at()).unwrap().oidc_issuer, None);
    }

    #[test]
    fn a_named_log_is_version_1_unless_the_configuration_knows_better() {
        let config = config("2=http://log", "1=http://tsa");
        let with = |rekor: &str| Overrides { rekor: Some(u(rekor)), ..Overrides::default() };
        let logs = |rekor: &str| Services::resolve(Some(&config), &with(rekor), at()).unwrap().logs;
        assert_eq!(logs("http://log/"), [Log::RekorV2(u("http://log"))]);
        assert_eq!(logs("http://other"), [Log::RekorV1(u("http://other"))]);
    }

    #[test]
    fn a_signature_without_a_time_is_refused_beforehand() {
        let config = config("2=http://log", "");
        assert_eq!(Services::resolve(Some(&config), &Overrides::default(), at()), Err(ServicesError::NoTime));
        let no_log = Overrides { fulcio: Some(u("http://ca")), no_log: true, ..Overrides::default() };
        assert_eq!(Services::resolve(None, &no_log, at()), Err(ServicesError::NoTime));
    }

    #[test]
    fn nothing_known_is_an_error() {
        assert_eq!(Services::resolve(None, &Overrides::default(), at()), Err(ServicesError::NoAuthority));
    }
}
