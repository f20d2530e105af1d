//! Results of restore tests, exported from the real API server: `verify-records` checks them, and so does the script in
//! docs/evidence.md.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::restore_tests::wait_for_condition;
use crate::support::evidence::{self, ED25519, Script};
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::process::{call, output, wait_for};

/// What is in the status is whole; what is changed by hand is noticed, and told until it is mended.
pub(super) fn are_verified(kubectl: &Kubectl, public: &str) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("restore-tests.json");
    let export = || {
        let text = kubectl.run(&["get", "restoretests", "--all-namespaces", "--output=json"]);
        fs::write(&file, &text).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let before = export();
    let results = before["items"][0]["status"]["results"].clone();
    assert_eq!((&results[0]["cluster"], &results[0]["head"]["sequence"]), (&json!("ledger"), &json!(3)));
    assert_eq!(check(&file, &[public]), (Some(0), 4));
    assert!(evidence::agrees(Script::Resources, &file, public));
    let [_, other] = evidence::key(place.path(), "other", ED25519);
    assert_eq!(check(&file, &[&other]).0, Some(1));
    assert!(!evidence::agrees(Script::Resources, &file, &other));

    let changes = [
        json!({"op": "replace", "path": "/status/results/0/tests/1/outcome", "value": "passed"}),
        json!({"op": "remove", "path": "/status/results/0/tests/0"}),
        json!({"op": "remove", "path": "/status/results/0/tests/1"}),
    ];
    for change in changes {
        patch(kubectl, &change);
        wait_for_condition(kubectl, "Passed", "Unknown", "ResultsChanged");
        export();
        assert_eq!(check(&file, &[public]).0, Some(1), "{change}");
        assert!(!evidence::agrees(Script::Resources, &file, public), "{change}");
        patch(kubectl, &json!({"op": "replace", "path": "/status/results", "value": results}));
        wait_for("the condition as before", || {
            let status = kubectl.get("shop", "restoretest", "nightly")?["status"].clone();
            let passed =
                status["conditions"].as_array()?.iter().find(|known| known["type"] == "Passed")?.clone();
            (passed["reason"] != "ResultsChanged").then_some(())
        });
    }
    export();
    assert_eq!(check(&file, &[public]), (Some(0), 4));
}

fn patch(kubectl: &Kubectl, change: &Value) {
    let patch = format!("--patch=[{change}]");
    let name = ["restoretest", "nightly", "--subresource=status", "--type=json", &patch];
    kubectl.run(&[&["--namespace=shop", "patch"], name.as_slice()].concat());
}

/// The exit code, and how many results there are.
fn check(file: &Path, keys: &[&str]) -> (Option<i32>, u64) {
    let mut program = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    program.args(["verify-records", "--output=json"]).arg(file);
    program.args(keys.iter().map(|key| format!("--public-key-file={key}")));
    let said = output(&mut program);
    let report: Value =
        serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    (said.status.code(), report["records"].as_u64().unwrap())
}
