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

/// The size of a read.
const CHUNK: usize = 16 * 1024;
/// Timeout for the rest of a large output, because others wait for the permit. pgBackRest prints `info` at once, when it is
/// complete.
const LONGEST_TURN: Duration = Duration::from_secs(5);
/// Complete output of at most this size needs no reservation.
const SMALL: usize = 64 * 1024;

/// Output, up to a limit.
#[derive(Default)]
pub struct Captured {
    bytes: Vec<u8>,
    most: usize,
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
    /// The rest takes too long, while others wait.
    #[error(
        "it printed a large answer, and took longer than {} for that",
        humantime::format_duration(LONGEST_TURN)
    )]
    TooSlow,
}

enum Room {
    Enough,
    NeedsWhole,
    TooLarge,
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

    /// The limit.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Whether it waits until it may become large.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.waits
    }

    /// Makes sure, for `patience` at most, that there is room for what is made of the output when it is read.
    pub async fn expect(
        mut self,
        budget: &InputBudget,
        weight: u64,
        patience: Duration,
    ) -> Result<Self, Refusal> {
        let most = budget.bounds.document();
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
        if self.bytes.len() <= SMALL {
            self.reservation = None;
        }
        self
    }

    fn room(&self, more: usize) -> Room {
        let length = self.bytes.len() + more;
        let is_whole = self.reservation.as_ref().is_none_or(|held| held.whole.is_some());
        if length > self.most {
            Room::TooLarge
        } else if length > usize_of(SHARE) && !is_whole {
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
        let turn_ends = into.lock().turn_ends;
        let reading = stream.read(&mut chunk);
        let read = match turn_ends {
            Some(end) => timeout_at(end, reading).await.map_err(|_| ReadError::TooSlow)?,
            None => reading.await,
        };
        // A stream that cannot be read any more has ended.
        let read = chunk.get(..read.unwrap_or(0)).unwrap_or_default();
        if read.is_empty() {
            return Ok(());
        }
        let room = into.lock().room(read.len());
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
            Room::TooLarge => {
                let mut captured = into.lock();
                let room = captured.most.saturating_sub(captured.bytes.len());
                captured.bytes.extend(read.iter().take(room));
                return Err(ReadError::TooLarge(captured.most));
            }
        }
        into.lock().bytes.extend_from_slice(read);
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
