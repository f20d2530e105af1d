//! Writing to standard output, which `head` may close early, and what `info` writes in all its forms.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use terminal_size::terminal_size;

use super::info_table::Terminal;
use super::restore_command::Advice;
use crate::text;

/// Width if standard output is not a terminal.
const USUAL_WIDTH: u16 = 120;

/// The output format of `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Plain text with tables.
    Text,
    /// One JSON document.
    Json,
}

/// Writes to standard output, fit for a terminal; a reader that closes it early is not an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text::for_terminal(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}

/// Writes data to standard output: unchanged for another program, fit for a terminal on one.
pub(super) fn write(data: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let shown = if out.is_terminal() { text::for_terminal(data) } else { data.into() };
    out.write_all(shown.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Writes to standard error, fit for a terminal. If it cannot be written, there is no other way to report it.
pub(super) fn report(text: &str) {
    let _ = io::stderr().write_all(text::for_terminal(text).as_bytes());
}

/// Prints only the commands on standard output. Exit code 1: there is none.
pub(super) fn advise(advice: &Advice) -> anyhow::Result<ExitCode> {
    report(&advice.remarks);
    let Some(commands) = &advice.commands else { return Ok(ExitCode::FAILURE) };
    print(&commands.text())?;
    Ok(ExitCode::SUCCESS)
}

/// The terminal at standard output.
pub(super) fn terminal() -> Terminal {
    let is_terminal = io::stdout().is_terminal();
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = columns.or_else(|| terminal_size().map(|(width, _)| width.0)).unwrap_or(USUAL_WIDTH);
    // https://no-color.org: set and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Terminal { width, has_colours: is_terminal && !no_color }
}
