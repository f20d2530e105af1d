//! The configuration: precedence, old names, refusals, and that no secret stays.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Conf {
    Conf::parse(&[("pgbackrest.conf", text)]).unwrap()
}

fn options(text: &str) -> RepoOptions {
    parse(text).repo_options("demo", 1).unwrap()
}

#[test]
fn stanzas_that_are_reached_or_locked_in_a_way_of_their_own_are_reported() {
    for (section, is_apart) in [
        ("[crm]\nrepo1-cipher-pass=x", true),
        ("[crm]\nrepo2-path=/r", true),
        ("[crm]\nrepo1-s3-key-secret=x", true),
        ("[crm]\nrepo1-storage-host=h", true),
        ("[crm]\nrepo-path=/r", true),
        ("[crm]\nlock-path=/l", true),
        ("[crm]\ncmd-ssh=/usr/bin/ssh", true),
        ("[crm:info]\nrepo1-host=h", true),
        ("[crm:backup]\nlock-path=/l", true),
        (
            "[crm]\npg1-path=/pg\nrepo1-retention-full=3\nprocess-max=2\n[crm:backup]\nrepo1-retention-diff=3",
            false,
        ),
        ("[global]\nrepo1-path=/r\nlock-path=/l\n[crm]\npg1-path=/pg", false),
        ("[global:info]\nlock-path=/l\n[crm]\npg1-path=/pg", false),
        ("[crm]\n#repo1-path=/r\nrepo1=/r\nrepository1-path=/r", false),
    ] {
        let conf = parse(section);
        assert_eq!(
            conf.stanzas_apart().into_iter().collect::<Vec<_>>(),
            if is_apart { vec!["crm"] } else { vec![] },
            "{section}"
        );
        assert!(conf.stanzas() == ["crm"], "{section}");
    }
    let both = parse("[crm]\n").including(parse("[crm]\nlock-path=/l\n[erp]\nrepo3-path=/r"));
    assert_eq!(both.stanzas_apart().into_iter().collect::<Vec<_>>(), ["crm", "erp"]);
    assert_eq!((both.repo_keys(), both.repo_keys_of(None)), (vec![3], vec![1]));
    assert!(Conf::from_environment([("PGBACKREST_LOCK_PATH", "/l")]).stanzas_apart().is_empty());
}

#[test]
fn defaults_are_those_of_pgbackrest() {
    let expected = RepoOptions {
        storage: "posix",
        host: None,
        retention_full: None,
        retention_full_type: RetentionType::Count,
        retention_diff: None,
        retention_archive: None,
        retention_archive_type: BackupType::Full,
        host_cert_file: None,
        host_ca_file: None,
        storage_ca_file: None,
        azure_sas_expiry: None,
    };
    assert_eq!(options(""), expected);
    assert_eq!(parse("").repo_keys(), [1]);
    assert!(parse("# only a remark\n\n").stanzas().is_empty());
}

#[test]
fn the_lock_path_is_that_of_the_nearest_section() {
    let path = |text: &str| parse(text).host_option("demo", HostOption::LockPath);
    let set = |value: &str| Ok(Some(value.to_owned()));
    assert_eq!(
        path("[global]\nrepo1-path=/r\n[other]\nlock-path=/o\n[demo:archive-get]\nlock-path=/g"),
        Ok(None)
    );
    assert_eq!(path("[global]\nlock-path=/l"), set("/l"));
    assert_eq!(path("[global]\nlock-path=/l\n[global:backup]\nlock-path=/c"), set("/c"));
    assert_eq!(path("[demo]\nlock-path=/d\n[global:backup]\nlock-path=/c"), set("/d"));
    assert_eq!(path("[demo]\nlock-path=/d\n[demo:backup]\nlock-path=/b"), set("/b"));
    assert!(path("[demo]\nlock-path=/d\nlock-path=/e").is_err(), "pgBackRest refuses it");
    assert!(path("[global]\nlock-path=").is_err());
    let logs = parse("[global]\nlog-path=/l\nlog-level-file=detail\n[demo]\nlog-level-file=off");
    assert_eq!(logs.host_option("demo", HostOption::LogPath), set("/l"));
    assert_eq!(logs.host_option("demo", HostOption::LogLevelFile), set("off"));
    let environment = Conf::from_environment([("PGBACKREST_LOCK_PATH", "/v")]);
    let both = parse("[demo]\nlock-path=/d").including(environment);
    assert_eq!(both.host_option("demo", HostOption::LockPath), set("/v"));
    assert_eq!(both.lock_paths().collect::<Vec<_>>(), ["/v", "/d"]);
}

