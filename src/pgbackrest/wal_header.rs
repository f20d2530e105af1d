//! The header of a WAL segment: which cluster wrote it, and how large segments are.
//!
//! `XLogLongPageHeaderData` of PostgreSQL's `access/xlog_internal.h`, in the byte order of the host. `archive-push` compares the
//! same fields with the stanza (`archive-header-check`).

use super::wal::SegmentSize;

/// Bytes of the header.
pub const LENGTH: usize = 40;
/// `XLP_LONG_HEADER`: the first page of a segment has it.
const LONG: u16 = 2;

/// The contents of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalHeader {
    /// PostgreSQL's system identifier.
    pub system_id: u64,
    pub segment_size: SegmentSize,
}

impl WalHeader {
    /// Reads the first bytes of a segment.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = u16::from_ne_bytes(array(bytes, 2)?);
        let segment_size = SegmentSize::new(u32::from_ne_bytes(array(bytes, 32)?).into())?;
        let system_id = u64::from_ne_bytes(array(bytes, 24)?);
        (flags & LONG != 0).then_some(Self { system_id, segment_size })
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u16, size: u32) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        bytes[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        bytes[2..4].copy_from_slice(&flags.to_ne_bytes());
        bytes[24..32].copy_from_slice(&7_123_456_789_u64.to_ne_bytes());
        bytes[32..36].copy_from_slice(&size.to_ne_bytes());
        bytes
    }

    #[test]
    fn the_first_page_says_whose_it_is() {
        let read = WalHeader::parse(&header(6, 16 << 20)).unwrap();
        assert_eq!((read.system_id, read.segment_size), (7_123_456_789, SegmentSize::DEFAULT));
        assert_eq!(WalHeader::parse(&header(4, 16 << 20)), None, "not the first page");
        assert_eq!(WalHeader::parse(&header(6, 12345)), None, "no segment size");
        assert_eq!(WalHeader::parse(&header(6, 16 << 20)[..30]), None);
        assert_eq!(WalHeader::parse(&[]), None);
    }
}
