//! What this program was built of.

use crate::metrics::options::BuildInfo;

/// As `build.rs` found it out.
#[must_use]
pub(super) fn info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("KEEPER_BUILD_REVISION"),
        branch: env!("KEEPER_BUILD_BRANCH"),
        rustc: env!("KEEPER_BUILD_RUSTC"),
        ..BuildInfo::default()
    }
}
