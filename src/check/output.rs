//! A report as monitoring reads it: in the format of the Monitoring Plugins, or as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::state::human;
use crate::text;

use super::facts::{Place, clean};
use super::range::Range;
use super::report::{Measure, Problem, Report, Severity};
use super::unit::Unit;

/// Bytes of the first line without performance data.
const LONGEST_STATUS: usize = 600;
/// Bytes of performance data.
const MOST_PERFORMANCE: usize = 4000;
/// Bytes of everything: Nagios cuts the output of a plugin after 8 KiB.
const LONGEST_OUTPUT: usize = 8000;
/// Characters of one problem.
const LONGEST_PROBLEM: usize = 400;
/// Characters of a name in JSON.
const LONGEST_NAME: usize = 255;
/// Entries of each list in JSON.
const MOST_ENTRIES: usize = 500;

/// In the format of the Monitoring Plugins: one line with the status, performance data after `|`, and more lines.
#[must_use]
pub fn plugin(name: &str, report: &Report) -> String {
    let mut out = text::cut(&headline(name, report), LONGEST_STATUS);
    let (performance, omitted) = performance(&report.measures);
    if !performance.is_empty() {
        out.push_str(" | ");
        out.push_str(&performance);
    }
    out.push('\n');
    let omitted =
        (omitted > 0).then(|| format!("performance data of {} omitted", human::count(omitted, "value")));
    for line in lines(report).into_iter().chain(omitted) {
        if out.len() + line.len() + 1 > LONGEST_OUTPUT {
            out.push_str("more is omitted\n");
            break;
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// `PGBACKREST BACKUPS CRITICAL: demo repo1: the newest backup is 2 d old (expected: at most 1 d 2 h); 1 more problem`
fn headline(name: &str, report: &Report) -> String {
    let name =
        if name.is_empty() { "PGBACKREST".to_owned() } else { format!("PGBACKREST {}", name.to_uppercase()) };
    let status = report.severity().as_str();
    format!("{name} {status}: {}", summary(report))
}

/// The worst problem, or the good news.
fn summary(report: &Report) -> String {
    let mut problems = report.told();
    let Some(worst) = problems.next() else { return clean(&report.summaries.join("; "), LONGEST_STATUS) };
    let more = match problems.count() {
        0 => String::new(),
        more => format!("; {}", human::count(more, "more problem")),
    };
    format!("{}{more}", said(worst))
}

fn said(problem: &Problem) -> String {
    clean(&problem.sentence(), LONGEST_PROBLEM)
}

/// Every problem with its alert, and what was not checked.
fn lines(report: &Report) -> Vec<String> {
    let problems = report.problems.iter().map(|problem| {
        let word = if problem.is_ignored { "ignored" } else { problem.severity.as_str() };
        let alert = problem.alert.map(|alert| format!(" [{alert}]")).unwrap_or_default();
        format!("{word}: {}{alert}", said(problem))
    });
    problems.chain(unchecked(report)).collect()
}

fn unchecked(report: &Report) -> impl Iterator<Item = String> {
    report.unchecked.iter().map(|(what, places)| match places {
        1 => format!("not checked: {what}"),
        places => format!("not checked at {places} places: {what}"),
    })
}

/// `'demo/repo1/age'=10800s;;93600;0`, and how many values have no room.
fn performance(measures: &[Measure]) -> (String, usize) {
    let mut out = String::new();
    for (index, measure) in measures.iter().enumerate() {
        let range = |range: Option<Range>| range.map(|range| range.to_string()).unwrap_or_default();
        let (warning, critical) = (range(measure.thresholds.warning), range(measure.thresholds.critical));
        let unit = measure.quantity.unit.symbol();
        let entry = format!("'{}'={}{unit};{warning};{critical}", label(measure), measure.value);
        if out.len() + entry.len() + 1 > MOST_PERFORMANCE {
            return (out, measures.len() - index);
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&entry);
    }
    (out, 0)
}

/// Without what ends a label, even for those who do not know how quotes are escaped.
fn label(measure: &Measure) -> String {
    let mut label = measure.place.path();
    for part in [measure.quantity.name, &measure.detail] {
        if !part.is_empty() {
            let separator = if label.is_empty() { "" } else { "/" };
            // Writing to a String cannot fail.
            let _ = write!(label, "{separator}{}", clean(part, 60));
        }
    }
    label.replace(['\'', '=', '"', ';', '`', '$', '&', '<', '>', '\\'], "_")
}

/// The same as one JSON document on one line.
pub fn json(name: &str, report: &Report) -> serde_json::Result<String> {
    let severity = report.severity();
    let document = Document {
        service: if name.is_empty() { "all" } else { name },
        state: severity.code(),
        status: severity,
        summary: text::cut(&summary(report), LONGEST_STATUS),
        problems: report.problems.iter().take(MOST_ENTRIES).map(ProblemEntry::of).collect(),
        values: report.measures.iter().take(MOST_ENTRIES).map(ValueEntry::of).collect(),
        unchecked: unchecked(report).collect(),
        omitted: report.problems.len().saturating_sub(MOST_ENTRIES)
            + report.measures.len().saturating_sub(MOST_ENTRIES),
    };
    let document = serde_json::to_string(&document)?;
    Ok(format!("{}\n", text::escaped_json(&document)))
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    service: &'a str,
    /// The exit code.
    state: u8,
    status: Severity,
    summary: String,
    problems: Vec<ProblemEntry<'a>>,
    values: Vec<ValueEntry<'a>>,
    unchecked: Vec<String>,
    /// Entries that have no room.
    omitted: usize,
}

/// A place in a document. Names are as they are, unless they are very long.
#[derive(Debug, Serialize)]
pub struct PlaceEntry {
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pg_cluster: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    stanza: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_key: Option<u32>,
}

#[derive(Debug, Serialize)]
struct ProblemEntry<'a> {
    status: Severity,
    alert: Option<&'a str>,
    #[serde(flatten)]
    place: PlaceEntry,
    text: String,
    ignored: bool,
}

#[derive(Debug, Serialize)]
struct ValueEntry<'a> {
    label: String,
    name: &'a str,
    #[serde(flatten)]
    place: PlaceEntry,
    value: f64,
    unit: Unit,
    warning: Option<String>,
    critical: Option<String>,
}

impl PlaceEntry {
    #[must_use]
    pub fn of(place: &Place) -> Self {
        let name = |name: &str| name.chars().take(LONGEST_NAME).collect();
        let Place { namespace, cluster, stanza, repo } = place;
        Self { namespace: name(namespace), pg_cluster: name(cluster), stanza: name(stanza), repo_key: *repo }
    }
}

impl<'a> ProblemEntry<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self {
            status: problem.severity,
            alert: problem.alert,
            place: PlaceEntry::of(&problem.place),
            text: said(problem),
            ignored: problem.is_ignored,
        }
    }
}

