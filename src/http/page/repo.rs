//! One repository of a stanza: its state, its newest backups by type, and its properties.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::WalSegment;
use crate::state::answer;
use crate::state::archive::Continuity;
use crate::state::expiry;
use crate::state::health;
use crate::state::human;
use crate::state::recovery;
use crate::state::retention;
use crate::state::snapshot::{Backup, BackupAttempt, ByteCount, Expiry, Repo, RepoState, Retention};

use super::{pieces, restore_tests, verifications};

/// Limits of pgBackRest's messages: lines, and characters per line.
const MESSAGE_LINES: usize = 30;
const MESSAGE_WIDTH: usize = 300;
/// Maximum number of labels in the list of newest backups.
const LIST_LIMIT: usize = 12;
/// Maximum number of branches of history shown.
const BRANCH_LIMIT: usize = 6;
/// Maximum number of WAL ranges shown, newest cluster first.
const ARCHIVE_LIMIT: usize = 4;

/// The repository as a card.
pub(super) fn card(repo: &Repo, now: DateTime<Utc>, fresh_for: TimeDelta) -> Markup {
    let assessment = health::of_repo(repo, now, Some(fresh_for));
    html! {
        article.repo {
            h3 {
                (human::repo_name(repo.key)) " "
                (pieces::badge(assessment.health, health::word_of_repo(repo, assessment.health)))
            }
            @if repo.backups.is_empty() { p.soft { "No backups." } } @else { (types(repo, now)) }
            (facts(repo, now))
            @if repo.state == RepoState::Other || repo.state == RepoState::Timeout { (message(repo)) }
            @if !repo.backups.is_empty() { (newest(repo, now)) }
        }
    }
}

fn types(repo: &Repo, now: DateTime<Utc>) -> Markup {
    html! {
        table.types {
            thead {
                tr { th scope="col" { "Last" } th scope="col" { "Completed" } th scope="col" { "Duration" }
                    th scope="col" { "Size" } }
            }
            tbody {
                @for backup_type in BackupType::ALL {
                                        tr {
                        th scope="row" {
                            (backup_type.as_str())
                            @if let kept @ 1.. = answer::kept(repo, backup_type) { p.soft { (kept) " kept" } }
                        }
                        @match repo.newest(backup_type) {
                            Some(backup) => { (newest_of_type(backup, now)) }
                            None => { td colspan="3" { span.soft { "none" } } }
                        }
                    }
                }
            }
        }
    }
}

fn newest_of_type(backup: &Backup, now: DateTime<Utc>) -> Markup {
    html! {
        td {
            (human::age(backup.stop, now))
            p.soft { (pieces::instant(backup.stop)) }
            @if backup.error == Some(true) { p.reason.warning { "page checksum errors" } }
        }
        td { (human::known(backup.duration(), human::duration)) }
        td {
            (human::known(backup.size.map(ByteCount::get), human::bytes))
            p.soft { (human::known(backup.repo_delta.map(ByteCount::get), human::bytes)) " stored" }
        }
    }
}

fn facts(repo: &Repo, now: DateTime<Utc>) -> Markup {
    let settings = repo.settings.as_ref();
    let storage = settings.and_then(|settings| settings.storage.as_deref());
    html! {
        dl.facts {
            @if let Some(window) = recovery::window(repo) {
                dt { "Recovery window" }
                dd {
                    span.keep { (pieces::instant(window.start())) } " to "
                    span.keep { (pieces::instant(window.latest)) }
                    span.soft {
                        @if window.verified { " at most, proven" } @else { " not verified" }
                        @if let Some(lsn) = window.latest_lsn { ", up to LSN " span.mono { (lsn) } }
                    }
                }
            }
            @if let Some(wal) = repo.wal.as_deref().filter(|wal| wal.branches.len() > 1) { (branches(wal)) }
            (wal(repo))
            @if let Some(wal) = &repo.wal { dt { "WAL scan" } dd { (listed(wal, now)) } }
            @if let Some(attempt) = &repo.last_attempt { dt { "Last attempt" } dd { (last_attempt(attempt, now)) } }
            @if let Some(tests) = repo.restore_tests.as_deref() { (restore_tests::facts(tests, now)) }
            @if let Some(history) = repo.verifications.as_deref() { (verifications::facts(history, now)) }
            dt { "Retention" } dd { (retention(repo, now)) }
            @if let Some(expiry) = repo.expiry.as_deref() { dt { "Next expiry" } dd { (next_expiry(expiry)) } }
            @if let Some(text) = expiry::leftovers_words(repo) { dt { "Unfinished backups" } dd { (text) } }
            dt { "Page checksums" } dd { (checksums(repo)) }
            dt { "Encryption" } dd { (encryption(repo)) }
            @if let Some(storage) = storage { dt { "Storage" } dd { (human::line(storage, 40)) } }
            @if let Some(database) = repo.current_database() {
                dt { "PostgreSQL" }
                dd {
                    (human::line(&database.version, 20))
                    @if let Some(id) = database.system_id { span.soft { " system id " (id) } }
                }
            }
            @if let Some(progress) = repo.progress {
                dt { "Running backup" }
                dd {
                    (human::progress(progress))
                    @if let Some(since) = repo.in_progress_since { ", first seen " (pieces::age(since, now)) }
                }
            }
            dt { "Last read" } dd { (pieces::age(repo.collected_at, now)) }
        }
    }
}

