//! What is measured, in which unit, and where it starts to be a problem.

use super::range::Range;
use super::unit::Unit;

/// Something that is measured, once for each place where it exists.
#[derive(Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Unique; as in thresholds and performance data.
    pub name: &'static str,
    pub unit: Unit,
    /// Whether it has a value in every repository, unless that is unknown.
    pub is_everywhere: bool,
    /// The usual thresholds, which are those of the alert rules.
    pub warning: Option<&'static str>,
    pub critical: Option<&'static str>,
    /// The alert that stands on the same series, if there is one.
    pub alert: Option<&'static str>,
    /// One line for the documentation.
    pub about: &'static str,
}

/// Where a value is a warning, and where it is critical.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    pub warning: Option<Range>,
    pub critical: Option<Range>,
}

impl Quantity {
    /// The usual thresholds. A text that is no range is none; a test keeps them from being that.
    #[must_use]
    pub fn usual(&self) -> Thresholds {
        let parse = |text: Option<&str>| text.and_then(|text| Range::parse(text, self.unit).ok());
        Thresholds { warning: parse(self.warning), critical: parse(self.critical) }
    }
}
