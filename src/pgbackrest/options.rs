//! The options that pgBackRest accepts in a configuration file, up to 2.60, and their values.
//!
//! Names and ranges are from pgBackRest's `config.yaml` and command reference. If versions differ, the wider range is
//! used: a finding must never reject what some version accepts.

pub mod since;

use std::cmp::Ordering;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `y` or `n`.
    Boolean,
    /// A whole number within bounds.
    Integer(i64, i64),
    /// Seconds, or a number with ms, s, m, h, d or w: from 0.1 seconds to this many seconds.
    Time(u64),
    /// Bytes, or a whole number with a unit such as KiB, MB or G.
    Size,
    /// An absolute path.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `key=value`.
    Pair,
    /// Any non-empty text.
    Text,
}

/// The group of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Global.
    Global,
    /// `repo1-…`: one per repo.
    Repo,
    /// `pg1-…`, or an option of a stanza section.
    Stanza,
    /// Only on the command line.
    CommandLine,
}

/// A recognized option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOption {
    /// The current name with its number, such as `repo1-retention-full`; options with the same name are the same.
    pub canonical: String,
    /// Its group.
    pub group: Group,
    /// The number in `repo1-…`.
    pub repo: Option<u32>,
    /// The type of its value.
    pub kind: ValueType,
    /// Whether the required number is missing.
    pub number_missing: bool,
}

use Group::{CommandLine, Global, Repo, Stanza};
use ValueType::{Boolean, Choice, Integer, Pair, Path, Size, Text, Time};

const DAY: u64 = 24 * 3600;
const LEVELS: ValueType = Choice(&["off", "error", "warn", "info", "detail", "debug", "trace"]);
/// The levels of each compression (`compressLevelMin` and `compressLevelMax` of 2.45, `config.yaml` of 2.60).
const COMPRESSION_LEVELS: [(&str, i64, i64); 4] =
    [("bz2", 1, 9), ("gz", -1, 9), ("lz4", -5, 12), ("zst", -7, 22)];
const KEEP: ValueType = Integer(1, 9_999_999);
const PORT: ValueType = Integer(0, 65_535);
const HOST_TYPE: ValueType = Choice(&["ssh", "tls"]);
const STYLE: ValueType = Choice(&["host", "path"]);

