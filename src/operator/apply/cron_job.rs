//! Suspending and waking. A person's `suspend` is never ours to undo.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::server::{Server, Trouble};
use crate::cluster::labels::SUSPENDED_BECAUSE;
use crate::operator::kinds::ObjectPath;

/// Why we suspended it, if we did.
pub(super) fn reason(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(SUSPENDED_BECAUSE).map(String::as_str)
}

/// Whether anybody has.
pub(super) fn is_suspended(cron_job: &DynamicObject) -> bool {
    cron_job.data.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or_default()
}

/// Suspends it, unless it is suspended already for the same reason or by a person. `true`: it was awake.
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

/// Makes one that a person had suspended before. The field is set apart from what is applied, so that it stays when we
/// have no reason of our own any more.
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

/// Wakes what still says that we suspended it. What applying alone has suspended wakes when it is no longer applied;
/// what `suspend` has written stays until it is taken back.
pub(super) async fn wake(
    server: &Server,
    place: ObjectPath<'_>,
    after: ObjectMeta,
) -> Result<ObjectMeta, Trouble> {
    let patch = json!({
        "metadata": {"resourceVersion": after.resource_version, "annotations": {SUSPENDED_BECAUSE: null}},
        "spec": {"suspend": false},
    });
    Ok(server.merge(place, &patch).await?)
}
