//! Arguments of `tuf`, as they are typed.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Subcommand, ValueEnum, ValueHint};

/// `tuf`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufArgs {
    #[command(subcommand)]
    pub verb: TufVerb,
}

/// What to do with a TUF repository.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TufVerb {
    /// Begin a repository: stage its first root, for its key holders to sign
    #[command(after_help = "\
Example:
  vidimus tuf init --dir repo --root-key ann.pub --root-key bob.pub --threshold root=2 \\
    --targets-key ann.pub --snapshot-key online.pub --timestamp-key online.pub --expires timestamp=3d

Then: tuf target add, tuf sign, tuf publish. docs/tuf.md shows a whole ceremony.")]
    Init(TufInitArgs),
    /// Keys: generate, add to and remove from roles
    Key(TufKeyArgs),
    /// Put a key in the place of another; stages the next root
    #[command(after_help = "\
Example:
  vidimus tuf rotate --dir repo 5d1e90ab cleo.pub

The next root needs the signatures that the present one asks for, the leaving key's among them, and those that it asks for itself.")]
    Rotate(TufRotateArgs),
    /// Stage a root or targets that are valid for longer
    Renew(TufRenewArgs),
    /// Files that clients may download: add, remove
    Target(TufTargetArgs),
    /// Sign what is staged, or a copy of a staged document
    #[command(after_help = "\
Examples:
  In the directory of the repository:
    vidimus tuf sign --dir repo --key ann.key
  On another machine, with nothing but the file; the result goes back and is taken over with tuf import:
    vidimus tuf sign root.json --key bob.key
  A holder whose key only the present root names:
    vidimus tuf sign root.json --key bob.key --root 1.root.json")]
    Sign(TufSignArgs),
    /// Take over the signatures of a copy that was signed elsewhere
    Import(TufImportArgs),
    /// Make what is staged what clients see, with a fresh snapshot and timestamp
    #[command(after_help = "\
Example:
  vidimus tuf publish --dir repo --key online.key

With nothing staged it renews snapshot and timestamp. The new publication is read as a client reads it, from the first root on,
before it takes the place of the old one; a crash at any point leaves the old one served whole.
Exit: 0 published, 1 signatures are missing or a client would refuse it, 2 usage, 3 files could not be read or written.")]
    Publish(TufPublishArgs),
    /// Show roles, keys, thresholds and expiries, and who has yet to sign
    Show(TufShowArgs),
    /// Serve the published state over HTTP until told to stop
    Serve(TufServeArgs),
    /// A TUF client for any repository: init, refresh, download
    #[command(after_help = "\
Examples:
  vidimus tuf client --metadata-dir meta init root.json
  vidimus tuf client --metadata-dir meta --metadata-url https://tuf.example.com refresh
  vidimus tuf client --metadata-dir meta --metadata-url https://tuf.example.com \\
    --target-name trusted_root.json --target-dir . --target-base-url https://tuf.example.com/targets download

Keeps the trusted metadata as ROLE.json in --metadata-dir, byte for byte as the repository served it.
Exit: 0 done, 1 what is served does not pass the checks, 2 usage, 3 it could not be fetched, is expired or incomplete.")]
    Client(TufClientArgs),
}

/// The directory of a repository.
#[derive(Debug, Clone, Args)]
pub(crate) struct TufDirArgs {
    /// The directory of the repository
    #[arg(long, env = "VIDIMUS_TUF_DIR", value_name = "DIR", value_hint = ValueHint::DirPath, hide_env_values = true)]
    pub dir: PathBuf,
}

/// `tuf init`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufInitArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// A public key that speaks for the root; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub root_key: Vec<PathBuf>,
    /// A public key that speaks for the targets
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub targets_key: Vec<PathBuf>,
    /// A public key that speaks for the snapshot; needed at every publication that changes something
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub snapshot_key: Vec<PathBuf>,
    /// A public key that speaks for the timestamp; needed at every publication
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub timestamp_key: Vec<PathBuf>,
    /// How many signatures a role needs, such as root=2; 1 otherwise
    #[arg(long, value_name = "ROLE=N", value_parser = pair::<usize>)]
    pub threshold: Vec<(RoleName, usize)>,
    /// How long a role's metadata is valid, such as root=1y; otherwise root and targets 365d, snapshot 30d, timestamp 7d
    #[arg(long, value_name = "ROLE=DURATION", value_parser = pair::<Validity>)]
    pub expires: Vec<(RoleName, Validity)>,
}

