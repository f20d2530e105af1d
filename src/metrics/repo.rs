//! Each repository: state, properties and contents.

use std::fmt;

use crate::state::snapshot::{CredentialKind, RepoState};

use super::catalogue::backups as catalogue;
use super::facts::{Facts, repo_labels};
use super::family::Families;

/// State, kind, sizes and credentials.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::REPO_UP, |family| {
        facts.each_repo(family, |family, stanza, repo| family.add(&repo_labels(stanza, repo), repo.is_up()))
    })?;
    families.family(&catalogue::REPO_STATE, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            STATES.into_iter().try_for_each(|(state, name)| {
                family.add(&[repo.key.into(), (&*stanza.name).into(), name.into()], repo.state == state)
            })
        })
    })?;
    families.family(&catalogue::REPO_COLLECTED_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            // A repository that never answered has no time of collection.
            let read =
                (repo.status_code.is_some() || repo.has_facts()).then(|| repo.collected_at.timestamp());
            family.add_known(&repo_labels(stanza, repo), read)
        })
    })?;
    families.family(&catalogue::REPO_ERROR_INFO, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(error) = repo.error else { return Ok(()) };
            family.add(&[error.into(), repo.key.into(), (&*stanza.name).into()], 1_u64)
        })
    })?;
    families.family(&catalogue::REPO_INFO, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let cipher = repo.cipher.as_deref().unwrap_or_default();
            let version = repo.current_database().map_or("", |database| &database.version);
            let storage = repo.settings.as_ref().and_then(|settings| settings.storage.as_deref());
            let storage = storage.unwrap_or_default();
            let labels =
                [cipher.into(), version.into(), repo.key.into(), (&*stanza.name).into(), storage.into()];
            family.add(&labels, 1_u64)
        })
    })?;
    families.family(&catalogue::REPO_ENCRYPTED, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let encrypted = repo.cipher.as_deref().map(|cipher| cipher != "none");
            family.add_known(&repo_labels(stanza, repo), encrypted)
        })
    })?;
    families.family(&catalogue::REPO_STORED_BYTES, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let mut sizes = repo.backups.iter().map(|backup| backup.repo_delta);
            let stored = sizes.try_fold(0_u64, |sum, size| Some(sum.saturating_add(size?.get())));
            let known = repo.is_up() || !repo.backups.is_empty();
            let labels = ["backup".into(), repo.key.into(), (&*stanza.name).into()];
            family.add_known(&labels, stored.filter(|_| known))
        })
    })?;
    families.family(&catalogue::REPO_CREDENTIAL_EXPIRY_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let credentials = repo.settings.iter().flat_map(|settings| &settings.credentials);
            // Two files of one kind (both CA options) would result in duplicate series: the earlier expiry counts.
            [CredentialKind::TlsClient, CredentialKind::TlsCa, CredentialKind::AzureSas]
                .into_iter()
                .try_for_each(|kind| {
                    let of_kind = credentials.clone().filter(|credential| credential.kind == kind);
                    let end = of_kind.map(|credential| credential.not_after.timestamp()).min();
                    let labels = [kind_name(kind).into(), repo.key.into(), (&*stanza.name).into()];
                    family.add_known(&labels, end)
                })
        })
    })
}

const STATES: [(RepoState, &str); 7] = [
    (RepoState::Ok, "ok"),
    (RepoState::MissingStanzaPath, "missing_stanza_path"),
    (RepoState::NoValidBackups, "no_valid_backups"),
    (RepoState::MissingStanzaData, "missing_stanza_data"),
    (RepoState::BackupNotFound, "backup_not_found"),
    (RepoState::Other, "other"),
    (RepoState::Timeout, "timeout"),
];

const fn kind_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::TlsClient => "tls_client",
        CredentialKind::TlsCa => "tls_ca",
        CredentialKind::AzureSas => "azure_sas",
    }
}
