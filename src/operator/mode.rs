//! Whether this program keeps the objects of clusters, or looks at what somebody else keeps.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::cluster::settings::Settings;

use super::inventory::Inventory;
use super::jobs::Reader;
use super::progress::Progress;
use super::scope::{Key, Scope};

/// Who keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// This program, for the resources that are its own.
    #[default]
    Manage,
    /// Somebody else, such as CPO. Nothing is written but the Lease and Events.
    Observe,
}

impl Mode {
    /// Whose Jobs and CronJobs count.
    pub(super) fn reader(self, settings: &Arc<Settings>) -> Reader {
        match self {
            Self::Manage => Reader::of_ours(Arc::clone(settings)),
            Self::Observe => Reader::of_all(Arc::clone(settings)),
        }
    }

    /// What exists of ours, and per scope the clusters whose objects change. Whoever writes nothing has nothing there.
    pub(super) fn inventory(
        self,
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<Progress>,
    ) -> (Inventory, Vec<BoxStream<'static, Key>>) {
        match self {
            Self::Manage => Inventory::watch(client, scopes, progress),
            Self::Observe => {
                (Inventory::default(), scopes.iter().map(|_| stream::pending().boxed()).collect())
            }
        }
    }
}
