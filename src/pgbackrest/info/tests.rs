//! The info document: every recorded answer, hand-made odd ones, and mutated ones.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample;

use super::super::sanitize;
use super::*;

/// The exact standard output of `pgbackrest info --output=json`, by version and case.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/info");
    let list = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let files = list(&root).into_iter().filter(|path| path.is_dir()).flat_map(|version| list(&version));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.strip_prefix(&root).unwrap().display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

fn only_stanza(text: &str) -> InfoStanza<'_> {
    let document = parse(text).unwrap();
    assert!(document.unreadable.is_empty(), "{:?}", document.unreadable);
    let [stanza] = <[_; 1]>::try_from(document.stanzas).unwrap();
    stanza
}

#[test]
fn every_fixture_is_read_whole() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 100, "{}", fixtures.len());
    for (case, bytes) in fixtures {
        let cleaned = sanitize::clean(&bytes);
        let document = parse(&cleaned.text).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(document.unreadable.is_empty(), "{case}: {:?}", document.unreadable);
        assert!(cleaned.preamble.is_empty(), "{case}");
        // Nothing is lost on the way: every stanza has one lock entry, every backup a label.
        assert_eq!(document.stanzas.len(), cleaned.text.matches("\"lock\":").count(), "{case}");
        let labels = cleaned.text.matches("\"label\":").count();
        assert_eq!(
            document.stanzas.iter().map(|stanza| stanza.backup.iter().count()).sum::<usize>(),
            labels,
            "{case}"
        );
        for stanza in &document.stanzas {
            assert!(!stanza.name.is_empty(), "{case}");
            let named: Vec<u32> = stanza.repo.iter().map(|repo| repo.key).collect();
            let keys = stanza.backup.iter().map(|backup| backup.database.repo_key);
            assert!(keys.into_iter().all(|key| key.is_some_and(|key| named.contains(&key))), "{case}");
            assert!(stanza.backup.iter().all(|backup| backup.info.size > Some(0)), "{case}");
            assert!(stanza.db.iter().all(|database| database.system_id.is_some()), "{case}");
        }
    }
}

#[test]
fn only_wrong_passphrases_need_repair() {
    for (case, bytes) in fixtures() {
        let must = std::str::from_utf8(&bytes).is_err();
        let cleaned = sanitize::clean(&bytes);
        assert!(cleaned.sanitized || !must, "{case}");
        assert!(!cleaned.sanitized || case.contains("wrong_pass") || must, "{case}");
        assert_eq!(serde_json::from_slice::<IgnoredAny>(&bytes).is_err(), cleaned.sanitized, "{case}");
    }
}

#[test]
fn a_version_that_knows_no_repository_numbers_is_read() {
    let stanza = only_stanza(
        r#"[{"archive":[{"database":{"id":1},"id":"9.6-1","max":"000000010000000000000009","min":"000000010000000000000002"}],
        "backup":[{"archive":{"start":"000000010000000000000002","stop":"000000010000000000000002"},
        "backrest":{"format":5,"version":"2.20"},"database":{"id":1},
        "info":{"delta":26897030,"repository":{"delta":3159,"size":3159776},"size":26897030},"label":"20181119-152138F",
        "prior":null,"reference":null,"timestamp":{"start":1542640898,"stop":1542640911},"type":"full"}],
        "db":[{"id":1,"system-id":6569239123849665679,"version":"9.6"}],"name":"stanza1",
        "status":{"code":0,"message":"ok"}}]"#,
    );
    assert_eq!(stanza.db[0].system_id, Some(6_569_239_123_849_665_679));
    let backup = stanza.backup.iter().next().unwrap();
    assert_eq!((stanza.repo.len(), backup.database.repo_key), (0, None));
    assert_eq!(stanza.status.lock, Lock::default());
    assert_eq!(
        (backup.error, &backup.lsn, backup.timestamp.unwrap().stop.timestamp()),
        (None, &None, 1_542_640_911)
    );
}

