//! Random histories. The same seed generates the same history on every machine.

use super::history::{Compression, Harm, History, Kind, Setup, Step, Version};

/// `SplitMix64`, as published by Steele, Lea and Flood.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`; 0 where that is empty.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        let next = self.next();
        if end == 0 { 0 } else { next % end }
    }

    pub(crate) fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(end.into())).unwrap()
    }

    /// True in so many of a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.small(100) < percent
    }

    /// One of these.
    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    /// In random order.
    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            all.swap(end, usize::try_from(self.below(end as u64 + 1)).unwrap());
        }
    }
}

/// The history of a seed. Even ones run the newest pgBackRest, odd ones the installed one.
pub(super) fn history(seed: u64) -> History {
    let mut random = Random::new(seed);
    let version = if seed.is_multiple_of(2) { Version::Newest } else { Version::Installed };
    let setup = setup(&mut random, version);
    let mut steps = vec![Step::Write(1), Step::Switch, Step::BackUp(Kind::Full, 1)];
    for _ in 0..5 + random.small(9) {
        let step = step(&mut random, setup);
        // What came before lies in other seconds for half of the steps.
        if random.chance(50) {
            steps.push(Step::Tick);
        }
        steps.push(step);
        if random.chance(60) {
            steps.extend([Step::Write(1 + random.small(2)), Step::Switch]);
        }
    }
    for _ in 0..random.of(&[0, 0, 1, 1, 2]) {
        let at = 5 + usize::try_from(random.below(steps.len() as u64 - 4)).unwrap();
        steps.insert(at.min(steps.len()), damage(&mut random, setup));
    }
    if random.chance(70) {
        steps.extend([Step::Tick, Step::Write(2), Step::Switch, Step::Write(1)]);
    }
    History { setup, steps }
}

fn setup(random: &mut Random, version: Version) -> Setup {
    let repos = random.of(&[1, 1, 2]);
    Setup {
        version,
        segment_size: random.of(&[1, 1, 1, 1, 1, 1, 2, 16]),
        repos,
        encrypted: random.of(&[0, 0, 1, 2, 3]) & ((1 << repos) - 1),
        compression: random.of(&[Compression::None, Compression::Gz, Compression::Zst, Compression::Lz4]),
        has_bundles: random.chance(70),
    }
}

fn step(random: &mut Random, setup: Setup) -> Step {
    let repo = 1 + random.small(setup.repos);
    match random.small(100) {
        0..15 => Step::Write(1 + random.small(3)),
        15..25 => Step::Switch,
        25..33 => Step::BackUp(Kind::Full, repo),
        33..43 => Step::BackUp(Kind::Diff, repo),
        43..53 => Step::BackUp(Kind::Incr, repo),
        53..56 => Step::BackUp(Kind::Offline, repo),
        56..70 => Step::Back { percent: random.small(100), is_crash: random.chance(30) },
        70..76 => Step::Stream,
        76..82 => Step::Fail,
        82..92 => {
            let percent = random.small(100);
            Step::Clone { percent: random.chance(40).then_some(percent), segments: 1 + random.small(2) }
        }
        92..96 => Step::Expire { repo, full: 1 + random.small(2) },
        _ => Step::ExpireWal {
            repo,
            kind: random.of(&[Kind::Full, Kind::Diff, Kind::Incr]),
            count: 1 + random.small(2),
            is_known: random.chance(50),
        },
    }
}

fn damage(random: &mut Random, setup: Setup) -> Step {
    let repo = 1 + random.small(setup.repos);
    let percent = random.small(100);
    let harm = |harm| Step::Harm { harm, repo, percent };
    match random.small(100) {
        0..35 => harm(Harm::Delete),
        35..50 => harm(Harm::Cut(random.of(&[0, 5]))),
        50..60 => harm(Harm::Rename),
        60..70 => harm(Harm::Duplicate),
        70..80 => Step::LoseHistory { repo, percent },
        80..92 => Step::LoseBackup { repo, percent, is_emptied: false },
        92..96 => Step::LoseBackup { repo, percent, is_emptied: true },
        _ => Step::Skew { repo, seconds: random.of(&[-7200, 7200]) },
    }
}

#[test]
fn a_seed_makes_one_history() {
    for seed in 0..200 {
        let made = history(seed);
        assert_eq!(made, history(seed));
        assert_eq!(made.to_string().parse(), Ok(made));
    }
    assert_ne!(history(2).steps, history(4).steps);
    // The first numbers of the published algorithm for the seed 1234567.
    let mut random = Random::new(1_234_567);
    assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
}
