//! All `postgresql` resources of some namespaces, read once.

use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;

use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

use super::scope::{Scope, postgresql};

/// Resources that the API server hands over at once.
const PAGE: u32 = 250;
/// Ten times the fleet that this program is made for.
const MOST: usize = 10_000;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The API server did not hand it over.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There are too many.
    #[error("more than {MOST} postgresql resources in {0}")]
    TooMany(Scope),
}

/// In the order of the scopes. Each call has a deadline, and there are at most so many resources.
pub async fn list(client: &Client, scopes: &[Scope]) -> Result<Vec<DynamicObject>, ListError> {
    let mut found = Vec::new();
    for scope in scopes {
        let api: Api<DynamicObject> = scope.api(client, &postgresql());
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let what = format!("list postgresql resources in {scope}");
            let page = call(what, CALL_DEADLINE, api.list(&params)).await?;
            found.extend(page.items);
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else { break };
            if found.len() >= MOST {
                return Err(ListError::TooMany(scope.clone()));
            }
            params.continue_token = Some(token);
        }
    }
    Ok(found)
}
