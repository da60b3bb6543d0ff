//! Arguments of the commands about files, as they are typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{
    groups::{SignerArgs, TrustArgs},
    proof::{EvidenceArgs, GithubArgs, IdentityArgs, SingleFileArgs, StrictArgs},
};

/// `sign-blob`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus sign-blob -y --bundle app.tar.gz.sigstore.json app.tar.gz

The bundle is verified, then written as a whole (mode 0600) or not at all.
Exit: 0 signed, 1 refused, 2 usage, 3 a service could not be reached.")]
pub(crate) struct SignBlobArgs {
    /// The file; "-" reads stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub blob: PathBuf,
    /// Where to write the bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
    #[command(flatten)]
    pub signer: SignerArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `attest-blob`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus attest-blob -y --type slsaprovenance1 --predicate provenance.json --bundle app.tar.gz.att.json app.tar.gz

Exit: 0 attested, 1 refused, 2 usage, 3 a service could not be reached.")]
pub(crate) struct AttestBlobArgs {
    /// The file; "-" reads stdin. With --statement it may be left out: the statement then says what it is about
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "statement")]
    pub blob: Option<PathBuf>,
    /// The predicate, JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "statement")]
    pub predicate: Option<PathBuf>,
    /// A whole in-toto statement instead of a predicate; its bytes are signed as they are
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["predicate", "predicate_type"])]
    pub statement: Option<PathBuf>,
    /// slsaprovenance, slsaprovenance1, spdxjson, cyclonedx, vuln, openvex, link, custom, or any URI
    #[arg(long = "type", value_name = "TYPE", default_value = "custom")]
    pub predicate_type: String,
    /// Where to write the bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
    #[command(flatten)]
    pub signer: SignerArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// A signature in a file of its own, as cosign wrote before there were bundles.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signature without a bundle")]
pub(crate) struct DetachedArgs {
    /// The signature, base64 or not; of an attestation, its envelope. With --bundle it must be the same as in there
    #[arg(long, value_name = "FILE|BASE64", value_hint = ValueHint::FilePath)]
    pub signature: Option<String>,
    /// The signer's certificate: PEM, DER, or base64 of PEM
    #[arg(long, alias = "cert", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub certificate: Option<PathBuf>,
    /// A timestamp over the signature: cosign's JSON around it, or the timestamp itself
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rfc3161_timestamp: Option<PathBuf>,
}

/// `verify-blob`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  vidimus verify-blob --bundle app.tar.gz.sigstore.json --certificate-identity jdoe@example.com --certificate-oidc-issuer https://accounts.example.com app.tar.gz
  Without any network:
    vidimus verify-blob --network=none --trusted-root trusted_root.json --bundle … --certificate-identity … --certificate-oidc-issuer … app.tar.gz

Exit: 0 verified, 1 rejected, 2 usage, 3 could not tell.")]
pub(crate) struct VerifyBlobArgs {
    /// The file, or its digest as sha256:<hex>; "-" reads stdin
    #[arg(value_name = "FILE|DIGEST", value_hint = ValueHint::FilePath)]
    pub blob: String,
    /// The bundle, or several as JSON Lines; repeatable: one that holds is enough, or as many as --identity-threshold says
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Vec<PathBuf>,
    #[command(flatten)]
    pub identity: IdentityArgs,
    #[command(flatten)]
    pub github: GithubArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub files: SingleFileArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub strict: StrictArgs,
    #[command(flatten)]
    pub detached: DetachedArgs,
}

/// `verify-blob-attestation`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus verify-blob-attestation --type slsaprovenance1 --bundle app.tar.gz.att.json --certificate-identity jdoe@example.com --certificate-oidc-issuer https://accounts.example.com app.tar.gz

Exit: 0 verified, 1 rejected, 2 usage, 3 could not tell.")]
pub(crate) struct VerifyBlobAttestationArgs {
    /// The file that the attestation is about, or its digest as sha256:<hex>; or use --digest
    #[arg(value_name = "FILE|DIGEST", value_hint = ValueHint::FilePath)]
    pub blob: Option<String>,
    /// The bundle, or several as JSON Lines; repeatable: one that holds is enough, or as many as --identity-threshold says
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Vec<PathBuf>,
    /// The file's digest in hex, instead of the file
    #[arg(long, value_name = "HEX")]
    pub digest: Option<String>,
    /// The algorithm of --digest
    #[arg(long = "digestAlg", value_name = "sha256|sha384|sha512", default_value = "sha256")]
    pub digest_alg: String,
    /// slsaprovenance, slsaprovenance1, spdxjson, cyclonedx, vuln, openvex, link, custom, or any URI
    #[arg(long = "type", value_name = "TYPE", default_value = "custom")]
    pub predicate_type: String,
    /// Deprecated: the claims are always checked
    #[arg(long, hide = true, default_value = "true")]
    pub check_claims: bool,
    #[command(flatten)]
    pub identity: IdentityArgs,
    #[command(flatten)]
    pub github: GithubArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub files: SingleFileArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub strict: StrictArgs,
    #[command(flatten)]
    pub detached: DetachedArgs,
}
