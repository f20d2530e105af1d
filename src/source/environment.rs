//! The environment that children see: little, and the same wherever the program runs.
//!
//! pgBackRest reads every `PGBACKREST_*` variable as an option and, since 2.53, prints a warning on stdout for each
//! that is none; Kubernetes sets such variables for a Service whose name begins with `pgbackrest`.

use std::ffi::{OsStr, OsString};

use crate::pgbackrest::conf;

/// Passed on where set.
const KEPT: [&str; 5] = ["PATH", "HOME", "USER", "LOGNAME", "TZ"];

/// Where programs are looked for when the program itself has no `PATH`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// The usual few variables of this process and those in `pass`, by exact name.
    #[must_use]
    pub fn inherit(pass: &[String]) -> Self {
        Self::choose(std::env::vars_os(), pass)
    }

    /// Chooses from `all`; `PATH` and `LANG` are always there.
    #[must_use]
    pub fn choose(all: impl IntoIterator<Item = (OsString, OsString)>, pass: &[String]) -> Self {
        let wanted = |name: &OsStr| {
            KEPT.iter().any(|kept| name == *kept) || pass.iter().any(|passed| name == passed.as_str())
        };
        let mut variables: Vec<_> = all.into_iter().filter(|(name, _)| wanted(name)).collect();
        for (name, value) in [("PATH", USUAL_PATH), ("LANG", "C.UTF-8")] {
            if !variables.iter().any(|(known, _)| known == name) {
                variables.push((name.into(), value.into()));
            }
        }
        Self { variables }
    }

    /// The same with a variable, in place of one of that name.
    #[must_use]
    pub fn with(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut variables = self.variables.clone();
        variables.retain(|(known, _)| known != name);
        variables.push((name.into(), value.into()));
        Self { variables }
    }

    /// Names and values.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// What sets options of pgBackRest, as far as it is text.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.variables().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        texts.filter(|(name, _)| name.starts_with(conf::VARIABLE_PREFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(all: &[(&str, &str)], pass: &[&str]) -> Vec<String> {
        let all = all.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let pass: Vec<String> = pass.iter().map(ToString::to_string).collect();
        let mut lines: Vec<String> = Environment::choose(all, &pass)
            .variables()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn stray_options_never_reach_pgbackrest() {
        let all = [
            ("PGBACKREST_REPO_SERVICE_HOST", "10.0.0.1"),
            ("PGBACKREST_ALLOW_ROOT", "y"),
            ("PATH", "/bin"),
            ("LANG", "de_DE.UTF-8"),
            ("TZ", "Europe/Berlin"),
        ];
        assert_eq!(chosen(&all, &[]), ["LANG=C.UTF-8", "PATH=/bin", "TZ=Europe/Berlin"]);
        assert_eq!(
            chosen(&all, &["PGBACKREST_ALLOW_ROOT", "LANG"]),
            ["LANG=de_DE.UTF-8", "PATH=/bin", "PGBACKREST_ALLOW_ROOT=y", "TZ=Europe/Berlin"]
        );
    }

    #[test]
    fn an_empty_environment_still_finds_programs() {
        assert_eq!(chosen(&[], &[]), ["LANG=C.UTF-8".to_owned(), format!("PATH={USUAL_PATH}")]);
    }
}
