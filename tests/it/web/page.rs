//! The status page over real and hostile snapshots, as text and in a browser.

mod browser;
pub(crate) mod cases;
mod fleet;

use std::sync::Arc;

use pgbackrest_keeper::http::page::{self, PageContext};
use pgbackrest_keeper::state::snapshot::{ConfigurationHealth, Snapshot};

use cases::{HOSTILE, context, fixture, now, render};

/// No page may be larger, whatever the snapshot holds.
const LIMIT_BYTES: usize = 200_000;

fn has(page: &str, expected: &[&str]) {
    for text in expected {
        assert!(page.contains(text), "the page lacks {text:?}");
    }
}

#[test]
fn a_healthy_stanza_says_to_when_it_can_be_restored() {
    let page = render(&cases::five_weeks());
    has(
        &page,
        &[
            "demo is ok",
            "Restorable at least to",
            "2026-11-22T10:00:10Z",
            "3 h 10 min ago",
            "not verified",
            "repo1",
            "repo2",
            "aes-256-cbc",
            "posix",
            "s3",
            "4 full, 7 diff: satisfied",
            "full for 30 d",
            "000000010000000000000001",
            "00000001000000000000000B",
            "Last collection",
            "every 10 min",
            "pgBackRest 2.60.0",
            "href=\"/metrics\"",
            "lang=\"en\"",
        ],
    );
}

#[test]
fn restore_tests_are_told_with_their_results() {
    let page = render(&cases::restore_tests());
    has(
        &page,
        &[
            "demo needs attention",
            "a restore test failed 2 d ago with ",
            "F (damaged_pages, pages): 3 pages have wrong checksums",
            "about 41 min to the latest point in time (at worst 51 min), about 1 h 2 min to the one that takes longest",
            "was inconclusive",
            "3 checks passed, 1 failed, 1 not made",
            "last passed",
            "1 of 5 full backups tested",
            "Records of restore tests cannot be used",
            "restore-tests/demo: Permission denied",
        ],
    );
    assert!(!render(&cases::five_weeks()).contains("estore test"));
}

#[test]
fn verifications_are_told_with_their_results() {
    let page = render(&cases::verifications());
    has(
        &page,
        &[
            "demo needs attention",
            "a verification failed 1 d ago (damaged_backup): 1 backup cannot be restored completely",
            "4 of 5 backups valid; 12345 files, 1 missing, 1 damaged; 678 WAL segments",
            "2 gaps in the WAL of 15-1",
            "last passed",
            "Records of verifications cannot be used",
            "verifications/demo: Permission denied",
        ],
    );
    assert!(!render(&cases::five_weeks()).contains("erification"));
}

#[test]
fn a_repository_that_cannot_be_listed_is_no_stanza() {
    let mut unlisted = fixture("repo_permission_denied_no_stanza_option");
    // Merging gives it none.
    unlisted.collection.scopes.remove("[invalid]");
    let alone = render(&unlisted);
    has(&alone, &["No stanza is known", "so its stanzas are unknown", "repositories that cannot be listed"]);
    assert!(!alone.contains("[invalid]"), "pgBackRest's stand-in is not a name");
    let mut beside = cases::five_weeks();
    beside.stanzas.extend(unlisted.stanzas);
    let page = render(&beside);
    has(&page, &["demo is ok, and a repository cannot be listed", "symbol failed"]);
    assert!(!page.contains("[invalid]") && !page.contains("of 2 stanzas"));
}

#[test]
fn a_configuration_that_cannot_be_read_is_said() {
    let mut snapshot = cases::five_weeks();
    let problem = "/etc/pgbackrest/conf.d contains more than 100000 files, which is the limit".to_owned();
    snapshot.collection.configuration = Some(ConfigurationHealth { problem: Some(problem.clone()) });
    let page = render(&snapshot);
    has(
        &page,
        &[
            "demo is ok",
            "so stanzas may be missing here",
            "configuration cannot be read",
            &problem,
            "symbol warning",
        ],
    );
    snapshot.collection.configuration = Some(ConfigurationHealth { problem: None });
    assert_eq!(render(&snapshot), render(&cases::five_weeks()));
}

#[test]
fn what_is_unknown_is_called_so() {
    let mut snapshot = fixture("two_repos_repo2_wrong_pass");
    let [good, bad] = &mut snapshot.stanzas[0].repos[..] else { panic!("two repositories") };
    assert_eq!((good.cipher.as_deref(), bad.cipher.as_deref()), (Some("none"), None));
    for backup in good.backups.iter_mut() {
        (backup.size, backup.repo_delta) = (None, None);
    }
    has(&render(&snapshot), &["<dt>Encryption</dt><dd>unknown</dd>", "unknown stored", "<dd>none</dd>"]);
}

