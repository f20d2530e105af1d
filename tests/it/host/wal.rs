//! Compares what a listing of a real WAL archive proves with real restores: if an instant can be restored, a restore leads to the
//! state at that time; otherwise the restore fails.

mod expired;
mod holes;
mod timelines;
pub(super) mod trial;