/// `tuf key`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufKeyArgs {
    #[command(subcommand)]
    pub verb: TufKeyVerb,
}

/// What to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TufKeyVerb {
    /// Make a key: FILE for its owner alone, FILE.pub for everybody; prints its id
    Generate(TufKeyGenerateArgs),
    /// Give a role a key; stages the next root
    Add(TufKeyAddArgs),
    /// Take a key from a role; stages the next root
    Remove(TufKeyRemoveArgs),
    /// Say how many signatures a role needs; stages the next root
    Threshold(TufKeyThresholdArgs),
    /// Print the id of a key in a file
    Id(TufKeyIdArgs),
}

/// `tuf key generate`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufKeyGenerateArgs {
    /// Where to keep it
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Its kind: ecdsa-p256, ed25519 or rsa-pss
    #[arg(long = "type", value_name = "TYPE", default_value = "ecdsa-p256")]
    pub kind: KeyKind,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    #[value(name = "ecdsa-p256", alias = "ecdsa")]
    EcdsaP256,
    #[value(name = "ed25519")]
    Ed25519,
    #[value(name = "rsa-pss", alias = "rsa")]
    RsaPss,
}

/// `tuf key id`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufKeyIdArgs {
    /// A public or private key
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `tuf key add`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufKeyAddArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// root, targets, snapshot or timestamp
    #[arg(value_name = "ROLE")]
    pub role: RoleName,
    /// The public key
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
    /// The role's new threshold
    #[arg(long, value_name = "N")]
    pub threshold: Option<usize>,
}

/// `tuf key remove`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufKeyRemoveArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// root, targets, snapshot or timestamp
    #[arg(value_name = "ROLE")]
    pub role: RoleName,
    /// The key's id, or its first eight characters or more
    #[arg(value_name = "KEYID")]
    pub key: String,
    /// The role's new threshold
    #[arg(long, value_name = "N")]
    pub threshold: Option<usize>,
}

/// `tuf key threshold`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufKeyThresholdArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// root, targets, snapshot or timestamp
    #[arg(value_name = "ROLE")]
    pub role: RoleName,
    /// How many signatures it needs
    #[arg(value_name = "N")]
    pub threshold: usize,
}

/// `tuf rotate`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufRotateArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// The id of the key that goes, or its first eight characters or more
    #[arg(value_name = "KEYID")]
    pub old: String,
    /// The public key that comes
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub new: PathBuf,
    /// Only in this role; in every role that has the key otherwise
    #[arg(long, value_name = "ROLE")]
    pub role: Vec<RoleName>,
}

/// `tuf renew`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufRenewArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// root or targets
    #[arg(value_name = "ROLE")]
    pub role: RoleName,
}

/// `tuf target`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufTargetArgs {
    #[command(subcommand)]
    pub verb: TufTargetVerb,
}

/// What to do with targets.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TufTargetVerb {
    /// Add a file, or replace the one of the same name
    #[command(after_help = "\
Examples:
  vidimus tuf target add --dir repo trusted_root.json
  For cosign 2, which reads keys and certificates one by one and finds them by what they are for:
    vidimus tuf target add --dir repo rekor.pub --usage Rekor --uri https://rekor.example.com")]
    Add(TufTargetAddArgs),
    /// Remove a file
    Remove(TufTargetRemoveArgs),
}

/// `tuf target add`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufTargetAddArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// The file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Its name in the repository; the file's own otherwise
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What it is for, in Sigstore's terms: Fulcio, Rekor, CTFE or TSA
    #[arg(long, value_name = "USAGE")]
    pub usage: Option<Usage>,
    /// Whether it is still in use: Active or Expired
    #[arg(long, value_name = "STATUS", default_value = "Active", requires = "usage")]
    pub status: UsageStatus,
    /// The service it belongs to
    #[arg(long, value_name = "URL", requires = "usage")]
    pub uri: Option<String>,
    /// Anything else the repository should say about it: a JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "usage")]
    pub custom: Option<String>,
}

/// What a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "verbatim")]
pub(crate) enum Usage {
    Fulcio,
    Rekor,
    #[value(name = "CTFE")]
    Ctfe,
    #[value(name = "TSA")]
    Tsa,
}

/// Whether a target is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "verbatim")]
pub(crate) enum UsageStatus {
    Active,
    Expired,
}