#[test]
fn what_broke_is_said_in_words() {
    has(
        &render(&fixture("two_repos_repo2_unreachable_no_stanza_option")),
        &["demo needs attention", "repo2", "unable to connect to '127.0.0.1:1'"],
    );
}

#[test]
fn states_without_facts_have_their_own_words() {
    has(&render(&Snapshot::default()), &["The first collection is running"]);
    has(&render(&cases::with_collection(vec![])), &["pgBackRest has no stanzas", "stanza-create"]);
    has(
        &render(&cases::nothing_answers()),
        &[
            "pgBackRest does not respond",
            "refuses to run as root",
            "exit code 31",
            "such as postgres",
            "never",
        ],
    );
    let unknown = PageContext { stanza: Some("other"), ..context() };
    has(&page::render(&cases::five_weeks(), &unknown, now()), &["Stanza other not found", "href=\"?\""]);
}

#[test]
fn hostile_text_is_shown_as_text() {
    let page = page::render(&cases::hostile(), &PageContext { title: HOSTILE, ..context() }, now());
    assert!(page.len() < LIMIT_BYTES);
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;"));
    let steering = |character: &char| character.is_control() && *character != '\n';
    assert_eq!(page.chars().find(steering), None);
    assert_eq!(page.chars().find(|character| "\u{202e}\u{2066}".contains(*character)), None);
    assert_needs_nothing_else(&page);
}

#[test]
fn no_page_is_large_or_needs_anything_else() {
    let mut many_repos = cases::five_weeks();
    let repo = many_repos.stanzas[0].repos[0].clone();
    many_repos.stanzas[0].repos = (1..=256)
        .map(|key| {
            let mut repo = repo.clone();
            repo.key = key;
            repo
        })
        .collect();
    let extra = [("many-repos", many_repos), ("thousand-stanzas", cases::many_stanzas(1_000))];
    let of_stanzas = cases::all().into_iter().chain(extra).map(|(name, snapshot)| (name, render(&snapshot)));
    for (name, page) in of_stanzas.chain(fleet::pages()) {
        if let Some(kept) = cases::kept(&format!("{name}.html")) {
            std::fs::write(kept, &page).unwrap();
        }
        assert!(page.len() < LIMIT_BYTES, "{name}: {} bytes", page.len());
        assert_needs_nothing_else(&page);
    }
}

/// No attribute that a strict policy refuses, no resource from elsewhere. Free text may say anything, so tags alone count.
fn assert_needs_nothing_else(page: &str) {
    let body = page.split_once("</style>").unwrap().1;
    for tag in body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let names = attribute_names(tag);
        for refused in ["style", "src", "srcset"] {
            assert!(!names.contains(&refused.to_owned()), "{tag}");
        }
        assert!(!names.iter().any(|name| name.starts_with("on")), "{tag}");
        assert!(!tag.contains("href=\"http") && !tag.contains("href=\"//"), "{tag}");
    }
    assert!(!page.contains("<script") && !page.contains("<link") && !page.contains("http-equiv"));
}

fn attribute_names(tag: &str) -> Vec<String> {
    let outside: String = tag.split('"').step_by(2).collect();
    outside
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn the_worst_stanza_comes_first_and_every_name_leads_somewhere() {
    let page = render(&cases::many_stanzas(200));
    has(&page, &["1 of 200 stanzas failed, 1 needs attention"]);
    let place = |name: &str| page.find(name).unwrap();
    assert!(place("stanza-0100") < place("stanza-0066"));
    assert!(place("stanza-0066") < place("stanza-0000"));
    for number in 0..200 {
        let inside = format!("href=\"#stanza-stanza-{number:04}\"");
        let alone = format!("href=\"?stanza=stanza-{number:04}\"");
        let is_on_page = page.contains(&format!("id=\"stanza-stanza-{number:04}\""));
        assert!(page.contains(if is_on_page { &inside } else { &alone }), "stanza-{number:04}");
    }
    let alone = PageContext { stanza: Some("stanza-0199"), ..context() };
    has(&page::render(&cases::many_stanzas(200), &alone, now()), &["stanza-0199 is ok", "all stanzas"]);
}

#[test]
fn a_stanza_whose_facts_are_gone_keeps_its_name() {
    let mut snapshot = cases::five_weeks();
    snapshot
        .collection
        .scopes
        .insert(Arc::from("lost"), cases::failed(pgbackrest_keeper::state::snapshot::ScopeKind::Stanza));
    has(
        &render(&snapshot),
        &["1 of 2 stanzas failed", "lost", "it last succeeded 3 h ago", "is the repository host reachable?"],
    );
}
