//! Each rule of merging as a case.

use super::super::snapshot::{Archive, Database, FailureReason, Progress, ScopeKind};
use super::*;
use chrono::TimeDelta;

mod properties;
mod unknown;

const HOUR: i64 = 3600;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// A repository as a document shows it; `mark` tells its facts from others and 0 means that it has none.
fn repo(key: u32, code: i64, mark: u64, read_at: i64) -> Repo {
    let facts = mark != 0;
    let database = Database { id: mark, system_id: Some(7), version: "15".to_owned() };
    let archive = Archive { database_id: mark, id: format!("15-{mark}"), min: None, max: None };
    Repo {
        state: RepoState::of_code(code),
        status_code: Some(code),
        status_message: format!("code {code}"),
        databases: facts.then_some(database).into_iter().collect(),
        archives: facts.then_some(archive).into_iter().collect(),
        ..nothing_known(key, at(read_at))
    }
}

fn stanza_of(name: &str, code: i64, repos: Vec<Repo>) -> Stanza {
    Stanza {
        name: name.into(),
        status_code: code,
        status_message: format!("given {code}"),
        backup_lock: Activity::default(),
        restore_lock: Activity::default(),
        repos,
        other_program: None,
        stop_files: None,
    }
}

fn answer(stanza: Option<&str>, repo: Option<u32>, seconds: i64, reply: Reply) -> Answer {
    Answer { target: Target { stanza: stanza.map(Arc::from), repo }, at: at(seconds), reply }
}

fn document(stanzas: Vec<Stanza>) -> Reply {
    Reply::Stanzas { stanzas, unreadable: Vec::new() }
}

fn silent(reason: FailureReason) -> Reply {
    Reply::Silent(Failure { reason, exit_code: None, message: format!("{reason:?}") })
}

fn run(answers: Vec<Answer>) -> Run {
    Run { answers, finished: true, ..Run::default() }
}

fn merged(previous: &Snapshot, run: Run, seconds: i64) -> Snapshot {
    merged_by(&Filter::default(), previous, run, seconds)
}

fn merged_by(filter: &Filter, previous: &Snapshot, run: Run, seconds: i64) -> Snapshot {
    let configured = &Configured::default();
    let max_staleness = TimeDelta::seconds(HOUR);
    merge(previous, run, &Policy { filter, max_staleness, configured }, at(seconds))
}

/// `demo` in two repositories and `other` in the first, read at second 0.
fn standing() -> Snapshot {
    let stanzas = vec![
        stanza_of("demo", 0, vec![repo(1, 0, 11, 0), repo(2, 0, 12, 0)]),
        stanza_of("other", 0, vec![repo(1, 0, 21, 0)]),
    ];
    merged(&Snapshot::default(), run(vec![answer(None, None, 0, document(stanzas))]), 0)
}

/// `name: repo=state/code/mark of its facts@second of reading …`, one line per stanza.
fn seen(snapshot: &Snapshot) -> Vec<String> {
    let line = |stanza: &Stanza| {
        let repos: Vec<String> = stanza
            .repos
            .iter()
            .map(|repo| {
                format!(
                    "{}={:?}/{}/{}@{}",
                    repo.key,
                    repo.state,
                    repo.status_code.map_or("-".to_owned(), |code| code.to_string()),
                    repo.current_database().map_or(0, |database| database.id),
                    (repo.collected_at - at(0)).num_seconds()
                )
            })
            .collect();
        format!("{} {}: {}", stanza.name, stanza.status_code, repos.join(" "))
    };
    snapshot.stanzas.iter().map(line).collect()
}

/// `name kind up last_run last_success reason`, one line per scope.
fn scopes_seen(snapshot: &Snapshot) -> Vec<String> {
    let seconds = |time: DateTime<Utc>| (time - at(0)).num_seconds();
    let line = |(name, health): (&Arc<str>, &super::super::snapshot::ScopeHealth)| {
        format!(
            "{name} {:?} {} {} {:?} {:?}",
            health.kind,
            health.up,
            seconds(health.last_run),
            health.last_success.map(seconds),
            health.failure.as_ref().map(|failure| failure.reason),
        )
    };
    snapshot.collection.scopes.iter().map(line).collect()
}

