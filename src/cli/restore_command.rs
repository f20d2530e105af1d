//! The command that restores to a point in time, as a shell command, or why there is none.
//!
//! Pure: the caller prints.

use std::ffi::OsString;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::pgbackrest::command::{Program, RestoreQuery};
use crate::state::human;
use crate::state::restore::{self, Reach, Unreachable};
use crate::state::snapshot::{Snapshot, Stanza};

/// What to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Advice {
    /// The command, for standard output; `None`: the point in time cannot be reached.
    pub command: Option<String>,
    /// Notes for the user, for standard error.
    pub remarks: String,
}

/// Finds the command for the only stanza of the snapshot.
#[must_use]
pub fn advice(snapshot: &Snapshot, program: &Program, target: DateTime<Utc>, now: DateTime<Utc>) -> Advice {
    let why = match snapshot.stanzas.as_slice() {
        [stanza] => return of_stanza(stanza, program, target, now),
        [] => "pgBackRest reports no stanza".to_owned(),
        all => {
            let names: Vec<String> = all.iter().map(|stanza| human::line(&stanza.name, 60)).collect();
            format!(
                "there are several stanzas, {}; choose one with --backrest.stanza-include",
                names.join(", ")
            )
        }
    };
    Advice { command: None, remarks: format!("no restore command: {why}\n") }
}

fn of_stanza(stanza: &Stanza, program: &Program, target: DateTime<Utc>, now: DateTime<Utc>) -> Advice {
    let start = match restore::start(stanza, target, now) {
        Ok(start) => start,
        Err(reasons) => return Advice { command: None, remarks: unreachable(target, &reasons) },
    };
    let query = RestoreQuery {
        stanza: stanza.name.to_string(),
        // Only versions that know one repository alone call it 0.
        repo: (start.repo_key > 0).then_some(start.repo_key),
        set: start.backup.label.clone(),
        target: target.format("%Y-%m-%d %H:%M:%S%.f+00").to_string(),
        target_timeline: start.timeline,
    };
    let mut remarks = format!(
        "restores to {} from {}: backup {} of {}, then WAL\n",
        instant(target),
        human::repo_name(start.repo_key),
        start.backup.label,
        human::instant(start.backup.stop)
    );
    match start.proven_at {
        // Writing to a String cannot fail.
        Some(at) => {
            _ = writeln!(
                remarks,
                "proven: the WAL archive had no gap on this path at {}",
                human::instant(at)
            );
        }
        None => remarks.push_str(
            "not proven: pgbackrest info does not detect gaps in the WAL; use --wal to check for them\n",
        ),
    }
    if start.reach == Reach::Unknown {
        remarks.push_str("unknown: whether the WAL archived since the newest backup reaches that time\n");
    }
    remarks.push_str(
        "PostgreSQL must be stopped; add --delta if its data directory is not empty. \
         Recovery ends at the first commit after that time, and fails if none is archived\n",
    );
    Advice { command: Some(shell_line(&program.restore(&query))), remarks }
}

fn unreachable(target: DateTime<Utc>, reasons: &[(u32, Unreachable)]) -> String {
    let mut text = format!("{} cannot be reached\n", instant(target));
    for (key, why) in reasons {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {why}", human::repo_name(*key));
    }
    if reasons.is_empty() {
        text.push_str("no repository is known\n");
    }
    text
}

fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.f UTC").to_string()
}

/// Quotes for a POSIX shell; ends in a line break.
fn shell_line(arguments: &[OsString]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    let quoted = arguments.iter().map(|argument| {
        let argument = argument.to_string_lossy();
        if !argument.is_empty() && argument.chars().all(is_plain) {
            return argument.into_owned();
        }
        format!("'{}'", argument.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ") + "\n"
}

/// Parses a time with its zone, as RFC 3339 or as PostgreSQL prints it: `2026-11-23 05:00:00+00`.
pub(super) fn point_in_time(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .map(|at| at.to_utc())
        .map_err(|_| {
            "give date, time and zone, such as '2026-11-23 05:00:00+00' or 2026-11-23T05:00:00Z".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_needs_a_zone() {
        let expected = DateTime::from_timestamp(1_795_410_000, 0).unwrap();
        for text in [
            "2026-11-23 05:00:00+00",
            "2026-11-23 05:00:00.000+00:00",
            "2026-11-23T05:00:00Z",
            "2026-11-23 06:00:00+01",
            "2026-11-23T00:30:00-04:30",
        ] {
            assert_eq!(point_in_time(text), Ok(expected), "{text}");
        }
        for text in ["", "now", "2026-11-23", "2026-11-23 05:00:00", "2026-11-23 25:00:00+00"] {
            assert!(point_in_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_is_safe_in_a_shell() {
        let line = shell_line(&["a=b".into(), "it's; $(x)".into(), "".into()]);
        assert_eq!(line, "a=b 'it'\\''s; $(x)' ''\n");
    }
}
