//! The rules and dashboards of contrib ask only for families and labels that there are, and every alert has its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use gateway_exporter::catalogue::{Catalogue, catalogue};
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

type Names = BTreeSet<String>;

/// What Prometheus itself adds to every scrape and for every alert.
const OWN: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"];

/// The words of PromQL that are no names.
const WORDS: [&str; 7] = ["and", "or", "unless", "bool", "offset", "inf", "nan"];

/// Words that name labels in the brackets behind them.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rules of a file.
fn rules(path: &str) -> Vec<Yaml> {
    let yaml: Yaml = serde_yaml::from_str(&file(path)).unwrap();
    let groups = yaml["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

fn text<'a>(rule: &'a Yaml, key: &str) -> &'a str {
    rule[key].as_str().unwrap_or_else(|| panic!("{rule:?} has no {key}"))
}

/// The labels of each name that may be asked for: families, what Prometheus adds, and our records by their level.
fn known() -> BTreeMap<String, Names> {
    let scraped = ["job", "instance"].map(str::to_owned);
    let mut known: BTreeMap<String, Names> = OWN.map(|name| (name.to_owned(), Names::from(scraped.clone()))).into();
    let alert = ["alertname", "alertstate", "severity", "connection"].map(str::to_owned);
    known.insert("ALERTS".into(), scraped.iter().cloned().chain(alert).collect());
    for row in catalogue(Catalogue::Markdown).lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        known.entry(cells[1].replace('`', "")).or_default().extend(labels.chain(scraped.clone()));
    }
    for rule in rules("prometheus/recording.yaml") {
        let name = text(&rule, "record");
        let level = name.split(':').next().unwrap().split('_').map(str::to_owned);
        known.insert(name.to_owned(), level.chain(["job".to_owned()]).collect());
    }
    known
}

/// What an expression asks for.
#[derive(Default)]
struct Asked {
    /// Names of series, each with the labels that its own braces name.
    series: Vec<(String, Names)>,
    /// Labels by which series are grouped and joined.
    grouped: Names,
}

/// A naive reading of PromQL: enough for what is written in contrib.
fn asked(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let mut rest = expression;
    while let Some(letter) = rest.chars().next() {
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "_:".contains(c))).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(length);
        let next = behind.trim_start();
        rest = match letter {
            '"' => &rest[rest[1..].find('"').expect("an end of the string") + 2..],
            '[' => &rest[rest.find(']').expect("an end of the range") + 1..],
            '0'..='9' => behind,
            _ if GROUPING.contains(&word) && next.starts_with('(') => {
                let (inside, after) = next[1..].split_once(')').expect("an end of the labels");
                asked.grouped.extend(inside.split(',').map(|label| label.trim().to_owned()));
                after
            }
            _ if word.is_empty() => &rest[letter.len_utf8()..],
            _ if WORDS.contains(&word.to_lowercase().as_str()) || next.starts_with('(') => behind,
            // `sum by (…) (…)`
            _ if GROUPING.iter().any(|group| next.strip_prefix(group).is_some_and(|more| more.starts_with(" ("))) => {
                behind
            }
            _ => {
                let (labels, after) = matched(next).unwrap_or((Names::new(), behind));
                asked.series.push((word.to_owned(), labels));
                after
            }
        };
    }
    asked.grouped.remove("");
    asked
}

/// The labels in the braces at the beginning, and what follows them.
fn matched(text: &str) -> Option<(Names, &str)> {
    let mut rest = text.strip_prefix('{')?;
    let mut labels = Names::new();
    while !rest.starts_with('}') {
        let (label, value) = rest.split_once(['=', '!'])?;
        labels.insert(label.trim_start_matches(',').trim().to_owned());
        rest = value.split_once('"')?.1.split_once('"')?.1;
    }
    Some((labels, &rest[1..]))
}

/// Complains about names that there are not; gives every label that the result may have.
fn check(expression: &str, known: &BTreeMap<String, Names>) -> Names {
    let asked = asked(expression);
    assert!(!asked.series.is_empty(), "{expression}");
    let mut all = Names::new();
    for (name, labels) in &asked.series {
        let has = known.get(name).unwrap_or_else(|| panic!("there is no {name}: {expression}"));
        assert!(labels.is_subset(has), "{name} has {has:?} only: {expression}");
        all.extend(has.iter().cloned());
    }
    // What label_replace adds is for the expression's own use.
    assert!(asked.grouped.is_subset(&all), "{:?} of {all:?}: {expression}", asked.grouped);
    all
}

/// The labels that a template names after each `mark`.
fn templated<'a>(template: &'a str, mark: &str) -> BTreeSet<&'a str> {
    let end = |rest: &'a str| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    template.split(mark).skip(1).map(end).collect()
}

