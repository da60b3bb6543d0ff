//! Arguments of the commands about images, as they are typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{
    groups::{RegistryArgs, SignerArgs, TrustArgs},
    proof::{EvidenceArgs, GithubArgs, IdentityArgs, SingleFileArgs, StrictArgs},
};

/// `sign`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  Sign an image by digest, with the identity of the CI job or of SIGSTORE_ID_TOKEN:
    vidimus sign -y registry.example.com/app@sha256:…
  Sign with annotations and every platform of an index:
    vidimus sign -y -r -a team=red registry.example.com/app:1.2
  Keep the bundle, push nothing:
    vidimus sign -y --upload=false --bundle app.sigstore.json registry.example.com/app@sha256:…

What is signed is verified against the trust root before anything is pushed.
Exit: 0 signed and pushed, 1 refused, 2 usage, 3 a service could not be reached.")]
pub(crate) struct SignArgs {
    /// The images; by digest unless you mean whatever the tag points to right now
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Sign every manifest of an index as well
    #[arg(long, short = 'r')]
    pub recursive: bool,
    /// Signed along with the image; repeatable
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_delimiter = ',')]
    pub annotations: Vec<String>,
    /// Also write the bundle here
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
    /// "false" pushes nothing
    #[arg(long, default_value = "true", value_name = "BOOL")]
    pub upload: bool,
    /// Deprecated: what is signed is always verified first
    #[arg(long, hide = true)]
    pub insecure_skip_verify: bool,
    #[command(flatten)]
    pub signer: SignerArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `attest`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  Attach SLSA provenance:
    vidimus attest -y --type slsaprovenance1 --predicate provenance.json registry.example.com/app@sha256:…
  Attach an SBOM from another program:
    syft -o spdx-json app | vidimus attest -y --type spdxjson --predicate - registry.example.com/app@sha256:…

The predicate's bytes are signed exactly as given. SLSA predicates must have the shape of their version.
Exit: 0 attested and pushed, 1 refused, 2 usage, 3 a service could not be reached.")]
pub(crate) struct AttestArgs {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// The predicate, JSON; "-" reads stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub predicate: Option<PathBuf>,
    /// A whole in-toto statement instead of a predicate; it must be about the image; "-" reads stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "predicate")]
    pub statement: Option<PathBuf>,
    /// slsaprovenance, slsaprovenance1, spdxjson, cyclonedx, vuln, openvex, link, custom, or any URI
    #[arg(long = "type", value_name = "TYPE", default_value = "custom")]
    pub predicate_type: String,
    /// Attest every manifest of an index as well
    #[arg(long, short = 'r')]
    pub recursive: bool,
    /// Also write the bundle here
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
    /// Push nothing; write the envelope to stdout
    #[arg(long)]
    pub no_upload: bool,
    #[command(flatten)]
    pub signer: SignerArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// How `verify` writes its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyOutput {
    /// cosign's array of payloads.
    Json,
    /// One payload a line.
    Text,
}

/// `verify`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  Signed by one person:
    vidimus verify --certificate-identity jdoe@example.com --certificate-oidc-issuer https://accounts.example.com registry.example.com/app:1.2
  Signed by a workflow of one repository:
    vidimus verify --certificate-identity-regexp '^https://github.com/acme/app/' --certificate-oidc-issuer https://token.actions.githubusercontent.com registry.example.com/app:1.2
  Without asking the TUF repository:
    vidimus verify --trusted-root trusted_root.json --certificate-identity … --certificate-oidc-issuer … registry.example.com/app:1.2

Bundles, .sig tags and OCI 1.1 signatures all count; an attestation is not a signature.
Exit: 0 verified, 10 nothing attached, 11 no such tag, 12 nothing matched, 13 no certificate, 2 usage, 3 could not tell.")]
pub(crate) struct VerifyArgs {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    #[command(flatten)]
    pub identity: IdentityArgs,
    #[command(flatten)]
    pub github: GithubArgs,
    /// Annotations that the signature must carry; repeatable
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_delimiter = ',', help_heading = "Signer")]
    pub annotations: Vec<String>,
    /// How to write the result
    #[arg(long, short = 'o', default_value = "json", value_name = "json|text")]
    pub output: VerifyOutput,
    /// Deprecated: the claims are always checked
    #[arg(long, hide = true, default_value = "true")]
    pub check_claims: bool,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub files: SingleFileArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub strict: StrictArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `verify-attestation`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  Every SLSA v0.2 provenance by one signer, as DSSE envelopes, one a line:
    vidimus verify-attestation --type slsaprovenance --certificate-identity jdoe@example.com --certificate-oidc-issuer https://accounts.example.com registry.example.com/app:1.2
  The predicate itself:
    vidimus verify-attestation --type slsaprovenance … registry.example.com/app:1.2 | jq -r .payload | base64 -d | jq .predicate

