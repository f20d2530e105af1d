//! Whatever is printed, reading it and drawing every conclusion from it never panics and never contradicts itself.

use chrono::{DateTime, Utc};
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::pgbackrest::{info, sanitize};
use pgbackrest_keeper::state::assemble::{self, InfoReader};
use pgbackrest_keeper::state::comparison::{self, What};
use pgbackrest_keeper::state::snapshot::{RepoSettings, Retention};
use pgbackrest_keeper::state::{recovery, retention, wal_range};

pub(crate) fn check(bytes: &[u8]) {
    let cleaned = sanitize::clean(bytes);
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
    in_pieces_is_the_same(bytes, now);
    let Ok(document) = info::parse(&cleaned.text) else { return };
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

/// Taking the backups out while the document is printed changes nothing.
fn in_pieces_is_the_same(bytes: &[u8], now: DateTime<Utc>) {
    let whole = sanitize::clean(bytes);
    let whole = info::parse(&whole.text).ok().map(|document| {
        let stanzas: Vec<_> = document.stanzas().map(|view| assemble::stanza(view, now)).collect();
        (stanzas, document.unreadable.len())
    });
    let (mut reader, mut rest) = (InfoReader::default(), Vec::new());
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        rest.extend(piece);
        reader.read(&mut rest);
    }
    let rest = sanitize::clean(&rest);
    let pieces = info::parse_rest(&rest.text, |place| reader.taken(place)).ok().map(|document| {
        let mut unreadable = document.unreadable.clone();
        let stanzas: Vec<_> =
            document.stanzas().map(|view| reader.stanza(view, now, &mut unreadable)).collect();
        (stanzas, unreadable.len())
    });
    assert_eq!(pieces, whole);
}
