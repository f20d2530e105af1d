//! Which repositories have a command that runs, or may still run, so that no second one joins it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cluster::key::Key;

type Repo = (Arc<Key>, u32);

/// Commands by repository.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// When the command has ended at the latest; none while its call lasts.
    commands: Mutex<HashMap<Repo, Option<Instant>>>,
}

/// A call. Unless it is said to have ended, the command counts as running for its bound after this is dropped.
#[derive(Debug)]
pub(super) struct Call<'a> {
    running: &'a Running,
    repo: Repo,
    bound: Duration,
    ended: bool,
}

impl Running {
    /// Notes a call whose command takes no longer than `bound`. None while an earlier command may run.
    pub(super) fn begin(&self, cluster: &Arc<Key>, repo: u32, bound: Duration) -> Option<Call<'_>> {
        let now = Instant::now();
        let mut commands = self.commands.lock();
        commands.retain(|_, end| end.is_none_or(|end| end > now));
        let repo = (Arc::clone(cluster), repo);
        if commands.contains_key(&repo) {
            return None;
        }
        commands.insert(repo.clone(), None);
        Some(Call { running: self, repo, bound, ended: false })
    }
}

impl Call<'_> {
    /// The command runs no more, or was never started.
    pub(super) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut commands = self.running.commands.lock();
        if self.ended {
            commands.remove(&self.repo);
        } else {
            commands.insert(self.repo.clone(), Instant::now().checked_add(self.bound));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_free_when_its_command_is_known_to_have_ended() {
        let (running, cluster) = (Running::default(), Arc::new(Key::new("shop", "ledger")));
        let begin = |repo, bound| running.begin(&cluster, repo, bound);
        let hour = Duration::from_hours(1);
        let first = begin(1, hour).unwrap();
        assert!(begin(1, hour).is_none() && begin(2, hour).is_some(), "while it runs");
        first.ended();
        drop(begin(1, hour).unwrap());
        assert!(begin(1, hour).is_none(), "whoever is cut off leaves the command behind");
        begin(3, hour).unwrap().ended();
        drop(begin(3, Duration::ZERO).unwrap());
        assert!(begin(3, hour).is_some(), "its time is over");
    }
}
