//! WAL: missing segments, the recovery window, and what waits to be archived.

mod recovery;

use crate::check::facts::{Place, clean};
use crate::check::judge::{Judge, Reading};
use crate::check::quantity::{Quantity, Thresholds};
use crate::check::report::Severity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::archiver as archiving;
use crate::metrics::catalogue::backups::{
    BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS, RETENTION_REACHED, STANZA_REPO_WAL_SKEW_SEGMENTS,
};
use crate::metrics::catalogue::wal as metrics;

use super::Service;

pub(super) const SERVICE: Service = Service {
    name: "wal",
    about: "Missing, duplicate and damaged WAL in the archives, the recovery window, and WAL that waits to be archived",
    metrics: &[
        &archiving::ARCHIVER_COLLECTED_TIMESTAMP_SECONDS,
        &archiving::ARCHIVER_DROPPED_SINCE_TIMESTAMP_SECONDS,
        &archiving::ARCHIVER_DROP_EXPECTED_TIMESTAMP_SECONDS,
        &archiving::ARCHIVER_ERRORS,
        &archiving::ARCHIVER_QUEUED_BYTES,
        &archiving::ARCHIVER_QUEUE_LIMIT_BYTES,
        &archiving::ARCHIVER_REJECTED_SINCE_TIMESTAMP_SECONDS,
        &archiving::ARCHIVER_UP,
        &archiving::ARCHIVER_WAITING_FILES,
        &archiving::ARCHIVER_WAITING_SINCE_TIMESTAMP_SECONDS,
        &BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS,
        &metrics::BACKUP_UNRESTORABLE,
        &metrics::RECOVERY_DEFAULT_RESTORE_OK,
        &metrics::RECOVERY_LATEST_TIMESTAMP_SECONDS,
        &metrics::RECOVERY_WINDOW_SECONDS,
        &metrics::RECOVERY_WINDOW_VERIFIED,
        &metrics::REPO_CLOCK_BEHIND_SECONDS,
        &metrics::REPO_FUTURE_TIMESTAMPS,
        &RETENTION_REACHED,
        &STANZA_REPO_WAL_SKEW_SEGMENTS,
        &metrics::WAL_DUPLICATE_SEGMENTS,
        &metrics::WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS,
        &metrics::WAL_LISTED_TIMESTAMP_SECONDS,
        &metrics::WAL_MISSING_HISTORY_FILES,
        &metrics::WAL_MISSING_SEGMENTS,
        &metrics::WAL_STORED_BYTES,
        &metrics::WAL_UNNEEDED_BYTES,
    ],
    quantities: QUANTITIES,
    alerts: &[
        "PgBackRestWalGap",
        "PgBackRestWalGapOld",
        "PgBackRestWalDamaged",
        "PgBackRestWalDuplicates",
        "PgBackRestWalHistoryMissing",
        "PgBackRestWalUnneeded",
        "PgBackRestDefaultRestoreFails",
        "PgBackRestBackupUnrestorable",
        "PgBackRestRecoveryWindowTooSmall",
        "PgBackRestRpoExceeded",
        "PgBackRestRepoLagging",
        "PgBackRestClockWrong",
        "PgBackRestArchiverUnreadable",
        "PgBackRestArchiverWaiting",
        "PgBackRestArchiverErrors",
        "PgBackRestArchiverRejected",
        "PgBackRestArchiverQueueFull",
        "PgBackRestArchiverDropped",
    ],
    judge,
};

const QUANTITIES: &[&Quantity] = &[
    &MISSING,
    &MISSING_OLD,
    &DAMAGED,
    &DUPLICATES,
    &HISTORIES,
    &UNRESTORABLE,
    &WINDOW,
    &LAG,
    &WAL_AGE,
    &UNNEEDED,
    &SKEW,
    &WAITING_AGE,
    &WAITING_FILES,
    &QUEUE,
    &DROP_IN,
    &ERRORS,
];

const fn count(name: &'static str, alert: &'static str, about: &'static str) -> Quantity {
    let critical = Some("0");
    let (unit, is_everywhere) = (Unit::Count, true);
    Quantity { name, unit, is_everywhere, warning: None, critical, alert: Some(alert), about }
}

