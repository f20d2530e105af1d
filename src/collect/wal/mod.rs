//! Scans WAL archives, so that [`state::archive`](crate::state::archive) can judge what can be recovered.
//!
//! [`plan`] decides what to list of an [`archive`] and is pure. [`scan`] lists it, repository by repository, and records each
//! listing in the [`listing_store`], which writes what the listings prove into each new snapshot.

use std::time::Duration;

pub(super) mod archive;
mod directories;
pub(super) mod listing_store;
pub(super) mod plan;
pub(super) mod scan;

/// If more WAL is missing than before, the archive is scanned again so soon: several processes archive at once, and
/// segments need not arrive in order.
pub(super) const SECOND_SCAN: Duration = Duration::from_mins(1);
