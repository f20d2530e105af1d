//! What a listing of the WAL archive proves about recovery.

mod backups;
mod branches;
mod clock;
mod default_restore;
mod expired;
mod judge;
mod leftovers;
mod listing;
mod path;
mod ranges;
mod segments;
mod stored;

pub use branches::{Branch, BranchState, ReachEnd};
pub use default_restore::DefaultRestore;
pub use expired::ArchiveRetention;
pub use judge::{Continuity, DatabaseFacts, PathContinuity, Unrestorable, judge};
pub use leftovers::{Leftover, leftovers};
pub use listing::{CLOCK_TOLERANCE, DirectoryFacts, Expected, ListedFile, Listing, Mark, Run};
pub use path::Fork;
pub use stored::{KeptRange, KeptWal, StoredWal};

#[cfg(test)]
mod tests;
