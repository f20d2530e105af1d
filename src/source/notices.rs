//! pgBackRest's warnings in our log: each once when it appears, not once per call. They carry no time
//! (`pgbackrest::command`), so that the same one is the same line.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Lines remembered of one run.
const MAX_LINES: usize = 500;

/// What was said in this run and the one before.
#[derive(Debug, Default)]
pub(super) struct Notices {
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    now: BTreeSet<String>,
    before: BTreeSet<String>,
}

impl Notices {
    /// What is not said again from here on is forgotten, and news when it comes back.
    pub(super) fn begin_run(&self) {
        let mut runs = self.runs.lock();
        runs.before = std::mem::take(&mut runs.now);
    }

    /// Logs the line unless it was logged in this run or the one before.
    pub(super) fn note(&self, what: &str, line: &str) {
        if self.is_news(line) {
            tracing::warn!(call = what, "pgBackRest reported: {}", line.trim());
        }
    }

    fn is_news(&self, line: &str) -> bool {
        let mut runs = self.runs.lock();
        let line = line.trim();
        if line.is_empty() || runs.now.len() >= MAX_LINES || runs.now.contains(line) {
            return false;
        }
        runs.now.insert(line.to_owned());
        !runs.before.contains(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_news_until_it_has_been_said_and_after_it_was_gone() {
        let notices = Notices::default();
        let said = "P00   WARN: environment contains invalid option 'x'";
        let mut news = Vec::new();
        for run in 0..5 {
            notices.begin_run();
            if run != 3 {
                news.push((notices.is_news(said), notices.is_news(&format!(" {said} "))));
            }
        }
        assert_eq!(news, [(true, false), (false, false), (false, false), (true, false)]);
        assert!(!notices.is_news("  "));
    }

    #[test]
    fn memory_is_bounded() {
        let notices = Notices::default();
        for number in 0..2 * MAX_LINES {
            notices.is_news(&format!("line {number}"));
        }
        assert_eq!(notices.runs.lock().now.len(), MAX_LINES);
    }
}
