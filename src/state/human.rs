//! Formats times, sizes, states and free text for the status page and the terminal. Pure: no clock.

use std::fmt::{Display, Write as _};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::text;

use super::archive::BranchState;
use super::snapshot::{CredentialKind, FailureReason, Progress, RepoState, ScopeHealth};

/// Times up to this many seconds in the future are due to clock differences.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;
/// Maximum characters of a failure message.
const MESSAGE_LIMIT: usize = 400;

/// How long ago `then` was, such as `3 h 12 min ago`.
#[must_use]
pub fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - then).num_seconds();
    if seconds < -CLOCK_TOLERANCE_SECONDS {
        return format!("{} ahead of this clock", duration(then - now));
    }
    if seconds <= 0 {
        return "just now".to_owned();
    }
    format!("{} ago", duration(now - then))
}

/// A duration in at most two units, truncated: `42 s`, `5 min 12 s`, `3 h 12 min`, `9 d 4 h`, `45 d`.
#[must_use]
pub fn duration(length: TimeDelta) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = length.num_seconds().max(0);
    let (large, large_unit, small, small_unit) = match seconds {
        ..MINUTE => return format!("{seconds} s"),
        MINUTE..HOUR => (seconds / MINUTE, "min", seconds % MINUTE, "s"),
        HOUR..DAY => (seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        DAY.. => (seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    };
    let is_coarse_enough = large >= 10 && large_unit != "h";
    if small == 0 || is_coarse_enough {
        return format!("{large} {large_unit}");
    }
    format!("{large} {large_unit} {small} {small_unit}")
}

/// A time to the second, such as `2026-11-22 09:38:17 UTC`.
#[must_use]
pub fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time for machines, such as `2026-11-22T09:38:17Z`.
#[must_use]
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Shown instead of the stanzas of repositories that cannot be listed.
pub const UNLISTED_TITLE: &str = "repositories that cannot be listed";

/// A value in words, or that it is unknown.
#[must_use]
pub fn known<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "unknown".to_owned(), words)
}

/// A size in units of 1024, such as `26.3 MiB`.
#[must_use]
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut scaled = size as f64;
    let mut unit = "B";
    for larger in UNITS {
        // 1023.95 would be printed as 1024.0 of the smaller unit.
        if scaled < 1023.95 {
            break;
        }
        scaled /= 1024.0;
        unit = larger;
    }
    if scaled < 99.95 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}

/// The progress of a backup, such as `16 % of 145 MiB`.
#[must_use]
pub fn progress(progress: Progress) -> String {
    format!("{} % of {}", percent(progress), bytes(progress.total))
}

/// Percentage as an integer, 0 to 100; an empty backup is complete.
#[must_use]
pub fn percent(progress: Progress) -> u64 {
    let done = u128::from(progress.complete) * 100;
    let percent = done.checked_div(u128::from(progress.total)).unwrap_or(100);
    u64::try_from(percent.min(100)).unwrap_or(100)
}

/// `1 stanza`, `2 stanzas`.
#[must_use]
pub fn count<N: Copy + Display + From<u8> + PartialEq>(number: N, singular: &str) -> String {
    if number == N::from(1) { format!("1 {singular}") } else { format!("{number} {singular}s") }
}

/// The state of a repository in pgBackRest's words.
#[must_use]
pub const fn state_words(state: RepoState) -> &'static str {
    match state {
        RepoState::Ok => "ok",
        RepoState::MissingStanzaPath => "missing stanza path",
        RepoState::NoValidBackups => "no valid backups",
        RepoState::MissingStanzaData => "missing stanza data",
        RepoState::BackupNotFound => "backup not found",
        RepoState::Other => "error",
        RepoState::Timeout => "no response",
    }
}

/// The state of a branch of history in words.
#[must_use]
pub const fn branch_words(state: BranchState) -> &'static str {
    match state {
        BranchState::Live => "live",
        BranchState::Abandoned => "abandoned",
        BranchState::Foreign => "archived by another server",
    }
}

/// The display name of a repository; before 2.32, the only repository has no number.
#[must_use]
pub fn repo_name(key: u32) -> String {
    if key == 0 { "repo".to_owned() } else { format!("repo{key}") }
}

