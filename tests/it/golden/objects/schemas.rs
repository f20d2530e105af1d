//! The recorded objects against the schemas of three Kubernetes versions, strictly: a field that Kubernetes does not
//! know is an error.
//!
//! `scripts/fetch-kubernetes-schemas` downloads the schemas and the validator. Without them the test is skipped with a message, and
//! fails with `CI=true`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{recorded, skip};

/// The oldest has what we use (`podFailurePolicy`, GA), the newest is the package's.
pub(crate) const VERSIONS: [&str; 3] = ["1.31", "1.34", "1.37"];

/// Judges every file named on standard input for every version in the arguments. The package reads and parses its
/// schemas anew for each document; keeping them makes minutes into seconds.
const JUDGE: &str = r#"
import functools, sys, yaml
from kubernetes_validate import utils
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
wrong = 0
count = 0
for path in sys.stdin.read().splitlines():
    with open(path) as file:
        for document in yaml.safe_load_all(file):
            for version in sys.argv[1:]:
                count += 1
                try:
                    judged = utils.validate(document, version, strict=True)
                    if judged != version:
                        raise Exception("judged by " + judged)
                except Exception as error:
                    wrong += 1
                    message = getattr(error, "message", None) or repr(error)
                    print(path, version, list(getattr(error, "path", [])), message, file=sys.stderr)
print(count)
sys.exit(1 if wrong else 0)
"#;

#[test]
fn recorded_objects_pass_strict_schemas() {
    let Some(package) = package() else { return };
    let files = recorded();
    assert!(files.len() > 50, "only {} objects", files.len());
    let (judged, complaints) = judge(&package, &files).unwrap_or_else(|complaints| panic!("{complaints}"));
    assert_eq!(judged, files.len() * VERSIONS.len(), "{complaints}");
}

/// The judge itself must not be one that lets everything pass.
#[test]
fn a_wrong_object_does_not_pass() {
    let Some(package) = package() else { return };
    let files = recorded();
    let of_kind = |kind: &str| {
        let file = files.iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
        fs::read_to_string(file.unwrap()).unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("unknown", of_kind("cronjob-").replace("concurrencyPolicy: Forbid", "concurrencyPolice: Forbid")),
        ("type", of_kind("cronjob-").replace("backoffLimit: 5", "backoffLimit: five")),
        ("missing", of_kind("rolebinding-").replace("roleRef:", "roleReference:")),
    ];
    for (name, text) in cases {
        let path = directory.path().join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        let complaints = judge(&package, &[path]).expect_err(name);
        assert_eq!(complaints.lines().count(), VERSIONS.len(), "{name}: {complaints}");
    }
}

/// How many judgements were made; or every complaint.
pub(crate) fn judge(package: &Path, files: &[PathBuf]) -> Result<(usize, String), String> {
    let mut child = python()
        .args(["-c", JUDGE])
        .args(VERSIONS)
        .env("PYTHONPATH", package)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let list: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), list.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(complaints);
    }
    let judged = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| complaints.clone())?;
    Ok((judged, complaints))
}

/// Where the package is, as its script tells. `None` when it has not been fetched.
pub(crate) fn package() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-kubernetes-schemas");
    let output = Command::new(script).arg("--path").output().unwrap();
    if !output.status.success() {
        skip("the schemas of Kubernetes are not here; scripts/fetch-kubernetes-schemas gets them");
        return None;
    }
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end()))
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
