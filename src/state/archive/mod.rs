//! What a listing of the WAL archive proves about recovery.

mod listing;

pub use listing::{DirectoryFacts, ListedFile, Listing, Run};
