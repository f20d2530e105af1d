//! Records as a chain: each has a number, and names the digest of the one before it, so it is noticed if one is missing or was changed.
//!
//! The newest record has none after it, so its number and digest are also noted elsewhere ([`Head`]). Who changes that note as well can
//! remove the newest records unnoticed; only what was copied elsewhere before, such as metrics and logs, shows that.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Larger numbers are rejected, so a forged record cannot use up the numbers. JSON has no larger integers that are exact
/// everywhere.
const MAX_SEQUENCE: u64 = (1 << 53) - 1;

/// SHA-256 of a record, as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The place of a record in its chain. A chain begins with 1 and without a previous record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    #[serde(deserialize_with = "number")]
    pub sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

/// The newest record of a chain, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    #[serde(deserialize_with = "number")]
    pub sequence: u64,
    pub digest: Digest,
}

/// What was found in the place of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Absent if it cannot be read.
    pub digest: Option<Digest>,
    /// Absent if it was written by a version without chains, or cannot be parsed.
    pub link: Option<Link>,
    /// Whether it is a record.
    pub is_record: bool,
    /// Whether it is in another place than it was written to.
    pub is_moved: bool,
}

/// How the records of a chain are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// As many are there as are kept, so older ones may have been removed.
    pub is_full: bool,
    /// The head is written together with the record, so it is never that of the record before.
    pub is_atomic: bool,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The record after it, or the head, names another digest.
    Changed {
        index: usize,
        sequence: u64,
    },
    /// There are none with these numbers.
    Missing {
        first: u64,
        last: u64,
    },
    /// The oldest records are missing, although fewer are there than are kept.
    MissingBefore {
        sequence: u64,
    },
    /// Another record has this number, and it is not known which of them was written, or this is a copy.
    Twice {
        index: usize,
        sequence: u64,
    },
    /// Its place is not the one that it was written to.
    Moved {
        index: usize,
        /// Whether it has a number, so its place does not matter.
        is_linked: bool,
    },
    /// It has no place in the chain, although it is not older than it.
    Unlinked {
        index: usize,
    },
    HeadMissing,
    HeadUnreadable,
    /// The head is not that of the newest record or of the one before it.
    HeadOutdated,
}

impl Digest {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(own)
    }
}

impl Display for Digest {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, out)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut own = [0; 32];
        hex::decode_to_slice(&text, &mut own)
            .map_err(|_| de::Error::custom("a digest has 64 hexadecimal digits"))?;
        Ok(Self(own))
    }
}

/// A number of a record.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if (1..=MAX_SEQUENCE).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format_args!("the number of a record is from 1 to {MAX_SEQUENCE}")))
    }
}

/// The place of the next record. If the newest one is missing or was changed, that stays visible.
#[must_use]
pub fn next(found: &[Found], head: Option<Head>) -> Link {
    let linked =
        found.iter().filter_map(|one| Some(Head { sequence: one.link?.sequence, digest: one.digest? }));
    let newest = linked.max_by_key(|one| one.sequence);
    let last = match (newest, head) {
        (Some(newest), Some(head)) if newest.sequence > head.sequence => newest,
        (_, Some(head)) => head,
        (Some(newest), None) => newest,
        (None, None) => return Link { sequence: 1, previous: None },
    };
    Link { sequence: last.sequence.saturating_add(1).min(MAX_SEQUENCE), previous: Some(last.digest) }
}

/// What is wrong with the records of a chain, given in the order in which they seem to have been written. The head is an error if it
/// cannot be read.
#[must_use]
pub fn faults(found: &[Found], head: Result<Option<Head>, ()>, storage: Storage) -> Vec<Fault> {
    let mut faults = BTreeSet::new();
    if head.is_err() {
        faults.insert(Fault::HeadUnreadable);
    }
    let noted = head.unwrap_or_default();
    let mut chain: Vec<Placed> = found.iter().enumerate().filter_map(Placed::of).collect();
    // Of copies, the one in its place is the first.
    chain.sort_by_key(|one| (one.link.sequence, one.is_moved));
    let moved = found.iter().enumerate().filter(|(_, one)| one.is_record && one.is_moved);
    let moved = moved.map(|(index, one)| Fault::Moved { index, is_linked: one.link.is_some() });
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
        faults.extend(
            noted.map(|head| Fault::Missing { first: 1, last: head.sequence }).into_iter().chain(moved),
        );
        return faults.into_iter().collect();
    };
    let (begin, end) = (first.link.sequence, last.link);
    if begin > 1 && !storage.is_full {
        faults.insert(Fault::MissingBefore { sequence: begin });
    }
    match noted {
        None if head.is_ok() && (end.sequence > 1 || storage.is_atomic) => {
            _ = faults.insert(Fault::HeadMissing);
        }
        Some(head) if head.sequence > end.sequence => {
            faults.insert(Fault::Missing { first: end.sequence.saturating_add(1), last: head.sequence });
        }
        // The program may have ended before it wrote the head.
        Some(head) if head.sequence < end.sequence => {
            let is_next = head.sequence.saturating_add(1) == end.sequence;
            if storage.is_atomic || !is_next || end.previous != Some(head.digest) {
                faults.insert(Fault::HeadOutdated);
            }
        }
        _ => {}
    }
    faults.extend(between(&chain, noted));
    let oldest = chain.iter().map(|one| one.index).min().unwrap_or_default();
    let unlinked = found.iter().enumerate().filter(|(_, one)| one.is_record && one.link.is_none());
    let late = unlinked.filter(|(index, _)| begin > 1 || *index > oldest);
    faults.extend(late.map(|(index, _)| Fault::Unlinked { index }));
    // Of each record, one fault.
    let told: BTreeSet<usize> = faults.iter().filter_map(|fault| fault.index()).collect();
    faults.extend(moved.filter(|fault| fault.index().is_none_or(|index| !told.contains(&index))));
    faults.into_iter().collect()
}

