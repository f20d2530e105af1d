//! The command line: flags as typed, and each command put together from the rooms below.

pub mod args;
pub mod backup;
mod build;
pub mod exporter;
pub mod fleet_report;
pub mod generate;
pub mod healthcheck;
pub mod info;
pub mod info_fleet;
pub mod info_json;
pub mod info_table;
pub mod install;
mod kingpin;
pub mod lint;
pub mod manifest;
pub mod operator;
mod output;
pub mod render;
pub mod restore_command;
mod settings;
mod web;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime::Builder;

/// Keeps pgBackRest backups of PostgreSQL running and tells the truth about them.
///
/// Every flag can be given as the environment variable named beside it.
#[derive(Debug, Parser)]
#[command(name = "pgbackrest-keeper", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask pgBackRest at an interval, and serve what it knows as Prometheus metrics and as a status page.
    Exporter(Box<exporter::ExporterArgs>),
    /// Keep the backup objects of postgresql resources in a Kubernetes cluster as the resources ask.
    Operator(Box<operator::OperatorArgs>),
    /// Make one backup of a PostgreSQL cluster in Kubernetes, and prove it. Jobs run this.
    Backup(Box<backup::BackupArgs>),
    /// Ask pgBackRest once, on this host or of clusters in Kubernetes, and print what it knows.
    Info(Box<info::InfoArgs>),
    /// Tell whether the exporter on this host works, for exec probes.
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Tell what is wrong or risky in the backup section of postgresql manifests.
    Lint(Box<lint::LintArgs>),
    /// Print the Kubernetes objects that postgresql manifests lead to.
    Render(Box<render::RenderArgs>),
    /// Copy this program into a directory, as an init container does for a container of another image.
    Install(install::InstallArgs),
    /// Print the completions for a shell.
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write one per command into a directory.
    Man(generate::ManArgs),
}

/// The definition of all commands and flags, for parsing and for what is generated from it.
#[must_use]
pub fn command() -> clap::Command {
    args::with_switches(Cli::command())
}

/// Runs the command that `arguments` ask for, and tells how the process must end.
///
/// 0: done. 1: failed, with the reason on standard error. 2: the arguments are wrong.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = kingpin::rewrite_negations(arguments);
    let cli = match command().try_get_matches_from(arguments).and_then(|given| Cli::from_arg_matches(&given))
    {
        Ok(cli) => cli,
        Err(usage) => {
            // Nothing is left to tell where even standard error cannot be written.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pgbackrest-keeper: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says that a command's input is of no use.
fn unusable(reason: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "pgbackrest-keeper: {reason}");
    ExitCode::from(2)
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Exporter(args) => block_on(exporter::run(*args))?,
        Command::Operator(args) => block_on(operator::run(*args))?,
        Command::Backup(args) => block_on(backup::run(*args))?,
        Command::Info(args) => block_on(info::run(*args))?,
        Command::Healthcheck(args) => {
            let said = block_on(healthcheck::run(&args))??;
            output::print(format!("{said}\n").as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Lint(args) => lint::run(*args),
        Command::Render(args) => render::run(*args),
        Command::Install(args) => install::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => generate::completions(&args).map(|()| ExitCode::SUCCESS),
        Command::Man(args) => generate::man(&args).map(|()| ExitCode::SUCCESS),
    }
}

/// Runs to the end on two threads, which do: the work is in child processes, and a scrape is short.
///
/// Does not wait for threads that a dead file system holds: whoever asks for the end gets it.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start")?;
    let end = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(end)
}
