//! The figures of a benchmark: a table to read, and JSON for `scripts/compare-bench`.

use std::path::PathBuf;
use std::{env, fs, io};

use serde::Serialize;

/// Directory of the JSON files, unless `BENCH_DIRECTORY` names another one.
const DIRECTORY: &str = "target/bench";

/// All figures of a benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    cases: Vec<Case>,
}

/// The figures of one input.
#[derive(Debug, Serialize)]
struct Case {
    case: String,
    figures: Vec<Figure>,
}

/// What was measured, and what it is compared with.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    better: Better,
    /// Of repeated measurements, whose spread is the noise.
    samples: Vec<f64>,
    /// What another program needed for the same in the same run.
    peer: Option<f64>,
    /// What cannot be undercut on this machine.
    limit: Option<f64>,
}

/// Which change of a figure is an improvement.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "not every benchmark has figures of each kind")]
pub(crate) enum Better {
    Lower,
    /// A size of the input, for example.
    Neither,
}

impl Figure {
    pub(crate) fn new(name: &str, unit: &'static str, samples: &[f64]) -> Self {
        Self {
            name: name.to_owned(),
            unit,
            better: Better::Lower,
            samples: samples.to_vec(),
            peer: None,
            limit: None,
        }
    }

    #[allow(dead_code, reason = "not every benchmark has figures that cannot be better")]
    pub(crate) fn better(self, better: Better) -> Self {
        Self { better, ..self }
    }

    #[allow(dead_code, reason = "not every benchmark has a peer")]
    pub(crate) fn peer(self, peer: Option<f64>) -> Self {
        Self { peer, ..self }
    }

    #[allow(dead_code, reason = "not every benchmark knows a limit")]
    pub(crate) fn limit(self, limit: Option<f64>) -> Self {
        Self { limit, ..self }
    }

    fn value(&self) -> f64 {
        median(&self.samples)
    }
}

impl Report {
    pub(crate) fn new(bench: &'static str) -> Self {
        Self { bench, cases: Vec::new() }
    }

    /// Adds the figures of a case, and prints them.
    pub(crate) fn add(&mut self, case: &str, figures: Vec<Figure>) {
        println!("\n## {}: {case}\n", self.bench);
        let has_peer = figures.iter().any(|figure| figure.peer.is_some());
        let has_limit = figures.iter().any(|figure| figure.limit.is_some());
        let mut header = vec!["figure", "measured"];
        if has_peer {
            header.extend(["peer", "× of the peer"]);
        }
        if has_limit {
            header.extend(["limit", "× of the limit"]);
        }
        println!("| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
        for figure in &figures {
            let (value, unit) = (figure.value(), figure.unit);
            let mut cells = vec![figure.name.clone(), shown(value, unit)];
            let beside = |other: Option<f64>, ratio: fn(f64, f64) -> f64| {
                other.map_or(["-".to_owned(), "-".to_owned()], |other| {
                    [shown(other, unit), format!("{:.1}", ratio(value, other))]
                })
            };
            if has_peer {
                cells.extend(beside(figure.peer, |value, peer| peer / value));
            }
            if has_limit {
                cells.extend(beside(figure.limit, |value, limit| value / limit));
            }
            println!("| {} |", cells.join(" | "));
        }
        self.cases.push(Case { case: case.to_owned(), figures });
    }

    /// Writes the JSON file.
    pub(crate) fn write(&self) -> io::Result<()> {
        let directory = env::var_os("BENCH_DIRECTORY").map_or_else(|| DIRECTORY.into(), PathBuf::from);
        fs::create_dir_all(&directory)?;
        let file = directory.join(format!("{}.json", self.bench));
        fs::write(&file, serde_json::to_vec_pretty(self)?)?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// With as many digits as say something.
fn shown(value: f64, unit: &str) -> String {
    let digits = if value.abs() < 1.0 { 3 } else { usize::from(value.abs() < 1000.0) };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}
