//! Records in chains, with and without signatures: what the program writes, `verify-records` checks, and so does the script in
//! docs/evidence.md with OpenSSL and Python, which knows nothing of this program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::host::fake::script;
use crate::support::evidence::{self, ED25519, P256, Script};
use crate::support::process::{call, output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");
const STANZA: &str = "demo";

/// What is told, and what makes it so.
type Change<'a> = (&'a str, &'a dyn Fn(&World, &[PathBuf]));

/// A state directory, and a `pgbackrest` that answers nothing, so each verification is inconclusive.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        script(directory.path(), "pgbackrest", "exit 1");
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn records(&self) -> PathBuf {
        self.path("state/verifications").join(STANZA).join("repo1")
    }

    /// Oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.records()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|file| !file.ends_with("head.json")).collect();
        files.sort();
        files
    }

    fn program(&self, arguments: &[&str]) -> std::process::Command {
        let mut program = call(None, PROGRAM);
        program.args(arguments).arg(format!("--state-directory={}", self.path("state").display()));
        program
    }

    fn verify(&self, stanza: &str, more: &[&str]) -> std::process::Command {
        let binary = format!("--backrest.binary={}", self.path("pgbackrest").display());
        let mut program = self.program(&["verify", "--repo=1", &format!("--stanza={stanza}"), &binary]);
        program.args(more);
        program
    }

    /// Writes a record.
    fn write(&self, more: &[&str]) -> Value {
        let said = output(self.verify(STANZA, more).arg("--output=json"));
        assert_eq!(said.status.code(), Some(4), "{said:?}");
        serde_json::from_slice(&said.stdout).unwrap()
    }

    /// The flag for a new private key, and the file of its public key.
    fn key(&self, name: &str, algorithm: &[&str]) -> (String, String) {
        let [private, public] = evidence::key(self.0.path(), name, algorithm);
        (format!("--signing-key-file={private}"), public)
    }

    fn check(&self, more: &[&str]) -> (Option<i32>, Value) {
        let said = output(self.program(&["verify-records", "--output=json"]).args(more));
        let report = serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        (said.status.code(), report)
    }

    /// What is wrong, in words, and that there is a text for people that says the same.
    fn faults(&self, more: &[&str]) -> Vec<String> {
        let (code, report) = self.check(more);
        let list = |value: &Value| {
            let texts = value.as_array().unwrap().iter().map(|fault| fault.as_str().unwrap().to_owned());
            texts.collect::<Vec<_>>()
        };
        let mut faults = list(&report["unreadable"]);
        for chain in report["chains"].as_array().unwrap() {
            faults.extend(list(&chain["faults"]));
            let records = chain["records"].as_array().unwrap().iter();
            faults.extend(records.filter_map(|record| record["fault"].as_str().map(str::to_owned)));
        }
        assert_eq!(
            (report["faults"].as_u64(), code),
            (Some(faults.len() as u64), Some(i32::from(!faults.is_empty())))
        );
        let said = output(self.program(&["verify-records"]).args(more));
        let text = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.status.code(), code, "{text}");
        for fault in &faults {
            assert!(text.contains(fault.as_str()), "{fault} is missing in {text}");
        }
        faults
    }

    /// Only what the fault is, not where.
    fn fault(&self, more: &[&str]) -> String {
        let faults = self.faults(more);
        assert_eq!(faults.len(), 1, "{faults:?}");
        let text = faults[0].rsplit(": ").next().unwrap();
        text.trim_end_matches("; see pgbackrest-keeper verify-records").to_owned()
    }

    fn agrees(&self, public: &str) -> bool {
        evidence::agrees(Script::Records, &self.records(), public)
    }
}