Exit: 0 verified, 10 nothing attached, 11 no such tag, 12 nothing matched, 13 no certificate, 2 usage, 3 could not tell.")]
pub(crate) struct VerifyAttestationArgs {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// slsaprovenance, slsaprovenance1, spdxjson, cyclonedx, vuln, openvex, link, custom, or any URI
    #[arg(long = "type", value_name = "TYPE", default_value = "custom")]
    pub predicate_type: String,
    #[command(flatten)]
    pub identity: IdentityArgs,
    #[command(flatten)]
    pub github: GithubArgs,
    /// No effect, as in cosign: envelopes are printed
    #[arg(long, short = 'o', hide = true, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Deprecated: the claims are always checked
    #[arg(long, hide = true, default_value = "true")]
    pub check_claims: bool,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub files: SingleFileArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub strict: StrictArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// How `tree` writes its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TreeOutput {
    /// A picture.
    Text,
    /// One JSON document.
    Json,
}

/// `tree`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  vidimus tree registry.example.com/app:1.2
  vidimus tree --output json registry.example.com/app:1.2 | jq '.artifacts[].signer'

A picture of what hangs off an image. Nothing in it is verified: use `vidimus verify` for that.
Exit: 0 also when nothing is attached, 11 no such tag, 2 usage, 3 could not tell.")]
pub(crate) struct TreeArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// How to write the result
    #[arg(long, short = 'o', default_value = "text", value_name = "text|json")]
    pub output: TreeOutput,
    /// Deprecated: referrers are always shown
    #[arg(long, hide = true, default_value = "true")]
    pub experimental_oci11: bool,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `validate image`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  The three built-in checks, for people:
    vidimus validate image --image registry.example.com/app:1.2 --certificate-identity jdoe@example.com --certificate-oidc-issuer https://accounts.example.com
  For machines, into files:
    vidimus validate image --image … --certificate-identity-regexp … --certificate-oidc-issuer-regexp … --output json=report.json --output text

Exit: 0 success (or --strict=false), 1 a check failed, 2 usage, 3 could not tell.")]
pub(crate) struct ValidateImageArgs {
    /// The image
    #[arg(long, short = 'i', value_name = "IMAGE")]
    pub image: Option<String>,
    /// Several images: a file or inline JSON or YAML, {components: [{name, containerImage}]}
    #[arg(long, value_name = "FILE|TEXT")]
    pub images: Option<String>,
    /// Deprecated spelling of --images
    #[arg(long, short = 'f', value_name = "FILE", hide = true)]
    pub file_path: Option<String>,
    /// Deprecated spelling of --images
    #[arg(long, short = 'j', value_name = "JSON", hide = true)]
    pub json_input: Option<String>,
    /// The policy; only the empty one is built
    #[arg(long, short = 'p', value_name = "POLICY")]
    pub policy: Option<String>,
    #[command(flatten)]
    pub identity: IdentityArgs,
    #[command(flatten)]
    pub github: GithubArgs,
    /// A public key, instead of a signer: a file, or env://VARIABLE
    #[arg(long, short = 'k', value_name = "FILE", help_heading = "Signer")]
    pub public_key: Option<String>,
    /// Do not require an entry in a transparency log
    #[arg(long, help_heading = "Evidence")]
    pub ignore_rekor: bool,
    /// Do not check the image's signature
    #[arg(long, help_heading = "Evidence")]
    pub skip_image_sig_check: bool,
    /// Do not require the certificate authority's certificate log
    #[arg(long, help_heading = "Evidence")]
    pub insecure_ignore_sct: bool,
    #[command(flatten)]
    pub proof: StrictArgs,
    #[command(flatten)]
    pub files: SingleFileArgs,
    /// No effect: entries travel with the signature
    #[arg(long, short = 'r', hide = true, value_name = "URL")]
    pub rekor_url: Option<String>,
    /// text, json or yaml, with =FILE to write a file; repeatable
    #[arg(long, value_name = "FORMAT[=FILE]", help_heading = "Report")]
    pub output: Vec<String>,
    /// Deprecated: --output json=FILE
    #[arg(short = 'o', id = "json_file", hide = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub json_file: Option<PathBuf>,
    /// Show the checks that passed, too
    #[arg(long, help_heading = "Report")]
    pub show_successes: bool,
    /// "false" leaves warnings out
    #[arg(long, default_value = "true", value_name = "BOOL", help_heading = "Report")]
    pub show_warnings: bool,
    /// End with a pointer to the policy documentation
    #[arg(long, help_heading = "Report")]
    pub show_policy_docs_link: bool,
    /// Titles, descriptions and solutions as well
    #[arg(long, help_heading = "Report")]
    pub info: bool,
    /// "false" exits 0 whatever was found
    #[arg(long, short = 's', default_value = "true", value_name = "BOOL", help_heading = "Report")]
    pub strict: bool,
    /// The time at which rules apply: now, attestation, a date or a time
    #[arg(long, default_value = "now", value_name = "TIME", help_heading = "Report")]
    pub effective_time: String,
    /// Accept an --effective-time in the past
    #[arg(long, help_heading = "Report")]
    pub allow_past_effective_time: bool,
    /// No effect: images are always judged in parallel
    #[arg(long, hide = true, value_name = "N")]
    pub workers: Option<u32>,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}
