//! Why a call gave no answer, in a bounded word and in a line for people that ends with the remedy.

use std::io;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::memory::Refusal;
use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::redact::Said;
use crate::pgbackrest::sanitize;
use crate::state::snapshot::{Failure, FailureReason};
use crate::text;

use super::process::{Ending, Limits, Stream};

/// Characters of pgBackRest's own words that are passed on.
const MAX_QUOTED: usize = 500;

/// Bytes of output in which a message is looked for.
const MAX_SEARCHED: usize = 64 << 10;

/// A shell, or `timeout`, exits with this plus the number of the signal that ended its command. pgBackRest's own codes are
/// lower.
const SIGNALLED: i32 = 128;
const MAX_SIGNAL: i32 = 31;

/// The program could not be started.
pub(super) fn of_spawn(program: &Path, error: &io::Error) -> Failure {
    let program = program.display();
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "install pgBackRest, or set its path",
        io::ErrorKind::PermissionDenied => "make it executable for the user that runs this program",
        _ => "run it manually for details",
    };
    Failure::new(FailureReason::Spawn, format!("cannot start '{program}': {error}; {remedy}"))
}

/// The program ended without an answer, or was ended. Not meant for exit code 0 and for cancellation.
pub(super) fn of_ending(
    what: &str,
    ending: Ending,
    limits: &Limits,
    stdout: &[u8],
    stderr: &[u8],
) -> Failure {
    let (reason, exit_code, message) = match ending {
        Ending::TimedOut => {
            let after = humantime::format_duration(limits.timeout);
            let message = format!(
                "{what} did not finish within {after} and was killed; run it manually to see which repository hangs, or \
                 increase the timeout"
            );
            (FailureReason::Timeout, None, message)
        }
        Ending::TooLarge(stream, most) => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let message = format!(
                "{what} printed more than {most} bytes on {stream} and was killed; run it manually to see its output"
            );
            (FailureReason::OutputTooLarge, None, message)
        }
        Ending::TooSlow => {
            let message = format!(
                "{what} printed a large answer too slowly and was killed, since others waited; run it by hand to see what it \
                 prints"
            );
            (FailureReason::OutputTooLarge, None, message)
        }
        Ending::Silent(silence) => {
            let silence = humantime::format_duration(silence);
            let message = format!(
                "{what} printed nothing for {silence} and was killed; run it manually to see whether the repository hangs, or \
                 increase the timeout"
            );
            (FailureReason::Timeout, None, message)
        }
        Ending::TooHeavy(most) => return of_refusal(what, Refusal::TooLarge(most)),
        Ending::NoMemory => return of_refusal(what, Refusal::NoMemory),
        Ending::Signalled(signal) => {
            let (name, remedy) = of_signal(signal);
            (
                FailureReason::Killed,
                None,
                format!("{what} was terminated by {name}, which this program did not send; {remedy}"),
            )
        }
        Ending::Cancelled => {
            (FailureReason::Killed, None, format!("{what} was terminated because this program is stopping"))
        }
        Ending::Exited(code) => return of_exit(what, code, stdout, stderr),
    };
    Failure { reason, exit_code, message }
}

/// There was no memory for the answer.
pub(super) fn of_refusal(what: &str, refusal: Refusal) -> Failure {
    let (reason, remedy) = match refusal {
        Refusal::TooLarge(_) => {
            (FailureReason::OutputTooLarge, "run it by hand to see what it prints, or raise the memory limit")
        }
        Refusal::NoMemory => {
            (FailureReason::NoMemory, "look for others that print too much, or raise the memory limit")
        }
    };
    Failure::new(reason, format!("there is no memory for the answer of {what}: {refusal}; {remedy}"))
}

