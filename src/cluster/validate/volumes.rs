//! Volumes of repos, compared with what exists.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::annotations::{field, given};
use super::fields::{no_key, optional, unused};
use super::parts::Part;
use super::scope::{Scope, VOLUME_ACCESS_MODES};
use super::{Checks, object_name};
use crate::cluster::finding::codes;
use crate::cluster::labels::PREFIX;
use crate::cluster::quantity;
use crate::cluster::references::Lookup;
use crate::cluster::resource::{Pgbackrest, Postgresql, RepoSpec};
use crate::cluster::validated::{AccessMode, RepoNumber, Storage, ValidatedRepo, Volume};

/// The volume of a repo; `None` if there is a finding.
pub(super) fn look(
    repo: &RepoSpec,
    number: RepoNumber,
    path: &str,
    checks: &mut Checks<'_>,
) -> Option<Volume> {
    no_key(repo, "pvc", path, checks);
    for (field, given) in [
        ("resource", &repo.resource),
        ("endpoint", &repo.endpoint),
        ("region", &repo.region),
        ("account", &repo.account),
    ] {
        unused(given.as_deref(), path, field, "a volume does not need it", checks);
    }
    let given = repo.volume.clone().unwrap_or_default();
    let path = format!("{path}.volume");
    for (field, present) in [
        ("iops", given.iops.is_some()),
        ("throughput", given.throughput.is_some()),
        ("subPath", given.sub_path.is_some()),
    ] {
        unused(present.then_some("x"), &path, field, "use a storage class that provides it", checks);
    }
    let size = size(given.size.as_deref().unwrap_or_default(), &path, checks);
    // Charts write an empty class if none was chosen.
    let class = given.storage_class.as_deref().filter(|class| !class.trim().is_empty());
    let storage_class = match optional(class, &path, "storageClass", checks)? {
        Some(class) => Some(object_name(&class, &format!("{path}.storageClass"), checks)?),
        None => None,
    };
    let selector = match given.selector.map(serde_json::from_value::<LabelSelector>).transpose() {
        Ok(selector) => selector,
        Err(error) => {
            checks.note(
                &codes::FIELD_MALFORMED,
                format!("{path}.selector"),
                format!("is not a label selector: {error}"),
                "use matchLabels or matchExpressions, as in a PersistentVolumeClaim",
            );
            return None;
        }
    };
    let access_modes = vec![AccessMode::ReadWriteOnce];
    let volume = Volume { size: size?, storage_class, selector, access_modes };
    compare_with_cluster(&volume, number, &path, checks);
    Some(volume)
}

fn size(size: &str, path: &str, checks: &mut Checks<'_>) -> Option<String> {
    if quantity::thousandths(size).is_some_and(|size| size >= 1000) && !size.ends_with('m') {
        return Some(size.to_owned());
    }
    checks.note_value(
        &codes::VOLUME_SIZE_INVALID,
        format!("{path}.size"),
        size,
        "is not a valid volume size",
        "use a quantity such as 15Gi",
    );
    None
}

/// Compares with the existing volume and its class, if they were looked up.
fn compare_with_cluster(volume: &Volume, number: RepoNumber, path: &str, checks: &mut Checks<'_>) {
    let mut expands = None;
    if let Some(class) = &volume.storage_class {
        match checks.references.storage_classes.get(class).unwrap_or(&Lookup::NotChecked) {
            Lookup::Found(facts) => expands = Some(facts.allows_expansion),
            Lookup::Missing => checks.note_value(
                &codes::STORAGE_CLASS_MISSING,
                format!("{path}.storageClass"),
                class,
                "does not exist",
                "use a class listed by `kubectl get storageclass`, or omit the field to use the default class",
            ),
            Lookup::NotChecked => checks.note_value(
                &codes::STORAGE_CLASS_NOT_CHECKED,
                format!("{path}.storageClass"),
                class,
                "was not checked",
                "check with `kubectl get storageclass`",
            ),
        }
    }
    let Some(existing) = checks.references.volumes.get(&number) else { return };
    let field = format!("{path}.size");
    let (wanted, has) = (quantity::thousandths(&volume.size), quantity::thousandths(&existing.size));
    if wanted < has {
        checks.note_value(
            &codes::VOLUME_SHRINKS,
            field,
            &volume.size,
            format!("is less than the current size of the volume, {}", existing.size),
            format!(
                "set it to {} again; for a smaller volume, add another repo and remove this one",
                existing.size
            ),
        );
    } else if wanted > has && expands == Some(false) {
        checks.note_value(
            &codes::VOLUME_CANNOT_GROW,
            field,
            &volume.size,
            format!("is more than the current size of the volume ({}), but its storage class does not allow expansion", existing.size),
            "set allowVolumeExpansion on the class if its driver supports it, or add a repo with a larger volume",
        );
    }
    if volume.storage_class.is_some()
        && existing.storage_class.is_some()
        && volume.storage_class != existing.storage_class
    {
        checks.note_value(
            &codes::VOLUME_CLASS_FIXED,
            format!("{path}.storageClass"),
            volume.storage_class.as_deref().unwrap_or_default(),
            format!(
                "differs from the class of the existing volume, {}",
                existing.storage_class.as_deref().unwrap_or_default()
            ),
            "the class of a volume cannot change: use the existing one, or add a repo with another volume",
        );
    }
}

