//! Our program, run once with a limit on its time and memory.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};

use super::MEMORY_LIMIT;
use crate::support::machine::{self, skip};

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that is killed after two minutes, and gets no more memory than the operator in its pod. `None` where this machine
/// cannot limit it.
pub(crate) fn limited(test: &str) -> Option<Command> {
    match machine::program("prlimit") {
        Ok(prlimit) => {
            let mut command = Command::new("timeout");
            command.args(["--kill-after=5", "120"]).arg(prlimit).arg(format!("--data={MEMORY_LIMIT}"));
            command.arg(env!("CARGO_BIN_EXE_pgbackrest-keeper")).current_dir("/").stdin(Stdio::null());
            Some(command)
        }
        Err(missing) => {
            skip(test, missing);
            None
        }
    }
}

/// Runs it to its end. It must not panic or be killed, whatever happens.
pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ended =
        Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    assert!(ended.code.is_some_and(|code| code < 100), "{command:?}: {:.2000}", ended.stderr);
    ended
}

/// A file that is read from its beginning.
pub(crate) fn input(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}
