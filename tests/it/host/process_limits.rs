//! A child process is killed at its limits, together with everything that it started, and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgbackrest_keeper::memory::Sink;
use pgbackrest_keeper::source::environment::Environment;
use pgbackrest_keeper::source::process::{Ending, Limits, Output, Stream, run, run_into};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::host::fake::{alive_in_group, argv, assert_groups_vanish, numbers_in, script};
use crate::support::process::{call, output};

struct Case {
    directory: TempDir,
    program: PathBuf,
}

impl Case {
    /// A program that writes its number, and so its group's, before `body` runs.
    fn new(body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let numbers = directory.path().join("numbers");
        let program =
            script(directory.path(), "program", &format!("echo $$ >> {}\n{body}", numbers.display()));
        Self { directory, program }
    }

    fn groups(&self) -> Vec<i32> {
        numbers_in(&self.directory.path().join("numbers"))
    }

    async fn run(&self, limits: &Limits) -> Output {
        run(&argv(&self.program, &[]), &Environment::inherit(&[]), limits, &CancellationToken::new())
            .await
            .unwrap()
    }
}

/// For limits that a test must not reach.
const HOUR_MS: u64 = 3_600_000;
/// In that time a program has set its traps.
const TO_START_MS: u64 = 3_000;
/// What ends within that time was not waited for: programs that hang do so for five minutes.
const SOON: Duration = Duration::from_mins(2);

