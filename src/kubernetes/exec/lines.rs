//! Splits the output of a running command into lines for a listener, without waiting for it.

use tokio::sync::mpsc;

/// Maximum length of a line; the rest is cut.
const LONGEST_LINE: usize = 4 * 1024;

/// An event for a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line, without its line break.
    Line(String),
    /// This many lines were dropped because the listener was too slow.
    Missed(u64),
}

/// One stream.
pub(super) struct Lines {
    heard: mpsc::Sender<Heard>,
    line: Vec<u8>,
    missed: u64,
}

impl Lines {
    pub(super) fn new(heard: mpsc::Sender<Heard>) -> Self {
        Self { heard, line: Vec::new(), missed: 0 }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            self.line.extend(text.iter().take(room));
            if is_whole {
                self.hand_on();
            }
        }
    }

    /// At the end of the stream, a rest without a line break is a line too.
    pub(super) fn end(&mut self) {
        if !self.line.is_empty() {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        if self.missed > 0 && self.heard.try_send(Heard::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        if self.missed > 0 || self.heard.try_send(Heard::Line(line)).is_err() {
            self.missed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(receiver: &mut mpsc::Receiver<Heard>) -> Vec<Heard> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    fn line(text: &str) -> Heard {
        Heard::Line(text.to_owned())
    }

    #[test]
    fn lines_are_whole_wherever_they_are_cut() {
        let (sender, mut receiver) = mpsc::channel(10);
        let mut lines = Lines::new(sender);
        for piece in ["on", "e\r\ntwo\n\nth", "r", "ee"] {
            lines.take(piece.as_bytes());
        }
        lines.take(&[0xff]);
        lines.end();
        lines.end();
        assert_eq!(all(&mut receiver), [line("one"), line("two"), line(""), line("three\u{fffd}")]);
        lines.take(&[b'x'; 3 * LONGEST_LINE]);
        lines.take(b"\nnext\n");
        assert_eq!(all(&mut receiver), [line(&"x".repeat(LONGEST_LINE)), line("next")]);
    }

    #[test]
    fn a_listener_who_is_slow_is_told_how_much_was_missed() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut lines = Lines::new(sender);
        lines.take(b"1\n2\n3\n4\n");
        assert_eq!(all(&mut receiver), [line("1"), line("2")]);
        lines.take(b"5\n");
        assert_eq!(all(&mut receiver), [Heard::Missed(2), line("5")]);
        drop(receiver);
        lines.take(b"6\n");
    }
}
