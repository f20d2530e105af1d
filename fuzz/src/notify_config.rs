//! A notification configuration is taken as a whole or refused with a short reason, and nothing tells its URLs and passwords.

use std::fs;
use std::path::Path;

use pgbackrest_keeper::notify::config::{self, NotifyConfig};

const PLANTED: &str = "planted-4711-secret";

pub(crate) fn check(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let file = directory.path().join("notify.yml");
    let (result, told) = load(&file, bytes);
    assert!(told.len() < 8192 && !told.contains('\n'), "{told}");
    if let Some(config) = result {
        assert!(config.heartbeats.len() + config.webhooks.len() <= 50);
        let names = config.heartbeats.iter().map(|one| &one.name);
        assert!(names.chain(config.webhooks.iter().map(|one| &one.name)).all(|name| name.len() <= 60));
    }
    if String::from_utf8_lossy(bytes).contains(PLANTED) {
        return;
    }
    for line in [
        format!("\nheartbeats:\n- name: a\n  url: http://localhost/{PLANTED}\n"),
        format!("\nwebhooks:\n- name: b\n  url_file: {PLANTED}\n"),
        format!("\n  url: {PLANTED}\n"),
        format!(
            "\nwebhooks:\n- name: c\n  url: http://localhost/\n  http_config:\n    basic_auth: {{password: {PLANTED}}}\n"
        ),
    ] {
        let (result, told) = load(&file, &[bytes, line.as_bytes()].concat());
        assert!(!told.contains(PLANTED) && !format!("{result:?}").contains(PLANTED), "{told}");
    }
}

fn load(file: &Path, bytes: &[u8]) -> (Option<NotifyConfig>, String) {
    fs::write(file, bytes).expect("a file");
    match config::load(file) {
        Ok(config) => (Some(config), String::new()),
        Err(error) => (None, error.to_string()),
    }
}
