//! Small programs that misbehave on purpose, and checks for what they leave behind.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::process::copy_program;

/// Writes an executable shell script.
pub(crate) fn script(directory: &Path, name: &str, body: &str) -> PathBuf {
    let path = directory.join(name);
    let draft = directory.join(format!("{name}.draft"));
    std::fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy_program(&draft, &path);
    path
}

/// A command line of one program.
pub(crate) fn argv(program: &Path, arguments: &[&str]) -> Vec<OsString> {
    std::iter::once(program.into()).chain(arguments.iter().map(OsString::from)).collect()
}

/// Process numbers that a script appended to a file, one a line.
pub(crate) fn numbers_in(file: &Path) -> Vec<i32> {
    std::fs::read_to_string(file).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
}

/// Live processes of a group; dead ones that nobody has buried yet are not counted.
pub(crate) fn alive_in_group(group: i32) -> Vec<i32> {
    procfs::process::all_processes()
        .unwrap()
        .filter_map(|process| process.and_then(|process| process.stat()).ok())
        .filter(|stat| stat.pgrp == group && stat.state != 'Z')
        .map(|stat| stat.pid)
        .collect()
}

/// Fails unless all groups are empty within two minutes, which is less than anything in them would take by itself.
pub(crate) fn assert_groups_vanish(groups: &[i32]) {
    let until = Instant::now() + Duration::from_mins(2);
    loop {
        let alive: Vec<i32> = groups.iter().flat_map(|group| alive_in_group(*group)).collect();
        if alive.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "left behind: {alive:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
