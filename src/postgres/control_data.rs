//! The output of `pg_controldata` in the C locale.

use crate::pgbackrest::wal::SegmentSize;

use super::copy::SIZED;

/// What a restored data directory says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlData {
    /// The settings of [`SIZED`] that the WAL was written with, as far as they are printed.
    pub sized: Vec<(&'static str, u64)>,
    /// Whether pages have checksums, if it is printed.
    pub has_checksums: Option<bool>,
    pub segment_size: Option<SegmentSize>,
}

/// Parses `NAME:   VALUE` lines.
#[must_use]
pub fn parse(stdout: &str) -> ControlData {
    let value = |name: &str| {
        let mut lines = stdout.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| *found == name).and_then(|(_, value)| value.trim().parse::<u64>().ok())
    };
    // PostgreSQL 17 and earlier call it max_prepared_xacts.
    let printed = |name: &str| match name {
        "max_prepared_transactions" => value("max_prepared_xacts setting"),
        "max_locks_per_transaction" => value("max_locks_per_xact setting"),
        name => value(&format!("{name} setting")),
    };
    ControlData {
        sized: SIZED.into_iter().filter_map(|name| Some((name, printed(name)?))).collect(),
        has_checksums: value("Data page checksum version").map(|version| version > 0),
        segment_size: value("Bytes per WAL segment").and_then(SegmentSize::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_checksums_are_found() {
        let text = "pg_control version number:            1300\n\
                    wal_level setting:                    replica\n\
                    wal_log_hints setting:                off\n\
                    max_connections setting:              100\n\
                    max_worker_processes setting:         8\n\
                    max_wal_senders setting:              10\n\
                    max_prepared_xacts setting:           0\n\
                    max_locks_per_xact setting:           64\n\
                    Bytes per WAL segment:                16777216\n\
                    Data page checksum version:           1\n";
        let expected = [
            ("max_connections", 100),
            ("max_worker_processes", 8),
            ("max_wal_senders", 10),
            ("max_prepared_transactions", 0),
            ("max_locks_per_transaction", 64),
        ];
        let segment_size = Some(SegmentSize::DEFAULT);
        assert_eq!(
            parse(text),
            ControlData { sized: expected.into(), has_checksums: Some(true), segment_size }
        );
        let without = text.replace("version:           1", "version:           0");
        assert_eq!(parse(&without).has_checksums, Some(false));
        assert_eq!(parse(""), ControlData::default());
    }
}