#[test]
fn signed_records_are_verified_by_another_implementation() {
    for algorithm in [ED25519, P256] {
        let world = World::new();
        let (sign, public) = world.key("own", algorithm);
        let (_, other) = world.key("other", algorithm);
        let numbers: Vec<_> = (0..4).map(|_| world.write(&[&sign])["chain"]["sequence"].as_u64()).collect();
        assert_eq!(numbers, [1, 2, 3, 4].map(Some));
        let key = format!("--public-key-file={public}");
        assert_eq!(world.faults(&[&key]), Vec::<String>::new());
        assert_eq!(world.faults(&[]), Vec::<String>::new());
        assert!(world.agrees(&public) && !world.agrees(&other));
        let (_, report) = world.check(&[&key]);
        assert_eq!(report["chains"][0]["records"][3]["signature"], "valid", "{report}");
        let (_, report) = world.check(&[]);
        assert_eq!(report["chains"][0]["records"][3]["signature"], "not_checked", "{report}");
        let wrong = format!("--public-key-file={other}");
        assert_eq!(world.faults(&[&wrong]), vec!["it is signed with a key that was not given"; 4]);
        // While keys are replaced, both are known.
        let both = format!("--public-key-file={other},{public}");
        assert_eq!(world.faults(&[&both]), Vec::<String>::new());

        // What is in the envelope is changed, and everything that is not signed with it.
        let files = world.files();
        let mut text = fs::read_to_string(&files[3]).unwrap();
        let at = text.find("\"payload\": \"").unwrap() + 40;
        let changed = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        text.replace_range(at..=at, changed);
        fs::write(&files[3], &text).unwrap();
        let faults = world.faults(&[&key]);
        assert!(
            faults.iter().any(|fault| fault.contains("record 4 was changed") || fault.contains("missing")),
            "{faults:?}"
        );
        assert!(!world.agrees(&public));
        let head = serde_json::json!({"sequence": 4, "digest": sha256(&files[3])});
        fs::write(world.records().join("head.json"), head.to_string()).unwrap();
        assert!(!world.faults(&[&key]).is_empty() && !world.agrees(&public));

        // A signature of another record.
        fs::copy(&files[2], &files[3]).unwrap();
        assert!(!world.faults(&[&key]).is_empty() && !world.agrees(&public));
    }
}

