//! Recorded inputs to whole outputs, as files in fixtures/: expositions, findings, objects, tables.
//!
//! Starts nothing but this program. `UPDATE_GOLDEN=1` regenerates them; read the diff before you commit it.

pub(crate) mod fixtures;
pub(crate) mod lint;
pub(crate) mod objects;
pub(crate) mod render;
pub(crate) mod restore_tests;
pub(crate) mod snapshots;
