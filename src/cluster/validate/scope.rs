//! Annotations for all repos and backup types, or for some: `backup-options.repo1.full`.

use crate::cluster::validated::RepoNumber;
use crate::pgbackrest::label::BackupType;

/// Options of pgBackRest for backups.
pub(super) const BACKUP_OPTIONS: &str = "backup-options";

/// Access modes of volumes. Only for all repos, or for one.
pub(super) const VOLUME_ACCESS_MODES: &str = "volume-access-modes";

/// What an annotation is about. Ordered: of two that are about the same backup, the greater is more specific.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    /// One repo, or all.
    pub(super) repo: Option<RepoNumber>,
    /// One type, or all.
    pub(super) backup_type: Option<BackupType>,
}

impl Scope {
    /// The scope of an annotation that starts with `name`. `None` if the rest is no scope.
    pub(super) fn of(annotation: &str, name: &str) -> Option<Self> {
        let rest = annotation.strip_prefix(name)?;
        if rest.is_empty() {
            return Some(Self::default());
        }
        let mut words = rest.strip_prefix('.')?.split('.').peekable();
        let repo = words.peek().and_then(|word| RepoNumber::of_name(word));
        if repo.is_some() {
            words.next();
        }
        let backup_type = match words.next() {
            Some(word) => Some(BackupType::of_name(word)?),
            None => None,
        };
        words.next().is_none().then_some(Self { repo, backup_type })
    }

    /// The annotation with this scope.
    pub(super) fn annotation(self, name: &str) -> String {
        let repo = self.repo.map(|repo| format!(".{repo}")).unwrap_or_default();
        let backup_type = self.backup_type.map(|kind| format!(".{}", kind.as_str())).unwrap_or_default();
        format!("{name}{repo}{backup_type}")
    }

    /// Whether it is about these backups.
    pub(super) fn covers(self, repo: RepoNumber, backup_type: BackupType) -> bool {
        self.repo.is_none_or(|known| known == repo)
            && self.backup_type.is_none_or(|known| known == backup_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_have_scopes_and_the_more_specific_is_greater() {
        let ascending = ["x", "x.full", "x.incr", "x.repo1", "x.repo1.full", "x.repo4.diff"];
        let scopes: Vec<Scope> = ascending.iter().map(|text| Scope::of(text, "x").unwrap()).collect();
        assert!(scopes.is_sorted(), "{scopes:?}");
        for (scope, text) in scopes.iter().zip(ascending) {
            assert_eq!(scope.annotation("x"), text);
        }
        for text in ["x.", "y", "xfull", "x.repo5", "x.full.repo1", "x.repo1.", "x.repo1.full.x", "x.weekly"]
        {
            assert_eq!(Scope::of(text, "x"), None, "{text}");
        }
    }

    #[test]
    fn a_scope_covers_its_backups() {
        let repo1 = RepoNumber::of_name("repo1").unwrap();
        for (text, covers) in
            [("x", true), ("x.full", true), ("x.incr", false), ("x.repo1", true), ("x.repo2.full", false)]
        {
            assert_eq!(Scope::of(text, "x").unwrap().covers(repo1, BackupType::Full), covers, "{text}");
        }
    }
}
