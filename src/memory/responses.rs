//! The budget for responses that wait for their clients, over all connections.
//!
//! If it is used up, a new request replaces the response that has waited longest: of the client that uses the most memory, if
//! that is more than the new client would use; otherwise of any client that has read nothing for a second. If there is no
//! such response, the request is rejected.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// What a request uses from its header to its end, with the buffers of its connection.
const REQUEST: u64 = 64 << 10;
/// A client that has taken nothing for this long may lose its response to others.
const STALLED: Duration = Duration::from_secs(1);
/// How long a connection that is closed may take to give back its memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait for memory; more are refused at once.
const MAX_WAITING: usize = 64;

static REFUSED: AtomicU64 = AtomicU64::new(0);
static CUT: AtomicU64 = AtomicU64::new(0);

/// Responses that were refused since the process started.
#[must_use]
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Responses whose connections were closed for others since the process started.
#[must_use]
pub fn cut() -> u64 {
    CUT.load(Ordering::Relaxed)
}

/// The budget. Clients are told apart by `K`.
#[derive(Debug)]
pub struct Responses<K>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    total: u64,
    held: Mutex<Held<K>>,
    freed: Notify,
}

#[derive(Debug)]
struct Held<K> {
    bytes: u64,
    waiting: usize,
    next: u64,
    responses: HashMap<u64, Entry<K>>,
    /// How many responses use a buffer, and its size.
    shared: HashMap<usize, (usize, u64)>,
}

#[derive(Debug)]
struct Entry<K> {
    client: K,
    own: u64,
    shared: Vec<usize>,
    /// When the client last took something.
    moved: Instant,
    cut: CancellationToken,
}

/// The memory of one response, until it is dropped.
#[derive(Debug)]
pub struct Reserved<K: Copy + Eq + Hash> {
    responses: Responses<K>,
    client: K,
    number: u64,
}

/// What a body uses beside the buffers of its connection.
#[derive(Debug, Clone, Default)]
pub struct BodyMemory {
    /// Bytes of its own.
    pub own: u64,
    /// Buffers that other bodies use as well; each counts once.
    pub shared: Vec<Bytes>,
}

