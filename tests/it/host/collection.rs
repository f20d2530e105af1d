//! Collection with calls that hang, fail or print too much: they do not delay others, and are reported.

mod world;

use std::time::Duration;

use chrono::Utc;
use pgbackrest_keeper::collect::settings::DatabaseCounts;
use pgbackrest_keeper::collect::store::Published;
use pgbackrest_keeper::state::filter::Filter;
use pgbackrest_keeper::state::snapshot::{FailureReason, RepoState, Retention, ScopeHealth, Snapshot};
use serde_json::json;

use world::{Poll, World, backup, raw_fixture, stanza};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("s{number:03}")).collect()
}

fn scope<'a>(snapshot: &'a Snapshot, name: &str) -> &'a ScopeHealth {
    snapshot.collection.scopes.get(name).unwrap_or_else(|| panic!("no scope {name}"))
}

/// `state label` of a repository.
fn repo(snapshot: &Snapshot, stanza: &str, key: u32) -> (RepoState, bool) {
    let repo = snapshot.stanza(stanza).and_then(|stanza| stanza.repo(key));
    repo.map_or_else(|| panic!("no {stanza} repo{key}"), |repo| (repo.state, !repo.backups.is_empty()))
}

/// For an interval or a timeout that is not reached.
const HOUR_MS: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_begins_at_once_and_one_call_is_enough() {
    let world = World::new();
    world.answer_all(&names(3), &[1, 2]);
    let poll = Poll::start(world.settings(HOUR_MS, HOUR_MS));
    let published = poll.until_ready().await;
    assert_eq!(world.calls(), [""]);
    let snapshot = &published.snapshot;
    assert_eq!(snapshot.stanzas.len(), 3);
    assert_eq!(snapshot.version.unwrap().to_string(), "2.45");
    assert!(
        snapshot.collection.scopes.len() == 4 && snapshot.collection.scopes.values().all(|scope| scope.up)
    );
    assert!(published.body.series() > 100);
    assert!(poll.store.is_alive());
    assert_eq!(poll.metric("pgbackrest_collector_runs_total{collector=\"info\"}"), Some(1.0));
    assert_eq!(poll.metric("pgbackrest_exporter_config_reload_success"), Some(1.0));
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hung_stanza_of_two_hundred_delays_nobody_else() {
    let world = World::new();
    let all = names(200);
    world.answer_all(&all, &[1, 2]);
    let mut settings = world.settings(HOUR_MS, 4_000);
    settings.filter = Filter::new(&[], &[], None, None, &[1, 2]).unwrap();
    let poll = Poll::start(settings);
    poll.until_ready().await;
    world.hang(&["all.all", "all.2", "s007.all", "s007.2"]);
    poll.reload.notify_one();
    let hung = poll
        .until("s007 in repo2 is known to hang", |published| {
            repo(&published.snapshot, "s007", 2) == (RepoState::Timeout, true)
        })
        .await;
    assert_eq!(repo(&hung.snapshot, "s007", 1), (RepoState::Ok, true));
    let failure = scope(&hung.snapshot, "s007").failure.clone().unwrap();
    assert_eq!((failure.reason, scope(&hung.snapshot, "s007").up), (FailureReason::Timeout, false));
    assert!(failure.message.contains("--stanza=s007 --repo=2"), "{}", failure.message);
    // From now on the hang stands, and all others are told of before the call that hangs has ended.
    for _ in 0..2 {
        let (before, began) = (scope(&poll.store.load().snapshot, "s007").last_run, Utc::now());
        poll.reload.notify_one();
        let told = poll
            .until("the others are new", |published| {
                let others = published
                    .snapshot
                    .stanzas
                    .iter()
                    .filter(|stanza| &*stanza.name != "s007")
                    .collect::<Vec<_>>();
                let mut repos = others.iter().flat_map(|stanza| &stanza.repos);
                assert!(repos.clone().all(pgbackrest_keeper::state::snapshot::Repo::is_up), "{others:#?}");
                others.len() == 199 && repos.all(|repo| repo.collected_at > began)
            })
            .await;
        assert_eq!(scope(&told.snapshot, "s007").last_run, before, "the hang is not waited for");
        poll.until("s007 hangs again", |published| scope(&published.snapshot, "s007").last_run > before)
            .await;
        assert_eq!(repo(&poll.store.load().snapshot, "s007", 2), (RepoState::Timeout, true));
    }
    assert!(poll.store.is_alive());
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_published_before_what_hangs_has_timed_out() {
    let world = World::new();
    world.answer_all(&names(2), &[1, 2]);
    world.hang(&["all.2", "s000.2", "s001.2"]);
    let mut settings = world.settings(HOUR_MS, HOUR_MS);
    settings.filter = Filter::new(&[], &[], None, None, &[1, 2]).unwrap();
    let poll = Poll::start(settings);
    let early = poll.until("repo1 is there", |published| !published.snapshot.stanzas.is_empty()).await;
    assert!(!poll.store.ready(), "the run goes on");
    assert!(early.snapshot.stanza("s000").unwrap().repo(2).is_none(), "nothing is made up");
    assert!(
        poll.metric("pgbackrest_collector_in_progress_since_timestamp_seconds{collector=\"info\"}").is_some()
    );
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_repository_keeps_its_facts_until_they_are_too_old() {
    let world = World::new();
    world.answer_all(&names(1), &[1, 2]);
    let mut settings = world.settings(1_500, 1_000);
    settings.pace.max_staleness = Duration::from_secs(10);
    let poll = Poll::start(settings);
    let both = |published: &Published| [1, 2].map(|key| repo(&published.snapshot, "s000", key));
    poll.until("both are there", |published| !published.snapshot.stanzas.is_empty()).await;
    world.hang(&["all.all", "all.2", "s000.all", "s000.2"]);
    let first = poll
        .until("repo2 hangs", |now| both(now) == [(RepoState::Ok, true), (RepoState::Timeout, true)])
        .await;
    assert_eq!(first.snapshot.stanzas[0].status_code, 4);
    let old = first.snapshot.stanzas[0].repo(2).unwrap().collected_at;
    assert!(first.snapshot.stanzas[0].repo(1).unwrap().collected_at > old);
    poll.until("the facts are too old", |now| {
        both(now) == [(RepoState::Ok, true), (RepoState::Timeout, false)]
    })
    .await;
    assert!(Utc::now() - old >= chrono::TimeDelta::seconds(10));
    for key in ["all.all", "all.2", "s000.all", "s000.2"] {
        world.behave(key);
    }
    let after = poll.until("repo2 is back", |now| both(now) == [(RepoState::Ok, true); 2]).await;
    assert_eq!(after.snapshot.stanzas[0].status_code, 0);
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_health_stays_where_everything_hangs_for_too_long() {
    let world = World::new();
    world.answer_all(&names(1), &[1]);
    let mut settings = world.settings(1_500, 1_000);
    settings.pace.max_staleness = Duration::from_secs(4);
    let poll = Poll::start(settings);
    poll.until("it is there", |published| !published.snapshot.stanzas.is_empty()).await;
    world.hang(&["all.all", "all.1", "s000.all", "s000.1"]);
    let after = poll.until("it is dropped", |published| published.snapshot.stanzas.is_empty()).await;
    for name in ["all-stanzas", "s000"] {
        let health = scope(&after.snapshot, name);
        assert!(!health.up && health.last_success.is_some(), "{health:?}");
    }
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_reason_and_its_remedy() {
    let root =
        "echo 'P00  ERROR: [031]: the '\\''info'\\'' command must not be run as the root user'; exit 31";
    let missing =
        "echo \"ERROR: [055]: unable to open missing file '/etc/pgbackrest.conf' for read\" >&2; exit 55";
    for (misdeed, reason, exit_code, words) in [
        (root, FailureReason::RootRefused, Some(31), "as the user that owns the repositories"),
        (
            missing,
            FailureReason::Exit,
            Some(55),
            "(FileMissingError): unable to open missing file '/etc/pgbackrest.conf' for read; check",
        ),
        ("echo 'no JSON'; exit 0", FailureReason::Parse, None, "no readable JSON"),
        ("echo '[{\"name\": 1'; exit 0", FailureReason::Parse, None, "no readable JSON"),
        (
            "kill -SEGV $$; sleep 1",
            FailureReason::Killed,
            None,
            "by SIGSEGV, which this program did not send; it crashed",
        ),
        (
            "kill -TERM $$; sleep 1",
            FailureReason::Killed,
            None,
            "by SIGTERM, which this program did not send; find out what",
        ),
        ("exec head -c 3000000 /dev/zero", FailureReason::OutputTooLarge, None, "1000000 bytes on stdout"),
    ] {
        let world = World::new();
        for key in ["all.all", "all.1", "all.2", "all.3", "all.4"] {
            world.misbehave(key, misdeed);
        }
        let mut settings = world.settings(HOUR_MS, HOUR_MS);
        settings.pace.limits.stdout = 1_000_000;
        let poll = Poll::start(settings);
        let published = poll.until_ready().await;
        let health = scope(&published.snapshot, "all-stanzas");
        let failure = health.failure.clone().unwrap_or_else(|| panic!("no failure for {misdeed}"));
        assert_eq!((health.up, failure.reason, failure.exit_code), (false, reason, exit_code), "{misdeed}");
        assert!(failure.message.contains(words), "{}", failure.message);
        assert_eq!(failure.message.lines().count(), 1);
        poll.stop(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_its_subject_is_a_failure() {
    let good = stanza("good", &[1]);
    let unreadable = json!({"name": "db", "repo": 7});
    let nameless = json!({"name": "", "status": {"code": 0}});
    let progress = json!({"name": "db", "status": {"code": 0, "message": "ok"}});
    for (listed, is_named) in [(unreadable.clone(), true), (nameless, false), (progress.clone(), true)] {
        let world = World::new();
        world.answer("all.all", &json!([good, listed]));
        let poll = Poll::start(world.settings(HOUR_MS, HOUR_MS));
        let published = poll.until_ready().await;
        let health = scope(&published.snapshot, "all-stanzas");
        assert!(!health.up && health.last_success.is_none(), "{listed}: {health:?}");
        assert_eq!(health.failure.as_ref().unwrap().reason, FailureReason::Parse);
        assert_eq!(repo(&published.snapshot, "good", 1), (RepoState::Ok, true));
        assert_eq!(published.snapshot.collection.scopes.contains_key("db"), is_named, "{listed}");
        assert!(!is_named || !scope(&published.snapshot, "db").up);
        poll.stop(&world).await;
    }
    // The same for a stanza that was asked for by name.
    for answer in [json!([]), json!([good]), json!([unreadable]), json!([progress])] {
        let world = World::new();
        for key in ["db.all", "db.1", "db.2", "db.3", "db.4"] {
            world.answer(key, &answer);
        }
        let mut settings = world.settings(HOUR_MS, HOUR_MS);
        settings.filter = Filter::new(&["db".to_owned()], &[], None, None, &[]).unwrap();
        let poll = Poll::start(settings);
        let published = poll.until_ready().await;
        let health = scope(&published.snapshot, "db");
        assert!(!health.up && health.last_success.is_none(), "{answer}: {health:?}");
        assert_eq!(health.failure.as_ref().unwrap().reason, FailureReason::Parse, "{answer}");
        assert!(published.snapshot.stanzas.is_empty());
        poll.stop(&world).await;
    }
    // And for one that is included beside a pattern, or configured, if no call for it is answered.
    let world = World::new();
    world.answer("all.all", &json!([good]));
    std::fs::write(world.path("pgbackrest.conf"), "[global]\n[configured]\npg1-path=/pg\n").unwrap();
    world.misbehave("configured.all", "exec sleep 300");
    world.answer("included.all", &json!([]));
    let mut settings = world.settings(HOUR_MS, 2_000);
    settings.filter = Filter::new(&["included".to_owned()], &[], Some("good|configured"), None, &[]).unwrap();
    let poll = Poll::start(settings);
    let published = poll.until_ready().await;
    let reason = |name: &str| scope(&published.snapshot, name).failure.as_ref().map(|failure| failure.reason);
    assert_eq!(reason("included"), Some(FailureReason::Parse));
    assert_eq!(reason("configured"), Some(FailureReason::Timeout));
    assert!(!scope(&published.snapshot, "all-stanzas").up && scope(&published.snapshot, "good").up);
    assert_eq!(published.snapshot.stanzas.len(), 1, "neither is said to be missing");
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_named() {
    let world = World::new();
    let mut settings = world.settings(HOUR_MS, HOUR_MS);
    settings.program.binary = "/nonexistent/pgbackrest".into();
    let poll = Poll::start(settings);
    let published = poll.until_ready().await;
    let failure = scope(&published.snapshot, "all-stanzas").failure.clone().unwrap();
    assert_eq!(failure.reason, FailureReason::Spawn);
    assert!(failure.message.contains("'/nonexistent/pgbackrest'"), "{}", failure.message);
    assert!(published.snapshot.version.is_none());
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_and_garbage_before_and_in_the_document_cost_nothing() {
    let world = World::new();
    world.answer_raw("all.all", &raw_fixture("2.60.0/two_repos_repo2_wrong_pass.json"));
    world.misbehave(
        "all.all",
        "echo 'P00   WARN: environment contains invalid option '\\''x'\\'''; echo odd >&2",
    );
    let poll = Poll::start(world.settings(HOUR_MS, HOUR_MS));
    let published = poll.until_ready().await;
    let demo = &published.snapshot.stanzas[0];
    assert_eq!(repo(&published.snapshot, &demo.name, 1), (RepoState::Ok, true));
    assert_eq!(repo(&published.snapshot, &demo.name, 2), (RepoState::Other, false));
    assert!(scope(&published.snapshot, "all-stanzas").up);
    let sanitized = "pgbackrest_collector_sanitized_outputs_total{collector=\"info\"}";
    assert_eq!(poll.metric(sanitized), Some(1.0));
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_that_nobody_configured_are_skipped() {
    let world = World::new();
    world.answer_all(&names(1), &[1, 3]);
    std::fs::remove_file(world.path("pgbackrest.conf")).unwrap();
    world.hang(&["all.all", "all.3", "s000.3"]);
    let poll = Poll::start(world.settings(HOUR_MS, 2_000));
    let published = poll.until_ready().await;
    let keys: Vec<u32> = published.snapshot.stanzas[0].repos.iter().map(|repo| repo.key).collect();
    assert_eq!(keys, [1, 3]);
    assert_eq!(repo(&published.snapshot, "s000", 3), (RepoState::Timeout, false));
    let mut calls = world.calls();
    calls.sort();
    assert_eq!(calls, ["", "--repo=1", "--repo=2", "--repo=3", "--repo=4", "--stanza=s000 --repo=3"]);
    let failures = "pgbackrest_collector_failures_total{collector=\"info\",reason=\"exit\"}";
    assert_eq!(poll.metric(failures), Some(0.0), "a question that was answered is no failure");
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_reads_the_configuration_and_begins_a_run() {
    let world = World::new();
    world.answer_all(&names(1), &[1]);
    let poll = Poll::start(world.settings(HOUR_MS, HOUR_MS));
    let before = poll.until_ready().await;
    assert_eq!(before.snapshot.stanzas[0].repos[0].settings.as_ref().unwrap().retention_full, None);
    std::fs::write(world.path("pgbackrest.conf"), "[global]\nrepo1-retention-full=3\n").unwrap();
    world.answer_all(&names(2), &[1]);
    poll.reload.notify_one();
    let after = poll.until("two are there", |published| published.snapshot.stanzas.len() == 2).await;
    let settings = after.snapshot.stanzas[0].repos[0].settings.clone().unwrap();
    assert_eq!(settings.retention_full, Some(Retention::Count(3)));
    std::fs::write(world.path("pgbackrest.conf"), "nonsense\n").unwrap();
    poll.reload.notify_one();
    poll.until("it cannot be read", |published| published.snapshot.stanzas[0].repos[0].settings.is_none())
        .await;
    assert_eq!(poll.metric("pgbackrest_exporter_config_reload_success"), Some(0.0));
    assert!(scope(&poll.store.load().snapshot, "all-stanzas").up, "that is no failure of collection");
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_and_drop_take_the_children_along() {
    for in_order in [true, false] {
        let world = World::new();
        world.misbehave("all.all", "trap '' TERM; sleep 300 & sleep 300");
        let poll = Poll::start(world.settings(HOUR_MS, HOUR_MS));
        while world.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(world.groups().iter().any(|group| !crate::host::fake::alive_in_group(*group).is_empty()));
        if in_order { poll.stop(&world).await } else { poll.drop_it(&world).await }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_counted_once_per_backup() {
    let world = World::new();
    let with_backups = |labels: &[&str]| {
        let mut document = stanza("demo", &[1]);
        document["backup"] = labels.iter().map(|label| backup(1, label)).collect();
        json!([document])
    };
    let set = |label: &str, count: usize| {
        let mut document = stanza("demo", &[1]);
        let mut counted = backup(1, label);
        let names: Vec<_> =
            (0..count).map(|number| json!({"name": number.to_string(), "oid": number})).collect();
        counted["database-ref"] = json!(names);
        document["backup"] = json!([counted]);
        world.answer(&format!("demo.1.{label}"), &json!([document]));
    };
    let (one, two, three) = ("20261101-000000F", "20261102-000000F", "20261103-000000F");
    world.answer("all.all", &with_backups(&[one, two]));
    set(one, 2);
    set(two, 0);
    let mut settings = world.settings(HOUR_MS, HOUR_MS);
    settings.database_counts = DatabaseCounts::All;
    let poll = Poll::start(settings);
    let counts = |snapshot: &Snapshot| {
        snapshot.stanzas[0].repos[0].backups.iter().map(|backup| backup.databases).collect::<Vec<_>>()
    };
    poll.until_ready().await;
    assert_eq!(counts(&poll.store.load().snapshot), [Some(2), Some(0)]);
    set(three, 5);
    world.answer("all.all", &with_backups(&[two, three]));
    poll.reload.notify_one();
    poll.until("the new one is counted", |published| counts(&published.snapshot) == [Some(0), Some(5)]).await;
    let asked = |label: &str| world.calls().iter().filter(|call| call.contains(label)).count();
    assert_eq!([one, two, three].map(asked), [1, 1, 1]);
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_collector_only_the_version_is_asked_for() {
    let world = World::new();
    let mut settings = world.settings(HOUR_MS, HOUR_MS);
    settings.info = false;
    let poll = Poll::start(settings);
    let published = poll.until_ready().await;
    assert!(published.snapshot.version.is_some() && published.snapshot.collection.scopes.is_empty());
    assert!(world.calls().is_empty());
    poll.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn included_stanzas_are_asked_for_by_name() {
    let world = World::new();
    world.answer_all(&names(3), &[1]);
    let mut settings = world.settings(HOUR_MS, HOUR_MS);
    settings.filter = Filter::new(&names(2), &[], None, None, &[]).unwrap();
    let poll = Poll::start(settings);
    let published = poll.until_ready().await;
    let mut calls = world.calls();
    calls.sort();
    assert_eq!(calls, ["--stanza=s000", "--stanza=s001"]);
    assert_eq!(published.snapshot.stanzas.len(), 2);
    poll.stop(&world).await;
}
