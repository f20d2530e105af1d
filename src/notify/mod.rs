//! Calls URLs outside: heartbeats, as long as conditions hold, and webhooks, when a state changes.
//!
//! Conditions and states are those of `check`, judged with the same metrics. `config` reads the targets, `changes` decides what is news
//! to a webhook, `targets` keeps it until it is delivered, `journal` what was delivered, and `run` makes the calls.

mod attempts;
mod body;
mod changes;
pub mod config;
mod deliver;
pub mod journal;
mod judging;
pub mod run;
pub mod source;
mod targets;
