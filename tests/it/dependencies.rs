//! The tree of dependencies stays small, and docs/dependencies.md lists all of it.

use std::collections::BTreeSet;
use std::process::Command;

/// The most crates that a build without TLS consists of, ours included.
const MOST: usize = 40;

/// Name and version of every crate that ends up in the binary or its compile-time code.
fn tree() -> BTreeSet<(String, String)> {
    let arguments = ["tree", "--edges", "normal", "--prefix", "none", "--locked", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let crates = text.lines().filter_map(|line| line.split_once(' '));
    crates.map(|(name, rest)| (name.into(), rest.split(' ').next().unwrap()[1..].into())).collect()
}

#[test]
fn the_tree_is_small() {
    let tree = tree();
    assert!(tree.len() > 10, "{tree:?}");
    assert!(tree.len() <= MOST, "{} crates: {tree:?}", tree.len());
}

#[test]
fn every_dependency_is_in_the_docs() {
    let page = crate::docs::page("dependencies");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let listed: BTreeSet<(String, String)> = rows
        .map(|row| row.split(" | ").map(|cell| cell.trim_matches('*').to_owned()))
        .filter_map(|mut cells| Some((cells.next()?, cells.next()?)))
        .filter(|(name, _)| name != "crate")
        .collect();
    let tree = tree().into_iter().filter(|(name, _)| name != "gateway-exporter").collect();
    assert_eq!(listed, tree);
}
