//! The checks after the target was reached.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::source::running::{Running, Writes};
use crate::state::human;
use crate::state::proofs::reason::ReasonClass;
use crate::state::proofs::{Check, CheckKind, MAX_TEXT, Verdict};
use crate::text;

use super::assertion::Assertion;
use super::classify;
use super::place::Place;
use super::programs::Said;
use super::query::{Failed, Session, failed};
use super::stop::Stop;

/// What came of a check, with the reason that it gives the test.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) check: Check,
    pub(super) reason: Option<Stop>,
}

impl Checked {
    pub(super) fn passed(kind: CheckKind, message: Option<String>) -> Self {
        Self { check: Check { kind, name: None, verdict: Verdict::Passed, message }, reason: None }
    }

    /// A failure of the backup, or a check that could not be made.
    pub(super) fn stopped(kind: CheckKind, stop: Stop) -> Self {
        use crate::state::proofs::Outcome;
        let verdict =
            if stop.class.outcome() == Outcome::Failed { Verdict::Failed } else { Verdict::NotChecked };
        let message = Some(stop.message.clone());
        Self { check: Check { kind, name: None, verdict, message }, reason: Some(stop) }
    }

    /// A check that does not apply.
    pub(super) fn skipped(kind: CheckKind, message: &str) -> Self {
        let message = Some(message.to_owned());
        Self { check: Check { kind, name: None, verdict: Verdict::NotChecked, message }, reason: None }
    }

    fn of(kind: CheckKind, result: Result<Option<String>, Stop>) -> Self {
        result.map_or_else(|stop| Self::stopped(kind, stop), |message| Self::passed(kind, message))
    }
}

/// Databases that can be connected to, with whether pgBackRest always restores them.
const DATABASES: &str = "SELECT datname, oid < 16384 FROM pg_database WHERE datallowconn ORDER BY oid";
/// Messages of PostgreSQL about relations that cannot be read. `invalid memory alloc request size` is not one: it also comes from rows
/// that are too long for `COPY`.
const UNREADABLE: [&str; 14] = [
    "invalid page in block",
    "could not read block",
    "could not open file \"base/",
    "could not open file \"global/",
    "could not open file \"pg_tblspc/",
    "missing chunk number",
    "unexpected chunk",
    "compressed pglz data is corrupt",
    "compressed lz4 data is corrupt",
    "could not access status of transaction",
    "invalid byte sequence for encoding",
    "could not open relation with OID",
    "cache lookup failed",
    "found xmin",
];

/// What their file system says if it is to blame.
const OF_SYSTEM: [&str; 4] =
    ["Input/output error", "Too many open files", "Permission denied", "Cannot allocate memory"];

/// Reads every relation of every database with `pg_dump`, which writes to nowhere.
pub(super) async fn relations(session: &Session, included: &[String], limit: Duration) -> Checked {
    Checked::of(CheckKind::Relations, within(limit, "pg_dump", dump_all(session, included, limit)).await)
}

/// Ends a check that takes too long; its programs end with it.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    check: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    timeout(limit, check).await.unwrap_or_else(|_| Err(Stop::too_long(what, limit)))
}

/// The databases that were restored.
pub(super) async fn databases(session: &Session, included: &[String]) -> Result<Vec<String>, Stop> {
    let rows = session.rows(DATABASES).await?;
    let restored = rows.into_iter().filter_map(|row| match row.as_slice() {
        [name, is_system] if included.is_empty() || is_system == "t" || included.contains(name) => {
            Some(name.clone())
        }
        _ => None,
    });
    Ok(restored.collect())
}

async fn dump_all(session: &Session, included: &[String], limit: Duration) -> Result<Option<String>, Stop> {
    let databases = databases(session, included).await?;
    for database in &databases {
        let mut argv: Vec<OsString> = vec![session.program("pg_dump").into()];
        // Unlogged tables are not part of a backup.
        argv.extend(
            ["--no-password", "--no-sync", "--no-unlogged-table-data", "--file=/dev/null"]
                .map(OsString::from),
        );
        let said = session.output(&argv, database, limit).await?;
        if said.code != Some(0) {
            return Err(unread(database, &said));
        }
    }
    Ok(Some(human::count(databases.len() as u64, "database")))
}

/// The message is shown only if it is one about damage; others may quote data.
fn unread(database: &str, said: &Said) -> Stop {
    let database = text::escaped(database, 60);
    let damage = said.stderr.lines().find_map(|line| {
        let (_, message) = line.split_once("ERROR:  ")?;
        is_damage(message).then_some(message)
    });
    if let Some(message) = damage {
        return Stop::new(ReasonClass::UnreadableRelation, format!("database {database}: {message}"));
    }
    let class =
        said.stderr.lines().map(classify::of_postgres).find(|class| *class != ReasonClass::Unclassified);
    match class {
        Some(class) => {
            Stop::new(class, format!("pg_dump of database {database} failed; see the log of PostgreSQL"))
        }
        None if said.stderr.contains("connection to server") => failed(said),
        None => {
            let message = format!("pg_dump of database {database} failed; use --keep-on-failure to see why");
            Stop::new(ReasonClass::Unclassified, message)
        }
    }
}

fn is_damage(message: &str) -> bool {
    UNREADABLE.iter().any(|known| message.starts_with(known))
        && !OF_SYSTEM.iter().any(|cause| message.contains(cause))
}

