//! Basic authentication with bcrypt, as in exporter-toolkit: one hash at a time, cached results, and the same amount of
//! work for unknown and known users.

mod queue;
mod recent;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

use super::client::ClientAddress;
use queue::{Check, Queue};
use recent::{Recent, Trace};

/// Maximum cost of a hash. One check at this cost takes minutes.
const HIGHEST_COST: u32 = 20;
/// Cost of the hash for unknown users if no user is configured.
const USUAL_COST: u32 = 10;
/// Salt and hash of an unused password, without `$2y$` and cost.
const NOBODY: &str = "5TA7wXnC8W9VcZmERMzJSuQkwo6LWE6nXn4abrN3oJs.Vi.cErR9G";
/// What bcrypt reads of a password.
const READ_BY_BCRYPT: usize = 72;
/// Remembered passwords of users. Kept apart from guesses, which cannot evict them.
const ACCEPTED: usize = 128;
/// Number of remembered wrong passwords, which are rejected without another check.
const REFUSED: usize = 4096;

/// The users and their hashes. Debug shows names only.
#[derive(Clone, Default)]
pub struct Users {
    hashes: BTreeMap<String, String>,
    highest_cost: Option<u32>,
}

impl fmt::Debug for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl Users {
    /// Adds a user. The error contains reason and remedy, but never the text, which may be a password.
    pub fn add(&mut self, name: &str, hash: &str) -> Result<(), String> {
        let parts = HashParts::from_str(hash).map_err(|_| {
            "the value is not a bcrypt hash; create one with htpasswd -nBC 10 \"\" and write it in quotes"
                .to_owned()
        })?;
        let cost = parts.get_cost();
        if !(4..=HIGHEST_COST).contains(&cost) {
            return Err(format!(
                "the bcrypt cost {cost} is not between 4 and {HIGHEST_COST}; create the hash with htpasswd -nBC 10 \"\""
            ));
        }
        self.highest_cost = self.highest_cost.max(Some(cost));
        self.hashes.insert(name.to_owned(), hash.to_owned());
        Ok(())
    }

    /// Whether no password is required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The hash to check against, and whether the user exists.
    fn hash_of(&self, name: &str) -> (String, bool) {
        match self.hashes.get(name) {
            Some(hash) => (hash.clone(), true),
            None => (format!("$2y${:02}${NOBODY}", self.highest_cost.unwrap_or(USUAL_COST)), false),
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthResult {
    /// A known user with the right password.
    Accepted,
    /// Anything else.
    Refused,
    /// Too many checks are waiting; the client should retry.
    Busy,
}

/// Checks passwords, one at a time, and remembers the results.
#[derive(Debug, Clone)]
pub struct Checker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    cache: PasswordCache,
}

#[derive(Debug)]
struct PasswordCache {
    /// Random per process, so that a memory dump does not reveal short passwords.
    key: hmac::Key,
    accepted: Mutex<Recent>,
    refused: Mutex<Recent>,
}

impl Checker {
    /// Creates a checker with an empty cache. Fails if the system has no random numbers.
    pub fn new() -> std::io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| std::io::Error::other("the system provides no random numbers"))?;
        let [accepted, refused] = [ACCEPTED, REFUSED].map(|most| Mutex::new(Recent::new(most)));
        let cache = PasswordCache { key, accepted, refused };
        Ok(Self(Arc::new(Shared { queue: Mutex::new(Queue::new()), cache })))
    }

    /// Checks the `Authorization` header of a client's request.
    pub async fn check(
        &self,
        users: &Users,
        client: ClientAddress,
        authorization: Option<&str>,
    ) -> AuthResult {
        let Some((name, mut password)) = authorization.and_then(credentials) else {
            return AuthResult::Refused;
        };
        let (hash, is_known) = users.hash_of(&name);
        let trace = self.0.cache.trace(&name, &hash, &password);
        if let Some(result) = self.0.cache.recall(&trace) {
            return result;
        }
        password.truncate(READ_BY_BCRYPT);
        let answer = self.0.queue.lock().offer(Check { client, trace, password, hash, is_known });
        let Some(answer) = answer else { return AuthResult::Busy };
        self.begin();
        answer.await.unwrap_or(AuthResult::Busy)
    }