#[test]
fn a_combined_answer_replaces_everything() {
    let next = vec![stanza_of("demo", 4, vec![repo(1, 2, 0, 600), repo(2, 0, 13, 600)])];
    let after = merged(&standing(), run(vec![answer(None, None, 600, document(next))]), 600);
    assert_eq!(seen(&after), ["demo 4: 1=NoValidBackups/2/0@600 2=Ok/0/13@600"]);
    assert_eq!(after.stanzas[0].status_message, "given 4");
    assert_eq!(
        scopes_seen(&after),
        ["all-stanzas Call true 600 Some(600) None", "demo Stanza true 600 Some(600) None"]
    );
}

#[test]
fn a_configured_stanza_that_no_repository_lists_is_missing_and_not_gone() {
    let filter = &Filter::default();
    let configured = &Configured { stanzas: ["demo".into(), "new".into()].into(), repos: [1, 2].into() };
    let policy = &Policy { filter, max_staleness: TimeDelta::seconds(HOUR), configured };
    let nothing = run(vec![answer(None, None, 9, document(vec![]))]);
    let unmounted = merge(&standing(), nothing.clone(), policy, at(9));
    for name in ["demo", "new"] {
        let stanza = unmounted.stanza(name).unwrap();
        assert_eq!((stanza.status_code, stanza.repos.len()), (1, 2), "{name}");
        assert!(
            stanza.repos.iter().all(|repo| repo.state == RepoState::MissingStanzaPath && !repo.has_facts())
        );
    }
    assert_eq!(merge(&unmounted, nothing, policy, at(10)).stanzas.len(), 2, "and stays so");
}

#[test]
fn codes_of_absence_are_answers_and_code_99_is_none() {
    for (code, expected) in [
        (1, "demo 4: 1=MissingStanzaPath/1/0@600 2=Ok/0/12@600"),
        (3, "demo 4: 1=MissingStanzaData/3/0@600 2=Ok/0/12@600"),
        (99, "demo 4: 1=Other/99/11@0 2=Ok/0/12@600"),
    ] {
        let next = vec![
            stanza_of("demo", 4, vec![repo(1, code, 0, 600), repo(2, 0, 12, 600)]),
            stanza_of("other", 0, vec![repo(1, 0, 21, 600)]),
        ];
        let after = merged(&standing(), run(vec![answer(None, None, 600, document(next))]), 600);
        assert_eq!(seen(&after), [expected, "other 0: 1=Ok/0/21@600"]);
        assert!(after.collection.scopes.values().all(|scope| scope.up), "code {code} is an answer");
    }
}

#[test]
fn a_silent_repository_keeps_its_facts_until_they_are_too_old() {
    let lanes = |seconds| {
        let first = vec![
            stanza_of("demo", 0, vec![repo(1, 0, 11, seconds)]),
            stanza_of("other", 0, vec![repo(1, 0, 21, seconds)]),
        ];
        run(vec![
            answer(None, Some(1), seconds, document(first)),
            answer(None, Some(2), seconds, silent(FailureReason::Timeout)),
        ])
    };
    let soon = merged(&standing(), lanes(600), 600);
    assert_eq!(seen(&soon)[0], "demo 4: 1=Ok/0/11@600 2=Timeout/-/12@0");
    assert_eq!(
        scopes_seen(&soon)[..2],
        ["all-stanzas Call false 600 Some(0) Some(Timeout)", "demo Stanza false 600 Some(0) Some(Timeout)"]
    );
    let late = merged(&soon, lanes(HOUR + 1), HOUR + 1);
    assert_eq!(seen(&late)[0], format!("demo 4: 1=Ok/0/11@{} 2=Timeout/-/0@0", HOUR + 1));
}

