//! One line of the log, such as `2026-11-29 14:00:00.123 P00   INFO: backup command begin 2.45: --repo=1 …`.
//!
//! With `log-timestamp=n` there is no time. Since 2.58 (pgBackRest commit e13c46290), a process that receives a signal writes only the
//! line `terminated on signal SIGTERM`; before, `backup command end: terminated on signal [SIGTERM]`.

use chrono::{NaiveDateTime, TimeDelta};

use crate::pgbackrest::label::BackupType;

/// `2026-11-29 14:00:00.123`.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";
const TIME_LENGTH: usize = 23;
/// The first version with a lock for each repository.
const LOCKS_REPOS: (u32, u32) = (2, 53);
const BEGAN: &str = "backup command begin ";
const MADE: &str = "new backup label = ";
const ENDED: &str = "backup command end: ";
const TERMINATED: &str = "terminated on signal ";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The local time.
    pub(super) at: Option<NaiveDateTime>,
    pub(super) event: Event<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    Began {
        repo: u32,
        backup_type: BackupType,
        locks_stanza: bool,
    },
    Error {
        code: i32,
        message: &'a str,
    },
    Made {
        label: &'a str,
    },
    Completed {
        after: Option<TimeDelta>,
    },
    Aborted {
        code: i32,
    },
    Terminated,
    /// A continuation of the previous line.
    Continued,
    Other,
}

/// The local time at the start of a line.
#[must_use]
pub fn time_of(line: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(line.get(..TIME_LENGTH)?, TIME_FORMAT).ok()
}

pub(super) fn parse(line: &str) -> Line<'_> {
    if line.starts_with(TERMINATED) {
        return Line { at: None, event: Event::Terminated };
    }
    // `-------------------PROCESS START-------------------`
    if line.starts_with("----") {
        return Line { at: None, event: Event::Other };
    }
    let at = time_of(line);
    let rest = if at.is_some() { line.get(TIME_LENGTH + 1..).unwrap_or_default() } else { line };
    let event = match leveled(rest) {
        Some((level, text)) => event(level, text),
        None if at.is_some() => Event::Other,
        None => Event::Continued,
    };
    Line { at, event }
}

/// `P00   INFO: text`: the level and the text.
fn leveled(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('P')?.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let (level, text) = rest.strip_prefix(' ')?.trim_start().split_once(": ")?;
    level.bytes().all(|byte| byte.is_ascii_uppercase()).then_some((level, text))
}

fn event<'a>(level: &str, text: &'a str) -> Event<'a> {
    let found = match level {
        "ERROR" | "ASSERT" => error(text),
        "INFO" => began(text).or_else(|| ended(text)).or_else(|| made(text)),
        _ => None,
    };
    found.unwrap_or(Event::Other)
}

/// `[056]: unable to find primary cluster - cannot proceed`.
fn error(text: &str) -> Option<Event<'_>> {
    let (code, message) = text.strip_prefix('[')?.split_once("]: ")?;
    Some(Event::Error { code: code.parse().ok()?, message })
}

fn began<'a>(text: &str) -> Option<Event<'a>> {
    let (version, options) = text.strip_prefix(BEGAN)?.split_once(':')?;
    let (mut repo, mut configured, mut backup_type) = (None, None, BackupType::Incr);
    for option in words(options).filter_map(|word| word.strip_prefix("--")) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "repo" => repo = value.parse::<u32>().ok(),
            "type" => backup_type = BackupType::of_name(value)?,
            _ => {
                // The first repository is the default.
                let number = name.strip_prefix("repo").and_then(|rest| rest.split_once('-'));
                let number = number.and_then(|(number, _)| number.parse::<u32>().ok());
                configured = configured.into_iter().chain(number).min();
            }
        }
    }
    let locks_stanza = numbers(version).is_none_or(|version| version < LOCKS_REPOS);
    Some(Event::Began { repo: repo.or(configured).unwrap_or(1), backup_type, locks_stanza })
}

/// The options; a value with spaces is in quotes (`cmdOption` in `src/command/command.c`).
fn words(options: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    options.split(' ').filter(move |word| {
        let is_inside = is_quoted;
        if is_quoted {
            is_quoted = !word.ends_with('"');
        } else if let Some((_, value)) = word.split_once("=\"") {
            is_quoted = value.is_empty() || !value.ends_with('"');
        }
        !is_inside
    })
}

/// The first two numbers of `2.59.0-bunker.1`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn made(text: &str) -> Option<Event<'_>> {
    Some(Event::Made { label: text.strip_prefix(MADE)?.trim_end() })
}

fn ended<'a>(text: &str) -> Option<Event<'a>> {
    let how = text.strip_prefix(ENDED)?;
    if let Some(rest) = how.strip_prefix("completed successfully") {
        let milliseconds = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix("ms)"));
        let after = milliseconds.and_then(|number| number.parse().ok()).and_then(TimeDelta::try_milliseconds);
        return Some(Event::Completed { after });
    }
    if how.starts_with(TERMINATED) {
        return Some(Event::Terminated);
    }
    let code = how.strip_prefix("aborted with exception [")?.strip_suffix(']')?;
    Some(Event::Aborted { code: code.parse().ok()? })
}
