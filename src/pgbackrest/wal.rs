//! WAL segment names, positions and segment sizes.
//!
//! A segment is named by timeline, the high 32 bits of its position, and its number within those 4 GiB. Its position
//! depends on the segment size, which `initdb --wal-segsize` sets (PostgreSQL 11 and later).

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes with the same high word of their position.
const HIGH_WORD_BYTES: u64 = 1 << 32;

/// A WAL segment by its 24-digit name: timeline, high word, segment within the high word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalSegment {
    pub timeline: u32,
    /// High 32 bits of the position.
    pub high: u32,
    /// Segment within those 4 GiB.
    pub low: u32,
}

/// A byte position in the WAL, written `0/3000028`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Bytes in a WAL segment: a power of two from 1 MiB to 1 GiB, as PostgreSQL allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SegmentSize(u32);

/// The only segment size that is consistent with all pairs of a position and the segment that contains it.
///
/// `None` if no pair distinguishes sizes (segment number 0), or if pairs contradict each other, as after `pg_resetwal
/// --wal-segsize`. `lsn.start` and `archive.start` of a backup are such a pair; its stop is not, because PostgreSQL
/// names the previous segment if a stop is on a boundary.
#[must_use]
pub fn infer_segment_size(pairs: impl IntoIterator<Item = (Lsn, WalSegment)>) -> Option<SegmentSize> {
    let mut candidates: Vec<SegmentSize> = SegmentSize::all().collect();
    for (position, segment) in pairs {
        candidates.retain(|size| position.segment(segment.timeline, *size) == segment);
    }
    match candidates.as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

impl WalSegment {
    /// Reads a name of exactly 24 hexadecimal digits.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let word = |range| name.get(range).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        Some(Self { timeline: word(0..8)?, high: word(8..16)?, low: word(16..24)? })
    }

    /// Number of the segment since position 0; the same on every timeline.
    ///
    /// `None` if the name cannot exist with this segment size.
    #[must_use]
    pub fn number(self, size: SegmentSize) -> Option<u64> {
        let per_high_word = size.segments_per_high_word();
        let low = u64::from(self.low);
        (low < per_high_word).then(|| u64::from(self.high) * per_high_word + low)
    }

    /// The segment of that number; `None` above the last position that a name can express.
    #[must_use]
    pub fn from_number(timeline: u32, number: u64, size: SegmentSize) -> Option<Self> {
        let per_high_word = size.segments_per_high_word();
        let high = u32::try_from(number / per_high_word).ok()?;
        let low = u32::try_from(number % per_high_word).ok()?;
        Some(Self { timeline, high, low })
    }

    /// The next segment on the same timeline; `None` after the last one, and for invalid names.
    #[must_use]
    pub fn next(self, size: SegmentSize) -> Option<Self> {
        Self::from_number(self.timeline, self.number(size)?.checked_add(1)?, size)
    }

    /// Position of its first byte.
    #[must_use]
    pub fn start_lsn(self, size: SegmentSize) -> Option<Lsn> {
        self.number(size)?.checked_mul(size.bytes()).map(Lsn)
    }

    /// Position after its last byte; `None` for the last segment, whose end cannot be expressed.
    #[must_use]
    pub fn end_lsn(self, size: SegmentSize) -> Option<Lsn> {
        self.start_lsn(size)?.0.checked_add(size.bytes()).map(Lsn)
    }
}

impl Serialize for WalSegment {
    /// As its name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for WalSegment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08X}{:08X}{:08X}", self.timeline, self.high, self.low)
    }
}

impl Lsn {
    /// Reads `HIGH/LOW`: one to eight hexadecimal digits each.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        Some(Self(u64::from(word(high)?) << 32 | u64::from(word(low)?)))
    }

    /// The segment that contains this byte.
    #[must_use]
    pub fn segment(self, timeline: u32, size: SegmentSize) -> WalSegment {
        let [high, low] = [self.0 >> 32, (self.0 % HIGH_WORD_BYTES) / size.bytes()]
            .map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        WalSegment { timeline, high, low }
    }
}

fn word(digits: &str) -> Option<u32> {
    let is_word = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_word.then(|| u32::from_str_radix(digits, 16).ok())?
}

impl Serialize for Lsn {
    /// As `HIGH/LOW`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    /// From `HIGH/LOW`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom("a WAL position is two hexadecimal numbers: 0/3000028"))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl SegmentSize {
    /// 16 MiB, the default of `initdb`.
    pub const DEFAULT: Self = Self(16 << 20);

