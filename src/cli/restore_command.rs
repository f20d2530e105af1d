//! The commands that restore to a point in time, as shell commands, or why there are none.
//!
//! Pure: the caller prints.

use std::ffi::OsString;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::pgbackrest::command::{CopyPaths, InfoQuery, Program, RestoreQuery, TargetTimeline, quoted};
use crate::pgbackrest::info::{Link, Tablespace};
use crate::source::call::{Call, OutsideFiles};
use crate::state::filter::UNLISTED;
use crate::state::human;
use crate::state::recovery_time;
use crate::state::restore::{self, Chosen, Doubt, Reach, RestoreTarget, Start, Unreachable};
use crate::state::restore_tests;
use crate::state::snapshot::{Snapshot, Stanza};

/// The default directory of the copy in the printed command.
pub(super) const COPY_DIRECTORY: &str = "/var/tmp/pgbackrest-copy";

/// What to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Advice {
    /// The commands, for standard output; `None`: the point in time cannot be reached.
    pub commands: Option<Commands>,
    /// Notes for the user, for standard error.
    pub remarks: String,
    /// The backup that the commands restore, to query which of its files are outside of the data directory.
    pub backup: Option<InfoQuery>,
}

/// One command for each purpose. Each ends in a line break.
#[derive(Debug, PartialEq, Eq)]
pub struct Commands {
    /// Takes the database itself back.
    pub recover: String,
    /// Restores a copy without touching it.
    pub copy: String,
}

impl Advice {
    /// No commands.
    #[must_use]
    pub const fn none(remarks: String) -> Self {
        Self { commands: None, remarks, backup: None }
    }
}

impl Commands {
    /// Both with their purposes, as a shell reads them.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { recover, copy } = self;
        format!(
            "# 1. Recover this database. Stop PostgreSQL first; add --delta if the data directory is not empty.\n{recover}\n\
             # 2. Restore a copy elsewhere. Does not touch this database, and the copy does not archive.\n{copy}"
        )
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The point in time, and the branch if it is not to be chosen.
    pub target: RestoreTarget,
    /// Where to put a copy.
    pub copy: CopyPaths,
}

/// Finds the commands for the only stanza of the snapshot.
#[must_use]
pub fn advice(snapshot: &Snapshot, program: &Program, wish: &Wish, now: DateTime<Utc>) -> Advice {
    let known: Vec<&Stanza> = snapshot.stanzas.iter().filter(|stanza| *stanza.name != *UNLISTED).collect();
    let why = match known.as_slice() {
        [stanza] => return of_stanza(stanza, program, wish, now),
        [] => "pgBackRest reports no stanza".to_owned(),
        all => {
            let names: Vec<String> = all.iter().map(|stanza| human::line(&stanza.name, 60)).collect();
            format!(
                "there are several stanzas, {}; choose one with --backrest.stanza-include",
                names.join(", ")
            )
        }
    };
    Advice::none(format!("no restore command: {why}\n"))
}

fn of_stanza(stanza: &Stanza, program: &Program, wish: &Wish, now: DateTime<Utc>) -> Advice {
    let target = wish.target;
    let start = match restore::start(stanza, target, now) {
        Ok(start) => start,
        Err(reasons) => return Advice::none(unreachable(target.time, &reasons)),
    };
    let is_since_12 = start.postgres_version.is_none_or(|version| version >= 12);
    let query = RestoreQuery {
        stanza: stanza.name.to_string(),
        // Only versions that know one repository alone call it 0.
        repo: (start.repo_key > 0).then_some(start.repo_key),
        set: start.backup.label.to_string(),
        target: target.time.format("%Y-%m-%d %H:%M:%S%.f+00").to_string(),
        target_timeline: match start.timeline {
            Some(timeline) => Some(TargetTimeline::Number(timeline)),
            None => is_since_12.then_some(TargetTimeline::Current),
        },
        can_switch_archiving_off: is_since_12,
        reads_ahead: start.proof != Err(Doubt::Damage)
            || start.postgres_version.is_none_or(|version| version < 15),
    };
    let directories: Vec<OsString> = wish.copy.directories().into_iter().map(OsString::from).collect();
    let mkdir = ["mkdir", "-p", "-m", "0700"].map(OsString::from);
    let copy = format!(
        "{} && {}\n",
        shell_line(&[mkdir.as_slice(), &directories].concat()),
        shell_line(&program.restore_copy(&query, &wish.copy))
    );
    let recover = shell_line(&program.restore(&query)) + "\n";
    let mut remarks = remarks(&start, target);
    remarks.push_str(&estimate(stanza, &start, target, now));
    if !query.can_switch_archiving_off {
        remarks.push_str(
            "before PostgreSQL 12: set archive_mode = off in the copy's postgresql.conf before it starts\n",
        );
    }
    _ = writeln!(
        remarks,
        "the copy is in {}, its tablespaces are in {}/OID, and links become plain directories; start it with its \
         own port and socket directory",
        wish.copy.data(),
        wish.copy.tablespaces()
    );
    let backup = InfoQuery { stanza: Some(query.stanza), repo: query.repo, set: Some(query.set) };
    Advice { commands: Some(Commands { recover, copy }), remarks, backup: Some(backup) }
}

