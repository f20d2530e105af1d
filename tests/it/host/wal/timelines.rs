//! Timelines that begin by the promotion of a standby and by restores to a point in time, and a backup of a stopped server.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;

use super::trial::{Line, Trial};
use crate::support::lab::{STANZA, Site, next_second};
use crate::support::machine::Pgbackrest;
use crate::support::postgres::Postgres;
use crate::support::process::wait_for;

#[test]
fn the_installed_version_goes_on_through_timelines() {
    check("the_installed_version_goes_on_through_timelines", Pgbackrest::installed(), 16);
}

#[test]
fn the_newest_version_goes_on_through_timelines_with_large_segments() {
    check("the_newest_version_goes_on_through_timelines_with_large_segments", Pgbackrest::newest(), 64);
}

#[allow(clippy::many_single_char_names, reason = "each line of the database has a name of one letter")]
fn check(test: &str, pgbackrest: Result<Pgbackrest, String>, segment_megabytes: u32) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let mut trial = Trial::start(&site, segment_megabytes);
    trial.write("a");
    let first = trial.back_up(1, "full");
    let [b, x] = ["b", "x"].map(|text| trial.write(text));

    promote_a_standby(&mut trial, &first);
    let [d, e] = ["d", "e"].map(|text| trial.write(text));
    let partials = partials(&site, 1);
    assert_eq!(partials.len(), 1, "PostgreSQL archives what it left of the timeline");
    assert_eq!(partials[0][8..24], d.segment[8..24], "in the segment in which it was left");
    is_whole(&trial, 2, 0);
    trial.leads_to(&b, "ab");
    trial.leads_to(&x, "abx");
    trial.leads_to(&d, "abxcd");
    assert_eq!(trial.to_the_end(&first).as_deref(), Ok("abxcde"));
    trial.without(1, &d.segment, || {
        let proof = trial.prove(1);
        assert_eq!((proof.missing(), proof.unrestorable()), ([0, 1, 0, 0], [0; 4]), "{:#}", proof.wal);
        assert_eq!(trial.advised(&e), None, "the partial segment stands for none");
        // Without a target PostgreSQL does not say that it stands still: only the lines tell.
        assert_ne!(trial.to_the_end(&first).as_deref(), Ok("abxcde"));
        trial.does_not_lead_to(&e, &first);
    });

    // The second timeline is abandoned, and the third one comes from the first.
    let target = format!("--target={}", x.at);
    go_back(&mut trial, &first, &["--type=time", &target, "--target-timeline=1"]);
    let f = trial.write("f");
    is_whole(&trial, 3, 1);
    trial.leads_to(&b, "ab");
    trial.leads_to(&f, "abxf");
    assert_eq!(trial.to_the_end(&first).as_deref(), Ok("abxf"));
    a_history_is_lost(&trial, &first, &f);
    trial.without(1, &d.segment, || is_whole(&trial, 3, 1));
    let on_second = format!("--type=time '--target={}' --target-timeline=2", d.at);
    assert_eq!(trial.restore(&first, &on_second).as_deref(), Ok("abxcd"));

    let second = trial.back_up(1, "full");
    let g = trial.write("g");
    is_whole(&trial, 3, 1);
    trial.leads_to(&g, "abxfg");

    // Back to before the third timeline began, on the way to it: PostgreSQL calls it the parent, though nothing of it is used,
    // and it is left before it began.
    go_back(&mut trial, &first, &["--type=time", &format!("--target={}", b.at)]);
    let h = trial.write("h");
    let file = format!("archive/{STANZA}/15-1/00000004.history");
    let history = trial.lab.pgbackrest(&["--repo=1", "repo-get", &file]);
    assert!(history.contains("\n3\t"), "{history}");
    is_whole(&trial, 4, 2);
    trial.leads_to(&h, "abh");
    assert_eq!(trial.to_the_end(&first).as_deref(), Ok("abh"));
    let on_third = format!("--type=time '--target={}' --target-timeline=3", g.at);
    assert_eq!(trial.restore(&second, &on_third).as_deref(), Ok("abxfg"));

    trial.lab.postgres.stop();
    trial.lab.pgbackrest(&["--repo=1", "--type=full", "--no-online", "backup"]);
    trial.lab.postgres.start();
    let offline = trial.lab.labels(1).pop().unwrap();
    is_whole(&trial, 4, 2);
    trial.write("i");
    is_whole(&trial, 4, 2);
    // pgBackRest lets no WAL be replayed on it where no type is asked for.
    assert_eq!(trial.to_the_end(&offline).as_deref(), Ok("abh"));
}

