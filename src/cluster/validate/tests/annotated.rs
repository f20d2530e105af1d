//! Options of backups and access modes, which only annotations set.

use super::*;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version;

/// With a volume as repo1 and a bucket as repo2, and these annotations.
fn annotated(annotations: &[(&str, &str)]) -> Value {
    let mut document = cluster(&json!({
        "image": "registry.example/pgbackrest:2.58",
        "repos": [
            {"name": "repo1", "storage": "pvc", "volume": {"size": "15Gi"}, "schedule": {"full": "30 2 * * 0"}},
            {"name": "repo2", "storage": "s3", "resource": "b", "endpoint": "s3.example", "region": "r",
             "schedule": {"full": "30 3 * * *"}},
        ],
        "configuration": {"secret": "keys"},
        "global": {"repo1-retention-full": "7", "repo2-retention-full": "7", "compress-type": "zst"},
    }));
    for (name, value) in annotations {
        document["metadata"]["annotations"][format!("pgbackrest-keeper.io/{name}")] = json!(value);
    }
    document
}

fn references() -> References {
    with_secret(&[("s3.conf", "[global]\nrepo2-s3-key=a\nrepo2-s3-key-secret=b\n")])
}

/// The options of each backup such as `repo1 full`, and the findings.
fn options(annotations: &[(&str, &str)]) -> (Vec<String>, Vec<(&'static str, String)>) {
    let (cluster, findings) = judged(annotated(annotations), &references());
    let repos = cluster.unwrap_or_else(|| panic!("{findings:?}")).repos;
    let options = repos.iter().flat_map(|repo| {
        let named =
            |(kind, options): (&BackupType, &_)| format!("{} {} {options}", repo.number, kind.as_str());
        repo.backup_options.iter().map(named).collect::<Vec<_>>()
    });
    (options.collect(), findings)
}

#[test]
fn the_most_specific_annotation_wins() {
    let (options, findings) = options(&[
        ("backup-options", "--process-max=2 --start-fast"),
        ("backup-options.full", "--process-max=4"),
        ("backup-options.repo2", "--process-max=6 --delta"),
        ("backup-options.repo2.incr", "--no-delta"),
    ]);
    assert_eq!(findings, []);
    assert_eq!(
        options,
        [
            "repo1 full --process-max=4 --start-fast",
            "repo1 diff --process-max=2 --start-fast",
            "repo1 incr --process-max=2 --start-fast",
            "repo2 full --delta --process-max=6 --start-fast",
            "repo2 diff --delta --process-max=6 --start-fast",
            "repo2 incr --no-delta --process-max=6 --start-fast",
        ]
    );
}

#[test]
fn an_error_leaves_out_only_what_it_is_about() {
    let name = "metadata.annotations.pgbackrest-keeper.io/backup-options.full";
    for (text, code, rest) in [
        ("--repo1-path=/x --process-max=8", "option-not-allowed", "--process-max=8"),
        ("--process-max=0 --delta", "option-value-invalid", "--delta"),
        ("--delta --process-max=2 --process-max=3", "option-twice", "--delta"),
        ("--delta now", "annotation-invalid", "--delta"),
        ("--delta 'now", "annotation-invalid", ""),
        ("--repo2-s3-key=hunter2 --delta", "secret-in-resource", "--delta"),
        ("--compress-type=gz --compress-level=12", "option-contradicts", "--compress-type=gz"),
        ("--checksum-page-error --delta", "version-too-old", "--delta"),
        ("--delta\n--resume", "annotation-invalid", ""),
        (&"--delta ".repeat(1250), "annotation-invalid", ""),
        ("", "field-unset", ""),
        (" ", "field-unset", ""),
        ("--compress-level=19", "", "--compress-level=19"),
    ] {
        let (options, findings) = options(&[("backup-options.full", text)]);
        let expected: Vec<(&str, String)> =
            (!code.is_empty()).then(|| (code, name.to_owned())).into_iter().collect();
        assert_eq!(findings, expected, "{text}");
        let each = |repo: &str| (!rest.is_empty()).then(|| format!("{repo} full {rest}"));
        let wanted: Vec<String> = ["repo1", "repo2"].into_iter().filter_map(each).collect();
        assert_eq!(options, wanted, "{text}");
    }
    let (_, findings) = super::super::document(
        annotated(&[("backup-options", "--repo2-s3-key=hunter2 --hunter2=hunter2 --proces-max=8")]),
        &references(),
        &Settings::default(),
    );
    let text: String = findings.iter().map(ToString::to_string).collect();
    assert!(!text.contains("=hunter2") && text.contains("use --process-max"), "{text}");
}

#[test]
fn annotations_can_contradict_each_other() {
    let (options, findings) = options(&[
        ("backup-options", "--compress-type=gz"),
        ("backup-options.repo1.full", "--compress-level=12"),
    ]);
    let field = "metadata.annotations.pgbackrest-keeper.io/backup-options.repo1.full";
    assert_eq!(findings, [("option-contradicts", field.to_owned())]);
    let gz = |backup: &str| format!("{backup} --compress-type=gz");
    let all = ["repo1 full", "repo1 diff", "repo1 incr", "repo2 full", "repo2 diff", "repo2 incr"];
    assert_eq!(options, all.map(gz));
}

/// As pgBackRest does: `[db:backup]`, `[db]`, `[global:backup]`, and only then `[global]`, where `global` of the resource is.
#[test]
fn options_are_compared_with_what_applies_to_a_backup() {
    let keys = "[global]\nrepo2-s3-key=a\nrepo2-s3-key-secret=b\n";
    for (sections, contradicts) in [
        ("", false),
        ("[db]\ncompress-type=lz4\n", true),
        ("[global:backup]\ncompress-type=lz4\n", true),
        ("[global:backup]\ncompress-type=lz4\n[db:backup]\ncompress-type=zst\n", false),
        ("[global:restore]\ncompress-type=lz4\n[other]\ncompress-type=lz4\n", false),
    ] {
        let references = with_secret(&[("s3.conf", &format!("{keys}{sections}"))]);
        let annotations = annotated(&[("backup-options", "--compress-level=22")]);
        let (_, findings) = judged(annotations, &references);
        let has = findings.iter().any(|(code, _)| *code == "option-contradicts");
        assert_eq!(has, contradicts, "{sections}: {findings:?}");
    }
}

#[test]
fn annotations_about_nothing_are_told() {
    let (options, findings) = options(&[
        ("backup-options.repo3", "--delta"),
        ("backup-options.weekly", "--delta"),
        ("volume-access-modes.repo2", "ReadWriteMany"),
        ("volume-access-modes.repo1.full", "ReadWriteMany"),
    ]);
    let codes: Vec<&str> = findings.iter().map(|(code, _)| *code).collect();
    assert_eq!(
        codes,
        ["option-without-repo", "annotation-unknown", "annotation-unknown", "field-not-used"],
        "{findings:?}"
    );
    assert_eq!(options, [""; 0]);
}

#[test]
fn a_requested_backup_has_options_of_its_own_and_is_not_made_without_them() {
    let now = |annotations: &[(&str, &str)]| {
        let (cluster, findings) = judged(annotated(annotations), &references());
        let now = cluster.unwrap().backup_now.map(|now| (now.token, now.options.to_string()));
        (now, findings.into_iter().map(|(code, _)| code).collect::<Vec<_>>())
    };
    let all = ("backup-options.full", "--process-max=2 --delta");
    for (text, options) in [
        ("full@repo2", "--delta --process-max=2"),
        ("full@repo2#why not", "--delta --process-max=2"),
        ("full@repo2 --process-max=9", "--delta --process-max=9"),
        ("full@repo2#2 --process-max=9 --no-delta", "--no-delta --process-max=9"),
        ("incr@repo1 --start-fast", "--start-fast"),
    ] {
        assert_eq!(
            now(&[all, ("backup-now", text)]),
            (Some((text.to_owned(), options.to_owned())), vec![]),
            "{text}"
        );
    }
    for (text, code) in [
        ("full@repo2 --process-max", "option-value-invalid"),
        ("full@repo2 --force", "option-not-allowed"),
        ("full@repo2 --repo2-retention-full=1", "option-not-allowed"),
        ("full@repo2 --repo1-path=/x", "option-not-allowed"),
        ("full@repo2 --repo2-cipher-pass=x", "secret-in-resource"),
        ("full@repo2\n--delta", "annotation-invalid"),
        ("full@repo2 --delta\n--resume", "annotation-invalid"),
        ("full@repo2 --checksum-page-error", "version-too-old"),
        ("full@repo2 --compress-type=gz --compress-level=12", "option-contradicts"),
        ("full@repo2 now", "annotation-invalid"),
    ] {
        assert_eq!(now(&[("backup-now", text)]), (None, vec![code]), "{text}");
    }
}

#[test]
fn options_need_the_version_that_is_seen() {
    let with = |version: &str| {
        let references = References { version: version::parse(version), ..references() };
        let (cluster, findings) = judged(annotated(&[("backup-options", "--priority=5")]), &references);
        let codes: Vec<&str> = findings.into_iter().map(|(code, _)| code).collect();
        (cluster.unwrap().repos[0].backup_options.len(), codes)
    };
    assert_eq!(with("pgBackRest 2.57"), (0, vec!["version-too-old"]));
    assert_eq!(with("pgBackRest 2.58"), (3, vec![]));
}

#[test]
fn volumes_get_the_access_modes_that_are_asked_for() {
    let number = RepoNumber::of_name("repo1").unwrap();
    let modes = |text: &str, existing: Option<&[&str]>| {
        let mut references = references();
        if let Some(existing) = existing {
            let access_modes = existing.iter().map(|mode| (*mode).to_owned()).collect();
            let facts = VolumeFacts { size: "15Gi".to_owned(), storage_class: None, access_modes };
            references.volumes.insert(number, facts);
        }
        let (cluster, findings) = judged(annotated(&[("volume-access-modes", text)]), &references);
        let repos = cluster.unwrap().repos;
        let modes = match &repos[0].storage {
            Storage::Volume(volume) => volume.access_modes.clone(),
            _ => Vec::new(),
        };
        (modes, findings.into_iter().map(|(code, _)| code).collect::<Vec<_>>())
    };
    let (once, many) = (AccessMode::ReadWriteOnce, AccessMode::ReadWriteMany);
    assert_eq!(modes("ReadWriteMany", None), (vec![many], vec![]));
    assert_eq!(modes("ReadWriteMany, ReadWriteOnce", None), (vec![many, once], vec![]));
    assert_eq!(modes("ReadWriteOncePod", None), (vec![AccessMode::ReadWriteOncePod], vec![]));
    assert_eq!(modes("ReadWriteMany", Some(&["ReadWriteMany"])), (vec![many], vec![]));
    assert_eq!(
        modes("ReadWriteOnce,ReadWriteMany", Some(&["ReadWriteMany", "ReadWriteOnce"])),
        (vec![once, many], vec![])
    );
    assert_eq!(modes("ReadWriteMany", Some(&["ReadWriteOnce"])), (vec![many], vec!["volume-modes-fixed"]));
    // A volume with other modes than meant is not created. One that exists stays in use.
    for text in ["RWX", "", "ReadWriteOncePod,ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany,ReadWriteMany"] {
        assert_eq!(modes(text, None), (vec![], vec!["annotation-invalid", "repo-left-out"]), "{text}");
        assert_eq!(modes(text, Some(&["ReadWriteOnce"])), (vec![once], vec!["annotation-invalid"]), "{text}");
    }
}