/// `tuf target remove`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufTargetRemoveArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `tuf sign`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufSignArgs {
    /// A copy of a staged document; everything that is staged in --dir otherwise
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The directory of the repository
    #[arg(long, env = "VIDIMUS_TUF_DIR", value_name = "DIR", value_hint = ValueHint::DirPath, hide_env_values = true)]
    pub dir: Option<PathBuf>,
    /// A private key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub key: Vec<PathBuf>,
    /// With a FILE: the root that clients trust now, for keys that only it names
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "file")]
    pub root: Option<PathBuf>,
}

/// `tuf import`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufImportArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// The signed copy
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `tuf publish`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufPublishArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// A private key of the snapshot or the timestamp
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub key: Vec<PathBuf>,
}

/// `tuf show`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufShowArgs {
    /// A root or targets document; the directory otherwise
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The directory of the repository
    #[arg(long, env = "VIDIMUS_TUF_DIR", value_name = "DIR", value_hint = ValueHint::DirPath, hide_env_values = true)]
    pub dir: Option<PathBuf>,
    /// With a FILE: the root that clients trust now, to compare with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "file")]
    pub root: Option<PathBuf>,
    /// text or json
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "text")]
    pub output: ShowOutput,
}

/// How to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowOutput {
    Text,
    Json,
}

/// `tuf serve`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufServeArgs {
    #[command(flatten)]
    pub dir: TufDirArgs,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The address to listen on; beyond loopback needs --expose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Allow --listen beyond loopback
    #[arg(long)]
    pub expose: bool,
}

/// `tuf client`
#[derive(Debug, Clone, Args)]
pub(crate) struct TufClientArgs {
    /// Where the trusted metadata is kept
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub metadata_dir: Option<PathBuf>,
    /// Where the repository's metadata is: a URL or a directory
    #[arg(long, global = true, value_name = "URL")]
    pub metadata_url: Option<String>,
    /// A target; may be given several times
    #[arg(long, global = true, value_name = "NAME", allow_hyphen_values = true)]
    pub target_name: Vec<String>,
    /// Where to put targets, each under its percent-encoded name
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub target_dir: Option<PathBuf>,
    /// Where the repository's targets are; targets/ below --metadata-url otherwise
    #[arg(long, global = true, value_name = "URL")]
    pub target_base_url: Option<String>,
    #[command(subcommand)]
    pub verb: TufClientVerb,
}

/// What a client does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TufClientVerb {
    /// Trust a root; asks nobody
    Init {
        /// The root
        #[arg(value_name = "ROOT", value_hint = ValueHint::FilePath)]
        root: PathBuf,
    },
    /// Bring the metadata up to date
    Refresh,
    /// Refresh, then bring targets into --target-dir; those that lie there already are not fetched
    Download,
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    Root,
    Targets,
    Snapshot,
    Timestamp,
}

/// How long metadata is valid: `12h`, `7d`, `8w`, `1y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity(pub(crate) Duration);

impl FromStr for Validity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration such as 12h, 7d, 8w or 1y");
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let hours = match unit {
            'h' => 1,
            'd' => 24,
            'w' => 7 * 24,
            'y' => 365 * 24,
            _ => return Err(wrong()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        // A century is beyond every key; beyond that dates have five digits, which no client reads.
        match number.checked_mul(hours) {
            Some(hours @ 1..=876_000) => Ok(Self(Duration::from_secs(hours * 3600))),
            _ => Err(format!("{text:?} is not between an hour and a hundred years")),
        }
    }
}

/// `ROLE=VALUE`
fn pair<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(RoleName, T), String> {
    let (role, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not ROLE=VALUE"))?;
    let value = value.parse().map_err(|e| format!("{text:?}: {e}"))?;
    Ok((RoleName::from_str(role, false)?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_durations() {
        assert_eq!(pair::<usize>("root=2"), Ok((RoleName::Root, 2)));
        assert_eq!(pair::<Validity>("timestamp=7d"), Ok((RoleName::Timestamp, Validity(Duration::from_secs(604_800)))));
        for bad in ["root", "root=", "nobody=1", "root=x"] {
            assert!(pair::<usize>(bad).is_err(), "{bad}");
        }
        for bad in ["", "d", "0d", "7", "7days", "200y", "-1d", "7é"] {
            assert!(bad.parse::<Validity>().is_err(), "{bad}");
        }
    }
}
