//! Lists the WAL archives of repositories, so that `state::archive` can judge them.
//!
//! [`plan`] decides what to list next and is pure; [`pass`] does it for one archive; [`rounds`] goes through all archives of
//! this host at an interval of its own; [`book`] keeps what was listed and writes what it proves into snapshots.

use std::time::Duration;

use crate::pgbackrest::version::Version;

pub(super) mod book;
pub(super) mod pass;
pub(super) mod plan;
pub(super) mod rounds;

/// The first version with `repo-ls` and `repo-get`.
pub(super) const SINCE: Version = Version { major: 2, minor: 32, patch: 0 };
/// Where more is missing than before, it is listed again so soon: several processes archive at once, and segments need not
/// arrive in their order.
pub(super) const SECOND_LOOK: Duration = Duration::from_mins(1);
