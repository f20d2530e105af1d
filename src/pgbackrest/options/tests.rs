//! The table of options by itself. `tests/it/golden/lint.rs` holds it against the pgBackRest of the machine.

use super::*;

#[test]
fn the_table_is_sorted_for_the_search() {
    assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn old_and_new_names_are_the_same_option() {
    let canonical = |name: &str| find(name).map(|known| known.canonical);
    assert_eq!(canonical("retention-full"), canonical("repo1-retention-full"));
    assert_eq!(canonical("repo3-s3-verify-tls").as_deref(), Some("repo3-storage-verify-tls"));
    assert_eq!(canonical("repo01-path").as_deref(), Some("repo1-path"));
    for (old, new) in OLD_NAMES {
        assert!(find(new).is_some_and(|known| known.canonical == *new), "{old}");
    }
}

#[test]
fn names_are_recognized_with_their_number() {
    let repo2 = find("repo2-retention-full").unwrap();
    assert_eq!((repo2.repo, repo2.group, repo2.number_missing), (Some(2), Repo, false));
    assert!(find("repo-retention-full").unwrap().number_missing);
    assert_eq!(find("pg1-path").unwrap().group, Stanza);
    assert_eq!(find("stanza").unwrap().group, CommandLine);
    assert!(!find("pg-version-force").unwrap().number_missing);
    for unknown in
        ["repo1-cipher-typ", "REPO1-path", "repo99999999999-path", "process1-max", "repo1", "", "-"]
    {
        assert_eq!(find(unknown), None, "{unknown}");
    }
}

#[test]
fn a_typing_error_is_recognized() {
    assert_eq!(nearest("repo2-cipher-typ").as_deref(), Some("repo2-cipher-type"));
    assert_eq!(nearest("proces-max").as_deref(), Some("process-max"));
    assert_eq!(nearest("frobnicate"), None);
}

#[test]
fn secrets_are_reported_by_their_end() {
    for secret in [
        "repo1-cipher-pass",
        "repo1-s3-key",
        "repo2-s3-key-secret",
        "repo1-s3-token",
        "repo1-azure-key",
        "repo1-gcs-key",
        "repo1-s3-sse-customer-key",
        "repo1-sftp-private-key-passphrase",
        "REPO1-NEW-TOKEN ",
    ] {
        assert!(is_secret(secret), "{secret}");
    }
    for public in
        ["repo1-s3-key-type", "repo1-host-key-file", "repo1-s3-kms-key-id", "repo1-cipher-type", "spool-path"]
    {
        assert!(!is_secret(public), "{public}");
    }
}

#[test]
fn values_are_judged_as_pgbackrest_does() {
    let cases = [
        (Boolean, "y", true),
        (Boolean, "true", false),
        (KEEP, "7", true),
        (KEEP, "0", false),
        (KEEP, "x", false),
        (Time(3600), "0.5", true),
        (Time(3600), "1h", true),
        (Time(3600), "100ms", true),
        (Time(3600), "0", false),
        (Time(3600), "99ms", false),
        (Time(3600), "3601", false),
        (Time(3600), "2h", false),
        (Time(3600), "-1", false),
        (Time(3600), "inf", false),
        (Size, "1MB", true),
        (Size, "2", true),
        (Size, "1.5M", false),
        (Size, "1x", false),
        (Path, "/cluster/repo1/", true),
        (Path, "rel", false),
        (Path, "/a//b", false),
        (Pair, "source=demo", true),
        (Pair, "x", false),
        (LEVELS, "info", true),
        (LEVELS, "INFO", false),
    ];
    for (kind, value, fits) in cases {
        assert_eq!(complaint(kind, value).is_none(), fits, "{kind:?} {value}");
    }
}

#[test]
fn times_are_whole_seconds_or_none() {
    for (time, seconds) in [("5m", 300), ("90", 90), ("90s", 90), ("2000ms", 2), ("1.0", 1), ("1w", 604_800)]
    {
        assert_eq!(whole_seconds(time), Some(seconds), "{time}");
    }
    for time in ["0.5", "1500ms", "x", ""] {
        assert_eq!(whole_seconds(time), None, "{time}");
    }
}

#[test]
fn only_what_cannot_be_a_secret_is_harmless() {
    for value in ["", "7", "20MiB", "4000000", "y", "aes-256-cbc", "false", "zip"] {
        assert!(is_harmless(value), "{value}");
    }
    for value in ["hunter2", "12345678", "1234567abcd", "/path", "a b c"] {
        assert!(!is_harmless(value), "{value}");
    }
}

#[test]
fn a_repo_is_defined_by_what_needs_no_other_option() {
    for option in [
        "repo2-path",
        "repo3-retention-full",
        "repo1-cipher-type",
        "repo2-host",
        "retention-full",
        "repo2-bundle",
    ] {
        assert!(defines_repo(option), "{option}");
    }
    for option in [
        "repo2-s3-key",
        "repo2-host-user",
        "repo2-cipher-pass",
        "repo2-storage-ca-file",
        "repo2-gcs-key",
        "process-max",
        "x",
    ] {
        assert!(!defines_repo(option), "{option}");
    }
}
