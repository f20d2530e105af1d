//! Replicas that share a lease, with servers that stop responding, reject requests, or accept another write in between. A replica never
//! acquires the lease while another one still believes that it leads. The clock is paused: it advances to the next timer once there
//! is nothing else to do, no matter how slow the machine is.

mod election;
mod real;
mod shards;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use pgbackrest_keeper::kubernetes::lease::Leadership;
use rand::Rng;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::support::web::PATIENCE;
use election::{DURATION, Election, Mode};

#[tokio::test(start_paused = true)]
async fn who_comes_first_leads_and_gives_it_back_at_the_end() {
    let election = Election::new();
    let began = Timestamp::now();
    let (mut a, mut b) = (election.keeper("a"), election.keeper("b"));
    assert_eq!(a.state(), Leadership::Waiting);
    a.start();
    a.turns(&Leadership::Leading).await;
    let spec = election.spec();
    assert_eq!(spec["holderIdentity"], "a");
    assert_eq!(spec["leaseDurationSeconds"], DURATION.as_secs());
    assert_eq!(spec["leaseTransitions"], 0);
    let acquired: Timestamp = spec["acquireTime"].as_str().unwrap().parse().unwrap();
    assert!((began..=Timestamp::now()).contains(&acquired), "{acquired}");

    b.start();
    b.turns(&Leadership::Following("a".to_owned())).await;
    // It is renewed, by one and the same holder.
    election.written(3).await;
    let renewed = election.spec();
    assert_eq!(
        (&renewed["holderIdentity"], &renewed["acquireTime"]),
        (&spec["holderIdentity"], &spec["acquireTime"])
    );
    assert!(renewed["renewTime"].as_str() > spec["renewTime"].as_str());

    let stopped = Instant::now();
    a.stop().await;
    assert_eq!(a.state(), Leadership::Waiting);
    b.turns(&Leadership::Leading).await;
    // Nobody had to wait for it to run out, which takes longer than the pause between two looks.
    assert!(stopped.elapsed() < DURATION, "{:?}", stopped.elapsed());
    assert_eq!(election.spec()["leaseTransitions"], 1);
    b.stop().await;
    assert_eq!(election.spec().get("holderIdentity"), None);
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn of_many_who_begin_at_once_one_leads() {
    let election = Election::new();
    let mut keepers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        keepers.push(election.keeper(name));
    }
    for keeper in &mut keepers {
        keeper.start();
    }
    for keeper in &mut keepers {
        keeper.settles().await;
    }
    let leads = keepers.iter().filter(|keeper| keeper.state() == Leadership::Leading).count();
    assert_eq!(leads, 1);
    let holder = election.spec()["holderIdentity"].as_str().unwrap().to_owned();
    for keeper in &keepers {
        let expected =
            if keeper.name == holder { Leadership::Leading } else { Leadership::Following(holder.clone()) };
        assert_eq!(keeper.state(), expected, "{}", keeper.name);
    }
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_gone_is_followed_once_its_time_is_over() {
    let election = Election::new();
    let (mut a, mut b) = (election.leader("a").await, election.keeper("b"));
    b.start();
    b.turns(&Leadership::Following("a".to_owned())).await;
    a.dies().await;
    let last = election.last_write();
    b.turns(&Leadership::Leading).await;
    assert!(last.elapsed() > DURATION, "{:?}", last.elapsed());
    assert_eq!(election.spec()["leaseTransitions"], 1);
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_starts() {
    for mode in [Mode::Silent, Mode::Refuses(503), Mode::WritesSilently] {
        let election = Election::new();
        let (mut a, mut b) = (election.leader("a").await, election.keeper("b"));
        b.start();
        b.turns(&Leadership::Following("a".to_owned())).await;
        a.door.set(mode);
        a.turns(&Leadership::Waiting).await;
        assert!(
            election.last_write().elapsed() < DURATION,
            "{mode:?}: {:?}",
            election.last_write().elapsed()
        );
        if mode == Mode::WritesSilently {
            // Its name comes to the lease again and again. It leads as soon as it hears of it.
            assert_eq!(election.spec()["holderIdentity"], "a");
            a.door.set(Mode::Open);
            a.turns(&Leadership::Leading).await;
        } else {
            b.turns(&Leadership::Leading).await;
            a.door.set(Mode::Open);
            a.turns(&Leadership::Following("b".to_owned())).await;
        }
        election.judge();
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_trouble_changes_nothing() {
    let election = Election::new();
    let mut a = election.leader("a").await;
    let changes = a.record_changes();
    for mode in [Mode::RefusesOnce(500), Mode::RefusesOnce(429), Mode::MeddlesOnce, Mode::MeddlesTwice] {
        a.door.set(mode);
        a.door.is_open_again().await;
        election.written(2).await;
    }
    assert_eq!(election.spec()["holderIdentity"], "a");
    // What others wrote into the lease is left there.
    assert_eq!(election.lease().unwrap()["metadata"]["annotations"]["meddled"], "3");
    a.stop().await;
    assert_eq!(changes.await.unwrap(), [Leadership::Waiting]);
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_always_comes_too_late_stops() {
    let election = Election::new();
    let mut a = election.leader("a").await;
    a.door.set(Mode::Meddles);
    a.turns(&Leadership::Waiting).await;
    assert!(election.last_write().elapsed() < DURATION);
    let looks = a.door.looks();
    sleep(DURATION / 2).await;
    // Three looks for each pause, not as many as fit.
    assert!(a.door.looks() - looks <= 12, "{}", a.door.looks() - looks);
    a.door.set(Mode::Open);
    a.turns(&Leadership::Leading).await;
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_or_removed_is_seen() {
    let election = Election::new();
    let mut a = election.keeper("a");
    // Released by client-go: a name that is empty.
    election.put(&json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 4}));
    a.start();
    a.turns(&Leadership::Leading).await;
    assert_eq!(election.spec()["leaseTransitions"], 5);
    election.put(&json!({"holderIdentity": "somebody", "leaseDurationSeconds": 3600}));
    a.turns(&Leadership::Following("somebody".to_owned())).await;
    election.remove();
    a.turns(&Leadership::Leading).await;
    assert_eq!(election.spec()["leaseTransitions"], 0);
    a.stop().await;
    assert_eq!(election.spec().get("holderIdentity"), None);
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_though_nobody_answers() {
    for mode in [Mode::Silent, Mode::Refuses(503), Mode::Meddles] {
        let election = Election::new();
        let mut a = election.leader("a").await;
        a.door.set(mode);
        // In the middle of a call.
        a.door.is_asked().await;
        let stopped = Instant::now();
        timeout(PATIENCE, a.stop()).await.expect("an end");
        assert!(stopped.elapsed() < Duration::from_secs(8), "{mode:?}: {:?}", stopped.elapsed());
        assert_eq!(a.state(), Leadership::Waiting);
        assert_eq!(election.spec()["holderIdentity"], "a");
        election.judge();
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_breaks_there_are_never_two() {
    let election = Election::new();
    let mut keepers = Vec::new();
    for name in ["a", "b", "c"] {
        keepers.push(election.keeper(name));
    }
    for keeper in &mut keepers {
        keeper.start();
    }
    let ends = Instant::now() + DURATION * 200;
    let mut done = Vec::new();
    while Instant::now() < ends {
        let mut rng = rand::rng();
        let mode =
            [Mode::Silent, Mode::Refuses(500), Mode::WritesSilently, Mode::Meddles, Mode::Open, Mode::Open]
                [rng.random_range(0..6)];
        // Mostly whoever leads, since the others can do no harm.
        let leader = keepers.iter().position(|keeper| keeper.state() == Leadership::Leading);
        let which = leader.filter(|_| rng.random_bool(0.6)).unwrap_or_else(|| rng.random_range(0..3));
        let pause = rng.random_range(1..=12);
        done.push((which, mode, pause));
        keepers[which].door.set(mode);
        sleep(DURATION / 16 * pause).await;
    }
    for keeper in &mut keepers {
        keeper.door.set(Mode::Open);
    }
    for keeper in &mut keepers {
        keeper.settles().await;
    }
    println!("{done:?}");
    election.judge();
}
