//! The pod of a test.

use std::collections::BTreeMap;

use super::{Checks, named};
use crate::cluster::finding::codes;
use crate::cluster::names;
use crate::cluster::restore_test::resource;
use crate::cluster::restore_test::validated::Pod;
use crate::cluster::validate::{object_name, pods};

const PATH: &str = "spec.pod";

pub(super) fn look(given: &resource::Pod, checks: &mut Checks<'_>) -> Pod {
    let tolerations = pods::typed_list(&given.tolerations, &format!("{PATH}.tolerations"), checks);
    let affinity = given.affinity.as_ref();
    let resources = given.resources.as_ref();
    Pod {
        image: image(given.image.as_deref(), checks),
        image_pull_secrets: pull_secrets(&given.image_pull_secrets, checks),
        service_account: named(given.service_account.as_deref(), &format!("{PATH}.serviceAccount"), checks),
        resources: resources.and_then(|given| pods::resources(given, &format!("{PATH}.resources"), checks)),
        labels: pods::free_labels(&given.labels, &format!("{PATH}.labels"), checks),
        annotations: pods::annotations(&given.annotations, &format!("{PATH}.annotations"), checks),
        node_selector: node_selector(&given.node_selector, checks),
        affinity: affinity.and_then(|given| pods::typed(given, &format!("{PATH}.affinity"), checks)),
        tolerations: Some(tolerations).filter(|tolerations| !tolerations.is_empty()),
        priority_class: named(given.priority_class.as_deref(), &format!("{PATH}.priorityClass"), checks),
    }
}

fn image(given: Option<&str>, checks: &mut Checks<'_>) -> Option<String> {
    let given = given.filter(|image| !image.is_empty())?;
    if !names::is_image(given) {
        checks.note_value(
            &codes::FIELD_MALFORMED,
            format!("{PATH}.image"),
            given,
            "is not a valid image reference",
            "use registry/name:tag, without spaces or quotes",
        );
    }
    Some(given.to_owned())
}

fn pull_secrets(given: &[String], checks: &mut Checks<'_>) -> Vec<String> {
    for (index, name) in given.iter().enumerate() {
        object_name(name, &format!("{PATH}.imagePullSecrets[{index}]"), checks);
    }
    given.to_vec()
}

fn node_selector(given: &BTreeMap<String, String>, checks: &mut Checks<'_>) -> BTreeMap<String, String> {
    for (key, value) in given {
        pods::is_label(key, value, &format!("{PATH}.nodeSelector.{key}"), checks);
    }
    given.clone()
}
