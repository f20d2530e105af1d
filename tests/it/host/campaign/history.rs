//! A history as data: how the database and its repositories are set up, and what happens to them. It is printed and parsed as one
//! line, so that it can be replayed and shrunk.

use std::fmt;
use std::str::FromStr;

/// What is set up, and what happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// Which pgBackRest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The one on PATH.
    Installed,
    /// The newest one that was fetched.
    Newest,
}

/// The database and its repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) version: Version,
    /// MiB.
    pub(super) segment_size: u32,
    /// One or two.
    pub(super) repos: u32,
    /// Repositories with a passphrase: none, or one of them, or both as the sum of 1 and 2.
    pub(super) encrypted: u32,
    pub(super) compression: Compression,
    /// Small files of a backup lie in one file of the repository.
    pub(super) has_bundles: bool,
}

/// A value of `compress-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gz,
    Lz4,
    Zst,
}

/// A type of backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    Diff,
    Incr,
    /// A full one of a stopped server.
    Offline,
}

/// How a segment in a repository is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// The file is removed.
    Delete,
    /// The file is cut to so many bytes, fewer than any segment has.
    Cut(u64),
    /// The file gets a name that is no segment's.
    Rename,
    /// There is a second file of the segment, with another checksum in its name.
    Duplicate,
}

/// Something that happens. Numbers in percent choose among what is there, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many commits, with a marker each.
    Write(u32),
    /// The WAL segment ends, and is archived.
    Switch,
    /// The next second begins.
    Tick,
    /// A backup into a repository.
    BackUp(Kind, u32),
    /// The database goes back to a marker and continues from there.
    Back { percent: u32, is_crash: bool },
    /// A standby that has received everything goes on.
    Stream,
    /// A standby goes on that has received only what is archived; the last commits of the primary are lost.
    Fail,
    /// A copy is restored, up to a marker or to the end, archives so many segments into the same stanza and is discarded.
    Clone { percent: Option<u32>, segments: u32 },
    /// A segment of a repository is damaged.
    Harm { harm: Harm, repo: u32, percent: u32 },
    /// A history file disappears from a repository.
    LoseHistory { repo: u32, percent: u32 },
    /// The directory of a backup disappears, or all that is in it.
    LoseBackup { repo: u32, percent: u32, is_emptied: bool },
    /// `expire` keeps so many full backups.
    Expire { repo: u32, full: u32 },
    /// `expire` keeps WAL for so many backups of this type; the configuration has these options too, where they are known.
    ExpireWal { repo: u32, kind: Kind, count: u32, is_known: bool },
    /// The clock of a repository's files is moved by so many seconds.
    Skew { repo: u32, seconds: i64 },
}

impl History {
    /// All but the steps that are printed with one of these words.
    pub(super) fn without_words(mut self, words: &[&str]) -> Self {
        self.steps.retain(|step| words.iter().all(|word| step.to_string().split(':').next() != Some(word)));
        self
    }

    /// All but some of the steps.
    pub(super) fn without(&self, from: usize, count: usize) -> Self {
        let steps = self.steps.iter().enumerate();
        let kept = steps.filter(|(index, _)| !(from..from + count).contains(index)).map(|(_, step)| *step);
        Self { setup: self.setup, steps: kept.collect() }
    }
}

impl fmt::Display for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.setup)?;
        self.steps.iter().try_for_each(|step| write!(formatter, " {step}"))
    }
}

impl FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let mut setup = Setup::default();
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            setup.set(name, value)?;
            words.next();
        }
        let steps = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { setup, steps })
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            version: Version::Newest,
            segment_size: 1,
            repos: 1,
            encrypted: 0,
            compression: Compression::None,
            has_bundles: true,
        }
    }
}

impl Setup {
    /// A repository has a passphrase.
    pub(super) fn is_encrypted(self, repo: u32) -> bool {
        self.encrypted & repo != 0
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || number(value);
        match name {
            "pgbackrest" => {
                self.version = match value {
                    "installed" => Version::Installed,
                    "newest" => Version::Newest,
                    other => return Err(format!("no such pgbackrest: {other}")),
                }
            }
            "mib" => self.segment_size = number()?,
            "repos" => self.repos = number()?,
            "encrypted" => self.encrypted = number()?,
            "compress" => self.compression = value.parse()?,
            "bundles" => self.has_bundles = number()? == 1,
            other => return Err(format!("no such setting: {other}")),
        }
        Ok(())
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Version::Installed => "installed",
            Version::Newest => "newest",
        };
        write!(
            formatter,
            "pgbackrest={version} mib={} repos={} encrypted={} compress={} bundles={}",
            self.segment_size,
            self.repos,
            self.encrypted,
            self.compression.option(),
            u32::from(self.has_bundles)
        )
    }
}

impl Compression {
    const ALL: [Self; 4] = [Self::None, Self::Gz, Self::Lz4, Self::Zst];

    /// The value of the option.
    pub(super) const fn option(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gz => "gz",
            Self::Lz4 => "lz4",
            Self::Zst => "zst",
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.option() == text);
        found.ok_or_else(|| format!("no such compression: {text}"))
    }
}

impl Kind {
    const ALL: [Self; 4] = [Self::Full, Self::Diff, Self::Incr, Self::Offline];

