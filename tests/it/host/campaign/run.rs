//! Runs histories: one, many in parallel, and shorter and shorter ones that fail in the same way.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use crate::support::lab::Site;

use super::generate::Random;
use super::history::History;
use super::judge::Judge;
use super::kit::Kit;
use super::questions;
use super::report::{Defect, Report, told};
use super::world::World;

/// How many shorter histories are tried for one that goes wrong.
const SHRINKING: usize = 24;

/// What is judged of a history.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent {
    /// All claims about markers, backups and ends of windows, until one of this kind is wrong.
    All { until: Option<&'static str> },
    /// A sample that costs about so many restores.
    Sample { restores: u64, seed: u64 },
}

/// Makes the history and judges what is claimed of it.
pub(super) fn run(kit: &Kit, history: &History, extent: Extent) -> Report {
    let began = Instant::now();
    let site = Site::new(Ok(kit.pgbackrest(history.setup.version).clone())).unwrap();
    let mut world = World::start(kit, &site, history.setup);
    for step in &history.steps {
        world.take(*step);
    }
    world.look();
    let judge = Judge::new(&world);
    let told = world.journal.told().into_iter().chain(judge.claims.branches.iter().cloned());
    let notes = world.notes.iter().cloned().chain(told).collect();
    let mut report = Report { histories: 1, notes, ..Report::default() };
    judge.check_sanity(&mut report);
    let (questions, most) = match extent {
        Extent::All { .. } => (questions::all(&judge), u64::MAX),
        Extent::Sample { restores, seed } => {
            (questions::sample(&judge, &mut Random::new(!seed), restores), restores)
        }
    };
    for question in &questions {
        let is_found =
            |defect: &Defect| matches!(extent, Extent::All { until } if until == Some(defect.kind));
        if judge.copies.count() >= most || report.defects.iter().any(is_found) {
            break;
        }
        judge.answer(question, &mut report);
    }
    report.restores = judge.copies.count();
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Runs histories, each with its seed, so many at once, and tells of each that goes wrong. Gives the sum and what went wrong.
pub(super) fn run_histories(
    kit: &Kit,
    histories: &[(u64, History)],
    jobs: usize,
    restores: u64,
) -> (Report, Vec<String>) {
    let (next, sum, wrong) = (AtomicUsize::new(0), Mutex::new(Report::default()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((seed, made)) = histories.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let extent = Extent::Sample { restores, seed: *seed };
                    let title = format!("seed {seed}");
                    // An unexpected answer ends this history, and not the campaign.
                    match catch_unwind(AssertUnwindSafe(|| run(kit, made, extent))) {
                        Ok(report) => {
                            sum.lock().add(&report);
                            let kinds: Vec<&str> = report.defects.iter().map(|one| one.kind).collect();
                            tell(&format!(
                                "seed {seed}: {} restores in {:.0} s {kinds:?}",
                                report.restores, report.seconds
                            ));
                            if !report.defects.is_empty() {
                                let text = told(&title, made, &report);
                                tell(&text);
                                wrong.lock().push(format!("seed {seed}: {kinds:?}"));
                            }
                        }
                        Err(panic) => {
                            let text = format!("{title}: the harness stopped: {}", words_of(panic.as_ref()));
                            tell(&format!("{text}\n  CAMPAIGN_STEPS=\"{made}\""));
                            wrong.lock().push(text);
                        }
                    }
                }
            });
        }
    });
    (sum.into_inner(), wrong.into_inner())
}

/// The shortest history that was found to go wrong in the same way, by leaving out more and more steps.
pub(super) fn shrunk(kit: &Kit, history: &History, kind: &'static str) -> History {
    let mut shortest = history.clone();
    let (mut tries, mut count) = (0, shortest.steps.len() / 2);
    let goes_wrong = |history: &History| {
        let found = catch_unwind(AssertUnwindSafe(|| run(kit, history, Extent::All { until: Some(kind) })));
        found.is_ok_and(|report| report.defects.iter().any(|defect| defect.kind == kind))
    };
    while count > 0 && tries < SHRINKING {
        let mut from = 0;
        while from < shortest.steps.len() && tries < SHRINKING {
            let shorter = shortest.without(from, count);
            tries += 1;
            if goes_wrong(&shorter) {
                tell(&format!("still wrong: {shorter}"));
                shortest = shorter;
            } else {
                from += count;
            }
        }
        count /= 2;
    }
    shortest
}

/// Tells at once, past what the harness of the tests keeps until the end.
pub(super) fn tell(text: &str) {
    let mut output = std::io::stderr().lock();
    writeln!(output, "{}", text.trim_end()).unwrap();
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for no known reason").to_owned()
}
