//! One test, from choosing what is restored to removing it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use crate::pgbackrest::command::{Program, TestQuery};
use crate::pgbackrest::wal::SegmentSize;
use crate::postgres::control_data::{self, ControlData};
use crate::postgres::copy::{Recovery, RecoveryTarget};
use crate::source::environment::Environment;
use crate::source::local::Local;
use crate::source::proofs::Recorded;
use crate::source::running::Writes;
use crate::source::sandbox;
use crate::state::proofs::reason::ReasonClass;
use crate::state::proofs::{
    CheckKind, Outcome, Phase, RestoreTest, Target, TargetKind, TestedBackup, Versions,
};
use crate::state::snapshot::{ByteCount, Repo, Snapshot, Stanza};
use crate::state::{faults, human, turns};

use super::checks::{self, Checked};
use super::choose::{self, Choice};
use super::order::{Order, TargetWish};
use super::phases::Phases;
use super::place::Place;
use super::programs::Programs;
use super::progress::{Progress, Tell};
use super::query::Session;
use super::recovery::{End, Recovery as Followed};
use super::replay::Server;
use super::stop::Stop;
use super::{amcheck, expired, restore, target};

/// What a test is based on.
#[derive(Debug)]
pub struct Basis<'a> {
    /// With a listing of the WAL archive.
    pub snapshot: &'a Snapshot,
    pub program: &'a Program,
    pub environment: &'a Environment,
    /// The records so far.
    pub records: &'a Recorded<RestoreTest>,
    pub started: DateTime<Utc>,
    /// How long the snapshot took, which is a part of the plan.
    pub collecting: Duration,
    pub version: &'static str,
}

/// Performs a test. Everything that it created is gone afterwards, unless the order keeps a copy that did not pass.
pub async fn run(
    order: &Order,
    basis: &Basis<'_>,
    place: &Place,
    cancellation: &CancellationToken,
    tell: Tell<'_>,
) -> RestoreTest {
    let mut test = begun(order, basis);
    let mut phases = Phases::new(cancellation.clone(), order.deadlines.total, basis.collecting);
    let deadline = |phase| order.deadlines.of(phase);
    tell(Progress::Begins { phase: Phase::Plan, what: String::new() });
    let work = plan(order, basis, place, &mut test, cancellation);
    let planned = phases.run(Phase::Plan, deadline(Phase::Plan), work).await;
    if let Some(run) = phases.runs.first_mut() {
        run.duration += basis.collecting;
    }
    if let Some(plan) = &planned {
        perform(order, basis, (place, plan), &mut test, &mut phases, cancellation, tell).await;
        if let Some(reason) = &mut phases.reason {
            let backup = (&*order.stanza, test.repo, &*plan.choice.backup.label);
            let local = Local::new(basis.program.clone(), basis.environment.clone(), cancellation.clone());
            if let Some(Stop { class, message }) = expired::reason(reason, &local, backup).await {
                (reason.class, reason.message) = (class, message);
            }
        }
    }
    let is_kept = phases.reason.is_some() && order.keeps_failed;
    tell(Progress::Begins { phase: Phase::Clean, what: String::new() });
    phases.finish(Phase::Clean, deadline(Phase::Clean), clean(place, is_kept)).await;
    test.outcome = phases.reason.as_ref().map_or(Outcome::Passed, |reason| reason.class.outcome());
    test.phases = phases.runs;
    test.reason = phases.reason;
    test.stop = Utc::now();
    test
}

/// What was decided.
struct Plan {
    choice: Choice,
    programs: Programs,
    query: TestQuery,
    writes: Writes,
}

fn begun(order: &Order, basis: &Basis<'_>) -> RestoreTest {
    let (kind, time) = match order.target {
        TargetWish::Latest => (TargetKind::Latest, None),
        TargetWish::Immediate => (TargetKind::Immediate, None),
        TargetWish::Random => (TargetKind::Time, None),
        TargetWish::Time(time) => (TargetKind::Time, Some(time)),
    };
    let repo = found(order, basis).map_or_else(|_| order.repo.number(), |(_, repo)| repo.key);
    let versions = Versions {
        keeper: basis.version.to_owned(),
        pgbackrest: basis.snapshot.version.map(crate::pgbackrest::version::Version::with_name),
        postgres: None,
    };
    let target = Target { kind, time, random: order.target == TargetWish::Random };
    RestoreTest {
        databases: order.named_databases(),
        ..RestoreTest::begun(
            order.source.clone(),
            order.stanza.clone(),
            repo,
            versions,
            target,
            basis.started,
        )
    }
}

