//! Sizes of WAL segments in a repository.

use super::wal::SegmentSize;

/// The sizes that a complete segment can have in the repository.
///
/// pgBackRest stores segments unchanged, compressed or encrypted. The file size shows whether a segment can be complete; its
/// existence alone does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredSize {
    /// Size of the segments in `pg_wal`; None if unknown.
    pub segment: Option<SegmentSize>,
    /// Whether the repository is encrypted; None if unknown.
    pub is_encrypted: Option<bool>,
}

impl StoredSize {
    /// Whether a file of this size can contain a complete segment. The limits for compressed segments are the best that the formats
    /// can reach, with zeros only: 1032:1 for gz, 255:1 for lz4, 4 bytes for each block of 128 KiB for zst.
    #[must_use]
    pub fn is_possible(self, compression: Option<&str>, bytes: u64) -> bool {
        let smallest = self.segment.map_or(1 << 20, SegmentSize::bytes);
        let least = match compression {
            None => match (self.segment, self.is_encrypted) {
                (Some(segment), Some(false)) => return bytes == segment.bytes(),
                (None, Some(false)) => return SegmentSize::new(bytes).is_some(),
                // Encryption adds a header and fills up the last block.
                _ => smallest,
            },
            Some("gz") => smallest / 1032 + 18,
            Some("lz4") => smallest / 255 + 11,
            Some("zst") => smallest / (128 << 10) * 4 + 5,
            Some(_) => 30,
        };
        let header = if self.is_encrypted == Some(true) { 16 } else { 0 };
        bytes >= least + header
    }

    /// Whether pgBackRest delivers a file unchanged, regardless of its size. PostgreSQL then stops with an error if the size is wrong.
    /// Files that cannot be decompressed or decrypted count as missing for PostgreSQL.
    #[must_use]
    pub fn is_plain(self, compression: Option<&str>) -> bool {
        compression.is_none() && self.is_encrypted != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_is_too_small_or_too_large_is_not_whole() {
        let sizes = |segment: Option<u64>, is_encrypted| StoredSize {
            segment: segment.and_then(|mib| SegmentSize::new(mib << 20)),
            is_encrypted,
        };
        let mib = 1_u64 << 20;
        let (plain, encrypted) = (sizes(Some(16), Some(false)), sizes(Some(16), Some(true)));
        for (stored, compression, bytes, is_possible) in [
            (plain, None, 16 * mib, true),
            (plain, None, 16 * mib - 1, false),
            (plain, None, 16 * mib + 1, false),
            (plain, None, 0, false),
            (encrypted, None, 16 * mib + 32, true),
            (encrypted, None, 16 * mib, false),
            (encrypted, None, 5, false),
            (plain, Some("gz"), 16_400, true),
            (plain, Some("gz"), 5, false),
            (plain, Some("lz4"), 66_000, true),
            (plain, Some("lz4"), 60_000, false),
            (plain, Some("zst"), 520, true),
            (plain, Some("zst"), 500, false),
            (plain, Some("bz2"), 45, true),
            (plain, Some("bz2"), 0, false),
            (encrypted, Some("zst"), 520, false),
            (sizes(None, Some(false)), None, 64 * mib, true),
            (sizes(None, Some(false)), None, 3 * mib, false),
            (sizes(None, None), None, mib, true),
            (sizes(None, None), Some("gz"), 1100, true),
            (sizes(None, None), Some("gz"), 0, false),
        ] {
            assert_eq!(
                stored.is_possible(compression, bytes),
                is_possible,
                "{stored:?} {compression:?} {bytes}"
            );
        }
    }
}
