//! Trust material as the rest of the program uses it, whether it came from a repository or from files.

use std::{fmt, path::Path};

use jiff::Timestamp;
use vidimus_core::{
    ParseError, jsonl, limits,
    trust::{ClientTrustConfig, SigningConfig, TrustedRoot},
};

use super::{TufError, layout::read_optional};

/// Whom to trust, where to sign, and how we know.
#[derive(Debug, Clone)]
pub struct TrustMaterial {
    /// Whom to trust.
    pub trusted_root: TrustedRoot,
    /// The trusted root as it was signed or given.
    pub trusted_root_json: Vec<u8>,
    /// Where to sign. Repositories and people may give a trusted root alone.
    pub signing_config: Option<SigningConfig>,
    /// The signing configuration as it was signed or given.
    pub signing_config_json: Option<Vec<u8>>,
    /// Where this comes from.
    pub source: TrustSource,
}

/// Where trust material comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustSource {
    /// A public instance's, as it was when this program was built.
    BuiltIn(&'static str),
    /// A file that a person named.
    File(String),
    /// A TUF repository.
    Tuf(TufState),
}

/// What is known about a TUF repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TufState {
    /// The mirror.
    pub mirror: String,
    /// The version of the root.
    pub root_version: u64,
    /// The version of the timestamp: which state of the repository this is.
    pub timestamp_version: u64,
    /// The earliest expiry of the metadata.
    pub expires: Timestamp,
    /// Whether the mirror was asked just now.
    pub refreshed: bool,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl TrustMaterial {
    pub(super) fn new(trusted_root_json: Vec<u8>, source: TrustSource) -> Result<Self, ParseError> {
        let trusted_root = TrustedRoot::from_json(&trusted_root_json)?;
        Ok(Self { trusted_root, trusted_root_json, signing_config: None, signing_config_json: None, source })
    }

    pub(super) fn with_signing_config(self, json: Vec<u8>) -> Result<Self, ParseError> {
        let signing_config = Some(SigningConfig::from_json(&json)?);
        Ok(Self { signing_config, signing_config_json: Some(json), ..self })
    }

    /// The trusted root of a file (`--trusted-root`). Opens no socket.
    pub fn from_trusted_root_file(path: &Path) -> Result<Self, TufError> {
        let source = TrustSource::File(path.display().to_string());
        Self::new(read(path, "trusted root")?, source).map_err(in_file(path))
    }

    /// The trusted roots of a file: one, or several as JSON Lines, as `gh attestation trusted-root` prints them. Opens no socket.
    pub fn from_trusted_roots_file(path: &Path) -> Result<Vec<Self>, TufError> {
        let bytes = read(path, "trusted root")?;
        let documents = jsonl::documents("trusted root", &bytes).map_err(in_file(path))?;
        let several = documents.len() > 1;
        let material = |(n, json): (usize, &[u8])| {
            let place = if several { format!("{}, line {}", path.display(), n + 1) } else { path.display().to_string() };
            Self::new(json.to_vec(), TrustSource::File(place)).map_err(in_file(path))
        };
        documents.into_iter().enumerate().map(material).collect()
    }

    /// What a public instance's TUF repository said when this program was built. It may have changed since: for those who have no
    /// network, and for telling where a signature comes from.
    pub fn built_in(mirror: &str) -> Option<Self> {
        let instance = super::instance::built_in(mirror)?;
        let root = Self::new(instance.embedded_trusted_root_json().into(), TrustSource::BuiltIn(instance.tuf_url())).ok()?;
        match instance.embedded_signing_config_json() {
            Some(json) => root.with_signing_config(json.into()).ok(),
            None => Some(root),
        }
    }

    /// Trusted root and signing configuration of a client trust configuration file (`--trust-config`). Opens no socket.
    pub fn from_trust_config_file(path: &Path) -> Result<Self, TufError> {
        let config = ClientTrustConfig::from_json(&read(path, "client trust configuration")?).map_err(in_file(path))?;
        let encode = |value: serde_json::Result<Vec<u8>>| {
            value.map_err(|e| in_file(path)(ParseError::new("client trust configuration", e)))
        };
        Ok(Self {
            trusted_root_json: encode(serde_json::to_vec(&config.trusted_root))?,
            signing_config_json: Some(encode(serde_json::to_vec(&config.signing_config))?),
            trusted_root: config.trusted_root,
            signing_config: Some(config.signing_config),
            source: TrustSource::File(path.display().to_string()),
        })
    }

    /// The signing configuration of a file (`--signing-config`).
    pub fn signing_config_file(path: &Path) -> Result<SigningConfig, TufError> {
        SigningConfig::from_json(&read(path, "signing configuration")?).map_err(in_file(path))
    }

    /// What a person should know about where this comes from.
    pub fn warnings(&self) -> &[String] {
        match &self.source {
            TrustSource::BuiltIn(_) | TrustSource::File(_) => &[],
            TrustSource::Tuf(state) => &state.warnings,
        }
    }
}

impl fmt::Display for TrustSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(mirror) => write!(f, "{mirror} as it was when this program was built"),
            Self::File(path) => write!(f, "the file {path}"),
            Self::Tuf(state) => {
                let TufState { mirror, root_version, timestamp_version, expires, refreshed, .. } = state;
                let how = if *refreshed { "refreshed now" } else { "cached" };
                write!(
                    f,
                    "the TUF repository {mirror} (root {root_version}, timestamp {timestamp_version}, {how}, valid until {expires})"
                )
            }
        }
    }
}

fn read(path: &Path, format: &'static str) -> Result<Vec<u8>, TufError> {
    let bytes = read_optional(path)?.ok_or_else(|| in_file(path)(ParseError::new(format, "there is no such file")))?;
    limits::check_len(format, bytes.len(), limits::TRUST_BYTES).map_err(in_file(path))?;
    Ok(bytes)
}

fn in_file(path: &Path) -> impl Fn(ParseError) -> TufError {
    let path = path.display().to_string();
    move |source| TufError::File { path: path.clone(), source }
}
