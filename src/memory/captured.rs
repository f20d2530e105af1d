//! The output of a command, with the memory reserved for it.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::input::{InputBudget, Refusal, Reservation, SHARE};
use super::usize_of;

/// The size of a read …
const CHUNK: usize = 16 * 1024;
/// … and of large output: what a pipe holds.
const LARGE_CHUNK: usize = 64 * 1024;
/// Timeout for the rest of a large output, because others wait for the permit. pgBackRest prints `info` at once, when it is
/// complete.
const LONGEST_TURN: Duration = Duration::from_secs(5);
/// Complete output of at most this size needs no reservation.
const SMALL: u64 = 64 * 1024;

/// Gets what was not taken yet, removes what it takes, and returns how many bytes are in use for all that was taken.
type Take = Box<dyn FnMut(&mut Vec<u8>) -> u64 + Send>;

/// Takes output while it arrives, so that it needs no memory as a whole.
pub struct Sink {
    take: Take,
    most: usize,
    silence: Option<Duration>,
    held: u64,
}

/// Output, up to a limit.
#[derive(Default)]
pub struct Captured {
    bytes: Vec<u8>,
    most: usize,
    printed: u64,
    sink: Option<Sink>,
    reservation: Option<Reservation>,
    /// Until when the rest must come.
    turn_ends: Option<Instant>,
    waits: bool,
}

/// Why output is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// More than allowed.
    #[error("it printed more than {0} bytes")]
    TooLarge(usize),
    /// What was taken uses more memory than one answer may ever use.
    #[error("{}", Refusal::TooLarge(*.0))]
    TooHeavy(u64),
    /// The rest takes too long, while others wait.
    #[error(
        "it printed a large answer, and took longer than {} for that",
        humantime::format_duration(LONGEST_TURN)
    )]
    TooSlow,
    /// Nothing more came, from a command that prints all the time.
    #[error("it printed nothing for {}", humantime::format_duration(*.0))]
    Silent(Duration),
}

enum Room {
    Enough,
    NeedsWhole,
    None(ReadError),
}

impl Sink {
    /// Takes at most `most` bytes. `take` gets what was not taken yet, removes what it takes, and returns how many bytes of memory it
    /// uses for all that it has taken so far.
    #[must_use]
    pub fn new(most: usize, take: impl FnMut(&mut Vec<u8>) -> u64 + Send + 'static) -> Self {
        Self { take: Box::new(take), most, silence: None, held: 0 }
    }

    /// Waits for more no longer than this. For a command that prints all the time.
    #[must_use]
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence: Some(silence), ..self }
    }

    /// Offers what was not taken yet.
    pub fn take(&mut self, bytes: &mut Vec<u8>) {
        self.held = (self.take)(bytes);
    }
}

impl Captured {
    /// Waits for `patience` until there is memory for the output of one more command.
    pub async fn reserve(budget: &InputBudget, most: usize, patience: Duration) -> Result<Self, Refusal> {
        let reservation = timeout(patience, budget.share()).await.ok().flatten().ok_or(Refusal::NoMemory)?;
        Ok(Self { most: most.min(budget.bounds.output()), reservation: Some(reservation), ..Self::default() })
    }

    /// Output of at most that many bytes, so few that they do not count.
    #[must_use]
    pub fn little(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Hands on what arrives, and keeps only what was not taken.
    #[must_use]
    pub fn into_sink(self, sink: Option<Sink>) -> Self {
        Self { sink, ..self }
    }

    /// The limit.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Bytes that were printed so far, also those that were taken.
    #[must_use]
    pub const fn printed(&self) -> u64 {
        self.printed
    }

    /// Whether it waits until it may become large.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.waits
    }

    /// Makes sure, for `patience` at most, that there is room for what is made of the output when it is read, beside what was made of
    /// what was taken.
    pub async fn expect(
        mut self,
        budget: &InputBudget,
        weight: u64,
        patience: Duration,
    ) -> Result<Self, Refusal> {
        let (most, weight) = (budget.bounds.document(), weight.saturating_add(self.held()));
        if weight > most {
            return Err(Refusal::TooLarge(most));
        }
        if self.reservation.is_none() {
            self.reservation =
                Some(timeout(patience, budget.share()).await.ok().flatten().ok_or(Refusal::NoMemory)?);
        }
        if let Some(reservation) =
            self.reservation.as_mut().filter(|held| held.whole.is_none() && weight > SHARE)
        {
            let whole = timeout(patience, budget.whole()).await.ok().flatten();
            reservation.whole = Some(whole.ok_or(Refusal::NoMemory)?);
        }
        Ok(self)
    }

