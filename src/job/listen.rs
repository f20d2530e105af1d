//! Forwards pgBackRest's log to ours, and keeps its last error.

use crate::kubernetes::exec::Heard;
use crate::pgbackrest::redact::Said;

/// Maximum characters of a logged line.
const LONGEST_LINE: usize = 1000;
/// The code of an error that only counts those before it, such as those of `expire` in each repository.
const SUMMARY: &str = "[104]: ";
/// Maximum characters of an error.
const LONGEST_ERROR: usize = 600;

/// pgBackRest's log levels, as far as they are distinguished here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// Listens to one run.
#[derive(Debug)]
pub(super) struct Listener {
    /// The level of the current message, which may continue on the next line.
    level: Level,
    error: String,
}

impl Listener {
    pub(super) fn new() -> Self {
        Self { level: Level::Info, error: String::new() }
    }

    pub(super) fn take(&mut self, heard: Heard) {
        let line = match heard {
            Heard::Line(line) => line,
            Heard::Missed(lines) => {
                tracing::warn!(lines, "Dropped pgBackRest output that came too fast to log");
                return;
            }
        };
        let (level, text) = read(&line);
        self.level = level.unwrap_or(self.level);
        let text = Said::new(text).one_line(LONGEST_LINE);
        if text.is_empty() {
            return;
        }
        match self.level {
            Level::Error => {
                self.keep(level.is_some(), &text);
                tracing::error!("pgBackRest: {text}");
            }
            Level::Warn => tracing::warn!("pgBackRest: {text}"),
            Level::Info => tracing::info!("pgBackRest: {text}"),
            Level::Debug => tracing::debug!("pgBackRest: {text}"),
        }
    }

    fn keep(&mut self, is_new: bool, text: &str) {
        if is_new {
            // `[037]: ` repeats the exit code.
            let code = text.get(..7).filter(|code| code.starts_with('[') && code.ends_with("]: "));
            if code == Some(SUMMARY) && !self.error.is_empty() {
                return;
            }
            text.strip_prefix(code.unwrap_or_default()).unwrap_or(text).clone_into(&mut self.error);
        } else if self.error.chars().count() < LONGEST_ERROR {
            self.error.push(' ');
            self.error.push_str(text);
        }
    }

    /// The last error that says what is wrong, on one line.
    pub(super) fn error(&self) -> Option<String> {
        let error: String = self.error.chars().take(LONGEST_ERROR).collect();
        Some(error).filter(|error| !error.is_empty())
    }
}

/// `2026-11-22 10:08:12.123 P00   WARN: text`, or `WARN: text`; a continued message has no level.
fn read(line: &str) -> (Option<Level>, &str) {
    let goes_on = (None, line.trim());
    let Some((head, text)) = line.split_once(": ") else { return goes_on };
    let mut words = head.split_whitespace().rev();
    let level = match words.next() {
        Some("ERROR" | "ASSERT") => Level::Error,
        Some("WARN") => Level::Warn,
        Some("INFO" | "DETAIL") => Level::Info,
        Some("DEBUG" | "TRACE") => Level::Debug,
        _ => return goes_on,
    };
    let is_process = |word: &str| word.starts_with('P') && word.len() >= 3;
    if words.next().is_none_or(is_process) { (Some(level), text.trim()) } else { goes_on }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_pgbackrest() {
        let table = [
            (
                "2026-11-23 04:37:27.770 P00   INFO: backup command begin 2.45",
                Some(Level::Info),
                "backup command begin 2.45",
            ),
            ("P00   WARN: option 'x' is not set", Some(Level::Warn), "option 'x' is not set"),
            ("ERROR: [031]: invalid option '--foo'", Some(Level::Error), "[031]: invalid option '--foo'"),
            ("2026-11-23 04:37:27.770 P01 DETAIL: backup file a", Some(Level::Info), "backup file a"),
            ("                FileMissingError: unable to open", None, "FileMissingError: unable to open"),
            ("          HINT: the INFO: is wrong", None, "HINT: the INFO: is wrong"),
            ("no level", None, "no level"),
        ];
        for (line, level, text) in table {
            assert_eq!(read(line), (level, text), "{line}");
        }
    }

    #[test]
    fn the_last_error_is_kept_whole_and_bounded() {
        let mut listener = Listener::new();
        let mut hear = |text: &str| listener.take(Heard::Line(text.to_owned()));
        hear("2026-11-23 04:37:27.772 P00  ERROR: [050]: first");
        hear(
            "2026-11-23 04:37:27.772 P00  ERROR: [055]: unable to load info file '/r/backup.info' or '/r/backup.info.copy':",
        );
        hear("                  FormatError: key/value found outside of section at line 1: hunter2");
        hear("                  hunter2");
        hear("                  HINT: is or was the repo encrypted?");
        hear("2026-11-23 04:37:27.772 P00   INFO: backup command end: aborted with exception [055]");
        hear("                  more");
        assert_eq!(
            listener.error().unwrap(),
            "unable to load info file '/…/backup.info' or '/…/backup.info.copy': FormatError: key/value found outside of section at \
             line 1: … … HINT: is or was the repo encrypted?"
        );
        for _ in 0..100 {
            listener.take(Heard::Line(format!("P00  ERROR: [055]: {}", "long ".repeat(300))));
            listener.take(Heard::Line("on and on ".repeat(100)));
        }
        assert!(listener.error().unwrap().chars().count() <= LONGEST_ERROR);
        assert_eq!(Listener::new().error(), None);
    }

    #[test]
    fn a_count_of_errors_is_not_what_is_wrong() {
        let mut listener = Listener::new();
        let summary =
            "P00  ERROR: [104]: expire command encountered 1 error(s), check the log file for details";
        listener.take(Heard::Line(summary.to_owned()));
        assert!(listener.error().unwrap().starts_with("expire command encountered"));
        for line in [
            "P00  ERROR: [026]: repo1: oldest retained backup 20260101-000000F contains invalid page checksum(s)",
            summary,
        ] {
            listener.take(Heard::Line(line.to_owned()));
        }
        assert_eq!(
            listener.error().unwrap(),
            "repo1: oldest retained backup 20260101-000000F contains invalid page checksum(s)"
        );
    }
}
