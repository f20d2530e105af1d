//! The `backup` command: one backup, from the choice of the pod to the proof that it is there.

pub mod outcome;