    /// All has been read, and nothing large is made of it: what is small counts no longer.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if self.bytes.len() as u64 + self.held() <= SMALL {
            self.reservation = None;
        }
        self
    }

    fn extend(&mut self, more: &[u8]) {
        let is_large = self.bytes.len() + more.len() > usize_of(SHARE);
        if is_large && self.bytes.capacity() < self.most {
            // Only addresses: memory is used as it is filled, and nothing is copied each time that it grows. Without this much, it grows.
            let _ = self.bytes.try_reserve_exact(self.most - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        self.printed += more.len() as u64;
        if let Some(sink) = &mut self.sink {
            sink.take(&mut self.bytes);
        }
    }

    /// Memory for what was taken.
    fn held(&self) -> u64 {
        self.sink.as_ref().map_or(0, |sink| sink.held)
    }

    /// Until when more must come, and the error if it does not.
    fn patience(&self) -> Option<(Instant, ReadError)> {
        let silence = self.sink.as_ref().and_then(|sink| sink.silence);
        let silent = silence.map(|silence| (Instant::now() + silence, ReadError::Silent(silence)));
        let slow = self.turn_ends.map(|end| (end, ReadError::TooSlow));
        slow.into_iter().chain(silent).min_by_key(|(end, _)| *end)
    }

    fn room(&self, more: usize, budget: &InputBudget) -> Room {
        let length = self.bytes.len() + more;
        let used = length as u64 + self.held();
        let is_whole = self.reservation.as_ref().is_none_or(|held| held.whole.is_some());
        let printed = self.printed + more as u64;
        let endless = self.sink.as_ref().map(|sink| sink.most).filter(|most| printed > *most as u64);
        let most = budget.bounds.document();
        if let Some(most) = endless {
            Room::None(ReadError::TooLarge(most))
        } else if length > self.most {
            Room::None(ReadError::TooLarge(self.most))
        } else if self.held() > most {
            Room::None(ReadError::TooHeavy(most))
        } else if used > SHARE && !is_whole {
            Room::NeedsWhole
        } else {
            Room::Enough
        }
    }
}

/// Reads a stream to its end. What was read stays in `into` if this is dropped.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    into: &Mutex<Captured>,
    budget: &InputBudget,
) -> Result<(), ReadError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let patience = into.lock().patience();
        let reading = stream.read(&mut chunk);
        let read = match patience {
            Some((end, error)) => timeout_at(end, reading).await.map_err(|_| error)?,
            None => reading.await,
        };
        // A stream that cannot be read any more has ended.
        let is_full = matches!(read, Ok(CHUNK));
        let read = chunk.get(..read.unwrap_or(0)).unwrap_or_default();
        if read.is_empty() {
            return Ok(());
        }
        let room = into.lock().room(read.len(), budget);
        match room {
            Room::Enough => {}
            Room::NeedsWhole => {
                into.lock().waits = true;
                let whole = budget.whole().await;
                let mut captured = into.lock();
                captured.waits = false;
                captured.turn_ends = Some(Instant::now() + LONGEST_TURN);
                if let Some(reservation) = &mut captured.reservation {
                    reservation.whole = whole;
                }
            }
            Room::None(error) => {
                let mut captured = into.lock();
                let room = captured.most.saturating_sub(captured.bytes.len());
                captured.bytes.extend(read.iter().take(room));
                return Err(error);
            }
        }
        into.lock().extend(read);
        if is_full {
            chunk.resize(LARGE_CHUNK, 0);
        }
    }
}

impl Deref for Captured {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for Captured {
    fn from(bytes: Vec<u8>) -> Self {
        Self { most: bytes.len(), bytes, ..Self::default() }
    }
}

impl From<&str> for Captured {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

/// Without the memory that the original may use.
impl Clone for Captured {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl PartialEq for Captured {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Captured {}

impl fmt::Debug for Captured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.bytes), formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Bounds;
    use super::*;

    const LIMIT: u64 = 64 << 20;
    const LONG: Duration = Duration::from_mins(5);

    fn budget() -> InputBudget {
        InputBudget::new(Bounds { limit: LIMIT })
    }