/// As coreutils compute it.
fn sha256(file: &Path) -> String {
    let said = output(call(None, "sha256sum").arg(file));
    String::from_utf8(said.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_record_that_is_removed_changed_or_added_is_noticed() {
    let made = World::new();
    let (sign, public) = made.key("own", ED25519);
    for _ in 0..4 {
        made.write(&[&sign]);
    }
    let key = format!("--public-key-file={public}");
    assert_eq!(made.faults(&[&key]), Vec::<String>::new());
    let copy = |change: &dyn Fn(&World, &[PathBuf])| {
        let world = World::new();
        fs::create_dir_all(world.records()).unwrap();
        for file in made.files().iter().chain([&made.records().join("head.json")]) {
            fs::copy(file, world.records().join(file.file_name().unwrap())).unwrap();
        }
        change(&world, &world.files());
        world
    };
    let changes: [Change<'_>; 9] = [
        ("records before 2 are missing that would be kept", &|_, files| fs::remove_file(&files[0]).unwrap()),
        ("record 2 is missing or unreadable", &|_, files| fs::remove_file(&files[1]).unwrap()),
        ("records 2 to 3 are missing or unreadable", &|_, files| {
            fs::remove_file(&files[1]).unwrap();
            fs::remove_file(&files[2]).unwrap();
        }),
        ("record 4 is missing or unreadable", &|_, files| fs::remove_file(&files[3]).unwrap()),
        ("records 1 to 4 are missing or unreadable", &|_, files| {
            for file in files {
                fs::remove_file(file).unwrap();
            }
        }),
        ("record 3 was changed after it was written", &|_, files| {
            fs::write(&files[2], fs::read_to_string(&files[2]).unwrap() + " ").unwrap();
        }),
        ("there are several records 2", &|world, files| {
            fs::copy(&files[1], world.records().join("20991231T000000.000Z.json")).map(|_| ()).unwrap();
        }),
        ("the note of the newest record is missing", &|world, _| {
            fs::remove_file(world.records().join("head.json")).unwrap();
        }),
        ("the note of the newest record cannot be read", &|world, _| {
            fs::write(world.records().join("head.json"), "{").unwrap();
        }),
    ];
    for (expected, change) in changes {
        let world = copy(change);
        assert_eq!(world.fault(&[&key]), expected);
        assert!(!world.agrees(&public), "{expected}");
        if world.files().is_empty() {
            continue;
        }
        // The next record does not hide it, except that the note is written anew.
        world.write(&[&format!("--signing-key-file={}", made.path("own.key").display())]);
        if !expected.contains("note") {
            assert_eq!(world.fault(&[&key]), expected);
        }
    }
    let mut unsigned = copy(&|_, _| {});
    unsigned.write(&[]);
    assert_eq!(unsigned.fault(&[&key]), "it is not signed");
    unsigned = copy(&|_, _| {});
    let forged = serde_json::to_string(&made.write(&[])).unwrap();
    let forged = forged.replace("\"chain\"", "\"other\"");
    fs::write(unsigned.records().join("20991231T000000.000Z.json"), forged).unwrap();
    assert!(unsigned.fault(&[]).contains("somebody added it"), "{:?}", unsigned.faults(&[]));
}

#[test]
fn records_of_elsewhere_and_files_with_other_names_are_noticed() {
    let world = World::new();
    let (sign, public) = world.key("own", ED25519);
    let (_, other) = world.key("other", ED25519);
    let written: Vec<Value> = (0..2).map(|_| world.write(&[&sign])).collect();
    let files = world.files();
    let digests: Vec<_> = written.iter().map(|record| record["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [sha256(&files[0]), sha256(&files[1])]);
    assert!(world.agrees(&format!("{other},{public}")));
    // The same records as those of another repository, and of another kind.
    for elsewhere in ["state/verifications/demo/repo2", "state/restore-tests/demo/repo1"] {
        let elsewhere = world.path(elsewhere);
        fs::create_dir_all(&elsewhere).unwrap();
        for file in files.iter().chain([&world.records().join("head.json")]) {
            fs::copy(file, elsewhere.join(file.file_name().unwrap())).unwrap();
        }
        assert!(!evidence::agrees(Script::Records, &elsewhere, &public), "{}", elsewhere.display());
        assert!(!world.faults(&[]).is_empty());
        fs::remove_dir_all(&elsewhere).unwrap();
    }
    let link = world.records().join("20991231T000000.000Z.json");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    assert!(!world.agrees(&public) && !world.faults(&[]).is_empty());
    fs::remove_file(&link).unwrap();
    // Names are exchanged. Within a second, a later name may be that of an earlier record.
    let between = world.path("between");
    for (from, to) in [(&files[0], &between), (&files[1], &files[0]), (&between, &files[1])] {
        fs::rename(from, to).unwrap();
    }
    let faults = world.faults(&[]);
    assert!(!faults.is_empty() && faults.iter().all(|fault| fault.contains("renamed")), "{faults:?}");
}

#[test]
fn records_are_numbered_in_turn_by_writers_of_all_kinds_and_stanzas() {
    let world = World::new();
    let stanzas = ["demo", "other"];
    let writers: Vec<_> = (0..6)
        .map(|number| {
            let mut program = world.verify(stanzas[number % 2], &["--wait=1h"]);
            std::thread::spawn(move || output(&mut program))
        })
        .collect();
    for writer in writers {
        let said = writer.join().unwrap();
        assert_eq!(said.status.code(), Some(4), "{said:?}");
    }
    let (code, report) = world.check(&[]);
    assert_eq!(code, Some(0), "{report}");
    let numbers = |chain: &Value| -> Vec<u64> {
        let records = chain["records"].as_array().unwrap().iter();
        records.map(|record| record["sequence"].as_u64().unwrap()).collect()
    };
    for chain in report["chains"].as_array().unwrap() {
        assert_eq!(numbers(chain), [1, 2, 3], "{report}");
    }
    assert_eq!(report["chains"].as_array().unwrap().len(), 2);
}

#[test]
fn the_oldest_records_that_are_no_longer_kept_are_not_missed() {
    let world = World::new();
    let (sign, public) = world.key("own", ED25519);
    for _ in 0..53 {
        world.write(&[&sign]);
    }
    let key = format!("--public-key-file={public}");
    assert_eq!((world.files().len(), world.faults(&[&key])), (50, Vec::new()));
    assert!(world.agrees(&public));
    let (_, report) = world.check(&[&key]);
    assert_eq!(report["chains"][0]["records"][0]["sequence"], 4);
    fs::remove_file(&world.files()[0]).unwrap();
    assert_eq!(world.fault(&[&key]), "records before 5 are missing that would be kept");
}

#[test]
fn hostile_files_are_refused_and_cost_no_other() {
    let world = World::new();
    let (sign, public) = world.key("own", ED25519);
    world.write(&[&sign]);
    let key = format!("--public-key-file={public}");
    let other = world.records().join("20200101T000000.000Z.json");
    let kind = "application/vnd.pgbackrest-keeper.record+json";
    let envelope = |kind: &str, payload: &str, signatures: &str| {
        format!(r#"{{"payloadType": "{kind}", "payload": "{payload}", "signatures": {signatures}}}"#)
    };
    let texts = [
        String::new(),
        "[".repeat(200_000),
        " ".repeat(400 << 10),
        "{\"format\": 1}\n\u{1b}[2J".to_owned(),
        envelope("text/plain", "e30=", r#"[{"sig": ""}]"#),
        envelope(kind, "%%%", r#"[{"sig": ""}]"#),
        envelope(kind, "e30=", "[]"),
        envelope(kind, "e30=", r#"[{"sig": "AAAA", "keyid": "\u001b[2J"}]"#),
        envelope(kind, &"A".repeat(300 << 10), r#"[{"sig": "AAAA"}]"#),
    ];
    for text in texts {
        fs::write(&other, &text).unwrap();
        let faults = world.faults(&[&key]);
        assert!(faults.len() == 1 && !faults[0].contains('\u{1b}'), "{text:.80}: {faults:?}");
    }
    fs::remove_file(&other).unwrap();
    nix::unistd::mkfifo(&other, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(world.fault(&[&key]), "it is not a regular file");
    fs::remove_file(&other).unwrap();
    assert_eq!(world.faults(&[&key]), Vec::<String>::new());
    // An empty state directory proves nothing.
    let none = World::new();
    assert_eq!(none.fault(&[]), "there are no records");
}

#[test]
fn exported_resources_that_are_something_else_are_refused() {
    let world = World::new();
    let file = world.path("resources.json");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let said = output(call(None, PROGRAM).arg("verify-records").arg(&file));
        let text = [said.stdout, said.stderr].concat();
        (said.status.code(), String::from_utf8(text).unwrap())
    };
    let test = |results: &str| {
        format!(
            r#"{{"kind": "RestoreTest", "metadata": {{"name": "n"}}, "status": {{"results": {results}}}}}"#
        )
    };
    let of_repo =
        |tests: &str| test(&format!(r#"[{{"cluster": "c\u001b[2J", "repo": "repo1", "tests": {tests}}}]"#));
    let texts = [
        (String::new(), 2, "it is not JSON"),
        ("[".repeat(200_000), 2, "it is not JSON"),
        (r#"{"kind": "Pod"}"#.to_owned(), 2, "something else"),
        (r#"{"items": [{"kind": "Secret"}]}"#.to_owned(), 2, "something else"),
        (test(r#"[{"repo": "repo9"}]"#), 2, "have no repo"),
        (r#"{"items": []}"#.to_owned(), 1, "there are no records"),
        (test("7"), 1, "there are no records"),
        (of_repo("[]"), 1, "there are no records"),
        (of_repo("[7]"), 1, "it is not a result"),
        (of_repo(r#"[{"start": "x", "stop": "", "outcome": "passed"}]"#), 1, "it is not a result"),
    ];
    for (text, code, told) in texts {
        let (found, said) = check(&text);
        assert_eq!(found, Some(code), "{text:.80}: {said}");
        assert!(said.contains(told) && !said.contains('\u{1b}'), "{text:.80}: {said}");
    }
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let said = output(call(None, PROGRAM).arg("verify-records").arg(&file));
    assert_eq!(said.status.code(), Some(2), "{said:?}");
}

#[test]
fn keys_that_cannot_be_used_are_refused_before_anything_is_done() {
    let world = World::new();
    let (sign, public) = world.key("own", ED25519);
    let (rsa, rsa_public) = world.key("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let refused = |mut program: std::process::Command, why: &str| {
        let said = output(&mut program);
        let text = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(2), "{text}");
        assert!(text.contains(why) && !text.contains("PRIVATE"), "{text}");
        assert!(!world.path("state").exists());
    };
    refused(world.verify(STANZA, &[&rsa]), "Ed25519");
    fs::set_permissions(world.path("own.key"), fs::Permissions::from_mode(0o644)).unwrap();
    refused(world.verify(STANZA, &[&sign]), "chmod 600");
    refused(world.verify(STANZA, &["--signing-key-file=/dev/zero"]), "not a regular file");
    refused(world.program(&["verify-records", &format!("--public-key-file={rsa_public}")]), "another type");
    let private = world.path("own.key").display().to_string();
    refused(world.program(&["verify-records", &format!("--public-key-file={private}")]), "no public key");
    let mut empty = world.program(&["verify-records"]);
    empty.env("KEEPER_PUBLIC_KEY_FILE", "");
    refused(empty, "KEEPER_PUBLIC_KEY_FILE is empty");
    let both = format!("--public-key-file={public},/dev/zero");
    refused(world.program(&["verify-records", &both]), "not a regular file");
}