/// Sets the access modes that annotations ask for. With an error in them, a volume is not created, since they could not be
/// changed afterwards.
pub(super) fn access_modes(
    resource: &Postgresql,
    section: &Pgbackrest,
    repos: &mut [ValidatedRepo],
    checks: &mut Checks<'_>,
) {
    // By annotation, so that each is reported once.
    let mut wrong: BTreeMap<&str, (&str, Vec<RepoNumber>)> = BTreeMap::new();
    for repo in repos {
        let number = repo.number;
        let Storage::Volume(volume) = &mut repo.storage else { continue };
        let of_repo = Scope { repo: Some(number), backup_type: None }.annotation(VOLUME_ACCESS_MODES);
        let Some((annotation, text)) =
            annotated(resource, &of_repo).or_else(|| annotated(resource, VOLUME_ACCESS_MODES))
        else {
            continue;
        };
        let existing = checks.references.volumes.get(&number).map(|existing| existing.access_modes.clone());
        match read_modes(text) {
            Ok(modes) => {
                if let Some(existing) = existing {
                    compare_modes(&modes, existing, (annotation, text), number, checks);
                }
                volume.access_modes = modes;
            }
            Err(problem) => {
                let (_, new) = wrong.entry(annotation).or_insert((problem, Vec::new()));
                new.extend(existing.is_none().then_some(number));
            }
        }
    }
    for (annotation, (problem, new)) in wrong {
        let part = if new.is_empty() { Part::Field } else { Part::Repos(new) };
        checks.within(part, |checks| {
            checks.note_value(
                &codes::ANNOTATION_INVALID,
                field(annotation),
                given(resource, annotation).unwrap_or_default(),
                problem,
                "use ReadWriteOnce, ReadWriteMany or ReadWriteOncePod, or several separated by commas",
            );
        });
    }
    for key in resource.metadata.annotations.iter().flatten().map(|(key, _)| key) {
        let Some(annotation) = key.strip_prefix(PREFIX) else { continue };
        let scope = Scope::of(annotation, VOLUME_ACCESS_MODES).filter(|scope| scope.backup_type.is_none());
        let is_about = |repo: &RepoSpec| {
            let number = repo.name.as_deref().and_then(RepoNumber::of_name);
            repo.storage.as_deref() == Some("pvc")
                && (scope.is_some_and(|scope| scope.repo.is_none() || scope.repo == number))
        };
        if scope.is_some() && !section.repos.iter().any(is_about) {
            checks.note(
                &codes::FIELD_NOT_USED,
                field(annotation),
                "has no effect, since it is about no volume",
                "remove it",
            );
        }
    }
}

/// Combinations that Kubernetes takes, and with which the repo host can write.
fn read_modes(text: &str) -> Result<Vec<AccessMode>, &'static str> {
    let mut modes = Vec::new();
    for word in text.split(',').map(str::trim) {
        let known = AccessMode::ALL.into_iter().find(|mode| mode.as_str() == word);
        let mode = known.ok_or("contains a word that is not an access mode of Kubernetes")?;
        if modes.contains(&mode) {
            return Err("contains an access mode twice");
        }
        modes.push(mode);
    }
    if modes.len() > 1 && modes.contains(&AccessMode::ReadWriteOncePod) {
        return Err("combines ReadWriteOncePod with others, which Kubernetes rejects");
    }
    if modes == [AccessMode::ReadOnlyMany] {
        return Err("does not let the repo host write");
    }
    Ok(modes)
}

/// An annotation without its prefix, and its value.
fn annotated<'a>(resource: &'a Postgresql, name: &str) -> Option<(&'a str, &'a str)> {
    let (key, value) = resource.metadata.annotations.as_ref()?.get_key_value(&format!("{PREFIX}{name}"))?;
    Some((key.strip_prefix(PREFIX)?, value))
}

fn compare_modes(
    modes: &[AccessMode],
    mut existing: Vec<String>,
    (annotation, text): (&str, &str),
    repo: RepoNumber,
    checks: &mut Checks<'_>,
) {
    let mut wanted: Vec<&str> = modes.iter().map(|mode| mode.as_str()).collect();
    wanted.sort_unstable();
    existing.sort_unstable();
    if wanted != existing {
        checks.note_value(
            &codes::VOLUME_MODES_FIXED,
            field(annotation),
            text,
            format!("differs from the access modes of the existing volume of {repo}, {}", existing.join(",")),
            "the access modes of a volume cannot change: use the existing ones, or add a repo with another volume",
        );
    }
}
