//! Suspends and resumes CronJobs. A `suspend` that a user has set is never reverted.

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::server::{Server, Trouble};
use crate::cluster::labels::SUSPENDED_BECAUSE;
use crate::operator::kinds::ObjectPath;

/// The reason for our suspension, if it is ours.
pub(super) fn reason(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(SUSPENDED_BECAUSE).map(String::as_str)
}

/// Whether it is suspended, by anyone.
pub(super) fn is_suspended(cron_job: &DynamicObject) -> bool {
    cron_job.data.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or_default()
}

/// Suspends it, unless it is already suspended for the same reason or by a user. Returns whether it was active.
pub(super) async fn suspend(
    server: &Server,
    place: ObjectPath<'_>,
    known: &ObjectMeta,
    because: &str,
) -> Result<bool, Trouble> {
    if reason(known) == Some(because) {
        return Ok(false);
    }
    let Some(live) = server.get(place).await? else { return Ok(false) };
    if live.metadata.uid != known.uid {
        return Ok(false);
    }
    let is_suspended = is_suspended(&live);
    if is_suspended && reason(&live.metadata).is_none() {
        return Ok(false);
    }
    let patch = json!({
        "metadata": {
            "resourceVersion": live.metadata.resource_version,
            "annotations": {SUSPENDED_BECAUSE: because},
        },
        "spec": {"suspend": true},
    });
    server.merge(place, &patch).await?;
    Ok(!is_suspended)
}

/// Creates one that a user had suspended before. The field is set separately from the applied ones, so that it stays
/// when we have no reason of our own any more.
pub(super) async fn make_suspended(
    server: &Server,
    place: ObjectPath<'_>,
    body: &Value,
) -> Result<ObjectMeta, Trouble> {
    let mut awake = body.clone();
    let spec = awake.get_mut("spec").and_then(Value::as_object_mut);
    let ours = spec.and_then(|spec| spec.remove("suspend"));
    let made = server.apply(place, &awake, None).await?;
    let patch = json!({"metadata": {"resourceVersion": made.resource_version}, "spec": {"suspend": true}});
    let made = server.merge(place, &patch).await?;
    match ours {
        Some(_) => server.apply(place, body, made.uid.as_deref()).await,
        None => Ok(made),
    }
}

/// Removes our reason, and resumes one that is not to be suspended for another. A suspension that was applied ends when it is
/// no longer applied; one that `suspend` has written stays until it is reverted.
pub(super) async fn wake(
    server: &Server,
    place: ObjectPath<'_>,
    after: ObjectMeta,
    desired: &CronJob,
) -> Result<ObjectMeta, Trouble> {
    let stays = desired.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default();
    let patch = json!({
        "metadata": {"resourceVersion": after.resource_version, "annotations": {SUSPENDED_BECAUSE: null}},
        "spec": {"suspend": stays},
    });
    Ok(server.merge(place, &patch).await?)
}