/// Checks an assertion.
pub(super) async fn assertion(session: &Session, assertion: &Assertion, limit: Duration) -> Checked {
    let result = match session.value(&assertion.database, &assertion.query, limit).await {
        Ok(value) => assertion.expected.check(&value),
        Err(Failed::Query(code)) => Err(format!("the query failed with SQLSTATE {code}")),
        Err(Failed::Rows) => Err("the query did not return a single value".to_owned()),
        Err(Failed::Stop(stop)) => {
            let checked = Checked::stopped(CheckKind::Assertion, stop);
            return named(checked, &assertion.name);
        }
    };
    let result = result.map(|()| None).map_err(|why| {
        Stop::new(ReasonClass::Assertion, format!("{}: {why}", text::escaped(&assertion.name, 100)))
    });
    named(Checked::of(CheckKind::Assertion, result), &assertion.name)
}

fn named(mut checked: Checked, name: &str) -> Checked {
    checked.check.name = Some(text::one_line(name, MAX_TEXT));
    checked
}

/// Runs the user's program, whose output is logged in the directory of the test.
pub(super) async fn hook(
    session: &Session,
    program: &Path,
    place: &Place,
    more: &[(&str, String)],
    limit: Duration,
) -> Checked {
    Checked::of(CheckKind::Hook, run_hook(session, program, place, more, limit).await)
}

async fn run_hook(
    session: &Session,
    program: &Path,
    place: &Place,
    more: &[(&str, String)],
    limit: Duration,
) -> Result<Option<String>, Stop> {
    let mut environment = session.environment("postgres");
    for (name, value) in more {
        environment = environment.with(name, value.clone());
    }
    let log = place.path().join("log").join("hook.log");
    let directory = (place.path(), Writes::Anywhere);
    let started = Running::start(&[program.into()], &environment, directory, &log);
    let mut running = started.map_err(|error| {
        Stop::new(ReasonClass::Configuration, format!("cannot start the hook {}: {error}", program.display()))
    })?;
    let Ok(status) = timeout(limit, running.wait()).await else {
        running.signal_group(Signal::SIGTERM);
        return Err(Stop::too_long("the hook", limit));
    };
    let lines = running.lines().await.unwrap_or_default();
    for line in lines {
        tracing::info!("hook: {}", text::one_line(&line, 1000));
    }
    match status {
        Ok(status) if status.success() => Ok(None),
        Ok(status) => Err(Stop::new(ReasonClass::Hook, format!("the hook failed: {status}"))),
        Err(error) => Err(Stop::of_file("cannot wait for the hook", &error)),
    }
}

/// Checks the checksum of every page of the stopped copy.
pub(super) async fn pages(
    session: &Session,
    place: &Place,
    has_checksums: Option<bool>,
    was_stopped: bool,
    limit: Duration,
) -> Checked {
    const KIND: CheckKind = CheckKind::Pages;
    if has_checksums == Some(false) {
        return Checked::skipped(KIND, "the database has no page checksums");
    }
    if !was_stopped {
        let message = "PostgreSQL did not stop in order, so its pages cannot be checked";
        return Checked::stopped(KIND, Stop::new(ReasonClass::Unclassified, message));
    }
    let argv: Vec<OsString> = vec![
        session.program("pg_checksums").into(),
        "--check".into(),
        "--pgdata".into(),
        place.paths().data.into(),
    ];
    let said = match session.output(&argv, "", limit).await {
        Ok(said) => said,
        Err(stop) => return Checked::stopped(KIND, stop),
    };
    if said.code == Some(0) {
        return Checked::passed(KIND, None);
    }
    let count = said.stdout.lines().find_map(|line| line.strip_prefix("Bad checksums:"));
    let count = count.and_then(|count| count.trim().parse::<u64>().ok()).filter(|count| *count > 0);
    // It is ended if it finds too many to print.
    let is_bad = count.is_some() || said.stderr.contains("checksum verification failed in file");
    Checked::stopped(
        KIND,
        if is_bad {
            let count = count.map_or_else(|| "many".to_owned(), |count| count.to_string());
            let message = format!("pg_checksums found {count} pages with wrong checksums");
            Stop::new(ReasonClass::DamagedPages, message)
        } else {
            failed(&said)
        },
    )
}

/// What `pg_controldata` prints about the copy.
pub(super) async fn control_data(session: &Session, place: &Place) -> Result<String, Stop> {
    const TIMEOUT: Duration = Duration::from_secs(30);
    let argv: Vec<OsString> =
        vec![session.program("pg_controldata").into(), "-D".into(), place.paths().data.into()];
    let said = session.output(&argv, "", TIMEOUT).await?;
    if said.code == Some(0) { Ok(said.stdout) } else { Err(failed(&said)) }
}

#[cfg(test)]
mod tests {
    use super::is_damage;

    #[test]
    fn damage_is_told_from_trouble_of_the_file_system() {
        for message in [
            "invalid page in block 3 of relation base/5/16384",
            "could not read block 3 in file \"base/5/16384\": read only 0 of 8192 bytes",
            "could not open file \"base/5/16384\": No such file or directory",
            "missing chunk number 0 for toast value 16400 in pg_toast_16384",
        ] {
            assert!(is_damage(message), "{message}");
        }
        for message in [
            "could not read block 3 in file \"base/5/16384\": Input/output error",
            "could not open file \"base/5/16384\": Too many open files in system",
            "invalid memory alloc request size 1073741824",
            "canceling statement due to user request",
        ] {
            assert!(!is_damage(message), "{message}");
        }
    }
}