fn limits(timeout_ms: u64, grace_ms: u64) -> Limits {
    Limits {
        timeout: Duration::from_millis(timeout_ms),
        grace: Duration::from_millis(grace_ms),
        stdout: 1 << 20,
        stderr: 4 << 10,
        drops_stderr: false,
    }
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_is_not_waited_for() {
    let case = Case::new("printf '{'; sleep 300");
    let (silence, began) = (Duration::from_millis(200), Instant::now());
    let take_all = |text: &mut Vec<u8>| {
        text.clear();
        0
    };
    let sink = Sink::new(1 << 20, take_all).with_silence(silence);
    let (program, environment) = (argv(&case.program, &[]), Environment::inherit(&[]));
    let limits = limits(HOUR_MS, 100);
    let output = run_into(&program, &environment, &limits, &CancellationToken::new(), Some(sink)).await;
    assert_eq!(output.unwrap().ending, Ending::Silent(silence));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn a_log_that_is_too_long_is_cut_if_it_may_be() {
    let case = Case::new("yes line | head -c 100000 >&2; echo result");
    let output = case.run(&Limits { drops_stderr: true, ..limits(HOUR_MS, 100) }).await;
    assert_eq!(output.ending, Ending::Exited(0));
    assert_eq!((&*output.stdout, output.stderr.len()), (b"result\n".as_slice(), 4 << 10));
}

#[tokio::test]
async fn both_outputs_and_the_exit_code_come_back() {
    let case = Case::new("echo out; echo err >&2; exit 31");
    let output = case.run(&limits(HOUR_MS, 100)).await;
    assert_eq!(output.ending, Ending::Exited(31));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    assert!(output.survivor.is_none());
}

#[tokio::test]
async fn output_up_to_the_cap_is_whole() {
    let case = Case::new("head -c 1048576 /dev/zero");
    let output = case.run(&limits(HOUR_MS, 100)).await;
    assert_eq!((output.ending, output.stdout.len()), (Ending::Exited(0), 1 << 20));
}

#[tokio::test]
async fn a_foreign_signal_is_told_from_our_own() {
    let case = Case::new("kill -KILL $$");
    assert_eq!(case.run(&limits(HOUR_MS, 100)).await.ending, Ending::Signalled(9));
}

#[tokio::test]
async fn stdin_is_empty_and_the_environment_clean() {
    let case = Case::new("cat; env | cut -d= -f1 | grep -vE '^(KEEPER_CALL|PWD|OLDPWD|SHLVL|_)$' | sort");
    let output = case.run(&limits(HOUR_MS, 100)).await;
    assert_eq!(output.ending, Ending::Exited(0));
    let names = String::from_utf8(output.stdout.to_vec()).unwrap();
    assert!(names.contains("LANG") && names.contains("PATH"), "{names}");
    for name in names.lines() {
        assert!(["HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_hanging_program_gets_a_chance_to_end_in_order() {
    let case = Case::new("trap 'echo > \"$0.ended\"; exit 63' TERM; while :; do sleep 0.05; done");
    let begin = Instant::now();
    let output = case.run(&limits(TO_START_MS, HOUR_MS)).await;
    assert_eq!(output.ending, Ending::TimedOut);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(case.directory.path().join("program.ended").exists());
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_with_its_children() {
    let case = Case::new("trap '' TERM; (trap '' TERM; sleep 300) & sleep 300");
    let output = case.run(&limits(TO_START_MS, 200)).await;
    assert_eq!(output.ending, Ending::TimedOut);
    assert!(output.duration >= Duration::from_millis(TO_START_MS + 200), "{:?}", output.duration);
    assert!(output.duration < SOON, "{:?}", output.duration);
    assert_eq!(case.groups().len(), 1);
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn processes_that_left_the_group_are_killed_too() {
    let leave = "setsid sh -c 'echo $$ >> \"$0\"; trap \"\" TERM; sleep 300' \"${0%/*}/numbers\"";
    // One has a parent of the group, and that of the other has ended.
    let case = Case::new(&format!("{leave} & ({leave} &) & sleep 300"));
    let output = case.run(&limits(TO_START_MS, 100)).await;
    assert_eq!(output.ending, Ending::TimedOut);
    assert_eq!(case.groups().len(), 3, "all have started");
    assert_groups_vanish(&case.groups());
}

#[test]
fn what_a_call_left_behind_ends_with_the_program() {
    let leave = "setsid sh -c 'echo $$ >> \"$0\"; sleep 300' \"${0%/*}/numbers\"";
    let case = Case::new(&format!(
        "{leave} & case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) echo '[]' ;; esac; \
         while [ $(wc -l < \"${{0%/*}}/numbers\") -lt 2 ]; do sleep 0.05; done"
    ));
    let mut program = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    output(program.arg("info").arg(format!("--backrest.binary={}", case.program.display())));
    assert!(case.groups().len() > 2, "{:?}", case.groups());
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn a_stopped_program_is_killed() {
    let case = Case::new("kill -STOP $$");
    assert_eq!(case.run(&limits(TO_START_MS, 100)).await.ending, Ending::TimedOut);
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_pipe_open_does_not_hang_the_read() {
    let case = Case::new("echo answer; sleep 300 & exit 0");
    let begin = Instant::now();
    let output = case.run(&limits(HOUR_MS, 100)).await;
    assert_eq!((output.ending, &*output.stdout), (Ending::Exited(0), &b"answer\n"[..]));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_does_not_hang_the_read() {
    let case = Case::new(
        "echo answer; setsid sh -c 'echo $$ > \"$0\"; exec sleep 300' \"$0.far\" & \
         until [ -s \"$0.far\" ]; do sleep 0.01; done",
    );
    let begin = Instant::now();
    let output = case.run(&limits(HOUR_MS, 100)).await;
    assert_eq!((output.ending, &*output.stdout), (Ending::Exited(0), &b"answer\n"[..]));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    // It is not ours any more; the test ends it by its number.
    let [far] = numbers_in(&case.directory.path().join("program.far"))[..] else { panic!("no grandchild") };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(far), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn endless_output_is_cut_at_the_cap() {
    for (body, stream) in [("exec yes", Stream::Stdout), ("exec yes >&2", Stream::Stderr)] {
        let case = Case::new(body);
        let output = case.run(&limits(HOUR_MS, 1_000)).await;
        let most = [1 << 20, 4 << 10][stream as usize];
        assert_eq!(output.ending, Ending::TooLarge(stream, most));
        assert_eq!(output.stdout.len().max(output.stderr.len()), most);
        assert_groups_vanish(&case.groups());
    }
}

#[tokio::test]
async fn cancellation_ends_the_child_and_waits_for_it() {
    let case = Case::new("sleep 300 & sleep 300");
    let cancellation = CancellationToken::new();
    let cancel = async {
        wait_for_group(&case).await;
        cancellation.cancel();
    };
    let (limits, environment) = (limits(HOUR_MS, 1_000), Environment::inherit(&[]));
    let argv = argv(&case.program, &[]);
    let (output, ()) = tokio::join!(run(&argv, &environment, &limits, &cancellation), cancel);
    assert_eq!(output.unwrap().ending, Ending::Cancelled);
    // No waiting here: when `run` is back the child is gone.
    assert!(alive_in_group(case.groups()[0]).is_empty());
    let again = run(&argv, &environment, &limits, &cancellation).await.unwrap();
    assert_eq!((again.ending, case.groups().len()), (Ending::Cancelled, 1), "nothing starts after that");
}

#[tokio::test]
async fn a_dropped_future_takes_its_child_along() {
    let case = Case::new("trap '' TERM; sleep 300 & sleep 300");
    let limits = limits(HOUR_MS, 60_000);
    {
        let running = case.run(&limits);
        tokio::select! {
            _ = running => panic!("it hangs"),
            () = wait_for_group(&case) => (),
        }
    }
    assert_groups_vanish(&case.groups());
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_error() {
    let missing = argv(Path::new("/nonexistent/pgbackrest"), &[]);
    let error = run(&missing, &Environment::inherit(&[]), &limits(1_000, 1), &CancellationToken::new()).await;
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

/// Until the program has started and has its child.
async fn wait_for_group(case: &Case) {
    while case.groups().first().is_none_or(|group| alive_in_group(*group).len() < 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
