//! Tables from `fixtures/cron`, and an oracle that looks at every minute.

use std::collections::BTreeSet;
use std::fs;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Field, FieldProblem, Schedule, ScheduleError, fire_at_same_minute, zone};

fn table<Case: DeserializeOwned>(name: &str) -> Vec<Case> {
    let path = format!("{}/fixtures/cron/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Case> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() > 5, "{name} is not read");
    cases
}

#[derive(Deserialize)]
struct Runs {
    says: String,
    expression: String,
    zone: ZoneName,
    after: DateTime<Utc>,
    next: Vec<DateTime<Utc>>,
}

/// A zone by its name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ZoneName(Tz);

impl TryFrom<String> for ZoneName {
    type Error = zone::ZoneError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        zone::parse(&name).map(Self)
    }
}

/// `runs.json` holds cases in which robfig/cron v3.0.1 gave these times; in `wall_clock.json` it strays.
#[test]
fn next_runs() {
    for case in table::<Runs>("runs").into_iter().chain(table("wall_clock")) {
        let schedule = Schedule::parse(&case.expression, case.zone.0).unwrap();
        let mut after = case.after;
        for expected in &case.next {
            assert_eq!(schedule.next(after), Some(*expected), "{}: after {after}", case.says);
            after = *expected;
        }
        if case.next.is_empty() {
            assert_eq!(schedule.next(after), None, "{}", case.says);
        }
    }
}

#[test]
fn previous_runs_are_the_next_ones_backwards() {
    for case in table::<Runs>("runs").into_iter().chain(table("wall_clock")) {
        let schedule = Schedule::parse(&case.expression, case.zone.0).unwrap();
        if case.expression.starts_with("@every") {
            assert_eq!(schedule.previous(case.after), None);
            continue;
        }
        let five_years = |later: &DateTime<Utc>, earlier: &DateTime<Utc>| later.year() - earlier.year() <= 5;
        for pair in case.next.windows(2).filter(|pair| five_years(&pair[1], &pair[0])) {
            assert_eq!(schedule.previous(pair[1]), Some(pair[0]), "{}", case.says);
            let shortly_after = pair[0] + TimeDelta::milliseconds(1);
            assert_eq!(schedule.previous(shortly_after), Some(pair[0]), "{}", case.says);
        }
    }
}

#[derive(Deserialize)]
struct Refused {
    expression: String,
    message: String,
}

#[test]
fn what_the_api_server_refuses() {
    for case in table::<Refused>("refused") {
        let error = Schedule::parse(&case.expression, Tz::UTC).expect_err(&case.expression);
        let message = error.to_string();
        assert!(message.contains(&case.message), "`{}`: {message}", case.expression);
    }
}

#[test]
fn an_error_names_field_value_and_remedy() {
    let error = Schedule::parse("0 0 * * 1-3,7", Tz::UTC).unwrap_err();
    let field = Field::DayOfWeek;
    assert_eq!(
        error,
        ScheduleError::Field { field, value: "7".to_owned(), problem: FieldProblem::SundayAsSeven }
    );
    assert_eq!(
        error.to_string(),
        "day of week `7`: 7 is not a day of the week in Kubernetes; Sunday is 0 or sun"
    );
}

#[derive(Deserialize)]
struct Interval {
    says: String,
    expression: String,
    zone: ZoneName,
    from: DateTime<Utc>,
    days: i64,
    longest: Option<String>,
}

#[test]
fn longest_intervals() {
    for case in table::<Interval>("intervals") {
        let schedule = Schedule::parse(&case.expression, case.zone.0).unwrap();
        let expected =
            case.longest.map(|text| TimeDelta::from_std(humantime::parse_duration(&text).unwrap()).unwrap());
        let found = schedule.longest_interval(case.from, TimeDelta::days(case.days));
        assert_eq!(found, expected, "{}", case.says);
    }
}

