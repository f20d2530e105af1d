//! Which commands run or may still run, so that no second one joins them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cluster::key::Key;
use crate::source::call::CommandState;
use crate::source::process::Survivor;
use crate::state::merge::Target;
use crate::state::snapshot::{Failure, FailureReason};

const UNKILLABLE: &str =
    "the process of the last call hangs in the kernel and cannot be killed; check for an unresponsive mount";
const MAY_STILL_RUN: &str = "skipped in this run: the previous command may still be running there";

/// What one command at a time may be about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum CommandKey {
    /// The version.
    Version,
    /// `info` of one target. On a host several commands may read a repository.
    Info(Target),
    /// `info` of one backup.
    Backup(Target, Arc<str>),
    /// Any command for a repository.
    Repo(u32),
    /// Reading files in a pod.
    Files(String),
}

/// Commands that run or may still run, in all clusters.
#[derive(Debug, Default)]
pub(super) struct CommandsInFlight {
    commands: Mutex<HashMap<(Arc<Key>, CommandKey), RunningCommand>>,
}

#[derive(Debug)]
enum RunningCommand {
    /// Its call has not returned.
    Called,
    /// It ends at this time at the latest.
    Until(Option<Instant>),
    /// Not even SIGKILL has ended it yet.
    Process(Survivor),
}

/// A command whose call runs. If this is dropped unfinished, the command counts as running until its bound.
#[derive(Debug)]
pub(super) struct TrackedCommand<'a> {
    in_flight: &'a CommandsInFlight,
    key: (Arc<Key>, CommandKey),
    bound: Duration,
    state: CommandState,
}

impl CommandsInFlight {
    /// Registers a command that takes no longer than `bound`. Fails while an earlier one may run.
    pub(super) fn begin(
        &self,
        cluster: &Arc<Key>,
        key: CommandKey,
        bound: Duration,
    ) -> Result<TrackedCommand<'_>, Failure> {
        let key = (Arc::clone(cluster), key);
        let mut commands = self.commands.lock();
        commands.retain(|_, running| running.may_run());
        match commands.get(&key) {
            Some(RunningCommand::Process(_)) => return Err(Failure::new(FailureReason::Timeout, UNKILLABLE)),
            Some(RunningCommand::Called | RunningCommand::Until(_)) => {
                return Err(Failure::new(FailureReason::Lost, MAY_STILL_RUN));
            }
            None => {}
        }
        commands.insert(key.clone(), RunningCommand::Called);
        Ok(TrackedCommand { in_flight: self, key, bound, state: CommandState::Unknown })
    }

    /// Whether a process that cannot be killed was about this target.
    pub(super) fn hangs(&self, cluster: &Arc<Key>, target: &Target) -> bool {
        let mut commands = self.commands.lock();
        commands.iter_mut().any(|((of, key), running)| {
            let is_same =
                matches!(key, CommandKey::Info(about) | CommandKey::Backup(about, _) if about == target);
            of == cluster && is_same && matches!(running, RunningCommand::Process(_)) && running.may_run()
        })
    }
}

impl RunningCommand {
    fn may_run(&mut self) -> bool {
        match self {
            Self::Called => true,
            Self::Until(end) => end.is_none_or(|end| end > Instant::now()),
            Self::Process(process) => !process.is_gone(),
        }
    }
}

impl TrackedCommand<'_> {
    pub(super) const fn key(&self) -> &CommandKey {
        &self.key.1
    }

    /// The call has returned.
    pub(super) fn finish(mut self, state: CommandState) {
        self.state = state;
    }
}

impl Drop for TrackedCommand<'_> {
    fn drop(&mut self) {
        let left = match std::mem::replace(&mut self.state, CommandState::Ended) {
            CommandState::NotStarted | CommandState::Ended => None,
            CommandState::Unkillable(process) => Some(RunningCommand::Process(process)),
            CommandState::Unknown => Some(RunningCommand::Until(Instant::now().checked_add(self.bound))),
        };
        let mut commands = self.in_flight.commands.lock();
        match left {
            Some(running) => commands.insert(self.key.clone(), running),
            None => commands.remove(&self.key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_free_when_its_command_is_known_to_have_ended() {
        let (in_flight, cluster) = (CommandsInFlight::default(), Arc::new(Key::new("shop", "ledger")));
        let begin = |repo, bound| in_flight.begin(&cluster, CommandKey::Repo(repo), bound).ok();
        let hour = Duration::from_hours(1);
        let first = begin(1, hour).unwrap();
        assert!(begin(1, hour).is_none() && begin(2, hour).is_some(), "while it runs");
        first.finish(CommandState::Ended);
        drop(begin(1, hour).unwrap());
        assert!(begin(1, hour).is_none(), "a call that is cut off leaves its command behind");
        begin(3, hour).unwrap().finish(CommandState::Ended);
        drop(begin(3, Duration::ZERO).unwrap());
        assert!(begin(3, hour).is_some(), "its time is over");
    }
}