pub(super) fn of_exit(what: &str, code: i32, stdout: &[u8], stderr: &[u8]) -> Failure {
    let said = said(stdout, stderr);
    let beginning =
        |output: &'_ [u8]| String::from_utf8_lossy(output.get(..MAX_SEARCHED).unwrap_or(output)).into_owned();
    if exit_code::is_root_refusal(code, &beginning(stdout), &beginning(stderr)) {
        let message = format!(
            "{what} refuses to run as root ({said}); run this program as the user that owns the repositories \
             (often postgres), or pass PGBACKREST_ALLOW_ROOT=y to pgBackRest"
        );
        return Failure { reason: FailureReason::RootRefused, exit_code: Some(code), message };
    }
    let (signal, of_signal) =
        match code.checked_sub(SIGNALLED).filter(|signal| (1..=MAX_SIGNAL).contains(signal)) {
            Some(signal) => {
                let (name, remedy) = of_signal(signal);
                (format!(" (terminated by {name})"), Some(remedy))
            }
            None => (String::new(), None),
        };
    let remedy = of_signal.unwrap_or_else(|| match exit_code::reason(code) {
        Reason::Config => "correct pgBackRest's configuration or the flags that choose it",
        Reason::MissingFile => {
            "check that the files in the message exist, and the flags that select the configuration"
        }
        Reason::Io => "check that the user that runs this program can read the files in the message",
        Reason::Terminated => "find out what terminated it",
        _ => "run it manually as the same user for details",
    });
    let class = exit_code::name(code).map_or(signal, |class| format!(" ({class})"));
    Failure {
        reason: FailureReason::Exit,
        exit_code: Some(code),
        message: format!("{what} failed with exit code {code}{class}: {said}; {remedy}"),
    }
}

/// A signal's name, and what to look for.
fn of_signal(number: i32) -> (String, &'static str) {
    let signal = Signal::try_from(number).ok();
    let name = signal.map_or_else(|| format!("signal {number}"), |signal| signal.as_str().to_owned());
    let remedy = match signal {
        Some(Signal::SIGKILL) => "check the kernel's log for an out-of-memory kill",
        Some(Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT) => {
            "find out what stopped it, such as an administrator, a script or the service manager"
        }
        Some(
            Signal::SIGSEGV
            | Signal::SIGBUS
            | Signal::SIGILL
            | Signal::SIGFPE
            | Signal::SIGABRT
            | Signal::SIGSYS,
        ) => "it crashed; check its installation and libraries, and report the crash to its developers",
        Some(Signal::SIGXCPU | Signal::SIGXFSZ) => {
            "increase the resource limits of the user that runs this program"
        }
        _ => "find out what sent it",
    };
    (name, remedy)
}

/// pgBackRest's error message, or what else there is, in one line. The error may be on either stream, and a warning on the
/// other.
pub(super) fn said(stdout: &[u8], stderr: &[u8]) -> String {
    let streams = [stderr, stdout].map(|output| sanitize::clean(output).preamble);
    let is_error = |line: &Said<'_>| line.contains("ERROR: ");
    let error = streams.iter().find_map(|lines| lines.get(lines.iter().position(is_error)?..));
    let said = error.map_or_else(|| streams.iter().find_map(|lines| words(lines)), words);
    said.unwrap_or_else(|| "it printed no message".to_owned())
}

