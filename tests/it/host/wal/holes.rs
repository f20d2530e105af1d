//! Missing or damaged segments, directories and copies.

use std::fs;

use super::trial::{Line, Trial};
use crate::support::lab::{STANZA, Site};
use crate::support::machine::Pgbackrest;

#[test]
fn the_installed_version_restores_what_is_proven() {
    check("the_installed_version_restores_what_is_proven", Pgbackrest::installed(), 16);
}

#[test]
fn the_newest_version_restores_what_is_proven() {
    check("the_newest_version_restores_what_is_proven", Pgbackrest::newest(), 1);
}

/// Two full backups, the second of which spans several segments, and lines before, between and after them.
struct GapTest<'a> {
    trial: Trial<'a>,
    before: Line,
    first: String,
    between: [Line; 3],
    second: String,
    after: [Line; 3],
    /// A segment in the middle of the second backup.
    inside: String,
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>, segment_megabytes: u32) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let test = GapTest::make(&site, segment_megabytes);
    nothing_is_missing(&test);
    a_hole_between_backups(&test);
    a_hole_after_the_newest_backup(&test);
    a_hole_inside_a_backup(&test);
    what_is_no_segment_fills_no_hole(&test);
    a_segment_with_two_contents(&test);
    a_directory_that_is_gone(&test);
    the_other_repo_is_another_matter(&test);
}

impl<'a> GapTest<'a> {
    fn make(site: &'a Site, segment_megabytes: u32) -> Self {
        let trial = Trial::start(site, segment_megabytes);
        let before = trial.write("a");
        let first = trial.back_up(1, "full");
        let between = ["b", "c", "d"].map(|text| trial.write(text));
        let (second, inside) = trial.long_full();
        let after = ["e", "f", "g"].map(|text| trial.write(text));
        Self { trial, before, first, between, second, after, inside }
    }
}

fn nothing_is_missing(test: &GapTest<'_>) {
    let GapTest { trial, before, first, between, second, after, .. } = test;
    let proof = trial.prove(1);
    assert_eq!((proof.missing(), proof.unrestorable()), ([0; 4], [0; 4]), "{:#}", proof.wal);
    assert_eq!(proof.number("/path/gaps"), 0);
    assert_eq!(proof.window["verified"], true);
    assert_eq!(proof.window["continuous_start"], proof.window["earliest"]);
    let [b, c, _] = between;
    let [e, f, _] = after;
    for (line, expected) in [(b, "ab"), (c, "abc"), (e, "abcde"), (f, "abcdef")] {
        trial.leads_to(line, expected);
    }
    // PostgreSQL would end recovery as soon as the backup is consistent, which is later.
    assert_eq!(trial.advised(before), None);
    for label in [first, second] {
        assert_eq!(trial.to_the_end(label).as_deref(), Ok("abcdefg"));
    }
}

fn a_hole_between_backups(test: &GapTest<'_>) {
    let GapTest { trial, first, between, after, .. } = test;
    let [b, c, d] = between;
    trial.without(1, &c.segment, || {
        let proof = trial.prove(1);
        assert_eq!((proof.missing(), proof.unrestorable()), ([0, 0, 1, 0], [0; 4]), "{:#}", proof.wal);
        assert!(proof.window["continuous_start"].as_str() > proof.window["earliest"].as_str());
        trial.leads_to(b, "ab");
        trial.does_not_lead_to(d, first);
        trial.leads_to(&after[0], "abcde");
        assert_eq!(trial.to_the_end(first).as_deref(), Ok("ab"));
    });
}

fn a_hole_after_the_newest_backup(test: &GapTest<'_>) {
    let GapTest { trial, second, after, .. } = test;
    let [e, f, g] = after;
    trial.without(1, &f.segment, || {
        let proof = trial.prove(1);
        assert_eq!((proof.missing(), proof.unrestorable()), ([0, 1, 0, 0], [0; 4]), "{:#}", proof.wal);
        trial.leads_to(e, "abcde");
        trial.does_not_lead_to(g, second);
        assert_eq!(trial.to_the_end(second).as_deref(), Ok("abcde"));
    });
}

