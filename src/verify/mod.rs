//! The `verify` command: has pgBackRest read every file of a repository, and judges what it printed.
//!
//! `run` finds the repository, runs `pgbackrest verify`, and asks `info` again if something seems to be wrong. Pure modules decide:
//! `backups` and `wal` (what has faults), and `judge` (what that means), from the `evidence`.

pub mod order;
pub mod run;

mod backups;
mod evidence;
mod failure;
mod judge;
mod wal;