impl<K> Clone for Responses<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Copy + Eq + Hash> Responses<K> {
    /// With that many bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let held = Held { bytes: 0, waiting: 0, next: 0, responses: HashMap::new(), shared: HashMap::new() };
        Self(Arc::new(Inner { total, held: Mutex::new(held), freed: Notify::new() }))
    }

    /// Memory for a request, whose connection closes when `cut` is cancelled. None if others use all of it.
    pub async fn reserve(&self, client: K, cut: &CancellationToken) -> Option<Reserved<K>> {
        let entry = |cut| Entry { client, own: REQUEST, shared: Vec::new(), moved: Instant::now(), cut };
        let take = |held: &mut Held<K>| {
            held.next += 1;
            held.bytes += REQUEST;
            held.responses.insert(held.next, entry(cut.clone()));
            held.next
        };
        let number = self.take(client, None, |_| REQUEST, take).await?;
        Some(Reserved { responses: self.clone(), client, number })
    }

    async fn take<T>(
        &self,
        client: K,
        own: Option<u64>,
        needed: impl Fn(&Held<K>) -> u64,
        take: impl FnOnce(&mut Held<K>) -> T,
    ) -> Option<T> {
        let Inner { total, held, freed } = &*self.0;
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = None;
        loop {
            let mut freed = std::pin::pin!(freed.notified());
            freed.as_mut().enable();
            {
                let mut held = held.lock();
                let needed = needed(&held);
                // What is larger than all of it can still be sent alone.
                let is_alone = held.responses.keys().all(|number| Some(*number) == own);
                if held.bytes + needed <= *total || is_alone {
                    return Some(take(&mut held));
                }
                let is_possible = held.make_room(client, own, needed, *total);
                if !is_possible || (waiting.is_none() && held.waiting >= MAX_WAITING) {
                    REFUSED.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                if waiting.is_none() {
                    held.waiting += 1;
                }
            }
            waiting.get_or_insert_with(|| Waiting(self.clone()));
            if timeout_at(deadline, freed).await.is_err() {
                REFUSED.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
    }
}

/// A request that waits for memory.
struct Waiting<K>(Responses<K>);

impl<K> Drop for Waiting<K> {
    fn drop(&mut self) {
        self.0.0.held.lock().waiting -= 1;
    }
}

impl<K: Copy + Eq + Hash> Held<K> {
    /// Whether there will be room: connections are closing that use enough, or one more is told to.
    fn make_room(&self, client: K, own: Option<u64>, needed: u64, total: u64) -> bool {
        let leaving: u64 =
            self.responses.values().filter(|entry| entry.cut.is_cancelled()).map(|entry| entry.own).sum();
        if self.bytes.saturating_sub(leaving) + needed <= total {
            return true;
        }
        let mut by_client: HashMap<K, u64> = HashMap::new();
        for entry in self.responses.values() {
            *by_client.entry(entry.client).or_default() += entry.own;
        }
        let mine = by_client.get(&client).copied().unwrap_or(0) + needed;
        let greediest = by_client.iter().max_by_key(|(_, used)| **used);
        let greedy = greediest.filter(|(_, used)| **used > mine).map(|(client, _)| *client);
        let others = self
            .responses
            .iter()
            .filter(|(number, entry)| Some(**number) != own && !entry.cut.is_cancelled());
        let may_leave = |entry: &Entry<K>| Some(entry.client) == greedy || entry.moved.elapsed() >= STALLED;
        let longest = others.map(|(_, entry)| entry).filter(|entry| may_leave(entry)).min_by_key(|entry| {
            // Those of the client that uses most come first.
            (Some(entry.client) != greedy, entry.moved)
        });
        let Some(entry) = longest else { return leaving > 0 };
        entry.cut.cancel();
        CUT.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn missing(&self, shared: &[Bytes]) -> u64 {
        let is_new = |buffer: &&Bytes| !self.shared.contains_key(&place(buffer));
        shared.iter().filter(is_new).map(|buffer| buffer.len() as u64).sum()
    }
}

/// Tells buffers apart.
fn place(buffer: &Bytes) -> usize {
    buffer.as_ptr().addr()
}

impl<K: Copy + Eq + Hash> Reserved<K> {
    /// Makes room for a body. False if others use all of it.
    pub async fn grow(&self, body: BodyMemory) -> bool {
        let needed = |held: &Held<K>| body.own + held.missing(&body.shared);
        let take = |held: &mut Held<K>| {
            held.bytes += body.own + held.missing(&body.shared);
            for buffer in &body.shared {
                held.shared.entry(place(buffer)).or_insert((0, buffer.len() as u64)).0 += 1;
            }
            if let Some(entry) = held.responses.get_mut(&self.number) {
                entry.own += body.own;
                entry.shared = body.shared.iter().map(place).collect();
            }
        };
        self.responses.take(self.client, Some(self.number), needed, take).await.is_some()
    }

    /// The client has taken something.
    pub fn moved(&self) {
        if let Some(entry) = self.responses.0.held.lock().responses.get_mut(&self.number) {
            entry.moved = Instant::now();
        }
    }
}

impl<K: Copy + Eq + Hash> Drop for Reserved<K> {
    fn drop(&mut self) {
        let mut held = self.responses.0.held.lock();
        let Some(entry) = held.responses.remove(&self.number) else { return };
        held.bytes = held.bytes.saturating_sub(entry.own);
        for buffer in entry.shared {
            if let Some((users, size)) = held.shared.get_mut(&buffer) {
                *users -= 1;
                let size = *size;
                if *users == 0 {
                    held.shared.remove(&buffer);
                    held.bytes = held.bytes.saturating_sub(size);
                }
            }
        }
        drop(held);
        self.responses.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: u64 = 10 * REQUEST;

    /// A response whose connection closes when it is told to.
    async fn respond(responses: &Responses<u8>, client: u8) -> Option<CancellationToken> {
        let cut = CancellationToken::new();
        let reserved = responses.reserve(client, &cut).await?;
        let told = cut.clone();
        tokio::spawn(async move {
            told.cancelled().await;
            drop(reserved);
        });
        Some(cut)
    }

    async fn fill(responses: &Responses<u8>, count: u64) -> Vec<CancellationToken> {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(respond(responses, 1).await.unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        held
    }

    fn cut(held: &[CancellationToken]) -> usize {
        held.iter().filter(|token| token.is_cancelled()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_makes_room_after_a_second() {
        let responses = Responses::new(TOTAL);
        let held = fill(&responses, 10).await;
        assert!(respond(&responses, 1).await.is_none(), "all of them may be reading");
        tokio::time::sleep(STALLED).await;
        assert!(respond(&responses, 1).await.is_some());
        assert!(held[0].is_cancelled() && cut(&held) == 1, "the one that has waited longest");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_cannot_keep_out_others() {
        let responses = Responses::new(TOTAL);
        let held = fill(&responses, 10).await;
        for _ in 0..4 {
            respond(&responses, 2).await.expect("the other one uses more");
        }
        assert_eq!(cut(&held), 4);
        assert!(respond(&responses, 2).await.is_some());
        assert!(respond(&responses, 2).await.is_none(), "now both use the same");
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_stays() {
        let responses = Responses::new(TOTAL);
        let cut = CancellationToken::new();
        let reading = responses.reserve(1, &cut).await.unwrap();
        let held = fill(&responses, 9).await;
        tokio::time::sleep(STALLED).await;
        reading.moved();
        for _ in 0..20 {
            let _ = respond(&responses, 1).await;
        }
        assert!(!cut.is_cancelled());
        assert!(held.iter().any(CancellationToken::is_cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_buffer_counts_once() {
        let responses = Responses::new(TOTAL);
        let buffer = Bytes::from(vec![0; usize::try_from(4 * REQUEST).unwrap()]);
        let body = || BodyMemory { own: 0, shared: vec![buffer.clone()] };
        let cut = CancellationToken::new();
        let (first, second) =
            (responses.reserve(1, &cut).await.unwrap(), responses.reserve(1, &cut).await.unwrap());
        assert!(first.grow(body()).await && second.grow(body()).await);
        assert_eq!(responses.0.held.lock().bytes, 6 * REQUEST);
        drop(first);
        assert_eq!(responses.0.held.lock().bytes, 5 * REQUEST);
        drop(second);
        assert_eq!(responses.0.held.lock().bytes, 0);
        let alone = responses.reserve(1, &cut).await.unwrap();
        assert!(
            alone.grow(BodyMemory { own: 2 * TOTAL, shared: Vec::new() }).await,
            "larger than all, but alone"
        );
        assert!(responses.reserve(1, &cut).await.is_none());
    }
}
