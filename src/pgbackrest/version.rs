//! The output of `pgbackrest version`: the program, its version, and its features.
//!
//! Forks of pgBackRest have their own version numbers, which do not show which options exist: pgxbackup 2.59.0 is pgBackRest 2.58
//! under another name. The features of a fork are detected with [`super::command::help`].

use std::fmt;

use serde::{Serialize, Serializer};

/// pgBackRest, or a fork of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Product {
    #[default]
    #[serde(rename = "pgBackRest")]
    PgBackRest,
    /// From `src/version.h` and `meson_options.txt` of github.com/pgexperts/pgxbackup.
    #[serde(rename = "pgxbackup")]
    Pgxbackup,
    /// From `src/version.h`, `src/config/parse.c` and `src/build/config/config.yaml` of
    /// github.com/MisterRaindrop/pgbunker.
    #[serde(rename = "pgBunker")]
    PgBunker,
}

/// Where a product looks for its files by default. All read the same variables, `PGBACKREST_…`.
#[derive(Debug, PartialEq, Eq)]
pub struct DefaultPaths {
    /// The first of these that exists is the configuration file; the last is for old installations.
    pub config: [&'static str; 2],
    /// The directory of additional configuration files (`config-include-path`).
    pub include: &'static str,
    /// The name of the configuration file in `config-path`.
    pub config_name: &'static str,
    /// The directory of locks (`lock-path`).
    pub lock: &'static str,
    /// The directory of log files (`log-path`).
    pub log: &'static str,
}

/// Features that not every supported program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `--repo` of `info`, `repo-ls` and `repo-get`: pgBackRest 2.32 (commit f32eb9b94).
    RepoOption,
    /// `--annotation` of `backup`: pgBackRest 2.41 (commit 381fd0a5a), like the databases of a backup in the JSON of
    /// `info --set` (commit db75ffd27).
    Annotation,
    /// `--checksum-page-error` of `expire`: pgBackRest 2.60 (pull request 2833).
    ChecksumPageError,
}

/// The features of a program, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u8);

/// A version of pgBackRest or of a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub product: Product,
    pub major: u32,
    pub minor: u32,
    /// Third number, 0 if there is none.
    pub patch: u32,
    /// Its features; none for a fork until they are detected.
    pub features: Features,
}

/// Parses `pgBackRest 2.45`, `pgBunker 2.59.0-bunker.1`, or `2055001` with `--output=num` (2.55 and later, pgBackRest
/// commit 750a051b7), which does not name the product.
///
/// Warnings before it and a suffix such as `dev` are ignored.
#[must_use]
pub fn parse(stdout: &str) -> Option<Version> {
    stdout.lines().map(str::trim).find_map(|line| match line.split_once(' ') {
        Some((name, words)) => {
            let product = Product::ALL.into_iter().find(|product| product.name() == name)?;
            words_to_version(product, words)
        }
        None => number_to_version(line),
    })
}

fn words_to_version(product: Product, words: &str) -> Option<Version> {
    let end = words.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(words.len());
    let mut numbers = words.get(..end)?.split('.').map(|number| number.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let patch = numbers.next().unwrap_or(Some(0))?;
    numbers.next().is_none().then(|| Version::new(product, [major, minor, patch]))
}

fn number_to_version(line: &str) -> Option<Version> {
    let is_number = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| line.parse().ok())??;
    let numbers = [number / 1_000_000, number / 1000 % 1000, number % 1000];
    (numbers[0] > 0).then(|| Version::new(Product::PgBackRest, numbers))
}

impl Product {
    pub const ALL: [Self; 3] = [Self::PgBackRest, Self::Pgxbackup, Self::PgBunker];

