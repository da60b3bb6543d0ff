//! What was typed: one module for each family of commands, and the table that joins them.
//!
//! Nothing here does any work or I/O beyond reading the environment for flags. A command's flags are only built when that command is
//! called (`clap`'s deferred building), because a process that verifies one file should not spend its time describing twenty commands.
//!
//! Three contracts of cosign hold for every command that cosign has: each flag is also read from `COSIGN_<FLAG>`; truth values take
//! `--flag`, `--flag=false` and the words of Go's `ParseBool`; deprecated flags are accepted with one warning.

pub(crate) mod blob;
pub(crate) mod groups;
pub(crate) mod image;
mod known;
pub(crate) mod other;
pub(crate) mod proof;
pub(crate) mod tools;
pub(crate) mod tuf;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, builder::ValueParser, parser::ValueSource};

use self::{blob::*, groups::GlobalArgs, image::*, other::*, tools::*, tuf::TufArgs};

/// A whole command line.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// Flags of every command.
    pub global: GlobalArgs,
    /// The command.
    pub command: Command,
    /// Warnings about how it was called: deprecated flags.
    pub warnings: Vec<String>,
}

/// A command with its arguments.
#[derive(Debug)]
pub(crate) enum Command {
    Attest(AttestArgs),
    AttestBlob(AttestBlobArgs),
    BundleCreate(BundleCreateArgs),
    BundleInspect(BundleInspectArgs),
    BundleUpgrade(BundleUpgradeArgs),
    Completion(CompletionArgs),
    Demo(DemoArgs),
    Env(EnvArgs),
    Initialize(InitializeArgs),
    Inspect(InspectArgs),
    Login(LoginArgs),
    Sign(SignArgs),
    SignBlob(SignBlobArgs),
    SigningConfigCreate(SigningConfigCreateArgs),
    Stack(StackArgs),
    Tree(TreeArgs),
    TrustedRootCreate(TrustedRootCreateArgs),
    Tuf(TufArgs),
    ValidateImage(ValidateImageArgs),
    Verify(VerifyArgs),
    VerifyAttestation(VerifyAttestationArgs),
    VerifyBlob(VerifyBlobArgs),
    VerifyBlobAttestation(VerifyBlobAttestationArgs),
    Version(VersionArgs),
}

