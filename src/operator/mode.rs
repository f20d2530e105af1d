//! Whether this program manages the objects of clusters, or observes those of another controller.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::cluster::settings::Settings;
use crate::kubernetes::shard::Shard;

use super::inventory::Inventory;
use super::jobs::Reader;
use super::progress::OperatorProgress;
use super::scope::{Key, Scope};

/// Whether objects are managed or only observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// This program manages the objects of its resources.
    #[default]
    Manage,
    /// Another controller, such as CPO, manages them. Only the Lease and Events are written.
    Observe,
}

impl Mode {
    /// Selects the relevant Jobs and CronJobs.
    pub(super) fn reader(self, settings: &Arc<Settings>) -> Reader {
        match self {
            Self::Manage => Reader::of_ours(Arc::clone(settings)),
            Self::Observe => Reader::of_all(Arc::clone(settings)),
        }
    }

    /// Our existing objects of the clusters of a shard, and for each scope a stream of clusters whose objects change. In mode observe there are
    /// none.
    pub(super) fn inventory(
        self,
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<OperatorProgress>,
        shard: Shard,
    ) -> (Inventory, Vec<BoxStream<'static, Key>>) {
        match self {
            Self::Manage => Inventory::watch(client, scopes, progress, shard),
            Self::Observe => {
                (Inventory::default(), scopes.iter().map(|_| stream::pending().boxed()).collect())
            }
        }
    }
}
