//! The man page has every flag, and those who print man pages have nothing to say against it.

use std::io::Write;
use std::process::{Command, Stdio};

use gateway_exporter::cli::FLAGS;

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
