//! `signing-config create`: a signing configuration (protobuf-specs `SigningConfig`, version 0.2) from descriptions of services.
//!
//! The same JSON as cosign's for what both accept. Refused here and written by cosign: unknown keys, an API version of 0 and `EXACT:0`,
//! which no client could use.

use vidimus_core::trust::{SIGNING_CONFIG_MEDIA_TYPE, Service, ServiceConfiguration, ServiceSelector, SigningConfig};

use crate::service_spec::{Spec, SpecError};

const KEYS: &[&str] = &["url", "api-version", "start-time", "end-time", "operator"];

/// What to put into a signing configuration. Each description is `url=,api-version=,start-time=,operator=[,end-time=]`.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A configuration whose services come first.
    pub base: Option<SigningConfig>,
    /// Certificate authorities.
    pub fulcio: Vec<String>,
    /// OIDC issuers.
    pub oidc_provider: Vec<String>,
    /// Transparency logs.
    pub rekor: Vec<String>,
    /// How many logs: `ANY`, `ALL`, `EXACT:n`. Needed if `rekor` is not empty.
    pub rekor_config: Option<String>,
    /// Timestamp authorities, with the full URL of their call.
    pub tsa: Vec<String>,
    /// How many timestamp authorities. Needed if `tsa` is not empty.
    pub tsa_config: Option<String>,
}

/// Makes a signing configuration.
pub fn create(request: Request) -> Result<SigningConfig, SpecError> {
    let mut config = request.base.unwrap_or_else(empty);
    config.ca_urls.extend(services("--fulcio", &request.fulcio)?);
    config.oidc_urls.extend(services("--oidc-provider", &request.oidc_provider)?);
    config.rekor_tlog_urls.extend(services("--rekor", &request.rekor)?);
    config.tsa_urls.extend(services("--tsa", &request.tsa)?);
    select(&mut config.rekor_tlog_config, "--rekor-config", request.rekor_config.as_deref(), &request.rekor)?;
    select(&mut config.tsa_config, "--tsa-config", request.tsa_config.as_deref(), &request.tsa)?;
    Ok(config)
}

/// The configuration that names no service: to sign with a key and without log and timestamp.
pub fn empty() -> SigningConfig {
    SigningConfig {
        media_type: SIGNING_CONFIG_MEDIA_TYPE.to_owned(),
        ca_urls: Vec::new(),
        oidc_urls: Vec::new(),
        rekor_tlog_urls: Vec::new(),
        rekor_tlog_config: ServiceConfiguration::default(),
        tsa_urls: Vec::new(),
        tsa_config: ServiceConfiguration::default(),
    }
}

fn services(flag: &'static str, specs: &[String]) -> Result<Vec<Service>, SpecError> {
    specs.iter().map(|text| service(&Spec::parse(flag, text, KEYS)?)).collect()
}

fn service(spec: &Spec<'_>) -> Result<Service, SpecError> {
    let version = spec.required("api-version")?;
    let major_api_version = version.parse().ok().filter(|v| *v > 0);
    Ok(Service {
        url: spec.required("url")?.to_owned(),
        major_api_version: major_api_version
            .ok_or_else(|| spec.error(format_args!("api-version {version:?} is not a positive number")))?,
        valid_for: Some(spec.valid_for(None)?),
        operator: spec.required("operator")?.to_owned(),
    })
}

fn select(config: &mut ServiceConfiguration, flag: &'static str, rule: Option<&str>, given: &[String]) -> Result<(), SpecError> {
    let err = |why: &str| SpecError::Spec { flag, spec: rule.unwrap_or_default().to_owned(), why: why.to_owned() };
    let Some(rule) = rule.filter(|rule| !rule.is_empty()) else {
        return if given.is_empty() { Ok(()) } else { Err(err("must be given: ANY, ALL or EXACT:n")) };
    };
    let (mode, count) = rule.split_once(':').map_or((rule, None), |(mode, count)| (mode, Some(count)));
    let selector = match mode.to_ascii_uppercase().as_str() {
        "ANY" => ServiceSelector::Any,
        "ALL" => ServiceSelector::All,
        "EXACT" => ServiceSelector::Exact,
        _ => return Err(err("is not one of ANY, ALL, EXACT:n")),
    };
    let count = match (selector, count) {
        (ServiceSelector::Exact, count) => {
            let positive = count.and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            Some(positive.ok_or_else(|| err("EXACT needs a positive number, such as EXACT:2"))?)
        }
        (_, Some(_)) => return Err(err("only EXACT takes a number")),
        (_, None) => None,
    };
    *config = ServiceConfiguration { selector: Some(selector), count };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "api-version=1,start-time=2024-01-01T00:00:00Z,operator=o";

    fn json(request: Request) -> Result<String, SpecError> {
        create(request).map(|config| serde_json::to_string(&config).unwrap())
    }

    #[test]
    fn the_empty_configuration_is_cosigns() {
        let expected =
            r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}"#;
        assert_eq!(json(Request::default()).unwrap(), expected);
    }

    #[test]
    fn services_in_order_after_those_of_the_base() {
        let base = create(Request { fulcio: vec![format!("url=a,{REST}")], ..Request::default() }).unwrap();
        let request = Request {
            base: Some(base),
            fulcio: vec![format!(" url = b , {REST},end-time=2025-01-01T00:00:00Z")],
            rekor: vec![format!("url=r,{REST}")],
            rekor_config: Some("exact:2".into()),
            ..Request::default()
        };
        let expected = r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","caUrls":[{"url":"a","majorApiVersion":1,"validFor":{"start":"2024-01-01T00:00:00Z"},"operator":"o"},{"url":"b","majorApiVersion":1,"validFor":{"start":"2024-01-01T00:00:00Z","end":"2025-01-01T00:00:00Z"},"operator":"o"}],"rekorTlogUrls":[{"url":"r","majorApiVersion":1,"validFor":{"start":"2024-01-01T00:00:00Z"},"operator":"o"}],"rekorTlogConfig":{"selector":"EXACT","count":2},"tsaConfig":{}}"#;
        assert_eq!(json(request).unwrap(), expected);
    }

    #[test]
    fn refuses_what_no_client_could_use() {
        let fulcio = |spec: String| json(Request { fulcio: vec![spec], ..Request::default() });
        assert!(fulcio(format!("url=a,{REST}")).is_ok());
        for bad in [
            "url".to_owned(),
            REST.to_owned(),
            format!("url=,{REST}"),
            format!("url=a,url=b,{REST}"),
            format!("url=a,endtime=2025-01-01T00:00:00Z,{REST}"),
            format!("url=a,{REST},end-time=2023-01-01T00:00:00Z"),
            format!("url=a,{REST},end-time=tomorrow"),
            format!("url=a,{}", REST.replace("api-version=1", "api-version=0")),
            format!("url=a,{}", REST.replace(",operator=o", "")),
        ] {
            assert!(fulcio(bad.clone()).is_err(), "{bad}");
        }
        let rule = |rule: Option<&str>| {
            json(Request { tsa: vec![format!("url=t,{REST}")], tsa_config: rule.map(str::to_owned), ..Request::default() })
        };
        assert!(rule(Some("ALL")).is_ok());
        for bad in [None, Some(""), Some("SOME"), Some("ANY:1"), Some("EXACT"), Some("EXACT:0"), Some("EXACT:x")] {
            assert!(rule(bad).is_err(), "{bad:?}");
        }
    }
}
