//! The names of time zones that the API server takes in `timeZone`.

use chrono_tz::Tz;
use thiserror::Error;

/// Why a name is no time zone for Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// Nothing is written.
    #[error("the time zone is empty; name one, such as Europe/Vienna, or leave the field out")]
    Empty,
    /// `Local` in any spelling: the zone of whatever machine reads it.
    #[error(
        "time zone `{0}` depends on the machine that reads it, and Kubernetes refuses it; name one, such as Europe/Vienna"
    )]
    Local(String),
    /// Not in the IANA database.
    #[error("time zone `{0}` is not in the IANA database; capitals matter, as in Europe/Vienna or Etc/UTC")]
    Unknown(String),
}

/// Reads an IANA name such as `Europe/Vienna`.
pub fn parse(name: &str) -> Result<Tz, ZoneError> {
    if name.is_empty() {
        return Err(ZoneError::Empty);
    }
    if name.eq_ignore_ascii_case("local") {
        return Err(ZoneError::Local(name.to_owned()));
    }
    name.parse().map_err(|_| ZoneError::Unknown(name.to_owned()))
}