const MISSING: Quantity = count(
    "missing-segments",
    "PgBackRestWalGap",
    "WAL segments that a backup needs, or newer than the newest backup, that are missing",
);
const MISSING_OLD: Quantity = Quantity {
    warning: Some("0"),
    critical: None,
    ..count("missing-old-segments", "PgBackRestWalGapOld", "missing WAL segments between backups")
};
const DAMAGED: Quantity =
    count("damaged-segments", "PgBackRestWalDamaged", "WAL segments that are incomplete");
const DUPLICATES: Quantity = count(
    "duplicate-segments",
    "PgBackRestWalDuplicates",
    "WAL segments that exist more than once with different contents",
);
const HISTORIES: Quantity = Quantity {
    warning: Some("0"),
    critical: None,
    ..count(
        "missing-histories",
        "PgBackRestWalHistoryMissing",
        "timelines whose history file is missing or unreadable",
    )
};
const UNRESTORABLE: Quantity = count(
    "unrestorable-backups",
    "PgBackRestBackupUnrestorable",
    "backups that cannot be restored, by reason",
);
const WINDOW: Quantity = Quantity {
    name: "window",
    unit: Unit::Seconds,
    is_everywhere: true,
    warning: None,
    critical: Some("1d:"),
    alert: Some("PgBackRestRecoveryWindowTooSmall"),
    about: "length of the proven recovery window; the usual threshold applies once a backup is three days old",
};
const LAG: Quantity = Quantity {
    name: "lag",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: None,
    critical: Some("2h"),
    alert: Some("PgBackRestRpoExceeded"),
    about: "how long ago the end of the proven recovery window is, if WAL was archived after it",
};
const WAL_AGE: Quantity = Quantity {
    name: "wal-age",
    unit: Unit::Seconds,
    is_everywhere: true,
    warning: None,
    critical: None,
    alert: None,
    about: "age of the newest WAL segment in an archive; idle databases archive none",
};
const UNNEEDED: Quantity = Quantity {
    name: "unneeded-wal",
    unit: Unit::Percent,
    is_everywhere: false,
    warning: Some("20"),
    critical: None,
    alert: Some("PgBackRestWalUnneeded"),
    about: "share of the WAL archive that no backup needs, once retention is reached",
};
const SKEW: Quantity = Quantity {
    name: "wal-skew",
    unit: Unit::Count,
    is_everywhere: false,
    warning: Some("64"),
    critical: None,
    alert: Some("PgBackRestRepoLagging"),
    about: "segments by which the WAL of one repository lags behind that of another",
};
const WAITING_AGE: Quantity = Quantity {
    name: "waiting-age",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("15m"),
    critical: None,
    alert: Some("PgBackRestArchiverWaiting"),
    about: "how long the next WAL file has been waiting to be archived",
};
const WAITING_FILES: Quantity = Quantity {
    name: "waiting-files",
    unit: Unit::Count,
    is_everywhere: false,
    warning: None,
    critical: None,
    alert: None,
    about: "WAL files that are waiting to be archived",
};
const QUEUE: Quantity = Quantity {
    name: "queue",
    unit: Unit::Percent,
    is_everywhere: false,
    warning: None,
    critical: Some("80"),
    alert: Some("PgBackRestArchiverQueueFull"),
    about: "waiting WAL relative to archive-push-queue-max, above which pgBackRest drops WAL",
};
const DROP_IN: Quantity = Quantity {
    name: "drop-in",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("12h:"),
    critical: None,
    alert: Some("PgBackRestArchiverQueueFull"),
    about: "time until pgBackRest drops WAL if the queue keeps growing; only a running exporter knows",
};
const ERRORS: Quantity = Quantity {
    is_everywhere: false,
    warning: Some("0"),
    critical: None,
    ..count(
        "archiver-errors",
        "PgBackRestArchiverErrors",
        "errors of the asynchronous archive-push, by class",
    )
};

/// PostgreSQL tries again in the meantime.
const REJECTED_AFTER: f64 = 300.0;
/// Before that, a window cannot be long.
const MATURE_AFTER: f64 = 3.0 * 86_400.0;

