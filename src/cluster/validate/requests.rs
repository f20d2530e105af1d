//! Annotations that request an action once.

use super::annotations::{given, invalid};
use super::backup_options::{self, Configured};
use super::{Checks, parts};
use crate::cluster::resource::{Pgbackrest, Postgresql};
use crate::cluster::validated::{BackupNow, RepoNumber, ValidatedRepo};
use crate::pgbackrest::label::BackupType;

/// Actions that are requested once.
pub(super) struct Requests {
    pub(super) backup_now: Option<BackupNow>,
    pub(super) stanza_upgrade: Option<String>,
}

/// Those that are valid.
pub(super) fn look(
    resource: &Postgresql,
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    configured: Configured<'_>,
    checks: &mut Checks<'_>,
) -> Requests {
    Requests {
        backup_now: backup_now(resource, section, repos, configured, checks),
        stanza_upgrade: stanza_upgrade(resource, checks),
    }
}

/// `full@repo1`, `full@repo1#anything`, or either with options: `full@repo1 --process-max=8`.
fn backup_now(
    resource: &Postgresql,
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    configured: Configured<'_>,
    checks: &mut Checks<'_>,
) -> Option<BackupNow> {
    let value = given(resource, "backup-now")?;
    let (order, options) = value.find(" --").and_then(|at| value.split_at_checked(at)).unwrap_or((value, ""));
    let is_short = order.len() <= 128;
    let wanted = order.split_once('#').map_or(order, |(wanted, _)| wanted).trim_end();
    let parsed = wanted.split_once('@').and_then(|(word, repo)| {
        let backup_type = BackupType::of_name(word)?;
        Some((backup_type, RepoNumber::of_name(repo)?))
    });
    let Some((backup_type, repo)) = parsed.filter(|_| is_short) else {
        let remedy = "use type@repo, such as full@repo1, or full@repo1#2 to request the same backup again; options follow, \
                      such as full@repo1 --process-max=8";
        invalid("backup-now", order, "is not a backup request", remedy, checks);
        return None;
    };
    if !parts::declared(section).any(|known| known == repo) {
        invalid(
            "backup-now",
            value,
            "is for a repo that this cluster does not have",
            "use one of its repos",
            checks,
        );
        return None;
    }
    let declared = repos.iter().find(|known| known.number == repo);
    let options =
        backup_options::of_request(options, "backup-now", declared, backup_type, configured, checks)?;
    Some(BackupNow { backup_type, repo, options, token: value.to_owned() })
}

fn stanza_upgrade(resource: &Postgresql, checks: &mut Checks<'_>) -> Option<String> {
    let value = given(resource, "stanza-upgrade").filter(|value| *value != "false")?;
    let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() || value.len() > 63 || !value.chars().all(token) {
        let remedy = "use a word that was not used before, such as the new PostgreSQL version";
        invalid("stanza-upgrade", value, "is not a valid upgrade token", remedy, checks);
        return None;
    }
    Some(value.to_owned())
}