    /// A size in bytes; None unless it is a power of two from 1 MiB to 1 GiB.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        let allowed = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        u32::try_from(bytes).ok().filter(|_| allowed).map(Self)
    }

    /// Every size that PostgreSQL allows, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (20..=30).map(|exponent| Self(1 << exponent))
    }

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Segments in 4 GiB: the third word of a segment's name is below this.
    #[must_use]
    pub fn segments_per_high_word(self) -> u64 {
        HIGH_WORD_BYTES / self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(name: &str) -> WalSegment {
        WalSegment::parse(name).expect(name)
    }

    fn lsn(text: &str) -> Lsn {
        Lsn::parse(text).expect(text)
    }

    fn any_size() -> impl Strategy<Value = SegmentSize> {
        (20_u32..=30).prop_map(|exponent| SegmentSize::new(1 << exponent).unwrap())
    }

    #[test]
    fn names_that_are_no_segment_are_refused() {
        let bad = [
            "",
            "00000001000000000000000",
            "0000000100000000000000011",
            "0000000100000000000000G1",
            "+00000010000000000000001",
            "000000010000000000000001.partial",
            "00000001.history",
            "0000000100000000000000ä",
        ];
        for name in bad {
            assert_eq!(WalSegment::parse(name), None, "{name}");
        }
        assert_eq!(segment("00000002000000010000002a").to_string(), "00000002000000010000002A");
    }

    #[test]
    fn positions_that_are_none_are_refused() {
        for text in ["", "/", "0/", "/0", "0", "0/0/0", "+1/0", "0/-1", "123456789/0", "0/123456789", "g/0"] {
            assert_eq!(Lsn::parse(text), None, "{text}");
        }
        assert_eq!(lsn("1A/3000028"), Lsn(0x1A_0300_0028));
        assert_eq!(lsn("ffffffff/FFFFFFFF").to_string(), "FFFFFFFF/FFFFFFFF");
    }

    #[test]
    fn sizes_are_the_powers_of_two_that_postgresql_allows() {
        assert_eq!(SegmentSize::all().count(), 11);
        for bytes in [0, 1, 1 << 19, (16 << 20) + 1, 3 << 20, 1 << 31, u64::MAX] {
            assert_eq!(SegmentSize::new(bytes), None, "{bytes}");
        }
        assert_eq!(SegmentSize::new(16 << 20), Some(SegmentSize::DEFAULT));
    }

    #[test]
    fn arithmetic_follows_the_segment_size() {
        let mib = |mib: u64| SegmentSize::new(mib << 20).unwrap();
        let table = [
            // name, size, number, next, end
            ("000000010000000000000003", 16, 3, "000000010000000000000004", "0/4000000"),
            ("0000000100000000000000FF", 16, 255, "000000010000000100000000", "1/0"),
            ("000000020000000100000FFF", 1, 8191, "000000020000000200000000", "2/0"),
            ("000000010000000100000003", 1024, 7, "000000010000000200000000", "2/0"),
            ("000000010000000000000007", 64, 7, "000000010000000000000008", "0/20000000"),
        ];
        for (name, size, number, next, end) in table {
            assert_eq!(segment(name).number(mib(size)), Some(number), "{name}");
            assert_eq!(segment(name).next(mib(size)).unwrap().to_string(), next, "{name}");
            assert_eq!(segment(name).end_lsn(mib(size)).unwrap().to_string(), end, "{name}");
        }
    }

    #[test]
    fn names_out_of_range_for_the_size_are_refused() {
        let name = segment("000000010000000000000100");
        assert_eq!(name.number(SegmentSize::DEFAULT), None);
        assert_eq!(name.next(SegmentSize::DEFAULT), None);
        assert_eq!(name.end_lsn(SegmentSize::DEFAULT), None);
        assert_eq!(name.number(SegmentSize::new(8 << 20).unwrap()), Some(256));
        let last = segment("00000001FFFFFFFF000000FF");
        assert!(last.number(SegmentSize::DEFAULT).is_some());
        assert_eq!(last.next(SegmentSize::DEFAULT), None);
        assert_eq!(last.end_lsn(SegmentSize::DEFAULT), None);
    }

    #[test]
    fn the_size_is_inferred_only_where_one_answer_remains() {
        let pair = |position, name| (lsn(position), segment(name));
        let sixteen = pair("0/3000028", "000000010000000000000003");
        let undecided = pair("0/28", "000000010000000000000000");
        let eight = pair("0/3000028", "000000010000000000000006");
        assert_eq!(infer_segment_size([sixteen]), Some(SegmentSize::DEFAULT));
        assert_eq!(infer_segment_size([undecided, sixteen]), Some(SegmentSize::DEFAULT));
        assert_eq!(infer_segment_size([eight]), SegmentSize::new(8 << 20));
        assert_eq!(infer_segment_size([undecided]), None);
        assert_eq!(infer_segment_size([sixteen, eight]), None);
        assert_eq!(infer_segment_size([]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn names_and_positions_survive_print_and_parse(timeline: u32, high: u32, low: u32) {
            let segment = WalSegment { timeline, high, low };
            prop_assert_eq!(WalSegment::parse(&segment.to_string()), Some(segment));
            let position = Lsn(u64::from(high) << 32 | u64::from(low));
            prop_assert_eq!(Lsn::parse(&position.to_string()), Some(position));
        }

        #[test]
        fn a_position_lies_in_its_segment(position: u64, timeline: u32, size in any_size()) {
            let segment = Lsn(position).segment(timeline, size);
            let number = segment.number(size).unwrap();
            prop_assert_eq!(number, position / size.bytes());
            prop_assert_eq!(WalSegment::from_number(timeline, number, size), Some(segment));
            prop_assert!(segment.start_lsn(size).unwrap() <= Lsn(position));
            if let Some(end) = segment.end_lsn(size) {
                prop_assert!(Lsn(position) < end);
                prop_assert_eq!(Some(end.segment(timeline, size)), segment.next(size));
            }
        }

        #[test]
        fn names_sort_as_positions_do(one: u64, other: u64, size in any_size()) {
            let [low, high] = if one <= other { [one, other] } else { [other, one] };
            prop_assert!(Lsn(low).segment(1, size) <= Lsn(high).segment(1, size));
            let next = Lsn(low).segment(1, size).next(size);
            prop_assert!(next.is_none_or(|next| next > Lsn(low).segment(1, size)));
        }

        #[test]
        fn the_size_is_found_again(positions in prop::collection::vec(0_u64..1 << 40, 1..6), size in any_size()) {
            let pairs = || positions.iter().map(|at| (Lsn(*at), Lsn(*at).segment(1, size)));
            let inferred = infer_segment_size(pairs());
            prop_assert!(inferred.is_none_or(|inferred| inferred == size));
            let decided = pairs().any(|(_, segment)| segment.low > 0);
            prop_assert!(!decided || inferred == Some(size));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}") {
            let _ = (WalSegment::parse(&text), Lsn::parse(&text));
        }
    }
}
