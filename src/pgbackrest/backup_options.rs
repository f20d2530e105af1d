//! Options of `pgbackrest backup` that can be set for single backups, beside the configuration.
//!
//! They are an allowlist: options that decide how fast, how thoroughly and in which format a backup is made, for how long it
//! waits, and what it is labelled with. What could redirect a backup (`repo1-path`, `config`, `lock-path`), read other
//! credentials, or leave a backup that cannot be restored (`exclude`, `no-archive-check`, `no-online`) is not in it, nor is
//! what must be the same for all backups of a repository (`repo1-bundle`, `repo1-retention-full`). Names and ranges are from
//! `config.yaml` of pgBackRest 2.45 to 2.60, where each of them is an option of `backup` in the role `main`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::options;

/// The type of a value, with what every version accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer(i64, i64),
    /// Whole seconds, from 1.
    Time(u64),
    /// Bytes, from and to.
    Size(u64, u64),
    /// A power of two from 16 KiB to 16 MiB.
    Buffer,
    Choice(&'static [&'static str]),
    /// `KEY=VALUE`, which can be given several times with different keys.
    Annotation,
}

use Kind::{Annotation, Boolean, Buffer, Choice, Integer, Size, Time};

const DAY: u64 = 24 * 3600;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Sorted by name.
const ALLOWED: &[(&str, Kind)] = &[
    ("annotation", Annotation),
    ("archive-copy", Boolean),
    ("archive-timeout", Time(DAY)),
    ("buffer-size", Buffer),
    ("checksum-page", Boolean),
    ("checksum-page-error", Boolean),
    ("compress-level", Integer(-7, 22)),
    // 2.45 starts at 0 and ends at 9.
    ("compress-level-network", Integer(0, 9)),
    ("compress-type", Choice(&["none", "bz2", "gz", "lz4", "zst"])),
    ("db-timeout", Time(7 * DAY)),
    ("delta", Boolean),
    ("expire-auto", Boolean),
    ("io-timeout", Time(3600)),
    ("manifest-save-threshold", Size(1, TIB)),
    // Containers may not raise their priority: pgBackRest ends with an error below 0.
    ("priority", Integer(0, 19)),
    ("process-max", Integer(1, 999)),
    ("protocol-timeout", Time(7 * DAY)),
    ("resume", Boolean),
    ("start-fast", Boolean),
];

/// Annotations of this program, which identify the backup of a job.
const RESERVED: &str = "pgbackrest-keeper.io";

/// Longer texts are refused.
pub const LONGEST: usize = 1024;

/// A job gets the options of all annotations about its backup as one text, in which more may be quoted than in them.
const LONGEST_OF_JOB: usize = 32 * LONGEST;

/// Options for one backup, without duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// By name; booleans are `y` or `n`.
    values: BTreeMap<&'static str, String>,
    annotations: BTreeMap<String, String>,
}

/// Why a part of a text is not an option that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The text is too long, a quote is not closed, or it contains control characters such as line breaks.
    Text,
    /// A word that does not start with `--`.
    NotAnOption,
    NotAllowed,
    /// The value is missing or wrong; contains what is expected.
    Value(String),
    Twice,
}

/// A part of a text that is not an option that can be set. It contains no value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The name without dashes, or nothing if it is about the text.
    pub name: String,
    pub reason: Reason,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.reason {
            Reason::Text => formatter
                .write_str("the text is too long, has more than one line, or is not quoted correctly"),
            Reason::NotAnOption => {
                formatter.write_str("every word must be an option such as --process-max=8")
            }
            Reason::NotAllowed => write!(formatter, "--{name} cannot be set for single backups"),
            Reason::Value(wanted) => write!(formatter, "--{name} needs {wanted}"),
            Reason::Twice => write!(formatter, "--{name} is given twice"),
        }
    }
}

impl std::error::Error for Refused {}

/// Reads options as on a command line, such as `--process-max=8 --no-resume`. Values can be quoted; nothing is expanded.
/// What is refused does not affect the rest.
#[must_use]
pub fn read(text: &str) -> (BackupOptions, Vec<Refused>) {
    read_up_to(LONGEST, text)
}

