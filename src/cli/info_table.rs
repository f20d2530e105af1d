//! The snapshot as text for a terminal: one summary line per stanza, then a table of its repositories.
//!
//! Pure: the caller passes the width of the terminal and whether to use colours.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use crate::pgbackrest::label::BackupType;
use crate::state::answer;
use crate::state::archive::Branch;
use crate::state::expiry;
use crate::state::health::{self, Assessment, Finding, Health, Judged};
use crate::state::human;
use crate::state::recovery;
use crate::state::restore_tests;
use crate::state::snapshot::{Activity, ByteCount, Repo, ScopeKind, Snapshot, Stanza};
use crate::state::verifications;

/// Width of the titles, and the minimum width of a repository's column.
const TITLE_WIDTH: usize = 20;
const REPO_WIDTH: usize = 27;
/// Maximum number of branches of history shown per repository.
const BRANCH_LIMIT: usize = 6;
/// Maximum length of what is wrong with pgBackRest's configuration, or with the records of restore tests.
const PROBLEM_LIMIT: usize = 400;
/// Maximum length of a stanza's name.
const NAME_LIMIT: usize = 60;

/// Properties of the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns.
    pub width: u16,
    /// Whether to use colours; the caller considers the terminal and `NO_COLOR`.
    pub has_colours: bool,
}

/// The whole snapshot, worst stanza first, ending in a line break.
#[must_use]
pub fn render(snapshot: &Snapshot, now: DateTime<Utc>, terminal: Terminal) -> String {
    // This command collects and prints immediately, so no fact is old.
    let all = health::of_snapshot(snapshot, now, None);
    let mut lines = failed_calls(snapshot, terminal);
    if all.is_empty() && lines.is_empty() {
        lines.push(
            "no stanzas found: run stanza-create, or check the filters and which configuration is used"
                .to_owned(),
        );
    }
    let collection = &snapshot.collection;
    let configuration = collection.configuration.as_ref().and_then(|health| health.problem.as_deref());
    let tests = collection.restore_tests.as_ref().and_then(|health| health.problem.as_deref());
    let verifications = collection.verifications.as_ref().and_then(|health| health.problem.as_deref());
    for (what, problem) in [
        ("pgBackRest's configuration cannot be read", configuration),
        ("records of restore tests cannot be used", tests),
        ("records of verifications cannot be used", verifications),
    ] {
        let Some(problem) = problem else { continue };
        let text = format!("{what}: {}", human::line(problem, PROBLEM_LIMIT));
        lines.push(sentence(&Finding { health: Health::Warning, repo_key: None, text }, terminal));
    }
    lines.extend(all.iter().map(|judged| verdict(judged, now, terminal)));
    for judged in &all {
        lines.push(String::new());
        lines.extend(section(judged, all.len() > 1, now, terminal));
    }
    lines.join("\n") + "\n"
}

/// `demo: ok, restorable from … to at least … (repo1, not verified), newest backup 3 h ago`; `at most` if it is proven.
fn verdict(judged: &Judged<'_>, now: DateTime<Utc>, terminal: Terminal) -> String {
    let health = judged.assessment.health;
    let mut text = format!(
        "{} {}: {}",
        symbol(health),
        judged.title(NAME_LIMIT),
        painted(health, health.as_str(), terminal)
    );
    if let Some(stanza) = judged.stanza {
        // Writing to a String cannot fail.
        let end = judged.archiver.and_then(health::window_end);
        let _ = write!(text, ", {}", answer_words(stanza, end, now));
    }
    text
}

fn answer_words(stanza: &Stanza, end: Option<&str>, now: DateTime<Utc>) -> String {
    let Some(best) = answer::restorable(stanza) else { return "nothing can be restored".to_owned() };
    let newest = answer::newest_backup(stanza)
        .map_or_else(String::new, |newest| format!(", newest backup {}", human::age(newest.stop, now)));
    let window = best.window;
    let span = if window.length().is_zero() {
        format!("restorable to {} {}", window.bound(), human::instant(window.latest))
    } else {
        format!(
            "restorable from {} to {} {}",
            human::instant(window.start()),
            window.bound(),
            human::instant(window.latest)
        )
    };
    let down = if best.is_up { "" } else { ", unreadable now" };
    let proof = if window.verified { ", proven" } else { ", not verified" };
    let end = end.map_or_else(String::new, |end| format!(", {end}"));
    format!("{span} ({}{down}{proof}{end}){newest}", human::repo_name(best.repo_key))
}