#[test]
fn null_in_every_place_is_unknown() {
    let stanza = only_stanza(
        r#"[{"archive":[{"database":null,"id":null,"max":null,"min":null}],
        "backup":[{"annotation":null,"archive":null,"backrest":null,"database":null,"database-ref":null,"error":null,
        "info":{"delta":null,"repository":null,"size":null},"label":"20260101-000000F","lsn":null,"prior":null,
        "reference":null,"timestamp":{"start":0,"stop":1},"type":"full"}],
        "cipher":null,"db":[{"id":1,"repo-key":null,"system-id":null,"version":null}],"name":"demo",
        "repo":[{"cipher":null,"key":1,"status":null}],"status":{"code":null,"lock":null,"message":null}}]"#,
    );
    assert_eq!((stanza.status.code, stanza.repo[0].status.code), (StatusCode(99), StatusCode(99)));
    let sizes = stanza.backup.iter().next().unwrap().info;
    assert_eq!((sizes.size, sizes.delta), (None, None));
    assert_eq!(stanza.db[0].system_id, None);
    let bare =
        only_stanza(r#"[{"name":"demo","archive":null,"backup":null,"db":null,"repo":null,"status":null}]"#);
    assert_eq!(bare, only_stanza(r#"[{"name":"demo"}]"#));
}

#[test]
fn values_that_do_not_fit_are_unknown() {
    let with = |size: &str| {
        format!(
            r#"[{{"name":"demo","status":{{"code":{size},"lock":{{"backup":{{"held":{size},"size":{size}}}}}}},
            "repo":[{{"key":1}}],"backup":[{{"label":"20260101-000000F","type":"full",
            "timestamp":{{"start":0,"stop":1}},"info":{{"repository":{{"size":{size}}}}},"future":[{size}]}}]}}]"#
        )
    };
    let table = [
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("-1", None),
        ("1.5", None),
        ("1e300", None),
        ("\"12\"", Some(12)),
        ("\"twelve\"", None),
        ("true", None),
        ("[1,{}]", None),
        ("{\"a\":[1]}", None),
        ("null", None),
    ];
    for (size, expected) in table {
        let text = with(size);
        let stanza = only_stanza(&text);
        assert_eq!(stanza.backup.iter().next().unwrap().info.repository.size, expected, "{size}");
    }
}

fn names_of(document: &InfoDocument<'_>) -> Vec<String> {
    document.unreadable.iter().map(ToString::to_string).collect()
}