fn read_up_to(longest: usize, text: &str) -> (BackupOptions, Vec<Refused>) {
    let mut read = BackupOptions::default();
    // A block in YAML ends with a line break.
    let Some(words) = words(text.trim(), longest) else {
        return (read, vec![Refused { name: String::new(), reason: Reason::Text }]);
    };
    let (mut refused, mut twice) = (Vec::new(), Vec::new());
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--").filter(|option| !option.is_empty()) else {
            refused.push(Refused { name: String::new(), reason: Reason::NotAnOption });
            continue;
        };
        let (name, mut value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let Some((known, kind, negated)) = find(name) else {
            if value.is_none() {
                words.next_if(|word| !word.starts_with("--"));
            }
            refused.push(Refused { name: name.to_owned(), reason: Reason::NotAllowed });
            continue;
        };
        if value.is_none() && kind != Boolean {
            value = words.next_if(|word| !word.starts_with("--"));
        }
        if let Err(reason) = read.set(known, kind, negated, value) {
            if reason == Reason::Twice {
                twice.push(known);
            }
            refused.push(Refused { name: name.to_owned(), reason });
        }
    }
    for name in twice {
        read.remove(name);
    }
    (read, refused)
}

/// As a shell splits it, but without comments, which would silently leave out options.
fn words(text: &str, longest: usize) -> Option<Vec<String>> {
    const HASH: &str = "\u{1}";
    if text.len() > longest || text.chars().any(char::is_control) {
        return None;
    }
    let words = shlex::split(&text.replace('#', HASH))?;
    Some(words.into_iter().map(|word| word.replace(HASH, "#")).collect())
}

/// An allowed option, and whether the name negates it, as in `no-resume`.
fn find(name: &str) -> Option<(&'static str, Kind, bool)> {
    let exact = |name: &str| ALLOWED.iter().find(|(known, _)| *known == name).copied();
    if let Some((known, kind)) = exact(name) {
        return Some((known, kind, false));
    }
    let (known, kind) = exact(name.strip_prefix("no-")?)?;
    (kind == Boolean).then_some((known, kind, true))
}

/// The names of all options that can be set.
pub fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(name, _)| *name)
}

impl BackupOptions {
    fn set(
        &mut self,
        name: &'static str,
        kind: Kind,
        negated: bool,
        value: Option<&str>,
    ) -> Result<(), Reason> {
        if kind == Annotation {
            let wanted =
                || Reason::Value(format!("KEY=VALUE, with a KEY that does not start with {RESERVED}"));
            let (key, value) = value.and_then(|pair| pair.split_once('=')).ok_or_else(wanted)?;
            if key.trim().is_empty() || value.is_empty() || key.starts_with(RESERVED) {
                return Err(wanted());
            }
            let before = self.annotations.insert(key.to_owned(), value.to_owned());
            return before.map_or(Ok(()), |_| Err(Reason::Twice));
        }
        let value = match (kind, negated, value) {
            (Boolean, false, None | Some("y")) => "y".to_owned(),
            (Boolean, false, Some("n")) | (Boolean, true, None) => "n".to_owned(),
            (Boolean, true, Some(_)) => return Err(Reason::Value("no value".to_owned())),
            (_, _, value) => checked(kind, value.unwrap_or_default()).map_err(Reason::Value)?,
        };
        let before = self.values.insert(name, value);
        before.map_or(Ok(()), |_| Err(Reason::Twice))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.annotations.is_empty()
    }

