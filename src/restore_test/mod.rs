//! The `restore-test` command: restores a backup into a PostgreSQL that is thrown away, recovers it to a target, and checks it.
//!
//! `run` performs the phases: plan, restore, replay, check, stop, pages, clean. Pure modules decide: `choose` (what is restored, and to
//! where), `recovery` (when the target is reached, from PostgreSQL's log) and `classify` (whose fault an error is). `place` owns the
//! directory of the copy. The result is written by `source::proof_writer`.
//!
//! The copy is never promoted, and what is started for it can write only in its directory (`source::sandbox`).

pub mod assertion;
pub mod order;
pub mod place;
pub mod progress;
pub mod run;

mod amcheck;
mod checks;
mod choose;
mod classify;
mod expired;
mod phases;
mod programs;
mod query;
mod recovery;
mod replay;
mod restore;
mod stop;
mod target;
