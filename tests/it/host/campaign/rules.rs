//! Claims that are known to be too pessimistic. docs/exporter.md lists each of these rules; anything else is a defect.

use super::history::Kind;
use super::journal::Taken;

/// A claim that this backup leads nowhere, or not to a time, is too careful.
struct Rule {
    name: &'static str,
    /// Whether it covers this backup, and the reason that was given.
    covers: fn(&Taken, &str) -> bool,
}

/// For times that are called unreachable though a backup leads there.
const OF_TIMES: &[Rule] = &[Rule {
    // `info` tells no position of an offline backup, so it is not known which WAL leads on from it.
    name: "no WAL is known to lead on from an offline backup",
    covers: |taken, _| taken.kind == Kind::Offline,
}];

/// For backups that are called unrestorable though they can be restored.
const OF_BACKUPS: &[Rule] = &[Rule {
    // Its manifest tells which files of the prior backup it needs; `info` names the prior backup alone.
    name: "a backup needs the backups that it was made against",
    covers: |taken, _| taken.has_lost_prior,
}];

/// The rule by which a time is called unreachable though this backup leads there.
pub(super) fn of_time(taken: &Taken, why: &str) -> Option<&'static str> {
    name(OF_TIMES, taken, why)
}

/// The rule by which a backup is called unrestorable though it can be restored.
pub(super) fn of_backup(taken: &Taken) -> Option<&'static str> {
    name(OF_BACKUPS, taken, "")
}

fn name(rules: &[Rule], taken: &Taken, why: &str) -> Option<&'static str> {
    rules.iter().find(|rule| (rule.covers)(taken, why)).map(|rule| rule.name)
}
