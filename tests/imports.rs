//! The files of a crate import each other without cycles.
//!
//! A folder and its files are one unit in one direction: what a `mod.rs` uses of its own files, most
//! of it to re-export it, is not counted, so that files may use the types of their folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, mem};

/// Cycles that are accepted, by crate.
const ACCEPTED: &[(&str, &[&str])] = &[
    // The trait names the types that its calls take, and they name the trait.
    ("crates/engine", &["api::connection", "api::handler", "api::shard"]),
    // A type and its error.
    ("crates/codec", &["close", "error"]),
    // The pool retains the states of decoders, which take their buffers from it.
    ("crates/codec", &["decoder", "spill"]),
];

type Imports = BTreeMap<String, BTreeSet<String>>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// The path of the module in a file: `session::link` of `src/session/link.rs`, nothing of
/// `src/lib.rs`.
fn module(file: &Path, root: &Path) -> String {
    let path = file.strip_prefix(root).expect("below the root").with_extension("");
    let mut parts: Vec<_> = path.iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts.join("::")
}

/// All paths of a `use` declaration, without its braces.
fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        return found.push(format!("{prefix}{}", tree.trim()));
    };
    let (prefix, inner) = (format!("{prefix}{}", head.trim()), rest.rsplit_once('}').map_or(rest, |(inner, _)| inner));
    let (mut depth, mut part) = (0, String::new());
    for character in inner.chars().chain([',']) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = mem::take(&mut part);
                if !part.trim().is_empty() {
                    expand(&prefix, part.trim(), found);
                }
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
}

fn imports(root: &Path) -> Imports {
    let mut files = Vec::new();
    sources(root, &mut files);
    let modules: BTreeSet<String> = files.iter().map(|file| module(file, root)).collect();
    let mut imports = Imports::new();
    for file in &files {
        let name = module(file, root);
        let text = fs::read_to_string(file).expect("a source file");
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let mut paths = Vec::new();
        for declaration in text.split("use ").skip(1).filter_map(|rest| rest.split_once(';')) {
            expand("", declaration.0, &mut paths);
        }
        let targets = paths.iter().filter_map(|path| {
            let mut target = if let Some(path) = path.strip_prefix("crate::") {
                path.to_owned()
            } else if let Some(path) = path.strip_prefix("super::") {
                format!("{}::{path}", name.rsplit_once("::").map_or("", |(parent, _)| parent))
            } else {
                format!("{name}::{}", path.strip_prefix("self::")?)
            };
            // The longest beginning that is a module.
            while !target.is_empty() && !modules.contains(target.trim_start_matches("::")) {
                target = target.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
            }
            let target = target.trim_start_matches("::").to_owned();
            (!target.is_empty() && target != name).then_some(target)
        });
        imports.insert(name.clone(), targets.collect());
    }
    imports
}

fn reaches(imports: &Imports, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        for next in imports.get(at).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

/// The modules that import themselves, with those of the same cycle.
fn cycles(imports: &Imports) -> BTreeSet<BTreeSet<&str>> {
    let cyclic = imports.keys().filter(|name| reaches(imports, name, name));
    cyclic
        .map(|one| {
            let together = imports.keys().filter(|other| reaches(imports, one, other) && reaches(imports, other, one));
            together.map(String::as_str).collect()
        })
        .collect()
}

#[test]
fn no_crate_has_an_import_cycle_except_the_accepted_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for name in ["crates/codec", "crates/io", "crates/engine", "crates/aio", "crates/cli", "loadtest"] {
        let imports = imports(&root.join(name).join("src"));
        assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 5, "{name}: hardly any import is found");
        let accepted: BTreeSet<BTreeSet<&str>> = ACCEPTED
            .iter()
            .filter(|(of, _)| *of == name)
            .map(|(_, modules)| modules.iter().copied().collect())
            .collect();
        assert_eq!(cycles(&imports), accepted, "the cycles of {name} are not the accepted ones");
    }
}

#[test]
fn use_declarations_are_expanded() {
    let mut paths = Vec::new();
    expand("", "crate::a::{self, B, c::{D, E}}", &mut paths);
    assert_eq!(paths, ["crate::a::self", "crate::a::B", "crate::a::c::D", "crate::a::c::E"]);
}
