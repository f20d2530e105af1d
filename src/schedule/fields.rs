//! Parses the five fields of a cron expression, and the equivalent words.
//!
//! The grammar is that of robfig/cron v3.0.1 `ParseStandard`, also where it is lenient: `?` means `*`, empty parts of a
//! list are skipped, anything after `*-` is ignored, numbers may have a `+`.

use super::calendar::{Calendar, FieldSet};
use super::error::{Field, FieldProblem, ScheduleError};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Parses five fields separated by spaces.
pub(super) fn parse(text: &str) -> Result<Calendar, ScheduleError> {
    let written: Vec<&str> = text.split_whitespace().collect();
    let &[minute, hour, day_of_month, month, day_of_week] = written.as_slice() else {
        return Err(ScheduleError::FieldCount { text: text.to_owned(), found: written.len() });
    };
    Ok(Calendar::new([
        parse_field(Field::Minute, minute)?,
        parse_field(Field::Hour, hour)?,
        parse_field(Field::DayOfMonth, day_of_month)?,
        parse_field(Field::Month, month)?,
        parse_field(Field::DayOfWeek, day_of_week)?,
    ]))
}

/// Parses words such as `@daily`, but not `@every`.
pub(super) fn parse_word(word: &str) -> Result<Calendar, ScheduleError> {
    parse(self::word(word)?)
}

/// The five fields that a word stands for.
pub(super) fn word(word: &str) -> Result<&'static str, ScheduleError> {
    match word {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ => Err(ScheduleError::Word { word: word.to_owned() }),
    }
}

pub(super) fn parse_field(field: Field, text: &str) -> Result<FieldSet, ScheduleError> {
    let mut set = FieldSet::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let allowed = parse_part(field, part).map_err(|problem| ScheduleError::Field {
            field,
            value: part.to_owned(),
            problem,
        })?;
        set = set.union(allowed);
    }
    Ok(set)
}

/// One part of a list: `*`, `5`, `5-10`, each optionally with `/2`.
fn parse_part(field: Field, part: &str) -> Result<FieldSet, FieldProblem> {
    let (least, greatest) = field.bounds();
    let mut slashes = part.split('/');
    let range = slashes.next().unwrap_or_default();
    let step_text = slashes.next();
    let mut hyphens = range.split('-');
    let low = hyphens.next().unwrap_or_default();
    let high = hyphens.next();

    let star = matches!(low, "*" | "?");
    let (start, end) = match high {
        _ if star => (least, greatest),
        None => value(field, low).map(|number| (number, number))?,
        Some(high) => {
            let ends = (value(field, low)?, value(field, high)?);
            if hyphens.next().is_some() {
                return Err(FieldProblem::TwiceTheSign { sign: '-' });
            }
            ends
        }
    };
    if slashes.next().is_some() {
        return Err(FieldProblem::TwiceTheSign { sign: '/' });
    }
    let step = step_text.map_or(Ok(1), parse_step)?;
    // `5/15` means from 5 to the end.
    let end = if step_text.is_some() && high.is_none() { greatest } else { end };

    check(field, start)?;
    check(field, end)?;
    if start > end {
        return Err(FieldProblem::Backwards { start, end, field });
    }
    let bits = (start..=end).step_by(step).fold(0, |bits, value| bits | 1 << value);
    Ok(FieldSet { bits, star: star && step == 1 })
}

fn check(field: Field, number: u32) -> Result<(), FieldProblem> {
    let (least, greatest) = field.bounds();
    if (least..=greatest).contains(&number) {
        return Ok(());
    }
    if field == Field::DayOfWeek && number == 7 {
        return Err(FieldProblem::SundayAsSeven);
    }
    Err(FieldProblem::OutOfRange { number, field })
}

fn parse_step(text: &str) -> Result<usize, FieldProblem> {
    match number(text) {
        Some(step) if step > 0 => Ok(usize::try_from(step).unwrap_or(usize::MAX)),
        _ => Err(FieldProblem::Step { step: text.to_owned() }),
    }
}

/// A number, or a name of a month or weekday in any case.
fn value(field: Field, token: &str) -> Result<u32, FieldProblem> {
    let names: &[&str] = match field {
        Field::Month => &MONTHS,
        Field::DayOfWeek => &WEEKDAYS,
        Field::Minute | Field::Hour | Field::DayOfMonth => &[],
    };
    let matching = (field.bounds().0..).zip(names).find(|(_, name)| token.eq_ignore_ascii_case(name));
    if let Some((value, _)) = matching {
        return Ok(value);
    }
    if let Some(number) = number(token) {
        return Ok(u32::try_from(number).unwrap_or(u32::MAX));
    }
    if is_foreign(token) {
        return Err(FieldProblem::ForeignSyntax);
    }
    Err(FieldProblem::NotANumber { token: token.to_owned(), field })
}

/// `L`, `LW`, `5L`, `15W`, `1#2`: syntax of Quartz.
fn is_foreign(token: &str) -> bool {
    let letters = token.trim_start_matches(|c: char| c.is_ascii_digit());
    token.contains('#') || ["L", "W", "LW"].iter().any(|foreign| letters.eq_ignore_ascii_case(foreign))
}

/// The non-negative numbers that Go's `strconv.Atoi` accepts.
fn number(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}