#[test]
fn nothing_but_health_stays_of_a_stanza_that_was_silent_for_too_long() {
    let silence = |seconds| run(vec![answer(None, None, seconds, silent(FailureReason::RootRefused))]);
    let soon = merged(&standing(), silence(600), 600);
    assert_eq!(seen(&soon), ["demo 99: 1=Other/-/11@0 2=Other/-/12@0", "other 99: 1=Other/-/21@0"]);
    let late = merged(&soon, silence(HOUR + 1), HOUR + 1);
    assert!(late.stanzas.is_empty());
    let later = merged(&late, silence(HOUR + 2), HOUR + 2);
    assert_eq!(
        scopes_seen(&later),
        [
            "all-stanzas Call false 3602 Some(0) Some(RootRefused)",
            "demo Stanza false 3602 Some(0) Some(RootRefused)",
            "other Stanza false 3602 Some(0) Some(RootRefused)"
        ]
    );
    // The end of the silence tells which of them still exist.
    let back = vec![stanza_of("demo", 0, vec![repo(1, 0, 11, 7000)])];
    let after = merged(&later, run(vec![answer(None, None, 7000, document(back))]), 7000);
    assert_eq!(
        scopes_seen(&after),
        ["all-stanzas Call true 7000 Some(7000) None", "demo Stanza true 7000 Some(7000) None"]
    );
}

#[test]
fn the_status_over_separate_answers_follows_pgbackrests_rule() {
    let mut foreign = repo(2, 0, 12, 600);
    foreign.databases[0].system_id = Some(8);
    for (second, expected) in [
        (repo(2, 0, 12, 600), (0, "ok")),
        (repo(2, 2, 12, 600), (4, "different across repos")),
        (foreign, (5, "database mismatch across repos")),
    ] {
        let lanes = run(vec![
            answer(None, Some(1), 600, document(vec![stanza_of("demo", 0, vec![repo(1, 0, 11, 600)])])),
            answer(None, Some(2), 600, document(vec![stanza_of("demo", 0, vec![second])])),
        ]);
        let after = merged(&Snapshot::default(), lanes, 600);
        assert_eq!((after.stanzas[0].status_code, &*after.stanzas[0].status_message), expected);
    }
}

#[test]
fn a_stanza_that_one_repository_does_not_list_is_missing_there() {
    let lane = |key, seconds, names: &[&str]| {
        let stanzas = names.iter().map(|name| stanza_of(name, 0, vec![repo(key, 0, 5, seconds)])).collect();
        answer(None, Some(key), seconds, document(stanzas))
    };
    let after = merged(&standing(), run(vec![lane(1, 600, &["other"]), lane(2, 600, &["demo"])]), 600);
    assert_eq!(
        seen(&after),
        [
            "demo 4: 1=MissingStanzaPath/1/0@600 2=Ok/0/5@600",
            "other 4: 1=Ok/0/5@600 2=MissingStanzaPath/1/0@600"
        ]
    );
    let after = merged(&after, run(vec![lane(1, 700, &["other"]), lane(2, 700, &[])]), 700);
    assert_eq!(seen(&after), ["other 4: 1=Ok/0/5@700 2=MissingStanzaPath/1/0@700"]);
    assert!(!after.collection.scopes.contains_key("demo"));
}

#[test]
fn an_isolated_call_does_not_bring_a_stanza_into_being() {
    let missing = |key| {
        let stanzas = vec![stanza_of("configured", 1, vec![repo(key, 1, 0, 600)])];
        answer(Some("configured"), Some(key), 600, document(stanzas))
    };
    let after = merged(&Snapshot::default(), run(vec![missing(1), missing(2)]), 600);
    assert!(after.stanzas.is_empty() && !after.collection.scopes.contains_key("configured"));
}

