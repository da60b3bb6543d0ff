//! Flags of cosign and ec that are accepted with a warning, and flags that are not built.
//!
//! A flag that is not built is known all the same, by its name and from its variable, so that giving it is an error that says so.
//! Ignoring `--key` would sign with another identity than the one that was asked for.

use clap::{Arg, ArgAction, ArgMatches, error::ErrorKind, parser::ValueSource};

/// Deprecated since cosign 3.1, with what to do instead.
const DEPRECATED: &[(&str, &str)] = &[
    ("fulcio_url", "put the certificate authority into a signing configuration"),
    ("rekor_url", "put the log into a signing configuration"),
    ("oidc_issuer", "put the issuer into a signing configuration"),
    ("timestamp_server_url", "put the timestamp authority into a signing configuration"),
    ("tlog_upload", "use a signing configuration without a log"),
    ("insecure_skip_verify", "what is signed is always verified before it is pushed"),
    ("new_bundle_format", "every format is read, and bundles are written"),
    ("offline", "log entries travel with the signature"),
    ("private_infrastructure", "it has no effect"),
    ("experimental_oci11", "it has no effect"),
    ("check_claims", "the claims are always checked"),
    ("attachment_tag_prefix", "keep attachments in another repository with COSIGN_REPOSITORY"),
    ("file_path", "use --images"),
    ("json_input", "use --images"),
];

/// What says where to look for the log entry of a signature that came without it: files have such signatures.
const MISSING_ENTRY: [&str; 2] = ["offline", "rekor_url"];

const SIGNING: &[&str] = &[
    "key",
    "sk",
    "slot",
    "certificate",
    "certificate-chain",
    "issue-certificate",
    "timestamp-client-cacert",
    "timestamp-client-cert",
    "timestamp-client-key",
    "timestamp-server-name",
    "signing-algorithm",
];
const SIGN: &[&str] = &[
    "output-signature",
    "output-payload",
    "output-certificate",
    "payload",
    "attachment",
    "record-creation-timestamp",
    "sign-container-identity",
    "registry-referrers-mode",
];
const ATTEST: &[&str] = &["replace", "rekor-entry-type"];
const SIGN_BLOB: &[&str] =
    &["output", "output-signature", "output-certificate", "b64", "rfc3161-timestamp", "rfc3161-timestamp-bundle"];
const ATTEST_BLOB: &[&str] =
    &["hash", "output-attestation", "output-signature", "output-certificate", "rfc3161-timestamp-bundle"];
const VERIFYING: &[&str] = &["sk", "slot", "sct", "signature-digest-algorithm", "policy"];
const VERIFYING_IMAGES: &[&str] = &["certificate", "signature", "payload", "attachment", "local-image"];
const REGISTRY: &[&str] = &["k8s-keychain", "registry-client-cert", "registry-client-key", "registry-server-name"];

/// The flags of cosign's `command` that are not built.
fn not_built(command: &str) -> Vec<&'static str> {
    let lists: &[&[&'static str]] = match command {
        "sign" => &[SIGNING, SIGN, REGISTRY],
        "attest" => &[SIGNING, ATTEST, REGISTRY, &["registry-referrers-mode"]],
        "sign-blob" => &[SIGNING, SIGN_BLOB],
        "attest-blob" => &[SIGNING, ATTEST_BLOB],
        "verify" | "verify-attestation" => &[VERIFYING, VERIFYING_IMAGES, REGISTRY],
        "verify-blob" | "verify-blob-attestation" => &[VERIFYING],
        "tree" => &[REGISTRY],
        _ => &[],
    };
    lists.concat()
}

/// Adds the flags that are not built, hidden. Flags of cosign's that have an effect on files only are shown there.
pub(super) fn add(name: &str, mut command: clap::Command) -> clap::Command {
    if is_about_files(name) {
        command = MISSING_ENTRY.into_iter().fold(command, |command, id| command.mut_arg(id, |arg| arg.hide(false)));
    }
    command.args(not_built(name).into_iter().map(|flag| {
        // Alone or with a value: both forms must reach the error below rather than clap's "unexpected argument".
        Arg::new(flag).long(flag).hide(true).action(ArgAction::Set).num_args(0..=1).default_missing_value("true")
    }))
}

fn is_about_files(command: &str) -> bool {
    matches!(command, "verify-blob" | "verify-blob-attestation")
}

/// Warnings for deprecated flags that were typed; an error for flags that are not built.
pub(super) fn judge(name: &str, matches: &ArgMatches) -> Result<Vec<String>, clap::Error> {
    let given = |id: &str| matches.try_contains_id(id).is_ok_and(|is| is).then(|| matches.value_source(id)).flatten();
    for flag in not_built(name) {
        let variable = format!("COSIGN_{}", flag.to_uppercase().replace('-', "_"));
        let spelling = match given(flag) {
            Some(ValueSource::CommandLine) => format!("--{flag}"),
            Some(ValueSource::EnvVariable) => variable,
            _ => continue,
        };
        let why = format!("{spelling} is not built yet, and leaving it out would mean something else\n");
        return Err(clap::Error::raw(ErrorKind::UnknownArgument, why));
    }
    // Verifying reads every format whatever this says; signing would write another one than was asked for.
    let bundles = matches.try_get_one::<bool>("new_bundle_format").ok().flatten();
    if bundles == Some(&false) && !name.starts_with("verify") {
        let why = "--new-bundle-format=false is not built yet: signatures are written as bundles\n";
        return Err(clap::Error::raw(ErrorKind::UnknownArgument, why));
    }
    let has_effect = |id: &str| is_about_files(name) && MISSING_ENTRY.contains(&id);
    let typed = DEPRECATED.iter().filter(|(id, _)| given(id) == Some(ValueSource::CommandLine) && !has_effect(id));
    Ok(typed.map(|(id, instead)| format!("Flag --{} has been deprecated, {instead}", id.replace('_', "-"))).collect())
}