#[test]
fn shortest_intervals() {
    let from = "2027-03-01T00:00:00Z".parse().unwrap();
    let cases: [(&str, Option<i64>); 7] = [
        ("@every 1s", Some(1)),
        ("@every 12h", Some(12 * 3600)),
        ("* * * * *", Some(60)),
        ("0,59 3 * * *", Some(59 * 60)),
        ("0 3,4 * * *", Some(3600)),
        ("0 3 * * 0", Some(7 * 86_400)),
        ("0 0 30 2 *", None),
    ];
    for (text, seconds) in cases {
        let schedule = Schedule::parse(text, Tz::UTC).unwrap();
        assert_eq!(schedule.shortest_interval(from, 100), seconds.map(TimeDelta::seconds), "{text}");
    }
}

#[derive(Deserialize)]
struct Conflict {
    says: String,
    one: String,
    one_zone: ZoneName,
    other: String,
    other_zone: ZoneName,
    from: DateTime<Utc>,
    days: i64,
    first: Option<DateTime<Utc>>,
}

#[test]
fn conflicts() {
    for case in table::<Conflict>("conflicts") {
        let one = Schedule::parse(&case.one, case.one_zone.0).unwrap();
        let other = Schedule::parse(&case.other, case.other_zone.0).unwrap();
        let over = case.from..case.from + TimeDelta::days(case.days);
        assert_eq!(fire_at_same_minute(&one, &other, over.clone()), case.first, "{}", case.says);
        assert_eq!(fire_at_same_minute(&other, &one, over), case.first, "{} (turned)", case.says);
    }
}

#[test]
fn schedules_that_never_run() {
    let never = |text| Schedule::parse(text, Tz::UTC).unwrap().never_runs();
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", ", * * * *", "* , * * *", "* * * , *", "0 0 , * *"] {
        assert!(never(text), "{text}");
    }
    for text in ["0 0 29 2 *", "0 0 30 2 1", "* * * * *", "0 0 , * 1", "@yearly", "@every 1h"] {
        assert!(!never(text), "{text}");
    }
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let schedule = Schedule::parse("* * * * *", Tz::Europe__Vienna).unwrap();
    for moment in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let _ = schedule.next(moment);
        let _ = schedule.previous(moment);
        let _ = schedule.longest_interval(moment, TimeDelta::days(1));
    }
    let backwards = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1)..DateTime::<Utc>::UNIX_EPOCH;
    assert_eq!(fire_at_same_minute(&schedule, &schedule, backwards), None);
}

#[test]
fn zones() {
    assert_eq!(zone::parse("Europe/Vienna"), Ok(Tz::Europe__Vienna));
    assert!(zone::parse("").unwrap_err().to_string().contains("empty"));
    for local in ["Local", "local"] {
        assert!(zone::parse(local).unwrap_err().to_string().contains("depends on the local machine"));
    }
    for unknown in ["Europe/Wien", "europe/vienna", "UTC+1", "/Europe/Vienna", "CEST"] {
        assert!(zone::parse(unknown).unwrap_err().to_string().contains(unknown), "{unknown}");
    }
}

/// One field as text, with the values that it means and whether it is an unrestricted star.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    values: BTreeSet<u32>,
    star: bool,
}

fn field(least: u32, greatest: u32) -> impl Strategy<Value = Written> {
    let star = Just(Written { text: "*".to_owned(), values: (least..=greatest).collect(), star: true });
    let stepped = (2_u32..20).prop_map(move |step| Written {
        text: format!("*/{step}"),
        values: (least..=greatest).filter(|value| (value - least).is_multiple_of(step)).collect(),
        star: false,
    });
    let list = proptest::collection::vec((least..=greatest, least..=greatest, 1_u32..5), 1..4);
    let list = list.prop_map(move |parts| {
        let text =
            parts.iter().map(|(one, other, step)| format!("{}-{}/{step}", one.min(other), one.max(other)));
        let mut written =
            Written { text: text.collect::<Vec<_>>().join(","), values: BTreeSet::new(), star: false };
        for (one, other, step) in parts {
            let (start, end) = (one.min(other), one.max(other));
            written.values.extend((start..=end).filter(|value| (value - start).is_multiple_of(step)));
        }
        written
    });
    let single = (least..=greatest).prop_map(|value| Written {
        text: value.to_string(),
        values: BTreeSet::from([value]),
        star: false,
    });
    prop_oneof![3 => star, 1 => stepped, 1 => list, 2 => single]
}

