//! Tells the program what it was built of: compiler, commit and branch. What cannot be found out is empty.

use std::process::Command;

fn main() {
    // Packed relocations make the static program 2 MB smaller.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=KEEPER_BUILD_REVISION");
    println!("cargo:rerun-if-env-changed=KEEPER_BUILD_BRANCH");
    println!("cargo:rerun-if-changed=.git/HEAD");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    tell("KEEPER_BUILD_RUSTC", &output(&rustc, &["--version"]));
    tell("KEEPER_BUILD_REVISION", &given("KEEPER_BUILD_REVISION", &["rev-parse", "HEAD"]));
    tell("KEEPER_BUILD_BRANCH", &given("KEEPER_BUILD_BRANCH", &["rev-parse", "--abbrev-ref", "HEAD"]));
}

/// A package builder names the revision in the environment; a checkout knows it.
fn given(variable: &str, git: &[&str]) -> String {
    std::env::var(variable).unwrap_or_else(|_| output("git", git))
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn tell(variable: &str, value: &str) {
    println!("cargo:rustc-env={variable}={value}");
}