/// The name of a credential, with its article.
#[must_use]
pub const fn credential_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::TlsClient => "the TLS client certificate",
        CredentialKind::TlsCa => "the CA certificate",
        CredentialKind::AzureSas => "the Azure shared access signature",
    }
}

/// Why a scope does not answer, with the exit code and the remedy if available.
#[must_use]
pub fn failure(scope: &ScopeHealth) -> String {
    let Some(failure) = &scope.failure else { return "no reason was recorded".to_owned() };
    let words = match failure.reason {
        FailureReason::Timeout => "no response within the timeout",
        FailureReason::Exit => "pgBackRest failed",
        FailureReason::Parse => "the output is unreadable",
        FailureReason::Spawn => "pgBackRest could not be started",
        FailureReason::RootRefused => "pgBackRest refuses to run as root",
        FailureReason::Killed => "pgBackRest was killed",
        FailureReason::OutputTooLarge => "the output is too large",
        FailureReason::NoMemory => "no memory was left for the answer",
        FailureReason::NoPod => "no pod to query",
        FailureReason::Lost => "the connection was lost",
    };
    let code = failure.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
    let message = line(&failure.message, MESSAGE_LIMIT);
    if message.is_empty() { format!("{words}{code}") } else { format!("{words}{code}: {message}") }
}

/// The first line of free text, at most `limit` characters, without control characters and characters that reorder
/// text.
#[must_use]
pub fn line(text: &str, limit: usize) -> String {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    clip(first, limit)
}

/// At most `lines` lines of free text with at most `limit` characters each, cleaned like [`line()`].
#[must_use]
pub fn block(text: &str, lines: usize, limit: usize) -> String {
    let mut shown = String::new();
    let mut rest = text.lines();
    for line in rest.by_ref().take(lines) {
        shown.push_str(&clip(line, limit));
        shown.push('\n');
    }
    let left = rest.count();
    if left > 0 {
        // Writing to a String cannot fail.
        let _ = write!(shown, "… {}", count(left, "more line"));
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn clip(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).map(printable).collect();
    if text.chars().nth(limit).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// What is not printable becomes the replacement character.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        other if text::is_printable(other) => other,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> String {
        duration(TimeDelta::seconds(seconds))
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let cases = [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (312, "5 min 12 s"),
            (612, "10 min"),
            (3_600, "1 h"),
            (11_520, "3 h 12 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d"),
            (9 * 86_400 + 4 * 3_600 + 59, "9 d 4 h"),
            (45 * 86_400 + 4 * 3_600, "45 d"),
        ];
        for (given, expected) in cases {
            assert_eq!(seconds(given), expected);
        }
    }

    #[test]
    fn an_age_in_the_future_is_named() {
        let now = DateTime::from_timestamp(1_795_340_302, 0).unwrap();
        assert_eq!(age(now, now), "just now");
        assert_eq!(age(now + TimeDelta::seconds(60), now), "just now");
        assert_eq!(age(now + TimeDelta::seconds(7_200), now), "2 h ahead of this clock");
        assert_eq!(age(now - TimeDelta::seconds(61), now), "1 min 1 s ago");
    }

    #[test]
    fn sizes_change_unit_where_the_printed_number_would_reach_1024() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (27_580_232, "26.3 MiB"),
            (107_374_182_400, "100 GiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (given, expected) in cases {
            assert_eq!(bytes(given), expected);
        }
    }

    #[test]
    fn progress_never_passes_a_hundred() {
        assert_eq!(progress(Progress { complete: 24_576_000, total: 152_051_720 }), "16 % of 145 MiB");
        assert_eq!(percent(Progress { complete: 9, total: 3 }), 100);
        assert_eq!(percent(Progress { complete: 0, total: 0 }), 100);
        assert_eq!(percent(Progress { complete: u64::MAX, total: u64::MAX }), 100);
    }

    #[test]
    fn free_text_loses_what_steers_a_terminal_or_turns_text_around() {
        assert_eq!(line("\n  a\u{1b}[31mb\u{202e}c\r\nd", 80), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("abcd", 4), "abcd");
        assert_eq!(line("", 4), "");
        assert_eq!(block("a\nb\nc\nd", 2, 9), "a\nb\n… 2 more lines");
        assert_eq!(block("a\tb\n", 2, 9), "a b");
    }
}
