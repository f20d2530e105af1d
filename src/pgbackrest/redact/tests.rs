//! Messages of pgBackRest, real ones and such with planted secrets.

use proptest::prelude::*;

use super::*;

/// A secret in the place of a value, a line or a part of a URL.
const SECRET: &str = "hunter2+K3y=";

fn redact(words: &str) -> String {
    Said::new(words).redacted()
}

#[test]
fn what_an_engineer_needs_stays() {
    for message in [
        "P00   WARN: environment contains invalid option 'repo-service-host'",
        "P00  ERROR: [037]: info command requires option: repo1-cipher-pass",
        "P00   WARN: configuration file contains option 'repo1-path' invalid for section 'global:info'",
        "2026-11-22 10:08:12.123 P00   INFO: backup start archive = 000000010000000000000003, lsn = 0/3000028",
        "P00   INFO: new backup label = 20261122-100812F_20261123-100812I",
        "P00   INFO: full backup size = 22.1MB, file total = 964",
        "P00   INFO: backup command end: completed successfully (2345ms)",
        "P00   INFO: repo1: expire full backup set 20261122-100812F, 20261122-100812F_20261123-100812I",
        "P00   INFO: repo2: 15-1 remove archive, start = 000000010000000000000001, stop = 000000010000000000000002",
        "ERROR: [050]: unable to acquire lock on file '/tmp/pgbackrest/demo-backup-1.lock': Resource temporarily unavailable",
        "HINT: is another pgBackRest process running?",
        "[HostConnectError] unable to connect to '127.0.0.1:1': [111] Connection refused",
        "[HostConnectError] on 6 retries from 109-3001ms: unable to connect to 'localhost:8453 (127.0.0.1)': [111] Connection refused",
        "[CryptoError] unable to verify certificate presented by 'minio.example.com:9000': [20] unable to get local issuer certificate",
        "[ServiceError] TLS error [1:167773208] tlsv1 alert unknown ca",
        "[AccessError] raised from remote-0 tls protocol on 'localhost': access denied",
        "[ProtocolError] HTTP request failed with 404 (Not Found):",
        "ChecksumError: invalid checksum, actual '3a5ed4ff1d4fca439bae5971135ded9e29a43176' but expected '33fca90e46f8b622afde0ac1d68ce6db770cd06a'",
        "[PathOpenError] unable to list file info for path '/var/lib/pgbackrest/backup/demo': [13] Permission denied",
        "ERROR: [055]: unable to open missing file '/etc/pgbackrest/pgbackrest.conf' for read",
        "ERROR: [031]: the 'info' command must not be run as the root user",
        "pgbackrest: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file or directory",
        "P01   INFO: invalid checksum '15-1/0000000100000000/000000010000000000000005-3a5ed4ff1d4fca439bae5971135ded9e29a43176.gz'",
        "P00   WARN: backup '20261122-100812F' found in backup.info but not in the repository",
        "P00 DETAIL: archiveId: 15-1, wal start: 000000010000000000000001, wal stop: 000000010000000000000007",
        "P00   INFO: stanza: demo",
        "status: error",
        "archiveId: 15-1, total WAL checked: 7, total valid WAL: 6",
        "missing: 1, checksum invalid: 2, other: 1",
        "backup: 20261122-100812F, status: invalid, total files checked: 964, total valid files: 963",
        "missing stanza path",
        "different across repos",
        "ok",
    ] {
        assert_eq!(redact(message), message);
    }
}

#[test]
fn of_the_rest_only_the_wording_is_shown() {
    let table = [
        (
            "ERROR: [029]: missing '=' in key/value at line 13: repo2-cipher-pass hunter2 with space",
            "ERROR: [029]: missing '=' in key/value at line 13: …",
        ),
        (
            "'hun'ter2' is not allowed for 'repo2-cipher-type' option",
            "'…' is not allowed for 'repo2-cipher-type' option",
        ),
        (
            "'hunter2' must begin with / for 'repo1-path' option",
            "'…' must begin with / for 'repo1-path' option",
        ),
        (
            "'/a//hunter2' cannot contain // for 'repo1-path' option",
            "'…' cannot contain // for 'repo1-path' option",
        ),
        (
            "'a\nb\nhunter2' is not valid for 'process-max' option",
            "'…' is not valid for 'process-max' option",
        ),
        (
            "P00   WARN: configuration file contains invalid option 'hunter2'",
            "P00   WARN: configuration file contains invalid option '…'",
        ),
        ("[FormatError] invalid URL 'https://user:hunter2@minio:9000'", "[FormatError] invalid URL '…'"),
        (
            "unable to connect to 'hunter2@minio:9000': [111] Connection refused",
            "unable to connect to '…': [111] Connection refused",
        ),
        (
            "unable to open missing file '/-----BEGIN PRIVATE KEY-----' for read",
            "unable to open missing file '/…' for read",
        ),
        (
            "unable to open missing file '/srv/x/y/archive/demo/archive.info' for read",
            "unable to open missing file '/srv/…/archive/demo/archive.info' for read",
        ),
        (
            "P00   INFO: backup command begin 2.60.0: --annotation=a=hunter2 --no-online --process-max=4 --repo1-s3-key=<redacted> --repo1-type=s3 --stanza=demo --hunter2=x",
            "P00   INFO: backup command begin 2.60.0: --annotation=… --no-online --process-max=4 --repo1-s3-key=… --repo1-type=s3 --stanza=demo …",
        ),
        ("host: hunter2@a", "host: …"),
        ("GET /bucket/?sig=hunter2", "GET …"),
        (
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>hunter2</Message></Error>",
            "…<Code>AccessDenied</Code>…",
        ),
        ("P00  DEBUG:     config/load::cfgLoad: (hunter2)", "…"),
        ("[CryptoError] something new about hunter2", "[CryptoError] …"),
        ("a\nb\n\nc", "…\n\n…"),
        (
            "key 'hunter2' value 'hunter2' is overwritten with 'hunter2' for 'recovery-option' option",
            "key '…' value '…' is overwritten with '…' for 'recovery-option' option",
        ),
        (
            "unable to connect to 'dbname='postgres' port=5432': FATAL: password authentication failed for user \"backup\"",
            "unable to connect to 'dbname='…: FATAL: password authentication failed for user \"backup\"",
        ),
    ];
    for (message, expected) in table {
        assert_eq!(redact(message), expected, "{message}");
    }
}

