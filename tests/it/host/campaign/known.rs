//! Histories whose claims are all checked, including those in which claims were once wrong.

/// What is claimed of these is right.
pub(super) const RIGHT: &[(&str, &str)] = &[
    (
        "a plain history",
        "write:2 switch full:1 tick write switch tick write switch incr:1 tick write switch write switch write",
    ),
    (
        "standbys that have received all, or not",
        "compress=gz write switch full:1 tick write switch tick stream tick write switch fail write switch diff:1 \
         tick write switch",
    ),
    (
        "segments are lost between backups and after them",
        "encrypted=1 compress=zst write switch full:1 tick write switch tick write switch tick write switch tick \
         diff:1 tick write switch tick write switch tick write switch delete:1:55 rename:1:90",
    ),
    (
        "a segment has two contents",
        "mib=2 write switch full:1 tick write switch tick write switch tick write switch duplicate:1:80",
    ),
    (
        "WAL expires on purpose, and backups",
        "repos=2 encrypted=2 compress=lz4 write switch full:1 full:2 tick write switch diff:1 tick write switch full:1 \
         tick write switch diff:1 tick write switch expire-wal-elsewhere:1:diff:1 expire:1:1 write switch write",
    ),
    (
        "a backup loses its directory",
        "bundles=0 write switch full:1 tick write switch diff:1 tick write switch full:1 tick write switch \
         lose-backup:1:99",
    ),
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
        "a segment of 5 bytes in an encrypted repository",
        "encrypted=1 compress=gz write switch full:1 tick write switch tick write switch tick write switch cut:1:75:5",
    ),
    (
        "nothing but the history of the newest timeline is archived",
        "write switch full:1 tick write:2 switch write:2 switch tick back:30 tick write:2",
    ),
    (
        "a segment of 0 bytes follows a backup",
        "write switch full:1 write switch tick write switch tick write switch cut:1:50:0",
    ),
    (
        "the clock of a repository was ahead, and is right again",
        "write switch full:1 tick write switch tick write switch skew:1:7200 tick write:2 switch tick write:2",
    ),
    (
        "the clock of one of two repositories is behind",
        "repos=2 write switch full:1 full:2 tick write switch tick write switch diff:1 skew:1:-7200 tick write:2 switch",
    ),
    (
        "the clock of the only repository is right again after the newest backup",
        "write switch full:1 tick write switch tick skew:1:-7200 tick write:2 switch tick write switch write",
    ),
    (
        "the newest backup is offline",
        "write switch full:1 tick write switch tick offline:1 tick write:2 switch",
    ),
];

/// Seeds of random histories without the steps below, on both versions in turn.
pub(super) const SEEDS: &[u64] = &[200, 201, 202, 203];

/// Steps that the seeds leave out: what is right then can depend on which of two things came first within a second.
pub(super) const LEFT_OUT: &[&str] =
    &["clone", "clone-at", "back", "crash-back", "offline", "skew", "cut", "lose-history"];
