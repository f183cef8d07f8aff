//! A second, naive reader of Prometheus text that judges what `expo.rs` writes.
//!
//! It shares no code with the writer and is strict: it panics with the line that is wrong.

use std::collections::{BTreeMap, HashSet};

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: String,
}

/// Reads a whole exposition, and judges it: a header of two lines before each family, families sorted
/// and each in one piece, labels sorted, every series once, every line ended.
pub(crate) fn read(text: &str) -> Vec<Sample> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    let mut samples = Vec::new();
    let mut series = HashSet::new();
    let mut family = String::new();
    let mut families: Vec<String> = Vec::new();
    let mut lines = text.split_terminator('\n');
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!words.is_empty(), "empty help: {line}");
            assert!(families.last().is_none_or(|last| last.as_str() < name), "families out of order: {line}");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            assert!(matches!(kind, Some("counter" | "gauge")), "no type after: {line}");
            families.push(name.to_owned());
            family = name.to_owned();
            continue;
        }
        let sample = read_sample(line);
        assert_eq!(sample.name, family, "sample outside its family: {line}");
        assert!(series.insert((sample.name.clone(), sample.labels.clone())), "series twice: {line}");
        samples.push(sample);
    }
    for family in &families {
        assert!(samples.iter().any(|sample| sample.name == *family), "family without a sample: {family}");
    }
    samples
}

/// The sample lines alone, as the fixtures' expected files have them.
pub(crate) fn sample_lines(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
}

fn read_sample(line: &str) -> Sample {
    let characters: Vec<char> = line.chars().collect();
    let mut at = 0;
    let name = read_name(&characters, &mut at, line);
    let mut labels = BTreeMap::new();
    let mut last = String::new();
    if characters.get(at) == Some(&'{') {
        at += 1;
        loop {
            let label = read_name(&characters, &mut at, line);
            assert!(last < label, "labels out of order: {line}");
            last = label.clone();
            assert_eq!(characters[at..at + 2], ['=', '"'], "no value: {line}");
            at += 2;
            assert!(labels.insert(label, read_value(&characters, &mut at, line)).is_none(), "label twice: {line}");
            at += 1;
            if characters[at - 1] == '}' {
                break;
            }
            assert_eq!(characters[at - 1], ',', "no comma: {line}");
        }
    }
    assert_eq!(characters.get(at), Some(&' '), "no space before the value: {line}");
    let value: String = characters[at + 1..].iter().collect();
    assert!(!value.contains(' '), "a time stamp: {line}");
    assert!(matches!(value.as_str(), "NaN" | "+Inf" | "-Inf") || value.parse::<f64>().is_ok(), "no number: {line}");
    Sample { name, labels, value }
}

fn read_name(characters: &[char], at: &mut usize, line: &str) -> String {
    let start = *at;
    while characters.get(*at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
        *at += 1;
    }
    let name: String = characters[start..*at].iter().collect();
    assert!(name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'), "no name: {line}");
    name
}

fn read_value(characters: &[char], at: &mut usize, line: &str) -> String {
    let mut value = String::new();
    loop {
        let character = characters.get(*at).unwrap_or_else(|| panic!("a value without an end: {line}"));
        *at += 1;
        match character {
            '"' => return value,
            '\\' => {
                value.push(match characters.get(*at) {
                    Some('n') => '\n',
                    Some('"') => '"',
                    Some('\\') => '\\',
                    _ => panic!("a bad escape: {line}"),
                });
                *at += 1;
            }
            other => value.push(*other),
        }
    }
}

#[test]
fn the_judge_refuses_what_is_wrong() {
    let good = "# HELP a A.\n# TYPE a gauge\na{x=\"1\\n\\\"\"} 1\n";
    assert_eq!(read(good)[0].labels["x"], "1\n\"");
    for bad in [
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE a gauge\n",
        "# HELP a A.\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\nb 1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"1} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"\\q\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{y=\"1\",x=\"1\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1 1795180825\n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
    ] {
        assert!(std::panic::catch_unwind(|| read(bad)).is_err(), "not refused: {bad}");
    }
}