impl<'a> ValueEntry<'a> {
    fn of(measure: &'a Measure) -> Self {
        let range = |range: Option<Range>| range.map(|range| range.to_string());
        Self {
            label: label(measure),
            name: measure.quantity.name,
            place: PlaceEntry::of(&measure.place),
            value: measure.value,
            unit: measure.quantity.unit,
            warning: range(measure.thresholds.warning),
            critical: range(measure.thresholds.critical),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::check::quantity::{Quantity, Thresholds};

    const AGE: Quantity = Quantity {
        name: "age",
        unit: Unit::Seconds,
        is_everywhere: true,
        warning: None,
        critical: None,
        alert: None,
        about: "",
    };

    fn problem(severity: Severity, stanza: &str, text: &str) -> Problem {
        Problem {
            severity,
            alert: Some("PgBackRestBackupStale"),
            place: Place { repo: Some(1), ..Place::stanza(stanza) },
            text: text.to_owned(),
            is_ignored: false,
        }
    }

    fn measure(stanza: &str) -> Measure {
        let thresholds = Thresholds { warning: None, critical: Some(Range::at_most(93_600.0)) };
        let place = Place { repo: Some(1), ..Place::stanza(stanza) };
        Measure { quantity: &AGE, place, value: 10_800.0, thresholds, detail: String::new() }
    }

    #[test]
    fn the_format_is_that_of_the_guidelines() {
        let mut report = Report { summaries: vec!["2 backups".to_owned()], ..Report::default() };
        report.measures.push(measure("demo"));
        report.unchecked.insert("retention", 1);
        assert_eq!(
            plugin("backups", &report),
            "PGBACKREST BACKUPS OK: 2 backups | 'demo/repo1/age'=10800s;;93600\nnot checked: retention\n"
        );
        report.problems.push(problem(Severity::Critical, "demo", "it is old"));
        report.problems.push(problem(Severity::Warning, "demo", "it is small"));
        assert_eq!(
            plugin("", &report),
            "PGBACKREST CRITICAL: demo repo1: it is old; 1 more problem | 'demo/repo1/age'=10800s;;93600\n\
             CRITICAL: demo repo1: it is old [PgBackRestBackupStale]\n\
             WARNING: demo repo1: it is small [PgBackRestBackupStale]\n\
             not checked: retention\n"
        );
    }

    /// Names come from repositories: a user who can write there must not be able to forge a status.
    #[test]
    fn names_cannot_forge_anything() {
        let name = "a'b=c|d\ne\u{1b}[31m\u{202e};$(id)`x`\\\"";
        let mut report = Report { measures: vec![measure(name)], ..Report::default() };
        report.problems.push(problem(Severity::Unknown, name, "line\nbreak | 'x'=1"));
        let out = plugin("", &report);
        let (first, rest) = out.split_once('\n').unwrap();
        assert_eq!(first.matches('|').count(), 1, "{out}");
        assert_eq!(rest.lines().count(), 1, "{out}");
        assert!(!rest.contains('|'), "{out}");
        let (_, performance) = first.split_once(" | ").unwrap();
        assert_eq!(performance.matches('\'').count(), 2, "{performance}");
        assert_eq!(performance.matches('=').count(), 1, "{performance}");
        assert!(out.chars().all(|c| c == '\n' || text::is_printable(c)), "{out:?}");
        let document: Value = serde_json::from_str(&json("", &report).unwrap()).unwrap();
        assert_eq!((&document["state"], &document["status"]), (&3.into(), &"UNKNOWN".into()));
    }

    #[test]
    fn the_output_is_bounded() {
        let long = "ä".repeat(10_000);
        let mut report = Report::default();
        for _ in 0..10_000 {
            report.measures.push(measure(&long));
            report.problems.push(problem(Severity::Critical, &long, &long));
        }
        let out = plugin("", &report);
        assert!(out.len() < 8192, "{}", out.len());
        assert!(out.ends_with("more is omitted\n"), "{out}");
        let (_, performance) = out.lines().next().unwrap().split_once(" | ").unwrap();
        assert!(performance.split(" '").all(|entry| entry.ends_with(";;93600")), "{performance}");
        assert!(json("", &report).unwrap().len() < 2_000_000);
    }
}