#[test]
fn real_messages_keep_what_is_wrong() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/info");
    for (file, expected) in [
        ("2.60.0/broken_archive_info_missing.json", "…/archive/demo/archive.info' for read"),
        ("2.45/s3_wrong_secret.json", "HTTP request failed with 403 (Forbidden):"),
        ("2.60.0/azure_wrong_key.json", "x-ms-error-code: AuthorizationFailure"),
        ("2.60.0/encrypted_repo_wrong_pass.json", "key/value found outside of section at line 1: …"),
        ("2.60.0/tls_repo_host_down.json", "unable to connect to '"),
    ] {
        let bytes = std::fs::read(fixtures.join(file)).unwrap();
        let cleaned = crate::pgbackrest::sanitize::clean(&bytes);
        let document: serde_json::Value = serde_json::from_str(&cleaned.text).unwrap();
        let message = document[0]["repo"][0]["status"]["message"].as_str().unwrap();
        let shown = redact(message);
        assert!(shown.contains(expected), "{file}: {message}\n{shown}");
    }
}

#[test]
fn debug_shows_no_more() {
    assert!(!format!("{:?}", Said::new(SECRET)).contains(SECRET));
}

#[test]
fn long_messages_take_no_time() {
    let noise = "unable to find '=' in x: ".repeat(200_000);
    let lines = "a 'b\n".repeat(50_000);
    assert_eq!((redact(&noise).as_str(), redact(&lines).as_str()), (HIDDEN, HIDDEN));
}

/// A wording with a secret in each place where an option, a path, a host or anything stands.
fn planted(wording: &str, secret: &str) -> String {
    let mut message = wording.to_owned();
    for (slot, value) in [
        ("{}", secret.to_owned()),
        ("{option}", secret.to_owned()),
        ("{choice}", secret.to_owned()),
        ("{choices}", format!("'{secret}'")),
        ("{path}", format!("/{secret}")),
        ("{name}", secret.to_owned()),
        ("{host}", format!("user:{secret}@host")),
        ("{options}", format!("--repo1-path={secret} --{secret}")),
        ("{message}", secret.to_owned()),
        ("{hex}", secret.to_owned()),
        ("{n}", secret.to_owned()),
        ("{http}", format!("403 ({secret})")),
        ("{class}", secret.to_owned()),
        ("{version}", secret.to_owned()),
        ("{command}", secret.to_owned()),
    ] {
        message = message.replace(slot, &value);
    }
    message
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_wording_gives_away_what_is_planted_in_it(secret in "K[a-zA-Z0-9+=!~]{8,24}[+=!~]", noise in "\\PC{0,20}", breaks: bool) {
        let secret = if breaks { format!("{secret}\n{secret}") } else { secret };
        let needle = secret.lines().next().unwrap();
        for wording in include_str!("messages.txt").lines() {
            for message in [planted(wording, &secret), format!("{noise}{}", planted(wording, &secret))] {
                let shown = redact(&format!("P00  ERROR: [032]: {message}\n{secret}\n[FormatError] {message}"));
                prop_assert!(!shown.contains(needle), "{}\n{}", message, shown);
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_unknown_is_shown(line in "[a-zA-Z0-9 ':=/,-]{1,60}") {
        let shown = redact(&format!("{line} K{line}"));
        // Only wordings that are a slot and a common ending could match by chance.
        let hidden = shown == HIDDEN || shown.contains(HIDDEN);
        prop_assert!(hidden, "{}: {}", line, shown);
    }
}
