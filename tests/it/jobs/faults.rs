//! Backup jobs where no pod is fit, where commands are not started, and where nobody tells what became of them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use pgbackrest_keeper::cluster::target::Pod;
use pgbackrest_keeper::job::access::Access;
use pgbackrest_keeper::job::limits::Limits;
use pgbackrest_keeper::job::outcome::{Own, Verdict};
use pgbackrest_keeper::job::run;
use pgbackrest_keeper::job::task::{Patience, Task};
use pgbackrest_keeper::kubernetes::client::{CallError, CallFailure};
use pgbackrest_keeper::kubernetes::exec::Heard;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::source::pod::{NoEnd, Place, Ran, RunInPod};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::web::PATIENCE;

const MARK: &str = "job/pod";

/// What the pods answer, in turn; the last answer stays.
struct World {
    pods: Mutex<VecDeque<Result<Vec<Pod>, CallFailure>>>,
    ends: Mutex<VecDeque<Result<i32, NoEnd>>>,
    /// Whether `info` shows our backup once pgBackRest has ended; `None`: it does not answer.
    shows: Option<bool>,
    /// The exit code of the look for the process.
    process: i32,
    /// All commands that make a backup, by pod, and all signals.
    done: Mutex<Vec<String>>,
}

fn world(ends: &[Result<i32, NoEnd>]) -> World {
    World {
        pods: Mutex::new([Ok(vec![pod("a-0")])].into()),
        ends: Mutex::new(ends.iter().cloned().collect()),
        shows: Some(true),
        process: 3,
        done: Mutex::default(),
    }
}

fn pod(name: &str) -> Pod {
    Pod {
        name: name.to_owned(),
        running: true,
        ready: true,
        containers: vec!["postgres".to_owned()],
        ..Pod::default()
    }
}

fn next<T: Clone>(answers: &Mutex<VecDeque<T>>) -> T {
    let mut answers = answers.lock().unwrap();
    let answer = answers.front().unwrap().clone();
    if answers.len() > 1 {
        answers.pop_front();
    }
    answer
}

impl World {
    fn with_pods(self, pods: &[Result<Vec<Pod>, CallFailure>]) -> Self {
        *self.pods.lock().unwrap() = pods.iter().cloned().collect();
        self
    }

    async fn back_up(&self) -> Verdict {
        self.back_up_until(Instant::now() + PATIENCE, CancellationToken::new()).await
    }

