//! What `lint` makes of `RestoreTest` resources. The findings themselves are recorded elsewhere.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

#[test]
fn a_restore_test_alone_is_checked() {
    let output = run(&["lint", "fixtures/clusters/restore_test_bad.yaml", "--output=json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clusters"], json!([]));
    assert_eq!(report["restore_tests"][0]["valid"], false);
    assert_eq!(report["restore_tests"][1]["name"], "late");
    assert_eq!(report["restore_tests"][1]["valid"], true);
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    command.args(arguments).current_dir(root).stdin(Stdio::null()).output().unwrap()
}
