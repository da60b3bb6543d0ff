//! Arguments of `inspect` and of cosign's tools around bundles, trusted roots and signing configurations, as they are typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::groups::RegistryArgs;

/// `inspect`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  vidimus inspect artifact.sigstore.json
  vidimus inspect --output json signer.pem
  curl -s https://tuf.example.com/timestamp.json | vidimus inspect -
  vidimus inspect registry.example.com/app:1.2

Nothing is verified, and the output says so. What a document is shows in its content; --kind says it where that is not enough.
A name without tag and digest whose last part has a dot is a file; any other name of no existing file is an image.
Exit: 0 shown, 1 not a document of that kind, 2 usage, 3 something could not be read.")]
pub(crate) struct InspectArgs {
    /// A file, - for stdin, or an image
    #[arg(value_name = "FILE|-|IMAGE", value_hint = ValueHint::AnyPath)]
    pub target: String,
    /// What the file is: bundle, certificate, statement, …; a wrong name lists them all
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// How to write it
    #[arg(long, short = 'o', default_value = "text", value_name = "text|json")]
    pub output: InspectOutput,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// How an inspection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `bundle create`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus bundle create --artifact app.tgz --bundle app.tgz.bundle --out app.tgz.sigstore.json

Packages, does not verify. Writes the media type application/vnd.dev.sigstore.bundle.v0.3+json.
Exit: 0 made, 1 the parts do not make a bundle, or the log has no such entry, 2 usage, 3 the log could not be asked.")]
pub(crate) struct BundleCreateArgs {
    /// The signed file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub artifact: PathBuf,
    /// A DSSE envelope about it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub attestation: Option<PathBuf>,
    /// What `sign-blob --bundle` wrote before there were Sigstore bundles
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
    /// The signer's certificate: PEM, or base64 of it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub certificate: Option<PathBuf>,
    /// Make a bundle without log entry, of a signature that was never logged
    #[arg(long)]
    pub ignore_tlog: bool,
    /// The signer's public key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: Option<String>,
    /// Where to write the bundle; stdout otherwise
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// The transparency log (Rekor v1) to take the entry from
    #[arg(id = "log_url", long = "rekor-url", value_name = "URL", default_value = PUBLIC_LOG)]
    pub rekor_url: String,
    /// A timestamp: cosign's JSON around it, or the timestamp itself
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rfc3161_timestamp: Option<PathBuf>,
    /// The signature, base64
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub signature: Option<PathBuf>,
}

/// The log of the public-good instance, cosign's default.
const PUBLIC_LOG: &str = "https://rekor.sigstore.dev";

/// `bundle upgrade`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus bundle upgrade old.sigstore.json --out new.sigstore.json

The log is asked only for inclusion proofs that the bundle lacks, and must answer with the very entry of the bundle.
Exit: 0 upgraded or of version 0.3 already, 1 not a bundle that can be upgraded, 2 usage, 3 the log could not be asked.")]
pub(crate) struct BundleUpgradeArgs {
    /// The bundle
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: PathBuf,
    /// Where to write the new one; stdout otherwise
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// The transparency log (Rekor v1)
    #[arg(id = "log_url", long = "rekor-url", value_name = "URL", default_value = PUBLIC_LOG)]
    pub rekor_url: String,
}

/// `bundle inspect`
#[derive(Debug, Clone, Args)]
pub(crate) struct BundleInspectArgs {
    /// The bundle, or - for stdin
    #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub bundle: PathBuf,
    /// How to write it
    #[arg(long, short = 'o', default_value = "text", value_name = "text|json")]
    pub output: InspectOutput,
}

/// `signing-config create`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  A private instance:
    vidimus signing-config create \\
      --fulcio url=https://fulcio.example.com,api-version=1,start-time=2026-01-01T00:00:00Z,operator=example.com \\
      --rekor url=https://rekor.example.com,api-version=2,start-time=2026-01-01T00:00:00Z,operator=example.com --rekor-config ANY \\
      --tsa url=https://tsa.example.com/api/v1/timestamp,api-version=1,start-time=2026-01-01T00:00:00Z,operator=example.com --tsa-config ANY \\
      --out signing_config.json
  No service at all, to sign with a key alone:
    vidimus signing-config create --out empty.json

A service is url=,api-version=,start-time=,operator=[,end-time=]. Unlike cosign's, an unknown key is an error.")]
pub(crate) struct SigningConfigCreateArgs {
    /// A certificate authority; repeatable
    #[arg(long, value_name = "SERVICE")]
    pub fulcio: Vec<String>,
    /// An OIDC issuer; repeatable
    #[arg(long, value_name = "SERVICE")]
    pub oidc_provider: Vec<String>,
    /// A transparency log; repeatable
    #[arg(long, value_name = "SERVICE")]
    pub rekor: Vec<String>,
    /// How many logs to write to: ANY, ALL, EXACT:n
    #[arg(long, value_name = "RULE")]
    pub rekor_config: Option<String>,
    /// A timestamp authority; repeatable
    #[arg(long, value_name = "SERVICE")]
    pub tsa: Vec<String>,
    /// How many timestamp authorities to ask: ANY, ALL, EXACT:n
    #[arg(long, value_name = "RULE")]
    pub tsa_config: Option<String>,
    /// Start with the services of the TUF repository
    #[arg(long)]
    pub with_default_services: bool,
    /// … without its certificate authorities
    #[arg(long)]
    pub no_default_fulcio: bool,
    /// … without its OIDC issuers
    #[arg(long)]
    pub no_default_oidc: bool,
    /// … without its logs
    #[arg(long)]
    pub no_default_rekor: bool,
    /// … without its timestamp authorities
    #[arg(long)]
    pub no_default_tsa: bool,
    /// Where to write it; stdout otherwise
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// `trusted-root create`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus trusted-root create \\
    --fulcio url=https://fulcio.example.com,certificate-chain=fulcio.pem \\
    --ctfe url=https://ct.example.com,public-key=ctfe.pub,start-time=2026-01-01T00:00:00Z \\
    --rekor url=https://rekor.example.com,public-key=rekor.pub,start-time=2026-01-01T00:00:00Z,origin=rekor.example.com \\
    --tsa url=https://tsa.example.com/api/v1/timestamp,certificate-chain=tsa.pem \\
    --out trusted_root.json

An authority is url=,certificate-chain=[,start-time=,end-time=], the chain in a PEM file that ends with the root. A log is
url=,public-key=,start-time=[,end-time=,origin=]; Rekor v2 logs need the origin. Unlike cosign's, an unknown key is an error.")]
pub(crate) struct TrustedRootCreateArgs {
    /// A certificate authority; repeatable
    #[arg(long, value_name = "AUTHORITY")]
    pub fulcio: Vec<String>,
    /// A Certificate Transparency log; repeatable
    #[arg(long, value_name = "LOG")]
    pub ctfe: Vec<String>,
    /// A transparency log; repeatable
    #[arg(long, value_name = "LOG")]
    pub rekor: Vec<String>,
    /// A timestamp authority, its chain starting with the certificate that signs; repeatable
    #[arg(long, value_name = "AUTHORITY")]
    pub tsa: Vec<String>,
    /// Start with the trusted root of the TUF repository
    #[arg(long)]
    pub with_default_services: bool,
    /// … without its certificate authorities
    #[arg(long)]
    pub no_default_fulcio: bool,
    /// … without its Certificate Transparency logs
    #[arg(long)]
    pub no_default_ctfe: bool,
    /// … without its logs
    #[arg(long)]
    pub no_default_rekor: bool,
    /// … without its timestamp authorities
    #[arg(long)]
    pub no_default_tsa: bool,
    /// Where to write it; stdout otherwise
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}
