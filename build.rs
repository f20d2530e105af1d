//! Tells the program what it was built of: compiler, commit and branch. What cannot be found out is empty. Tells the linker to put
//! the functions that are used next to each other.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// The functions that an exporter uses (scripts/used-functions).
const USED_FUNCTIONS: &str = "used-functions.txt";

fn main() -> Result<(), Box<dyn Error>> {
    // Packed relocations make the static program 2 MB smaller.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={USED_FUNCTIONS}");
    let script = linker_script()?;
    // Other builds take longer to link than they gain.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
    println!("cargo:rerun-if-env-changed=KEEPER_BUILD_REVISION");
    println!("cargo:rerun-if-env-changed=KEEPER_BUILD_BRANCH");
    println!("cargo:rerun-if-changed=.git/HEAD");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    tell("KEEPER_BUILD_RUSTC", &output(&rustc, &["--version"]));
    tell("KEEPER_BUILD_REVISION", &given("KEEPER_BUILD_REVISION", &["rev-parse", "HEAD"]));
    tell("KEEPER_BUILD_BRANCH", &given("KEEPER_BUILD_BRANCH", &["rev-parse", "--abbrev-ref", "HEAD"]));
    Ok(())
}

/// The kernel maps 16 pages around each one that is used, so if functions that are used are everywhere, nearly all of the code
/// takes memory. What no name fits stays where it is.
fn linker_script() -> Result<PathBuf, Box<dyn Error>> {
    let mut script = "SECTIONS { .text.used : {\n".to_owned();
    let list = fs::read_to_string(USED_FUNCTIONS).map_err(|error| format!("{USED_FUNCTIONS}: {error}"))?;
    for name in list.lines() {
        script += "*(.text.";
        script += name;
        script += "* .text.unlikely.";
        script += name;
        script += "*)\n";
    }
    script += "} } INSERT BEFORE .text;\n";
    let path = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("used-functions.ld");
    fs::write(&path, script)?;
    Ok(path)
}

/// A package builder names the revision in the environment; a checkout knows it.
fn given(variable: &str, git: &[&str]) -> String {
    env::var(variable).unwrap_or_else(|_| output("git", git))
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
