//! Manages the objects of each cluster as its resource specifies, and reports the result.
//!
//! One reconcile is observe → validate → build → apply → ensure stanzas → report. Only `apply` and `report` write.

pub mod action;
pub mod apply;
pub mod certificates;
pub mod controller;
mod debounce;
mod images;
pub mod inventory;
pub mod jobs;
mod kinds;
pub mod leadership;
mod locations;
pub mod mode;
pub mod objects;
pub mod observe;
mod own;
mod packed;
pub mod pod_identity;
pub mod progress;
pub mod reconcile;
pub mod report;
pub mod resources;
pub mod restore_tests;
mod revisits;
mod runs;
pub mod scope;
mod shared;
mod sorted;
pub mod stanza;
mod stored;
pub mod verifications;
mod watch;
