//! Histories that are judged in full: those in which claims were wrong once, and those in which they still are.

/// What is claimed of these is right.
pub(super) const RIGHT: &[(&str, &str)] = &[(
    "a plain history",
    "write:2 switch full:1 tick write switch tick write switch incr:1 tick write switch write switch",
)];

/// What is claimed of these is wrong.
pub(super) const WRONG: &[(&str, &str)] = &[
    (
        "a time from before a restore to an earlier one",
        "write switch full:1 tick write tick write switch tick back:50 write switch tick write switch",
    ),
    (
        "a copy that archived into the stanza",
        "write switch full:1 tick write switch clone:2 write switch diff:1 tick write switch full:1 tick write:2 switch write switch",
    ),
    (
        "a backup on a timeline that was left",
        "write switch full:1 tick write switch tick write switch full:1 tick back:40 tick write switch write switch",
    ),
    (
        "a segment of 0 bytes",
        "write switch full:1 tick write switch tick write switch tick write switch cut:1:75:0",
    ),
    (
        "a segment of 5 bytes in an encrypted repository",
        "encrypted=1 compress=gz write switch full:1 tick write switch tick write switch tick write switch cut:1:75:5",
    ),
    (
        "a repository whose clock is behind",
        "write switch full:1 tick write switch tick write switch skew:1:-7200",
    ),
    (
        "a repository whose clock is ahead",
        "write switch full:1 tick write switch tick write switch skew:1:7200",
    ),
];