fn judge(judge: &mut Judge<'_>) {
    judge.expect_facts_of("info");
    if judge.expects_scan {
        judge.expect_facts_of("wal");
    }
    for repo in judge.facts.repos() {
        expect_scan(judge, repo);
    }
    segments(judge);
    recovery::judge(judge);
    archiver(judge);
    for (stanza, series) in judge.facts.of(&STANZA_REPO_WAL_SKEW_SEGMENTS) {
        let text = format!("segments by which a repository lags behind another: {}", series.value);
        judge.measure(&Reading::new(&SKEW, stanza, series.value, text));
    }
    let windows =
        judge.facts.of(&metrics::RECOVERY_WINDOW_VERIFIED).filter(|(_, series)| series.is_true()).count();
    judge.report.summaries.push(match windows {
        0 => "no recovery window is proven".to_owned(),
        1 => "1 recovery window is proven".to_owned(),
        many => format!("{many} recovery windows are proven"),
    });
}

/// Missing WAL is only known after a scan.
fn expect_scan(judge: &mut Judge<'_>, repo: &Place) {
    let facts = judge.facts;
    if !judge.expects_scan && !judge.demands_proof {
        return judge.unchecked("missing WAL: not asked for (--wal=false)");
    }
    if judge.demands_proof && facts.value(&metrics::RECOVERY_WINDOW_VERIFIED, repo) != Some(1.0) {
        judge.unknown(repo, "no recovery window is proven");
    }
    if facts.value(&metrics::WAL_LISTED_TIMESTAMP_SECONDS, repo).is_none() {
        let why = facts.unreadable(repo).map(|why| format!(": {why}")).unwrap_or_default();
        return judge.unknown(repo, format!("its WAL archive was not scanned{why}"));
    }
    let classes = facts.at(&metrics::WAL_MISSING_SEGMENTS, repo);
    if !classes.iter().any(|series| series.label("class") == "pitr_new") {
        judge.unknown(repo, "its timelines are unknown, so WAL may be missing");
    }
    if let Some(why) = facts.unreadable(repo) {
        judge.unknown(repo, format!("it cannot be read now, so newer WAL is unknown: {why}"));
    }
}

fn segments(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    for (repo, series) in facts.of(&metrics::WAL_MISSING_SEGMENTS) {
        let count = series.value;
        let (quantity, detail, text) = match series.label("class") {
            "backup" => (&MISSING, "backup", format!("WAL segments missing that a backup needs: {count}")),
            "pitr_new" => (&MISSING, "new", format!("WAL segments missing after the newest backup: {count}")),
            "pitr_old" => (&MISSING_OLD, "", format!("WAL segments missing between backups: {count}")),
            "wrong_size" => (&DAMAGED, "", format!("incomplete WAL segments: {count}")),
            _ => continue,
        };
        judge.measure(&Reading { detail, ..Reading::new(quantity, repo, count, text) });
    }
    for (repo, series) in facts.of(&metrics::WAL_DUPLICATE_SEGMENTS) {
        let text = format!("WAL segments with different copies: {}", series.value);
        judge.measure(&Reading::new(&DUPLICATES, repo, series.value, text));
    }
    for (repo, series) in facts.of(&metrics::WAL_MISSING_HISTORY_FILES) {
        let text = format!("timelines whose history file is missing or unreadable: {}", series.value);
        judge.measure(&Reading::new(&HISTORIES, repo, series.value, text));
    }
    for (repo, series) in facts.of(&metrics::WAL_UNNEEDED_BYTES) {
        let stored = facts.value(&metrics::WAL_STORED_BYTES, repo).filter(|stored| *stored > 0.0);
        let Some(percent) = stored.map(|stored| 100.0 * series.value / stored) else { continue };
        let text = format!("no backup needs {} of the WAL archive", Unit::Percent.words(percent));
        let mut reading = Reading::new(&UNNEEDED, repo, percent, text);
        if facts.value(&RETENTION_REACHED, repo) != Some(1.0) {
            reading.usual = Some(Thresholds::default());
        }
        judge.measure(&reading);
    }
    for (repo, series) in facts.of(&metrics::WAL_LISTED_TIMESTAMP_SECONDS) {
        let Some(last) = facts.value(&metrics::WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS, repo) else { continue };
        let age = (series.value - last).max(0.0);
        let text = format!("the newest WAL segment is {} old", Unit::Seconds.words(age));
        judge.measure(&Reading::new(&WAL_AGE, repo, age, text));
    }
    clocks(judge);
}