/// Sorted by name; repo options without their number.
#[rustfmt::skip]
const OPTIONS: &[(&str, Group, ValueType)] = &[
    ("allow-root", Global, Boolean), ("annotation", Global, Pair), ("archive-async", Global, Boolean),
    ("archive-check", Global, Boolean), ("archive-copy", Global, Boolean), ("archive-expire-before", CommandLine, Text),
    ("archive-get-queue-max", Global, Size), ("archive-header-check", Global, Boolean),
    ("archive-missing-retry", Global, Boolean), ("archive-mode", Global, Choice(&["off", "preserve"])),
    ("archive-mode-check", Global, Boolean), ("archive-push-batch-size", Global, Size),
    ("archive-push-queue-max", Global, Size),
    ("archive-timeout", Global, Time(DAY)), ("backup-full-incr", Global, Boolean),
    ("backup-standby", Global, Choice(&["y", "n", "prefer"])), ("beta", Global, Boolean),
    ("buffer-size", Global, Size), ("checksum-page", Global, Boolean), ("checksum-page-error", Global, Boolean), ("cmd", Global, Text),
    ("cmd-ssh", Global, Text), ("compress", Global, Boolean), ("compress-level", Global, Integer(-7, 22)),
    ("compress-level-network", Global, Integer(-5, 12)),
    ("compress-type", Global, Choice(&["none", "bz2", "gz", "lz4", "zst"])), ("config", CommandLine, Text),
    ("config-include-path", CommandLine, Text), ("config-path", CommandLine, Text), ("db-exclude", Global, Text),
    ("db-include", Global, Text), ("db-timeout", Global, Time(7 * DAY)), ("delta", Global, Boolean),
    ("detail-level", CommandLine, Text), ("dry-run", CommandLine, Text), ("exclude", Global, Text),
    ("exec-id", CommandLine, Text), ("expire-auto", Global, Boolean), ("filter", CommandLine, Text),
    ("force", CommandLine, Text), ("ignore-missing", CommandLine, Text), ("io-timeout", Global, Time(3600)), ("job-retry", Global, Integer(0, 360)),
    ("job-retry-interval", Global, Text), ("link-all", Global, Boolean), ("link-map", Global, Pair),
    ("lock-path", Global, Path), ("log-level-console", Global, LEVELS), ("log-level-file", Global, LEVELS),
    ("log-level-stderr", Global, LEVELS), ("log-path", Global, Path), ("log-subprocess", Global, Boolean),
    ("log-timestamp", Global, Boolean), ("manifest-save-threshold", Global, Size), ("neutral-umask", Global, Boolean),
    ("oldest", CommandLine, Text), ("online", CommandLine, Text), ("output", CommandLine, Text), ("page-header-check", Global, Boolean),
    ("pg", CommandLine, Text), ("pg-database", Stanza, Text), ("pg-host", Stanza, Text),
    ("pg-host-ca-file", Stanza, Text), ("pg-host-ca-path", Stanza, Text), ("pg-host-cert-file", Stanza, Text),
    ("pg-host-cmd", Stanza, Text), ("pg-host-config", Stanza, Text), ("pg-host-config-include-path", Stanza, Path),
    ("pg-host-config-path", Stanza, Path), ("pg-host-key-file", Stanza, Text), ("pg-host-port", Stanza, PORT),
    ("pg-host-type", Stanza, HOST_TYPE), ("pg-host-user", Stanza, Text), ("pg-path", Stanza, Path),
    ("pg-port", Stanza, PORT), ("pg-socket-path", Stanza, Path), ("pg-user", Stanza, Text),
    ("pg-version-force", Stanza, Text), ("priority", Global, Integer(-20, 19)), ("process", CommandLine, Text),
    ("process-max", Global, Integer(1, 999)), ("protocol-timeout", Global, Time(7 * DAY)), ("raw", CommandLine, Text),
    ("recovery-option", Global, Pair), ("recurse", CommandLine, Text), ("reference", CommandLine, Text), ("remote-type", CommandLine, Text),
    ("repo", CommandLine, Text), ("repo-azure-account", Repo, Text), ("repo-azure-container", Repo, Text),
    ("repo-azure-endpoint", Repo, Text), ("repo-azure-key", Repo, Text),
    ("repo-azure-key-type", Repo, Choice(&["shared", "sas", "auto"])), ("repo-azure-uri-style", Repo, STYLE),
    ("repo-block", Repo, Boolean), ("repo-block-age-map", Repo, Pair), ("repo-block-checksum-size-map", Repo, Pair),
    ("repo-block-size-map", Repo, Pair), ("repo-block-size-super", Repo, Size),
    ("repo-block-size-super-full", Repo, Size), ("repo-bundle", Repo, Boolean), ("repo-bundle-limit", Repo, Size),
    ("repo-bundle-size", Repo, Size), ("repo-cipher-pass", Repo, Text),
    ("repo-cipher-type", Repo, Choice(&["none", "aes-256-cbc"])), ("repo-gcs-bucket", Repo, Text),
    ("repo-gcs-endpoint", Repo, Text), ("repo-gcs-key", Repo, Text),
    ("repo-gcs-key-type", Repo, Choice(&["auto", "service", "token"])), ("repo-gcs-user-project", Repo, Text),
    ("repo-hardlink", Repo, Boolean), ("repo-host", Repo, Text), ("repo-host-ca-file", Repo, Text),
    ("repo-host-ca-path", Repo, Text), ("repo-host-cert-file", Repo, Text), ("repo-host-cmd", Repo, Text),
    ("repo-host-config", Repo, Text), ("repo-host-config-include-path", Repo, Path),
    ("repo-host-config-path", Repo, Path), ("repo-host-key-file", Repo, Text), ("repo-host-port", Repo, PORT),
    ("repo-host-type", Repo, HOST_TYPE), ("repo-host-user", Repo, Text), ("repo-path", Repo, Path),
    ("repo-retention-archive", Repo, KEEP),
    ("repo-retention-archive-type", Repo, Choice(&["full", "diff", "incr"])), ("repo-retention-diff", Repo, KEEP),
    ("repo-retention-full", Repo, KEEP), ("repo-retention-full-type", Repo, Choice(&["count", "time"])),
    ("repo-retention-history", Repo, Integer(0, 9_999_999)), ("repo-s3-bucket", Repo, Text),
    ("repo-s3-endpoint", Repo, Text), ("repo-s3-key", Repo, Text), ("repo-s3-key-secret", Repo, Text),
    ("repo-s3-key-type", Repo, Choice(&["shared", "auto", "web-id", "pod-id", "process"])),
    ("repo-s3-kms-key-id", Repo, Text), ("repo-s3-process-cmd", Repo, Text), ("repo-s3-region", Repo, Text),
    ("repo-s3-requester-pays", Repo, Boolean), ("repo-s3-role", Repo, Text), ("repo-s3-service", Repo, Text),
    ("repo-s3-sse-customer-key", Repo, Text), ("repo-s3-sts-host", Repo, Text), ("repo-s3-token", Repo, Text),
    ("repo-s3-uri-style", Repo, STYLE), ("repo-sftp-host", Repo, Text), ("repo-sftp-host-fingerprint", Repo, Text),
    ("repo-sftp-host-key-check-type", Repo, Choice(&["accept-new", "fingerprint", "none", "strict"])),
    ("repo-sftp-host-key-hash-type", Repo, Choice(&["md5", "sha1", "sha256"])), ("repo-sftp-host-port", Repo, PORT),
    ("repo-sftp-host-user", Repo, Text), ("repo-sftp-known-host", Repo, Text),
    ("repo-sftp-private-key-file", Repo, Text), ("repo-sftp-private-key-passphrase", Repo, Text),
    ("repo-sftp-public-key-file", Repo, Text), ("repo-storage-ca-file", Repo, Text),
    ("repo-storage-ca-path", Repo, Path), ("repo-storage-host", Repo, Text), ("repo-storage-port", Repo, PORT),
    ("repo-storage-prefetch", Repo, Integer(0, 1024)), ("repo-storage-read-over", Repo, Size),
    ("repo-storage-tag", Repo, Pair), ("repo-storage-upload-chunk-size", Repo, Size),
    ("repo-storage-verify-tls", Repo, Boolean), ("repo-symlink", Repo, Boolean), ("repo-target-time", Repo, Text),
    ("repo-type", Repo, Choice(&["azure", "cifs", "gcs", "posix", "s3", "sftp"])), ("resume", Global, Boolean),
    ("sck-block", Global, Boolean), ("sck-keep-alive", Global, Boolean), ("set", CommandLine, Text),
    ("sort", CommandLine, Text), ("spool-path", Global, Path), ("stanza", CommandLine, Text),
    ("start-fast", Global, Boolean), ("stop-auto", Global, Boolean), ("tablespace-map", Global, Pair),
    ("tablespace-map-all", Global, Text), ("target", CommandLine, Text), ("target-action", CommandLine, Text),
    ("target-exclusive", CommandLine, Text), ("target-timeline", CommandLine, Text),
    ("tcp-keep-alive-count", Global, Integer(1, 32)), ("tcp-keep-alive-idle", Global, Integer(1, 3600)),
    ("tcp-keep-alive-interval", Global, Integer(1, 900)), ("tls-cipher-12", Global, Text),
    ("tls-cipher-13", Global, Text), ("tls-server-address", Global, Text), ("tls-server-auth", Global, Pair),
    ("tls-server-ca-file", Global, Path), ("tls-server-cert-file", Global, Path),
    ("tls-server-key-file", Global, Path), ("tls-server-port", Global, Integer(1, 65_535)),
    ("type", CommandLine, Text), ("verbose", CommandLine, Text),
];

