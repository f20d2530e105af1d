//! What a listing of a real WAL archive proves, held against real restores: where it says that an instant can be restored a
//! restore brings back what was there then, and where it says not, the restore fails.

mod expired;
mod holes;
mod timelines;
pub(super) mod trial;
