//! Names, positions and numbers of WAL segments agree for every segment size.

use pgbackrest_keeper::pgbackrest::wal::{Lsn, SegmentSize, WalSegment, infer_segment_size};

/// A name or a position on the first line; then a timeline and positions, as bytes.
pub(crate) fn check(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    let text = String::from_utf8_lossy(text);
    let (timeline, positions) =
        rest.get(1..).unwrap_or_default().split_first_chunk().unwrap_or((&[0; 4], &[]));
    let timeline = u32::from_le_bytes(*timeline);
    let positions: Vec<u64> =
        positions.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let named = WalSegment::parse(&text);
    if let Some(segment) = named {
        assert_eq!(segment.to_string(), text.to_ascii_uppercase());
    }
    if let Some(position) = Lsn::parse(&text) {
        assert_eq!(Lsn::parse(&position.to_string()), Some(position));
    }
    for size in SegmentSize::all() {
        if let Some(number) = named.and_then(|segment| segment.number(size)) {
            let timeline = named.map_or(0, |segment| segment.timeline);
            assert_eq!(WalSegment::from_number(timeline, number, size), named);
        }
        for position in positions.iter().copied().map(Lsn) {
            let segment = position.segment(timeline, size);
            assert!(segment.start_lsn(size).is_some_and(|start| start <= position));
            assert!(segment.end_lsn(size).is_none_or(|end| position < end));
            assert!(segment.next(size).is_none_or(|next| next > segment));
        }
        let pairs = positions.iter().map(|position| (Lsn(*position), Lsn(*position).segment(timeline, size)));
        assert!(infer_segment_size(pairs).is_none_or(|inferred| inferred == size));
    }
}
