//! Trusted roots, signing configurations and client trust configurations (protobuf-specs `sigstore_trustroot.proto`, in JSON form).
//!
//! The models and the selection rules of the signing configuration. Keys are not parsed here: whether one is usable is the verifier's
//! to find out, key by key, so that one exotic key does not make a whole root unreadable.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ParseError,
    bundle::{CertificateChain, LogId},
    encoding::Base64,
    limits,
    protobuf::{self, Unknown},
};

/// The one media type that all clients read.
pub const TRUSTED_ROOT_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
/// The media type of signing configurations.
pub const SIGNING_CONFIG_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.signingconfig.v0.2+json";
/// The media type of client trust configurations.
pub const CLIENT_TRUST_CONFIG_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";
/// The media types of trusted roots that we read.
const TRUSTED_ROOT_MEDIA_TYPES: [&str; 4] = [
    TRUSTED_ROOT_MEDIA_TYPE,
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// Whom to trust: certificate authorities, logs and timestamp authorities, each for a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedRoot {
    /// Names the version.
    #[serde(alias = "media_type")]
    pub media_type: String,
    /// Rekor logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tlogs: Vec<TransparencyLog>,
    /// Fulcio authorities.
    #[serde(default, alias = "certificate_authorities", skip_serializing_if = "Vec::is_empty")]
    pub certificate_authorities: Vec<CertificateAuthority>,
    /// Certificate Transparency logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ctlogs: Vec<TransparencyLog>,
    /// Timestamp authorities.
    #[serde(default, alias = "timestamp_authorities", skip_serializing_if = "Vec::is_empty")]
    pub timestamp_authorities: Vec<CertificateAuthority>,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransparencyLog {
    /// Where it is, or was. The host name is the origin of Rekor v2 checkpoints.
    #[serde(default, alias = "base_url")]
    pub base_url: String,
    /// `SHA2_256`.
    #[serde(default, alias = "hash_algorithm")]
    pub hash_algorithm: String,
    /// Its key. A log without one is nobody's to verify with, and no reason to read nothing at all.
    #[serde(default, alias = "public_key", deserialize_with = "null_is_default")]
    pub public_key: PublicKey,
    /// Its id; empty where the key id for checkpoints stands for it.
    #[serde(default, alias = "log_id", skip_serializing_if = "LogId::is_empty")]
    pub log_id: LogId,
    /// A key id for checkpoints where that differs from `log_id`, or takes its place.
    #[serde(default, alias = "checkpoint_key_id", skip_serializing_if = "Option::is_none")]
    pub checkpoint_key_id: Option<LogId>,
}

/// A public key and its span of validity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKey {
    /// SubjectPublicKeyInfo in DER.
    #[serde(default, alias = "raw_bytes")]
    pub raw_bytes: Base64,
    /// `PKIX_ECDSA_P256_SHA_256` and so on.
    #[serde(default, alias = "key_details")]
    pub key_details: String,
    /// When it signs. Absent means always.
    #[serde(default, alias = "valid_for", skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<TimeRange>,
}

/// A certificate authority or timestamp authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthority {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub subject: DistinguishedName,
    /// Where it is.
    #[serde(default)]
    pub uri: String,
    /// Leaf-most first, root last.
    #[serde(default, alias = "cert_chain")]
    pub cert_chain: CertificateChain,
    /// When it signs.
    #[serde(default, alias = "valid_for", skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<TimeRange>,
}

/// The name of an authority.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DistinguishedName {
    /// Organisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub organization: String,
    /// Common name.
    #[serde(default, alias = "common_name", skip_serializing_if = "String::is_empty")]
    pub common_name: String,
}

/// A span of time; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first moment; absent means since ever.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "protobuf_time")]
    pub start: Option<Timestamp>,
    /// The last moment; absent means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "protobuf_time")]
    pub end: Option<Timestamp>,
}

/// Protobuf's JSON form of a time has 0, 3, 6 or 9 digits after the point, and its readers compare text.
fn protobuf_time<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(time) = time else { return serializer.serialize_none() };
    match time.subsec_nanosecond() {
        0 => serializer.collect_str(&format_args!("{time:.0}")),
        n if n % 1_000_000 == 0 => serializer.collect_str(&format_args!("{time:.3}")),
        n if n % 1_000 == 0 => serializer.collect_str(&format_args!("{time:.6}")),
        _ => serializer.collect_str(&format_args!("{time:.9}")),
    }
}

