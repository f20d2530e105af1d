//! Processes that divide one fleet into different numbers of shards: while any of one number leads, none of another one does.

use pgbackrest_keeper::kubernetes::lease::Leadership;
use pgbackrest_keeper::kubernetes::shard::Shard;
use rand::Rng;
use tokio::time::{Instant, sleep};

use super::election::{DURATION, Election, Keeper, Mode};

fn shard(index: u16, total: u16) -> Shard {
    Shard::new(index, total).unwrap()
}

#[tokio::test(start_paused = true)]
async fn another_number_of_shards_waits_for_the_last_holder() {
    let election = Election::new();
    let mut whole = election.leader("whole").await;
    let mut first = election.keeper_of("first", shard(0, 2));
    let mut second = election.keeper_of("second", shard(1, 2));
    for keeper in [&mut first, &mut second] {
        keeper.start();
        keeper.turns(&Leadership::Following("whole".to_owned())).await;
    }
    // Longer than its lease would last if it were not renewed.
    sleep(DURATION * 3).await;
    assert_eq!(whole.state(), Leadership::Leading);
    whole.stop().await;
    first.turns(&Leadership::Leading).await;
    second.turns(&Leadership::Leading).await;

    let mut third = election.keeper_of("third", shard(2, 3));
    third.start();
    third.settles().await;
    first.stop().await;
    third.turns(&Leadership::Following("second".to_owned())).await;
    second.dies().await;
    let last = election.last_write();
    third.turns(&Leadership::Leading).await;
    assert!(last.elapsed() > DURATION, "{:?}", last.elapsed());
    election.judge();
}

/// Otherwise, neither would look for the other again.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_deleted_gives_way_to_a_rival() {
    let mut led_by_rival = 0;
    for _ in 0..20 {
        let election = Election::new();
        let whole = election.leader("whole").await;
        let mut first = election.keeper_of("first", shard(0, 2));
        first.start();
        first.turns(&Leadership::Following("whole".to_owned())).await;
        sleep(DURATION.mul_f64(rand::rng().random_range(0.0..1.0))).await;
        election.remove();
        sleep(DURATION * 4).await;
        for _ in 0..10 {
            let leaders = [&whole, &first].map(|keeper| keeper.state() == Leadership::Leading);
            assert!(leaders == [true, false] || leaders == [false, true], "{leaders:?}");
            led_by_rival += usize::from(leaders[1]);
            sleep(DURATION / 3).await;
        }
    }
    assert!(led_by_rival > 0, "that the rival sees the gap was not tried");
}

/// As after its host was suspended.
#[tokio::test(start_paused = true)]
async fn a_leader_sees_a_rival_that_came_unnoticed() {
    let election = Election::new();
    let mut first = election.keeper_of("first", shard(0, 2));
    first.start();
    first.turns(&Leadership::Leading).await;
    election.put(&serde_json::json!({"holderIdentity": "whole", "leaseDurationSeconds": 60}));
    first.turns(&Leadership::Following("whole".to_owned())).await;
    election.remove();
    first.turns(&Leadership::Leading).await;
    // What it may not see does not end its lead.
    first.door.set(Mode::RefusesLists);
    sleep(DURATION * 5).await;
    assert_eq!(first.state(), Leadership::Leading);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_version_without_shards_counts() {
    let election = Election::new();
    // Without our label.
    let spec = serde_json::json!({"holderIdentity": "old", "leaseDurationSeconds": 3600});
    election.put(&spec);
    let mut first = election.keeper_of("first", shard(0, 2));
    first.start();
    first.turns(&Leadership::Following("old".to_owned())).await;
    election.remove();
    first.turns(&Leadership::Leading).await;
    election.judge();
}

#[tokio::test(start_paused = true)]
async fn of_several_numbers_that_begin_at_once_one_wins() {
    for _ in 0..20 {
        let election = Election::new();
        let mut keepers: Vec<Keeper> = [(0, 1), (0, 2), (1, 2), (0, 3), (2, 3)]
            .map(|(index, total)| election.keeper_of(&format!("{index}-of-{total}"), shard(index, total)))
            .into();
        keepers.iter_mut().for_each(Keeper::start);
        let ends = Instant::now() + DURATION * 100;
        let totals = loop {
            let leaders = keepers.iter().filter(|keeper| keeper.state() == Leadership::Leading);
            let totals: Vec<u16> = leaders.map(|keeper| keeper.shard.total()).collect();
            if totals.first().is_some_and(|total| totals.len() == keepers_of(&keepers, *total)) {
                break totals;
            }
            assert!(Instant::now() < ends, "{totals:?} lead");
            sleep(DURATION / 10).await;
        };
        sleep(DURATION * 3).await;
        let leaders = keepers.iter().filter(|keeper| keeper.state() == Leadership::Leading).count();
        assert_eq!(leaders, totals.len());
        election.judge();
    }
}

fn keepers_of(keepers: &[Keeper], total: u16) -> usize {
    keepers.iter().filter(|keeper| keeper.shard.total() == total).count()
}

/// What may not be looked at may be held.
#[tokio::test(start_paused = true)]
async fn who_may_not_list_leases_does_not_lead() {
    for total in [1, 2] {
        let election = Election::new();
        let mut keeper = election.keeper_of("a", shard(0, total));
        keeper.door.set(Mode::RefusesLists);
        keeper.start();
        keeper.door.is_asked().await;
        sleep(DURATION * 3).await;
        assert_eq!(keeper.state(), Leadership::Waiting);
        keeper.door.set(Mode::Open);
        keeper.turns(&Leadership::Leading).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_breaks_no_cluster_has_two_leaders() {
    let election = Election::new();
    let shards = [(0, 1), (0, 2), (0, 2), (1, 2), (0, 3), (1, 3)];
    let mut keepers = Vec::new();
    for (number, (index, total)) in shards.into_iter().enumerate() {
        keepers.push(election.keeper_of(&format!("{number}: {index}-of-{total}"), shard(index, total)));
    }
    keepers.iter_mut().for_each(Keeper::start);
    let ends = Instant::now() + DURATION * 300;
    let (mut done, mut led) = (Vec::new(), std::collections::BTreeSet::new());
    while Instant::now() < ends {
        let mut rng = rand::rng();
        let mode = [
            Mode::Silent,
            Mode::Refuses(500),
            Mode::WritesSilently,
            Mode::RefusesLists,
            Mode::Open,
            Mode::Open,
        ][rng.random_range(0..6)];
        let leaders: Vec<usize> =
            (0..keepers.len()).filter(|number| keepers[*number].state() == Leadership::Leading).collect();
        led.extend(leaders.iter().copied());
        let which = if !leaders.is_empty() && rng.random_bool(0.6) {
            leaders[rng.random_range(0..leaders.len())]
        } else {
            rng.random_range(0..keepers.len())
        };
        let pause = rng.random_range(1..=12);
        done.push((which, mode, pause));
        keepers[which].door.set(mode);
        sleep(DURATION / 16 * pause).await;
    }
    println!("{done:?}");
    assert!(led.len() > 2, "{led:?}");
    election.judge();
}
