//! Names, positions and numbers of WAL segments agree for every segment size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackrest_keeper::pgbackrest::wal::{Lsn, SegmentSize, WalSegment, infer_segment_size};

fuzz_target!(|input: (&str, u32, Vec<u64>)| {
    let (text, timeline, positions) = input;
    let named = WalSegment::parse(text);
    if let Some(segment) = named {
        assert_eq!(segment.to_string(), text.to_ascii_uppercase());
    }
    if let Some(position) = Lsn::parse(text) {
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
});
