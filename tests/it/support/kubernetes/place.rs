//! Where the processes of a cluster run: on this host, or in the namespaces of a node.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// How long a call that should end by itself may take.
const LONGEST_CALL: &str = "600";

/// On this host, or in the namespaces that a process holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Host,
    Inside(u32),
}

impl Place {
    /// A command that is killed when the thread that starts it ends, even where the test is killed itself.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&[], program)
    }

    /// The same for a call that ends by itself, with a limit on its time.
    pub(crate) fn call(self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&["timeout", "--kill-after=5", LONGEST_CALL], program)
    }

    /// Runs it on a thread in the network there; so are all threads and processes that it starts.
    pub(crate) fn in_network<T: Send>(self, run: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                if let Self::Inside(process) = self {
                    let network = File::open(format!("/proc/{process}/ns/net")).unwrap();
                    setns(network, CloneFlags::CLONE_NEWNET).unwrap();
                }
                run()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn enter(self, before: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(before);
        if let Self::Inside(process) = self {
            command.arg("nsenter").arg(format!("--target={process}"));
            command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"]);
        }
        command.arg(program).current_dir("/");
        command
    }
}
