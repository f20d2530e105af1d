//! Reduces watches to the objects of the own shard, so that only those are kept in memory.

use std::future::ready;

use futures_util::{Stream, StreamExt};
use kube::runtime::watcher::{Error, Event};

/// Leaves out the objects that are not ours.
pub(super) fn only<K>(
    events: impl Stream<Item = Result<Event<K>, Error>> + Send + 'static,
    is_ours: impl Fn(&K) -> bool + Send + 'static,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + 'static
where
    K: Send + 'static,
{
    events.filter_map(move |event| ready(event.map(|event| keep(event, &is_ours)).transpose()))
}

/// None for an object that is not ours. One that no longer is counts as deleted.
pub(super) fn keep<K>(event: Event<K>, is_ours: impl Fn(&K) -> bool) -> Option<Event<K>> {
    match event {
        Event::InitApply(object) if !is_ours(&object) => None,
        Event::Apply(object) if !is_ours(&object) => Some(Event::Delete(object)),
        event => Some(event),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn what_is_not_ours_is_left_out() {
        let events = [Event::Init, Event::InitApply(1), Event::InitApply(2), Event::InitDone];
        let later = [Event::Apply(3), Event::Apply(4), Event::Delete(5)];
        let all = stream::iter(events.into_iter().chain(later).map(Ok));
        let kept: Vec<String> = only(all, |number: &u32| number.is_multiple_of(2))
            .map(|event| format!("{:?}", event.unwrap()))
            .collect()
            .await;
        assert_eq!(kept, ["Init", "InitApply(2)", "InitDone", "Delete(3)", "Apply(4)", "Delete(5)"]);
    }
}
