//! The README is true: its examples are read, its names exist, and nothing is left out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use gateway_exporter::cli::{self, Command};
use gateway_exporter::config::{Config, Surroundings};

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of the README under a heading.
fn section(heading: &str) -> String {
    let readme = file("README.md");
    let from = readme.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &readme[from + 4..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// The words in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_example_configuration_is_valid_and_uses_every_source() {
    let section = section("Configuration");
    let yaml = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let config = Config::parse(yaml, &Surroundings::default()).unwrap();
    assert!(config.strongswan.is_some() && config.ipsec.is_some());
    assert_eq!(config.openvpn.unwrap().servers.len(), 3);
    assert_eq!(config.sockets.unwrap().rules.len(), 2);
}

#[test]
fn every_flag_in_the_readme_is_in_the_help_and_works() {
    let section = section("Configuration");
    let flags: Vec<&str> = quoted(&section).into_iter().filter(|word| word.starts_with('-')).collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        assert!(cli::HELP.contains(name), "{flag} is not in the help");
        let mut arguments = vec![OsString::from(name)];
        if !value.is_empty() || name == "-c" || name == "--config-file" {
            arguments.push("/x".into());
        }
        let ends = ["--version", "--help", "-h"].contains(&name);
        assert_eq!(matches!(cli::parse(arguments), Ok(Command::Run(_))), !ends, "{flag}");
    }
}

#[test]
fn every_family_is_in_the_readme_and_every_one_there_exists() {
    let catalogues = [
        "src/strongswan/metrics.rs",
        "src/ipsec/metrics.rs",
        "src/openvpn/metrics.rs",
        "src/sockets/metrics.rs",
        "src/kernel/metrics.rs",
        "src/own.rs",
    ];
    let sources: String = catalogues.map(file).concat();
    let is_family = |word: &str| {
        word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !word.ends_with('_')
    };
    let named: BTreeSet<&str> = sources
        .split("gauge(")
        .chain(sources.split("counter("))
        .filter_map(|part| part.trim_start().strip_prefix('"')?.split('"').next())
        .filter(|word| is_family(word))
        .collect();
    assert!(named.len() > 45, "{named:?}");
    let section = section("Metrics");
    let shown: BTreeSet<&str> = quoted(&section)
        .into_iter()
        .filter(|word| is_family(word) && !["child_id", "child_name"].contains(word))
        .collect();
    assert_eq!(named, shown);
}

#[test]
fn every_difference_has_its_test() {
    let tests = file("tests/it/differences.rs");
    let tests: BTreeSet<&str> = tests.split("#[test]\nfn ").skip(1).filter_map(|test| test.split('(').next()).collect();
    let section = section("Differences from the originals");
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what is different"));
    let named: BTreeSet<&str> = rows.filter_map(|row| quoted(row).pop()).collect();
    assert_eq!(tests, named);
}

#[test]
fn what_the_readme_links_to_exists() {
    let readme = file("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "{link}");
    }
}
