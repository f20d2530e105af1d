//! The facts that are judged: what `/metrics` serves at this moment.

use std::fmt;
use std::sync::Arc;

use chrono::Utc;
use thiserror::Error;

use crate::check::facts::{Facts, FactsError};
use crate::check::services;
use crate::collect::store::Store;
use crate::metrics::exposition::{self, ClusterMetrics, Dynamic, EncodeError, Format};
use crate::metrics::options::BackupDetail;
use crate::metrics::{CollectionMetrics, Options};

/// Returns facts; none before the first collection has ended. Takes time in proportion to the number of series: not for an async
/// thread.
#[derive(Clone)]
pub struct Source(Arc<Read>);

type Read = dyn Fn() -> Result<Option<Facts>, SourceError> + Send + Sync;

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Source")
    }
}

/// There are no facts. No input is known to cause this.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Facts(#[from] FactsError),
}

impl Source {
    /// The facts of this host, including metrics that are not served.
    #[must_use]
    pub fn of_host(store: Arc<Store>, collection: Arc<CollectionMetrics>, options: &Options) -> Self {
        let build = options.build.clone();
        let options = Arc::new(Options { backup_detail: BackupDetail::None, build, ..Options::default() });
        Self(Arc::new(move || {
            if !store.ready() {
                return Ok(None);
            }
            let snapshot = Arc::clone(&store.load().snapshot);
            let text = exposition::written(&snapshot, &collection, &options, Utc::now())?;
            let mut reader = services::reader();
            reader.feed(text.as_bytes())?;
            Ok(Some(reader.end(false)?))
        }))
    }

    /// The facts of the clusters of the operator.
    #[must_use]
    pub fn of_fleet(
        store: Arc<Store>,
        collection: Arc<CollectionMetrics>,
        clusters: Arc<ClusterMetrics>,
        options: Arc<Options>,
    ) -> Self {
        Self(Arc::new(move || {
            if !store.ready() {
                return Ok(None);
            }
            let published = store.load();
            let format = Format::OpenMetrics;
            let body = clusters.joined(&published.body.at(Utc::now(), format)?, format);
            let dynamic = Dynamic {
                static_part: &body,
                collection: &collection,
                operator: Some(clusters.operator()),
                process: None,
                options: &options,
            };
            let dynamic = exposition::dynamic_part(&dynamic, format)?;
            let mut reader = services::reader();
            for chunk in exposition::plain(&body, dynamic, 0)? {
                reader.feed(&chunk?)?;
            }
            Ok(Some(reader.end(true)?))
        }))
    }

    pub(super) fn facts(&self) -> Result<Option<Facts>, SourceError> {
        (self.0)()
    }
}