/// The first message in one line.
fn words(lines: &[Said<'_>]) -> Option<String> {
    let is_message =
        |line: &Said<'_>| ["WARN: ", "INFO: ", "ERROR: "].iter().any(|level| line.contains(level));
    let next = lines.iter().skip(1).position(is_message).map_or(lines.len(), |next| next + 1);
    let said = Said::of_lines(lines.get(..next)?).one_line(MAX_QUOTED);
    let message = said.split_once("ERROR: ").map_or(said.as_str(), |(_, message)| message);
    // `[037]: ` repeats the exit code.
    let message =
        message.split_once("]: ").filter(|(code, _)| code.len() == 4).map_or(message, |(_, rest)| rest);
    Some(message.to_owned()).filter(|message| !message.is_empty())
}

/// A message of our own without line ends and repeated spaces, and not too long.
pub(super) fn one_line(message: &str) -> String {
    text::one_line(message, MAX_QUOTED)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits::with_timeout(Duration::from_secs(90));

    fn exit(code: i32, stdout: &str, stderr: &str) -> Failure {
        of_ending("pgbackrest info", Ending::Exited(code), &LIMITS, stdout.as_bytes(), stderr.as_bytes())
    }

    #[test]
    fn the_error_is_found_on_either_stream_and_comes_with_a_remedy() {
        for (stdout, stderr) in [
            ("", "ERROR: [037]: info command requires option: repo2-cipher-pass\n"),
            (
                "P00   WARN: environment contains invalid option 'x'\nP00  ERROR: [037]: info command requires\n       option: repo2-cipher-pass\nP00   INFO: end\n",
                "",
            ),
            // The log of a command as 2.45 prints it: all of it on stdout, but for what it says of its own options.
            (
                "P00   INFO: begin\nP00  ERROR: [037]: info command requires option: repo2-cipher-pass\n",
                "WARN: environment contains invalid option 'x'\n",
            ),
        ] {
            let failure = exit(37, stdout, stderr);
            assert_eq!((failure.reason, failure.exit_code), (FailureReason::Exit, Some(37)));
            assert_eq!(
                failure.message,
                "pgbackrest info failed with exit code 37 (OptionRequiredError): info command requires option: \
                 repo2-cipher-pass; correct pgBackRest's configuration or the flags that choose it"
            );
        }
    }

    #[test]
    fn the_refusal_of_root_is_named() {
        let words = "P00  ERROR: [031]: the 'info' command must not be run as the root user\n";
        let failure = exit(31, words, "");
        assert_eq!(failure.reason, FailureReason::RootRefused);
        assert!(failure.message.contains("the user that owns the repositories"), "{}", failure.message);
        assert_eq!(exit(31, "", "ERROR: [031]: invalid option '--x'").reason, FailureReason::Exit);
    }

    #[test]
    fn every_ending_has_its_reason_and_one_line() {
        let endings = [
            (Ending::TimedOut, FailureReason::Timeout, "within 1m 30s"),
            (
                Ending::TooLarge(Stream::Stderr, 65_536),
                FailureReason::OutputTooLarge,
                "65536 bytes on stderr",
            ),
            (Ending::TooHeavy(64 << 20), FailureReason::OutputTooLarge, "more than 64 MiB of memory"),
            (Ending::TooSlow, FailureReason::OutputTooLarge, "too slowly"),
            (Ending::Silent(Duration::from_secs(30)), FailureReason::Timeout, "nothing for 30s"),
            (Ending::NoMemory, FailureReason::NoMemory, "other answers used the memory"),
            (
                Ending::Signalled(9),
                FailureReason::Killed,
                "by SIGKILL, which this program did not send; check the kernel's log",
            ),
            (
                Ending::Signalled(11),
                FailureReason::Killed,
                "by SIGSEGV, which this program did not send; it crashed",
            ),
            (
                Ending::Signalled(6),
                FailureReason::Killed,
                "by SIGABRT, which this program did not send; it crashed",
            ),
            (
                Ending::Signalled(15),
                FailureReason::Killed,
                "by SIGTERM, which this program did not send; find out what stopped it",
            ),
            (
                Ending::Signalled(64),
                FailureReason::Killed,
                "by signal 64, which this program did not send; find out what sent it",
            ),
            (
                Ending::Exited(139),
                FailureReason::Exit,
                "exit code 139 (terminated by SIGSEGV): it printed no message; it crashed",
            ),
            (
                Ending::Exited(137),
                FailureReason::Exit,
                "exit code 137 (terminated by SIGKILL): it printed no message; check",
            ),
            (Ending::Exited(128), FailureReason::Exit, "exit code 128: it printed no message; run it"),
            (Ending::Exited(1), FailureReason::Exit, "exit code 1: it printed no message"),
        ];
        for (ending, reason, words) in endings {
            let failure = of_ending("pgbackrest info", ending, &LIMITS, b"", b"");
            assert_eq!(failure.reason, reason);
            assert!(failure.message.contains(words) && failure.message.lines().count() == 1, "{failure:?}");
        }
        let failure = of_spawn(Path::new("/opt/x"), &io::Error::from(io::ErrorKind::NotFound));
        assert!(failure.message.starts_with("cannot start '/opt/x': "), "{}", failure.message);
    }

    #[test]
    fn what_pgbackrest_says_is_bounded() {
        let failure = exit(29, &format!("P00  ERROR: [029]: {}", "long ".repeat(10_000)), "");
        assert!(failure.message.len() < 2 * MAX_QUOTED, "{}", failure.message.len());
    }
}
