//! The table of faults: each is injected into the real program, and says what must hold: nothing that was known is lost, nothing
//! false is told, nothing hangs, no door opens, and memory stays below the shipped limit.
//!
//! A row is injected here, or names the test that does. docs/faults.md is generated from the rows.

mod api_servers;
mod authentication;
mod clocks;
mod documents;
mod exporter;
mod files;
mod http;
mod limits;
mod manifests;
mod pods;
mod processes;
mod program;
mod resources;
mod secrets;
mod secure;
mod table;
mod tls;

/// A fault.
pub(crate) struct Row<I> {
    /// What goes wrong.
    pub(crate) fault: &'static str,
    /// What must hold meanwhile and afterwards.
    pub(crate) holds: &'static str,
    pub(crate) inject: I,
}

/// A fault that a test elsewhere injects.
#[derive(Clone, Copy)]
pub(crate) struct Elsewhere(
    /// What goes wrong.
    pub(crate) &'static str,
    /// What must hold meanwhile and afterwards.
    pub(crate) &'static str,
    /// The test: the path of its function from `tests/it`, or from `src` if it begins with `crate`.
    pub(crate) &'static str,
);

/// Rows of one group, without how they are injected.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// Injected in this module.
    pub(crate) here: Vec<(&'static str, &'static str)>,
    pub(crate) elsewhere: &'static [Elsewhere],
}

impl Group {
    fn new<I>(name: &'static str, here: &[Row<I>], elsewhere: &'static [Elsewhere]) -> Self {
        let here = here.iter().map(|row| (row.fault, row.holds)).collect();
        Self { name, here, elsewhere }
    }
}

/// The largest memory that is shipped for a program: `limits` in deploy/base.
pub(crate) const MEMORY_LIMIT: u64 = 256 << 20;
