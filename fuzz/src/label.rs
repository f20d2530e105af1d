//! A label that is read prints the same.

use pgbackrest_keeper::pgbackrest::label::{BackupLabel, BackupType};

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(label) = BackupLabel::parse(&text) else { return };
    assert_eq!(label.to_string(), text);
    assert_eq!(BackupType::of_label(&text), Some(label.backup_type()));
}