/// PostgreSQL tries the histories one after the other, and finds no timeline behind one that has none.
fn a_history_is_lost(trial: &Trial<'_>, label: &str, newest: &Line) {
    let history = trial.site.path(&format!("repo1/archive/{STANZA}/15-1/00000002.history"));
    let aside = trial.site.path("history");
    fs::rename(&history, &aside).unwrap();
    let proof = trial.prove(1);
    assert_eq!(proof.number("/missing_histories"), 1, "{:#}", proof.wal);
    assert_eq!(trial.to_the_end(label).as_deref(), Ok("abx"));
    // The command that is printed names the timeline.
    trial.leads_to(newest, "abxf");
    fs::rename(&aside, &history).unwrap();
}

/// Nothing is missing on the way to this timeline, which leaves out so many others.
fn is_whole(trial: &Trial<'_>, timeline: u64, orphans: u64) {
    let proof = trial.prove(1);
    assert_eq!((proof.missing(), proof.unrestorable()), ([0; 4], [0; 4]), "{:#}", proof.wal);
    assert_eq!(proof.number("/path/gaps"), 0, "{:#}", proof.wal);
    assert_eq!(proof.number("/missing_histories"), 0, "{:#}", proof.wal);
    let path = (proof.number("/path/timeline"), proof.number("/path/orphan_timelines"));
    assert_eq!(path, (timeline, orphans), "{:#}", proof.wal);
    assert_eq!(proof.window["verified"], true);
}

/// A standby that has streamed a line that is in no archive; its primary dies, and it goes on.
fn promote_a_standby(trial: &mut Trial<'_>, label: &str) {
    let primary = trial.lab.postgres.socket_directory.clone();
    let trigger = trial.site.path("promote");
    let mut standby = next_server(
        trial,
        label,
        &["--type=standby"],
        &format!(
            "primary_conninfo = 'host={} port=5432 user=postgres'\npromote_trigger_file = '{}'\n",
            primary.display(),
            trigger.display()
        ),
    );
    let (postgres, site) = (&trial.lab.postgres, trial.site);
    // The server ends with the thread that starts it.
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("the standby to stream", || (replicas(postgres) == "1").then_some(()));
            postgres.sql("insert into lines (line) values ('c')");
            wait_for("the standby to have all", || (replicas(postgres) == "1").then_some(()));
            site.write("promote", "");
        });
        standby.recover().unwrap();
    });
    trial.lab.postgres = standby;
}

/// How many standbys have replayed all.
fn replicas(postgres: &Postgres<'_>) -> String {
    postgres.sql("select count(*) from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()")
}

/// The database goes on from a point in the past, in another directory.
fn go_back(trial: &mut Trial<'_>, label: &str, options: &[&str]) {
    // The times of files tell to a few seconds when a timeline began.
    (0..3).for_each(|_| next_second());
    trial.lab.postgres.stop();
    let mut next = next_server(trial, label, &[options, &["--target-action=promote"]].concat(), "");
    next.recover().unwrap();
    wait_for("the history in the archive", || {
        let last = next.sql("select last_archived_wal from pg_stat_archiver");
        last.ends_with(".history").then_some(())
    });
    next_second();
    trial.lab.postgres = next;
}

/// Restores a backup into another directory, from which the stanza is archived from now on.
fn next_server<'a>(trial: &Trial<'a>, label: &str, options: &[&str], settings: &str) -> Postgres<'a> {
    let name = (1..99).map(|number| format!("server{number}")).find(|name| !trial.site.path(name).exists());
    let directory = trial.site.create_directory(&name.unwrap());
    let data = directory.join("data");
    let text = |path: &Path| path.display().to_string();
    let config = trial.site.config().set(STANZA, "pg1-path", &text(&data)).set(
        STANZA,
        "pg1-socket-path",
        &text(&directory),
    );
    trial.site.write("both.conf", &config.text());
    let mut arguments = vec!["--repo=1".to_owned(), format!("--set={label}")];
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    arguments.push("restore".to_owned());
    trial.lab.pgbackrest(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let next = trial.lab.postgres.of_copy(&directory);
    let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
    file.write_all(format!("archive_mode = on\n{settings}").as_bytes()).unwrap();
    next
}

/// Names of partial segments in a repo.
fn partials(site: &Site, repo: u32) -> Vec<String> {
    let directories = fs::read_dir(site.path(&format!("repo{repo}/archive/{STANZA}/15-1"))).unwrap();
    let directories = directories.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let names = directories.flat_map(|directory| fs::read_dir(directory).unwrap());
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".partial-")).collect()
}
