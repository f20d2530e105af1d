//! Logs of recoveries, as PostgreSQL and `archive-get` write them.

use super::*;

const SECOND: &str = "000000010000000000000002";
const THIRD: &str = "000000010000000000000003";

fn segment(name: &str) -> WalSegment {
    WalSegment::parse(name).unwrap()
}

fn found(name: &str) -> String {
    format!(
        "INFO: found {name} in the repo1: 15-1 archive\nLOG:  restored log file \"{name}\" from archive\n"
    )
}

fn missing(name: &str) -> String {
    format!(
        "INFO: unable to find {name} in the archive\nINFO: archive-get command end: completed successfully\n"
    )
}

const READY: &str = "LOG:  consistent recovery state reached at 0/2000100\n\
                     LOG:  database system is ready to accept read-only connections\n";

/// The first result, or why the server ended after the last line.
fn follow(text: &str) -> Result<Option<Next>, Stop> {
    let mut recovery = Recovery::default();
    for line in text.lines() {
        if let Some(next) = recovery.line(line) {
            return Ok(Some(next));
        }
        if let Some(stop) = recovery.repeated_error() {
            return Err(stop);
        }
    }
    if recovery.fatal.is_some() { Err(recovery.ended("exit status: 1")) } else { Ok(None) }
}

fn class(text: &str) -> ReasonClass {
    match follow(text) {
        Ok(Some(Next::Failed(stop))) | Err(stop) => stop.class,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_is_where_the_same_segment_is_missing_again_and_again() {
    let start = format!("{}{}{READY}", found(SECOND), missing("00000002.history"));
    let twice = missing(THIRD).repeat(2);
    assert_eq!(follow(&format!("{start}{twice}")), Ok(None));
    let thrice = format!("{start}{twice}{}{}", missing("00000002.history"), missing(THIRD));
    assert_eq!(follow(&thrice), Ok(Some(Next::Reached(End::Missing(segment(THIRD))))));
    // It arrived in the meantime.
    assert_eq!(follow(&format!("{start}{twice}{}{}", found(THIRD), missing(THIRD))), Ok(None));
    // Before the copy is consistent, it needs the segment.
    assert_eq!(class(&format!("{}{}", found(SECOND), missing(THIRD).repeat(3))), ReasonClass::MissingWal);
}

#[test]
fn the_end_is_found_if_a_segment_is_asked_for_on_several_timelines() {
    let on_the_second = "000000020000000000000003";
    let cycle = format!("{}{}", missing(on_the_second), missing(THIRD));
    let text = format!("{}{READY}{}", found(SECOND), cycle.repeat(2));
    assert_eq!(follow(&text), Ok(None));
    assert_eq!(
        follow(&format!("{text}{cycle}")),
        Ok(Some(Next::Reached(End::Missing(segment(on_the_second)))))
    );
}

#[test]
fn a_position_is_on_the_timeline_of_its_segment() {
    let mut recovery = Recovery::default();
    let text = found(SECOND) + &found(THIRD) + &found("000000020000000000000004");
    text.lines().for_each(|line| _ = recovery.line(line));
    let at = |lsn: &str| recovery.timeline_at(Lsn::parse(lsn).unwrap(), SegmentSize::DEFAULT);
    // The last segment was read ahead.
    assert_eq!([at("0/3FFFFF0"), at("0/4000000"), at("0/4000028")], [Some(1), Some(1), Some(2)]);
    assert_eq!(at("0/1000000"), None);
}

#[test]
fn a_copy_that_accepts_no_queries_is_no_bad_backup() {
    let consistent = "LOG:  consistent recovery state reached at 0/2000100\n";
    let end = missing(THIRD).repeat(20);
    assert_eq!(class(&format!("{}{consistent}{end}", found(SECOND))), ReasonClass::UnreachableTarget);
    let promoted =
        "LOG:  recovery stopping before commit of transaction 739\nLOG:  selected new timeline ID: 2\n";
    assert_eq!(class(&format!("{consistent}{promoted}")), ReasonClass::UnreachableTarget);
}

#[test]
fn a_target_is_reached_when_recovery_has_paused() {
    let stopping = "LOG:  recovery stopping before commit of transaction 739, time 2026-11-22 09:30:00+00\n";
    let text = format!("{}{READY}{stopping}", found(SECOND));
    assert_eq!(follow(&text), Ok(None));
    let text = format!(
        "{text}LOG:  pausing at the end of recovery\nHINT:  Execute pg_wal_replay_resume() to promote.\n"
    );
    assert_eq!(follow(&text), Ok(Some(Next::Reached(End::Target))));
    // The copy may become consistent only then.
    let late = format!("{stopping}LOG:  pausing at the end of recovery\n{READY}");
    assert_eq!(follow(&late), Ok(Some(Next::Reached(End::Target))));
}

#[test]
fn a_setting_is_raised_in_every_version() {
    let detail = "DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its value was 200.";
    for message in [
        "WARNING:  hot standby is not possible because of insufficient parameter settings",
        "FATAL:  recovery aborted because of insufficient parameter settings",
    ] {
        let text = format!("{READY}{message}\n{detail}\n");
        assert_eq!(follow(&text), Ok(Some(Next::Raise { setting: "max_connections", needed: 200 })));
    }
}

#[test]
fn damage_is_told_from_the_end() {
    let again = |message: &str| {
        let attempt = format!("{}LOG:  {message}\n", found(SECOND));
        format!("{READY}{}", attempt.repeat(5))
    };
    assert_eq!(
        class(&again("incorrect resource manager data checksum in record at 0/2000060")),
        ReasonClass::DamagedWal
    );
    let end = follow(&again("invalid record length at 0/2000060: wanted 24, got 0"));
    assert_eq!(end, Ok(Some(Next::Reached(End::Within(segment(SECOND))))));
    // PostgreSQL does not take a file that is too small.
    let found_only = format!("INFO: found {SECOND} in the repo1: 15-1 archive\n").repeat(5);
    assert_eq!(class(&format!("{READY}{found_only}")), ReasonClass::DamagedWal);
}

#[test]
fn an_error_that_may_pass_is_waited_for() {
    let error = |code: u32, text: &str| {
        format!("P00  ERROR: [{code:03}]: unable to get {SECOND}:\n              repo1: 15-1/x [{text}] y\n")
    };
    assert_eq!(class(&error(42, "FormatError").repeat(4)), ReasonClass::DamagedWal);
    assert_eq!(follow(&error(42, "FormatError").repeat(2)), Ok(None));
    assert_eq!(follow(&error(42, "HostConnectError").repeat(5)), Ok(None));
    assert_eq!(class(&error(42, "HostConnectError").repeat(16)), ReasonClass::Repository);
}

#[test]
fn the_first_fatal_error_is_the_reason() {
    let text = "FATAL:  could not access file \"nosuch\": No such file or directory\n\
                LOG:  database system is shut down\nFATAL:  something else\n";
    let stop = follow(text).unwrap_err();
    assert_eq!(stop.class, ReasonClass::MissingLibrary);
    assert!(stop.message.contains("nosuch"), "{}", stop.message);
    assert_eq!(class("FATAL:  recovery target timeline 9 does not exist\n"), ReasonClass::MissingWal);
}
