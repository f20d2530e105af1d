//! However the text is cut, the same is read. What is said about it is bounded, on one line, and never a good state without facts.

use pgbackrest_keeper::check::facts::{Facts, FactsError};
use pgbackrest_keeper::check::limits::Limits;
use pgbackrest_keeper::check::output;
use pgbackrest_keeper::check::report::{Report, Severity};
use pgbackrest_keeper::check::services::{self, Question};
use pgbackrest_keeper::text;

/// Some time after the seeds.
const NOW: f64 = 1_800_000_000.0;

pub(crate) fn check(bytes: &[u8]) {
    let whole = read([bytes, b""]);
    let half = bytes.len() / 2;
    let cut = read([&bytes[..half], &bytes[half..]]);
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            let report = judged(&whole);
            assert_eq!(report, judged(&cut));
            is_told_well(&report);
        }
        (Err(whole), Err(cut)) => assert_eq!(whole, cut),
        (whole, cut) => panic!("{:?} and {:?}", whole.err(), cut.err()),
    }
}

fn read(pieces: [&[u8]; 2]) -> Result<Facts, FactsError> {
    let mut reader = services::reader();
    for piece in pieces {
        reader.feed(piece)?;
    }
    reader.end(false)
}

fn judged(facts: &Facts) -> Report {
    let limits = Limits::default();
    let question = Question {
        services: services::ALL,
        limits: &limits,
        ignored: &[],
        expects_scan: true,
        demands_proof: false,
    };
    services::judge(&question, facts, NOW)
}

fn is_told_well(report: &Report) {
    let told = output::plugin("", report);
    assert!(told.len() < 8192);
    let (first, rest) = told.split_once('\n').unwrap();
    assert!(first.starts_with(&format!("PGBACKREST {}: ", report.severity().as_str())));
    assert!(first.matches('|').count() <= 1 && !rest.contains('|'));
    assert!(told.chars().all(|character| character == '\n' || text::is_printable(character)));
    let performance = first.split_once(" | ").map_or("", |(_, performance)| performance);
    assert_eq!(performance.matches('\'').count(), 2 * performance.matches('=').count());
    let document: serde_json::Value = serde_json::from_str(&output::json("", report).unwrap()).unwrap();
    assert_eq!(document["state"], report.severity().code());
    if !report.measures.iter().any(|measure| measure.quantity.name == "age") {
        assert_ne!(report.severity(), Severity::Ok);
    }
}