    /// Starts the next check, unless one is running. It continues even if the client disconnects.
    fn begin(&self) {
        let Some(Check { trace, password, hash, is_known, .. }) = self.0.queue.lock().next() else { return };
        let this = self.clone();
        tokio::spawn(async move {
            let check = move || bcrypt::verify(password, &hash).unwrap_or(false);
            let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
            let result = if is_right && is_known { AuthResult::Accepted } else { AuthResult::Refused };
            this.0.cache.keep(trace, result);
            this.0.queue.lock().finish(result);
            this.begin();
        });
    }
}

impl PasswordCache {
    fn trace(&self, name: &str, hash: &str, password: &[u8]) -> Trace {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            // The lengths distinguish ("ab", "c") from ("a", "bc").
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut trace = [0; 32];
        trace.copy_from_slice(context.sign().as_ref());
        trace
    }

    fn recall(&self, trace: &Trace) -> Option<AuthResult> {
        if self.accepted.lock().contains(trace) {
            return Some(AuthResult::Accepted);
        }
        self.refused.lock().contains(trace).then_some(AuthResult::Refused)
    }

    fn keep(&self, trace: Trace, result: AuthResult) {
        let results = if result == AuthResult::Accepted { &self.accepted } else { &self.refused };
        results.lock().add(trace);
    }
}

