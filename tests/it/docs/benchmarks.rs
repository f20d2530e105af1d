//! `scripts/compare_bench.py` finds what got worse, and is not misled by noise.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

fn write_run(directory: &Path, samples: &[f64], better: &str) {
    let figure = json!({"name": "CPU", "unit": "ms", "better": better, "samples": samples, "peer": null, "limit": null});
    let document = json!({"bench": "peer", "cases": [{"case": "small", "figures": [figure]}]});
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("peer.json"), document.to_string()).unwrap();
}

fn compared(before: &Path, after: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/compare_bench.py");
    Command::new("python3").arg(script).args([before, after]).output().unwrap()
}

fn verdict(before: &[f64], after: &[f64], better: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    write_run(&old, before, better);
    write_run(&new, after, better);
    let output = compared(&old, &new);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_figure_is_worse_if_it_changed_by_more_than_its_noise() {
    let (code, table) = verdict(&[100.0, 101.0, 102.0], &[120.0, 121.0, 122.0], "lower");
    assert_eq!(code, Some(1), "{table}");
    assert!(table.contains("| peer | small | CPU | 101 ms | 121 ms | +20% | 5% | worse |"), "{table}");
    for (before, after) in [
        (&[100.0][..], &[104.0][..]),
        (&[100.0, 130.0, 110.0], &[120.0, 125.0, 130.0]),
        (&[100.0], &[50.0]),
        (&[0.0], &[0.0]),
    ] {
        let (code, table) = verdict(before, after, "lower");
        assert_eq!(code, Some(0), "{table}");
    }
    assert_eq!(verdict(&[0.0], &[1.0], "lower").0, Some(1));
    assert_eq!(verdict(&[100.0], &[200.0], "neither").0, Some(0));
}

#[test]
fn runs_of_one_side_are_one_set() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    write_run(&path("old/1"), &[100.0], "lower");
    write_run(&path("old/2"), &[140.0], "lower");
    write_run(&path("new"), &[150.0], "lower");
    let output = compared(&path("old"), &path("new"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_directory_without_runs_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let output = compared(directory.path(), directory.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("contains no JSON files"));
}