#[test]
fn a_repository_that_cannot_be_listed_blinds_no_stanza() {
    let mut error = repo(1, 99, 0, 600);
    error.error = Some("PathOpenError");
    let invalid = vec![stanza_of(UNLISTED, 99, vec![error.clone()])];
    let after = merged(&standing(), run(vec![answer(None, Some(1), 600, document(invalid))]), 600);
    assert_eq!(
        seen(&after),
        [
            "[invalid] 99: 1=Other/99/0@600",
            "demo 4: 1=Other/99/11@0 2=Ok/0/12@0",
            "other 99: 1=Other/99/21@0"
        ]
    );
    assert_eq!(after.stanzas[1].repos[0].error, Some("PathOpenError"));
    assert!(!after.collection.scopes.contains_key(UNLISTED));
    // Stanzas found elsewhere carry the error themselves; `other`, which is nowhere else, is not named at all.
    let demo = vec![stanza_of("demo", 4, vec![error, repo(2, 0, 12, 700)])];
    let after = merged(&after, run(vec![answer(None, None, 700, document(demo))]), 700);
    assert_eq!(seen(&after), ["demo 4: 1=Other/99/11@0 2=Ok/0/12@700", "other 99: 1=Other/99/21@0"]);
    // It is listed again.
    let all = vec![stanza_of("demo", 0, vec![repo(1, 0, 11, 800), repo(2, 0, 12, 800)])];
    let after = merged(&after, run(vec![answer(None, None, 800, document(all))]), 800);
    assert_eq!(seen(&after), ["demo 0: 1=Ok/0/11@800 2=Ok/0/12@800"]);
}

#[test]
fn one_stanza_with_code_99_does_not_make_a_repository_unlistable() {
    let demo = vec![
        stanza_of("demo", 4, vec![repo(1, 0, 11, 600), repo(2, 99, 0, 600)]),
        stanza_of("third", 0, vec![repo(1, 0, 31, 600), repo(2, 0, 32, 600)]),
    ];
    let after = merged(&standing(), run(vec![answer(None, None, 600, document(demo))]), 600);
    assert_eq!(
        seen(&after),
        ["demo 4: 1=Ok/0/11@600 2=Other/99/12@0", "third 0: 1=Ok/0/31@600 2=Ok/0/32@600"]
    );
}

#[test]
fn a_stanza_that_cannot_be_read_is_not_taken_for_gone() {
    let reply = Reply::Stanzas {
        stanzas: vec![stanza_of("other", 0, vec![repo(1, 0, 22, 600)])],
        unreadable: vec![None],
    };
    let after = merged(&standing(), run(vec![answer(None, None, 600, reply)]), 600);
    assert_eq!(seen(&after), ["demo 99: 1=Other/-/11@0 2=Other/-/12@0", "other 0: 1=Ok/0/22@600"]);
    let demo = &after.collection.scopes["demo"];
    assert_eq!((demo.up, demo.failure.as_ref().unwrap().reason), (false, FailureReason::Parse));
}

#[test]
fn a_repository_that_is_not_configured_any_more_goes_away() {
    let first = vec![
        stanza_of("demo", 0, vec![repo(1, 0, 11, 600)]),
        stanza_of("other", 0, vec![repo(1, 0, 21, 600)]),
    ];
    let combined = merged(&standing(), run(vec![answer(None, None, 600, document(first.clone()))]), 600);
    let lanes = run(vec![
        answer(None, Some(1), 600, document(first)),
        answer(None, Some(2), 600, Reply::NotConfigured),
    ]);
    let separate = merged(&standing(), lanes, 600);
    for after in [combined, separate] {
        assert_eq!(seen(&after), ["demo 0: 1=Ok/0/11@600", "other 0: 1=Ok/0/21@600"]);
    }
}

