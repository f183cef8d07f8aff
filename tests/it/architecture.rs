//! Which module may use which. A broken rule is reported with file and line; docs/development.md says what to do about each.
//!
//! The rules use the list of sources (`src/sources.rs`), so that they hold for a new source without a change here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gateway_exporter::{exposition, self_metrics, sources};

/// Files of the sources that do I/O. All others of their folders but `mod.rs` and `settings.rs` are pure: no file, no
/// socket, no clock, no log.
const IO_OF_SOURCES: [&str; 5] =
    ["openvpn/files.rs", "openvpn/query.rs", "sockets/hosts.rs", "sockets/owner.rs", "strongswan/events.rs"];

/// The pure parsers elsewhere.
const PARSERS: [&str; 2] = ["settings/document.rs", "settings/section.rs"];

/// Single files that ask the system themselves.
const EDGES: [&str; 2] = ["main.rs", "auth/prompt.rs"];

struct File {
    path: String,
    lines: Vec<String>,
}

/// Every source file, without its tests and without its comments.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
        File {
            path: path.strip_prefix(&root).unwrap().display().to_string(),
            lines: lines.map(str::to_owned).collect(),
        }
    };
    let files: Vec<File> = files.into_iter().map(read).collect();
    assert!(files.len() > 20, "the files were found");
    files
}

/// Fails for every line that `breaks` a rule, in the files that it `applies` to.
fn check(rule: &str, applies: impl Fn(&str) -> bool, breaks: impl Fn(&str) -> bool) {
    let files = files();
    let found: Vec<String> = files
        .iter()
        .filter(|file| applies(&file.path))
        .flat_map(|file| file.lines.iter().enumerate().map(move |(number, line)| (file, number + 1, line)))
        .filter(|(_, _, line)| breaks(line))
        .map(|(file, number, line)| format!("src/{}:{number}: {}", file.path, line.trim()))
        .collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
    assert!(files.iter().any(|file| applies(&file.path)), "{rule}: applies to no file");
}

/// Fails for every line with one of `words`, in the files that the rule `applies` to.
fn forbid(rule: &str, applies: impl Fn(&str) -> bool, words: &[String]) {
    check(rule, applies, |line| words.iter().any(|word| line.contains(word.as_str())));
}

/// The names of all sources, which are those of their folders.
fn names() -> Vec<&'static str> {
    sources::ALL.iter().map(|source| source.name).collect()
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_source_does_not_look_into_another() {
    for name in names() {
        let others: Vec<String> =
            names().iter().filter(|other| **other != name).map(|other| format!("crate::{other}")).collect();
        forbid("a source looks into another", |path| is_in(path, name), &others);
    }
}

/// Whether a word stands alone in a line of code: as a path, an identifier or a text of its own, not in a sentence.
fn names_word(line: &str, word: &str) -> bool {
    let parts = line.split('"').enumerate();
    let mut code = parts.filter(|(number, part)| number % 2 == 0 || !part.contains(' ')).map(|(_, part)| part);
    code.any(|part| part.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|token| token == word))
}

#[test]
fn the_word_of_a_source_stands_outside_its_folder_only_in_the_list() {
    for name in names() {
        let elsewhere = |path: &str| !is_in(path, name) && path != "sources.rs";
        let breaks = |line: &str| names_word(line, name) && line != format!("pub mod {name};");
        check(&format!("{name} is known outside its folder"), elsewhere, breaks);
    }
    assert!(names_word("use crate::openvpn::Server;", "openvpn") && names_word("let a = \"openvpn\";", "openvpn"));
    assert!(!names_word("\"watch openvpn by its files\"", "openvpn") && !names_word("openvpn_x", "openvpn"));
}

#[test]
fn every_source_has_its_metrics_settings_and_place_in_the_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for name in names() {
        assert!(root.join(name).join("mod.rs").is_file(), "{name} is not the name of a folder");
        assert!(root.join(name).join("metrics.rs").is_file(), "{name} has no metrics.rs");
    }
    let list = fs::read_to_string(root.join("sources.rs")).unwrap();
    let lines = list.lines().filter(|line| line.starts_with("    source::<crate::")).count();
    assert_eq!(lines, names().len());
}

