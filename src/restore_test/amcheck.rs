//! `pg_amcheck` of the databases that have the extension, which a standby cannot create.

use std::ffi::OsString;
use std::time::Duration;

use crate::state::proofs::CheckKind;
use crate::state::proofs::reason::ReasonClass;
use crate::text;

use super::checks::{Checked, databases, within};
use super::programs::Said;
use super::query::Session;
use super::stop::Stop;

/// PostgreSQL 14 introduced the program.
const OLDEST: u32 = 14;
/// Exit code if corruption was found.
const CORRUPT: i32 = 2;

/// Whether the database has the extension, and whether all text is sorted here as it was when its indexes were made. With another
/// version of the operating system or of ICU, sound indexes look corrupt.
const PROPERTIES: &str = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'amcheck'), \
     NOT EXISTS (SELECT FROM pg_collation WHERE collversion <> pg_collation_actual_version(oid))";
/// The same for the default collation (PostgreSQL 15 and later).
const DEFAULT_COLLATION: &str = "SELECT datcollversion IS NULL OR datcollversion = pg_database_collation_actual_version(oid) \
     FROM pg_database WHERE datname = current_database()";

/// Checks tables and indexes.
pub(super) async fn amcheck(session: &Session, included: &[String], limit: Duration) -> Checked {
    const KIND: CheckKind = CheckKind::Amcheck;
    if session.programs.major < OLDEST {
        return Checked::skipped(KIND, "PostgreSQL 13 and earlier have no pg_amcheck");
    }
    match within(limit, "pg_amcheck", check_all(session, included, limit)).await {
        Err(stop) => Checked::stopped(KIND, stop),
        Ok(Counts { checked: 0, other_collation: 0 }) => {
            Checked::skipped(KIND, "no database has the extension amcheck")
        }
        Ok(Counts { checked: 0, .. }) => {
            Checked::skipped(KIND, "the versions of collations differ from those of the database")
        }
        Ok(Counts { checked, .. }) => {
            Checked::passed(KIND, Some(crate::state::human::count(checked, "database")))
        }
    }
}

#[derive(Default)]
struct Counts {
    checked: u32,
    other_collation: u32,
}

async fn check_all(session: &Session, included: &[String], limit: Duration) -> Result<Counts, Stop> {
    let mut counts = Counts::default();
    for database in databases(session, included).await? {
        let is_true = |rows: &[Vec<String>], place: usize| {
            rows.first().and_then(|row| row.get(place)).is_some_and(|value| value == "t")
        };
        let rows = session.rows_in(&database, PROPERTIES).await?;
        if !is_true(&rows, 0) {
            continue;
        }
        let sorts_alike = is_true(&rows, 1)
            && (session.programs.major < 15
                || is_true(&session.rows_in(&database, DEFAULT_COLLATION).await?, 0));
        if !sorts_alike {
            counts.other_collation += 1;
            continue;
        }
        let argv: Vec<OsString> = vec![session.program("pg_amcheck").into(), "--no-password".into()];
        let said = session.output(&argv, &database, limit).await?;
        match said.code {
            Some(0) => counts.checked += 1,
            Some(CORRUPT) => return Err(corrupt(&database, &said)),
            // It is ended if it finds too much to print.
            None if corrupt_object(&said).is_some() => return Err(corrupt(&database, &said)),
            _ => {
                let message = format!("pg_amcheck of database {} failed", text::escaped(&database, 60));
                return Err(Stop::new(ReasonClass::Unclassified, message));
            }
        }
    }
    Ok(counts)
}

/// The first object, and nothing of its contents.
fn corrupt_object(said: &Said) -> Option<&str> {
    let objects = ["heap table ", "btree index "];
    let line = said.stdout.lines().find(|line| objects.iter().any(|object| line.starts_with(object)));
    line.and_then(|line| line.split([',', ':']).next())
}

fn corrupt(database: &str, said: &Said) -> Stop {
    let object = corrupt_object(said).unwrap_or("a relation");
    let database = text::escaped(database, 60);
    Stop::new(
        ReasonClass::CorruptRelation,
        format!("pg_amcheck found corruption in database {database}: {}", text::escaped(object, 150)),
    )
}
