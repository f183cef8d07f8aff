//! The man page has every flag, and those who print man pages have nothing to say against it.

use std::io::Write;
use std::process::{Command, Stdio};

use gateway_exporter::cli::{COMMANDS, FLAGS};
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::{exposition, self_metrics, sources};

#[path = "../man/page.rs"]
mod page;

/// What a program that reads a man page prints and complains about; absent where it is not installed.
fn read(program: &str, arguments: &[&str]) -> Option<(String, String)> {
    let pipes = || Stdio::piped();
    let started = Command::new(program).args(arguments).stdin(pipes()).stdout(pipes()).stderr(pipes()).spawn();
    let Ok(mut reader) = started else {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        println!("SKIPPED: {program} is not installed");
        return None;
    };
    reader.stdin.take().unwrap().write_all(page::print().as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some((text(output.stdout), text(output.stderr)))
}

#[test]
fn every_flag_is_in_the_man_page() {
    let page = page::print().replace("\\-", "-");
    for flag in &FLAGS {
        assert!(page.contains(&format!("\\fB--{}\\fR", flag.name)), "{}", flag.name);
    }
}

#[test]
fn every_key_command_and_family_is_in_the_man_page() {
    let page = page::print().replace("\\-", "-");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "OPTIONS",
        "CONFIGURATION",
        "METRICS",
        "FILES",
        "SIGNALS",
        "EXIT STATUS",
        "EXAMPLES",
        "SEE ALSO",
    ];
    assert_eq!(sections, expected);
    let section = |name: &str| page.split(&format!(".SH {name}\n")).nth(1).unwrap().split("\n.SH ").next().unwrap();
    // A key that there is not is an error that names those that there are.
    let error = Config::parse("no_such_key: 1\n", &Overrides::default()).unwrap_err().to_string();
    let known = error.split("(known: ").nth(1).unwrap().split(')').next().unwrap();
    for key in known.split(", ") {
        let keys = section("CONFIGURATION").lines().filter_map(|line| line.strip_prefix(".BR "));
        assert!(keys.flat_map(|keys| keys.split(" ,\\  ")).any(|named| named == key), "{key}");
    }
    for (command, _) in COMMANDS {
        assert!(section("COMMANDS").contains(&format!("\n.B {command}\n")), "{command}");
    }
    let tables = sources::ALL.iter().flat_map(|source| source.tables).chain(self_metrics::TABLES);
    for family in tables.flat_map(|table| exposition::list(*table)) {
        assert!(section("METRICS").contains(&format!("\\fB{}\\fR", family.name)), "{}", family.name);
    }
}

#[test]
fn the_man_page_is_sound() {
    if let Some((printed, complaints)) = read("groff", &["-man", "-Tutf8", "-ww", "-P-cbou"]) {
        assert_eq!(complaints, "");
        for words in ["--web.listen-address", "EXIT STATUS", "/var/run/charon.vici", "tells Prometheus"] {
            assert!(printed.contains(words), "{words}: {printed}");
        }
    }
    if let Some((said, complaints)) = read("mandoc", &["-T", "lint", "-W", "warning"]) {
        // A page of a build has no date of its own.
        let said: Vec<&str> = said.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(said.is_empty() && complaints.is_empty(), "{said:?} {complaints}");
    }
}
