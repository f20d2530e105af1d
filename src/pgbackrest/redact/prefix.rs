//! What precedes a message: time, process and level of a log line, exit code, class of the error, repository, number of tries.

use super::path::is_group;
use super::slot::is_reason;
use crate::pgbackrest::exit_code;

/// The levels of lines that are messages. Those of `DEBUG` and `TRACE` print the parameters of functions.
const LEVELS: [&str; 5] = ["ASSERT", "ERROR", "WARN", "INFO", "DETAIL"];

/// Splits a line into its redacted prefix and the message.
pub(super) fn split(line: &str) -> (String, &str) {
    let (mut prefix, mut rest) = log(line.trim());
    while let Some((part, after)) =
        code(rest).or_else(|| class(rest)).or_else(|| repo(rest)).or_else(|| tries(rest))
    {
        prefix.push_str(part);
        rest = after;
    }
    (prefix, rest)
}

/// `2026-11-22 10:08:12.123 P00   WARN: `, `WARN: `.
fn log(line: &str) -> (String, &str) {
    let nothing = (String::new(), line);
    let Some((head, _)) = line.split_once(": ") else { return nothing };
    let mut words = head.split_whitespace().rev();
    if words.next().is_none_or(|level| !LEVELS.contains(&level)) {
        return nothing;
    }
    let is_process = |word: &str| word.strip_prefix('P').is_some_and(|number| is_of(number, "0123456789"));
    let is_time = |word: &str| is_of(word, "0123456789-:.");
    let is_log = words.next().is_none_or(is_process) && words.all(is_time);
    let end = head.len() + 2;
    match line.split_at_checked(end) {
        Some((head, rest)) if is_log => (head.to_owned(), rest),
        _ => nothing,
    }
}

/// `[037]: `
fn code(text: &str) -> Option<(&str, &str)> {
    let (code, _) = text.strip_prefix('[')?.split_once("]: ")?;
    (code.len() == 3 && is_of(code, "0123456789")).then(|| text.split_at_checked("[000]: ".len()))?
}

/// `[FormatError] `, `FormatError: `
fn class(text: &str) -> Option<(&str, &str)> {
    let (name, length) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            let space = usize::from(after.starts_with(' '));
            (name, name.len() + 2 + if after.is_empty() { 0 } else { space })
        }
        None => text.split_once(": ").map(|(name, _)| (name, name.len() + 2))?,
    };
    exit_code::code_of(name)?;
    text.split_at_checked(length)
}

/// `repo1: `
fn repo(text: &str) -> Option<(&str, &str)> {
    let (name, _) = text.split_once(": ")?;
    is_group(name).then(|| text.split_at_checked(name.len() + 2))?
}

/// `on 6 retries from 109-3001ms: `, `on retry at 100ms: `
fn tries(text: &str) -> Option<(&str, &str)> {
    let (tries, _) = text.split_once("ms: ")?;
    let reported = tries.strip_prefix("on ")?;
    let is_known =
        |word: &str| matches!(word, "retry" | "retries" | "at" | "from") || is_of(word, "0123456789-");
    reported.split(' ').all(is_known).then(|| text.split_at_checked(tries.len() + "ms: ".len()))?
}

/// `message: [13] Permission denied`
pub(super) fn split_system_error(text: &str) -> Option<(&str, &str)> {
    let (message, error) = text.rsplit_once(": [")?;
    let (number, reason) = error.split_once("] ")?;
    let is_told = is_of(number.trim_start_matches('-'), "0123456789") && is_reason(reason);
    is_told.then(|| Some((message, text.get(message.len()..)?)))?
}

fn is_of(text: &str, allowed: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| allowed.contains(character))
}
