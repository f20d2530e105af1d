//! Sibling modules do not depend on each other in cycles. A module and its children may.

use std::collections::{BTreeMap, BTreeSet};

use super::{sources, without_tests};

/// The path of a module.
type Module = Vec<String>;

/// Which modules need which, among those within one module, with an example of a path for each.
type Siblings = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn modules_have_no_cycles() {
    let mut wrong = Vec::new();
    for (parent, siblings) in graph() {
        let parent = parent.join("::");
        if let Some(cycle) = cycle(&siblings) {
            let steps = cycle.iter().zip(cycle.iter().cycle().skip(1));
            let steps: Vec<_> = steps.map(|(a, b)| format!("  {a} needs {b}: {}", siblings[a][b])).collect();
            wrong.push(format!("within {}:\n{}", parent, steps.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "these modules need each other:\n{}", wrong.join("\n"));
}

#[test]
fn paths_are_read_as_rust_means_them() {
    let text = "use crate::a::{b::C, d};\nuse super::super::e;\nfn f() { self::g::h(); crate::i(); }\n\
                // crate::comment\n#[cfg(test)]\nmod tests {\n    use crate::test;\n}\nuse super::{j, k::{l, M}};\n";
    let module = ["x", "y", "z"].map(str::to_owned);
    let found: Vec<String> =
        paths(&without_tests(text), &module).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        ["a::b::C", "a::d", "x::e", "x::y::z::g::h", "i", "x::y::j", "x::y::k::l", "x::y::k::M"]
    );
}

#[test]
fn a_cycle_is_found() {
    let needs = |pairs: &[(&str, &str)]| {
        let mut siblings = Siblings::new();
        for (a, b) in pairs {
            siblings.entry((*a).to_owned()).or_default().insert((*b).to_owned(), String::new());
        }
        cycle(&siblings)
    };
    assert_eq!(needs(&[("a", "b"), ("b", "c"), ("a", "c")]), None);
    assert_eq!(needs(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]).unwrap(), ["b", "c", "d"]);
}

/// By parent module, what the modules within it need of each other.
fn graph() -> BTreeMap<Module, Siblings> {
    let sources = sources();
    let modules: BTreeSet<&Module> =
        sources.iter().filter(|source| !source.code.is_empty()).map(|source| &source.module).collect();
    let mut graph: BTreeMap<Module, Siblings> = BTreeMap::new();
    for source in sources.iter().filter(|source| !["lib", "main"].contains(&source.room.as_str())) {
        let module = &source.module;
        for path in paths(&source.code, module) {
            let known = (1..=path.len()).rev().map(|length| path[..length].to_vec());
            let Some(used) = known.into_iter().find(|path| modules.contains(path)) else { continue };
            let shared = module.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (module.get(shared), used.get(shared)) {
                let example = format!("{} names {}", source.path.display(), path.join("::"));
                let siblings = graph.entry(module[..shared].to_vec()).or_default();
                siblings.entry(a.clone()).or_default().entry(b.clone()).or_insert(example);
            }
        }
    }
    graph
}

/// Modules that need each other, in order.
fn cycle(siblings: &Siblings) -> Option<Vec<String>> {
    fn visit<'a>(
        siblings: &'a Siblings,
        name: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|on_way| *on_way == name) {
            return Some(way[start..].iter().map(|name| (*name).to_owned()).collect());
        }
        if !done.insert(name) {
            return None;
        }
        way.push(name);
        let found = siblings
            .get(name)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .find_map(|next| visit(siblings, next, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    siblings.keys().find_map(|name| visit(siblings, name, &mut Vec::new(), &mut done))
}

/// The paths that a module names, from the root of the crate.
fn paths(code: &str, module: &[String]) -> Vec<Module> {
    let code: String =
        code.lines().flat_map(|line| [line.split("//").next().unwrap_or_default(), "\n"]).collect();
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("::") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let begins = !before[..start].ends_with("::");
        let base = match &before[start..] {
            "crate" => Some(&module[..0]),
            "self" => Some(module),
            "super" if begins => Some(&module[..module.len().saturating_sub(1)]),
            _ => None,
        };
        match base {
            Some(base) if begins => rest = tree(base.to_vec(), after, &mut found),
            _ => rest = after,
        }
    }
    found
}

/// Reads the rest of a path or of a `use`, which may hold several in braces. Gives what follows it.
fn tree<'t>(mut path: Module, text: &'t str, found: &mut Vec<Module>) -> &'t str {
    let mut rest = text.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        rest = list;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest;
            rest = tree(path.clone(), rest, found);
            if rest.len() == before.len() {
                return rest;
            }
            rest = rest.trim_start();
            if let Some(renamed) = rest.strip_prefix("as ") {
                rest = renamed.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            }
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    match name {
        "super" => _ = path.pop(),
        "self" | "" => {}
        _ => path.push(name.to_owned()),
    }
    match after.strip_prefix("::") {
        Some(after) if !after.starts_with('<') => tree(path, after, found),
        _ => {
            found.push(path);
            after.strip_prefix('*').unwrap_or(after)
        }
    }
}
