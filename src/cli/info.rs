//! `info`: queries pgBackRest once and prints the result as text or JSON.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::collect::host;
use crate::pgbackrest::command::CopyPaths;
use crate::shutdown::{Request, Signals};
use crate::source::call;
use crate::source::histories::needs_scan;
use crate::state::restore::RestoreTarget;
use crate::state::snapshot::Snapshot;
use crate::telemetry::{self, LogFormat};
use crate::text;

use super::args::collect::SourceArgs;
use super::args::info::{FleetInfoArgs, not_on_this_host};
use super::args::{SWITCH, switch};
use super::fleet_report::has_answered;
use super::info_fleet::{self, Wanted};
use super::info_json::SnapshotDocument;
use super::info_table;
use super::output::{self, Format};
use super::restore_command::{self, Wish, point_in_time};
use super::settings;

/// Arguments of `info`.
#[derive(Debug, Args)]
#[command(group = not_on_this_host())]
pub struct InfoArgs {
    /// Output format.
    #[arg(long, env = "KEEPER_OUTPUT", value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,

    /// Print the commands that restore to --target instead, if that point in time can be reached: one recovers this database,
    /// one restores a copy elsewhere. Scans the WAL archives if they have several timelines.
    #[arg(long, requires = "target", conflicts_with = "output")]
    restore_command: bool,

    /// Point in time to restore to, with its time zone, such as '2026-11-23 05:00:00+00'.
    #[arg(long, value_name = "TIME", requires = "restore_command", value_parser = point_in_time)]
    target: Option<DateTime<Utc>>,

    /// Restore the branch of history that ends with this timeline, instead of the one that was live at --target.
    #[arg(long, value_name = "NUMBER", requires = "restore_command")]
    target_timeline: Option<u32>,

    /// Directory for the copy in the second command of --restore-command. It must not exist, or be empty.
    #[arg(long, value_name = "DIRECTORY", requires = "restore_command", default_value = restore_command::COPY_DIRECTORY)]
    copy_directory: String,

    /// Also scan the WAL archives to prove what can be restored. Takes longer for large archives.
    #[arg(long, env = "KEEPER_WAL", default_value = "false", value_name = SWITCH, value_parser = switch())]
    wal: bool,

    /// Log level or filter directives for messages on standard error.
    #[arg(long = "log.level", env = "KEEPER_LOG_LEVEL", value_name = "FILTER", default_value = "warn")]
    log_level: String,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    fleet: FleetInfoArgs,
}

/// Exit code 0: pgBackRest answered every query, and could read every repository. 1: it did not; what is known is printed
/// anyway.
pub async fn run(args: InfoArgs) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::install(&args.log_level, LogFormat::Text)?;
    let wish = args.wish();
    if args.fleet.are_meant() {
        let wanted = wish.map_or(Wanted::Facts(args.output), Wanted::RestoreCommand);
        return info_fleet::run(args.fleet, args.source.timeout.timeout, args.wal, wanted).await;
    }
    let mut signals = Signals::install().context("cannot install signal handlers")?;
    let mut snapshot = collect(&args.source, args.wal, &mut signals).await?;
    if let Some(wish) = wish {
        let settings = settings::once(&args.source, false)?;
        let runner = host::runner(&settings, &CancellationToken::new());
        let limits = &settings.pace.limits;
        if !args.wal && needs_scan(&snapshot, &runner, limits).await {
            snapshot = collect(&args.source, true, &mut signals).await?;
        }
        let mut advice = restore_command::advice(&snapshot, &settings.program, &wish, Utc::now());
        if let Some(query) = &advice.backup {
            let outside = call::outside_files(&runner, query, limits).await;
            advice.remarks.push_str(&restore_command::outside_remarks(&outside, &wish.copy));
        }
        return output::advise(&advice);
    }
    let snapshot = &snapshot;
    let text = match args.output {
        Format::Text => info_table::render(snapshot, Utc::now(), output::terminal()),
        Format::Json => text::json(&SnapshotDocument::of(snapshot, Utc::now()))?,
    };
    output::print(&text)?;
    Ok(if has_answered(snapshot) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl InfoArgs {
    fn wish(&self) -> Option<Wish> {
        Some(Wish {
            target: RestoreTarget { time: self.target?, timeline: self.target_timeline },
            copy: CopyPaths { directory: self.copy_directory.clone() },
        })
    }
}

/// Queries pgBackRest on this host once.
async fn collect(source: &SourceArgs, wal: bool, signals: &mut Signals) -> anyhow::Result<Arc<Snapshot>> {
    let stop = CancellationToken::new();
    let collecting = host::once(settings::once(source, wal)?, stop.clone());
    tokio::pin!(collecting);
    let snapshot = loop {
        tokio::select! {
            snapshot = &mut collecting => break snapshot,
            // Child processes end before the program does.
            request = signals.next() => if let Request::Stop(_) = request { stop.cancel() },
        }
    };
    Ok(snapshot)
}