/// Where the files outside of the data directory are restored to: in the database to where they were, in a copy into its own
/// directory.
#[must_use]
pub fn outside_remarks(call: &Call<OutsideFiles>, copy: &CopyPaths) -> String {
    let OutsideFiles { tablespaces, links } = match &call.answer {
        Some(Ok(outside)) => outside,
        Some(Err(failure)) => {
            let why = human::line(&failure.message, 300);
            return format!("the tablespaces and links of the backup are unknown: {why}\n");
        }
        None => return String::new(),
    };
    let shown = |text: &str| human::line(text, 200);
    let mut text = String::new();
    for Tablespace { name, oid, destination } in tablespaces {
        let (name, destination) = (shown(name), shown(destination));
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "tablespace {name}: {destination} in the database unless the configuration maps it, {}/{oid} in the copy",
            copy.tablespaces()
        );
    }
    for Link { name, destination } in links {
        let (name, destination) = (shown(name), shown(destination));
        _ = writeln!(
            text,
            "link {name} to {destination}: a link again in the database only with link-all or link-map, {}/{name} in the copy",
            copy.data()
        );
    }
    text
}

// Writing to a String cannot fail.
fn remarks(start: &Start<'_>, target: RestoreTarget) -> String {
    let mut text = format!(
        "restores to {} from {}: backup {} of {}, then WAL\n",
        instant(target.time),
        human::repo_name(start.repo_key),
        start.backup.label,
        human::instant(start.backup.stop)
    );
    if let Some(branch) = start.branch.filter(|_| start.timeline.is_some() || !start.others.is_empty()) {
        let why =
            if target.timeline.is_some() { "as requested" } else { "the database was on it at that time" };
        _ = writeln!(text, "timeline {}: {why}", described(branch));
    }
    for other in &start.others {
        _ = writeln!(
            text,
            "timeline {} contains that time too, with other data; use --target-timeline={} to restore it",
            described(*other),
            other.timeline
        );
    }
    match start.proof {
        Ok(at) => {
            _ = writeln!(
                text,
                "proven: the WAL archive had no gap on this path at {}",
                human::instant(at)
            );
        }
        Err(Doubt::Branch) => text.push_str(
            "not proven: the archive does not show exactly when the timeline began, so that time may belong to another one\n",
        ),
        Err(Doubt::Damage) => text.push_str(
            "not proven: a later WAL file has a wrong size. Recovery stops there with an error if nothing was committed between the \
             target and that file; PostgreSQL 15 and later do not read ahead with recovery_prefetch=off\n",
        ),
        Err(Doubt::Clock) => text.push_str(
            "not proven: the clock of the repository differs or was set, so the time of the last WAL is uncertain\n",
        ),
        Err(Doubt::NoScan) => text.push_str(
            "not proven: pgbackrest info does not detect gaps in the WAL; use --wal to check for them\n",
        ),
    }
    if start.backup.error == Some(true) {
        text.push_str(
            "the backup has page checksum errors: pgBackRest 2.60 and later stop at the first damaged file, unless you \
             add --no-checksum-page-error to the command\n",
        );
    }
    if start.reach == Reach::Unknown {
        text.push_str("it is unknown whether the WAL archived since the newest backup reaches that time\n");
    }
    text.push_str(
        "Recovery ends at the first commit after that time. If PostgreSQL reports \"recovery ended before configured recovery \
         target was reached\", nothing was committed later: the state at that time is the end of the WAL, so restore again \
         without --type, --target and --target-action\n",
    );
    text
}

/// How long the recovery takes, if restore tests have measured it.
fn estimate(stanza: &Stanza, start: &Start<'_>, target: RestoreTarget, now: DateTime<Utc>) -> String {
    let known = stanza.repo(start.repo_key).and_then(|repo| {
        let speeds = repo.restore_tests.as_deref()?.recovery_time?.speeds;
        let estimate = recovery_time::to(target.time, start.backup, (stanza, repo), &speeds)?;
        Some((estimate, speeds.measured_at))
    });
    known.map_or_else(String::new, |(estimate, measured_at)| {
        format!("recovery takes {}\n", restore_tests::estimate_words(estimate, measured_at, now))
    })
}

/// `2 (live, left timeline 1 at 0/3000110)`
fn described(branch: Chosen) -> String {
    let fork = branch.fork.map_or_else(String::new, |fork| {
        let began = branch.began.map_or_else(String::new, |at| format!(", {}", human::instant(at)));
        format!(", left timeline {} at {}{began}", fork.timeline, fork.lsn)
    });
    let word = human::branch_words(branch.state);
    format!("{} ({word}{fork})", branch.timeline)
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

/// Quotes for a POSIX shell.
fn shell_line(arguments: &[OsString]) -> String {
    arguments.iter().map(|argument| quoted(&argument.to_string_lossy())).collect::<Vec<_>>().join(" ")
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
}
