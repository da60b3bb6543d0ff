//! `stack`: the private Sigstore.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use vidimus::{
    core::reference::Repository,
    net::oci::{Registry, RegistryOptions, TinyImage},
};
use vidimus_stack::{
    identity,
    stack::{self, Running, Stack, StackConfig, StackDir, StackError, Status},
    users::{Users, UsersError},
};

use super::failures;
use crate::{
    args::other::{
        StackArgs, StackDirArgs, StackExportArgs, StackImageArgs, StackStatusArgs, StackTokenArgs, StackUpArgs, StackUserAddArgs,
        StackUserVerb, StackVerb,
    },
    context::{self, Context},
    exit::{End, Failure},
    ui,
};

/// Between two questions whether a stack is ready.
const POLL: Duration = Duration::from_millis(20);

pub(super) fn run(context: &mut Context, args: StackArgs) -> Result<End, Failure> {
    match args.verb {
        StackVerb::Up(args) => up(context, args),
        StackVerb::Down(args) => {
            let pid = context.block_on(async { stack::down(&args.dir).await.map_err(failure) })?;
            context.ui.say(format!("stopped process {pid}"));
            Ok(End::Accepted)
        }
        StackVerb::Status(args) => status(context, args),
        StackVerb::Env(args) => {
            let variables = stack::env(&args.dir).map_err(failure)?;
            context.ui.data(stack::render_exports(&variables))?;
            Ok(End::Accepted)
        }
        StackVerb::Token(args) => token(context, args),
        StackVerb::Image(args) => image(context, args),
        StackVerb::Export(args) => export(context, args),
        StackVerb::User(args) => user(context, args.verb),
    }
}

fn up(context: &mut Context, args: StackUpArgs) -> Result<End, Failure> {
    let config = StackConfig {
        dir: args.dir,
        port: args.port,
        host: args.host,
        listen: args.listen,
        expose: args.expose,
        without_referrers: args.without_referrers,
        fulcio_config: args.fulcio_config,
    };
    // Serving has no time limit; only getting ready could have one, and that is a matter of milliseconds.
    context::runtime()?.block_on(async {
        let running = Stack::start(config).await.map_err(failure)?;
        if let Some(exposes) = running.exposes() {
            context.ui.warn(exposes);
        }
        context.ui.data(format!("ready {}\n", running.origin()))?;
        Running::terminated().await.map_err(|e| Failure::undetermined(format!("signals: {e}")))?;
        running.shutdown().await;
        Ok(End::Accepted)
    })
}

fn status(context: &mut Context, args: StackStatusArgs) -> Result<End, Failure> {
    let status = context.block_on(async {
        match args.wait {
            Some(limit) => ready(&args.dir.dir, limit).await,
            None => stack::status(&args.dir.dir).await.map_err(failure),
        }
    })?;
    context.note("stack", &status);
    let text = if args.json {
        format!("{}\n", serde_json::to_string(&status).map_err(Failure::undetermined)?)
    } else {
        status.to_string()
    };
    context.ui.data(text)?;
    Ok(End::Accepted)
}

/// Waits until a stack answers. It says so within milliseconds, so that is how often it is asked.
async fn ready(dir: &Path, limit: Duration) -> Result<Status, Failure> {
    let started = Instant::now();
    loop {
        let status = stack::status(dir).await;
        match status {
            Ok(status) if status.pid.is_some() => return Ok(status),
            // Not there yet: `stack up` makes the directory.
            Ok(_) | Err(StackError::NoStack(_)) if started.elapsed() < limit => tokio::time::sleep(POLL).await,
            Ok(_) => return Err(Failure::undetermined(format!("{}: no stack was ready within {limit:?}", dir.display()))),
            Err(error) => return Err(failure(error)),
        }
    }
}

/// The image is made of its name, so that the same name is always the same image.
fn image(context: &mut Context, args: StackImageArgs) -> Result<End, Failure> {
    let origin = StackDir::read(&args.dir.dir).map_err(failure)?.origin;
    let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
    let repository: Repository = format!("{host}/{}", args.name).parse().map_err(Failure::usage)?;
    let tag = repository.tag(&args.tag).map_err(Failure::usage)?;
    let image = TinyImage::new("name.txt", args.name.as_bytes()).map_err(Failure::usage)?;
    let registry = Registry::new(&context.http(), RegistryOptions::from_env());
    let pushed = context.block_on(async { image.push(&registry, &tag).await.map_err(|e| failures::oci(&e)) })?;
    context.ui.data(format!("{}\n", repository.digest(pushed.digest)))?;
    Ok(End::Accepted)
}

fn token(context: &mut Context, args: StackTokenArgs) -> Result<End, Failure> {
    if !args.email.contains('@') {
        return Err(Failure::usage(format!("--email {:?} is not a mail address", args.email)));
    }
    let token = stack::token(&args.dir.dir, &args.email).map_err(failure)?;
    context.ui.data(format!("{token}\n"))?;
    Ok(End::Accepted)
}

fn export(context: &mut Context, args: StackExportArgs) -> Result<End, Failure> {
    for path in stack::export(&args.dir.dir, &args.out).map_err(failure)? {
        context.ui.data(format!("{}\n", path.display()))?;
    }
    Ok(End::Accepted)
}

fn user(context: &mut Context, verb: StackUserVerb) -> Result<End, Failure> {
    match verb {
        StackUserVerb::Add(args) => add_user(context, args),
        StackUserVerb::Remove(args) => {
            accounts(&args.dir)?.remove_user(&args.email).map_err(|e| user_failure(&e))?;
            context.ui.say(format!("removed {}", args.email));
            Ok(End::Accepted)
        }
        StackUserVerb::List(dir) => {
            for user in accounts(&dir)?.users().map_err(|e| user_failure(&e))? {
                context.ui.data(format!("{}\n", user.email))?;
            }
            Ok(End::Accepted)
        }
    }
}

fn add_user(context: &mut Context, args: StackUserAddArgs) -> Result<End, Failure> {
    let users = accounts(&args.dir)?;
    let password = if args.password_stdin {
        std::io::read_to_string(std::io::stdin().lock()).map_err(|e| Failure::undetermined(format!("stdin: {e}")))?
    } else {
        ui::ask_secret(&format!("Password for {}", args.email))?
    };
    let password = password.trim_end_matches(['\r', '\n']);
    match users.add_user(&args.email, password, Timestamp::now()) {
        Ok(()) => context.ui.say(format!("added {}", args.email)),
        Err(UsersError::Exists(_)) => {
            users.set_password(&args.email, password).map_err(|e| user_failure(&e))?;
            context.ui.say(format!("changed the password of {}", args.email));
        }
        Err(error) => return Err(user_failure(&error)),
    }
    Ok(End::Accepted)
}

/// The accounts of an existing stack.
fn accounts(dir: &StackDirArgs) -> Result<Users, Failure> {
    StackDir::read(&dir.dir).map_err(failure)?;
    Ok(identity::users(&dir.dir.join("keys")))
}

fn user_failure(error: &UsersError) -> Failure {
    match error {
        UsersError::File(_) | UsersError::Hash(_) => Failure::undetermined(error),
        _ => Failure::usage(error),
    }
}

fn failure(error: StackError) -> Failure {
    match error {
        StackError::NotLoopback(_) => Failure::usage(&error).hint("--expose"),
        StackError::NoStack(_) | StackError::Origin { .. } => Failure::usage(error),
        _ => Failure::undetermined(error),
    }
}