async fn plan(
    order: &Order,
    basis: &Basis<'_>,
    place: &Place,
    test: &mut RestoreTest,
    cancellation: &CancellationToken,
) -> Result<Plan, Stop> {
    let (stanza, repo) = found(order, basis)?;
    if let Some((class, message)) = faults::of_repo(repo) {
        return Err(Stop::new(class, message));
    }
    let writes = if sandbox::is_supported(place.path()) { Writes::InDirectory } else { Writes::Anywhere };
    if writes == Writes::Anywhere && !order.allows_unsandboxed {
        let message = "the kernel does not support Landlock, without which WAL that creates a tablespace could empty that of the \
                       database; see --allow-unsandboxed";
        return Err(Stop::new(ReasonClass::Configuration, message));
    }
    let mut draw = |limit: u64| rand::random_range(0..limit.max(1));
    let wish = (&order.backup, order.target);
    let choice = choose::choose(stanza, repo, wish, Utc::now(), &mut draw)?;
    let backup = &choice.backup;
    test.target = choice.target;
    test.backup = Some(TestedBackup {
        label: backup.label.to_string(),
        backup_type: backup.backup_type,
        start: backup.start,
        stop: backup.stop,
        lsn_start: backup.lsn_start,
        lsn_stop: backup.lsn_stop,
        size: backup.size.map(ByteCount::get),
        repo_size: backup.repo_size.map(ByteCount::get),
    });
    let directory = order.programs.as_deref();
    let programs = Programs::find(directory, choice.postgres, basis.environment, cancellation).await?;
    test.versions.postgres = Some(programs.version.clone());
    check_space(order, &choice, place)?;
    let query = TestQuery {
        stanza: order.stanza.clone(),
        repo: (repo.key > 0).then_some(repo.key),
        set: choice.backup.label.to_string(),
        target_timeline: choice.timeline,
        process_max: order.process_max,
        databases: order.databases.clone(),
        knows_exclusion: basis.snapshot.version.is_some_and(|version| version.is_at_least((2, 34))),
        tells_files: order.tells_progress,
    };
    Ok(Plan { choice, programs, query, writes })
}

fn found<'a>(order: &Order, basis: &Basis<'a>) -> Result<(&'a Stanza, &'a Repo), Stop> {
    let last_start = basis.records.last_start(&order.stanza);
    let found = turns::find(basis.snapshot, &order.stanza, order.repo, last_start);
    found.map_err(|(class, message)| Stop::new(class, message))
}

/// Refuses what does not fit, instead of filling a disk.
fn check_space(order: &Order, choice: &Choice, place: &Place) -> Result<(), Stop> {
    let wal = choice.archive.proven.zip(choice.backup.lsn_start);
    let wal = wal.map_or(0, |(end, start)| end.0.saturating_sub(start.0));
    let needed = choice.backup.size.map_or(0, ByteCount::get).saturating_add(wal);
    let free = place.free().map_err(|error| Stop::of_file("cannot determine the free space", &error))?;
    let bytes = |bytes: u64| human::bytes(bytes);
    if let Some(most) = order.space.most.filter(|most| needed > *most) {
        let message = format!("the copy needs {}, more than --space-limit {}", bytes(needed), bytes(most));
        return Err(Stop::new(ReasonClass::NoSpace, message));
    }
    if needed.saturating_add(order.space.reserve) > free {
        let message = format!(
            "the copy needs {}, {} are free in {}, and {} must remain (--space-reserve)",
            bytes(needed),
            bytes(free),
            place.path().display(),
            bytes(order.space.reserve)
        );
        return Err(Stop::new(ReasonClass::NoSpace, message));
    }
    Ok(())
}

async fn perform(
    order: &Order,
    basis: &Basis<'_>,
    (place, plan): (&Place, &Plan),
    test: &mut RestoreTest,
    phases: &mut Phases,
    cancellation: &CancellationToken,
    tell: Tell<'_>,
) {
    let Plan { choice, programs, query, writes } = plan;
    let deadline = |phase| order.deadlines.of(phase);
    let label = &choice.backup.label;
    tell(Progress::Begins { phase: Phase::Restore, what: format!("{label} from repo{}", test.repo) });
    let argv = basis.program.restore_for_test(query, &place.copy());
    let work = restore::restore(&argv, basis.environment, (place, *writes), tell);
    if phases.run(Phase::Restore, deadline(Phase::Restore), work).await.is_none() {
        return;
    }
    let is_whole = order.databases.is_empty();
    test.restored_bytes = choice.backup.size.map(ByteCount::get).filter(|_| is_whole);

    let environment = basis.environment.with("LC_ALL", "C");
    let socket = place.paths().socket;
    let session = Session::new(programs.clone(), &environment, &socket, &order.user, cancellation.clone());
    let mut server = Server {
        programs,
        place,
        writes: *writes,
        environment,
        recovery: Recovery {
            restore_command: basis.program.archive_get_for_test(query, &place.copy()),
            target: recovery_target(choice.target),
            timeline: choice.timeline.map(|timeline| timeline.to_string()),
            reads_ahead: choice.reads_ahead,
        },
        sized: Vec::new(),
        settings: &order.settings,
        segment_size: SegmentSize::DEFAULT,
        running: None,
        followed: Followed::default(),
    };
    tell(Progress::Begins { phase: Phase::Replay, what: String::new() });
    let mut control = ControlData::default();
    let work = replay(&mut server, &session, &mut control, tell);
    let end = phases.run(Phase::Replay, deadline(Phase::Replay), work).await;
    test.wal_segments = Some(server.followed.segments);
    if let Some(end) = end {
        tell(Progress::Begins { phase: Phase::Check, what: String::new() });
        let size = server.segment_size;
        // Each check has its own limit.
        let count = u32::try_from(order.assertions.len() + 4).unwrap_or(u32::MAX);
        let limit = deadline(Phase::Check).saturating_mul(count);
        let mut made = Vec::new();
        let followed = &server.followed;
        let work = check(order, (&session, choice, place), (end, followed, size), test, &mut made);
        phases.run(Phase::Check, limit, work).await;
        record(phases, test, Phase::Check, made);
    }
    tell(Progress::Begins { phase: Phase::Stop, what: String::new() });
    let was_stopped = phases.finish(Phase::Stop, deadline(Phase::Stop), async {
        let signal = if end.is_some() { Signal::SIGINT } else { Signal::SIGQUIT };
        Ok(server.stop(signal).await)
    });
    let was_stopped = was_stopped.await.unwrap_or(false);
    if end.is_some() {
        tell(Progress::Begins { phase: Phase::Pages, what: String::new() });
        let limit = deadline(Phase::Pages);
        let work =
            async { Ok(checks::pages(&session, place, control.has_checksums, was_stopped, limit).await) };
        let checked = phases.run(Phase::Pages, limit, work).await;
        record(phases, test, Phase::Pages, checked.into_iter().collect());
    }
}

