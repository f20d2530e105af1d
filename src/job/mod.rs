//! The `backup` command: one backup, from the choice of the pod to the proof that it is there.
//!
//! `run` goes through the steps. What it does next is decided by the pure modules: `look` (what `info` shows), `step`
//! (what an end of pgBackRest means) and `outcome` (how the pod ends).

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
