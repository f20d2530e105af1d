//! What is told while a test runs.

use crate::pgbackrest::wal::{Lsn, WalSegment};
use crate::state::proofs::Phase;

/// What happens during a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A phase begins.
    Begins {
        phase: Phase,
        what: String,
    },
    Restored {
        percent: f64,
    },
    /// Begins to replay a segment.
    Replays {
        segment: WalSegment,
        /// Where it begins.
        lsn: Option<Lsn>,
    },
}

/// Receives the progress.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Sync);
