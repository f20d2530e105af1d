//! Keeps the objects of each cluster as its resource asks, and tells how it went.
//!
//! One reconcile is observe → validate → build → apply → care → report. `apply` and `report` are the only writers.

pub mod action;
pub mod apply;
pub mod certificates;
pub mod controller;
mod debounce;
pub mod inventory;
pub mod jobs;
mod kinds;
pub mod leadership;
pub mod mode;
pub mod observe;
pub mod own_pod;
pub mod progress;
pub mod reconcile;
pub mod report;
pub mod resources;
pub mod scope;
pub mod stanza;
mod watch;
