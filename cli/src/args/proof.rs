//! Flags of the commands that verify: who must have signed, what must be proven, and whom to trust for it.
//!
//! cosign's names where cosign has the flag. What takes away from the proof has `insecure` in its name, or is the named policy
//! `--evidence`; all of it is shown in every output.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Who must have signed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signer")]
pub(crate) struct IdentityArgs {
    /// The signer: an e-mail address or a URI, exactly as in the certificate
    #[arg(long, alias = "cert-identity", value_name = "IDENTITY")]
    pub certificate_identity: Option<String>,
    /// A regular expression that must match somewhere in the signer (Go's RE2, not anchored)
    #[arg(long, alias = "cert-identity-regexp", value_name = "REGEXP")]
    pub certificate_identity_regexp: Option<String>,
    /// The OIDC issuer that vouched for the signer
    #[arg(long, alias = "cert-oidc-issuer", value_name = "URL")]
    pub certificate_oidc_issuer: Option<String>,
    /// A regular expression that must match somewhere in the issuer
    #[arg(long, alias = "cert-oidc-issuer-regexp", value_name = "REGEXP")]
    pub certificate_oidc_issuer_regexp: Option<String>,
    /// One of several signers: subject=…,issuer=… and claims, each NAME=VALUE or NAME~REGEXP; repeatable
    #[arg(long, value_name = "SIGNER")]
    pub identity: Vec<String>,
    /// Several signers: YAML or JSON, {threshold: any|all|N, identities: [{subject, subjectRegExp, issuer, issuerRegExp, claims}]}
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity_file: Option<PathBuf>,
    /// How many of several signers must have signed: any, all, or a number
    #[arg(long, value_name = "any|all|N")]
    pub identity_threshold: Option<String>,
    /// What every signer's certificate must say beyond that: NAME=VALUE or NAME~REGEXP, NAME as in Fulcio's documentation
    /// (SourceRepositoryURI, source-repository-uri, 1.3.6.1.4.1.57264.1.12); repeatable
    #[arg(long, value_name = "CLAIM")]
    pub claim: Vec<String>,
}

/// What a GitHub workflow's certificate must say.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signer: GitHub workflow")]
pub(crate) struct GithubArgs {
    /// The event that started the workflow
    #[arg(long, value_name = "EVENT")]
    pub certificate_github_workflow_trigger: Option<String>,
    /// The commit
    #[arg(long, value_name = "SHA")]
    pub certificate_github_workflow_sha: Option<String>,
    /// The workflow's name
    #[arg(long, value_name = "NAME")]
    pub certificate_github_workflow_name: Option<String>,
    /// The repository
    #[arg(long, value_name = "OWNER/NAME")]
    pub certificate_github_workflow_repository: Option<String>,
    /// The ref
    #[arg(long, value_name = "REF")]
    pub certificate_github_workflow_ref: Option<String>,
}

/// What must be proven, in cosign's words. Whatever is done without is shown in every output.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Evidence")]
pub(crate) struct EvidenceArgs {
    /// A public key, instead of a signer: a file (PEM or DER), or env://VARIABLE
    #[arg(long, value_name = "FILE|env://NAME", value_hint = ValueHint::FilePath)]
    pub key: Option<String>,
    /// Do not require an entry in a transparency log
    #[arg(long)]
    pub insecure_ignore_tlog: bool,
    /// Do not require the certificate authority's certificate log
    #[arg(long)]
    pub insecure_ignore_sct: bool,
    /// Require an RFC 3161 timestamp
    #[arg(long)]
    pub use_signed_timestamps: bool,
    /// Do not ask the log for the entry of a signature that came without it
    #[arg(long, hide = true)]
    pub offline: bool,
    /// Deprecated: no effect
    #[arg(long, hide = true)]
    pub private_infrastructure: bool,
    /// Deprecated: every format is always read
    #[arg(long, hide = true, default_value = "true")]
    pub new_bundle_format: bool,
    /// Deprecated: every format is always read
    #[arg(long, hide = true)]
    pub experimental_oci11: bool,
    /// The log (Rekor v1) to ask for the entry of a signature that came without it; the trusted root's by default
    #[arg(long, hide = true, value_name = "URL")]
    pub rekor_url: Option<String>,
    /// No effect: candidates are always checked in parallel
    #[arg(long, hide = true, value_name = "N")]
    pub max_workers: Option<u32>,
}

/// Which kind of instance signatures come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Evidence {
    /// One with public logs.
    #[default]
    Public,
    /// One with a timestamp authority and nothing public.
    TimestampAuthority,
}

/// What must be proven beyond cosign's defaults.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Evidence")]
pub(crate) struct StrictArgs {
    /// "timestamp-authority" is for instances without public logs, such as GitHub's for private repositories: a signed timestamp
    /// is required, and that others can see the signature is not proven
    #[arg(long, value_name = "public|timestamp-authority", default_value = "public")]
    pub evidence: Evidence,
    /// Require entries in this many different transparency logs
    #[arg(long, value_name = "N")]
    pub min_log_entries: Option<usize>,
    /// Require timestamps of this many different timestamp authorities
    #[arg(long, value_name = "N")]
    pub min_timestamps: Option<usize>,
    /// Require an inclusion proof even of formats that may carry the log's promise alone
    #[arg(long)]
    pub require_inclusion_proof: bool,
    /// Accept Sigstore bundles of this version or newer only: 0.1, 0.2, 0.3
    #[arg(long, value_name = "VERSION")]
    pub min_bundle_version: Option<String>,
    /// A witness that must have cosigned the log's checkpoint: its key NAME+HASH+KEY, or a file with such lines; repeatable
    #[arg(long, value_name = "VKEY|FILE")]
    pub witness: Vec<String>,
    /// How many of the witnesses; all by default
    #[arg(long, value_name = "N")]
    pub witness_threshold: Option<usize>,
    /// Where nothing proves when a signature was made, take it to have been made just now: for long-lived certificates
    #[arg(long)]
    pub insecure_current_time: bool,
}

/// Trust in single files, as cosign has it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct SingleFileArgs {
    /// Certificate authorities, PEM: roots
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "certificate_chain")]
    pub ca_roots: Option<PathBuf>,
    /// Certificate authorities below those of --ca-roots, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "ca_roots")]
    pub ca_intermediates: Option<PathBuf>,
    /// A certificate authority, PEM: from the one that issues to its root
    #[arg(long, alias = "cert-chain", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub certificate_chain: Option<PathBuf>,
    /// A timestamp authority, PEM: from the certificate that signs, or its issuer, to its root
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub timestamp_certificate_chain: Option<PathBuf>,
}
