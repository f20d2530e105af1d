//! A web configuration is taken as a whole or refused with a short reason without its values, and a beginning of it never says that
//! no password is required.

use std::fs;
use std::path::Path;

use pgbackrest_keeper::http::web_config::{self, WebConfig, WebConfigError};

const PLANTED: &str = "planted-4711-secret";

pub(crate) fn check(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let file = directory.path().join("web.yml");
    let (result, told) = load(&file, bytes);
    assert!(told.len() < 8192 && !told.contains('\n'), "{told}");
    if let Ok(config) = result
        && !config.users.is_empty()
    {
        for end in [bytes.len() / 4, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let (beginning, _) = load(&file, &bytes[..end]);
            assert!(
                !beginning.is_ok_and(|config| config.states_no_users),
                "{end} bytes say that there are no users"
            );
        }
    }
    if String::from_utf8_lossy(bytes).contains(PLANTED) {
        return;
    }
    for line in [
        format!("\nbasic_auth_users:\n  alice: {PLANTED}\n"),
        format!("\ntls_server_config:\n  key: {PLANTED}\n"),
    ] {
        let (result, told) = load(&file, &[bytes, line.as_bytes()].concat());
        assert!(!told.contains(PLANTED) && !format!("{result:?}").contains(PLANTED), "{told}");
    }
}

fn load(file: &Path, bytes: &[u8]) -> (Result<WebConfig, WebConfigError>, String) {
    fs::write(file, bytes).expect("a file");
    let result = web_config::load(file);
    let told = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    (result, told)
}
