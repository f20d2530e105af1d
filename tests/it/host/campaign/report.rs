//! The checked claims and their results.

use std::collections::BTreeMap;
use std::fmt;

use super::history::History;

/// How a claim did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grade {
    /// It holds, in this way.
    Right(&'static str),
    /// It says less than is true, by a rule that is documented.
    Conservative(&'static str),
    /// It is wrong because of something that no listing shows.
    Unknowable(&'static str),
    /// It was called not proven, and is wrong where files were lost or expired.
    Unproven,
    /// It is wrong: what was claimed, and what a restore showed.
    Defect(String),
}

/// A kind of claim that is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defect {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// The sum of what was judged.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) histories: u64,
    pub(super) restores: u64,
    pub(super) seconds: f64,
    /// Claims by kind and by how they did.
    pub(super) claims: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) defects: Vec<Defect>,
    /// Steps that did nothing, and damage that was done.
    pub(super) notes: Vec<String>,
}

impl Report {
    pub(super) fn note(&mut self, kind: &'static str, grade: Grade) {
        let outcome = match grade {
            Grade::Right(outcome) | Grade::Conservative(outcome) | Grade::Unknowable(outcome) => outcome,
            Grade::Unproven => "not proven, and wrong where files were lost or expired",
            Grade::Defect(text) => {
                self.defects.push(Defect { kind, text });
                "DEFECT"
            }
        };
        *self.claims.entry((kind, outcome)).or_default() += 1;
    }

    /// Adds what was judged of another history.
    pub(super) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.restores += other.restores;
        self.seconds += other.seconds;
        for (claim, count) in &other.claims {
            *self.claims.entry(*claim).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims: u64 = self.claims.values().sum();
        writeln!(formatter, "{:>7}  histories", self.histories)?;
        writeln!(formatter, "{:>7}  restores", self.restores)?;
        writeln!(formatter, "{claims:>7}  claims judged:")?;
        for ((kind, outcome), count) in &self.claims {
            writeln!(formatter, "{count:>7}    {kind}: {outcome}")?;
        }
        Ok(())
    }
}

/// How a wrong history is told, with what replays it.
pub(super) fn told(title: &str, history: &History, report: &Report) -> String {
    let heading = format!("{title}\n  CAMPAIGN_STEPS=\"{history}\"\n");
    let notes = report.notes.iter().map(|note| format!("  note: {}\n", indented(note)));
    let defect = |one: &Defect| format!("  DEFECT in {}: {}\n", one.kind, indented(&one.text));
    std::iter::once(heading).chain(notes).chain(report.defects.iter().map(defect)).collect()
}

/// Behind the heading, without what is the same in every command.
fn indented(text: &str) -> String {
    let usual = ["--config=", "--stanza=", "--pg1-path=", "--archive-mode=", "--target-action=", "/"];
    let is_telling = |word: &&str| !usual.iter().any(|start| word.starts_with(start));
    let lines =
        text.trim().lines().map(|line| line.split(' ').filter(is_telling).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n      ")
}
