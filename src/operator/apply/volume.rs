//! Volumes: created once, labelled when taken over, expanded, but never shrunk or deleted.
//!
//! An existing claim is never applied: most of its fields are immutable, and the user's choices have priority.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use serde_json::{Value, json};

use super::findings;
use super::server::{Server, Trouble};
use crate::cluster::finding::Finding;
use crate::cluster::quantity;
use crate::kubernetes::client::{CALL_DEADLINE, CallFailure, call};
use crate::operator::kinds::ObjectPath;

/// The result for an existing claim.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its current metadata.
    pub(super) after: ObjectMeta,
    /// Old and new size, if it was expanded.
    pub(super) grown: Option<(String, String)>,
    /// Why it does not have the desired size.
    pub(super) finding: Option<Finding>,
}

/// Sets labels and size of an existing claim. `take_over`: it had another owner.
pub(super) async fn keep(
    server: &Server,
    place: ObjectPath<'_>,
    desired: &PersistentVolumeClaim,
    take_over: bool,
) -> Result<Option<Kept>, Trouble> {
    let Some(live) = server.get(place).await? else { return Ok(None) };
    let (wanted, has) = (size(&json!(desired)).to_owned(), size(&live.data).to_owned());
    let is_smaller = quantity::thousandths(&wanted) > quantity::thousandths(&has);
    let mut finding = None;
    let mut grown = None;
    if is_smaller && !is_bound(&live.data) {
        let why = format!("should grow to {wanted}, but is not bound to a volume yet");
        finding = Some(findings::waits(place, &why, "it grows once it is bound; check its Events"));
    } else if is_smaller {
        match fixed_class(server, &live.data).await? {
            // If the resource names the class, `validate` checks it.
            Some(class) if class_of(&json!(desired)).is_none() => {
                finding = Some(findings::cannot_grow(place, &wanted, &has, &class));
            }
            Some(_) => {}
            None => grown = Some((has, wanted)),
        }
    }
    let labels = missing_labels(&live.metadata, &desired.metadata);
    if labels.is_none() && grown.is_none() && !take_over {
        return Ok(Some(Kept { after: live.metadata, grown, finding }));
    }
    let mut metadata = serde_json::Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(live.metadata.resource_version));
    metadata.extend(labels.map(|labels| ("labels".to_owned(), labels)));
    // If an owner were deleted, the backups would be deleted too.
    metadata.extend(take_over.then(|| ("ownerReferences".to_owned(), Value::Null)));
    let size = grown.as_ref().map(|(_, wanted)| json!({"resources": {"requests": {"storage": wanted}}}));
    let patch = match size {
        Some(spec) => json!({"metadata": metadata, "spec": spec}),
        None => json!({"metadata": metadata}),
    };
    let after = server.merge(place, &patch).await?;
    Ok(Some(Kept { after, grown, finding }))
}

/// The storage class, if it does not allow expansion. `None` if it does, or if that is unknown.
async fn fixed_class(server: &Server, claim: &Value) -> Result<Option<String>, Trouble> {
    let Some(class) = class_of(claim) else { return Ok(None) };
    let api: Api<StorageClass> = Api::all(server.client.clone());
    match call(format!("read StorageClass {class}"), CALL_DEADLINE, api.get_opt(class)).await {
        Ok(Some(found)) if found.allow_volume_expansion == Some(true) => Ok(None),
        Ok(_) => Ok(Some(class.to_owned())),
        // Then the API server decides whether it can be expanded.
        Err(error) if error.failure == CallFailure::Forbidden => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Kubernetes expands only bound claims.
fn is_bound(claim: &Value) -> bool {
    claim.pointer("/status/phase").and_then(Value::as_str) == Some("Bound")
}

fn size(claim: &Value) -> &str {
    claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str).unwrap_or_default()
}

fn class_of(claim: &Value) -> Option<&str> {
    claim.pointer("/spec/storageClassName").and_then(Value::as_str).filter(|class| !class.is_empty())
}

/// A patch with the missing labels.
fn missing_labels(live: &ObjectMeta, desired: &ObjectMeta) -> Option<Value> {
    let has =
        |key: &String, value: &String| live.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value);
    let missing: serde_json::Map<String, Value> = desired
        .labels
        .iter()
        .flatten()
        .filter(|(key, value)| !has(key, value))
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect();
    (!missing.is_empty()).then_some(Value::Object(missing))
}