/// Faults within a chain, which is sorted.
fn between(chain: &[Placed], head: Option<Head>) -> Vec<Fault> {
    let mut faults = Vec::new();
    // What the records that have the number after, and the head, say about a record: first those that can be relied on.
    let mut after: Option<(u64, Vec<Digest>)> = None;
    let groups: Vec<&[Placed]> = chain.chunk_by(|a, b| a.link.sequence == b.link.sequence).collect();
    for same in groups.into_iter().rev() {
        let Some(sequence) = same.first().map(|one| one.link.sequence) else { continue };
        let mut said: Vec<Digest> =
            head.iter().filter(|head| head.sequence == sequence).map(|head| head.digest).collect();
        if let Some((next, previous)) = &after {
            match next.saturating_sub(1) {
                before if before == sequence => said.extend(previous),
                before => faults.push(Fault::Missing { first: sequence + 1, last: before }),
            }
        }
        let is_changed = |one: &&Placed| !said.is_empty() && !said.contains(&one.digest);
        let (changed, whole): (Vec<&Placed>, Vec<&Placed>) = same.iter().partition(is_changed);
        faults.extend(changed.into_iter().map(|one| Fault::Changed { index: one.index, sequence }));
        let is_known = whole.iter().all(|one| Some(one.digest) == whole.first().map(|first| first.digest));
        // Of copies, one can be relied on.
        let unusable = if is_known { whole.get(1..).unwrap_or_default() } else { &whole };
        faults.extend(unusable.iter().map(|one| Fault::Twice { index: one.index, sequence }));
        let relied = if is_known { &*whole } else { &[] };
        let mut previous: Vec<Digest> = relied.iter().filter_map(|one| one.link.previous).collect();
        if previous.is_empty() {
            previous = same.iter().filter_map(|one| one.link.previous).collect();
        }
        after = Some((sequence, previous));
    }
    faults
}

/// A record that has a place.
struct Placed {
    index: usize,
    digest: Digest,
    link: Link,
    is_moved: bool,
}

impl Placed {
    fn of((index, found): (usize, &Found)) -> Option<Self> {
        Some(Self { index, digest: found.digest?, link: found.link?, is_moved: found.is_moved })
    }
}

impl Fault {
    /// The record that it is about.
    #[must_use]
    pub const fn index(self) -> Option<usize> {
        match self {
            Self::Changed { index, .. }
            | Self::Twice { index, .. }
            | Self::Moved { index, .. }
            | Self::Unlinked { index } => Some(index),
            _ => None,
        }
    }

    /// Whether this record cannot be relied on.
    #[must_use]
    pub fn contradicts(self, index: usize) -> bool {
        self.index() == Some(index) && !matches!(self, Self::Moved { is_linked: true, .. })
    }
}

impl Display for Fault {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { sequence, .. } => {
                write!(out, "record {sequence} was changed after it was written")
            }
            Self::Missing { first, last } if first == last => {
                write!(out, "record {first} is missing or unreadable")
            }
            Self::Missing { first, last } => {
                write!(out, "records {first} to {last} are missing or unreadable")
            }
            Self::MissingBefore { sequence } => {
                write!(out, "records before {sequence} are missing that would be kept")
            }
            Self::Twice { sequence, .. } => write!(out, "there are several records {sequence}"),
            Self::Moved { .. } => {
                out.write_str("its name is not that of a record that started then: it was renamed or changed")
            }
            Self::Unlinked { .. } => out.write_str(
                "a record has no place in the chain: an earlier version wrote it, or somebody added it",
            ),
            Self::HeadMissing => out.write_str("the note of the newest record is missing"),
            Self::HeadUnreadable => out.write_str("the note of the newest record cannot be read"),
            Self::HeadOutdated => out.write_str("the note of the newest record is of an older one"),
        }
    }
}

#[cfg(test)]
mod tests;
