//! Heartbeats: called as long as their conditions hold, and no longer.

use std::fs;

use nix::sys::signal::Signal;

use super::trial::{DAY, TOKEN, Trial};
use crate::host::restore_tests;
use crate::support::exporter::{Exporter, our_program};
use crate::support::lab::{STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, successful, wait_for};
use crate::support::sink::{Answer, Sink};

const MET: &str = "pgbackrest_heartbeat_conditions_met";

fn wait_for_call(sink: &Sink, path: &str) {
    let before = sink.at(path).len();
    wait_for(&format!("a call of {path}"), || (sink.at(path).len() > before).then_some(()));
}

#[test]
fn a_heartbeat_stops_with_its_conditions() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let (at, path) = (sink.address, format!("/ping/{TOKEN}"));
    trial.start(&format!(
        "heartbeats:\n\
         - {{name: fresh, url: 'http://{at}{path}', interval: 1s, services: [backups], critical: {{age: 26h}}}}\n\
         - {{name: clock, url: 'http://{at}/clock', interval: 1s, services: [stanza]}}\n\
         - {{name: lenient, url: 'http://{at}/lenient', interval: 1s, services: [backups], critical: {{age: 30d}}, allow_warnings: true}}\n\
         - {{name: strict, url: 'http://{at}/strict', interval: 1s, services: [backups], critical: {{age: 30d}}}}\n\
         - {{name: elsewhere, url: 'http://{at}/elsewhere', interval: 1s, services: [backups], stanzas: [other]}}\n\
         - {{name: window, url: 'http://{at}/unproven', interval: 1s, services: [wal], critical: {{window: '1s:'}}}}\n\
         - {{name: scanned, url: 'http://{at}/unproven', interval: 1s, services: [wal]}}\n\
         - {{name: tested, url: 'http://{at}/unproven', interval: 1s, services: [backups, restore-test]}}\n\
         - {{name: verified, url: 'http://{at}/unproven', interval: 1s, services: [verify]}}\n\
         - {{name: missing, url: 'http://{at}/unproven', interval: 1s, services: [stanza], repos: [1, 2]}}\n"
    ));
    for path in [&path, "/clock", "/lenient", "/strict"] {
        wait_for_call(&sink, path);
    }
    let call = &sink.at(&path)[0];
    assert!(call.method == "GET" && call.body.is_empty(), "{call:?}");
    assert!(call.headers["user-agent"].starts_with("pgbackrest-keeper/"), "{call:?}");
    // It is too old, and the newest full backup is a warning.
    trial.set_age(9 * DAY);
    trial.wait(MET, &[("target", "fresh")], |met| met == 0.0);
    trial.wait(MET, &[("target", "strict")], |met| met == 0.0);
    let calls = (sink.at(&path).len(), sink.at("/strict").len());
    trial.wait_for_judgements();
    wait_for_call(&sink, "/lenient");
    assert_eq!((sink.at(&path).len(), sink.at("/strict").len()), calls);
    trial.set_age(0);
    wait_for_call(&sink, &path);
    trial.fail();
    for target in ["fresh", "clock", "lenient", "strict"] {
        trial.wait(MET, &[("target", target)], |met| met == 0.0);
    }
    let calls = sink.received().len();
    let runs = ("pgbackrest_collector_runs_total", [("collector", "info")]);
    let before = trial.samples().value(runs.0, &runs.1);
    trial.wait(runs.0, &runs.1, |runs| runs >= before + 10.0);
    assert_eq!(sink.received().len(), calls);
    trial.set_age(0);
    for path in [&path, "/clock", "/lenient", "/strict"] {
        wait_for_call(&sink, path);
    }
    // An unknown stanza or repository, and what was never proven, are no good news.
    assert!(sink.at("/elsewhere").is_empty() && sink.at("/unproven").is_empty());
    for target in ["elsewhere", "window", "scanned", "tested", "verified", "missing"] {
        trial.samples().assert(MET, &[("target", target)], 0.0);
    }
    trial.assert_no_secret();
    // A call that fails is repeated before the interval has passed.
    trial.reload(&format!(
        "heartbeats:\n- {{name: fresh, url: 'http://{at}/again', interval: 1h, services: [backups]}}\n"
    ));
    wait_for_call(&sink, "/again");
    sink.answer(Answer::Status(500));
    trial.reload(&format!(
        "heartbeats:\n- {{name: other, url: 'http://{at}/failing', interval: 1h, services: [backups]}}\n"
    ));
    trial.wait(
        "pgbackrest_notification_failures_total",
        &[("target", "other"), ("reason", "status")],
        |failures| failures >= 2.0,
    );
    assert!(trial.samples().all(MET, &[("target", "fresh")]).is_empty());
    assert_eq!(sink.at("/again").len(), 1);
    trial.end(Signal::SIGTERM);
}

