//! The README and the pages in docs/ are true: their examples are read, their names exist, and nothing is left out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use gateway_exporter::catalogue::{Catalogue, catalogue};
use gateway_exporter::cli::{self, Command};
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::diagnosis;
use gateway_exporter::error::{Error, ErrorKind};
use gateway_exporter::exposition::Group;
use gateway_exporter::ipsec::Ipsec;
use gateway_exporter::openvpn::OpenVpn;
use gateway_exporter::sockets::Sockets;
use gateway_exporter::strongswan::StrongSwan;
use gateway_exporter::strongswan::sa::Identity;
use gateway_exporter::sys::environment::{AccessProblem, Environment};
use gateway_exporter::watched::Counts;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a page in docs/.
pub(crate) fn page(name: &str) -> String {
    file(&format!("docs/{name}.md"))
}

/// The part of a page under a heading.
fn section(name: &str, heading: &str) -> String {
    let page = page(name);
    let from = page.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{name}: no section {heading}"));
    let rest = &page[from + 4..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// The words in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_example_configuration_is_valid_and_uses_every_source() {
    let page = page("configuration");
    let config = Config::parse(yaml(&page), &Overrides::default()).unwrap();
    assert!(config.sources.get::<StrongSwan>().is_some() && config.sources.get::<Ipsec>().is_some());
    assert_eq!(config.sources.get::<OpenVpn>().unwrap().servers.len(), 4);
    assert_eq!(config.sources.get::<Sockets>().unwrap().rules.len(), 2);
}

/// The first example in a section.
fn yaml(section: &str) -> &str {
    section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example")
}

#[test]
fn the_readmes_example_configuration_is_valid_and_uses_every_source() {
    let config = Config::parse(yaml(&file("README.md")), &Overrides::default()).unwrap();
    assert!(
        config.sources.get::<StrongSwan>().is_some()
            && config.sources.get::<Ipsec>().is_some()
            && config.sources.get::<OpenVpn>().is_some()
    );
    assert_eq!((config.sources.get::<Sockets>().unwrap().rules.len(), config.web.listen.len()), (2, 2));
}

#[test]
fn the_readmes_samples_are_those_of_fixtures() {
    let readme = file("README.md");
    let samples = readme.split("```\n").nth(1).unwrap();
    let expected = ["strongswan/two-children", "openvpn/tcp-server", "wireguard/two-interfaces"];
    let expected = expected.map(|fixture| file(&format!("fixtures/{fixture}/expected.prom"))).concat();
    for sample in samples.lines() {
        assert!(expected.lines().any(|line| line == sample), "{sample}");
    }
}

#[test]
fn the_readme_has_the_help() {
    let help = cli::help(false);
    assert!(file("README.md").contains(&format!("```\n{help}```\n")), "{help}");
}

#[test]
fn the_example_of_metrics_is_valid() {
    let text = format!("vici_socket: /x\n{}", yaml(&page("metrics")));
    let config = Config::parse(&text, &Overrides::default()).unwrap();
    assert!(config.options.without.contains(Group::Sas) && !config.options.without.contains(Group::Clients));
    assert_eq!(config.sources.get::<StrongSwan>().unwrap().identity, Identity::User);
}

#[test]
fn the_example_of_access_is_valid() {
    let config = Config::parse(yaml(&section("configuration", "Access")), &Overrides::default()).unwrap();
    assert_eq!((config.web.listen.len(), config.web.users.len()), (3, 1));
    assert!(config.web.users.iter().any(|(name, hash)| name == "prometheus" && hash.is_of(b"abc")));
    assert!(config.web.allow.is_some() && config.web.hides_sessions && config.key_file.is_some());
}

#[test]
fn the_doctor_says_what_the_docs_show() {
    let file = "/run/openvpn/office.status";
    let access_problem = AccessProblem {
        path: "/run/openvpn".into(),
        owner: "root".into(),
        group: "root".into(),
        mode: 0o750,
        needed: 1,
    };
    let environment = Environment {
        user: "prom".into(),
        group: "prom".into(),
        access_problem: Some(access_problem),
        ..Environment::default()
    };
    let findings = [
        diagnosis::target("openvpn", file, Some(&Error::new(file, ErrorKind::Denied)), &environment),
        diagnosis::target("strongswan", "/var/run/charon.vici", None, &environment),
        diagnosis::open_listener("[::]:9234".parse().unwrap(), false),
    ];
    let text = diagnosis::print(&findings, &Counts::default(), |_| String::new());
    assert!(section("troubleshooting", "Doctor").contains(&format!("```\n{text}```\n")), "{text}");
}

#[test]
fn every_documented_flag_is_in_the_help_and_works() {
    let page = page("configuration");
    let before_access = page.split("\n## ").next().unwrap();
    let flags: Vec<&str> = quoted(before_access).into_iter().filter(|word| word.starts_with('-')).collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let name = &name.replace("collector.NAME", "collector.sockets");
        let known = name.trim_start_matches('-');
        let is_known = known.contains("collector.") || cli::FLAGS.iter().any(|flag| flag.is(known));
        assert!(is_known, "{flag} is not in the help");
        let mut arguments = vec![OsString::from(name)];
        if !value.is_empty() || name == "-c" || name == "--config-file" {
            let example = match value {
                "ADDRESS" => ":1",
                "LEVEL" => "warn",
                "SECONDS" => "7",
                "FORMAT" => "json",
                word if word.chars().all(|letter| letter.is_ascii_lowercase()) => word,
                _ => "/x",
            };
            arguments = vec![format!("{name}={example}").into()];
        }
        if ["--json", "--watch", "--quiet"].contains(&name.as_str()) {
            arguments.push("--status".into());
        }
        if name == "--output" {
            arguments.push("--once".into());
        }
        if name == "--format" {
            arguments.push("--list-metrics".into());
        }
        let ends = ["--format", "--hash-password", "--version", "--list-metrics", "--help", "-h", "--help-all"]
            .contains(&name.as_str());
        assert_eq!(matches!(cli::parse(arguments), Ok(Command::Run(_))), !ends, "{flag}");
    }
}