impl TimeRange {
    /// From a moment on.
    pub fn since(start: Timestamp) -> Self {
        Self { start: Some(start), end: None }
    }

    /// Whether a moment belongs to the span.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= at) && self.end.is_none_or(|end| at <= end)
    }
}

impl TrustedRoot {
    /// Reads a trusted root.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        let root: Self = read("trusted root", json)?;
        if !TRUSTED_ROOT_MEDIA_TYPES.contains(&root.media_type.as_str()) {
            return Err(ParseError::at("trusted root", "mediaType", format_args!("unknown: {:?}", root.media_type)));
        }
        Ok(root)
    }
}

/// Where to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningConfig {
    /// Names the version.
    #[serde(alias = "media_type")]
    pub media_type: String,
    /// Certificate authorities.
    #[serde(default, alias = "ca_urls", skip_serializing_if = "Vec::is_empty")]
    pub ca_urls: Vec<Service>,
    /// OIDC issuers.
    #[serde(default, alias = "oidc_urls", skip_serializing_if = "Vec::is_empty")]
    pub oidc_urls: Vec<Service>,
    /// Transparency logs.
    #[serde(default, alias = "rekor_tlog_urls", skip_serializing_if = "Vec::is_empty")]
    pub rekor_tlog_urls: Vec<Service>,
    /// How many of them.
    #[serde(default, alias = "rekor_tlog_config", deserialize_with = "null_is_default")]
    pub rekor_tlog_config: ServiceConfiguration,
    /// Timestamp authorities.
    #[serde(default, alias = "tsa_urls", skip_serializing_if = "Vec::is_empty")]
    pub tsa_urls: Vec<Service>,
    /// How many of them.
    #[serde(default, alias = "tsa_config", deserialize_with = "null_is_default")]
    pub tsa_config: ServiceConfiguration,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its base URL; the full URL for timestamp authorities.
    pub url: String,
    /// The major version of its API. (Fulcio says 1 although its path says v2.)
    #[serde(default, alias = "major_api_version")]
    pub major_api_version: u32,
    /// When it may be used.
    #[serde(default, alias = "valid_for", skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<TimeRange>,
    /// Who runs it: several services of one operator are alternatives.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operator: String,
}

/// How many of a list of services to use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceConfiguration {
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<ServiceSelector>,
    /// For [`ServiceSelector::Exact`]: how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// A rule for choosing among services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceSelector {
    /// One of them.
    Any,
    /// As many as `count` says, of different operators.
    Exact,
    /// Every operator.
    All,
    /// Not said.
    #[serde(rename = "SERVICE_SELECTOR_UNDEFINED")]
    Undefined,
}

impl SigningConfig {
    /// Reads a signing configuration, version 0.2.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        let config: Self = read("signing configuration", json)?;
        if config.media_type != SIGNING_CONFIG_MEDIA_TYPE {
            let why = format_args!("unknown: {:?} (wanted {SIGNING_CONFIG_MEDIA_TYPE})", config.media_type).to_string();
            return Err(ParseError::at("signing configuration", "mediaType", why));
        }
        Ok(config)
    }

    /// The certificate authority to use at a time.
    pub fn fulcio(&self, at: Timestamp) -> Result<&Service, ParseError> {
        one("caUrls", &self.ca_urls, &[1], at)
    }

    /// The OIDC issuer to use at a time.
    pub fn oidc(&self, at: Timestamp) -> Result<&Service, ParseError> {
        one("oidcUrls", &self.oidc_urls, &[1], at)
    }

    /// The logs to write to at a time; `versions` are the ones that the caller speaks. Empty if the configuration lists none.
    pub fn rekor(&self, versions: &[u32], at: Timestamp) -> Result<Vec<&Service>, ParseError> {
        select("rekorTlogUrls", &self.rekor_tlog_urls, &self.rekor_tlog_config, versions, at)
    }

    /// The timestamp authorities to ask at a time. Empty if the configuration lists none.
    pub fn tsa(&self, at: Timestamp) -> Result<Vec<&Service>, ParseError> {
        select("tsaUrls", &self.tsa_urls, &self.tsa_config, &[1], at)
    }
}