/// One row of the table of commands.
struct Entry {
    name: &'static str,
    about: &'static str,
    build: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

/// A command with commands below it.
struct Family {
    name: &'static str,
    about: &'static str,
    commands: &'static [Entry],
}

macro_rules! entry {
    ($name:literal, $variant:ident($args:ty), $about:literal, $contract:ident) => {
        Entry {
            name: $name,
            about: $about,
            build: |command| $contract(<$args>::augment_args(command).about($about).long_about(None::<&str>)),
            read: |matches| <$args>::from_arg_matches(matches).map(Command::$variant),
        }
    };
}

const COMMANDS: &[Entry] = &[
    entry!("initialize", Initialize(InitializeArgs), "Trust a Sigstore instance: fetch and check its TUF repository", cosign),
    entry!("sign", Sign(SignArgs), "Sign images", cosign),
    entry!("attest", Attest(AttestArgs), "Attach a signed statement to images", cosign),
    entry!("verify", Verify(VerifyArgs), "Verify the signatures of images", cosign),
    entry!("verify-attestation", VerifyAttestation(VerifyAttestationArgs), "Verify the attestations of images", cosign),
    entry!("tree", Tree(TreeArgs), "Show what hangs off an image", cosign),
    entry!("sign-blob", SignBlob(SignBlobArgs), "Sign a file", cosign),
    entry!("attest-blob", AttestBlob(AttestBlobArgs), "Sign a statement about a file", cosign),
    entry!("verify-blob", VerifyBlob(VerifyBlobArgs), "Verify the signature of a file", cosign),
    entry!(
        "verify-blob-attestation",
        VerifyBlobAttestation(VerifyBlobAttestationArgs),
        "Verify a statement about a file",
        cosign
    ),
    entry!("inspect", Inspect(InspectArgs), "Show everything that a signing document says, without judging it", own),
    entry!("stack", Stack(StackArgs), "A private Sigstore: up, down, status, env, token, image, user, export", own),
    entry!("tuf", Tuf(TufArgs), "A TUF repository of one's own: root ceremonies, publication; a client for any", own),
    entry!("demo", Demo(DemoArgs), "Show the whole chain on a private Sigstore, attacks included", own),
    entry!("login", Login(LoginArgs), "Log in to a registry", cosign),
    entry!("env", Env(EnvArgs), "Print the environment variables that matter", cosign),
    entry!("version", Version(VersionArgs), "Print the version", own),
    entry!("completion", Completion(CompletionArgs), "Print a completion script for a shell", own),
];

/// Commands that have commands below them, as `ec`'s and cosign's have.
const FAMILIES: &[Family] = &[
    Family {
        name: "bundle",
        about: "Make, upgrade and show Sigstore bundles",
        commands: &[
            entry!("create", BundleCreate(BundleCreateArgs), "Make a bundle out of the files of an older signature", cosign),
            entry!("inspect", BundleInspect(BundleInspectArgs), "Show everything that a bundle says, without judging it", cosign),
            entry!("upgrade", BundleUpgrade(BundleUpgradeArgs), "Bring a bundle to version 0.3", cosign),
        ],
    },
    Family {
        name: "signing-config",
        about: "Make signing configurations",
        commands: &[entry!(
            "create",
            SigningConfigCreate(SigningConfigCreateArgs),
            "Make a signing configuration from descriptions of services",
            cosign
        )],
    },
    Family {
        name: "trusted-root",
        about: "Make trusted roots",
        commands: &[entry!(
            "create",
            TrustedRootCreate(TrustedRootCreateArgs),
            "Make a trusted root from keys and certificates",
            cosign
        )],
    },
    Family {
        name: "validate",
        about: "Judge images against identities and policies",
        commands: &[entry!(
            "image",
            ValidateImage(ValidateImageArgs),
            "Judge images: signatures, attestations, their syntax",
            cosign
        )],
    },
];

const ABOUT: &str = "Sign, attest, look at and judge container images and files, keyless, with Sigstore's formats";

const EPILOGUE: &str = "\
First steps:
  vidimus demo                               the whole chain, on a private Sigstore that is gone afterwards
  vidimus sign -y IMAGE@sha256:…             sign with the identity of this CI job or person
  vidimus verify --certificate-identity WHO --certificate-oidc-issuer ISSUER IMAGE

Every flag of cosign's commands can also be given as COSIGN_<FLAG>, such as COSIGN_TIMEOUT=90s.
Exit codes: 0 accepted, 1 rejected, 2 wrong usage, 3 could not tell; verify also 10 to 13, see its help.";

/// The whole command line, as clap describes it.
pub(crate) fn root() -> clap::Command {
    let family = |family: &Family| {
        clap::Command::new(family.name)
            .about(family.about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommands(family.commands.iter().map(subcommand))
    };
    let root = clap::Command::new("vidimus")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EPILOGUE)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(130)
        .subcommands(COMMANDS.iter().map(subcommand))
        .subcommands(FAMILIES.iter().map(family));
    truths(GlobalArgs::augment_args(root).about(ABOUT).long_about(None::<&str>))
}

/// Reads a command line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let mut matches = root().try_get_matches_from(args)?;
    let (mut name, mut inner) = matches.remove_subcommand().ok_or_else(unreachable_command)?;
    let mut table = COMMANDS;
    if let Some(family) = FAMILIES.iter().find(|family| family.name == name) {
        (name, inner) = inner.remove_subcommand().ok_or_else(unreachable_command)?;
        table = family.commands;
    }
    let entry = table.iter().find(|entry| entry.name == name).ok_or_else(unreachable_command)?;
    let warnings = known::judge(&name, &inner)?;
    prefer_command_line(&mut inner);
    prefer_typed_trust(&mut inner);
    Ok(Parsed { global: GlobalArgs::from_arg_matches(&inner)?, command: (entry.read)(&inner)?, warnings })
}

fn unreachable_command() -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::MissingSubcommand, "no command given; see vidimus --help\n")
}

fn subcommand(entry: &Entry) -> clap::Command {
    clap::Command::new(entry.name).about(entry.about).defer(entry.build)
}

/// A command that cosign has: its flags are read from the environment, too.
fn cosign(command: clap::Command) -> clap::Command {
    let command = own(command);
    let name = command.get_name().to_owned();
    known::add(&name, command).mut_args(|arg| match arg.get_long() {
        Some(long) if arg.get_env().is_none() => {
            let variable = format!("COSIGN_{}", long.to_uppercase().replace('-', "_"));
            // An empty variable is an unset one, as in cosign (viper).
            match std::env::var_os(&variable).is_some_and(|value| !value.is_empty()) {
                true => arg.env(variable).hide_env(true),
                false => arg,
            }
        }
        _ => arg,
    })
}

/// A command of any kind: the flags of every command are in the help of `vidimus` alone, so that a command's help is about itself.
fn own(command: clap::Command) -> clap::Command {
    truths(command).mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
}