#[test]
fn the_catalogue_in_the_docs_is_the_binarys() {
    let readme = page("metrics");
    let from = readme.find("<!-- catalogue").and_then(|at| Some(at + readme[at..].find('\n')? + 1)).expect("its start");
    let to = readme.find("<!-- end of the catalogue -->").expect("its end");
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        fs::write(path, format!("{}{}{}", &readme[..from], catalogue(Catalogue::Markdown), &readme[to..])).unwrap();
        return;
    }
    assert_eq!(&readme[from..to], catalogue(Catalogue::Markdown));
}

#[test]
fn the_catalogue_says_the_same_in_every_format() {
    let markdown = catalogue(Catalogue::Markdown);
    let rows = markdown.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> =
        rows.map(|row| row.split('|').skip(1).map(|cell| cell.trim().trim_matches('`')).collect()).collect();
    let json: serde_json::Value = serde_json::from_str(&catalogue(Catalogue::Json)).unwrap();
    let table = catalogue(Catalogue::Table);
    assert_eq!((json.as_array().unwrap().len(), table.lines().count()), (rows.len(), rows.len() + 1));
    for ((row, object), line) in rows.iter().zip(json.as_array().unwrap()).zip(table.lines().skip(1)) {
        let [name, kind, labels, help, group, ""] = row[..] else { panic!("{row:?}") };
        let listed: Vec<&str> =
            object["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
        assert_eq!((&object["name"], &object["type"], &object["help"]), (&name.into(), &kind.into(), &help.into()));
        assert_eq!((listed.join(", ").as_str(), object["group"].as_str().unwrap_or_default()), (labels, group));
        let (source, labels) = (object["source"].as_str().unwrap(), labels.replace(", ", ","));
        let shown: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let cells = [source, name, kind, group, &labels, help].into_iter().filter(|cell| !cell.is_empty());
        assert_eq!(shown, cells.collect::<Vec<_>>());
    }
}

#[test]
fn every_table_is_in_the_catalogue() {
    let of_sources = gateway_exporter::sources::ALL.iter().map(|source| format!("src/{}/metrics.rs", source.name));
    for path in of_sources.chain(["src/self_metrics.rs".to_owned()]) {
        let text = file(&path);
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let tables: BTreeSet<&str> =
            code.split("impl Table for ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
        assert!(!tables.is_empty(), "{path}");
        for table in tables {
            assert!(code.contains(&format!("table::<{table}>()")), "{path}: {table}");
        }
    }
}

#[test]
fn every_difference_has_its_test() {
    let tests = file("tests/it/differences.rs");
    let tests: BTreeSet<&str> = tests.split("#[test]\nfn ").skip(1).filter_map(|test| test.split('(').next()).collect();
    let page = page("differences");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what is different"));
    let named: BTreeSet<&str> = rows.filter_map(|row| quoted(row).pop()).collect();
    assert_eq!(tests, named);
}

/// The README and every page in docs/, by their paths in the repository.
fn pages() -> Vec<String> {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    pages.chain(["README.md".to_owned()]).collect()
}

#[test]
fn what_the_pages_link_to_exists() {
    for path in pages() {
        let text = file(&path);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).parent().unwrap().to_owned();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let target = link.split('#').next().unwrap();
            assert!(folder.join(target).exists(), "{path}: {link}");
        }
    }
}

#[test]
fn the_readme_is_short_and_names_every_page() {
    let readme = file("README.md");
    assert!(readme.lines().count() <= 180, "{} lines", readme.lines().count());
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        assert!(readme.contains(&format!("({page})")), "{page} is not linked from the README");
    }
}
