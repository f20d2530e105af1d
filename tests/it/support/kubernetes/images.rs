//! Container images without a registry: OCI archives, made here and imported into the node's containerd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{output, successful};

/// What holds a pod's namespaces.
pub(crate) const PAUSE: &str = "localhost/pause:1";

/// This program, and nothing else; as user and group 26.
pub(crate) const KEEPER: &str = "localhost/pgbackrest-keeper:test";

/// A Debian with PostgreSQL 15, pgBackRest and Patroni; as user and group 26, who owns /home/postgres.
pub(crate) const POSTGRES: &str = "localhost/postgres:15";

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name))
}

/// The archive of [`POSTGRES`]; an error where it is not there.
pub(crate) fn postgres() -> Result<PathBuf, String> {
    let said = output(script("fetch-postgres-image").arg("--path"));
    if !said.status.success() {
        return Err(
            "the image of PostgreSQL is not here; run scripts/fetch-postgres-image as root".to_owned()
        );
    }
    Ok(PathBuf::from(String::from_utf8(said.stdout).unwrap().trim()))
}

/// Writes the archive of [`KEEPER`], which holds the program that is tested everywhere else, without its debugging information.
pub(crate) fn keeper(directory: &Path) -> PathBuf {
    let stripped = directory.join("pgbackrest-keeper.stripped");
    successful(Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_pgbackrest-keeper")));
    let config = r#"{"User":"26:26","Entrypoint":["/pgbackrest-keeper"]}"#;
    let archive = of_one_program(KEEPER, &stripped, "pgbackrest-keeper", config, directory);
    fs::remove_file(stripped).unwrap();
    archive
}

/// Writes the archive of [`PAUSE`].
pub(crate) fn pause(directory: &Path) -> PathBuf {
    let program = directory.join("pause");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    successful(
        Command::new(rustc)
            .args(["--edition=2024", "-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols"])
            .args(["-Ctarget-feature=+crt-static", "-o"])
            .arg(&program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/pause.rs")),
    );
    of_one_program(PAUSE, &program, "pause", r#"{"User":"65535:65535","Entrypoint":["/pause"]}"#, directory)
}

fn of_one_program(image: &str, program: &Path, name: &str, config: &str, directory: &Path) -> PathBuf {
    let root = directory.join(format!("{name}.root"));
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    // All users may read it.
    fs::copy(program, root.join(name)).unwrap();
    fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    let archive = directory.join(format!("{name}.tar"));
    successful(script("write-image").arg(image).arg(&root).arg(&archive).arg(config));
    fs::remove_dir_all(root).unwrap();
    archive
}
