//! The `vidimus` command: arguments, prompts, progress, colour, exit codes. No decision about trust is made here.

mod args;
mod commands;
mod context;
mod exit;
mod resolve;
mod ui;

use std::process::ExitCode;

use crate::{
    context::Context,
    exit::{End, Failure},
};

fn main() -> ExitCode {
    let parsed = match args::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => return explain(&error).into(),
    };
    let mut context = Context::new(parsed.global);
    for warning in &parsed.warnings {
        context.ui.warn(warning);
    }
    let result = commands::run(&mut context, parsed.command);
    finish(&mut context, result).into()
}

/// Shows why a command failed and writes its report. A report that cannot be written is a failure of its own.
fn finish(context: &mut Context, result: Result<End, Failure>) -> End {
    let failure = result.as_ref().err();
    let end = result.as_ref().map_or_else(|failure| failure.end, |end| *end);
    if let Some(failure) = failure {
        context.ui.error(failure);
    }
    match context.write_report(end, failure) {
        Ok(()) => end,
        Err(failure) => {
            context.ui.error(&failure);
            end.worse(failure.end)
        }
    }
}

/// Help and version are answers; everything else that clap says is about wrong usage.
fn explain(error: &clap::Error) -> End {
    let _ = error.print();
    if error.use_stderr() { End::Usage } else { End::Accepted }
}