#[test]
fn the_nearest_section_wins() {
    let option = |section: &str, value: u32| format!("[{section}]\nrepo1-retention-full={value}\n");
    let in_order = ["demo:backup", "demo", "global:backup", "global"];
    for from in 0..in_order.len() {
        let sections = in_order[from..].iter().zip(1..).map(|(section, value)| option(section, value));
        let text: String = sections.collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(options(&text).retention_full, Some(1), "{text}");
    }
    let elsewhere = ["other", "demo:info", "global:info", "global:expire", "demo:x:backup"];
    let text: String = elsewhere.iter().map(|section| option(section, 9)).collect();
    assert_eq!(options(&text).retention_full, None);
    assert_eq!(
        options("[global]\nrepo1-type=s3\n[demo:info]\nrepo1-type=gcs\n[demo]\nrepo1-type=azure").storage,
        "gcs"
    );
}

#[test]
fn every_option_is_read() {
    let text = "
        [global]
        repo1-retention-full=30
        repo1-retention-full-type=time
        repo1-retention-diff = 7
        repo1-host=backup.example
        repo1-host-type=tls
        repo1-host-cert-file=/c#1;a=b.crt
        repo1-host-ca-file=/ca.crt
        repo1-storage-ca-file=/store.crt
        repo1-azure-key-type=sas
        repo1-azure-key=sv=1&se=2026-12-31T00%3A00%3A00Z&sig=secret
        repo2-type=azure
        repo2-azure-key=se=2026-12-31
        [demo]
        pg1-path=/pg\r
        ; key = no remark
    ";
    let conf = parse(text);
    assert_eq!((conf.stanzas(), conf.repo_keys()), (vec!["demo"], vec![1, 2]));
    let first = conf.repo_options("demo", 1).unwrap();
    assert_eq!((first.storage, first.host.as_deref()), ("tls", Some("backup.example")));
    assert_eq!((first.retention_full, first.retention_full_type), (Some(30), RetentionType::Time));
    assert_eq!((first.retention_diff, first.host_cert_file.as_deref()), (Some(7), Some("/c#1;a=b.crt")));
    assert_eq!(
        (first.host_ca_file.as_deref(), first.storage_ca_file.as_deref()),
        (Some("/ca.crt"), Some("/store.crt"))
    );
    assert_eq!(first.azure_sas_expiry.unwrap().timestamp(), 1_798_675_200);
    let second = conf.repo_options("demo", 2).unwrap();
    assert_eq!((second.storage, second.azure_sas_expiry), ("azure", None));
    assert_eq!(options("[global]\nrepo1-host=h").storage, "ssh");
}

#[test]
fn names_from_before_numbered_repos_are_those_of_repo1() {
    let old = options(
        "[global]\nrepo-path=/r\nbackup-host=h\nretention-full=2\nretention-diff=3\nrepo-s3-ca-file=/ca",
    );
    assert_eq!((old.host.as_deref(), old.retention_full, old.retention_diff), (Some("h"), Some(2), Some(3)));
    assert_eq!(old.storage_ca_file.as_deref(), Some("/ca"));
    assert_eq!(options("[global]\nrepo-type=s3\nrepo1-azure-ca-file=/a").storage, "s3");
    for refused in [
        "repo-retention-full=2",
        "repo0-retention-full=2",
        "repo257-retention-full=2",
        "repo+1-retention-full=2",
    ] {
        assert_eq!(options(&format!("[global]\n{refused}")).retention_full, None, "{refused}");
    }
}

#[test]
fn repositories_are_those_that_the_stanza_sees() {
    let conf = parse(
        "[global]\nrepo1-path=/a\nrepo9-retention-full=2\n[demo]\nrepo3-path=/b\n[other:info]\nrepo4-type=s3",
    );
    assert_eq!(conf.repo_keys(), [1, 3, 4]);
    assert_eq!(conf.repo_keys_of(None), [1]);
    assert_eq!(conf.repo_keys_of(Some("demo")), [1, 3]);
    assert_eq!(conf.repo_keys_of(Some("other")), [1, 4]);
    assert_eq!(parse("[global]\nrepo2-path=/a").repo_keys(), [2]);
    assert_eq!(conf.stanzas(), ["demo", "other"]);
}

#[test]
fn included_files_are_read_as_one_but_begin_anew() {
    let main = ("pgbackrest.conf", "[global]\nrepo1-type=s3\n");
    let conf = Conf::parse(&[main, ("conf.d/a.conf", "[global]\nrepo1-retention-full=2\n")]).unwrap();
    assert_eq!(conf.repo_options("demo", 1).unwrap().retention_full, Some(2));
    let error = Conf::parse(&[main, ("conf.d/a.conf", "\nrepo1-retention-full=2\n")]).unwrap_err();
    assert_eq!((error.file.as_str(), error.line), ("conf.d/a.conf", Some(2)));
    let twice = Conf::parse(&[main, ("conf.d/a.conf", "[global]\nrepo1-type=s3")]).unwrap();
    let error = twice.repo_options("demo", 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "conf.d/a.conf:2: repo1-type is set a second time in its section; keep one"
    );
}

