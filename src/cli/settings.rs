//! From command-line flags to the settings of collection. Shared by the commands that query pgBackRest on this host.

use std::time::Duration;

use anyhow::Context;

use crate::collect::settings::{DatabaseCounts, Pace, Settings, WalSettings};
use crate::pgbackrest::command::Program;
use crate::state::filter::Filter;

use super::args::collect::{EnvironmentArgs, IntervalArgs, ProgramArgs, SourceArgs, TimeoutArgs};
use super::args::repo::RepoArg;
use super::args::restore_test::RestoreTestArgs;
use super::args::verify::VerifyArgs;

/// Maximum duration of the scan of `info --wal`. The user waits, but an archive of a million segments takes minutes.
const WAL_ONCE: Duration = Duration::from_hours(1);

/// The settings of `exporter`.
pub(super) fn polling(source: &SourceArgs, collect: &IntervalArgs) -> anyhow::Result<Settings> {
    Ok(Settings {
        info: collect.collector,
        database_counts: match (collect.database_count, collect.database_count_latest) {
            (true, _) => DatabaseCounts::All,
            (false, true) => DatabaseCounts::Latest,
            (false, false) => DatabaseCounts::Off,
        },
        database_processes: collect.database_parallel_processes as usize,
        ..settings(
            source,
            collect.interval,
            collect.staleness.max_staleness,
            collect.wal.settings(collect.wal.interval),
        )?
    })
}

/// The settings of `info`.
pub(super) fn once(source: &SourceArgs, wal: bool) -> anyhow::Result<Settings> {
    settings(source, Settings::USUAL_INTERVAL, None, wal_once(wal))
}

/// The settings of `restore-test`.
pub(super) fn of_restore_test(args: &RestoreTestArgs) -> anyhow::Result<Settings> {
    let (what, wal) = (&args.what, wal_once(true));
    of_repo((&what.stanza, what.repo), (&args.program, args.timeout, &args.environment), wal)
}

/// The settings of `verify`.
pub(super) fn of_verify(args: &VerifyArgs) -> anyhow::Result<Settings> {
    of_repo((&args.stanza, args.repo), (&args.program, args.query, &args.environment), None)
}

/// One stanza, and one repository or all.
fn of_repo(
    (stanza, repo): (&String, RepoArg),
    (program, timeout, environment): (&ProgramArgs, TimeoutArgs, &EnvironmentArgs),
    wal: Option<WalSettings>,
) -> anyhow::Result<Settings> {
    let repos: Vec<u32> = match repo {
        RepoArg::Number(number) => vec![number],
        RepoArg::Any => Vec::new(),
    };
    let filter = Filter::new(std::slice::from_ref(stanza), &[], None, None, &repos)?;
    let usual = Settings::new(Program::from(program), Settings::USUAL_INTERVAL, timeout.timeout, None);
    let pace = Pace { wal, ..usual.pace };
    Ok(Settings { pace, pass_environment: environment.pass_env.clone(), filter, ..usual })
}

/// The settings of `check`: one run that ends within this time if nothing hangs, and soon after if something does.
pub(super) fn within(source: &SourceArgs, time: Duration, wal: bool) -> anyhow::Result<Settings> {
    let wal = wal.then_some(WalSettings { interval: time, timeout: time / 2 });
    settings(source, time, None, wal)
}

/// The settings of a run that is repeated at this interval by something else.
pub(super) fn repeated(source: &SourceArgs, interval: Duration, wal: bool) -> anyhow::Result<Settings> {
    let wal = wal.then_some(WalSettings { interval, timeout: interval });
    settings(source, interval, None, wal)
}

/// The stanzas and repositories that are selected.
pub(super) fn filter(source: &SourceArgs) -> anyhow::Result<Filter> {
    Filter::new(
        &source.stanza_include,
        &source.stanza_exclude,
        source.stanza_include_regex.as_deref(),
        source.stanza_exclude_regex.as_deref(),
        &source.repo,
    )
    .context("--collect.stanza-include-regex or --collect.stanza-exclude-regex")
}

/// The WAL scan of `info --wal`, if requested.
pub(super) fn wal_once(is_wanted: bool) -> Option<WalSettings> {
    is_wanted.then_some(WalSettings { interval: Settings::USUAL_INTERVAL, timeout: WAL_ONCE })
}

fn settings(
    source: &SourceArgs,
    interval: Duration,
    max_staleness: Option<Duration>,
    wal: Option<WalSettings>,
) -> anyhow::Result<Settings> {
    let filter = filter(source)?;
    let usual =
        Settings::new(Program::from(&source.program), interval, source.timeout.timeout, max_staleness);
    let pace = Pace { concurrency: source.max_processes as usize, wal, ..usual.pace };
    Ok(Settings {
        pace,
        pass_environment: source.environment.pass_env.clone(),
        filter,
        state_directory: source.state.state_directory.clone(),
        ..usual
    })
}
