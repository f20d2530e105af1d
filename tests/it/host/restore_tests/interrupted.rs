//! Tests that are killed, hang, or run at the same time: nothing of them is left.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::trial::{Trial, record_in};
use crate::support::lab::Site;
use crate::support::machine::Pgbackrest;
use crate::support::process::{Running, wait_for};

#[test]
fn a_hung_repository_ends_the_test_in_time() {
    let Some(site) = Site::or_skip("a_hung_repository_ends_the_test_in_time", Pgbackrest::newest()) else {
        return;
    };
    let trial = Trial::start(&site);
    trial.lab.back_up(1, "full");
    for (command, limit) in [("restore", "--restore-timeout=2s"), ("archive-get", "--replay-timeout=5s")] {
        let hangs = trial.before(command, "sleep 600");
        trial.test(&["--repo=1", limit, &hangs]).ended("timed_out", "deadline");
        trial.assert_clean();
        // Even if the copy is kept, no process is.
        trial.test(&["--repo=1", limit, &hangs, "--keep-on-failure"]).ended("timed_out", "deadline");
        assert!(trial.directory().join("data").exists());
        assert_eq!(trial.processes(), Vec::<i32>::new());
    }
    trial.test(&["--repo=1"]).passed();
    trial.assert_clean();
}

#[test]
fn tests_wait_for_each_other() {
    let Some(site) = Site::or_skip("tests_wait_for_each_other", Pgbackrest::newest()) else { return };
    let trial = Trial::start(&site);
    trial.lab.back_up(1, "full");
    let hangs = trial.before("restore", "touch $own/here; sleep 600");
    let start = |arguments: &[&str], log: &str| {
        let all: Vec<&str> = ["--repo=1"].iter().chain(arguments).copied().collect();
        Running::start("restore-test", trial.command(&all), &site.path(log), Signal::SIGTERM)
    };
    let mut first = start(&[&hangs], "first.log");
    let hung = trial.directory().join("log/here");
    wait_for("the first test to hang", || hung.exists().then_some(()));
    let in_vain = trial.site_output(&["--repo=1", "--wait=1s"]);
    assert!(in_vain.contains("another restore test"), "{in_vain}");
    let start_waiting = |log| {
        let mut waits = start(&["--wait=1h", "--log.level=info"], log);
        let is_waiting = |log: &str| log.contains("Waiting for another restore test").then_some(());
        waits.wait_in_log("the test to wait", is_waiting);
        waits
    };
    let (mut interrupted, mut second) = (start_waiting("interrupted.log"), start_waiting("second.log"));
    let end = |running: &mut Running| {
        kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGTERM).unwrap();
        running.wait().code()
    };
    assert_eq!(end(&mut interrupted), Some(1), "{}", interrupted.log());
    assert_eq!(end(&mut first), Some(4), "{}", first.log());
    assert!(second.wait().success(), "{}", second.log());
    trial.assert_clean();
}

#[test]
fn a_test_that_is_killed_in_any_phase_is_removed_by_the_next() {
    let test = "a_test_that_is_killed_in_any_phase_is_removed_by_the_next";
    let Some(site) = Site::or_skip(test, Pgbackrest::newest()) else { return };
    let trial = Trial::start(&site);
    trial.lab.back_up(1, "full");
    let begun = site.create_directory("begun").join("here");
    // It may not write elsewhere, except for the hook.
    let hangs = |command: &str| trial.before(command, "touch $own/here; sleep 600");
    let hook = site.script("waits", &format!("touch {}\nexec sleep 600\n", begun.display()));
    let hook = format!("--hook={}", hook.display());
    let (restoring, replaying) = (hangs("restore"), hangs("archive-get"));
    let start = |argument: &str| {
        let log = site.path("keeper.log");
        let command = trial.command(&["--repo=1", argument]);
        let running = Running::start("restore-test", command, &log, Signal::SIGTERM);
        let in_copy = trial.directory().join("log/here");
        wait_for("the test to hang", || (begun.exists() || in_copy.exists()).then_some(()));
        let _ = (fs::remove_file(&begun), fs::remove_file(&in_copy));
        running
    };
    for argument in [&restoring, &replaying, &hook] {
        let mut running = start(argument);
        // Only one test at a time.
        let second = trial.site_output(&["--repo=1"]);
        assert!(second.contains("another restore test"), "{second}");
        kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGKILL).unwrap();
        running.wait();
        assert!(!trial.processes().is_empty(), "{argument}: something runs on");
        trial.test(&["--repo=1"]).passed();
        trial.assert_clean();

        let mut running = start(argument);
        kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(running.wait().code(), Some(4), "{argument}: {}", running.log());
        assert_eq!(record_in(&running.log())["reason"]["class"], "interrupted");
        trial.assert_clean();
    }
}
