//! Processes that left the process group of a call, as `setsid` and daemons do, and would outlive it.
//!
//! This process is a child subreaper: it adopts those whose parents have ended, as process 1 of a container does anyway. After
//! each call it looks at its own children only, kills those whose calls are over, and reaps them. A call that is killed does
//! not wait for their parents to end: all processes of the host are searched for its mark. So they are where nothing can be adopted.
//!
//! Processes that cleared their environment are known by being adopted. Those of another user (`sudo`) cannot be killed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use procfs::process::{Process, Stat, all_processes};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::marks::{self, Belongs};

/// How often processes are looked for: one that is found may have started another in the meantime.
const PASSES: usize = 5;
/// How often it is looked for more at the end, and how long is waited in between: processes are adopted when their parents are gone.
const LAST_LOOKS: usize = 20;
const BETWEEN_LAST_LOOKS: Duration = Duration::from_millis(5);

/// From one look at the children to the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// The same where all processes have to be looked at.
const BETWEEN_SEARCHES: Duration = Duration::from_secs(30);

static ADOPTION: OnceLock<Adoption> = OnceLock::new();

/// What is known of adopted children.
#[derive(Debug)]
struct Adoption {
    /// All of them are of calls, also those without a mark.
    all_are_ours: bool,
}

/// From now on, processes of calls whose parents end become children of this process. For programs that start nothing but calls.
pub fn adopt() {
    let is_first = std::process::id() == 1;
    if !can_reap() || (prctl::set_child_subreaper(true).is_err() && !is_first) {
        return;
    }
    // The first process of a container also inherits from `kubectl exec`. A shell may have started others before it became this program.
    let all_are_ours = !is_first && Children::now().ids.is_empty();
    let _ = ADOPTION.set(Adoption { all_are_ours });
}

/// Whether the kernel can do what is needed to reap a process: 5.4 and later.
fn can_reap() -> bool {
    let Ok(held) = pidfd_open(getpid(), PidfdFlags::empty()) else { return false };
    // This process is no child of its own, but older kernels do not know the question.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::PidFd(held.as_fd()), options), Err(Errno::CHILD))
}

/// Kills the processes of one call, except for the one that was started itself. May block.
pub(super) fn kill(mark: &str, started: i32) {
    kill_where(Some(started), |value| value == mark);
}

/// Kills the processes of all calls that this program made. May block.
pub fn kill_all() {
    if !marks::were_used() {
        return;
    }
    kill_where(None, |value| marks::number(value).is_some());
    let mut looks = Looks::default();
    for _ in 0..LAST_LOOKS {
        if looks.look().found == 0 {
            break;
        }
        thread::sleep(BETWEEN_LAST_LOOKS);
    }
}

/// Ends what calls leave behind, as soon as they are over. Ends only when it fails.
pub async fn end_with_their_calls() -> io::Result<()> {
    let mut ends_of_children = signal(SignalKind::child())?;
    let mut looks = Looks::default();
    loop {
        tokio::select! {
            () = marks::end_of_a_call() => {}
            // A child that was killed is to be reaped, and its own children have been adopted.
            _ = ends_of_children.recv() => {}
        }
        // A process that hangs in the kernel may hold up who looks at it.
        let look = tokio::task::spawn_blocking(move || {
            let looked = looks.look();
            (looks, looked)
        });
        let looked;
        (looks, looked) = look.await?;
        sleep(if looked.at_all { BETWEEN_SEARCHES } else { BETWEEN_LOOKS }).await;
    }
}

fn kill_where(except: Option<i32>, is_ours: impl Fn(&OsStr) -> bool) -> usize {
    let mut killed = 0;
    for _ in 0..PASSES {
        let more = kill_once(except, &is_ours);
        if more == 0 {
            break;
        }
        killed += more;
    }
    killed
}

fn kill_once(except: Option<i32>, is_ours: impl Fn(&OsStr) -> bool) -> usize {
    let Ok(processes) = all_processes() else { return 0 };
    let others = processes.filter_map(Result::ok).filter(|process| Some(process.pid) != except);
    let killed = others.filter(|process| {
        let Some(id) = Pid::from_raw(process.pid) else { return false };
        // Opened before it is looked at, so that no other process gets the signal if this one ends and its number is used again.
        let Ok(held) = pidfd_open(id, PidfdFlags::empty()) else { return false };
        mark_of(process, &is_ours) == Some(true) && pidfd_send_signal(held, Signal::KILL).is_ok()
    });
    killed.count()
}

fn mark_of<T>(process: &Process, read: impl FnOnce(&OsStr) -> T) -> Option<T> {
    let environment = process.environ().ok()?;
    environment.get(OsStr::new(marks::VARIABLE)).map(|value| read(value))
}

