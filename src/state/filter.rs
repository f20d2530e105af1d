//! Selects stanzas and repositories. Applied to queries and to answers.

use std::sync::Arc;

use regex::Regex;

/// Represents the stanzas of a repository that cannot be listed; never a real stanza.
pub const UNLISTED: &str = "[invalid]";

/// Selected stanzas and repositories; all by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Vec<Arc<str>>,
    exclude: Vec<Arc<str>>,
    include_pattern: Option<Regex>,
    exclude_pattern: Option<Regex>,
    repos: Vec<u32>,
}

/// The scope of a query, named as in the Go exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `all-stanzas`, `all-stanzas-except-excluded` or the included stanza.
    pub name: Arc<str>,
    /// The included stanza; `None` for all.
    pub stanza: Option<Arc<str>>,
}

impl Filter {
    /// Exact names, patterns that must match the whole name, repository numbers. An empty list selects all; exclusion
    /// has priority.
    ///
    /// Fails if a pattern is not a valid regular expression.
    pub fn new(
        include: &[String],
        exclude: &[String],
        include_pattern: Option<&str>,
        exclude_pattern: Option<&str>,
        repos: &[u32],
    ) -> Result<Self, regex::Error> {
        let whole = |pattern: Option<&str>| {
            pattern
                .filter(|pattern| !pattern.is_empty())
                .map(|pattern| Regex::new(&format!("^(?:{pattern})$")))
                .transpose()
        };
        // The Go exporter ignores empty names.
        let names = |names: &[String]| {
            names.iter().filter(|name| !name.is_empty()).map(|name| Arc::from(name.as_str())).collect()
        };
        Ok(Self {
            include: names(include),
            exclude: names(exclude),
            include_pattern: whole(include_pattern)?,
            exclude_pattern: whole(exclude_pattern)?,
            repos: repos.to_vec(),
        })
    }

    /// Whether the stanza is selected.
    #[must_use]
    pub fn admits_stanza(&self, name: &str) -> bool {
        let exact = |names: &[Arc<str>]| names.iter().any(|known| **known == *name);
        let matches = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|regex| regex.is_match(name));
        if exact(&self.exclude) || matches(&self.exclude_pattern) {
            return false;
        }
        let all = self.include.is_empty() && self.include_pattern.is_none();
        all || name == UNLISTED || exact(&self.include) || matches(&self.include_pattern)
    }

    /// Whether the repository is selected; 0 is the unnumbered one of old versions.
    #[must_use]
    pub fn admits_repo(&self, key: u32) -> bool {
        self.repos.is_empty() || key == 0 || self.repos.contains(&key)
    }

    /// The selected repositories; empty for all.
    #[must_use]
    pub fn repos(&self) -> &[u32] {
        &self.repos
    }

    /// The queries: one for all stanzas, or one for each included stanza if only names are given.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        if self.lists_all() {
            let excludes = !self.exclude.is_empty() || self.exclude_pattern.is_some();
            let name = if excludes { "all-stanzas-except-excluded" } else { "all-stanzas" };
            return vec![Scope { name: name.into(), stanza: None }];
        }
        let mut scopes: Vec<Scope> = Vec::new();
        for name in self.include.iter().filter(|name| self.admits_stanza(name)) {
            if !scopes.iter().any(|known| known.name == *name) {
                scopes.push(Scope { name: name.clone(), stanza: Some(name.clone()) });
            }
        }
        scopes
    }

    /// The stanzas that are included by name.
    pub fn included(&self) -> impl Iterator<Item = &Arc<str>> {
        self.include.iter()
    }

    /// Whether all stanzas are queried, so that answers list the existing ones.
    #[must_use]
    pub fn lists_all(&self) -> bool {
        self.include.is_empty() || self.include_pattern.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str], patterns: [Option<&str>; 2]) -> Filter {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude), patterns[0], patterns[1], &[]).unwrap()
    }

    fn scope_names(filter: &Filter) -> Vec<String> {
        filter.scopes().iter().map(|scope| scope.name.to_string()).collect()
    }

    #[test]
    fn exclusion_wins_and_patterns_match_the_whole_name() {
        for (filter, admitted, refused) in [
            (filter(&[], &[], [None, None]), "demo", ""),
            (filter(&["demo", "db"], &["db"], [None, None]), "demo", "db"),
            (filter(&["demo"], &[], [None, None]), "demo", "demo2"),
            (filter(&[], &[], [Some("prod-.*"), None]), "prod-1", "my-prod-1"),
            (filter(&["demo"], &[], [Some("prod-.*"), None]), "demo", "test"),
            (filter(&[], &[], [None, Some("test|tmp")]), "test-2", "tmp"),
        ] {
            assert!(filter.admits_stanza(admitted), "{filter:?} {admitted}");
            assert!(refused.is_empty() || !filter.admits_stanza(refused), "{filter:?} {refused}");
        }
        assert!(Filter::new(&[], &[], Some("("), None, &[]).is_err());
    }

    #[test]
    fn scopes_carry_the_names_of_the_go_exporter() {
        assert_eq!(scope_names(&filter(&[""], &[""], [None, None])), ["all-stanzas"]);
        assert_eq!(scope_names(&filter(&[], &["db"], [None, None])), ["all-stanzas-except-excluded"]);
        assert_eq!(scope_names(&filter(&["b", "a", "b", "x"], &["x"], [None, None])), ["b", "a"]);
        assert_eq!(scope_names(&filter(&["b"], &[], [Some("a.*"), None])), ["all-stanzas"]);
    }

    #[test]
    fn an_unlisted_repository_is_never_filtered_away_by_inclusion() {
        assert!(filter(&[], &[], [Some("prod"), None]).admits_stanza(UNLISTED));
        let filter = Filter::new(&[], &[], None, None, &[2]).unwrap();
        assert_eq!([0, 1, 2].map(|key| filter.admits_repo(key)), [true, false, true]);
    }
}
