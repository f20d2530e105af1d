//! The thresholds of a run: the usual ones, and those that the user has set instead.

use thiserror::Error;

use super::quantity::{Quantity, Thresholds};
use super::range::{Range, RangeError};

/// Thresholds that the user has set.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    set: Vec<(&'static Quantity, Level, Range)>,
}

/// The severity that a threshold stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Warning,
    Critical,
}

/// A threshold that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitError {
    /// There is no `=`.
    #[error("{0:?}: must be NAME=RANGE, such as age=26h")]
    NoName(String),
    /// Nothing of that name is measured.
    #[error("{name:?} is not measured; known are {known}")]
    UnknownName { name: String, known: String },
    /// The range is none.
    #[error("{name}: {problem}")]
    Range { name: &'static str, problem: RangeError },
}

impl Limits {
    /// Adds a threshold, written as `NAME=RANGE`. The last one of a name counts.
    pub fn set(
        &mut self,
        text: &str,
        level: Level,
        known: impl Iterator<Item = &'static Quantity> + Clone,
    ) -> Result<(), LimitError> {
        let short = |text: &str| text.chars().take(60).collect::<String>();
        let (name, range) = text.split_once('=').ok_or_else(|| LimitError::NoName(short(text)))?;
        let Some(quantity) = known.clone().find(|quantity| quantity.name == name.trim()) else {
            let known: Vec<&str> = known.map(|quantity| quantity.name).collect();
            return Err(LimitError::UnknownName { name: short(name), known: known.join(", ") });
        };
        let range = Range::parse(range, quantity.unit)
            .map_err(|problem| LimitError::Range { name: quantity.name, problem })?;
        self.set.push((quantity, level, range));
        Ok(())
    }

    /// Whether the user has set a threshold for it.
    #[must_use]
    pub fn is_set(&self, quantity: &Quantity) -> bool {
        self.set.iter().any(|(set, ..)| *set == quantity)
    }

    /// Those that the user has set, and for the rest `usual`.
    #[must_use]
    pub fn of(&self, quantity: &Quantity, usual: Thresholds) -> Thresholds {
        let set = |level| {
            let mut of_it = self.set.iter().rev();
            of_it.find(|(set, of, _)| *set == quantity && *of == level).map(|(.., range)| *range)
        };
        Thresholds {
            warning: set(Level::Warning).or(usual.warning),
            critical: set(Level::Critical).or(usual.critical),
        }
    }
}
