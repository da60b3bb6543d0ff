//! `initialize` and `login`: whom to trust, and who we are.

use jiff::Timestamp;
use vidimus::net::{
    environment::Environment,
    http::Kind,
    oci::{Login, RegistryOptions},
    tuf::{self, TrustSource, TufOptions},
};

use super::failures;
use crate::{
    args::other::{InitializeArgs, LoginArgs},
    context::Context,
    exit::{End, Failure},
    resolve::tuf_failure,
    ui,
};

pub(super) fn initialize(context: &mut Context, args: InitializeArgs) -> Result<End, Failure> {
    let mut options = TufOptions::for_initialize(&Environment::from_process());
    options.mirror = args.mirror.or(options.mirror);
    let own_root = args.root.is_some();
    options.root = args.root.or(options.root);
    options.root_checksum = args.root_checksum.or(options.root_checksum);
    if args.staging {
        // The environment's mirror and root are another instance's.
        options.mirror = Some(tuf::STAGING_MIRROR.to_owned());
        options.root = options.root.filter(|_| own_root);
    }
    options.instance = args.name;
    let done = context.block_on(async {
        let _progress = context.ui.progress("fetching the TUF repository");
        tuf::initialize(&context.http(), &options, Timestamp::now()).await.map_err(|e| tuf_failure(&e))
    })?;
    for warning in &done.warnings {
        context.ui.warn(warning);
    }
    if let TrustSource::Tuf(state) = &done.material.source {
        context.ui.say(format!(
            "Trusting {} (root version {}, metadata valid until {})",
            state.mirror, state.root_version, state.expires
        ));
    }
    if let Some(directory) = &done.directory {
        context.ui.detail(format!("kept in {}", directory.display()));
    }
    Ok(End::Accepted)
}

pub(super) fn login(context: &mut Context, args: LoginArgs) -> Result<End, Failure> {
    let username = args.username.ok_or_else(|| Failure::usage("no user name").hint("pass -u NAME"))?;
    let password = match (args.password, args.password_stdin) {
        (Some(_), true) => return Err(Failure::usage("--password and --password-stdin exclude each other")),
        (Some(password), false) => {
            context.ui.warn("--password shows in the process list and the shell's history; --password-stdin does not");
            password
        }
        (None, true) => std::io::read_to_string(std::io::stdin().lock())
            .map_err(|e| Failure::undetermined(format!("stdin: {e}")))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        (None, false) => ui::ask_secret("Password")?,
    };
    let options = RegistryOptions::from_env();
    let kept = context.block_on(async {
        let _progress = context.ui.progress(&format!("trying {}", args.registry));
        Login::login(&context.http(), &options, &args.registry, &username, &password, None).await.map_err(|error| {
            if error.kind() == Kind::Denied {
                return Failure::new(End::Rejected, format!("{} does not accept these credentials: {error}", args.registry));
            }
            failures::oci(&error)
        })
    })?;
    context.ui.say(match kept {
        Login::File(path) => format!("logged in via {}", path.display()),
        Login::Helper(name) => format!("logged in via the credential helper {name}"),
    });
    Ok(End::Accepted)
}
