//! The command line: flags, and each command composed of the modules below.

pub mod args;
pub mod backup;
mod build;
pub mod check;
pub mod exporter;
pub mod fleet_report;
pub mod generate;
pub mod healthcheck;
pub mod info;
pub mod info_fleet;
pub mod info_json;
pub mod info_table;
pub mod install;
mod judged;
mod kingpin;
pub mod lint;
pub mod manifest;
pub mod metrics;
pub mod operator;
mod output;
pub mod render;
pub mod restore_command;
pub mod restore_test;
mod settings;
mod startup;
mod termination;
mod turn;
pub mod verify;
pub mod verify_records;
mod web;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use parking_lot::Mutex;
use tokio::runtime::Builder;

use crate::source::leavers;
use startup::Flags;

/// The minimum number of threads: two that run tasks, and some that read files and parse documents.
const THREADS: usize = 8;
/// How long the last work of a command may take, such as to print why it fails.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Runs and monitors pgBackRest backups of PostgreSQL, and proves what can be restored.
///
/// Every flag can also be set through the environment variable shown with it.
#[derive(Debug, Parser)]
#[command(name = "pgbackrest-keeper", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Query pgBackRest periodically, and serve the results as Prometheus metrics and a status page.
    Exporter(Box<exporter::ExporterArgs>),
    /// Manage the backup objects of postgresql resources in a Kubernetes cluster.
    Operator(Box<operator::OperatorArgs>),
    /// Make one backup of a PostgreSQL cluster in Kubernetes, and verify that it exists. Backup jobs run this.
    Backup(Box<backup::BackupArgs>),
    /// Query pgBackRest once, on this host or in Kubernetes, and print the state of the backups.
    Info(Box<info::InfoArgs>),
    /// Restore a backup on this host into a PostgreSQL that is thrown away, recover it to a target, check it, and record the result.
    RestoreTest(Box<args::restore_test::RestoreTestArgs>),
    /// Verify the files of a repository on this host with pgBackRest: all backups and all WAL, or a single backup. Record the result.
    Verify(Box<args::verify::VerifyArgs>),
    /// Check offline that no record of a restore test or a verification is missing or was changed, and who signed them.
    VerifyRecords(Box<verify_records::VerifyRecordsArgs>),
    /// Check backups and WAL once, as a plugin for Icinga, Nagios, Zabbix and Sensu.
    Check(Box<check::CheckArgs>),
    /// Query pgBackRest on this host once, and write the metrics to a file or to standard output.
    Metrics(Box<metrics::MetricsFileArgs>),
    /// Check whether the exporter on this host is healthy, for exec probes.
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Check the backup section of postgresql manifests for errors and risks.
    Lint(Box<lint::LintArgs>),
    /// Print the Kubernetes objects generated from postgresql manifests.
    Render(Box<render::RenderArgs>),
    /// Copy this program into a directory, for init containers that provide it to a container with another image.
    Install(install::InstallArgs),
    /// Print shell completions.
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write one page per command to a directory.
    Man(generate::ManArgs),
}

/// The definition of all commands and flags, for parsing and for generated documents.
#[must_use]
pub fn command() -> clap::Command {
    args::with_switches(Cli::command().mut_subcommand(check::NAME, check::with_short_names))
}

/// Runs the command in `arguments` and returns the exit code of the process.
///
/// 0: success. 1: failure, with the reason on standard error. 2: invalid arguments.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = kingpin::rewrite_negations(arguments);
    let is_check = arguments.get(1).is_some_and(|name| name == check::NAME);
    let parsed = command().try_get_matches_from(arguments).and_then(|given| {
        let flags = Flags::of(&command(), &given);
        Ok((Cli::from_arg_matches(&given)?, flags))
    });
    let (cli, flags) = match parsed {
        Ok(parsed) => parsed,
        Err(usage) if is_check => return check::refuse(&usage),
        Err(usage) => {
            // If standard error cannot be written, there is no other way to report it.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command, &flags) {
        Ok(code) => code,
        Err(error) if is_check => check::fail(&error),
        Err(error) => {
            say(format!("pgbackrest-keeper: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Reports unusable input of a command.
fn unusable(reason: &dyn std::fmt::Display) -> ExitCode {
    say(format!("pgbackrest-keeper: {reason}"));
    ExitCode::from(2)
}

/// Prints the last line of a command on standard error, which may be a pipe that is not read.
fn say(line: String) {
    briefly(move || output::report(&format!("{line}\n")));
}

/// Does the last work of a command, but does not wait long for it.
fn briefly(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let work = move || {
        work();
        let _ = done.send(());
    };
    // Without a thread `done` is dropped, and nothing is waited for.
    if thread::Builder::new().spawn(work).is_ok() {
        let _ = ended.recv_timeout(LAST_WORK);
    }
}

fn run(command: CliCommand, flags: &Flags) -> anyhow::Result<ExitCode> {
    match command {
        CliCommand::Exporter(args) => block_on(exporter::run(*args, flags))?,
        CliCommand::Operator(args) => block_on(operator::run(*args, flags))?,
        CliCommand::Backup(args) => block_on(backup::run(*args, flags))?,
        CliCommand::Info(args) => block_on(info::run(*args))?,
        CliCommand::RestoreTest(args) => block_on(restore_test::run(*args))?,
        CliCommand::Verify(args) => block_on(verify::run(*args))?,
        CliCommand::VerifyRecords(args) => verify_records::run(&args),
        CliCommand::Check(args) => block_on(check::run(*args)),
        CliCommand::Metrics(args) => block_on(metrics::run(*args))?,
        CliCommand::Healthcheck(args) => {
            let said = block_on(healthcheck::run(&args))??;
            output::print(&format!("{said}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Lint(args) => lint::run(*args),
        CliCommand::Render(args) => render::run(*args),
        CliCommand::Install(args) => install::run(&args).map(|()| ExitCode::SUCCESS),
        CliCommand::Completions(args) => generate::completions(&args).map(|()| ExitCode::SUCCESS),
        CliCommand::Man(args) => generate::man(&args).map(|()| ExitCode::SUCCESS),
    }
}

/// Runs to completion on two threads, which are enough: child processes do the work, and a scrape is short.
///
/// Does not wait for threads that hang on a dead file system, so that shutdown never blocks. Ends what calls left behind.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    check_threads()?;
    leavers::adopt();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let end = runtime.block_on(future);
    // Checking a process that hangs in the kernel may block.
    briefly(leavers::kill_all);
    runtime.shutdown_background();
    Ok(end)
}

/// Checks that the operating system allows the threads that are always needed; tokio would panic, or wait for one forever.
fn check_threads() -> anyhow::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock();
        for _ in 0..THREADS {
            let wait = || drop(gate.lock());
            thread::Builder::new().spawn_scoped(scope, wait).with_context(|| {
                format!("cannot start {THREADS} threads; raise the limit of processes (ulimit -u, pids.max)")
            })?;
        }
        drop(closed);
        Ok(())
    })
}