#[test]
fn data_flows_one_way() {
    let mut upstream: Vec<String> = names().iter().map(|name| format!("crate::{name}")).collect();
    upstream.extend(words(&["crate::sys", "crate::http", "crate::config", "crate::app", "log::"]));
    let downstream =
        ["text.rs", "session.rs", "pages/mod.rs", "privacy.rs", "siphash.rs", "hash_index.rs", "totals.rs"];
    forbid(
        "what comes after the sources knows what comes before",
        |path| downstream.contains(&path) || path.starts_with("exposition/"),
        &upstream,
    );
    let mut above = words(&["crate::app", "crate::http", "crate::pages", "crate::diagnosis", "crate::config"]);
    above.push("crate::auth".into());
    forbid("a source knows what uses it", |path| names().iter().any(|name| is_in(path, name)), &above);
}

#[test]
fn parsers_are_pure() {
    let world =
        words(&["std::fs", "std::io", "std::process", "::now()", "std::env", "log::", "std::thread", "thread::"]);
    let is_pure = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or_default();
        let of_source = names().iter().any(|name| is_in(path, name));
        let does_io = ["mod.rs", "settings.rs"].contains(&file) || IO_OF_SOURCES.contains(&path);
        of_source && !does_io || PARSERS.contains(&path)
    };
    forbid("a parser does I/O", is_pure, &world);
    // What was seen is data; who looks is `Environment::inspect`.
    let asks = |line: &str| line.contains("crate::sys::") && !line.contains("crate::sys::environment::");
    check("a parser asks the system", is_pure, asks);
    forbid("a parser looks around", is_pure, &words(&["Environment::inspect", "Environment::current"]));
}

#[test]
fn the_doctor_is_told_what_there_is_to_see() {
    let world =
        words(&["std::fs", "std::io", "std::process", "std::env", "std::time", "log::", "Environment::inspect"]);
    forbid("the doctor looks at the world", |path| path == "diagnosis.rs", &world);
}

#[test]
fn metrics_do_no_io_and_can_not_fail() {
    let world = words(&["crate::sys", "std::fs", "std::io", "std::process", "std::time", "log::", "Result<"]);
    forbid("metrics.rs looks at the world or fails", |path| path.ends_with("/metrics.rs"), &world);
}

#[test]
fn every_outside_thing_is_known_to_one_place() {
    for (subject, home) in [
        ("httparse", "http/"),
        ("serde_json", "json.rs"),
        ("pico_args", "cli.rs"),
        ("regex_lite", "sockets/rule.rs"),
        ("base64::", "encoding.rs"),
        ("bcrypt::bcrypt(", "bcrypt.rs"),
        ("httpdate", "http/date.rs"),
        ("miniz_oxide", "http/gzip.rs"),
        ("const_crc32", "http/gzip.rs"),
        ("saphyr_parser", "settings/document.rs"),
        ("siphasher", "siphash.rs"),
        ("termios", "auth/prompt.rs"),
        ("unsafe ", "sys/libc.rs"),
        ("thread::Builder", "sys/thread.rs"),
        ("# HELP", "exposition/encoder.rs"),
        ("\"<", "pages/"),
    ] {
        forbid(&format!("{subject} belongs to {home}"), |path| !path.starts_with(home), &words(&[subject]));
    }
    let edges = |path: &str| path.starts_with("sys/") || path.starts_with("http") || EDGES.contains(&path);
    forbid("the system belongs to the edges", |path| !edges(path), &words(&["nix::", "std::fs", "std::process"]));
}

#[test]
fn families_are_named_in_the_catalogue_only() {
    let tables = sources::ALL.iter().flat_map(|source| source.tables).chain(self_metrics::TABLES);
    let families: Vec<String> =
        tables.flat_map(|table| exposition::list(*table)).map(|family| format!("\"{}\"", family.name)).collect();
    assert!(families.len() > 80, "{families:?}");
    let homes = |path: &str| path.ends_with("/metrics.rs") || path == "self_metrics.rs";
    forbid("a family's name outside its catalogue", |path| !homes(path), &families);
}

#[test]
fn no_counter_needs_64_bit_atomics() {
    forbid("32-bit MIPS has no such atomics", |_| true, &words(&["AtomicU64", "AtomicI64"]));
}