/// Old names that pgBackRest still accepts for repo1, and the current ones (sorted).
#[rustfmt::skip]
const OLD_NAMES: &[(&str, &str)] = &[
    ("archive-queue-max", "archive-push-queue-max"), ("backup-cmd", "repo1-host-cmd"),
    ("backup-config", "repo1-host-config"), ("backup-host", "repo1-host"), ("backup-ssh-port", "repo1-host-port"),
    ("backup-user", "repo1-host-user"), ("hardlink", "repo1-hardlink"), ("repo-cipher-pass", "repo1-cipher-pass"),
    ("repo-cipher-type", "repo1-cipher-type"), ("repo-path", "repo1-path"), ("repo-s3-bucket", "repo1-s3-bucket"),
    ("repo-s3-ca-file", "repo1-storage-ca-file"), ("repo-s3-ca-path", "repo1-storage-ca-path"),
    ("repo-s3-endpoint", "repo1-s3-endpoint"), ("repo-s3-host", "repo1-storage-host"),
    ("repo-s3-key", "repo1-s3-key"), ("repo-s3-key-secret", "repo1-s3-key-secret"),
    ("repo-s3-region", "repo1-s3-region"), ("repo-s3-verify-ssl", "repo1-storage-verify-tls"),
    ("repo-type", "repo1-type"), ("retention-archive", "repo1-retention-archive"),
    ("retention-archive-type", "repo1-retention-archive-type"), ("retention-diff", "repo1-retention-diff"),
    ("retention-full", "repo1-retention-full"),
];