/// Trusted root and signing configuration in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTrustConfig {
    /// Names the version.
    #[serde(alias = "media_type")]
    pub media_type: String,
    /// Whom to trust.
    #[serde(alias = "trusted_root")]
    pub trusted_root: TrustedRoot,
    /// Where to sign.
    #[serde(alias = "signing_config")]
    pub signing_config: SigningConfig,
}

impl ClientTrustConfig {
    /// Reads a client trust configuration.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        let config: Self = read("client trust configuration", json)?;
        if config.media_type != CLIENT_TRUST_CONFIG_MEDIA_TYPE {
            let why = format!("unknown: {:?} (wanted {CLIENT_TRUST_CONFIG_MEDIA_TYPE})", config.media_type);
            return Err(ParseError::at("client trust configuration", "mediaType", why));
        }
        Ok(config)
    }
}

fn read<T: serde::de::DeserializeOwned>(format: &'static str, json: &[u8]) -> Result<T, ParseError> {
    limits::check_len(format, json.len(), limits::TRUST_BYTES)?;
    protobuf::read(format, json, Unknown::Ignored)
}

fn null_is_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The services that may be used at a time, newest start first, and of each operator only those of its highest version.
fn usable<'a>(services: &'a [Service], versions: &[u32], at: Timestamp) -> Vec<&'a Service> {
    let mut usable: Vec<_> = services
        .iter()
        .filter(|s| versions.contains(&s.major_api_version) && s.valid_for.is_none_or(|range| range.contains(at)))
        .collect();
    // Highest version first, then the youngest; the first of each operator is taken (client specification, "Signing configuration").
    usable.sort_by_key(|s| std::cmp::Reverse((s.major_api_version, s.valid_for.and_then(|range| range.start))));
    let mut operators = Vec::new();
    usable.retain(|s| {
        let first = !operators.contains(&s.operator.as_str());
        operators.push(s.operator.as_str());
        first
    });
    usable
}

fn one<'a>(list: &'static str, services: &'a [Service], versions: &[u32], at: Timestamp) -> Result<&'a Service, ParseError> {
    let none =
        || ParseError::at("signing configuration", list, format_args!("none is usable at {at} (known versions: {versions:?})"));
    usable(services, versions, at).first().copied().ok_or_else(none)
}

