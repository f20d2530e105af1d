//! Sets of segment numbers, kept as ranges.

/// First and last number.
pub(super) type Range = (u64, u64);

/// Ranges of numbers, both ends included, ascending, without overlap and not adjacent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// The union of ranges in any order; one whose first is above its last is empty.
    pub(super) fn of(mut ranges: Vec<Range>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// Removes a number.
    pub(super) fn remove(&mut self, number: u64) {
        let Some((first, last)) = self.range_of(number) else { return };
        let at = self.0.partition_point(|(_, end)| *end < number);
        let below = number.checked_sub(1).map(|end| (first, end)).filter(|(first, end)| first <= end);
        let above = number.checked_add(1).map(|begin| (begin, last)).filter(|(begin, last)| begin <= last);
        self.0.splice(at..=at, below.into_iter().chain(above));
    }

    /// The numbers in `first..=last` that are not in the set, in O(log ranges + holes found).
    pub(super) fn missing(&self, first: u64, last: u64) -> Vec<Range> {
        let mut holes = Vec::new();
        let mut from = Some(first);
        let start = self.0.partition_point(|(_, end)| *end < first);
        for (begin, end) in self.0.iter().skip(start).take_while(|(begin, _)| *begin <= last) {
            if let Some(from) = from.filter(|from| from < begin) {
                holes.push((from, begin - 1));
            }
            from = end.checked_add(1);
        }
        holes.extend(from.filter(|from| *from <= last).map(|from| (from, last)));
        holes
    }

    /// Whether the set contains all of `first..=last`.
    pub(super) fn holds(&self, first: u64, last: u64) -> bool {
        first <= last && self.range_of(first).is_some_and(|(_, end)| last <= end)
    }

    /// The range that contains a number.
    pub(super) fn range_of(&self, number: u64) -> Option<Range> {
        let at = self.0.partition_point(|(_, end)| *end < number);
        self.0.get(at).copied().filter(|(begin, _)| *begin <= number)
    }

    /// The highest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, end)| *end)
    }

    /// How many numbers.
    pub(super) fn count(&self) -> u64 {
        count(&self.0)
    }

    /// The ranges.
    pub(super) fn as_slice(&self) -> &[Range] {
        &self.0
    }
}

/// How many numbers are in ranges that do not overlap.
pub(super) fn count(ranges: &[Range]) -> u64 {
    ranges.iter().fold(0, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
}
