//! Where claims are known to say less than is true. docs/exporter.md names each of these rules.

use super::history::Kind;
use super::journal::Taken;

/// The rule by which a time is called unreachable though this backup leads there.
pub(super) fn of_time(taken: &Taken, why: &str) -> Option<&'static str> {
    let _ = (taken, why);
    None
}

/// The rule by which a backup is called unrestorable though it can be restored.
pub(super) fn of_backup(taken: &Taken) -> Option<&'static str> {
    let _ = taken.kind == Kind::Offline;
    None
}