/// Truth values as Go's flags take them.
fn truths(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => truth(arg),
        // Their value name shows the choices already.
        ArgAction::Set if !arg.get_possible_values().is_empty() => arg.hide_possible_values(true),
        ArgAction::Set if arg.get_default_values() == ["true"] => truth(arg),
        _ => arg,
    })
}

fn truth(arg: Arg) -> Arg {
    let default = if arg.get_default_values().is_empty() { "false" } else { "true" };
    let value_name = "BOOL";
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name(value_name)
        .default_value(default)
        .default_missing_value("true")
        .hide_default_value(default == "false")
        .hide_possible_values(true)
        .value_parser(ValueParser::from(groups::go_bool))
}

/// Of an exact value and a pattern for the same thing, the one that was typed beats the one from the environment: `stack env` exports
/// `COSIGN_CERTIFICATE_OIDC_ISSUER`, which must not stand in the way of a typed `--certificate-oidc-issuer-regexp`.
fn prefer_command_line(matches: &mut ArgMatches) {
    let pairs =
        [("certificate_identity", "certificate_identity_regexp"), ("certificate_oidc_issuer", "certificate_oidc_issuer_regexp")];
    for (exact, pattern) in pairs {
        let source = |matches: &ArgMatches, id| matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
        let drop = match (source(matches, exact), source(matches, pattern)) {
            (Some(ValueSource::EnvVariable), Some(ValueSource::CommandLine)) => exact,
            (Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)) => pattern,
            _ => continue,
        };
        let _ = matches.try_remove_one::<String>(drop);
    }
}

/// Trust that was typed replaces trust from the environment altogether: parts of two instances fit nobody's signature.
fn prefer_typed_trust(matches: &mut ArgMatches) {
    let all =
        ["trusted_root", "trust_config", "ca_roots", "ca_intermediates", "certificate_chain", "timestamp_certificate_chain"];
    let source = |matches: &ArgMatches, id| matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
    if all.iter().all(|id| source(matches, id) != Some(ValueSource::CommandLine)) {
        return;
    }
    for id in all {
        if source(matches, id) == Some(ValueSource::EnvVariable) {
            let _ = matches.try_remove_many::<std::path::PathBuf>(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Parsed, clap::Error> {
        parse(std::iter::once("vidimus").chain(text.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_table_is_sound() {
        // Deferred commands are only built when called, so each is asked for its help to be checked.
        let nested = FAMILIES.iter().flat_map(|f| f.commands.iter().map(|e| format!("{} {}", f.name, e.name)));
        for name in COMMANDS.iter().map(|e| e.name.to_owned()).chain(nested) {
            let error = line(&format!("{name} --help")).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{name}: {error}");
            assert!(!error.to_string().starts_with('`'), "{name} has no description: {error}");
        }
    }

    #[test]
    fn truth_values_as_go_takes_them() {
        let upload = |text: &str| match line(&format!("sign {text} img")).unwrap().command {
            Command::Sign(args) => args.upload,
            other => panic!("{other:?}"),
        };
        assert!(upload(""));
        assert!(upload("--upload"));
        assert!(upload("--upload=1"));
        assert!(!upload("--upload=false"));
        assert!(line("sign --upload=perhaps img").is_err());
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        for text in ["--timeout 5s tree img", "tree --timeout 5s img", "tree img -t 5s"] {
            assert_eq!(line(text).unwrap().global.timeout, std::time::Duration::from_secs(5), "{text}");
        }
    }

    #[test]
    fn short_flags_may_be_joined() {
        match line("sign -yr img").unwrap().command {
            Command::Sign(args) => assert!(args.signer.yes && args.recursive && args.images == ["img"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn aliases_of_cosign() {
        match line("verify --cert-identity a --cert-oidc-issuer b img").unwrap().command {
            Command::Verify(args) => {
                assert_eq!(args.identity.certificate_identity.as_deref(), Some("a"));
                assert_eq!(args.identity.certificate_oidc_issuer.as_deref(), Some("b"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn deprecated_flags_warn_once_and_missing_ones_are_named() {
        let parsed = line("sign --fulcio-url http://a --rekor-url http://b img").unwrap();
        assert_eq!(parsed.warnings.len(), 2, "{:?}", parsed.warnings);
        assert!(line("sign img").unwrap().warnings.is_empty());
        let error = line("sign --key cosign.key img").unwrap_err().to_string();
        assert!(error.contains("--key") && error.contains("not built"), "{error}");
        assert!(line("sign --no-such-flag img").is_err());
    }
}
