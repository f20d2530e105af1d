//! Writes the status of a restore test, and Events about it.

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, Resource};
use kube::runtime::events::{Event, Recorder, Reporter};
use serde_json::{Value, json};

use super::{RestoreTests, restore_test};
use crate::kubernetes::client::{CALL_DEADLINE, CallError, CallFailure, call};
use crate::operator::apply::FIELD_MANAGER;
use crate::operator::scope::Key;

/// Kubernetes rejects longer names of reporters.
const LONGEST_INSTANCE: usize = 128;

/// Writes the status to exactly this version of the resource: what another write has added must not be lost.
pub(super) async fn write(
    operator: &RestoreTests,
    key: &Key,
    object: &DynamicObject,
    now: &Value,
) -> Result<(), CallError> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(operator.client.clone(), &key.namespace, &restore_test());
    let metadata = json!({"uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version});
    let patch = Patch::Merge(json!({"metadata": metadata, "status": now}));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let what = format!("patch status of RestoreTest {}", key.name);
    let written = call(what, CALL_DEADLINE, api.patch_status(&key.name, &params, &patch)).await;
    let written =
        written.inspect_err(|error| operator.metrics.publish_failed("status", error.failure.as_str()));
    written.map(|_| ())
}

/// Publishes Events. Failures are logged and counted, and have no other effect.
pub(super) async fn publish(operator: &RestoreTests, key: &Key, object: &DynamicObject, events: Vec<Event>) {
    let instance: String = operator.instance.chars().take(LONGEST_INSTANCE).collect();
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance) };
    // One that lives longer drops Events with the same reason as repetitions.
    let recorder = Recorder::new(operator.client.clone(), reporter);
    let about = object.object_ref(&restore_test());
    let Key { namespace, name: restore_test } = key;
    for event in events {
        let (reason, note) = (&event.reason, event.note.as_deref().unwrap_or_default());
        tracing::info!(namespace, restore_test, reason, "{note}");
        let what = format!("publish Event {reason}");
        let Err(error) = call(what, CALL_DEADLINE, recorder.publish(&event, &about)).await else { continue };
        operator.metrics.publish_failed("event", error.failure.as_str());
        tracing::warn!(namespace, restore_test, %error, "Failed to publish Event");
        if error.failure != CallFailure::Invalid {
            return;
        }
    }
}
