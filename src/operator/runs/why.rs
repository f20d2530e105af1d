//! Why a Job has ended without a result, as well as its pods tell. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use crate::state::proofs::{MAX_TEXT, ReasonClass};
use crate::text;

/// Why a container without an image is waiting.
const NO_IMAGE: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];

/// The class, and a sentence.
pub(in crate::operator) type Why = (ReasonClass, String);

/// Of a Job whose pods are gone.
pub(in crate::operator) fn of_nothing(is_time_up: bool) -> Why {
    if is_time_up {
        return (
            ReasonClass::Deadline,
            "its pod did not end in time: look at the Events of its namespace".to_owned(),
        );
    }
    (
        ReasonClass::Interrupted,
        "its pod is gone without a result: it was deleted, or never created".to_owned(),
    )
}

/// Of a Job whose last pod has this status.
pub(in crate::operator) fn of_status(status: &PodStatus, is_time_up: bool) -> Why {
    if let Some(why) = of_waiting(status) {
        return why;
    }
    let failed = containers(status).find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then_some((container.name.as_str(), ended.exit_code, ended.reason.as_deref()))
    });
    match failed {
        Some((name, _, Some("OOMKilled"))) => {
            (ReasonClass::Interrupted, format!("container {name} needs more memory: raise its limit"))
        }
        _ if is_time_up => of_nothing(true),
        Some((name, code, _)) => (
            ReasonClass::Unclassified,
            format!("container {name} ended with exit code {code} and without a result: see its log"),
        ),
        None => (ReasonClass::Unclassified, "its pod ended without a result: see its log".to_owned()),
    }
}

/// Why a pod did not start, or had to go. Its Job ends later, and then the pod is gone.
pub(in crate::operator) fn of_waiting(status: &PodStatus) -> Option<Why> {
    if containers(status).any(waits_for_image) {
        return Some((ReasonClass::Configuration, "its image cannot be pulled: check its name".to_owned()));
    }
    let is_unscheduled = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if is_unscheduled {
        let why = "no node could run its pod: check its volume, resources and placement";
        return Some((ReasonClass::Configuration, why.to_owned()));
    }
    (status.reason.as_deref() == Some("Evicted")).then(|| {
        let message = status.message.as_deref().unwrap_or("its node ran out of something");
        (ReasonClass::NoSpace, format!("its pod was evicted: {}", text::one_line(message, MAX_TEXT)))
    })
}

/// Whether a container runs. Once one has run, what kept the pod from starting is over.
pub(in crate::operator) fn has_started(pod: &Pod) -> bool {
    let mut states = pod.status.iter().flat_map(containers).filter_map(|container| container.state.as_ref());
    states.any(|state| state.running.is_some())
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn waits_for_image(container: &ContainerStatus) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    waiting.and_then(|waiting| waiting.reason.as_deref()).is_some_and(|reason| NO_IMAGE.contains(&reason))
}
