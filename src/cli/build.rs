//! Information about the build of this program.

use crate::metrics::options::BuildInfo;

/// As determined by `build.rs`.
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
