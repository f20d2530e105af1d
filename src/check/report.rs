//! What is wrong, what was measured, and what could not be checked.

use std::collections::BTreeMap;

use serde::Serialize;

use super::facts::Place;
use super::quantity::{Quantity, Thresholds};

/// The states of a service, worst last. That something is critical matters more than that something else is unknown; that
/// something is unknown matters more than a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    Ok,
    Warning,
    Unknown,
    Critical,
}

/// Something that is not as it should be, or not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Never [`Severity::Ok`].
    pub severity: Severity,
    /// The alert that fires in this situation, whose runbook says what to do.
    pub alert: Option<&'static str>,
    pub place: Place,
    /// The rest of a sentence that starts with the place, on one line.
    pub text: String,
    /// The user does not want to be told.
    pub is_ignored: bool,
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    pub quantity: &'static Quantity,
    pub place: Place,
    pub value: f64,
    /// What was applied.
    pub thresholds: Thresholds,
    /// What sets it apart from others of the quantity at the place.
    pub detail: String,
}

/// The outcome of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Worst first, once the report is complete.
    pub problems: Vec<Problem>,
    pub measures: Vec<Measure>,
    /// What could not be checked and does not have to be known, and at how many places.
    pub unchecked: BTreeMap<&'static str, usize>,
    /// The good news, one sentence for each service.
    pub summaries: Vec<String>,
}

impl Severity {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The word in the first line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Unknown => "UNKNOWN",
            Self::Critical => "CRITICAL",
        }
    }
}

impl Report {
    /// Nothing is known.
    #[must_use]
    pub fn unknown(text: String) -> Self {
        let problem = Problem {
            severity: Severity::Unknown,
            alert: None,
            place: Place::default(),
            text,
            is_ignored: false,
        };
        Self { problems: vec![problem], ..Self::default() }
    }

    /// The worst that is not ignored.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.told().map(|problem| problem.severity).max().unwrap_or(Severity::Ok)
    }

    /// The problems that count.
    pub fn told(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| !problem.is_ignored)
    }

    /// Adds a problem, once.
    pub(super) fn add(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Leaves out problems by the name of their alert, and sorts.
    pub(super) fn complete(&mut self, ignored: &[String]) {
        for problem in &mut self.problems {
            problem.is_ignored =
                problem.alert.is_some_and(|alert| ignored.iter().any(|ignored| ignored == alert));
        }
        self.problems.sort_by(|a, b| {
            let key = |problem: &Problem| (problem.is_ignored, std::cmp::Reverse(problem.severity));
            key(a).cmp(&key(b)).then_with(|| a.place.cmp(&b.place))
        });
    }
}

impl Problem {
    /// The whole sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let place = self.place.to_string();
        if place.is_empty() { self.text.clone() } else { format!("{place}: {}", self.text) }
    }
}
