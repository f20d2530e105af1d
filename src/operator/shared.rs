//! Values that many clusters of a fleet have alike are kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// The values in use.
#[derive(Debug)]
pub(super) struct Shared<T>(Mutex<HashSet<Arc<T>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Eq + Hash> Shared<T> {
    /// The same value, shared with all that have it.
    pub(super) fn share(&self, value: T) -> Arc<T> {
        let mut values = self.0.lock();
        if let Some(known) = values.get(&value) {
            return Arc::clone(known);
        }
        // Instead of growing, it forgets what nobody has any longer.
        if values.len() == values.capacity() {
            values.retain(|known| Arc::strong_count(known) > 1);
        }
        let value = Arc::new(value);
        values.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let shared = Shared::default();
        let (one, other) = (shared.share("a".to_owned()), shared.share("b".to_owned()));
        assert!(Arc::ptr_eq(&one, &shared.share("a".to_owned())));
        assert_eq!((one.as_str(), other.as_str()), ("a", "b"));
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let shared = Shared::default();
        let kept = shared.share(u32::MAX);
        for value in 0..10_000 {
            shared.share(value);
        }
        assert!(Arc::ptr_eq(&kept, &shared.share(u32::MAX)));
        let most = shared.0.lock().capacity();
        assert!(most < 100, "{most}");
    }
}