fn a_hole_inside_a_backup(test: &GapTest<'_>) {
    let GapTest { trial, first, between, second, after, inside, .. } = test;
    trial.without(1, inside, || {
        let proof = trial.prove(1);
        assert_eq!((proof.missing(), proof.unrestorable()), ([1, 0, 0, 0], [1, 0, 0, 0]), "{:#}", proof.wal);
        trial.leads_to(&between[2], "abcd");
        trial.does_not_lead_to(&after[0], first);
        let immediate = trial.restore(second, "--type=immediate");
        assert!(immediate.is_err(), "{immediate:?}");
        assert_eq!(trial.to_the_end(first).as_deref(), Ok("abcd"));
    });
}

/// `NAME.partial-…` and `NAME.OFFSET.backup` beside the hole.
fn what_is_no_segment_fills_no_hole(test: &GapTest<'_>) {
    let GapTest { trial, after, .. } = test;
    let segment = &after[1].segment;
    let file = trial.site.wal_file(1, segment);
    let name = file.file_name().unwrap().to_str().unwrap();
    let partial = file.with_file_name(name.replacen('-', ".partial-", 1));
    fs::copy(&file, &partial).unwrap();
    let label = file.with_file_name(format!("{segment}.00000028.backup"));
    fs::write(&label, "").unwrap();
    trial.without(1, segment, || assert_eq!(trial.prove(1).missing(), [0, 1, 0, 0]));
    assert_eq!(trial.prove(1).missing(), [0; 4]);
    fs::remove_file(partial).unwrap();
    fs::remove_file(label).unwrap();
}

/// pgBackRest refuses such a segment, so that recovery ends before it.
fn a_segment_with_two_contents(test: &GapTest<'_>) {
    let GapTest { trial, second, after, .. } = test;
    let [e, f, g] = after;
    let file = trial.site.wal_file(1, &f.segment);
    let other = file.with_file_name(format!("{}-{}.gz", f.segment, "0".repeat(40)));
    fs::copy(&file, &other).unwrap();
    let proof = trial.prove(1);
    assert_eq!((proof.missing(), proof.number("/duplicates")), ([0; 4], 1), "{:#}", proof.wal);
    trial.leads_to(e, "abcde");
    trial.does_not_lead_to(g, second);
    assert_eq!(trial.to_the_end(second).as_deref(), Ok("abcde"));
    fs::remove_file(other).unwrap();
}

/// The backup itself, and what builds on it.
fn a_directory_that_is_gone(test: &GapTest<'_>) {
    let GapTest { trial, first, second, after, .. } = test;
    let incr = trial.lab.back_up(1, "incr");
    assert!(incr.starts_with(second.as_str()), "{incr}");
    let directory = trial.site.path(&format!("repo1/backup/{STANZA}/{second}"));
    let aside = trial.site.path("gone");
    fs::rename(&directory, &aside).unwrap();
    let proof = trial.prove(1);
    assert_eq!((proof.missing(), proof.unrestorable()), ([0; 4], [0, 1, 1, 0]), "{:#}", proof.wal);
    for label in [second, &incr] {
        let found = trial.restore(label, "--type=immediate");
        assert!(found.is_err(), "{label}: {found:?}");
    }
    // The older backup leads past both.
    trial.leads_to(&after[0], "abcde");
    assert_eq!(trial.to_the_end(first).as_deref(), Ok("abcdefg"));
    fs::rename(&aside, &directory).unwrap();
}

/// The second repo is encrypted, and has holes of its own.
fn the_other_repo_is_another_matter(test: &GapTest<'_>) {
    let GapTest { trial, .. } = test;
    let label = trial.back_up(2, "full");
    let [h, i, j] = ["h", "i", "j"].map(|text| trial.write(text));
    trial.without(2, &i.segment, || {
        assert_eq!(trial.prove(1).missing(), [0; 4]);
        let proof = trial.prove(2);
        assert_eq!((proof.missing(), proof.unrestorable()), ([0, 1, 0, 0], [0; 4]), "{:#}", proof.wal);
        let found = trial.restore_from(2, &label, &format!("--type=time '--target={}'", h.at));
        assert_eq!(found.as_deref(), Ok("abcdefgh"));
        let found = trial.restore_from(2, &label, &format!("--type=time '--target={}'", j.at));
        assert!(found.is_err(), "{found:?}");
    });
}
