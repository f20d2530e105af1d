//! Runs pgBackRest's commands as processes on this host.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::memory::{Captured, Sink};
use crate::pgbackrest::command::{Command, Program};

use super::call::{CommandState, Finished, Runner};
use super::environment::Environment;
use super::failure;
use super::notices::Notices;
use super::process::{self, Ending, Limits};

/// Starts pgBackRest on this host.
#[derive(Debug)]
pub struct Local {
    program: Program,
    environment: Environment,
    notices: Notices,
    cancellation: CancellationToken,
}

impl Local {
    /// Starts `program` with `environment`. `cancellation` ends all of its processes.
    #[must_use]
    pub fn new(program: Program, environment: Environment, cancellation: CancellationToken) -> Self {
        Self { program, environment, notices: Notices::default(), cancellation }
    }

    /// Begins a run: warnings that were logged in the previous run are not logged again.
    pub fn begin_run(&self) {
        self.notices.begin_run();
    }
}

impl Runner for Local {
    fn name(&self) -> &'static str {
        "this host"
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        limits: &'a Limits,
        sink: Option<Sink>,
    ) -> BoxFuture<'a, Finished> {
        async move {
            let arguments = self.program.command_line(command);
            match process::run_into(&arguments, &self.environment, limits, &self.cancellation, sink).await {
                Ok(output) => {
                    let output_bytes = Some(output.stdout.printed());
                    let stdout = match output.ending {
                        Ending::Cancelled => None,
                        Ending::Exited(0) => Some(Ok(output.stdout)),
                        ending => {
                            let (what, stdout) = (command.to_string(), &output.stdout);
                            Some(Err(failure::of_ending(&what, ending, limits, stdout, &output.stderr)))
                        }
                    };
                    let state = output.survivor.map_or(CommandState::Ended, CommandState::Unkillable);
                    let (stderr, duration) = (output.stderr, output.duration);
                    Finished { stdout, stderr, output_bytes, duration, state }
                }
                Err(error) => Finished {
                    stdout: Some(Err(failure::of_spawn(&self.program.binary, &error))),
                    stderr: Captured::default(),
                    output_bytes: Some(0),
                    duration: Duration::ZERO,
                    state: CommandState::NotStarted,
                },
            }
        }
        .boxed()
    }

    fn log(&self, command: &str, line: &str) {
        self.notices.note(command, line);
    }
}