/// The children of this process.
#[derive(Debug)]
struct Children {
    ids: Vec<i32>,
    /// The kernel lists them. Otherwise all processes had to be looked at.
    are_listed: bool,
}

impl Children {
    fn now() -> Self {
        if let Some(ids) = Self::listed() {
            return Self { ids, are_listed: true };
        }
        let processes = all_processes().into_iter().flatten().filter_map(|process| process.ok()?.stat().ok());
        let children = processes.filter(is_parent_of);
        Self { ids: children.map(|stat| stat.pid).collect(), are_listed: false }
    }

    /// Those of all threads: processes are adopted by the first one, and started by any. Needs `CONFIG_PROC_CHILDREN`.
    fn listed() -> Option<Vec<i32>> {
        let threads = fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
        // One that cannot be read is of a thread that has ended.
        let lists: Vec<String> =
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
        let ids = lists.iter().flat_map(|list| list.split_ascii_whitespace());
        (!lists.is_empty()).then(|| ids.filter_map(|id| id.parse().ok()).collect())
    }
}

fn is_parent_of(stat: &Stat) -> bool {
    stat.ppid.cast_unsigned() == std::process::id()
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
struct Looked {
    /// How many were killed or reaped.
    found: usize,
    /// All processes were looked at.
    at_all: bool,
}

/// What is remembered of children that are not to be killed yet, by number and start.
#[derive(Debug, Default)]
struct Looks {
    seen: HashMap<(i32, u64), Belongs>,
}

impl Looks {
    /// Kills children whose calls are over, and reaps the dead ones. Where nothing is adopted, searches all processes for marks.
    fn look(&mut self) -> Looked {
        let Some(adoption) = ADOPTION.get() else {
            let is_over = |number| marks::is_over(Belongs::To(number));
            let found = kill_where(None, |value| marks::number(value).is_some_and(is_over));
            return Looked { found, at_all: true };
        };
        // In this order: what is a child by then belongs to a call that is known.
        let children = Children::now();
        let leaders = marks::leaders();
        let mut seen = HashMap::new();
        let adopted = children.ids.into_iter().filter(|child| !leaders.contains(child));
        let found = adopted.filter(|child| self.end(*child, adoption, &mut seen).is_some()).count();
        self.seen = seen;
        Looked { found, at_all: !children.are_listed }
    }

    /// Kills or reaps one child, if it is over.
    fn end(&self, child: i32, adoption: &Adoption, seen: &mut HashMap<(i32, u64), Belongs>) -> Option<()> {
        // Opened before it is looked at, as above.
        let held = pidfd_open(Pid::from_raw(child)?, PidfdFlags::empty()).ok()?;
        let process = Process::new(child).ok()?;
        let stat = process.stat().ok()?;
        if !is_parent_of(&stat) {
            return None;
        }
        let key = (child, stat.starttime);
        // It is of a call that has begun: of which, its mark tells. While it becomes another program it has none.
        let belongs = match self.seen.get(&key) {
            Some(known @ Belongs::To(_)) => *known,
            known => mark_of(&process, marks::number).flatten().map_or_else(
                || known.copied().unwrap_or_else(|| Belongs::Before(marks::next())),
                Belongs::To,
            ),
        };
        seen.insert(key, belongs);
        if !marks::is_over(belongs) {
            return None;
        }
        if stat.state == 'Z' {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            return waitid(WaitId::PidFd(held.as_fd()), options).ok().flatten().map(drop);
        }
        let is_ours = adoption.all_are_ours || matches!(belongs, Belongs::To(_));
        if is_ours { pidfd_send_signal(held, Signal::KILL).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};

    use super::super::marks::Mark;
    use super::*;

    #[test]
    fn where_nothing_is_adopted_marks_tell_whose_processes_they_are() {
        let start = |mark: &Mark| {
            Command::new("sleep").arg("600").env(marks::VARIABLE, mark.value()).spawn().unwrap()
        };
        let was_killed = |child: &mut Child| child.wait().unwrap().signal() == Some(Signal::KILL.as_raw());
        let (over, running) = (Mark::new(), Mark::new());
        let (mut first, mut second) = (start(&over), start(&running));
        let mut looks = Looks::default();
        over.end();
        assert!(looks.look().at_all);
        assert!(was_killed(&mut first));
        assert!(second.try_wait().unwrap().is_none());
        drop(running);
        looks.look();
        assert!(was_killed(&mut second));
    }

    #[test]
    fn the_kernel_lists_children() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let listed = Children::listed().unwrap().contains(&child.id().cast_signed());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed);
    }
}