fn select<'a>(
    list: &'static str,
    services: &'a [Service],
    config: &ServiceConfiguration,
    versions: &[u32],
    at: Timestamp,
) -> Result<Vec<&'a Service>, ParseError> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let err = |why: String| ParseError::at("signing configuration", list, why);
    let mut usable = usable(services, versions, at);
    let wanted = match config.selector {
        Some(ServiceSelector::Any) => 1,
        Some(ServiceSelector::All) => usable.len().max(1),
        Some(ServiceSelector::Exact) => match config.count {
            Some(count) if count > 0 => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return Err(err("selector EXACT without a count".to_owned())),
        },
        Some(ServiceSelector::Undefined) | None => return Err(err("no selector".to_owned())),
    };
    if usable.len() < wanted {
        return Err(err(format!("{} usable at {at} where {wanted} are asked for", usable.len())));
    }
    usable.truncate(wanted);
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &[u8] = include_bytes!("../../../testdata/wire/trusted_root.json");
    const CONFIG: &[u8] = include_bytes!("../../../testdata/wire/signing_config.v0.2.json");

    fn at() -> Timestamp {
        "2026-11-21T20:00:00Z".parse().unwrap()
    }

    fn config() -> SigningConfig {
        SigningConfig::from_json(CONFIG).unwrap()
    }

    #[test]
    fn reads_real_documents() {
        let root = TrustedRoot::from_json(ROOT).unwrap();
        assert_eq!((root.tlogs.len(), root.certificate_authorities.len()), (2, 1));
        let both =
            ClientTrustConfig { media_type: CLIENT_TRUST_CONFIG_MEDIA_TYPE.into(), trusted_root: root, signing_config: config() };
        assert_eq!(ClientTrustConfig::from_json(&serde_json::to_vec(&both).unwrap()).unwrap(), both);
    }

    #[test]
    fn one_log_without_a_key_leaves_the_others() {
        let mut root: serde_json::Value = serde_json::from_slice(ROOT).unwrap();
        root["tlogs"][0].as_object_mut().unwrap().remove("publicKey");
        root["tlogs"][1]["publicKey"] = serde_json::Value::Null;
        root["mediaType"] = "application/vnd.dev.sigstore.trustedroot.v0.1+json".into();
        let root = TrustedRoot::from_json(root.to_string().as_bytes()).unwrap();
        assert!(root.tlogs.iter().all(|log| log.public_key.raw_bytes.0.is_empty()));
        assert!(!root.ctlogs[0].public_key.raw_bytes.0.is_empty());
    }

    #[test]
    fn times_have_protobufs_digits() {
        for (time, json) in [
            ("2026-01-01T00:00:00+02:00", "2025-12-31T22:00:00Z"),
            ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500Z"),
            ("2026-01-01T00:00:00.12345Z", "2026-01-01T00:00:00.123450Z"),
            ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456789Z"),
        ] {
            let range = TimeRange::since(time.parse().unwrap());
            assert_eq!(serde_json::to_value(range).unwrap(), serde_json::json!({ "start": json }));
        }
    }

    #[test]
    fn highest_version_of_an_operator_wins() {
        let config = config();
        assert_eq!(config.rekor(&[1, 2], at()).unwrap()[0].major_api_version, 2);
        assert_eq!(config.rekor(&[1], at()).unwrap()[0].major_api_version, 1);
        assert_eq!(config.tsa(at()).unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_chosen_outside_of_its_time_or_rule() {
        let early = "2020-01-01T00:00:00Z".parse().unwrap();
        assert!(config().fulcio(early).is_err());
        assert!(config().rekor(&[1, 2], early).is_err());
        assert!(config().rekor(&[3], at()).is_err());
        let mut config = config();
        config.rekor_tlog_config = ServiceConfiguration { selector: Some(ServiceSelector::Exact), count: Some(2) };
        assert!(config.rekor(&[1, 2], at()).is_err(), "one operator cannot give two");
        config.rekor_tlog_config = ServiceConfiguration::default();
        assert!(config.rekor(&[1, 2], at()).is_err());
        config.rekor_tlog_urls.clear();
        assert_eq!(config.rekor(&[1, 2], at()).unwrap(), Vec::<&Service>::new());
    }

    #[test]
    fn other_spellings_of_protobufs_json() {
        let names = "mediaType baseUrl hashAlgorithm publicKey rawBytes keyDetails validFor logId keyId certificateAuthorities commonName \
            certChain timestampAuthorities caUrls oidcUrls majorApiVersion rekorTlogUrls rekorTlogConfig tsaUrls tsaConfig";
        let snake = |json: &[u8]| {
            names.split_whitespace().fold(String::from_utf8_lossy(json).into_owned(), |text, name| {
                let upper = |c: char| c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()]);
                let snake: String = name.chars().flat_map(upper).collect();
                text.replace(&format!("\"{name}\":"), &format!("\"{snake}\":"))
            })
        };
        let root = snake(ROOT);
        assert!(root.contains("\"cert_chain\":"));
        assert_eq!(TrustedRoot::from_json(root.as_bytes()).unwrap(), TrustedRoot::from_json(ROOT).unwrap());
        assert_eq!(SigningConfig::from_json(snake(CONFIG).as_bytes()).unwrap(), config());
        let change = |edit: &dyn Fn(&mut serde_json::Value)| {
            let mut value: serde_json::Value = serde_json::from_slice(CONFIG).unwrap();
            edit(&mut value);
            SigningConfig::from_json(value.to_string().as_bytes())
        };
        assert_eq!(change(&|v| v["caUrls"][0]["majorApiVersion"] = "1".into()).unwrap(), config());
        assert_eq!(change(&|v| v["caUrls"][0]["newer"] = 1.into()).unwrap(), config(), "a newer one may say more");
        assert_eq!(change(&|v| v["tsaConfig"] = serde_json::Value::Null).unwrap().tsa_config, ServiceConfiguration::default());
        assert!(change(&|v| v["tsaConfig"] = serde_json::json!(["ANY"])).is_err(), "a list is no message");
    }

    #[test]
    fn refuses_other_documents() {
        assert!(TrustedRoot::from_json(CONFIG).is_err());
        assert!(SigningConfig::from_json(ROOT).is_err());
    }
}
