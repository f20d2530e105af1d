//! The targets of `fuzz/` over their seeds and random changes of them, the same in each run.
//!
//! `FUZZ_CHANGES=100000` tries more, and `FUZZ_SEED` others.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a package of its own for libFuzzer")]
mod targets;

use targets::{TARGETS, Target};

/// Changed inputs for each target.
const CHANGES: usize = 400;
/// Larger inputs are cut: what grows faster than its input shows well below, and others do not take long.
const LARGEST: usize = 32 << 10;
/// What parsers trip over.
const WORDS: [&[u8]; 46] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\x1b[2J",
    b"\x80",
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    "\u{feff}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{10ffff}".as_bytes(),
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b";q=",
    b"#",
    b"---\n",
    b"- ",
    b"&a ",
    b"*a ",
    b"<<: *a\n",
    b"!!binary ",
    b"? ",
    b"| ",
    b"0",
    b"-1",
    b"1e999",
    b"0.1",
    b"4294967296",
    b"18446744073709551615",
    b"99999999999999999999",
    b"null",
    b"[global]\n",
    b"../",
];

#[test]
fn whatever_comes_from_outside_breaks_no_promise() {
    let changes = number("FUZZ_CHANGES").unwrap_or(CHANGES);
    let seed = number("FUZZ_SEED").unwrap_or(0);
    std::thread::scope(|scope| {
        for target in TARGETS {
            std::thread::Builder::new()
                .name(target.name.to_owned())
                .spawn_scoped(scope, move || try_all(target, seed, changes))
                .unwrap();
        }
    });
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn try_all(target: Target, seed: u64, changes: usize) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    for seed in &seeds {
        try_one(target, seed);
    }
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..changes {
        let mut input = seeds.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..=8) {
            change(&mut input, &seeds, &mut random);
            input.truncate(LARGEST);
        }
        try_one(target, &input);
    }
}

fn try_one(target: Target, input: &[u8]) {
    let holds = catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_ok();
    assert!(holds, "{} breaks a promise with b\"{}\"", target.name, input.escape_ascii());
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    let begin = random.random_range(0..=input.len());
    let end = random.random_range(begin..=input.len().min(begin + 256));
    match random.random_range(0..8) {
        0 => input.truncate(begin),
        1 => drop(input.drain(begin..end)),
        2 => {
            let part = input[begin..end].repeat(random.random_range(1..=200));
            input.splice(begin..begin, part);
        }
        3 if begin < input.len() => input[begin] ^= 1 << random.random_range(0..8),
        4 => {
            let other = seeds.choose(random).unwrap();
            let from = random.random_range(0..=other.len());
            input.truncate(begin);
            input.extend_from_slice(&other[from..]);
        }
        5 => {
            let word = WORDS.choose(random).unwrap().repeat(random.random_range(1..=300));
            input.splice(begin..end, word);
        }
        _ => {
            let word = WORDS.choose(random).unwrap();
            input.splice(begin..begin, word.iter().copied());
        }
    }
}

/// What is in the directories of a target, without the large fixtures.
fn seeds(target: Target) -> Vec<Vec<u8>> {
    let own = format!("fuzz/seeds/{}", target.name);
    let mut files = BTreeSet::new();
    for directory in target.fixtures.iter().copied().chain([own.as_str()]) {
        files_below(&root().join(directory), &mut files);
    }
    let seeds = files.iter().map(|file| fs::read(file).unwrap());
    seeds.filter(|seed| seed.len() <= LARGEST).collect()
}

fn files_below(directory: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_none_or(|extension| extension != "expected") {
            files.insert(path);
        }
    }
}

#[test]
fn every_target_is_one_of_libfuzzers() {
    let declared = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let mut names: Vec<String> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|target| target.name));
    for name in names {
        assert!(
            declared.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "fuzz/Cargo.toml lacks {name}"
        );
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
