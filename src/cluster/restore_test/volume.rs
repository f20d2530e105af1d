//! How large the volume for a copy is.

use crate::cluster::quantity;

const GIB: u64 = 1 << 30;
/// Room that must stay free (`restore-test --space-reserve`), and some more for what PostgreSQL writes itself.
const RESERVE: u64 = 2 * GIB;

/// What is known of the bytes that a copy needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyBytes {
    /// Size of the database in the backup.
    pub database: u64,
    /// WAL that is replayed on it.
    pub wal: u64,
}

/// A quantity of whole GiB: the bytes, a seventh more for the file system, and a reserve. As long as nothing is known, the volume of the
/// database is the measure, into which the database and its WAL fit.
#[must_use]
pub fn size(known: Option<CopyBytes>, database_volume: Option<&str>) -> Option<String> {
    let known = known.map(|known| known.database.saturating_add(known.wal));
    let bytes = known.or_else(|| {
        let bytes = quantity::thousandths(database_volume?)?.div_ceil(1000);
        u64::try_from(bytes).ok()
    })?;
    let bytes = bytes.saturating_add(bytes / 7).saturating_add(RESERVE);
    Some(format!("{}Gi", bytes.div_ceil(GIB)))
}

/// The bytes of a volume of this size that the copy and its WAL may use. None for what is not a quantity.
#[must_use]
pub fn usable(size: &str) -> Option<u64> {
    let bytes = quantity::thousandths(size)? / 1000;
    u64::try_from(bytes / 8 * 7).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_restored_fits_with_a_reserve() {
        let known = |database, wal| size(Some(CopyBytes { database, wal }), Some("1Ti"));
        assert_eq!(known(0, 0).as_deref(), Some("2Gi"));
        assert_eq!(known(30 << 20, 16 << 20).as_deref(), Some("3Gi"));
        assert_eq!(known(100 * GIB, 40 * GIB).as_deref(), Some("162Gi"));
        assert_eq!(size(None, Some("10Gi")).as_deref(), Some("14Gi"));
        assert_eq!(size(None, Some("500M")).as_deref(), Some("3Gi"));
        assert_eq!((size(None, Some("ten")), size(None, None)), (None, None));
        assert!(known(u64::MAX, 1).is_some());
        assert_eq!((usable("8Gi"), usable("80M"), usable("ten")), (Some(7 * GIB), Some(70_000_000), None));
        let needed = 100 * GIB;
        assert!(usable(&known(needed, 0).unwrap()) >= Some(needed));
    }
}
