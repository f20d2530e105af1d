//! The tables of `info`, over real and hostile snapshots.

use pgbackrest_keeper::cli::info_table::{Terminal, render};
use pgbackrest_keeper::state::snapshot::{ConfigurationHealth, Snapshot};

use crate::web::page::cases::{self, now};

const NARROW: Terminal = Terminal { width: 80, has_colours: false };

fn table(snapshot: &Snapshot) -> String {
    render(snapshot, now(), NARROW)
}

fn has(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn the_verdict_comes_first() {
    let text = table(&cases::five_weeks());
    let first = "✓ demo: ok, restorable from 2026-10-23 16:45:10 UTC to at least 2026-11-22 10:00:10 UTC \
                 (repo1, not verified), newest backup 3 h 10 min ago\n";
    assert!(text.starts_with(first), "{text}");
    has(
        &text,
        &["repo1", "repo2", "✓ ok", "211 GiB, 52.7 GiB stored", "encrypted (aes-256-cbc)", "storage: s3"],
    );
    has(&text, &["000000010000000000000001", "2026-10-23 16:45:10 UTC"]);
}

#[test]
fn what_is_no_stanza_is_not_called_one() {
    let mut snapshot = cases::five_weeks();
    snapshot.stanzas.extend(cases::fixture("repo_permission_denied_no_stanza_option").stanzas);
    let problem = Some("/etc/pgbackrest.conf:3: the line has no =".to_owned());
    snapshot.collection.configuration = Some(ConfigurationHealth { problem });
    let text = table(&snapshot);
    has(&text, &["✕ repositories that cannot be listed: failed", "✓ demo: ok"]);
    has(&text, &["▲ pgBackRest's configuration cannot be read: /etc/pgbackrest.conf:3: the line has no ="]);
    assert!(!text.contains("[invalid]"), "{text}");
}

#[test]
fn restore_tests_are_told_in_the_notes() {
    let text = render(&cases::restore_tests(), now(), Terminal { width: 200, has_colours: false });
    has(
        &text,
        &[
            "▲ records of restore tests cannot be used: /var/lib/pgbackrest-keeper/restore-tests/demo: Permission denied",
            "restore test was inconclusive",
            "last restore test that passed: ",
            "restore tests: 1 of ",
        ],
    );
    assert!(!table(&cases::five_weeks()).contains("restore test"));
}

#[test]
fn every_case_fits_the_terminal() {
    for (name, snapshot) in cases::all() {
        for width in [60, 80, 132, 200] {
            let text = render(&snapshot, now(), Terminal { width, has_colours: false });
            for line in text.lines().filter(|line| line.starts_with(['│', '╭', '╰', '├', '╞'])) {
                assert!(line.chars().count() <= usize::from(width), "{name} at {width}: {line}");
            }
            assert!(text.ends_with('\n') && !text.contains('\u{1b}'), "{name}");
        }
    }
}

#[test]
fn colours_are_sent_only_when_asked_for() {
    let coloured = render(&cases::second_repo_hangs(), now(), Terminal { width: 80, has_colours: true });
    has(&coloured, &["demo: \u{1b}[1;33mwarning\u{1b}[0m"]);
    assert!(!table(&cases::second_repo_hangs()).contains('\u{1b}'));
}
