//! The command lines for restores by users. They are only printed.

use std::ffi::OsString;
use std::fmt::{self, Write as _};

use crate::text;

use super::{Program, repo_option, stanza_option};

/// A restore to a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreQuery {
    /// The stanza.
    pub stanza: String,
    /// The repository (2.32 and later).
    pub repo: Option<u32>,
    /// Label of the backup to restore.
    pub set: String,
    /// The time, as PostgreSQL reads it.
    pub target: String,
    /// The timeline to follow; None before PostgreSQL 12, which follows that of the backup by default.
    pub target_timeline: Option<TargetTimeline>,
    /// `--archive-mode=off` needs PostgreSQL 12.
    pub can_switch_archiving_off: bool,
    /// Whether PostgreSQL may read ahead during replay. `recovery_prefetch` needs PostgreSQL 15.
    pub reads_ahead: bool,
}

/// `--target-timeline`. By default, PostgreSQL 12 and later use the latest one, no matter which server archived it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetTimeline {
    /// That of the backup. PostgreSQL needs no history file for it, and supports the word since version 12.
    Current,
    /// This one.
    Number(u32),
}

impl fmt::Display for TargetTimeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => formatter.write_str("current"),
            Self::Number(timeline) => timeline.fmt(formatter),
        }
    }
}

impl RestoreQuery {
    fn place(&self) -> Vec<String> {
        std::iter::once(stanza_option(&self.stanza)).chain(self.repo.map(repo_option)).collect()
    }

    fn options(&self) -> Vec<String> {
        let mut options = self.place();
        options.extend([format!("--set={}", self.set), "--type=time".to_owned()]);
        options.push(format!("--target={}", self.target));
        options.extend(self.target_timeline.map(|timeline| format!("--target-timeline={timeline}")));
        options.push("--target-action=promote".to_owned());
        options.extend((!self.reads_ahead).then(|| "--recovery-option=recovery_prefetch=off".to_owned()));
        options
    }
}

/// The location of a copy of a database, in a single directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPaths {
    /// An absolute path.
    pub directory: String,
}

impl CopyPaths {
    /// The directories that must exist before.
    #[must_use]
    pub fn directories(&self) -> Vec<String> {
        let own = ["data", "tablespaces", "spool", "lock", "log"].map(|name| self.path(name));
        std::iter::once(self.directory.clone()).chain(own).collect()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> String {
        self.path("data")
    }

    /// Its tablespaces, one directory for each by OID.
    #[must_use]
    pub fn tablespaces(&self) -> String {
        self.path("tablespaces")
    }

    pub(super) fn spool(&self) -> String {
        self.path("spool")
    }

    pub(super) fn own(&self) -> [String; 3] {
        let (data, lock, log) = (self.data(), self.path("lock"), self.path("log"));
        [format!("--pg1-path={data}"), format!("--lock-path={lock}"), format!("--log-path={log}")]
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory.trim_end_matches('/'))
    }
}

/// Quotes a word for a POSIX shell if necessary. Characters that a terminal would not show are written in octal, so that the command
/// can be read, copied and run.
#[must_use]
pub fn quoted(word: &str) -> String {
    if is_plain(word) {
        word.to_owned()
    } else if word.chars().all(text::is_printable) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        printed_by_shell(word)
    }
}

/// `"$(printf 'a\033b')"`. The shell removes line breaks at the end of what a command prints, so they follow it.
fn printed_by_shell(word: &str) -> String {
    let kept = word.trim_end_matches('\n');
    let mut format = String::new();
    for (place, character) in kept.chars().enumerate() {
        let is_option = place == 0 && character == '-';
        match character {
            '%' => format.push_str("%%"),
            // Every printf supports octal, with at most three digits.
            c if is_option || c == '\'' || c == '\\' || !text::is_printable(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(format, "\\{byte:03o}");
                }
            }
            c => format.push(c),
        }
    }
    let rest = word.get(kept.len()..).unwrap_or_default();
    format!("\"$(printf '{format}'){rest}\"")
}

