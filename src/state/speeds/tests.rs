//! Estimates from made-up tests, and properties of all of them.

use proptest::prelude::*;

use super::super::examples::{day, restore_test};
use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn course(samples: &[(u64, f64)]) -> Option<Course> {
    Course::of(
        &samples
            .iter()
            .map(|(bytes, seconds)| Sample { bytes: *bytes, seconds: *seconds })
            .collect::<Vec<_>>(),
    )
}

fn median(samples: &[(u64, f64)], bytes: u64) -> Option<f64> {
    course(samples)?.estimate(bytes).map(|estimate| estimate.median)
}

fn is_near(found: Option<f64>, expected: f64) {
    let found = found.expect("an estimate");
    assert!((found - expected).abs() <= expected * 0.05, "{found}, not {expected}");
}

#[test]
fn one_test_is_extrapolated_by_its_speed() {
    let test = [(100 * GIB, 1000.0)];
    is_near(median(&test, 100 * GIB), 1000.0);
    is_near(median(&test, 200 * GIB), 2000.0);
    assert_eq!(median(&[], GIB), None);
}

#[test]
fn small_tests_measure_the_fixed_part() {
    // 8 s and 50 MiB/s.
    let seconds = |mib: u64| (mib * MIB, 8.0 + mib as f64 / 50.0);
    let tests = [seconds(1), seconds(100), seconds(16), seconds(20_000), seconds(15_000)];
    for mib in [0, 1, 500, 20_000, 100_000] {
        is_near(median(&tests, mib * MIB), 8.0 + mib as f64 / 50.0);
    }
}

#[test]
fn tiny_tests_say_nothing_about_large_amounts() {
    // 200 bytes of WAL in 3 s are no speed of 67 bytes per second.
    let tiny = [(200, 3.0), (400, 3.5), (0, 2.5)];
    assert_eq!(median(&tiny, 16 * MIB), Some(3.0));
    assert_eq!(median(&tiny, LEAST + 1), None);
    let small = [(LEAST, 10.0)];
    is_near(median(&small, 10 * LEAST), 100.0);
    assert_eq!(median(&small, 10 * LEAST + 1), None);
}

#[test]
fn the_slowest_test_is_the_worst() {
    let tests = [(GIB, 10.0), (GIB, 40.0), (GIB, 12.0)];
    assert_eq!(course(&tests).unwrap().estimate(GIB), Some(Estimate { median: 12.0, worst: 40.0 }));
    let even = [(GIB, 10.0), (GIB, 20.0)];
    assert_eq!(median(&even, GIB), Some(15.0));
}

#[test]
fn no_time_is_no_speed() {
    assert_eq!(course(&[(GIB, 0.0)]), None);
    assert_eq!(median(&[(GIB, 0.0), (GIB, 8.0)], GIB), Some(8.0));
    assert_eq!(median(&[(0, 0.0)], MIB), Some(0.0));
}

#[test]
fn only_tests_that_passed_measure() {
    let test = restore_test(day(1), Outcome::Passed);
    let measured = Measurement::of(&test).unwrap();
    assert_eq!(measured.restore, Some(Sample { bytes: 30_000_000, seconds: 1.234 }));
    assert_eq!(measured.replay, Some(Sample { bytes: 16_777_448, seconds: 2.5 }));
    for outcome in [Outcome::Failed, Outcome::Inconclusive, Outcome::TimedOut] {
        assert_eq!(Measurement::of(&RestoreTest { outcome, ..test.clone() }), None);
    }
    let unknown = RestoreTest { restored_bytes: None, backup: None, wal_bytes: None, ..test.clone() };
    assert_eq!(Measurement::of(&unknown), None);
    // Without the size of the database, what was restored counts.
    let nameless = RestoreTest { backup: None, restored_bytes: Some(9), ..test.clone() };
    assert_eq!(Measurement::of(&nameless).unwrap().restore.unwrap().bytes, 9);
    let partial = RestoreTest { databases: vec!["shop".to_owned()], ..test };
    assert_eq!(Measurement::of(&partial).unwrap().restore, None);
    assert_eq!(Speeds::of(&[Measurement { replay: None, ..measured }]), None, "replay was not measured");
}

fn any_samples() -> impl Strategy<Value = Vec<(u64, f64)>> {
    let bytes = prop_oneof![0..LEAST, LEAST..(1 << 44)];
    prop::collection::vec((bytes, 0.0..1e6_f64), 0..8)
}

proptest! {
    #[test]
    fn more_bytes_never_take_less_time(samples in any_samples(), mut amounts in prop::array::uniform2(0..1_u64 << 50)) {
        amounts.sort_unstable();
        if let Some(course) = course(&samples) {
            let [fewer, more] = amounts.map(|bytes| course.estimate(bytes));
            prop_assert!(fewer.is_some() || more.is_none());
            if let (Some(fewer), Some(more)) = (fewer, more) {
                prop_assert!(fewer.median <= more.median && fewer.worst <= more.worst);
            }
        }
    }

    #[test]
    fn estimates_are_finite_and_the_worst_is_not_better(samples in any_samples(), bytes in any::<u64>()) {
        if let Some(estimate) = course(&samples).and_then(|course| course.estimate(bytes)) {
            prop_assert!(estimate.median.is_finite() && estimate.worst.is_finite());
            prop_assert!(0.0 <= estimate.median && estimate.median <= estimate.worst);
        }
    }

    #[test]
    fn no_estimate_is_far_from_all_tests(samples in any_samples(), bytes in any::<u64>()) {
        let slowest = samples.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
        if let Some(estimate) = course(&samples).and_then(|course| course.estimate(bytes)) {
            // Ten times the largest amount, at the speed of a test with at least a quarter of it.
            prop_assert!(estimate.worst <= slowest * (1.0 + FURTHEST * LARGE_PART as f64) * 1.000_001);
        }
    }

    #[test]
    fn tests_of_a_known_machine_predict_it(
        fixed in 0.0..60.0_f64,
        speed in 1e6..4e8_f64,
        amounts in prop::collection::vec(4 * GIB..16 * GIB, 1..10),
        wanted in 4 * GIB..40 * GIB,
    ) {
        let seconds = |bytes: u64| fixed + bytes as f64 / speed;
        let mut samples: Vec<_> = amounts.into_iter().map(|bytes| (bytes, seconds(bytes))).collect();
        samples.push((MIB, seconds(MIB)));
        let found = median(&samples, wanted).unwrap();
        let error = (found - seconds(wanted)).abs() / seconds(wanted);
        prop_assert!(error < 0.2, "{found}, not {}", seconds(wanted));
    }
}