    /// The value of an option other than `annotation`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The names of all options.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let annotation = (!self.annotations.is_empty()).then_some("annotation");
        annotation.into_iter().chain(self.values.keys().copied())
    }

    /// Removes an option.
    pub fn remove(&mut self, name: &str) {
        if name == "annotation" {
            self.annotations.clear();
        }
        self.values.remove(name);
    }

    /// Adds options, which replace those with the same name.
    pub fn extend(&mut self, more: &Self) {
        self.values.extend(more.values.iter().map(|(name, value)| (*name, value.clone())));
        self.annotations.extend(more.annotations.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// Options that pgBackRest rejects together (error 32), with the reason. `configured` returns other options, as far as
    /// they are known.
    #[must_use]
    pub fn contradictions<'a>(
        &'a self,
        configured: impl Fn(&str) -> Option<&'a str>,
    ) -> Vec<(&'static str, String)> {
        let found = options::contradictions(|name| self.value(name).or_else(|| configured(name)));
        let of_these =
            |names: [&'static str; 2]| names.into_iter().find(|name| self.values.contains_key(name));
        found.into_iter().filter_map(|(names, why)| Some((of_these(names)?, why))).collect()
    }

    /// As arguments of `pgbackrest backup`, which all versions take that have the options.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let annotations = self.annotations.iter().map(|(key, value)| format!("--annotation={key}={value}"));
        let values = self.values.iter().map(|(name, value)| {
            match (ALLOWED.iter().find(|(known, _)| known == name), value.as_str()) {
                (Some((_, Boolean)), "y") => format!("--{name}"),
                (Some((_, Boolean)), _) => format!("--no-{name}"),
                _ => format!("--{name}={value}"),
            }
        });
        annotations.chain(values).collect()
    }
}

/// The value as it is passed on, or what is expected.
fn checked(kind: Kind, value: &str) -> Result<String, String> {
    let (fits, wanted) = match kind {
        Boolean | Annotation => (false, "y, n, or no value".to_owned()),
        Integer(from, to) => (
            value.parse::<i64>().is_ok_and(|number| (from..=to).contains(&number)),
            format!("an integer from {from} to {to}"),
        ),
        Time(longest) => {
            let seconds = options::whole_seconds(value).filter(|seconds| (1..=longest).contains(seconds));
            let wanted = format!("a time such as 90, 90s, 5m or 1h, in whole seconds from 1 to {longest}");
            return seconds.map(|seconds| seconds.to_string()).ok_or(wanted);
        }
        Size(from, to) => (
            options::bytes(value).is_some_and(|size| (from..=to).contains(&size)),
            format!("a size such as 20MiB, from {from} to {to} bytes"),
        ),
        Buffer => {
            let size = options::bytes(value);
            if let Some(size) =
                size.filter(|size| size.is_power_of_two() && (16 * KIB..=16 * MIB).contains(size))
            {
                // 2.45 and later compare the text with a list.
                return Ok(if size < MIB {
                    format!("{}KiB", size / KIB)
                } else {
                    format!("{}MiB", size / MIB)
                });
            }
            (false, "a power of two from 16KiB to 16MiB".to_owned())
        }
        Choice(words) => (words.contains(&value), format!("one of {}", words.join(", "))),
    };
    if fits { Ok(value.to_owned()) } else { Err(wanted) }
}