    /// The name that `version` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PgBackRest => "pgBackRest",
            Self::Pgxbackup => "pgxbackup",
            Self::PgBunker => "pgBunker",
        }
    }

    /// The name of its program, from `src/meson.build` of each.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::PgBackRest => "pgbackrest",
            Self::Pgxbackup => "pgxbackup",
            Self::PgBunker => "pgbunker",
        }
    }

    /// Whether it has its own name and version numbers.
    #[must_use]
    pub const fn is_fork(self) -> bool {
        !matches!(self, Self::PgBackRest)
    }

    #[must_use]
    pub const fn default_paths(self) -> &'static DefaultPaths {
        match self {
            Self::PgBackRest => &DefaultPaths {
                config: ["/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"],
                include: "/etc/pgbackrest/conf.d",
                config_name: "pgbackrest.conf",
                lock: "/tmp/pgbackrest",
                log: "/var/log/pgbackrest",
            },
            Self::Pgxbackup => &DefaultPaths {
                config: ["/etc/pgxbackup/pgxbackup.conf", "/etc/pgbackrest.conf"],
                include: "/etc/pgxbackup/conf.d",
                config_name: "pgxbackup.conf",
                lock: "/tmp/pgxbackup",
                log: "/var/log/pgxbackup",
            },
            Self::PgBunker => &DefaultPaths {
                config: ["/etc/pgbunker/pgbunker.conf", "/etc/pgbackrest/pgbackrest.conf"],
                include: "/etc/pgbunker/conf.d",
                config_name: "pgbunker.conf",
                lock: "/tmp/pgbunker",
                log: "/var/log/pgbunker",
            },
        }
    }

    /// The product that made a backup, by the version that is stored with it. Only pgBunker's numbers identify
    /// the program.
    #[must_use]
    pub fn of_backup(version: &str) -> Option<Self> {
        version.contains("-bunker").then_some(Self::PgBunker)
    }
}

impl Feature {
    pub const ALL: [Self; 3] = [Self::RepoOption, Self::Annotation, Self::ChecksumPageError];

    /// The first version of pgBackRest that has it.
    const fn since(self) -> (u32, u32) {
        match self {
            Self::RepoOption => (2, 32),
            Self::Annotation => (2, 41),
            Self::ChecksumPageError => (2, 60),
        }
    }

    /// The command and the option to check.
    #[must_use]
    pub const fn option(self) -> (&'static str, &'static str) {
        match self {
            Self::RepoOption => ("info", "repo"),
            Self::Annotation => ("backup", "annotation"),
            Self::ChecksumPageError => ("expire", "checksum-page-error"),
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        Self(features.into_iter().fold(0, |bits, feature| bits | feature.bit()))
    }
}

impl Version {
    fn new(product: Product, [major, minor, patch]: [u32; 3]) -> Self {
        let is_known = |feature: &Feature| !product.is_fork() && (major, minor) >= feature.since();
        let features = Feature::ALL.into_iter().filter(is_known).collect();
        Self { product, major, minor, patch, features }
    }

    /// Whether this program has the feature.
    #[must_use]
    pub const fn has(self, feature: Feature) -> bool {
        self.features.0 & feature.bit() != 0
    }

    /// Whether `expire` removes WAL as soon as a full backup is older than a retention by time. Before 2.47 (pgBackRest commit
    /// 762498f4c) it does so only in a run that removes a full backup. The forks are newer.
    #[must_use]
    pub fn removes_wal_once_retention_is_met(self) -> bool {
        self.product.is_fork() || (self.major, self.minor) >= (2, 47)
    }

    /// Whether backups into different repositories run at the same time: pgBackRest 2.53 (commit edd61636a). Before that, a
    /// lock is for the whole stanza. The forks are newer.
    #[must_use]
    pub fn locks_each_repo(self) -> bool {
        self.is_at_least((2, 53))
    }

    /// Whether it has what this version of pgBackRest introduced. The forks are pgBackRest 2.58 under other numbers.
    #[must_use]
    pub fn is_at_least(self, (major, minor): (u32, u32)) -> bool {
        let own = if self.product.is_fork() { (2, 58) } else { (self.major, self.minor) };
        own >= (major, minor)
    }

    /// As `--output=num` prints it: 2055001 for 2.55.1.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.major) * 1_000_000 + u64::from(self.minor) * 1000 + u64::from(self.patch)
    }

    /// With the name of the product.
    #[must_use]
    pub fn with_name(self) -> String {
        format!("{} {self}", self.product.name())
    }
}

