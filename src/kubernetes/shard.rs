//! The share of a fleet that one operator looks after, if the fleet is split by hash.

use std::fmt;

use ring::digest::{SHA256, digest};

/// More would not help: each one watches the whole fleet.
pub const MOST_SHARDS: u16 = 64;

/// One of several shards. Every cluster belongs to exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    total: u16,
}

/// The whole fleet.
impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, total: 1 }
    }
}

impl Shard {
    /// The shard with this index, counted from 0.
    ///
    /// # Errors
    /// If there is no such shard, or too many of them.
    pub fn new(index: u16, total: u16) -> Result<Self, String> {
        if !(1..=MOST_SHARDS).contains(&total) {
            return Err(format!("--total-shards is {total}, but must be between 1 and {MOST_SHARDS}"));
        }
        if index >= total {
            return Err(format!(
                "--shard is {index}, but must be less than --total-shards, which is {total}: shards are counted from 0"
            ));
        }
        Ok(Self { index, total })
    }

    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    #[must_use]
    pub const fn total(self) -> u16 {
        self.total
    }

    /// Whether this is the whole fleet.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.total == 1
    }

    /// Whether a cluster belongs to this shard.
    #[must_use]
    pub fn covers(self, namespace: &str, name: &str) -> bool {
        self.is_all() || self.index == self.of(&format!("{namespace}/{name}"))
    }

    /// Whether the restore tests of a namespace belong to this shard. All of a namespace belong to the same one, because what
    /// one of them tests is not given to another.
    #[must_use]
    pub fn covers_restore_tests(self, namespace: &str) -> bool {
        self.is_all() || self.index == self.of(namespace)
    }

    /// The first 32 bits of the SHA-256 of the text, modulo the number of shards. All operators of a fleet must agree, so this
    /// must never change.
    fn of(self, text: &str) -> u16 {
        let hash = digest(&SHA256, text.as_bytes());
        let first = hash.as_ref().iter().take(4).fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        u16::try_from(first % u32::from(self.total)).unwrap_or_default()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-of-{}", self.index, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(total: u16, namespace: &str, name: &str) -> u16 {
        let all = (0..total).map(|index| Shard::new(index, total).unwrap());
        let owners: Vec<u16> = all.filter(|shard| shard.covers(namespace, name)).map(Shard::index).collect();
        assert_eq!(owners.len(), 1, "{namespace}/{name} of {total}");
        owners[0]
    }

    /// As computed with sha256sum. Two versions that disagree would both look after a cluster, or neither.
    #[test]
    fn the_hash_never_changes() {
        for (namespace, name, expected) in [
            ("shop", "orders", [0, 1, 0, 2, 12]),
            ("shop", "ledger", [1, 1, 1, 3, 61]),
            ("bank", "orders", [0, 2, 2, 4, 10]),
            ("a", "b", [0, 1, 0, 2, 0]),
        ] {
            let found = [2, 3, 4, 10, 64].map(|total| shard_of(total, namespace, name));
            assert_eq!(found, expected, "{namespace}/{name}");
        }
        assert_eq!(shard_of(1, "shop", "orders"), 0);
        let two = Shard::new(1, 2).unwrap();
        assert_eq!((two.covers_restore_tests("shop"), two.covers_restore_tests("bank")), (true, false));
    }

    #[test]
    fn clusters_are_spread_evenly() {
        let mut counts = [0_u32; 4];
        for number in 0..10_000 {
            counts[usize::from(shard_of(4, "fleet", &format!("cluster-{number}")))] += 1;
        }
        assert!(counts.iter().all(|count| (2_300..=2_700).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_shard_is_one_of_them() {
        assert!(Shard::new(0, 1).unwrap().is_all());
        assert_eq!(Shard::new(3, 4).unwrap().to_string(), "3-of-4");
        for (index, total) in [(0, 0), (1, 1), (4, 4), (0, MOST_SHARDS + 1)] {
            assert!(Shard::new(index, total).is_err(), "{index} {total}");
        }
    }
}
