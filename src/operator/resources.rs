//! Lists all `postgresql` resources, or those of another kind, of some namespaces once.

use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject};

use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

use super::scope::{Scope, postgresql};

/// Page size of lists.
const PAGE: u32 = 250;
/// More than one operator manages.
const MOST: usize = 10_000;

/// Why listing failed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The API server returned an error.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There are too many resources.
    #[error("more than {MOST} {0} resources in {1}")]
    TooMany(String, Scope),
}

/// In the order of the scopes. Each call has a deadline, and the number of resources is limited.
pub async fn list(client: &Client, scopes: &[Scope]) -> Result<Vec<DynamicObject>, ListError> {
    list_of(client, scopes, &postgresql()).await
}

/// The same of another kind.
pub(super) async fn list_of(
    client: &Client,
    scopes: &[Scope],
    kind: &ApiResource,
) -> Result<Vec<DynamicObject>, ListError> {
    let mut found = Vec::new();
    for scope in scopes {
        let api: Api<DynamicObject> = scope.api(client, kind);
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let what = format!("list {} resources in {scope}", kind.kind);
            let page = call(what, CALL_DEADLINE, api.list(&params)).await?;
            found.extend(page.items);
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else { break };
            if found.len() >= MOST {
                return Err(ListError::TooMany(kind.kind.clone(), scope.clone()));
            }
            params.continue_token = Some(token);
        }
    }
    Ok(found)
}
