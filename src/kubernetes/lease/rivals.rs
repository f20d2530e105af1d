//! Leases of the same name that divide the work into another number of shards. While one of them is held, its holder may
//! look after the same cluster.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use tokio::time::Instant;

use super::LeaseOptions;
use super::decision::{Decision, TOTAL_SHARDS, decide, holder};
use crate::kubernetes::client::{CallError, call};

/// The number of leases per page.
const PAGE: u32 = 500;
/// More leases than this many pages do not exist, even if the number of shards has often changed.
const MOST_PAGES: usize = 10;

/// The rivals that were seen last: their versions, and since when those are unchanged.
#[derive(Debug, Default)]
pub(super) struct Rivals(HashMap<String, (String, Instant)>);

impl Rivals {
    /// The holder of a lease that excludes ours, if there is one.
    pub(super) async fn find(
        &mut self,
        api: &Api<Lease>,
        options: &LeaseOptions,
    ) -> Result<Option<String>, CallError> {
        let deadline = options.duration / 6;
        let total = options.shard.total();
        let others = format!("{TOTAL_SHARDS},{TOTAL_SHARDS}!={total}");
        let mut page = ListParams::default().labels(&others).limit(PAGE);
        let mut leases = Vec::new();
        for _ in 0..MOST_PAGES {
            let listed = call("list Leases", deadline, api.list(&page)).await?;
            leases.extend(listed.items.into_iter().filter(|lease| is_rival(lease, options)));
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        // The lease of a version that does not know shards has no label.
        let is_known = |lease: &Lease| lease.metadata.name.as_ref() == Some(&options.name);
        if !options.shard.is_all() && !leases.iter().any(is_known) {
            leases.extend(call("get Lease", deadline, api.get_opt(&options.name)).await?);
        }
        Ok(self.holding(&leases, options))
    }

    /// The first that is held, as far as is known.
    fn holding(&mut self, leases: &[Lease], options: &LeaseOptions) -> Option<String> {
        let now = Instant::now();
        let before = std::mem::take(&mut self.0);
        let mut found = None;
        for lease in leases {
            let (Some(name), Some(version)) = (&lease.metadata.name, &lease.metadata.resource_version) else {
                continue;
            };
            let since = before.get(name).filter(|(seen, _)| seen == version).map_or(now, |(_, since)| *since);
            self.0.insert(name.clone(), (version.clone(), since));
            let unchanged: Duration = now - since;
            let spec = lease.spec.as_ref();
            if found.is_none()
                && decide(spec, &options.identity, unchanged, options.duration) == Decision::Wait
            {
                found = spec.and_then(holder).map(str::to_owned);
            }
        }
        found
    }
}

/// `NAME`, or `NAME-I-of-N` with another number than ours.
fn is_rival(lease: &Lease, options: &LeaseOptions) -> bool {
    let Some(rest) = lease.metadata.name.as_deref().and_then(|name| name.strip_prefix(&options.name)) else {
        return false;
    };
    if rest.is_empty() {
        return !options.shard.is_all();
    }
    let numbers = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
    let numbers = numbers.and_then(|(index, total)| index.parse::<u16>().ok().zip(total.parse::<u16>().ok()));
    numbers.is_some_and(|(index, total)| index < total && total != options.shard.total())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::kubernetes::shard::Shard;

    fn options(index: u16, total: u16) -> LeaseOptions {
        LeaseOptions {
            namespace: "keeper".to_owned(),
            name: "operator".to_owned(),
            shard: Shard::new(index, total).unwrap(),
            identity: "me".to_owned(),
            duration: Duration::from_secs(15),
        }
    }

    fn lease(name: &str, version: u32, holder: Option<&str>) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(20),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn rivals_divide_the_same_work_differently() {
        let is_rival = |name: &str, index, total| is_rival(&lease(name, 1, None), &options(index, total));
        for (name, of_one, of_two) in [
            ("operator", false, true),
            ("operator-0-of-2", true, false),
            ("operator-1-of-2", true, false),
            ("operator-1-of-3", true, true),
            ("operator-shop", false, false),
            ("operator-shop-0-of-3", false, false),
            ("operator-3-of-3", false, false),
            ("other-0-of-3", false, false),
        ] {
            assert_eq!((is_rival(name, 0, 1), is_rival(name, 0, 2)), (of_one, of_two), "{name}");
        }
        assert_eq!(options(0, 1).lease_name(), "operator");
        assert_eq!(options(1, 4).lease_name(), "operator-1-of-4");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rival_counts_until_its_own_time_is_over() {
        let mut rivals = Rivals::default();
        let mut look =
            |version, holder| rivals.holding(&[lease("operator", version, holder)], &options(0, 2));
        let other = || Some("other".to_owned());
        assert_eq!(look(1, None), None);
        assert_eq!(look(2, Some("other")), other());
        tokio::time::advance(Duration::from_secs(19)).await;
        assert_eq!(look(2, Some("other")), other());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(look(2, Some("other")), None);
        assert_eq!(look(3, Some("other")), other(), "it is back");
        assert_eq!(look(4, None), None);
    }
}
