//! The completions in contrib/completions are those of the flags; tests/e2e/test_completions.py tries them in the shells.

use std::fs;
use std::path::Path;

#[path = "../man/completions.rs"]
mod generator;

#[test]
fn the_completions_are_those_of_the_flags() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/completions");
    for (name, text) in generator::files() {
        let path = folder.join(name);
        if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{name} is stale: BLESS=1 cargo test --test it completions");
        assert!(text.contains("no-collector.sockets") && text.contains("debug info warn error"), "{text}");
    }
}