    /// As pgBackRest calls it; an offline one is a full one.
    pub(super) const fn option(self) -> &'static str {
        match self {
            Self::Full | Self::Offline => "full",
            Self::Diff => "diff",
            Self::Incr => "incr",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            other => other.option(),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.word() == text).ok_or_else(|| format!("no such step: {text}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Write(count) => write!(formatter, "write:{count}"),
            Self::Switch => write!(formatter, "switch"),
            Self::Tick => write!(formatter, "tick"),
            Self::BackUp(kind, repo) => write!(formatter, "{}:{repo}", kind.word()),
            Self::Back { percent, is_crash: false } => write!(formatter, "back:{percent}"),
            Self::Back { percent, is_crash: true } => write!(formatter, "crash-back:{percent}"),
            Self::Stream => write!(formatter, "stream"),
            Self::Fail => write!(formatter, "fail"),
            Self::Clone { percent: None, segments } => write!(formatter, "clone:{segments}"),
            Self::Clone { percent: Some(percent), segments } => {
                write!(formatter, "clone-at:{percent}:{segments}")
            }
            Self::Harm { harm, repo, percent } => {
                let word = match harm {
                    Harm::Delete => "delete",
                    Harm::Cut(bytes) => return write!(formatter, "cut:{repo}:{percent}:{bytes}"),
                    Harm::Rename => "rename",
                    Harm::Duplicate => "duplicate",
                };
                write!(formatter, "{word}:{repo}:{percent}")
            }
            Self::LoseHistory { repo, percent } => write!(formatter, "lose-history:{repo}:{percent}"),
            Self::LoseBackup { repo, percent, is_emptied: false } => {
                write!(formatter, "lose-backup:{repo}:{percent}")
            }
            Self::LoseBackup { repo, percent, is_emptied: true } => {
                write!(formatter, "empty-backup:{repo}:{percent}")
            }
            Self::Expire { repo, full } => write!(formatter, "expire:{repo}:{full}"),
            Self::ExpireWal { repo, kind, count, is_known } => {
                let word = if is_known { "expire-wal" } else { "expire-wal-elsewhere" };
                write!(formatter, "{word}:{repo}:{}:{count}", kind.word())
            }
            Self::Skew { repo, seconds } => write!(formatter, "skew:{repo}:{seconds}"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(':').collect();
        let harm =
            |harm, repo, percent| Ok(Self::Harm { harm, repo: number(repo)?, percent: number(percent)? });
        match words[..] {
            ["write"] => Ok(Self::Write(1)),
            ["write", count] => Ok(Self::Write(number(count)?)),
            ["switch"] => Ok(Self::Switch),
            ["tick"] => Ok(Self::Tick),
            ["back", percent] => Ok(Self::Back { percent: number(percent)?, is_crash: false }),
            ["crash-back", percent] => Ok(Self::Back { percent: number(percent)?, is_crash: true }),
            ["stream"] => Ok(Self::Stream),
            ["fail"] => Ok(Self::Fail),
            ["clone", segments] => Ok(Self::Clone { percent: None, segments: number(segments)? }),
            ["clone-at", percent, segments] => {
                Ok(Self::Clone { percent: Some(number(percent)?), segments: number(segments)? })
            }
            ["delete", repo, percent] => harm(Harm::Delete, repo, percent),
            ["cut", repo, percent, bytes] => harm(Harm::Cut(number(bytes)?), repo, percent),
            ["rename", repo, percent] => harm(Harm::Rename, repo, percent),
            ["duplicate", repo, percent] => harm(Harm::Duplicate, repo, percent),
            ["lose-history", repo, percent] => {
                Ok(Self::LoseHistory { repo: number(repo)?, percent: number(percent)? })
            }
            [word @ ("lose-backup" | "empty-backup"), repo, percent] => Ok(Self::LoseBackup {
                repo: number(repo)?,
                percent: number(percent)?,
                is_emptied: word == "empty-backup",
            }),
            ["expire", repo, full] => Ok(Self::Expire { repo: number(repo)?, full: number(full)? }),
            [word @ ("expire-wal" | "expire-wal-elsewhere"), repo, kind, count] => Ok(Self::ExpireWal {
                repo: number(repo)?,
                kind: kind.parse()?,
                count: number(count)?,
                is_known: word == "expire-wal",
            }),
            ["skew", repo, seconds] => Ok(Self::Skew { repo: number(repo)?, seconds: number(seconds)? }),
            [kind, repo] => Ok(Self::BackUp(kind.parse()?, number(repo)?)),
            _ => Err(format!("no such step: {text}")),
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

#[test]
fn a_history_is_printed_and_parsed() {
    let text = "pgbackrest=installed mib=2 repos=2 encrypted=3 compress=zst bundles=0 write:2 switch tick full:1 diff:2 \
                offline:1 back:50 crash-back:0 stream fail clone:2 clone-at:10:1 delete:1:40 cut:1:40:5 rename:2:9 \
                duplicate:1:99 lose-history:1:0 lose-backup:1:0 empty-backup:2:7 expire:1:2 expire-wal:1:diff:1 \
                expire-wal-elsewhere:1:incr:2 skew:1:-7200";
    let history: History = text.parse().unwrap();
    assert_eq!(history.to_string(), text);
    let words = ["back", "cut", "expire-wal"];
    let kept = text.split(' ').filter(|word| !words.contains(&word.split(':').next().unwrap()));
    assert_eq!(history.clone().without_words(&words).to_string(), kept.collect::<Vec<_>>().join(" "));
    assert_eq!(history.without(1, 21).to_string().rsplit(' ').next(), Some("skew:1:-7200"));
    for wrong in ["repos=x", "what=1", "jump", "full", "full:x", "write:1:2:3:4"] {
        assert!(wrong.parse::<History>().is_err(), "{wrong}");
    }
}
