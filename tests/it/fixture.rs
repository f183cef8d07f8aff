//! The captures under `fixtures/<source>/<case>/`, and what must come of them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use gateway_exporter::exposition::Exposition;
use gateway_exporter::session::{Session, json_writer};

use crate::reader;

/// The moment at which every capture is looked at: 2026-11-20 13:20:25 UTC.
pub(crate) const NOW: i64 = 1_795_180_825;

/// The moment of a date and time in UTC, counted naively.
pub(crate) fn utc([year, month, day, hour, minute, second]: [i64; 6]) -> Option<i64> {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let months: i64 = lengths[..month as usize - 1].iter().sum();
    Some(((years + months + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

/// One case of one source.
pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
}

/// All cases of a source, sorted; there is always one.
pub(crate) fn cases(source: &str) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(source);
    let mut cases: Vec<Case> = fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| Case { name: entry.file_name().into_string().unwrap(), folder: entry.path() })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "{}: no cases", root.display());
    cases
}

/// One case by its name.
pub(crate) fn case(source: &str, name: &str) -> Case {
    cases(source).into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {source}/{name}"))
}

impl Case {
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{}: {error}", self.path(file).display()))
    }

    /// The bytes of a file that not every case has.
    pub(crate) fn optional(&self, file: &str) -> Option<Vec<u8>> {
        self.path(file).exists().then(|| self.bytes(file))
    }

    pub(crate) fn text(&self, file: &str) -> String {
        String::from_utf8(self.bytes(file)).unwrap()
    }

    /// Compares the sample lines with `expected.prom`, or writes that file where `BLESS=1` is set.
    pub(crate) fn expect_samples(&self, exposition: Exposition) {
        self.expect_sample_lines(&samples(exposition));
    }

    /// The same for lines that were looked at already.
    pub(crate) fn expect_sample_lines(&self, lines: &str) {
        self.expect("expected.prom", lines);
    }

    /// Compares the sessions with `expected.json`, one object a line, or writes it where `BLESS=1` is set.
    pub(crate) fn expect_sessions(&self, sessions: &[Session]) {
        let lines: Vec<_> = sessions
            .iter()
            .map(|session| String::from_utf8(json(std::slice::from_ref(session))).unwrap())
            .map(|array| array[1..array.len() - 1].to_owned())
            .collect();
        let text = if lines.is_empty() { "[]\n".into() } else { format!("[\n{}\n]\n", lines.join(",\n")) };
        serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
        self.expect("expected.json", &text);
    }

    /// Compares a text with a file of the case, or writes that file where `BLESS=1` is set.
    pub(crate) fn expect(&self, file: &str, found: &str) {
        let path = self.path(file);
        if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
            fs::write(&path, found).unwrap();
        }
        let expected = self.text(file);
        for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "{}:{}", path.display(), number + 1);
        }
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// The whole text of an exposition.
pub(crate) fn text(exposition: Exposition) -> String {
    let mut text = String::new();
    exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
    text
}

/// The sample lines of an exposition, after the whole of it was judged.
pub(crate) fn samples(exposition: Exposition) -> String {
    let text = text(exposition);
    reader::read(&text);
    reader::sample_lines(&text)
}

/// Calls `judge` with the input cut at every byte, and with bits flipped all over it.
pub(crate) fn torment(input: &[u8], judge: impl Fn(&[u8])) {
    for end in 0..=input.len() {
        judge(&input[..end]);
    }
    let mut broken = input.to_vec();
    for at in 0..input.len() {
        for bit in [0x01, 0x20, 0x80] {
            broken[at] ^= bit;
            judge(&broken);
            broken[at] ^= bit;
        }
    }
}

/// The sessions as `/sessions` lists them.
pub(crate) fn json(sessions: &[Session]) -> Vec<u8> {
    let (mut sessions, mut out) = (sessions.iter().cloned(), Vec::new());
    let mut write = json_writer(|| sessions.next());
    while write(&mut out) {}
    out
}
