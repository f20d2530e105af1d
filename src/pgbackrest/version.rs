//! The output of `pgbackrest version`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A pgBackRest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    /// Third number, 0 if there is none.
    pub patch: u32,
}

/// Parses `pgBackRest 2.45`, or `2055001` with `--output=num` (2.55 and later, pgBackRest commit 750a051b7).
///
/// Warnings before it and a suffix such as `dev` are ignored.
#[must_use]
pub fn parse(stdout: &str) -> Option<Version> {
    stdout.lines().map(str::trim).find_map(|line| match line.strip_prefix("pgBackRest ") {
        Some(words) => words_to_version(words),
        None => number_to_version(line),
    })
}

fn words_to_version(words: &str) -> Option<Version> {
    let end = words.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(words.len());
    let mut numbers = words.get(..end)?.split('.').map(|number| number.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let patch = numbers.next().unwrap_or(Some(0))?;
    numbers.next().is_none().then_some(Version { major, minor, patch })
}

fn number_to_version(line: &str) -> Option<Version> {
    let is_number = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| line.parse().ok())??;
    let version = Version { major: number / 1_000_000, minor: number / 1000 % 1000, patch: number % 1000 };
    (version.major > 0).then_some(version)
}

impl Version {
    /// As `--output=num` prints it: 2055001 for 2.55.1.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.major) * 1_000_000 + u64::from(self.minor) * 1000 + u64::from(self.patch)
    }
}

impl Serialize for Version {
    /// As pgBackRest writes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Version {
    /// As pgBackRest writes it: with a third number from 2.54 on, and in 2.52.1 and 2.53.1.
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
    fn both_forms_are_read() {
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
            ("P00  ERROR: [032]: 'json' is not allowed for 'output' option", None, ""),
        ];
        for (stdout, numbers, shown) in table {
            let version = parse(stdout);
            assert_eq!(version.map(|found| (found.major, found.minor, found.patch)), numbers, "{stdout}");
            assert_eq!(version.map(|found| found.to_string()).unwrap_or_default(), shown, "{stdout}");
        }
        assert_eq!(parse("pgBackRest 2.55.1").unwrap().number(), 2_055_001);
    }
}
