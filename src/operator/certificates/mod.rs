//! Creates and renews the keys and certificates between a repo host and PostgreSQL's pods.
//!
//! The next step depends only on the two Secrets and the time, so that a restart changes nothing. An authority is
//! replaced in steps, each of which waits until every server has loaded the previous one: the new root is trusted
//! along with the old one, the leaf certificates are renewed, the old root is removed.

mod make;
mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::cluster::desired::CertificatePem;
use crate::cluster::desired::certificates::{AUTHORITY_CERTIFICATE, AUTHORITY_KEY, ROOTS, Side};
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;

use super::action::Action;
use read::{Leaf, Life, Root};

pub use make::Subject;

/// A leaf certificate whose renewal would break a connection waits until this part of its lifetime is over: then the
/// connection would soon break anyway.
const LAST_MOMENT: (i32, i32) = (11, 12);

/// The contents of our two Secrets, `<cluster>-pgbackrest-ca` and `<cluster>-pgbackrest-cert`, if they exist and are
/// ours.
#[derive(Clone, Default)]
pub struct Stored {
    /// `data` of the Secret of the authority.
    pub authority: BTreeMap<String, Vec<u8>>,
    /// `data` of the Secret that pods mount.
    pub pods: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Stored {
    /// The certificates, if all keys exist.
    #[must_use]
    pub fn pem(&self) -> Option<CertificatePem> {
        let pem = self.what_is_left()?;
        let all = [
            &pem.authority_certificate,
            &pem.authority_key,
            &pem.roots,
            &pem.database_certificate,
            &pem.database_key,
            &pem.repo_host_certificate,
            &pem.repo_host_key,
        ];
        all.iter().all(|text| !text.is_empty()).then_some(pem)
    }

    /// The same with empty texts for missing keys, so that the others are still trusted. `None` if all are missing.
    fn what_is_left(&self) -> Option<CertificatePem> {
        let text = |data: &BTreeMap<String, Vec<u8>>, key: &str| {
            data.get(key).and_then(|text| String::from_utf8(text.clone()).ok()).unwrap_or_default()
        };
        let anything = !self.authority.is_empty() || !self.pods.is_empty();
        anything.then(|| CertificatePem {
            authority_certificate: text(&self.authority, AUTHORITY_CERTIFICATE),
            authority_key: text(&self.authority, AUTHORITY_KEY),
            roots: text(&self.pods, ROOTS),
            database_certificate: text(&self.pods, Side::Database.certificate()),
            database_key: text(&self.pods, Side::Database.key()),
            repo_host_certificate: text(&self.pods, Side::RepoHost.certificate()),
            repo_host_key: text(&self.pods, Side::RepoHost.key()),
        })
    }
}

/// The desired contents of the Secrets.
#[derive(Debug)]
pub struct Certificates {
    /// The certificates to apply; the stored ones if nothing is due.
    pub pem: CertificatePem,
    /// What was renewed, and why.
    pub actions: Vec<Action>,
    /// When each certificate expires: `authority`, `database`, `repo-host`.
    pub expiries: Vec<(&'static str, DateTime<Utc>)>,
    /// When the next step is due.
    pub next: DateTime<Utc>,
}

/// Why certificates could not be created.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot create certificates: {0}")]
pub struct CertificateError(String);

/// Performs the step that is due at `now`. `reloaded`: all running servers have loaded the stored certificates.
pub fn renew(
    cluster: &ValidatedCluster,
    settings: &Settings,
    stored: Option<&Stored>,
    reloaded: bool,
    now: DateTime<Utc>,
) -> Result<Certificates, CertificateError> {
    let subject = Subject::of(cluster, settings);
    let stored = stored.and_then(Stored::what_is_left);
    let (mut pem, before) = match stored {
        Some(pem) => (pem.clone(), Some(pem)),
        None => (make::everything(&subject, now)?, None),
    };
    let mut actions = Vec::new();
    if before.is_none() {
        actions
            .push(Action::new("CertificatesCreated", "Created certificate authority, keys and certificates"));
    }
    if let Some(before) = &before {
        renew_authority(&mut pem, now, &mut actions)?;
        renew_leaves(&mut pem, before, &subject, reloaded, now, &mut actions)?;
        choose_roots(&mut pem, before, reloaded, now, &mut actions);
    }
    finished(pem, actions, now)
}

/// A new authority if the old one is unusable, or two thirds of its lifetime are over.
fn renew_authority(
    pem: &mut CertificatePem,
    now: DateTime<Utc>,
    actions: &mut Vec<Action>,
) -> Result<(), CertificateError> {
    let usable = Root::read(&pem.authority_certificate).filter(|root| root.has_key(&pem.authority_key));
    let due = usable.is_none_or(|root| root.life.is_due(now) || root.life.is_ahead(now));
    if due {
        let authority = make::authority(now)?;
        pem.authority_certificate = authority.certificate;
        pem.authority_key = authority.key;
        actions.push(Action::new(
            "CertificateAuthorityRenewed",
            "Created a new certificate authority; the previous one remains trusted until every server has loaded the new one",
        ));
    }
    Ok(())
}

fn renew_leaves(
    pem: &mut CertificatePem,
    before: &CertificatePem,
    subject: &Subject,
    reloaded: bool,
    now: DateTime<Utc>,
    actions: &mut Vec<Action>,
) -> Result<(), CertificateError> {
    let trusted = read::split(&before.roots);
    // Servers that have loaded the stored certificates trust the authority if it was among the roots.
    let trusted_everywhere = reloaded && trusted.contains(&pem.authority_certificate.trim().to_owned());
    let authority = pem.authority_certificate.clone();
    for (name, certificate, key) in [
        ("database", &mut pem.database_certificate, &mut pem.database_key),
        ("repo host", &mut pem.repo_host_certificate, &mut pem.repo_host_key),
    ] {
        let why = match Leaf::read(certificate) {
            Some(leaf) => match leaf.flaw(key, subject, &trusted, now) {
                Some(flaw) => Some(flaw),
                None if leaf.life.is_due(now) => {
                    let last_moment = leaf.life.is_over(now, LAST_MOMENT);
                    (trusted_everywhere || last_moment).then_some("two thirds of its lifetime have passed")
                }
                None => {
                    let of_another = trusted_everywhere && !leaf.is_issued_by(&authority);
                    of_another.then_some("it was issued by the previous authority")
                }
            },
            None => Some("it is unreadable"),
        };
        let Some(why) = why else { continue };
        let leaf = make::leaf(subject, &pem.authority_certificate, &pem.authority_key, now)?;
        *certificate = leaf.certificate;
        *key = leaf.key;
        actions.push(Action::new(
            "CertificatesRenewed",
            format!("Renewed the certificate of the {name}: {why}"),
        ));
    }
    Ok(())
}

/// The authority, and older roots that are still needed.
fn choose_roots(
    pem: &mut CertificatePem,
    before: &CertificatePem,
    reloaded: bool,
    now: DateTime<Utc>,
    actions: &mut Vec<Action>,
) {
    let leaves = [
        &pem.database_certificate,
        &pem.repo_host_certificate,
        &before.database_certificate,
        &before.repo_host_certificate,
    ];
    let leaves: Vec<Leaf> = leaves.into_iter().filter_map(|leaf| Leaf::read(leaf)).collect();
    let needed = |root: &String| {
        let valid = Root::read(root).is_some_and(|root| !root.life.has_ended(now));
        valid && (!reloaded || leaves.iter().any(|leaf| leaf.is_issued_by(root)))
    };
    let authority = pem.authority_certificate.trim().to_owned();
    let stored = read::split(&before.roots);
    let old = stored.iter().filter(|root| **root != authority);
    let (kept, dropped): (Vec<&String>, Vec<&String>) = old.partition(|root| needed(root));
    if !dropped.is_empty() {
        actions.push(Action::new(
            "CertificateAuthorityRetired",
            "The previous certificate authority is no longer trusted",
        ));
    }
    let roots: Vec<&str> =
        std::iter::once(authority.as_str()).chain(kept.into_iter().map(String::as_str)).collect();
    pem.roots = format!("{}\n", roots.join("\n"));
}

fn finished(
    pem: CertificatePem,
    actions: Vec<Action>,
    now: DateTime<Utc>,
) -> Result<Certificates, CertificateError> {
    let unreadable = || CertificateError("a newly created certificate is unreadable".to_owned());
    let authority = Root::read(&pem.authority_certificate).ok_or_else(unreadable)?.life;
    let database = Leaf::read(&pem.database_certificate).ok_or_else(unreadable)?.life;
    let repo_host = Leaf::read(&pem.repo_host_certificate).ok_or_else(unreadable)?.life;
    // A renewal that was postponed is due at its last moment; earlier, the reload of the servers triggers the next
    // reconcile.
    let due = |life: Life| if life.is_due(now) { life.after(LAST_MOMENT) } else { life.due() };
    let next = authority.due().min(due(database)).min(due(repo_host));
    let expiries =
        vec![("authority", authority.end), ("database", database.end), ("repo-host", repo_host.end)];
    Ok(Certificates { pem, actions, expiries, next })
}