fn section(judged: &Judged<'_>, is_named: bool, now: DateTime<Utc>, terminal: Terminal) -> Vec<String> {
    let mut lines = Vec::new();
    if is_named {
        lines.push(bold(&judged.title(NAME_LIMIT), terminal));
    }
    let of_stanza = judged.assessment.findings.iter().filter(|finding| finding.repo_key.is_none());
    lines.extend(of_stanza.map(|finding| sentence(finding, terminal)));
    if let Some(archiver) = judged.archiver {
        lines.push(format!("  archiver: {}", health::archiver_line(archiver, now)));
    }
    let Some(stanza) = judged.stanza else { return lines };
    lines.extend(running("backup or expire", &stanza.backup_lock));
    lines.extend(running("restore", &stanza.restore_lock));
    if !stanza.repos.is_empty() {
        lines.push(table(stanza, now, terminal));
    }
    lines
}

fn failed_calls(snapshot: &Snapshot, terminal: Terminal) -> Vec<String> {
    snapshot
        .collection
        .scopes
        .iter()
        .filter(|(_, scope)| scope.kind == ScopeKind::Call && !scope.up)
        .map(|(name, scope)| {
            let text = format!("{}: {}", human::line(name, NAME_LIMIT), human::failure(scope));
            sentence(&Finding { health: Health::Failed, repo_key: None, text }, terminal)
        })
        .collect()
}

fn running(what: &str, activity: &Activity) -> Option<String> {
    let progress =
        activity.progress.map_or_else(String::new, |progress| format!(": {}", human::progress(progress)));
    (activity.held == Some(true)).then(|| format!("  {what} is running{progress}"))
}

/// One line per fact and one column per repository; transposed if the columns would get too narrow.
fn table(stanza: &Stanza, now: DateTime<Utc>, terminal: Terminal) -> String {
    let mut columns = vec![titles()];
    columns.extend(stanza.repos.iter().map(|repo| facts(repo, now, terminal)));
    let needed = TITLE_WIDTH + REPO_WIDTH * stanza.repos.len();
    let has_room = stanza.repos.len() < 2 || needed <= usize::from(terminal.width);
    let rows = if has_room { transposed(columns) } else { columns };
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED.with_rounded_corners())
        .force_no_tty()
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(terminal.width.max(40));
    if terminal.has_colours {
        table.enforce_styling();
    }
    let mut rows = rows.into_iter();
    if let Some(header) = rows.next() {
        table.set_header(header);
    }
    table.add_rows(rows);
    table.to_string()
}

fn transposed(columns: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for column in columns {
        rows.resize_with(column.len().max(rows.len()), Vec::new);
        for (row, cell) in rows.iter_mut().zip(column) {
            row.push(cell);
        }
    }
    rows
}

fn titles() -> Vec<Cell> {
    [
        "repo",
        "state",
        "last full",
        "last diff",
        "last incr",
        "last attempt",
        "WAL",
        "recovery window",
        "notes",
    ]
    .map(|title| Cell::new(title).add_attribute(Attribute::Bold))
    .to_vec()
}

fn facts(repo: &Repo, now: DateTime<Utc>, terminal: Terminal) -> Vec<Cell> {
    let assessment = health::of_repo(repo, now, None);
    let health = assessment.health;
    let mut state = Cell::new(format!("{} {}", symbol(health), health::word_of_repo(repo, health)));
    if terminal.has_colours {
        state = state.fg(colour(health));
    }
    let mut cells = vec![Cell::new(human::repo_name(repo.key)).add_attribute(Attribute::Bold), state];
    cells.extend(BackupType::ALL.map(|backup_type| Cell::new(newest(repo, backup_type, now))));
    cells.push(Cell::new(last_attempt(repo, now)));
    cells.push(Cell::new(wal(repo)));
    cells.push(Cell::new(window(repo)));
    cells.push(Cell::new(notes(repo, &assessment, now)));
    cells
}

fn newest(repo: &Repo, backup_type: BackupType, now: DateTime<Utc>) -> String {
    let Some(backup) = repo.newest(backup_type) else { return "none".to_owned() };
    let size = human::known(backup.size.map(ByteCount::get), human::bytes);
    let stored = human::known(backup.repo_delta.map(ByteCount::get), human::bytes);
    format!("{}\n{size}, {stored} stored", human::age(backup.stop, now))
}

fn last_attempt(repo: &Repo, now: DateTime<Utc>) -> String {
    let Some(attempt) = &repo.last_attempt else { return "unknown".to_owned() };
    let outcome = if attempt.failure.is_some() { "failed" } else { "completed" };
    let when = |at| human::age(at, now);
    let time = attempt.ended.map(when).or_else(|| Some(format!("started {}", when(attempt.began?))));
    time.map_or_else(|| outcome.to_owned(), |time| format!("{outcome}\n{time}"))
}

