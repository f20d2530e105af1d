//! What is to be verified.

use std::time::Duration;

use crate::state::proofs::Source;
use crate::state::turns::RepoWish;

/// A verification as the user wants it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where the database is.
    pub source: Source,
    pub stanza: String,
    pub repo: RepoWish,
    /// The label of the only backup to verify; everything if absent.
    pub set: Option<String>,
    pub timeout: Duration,
    pub process_max: Option<u32>,
}