/// The same for a shell that PostgreSQL starts: pgBackRest writes the command between single quotes into
/// `postgresql.auto.conf` as it is, where `''` stands for a quote and `\\` for a backslash.
fn quoted_in_setting(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '$' | '`' => quoted.extend(["\\\\", c.encode_utf8(&mut [0; 4])]),
            '\\' => quoted.push_str(r"\\\\"),
            '\'' => quoted.push_str("''"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn is_plain(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    !word.is_empty() && word.chars().all(is_plain)
}

impl Program {
    /// Restores to a point in time, and then lets PostgreSQL accept writes. Users run this command, so options are not pinned.
    /// `--set` selects the backup, because older versions of pgBackRest would only choose one in the first repository.
    #[must_use]
    pub fn restore(&self, query: &RestoreQuery) -> Vec<OsString> {
        self.line(query.options().into_iter().chain(["restore".to_owned()]))
    }

    /// The same into separate directories, without touching the database. The copy never archives. Without separate directories,
    /// `restore` would empty the spool directory of asynchronous archiving, and follow links and mappings in the configuration.
    #[must_use]
    pub fn restore_copy(&self, query: &RestoreQuery, copy: &CopyPaths) -> Vec<OsString> {
        let mut options = query.options();
        options.extend(copy.own());
        options.push(format!("--spool-path={}", copy.spool()));
        options.extend(["--reset-tablespace-map".to_owned(), "--reset-link-map".to_owned()]);
        options.push(format!("--tablespace-map-all={}", copy.tablespaces()));
        options.push("--no-link-all".to_owned());
        if query.can_switch_archiving_off {
            options.push("--archive-mode=off".to_owned());
        }
        options.push(format!("--recovery-option=restore_command={}", self.archive_get(query, copy)));
        self.line(options.into_iter().chain(["restore".to_owned()]))
    }

    /// pgBackRest would pass `--spool-path` to this command, which rejects it without asynchronous archiving.
    fn archive_get(&self, query: &RestoreQuery, copy: &CopyPaths) -> String {
        let mut options = query.place();
        options.extend(copy.own());
        options.extend(["--no-archive-async".to_owned(), "archive-get".to_owned()]);
        let words = self.line(options.into_iter());
        let words: Vec<String> =
            words.iter().map(|word| quoted_in_setting(&word.to_string_lossy())).collect();
        // PostgreSQL expands percent signs.
        format!("{} %f \"%p\"", words.join(" ").replace('%', "%%"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Program {
        Program { binary: "pgbackrest".into(), config: None, config_include_path: None }
    }

    fn words(arguments: &[OsString]) -> Vec<&str> {
        arguments.iter().map(|argument| argument.to_str().unwrap()).collect()
    }

    #[test]
    fn a_copy_has_nothing_in_common_with_the_original() {
        let query = RestoreQuery {
            stanza: "demo".to_owned(),
            repo: Some(2),
            set: "20260101-000000F".to_owned(),
            target: "2026-01-02 00:00:00+00".to_owned(),
            target_timeline: Some(TargetTimeline::Number(3)),
            can_switch_archiving_off: true,
            reads_ahead: false,
        };
        let copy = CopyPaths { directory: "/srv/a copy/".to_owned() };
        let line = host().restore_copy(&query, &copy);
        let expected = [
            "pgbackrest",
            "--stanza=demo",
            "--repo=2",
            "--set=20260101-000000F",
            "--type=time",
            "--target=2026-01-02 00:00:00+00",
            "--target-timeline=3",
            "--target-action=promote",
            "--recovery-option=recovery_prefetch=off",
            "--pg1-path=/srv/a copy/data",
            "--lock-path=/srv/a copy/lock",
            "--log-path=/srv/a copy/log",
            "--spool-path=/srv/a copy/spool",
            "--reset-tablespace-map",
            "--reset-link-map",
            "--tablespace-map-all=/srv/a copy/tablespaces",
            "--no-link-all",
            "--archive-mode=off",
            "--recovery-option=restore_command=pgbackrest --stanza=demo --repo=2 \"--pg1-path=/srv/a copy/data\" \
             \"--lock-path=/srv/a copy/lock\" \"--log-path=/srv/a copy/log\" --no-archive-async archive-get %f \"%p\"",
            "restore",
        ];
        assert_eq!(words(&line), expected);
        assert_eq!(copy.directories()[..2], ["/srv/a copy/", "/srv/a copy/data"]);
        let before_12 = RestoreQuery { can_switch_archiving_off: false, ..query };
        assert!(!words(&host().restore_copy(&before_12, &copy)).contains(&"--archive-mode=off"));
    }

    #[test]
    fn a_shell_reads_every_word_as_it_was() {
        for word in ["it's; $(x)", "", "a\u{1b}[31m'%s\\1", "-\u{9b}\n\n", "\u{202e}%", "\n\u{7}7"] {
            let script = format!("printf %s {}", quoted(word));
            assert!(script.chars().all(|c| c == '\n' || text::is_printable(c)), "{script}");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word, "{script}");
        }
    }

    #[test]
    fn words_are_safe_in_a_shell() {
        let words = ["a=b", "it's; $(x)", ""].map(quoted);
        assert_eq!(words, ["a=b", "'it'\\''s; $(x)'", "''"]);
        let words = ["a\u{1b}[31m'%s\\", "b\u{202e}", "c\n\n", "-\u{9b}"].map(quoted);
        assert_eq!(
            words,
            [
                r#""$(printf 'a\033[31m\047%%s\134')""#,
                r#""$(printf 'b\342\200\256')""#,
                "\"$(printf 'c')\n\n\"",
                r#""$(printf '\055\302\233')""#,
            ]
        );
        // Read back as PostgreSQL and then a shell do, each is the word again.
        let words = ["a=b", "it's", "$x", r"a\b"].map(quoted_in_setting);
        assert_eq!(words, ["a=b", "\"it''s\"", r#""\\$x""#, r#""a\\\\b""#]);
    }
}
