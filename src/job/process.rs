//! Finds the process of our backup by the mark among its arguments, and stops it.

use std::time::Duration;

use crate::source::pod::{Place, RunInPod};

use super::task::Task;

const TIMEOUT: Duration = Duration::from_secs(20);
/// The exit codes of the script below.
const FOUND: i32 = 0;
const NOT_FOUND: i32 = 3;

/// Sends a signal (second parameter) to the process that has the first parameter among its arguments. A constant:
/// nothing is inserted into it. It uses a shell because few images contain `kill` or `pkill`.
const SIGNAL: &str = r#"
end=3
for process in /proc/[0-9]*; do
    [ "$process" != "/proc/$$" ] && [ -r "$process/cmdline" ] || continue
    words="$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") "
    case "$words" in
    *" $1 "*) ;;
    *) continue ;;
    esac
    # These have it among their arguments too, and pass nothing on, or wait for the end.
    first="${words%% *}"
    case "${first##*/}" in
    sh | timeout) continue ;;
    esac
    if kill -s "$2" "${process#/proc/}" 2>/dev/null; then
        end=0
    elif [ -e "$process" ]; then
        exit 4
    fi
done
exit "$end"
"#;

/// The signal to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// None: only checks whether the process exists.
    Nothing,
    /// SIGTERM, on which pgBackRest releases its locks.
    Terminate,
}

/// Whether the process exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Yes,
    No,
    /// It could not be determined.
    Unknown(String),
}

/// Sends a signal to the process of our backup.
pub(super) async fn signal(runner: &impl RunInPod, task: &Task, place: Place<'_>, signal: Signal) -> Found {
    let signal = match signal {
        Signal::Nothing => "0",
        Signal::Terminate => "TERM",
    };
    let annotation = task.annotation();
    let command = ["sh", "-c", SIGNAL, "sh", &annotation, signal];
    match runner.run(place, &command, TIMEOUT).await {
        Ok(ran) if ran.code == FOUND => Found::Yes,
        Ok(ran) if ran.code == NOT_FOUND => Found::No,
        Ok(ran) => Found::Unknown(ran.said()),
        Err(error) => Found::Unknown(error.to_string()),
    }
}