#[test]
fn what_is_outstanding_stays_as_it_was_without_being_judged() {
    let first = vec![stanza_of("demo", 0, vec![repo(1, 0, 13, 600)])];
    let mut early = run(vec![answer(None, Some(1), 600, document(first))]);
    early.finished = false;
    let after = merged(&standing(), early, 601);
    assert_eq!(seen(&after), ["demo 0: 1=Ok/0/13@600 2=Ok/0/12@0"]);
    assert_eq!(
        scopes_seen(&after),
        ["all-stanzas Call true 0 Some(0) None", "demo Stanza true 0 Some(0) None"]
    );
}

#[test]
fn locks_and_progress_keep_the_time_of_their_first_sight() {
    let progress = Some(Progress { complete: 1, total: 2 });
    let busy = |key: u32, seconds, held| {
        let mut repo = repo(key, 0, 10 + u64::from(key), seconds);
        (repo.progress, repo.in_progress_since) = (progress, Some(at(seconds)));
        let mut stanza = stanza_of("demo", 0, vec![repo]);
        let activity = Activity { held: Some(true), since: Some(at(seconds)), progress };
        stanza.backup_lock = if held { activity } else { Activity::default() };
        answer(None, Some(key), seconds, document(vec![stanza]))
    };
    let first = merged(&standing(), run(vec![busy(1, 600, true), busy(2, 600, false)]), 600);
    let second = merged(&first, run(vec![busy(1, 700, true), busy(2, 700, false)]), 700);
    let demo = &second.stanzas[0];
    assert_eq!(demo.backup_lock, Activity { held: Some(true), since: Some(at(600)), progress });
    assert!(demo.repos.iter().all(|repo| repo.in_progress_since == Some(at(600))));
    let silence = run(vec![answer(None, None, 750, silent(FailureReason::Timeout))]);
    assert_eq!(merged(&second, silence, 750).stanzas[0].backup_lock, demo.backup_lock);
    let third = merged(&second, run(vec![busy(1, 800, false), busy(2, 800, false)]), 800);
    let fourth = merged(&third, run(vec![busy(1, 900, true)]), 900);
    assert_ne!(third.stanzas[0].backup_lock.held, Some(true));
    assert_eq!(fourth.stanzas[0].backup_lock.since, Some(at(900)));
}

#[test]
fn filters_hold_for_answers_too() {
    let filter = Filter::new(&[], &["other".to_owned()], None, None, &[1]).unwrap();
    let all = vec![
        stanza_of("demo", 0, vec![repo(1, 0, 11, 600), repo(2, 0, 12, 600)]),
        stanza_of("other", 0, vec![repo(1, 0, 21, 600)]),
    ];
    let after = merged_by(&filter, &standing(), run(vec![answer(None, Some(1), 600, document(all))]), 600);
    assert_eq!(seen(&after), ["demo 0: 1=Ok/0/11@600"]);
    let names: Vec<&str> = after.collection.scopes.keys().map(|name| &**name).collect();
    assert_eq!(names, ["all-stanzas-except-excluded", "demo"]);
}

#[test]
fn an_included_stanza_is_a_scope_of_its_own() {
    let filter = Filter::new(&["demo".to_owned(), "gone".to_owned()], &[], None, None, &[]).unwrap();
    let missing = vec![stanza_of("gone", 1, vec![repo(1, 1, 0, 600)])];
    let answers = vec![
        answer(Some("demo"), None, 600, silent(FailureReason::Timeout)),
        answer(Some("gone"), None, 600, document(missing)),
    ];
    let after = merged_by(&filter, &standing(), run(answers), 600);
    assert_eq!(
        seen(&after),
        ["demo 99: 1=Timeout/-/11@0 2=Timeout/-/12@0", "gone 1: 1=MissingStanzaPath/1/0@600"]
    );
    assert_eq!(
        scopes_seen(&after),
        ["demo Call false 600 Some(0) Some(Timeout)", "gone Call true 600 Some(600) None"]
    );
    assert!(after.collection.scopes.values().all(|scope| scope.kind == ScopeKind::Call));
}
