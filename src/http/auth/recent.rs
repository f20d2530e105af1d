//! A bounded set that drops its oldest entries.

use std::collections::{HashSet, VecDeque};

/// A password of a user with a hash, which cannot be read back.
pub(super) type Trace = [u8; 32];

/// The traces that were added last.
#[derive(Debug)]
pub(super) struct Recent {
    held: HashSet<Trace>,
    order: VecDeque<Trace>,
    most: usize,
}

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        Self { held: HashSet::new(), order: VecDeque::new(), most }
    }

    pub(super) fn contains(&self, trace: &Trace) -> bool {
        self.held.contains(trace)
    }

    pub(super) fn add(&mut self, trace: Trace) {
        if !self.held.insert(trace) {
            return;
        }
        self.order.push_back(trace);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.held.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = Recent::new(2);
        for number in [1, 2, 1, 3] {
            recent.add([number; 32]);
        }
        assert_eq!([1, 2, 3].map(|number| recent.contains(&[number; 32])), [false, true, true]);
        assert_eq!((recent.held.len(), recent.order.len()), (2, 2));
    }
}