fn recovery_target(target: Target) -> RecoveryTarget {
    match (target.kind, target.time) {
        (TargetKind::Immediate, _) => RecoveryTarget::Immediate,
        (TargetKind::Time, Some(time)) => {
            RecoveryTarget::Time(time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string())
        }
        _ => RecoveryTarget::None,
    }
}

async fn replay(
    server: &mut Server<'_>,
    session: &Session,
    control: &mut ControlData,
    tell: Tell<'_>,
) -> Result<End, Stop> {
    for (path, text) in server.place.paths().files() {
        write_new(&path, text)
            .map_err(|error| Stop::of_file(&format!("cannot write {}", path.display()), &error))?;
    }
    *control = control_data::parse(&checks::control_data(session, server.place).await?);
    server.sized.clone_from(&control.sized);
    server.segment_size = control.segment_size.unwrap_or(server.segment_size);
    let end = server.replay(tell).await?;
    let foreign = server.place.foreign_tablespace();
    match foreign.map_err(|error| Stop::of_file("cannot look for tablespaces", &error))? {
        None => Ok(end),
        Some(path) => {
            let message = format!("WAL since the backup creates a tablespace in {}", path.display());
            Err(Stop::new(ReasonClass::Tablespace, message))
        }
    }
}

/// The checks that need a running server.
async fn check(
    order: &Order,
    (session, choice, place): (&Session, &Choice, &Place),
    (end, followed, size): (End, &Followed, SegmentSize),
    test: &mut RestoreTest,
    made: &mut Vec<Checked>,
) -> Result<(), Stop> {
    let limit = order.deadlines.check;
    let position = target::hold(session, followed, size).await?;
    test.reached = Some(position);
    test.wal_bytes = choice.backup.lsn_start.map(|start| position.lsn.0.saturating_sub(start.0));
    made.push(match target::check(choice, end, position, size) {
        Ok(remark) => Checked::passed(CheckKind::Target, remark),
        Err(stop) => Checked::stopped(CheckKind::Target, stop),
    });
    made.push(checks::relations(session, &order.databases, limit).await);
    if order.amcheck {
        made.push(amcheck::amcheck(session, &order.databases, limit).await);
    }
    for assertion in &order.assertions {
        made.push(checks::assertion(session, assertion, limit).await);
    }
    if let Some(hook) = &order.hook {
        let more = [
            ("KEEPER_STANZA", order.stanza.clone()),
            ("KEEPER_REPO", test.repo.to_string()),
            ("KEEPER_BACKUP", choice.backup.label.to_string()),
        ];
        made.push(checks::hook(session, hook, place, &more, limit).await);
    }
    Ok(())
}

fn record(phases: &mut Phases, test: &mut RestoreTest, phase: Phase, made: Vec<Checked>) {
    for Checked { check, reason } in made {
        if let Some(stop) = reason {
            phases.note(phase, stop);
        }
        test.checks.push(check);
    }
}

/// Writes a file in place of what was restored there, even if that is a link.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// Ends what still runs, and removes the copy unless it is kept.
async fn clean(place: &Place, is_kept: bool) -> Result<(), Stop> {
    let place = place.share().map_err(|error| Stop::of_file("cannot remove the copy", &error))?;
    let clean = move || {
        if is_kept {
            place.end_processes();
            Ok(())
        } else {
            place.empty()
        }
    };
    let emptied = tokio::task::spawn_blocking(clean).await;
    let emptied = emptied.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    emptied.map_err(|error| Stop::of_file("cannot remove the copy", &error))
}