impl Serialize for Version {
    /// As pgBackRest writes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Version {
    /// The numbers as pgBackRest writes them: with a third one from 2.54 on, and in 2.52.1 and 2.53.1.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.major, self.minor)?;
        if self.patch > 0 || (self.major, self.minor) >= (2, 54) {
            write!(formatter, ".{}", self.patch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        let table = [
            ("pgBackRest 2.45\n", Some((2, 45, 0)), "2.45"),
            ("pgBackRest 2.05\n", Some((2, 5, 0)), "2.05"),
            ("pgBackRest 2.60.0\n", Some((2, 60, 0)), "2.60.0"),
            ("pgBackRest 2.58.0dev\n", Some((2, 58, 0)), "2.58.0"),
            (
                "P00   WARN: environment contains invalid option 'x'\npgBackRest 2.55.1\n",
                Some((2, 55, 1)),
                "2.55.1",
            ),
            // Every form of a number that pgBackRest's tags have.
            ("pgBackRest 2.52\n", Some((2, 52, 0)), "2.52"),
            ("pgBackRest 2.52.1\n", Some((2, 52, 1)), "2.52.1"),
            ("pgBackRest 2.53\n", Some((2, 53, 0)), "2.53"),
            ("pgBackRest 2.54.0\n", Some((2, 54, 0)), "2.54.0"),
            ("2055001", Some((2, 55, 1)), "2.55.1"),
            ("P00   WARN: environment contains invalid option 'x'\n2060000\n", Some((2, 60, 0)), "2.60.0"),
            ("", None, ""),
            ("0", None, ""),
            ("99999999999999999999", None, ""),
            ("pgBackRest ", None, ""),
            ("pgBackRest 2", None, ""),
            ("pgBackRest 2.x", None, ""),
            ("pgBackRest 2.1.2.3", None, ""),
            ("pgBackRest 2.99999999999", None, ""),
            ("pgBackRest 2.45.", None, ""),
            ("pgOther 2.45", None, ""),
            ("P00  ERROR: [032]: 'json' is not allowed for 'output' option", None, ""),
        ];
        for (stdout, numbers, shown) in table {
            let version = parse(stdout);
            assert_eq!(version.map(|found| (found.major, found.minor, found.patch)), numbers, "{stdout}");
            assert_eq!(version.map(|found| found.to_string()).unwrap_or_default(), shown, "{stdout}");
            assert!(version.is_none_or(|found| found.product == Product::PgBackRest), "{stdout}");
        }
        assert_eq!(parse("pgBackRest 2.55.1").unwrap().number(), 2_055_001);
    }

    #[test]
    fn forks_are_distinguished() {
        for (stdout, product, shown) in [
            ("pgxbackup 2.59.0\n", Product::Pgxbackup, "pgxbackup 2.59.0"),
            ("pgBunker 2.59.0-bunker.1\n", Product::PgBunker, "pgBunker 2.59.0"),
        ] {
            let version = parse(stdout).unwrap();
            assert_eq!((version.product, version.number()), (product, 2_059_000));
            assert_eq!(version.with_name(), shown);
            // The number is one of pgBackRest 2.58 with another name.
            assert!(Feature::ALL.into_iter().all(|feature| !version.has(feature)), "{stdout}");
        }
        assert_eq!(Product::of_backup("2.59.0-bunker.1"), Some(Product::PgBunker));
        assert_eq!(Product::of_backup("2.59.0"), None);
    }

    #[test]
    fn features_follow_from_pgbackrests_own_numbers() {
        let has = |printed: &str| Feature::ALL.map(|feature| parse(printed).unwrap().has(feature));
        assert_eq!(has("pgBackRest 2.31"), [false, false, false]);
        assert_eq!(has("pgBackRest 2.32"), [true, false, false]);
        assert_eq!(has("pgBackRest 2.41"), [true, true, false]);
        assert_eq!(has("pgBackRest 2.59.1"), [true, true, false]);
        assert_eq!(has("pgBackRest 2.60.0"), [true, true, true]);
        assert_eq!(has("pgBackRest 3.00.0"), [true, true, true]);
        for (printed, expected) in
            [("pgBackRest 2.46", false), ("pgBackRest 2.47", true), ("pgxbackup 2.1", true)]
        {
            assert_eq!(parse(printed).unwrap().removes_wal_once_retention_is_met(), expected, "{printed}");
        }
        for (printed, expected) in
            [("pgBackRest 2.52.1", false), ("pgBackRest 2.53", true), ("pgxbackup 2.1", true)]
        {
            assert_eq!(parse(printed).unwrap().locks_each_repo(), expected, "{printed}");
        }
        let asked = [Feature::RepoOption, Feature::ChecksumPageError].into_iter().collect();
        let fork = Version { features: asked, ..parse("pgBunker 2.59.0-bunker.1").unwrap() };
        assert_eq!(Feature::ALL.map(|feature| fork.has(feature)), [true, false, true]);
    }
}