/// Old endings of names with a number, and the current ones.
const OLD_ENDS: &[(&str, &str)] = &[
    ("azure-ca-file", "storage-ca-file"),
    ("azure-ca-path", "storage-ca-path"),
    ("azure-host", "storage-host"),
    ("azure-port", "storage-port"),
    ("azure-verify-tls", "storage-verify-tls"),
    ("s3-ca-file", "storage-ca-file"),
    ("s3-ca-path", "storage-ca-path"),
    ("s3-host", "storage-host"),
    ("s3-port", "storage-port"),
    ("s3-verify-ssl", "storage-verify-tls"),
    ("s3-verify-tls", "storage-verify-tls"),
];

/// Recognizes an option by its name in a configuration file.
#[must_use]
pub fn find(name: &str) -> Option<KnownOption> {
    let name = OLD_NAMES.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
    let (group, number, rest) =
        numbered(name).map_or(("", None, name), |(group, n, rest)| (group, Some(n), rest));
    let rest = match number {
        Some(_) => OLD_ENDS.iter().find(|(old, _)| *old == rest).map_or(rest, |(_, new)| new),
        None => rest,
    };
    let (bare, canonical) = match number {
        None => (name.to_owned(), name.to_owned()),
        Some(number) if rest.is_empty() => (group.to_owned(), format!("{group}{number}")),
        Some(number) => (format!("{group}-{rest}"), format!("{group}{number}-{rest}")),
    };
    let (_, group, kind) = OPTIONS
        .binary_search_by(|(known, ..)| known.cmp(&bare.as_str()))
        .ok()
        .and_then(|index| OPTIONS.get(index))?;
    let takes_number = *group == Repo || bare.starts_with("pg-") && bare != "pg-version-force";
    if number.is_some() && !takes_number {
        return None;
    }
    Some(KnownOption {
        canonical,
        group: *group,
        repo: number.filter(|_| *group == Repo),
        kind: *kind,
        number_missing: takes_number && number.is_none(),
    })
}

