//! What a listing of the WAL archive proves about recovery.

mod backups;
mod expired;
mod judge;
mod listing;
mod path;
mod ranges;
mod segments;

pub use expired::ArchiveRetention;
pub use judge::{Continuity, PathContinuity, Unrestorable, judge};
pub use listing::{DirectoryFacts, ListedFile, Listing, Run};

#[cfg(test)]
mod defects;
#[cfg(test)]
mod oracle;