fn wal(repo: &Repo) -> Markup {
    html! {
        @for archive in repo.archives.iter().rev().take(ARCHIVE_LIMIT) {
            dt { "WAL " (human::line(&archive.id, 20)) }
            dd {
                @match (&archive.min, &archive.max) {
                    (Some(min), Some(max)) => {
                        span.mono { (human::line(min, 40)) } " to " span.mono { (human::line(max, 40)) }
                        @if let Some(timelines) = timelines(min, max) { span.soft { " " (timelines) } }
                    }
                    _ => { span.reason.warning { "none archived" } }
                }
            }
        }
    }
}

/// The branches of history with their windows, the live one first.
fn branches(wal: &Continuity) -> Markup {
    html! {
        @for branch in wal.branches.iter().take(BRANCH_LIMIT) {
            dt { "Timeline " (branch.timeline) }
            dd {
                (human::branch_words(branch.state))
                @if let Some(fork) = branch.fork {
                    ", from timeline " (fork.timeline) " at " span.mono { (fork.lsn) }
                }
                @match (branch.continuous_start, branch.end) {
                    (Some(start), Some(end)) => {
                        ": " span.keep { (pieces::instant(start)) } " to " span.keep { (pieces::instant(end.at)) }
                        @if let Some(lsn) = end.lsn { span.soft { " at most, up to LSN " span.mono { (lsn) } } }
                    }
                    _ => { ": no backup leads to it" }
                }
            }
        }
        @if wal.branches.len() > BRANCH_LIMIT {
            dt { "Timelines" } dd { (wal.branches.len() - BRANCH_LIMIT) " more branches are not shown" }
        }
    }
}

fn listed(wal: &Continuity, now: DateTime<Utc>) -> Markup {
    let segments = human::count(wal.segments, "segment");
    html! {
        (segments) ", " (human::bytes(wal.bytes)) ", "
        @if let Some(bytes @ 1..) = wal.unneeded_bytes { (human::bytes(bytes)) " that no backup needs, " }
        @match &wal.path {
            Some(path) if path.gaps == 0 => { "no gap" }
            Some(path) => {
                span.reason.warning { (human::count(path.gaps, "gap")) }
            }
            None => { "continuity unknown" }
        }
        span.soft { " " (pieces::age(wal.listed_at, now)) }
    }
}

fn timelines(min: &str, max: &str) -> Option<String> {
    let (first, last) = (WalSegment::parse(min)?.timeline, WalSegment::parse(max)?.timeline);
    Some(if first == last { format!("timeline {first}") } else { format!("timelines {first} to {last}") })
}

fn last_attempt(attempt: &BackupAttempt, now: DateTime<Utc>) -> Markup {
    html! {
        @if attempt.failure.is_some() { span.reason.warning { "failed" } } @else { "completed" }
        @if let Some(ended) = attempt.ended { " " (pieces::age(ended, now)) }
        @else if let Some(began) = attempt.began { ", started " (pieces::age(began, now)) }
    }
}

fn retention(repo: &Repo, now: DateTime<Utc>) -> Markup {
    let Some(settings) = &repo.settings else { return html! { span.soft { "configuration not available" } } };
    let verdicts = retention::checks(repo, now);
    html! {
        @match settings.retention_full {
            Some(Retention::Count(full)) => { (full) " full" }
            Some(Retention::Days(days)) => { "full for " (days) " d" }
            None => { "full: unlimited" }
        }
        @if let Some(diff) = settings.retention_diff { ", " (diff) " diff" }
        @if !verdicts.is_empty() {
            @if verdicts.iter().all(|verdict| verdict.satisfied) { ": satisfied" }
            @else { ": " span.reason.warning { "not satisfied" } }
        }
    }
}

fn next_expiry(expiry: &Expiry) -> Markup {
    let lines = expiry::lines(expiry);
    html! {
        @if lines.is_empty() { "removes no backup" }
        @for (number, line) in lines.iter().enumerate() {
            @if number > 0 { br; }
            (line)
        }
    }
}

fn checksums(repo: &Repo) -> String {
    let broken = repo.backups.iter().filter(|backup| backup.error == Some(true)).count();
    match repo.backups.last().map(|newest| newest.error) {
        None | Some(None) if broken == 0 => "unknown".to_owned(),
        _ if broken == 0 => "no errors".to_owned(),
        _ => format!("errors in {}", human::count(broken, "backup")),
    }
}

fn encryption(repo: &Repo) -> String {
    match repo.cipher.as_deref() {
        None => "unknown".to_owned(),
        Some("none") => "none".to_owned(),
        Some(cipher) => human::line(cipher, 40),
    }
}

fn message(repo: &Repo) -> Markup {
    html! {
        details.more {
            summary { "pgBackRest output" }
            pre { (human::block(&repo.status_message, MESSAGE_LINES, MESSAGE_WIDTH)) }
        }
    }
}

fn newest(repo: &Repo, now: DateTime<Utc>) -> Markup {
    html! {
        details.more {
            summary { "Newest backups" }
            ul.labels {
                @for backup in repo.backups.iter().rev().take(LIST_LIMIT) {
                    li { span.mono { (human::line(&backup.label, 60)) } " " span.soft { (pieces::age(backup.stop, now)) }
                        @if let Some(bytes) = wal_bytes(repo, backup) { span.soft { ", " (human::bytes(bytes)) " of WAL" } }
                        @if backup.error == Some(true) { " " span.reason.warning { "page checksum errors" } } }
                }
            }
        }
    }
}

/// Bytes of WAL from the start of the backup to that of the next one.
fn wal_bytes(repo: &Repo, backup: &Backup) -> Option<u64> {
    repo.wal.as_deref()?.backup_bytes.get(&backup.label).copied()
}
