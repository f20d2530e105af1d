//! The log of `archive-get` as a `restore_command` of PostgreSQL, and the progress of `restore`.

use std::borrow::Cow;

use super::exit_code;
use super::redact::Said;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The file is in the archive.
    Found { file: &'a str },
    /// The file is not in the archive.
    Missing { file: &'a str },
}

/// Reads a line: `P00   INFO: found 000000010000000000000002 in the repo1: 15-1 archive`.
#[must_use]
pub fn event(line: &str) -> Option<Event<'_>> {
    let message = message(line, "INFO")?;
    let of_file = |start: &str, end: &str| {
        let (file, rest) = message.strip_prefix(start)?.split_once(' ')?;
        rest.starts_with(end).then_some(file)
    };
    of_file("found ", "in the ")
        .map(|file| Event::Found { file })
        .or_else(|| of_file("unable to find ", "in the archive").map(|file| Event::Missing { file }))
}

/// The code of `P00  ERROR: [042]: …`.
#[must_use]
pub fn error_code(line: &str) -> Option<i32> {
    let (code, _) = message(line, "ERROR")?.strip_prefix('[')?.split_once("]: ")?;
    code.parse().ok().filter(|code| exit_code::name(*code).is_some())
}

/// Whether a line begins a message, and does not continue one.
#[must_use]
pub fn is_beginning(line: &str) -> bool {
    ["ERROR", "WARN", "INFO", "DETAIL", "ASSERT"].iter().any(|level| message(line, level).is_some())
}

/// The percentage in a line of `restore` at log level detail: `restore file … (8KB, 37.43%) checksum …`.
#[must_use]
pub fn restored_percent(line: &str) -> Option<f64> {
    let (_, rest) = message(line, "DETAIL")?.strip_prefix("restore ")?.rsplit_once(", ")?;
    let (number, _) = rest.split_once("%)")?;
    number.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))
}

/// The message of a line of this level, with or without the process before it.
pub(super) fn message<'a>(line: &'a str, level: &str) -> Option<&'a str> {
    let (head, message) = line.split_once(": ")?;
    let mut words = head.split_whitespace().rev();
    let is_level = words.next() == Some(level);
    let is_process = words.all(|word| word.starts_with('P') && word.len() >= 3);
    (is_level && is_process).then_some(message)
}

/// An error with the lines that continue it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorMessage {
    pub code: i32,
    lines: Vec<String>,
}

/// Finds errors in a log.
#[derive(Debug, Default)]
pub struct ErrorLog {
    /// The last one.
    pub last: Option<ErrorMessage>,
    /// Whether the next line may continue it.
    has_more: bool,
}

impl ErrorLog {
    /// Reads a line, which may begin a message of any program. Whether it begins an error of pgBackRest.
    pub fn read(&mut self, line: &str, is_beginning: bool) -> bool {
        if is_beginning {
            self.has_more = false;
            if let Some(code) = error_code(line) {
                self.last = Some(ErrorMessage::new(code, line));
                self.has_more = true;
            }
            return self.has_more;
        }
        if let Some(error) = self.last.as_mut().filter(|_| self.has_more) {
            error.push(line);
        }
        false
    }
}

/// Lines that are kept of a message.
const MOST_LINES: usize = 20;

impl ErrorMessage {
    #[must_use]
    pub fn new(code: i32, line: &str) -> Self {
        Self { code, lines: vec![line.to_owned()] }
    }

    /// Adds a line that continues it.
    pub fn push(&mut self, line: &str) {
        if self.lines.len() < MOST_LINES {
            self.lines.push(line.to_owned());
        }
    }

    /// On one line, redacted.
    #[must_use]
    pub fn one_line(&self, most: usize) -> String {
        let lines: Vec<Said<'_>> = self.lines.iter().map(|line| Said::new(Cow::Borrowed(&**line))).collect();
        let said = Said::of_lines(&lines).one_line(most);
        let message = said.split_once("ERROR: ").map_or(said.as_str(), |(_, message)| message);
        let code = message.split_once("]: ").filter(|(code, _)| code.starts_with('[') && code.len() == 4);
        code.map_or(message, |(_, message)| message).to_owned()
    }

    /// The code of the first class that it quotes, such as `[FormatError]`.
    #[must_use]
    pub fn class_in(&self) -> Option<i32> {
        self.lines.iter().find_map(|line| exit_code::class_in(line)).and_then(exit_code::code_of)
    }

    /// Whether it contains a fixed text, such as a class or an error of the system.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_a_file_is_recognised() {
        let segment = "000000010000000000000002";
        let table = [
            (
                "INFO: found 000000010000000000000002 in the repo1: 15-1 archive",
                Some(Event::Found { file: segment }),
            ),
            (
                "P00   INFO: unable to find 000000010000000000000002 in the archive",
                Some(Event::Missing { file: segment }),
            ),
            ("INFO: archive-get command end: completed successfully", None),
            ("LOG:  restored log file \"000000010000000000000002\" from archive", None),
        ];
        for (line, expected) in table {
            assert_eq!(event(line), expected, "{line}");
        }
        assert!(is_beginning("P00   WARN: x") && !is_beginning("       repo1: 15-1/x [FormatError] y"));
    }

    #[test]
    fn the_progress_of_a_restore_is_recognised() {
        let line = "P01 DETAIL: restore file /t/data/base/1/2619 (bundle 20261122-092719F/1/7, 8KB, 37.43%) checksum 1a";
        assert_eq!(restored_percent(line), Some(37.43));
        for line in ["P01 DETAIL: restore file x (8KB, 137%)", "P00   INFO: restore x (8KB, 1%)", "x, 1%)"] {
            assert_eq!(restored_percent(line), None, "{line}");
        }
    }

    #[test]
    fn an_error_has_several_lines() {
        let mut error = ErrorMessage::new(42, "P00  ERROR: [042]: unable to get 000000010000000000000002:");
        error.push("              [FormatError] zlib threw error: [-3] data error");
        assert!(error.contains("[FormatError]"));
        assert!(
            error.one_line(300).starts_with("unable to get 000000010000000000000002:"),
            "{}",
            error.one_line(300)
        );
    }
}
