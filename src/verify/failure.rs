//! Why `verify` printed no result, and whose fault that is. Pure.

use std::time::Duration;

use crate::pgbackrest::verify::Log;
use crate::state::faults::{self, Reading};
use crate::state::proofs::{MAX_TEXT, ReasonClass};
use crate::state::snapshot::{Failure, FailureReason};
use crate::state::verification::Cause;
use crate::text;

/// Characters of a quoted message.
const MAX_QUOTED: usize = 220;
/// Exit code for a missing file.
const FILE_MISSING: i32 = 55;
/// Exit code for a file that cannot be read.
const FILE_READ: i32 = 42;

/// The user ended it.
pub(super) fn interrupted() -> Cause {
    cause(ReasonClass::Interrupted, "the verification was interrupted")
}

/// The command ended without a result.
pub(super) fn of(failure: &Failure, log: &Log, timeout: Duration) -> Cause {
    match failure.reason {
        FailureReason::Timeout => {
            let limit = humantime::format_duration(timeout);
            let message =
                format!("pgbackrest verify did not end within {limit}; raise --timeout or --process-max");
            cause(ReasonClass::Deadline, message)
        }
        FailureReason::Exit => of_exit(failure, log),
        FailureReason::Spawn | FailureReason::RootRefused => {
            cause(ReasonClass::Configuration, &failure.message)
        }
        _ => cause(ReasonClass::Unclassified, &failure.message),
    }
}

/// Apart from single files, which are no reason to end, `verify` reads the header of the first segment of each archive.
fn of_exit(failure: &Failure, log: &Log) -> Cause {
    let Some(error) = &log.error else {
        let class = failure.exit_code.map(|code| faults::of_exit(code, Reading::Wal));
        return cause(class.unwrap_or(ReasonClass::Unclassified), &failure.message);
    };
    let class = match error.code {
        // It was listed just before.
        FILE_MISSING => ReasonClass::Expired,
        // The segment is shorter than its header.
        FILE_READ if error.contains(" byte(s) from '") => ReasonClass::DamagedWal,
        _ => faults::of_pgbackrest(error, Reading::Wal),
    };
    let message = format!("pgbackrest verify failed ({}): {}", error.code, error.one_line(MAX_QUOTED));
    cause(class, message)
}

fn cause(class: ReasonClass, message: impl AsRef<str>) -> Cause {
    Cause { class, message: text::one_line(message.as_ref(), MAX_TEXT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damage_is_a_fault() {
        use ReasonClass as R;
        let class = |code: i32, message: &str| {
            let log = Log::parse(format!("P00  ERROR: [{code:03}]: {message}\n").as_bytes());
            let failure =
                Failure { reason: FailureReason::Exit, exit_code: Some(code), message: "x".to_owned() };
            of(&failure, &log, Duration::from_secs(1)).class
        };
        let table = [
            (29, "unexpected WAL magic 1", R::DamagedWal),
            (95, "cipher header invalid", R::DamagedWal),
            (42, "unable to read 512 byte(s) from '/repo/archive/demo/15-1/x'", R::DamagedWal),
            (42, "unable to read x: [5] Input/output error", R::Repository),
            (55, "unable to open missing file 'x' for read", R::Expired),
            (31, "invalid option '--verbose'", R::Configuration),
            (49, "unable to connect to 'x': [111] Connection refused", R::Repository),
        ];
        for (code, message, expected) in table {
            assert_eq!(class(code, message), expected, "{message}");
        }
        let killed = Failure { reason: FailureReason::Killed, exit_code: None, message: "x".to_owned() };
        let timed_out = Failure { reason: FailureReason::Timeout, ..killed.clone() };
        let of = |failure| of(failure, &Log::default(), Duration::from_hours(1)).class;
        assert_eq!([of(&killed), of(&timed_out)], [R::Unclassified, R::Deadline]);
    }
}