    async fn reserve(budget: &InputBudget) -> Mutex<Captured> {
        Mutex::new(Captured::reserve(budget, usize::MAX, LONG).await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn one_large_output_is_read_at_a_time() {
        let budget = budget();
        let large = vec![b'x'; 2 << 20];
        let first = reserve(&budget).await;
        read(&mut large.as_slice(), &first, &budget).await.unwrap();
        let (second, third) = (reserve(&budget).await, reserve(&budget).await);
        let waiting = timeout(LONG, read(&mut large.as_slice(), &second, &budget)).await;
        assert!(waiting.is_err() && second.lock().waits());
        read(&mut b"small".as_slice(), &third, &budget).await.unwrap();
        assert_eq!(**third.lock(), *b"small", "nobody who needs little waits");
        drop(first);
        // It had waited without reading on.
        let fourth = reserve(&budget).await;
        read(&mut large.as_slice(), &fourth, &budget).await.unwrap();
        assert_eq!(fourth.lock().len(), large.len());
    }

    #[tokio::test(start_paused = true)]
    async fn shares_are_limited_and_come_back() {
        let budget = budget();
        let mut held = Vec::new();
        for _ in 0..budget.bounds.commands() {
            held.push(Captured::reserve(&budget, 10, LONG).await.unwrap());
        }
        let refused = Captured::reserve(&budget, 10, LONG).await;
        assert_eq!(refused, Err(Refusal::NoMemory));
        drop(held.pop().unwrap().settled());
        held.push(Captured::reserve(&budget, 10, LONG).await.unwrap().settled());
        Captured::reserve(&budget, 10, LONG).await.expect("what is small and complete does not count");
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_limited_in_size_and_time() {
        let budget = budget();
        let small = Mutex::new(Captured::little(3));
        assert_eq!(read(&mut b"12345".as_slice(), &small, &budget).await, Err(ReadError::TooLarge(3)));
        assert_eq!(**small.lock(), *b"123");
        let most = budget.bounds.output();
        let large = reserve(&budget).await;
        let endless = vec![b'x'; most + 1];
        assert_eq!(read(&mut endless.as_slice(), &large, &budget).await, Err(ReadError::TooLarge(most)));
        drop(large);
        let slow = reserve(&budget).await;
        // Nothing more comes on it.
        let (silent, _other_end) = tokio::io::duplex(1);
        let mut drips = endless.get(..2 << 20).unwrap().chain(silent);
        assert_eq!(read(&mut drips, &slow, &budget).await, Err(ReadError::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_needs_no_memory() {
        let budget = budget();
        let (lines, text) = (Arc::new(Mutex::new(Vec::new())), "one\ntwo\nrest".repeat(1000));
        let seen = Arc::clone(&lines);
        let whole_lines = move |bytes: &mut Vec<u8>| {
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            seen.lock().extend(bytes.drain(..end));
            0
        };
        let sink = Sink::new(text.len(), whole_lines.clone());
        // Less than the text: only what was not taken counts.
        let few = Captured::little(CHUNK).into_sink(Some(sink));
        let few = Mutex::new(few);
        read(&mut text.as_bytes().chain(&b"!"[..]), &few, &budget).await.unwrap_err();
        lines.lock().clear();
        let few = || {
            let sink = Sink::new(usize::MAX, whole_lines.clone()).with_silence(LONG);
            Mutex::new(Captured::little(CHUNK).into_sink(Some(sink)))
        };
        let whole = few();
        read(&mut text.as_bytes(), &whole, &budget).await.unwrap();
        assert_eq!(**whole.lock(), *b"rest");
        assert_eq!(whole.lock().printed(), text.len() as u64);
        assert_eq!(*lines.lock(), text.as_bytes()[..text.len() - 4]);
        // Nothing more comes on it.
        let ((silent, _other_end), began) = (tokio::io::duplex(1), Instant::now());
        let stopped = read(&mut text.as_bytes().chain(silent), &few(), &budget).await;
        assert_eq!((stopped, began.elapsed().as_secs()), (Err(ReadError::Silent(LONG)), LONG.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_of_output_counts_like_output() {
        let budget = budget();
        let text = vec![b'x'; 2 << 20];
        let making = |factor: u64| {
            let mut made = 0;
            Sink::new(usize::MAX, move |bytes| {
                made += factor * bytes.len() as u64;
                bytes.clear();
                made
            })
        };
        let sunk = async |factor: u64| {
            Mutex::new(reserve(&budget).await.into_inner().into_sink(Some(making(factor))))
        };
        let first = sunk(1).await;
        read(&mut text.as_slice(), &first, &budget).await.unwrap();
        assert!(first.lock().is_empty());
        let second = sunk(1).await;
        let waiting = timeout(LONG, read(&mut text.as_slice(), &second, &budget)).await;
        assert!(waiting.is_err() && second.lock().waits(), "more than a share of two at once");
        let nothing = sunk(0).await;
        read(&mut text.as_slice(), &nothing, &budget).await.unwrap();
        drop(second);
        let first = first.into_inner();
        let rest = budget.bounds.document() - first.held();
        let first = first.expect(&budget, rest, LONG).await.unwrap();
        let settled = first.settled();
        assert!(settled.reservation.is_some(), "what was made is still there");
        drop(settled);
        let most = budget.bounds.document();
        let held = sunk(1).await;
        read(&mut text.as_slice(), &held, &budget).await.unwrap();
        let too_large = held.into_inner().expect(&budget, most, LONG).await;
        assert_eq!(too_large, Err(Refusal::TooLarge(most)), "beside what is held");
        let heavy = read(&mut text.as_slice(), &sunk(100).await, &budget).await;
        assert_eq!(heavy, Err(ReadError::TooHeavy(most)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_large_when_it_is_read_is_read_alone() {
        let budget = budget();
        let (large, small) = (2 << 20, 1 << 10);
        let captured = || Captured::from("[]");
        let too_large = captured().expect(&budget, LIMIT, LONG).await;
        assert_eq!(too_large, Err(Refusal::TooLarge(LIMIT / 8)));
        let first = captured().expect(&budget, large, LONG).await.unwrap();
        assert_eq!(captured().expect(&budget, large, LONG).await, Err(Refusal::NoMemory));
        captured().expect(&budget, small, LONG).await.unwrap();
        drop(first);
        captured().expect(&budget, large, LONG).await.unwrap();
    }
}