#[test]
fn a_name_that_is_too_long_affects_nobody_else() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    trial.start(&format!(
        "heartbeats:\n\
         - {{name: all, url: 'http://{at}/all', interval: 1s, services: [backups, stanza]}}\n\
         - {{name: demo, url: 'http://{at}/demo', interval: 1s, services: [backups, stanza], stanzas: [demo]}}\n",
        at = sink.address
    ));
    for path in ["/all", "/demo"] {
        wait_for_call(&sink, path);
    }
    trial.add_stanza(&"x".repeat(70_000));
    trial.wait(MET, &[("target", "all")], |met| met == 0.0);
    wait_for_call(&sink, "/demo");
    trial.samples().assert(MET, &[("target", "demo")], 1.0);
    trial.end(Signal::SIGTERM);
}

#[test]
fn real_backups_keep_a_heartbeat_going_with_the_installed_version() {
    real_backups("real_backups_keep_a_heartbeat_going_with_the_installed_version", Pgbackrest::installed());
}

#[test]
fn real_backups_keep_a_heartbeat_going_with_the_newest_version() {
    real_backups("real_backups_keep_a_heartbeat_going_with_the_newest_version", Pgbackrest::newest());
}

fn real_backups(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let tests = restore_tests::trial::Trial::start(&site);
    let lab = &tests.lab;
    lab.set_clock(Some("2 days"));
    for repo in [1, 2] {
        lab.back_up(repo, "full");
    }
    lab.set_clock(None);
    lab.postgres.archive_all();
    let sink = Sink::start();
    let at = sink.address;
    let config = site.write(
        "notify.yml",
        &format!(
            "heartbeats:\n\
             - {{name: fresh, url: 'http://{at}/fresh', interval: 1s, services: [backups, wal], critical: {{age: 26h, window: '0:'}}, warning: {{backup-skew: '~:', full-age: '~:', size: '~:'}}}}\n\
             - {{name: old, url: 'http://{at}/old', interval: 1s, services: [backups], critical: {{age: 30d}}}}\n\
             - {{name: tested, url: 'http://{at}/tested', interval: 1s, services: [restore-test], critical: {{restore-test-success-age: 7d}}}}\n\
             - {{name: verified, url: 'http://{at}/verified', interval: 1s, services: [verify], critical: {{verify-success-age: 7d}}}}\n\
             webhooks:\n\
             - {{name: pager, url: 'http://{at}/hook', services: [backups, stanza], repos: [1], for: 0s}}\n"
        ),
    );
    let config = format!("--notify.config.file={}", config.display());
    let state = format!("--state-directory={}", tests.state().display());
    let exporter = Exporter::start(&site, &lab.both, &[&config, &state, "--collect.interval=2s"]);
    let met = |target: &str, expected: f64| {
        exporter.wait(&format!("{target} {expected}"), |samples| {
            (samples.find(MET, &[("target", target)])? == expected).then_some(())
        });
    };
    let told = |parts: &[&str]| {
        wait_for(&format!("{parts:?}"), || {
            let bodies = sink.at("/hook").into_iter().map(|request| String::from_utf8(request.body).unwrap());
            let mut bodies = bodies.filter(|body| parts.iter().all(|part| body.contains(part)));
            bodies.next().map(|_| ())
        });
    };
    wait_for_call(&sink, "/old");
    met("fresh", 0.0);
    assert!(sink.at("/fresh").is_empty());
    told(&["\"status\":\"CRITICAL\",\"previous\":null", "demo repo1: the newest backup is 2 d"]);
    for repo in [1, 2] {
        lab.back_up(repo, "full");
    }
    wait_for_call(&sink, "/fresh");
    // For a moment, the other repository lags behind.
    told(&["\"service\":\"backups\"", "\"status\":\"OK\",\"previous\":"]);
    let (repo, moved) = (site.path("repo1"), site.path("repo1.away"));
    fs::rename(&repo, &moved).unwrap();
    met("fresh", 0.0);
    told(&["\"service\":\"stanza\"", "\"status\":\"CRITICAL\",\"previous\":\"OK\""]);
    fs::rename(&moved, &repo).unwrap();
    wait_for_call(&sink, "/fresh");
    // Only what was tried is proven.
    for (target, path) in [("tested", "/tested"), ("verified", "/verified")] {
        met(target, 0.0);
        assert!(sink.at(path).is_empty());
    }
    tests.test(&[]).passed();
    wait_for_call(&sink, "/tested");
    let mut verify = call(site.account.as_ref(), our_program(&site));
    verify.args(["verify", &format!("--stanza={STANZA}"), &state]);
    verify.arg(format!("--backrest.config={}", lab.both.display()));
    successful(verify.arg(format!("--backrest.binary={}", site.pgbackrest.program.display())));
    wait_for_call(&sink, "/verified");
    assert_eq!(exporter.stop(), Some(0));
}
