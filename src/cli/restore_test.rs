//! `restore-test`: tests a backup on this host, or in the pod of a restore test.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use crate::files;
use crate::pgbackrest::command::Program;
use crate::restore_test::assertion::{self, Assertion};
use crate::restore_test::order::{Deadlines, Order, SpaceLimits};
use crate::restore_test::place::{NoPlace, Place};
use crate::restore_test::progress::Progress;
use crate::restore_test::run::{self, Basis};
use crate::source::proof_writer::Written;
use crate::state::human;
use crate::state::proofs::{Check, Outcome, RestoreTest, TargetKind, Verdict};
use crate::telemetry::{self, LogFormat};

use super::args::restore_test::RestoreTestArgs;
use super::build;
use super::output::{self, Format};
use super::settings;
use super::termination;
use super::turn::{self, Known, Turn};

/// The shortest time between two lines of progress within a phase.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

pub async fn run(args: RestoreTestArgs) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::install(&args.output.log_level, LogFormat::Text)?;
    if nix::unistd::geteuid().is_root() {
        return Ok(super::unusable(
            &"restore-test must not run as root, because PostgreSQL does not; run it as the user that \
                                    runs pgBackRest, usually postgres",
        ));
    }
    let assertions = match args.checks.assertions.as_deref().map(read_assertions).transpose() {
        Ok(assertions) => assertions.unwrap_or_default(),
        Err(error) => return Ok(super::unusable(&error)),
    };
    let key = match args.place.signing.key() {
        Ok(key) => key,
        Err(error) => return Ok(super::unusable(&error)),
    };
    let state_directory = &args.place.state.state_directory;
    let Turn { records, started, stop, listening } =
        match turn::begin(state_directory, &args.what.stanza, args.limits.wait).await? {
            Ok(turn) => turn,
            Err(refused) => return Ok(refused),
        };
    let place = match Place::take(&args.place.directory, &args.what.stanza) {
        Err(NoPlace::Refused(refused)) => return Ok(super::unusable(&refused)),
        place => place?,
    };
    let collecting = Instant::now();
    let Known { snapshot, environment, recorded } =
        turn::look(settings::of_restore_test(&args)?, state_directory, &stop).await;
    let order = order(&args, assertions);
    let program = Program::from(&args.program);
    let basis = Basis {
        snapshot: &snapshot,
        program: &program,
        environment: &environment,
        records: &recorded,
        started,
        collecting: collecting.elapsed(),
        version: build::info().version,
    };
    let shown = parking_lot::Mutex::new(None);
    let tell = |progress: Progress| {
        if order.tells_progress {
            show(&progress, &shown);
        }
    };
    let mut test = run::run(&order, &basis, &place, &stop, &tell).await;
    listening.abort();
    if let Some(file) = &args.pod.termination_log {
        termination::write(file, &test.message()?);
    }
    let written = records.write(&mut test, key.as_ref());
    output::print(&match args.output.output {
        Format::Text => {
            let kept = order.keeps_failed.then_some(place.path());
            summary(&test, written.as_ref().ok(), kept)
        }
        Format::Json => turn::document(&test, written.as_ref().ok())?,
    })?;
    written?;
    Ok(turn::exit_code(test.outcome))
}

fn order(args: &RestoreTestArgs, assertions: Vec<Assertion>) -> Order {
    Order {
        source: args.pod.source(),
        stanza: args.what.stanza.clone(),
        repo: args.what.repo.into(),
        backup: args.what.backup.0.clone(),
        target: args.what.target.0,
        programs: args.postgres.pg_bin_dir.clone(),
        deadlines: Deadlines {
            total: args.limits.deadline,
            restore: args.limits.restore_timeout,
            replay: args.limits.replay_timeout,
            check: args.limits.check_timeout,
        },
        space: SpaceLimits { most: args.limits.space_limit, reserve: args.limits.space_reserve },
        process_max: args.what.process_max,
        databases: args.what.db_include.clone(),
        user: args.postgres.pg_user.clone(),
        settings: args.postgres.postgres_option.clone(),
        amcheck: args.checks.amcheck,
        assertions,
        hook: args.checks.hook.clone(),
        keeps_failed: args.place.keep_on_failure,
        allows_unsandboxed: args.place.allow_unsandboxed,
        tells_progress: io::stderr().is_terminal(),
    }
}

