//! Clusters to reconcile because of a change of another one.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::scope::Key;

/// The clusters that wait. Each waits once, so there are never more than exist.
#[derive(Debug, Default)]
pub(super) struct Revisits {
    keys: Mutex<BTreeSet<Key>>,
    added: Notify,
}

impl Revisits {
    pub(super) fn add(&self, key: &Key) {
        if self.keys.lock().insert(key.clone()) {
            self.added.notify_one();
        }
    }

    /// Yields each cluster. There is one such stream.
    pub(super) fn stream(self: &Arc<Self>) -> impl Stream<Item = Key> + Send + 'static {
        stream::unfold(Arc::clone(self), |revisits| async move {
            loop {
                let next = revisits.keys.lock().pop_first();
                if let Some(key) = next {
                    return Some((key, revisits));
                }
                revisits.added.notified().await;
            }
        })
    }

    /// All that wait.
    #[cfg(test)]
    pub(super) fn take(&self) -> Vec<Key> {
        std::mem::take(&mut *self.keys.lock()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn each_cluster_comes_once() {
        let revisits = Arc::new(Revisits::default());
        let mut stream = Box::pin(revisits.stream());
        for name in ["b", "a", "b"] {
            revisits.add(&Key::new("shop", name));
        }
        let two: Vec<Key> = stream.by_ref().take(2).collect().await;
        assert_eq!(two, [Key::new("shop", "a"), Key::new("shop", "b")]);
        assert!(stream.next().now_or_never().is_none());
        revisits.add(&Key::new("shop", "a"));
        assert_eq!(stream.next().await, Some(Key::new("shop", "a")));
    }
}