fn clocks(judge: &mut Judge<'_>) {
    for (repo, series) in judge.facts.of(&metrics::REPO_FUTURE_TIMESTAMPS) {
        if series.value > 0.0 && series.label("kind") == "wal" {
            let text =
                format!("WAL files dated in the future: {}; check the clock of the repository", series.value);
            judge.problem(Severity::Warning, "PgBackRestClockWrong", repo, text);
        }
    }
    for (repo, series) in judge.facts.of(&metrics::REPO_CLOCK_BEHIND_SECONDS) {
        if series.value != 0.0 {
            let (size, which) = (
                Unit::Seconds.words(series.value.abs()),
                if series.value > 0.0 { "behind" } else { "ahead of" },
            );
            let text = format!("its clock is {size} {which} that of the PostgreSQL host");
            judge.problem(Severity::Warning, "PgBackRestClockWrong", repo, text);
        }
    }
}

fn archiver(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    for (stanza, series) in facts.of(&archiving::ARCHIVER_UP) {
        if series.value == 0.0 {
            let text = "the state of PostgreSQL's archiver cannot be read";
            judge.problem(Severity::Unknown, "PgBackRestArchiverUnreadable", stanza, text);
        }
    }
    let read_at = |stanza: &Place| facts.value(&archiving::ARCHIVER_COLLECTED_TIMESTAMP_SECONDS, stanza);
    for (stanza, series) in facts.of(&archiving::ARCHIVER_WAITING_FILES) {
        let text = format!("WAL files waiting to be archived: {}", series.value);
        judge.measure(&Reading::new(&WAITING_FILES, stanza, series.value, text));
    }
    for (stanza, series) in facts.of(&archiving::ARCHIVER_WAITING_SINCE_TIMESTAMP_SECONDS) {
        let Some(read) = read_at(stanza) else { continue };
        let age = (read - series.value).max(0.0);
        let text = format!("WAL has been waiting to be archived for {}", Unit::Seconds.words(age));
        judge.measure(&Reading::new(&WAITING_AGE, stanza, age, text));
    }
    for (stanza, series) in facts.of(&archiving::ARCHIVER_ERRORS) {
        let error = clean(series.label("error"), 40);
        let text = format!("errors of archive-push ({error}): {}", series.value);
        judge.measure(&Reading { detail: &error, ..Reading::new(&ERRORS, stanza, series.value, text) });
    }
    for (stanza, series) in facts.of(&archiving::ARCHIVER_REJECTED_SINCE_TIMESTAMP_SECONDS) {
        if read_at(stanza).is_some_and(|read| read - series.value > REJECTED_AFTER) {
            let why = match series.label("reason") {
                "archive_duplicate" => "the archive contains a different segment of the same name",
                _ => "it belongs to another PostgreSQL cluster than the stanza",
            };
            judge.problem(
                Severity::Critical,
                "PgBackRestArchiverRejected",
                stanza,
                format!("WAL is rejected: {why}"),
            );
        }
    }
    for (stanza, series) in facts.of(&archiving::ARCHIVER_DROPPED_SINCE_TIMESTAMP_SECONDS) {
        if series.value > 0.0 {
            let text = "WAL was dropped instead of archived: take a full backup";
            judge.problem(Severity::Critical, "PgBackRestArchiverDropped", stanza, text);
        }
    }
    for (stanza, series) in facts.of(&archiving::ARCHIVER_DROP_EXPECTED_TIMESTAMP_SECONDS) {
        let left = series.value - judge.now;
        let text = format!("pgBackRest will drop WAL in {}", Unit::Seconds.words(left.max(0.0)));
        judge.measure(&Reading::new(&DROP_IN, stanza, left, text));
    }
    for (stanza, series) in facts.of(&archiving::ARCHIVER_QUEUED_BYTES) {
        let limit = facts.value(&archiving::ARCHIVER_QUEUE_LIMIT_BYTES, stanza).filter(|limit| *limit > 0.0);
        let Some(percent) = limit.map(|limit| 100.0 * series.value / limit) else { continue };
        let text = format!("the queue of WAL is filled to {}", Unit::Percent.words(percent));
        judge.measure(&Reading::new(&QUEUE, stanza, percent, text));
    }
}
