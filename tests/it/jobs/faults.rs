//! Backup jobs without a suitable pod, with commands that do not start, and with unknown results.

use std::time::Duration;

use pgbackrest_keeper::cluster::target::Pod;
use pgbackrest_keeper::job::limits::JobLimits;
use pgbackrest_keeper::job::outcome::{ExitReason, JobOutcome};
use pgbackrest_keeper::job::run;
use pgbackrest_keeper::job::task::{Patience, Task};
use pgbackrest_keeper::kubernetes::client::CallFailure;
use pgbackrest_keeper::pgbackrest::backup_options::BackupOptions;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::source::pod::{NoEnd, Ran};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::fake_pods::{self, Asked, Does, FakePods, ran};
use crate::support::web::PATIENCE;

const MARK: &str = "job/pod";

/// One pod in which backups end in these ways, in turn. `info` shows ours once one was begun.
fn world(ends: &[Result<i32, NoEnd>]) -> FakePods<'static> {
    FakePods::new(vec![pod("a-0")])
        .when(": pgbackrest backup", ends.iter().cloned())
        .when(": pgbackrest version", [ran(0, "pgBackRest 2.55.1\n")])
        .when(": pgbackrest info", [shown(false), shown(true)])
        .when(": sh -c", [Ok(3)])
}

fn pod(name: &str) -> Pod {
    fake_pods::pod(name, &["postgres"])
}

/// What `info` says with our backup, or without it.
fn shown(ours: bool) -> Ran {
    let made = json!({"label": "20260101-000000F", "type": "full", "timestamp": {"start": 1, "stop": 2},
        "annotation": {"pgbackrest-keeper.io-job": MARK}});
    let backups = if ours { vec![made] } else { Vec::new() };
    let repo = json!([{"key": 1, "status": {"code": 0}}]);
    ran(0, json!([{"name": "db", "status": {"code": 0}, "repo": repo, "backup": backups}]).to_string())
}

async fn back_up(pods: &FakePods<'_>) -> JobOutcome {
    back_up_until(pods, Instant::now() + PATIENCE, CancellationToken::new()).await
}

async fn back_up_until(pods: &FakePods<'_>, until: Instant, terminated: CancellationToken) -> JobOutcome {
    let task = Task {
        namespace: "shop".to_owned(),
        cluster: "a".to_owned(),
        stanza: "db".to_owned(),
        repo: 1,
        backup_type: BackupType::Full,
        options: BackupOptions::default(),
        container: "postgres".to_owned(),
        selector: "role=master".to_owned(),
        is_primary: true,
        mark: MARK.to_owned(),
    };
    let soon = Duration::from_millis(20);
    let patience = Patience {
        target: soon * 5,
        pause: soon,
        lock: (soon, soon),
        lost: (soon, soon),
        unknown: soon * 5,
        grace: soon * 5,
        asks: 2,
        ..Patience::default()
    };
    timeout(PATIENCE, run::run(pods, &task, &patience, &JobLimits { terminated, until }))
        .await
        .expect("an end")
}

/// All commands that make a backup, by pod, and all signals.
fn done(pods: &FakePods<'_>) -> Vec<String> {
    let told = |asked: &Asked| match asked.command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pgbackrest", "backup", ..] => asked.place.strip_suffix("/postgres").map(str::to_owned),
        ["sh", "-c", _, "sh", annotation, signal] => {
            assert_eq!(annotation, format!("--annotation=pgbackrest-keeper.io-job={MARK}"));
            (signal != "0").then(|| format!("SIG{signal}"))
        }
        ["pgbackrest", "version" | "info" | "help", ..] | ["psql", ..] => None,
        _ => panic!("{asked:?}"),
    };
    pods.asked().iter().filter_map(told).collect()
}

fn not_started() -> Result<i32, NoEnd> {
    Err(NoEnd::NotStarted("no right".to_owned()))
}

