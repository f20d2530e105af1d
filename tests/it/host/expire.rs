//! Compares the prediction of what `expire` will remove with the real command: random histories of backups in two repositories, with
//! a PostgreSQL whose clock is in the past.
//!
//! `EXPIRE_SEEDS=40 it-… --ignored long_histories_are_predicted` runs more of them, `EXPIRE_FIRST=7 EXPIRE_SEEDS=1` repeats one.

mod history;
mod leftovers;
mod said;

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::Value;

use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;

use history::{History, Settings};
use said::{Predicted, Said, stored_wal};

/// Few enough for every run of the tests; even ones run the newest pgBackRest, odd ones the installed one.
const SEEDS: [u64; 4] = [1, 2, 7, 12];

#[test]
fn random_histories_are_predicted() {
    check("random_histories_are_predicted", &SEEDS);
}

#[test]
#[ignore = "takes minutes; EXPIRE_SEEDS histories, 30 unless that is set"]
fn long_histories_are_predicted() {
    let first: u64 = number("EXPIRE_FIRST").unwrap_or(1);
    let seeds: Vec<u64> = (first..first + number("EXPIRE_SEEDS").unwrap_or(30)).collect();
    check("long_histories_are_predicted", &seeds);
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn check(test: &str, seeds: &[u64]) {
    for (is_newest, pgbackrest) in [(false, Pgbackrest::installed()), (true, Pgbackrest::newest())] {
        let seeds: Vec<u64> =
            seeds.iter().copied().filter(|seed| seed.is_multiple_of(2) == is_newest).collect();
        if seeds.is_empty() {
            continue;
        }
        let Some(site) = Site::or_skip(test, pgbackrest) else { return };
        let lab = Lab::start(&site, 1);
        let mut tally = Tally::default();
        for seed in &seeds {
            let history = History::of(*seed);
            history.make(&lab);
            for settings in &history.settings {
                the_present_is_told(&lab, *seed, settings, &mut tally);
            }
            the_next_backup_is_told(&lab, *seed, &history);
        }
        println!("pgBackRest {}: {tally:?}", site.pgbackrest.version);
        // One alone may have nothing to expire.
        let had_all = tally.with_backups > 0 && tally.with_wal > 0 && tally.with_unneeded > 0;
        assert!(seeds.len() < 2 || had_all, "{tally:?}");
    }
}

/// How often there was something to predict.
#[derive(Debug, Default)]
struct Tally {
    cases: u32,
    with_backups: u32,
    with_wal: u32,
    with_unneeded: u32,
}

/// What would be removed now is what a dry run of `expire` says.
fn the_present_is_told(lab: &Lab<'_>, seed: u64, settings: &Settings, tally: &mut Tally) {
    let config = lab.site.write("expiring.conf", &settings.config(lab.site).text());
    let told = said::info(lab, &config);
    for repo in [1, 2] {
        let case = format!("seed {seed}, repo{repo}, {:?}", settings.of(repo));
        let said = Said::dry_run(lab, &config, repo);
        let facts = &told.repo(repo)["wal"];
        let Some(expiry) = told.expiry(repo) else {
            assert!(
                said.labels.is_empty() && said.removed.is_empty() && !settings.is_set(repo),
                "{case}: {said:?}"
            );
            continue;
        };
        let present = Predicted::of(&expiry["now"]);
        assert_eq!(present.backups, said.labels, "{case}\n{}", said.text);
        assert_eq!(present.kept, said.kept, "{case}\n{}", said.text);
        let stored = stored_wal(lab.site, repo);
        let removed = stored.iter().filter(|(name, _)| said.removes(name)).map(|(_, bytes)| bytes).sum();
        assert_eq!(present.wal_bytes, Some(removed), "{case}\n{}\n{expiry:#}", said.text);
        let unneeded = the_archive_adds_up(lab, repo, facts, &case);
        tally.cases += 1;
        tally.with_backups += u32::from(!present.backups.is_empty());
        tally.with_wal += u32::from(removed > 0);
        tally.with_unneeded += u32::from(unneeded > 0);
    }
}

/// Every byte of the archive is some backup's, or none's.
fn the_archive_adds_up(lab: &Lab<'_>, repo: u32, facts: &Value, case: &str) -> u64 {
    let bytes = |name: &str| facts[name].as_u64().unwrap_or_else(|| panic!("{case}: no {name}: {facts:#}"));
    let of_backups: u64 =
        facts["backup_bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
    let unneeded = bytes("unneeded_bytes");
    assert_eq!(of_backups + unneeded, bytes("bytes"), "{case}");
    let first = said::backups(lab, repo).into_iter().map(|backup| backup.start).min().unwrap();
    let stored = stored_wal(lab.site, repo);
    let before = stored.iter().filter(|(name, _)| **name < first).map(|(_, bytes)| bytes).sum::<u64>();
    assert_eq!(unneeded, before, "{case}: before {first}");
    unneeded
}

/// What the next backup removes is what was told before it, for each repository a backup of another type.
fn the_next_backup_is_told(lab: &Lab<'_>, seed: u64, history: &History) {
    let settings = history.last();
    let config = lab.site.write("expiring.conf", &settings.config(lab.site).text());
    for (repo, backup_type) in [(1, "full"), (2, history.next_type)] {
        let case = format!("seed {seed}, next {backup_type} in repo{repo}, {:?}", settings.of(repo));
        let told = said::info(lab, &config);
        let Some(expiry) = told.expiry(repo) else { continue };
        let predicted = Predicted::of(&expiry["after_backup"][backup_type]);
        let labels =
            |repo| said::backups(lab, repo).into_iter().map(|backup| backup.label).collect::<BTreeSet<_>>();
        let (before, stored) = (labels(repo), stored_wal(lab.site, repo));
        let output = lab.site.run(
            &config,
            &[
                &format!("--stanza={STANZA}"),
                &format!("--repo={repo}"),
                &format!("--type={backup_type}"),
                "--log-level-console=detail",
                "backup",
            ],
        );
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{case}: {output:?}");
        let gone: BTreeSet<String> = before.difference(&labels(repo)).cloned().collect();
        assert_eq!(predicted.backups, gone, "{case}\n{text}");
        let left = stored_wal(lab.site, repo);
        let removed =
            stored.iter().filter(|(name, _)| !left.contains_key(*name)).map(|(_, bytes)| bytes).sum();
        assert_eq!(predicted.wal_bytes, Some(removed), "{case}\n{text}\n{expiry:#}");
    }
}
