//! What `find`, `head` and `stat` print.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::pgbackrest::wal_header;

/// Size, time and name of a file, as in `16777216 1795974060.9958281170 000000010000000000000001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundFile<'a> {
    pub(super) size: u64,
    pub(super) modified: DateTime<Utc>,
    pub(super) name: &'a str,
}

impl<'a> FoundFile<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let (size, rest) = line.split_once(' ')?;
        let (time, name) = rest.split_once(' ')?;
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        // find prints ten digits.
        let nanoseconds = format!("{fraction:0<9.9}").parse().ok()?;
        let modified = DateTime::from_timestamp(seconds.parse().ok()?, nanoseconds)?;
        Some(Self { size: size.parse().ok()?, modified, name })
    }
}

/// The lines that are text.
pub(super) fn lines(stdout: &[u8]) -> impl Iterator<Item = &str> {
    stdout.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok())
}

/// The beginnings of files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) segment: Option<SegmentStart>,
    /// Those of the spool, by name.
    pub(super) files: BTreeMap<String, String>,
}

/// The size of a WAL file, and its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SegmentStart {
    pub(super) size: u64,
    pub(super) header: Vec<u8>,
}

impl Contents {
    /// The size of a WAL file on a line, its header, and then each file of a directory below its path, as `head` shows it.
    pub(super) fn parse(stdout: &[u8], directory: &str) -> Self {
        let (segment, rest) = segment(stdout).map_or((None, stdout), |(segment, rest)| (Some(segment), rest));
        let text = String::from_utf8_lossy(rest);
        let begin = format!("==> {directory}/");
        let files = text.split(begin.as_str()).skip(1).filter_map(|part| {
            let (name, content) = part.split_once(" <==\n")?;
            Some((name.to_owned(), content.to_owned()))
        });
        Self { segment, files: files.collect() }
    }
}

/// Memory for what is kept of an output: of waiting files only the first and the last.
pub(super) fn weight(stdout: &[u8]) -> u64 {
    const ENTRY: u64 = 256;
    let kept = lines(stdout).filter(|line| line.strip_suffix(".ready").is_none());
    kept.fold(0, |sum, _| sum + ENTRY)
}

/// None if the file had just been archived.
fn segment(stdout: &[u8]) -> Option<(SegmentStart, &[u8])> {
    let end = stdout.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (stdout.get(..end)?, stdout.get(end + 1..)?);
    let size: u64 = str::from_utf8(line).ok()?.parse().ok()?;
    let is_gone = rest.starts_with(b"==> ");
    let whole = usize::try_from(size).unwrap_or(usize::MAX).min(wal_header::LENGTH).min(rest.len());
    let length = if is_gone { 0 } else { whole };
    let (header, rest) = rest.split_at_checked(length)?;
    Some((SegmentStart { size, header: header.to_vec() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_size_time_and_name() {
        let parsed =
            |line| FoundFile::parse(line).map(|file| (file.size, file.modified.to_rfc3339(), file.name));
        assert_eq!(
            parsed("7 1795974060.9958281170 A.error"),
            Some((7, "2026-11-29T17:41:00.995828117+00:00".to_owned(), "A.error"))
        );
        let plain = "2026-11-29T17:41:00+00:00".to_owned();
        assert_eq!(parsed("0 1795974060 /locks/my db.stop"), Some((0, plain.clone(), "/locks/my db.stop")));
        assert_eq!(parsed("0 1795974060. x"), Some((0, plain, "x")));
        for wrong in ["", "1", "1 2", "x 1795974060 A", "1 x A", "1 1.x A", "-1 1 A"] {
            assert_eq!(FoundFile::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_beginnings_of_files_are_told_apart() {
        let header = [&b"\x10\xD1==> /out/A.error <==\n"[..], &[0xFF; 17]].concat();
        let spool = "==> /out/A.error <==\n49\none\ntwo\n==> /out/B.ok <==\n0\nx==> /out/global.error <==\n";
        let stdout = [b"1048576\n", &header[..], spool.as_bytes()].concat();
        let contents = Contents::parse(&stdout, "/out");
        assert_eq!(contents.segment, Some(SegmentStart { size: 1_048_576, header }));
        let files: Vec<(&str, &str)> =
            contents.files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        assert_eq!(files, [("A.error", "49\none\ntwo\n"), ("B.ok", "0\nx"), ("global.error", "")]);
        let without = Contents::parse(spool.as_bytes(), "/out");
        assert_eq!((&without.segment, &without.files), (&None, &contents.files));
        assert_eq!(Contents::parse(b"", "/out"), Contents::default());
        let gone = Contents::parse(&[b"16777216\n", spool.as_bytes()].concat(), "/out");
        assert_eq!(gone.segment, Some(SegmentStart { size: 16 << 20, header: Vec::new() }));
        assert_eq!(gone.files, without.files);
        // It was cut off.
        let cut = Contents::parse(b"16\nabc", "/out");
        assert_eq!(cut.segment, Some(SegmentStart { size: 16, header: b"abc".to_vec() }));
    }
}