/// `repo2-path` → (`repo`, 2, `path`). `None` for a name without a number.
fn numbered(name: &str) -> Option<(&'static str, u32, &str)> {
    let (group, rest) =
        [("repo"), ("pg")].into_iter().find_map(|group| Some((group, name.strip_prefix(group)?)))?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at_checked(digits)?;
    let number = number.parse().ok()?;
    match rest.strip_prefix('-') {
        Some(rest) => Some((group, number, rest)),
        None if rest.is_empty() => Some((group, number, "")),
        None => None,
    }
}

/// The option most similar to a misspelled name.
#[must_use]
pub fn nearest(name: &str) -> Option<String> {
    let number = numbered(name).map(|(group, number, _)| (group, number));
    let spelt = |known: &str| match number {
        Some((group, number)) => known.strip_prefix(group).map(|rest| format!("{group}{number}{rest}")),
        None => Some(known.to_owned()),
    };
    let best =
        OPTIONS.iter().filter(|(_, group, _)| matches!(group, Global | Repo)).filter_map(|(known, ..)| {
            let known = spelt(known)?;
            let likeness = strsim::jaro_winkler(&known, name);
            (likeness > 0.9).then_some((likeness, known))
        });
    best.max_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal)).map(|(_, known)| known)
}

/// Whether a word is one of the fixed values of an option, such as `aes-256-cbc`.
#[must_use]
pub fn is_choice(word: &str) -> bool {
    let is_allowed = |(_, _, kind): &(_, _, ValueType)| match kind {
        Choice(words) => words.contains(&word),
        Boolean => matches!(word, "y" | "n"),
        _ => false,
    };
    OPTIONS.iter().any(is_allowed)
}

/// Whether a value cannot be a secret: a number with an optional unit, one of the fixed values of options, or too short for a
/// secret.
#[must_use]
pub fn is_harmless(value: &str) -> bool {
    const TOO_SHORT: usize = 4;
    const MOST_DIGITS: usize = 7;
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_number = value.len() - unit.len() <= MOST_DIGITS
        && unit.len() <= 3
        && unit.len() < value.len()
        && unit.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_number || value.trim().len() <= TOO_SHORT || is_choice(value) || matches!(value, "true" | "false")
}

/// Whether the value of an option is a secret, based on the ending of its name, so that unknown options are included:
/// passwords, keys, key secrets and tokens (but not `…-key-file` or `…-key-type`).
#[must_use]
pub fn is_secret(name: &str) -> bool {
    const ENDS: [&str; 8] =
        ["-pass", "-passphrase", "-password", "-passwd", "-key", "-key-secret", "-secret", "-token"];
    let name = name.trim().to_ascii_lowercase();
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether the value of `repoN-gcs-key` is the path of a key file, as with the key type `service`, and not a token.
#[must_use]
pub fn is_key_path(name: &str, value: &str) -> bool {
    find(name).is_some_and(|known| known.canonical.ends_with("-gcs-key")) && is_plain_path(value)
}

/// Whether this is the path of a file, without anything unusual.
#[must_use]
pub fn is_plain_path(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = |part: &str| !part.is_empty() && part.chars().all(is_plain) && part != "." && part != "..";
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_name))
}

/// Whether an option with the number of a repo makes pgBackRest use that repo, on the local disk unless other options say
/// more. Options that are valid only for a kind of storage, an encryption or a host do not, without the option for that
/// (2.45 and 2.60).
#[must_use]
pub fn defines_repo(name: &str) -> bool {
    const DEPENDENT: [&str; 7] = ["s3-", "azure-", "gcs-", "sftp-", "storage-", "host-", "cipher-pass"];
    let known = find(name).filter(|known| known.group == Repo && !known.number_missing);
    let option = known.as_ref().and_then(|known| known.canonical.split_once('-'));
    option.is_some_and(|(_, rest)| !DEPENDENT.iter().any(|start| rest.starts_with(start)))
}