fn lost() -> Result<i32, NoEnd> {
    Err(NoEnd::Lost("closed".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn exactly_one_pod_is_taken_that_is_ready_and_stays() {
    let (ready, starting) = (pod("a-0"), Pod { ready: false, ..pod("a-0") });
    let leaving = Pod { terminating: true, ..pod("a-1") };
    let other = Pod { containers: vec!["x".to_owned()], ..pod("a-0") };
    let failures: [(Vec<Pod>, &str); 4] = [
        (vec![], "no pod has the labels role=master"),
        (vec![leaving.clone()], "no pod has the labels role=master"),
        (vec![starting.clone()], "pod a-0 is not ready"),
        (vec![other], "pod a-0 has no container postgres"),
    ];
    for (pods, reason) in failures {
        let world = world(&[Ok(0)]).found(&[Ok(pods)]);
        let verdict = back_up(&world).await;
        assert_eq!(verdict.code, ExitReason::NoTarget.code(), "{verdict:?}");
        assert!(verdict.message.ends_with(reason), "{verdict:?}");
        assert!(done(&world).is_empty());
    }
    // What comes while it waits is taken.
    let pods = [Err(CallFailure::Unavailable), Ok(vec![]), Ok(vec![starting]), Ok(vec![leaving, ready])];
    let world = world(&[Ok(0)]).found(&pods);
    assert_eq!((back_up(&world).await.code, done(&world)), (0, vec!["a-0".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn of_several_primaries_the_one_that_postgresql_confirms_is_taken() {
    let both = || Ok(vec![pod("a-0"), pod("a-1")]);
    let answering = |first: &str, second: &str| {
        let world = world(&[Ok(0)]).found(&[both()]);
        world.when("a-0/postgres: psql", [ran(0, first)]).when("a-1/postgres: psql", [ran(0, second)])
    };
    let world_of_standby = answering("t\n", "f\n");
    assert_eq!((back_up(&world_of_standby).await.code, done(&world_of_standby)), (0, vec!["a-1".to_owned()]));
    let split = answering("f\n", "f\n");
    let verdict = back_up(&split).await;
    assert_eq!(verdict.code, ExitReason::NoTarget.code(), "{verdict:?}");
    assert!(verdict.message.ends_with("a-0 is a primary, a-1 is a primary"), "{verdict:?}");
    assert!(done(&split).is_empty());
    // A pod that is evicted or on a dead node keeps its label.
    let evicted = Pod { ready: false, running: false, ..pod("a-1") };
    let world = world(&[Ok(0)]).found(&[Ok(vec![evicted, pod("a-0")])]);
    assert_eq!((back_up(&world).await.code, done(&world)), (0, vec!["a-0".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_waited_for() {
    let world = world(&[Ok(0)]).found(&[Err(CallFailure::Forbidden)]);
    let verdict = back_up(&world).await;
    assert_eq!(verdict.line(), "not_started (11): list Pods: no");
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_and_locks_are_not() {
    let locked = world(&[Ok(50), Ok(50), Ok(50), Ok(50), Ok(50), Ok(0)]);
    assert_eq!((back_up(&locked).await.code, done(&locked).len()), (0, 6));
    let refused = world(&[not_started()]);
    assert_eq!((back_up(&refused).await.code, done(&refused).len()), (11, 3));
    // The pod is still the one: the next try is another pod's of the job.
    let failed = world(&[Ok(82)]).when(": pgbackrest info", [shown(false)]);
    assert_eq!((back_up(&failed).await.code, done(&failed).len()), (82, 1));
    let missing = world(&[Ok(127)]);
    assert_eq!((back_up(&missing).await.code, done(&missing).len()), (11, 1));
}

#[tokio::test(start_paused = true)]
async fn after_a_failover_the_new_primary_is_tried() {
    let pods = [Ok(vec![pod("a-0")]), Ok(vec![pod("a-1")])];
    for end in [137, 57, 82] {
        let infos = [shown(false), shown(false), shown(true)];
        let world = world(&[Ok(end), Ok(0)]).found(&pods).when(": pgbackrest info", infos);
        assert_eq!((back_up(&world).await.code, done(&world)), (0, vec!["a-0".to_owned(), "a-1".to_owned()]));
    }
    // A wrong configuration is wrong everywhere.
    let world = world(&[Ok(31), Ok(0)]).found(&pods);
    assert_eq!((back_up(&world).await.code, done(&world).len()), (31, 1));
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_was_made_is_not_made_again() {
    // What expiry ends with, whatever goes wrong.
    for code in [104, 26, 63, 137] {
        let world = world(&[Ok(code)]);
        let verdict = back_up(&world).await;
        assert_eq!((verdict.code, done(&world).len()), (15, 1), "{verdict:?}");
        assert!(verdict.message.contains("20260101-000000F is in repo1"), "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_asked_whether_it_takes_the_mark() {
    for (code, is_marked) in [(0, true), (31, false)] {
        let world = world(&[Ok(0)])
            .when(": pgbackrest version", [ran(0, "pgBunker 2.59.0-bunker.1\n")])
            .when(": pgbackrest help --no-config backup annotation", [ran(code, "")]);
        back_up(&world).await;
        let asked = world.asked();
        let backup = asked.iter().find(|asked| asked.command[1] == "backup").unwrap();
        let has_mark = backup.command.iter().any(|word| word.starts_with("--annotation="));
        assert_eq!(has_mark, is_marked, "{backup:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_repeated_only_when_it_is_gone() {
    let made = world(&[lost()]);
    assert_eq!((back_up(&made).await.code, done(&made).len()), (0, 1));
    let gone = world(&[lost()]).when(": pgbackrest info", [shown(false)]);
    assert_eq!((back_up(&gone).await.code, done(&gone).len()), (14, 3));
    let untold = world(&[lost()]).when(": pgbackrest info", [shown(false).into(), Does::from(not_started())]);
    let verdict = back_up(&untold).await;
    assert_eq!((verdict.code, done(&untold).len()), (14, 1), "{verdict:?}");
    assert!(verdict.message.contains("cannot be determined"), "{verdict:?}");
    // It still runs, and the time is over.
    let runs = world(&[lost()]).when(": pgbackrest info", [shown(false)]).when(": sh -c", [Ok(0)]);
    let soon = Instant::now() + Duration::from_millis(200);
    let verdict = back_up_until(&runs, soon, CancellationToken::new()).await;
    assert_eq!((verdict.code, done(&runs)), (12, vec!["a-0".to_owned(), "SIGTERM".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn whatever_runs_is_ended_in_time() {
    let soon = || Instant::now() + Duration::from_millis(100);
    for (process, told) in
        [(0, "was sent SIGTERM"), (3, "had already ended"), (126, "may still be running in pod a-0")]
    {
        let world = world(&[]).when(": pgbackrest backup", [Does::Hang]).when(": sh -c", [Ok(process)]);
        let verdict = back_up_until(&world, soon(), CancellationToken::new()).await;
        assert_eq!((verdict.code, done(&world)), (12, vec!["a-0".to_owned(), "SIGTERM".to_owned()]));
        assert!(verdict.message.contains(told), "{verdict:?}");
    }
    let terminated = CancellationToken::new();
    terminated.cancel();
    let world = world(&[Ok(0)]);
    assert_eq!(back_up_until(&world, soon(), terminated).await.code, 143);
    assert!(done(&world).is_empty(), "nothing was begun");
}
