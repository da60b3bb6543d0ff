//! The only place that prints. Data goes to stdout (or `--output-file`), words to stderr, progress to a terminal only.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use crate::{
    args::groups::{ColorChoice, GlobalArgs},
    exit::{Failure, file_error},
};

/// Where words and data go.
#[derive(Debug)]
pub(crate) struct Ui {
    quiet: bool,
    verbose: u8,
    color: ColorChoice,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Stdout,
    /// Created with the first write: a command that fails leaves no empty file behind.
    File(PathBuf, Option<File>),
}

/// A line on the terminal that vanishes when this value does.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
}

impl Ui {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            color: if global.no_color { ColorChoice::Never } else { global.color },
            data: global.output_file.clone().map_or(Data::Stdout, |path| Data::File(path, None)),
        }
    }

    /// Data: what other programs read.
    pub(crate) fn data(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.data_by(|out| out.write_all(bytes.as_ref()))
    }

    /// Data that is too large to be put together in memory first.
    pub(crate) fn data_by(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        match &mut self.data {
            Data::Stdout => match write(&mut io::stdout().lock()).and_then(|()| io::stdout().flush()) {
                // The reader has seen enough (`| head`): that is its right, and no failure of ours.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => result.map_err(|e| Failure::undetermined(format!("stdout: {e}"))),
            },
            Data::File(path, file) => {
                let write = |file: &mut Option<File>| -> io::Result<()> {
                    if file.is_none() {
                        *file = Some(File::create(&*path)?);
                    }
                    file.as_mut().map_or(Ok(()), |f| {
                        let mut out = io::BufWriter::new(f);
                        write(&mut out)?;
                        out.flush()
                    })
                };
                write(file).map_err(|e| file_error("--output-file", path, &e))
            }
        }
    }

    /// Words about what was done.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln_lossy(text.as_ref());
        }
    }

    /// Words without which a person could not go on: not even `--quiet` hides them.
    pub(crate) fn insist(&self, text: impl AsRef<str>) {
        eprintln_lossy(text.as_ref());
    }

    /// Words for those who asked for more.
    pub(crate) fn detail(&self, text: impl AsRef<str>) {
        if self.verbose > 0 {
            self.say(text);
        }
    }

    /// Something that deserves attention.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        self.say(self.paint("33", &format!("WARNING: {}", text.as_ref())));
    }

    /// Why the command failed. Not even `--quiet` hides this.
    pub(crate) fn error(&self, failure: &Failure) {
        eprintln_lossy(&format!("{} {}", self.paint("31", "Error:"), failure.message));
        if let Some(hint) = &failure.hint {
            eprintln_lossy(&format!("{} {hint}", self.paint("36", "hint:")));
        }
    }

    /// What is being done right now, on a terminal only.
    pub(crate) fn progress(&self, text: &str) -> Progress {
        let shown = !self.quiet && io::stderr().is_terminal();
        if shown {
            eprint!("\r\x1b[K{text} …");
        }
        Progress { shown }
    }

    /// Whether data for people may be coloured.
    pub(crate) fn data_is_coloured(&self) -> bool {
        matches!(self.data, Data::Stdout) && self.coloured(io::stdout().is_terminal())
    }

    /// A title for people, if data goes to their terminal.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.data_is_coloured() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured(io::stderr().is_terminal()) { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn coloured(&self, terminal: bool) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// stderr may be closed; that must not turn success into a panic.
fn eprintln_lossy(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether somebody sits in front of this process who could answer a question.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question that only "y" or "yes" answers with yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|e| Failure::undetermined(format!("stdin: {e}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line without echoing it.
pub(crate) fn ask_secret(prompt: &str) -> Result<String, Failure> {
    if !can_ask() {
        return Err(Failure::usage("no terminal to ask for the password").hint("pass --password-stdin"));
    }
    eprint!("{prompt}: ");
    let echo = Echo::off();
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    drop(echo);
    eprintln!();
    read.map_err(|e| Failure::undetermined(format!("stdin: {e}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Turns the terminal's echo off while it lives, with the program every POSIX system has for that.
struct Echo {
    was_turned_off: bool,
}

impl Echo {
    fn off() -> Self {
        Self { was_turned_off: stty("-echo") }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if self.was_turned_off {
            stty("echo");
        }
    }
}

fn stty(mode: &str) -> bool {
    std::process::Command::new("stty").arg(mode).status().is_ok_and(|status| status.success())
}