/// The expected value, if the given one is invalid.
#[must_use]
pub fn complaint(kind: ValueType, value: &str) -> Option<String> {
    let (fits, wanted) = match kind {
        Boolean => (matches!(value, "y" | "n"), "y or n".to_owned()),
        Integer(from, to) => (
            value.parse::<i64>().is_ok_and(|number| (from..=to).contains(&number)),
            format!("an integer from {from} to {to}"),
        ),
        Time(longest) => (
            milliseconds(value).is_some_and(|time| (100..=longest * 1000).contains(&time)),
            format!("a time such as 90, 90s, 5m or 1h, up to {longest} seconds"),
        ),
        Size => (is_size(value), "an integer number of bytes, or a size such as 20MiB".to_owned()),
        Path => (
            value.starts_with('/') && !value.contains("//"),
            "a path that starts with / and does not contain //".to_owned(),
        ),
        Choice(words) => (words.contains(&value), format!("one of {}", words.join(", "))),
        Pair => {
            (value.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()), "key=value".to_owned())
        }
        Text => return None,
    };
    (!fits).then_some(wanted)
}

fn is_time(value: &str) -> bool {
    let unit = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let Some((number, unit)) = value.split_at_checked(unit) else { return false };
    matches!(unit, "" | "ms" | "s" | "m" | "h" | "d" | "w")
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && number.parse::<f64>().is_ok_and(|seconds| seconds > 0.0)
}

/// A time as `5m`, `90` or `0.5` (seconds). `None` if it is not one.
#[must_use]
pub fn milliseconds(value: &str) -> Option<u64> {
    let unit = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(unit).filter(|_| is_time(value))?;
    let of_unit: u64 = match unit {
        "ms" => 1,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => 1000,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(of_unit);
    }
    // Only fractions of seconds are in use.
    let (whole, fraction) = number.split_once('.')?;
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths = whole.parse::<u64>().or_else(|error| if whole.is_empty() { Ok(0) } else { Err(error) });
    let thousandths = thousandths.ok()?.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    thousandths.checked_mul(of_unit).map(|time| time / 1000)
}

/// A time as a number of seconds, which all versions read alike: before 2.53 (commit 3a2266f32), pgBackRest ignores units, and
/// `5m` is 5 seconds; since then, it rejects fractions. `None` if it is not in whole seconds.
#[must_use]
pub fn whole_seconds(value: &str) -> Option<u64> {
    milliseconds(value).filter(|time| time.is_multiple_of(1000)).map(|time| time / 1000)
}

/// Options that pgBackRest rejects together (error 32), with the reason, the one to change first. `given` is what is set.
/// Nothing is said of a level while the type is unknown.
pub fn contradictions<'a>(given: impl Fn(&str) -> Option<&'a str>) -> Vec<([&'static str; 2], String)> {
    let mut found = Vec::new();
    let level = given("compress-level").and_then(|level| level.parse::<i64>().ok());
    if let Some((level, compression)) = level.zip(given("compress-type"))
        && let Some((_, from, to)) = COMPRESSION_LEVELS.iter().find(|(known, ..)| *known == compression)
        && !(*from..=*to).contains(&level)
    {
        let why = format!("compress-level {level} is not a level of {compression}, which has {from} to {to}");
        found.push((["compress-level", "compress-type"], why));
    }
    let time = |name: &str| given(name).and_then(milliseconds);
    if let Some((protocol, database)) = time("protocol-timeout").zip(time("db-timeout"))
        && protocol <= database
    {
        let why = "protocol-timeout must be greater than db-timeout".to_owned();
        found.push((["db-timeout", "protocol-timeout"], why));
    }
    found
}

fn is_size(value: &str) -> bool {
    bytes(value).is_some()
}

/// A size such as `20MiB`, `20MB`, `20m` or a number of bytes, all in powers of 1024. `None` if it is not one.
#[must_use]
pub fn bytes(value: &str) -> Option<u64> {
    let unit = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(unit)?;
    let unit = unit.to_ascii_lowercase();
    let letter = ["ib", "b", ""].iter().find_map(|end| unit.strip_suffix(end))?;
    let power = match letter {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << power)
}

#[cfg(test)]
mod tests;