fn read_assertions(path: &Path) -> Result<Vec<Assertion>, String> {
    let wrong = |why: String| format!("--assertions {}: {why}", path.display());
    let document = files::read(path, assertion::MAX_FILE).map_err(|error| wrong(error.to_string()))?;
    let document = document.ok_or_else(|| wrong("the file is too large".to_owned()))?;
    let document = String::from_utf8(document).map_err(|_| wrong("the file is not UTF-8".to_owned()))?;
    assertion::parse(&document).map_err(wrong)
}

fn show(progress: &Progress, last: &parking_lot::Mutex<Option<Instant>>) {
    let line = match progress {
        Progress::Begins { phase, what } => {
            *last.lock() = Some(Instant::now());
            if what.is_empty() {
                format!("{}\n", phase.as_str())
            } else {
                format!("{} {what}\n", phase.as_str())
            }
        }
        within => {
            let mut last = last.lock();
            if last.is_some_and(|last| last.elapsed() < BETWEEN_LINES) {
                return;
            }
            *last = Some(Instant::now());
            match within {
                Progress::Restored { percent } => format!("  {percent:.0} %\n"),
                Progress::Replays { segment, lsn } => {
                    let lsn = lsn.map_or_else(String::new, |lsn| format!("{lsn}, "));
                    format!("  at {lsn}WAL segment {segment}\n")
                }
                Progress::Begins { .. } => return,
            }
        }
    };
    output::report(&line);
}

/// The result in a few lines. Writing to a String cannot fail.
fn summary(test: &RestoreTest, written: Option<&Written>, kept: Option<&Path>) -> String {
    let mut summary = format!(
        "restore test of {}, {}: {}\n",
        human::line(&test.stanza, 60),
        human::repo_name(test.repo),
        test.outcome.as_str().replace('_', " ")
    );
    let mut line = |name: &str, value: &str| _ = writeln!(summary, "  {name:<9} {value}");
    if let Some(reason) = &test.reason {
        line(
            "reason",
            &format!("{} in {}: {}", reason.class.as_str(), reason.phase.as_str(), reason.message),
        );
    }
    if let Some(backup) = &test.backup {
        line("backup", &format!("{}, completed {}", backup.label, human::instant(backup.stop)));
    }
    let time = test.target.time.map_or_else(String::new, human::instant);
    line(
        "target",
        match test.target.kind {
            TargetKind::Time => &time,
            TargetKind::Immediate => "the end of the backup",
            TargetKind::Latest | TargetKind::Unknown => "the end of the archived WAL",
        },
    );
    if let Some(reached) = &test.reached {
        let timeline =
            reached.timeline.map_or_else(String::new, |timeline| format!(" on timeline {timeline}"));
        let commit = reached.last_commit.map_or_else(
            || "no commit since the backup".to_owned(),
            |at| format!("last commit {}", human::instant(at)),
        );
        line("reached", &format!("{}{timeline}, {commit}", reached.lsn));
    }
    if let Some(bytes) = test.restored_bytes {
        line("restored", &human::bytes(bytes));
    }
    if let (Some(bytes), Some(segments)) = (test.wal_bytes, test.wal_segments) {
        line("replayed", &format!("{} of WAL, {}", human::bytes(bytes), human::count(segments, "segment")));
    }
    for run in &test.phases {
        line(run.phase.as_str(), &format!("{:.1} s", run.duration.as_secs_f64()));
    }
    for Check { kind, name, verdict, message } in &test.checks {
        let name = name.as_deref().map_or_else(String::new, |name| format!(" {name}"));
        let message = message.as_deref().map_or_else(String::new, |message| format!(": {message}"));
        let verdict = if *verdict == Verdict::NotChecked { "not checked" } else { verdict.as_str() };
        line("check", &format!("{}{name} {verdict}{message}", kind.as_str()));
    }
    for (name, value) in written.iter().flat_map(|written| turn::written_lines(written)) {
        line(name, &value);
    }
    if let Some(kept) = kept.filter(|_| test.outcome != Outcome::Passed) {
        line("kept", &kept.display().to_string());
    }
    summary
}
