//! A label that is read prints the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackrest_keeper::pgbackrest::label::{BackupLabel, BackupType};

fuzz_target!(|text: &str| {
    let Some(label) = BackupLabel::parse(text) else { return };
    assert_eq!(label.to_string(), text);
    assert_eq!(BackupType::of_label(text), Some(label.backup_type()));
});