/// The paths that a tree of `use` names: `a::{b, c::{d, e}}` has three.
fn paths(tree: &str) -> Vec<String> {
    let (mut all, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in tree.char_indices().chain([(tree.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = tree[from..at].trim();
                match branch.split_once('{') {
                    Some((stem, branches)) => all
                        .extend(paths(branches.strip_suffix('}').unwrap()).iter().map(|path| format!("{stem}{path}"))),
                    None => all.push(branch.split(" as ").next().unwrap().to_owned()),
                }
                from = at + 1;
            }
            _ => {}
        }
    }
    all
}

/// The modules that a file of the module `own` names, from the root of the crate on, each perhaps with an item at its end.
fn named(own: &str, code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for statement in code.split(';') {
        let begins = |line: &str| ["use ", "pub use ", "pub(crate) use "].iter().any(|word| line.starts_with(word));
        let lines: Vec<&str> = statement.lines().map(str::trim).collect();
        let (before, tree) = lines.split_at(lines.iter().position(|line| begins(line)).unwrap_or(lines.len()));
        if let Some((_, tree)) = tree.join(" ").split_once("use ") {
            named.extend(paths(tree));
        }
        let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
        named.extend(before.iter().flat_map(|line| line.split(|letter| !is_path(letter))).map(str::to_owned));
    }
    let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
    let from_root = |path: String| match path.split_once("::") {
        Some(("crate", rest)) => rest.to_owned(),
        Some(("super", rest)) => format!("{parent}::{rest}").trim_start_matches(':').to_owned(),
        Some(("self", rest)) => format!("{own}::{rest}"),
        // In a folder's `mod.rs` its files need no `self`.
        _ => format!("{own}::{path}"),
    };
    named.into_iter().map(from_root).collect()
}

/// For each module the others that it uses. What the files of a folder use of its `mod.rs` is left out.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let module = |path: &str| path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let files: BTreeMap<String, File> = files()
        .into_iter()
        .filter(|file| file.path.ends_with(".rs") && !["lib.rs", "main.rs", "build.rs"].contains(&file.path.as_str()))
        .map(|file| (module(&file.path), file))
        .collect();
    let known = |path: &str| {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).filter(|module| files.contains_key(*module)).last().map(str::to_owned)
    };
    let used = |own: &String, file: &File| {
        let modules = named(own, &file.lines.join("\n")).into_iter().filter_map(|path| known(&path));
        modules.filter(|module| module != own && !own.starts_with(&format!("{module}::"))).collect()
    };
    files.iter().map(|(own, file)| (own.clone(), used(own, file))).collect()
}

/// What is left when whatever uses nothing of the rest, or is used by none of it, is taken away again and again: modules that
/// use each other, and those between them.
fn circles(mut uses: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        let before = uses.len();
        uses.retain(|module, theirs| !theirs.is_empty() && used.contains(module));
        if uses.len() == before {
            return uses;
        }
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        uses.values_mut().for_each(|theirs| theirs.retain(|module| left.contains(module)));
    }
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let uses = uses();
    assert!(uses.len() > 100 && uses["app::routes"].contains("exposition"), "the uses were found");
    assert!(uses["sources"].contains("kernel") && !uses["kernel::xfrm"].contains("kernel"));
    let left = circles(uses);
    assert!(left.is_empty(), "files use each other: {left:#?}");
}

#[test]
fn files_that_use_each_other_are_found() {
    assert_eq!(
        paths("crate::a::{self, b, c::{D, e as f}}"),
        ["crate::a::self", "crate::a::b", "crate::a::c::D", "crate::a::c::e"]
    );
    let code =
        "use super::two;\npub(super) fn it() { let x = crate::three::Four::new(); if x { return crate::five::six } }";
    let named = named("one::here", code);
    for module in ["one::two", "three::Four::new", "five::six"] {
        assert!(named.contains(&module.to_owned()), "{module}: {named:?}");
    }
    let map = |pairs: &[(&str, &[&str])]| {
        pairs.iter().map(|(module, used)| ((*module).to_owned(), words(used).into_iter().collect())).collect()
    };
    assert!(circles(map(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let circle = circles(map(&[("a", &["b"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &[]), ("e", &["a"])]));
    assert_eq!(circle.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}
