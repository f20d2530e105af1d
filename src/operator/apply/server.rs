//! The API calls for writing, each with a deadline, and the meaning of their failures.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use serde_json::Value;

use super::FIELD_MANAGER;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, CallFailure, call};
use crate::operator::kinds::ObjectPath;

/// How long to wait for a deleted object to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const GONE_STEP: Duration = Duration::from_millis(250);

/// Why an object is not as desired.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The object has changed: read it again.
    Moved(CallError),
    /// The API server rejects it. Other objects may succeed.
    Refused(CallError),
    /// The API server is unavailable.
    Broken(CallError),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error.failure {
            CallFailure::Conflict | CallFailure::AlreadyExists | CallFailure::NotFound => Self::Moved(error),
            CallFailure::Forbidden | CallFailure::Invalid | CallFailure::Other => Self::Refused(error),
            CallFailure::Throttled
            | CallFailure::Unavailable
            | CallFailure::Timeout
            | CallFailure::Transport => Self::Broken(error),
        }
    }
}

/// What happens to dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dependents {
    /// They stay.
    Stay,
    /// They are deleted too, a little later.
    Go,
}

/// Writes to the API server.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: kube::Client,
}

impl Server {
    fn api(&self, place: ObjectPath<'_>) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), place.namespace, &place.kind.resource())
    }

    /// Reads the metadata.
    pub(super) async fn metadata(&self, place: ObjectPath<'_>) -> Result<Option<Arc<ObjectMeta>>, CallError> {
        let api = self.api(place);
        let found =
            call(format!("look for {place}"), CALL_DEADLINE, api.get_metadata_opt(place.name)).await?;
        Ok(found.map(|found| Arc::new(found.metadata)))
    }

    /// Reads the whole object.
    pub(super) async fn get(&self, place: ObjectPath<'_>) -> Result<Option<DynamicObject>, CallError> {
        let api = self.api(place);
        call(format!("read {place}"), CALL_DEADLINE, api.get_opt(place.name)).await
    }

    /// Applies. With `uid`, forces the fields of exactly this object; without it, creates a new object.
    pub(super) async fn apply(
        &self,
        place: ObjectPath<'_>,
        body: &Value,
        uid: Option<&str>,
    ) -> Result<ObjectMeta, Trouble> {
        let (params, patch) = applying(body, uid);
        let api = self.api(place);
        let patched = api.patch_metadata(place.name, &params, &patch);
        match call(format!("apply {place}"), CALL_DEADLINE, patched).await {
            Ok(after) => Ok(after.metadata),
            Err(error) => Err(self.trouble(place, uid, error).await?),
        }
    }

    /// Applying to an object with another UID is `Invalid`.
    async fn trouble(
        &self,
        place: ObjectPath<'_>,
        uid: Option<&str>,
        error: CallError,
    ) -> Result<Trouble, CallError> {
        if uid.is_none() || error.failure != CallFailure::Invalid {
            return Ok(error.into());
        }
        let live = self.metadata(place).await?;
        let is_meant = live.is_some_and(|live| live.uid.as_deref() == uid);
        Ok(if is_meant { Trouble::Refused(error) } else { Trouble::Moved(error) })
    }

    /// The result of `apply` as a dry run.
    pub(super) async fn rehearse(
        &self,
        place: ObjectPath<'_>,
        body: &Value,
        uid: &str,
    ) -> Result<DynamicObject, Trouble> {
        let (params, patch) = applying(body, Some(uid));
        let params = PatchParams { dry_run: true, ..params };
        let api = self.api(place);
        match call(format!("apply {place}"), CALL_DEADLINE, api.patch(place.name, &params, &patch)).await {
            Ok(after) => Ok(after),
            Err(error) => Err(self.trouble(place, Some(uid), error).await?),
        }
    }

    /// Changes single fields. `patch` contains the version of the object.
    pub(super) async fn merge(&self, place: ObjectPath<'_>, patch: &Value) -> Result<ObjectMeta, CallError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(place);
        let patch = Patch::Merge(patch);
        let patched = api.patch_metadata(place.name, &params, &patch);
        call(format!("change {place}"), CALL_DEADLINE, patched).await.map(|after| after.metadata)
    }

    /// Deletes exactly the object with this UID. `false`: it did not exist.
    pub(super) async fn delete(
        &self,
        place: ObjectPath<'_>,
        uid: &str,
        dependents: Dependents,
    ) -> Result<bool, CallError> {
        let params = match dependents {
            Dependents::Stay => DeleteParams::orphan(),
            Dependents::Go => DeleteParams::background(),
        };
        let params =
            params.preconditions(Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() });
        let api = self.api(place);
        match call(format!("delete {place}"), CALL_DEADLINE, api.delete(place.name, &params)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until no object with this UID exists. `false`: it still exists.
    pub(super) async fn is_gone(&self, place: ObjectPath<'_>, uid: &str) -> Result<bool, CallError> {
        let asked = async {
            loop {
                let there = self.metadata(place).await?;
                if there.is_none_or(|there| there.uid.as_deref() != Some(uid)) {
                    return Ok(());
                }
                tokio::time::sleep(GONE_STEP).await;
            }
        };
        match tokio::time::timeout(GONE_WITHIN, asked).await {
            Ok(asked) => asked.map(|()| true),
            Err(_elapsed) => Ok(false),
        }
    }
}

/// With the UID in the body, the API server rejects changes to another object of the same name.
fn applying(body: &Value, uid: Option<&str>) -> (PatchParams, Patch<Value>) {
    let mut body = body.clone();
    let params = PatchParams::apply(FIELD_MANAGER);
    let Some(uid) = uid else { return (params, Patch::Apply(body)) };
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::from(uid));
    }
    (params.force(), Patch::Apply(body))
}
