//! `install`, the image, and what runs in it.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::machine::{is_root, program, skip};
use crate::support::process::{output, successful};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");

#[test]
fn the_copy_is_whole_and_everybody_may_run_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("pgbackrest-keeper");
    fs::write(&place, "an old one").unwrap();
    // What runs is not written into: it keeps its file.
    let mut running = File::open(&place).unwrap();
    fs::write(directory.path().join(".pgbackrest-keeper.new"), "half of one").unwrap();

    let installed = install(directory.path());
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let mut old = String::new();
    running.read_to_string(&mut old).unwrap();
    assert_eq!(old, "an old one");
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(fs::read(&place).unwrap() == fs::read(PROGRAM).unwrap(), "the copy differs");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let version = format!("pgbackrest-keeper {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(successful(Command::new(&place).arg("--version")).trim(), version);
}

#[test]
fn nothing_is_left_where_it_cannot_be_copied() {
    let directory = tempfile::tempdir().unwrap();
    let missing = install(&directory.path().join("missing"));
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.contains("cannot install into") && said.contains("No such file"), "{said}");
    // Something else has the name.
    fs::create_dir_all(directory.path().join("pgbackrest-keeper/full")).unwrap();
    let refused = install(directory.path());
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// As from a shell that gives others no rights.
fn install(directory: &Path) -> Output {
    output(Command::new("sh").args(["-c", "umask 077; exec \"$0\" install \"$1\"", PROGRAM]).arg(directory))
}

/// Made twice from the Dockerfile, the same to the last byte; and it runs as the user that it names.
#[test]
fn the_image_is_reproducible_and_runs_as_its_user() {
    let test = "the_image_is_reproducible_and_runs_as_its_user";
    if let Err(missing) = program("buildah") {
        return skip(test, missing);
    }
    if !is_root() {
        return skip(test, "buildah and chroot need root here");
    }
    let directory = tempfile::tempdir().unwrap();
    let images = ["first", "second"].map(|name| unpacked(directory.path(), name));
    let index = |image: &Path| -> Value {
        serde_json::from_str(&fs::read_to_string(image.join("index.json")).unwrap()).unwrap()
    };
    let digest = |image: &Path| index(image)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest(&images[0]), digest(&images[1]));

    let manifest = blob(&images[0], &digest(&images[0]));
    let configuration = blob(&images[0], manifest["config"]["digest"].as_str().unwrap());
    let runs = &configuration["config"];
    assert_eq!(runs["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(runs["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let file = blob_path(&images[0], layer["digest"].as_str().unwrap());
        successful(Command::new("tar").args(["--extract", "--file"]).arg(file).arg("--directory").arg(&root));
    }
    // Nothing but this can be run in it, and it needs nothing else.
    let (user, entrypoint) = (runs["User"].as_str().unwrap(), runs["Entrypoint"][0].as_str().unwrap());
    assert_eq!(user, "65532:65532");
    let mut chroot = Command::new("chroot");
    let said =
        successful(chroot.arg(format!("--userspec={user}")).arg(&root).args([entrypoint, "--version"]));
    assert_eq!(said.trim(), format!("pgbackrest-keeper {}", env!("CARGO_PKG_VERSION")));
    // As an init container does, with a directory of its user, and /proc as every container has it.
    let (shared, proc) = (root.join("shared"), root.join("proc"));
    fs::create_dir(&shared).unwrap();
    fs::create_dir(&proc).unwrap();
    std::os::unix::fs::chown(&shared, Some(65532), Some(65532)).unwrap();
    let mut container = Command::new("unshare");
    container.args(["--pid", "--fork"]).arg(format!("--mount-proc={}", proc.display()));
    container.arg("chroot").arg(format!("--userspec={user}")).arg(&root);
    successful(container.args([entrypoint, "install", "/shared"]));
    assert!(
        fs::read(shared.join("pgbackrest-keeper")).unwrap()
            == fs::read(root.join("pgbackrest-keeper")).unwrap()
    );
}

/// Where the layout of an image lies that is made anew.
fn unpacked(directory: &Path, name: &str) -> PathBuf {
    let archive = directory.join(format!("{name}.tar"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-image");
    let mut build = Command::new(script);
    build.arg("localhost/pgbackrest-keeper:image-test").arg(&archive).env("KEEPER_PROGRAM", PROGRAM);
    successful(&mut build);
    let layout = directory.join(name);
    fs::create_dir(&layout).unwrap();
    successful(
        Command::new("tar").args(["--extract", "--file"]).arg(archive).arg("--directory").arg(&layout),
    );
    layout
}

fn blob_path(image: &Path, digest: &str) -> PathBuf {
    image.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

fn blob(image: &Path, digest: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(blob_path(image, digest)).unwrap()).unwrap()
}
