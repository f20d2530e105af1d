//! The queue of passwords to check, which is slow by design. Pure: [`super::Checker`] does the work.
//!
//! Guesses of one client do not delay others for long: clients take turns, and no client can fill the queue. If a client already has
//! too many waiting passwords, another one is rejected, but remembered. If it is sent again, it replaces a password that is sent for
//! the first time, and is checked in every other turn of its client. So a repeated password, as from a scraper, is checked even if
//! new guesses keep arriving from the same address. A check continues after its client has disconnected, and the next request of the
//! client uses the result.

use tokio::sync::oneshot;

use super::AuthResult;
use super::recent::{Recent, Trace};
use crate::http::client::ClientAddress;

/// Maximum number of waiting passwords.
const MOST: usize = 256;
/// Maximum number of waiting passwords of one client.
const MOST_OF_ONE: usize = 128;
/// Maximum number of requests that wait for the same password.
const MOST_ANSWERS: usize = 64;
/// Number of rejected passwords to remember.
const EXPECTED: usize = 4096;

/// A password to check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) client: ClientAddress,
    pub(super) trace: Trace,
    pub(super) password: Vec<u8>,
    pub(super) hash: String,
    /// Whether the user exists.
    pub(super) is_known: bool,
}

/// The receiver of a result.
pub(super) type Answer = oneshot::Receiver<AuthResult>;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    /// The current check, and the requests that wait for it.
    current: Option<(Trace, Vec<oneshot::Sender<AuthResult>>)>,
    turned_away: Recent,
    /// Numbers arrivals and turns.
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    check: Check,
    answers: Vec<oneshot::Sender<AuthResult>>,
    /// Whether it was rejected before.
    is_back: bool,
    arrived: u64,
    last_turn: Turn,
}

