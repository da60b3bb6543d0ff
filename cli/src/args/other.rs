//! Arguments of the commands about trust, the private Sigstore and the program itself, as they are typed.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueHint};
use clap_complete::Shell;

/// `initialize`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  A private Sigstore:
    vidimus initialize --mirror https://tuf.example.com --root root.json
  The same, root fetched and pinned by checksum:
    vidimus initialize --mirror https://tuf.example.com --root https://tuf.example.com/root.json --root-checksum <sha256>

  Another instance beside the one that is used by default; commands take it with --instance test:
    vidimus initialize --name test --mirror https://tuf.test.example.com --root root.json

A failed initialize leaves the trust you had.
Exit: 0 initialised, 1 the repository is not what the root says, 2 usage, 3 it could not be reached.")]
pub(crate) struct InitializeArgs {
    /// The TUF repository; TUF_MIRROR otherwise
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// The root to trust: a file or a URL; TUF_ROOT_JSON otherwise
    #[arg(long, value_name = "FILE|URL")]
    pub root: Option<String>,
    /// SHA-256 of the root, or sha512:<hex>
    #[arg(long, value_name = "HEX")]
    pub root_checksum: Option<String>,
    /// Sigstore's public staging instance, whatever --mirror and the environment say
    #[arg(long)]
    pub staging: bool,
    /// Keep it under this name, beside the instance that is used by default
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// `demo`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Starts a private Sigstore in memory, makes an image, and runs the whole chain on it: initialize, sign, attest, tree, validate,
and two attacks that are refused. Every command is shown with its real output. Nothing of yours is touched.
Exit: 0 every step ended as it should.")]
pub(crate) struct DemoArgs {
    /// Use this image instead of a made one: it is copied into the demo's own registry
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Use the image in this OCI layout directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "image")]
    pub layout: Option<PathBuf>,
    /// Leave the private Sigstore running and say how to use it
    #[arg(long)]
    pub keep: bool,
}

/// `env`
#[derive(Debug, Clone, Args)]
pub(crate) struct EnvArgs {
    /// "false" prints no descriptions
    #[arg(long, default_value = "true", value_name = "BOOL")]
    pub show_descriptions: bool,
    /// Print secrets too
    #[arg(long)]
    pub show_sensitive_values: bool,
}

/// `version`
#[derive(Debug, Clone, Args)]
pub(crate) struct VersionArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `completion`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  vidimus completion bash > /etc/bash_completion.d/vidimus")]
pub(crate) struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// `login`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  echo \"$TOKEN\" | vidimus login registry.example.com -u jdoe --password-stdin

Tries the credentials first; wrong ones are not stored.
Exit: 0 stored, 1 refused by the registry, 2 usage, 3 the registry could not be reached.")]
pub(crate) struct LoginArgs {
    /// The registry
    #[arg(value_name = "REGISTRY")]
    pub registry: String,
    /// User name
    #[arg(long, short = 'u')]
    pub username: Option<String>,
    /// Password; better --password-stdin
    #[arg(long, short = 'p')]
    pub password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
}

/// `stack`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackArgs {
    #[command(subcommand)]
    pub verb: StackVerb,
}

/// What to do with a stack.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum StackVerb {
    /// Serve a private Sigstore until told to stop
    #[command(after_help = "\
Example:
  vidimus stack up --dir ~/sigstore &
  eval \"$(vidimus stack env --dir ~/sigstore)\"
  export SIGSTORE_ID_TOKEN=$(vidimus stack token --email jdoe@example.com)
  vidimus initialize")]
    Up(StackUpArgs),
    /// Stop the stack of a directory
    Down(StackDirArgs),
    /// What runs, what it holds, when it expires
    Status(StackStatusArgs),
    /// Print the variables that point Sigstore clients at the stack, for eval
    Env(StackDirArgs),
    /// Print an identity token for a user
    Token(StackTokenArgs),
    /// Put a small image into the stack's registry, to try things on, and print its reference
    Image(StackImageArgs),
    /// Write the trust root, signing configuration, keys and certificates
    Export(StackExportArgs),
    /// People who can log in
    User(StackUserArgs),
}

/// The directory of a stack.
#[derive(Debug, Clone, Args)]
pub(crate) struct StackDirArgs {
    /// The stack's directory
    #[arg(long, env = "VIDIMUS_STACK_DIR", value_name = "DIR", value_hint = ValueHint::DirPath, hide_env_values = true)]
    pub dir: PathBuf,
}

/// `stack up`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackUpArgs {
    /// Where to keep everything; without it, in memory
    #[arg(long, env = "VIDIMUS_STACK_DIR", value_name = "DIR", value_hint = ValueHint::DirPath, hide_env_values = true)]
    pub dir: Option<PathBuf>,
    /// The port; 0 takes the directory's own again, or a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The host name in every URL; fixed at the first start
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The address to listen on; beyond loopback needs --expose
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,
    /// Allow --listen beyond loopback
    #[arg(long)]
    pub expose: bool,
    /// Imitate registries that have no referrers API
    #[arg(long)]
    pub without_referrers: bool,
    /// Further trusted issuers, in Fulcio's YAML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub fulcio_config: Option<PathBuf>,
}

/// `stack status`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackStatusArgs {
    #[command(flatten)]
    pub dir: StackDirArgs,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Wait for the stack to be ready, at most this long
    #[arg(long, value_name = "DURATION", value_parser = super::groups::duration)]
    pub wait: Option<std::time::Duration>,
}

/// `stack image`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackImageArgs {
    #[command(flatten)]
    pub dir: StackDirArgs,
    /// The image's name on the stack's registry
    #[arg(long, value_name = "NAME", default_value = "app")]
    pub name: String,
    /// Its tag
    #[arg(long, value_name = "TAG", default_value = "latest")]
    pub tag: String,
}

/// `stack token`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackTokenArgs {
    #[command(flatten)]
    pub dir: StackDirArgs,
    /// Whom the token is for
    #[arg(long, value_name = "ADDRESS")]
    pub email: String,
}

/// `stack export`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackExportArgs {
    #[command(flatten)]
    pub dir: StackDirArgs,
    /// The directory to write into
    #[arg(long, default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
}

/// `stack user`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackUserArgs {
    #[command(subcommand)]
    pub verb: StackUserVerb,
}

/// What to do with the people who can log in.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum StackUserVerb {
    /// Add somebody, or give a new password
    Add(StackUserAddArgs),
    /// Remove somebody
    Remove(StackUserRemoveArgs),
    /// Who can log in
    List(StackDirArgs),
}

/// `stack user add`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackUserAddArgs {
    #[command(flatten)]
    pub dir: StackDirArgs,
    /// The e-mail address
    #[arg(value_name = "EMAIL")]
    pub email: String,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
}

/// `stack user remove`
#[derive(Debug, Clone, Args)]
pub(crate) struct StackUserRemoveArgs {
    #[command(flatten)]
    pub dir: StackDirArgs,
    /// The e-mail address
    #[arg(value_name = "EMAIL")]
    pub email: String,
}