#[test]
fn the_reading_of_promql_finds_names_and_labels() {
    let asked =
        asked(r#"sum by (job, a) (rate(x:y{a="1",b!~"}("}[5m])) / on (c) 2 * z unless max(w) by (d) > bool 1e3"#);
    let names: Vec<(&str, usize)> = asked.series.iter().map(|(name, labels)| (name.as_str(), labels.len())).collect();
    assert_eq!(names, [("x:y", 2), ("z", 0), ("w", 0)]);
    assert_eq!(asked.grouped, ["job", "a", "c", "d"].map(str::to_owned).into());
}

#[test]
fn the_rules_ask_for_what_there_is() {
    let known = known();
    for rule in rules("prometheus/recording.yaml") {
        let labels = check(text(&rule, "expr"), &known);
        assert!(known[text(&rule, "record")].is_subset(&labels), "{rule:?}");
    }
    for rule in rules("prometheus/alerts.yaml") {
        let labels = check(text(&rule, "expr"), &known);
        let annotations = &rule["annotations"];
        for key in ["summary", "description"] {
            let named = templated(text(annotations, key), "$labels.");
            assert!(named.iter().all(|label| labels.contains(*label)), "{named:?}: {rule:?}");
        }
        assert!(text(annotations, "description").contains("Look first") || text(&rule, "alert") == "SourceDown");
        assert!(["critical", "warning"].contains(&text(&rule["labels"], "severity")));
        assert!(text(&rule, "for").ends_with('m'), "{rule:?}");
    }
}

#[test]
fn the_readmes_alert_asks_for_what_there_is() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let alert = readme.lines().find(|line| line.starts_with("    - {alert: ")).unwrap();
    check(text(&serde_yaml::from_str::<Yaml>(alert).unwrap()[0], "expr"), &known());
}

#[test]
fn every_alert_has_a_test_that_fires_and_one_that_does_not() {
    let tests: Yaml = serde_yaml::from_str(&file("prometheus/alerts.test.yaml")).unwrap();
    let mut found = BTreeMap::<String, [bool; 2]>::new();
    for test in tests["tests"].as_sequence().unwrap() {
        let (alert, says) = text(test, "name").split_once(' ').unwrap();
        let fires = says.starts_with("fires");
        assert!(fires || says.starts_with("does not fire"), "{says}");
        let cases = test["promql_expr_test"].as_sequence().unwrap();
        let has = |case: &Yaml| !case["exp_samples"].as_sequence().unwrap().is_empty();
        assert!(cases.iter().all(|case| text(case, "expr").contains(&format!("alertname=\"{alert}\""))), "{says}");
        assert_eq!(cases.iter().any(has), fires, "{alert} {says}");
        found.entry(alert.to_owned()).or_default()[usize::from(fires)] = true;
    }
    let alerts: Names = rules("prometheus/alerts.yaml").iter().map(|rule| text(rule, "alert").to_owned()).collect();
    assert_eq!(alerts, found.keys().cloned().collect());
    assert_eq!(found.values().filter(|both| **both != [true, true]).count(), 0, "{found:?}");
}

#[test]
fn every_record_has_a_test() {
    let tests = file("prometheus/recording.test.yaml");
    for rule in rules("prometheus/recording.yaml") {
        let name = text(&rule, "record");
        assert!(tests.contains(&format!("- expr: {name}\n")), "{name}");
    }
}

#[test]
fn the_dashboards_ask_for_what_there_is() {
    let known = known();
    for board in ["grafana/fleet.json", "grafana/gateway.json"] {
        let json: Json = serde_json::from_str(&file(board)).unwrap();
        let panels: Vec<&Json> =
            json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect();
        assert!(panels.len() > 20, "{board}");
        for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
            let labels = check(target["expr"].as_str().unwrap(), &known);
            let legend = templated(target["legendFormat"].as_str().unwrap_or_default(), "{{");
            assert!(legend.iter().all(|label| labels.contains(*label)), "{board}: {target}");
        }
        let variables = json["templating"]["list"].as_array().unwrap();
        for query in variables.iter().filter_map(|variable| variable["query"]["query"].as_str()) {
            check(query.trim_start_matches("label_values(").rsplit_once(',').unwrap().0, &known);
        }
    }
}

#[test]
fn panels_do_not_overlap_and_have_numbers_of_their_own() {
    for board in ["grafana/fleet.json", "grafana/gateway.json"] {
        let json: Json = serde_json::from_str(&file(board)).unwrap();
        let (mut numbers, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in json["panels"].as_array().unwrap() {
            assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{board}: {}", panel["title"]);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(x + w <= 24, "{board}: {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{board}: {}", panel["title"]);
            }
        }
    }
}