#[test]
fn one_unreadable_stanza_does_not_take_the_others_along() {
    let text = r#"[{"name":"a"},{"name":"b","repo":{}},7,{"name":{}},{"name":"c"},{"status":{"code":0}}]"#;
    let document = parse(text).unwrap();
    let names: Vec<&str> = document.stanzas.iter().map(|stanza| &*stanza.name).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(names_of(&document), ["stanza b", "entry 3", "entry 4", "entry 6"]);
    let nameless = parse(r#"[{"name":null},{"name":"c"}]"#).unwrap();
    assert_eq!((nameless.stanzas.len(), nameless.unreadable.len()), (1, 1));
}

#[test]
fn one_unreadable_backup_does_not_take_the_others_along() {
    let backup = |label: &str, rest: &str| format!(r#"{{"label":"{label}",{rest}}}"#);
    let backups = [
        backup("20260101-000000F", r#""type":"full","timestamp":{"start":0,"stop":1}"#),
        backup("20260101-000000F_20260102-000000X", r#""type":"exotic","timestamp":{"start":0,"stop":1}"#),
        backup("20260103-000000F", r#""type":"full","timestamp":{"start":0}"#),
        backup("20260104-000000F", r#""type":"full","timestamp":{"start":0,"stop":9223372036854775807}"#),
    ];
    let text = format!(r#"[{{"name":"demo","backup":[{}]}}]"#, backups.join(","));
    let document = parse(&text).unwrap();
    assert_eq!(document.stanzas[0].backup.iter().count(), 1);
    assert_eq!(
        names_of(&document),
        [
            "backup demo/20260101-000000F_20260102-000000X",
            "backup demo/20260103-000000F",
            "backup demo/20260104-000000F"
        ]
    );
}

#[test]
fn what_is_no_array_of_stanzas_is_an_error() {
    for text in ["", "{}", "null", "7", "[", "[{]", "[{\"name\":\"demo\"}", "[] []", "P00  ERROR: [037]: no"]
    {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains(" line "), "{error}");
        assert!(error.contains("manually"), "{error}");
    }
    assert_eq!(parse("[]").unwrap(), InfoDocument::default());
    assert!(parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn the_list_of_unreadable_entries_is_bounded() {
    let long_name = "x".repeat(5000);
    let text = format!("[{}]", vec![format!(r#"{{"name":"{long_name}","repo":1}}"#); 300].join(","));
    let document = parse(&text).unwrap();
    assert_eq!(document.unreadable.len(), MAX_UNREADABLE);
    assert!(names_of(&document).iter().all(|name| name.len() == "stanza ".len() + MAX_NAME));
}

/// Bytes of a fixture with a few of them replaced, removed or repeated.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let small: Vec<Vec<u8>> =
        fixtures().into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 6000).collect();
    let edits = prop::collection::vec((any::<sample::Index>(), 0_u8..3, any::<u8>()), 1..6);
    (sample::select(small), edits).prop_map(|(mut bytes, edits)| {
        for (place, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    })
}

/// What a reader takes, with the places of the stanzas, and what it leaves, if `step` more bytes arrive at a time.
fn taken(bytes: &[u8], step: usize) -> (Vec<(usize, String)>, Vec<u8>) {
    let (mut reader, mut taken, mut text) = (BackupReader::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        text.extend_from_slice(piece);
        reader.read(&mut text, |place, backup| {
            taken.push((place, backup.label.to_string()));
            true
        });
    }
    (taken, text)
}

#[test]
fn backups_are_taken_however_the_text_is_cut() {
    let backup = |label: &str, more: &str| format!(r#"{{"label":"{label}","note":"}}]\\\"{{["{more}}}"#);
    let (first, second) = (backup("a", r#","reference":["x"],"later":[{"y":[]}]"#), backup("b", ""));
    let text = format!(
        "P00   WARN: [x]\n   it goes on\n \t[{{\"archive\":[{{\"id\":1}}],\"backup\":[{first} ,\n{second}],\"name\":\"db\",\
         \"status\":{{\"backup\":[{first}]}}}},7,[\"backup\",[{first}]],{{\"name\":\"backup\",\"backup\" : [ ],\"x\":[{first}]}},\
         {{\"backup\":{{\"backup\":[{first}]}}}},{{\"backup\":[{second}]}}]\n"
    );
    let left = text.replacen(&format!("{first} ,"), "true ,", 1);
    let left = left.replacen(&format!("\n{second}]"), "\ntrue]", 1);
    let left = left.replacen(&format!("\"backup\":[{second}]"), "\"backup\":[true]", 1);
    for step in (1..200).chain([text.len()]) {
        let (backups, rest) = taken(text.as_bytes(), step);
        let rest = String::from_utf8(rest).unwrap();
        // What has no end at first is looked at again later, or stays.
        if step == text.len() {
            assert_eq!(rest, left);
        }
        let all = [(0, "a"), (0, "b"), (5, "b")].map(|(place, label)| (place, label.to_owned()));
        assert!(backups.iter().all(|one| all.contains(one)), "{backups:?}");
        assert!(backups.len() >= 2, "{step}: {backups:?}");
        assert_eq!(rest.matches("true").count(), backups.len(), "{step}");
    }
}

#[test]
fn what_is_no_backup_stays() {
    for entry in
        ["true", "1", "null", "[]", "\"x\"", "{}", "{\"label\":{}}", "{\"label\":\"\u{1}\"}", "{\"label\":"]
    {
        let text = format!("[{{\"name\":\"db\",\"backup\":[{entry}]}}]");
        assert_eq!(taken(text.as_bytes(), 9), (vec![], text.clone().into_bytes()));
        let escaped = text.replace("backup", "\\u0062ackup").replace(entry, "{\"label\":\"x\"}");
        assert_eq!(taken(escaped.as_bytes(), 9).0, []);
    }
    let claimed = r#"[{"name":"db","backup":[true]},{"name":"other"}]"#;
    let document = parse(claimed).unwrap();
    assert_eq!((document.stanzas.len(), names_of(&document)), (1, vec!["stanza db".to_owned()]));
    assert_eq!(parse_rest(claimed, |place| usize::from(place == 0)).unwrap().stanzas.len(), 2);
    // Nothing that is not valid becomes so: `0.5` would be.
    let invalid = r#"[{"name":"db","backup":[{"label":"x"}.5]}]"#;
    let (_, rest) = taken(invalid.as_bytes(), 1000);
    parse(std::str::from_utf8(&rest).unwrap()).unwrap_err();
}

#[test]
fn what_follows_a_backup_that_stays_stays() {
    let text = r#"[{"name":"db","backup":[{"label":"a"},{"label":"\u{1}"},{"label":"b"}]},{"backup":[{"label":"c"}]}]"#;
    let text = text.replace("\\u{1}", "\u{1}");
    let (backups, rest) = taken(text.as_bytes(), 1000);
    assert_eq!(backups, [(0, "a".to_owned()), (1, "c".to_owned())]);
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains(r#"[true,{"label":""#) && rest.contains(r#"{"label":"b"}"#), "{rest}");
    // One that is very long, and one with invalid text that is not read.
    let long = format!(
        r#"[{{"backup":[{{"label":"a","reference":[{}"x"]}}]}}]"#,
        r#""20260101-000000F","#.repeat(20_000)
    );
    let unread = b"[{\"backup\":[{\"label\":\"a\",\"later\":\"\xff\"}]}]".to_vec();
    for text in [long.into_bytes(), unread] {
        for step in [1000, 1 << 20] {
            assert_eq!(taken(&text, step), (vec![], text.clone()));
        }
    }
    let repeated =
        r#"[{"name":"db","backup":[{"label":"x","type":"full","timestamp":{"start":0,"stop":1}},true]}]"#;
    assert_eq!(names_of(&parse_rest(repeated, |_| 1).unwrap()), ["stanza db"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&sanitize::clean(&bytes).text);
    }

    #[test]
    fn mutated_fixtures_never_panic(bytes in mutated()) {
        let cleaned = sanitize::clean(&bytes);
        if let Ok(document) = parse(&cleaned.text) {
            for stanza in &document.stanzas {
                prop_assert!(stanza.backup.iter().all(|backup| backup.timestamp.is_some()));
            }
        }
    }

    #[test]
    fn mutated_values_lose_at_most_their_stanza(value in "[^\"\\\\\\x00-\\x1f]{0,20}|[0-9]{1,40}", quoted: bool) {
        let is_scalar = quoted || serde_json::from_str::<serde_json::Value>(&value).is_ok();
        prop_assume!(is_scalar);
        let value = if quoted { format!("\"{value}\"") } else { value };
        let text = format!(r#"[{{"name":"first","db":[{{"id":{value}}}]}},{{"name":"second"}}]"#);
        let document = parse(&text).unwrap();
        prop_assert_eq!(document.stanzas.len() + document.unreadable.len(), 2);
        prop_assert_eq!(&*document.stanzas.last().unwrap().name, "second");
    }
}
