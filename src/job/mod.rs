//! The `backup` command: makes one backup, from choosing the pod to proving that the backup exists.
//!
//! `run` performs the steps. Pure modules decide what it does next: `info_view` (what `info` shows), `step` (what an
//! exit of pgBackRest means) and `outcome` (how the pod ends).

pub mod access;
pub mod deadline;
pub mod limits;
pub mod outcome;
pub mod run;
pub mod task;

mod ask;
mod info_view;
mod listen;
mod process;
mod progress;
mod step;