/// The expression's meaning, written down a second time and as plainly as can be.
fn matches(fields: &[Written; 5], minute: DateTime<Utc>, zone: Tz) -> bool {
    let wall = minute.with_timezone(&zone);
    let [minutes, hours, days, months, weekdays] = fields;
    let day = days.values.contains(&wall.day());
    let weekday = weekdays.values.contains(&wall.weekday().num_days_from_sunday());
    minutes.values.contains(&wall.minute())
        && hours.values.contains(&wall.hour())
        && months.values.contains(&wall.month())
        && if days.star || weekdays.star { day && weekday } else { day || weekday }
}

/// Days of change in zones of every kind, and a quiet one.
const MOMENTS: [(Tz, &str); 12] = [
    (Tz::UTC, "2026-02-28T00:00:00Z"),
    (Tz::America__New_York, "2026-03-08T07:00:00Z"),
    (Tz::America__New_York, "2026-11-01T06:00:00Z"),
    (Tz::Europe__Vienna, "2026-03-29T01:00:00Z"),
    (Tz::Europe__London, "2026-10-25T01:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-10-03T15:30:00Z"),
    (Tz::Australia__Lord_Howe, "2026-04-04T15:00:00Z"),
    (Tz::Africa__Cairo, "2026-04-23T22:00:00Z"),
    (Tz::America__Havana, "2026-11-01T05:00:00Z"),
    (Tz::America__St_Johns, "2010-11-07T02:31:00Z"),
    (Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
    (Tz::Asia__Kathmandu, "2026-12-31T18:15:00Z"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_look_at_every_minute(
        fields in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
        moment in proptest::sample::select(&MOMENTS[..]),
        offset in -2_880_i64..2_880,
    ) {
        let fields = [fields.0, fields.1, fields.2, fields.3, fields.4];
        let text = fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ");
        let (zone, change) = moment;
        let change: DateTime<Utc> = change.parse().unwrap();
        let start = change - TimeDelta::days(3);
        let end = change + TimeDelta::days(3);
        let expected: Vec<DateTime<Utc>> = (0..6 * 24 * 60)
            .map(|minute| start + TimeDelta::minutes(minute))
            .filter(|minute| matches(&fields, *minute, zone))
            .collect();

        let schedule = Schedule::parse(&text, zone).unwrap();
        let mut found = Vec::new();
        let mut after = start - TimeDelta::seconds(1);
        while let Some(run) = schedule.next(after).filter(|run| *run < end) {
            found.push(run);
            after = run;
        }
        prop_assert_eq!(&found, &expected, "next, {} in {}", text, zone);

        found.clear();
        let mut before = end;
        while let Some(run) = schedule.previous(before).filter(|run| *run >= start) {
            found.insert(0, run);
            before = run;
        }
        prop_assert_eq!(&found, &expected, "previous, {} in {}", text, zone);

        let from = change + TimeDelta::minutes(offset);
        let known: Vec<_> = expected.windows(2).filter(|pair| pair[1] > from).map(|pair| pair[1] - pair[0]).collect();
        if expected.first().is_some_and(|first| *first < from) && known.len() > 1 {
            // The last pair known starts within the period; whatever follows does not.
            let over = expected[expected.len() - 2] - from + TimeDelta::seconds(1);
            if over > TimeDelta::zero() {
                prop_assert_eq!(schedule.longest_interval(from, over), known.into_iter().max(), "{}", text);
            }
        }
    }

    #[test]
    fn reads_anything_without_falling_over(text in "[0-9a-zA-Z*?/,@. LW#=+-]{0,24}") {
        if let Ok(schedule) = Schedule::parse(&text, Tz::Europe__Vienna) {
            let now: DateTime<Utc> = "2026-05-01T12:00:00Z".parse().unwrap();
            if let Some(next) = schedule.next(now) {
                prop_assert!(next > now);
            }
        }
    }
}
