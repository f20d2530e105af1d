//! `make demo` works as described in the README.

use std::path::Path;
use std::process::Command;

use crate::support::machine::{postgres_programs, program, skip};
use crate::support::process::output;

#[test]
fn demo_shows_real_backups_and_cleans_up() {
    let needed = [postgres_programs(), program("pgbackrest"), program("prometheus"), program("curl")];
    if let Some(missing) = needed.into_iter().find_map(Result::err) {
        return skip("demo_shows_real_backups_and_cleans_up", missing);
    }
    let temporary = tempfile::Builder::new().prefix("demo-").tempdir().unwrap();
    // PostgreSQL runs as another user where the tests run as root.
    std::fs::set_permissions(temporary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let demo = output(
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo"))
            .env("KEEPER_PROGRAM", env!("CARGO_BIN_EXE_pgbackrest-keeper"))
            .env("TMPDIR", temporary.path())
            .env_remove("KEEP"),
    );
    let said = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{said}{}", String::from_utf8_lossy(&demo.stderr));
    for expected in [
        // As the exporter serves them.
        "pgbackrest_stanza_status{stanza=\"demo\"} 0",
        "pgbackrest_repo_status{cipher=\"aes-256-cbc\",repo_key=\"2\",stanza=\"demo\"} 0",
        "pgbackrest_backups{backup_type=\"diff\",repo_key=\"1\",stanza=\"demo\"} 1",
        // As Prometheus has them.
        "{backup_type=\"full\", repo_key=\"2\"} => 1",
        "{backup_type=\"incr\", repo_key=\"1\"} => 1",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    let left: Vec<_> = temporary.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
