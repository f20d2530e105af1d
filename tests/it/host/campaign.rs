//! Checks claims with real restores: random histories of a database and its repositories, all claims about them, and restores that
//! show whether these are true.
//!
//! `make campaign SEEDS=200` runs many, `CAMPAIGN_SEED=N make campaign` repeats one, and `CAMPAIGN_STEPS="..." make campaign` repeats
//! a printed one.

mod claims;
mod copy;
mod damage;
pub(crate) mod generate;
mod history;
mod journal;
mod judge;
mod kit;
mod known;
mod questions;
mod report;
mod rules;
mod run;
mod tested;
mod turns;
mod world;

use std::str::FromStr;

use crate::support::lab::Site;
use crate::support::machine::skip;

use copy::Wanted;
use history::{History, Version};
use judge::Judge;
use kit::Kit;
use report::{Grade, Report, told};
use run::{Extent, run, run_histories, shrunk, tell};
use turns::target;
use world::World;

/// Restores for each history of a campaign.
const RESTORES: u64 = 8;

#[test]
fn known_histories_are_told_right_with_the_installed_version() {
    check_known("known_histories_are_told_right_with_the_installed_version", Version::Installed);
}

#[test]
fn known_histories_are_told_right_with_the_newest_version() {
    check_known("known_histories_are_told_right_with_the_newest_version", Version::Newest);
}

/// Every other one with a version, as restores take most of the time; `make campaign` runs any with both.
fn check_known(test: &str, version: Version) {
    let kit = match Kit::new() {
        Ok(kit) => kit,
        Err(missing) => return skip(test, missing),
    };
    let mut wrong = Vec::new();
    let first = usize::from(version == Version::Newest);
    for (name, steps) in known::RIGHT.iter().skip(first).step_by(2) {
        let mut history: History = steps.parse().unwrap();
        history.setup.version = version;
        let report = run(&kit, &history, Extent::All { until: None });
        tell(&format!("{name}: {} restores in {:.0} s", report.restores, report.seconds));
        if !report.defects.is_empty() {
            wrong.push(told(name, &history, &report));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn random_histories_are_told_right() {
    let kit = match Kit::new() {
        Ok(kit) => kit,
        Err(missing) => return skip("random_histories_are_told_right", missing),
    };
    let of_seed = |seed: &u64| (*seed, generate::history(*seed).without_words(known::LEFT_OUT));
    let made: Vec<(u64, History)> = known::SEEDS.iter().map(of_seed).collect();
    let (_, wrong) = run_histories(&kit, &made, 1, RESTORES);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The judge finds fault: wrong answers about a database that went back to an earlier time are defects.
#[test]
fn a_wrong_claim_is_found() {
    let kit = match Kit::new() {
        Ok(kit) => kit,
        Err(missing) => return skip("a_wrong_claim_is_found", missing),
    };
    let steps = "write switch full:1 tick write tick write:2 switch tick back:40 write:2 switch";
    let history: History = steps.parse().unwrap();
    let site = Site::new(Ok(kit.pgbackrest(history.setup.version).clone())).unwrap();
    let mut world = World::start(&kit, &site, history.setup);
    history.steps.iter().for_each(|step| world.take(*step));
    assert!(world.notes.is_empty(), "{:?}", world.notes);
    let (judge, [full]) = (Judge::new(&world), &world.journal.backups[..]) else { panic!() };
    let at = world.journal.marker(3).1.at;
    let ask = |timeline, until: &str| {
        let (repo, label) = (Some(1), Some(full.label.clone()));
        let until = Some(until.to_owned());
        judge.copies.command(&Wanted { repo, label, timeline: Some(timeline), until })
    };
    let to_time = format!("--type=time '--target={}' --target-action=promote", target(at));
    let grade = |line: &str| judge.printed(at, line, true, true);
    assert_eq!(grade(&ask(1, &to_time)), Grade::Right("the state at that time"));
    let wrong = [
        grade(&ask(2, &to_time)),
        grade(&ask(1, "--type=immediate --target-action=promote")),
        grade(&ask(1, &to_time).replace(&full.label, "20200101-000000F")),
        judge.unreachable(at, "nothing leads there"),
    ];
    for grade in wrong {
        assert!(matches!(grade, Grade::Defect(_)), "{grade:?}");
    }
}

/// What `make campaign` runs.
#[test]
#[ignore = "run by scripts/campaign, for minutes or hours"]
fn many_histories_are_told_right() {
    let kit = Kit::new().unwrap();
    if let Ok(steps) = std::env::var("CAMPAIGN_STEPS") {
        return replay(&kit, &steps.parse().unwrap(), Extent::All { until: None });
    }
    let restores = number("CAMPAIGN_RESTORES").unwrap_or(RESTORES);
    if let Some(seed) = number("CAMPAIGN_SEED") {
        return replay(&kit, &generate::history(seed), Extent::Sample { restores: 2 * restores, seed });
    }
    let first: u64 = number("CAMPAIGN_FIRST").unwrap_or(1);
    let words = std::env::var("CAMPAIGN_WITHOUT").unwrap_or_default();
    let words: Vec<&str> = words.split_whitespace().collect();
    let of_seed = |seed| (seed, generate::history(seed).without_words(&words));
    let made: Vec<(u64, History)> =
        (first..first + number("CAMPAIGN_SEEDS").unwrap_or(20)).map(of_seed).collect();
    let jobs = number("CAMPAIGN_JOBS").unwrap_or(1);
    let (report, wrong) = run_histories(&kit, &made, jobs, restores);
    tell(&format!("\n== campaign\n{report}{:>7}  histories with defects", wrong.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs one history again, and looks for a shorter one that goes wrong in the same way.
fn replay(kit: &Kit, history: &History, extent: Extent) {
    let report = run(kit, history, extent);
    tell(&format!("{}{report}", told("replayed", history, &report)));
    let Report { defects, .. } = report;
    let Some(first) = defects.first() else { return };
    if number("CAMPAIGN_SHRINK") != Some(0_u64) {
        let shortest = shrunk(kit, history, first.kind);
        tell(&format!("the shortest found:\n  CAMPAIGN_STEPS=\"{shortest}\""));
    }
    panic!("{} defects", defects.len());
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}