    async fn back_up_until(&self, until: Instant, terminated: CancellationToken) -> Verdict {
        let task = Task {
            namespace: "shop".to_owned(),
            cluster: "a".to_owned(),
            stanza: "db".to_owned(),
            repo: 1,
            backup_type: BackupType::Full,
            container: "postgres".to_owned(),
            selector: "role=master".to_owned(),
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
        timeout(PATIENCE, run::run(self, &task, &patience, &Limits { terminated, until }))
            .await
            .expect("an end")
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

impl RunInPod for World {
    async fn run(&self, _: Place<'_>, command: &[&str], _: Duration) -> Result<Ran, NoEnd> {
        let ran = |code, stdout: String| Ok(Ran { code, stdout: stdout.into_bytes(), stderr: String::new() });
        match command {
            ["pgbackrest", "version"] => ran(0, "pgBackRest 2.55.1\n".to_owned()),
            ["pgbackrest", "info", ..] => {
                let begun = !self.done().is_empty();
                let made = json!({"label": "20260101-000000F", "type": "full", "timestamp": {"start": 1, "stop": 2},
                    "annotation": {"pgbackrest-keeper.io-job": MARK}});
                match self.shows {
                    None if begun => Err(NoEnd::NotStarted("no right".to_owned())),
                    shows => {
                        let backups = if begun && shows == Some(true) { vec![made] } else { Vec::new() };
                        ran(0, json!([{"name": "db", "status": {"code": 0}, "backup": backups}]).to_string())
                    }
                }
            }
            ["sh", "-c", _, "sh", annotation, signal] => {
                assert_eq!(*annotation, format!("--annotation=pgbackrest-keeper.io-job={MARK}"));
                if *signal != "0" {
                    self.done.lock().unwrap().push(format!("SIG{signal}"));
                }
                ran(self.process, String::new())
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Access for World {
    async fn pods(&self) -> Result<Vec<Pod>, CallError> {
        let refused = |failure| CallError { what: "list Pods".to_owned(), failure, message: "no".to_owned() };
        next(&self.pods).map_err(refused)
    }

    async fn follow(
        &self,
        place: Place<'_>,
        command: &[&str],
        _: Duration,
        _: &mpsc::Sender<Heard>,
    ) -> Result<i32, NoEnd> {
        assert_eq!(command[..2], ["pgbackrest", "backup"]);
        self.done.lock().unwrap().push(place.pod.to_owned());
        let end = next(&self.ends);
        if end == Ok(i32::MAX) {
            sleep(PATIENCE * 2).await;
        }
        end
    }
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
    let failures: [(Vec<Pod>, &str); 5] = [
        (vec![], "no pod has the labels role=master"),
        (vec![leaving.clone()], "no pod has the labels role=master"),
        (vec![starting.clone()], "pod a-0 is not ready"),
        (vec![ready.clone(), pod("a-1")], "more than one pod has the labels: a-0, a-1"),
        (vec![other], "pod a-0 has no container postgres"),
    ];
    for (pods, reason) in failures {
        let world = world(&[Ok(0)]).with_pods(&[Ok(pods)]);
        let verdict = world.back_up().await;
        assert_eq!(verdict.code, Own::NoTarget.code(), "{verdict:?}");
        assert!(verdict.message.ends_with(reason), "{verdict:?}");
        assert!(world.done().is_empty());
    }
    // What comes while it waits is taken.
    let pods = [Err(CallFailure::Unavailable), Ok(vec![]), Ok(vec![starting]), Ok(vec![leaving, ready])];
    let world = world(&[Ok(0)]).with_pods(&pods);
    assert_eq!((world.back_up().await.code, world.done()), (0, vec!["a-0".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_waited_for() {
    let world = world(&[Ok(0)]).with_pods(&[Err(CallFailure::Forbidden)]);
    let verdict = world.back_up().await;
    assert_eq!(verdict.line(), "not_started (11): list Pods: no");
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_and_locks_are_not() {
    let locked = world(&[Ok(50), Ok(50), Ok(50), Ok(50), Ok(50), Ok(0)]);
    assert_eq!((locked.back_up().await.code, locked.done().len()), (0, 6));
    let refused = world(&[not_started()]);
    assert_eq!((refused.back_up().await.code, refused.done().len()), (11, 3));
    // The pod is still the one: the next try is another pod's of the job.
    let failed = world(&[Ok(82)]);
    assert_eq!((failed.back_up().await.code, failed.done().len()), (82, 1));
    let missing = world(&[Ok(127)]);
    assert_eq!((missing.back_up().await.code, missing.done().len()), (11, 1));
}

#[tokio::test(start_paused = true)]
async fn after_a_failover_the_new_primary_is_tried() {
    let pods = [Ok(vec![pod("a-0")]), Ok(vec![pod("a-1")])];
    for end in [137, 57, 82] {
        let world = world(&[Ok(end), Ok(0)]).with_pods(&pods);
        assert_eq!((world.back_up().await.code, world.done()), (0, vec!["a-0".to_owned(), "a-1".to_owned()]));
    }
    // A wrong configuration is wrong everywhere.
    let world = world(&[Ok(31), Ok(0)]).with_pods(&pods);
    assert_eq!((world.back_up().await.code, world.done().len()), (31, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_repeated_only_when_it_is_gone() {
    let made = world(&[lost()]);
    assert_eq!((made.back_up().await.code, made.done().len()), (0, 1));
    let gone = World { shows: Some(false), ..world(&[lost()]) };
    assert_eq!((gone.back_up().await.code, gone.done().len()), (14, 3));
    let untold = World { shows: None, ..world(&[lost()]) };
    let verdict = untold.back_up().await;
    assert_eq!((verdict.code, untold.done().len()), (14, 1), "{verdict:?}");
    assert!(verdict.message.contains("cannot be found out"), "{verdict:?}");
    // It still runs, and the time is over.
    let runs = World { shows: Some(false), process: 0, ..world(&[lost()]) };
    let soon = Instant::now() + Duration::from_millis(200);
    let verdict = runs.back_up_until(soon, CancellationToken::new()).await;
    assert_eq!((verdict.code, runs.done()), (12, vec!["a-0".to_owned(), "SIGTERM".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn whatever_runs_is_ended_in_time() {
    let soon = || Instant::now() + Duration::from_millis(100);
    for (process, told) in [(0, "was asked to end"), (3, "had ended already"), (126, "may go on in pod a-0")]
    {
        let world = World { process, ..world(&[Ok(i32::MAX)]) };
        let verdict = world.back_up_until(soon(), CancellationToken::new()).await;
        assert_eq!((verdict.code, world.done()), (12, vec!["a-0".to_owned(), "SIGTERM".to_owned()]));
        assert!(verdict.message.contains(told), "{verdict:?}");
    }
    let terminated = CancellationToken::new();
    terminated.cancel();
    let world = world(&[Ok(0)]);
    assert_eq!(world.back_up_until(soon(), terminated).await.code, 143);
    assert!(world.done().is_empty(), "nothing was begun");
}
