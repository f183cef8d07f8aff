//! The map of the code: who may know what. A rule that is broken names the file and the line.

use std::fs;
use std::path::{Path, PathBuf};

const HOUSES: [&str; 6] = ["strongswan", "ipsec", "openvpn", "sockets", "kernel", "wireguard"];

/// The pure parsers: no file, no socket, no clock, no log.
const PARSERS: [&str; 19] = [
    "config/yaml.rs",
    "strongswan/vici.rs",
    "strongswan/inside.rs",
    "strongswan/x509.rs",
    "strongswan/sa.rs",
    "ipsec/conf.rs",
    "ipsec/libreswan.rs",
    "ipsec/status.rs",
    "openvpn/status.rs",
    "sockets/state_counts.rs",
    "sockets/procnet.rs",
    "sockets/rule.rs",
    "sockets/matcher.rs",
    "kernel/xfrm.rs",
    "wireguard/key.rs",
    "wireguard/device.rs",
    "wireguard/netlink.rs",
    "wireguard/uapi.rs",
    "wireguard/names.rs",
];

struct Source {
    path: String,
    lines: Vec<String>,
}

/// Every source file, without its tests and without its comments.
fn sources() -> Vec<Source> {
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
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines = code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
        Source {
            path: path.strip_prefix(&root).unwrap().display().to_string(),
            lines: lines.map(str::to_owned).collect(),
        }
    };
    let sources: Vec<Source> = files.into_iter().map(read).collect();
    assert!(sources.len() > 20, "the sources were found");
    sources
}

/// Fails for every line with one of `words` in a file that `applies` to.
fn forbid(rule: &str, applies: impl Fn(&str) -> bool, words: &[String]) {
    let sources = sources();
    let found: Vec<String> = sources
        .iter()
        .filter(|source| applies(&source.path))
        .flat_map(|source| source.lines.iter().enumerate().map(move |(number, line)| (source, number + 1, line)))
        .filter(|(_, _, line)| words.iter().any(|word| line.contains(word.as_str())))
        .map(|(source, number, line)| format!("src/{}:{number}: {}", source.path, line.trim()))
        .collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
    assert!(sources.iter().any(|source| applies(&source.path)), "{rule}: applies to no file");
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_house_does_not_look_into_another() {
    for house in HOUSES {
        let others: Vec<String> =
            HOUSES.iter().filter(|other| **other != house).map(|other| format!("crate::{other}")).collect();
        forbid("a house looks into another", |path| path.starts_with(house), &others);
    }
}

#[test]
fn the_street_flows_one_way() {
    let mut upstream: Vec<String> = HOUSES.iter().map(|house| format!("crate::{house}")).collect();
    upstream.extend(words(&["crate::source", "crate::http", "crate::config", "crate::app", "log::"]));
    let downstream = ["expo.rs", "text.rs", "session.rs", "pages/mod.rs", "identities.rs", "siphash.rs"];
    forbid(
        "what comes after the houses knows what comes before",
        |path| downstream.contains(&path) || path.starts_with("expo/"),
        &upstream,
    );
}

#[test]
fn parsers_are_pure() {
    let world =
        words(&["crate::source", "std::fs", "std::io", "std::process", "std::time", "std::env", "log::", "thread"]);
    forbid("a parser looks at the world", |path| PARSERS.contains(&path), &world);
}

#[test]
fn the_doctor_is_told_what_there_is_to_see() {
    let world = words(&["std::fs", "std::io", "std::process", "std::env", "std::time", "log::", "Scene::around"]);
    forbid("the doctor looks at the world", |path| path == "doctor.rs", &world);
}

#[test]
fn metrics_do_no_io_and_can_not_fail() {
    let world = words(&["crate::source", "std::fs", "std::io", "std::process", "std::time", "log::", "Result<"]);
    forbid("metrics.rs looks at the world or fails", |path| path.ends_with("/metrics.rs"), &world);
}

#[test]
fn every_outside_thing_is_known_to_one_place() {
    for (thing, home) in [
        ("httparse", "http/"),
        ("serde_json", "session.rs"),
        ("pico_args", "cli.rs"),
        ("regex_lite", "sockets/rule.rs"),
        ("blowfish", "bcrypt.rs"),
        ("termios", "main.rs"),
        ("unsafe ", "source/c.rs"),
        ("# HELP", "expo/encoder.rs"),
        ("\"<", "pages/"),
    ] {
        forbid(&format!("{thing} belongs to {home}"), |path| !path.starts_with(home), &words(&[thing]));
    }
    let edges = |path: &str| path.starts_with("source/") || path.starts_with("http") || path == "main.rs";
    forbid("the system belongs to the edges", |path| !edges(path), &words(&["nix::", "std::fs", "std::process"]));
}

#[test]
fn families_are_named_in_the_catalogue_only() {
    let prefixes = [
        "strongswan_",
        "ipsec_",
        "ovpn_",
        "connection_",
        "xfrm_",
        "wireguard_",
        "gateway_exporter_",
        "probe_",
        "process_",
        "promhttp_",
    ];
    let names: Vec<String> = prefixes.iter().map(|prefix| format!("\"{prefix}")).collect();
    // Keys of the configuration begin alike.
    let homes = |path: &str| path.ends_with("/metrics.rs") || path == "own.rs" || path == "config.rs";
    forbid("a family's name outside its catalogue", |path| !homes(path), &names);
}

#[test]
fn no_counter_needs_64_bit_atomics() {
    forbid("32-bit MIPS has no such atomics", |_| true, &words(&["AtomicU64", "AtomicI64"]));
}