#[test]
fn lines_that_pgbackrest_would_not_read_are_refused_without_their_text() {
    let table = [
        ("secret", 1, "before the first section"),
        ("secret=secret", 1, "before the first section"),
        ("[global]\n\nsecret", 3, "no ="),
        ("[global]\n=secret", 2, "no option before the ="),
        ("[secret", 1, "does not end with ]"),
        ("[global] # secret", 1, "does not end with ]"),
        ("[]", 1, "no name"),
    ];
    for (text, line, problem) in table {
        let error = Conf::parse(&[("x.conf", text)]).unwrap_err();
        assert_eq!(error.line, Some(line), "{text}");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("x.conf:{line}: ")) && shown.contains(problem), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn values_that_pgbackrest_would_refuse_name_file_line_value_and_remedy() {
    let table = [
        ("repo1-type=nfs", "repo1-type is 'nfs'; it must be one of azure, cifs, gcs, posix, s3, sftp"),
        ("repo1-host-type=http", "repo1-host-type is 'http'; it must be one of ssh, tls"),
        (
            "repo1-retention-full=0",
            "repo1-retention-full is '0'; it must be a whole number from 1 to 9999999",
        ),
        ("retention-diff=two", "retention-diff is 'two'; it must be a whole number from 1 to 9999999"),
        (
            "repo1-retention-full-type=week",
            "repo1-retention-full-type is 'week'; it must be one of count, time",
        ),
        ("repo1-host=", "repo1-host has no value; set one or remove it"),
        (
            "retention-full=1\nrepo1-retention-full=1",
            "repo1-retention-full is set a second time in its section; keep one",
        ),
        ("repo1-azure-key-type=x", "repo1-azure-key-type is 'x'; it must be one of auto, sas, shared"),
    ];
    for (line, problem) in table {
        let conf = parse(&format!("[demo]\n{line}"));
        let error = conf.repo_options("demo", 1).unwrap_err();
        assert_eq!(error.to_string(), format!("pgbackrest.conf:{}: {problem}", line.lines().count() + 1));
        assert!(conf.repo_options("other", 1).is_ok(), "{line}");
        assert!(conf.repo_options("demo", 2).is_ok(), "{line}");
    }
}

#[test]
fn variables_win_over_files_and_are_named_where_they_are_wrong() {
    let environment = Conf::from_environment([
        ("PGBACKREST_REPO1_RETENTION_FULL", "5"),
        ("PGBACKREST_repo3_type", "gcs"),
        ("PGBACKREST_REPO2_HOST", ""),
        ("REPO4_TYPE", "s3"),
    ]);
    let files = parse("[global]\nrepo1-type=s3\n[demo:backup]\nrepo1-retention-full=2\n");
    let conf = files.including(environment);
    let options = conf.repo_options("demo", 1).unwrap();
    assert_eq!((options.storage, options.retention_full), ("s3", Some(5)));
    assert_eq!(conf.repo_keys(), [1, 2, 3]);
    assert_eq!(conf.repo_options("demo", 3).unwrap().storage, "gcs");
    let error = conf.repo_options("demo", 2).unwrap_err();
    assert_eq!(error.to_string(), "environment: PGBACKREST_REPO2_HOST has no value; set one or remove it");
    let secret = [("PGBACKREST_REPO1_CIPHER_PASS", "hidden"), ("PGBACKREST_REPO1_AZURE_KEY", "hidden")];
    assert!(!format!("{:?}", Conf::from_environment(secret)).contains("hidden"));
}

#[test]
fn no_secret_is_kept() {
    let secrets = [
        "cipher-pass",
        "s3-key",
        "s3-key-secret",
        "s3-token",
        "azure-key",
        "gcs-key",
        "sftp-private-key-passphrase",
    ];
    let lines = secrets.map(|secret| format!("repo1-{secret}=hidden&se=2026-12-31&sig=hidden"));
    let head = "[global]\nrepo-cipher-pass=hidden\n[demo]\nrepo1-azure-key-type=sas\n";
    let text = format!("{head}{}", lines.join("\n"));
    let conf = parse(&text);
    assert!(conf.repo_options("demo", 1).unwrap().azure_sas_expiry.is_some());
    assert!(!format!("{conf:?}").contains("hidden"));
    assert!(!format!("{:?}", conf.repo_options("demo", 1)).contains("hidden"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_text_never_panics(text in "[\\[\\]=#:;\\nrepo1\\-typahse \\PC]{0,120}", prefix: bool) {
        let text = if prefix { format!("[global]\n{text}") } else { text };
        if let Ok(conf) = Conf::parse(&[("x.conf", &text)]) {
            prop_assert!(!conf.repo_keys().is_empty());
            for stanza in conf.stanzas() {
                let _ = conf.repo_options(stanza, 1);
            }
        }
    }
}
