//! What checks records beside this program: OpenSSL, and the scripts in docs/evidence.md.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::process::{call, output};

pub(crate) const ED25519: &[&str] = &["-algorithm", "ED25519"];
pub(crate) const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// Creates a private and a public key as openssl does by default, and returns their files.
pub(crate) fn key(directory: &Path, name: &str, algorithm: &[&str]) -> [String; 2] {
    let [private, public] =
        ["key", "pub"].map(|end| directory.join(format!("{name}.{end}")).display().to_string());
    openssl(&[&["genpkey"], algorithm, &["-out", &private]].concat());
    openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    [private, public]
}

fn openssl(arguments: &[&str]) {
    let said = output(call(None, "openssl").args(arguments));
    assert!(said.status.success(), "{said:?}");
}

/// The scripts of the document.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    /// Takes a directory of records.
    Records,
    /// Takes exported resources.
    Resources,
}

/// Runs a script as the document has it, with one public key or several, separated by commas. Whether it finds no fault.
pub(crate) fn agrees(script: Script, what: &Path, public: &str) -> bool {
    let Output { status, stdout, stderr } = run(script, what, public);
    let text = String::from_utf8(stdout).unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.success(), text.ends_with("no fault\n"), "{text}{errors}");
    status.success()
}

fn run(script: Script, what: &Path, public: &str) -> Output {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/evidence.md");
    let text = fs::read_to_string(document).unwrap();
    let blocks = text.split("```python\n").skip(1);
    let code = blocks.map(|block| block.split_once("```").unwrap().0).nth(script as usize);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("verify.py");
    fs::write(&file, code.expect("a script in docs/evidence.md")).unwrap();
    output(call(None, "python3").arg(file).arg(what).args(public.split(',')))
}