/// Parses `Basic BASE64(name:password)`, with a case-insensitive scheme, like Go's `Request.BasicAuth`.
fn credentials(authorization: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = decoded.split_at(colon);
    Some((String::from_utf8(name.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures_util::FutureExt as _;

    use super::*;

    fn basic(name: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
    }

    fn client(number: u8) -> ClientAddress {
        std::net::IpAddr::from([192, 0, 2, number]).into()
    }

    fn users() -> Users {
        let mut users = Users::default();
        users.add("alice", &bcrypt::hash("wonder:land", 4).expect("hash")).expect("hash is good");
        users
    }

    #[tokio::test]
    async fn only_the_right_password_is_accepted() {
        let (checker, users) = (Checker::new().expect("random"), users());
        for _ in 0..2 {
            assert_eq!(
                checker.check(&users, client(1), Some(&basic("alice", "wonder:land"))).await,
                AuthResult::Accepted
            );
            assert_eq!(
                checker.check(&users, client(1), Some(&basic("alice", "wonder"))).await,
                AuthResult::Refused
            );
            assert_eq!(
                checker.check(&users, client(1), Some(&basic("bob", "wonder:land"))).await,
                AuthResult::Refused
            );
        }
        assert_eq!(checker.check(&users, client(1), None).await, AuthResult::Refused);
        for wrong in ["", "Basic", "Basic !!!", "Bearer YTpi", "Basic YWxpY2U="] {
            assert_eq!(checker.check(&users, client(1), Some(wrong)).await, AuthResult::Refused, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_new_hash_forgets_the_old_password() {
        let (checker, mut users) = (Checker::new().expect("random"), users());
        let header = basic("alice", "wonder:land");
        assert_eq!(checker.check(&users, client(1), Some(&header)).await, AuthResult::Accepted);
        users.add("alice", &bcrypt::hash("other", 4).expect("hash")).expect("hash is good");
        assert_eq!(checker.check(&users, client(1), Some(&header)).await, AuthResult::Refused);
    }

    #[tokio::test]
    async fn a_remembered_password_is_quick_and_an_unknown_user_slow() {
        let checker = Checker::new().expect("random");
        let mut users = Users::default();
        users.add("alice", &bcrypt::hash("secret", 8).expect("hash")).expect("hash is good");
        let time = async |header: String| {
            let start = Instant::now();
            checker.check(&users, client(1), Some(&header)).await;
            start.elapsed()
        };
        // No machine computes a hash of cost 8 faster than this.
        let work = Duration::from_millis(4);
        let first = time(basic("alice", "secret")).await;
        assert!(first > work);
        assert!(time(basic("mallory", "secret")).await > work, "an unknown user costs as much");
        // The shortest of many, since a busy machine may do something else meanwhile.
        let mut again = first;
        for _ in 0..50 {
            again = again.min(time(basic("alice", "secret")).await);
        }
        assert!(again < first / 2, "a remembered password costs nothing");
    }

    #[tokio::test]
    async fn a_flood_of_guesses_is_turned_away() {
        let (checker, users) = (Checker::new().expect("random"), users());
        assert_eq!(
            checker.check(&users, client(1), Some(&basic("alice", "wonder:land"))).await,
            AuthResult::Accepted
        );
        let guesses = (0..200).map(|guess| {
            let (checker, users) = (checker.clone(), users.clone());
            async move { checker.check(&users, client(1), Some(&basic("alice", &guess.to_string()))).await }
        });
        let results = futures_util::future::join_all(guesses).await;
        assert!(results.contains(&AuthResult::Busy));
        assert!(!results.contains(&AuthResult::Accepted));
        assert_eq!(
            checker.check(&users, client(1), Some(&basic("alice", "wonder:land"))).await,
            AuthResult::Accepted
        );
    }

    #[tokio::test]
    async fn a_right_password_passes_a_flood_of_guesses_at_first() {
        let (checker, users) = (Checker::new().expect("random"), users());
        let guesses: Vec<_> = (0..400)
            .map(|guess| {
                let (checker, users) = (checker.clone(), users.clone());
                let header = basic("alice", &guess.to_string());
                tokio::spawn(async move { checker.check(&users, client(1), Some(&header)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let right = basic("alice", "wonder:land");
        assert_eq!(checker.check(&users, client(2), Some(&right)).await, AuthResult::Accepted);
        for guess in guesses {
            assert_ne!(guess.await.expect("no panic"), AuthResult::Accepted);
        }
    }

    #[tokio::test]
    async fn a_check_goes_on_without_its_client() {
        let (checker, users) = (Checker::new().expect("random"), users());
        let right = basic("alice", "wonder:land");
        // It leaves once the check has begun.
        let first = checker.check(&users, client(1), Some(&right));
        assert!(first.now_or_never().is_none());
        let hash = users.hash_of("alice").0;
        let trace = checker.0.cache.trace("alice", &hash, b"wonder:land");
        while checker.0.cache.recall(&trace).is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(checker.0.cache.recall(&trace), Some(AuthResult::Accepted));
    }

    #[tokio::test]
    async fn hashes_of_other_makers_are_read() {
        // Created by crypt(3) of libxcrypt 4.4 with the prefixes that htpasswd, Python and PHP write.
        let made = [
            ("y", "$2y$05$Keeper1Keeper1Keeper1u8pibArzEY9wfuHBeTT2vvLLY8B69bTO"),
            ("b", "$2b$05$Keeper1Keeper1Keeper1u8pibArzEY9wfuHBeTT2vvLLY8B69bTO"),
            ("a", "$2a$05$Keeper1Keeper1Keeper1u8pibArzEY9wfuHBeTT2vvLLY8B69bTO"),
        ];
        let checker = Checker::new().expect("random");
        for (name, hash) in made {
            let mut users = Users::default();
            users.add(name, hash).expect("a bcrypt hash");
            assert_eq!(
                checker.check(&users, client(1), Some(&basic(name, "Grüße: 1"))).await,
                AuthResult::Accepted,
                "{name}"
            );
        }
    }

    #[test]
    fn hashes_are_checked_and_hidden() {
        let mut users = Users::default();
        let wrong = users.add("a", "keeper").expect_err("refused");
        assert!(!wrong.contains("keeper"), "{wrong}");
        assert!(users.add("a", "$2y$31$5TA7wXnC8W9VcZmERMzJSuQkwo6LWE6nXn4abrN3oJs.Vi.cErR9G").is_err());
        assert!(users.add("a", "$2y$04$5TA7wXnC8W9VcZmERMzJSuQkwo6LWE6nXn4abrN3oJs.Vi.cErR9G").is_ok());
        assert_eq!(format!("{users:?}"), "{\"a\"}");
        let unknown = users.hash_of("b").0;
        assert!(HashParts::from_str(&unknown).is_ok() && unknown.starts_with("$2y$04$"));
    }
}
