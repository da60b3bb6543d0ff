//! `tuf`: a TUF repository of one's own, and a client for any.

mod author;
mod client;

use std::path::Path;

use jiff::Timestamp;
use vidimus_stack::{
    secret_file::SecretFileError,
    server::{self, Server},
    stack::Running,
    tuf::{
        Ceremony, Envelope, KeyFileError, Role, Root,
        ceremony::{CeremonyError, describe},
        static_router,
    },
};

use crate::{
    args::tuf::{RoleName, ShowOutput, TufArgs, TufServeArgs, TufShowArgs, TufVerb},
    context::{self, Context, read_input},
    exit::{End, Failure, file_error},
};

pub(super) fn run(context: &mut Context, args: TufArgs) -> Result<End, Failure> {
    match args.verb {
        TufVerb::Client(args) => client::run(context, args),
        TufVerb::Import(args) => author::import(context, args),
        TufVerb::Init(args) => author::init(context, args),
        TufVerb::Key(args) => author::key(context, args.verb),
        TufVerb::Publish(args) => author::publish(context, args),
        TufVerb::Renew(args) => author::renew(context, args),
        TufVerb::Rotate(args) => author::rotate(context, args),
        TufVerb::Serve(args) => serve(context, args),
        TufVerb::Show(args) => show(context, args),
        TufVerb::Sign(args) => author::sign(context, args),
        TufVerb::Target(args) => author::target(context, args.verb),
    }
}

fn show(context: &mut Context, args: TufShowArgs) -> Result<End, Failure> {
    let now = Timestamp::now();
    let status = match (&args.file, &args.dir) {
        (Some(file), _) => {
            let in_force = args.root.as_deref().map(root_file).transpose()?;
            describe(file, &document(file)?, in_force.as_ref(), now).map_err(failure)?
        }
        (None, Some(dir)) => Ceremony::open(dir).and_then(|ceremony| ceremony.status(now)).map_err(failure)?,
        (None, None) => return Err(Failure::usage("nothing to show").hint("pass --dir DIR, or a root or targets document")),
    };
    context.note("tuf", &status);
    let text = match args.output {
        ShowOutput::Text => status.to_string(),
        ShowOutput::Json => format!("{}\n", serde_json::to_string(&status).map_err(Failure::undetermined)?),
    };
    context.ui.data(text)?;
    Ok(End::Accepted)
}

fn serve(context: &mut Context, args: TufServeArgs) -> Result<End, Failure> {
    let published = Ceremony::open(&args.dir.dir).map_err(failure)?.published_dir();
    if !args.listen.is_loopback() && !args.expose {
        let message = format!("{} is not a loopback address: others could reach the repository", args.listen);
        return Err(Failure::usage(message).hint("pass --expose if they should"));
    }
    let address = (args.listen, args.port).into();
    // Serving has no time limit.
    context::runtime()?.block_on(async {
        let failed = |e: std::io::Error| Failure::undetermined(format!("listening on {address}: {e}"));
        let listener = server::bind(address).map_err(failed)?;
        let server = Server::start(listener, static_router(published)).map_err(failed)?;
        context.ui.data(format!("ready http://{}\n", server.address()))?;
        Running::terminated().await.map_err(|e| Failure::undetermined(format!("signals: {e}")))?;
        server.shutdown().await;
        Ok(End::Accepted)
    })
}

fn role(name: RoleName) -> Role {
    match name {
        RoleName::Root => Role::Root,
        RoleName::Targets => Role::Targets,
        RoleName::Snapshot => Role::Snapshot,
        RoleName::Timestamp => Role::Timestamp,
    }
}

/// A metadata document in a file of the user's.
fn document(path: &Path) -> Result<Vec<u8>, Failure> {
    read_input("metadata", path, vidimus::core::limits::TUF_BYTES)
}

fn root_file(path: &Path) -> Result<Root, Failure> {
    let name = path.display().to_string();
    let envelope = Envelope::parse(&name, &document(path)?).map_err(Failure::usage)?;
    Root::from_json(&name, envelope.signed()).map_err(Failure::usage)
}

/// Why a step of a ceremony was not taken.
fn failure(error: CeremonyError) -> Failure {
    let end = match &error {
        CeremonyError::Busy(_) | CeremonyError::Disk { .. } | CeremonyError::Malformed { .. } => End::Undetermined,
        CeremonyError::Key(error) => return key_failure(error),
        CeremonyError::Check(_)
        | CeremonyError::Different { .. }
        | CeremonyError::Expired { .. }
        | CeremonyError::Stranger { .. }
        | CeremonyError::Tuf(_)
        | CeremonyError::Unsigned(_) => End::Rejected,
        _ => End::Usage,
    };
    let failed = Failure::new(end, &error);
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn key_failure(error: &KeyFileError) -> Failure {
    match error {
        KeyFileError::File(SecretFileError::Io { path, source }) => file_error("key", path, source),
        _ => Failure::usage(error),
    }
}
