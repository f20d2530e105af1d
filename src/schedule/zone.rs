//! The time zone names that the API server accepts in `timeZone`.

use chrono_tz::Tz;
use thiserror::Error;

/// Why Kubernetes does not accept a time zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// The name is empty.
    #[error("the time zone is empty; use one such as Europe/Vienna, or omit the field")]
    Empty,
    /// `Local` in any case: the zone of the machine that evaluates it.
    #[error(
        "time zone `{0}` depends on the local machine, and Kubernetes rejects it; use one such as Europe/Vienna"
    )]
    Local(String),
    /// Not in the IANA database.
    #[error(
        "time zone `{0}` is not in the IANA database; names are case-sensitive, such as Europe/Vienna or Etc/UTC"
    )]
    Unknown(String),
}

/// Parses an IANA name such as `Europe/Vienna`.
pub fn parse(name: &str) -> Result<Tz, ZoneError> {
    if name.is_empty() {
        return Err(ZoneError::Empty);
    }
    if name.eq_ignore_ascii_case("local") {
        return Err(ZoneError::Local(name.to_owned()));
    }
    name.parse().map_err(|_| ZoneError::Unknown(name.to_owned()))
}
