//! The calls that writing needs, each with a deadline, and what their failures mean.

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

/// How long a deleted object may take to be gone before we go on without it.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const GONE_STEP: Duration = Duration::from_millis(250);

/// Why an object is not as desired.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody was faster: look again.
    Moved(CallError),
    /// The API server does not take it. The other objects may fare better.
    Refused(CallError),
    /// The API server cannot be asked at the moment.
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

/// What becomes of what depends on a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dependents {
    /// They stay.
    Stay,
    /// They go too, a little later.
    Go,
}

/// The API server, as far as writing goes.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: kube::Client,
}

impl Server {
    fn api(&self, place: ObjectPath<'_>) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), place.namespace, &place.kind.resource())
    }

    /// Labels, owners and so on.
    pub(super) async fn metadata(&self, place: ObjectPath<'_>) -> Result<Option<Arc<ObjectMeta>>, CallError> {
        let api = self.api(place);
        let found =
            call(format!("look for {place}"), CALL_DEADLINE, api.get_metadata_opt(place.name)).await?;
        Ok(found.map(|found| Arc::new(found.metadata)))
    }

    /// The whole object.
    pub(super) async fn get(&self, place: ObjectPath<'_>) -> Result<Option<DynamicObject>, CallError> {
        let api = self.api(place);
        call(format!("read {place}"), CALL_DEADLINE, api.get_opt(place.name)).await
    }

    /// Applies. `uid`: forces the fields of exactly this object; without it a new object is made.
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

    /// The API server calls it invalid to apply to an object with another UID than the one that is meant.
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

    /// What `apply` would lead to.
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

    /// Changes single fields. `patch` says which version of the object it is for.
    pub(super) async fn merge(&self, place: ObjectPath<'_>, patch: &Value) -> Result<ObjectMeta, CallError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(place);
        let patch = Patch::Merge(patch);
        let patched = api.patch_metadata(place.name, &params, &patch);
        call(format!("change {place}"), CALL_DEADLINE, patched).await.map(|after| after.metadata)
    }

    /// Deletes exactly the object with this UID. `false`: it was gone.
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

    /// Waits until no object with this UID is there, for a while. `false`: it still is.
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

/// The UID in the body makes the API server refuse to touch another object that has come to that name.
fn applying(body: &Value, uid: Option<&str>) -> (PatchParams, Patch<Value>) {
    let mut body = body.clone();
    let params = PatchParams::apply(FIELD_MANAGER);
    let Some(uid) = uid else { return (params, Patch::Apply(body)) };
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::from(uid));
    }
    (params.force(), Patch::Apply(body))
}