/// The last turn of a client.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// When it was, or when the client's first waiting password arrived.
    at: u64,
    /// Whether it was for a password that had been rejected before.
    was_back: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new(), current: None, turned_away: Recent::new(EXPECTED), count: 0 }
    }

    /// Adds a password to the queue. `None` if there is no room.
    pub(super) fn offer(&mut self, check: Check) -> Option<Answer> {
        let (sender, answer) = oneshot::channel();
        let same = self.waiting.iter_mut().find(|other| other.check.trace == check.trace);
        let current = self.current.as_mut().filter(|(trace, _)| *trace == check.trace);
        if let Some(answers) = same.map(|same| &mut same.answers).or(current.map(|(_, answers)| answers)) {
            // Remove requests that were cancelled.
            answers.retain(|sender| !sender.is_closed());
            return (answers.len() < MOST_ANSWERS).then(|| {
                answers.push(sender);
                answer
            });
        }
        let is_back = self.turned_away.contains(&check.trace);
        if !self.has_room(check.client, is_back) {
            self.turned_away.add(check.trace);
            return None;
        }
        self.count += 1;
        let own = self.waiting.iter().find(|other| other.check.client == check.client);
        let last_turn = own.map_or(Turn { at: self.count, was_back: false }, |own| own.last_turn);
        self.waiting.push(Waiting { check, answers: vec![sender], is_back, arrived: self.count, last_turn });
        Some(answer)
    }

    /// Whether there is room, if necessary by replacing another password.
    fn has_room(&mut self, client: ClientAddress, is_back: bool) -> bool {
        let own = self.waiting_of(client);
        if own < MOST_OF_ONE && self.waiting.len() < MOST {
            return true;
        }
        let crowd = self
            .waiting
            .iter()
            .map(|waiting| waiting.check.client)
            .max_by_key(|other| self.waiting_of(*other));
        let from = if own < MOST_OF_ONE { crowd } else { Some(client) };
        let Some(from) = from else { return false };
        let is_fairer = self.waiting_of(from) > own + 1;
        let places = self.waiting.iter().enumerate().filter(|(_, other)| other.check.client == from);
        let gives_way = places.filter(|(_, other)| is_fairer || is_back && !other.is_back);
        let last = gives_way.max_by_key(|(_, other)| (!other.is_back, other.arrived)).map(|(place, _)| place);
        let Some(place) = last else { return false };
        let gone = self.waiting.swap_remove(place);
        self.turned_away.add(gone.check.trace);
        for sender in gone.answers {
            // The request may have been cancelled.
            let _ = sender.send(AuthResult::Busy);
        }
        true
    }

    fn waiting_of(&self, client: ClientAddress) -> usize {
        self.waiting.iter().filter(|waiting| waiting.check.client == client).count()
    }

    /// The next password to check, unless a check is running.
    pub(super) fn next(&mut self) -> Option<Check> {
        if self.current.is_some() {
            return None;
        }
        let longest = self.waiting.iter().min_by_key(|waiting| waiting.last_turn.at)?;
        let (client, last) = (longest.check.client, longest.last_turn);
        let own = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.check.client == client);
        let first = own.min_by_key(|(_, own)| (!own.is_back && !last.was_back, own.arrived));
        let place = first.map(|(place, _)| place)?;
        let next = self.waiting.swap_remove(place);
        self.count += 1;
        let turn = Turn { at: self.count, was_back: next.is_back };
        for own in self.waiting.iter_mut().filter(|waiting| waiting.check.client == client) {
            own.last_turn = turn;
        }
        self.current = Some((next.check.trace, next.answers));
        Some(next.check)
    }

    /// Ends the current check.
    pub(super) fn finish(&mut self, result: AuthResult) {
        let answers = self.current.take().map(|(_, answers)| answers);
        for sender in answers.into_iter().flatten() {
            // The request may have been cancelled.
            let _ = sender.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ALICE: u8 = 1;

    fn check(client: u8, number: u32) -> Check {
        let mut trace = [0; 32];
        trace[..4].copy_from_slice(&number.to_be_bytes());
        trace[4] = client;
        let client = std::net::IpAddr::from(Ipv4Addr::new(192, 0, 2, client)).into();
        Check { client, trace, password: Vec::new(), hash: String::new(), is_known: true }
    }

    /// How many checks are made until that of `wanted` begins, while `flood` goes on.
    fn turns(queue: &mut Queue, wanted: Trace, mut flood: impl FnMut(&mut Queue)) -> usize {
        for turn in 0..10_000 {
            flood(queue);
            let next = queue.next().unwrap();
            queue.finish(AuthResult::Refused);
            if next.trace == wanted {
                return turn;
            }
        }
        panic!("it is never checked");
    }

    #[test]
    fn guesses_of_one_client_delay_another_by_one_check() {
        let mut queue = Queue::new();
        let mut number = 0;
        let mut flood = |queue: &mut Queue| {
            for _ in 0..1000 {
                number += 1;
                queue.offer(check(66, number));
            }
        };
        flood(&mut queue);
        let own = check(ALICE, 0);
        let trace = own.trace;
        assert!(queue.offer(own).is_some());
        assert!(turns(&mut queue, trace, flood) <= 1);
    }

    #[test]
    fn a_crowd_of_clients_makes_room() {
        let mut queue = Queue::new();
        for number in 0..1000 {
            for client in [66, 67, 68] {
                queue.offer(check(client, number));
            }
        }
        assert_eq!(queue.waiting.len(), MOST);
        let own = check(ALICE, 0);
        let trace = own.trace;
        assert!(queue.offer(own).is_some());
        assert_eq!(queue.waiting.len(), MOST);
        assert!(turns(&mut queue, trace, |_| {}) <= 3);
    }

    #[test]
    fn what_comes_again_is_checked_although_guesses_arrive_from_the_same_address() {
        let mut queue = Queue::new();
        let mut number = 0;
        let mut flood = |queue: &mut Queue| {
            for _ in 0..100 {
                number += 1;
                queue.offer(check(ALICE, number));
            }
        };
        flood(&mut queue);
        flood(&mut queue);
        assert_eq!(queue.waiting.len(), MOST_OF_ONE);
        let trace = check(ALICE, 0).trace;
        assert!(queue.offer(check(ALICE, 0)).is_none());
        flood(&mut queue);
        assert!(queue.offer(check(ALICE, 0)).is_some());
        assert!(turns(&mut queue, trace, flood) <= 1);
    }

    #[test]
    fn all_that_wait_for_the_same_password_are_answered_at_once() {
        let mut queue = Queue::new();
        let mut answers = vec![queue.offer(check(ALICE, 0)).unwrap(), queue.offer(check(ALICE, 0)).unwrap()];
        assert_eq!(queue.waiting.len(), 1);
        assert!(queue.next().is_some() && queue.next().is_none());
        answers.push(queue.offer(check(ALICE, 0)).unwrap());
        queue.finish(AuthResult::Accepted);
        for mut answer in answers {
            assert_eq!(answer.try_recv(), Ok(AuthResult::Accepted));
        }
        assert!(queue.next().is_none());
    }

    #[test]
    fn a_replaced_password_is_answered_and_remembered() {
        let mut queue = Queue::new();
        let mut answers: Vec<_> = (0..128).map(|number| queue.offer(check(66, number)).unwrap()).collect();
        let _others: Vec<_> = (0..128).map(|number| queue.offer(check(67, number)).unwrap()).collect();
        let _third = queue.offer(check(ALICE, 0)).unwrap();
        let results = answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).collect::<Vec<_>>();
        assert!(results.len() <= 1 && results.iter().all(|result| *result == AuthResult::Busy));
        assert!(
            queue.turned_away.contains(&check(66, 127).trace)
                != queue.turned_away.contains(&check(67, 127).trace)
        );
    }
}
