//! Where the answers of check_pgbackrest differ from those of `check`, on the same real repositories: what docs/check.md says of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, monitoring, skip};
use crate::support::process::{call, output};

const OK: i32 = 0;
const CRITICAL: i32 = 2;
const UNKNOWN: i32 = 3;

#[test]
fn check_pgbackrest_misses_what_check_finds() {
    let test = "check_pgbackrest_misses_what_check_finds";
    let peer = match monitoring("check_pgbackrest") {
        Ok(peer) => peer,
        Err(missing) => return skip(test, missing),
    };
    // It requires 2.52.
    let Some(site) = Site::or_skip(test, Pgbackrest::in_between()) else { return };
    let plugins = Plugins { lab: &Lab::start(&site, 16), peer };
    old_backups(&plugins);
    a_repository_without_new_backups(&plugins);
    nothing_is_wrong(&plugins);
    gaps(&plugins);
    numbers_of_repositories(&plugins);
    a_configuration_that_is_not_there(&plugins);
    a_backup_from_the_future(&plugins);
}

struct Plugins<'a> {
    lab: &'a Lab<'a>,
    peer: PathBuf,
}

impl Plugins<'_> {
    /// The exit codes of check_pgbackrest and of `check`, each with what was printed.
    fn run(&self, config: &Path, theirs: &[&str], ours: &[&str]) -> [(i32, String); 2] {
        let site = self.lab.site;
        let program = site.pgbackrest.program.display();
        let mut peer = call(site.account.as_ref(), &self.peer);
        peer.arg(format!("--stanza={STANZA}"))
            .arg(format!("--command={program}"))
            .arg(format!("--config={}", config.display()))
            .args(theirs);
        let mut check = call(site.account.as_ref(), our_program(site));
        check
            .args(["check", "--timeout=120s"])
            .args(ours)
            .arg(format!("--backrest.binary={program}"))
            .arg(format!("--backrest.config={}", config.display()));
        [peer, check].map(|mut plugin| {
            let ended = output(&mut plugin);
            let text = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
            (ended.status.code().unwrap(), text.into_owned())
        })
    }

    #[track_caller]
    fn assert(&self, theirs: &[&str], their_code: i32, ours: &[&str], our_code: i32) {
        let outcomes = self.run(&self.lab.both, theirs, ours);
        let codes = outcomes.each_ref().map(|(code, _)| *code);
        assert_eq!(codes, [their_code, our_code], "{outcomes:#?}");
    }
}

fn old_backups(plugins: &Plugins<'_>) {
    let lab = plugins.lab;
    lab.set_clock(Some("9 days"));
    lab.back_up(1, "full");
    lab.back_up(2, "full");
    lab.set_clock(None);
    plugins.assert(&["--service=retention"], OK, &["backups"], CRITICAL);
}

fn a_repository_without_new_backups(plugins: &Plugins<'_>) {
    plugins.lab.back_up(1, "full");
    let options = ["--service=retention", "--retention-full=2", "--retention-age=26h"];
    plugins.assert(&options, OK, &["backups"], CRITICAL);
    plugins.assert(&[&options[..], &["--repo=2"]].concat(), CRITICAL, &["backups", "--repo=2"], CRITICAL);
}

fn nothing_is_wrong(plugins: &Plugins<'_>) {
    plugins.lab.back_up(2, "full");
    plugins.lab.postgres.archive_all();
    let options =
        ["--service=retention", "--retention-full=2", "--retention-age=26h", "--retention-age-to-full=8d"];
    plugins.assert(&options, OK, &["backups"], OK);
    plugins.assert(&["--service=archives"], OK, &["wal"], OK);
}

fn gaps(plugins: &Plugins<'_>) {
    let lab = plugins.lab;
    let lost = lab.postgres.archive_all().segment;
    lab.postgres.archive_all();
    let (file, aside) = (lab.site.wal_file(1, &lost), lab.site.path("aside"));
    fs::rename(&file, &aside).unwrap();
    let of_one = ["--service=archives", "--repo=1"];
    plugins.assert(&["--service=archives"], OK, &["wal"], CRITICAL);
    plugins.assert(&of_one, CRITICAL, &["wal", "--repo=1"], CRITICAL);
    // What a promoted standby archives of a segment that is not complete.
    let name = file.file_name().unwrap().to_str().unwrap();
    let partial = file.with_file_name(name.replacen('-', ".partial-", 1));
    fs::copy(&aside, &partial).unwrap();
    plugins.assert(&of_one, OK, &["wal", "--repo=1"], CRITICAL);
    fs::remove_file(partial).unwrap();
    fs::rename(&aside, &file).unwrap();

    // The history file of a backup has the name of the segment in which the backup starts.
    let info = lab.site.info(&lab.both, &["--repo=1"]);
    let start = info[0]["backup"].as_array().unwrap().last().unwrap()["archive"]["start"].as_str().unwrap();
    let file = lab.site.wal_file(1, start);
    fs::rename(&file, &aside).unwrap();
    plugins.assert(&of_one, OK, &["wal", "--repo=1"], CRITICAL);
    fs::rename(&aside, &file).unwrap();
    plugins.assert(&of_one, OK, &["wal", "--repo=1"], OK);
}

fn numbers_of_repositories(plugins: &Plugins<'_>) {
    let site = plugins.lab.site;
    let config = site.write("repo3.conf", &site.config().text().replace("repo2-", "repo3-"));
    let outcomes = plugins.run(&config, &["--service=archives"], &["wal"]);
    let [(theirs, text), (ours, _)] = &outcomes;
    assert_eq!((*theirs, *ours), (CRITICAL, OK), "{outcomes:#?}");
    assert!(text.contains("database mismatch across repos"), "{text}");
}

fn a_configuration_that_is_not_there(plugins: &Plugins<'_>) {
    for (theirs, ours) in [("--service=retention", "backups"), ("--unknown", "--unknown")] {
        let outcomes = plugins.run(Path::new("/nonexistent"), &[theirs], &[ours]);
        let [(theirs, _), (ours, _)] = &outcomes;
        assert!(!(OK..=UNKNOWN).contains(theirs) && *ours == UNKNOWN, "{outcomes:#?}");
    }
}

fn a_backup_from_the_future(plugins: &Plugins<'_>) {
    plugins.lab.set_clock(Some("-2 days"));
    plugins.lab.back_up(1, "full");
    plugins.lab.set_clock(None);
    let options = ["--service=retention", "--repo=1", "--retention-age=1s"];
    plugins.assert(&options, OK, &["backups", "--repo=1", "--critical=age=1s"], CRITICAL);
}
