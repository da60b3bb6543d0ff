//! One module for each family of commands: resolves what was typed into a request, runs it, prints the result.

mod about;
mod stack;

use crate::{
    args::Command,
    context::Context,
    exit::{End, Failure},
};

/// Runs a command.
pub(crate) fn run(context: &mut Context, command: Command) -> Result<End, Failure> {
    match command {
        Command::Completion(args) => about::completion(context, args),
        Command::Env(args) => about::env(context, args),
        Command::Stack(args) => stack::run(context, args),
        Command::Version(args) => about::version(context, args),
        _ => Err(Failure::usage("tmp")),
    }
}
