//! Which version of pgBackRest introduced an option or a value, from `config.yaml` of every release tag since 2.36.

/// Older versions ignore these with a warning.
const OPTIONS: &[(&str, (u32, u32))] = &[
    ("allow-root", (2, 59)),
    ("annotation", (2, 41)),
    ("archive-missing-retry", (2, 38)),
    ("archive-push-batch-size", (2, 59)),
    ("checksum-page-error", (2, 60)),
    ("page-header-check", (2, 46)),
    ("pg-version-force", (2, 49)),
    ("priority", (2, 58)),
    ("repo-block", (2, 45)),
    ("repo-block-age-map", (2, 45)),
    ("repo-block-checksum-size-map", (2, 45)),
    ("repo-block-size-map", (2, 45)),
    ("repo-block-size-super", (2, 45)),
    ("repo-block-size-super-full", (2, 45)),
    ("repo-bundle", (2, 39)),
    ("repo-bundle-limit", (2, 39)),
    ("repo-bundle-size", (2, 39)),
    ("repo-gcs-user-project", (2, 55)),
    ("repo-s3-kms-key-id", (2, 38)),
    ("repo-s3-process-cmd", (2, 59)),
    ("repo-s3-requester-pays", (2, 55)),
    ("repo-s3-service", (2, 59)),
    ("repo-s3-sse-customer-key", (2, 52)),
    ("repo-s3-sts-host", (2, 59)),
    ("repo-storage-tag", (2, 48)),
    ("repo-storage-upload-chunk-size", (2, 41)),
    ("repo-symlink", (2, 57)),
    ("tls-cipher-12", (2, 58)),
    ("tls-cipher-13", (2, 58)),
];

/// Older versions reject these with error 32.
const VALUES: &[(&str, &str, (u32, u32))] = &[
    ("backup-standby", "prefer", (2, 54)),
    ("repo-azure-key-type", "auto", (2, 58)),
    ("repo-s3-key-type", "pod-id", (2, 58)),
    ("repo-s3-key-type", "process", (2, 59)),
    ("repo-s3-key-type", "web-id", (2, 36)),
];

/// Since when an option exists, by its current name; `None` if it is older.
#[must_use]
pub fn option(canonical: &str) -> Option<(u32, u32)> {
    let name = without_number(canonical);
    OPTIONS.iter().find(|(known, _)| *known == name).map(|(_, since)| *since)
}

/// Since when an option has this value; `None` if it is older.
#[must_use]
pub fn value(canonical: &str, value: &str) -> Option<(u32, u32)> {
    let name = without_number(canonical);
    let of = |(known, one, _): &&(&str, &str, (u32, u32))| *known == name && *one == value;
    VALUES.iter().find(of).map(|(.., since)| *since)
}

/// `repo2-path` → `repo-path`.
fn without_number(canonical: &str) -> String {
    match canonical.split_once('-') {
        Some((group, rest)) if group.starts_with("repo") => format!("repo-{rest}"),
        _ => canonical.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;

    #[test]
    fn the_tables_contain_options_that_exist() {
        for (name, _) in
            super::OPTIONS.iter().copied().chain(super::VALUES.iter().map(|(name, _, at)| (*name, *at)))
        {
            assert!(find(&name.replacen("repo-", "repo1-", 1)).is_some(), "{name}");
        }
        assert_eq!(super::option("repo3-bundle"), Some((2, 39)));
        assert_eq!(super::option("process-max"), None);
        assert_eq!(super::value("repo2-azure-key-type", "auto"), Some((2, 58)));
        assert_eq!(super::value("repo2-gcs-key-type", "auto"), None);
    }
}