/// As `read` reads it.
impl fmt::Display for BackupOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, argument) in self.arguments().iter().enumerate() {
            let (name, value) = argument.split_at(quoted_from(argument));
            let value = shlex::try_quote(value).map_err(|_| fmt::Error)?;
            let value = if value == "''" { "" } else { &value };
            write!(formatter, "{}{name}{value}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// Where the part of an argument starts that may need quotes: behind the last `=` before them.
fn quoted_from(argument: &str) -> usize {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+=".contains(c);
    match argument.find(|c| !is_plain(c)) {
        Some(at) => argument.get(..at).and_then(|plain| plain.rfind('=')).map_or(0, |equals| equals + 1),
        None => argument.len(),
    }
}

impl FromStr for BackupOptions {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (options, refused) = read_up_to(LONGEST_OF_JOB, text);
        refused.into_iter().next().map_or(Ok(options), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Vec<(String, Reason)> {
        read(text).1.into_iter().map(|refused| (refused.name, refused.reason)).collect()
    }

    #[test]
    fn options_are_read_as_pgbackrest_does_and_written_as_all_versions_take_them() {
        for (text, arguments) in [
            ("", &[][..]),
            ("--process-max=8", &["--process-max=8"]),
            ("--process-max 8 --delta", &["--delta", "--process-max=8"]),
            ("--no-resume --start-fast=y --delta=n", &["--no-delta", "--no-resume", "--start-fast"]),
            ("--compress-level -3", &["--compress-level=-3"]),
            ("--buffer-size=4MB", &["--buffer-size=4MiB"]),
            ("--buffer-size 65536", &["--buffer-size=64KiB"]),
            ("--archive-timeout=10m", &["--archive-timeout=600"]),
            ("--archive-timeout=1d --db-timeout=7d", &["--archive-timeout=86400", "--db-timeout=604800"]),
            ("--io-timeout=2000ms", &["--io-timeout=2"]),
            (
                "--annotation=why='before the migration' --annotation who=me",
                &["--annotation=who=me", "--annotation=why=before the migration"],
            ),
            ("--annotation=cost='$(id) `id` #1'", &["--annotation=cost=$(id) `id` #1"]),
            (
                "--annotation=who=me=you --annotation=#1=\\#2",
                &["--annotation=#1=#2", "--annotation=who=me=you"],
            ),
            ("--annotation=a=\"it's \\\"so\\\"\"", &["--annotation=a=it's \"so\""]),
            ("--annotation='two words'=ü", &["--annotation=two words=ü"]),
            (" --delta\n", &["--delta"]),
        ] {
            let options: BackupOptions = text.parse().unwrap_or_else(|refused| panic!("{text}: {refused}"));
            assert_eq!(options.arguments(), arguments, "{text}");
            assert_eq!(options.to_string().parse(), Ok(options), "{text}");
        }
    }

    #[test]
    fn options_are_written_for_people() {
        for text in [
            "--annotation=why='before the migration' --annotation=x=$ --process-max=8",
            "--annotation=who=me=you --archive-timeout=5 --delta --no-resume",
        ] {
            let (options, refused) = read(text);
            assert_eq!((options.to_string().replace("'$'", "$"), refused), (text.to_owned(), vec![]));
        }
    }

    #[test]
    fn a_job_reads_what_several_annotations_of_the_longest_say() {
        let mut all = BackupOptions::default();
        for key in ["a", "b", "c", "d", "e"] {
            let (start, end) = (format!("--annotation={key}=\""), "\"");
            let text = format!("{start}{}{end}", "'!".repeat((LONGEST - start.len() - end.len()) / 2));
            let (options, refused) = read(&text);
            assert_eq!(refused, []);
            all.extend(&options);
        }
        assert_eq!(all.to_string().parse(), Ok(all));
    }

    #[test]
    fn what_is_refused_does_not_affect_the_rest() {
        let (options, refused) =
            read("--repo1-path /elsewhere --process-max=8 stray --resume=maybe --start-fast");
        assert_eq!(options.arguments(), ["--process-max=8", "--start-fast"]);
        let names: Vec<&str> = refused.iter().map(|refused| refused.name.as_str()).collect();
        assert_eq!(names, ["repo1-path", "", "resume"]);
    }

    #[test]
    fn nothing_that_redirects_leaks_or_damages_is_allowed() {
        for name in [
            "no-archive-check",
            "archive-check=n",
            "no-online",
            "force",
            "exclude=base/1",
            "config=/tmp/x",
            "lock-path=/x",
            "log-path=/x",
            "log-level-file=trace",
            "repo1-path=/x",
            "repo=2",
            "type=full",
            "stanza=x",
            "pg1-path=/x",
            "repo1-s3-key=x",
            "repo1-retention-full=1",
            "cmd=/bin/sh",
            "beta",
            "reset-process-max",
            "no-process-max",
            "stop-auto",
            "repo1-host=x",
            "set=x",
            "dry-run",
            "no-annotation",
            "neutral-umask",
        ] {
            let text = format!("--{name}");
            let bare = name.split('=').next().unwrap().to_owned();
            assert_eq!(refused(&text), [(bare, Reason::NotAllowed)], "{text}");
        }
    }

    #[test]
    fn values_are_checked() {
        for text in [
            "--process-max",
            "--process-max=",
            "--process-max=0",
            "--process-max=1000",
            "--process-max=8x",
            "--priority=-1",
            "--compress-type=zip",
            "--io-timeout=2h",
            "--io-timeout=0",
            "--io-timeout=0.5",
            "--io-timeout=1500ms",
            "--buffer-size=3MiB",
            "--buffer-size=32MiB",
            "--annotation=key",
            "--annotation==x",
            "--annotation=k=",
            "--annotation=pgbackrest-keeper.io-job=x",
            "--no-resume=y",
            "--resume=yes",
            "--manifest-save-threshold=0",
            "--db-timeout=8d",
        ] {
            let refused = refused(text);
            assert!(matches!(refused.as_slice(), [(_, Reason::Value(_))]), "{text}: {refused:?}");
        }
        assert_eq!(refused("--delta --no-delta"), [("no-delta".to_owned(), Reason::Twice)]);
        assert_eq!(refused("--annotation=a=1 --annotation=a=2"), [("annotation".to_owned(), Reason::Twice)]);
        let long = format!("--annotation=a={}", "x".repeat(LONGEST));
        for text in ["--delta '", "--annotation='a=\n'", "--delta\n--resume", "--delta\u{1b}", long.as_str()]
        {
            assert_eq!(refused(text), [(String::new(), Reason::Text)], "{text:?}");
        }
        assert_eq!(refused("-x"), [(String::new(), Reason::NotAnOption)]);
        assert_eq!(refused("--"), [(String::new(), Reason::NotAnOption)]);
        assert_eq!(refused("--delta #why"), [(String::new(), Reason::NotAnOption)]);
    }

    #[test]
    fn the_more_specific_option_wins() {
        let mut options: BackupOptions = "--process-max=2 --delta --annotation=a=1".parse().unwrap();
        options.extend(&"--process-max=8 --annotation=b=2".parse().unwrap());
        assert_eq!(options.to_string(), "--annotation=a=1 --annotation=b=2 --delta --process-max=8");
        options.remove("annotation");
        options.remove("delta");
        assert_eq!(options.arguments(), ["--process-max=8"]);
    }

    #[test]
    fn what_pgbackrest_rejects_together_is_found() {
        let contradictions = |text: &str, configured: &'static [(&str, &str)]| -> Vec<&str> {
            let options: BackupOptions = text.parse().unwrap();
            let configured =
                |name: &str| configured.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            options.contradictions(configured).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(contradictions("--compress-level=12", &[("compress-type", "gz")]), ["compress-level"]);
        assert_eq!(
            contradictions("--compress-level=12 --compress-type=lz4", &[("compress-type", "gz")]),
            [""; 0]
        );
        assert_eq!(contradictions("--compress-type=bz2", &[("compress-level", "-1")]), ["compress-type"]);
        assert_eq!(contradictions("--compress-level=12", &[]), [""; 0], "the type is not known");
        assert_eq!(contradictions("--compress-level=12 --compress-type=none", &[]), [""; 0]);
        assert_eq!(contradictions("--delta", &[("compress-level", "12"), ("compress-type", "gz")]), [""; 0]);
        assert_eq!(contradictions("--db-timeout=1h", &[("protocol-timeout", "3600")]), ["db-timeout"]);
        assert_eq!(contradictions("--db-timeout=1h --protocol-timeout=61m", &[]), [""; 0]);
        assert_eq!(contradictions("--protocol-timeout=60", &[("db-timeout", "90")]), ["protocol-timeout"]);
    }

    #[test]
    fn allowed_options_are_sorted_and_known() {
        assert!(ALLOWED.is_sorted_by_key(|(name, _)| *name));
        for name in allowed() {
            let known = options::find(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(known.group, options::Group::Global, "{name}");
        }
    }
}
