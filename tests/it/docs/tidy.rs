//! Rules for the source tree: layers, no cycles, purity and file length.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod cycles;

/// Rooms by floor. A room may use rooms of lower floors, and its own.
const FLOORS: &[(&str, u8)] = &[
    ("cli", 7),
    ("notify", 6),
    ("http", 5),
    ("operator", 5),
    ("collect", 4),
    ("check", 4),
    ("job", 4),
    ("restore_test", 4),
    ("verify", 4),
    ("source", 3),
    ("metrics", 3),
    ("state", 2),
    ("config_file", 2),
    ("cluster", 2),
    ("postgres", 2),
    ("pgbackrest", 1),
    ("schedule", 1),
    ("kubernetes", 1),
    ("files", 1),
    ("telemetry", 1),
    ("shutdown", 1),
    ("memory", 0),
    ("text", 0),
];

/// Rooms that take everything from their caller.
const PURE: &[&str] = &["check", "metrics", "state", "cluster", "schedule", "pgbackrest", "postgres", "text"];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "async fn",
    ".await",
    "Utc::now",
    "Local::now",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::env::var",
    "std::env::args",
    "env::var",
    "std::net",
    "std::process",
    "tokio::",
    "rand::",
];

/// Lines of code, without comments, blank lines and unit tests within the file.
const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    room: String,
    /// The path of the module, such as `state`, `archive`, `judge`.
    module: Vec<String>,
    /// All of the file.
    text: String,
    /// Code without unit tests, which may do what they like.
    code: String,
    /// Lines of code.
    lines: usize,
}

#[test]
fn every_room_has_a_floor() {
    for source in sources() {
        assert!(
            source.room == "lib" || source.room == "main" || floor(&source.room).is_some(),
            "{} belongs to no known room: add it to FLOORS and to ARCHITECTURE.md",
            source.path.display()
        );
    }
}

#[test]
fn rooms_use_only_lower_floors() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = floor(&source.room) else { continue };
        for used in rooms_used(&source.code) {
            if used == source.room {
                continue;
            }
            if floor(&used).is_none_or(|floor| floor >= own) {
                wrong.push(format!("{} uses crate::{used}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these reach up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_do_nothing_outside() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room.as_str())) {
        for (number, line) in source.code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", source.path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "pure rooms reach outside:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let mut wrong: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > LONGEST_FILE)
        .map(|source| format!("{}: {} lines of code", source.path.display(), source.lines))
        .collect();
    wrong.sort();
    assert!(wrong.is_empty(), "more than {LONGEST_FILE} lines of code:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    for source in sources() {
        let text = fs::read_to_string(&source.path).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with //!", source.path.display());
    }
}

#[test]
fn architecture_names_every_room() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (room, _) in FLOORS {
        assert!(text.contains(&format!("`{room}")), "ARCHITECTURE.md does not name `{room}`");
    }
}

/// Such as `Plan::start_next` and `collect::host::run`.
#[test]
fn architecture_names_what_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut sources = sources();
    collect(&root().join("tests/it"), &root().join("tests/it"), &mut sources);
    let words: Vec<BTreeSet<String>> = sources.iter().map(|source| declared(&source.text)).collect();
    // The last name is declared where the names before it are, or in a file of their path.
    let exists = |path: &str| {
        let names: Vec<&str> = path.split("::").collect();
        let (name, owners) = names.split_last().unwrap();
        sources.iter().zip(&words).any(|(source, words)| {
            let owns =
                |owner: &&str| words.contains(*owner) || source.module.iter().any(|part| part == owner);
            words.contains(*name) && owners.iter().all(owns)
        })
    };
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> =
        quoted.filter(|word| word.contains("::") && word.chars().all(is_of_a_path)).collect();
    assert!(paths.len() > 50, "only {} paths", paths.len());
    let wrong: Vec<&&str> = paths.iter().filter(|path| !exists(path)).collect();
    assert!(wrong.is_empty(), "ARCHITECTURE.md names what does not exist: {wrong:?}");
}

fn is_of_a_path(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_:".contains(letter)
}

/// Names of functions, types and modules, and of types that have implementations.
fn declared(text: &str) -> BTreeSet<String> {
    let words: Vec<&str> =
        text.split(|letter| !is_of_a_path(letter)).filter(|word| !word.is_empty()).collect();
    let is_keyword = |word| ["fn", "struct", "enum", "trait", "type", "mod", "impl", "for"].contains(&word);
    words.windows(2).filter(|pair| is_keyword(pair[0])).map(|pair| pair[1].to_owned()).collect()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Names behind `crate::`, also in braces: `use crate::{state, source::process}`.
fn rooms_used(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 1;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => {
                            found.push(name(&std::mem::take(&mut item)));
                            continue;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    item.push(c);
                }
                found.push(name(&item));
            }
            None => found.push(name(rest)),
        }
    }
    found.retain(|room| !room.is_empty() && room.chars().all(|c| !c.is_ascii_uppercase()));
    found
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join("src"), &root().join("src"), &mut found);
    assert!(found.len() > 10, "no sources found");
    found
}

/// The sources in a directory, as modules from `top` on.
fn collect(directory: &Path, top: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, top, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(top).unwrap().with_extension("");
            let mut module: Vec<String> =
                relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            let room = module[0].clone();
            module.retain(|part| part != "mod");
            let is_test_file = module.iter().any(|part| part == "tests");
            let code = if is_test_file { String::new() } else { without_tests(&text) };
            let counted = if is_test_file { &text } else { &code };
            let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
            let lines = counted.lines().filter(is_code).count();
            found.push(Source { path, room, module, text, code, lines });
        }
    }
}

/// Code without the items that only tests have. As rustfmt writes it, such an item ends with its line, or with a brace
/// as far to the left as it began.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.extend([line, "\n"]);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let item = lines.find(|line| !line.trim_start().starts_with("#["));
        if item.is_some_and(|item| item.ends_with('{')) {
            lines.find(|line| *line == format!("{indent}}}"));
        }
    }
    code
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
