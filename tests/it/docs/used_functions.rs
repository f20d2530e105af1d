//! The functions that an exporter uses are next to each other in a release (`build.rs`, `scripts/used-functions`).

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every program of Rust enters it.
const ENTRY: &str = "_RNvNtCs*_3std2rt19lang_start_internal";
/// A section for what the list names.
const PLACE: &str = ".text.used";

fn list() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("used-functions.txt")).unwrap()
}

/// A program with symbols, linked like a release.
fn program(directory: &Path) -> PathBuf {
    let (source, program) = (directory.join("small.rs"), directory.join("small"));
    fs::write(&source, "fn main() { println!(\"done\"); std::process::exit(7); }").unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let script = Path::new(env!("OUT_DIR")).join("used-functions.ld");
    let output = Command::new(rustc)
        .args(["--edition=2024", "-Ctarget-feature=+crt-static", "-Csymbol-mangling-version=v0"])
        .arg(format!("-Clink-arg=-Wl,-T,{}", script.display()))
        .args([Path::new("-o"), &program, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// What `nm` prints of the symbols of a section.
fn symbols(program: &Path, section: &str) -> HashSet<String> {
    let output = Command::new("nm").args(["--format=sysv", "--defined-only"]).arg(program).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    lines.filter(|line| line.last() == Some(&section)).map(|line| line[0].to_owned()).collect()
}

#[test]
fn each_line_is_one_function() {
    let list = list();
    let names: HashSet<&str> = list.lines().collect();
    assert_eq!(names.len(), list.lines().count(), "a function is there twice");
    assert!(names.len() > 1000 && names.contains(ENTRY), "{}", names.len());
    for name in names {
        let is_symbol = |letter: char| letter.is_ascii_alphanumeric() || "_*.$".contains(letter);
        assert!(name.starts_with("_R") && name.len() <= 200 && name.chars().all(is_symbol), "{name}");
    }
}

#[test]
fn the_linker_places_what_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let (start, end) = ENTRY.split_once('*').unwrap();
    let is_entry = |name: &String| name.starts_with(start) && name.ends_with(end);
    let placed = symbols(&program, PLACE);
    assert!(placed.iter().any(is_entry), "{placed:?}");
    let others = symbols(&program, ".text");
    assert!(!others.is_empty() && !others.iter().any(is_entry), "{others:?}");
    assert_eq!(Command::new(program).output().unwrap().stdout, b"done\n");
}

#[test]
fn the_functions_of_a_run_are_added() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list");
    fs::write(&list, "_RNvKnown\n").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/used_functions.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(&list).arg(program(directory.path()));
    for _ in 0..2 {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, b"done\n");
        let listed = fs::read_to_string(&list).unwrap();
        let names: Vec<&str> = listed.lines().collect();
        let of = |name: &str| names.iter().filter(|known| **known == name).count();
        assert_eq!((names[0], of(ENTRY), of("_RNvCs*_5small4main")), ("_RNvKnown", 1, 1), "{listed}");
    }
}
