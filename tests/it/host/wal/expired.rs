//! WAL that `expire` removes on purpose, for each type of archive retention.

use std::collections::BTreeSet;
use std::fs;

use super::trial::{Line, Trial};
use crate::support::config::Config;
use crate::support::lab::{STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, successful};

#[test]
fn the_installed_version_expires_what_is_not_missing() {
    check("the_installed_version_expires_what_is_not_missing", Pgbackrest::installed(), 16);
}

#[test]
fn the_newest_version_expires_what_is_not_missing() {
    check("the_newest_version_expires_what_is_not_missing", Pgbackrest::newest(), 1);
}

const BACKUPS: [&str; 6] = ["full", "diff", "incr", "full", "diff", "incr"];
const LINES: [&str; 6] = ["b", "c", "d", "e", "f", "g"];

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>, segment_megabytes: u32) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let trial = Trial::start(&site, segment_megabytes);
    trial.write("a");
    // Each backup is followed by a line that no other backup needs the WAL of.
    let made: Vec<(String, Line)> = BACKUPS
        .iter()
        .zip(LINES)
        .map(|(backup_type, line)| {
            let label = trial.back_up(1, backup_type);
            (label, trial.write(line))
        })
        .collect();
    // So that a hole after the newest backup is one.
    trial.write("h");
    let (repo, saved) = (site.path("repo1"), site.path("saved"));
    successful(call(site.account.as_ref(), "cp").arg("-a").args([&repo, &saved]));
    for (backup_type, count, oldest_kept) in [
        ("full", 1, 3),
        ("full", 2, 0),
        ("diff", 1, 4),
        ("diff", 3, 1),
        ("incr", 1, 5),
        ("incr", 2, 4),
        ("incr", 9, 0),
    ] {
        let case = format!("{backup_type} {count}");
        let config = site
            .config()
            .global("repo1-retention-archive-type", backup_type)
            .global("repo1-retention-archive", &count.to_string());
        use_config(&trial, &config);
        let before = segments(&trial);
        trial.lab.pgbackrest(&["--repo=1", "expire"]);
        let oldest_start = start(&trial);
        let removed = before.difference(&segments(&trial)).filter(|name| **name >= oldest_start).count();
        assert_eq!(removed > 0, oldest_kept > 0, "{case}");
        // Where another host runs expire, its options are not known here.
        for known in [config, site.config().without("repo1-retention")] {
            use_config(&trial, &known);
            let proof = trial.prove(1);
            let expired = u64::try_from(removed).unwrap();
            assert_eq!(proof.missing(), [0, 0, 0, expired], "{case}: {:#}", proof.wal);
            assert_eq!((proof.unrestorable(), proof.number("/path/gaps")), ([0; 4], 0), "{case}");
        }
        // The line after the oldest backup whose WAL is kept is reached, and the ones between older backups are not.
        for (index, (_, line)) in made.iter().enumerate() {
            assert_eq!(trial.advised(line).is_some(), index >= oldest_kept, "{case}: {}", line.text);
        }
        trial.leads_to(&made[oldest_kept].1, &format!("a{}", LINES[..=oldest_kept].concat()));
        if oldest_kept > 0 {
            let (first, line) = &made[0];
            trial.does_not_lead_to(line, first);
            assert_eq!(trial.restore(first, "--type=immediate").as_deref(), Ok("a"), "{case}");
            use_config(
                &trial,
                &site
                    .config()
                    .global("repo1-retention-archive-type", backup_type)
                    .global("repo1-retention-archive", &count.to_string()),
            );
            trial.without(1, &made[oldest_kept].1.segment, || {
                let missing = trial.prove(1).missing();
                assert_eq!(missing[1] + missing[2], 1, "{case}: what is kept is not expired");
            });
        }
        fs::remove_dir_all(&repo).unwrap();
        successful(call(site.account.as_ref(), "cp").arg("-a").args([&saved, &repo]));
    }
}

fn use_config(trial: &Trial<'_>, config: &Config) {
    trial.site.write("both.conf", &config.text());
}

/// The first segment that the oldest backup needs.
fn start(trial: &Trial<'_>) -> String {
    let info = trial.site.info(&trial.lab.both, &["--repo=1", &format!("--stanza={STANZA}")]);
    info[0]["backup"][0]["archive"]["start"].as_str().unwrap().to_owned()
}

/// Names of the segments of repo1.
fn segments(trial: &Trial<'_>) -> BTreeSet<String> {
    let directory = trial.site.path(&format!("repo1/archive/{STANZA}/15-1/0000000100000000"));
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains('-')).map(|name| name[..24].to_owned()).collect()
}