fn wal(repo: &Repo) -> String {
    let current = repo.current_database_id();
    let archive = repo.archives.iter().find(|archive| Some(archive.database_id) == current);
    match archive.map(|archive| (&archive.min, &archive.max)) {
        Some((Some(min), Some(max))) => format!("{}\n{}", human::line(min, 40), human::line(max, 40)),
        _ => "none".to_owned(),
    }
}

fn window(repo: &Repo) -> String {
    match recovery::window(repo) {
        Some(window) => {
            let lsn = window.latest_lsn.map_or_else(String::new, |lsn| format!("\nup to LSN {lsn}"));
            format!("{}\n{}{lsn}", human::instant(window.start()), human::instant(window.latest))
        }
        None => "none".to_owned(),
    }
}

fn notes(repo: &Repo, assessment: &Assessment, now: DateTime<Utc>) -> String {
    let mut notes: Vec<String> = assessment.findings.iter().map(|finding| finding.text.clone()).collect();
    if let Some(wal) = repo.wal.as_deref().filter(|wal| wal.branches.len() > 1) {
        notes.extend(wal.branches.iter().take(BRANCH_LIMIT).map(branch));
    }
    if let Some(expiry) = repo.expiry.as_deref() {
        notes.extend(expiry::lines(expiry).into_iter().map(|line| format!("expiry, {line}")));
    }
    if let Some(wal) = repo.wal.as_deref() {
        let unneeded = wal.unneeded_bytes.filter(|bytes| *bytes > 0);
        let unneeded = unneeded.map(|bytes| format!(", {} that no backup needs", human::bytes(bytes)));
        notes.push(format!("WAL stored: {}{}", human::bytes(wal.bytes), unneeded.unwrap_or_default()));
    }
    if let Some(tests) = repo.restore_tests.as_deref() {
        notes.extend(restore_tests::lines(tests, now));
    }
    if let Some(history) = repo.verifications.as_deref() {
        notes.extend(verifications::lines(history, now));
    }
    if let Some(unfinished) = expiry::leftovers_words(repo) {
        notes.push(format!("unfinished backups: {unfinished}"));
    }
    if let Some(progress) = repo.progress {
        notes.push(format!("backup is running: {}", human::progress(progress)));
    }
    if let Some(cipher) = repo.cipher.as_deref().filter(|cipher| *cipher != "none") {
        notes.push(format!("encrypted ({})", human::line(cipher, 40)));
    }
    if let Some(storage) = repo.settings.as_ref().and_then(|settings| settings.storage.as_deref()) {
        notes.push(format!("storage: {}", human::line(storage, 40)));
    }
    notes.join("\n")
}

/// `timeline 2 (abandoned): 2026-11-28 10:00:00 UTC to at most 2026-11-28 11:00:00 UTC, up to LSN 0/5000000`
fn branch(branch: &Branch) -> String {
    let span = match (branch.continuous_start, branch.end) {
        (Some(start), Some(end)) => {
            let lsn = end.lsn.map_or_else(String::new, |lsn| format!(", up to LSN {lsn}"));
            format!("{} to at most {}{lsn}", human::instant(start), human::instant(end.at))
        }
        _ => "no backup leads to it".to_owned(),
    };
    format!("timeline {} ({}): {span}", branch.timeline, human::branch_words(branch.state))
}

/// One line per problem.
pub(super) fn sentence(finding: &Finding, terminal: Terminal) -> String {
    format!("{} {}", painted(finding.health, symbol(finding.health), terminal), finding.text)
}

const fn symbol(health: Health) -> &'static str {
    match health {
        Health::Ok => "✓",
        Health::Warning => "▲",
        Health::Failed => "✕",
    }
}

const fn colour(health: Health) -> Color {
    match health {
        Health::Ok => Color::DarkGreen,
        Health::Warning => Color::DarkYellow,
        Health::Failed => Color::DarkRed,
    }
}

/// Uses ECMA-48 sequences that every terminal supports: bold and one of the eight colours.
fn painted(health: Health, text: &str, terminal: Terminal) -> String {
    let number = match health {
        Health::Ok => 32,
        Health::Warning => 33,
        Health::Failed => 31,
    };
    if terminal.has_colours { format!("\u{1b}[1;{number}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Bold, if the terminal supports it.
pub(super) fn bold(text: &str, terminal: Terminal) -> String {
    if terminal.has_colours { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}
