//! Whatever is printed, reading it and drawing every conclusion from it never panics and never contradicts itself.

use chrono::DateTime;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::pgbackrest::{info, sanitize};
use pgbackrest_keeper::state::comparison::{self, What};
use pgbackrest_keeper::state::snapshot::{RepoSettings, Retention};
use pgbackrest_keeper::state::{assemble, recovery, retention, wal_range};

pub(crate) fn check(bytes: &[u8]) {
    let cleaned = sanitize::clean(bytes);
    let Ok(document) = info::parse(&cleaned.text) else { return };
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
    for view in document.stanzas() {
        let mut stanza = assemble::stanza(view, now);
        let _ = (comparison::backup_skew(&stanza), comparison::system_ids_match(&stanza));
        let _ = comparison::wal_skew_segments(&stanza);
        for repo in &stanza.repos {
            if let Some(window) = recovery::window(repo) {
                assert!(window.earliest <= window.latest);
            }
            if let Some(range) = wal_range::range(&stanza, repo) {
                assert!(range.end.is_none_or(|end| end.0 % range.segment_size.bytes() == 0));
            }
            for backup_type in BackupType::ALL {
                for what in What::ALL {
                    let deviation = comparison::size_deviation(repo, backup_type, what);
                    assert!(deviation.is_none_or(f64::is_finite));
                }
            }
        }
        for repo in &mut stanza.repos {
            for retention_full in [Retention::Count(3), Retention::Days(30)] {
                let settings = RepoSettings { retention_diff: Some(2), ..RepoSettings::default() };
                repo.settings = Some(RepoSettings { retention_full: Some(retention_full), ..settings });
                assert!(retention::checks(repo, now).len() <= 2);
            }
        }
    }
}
