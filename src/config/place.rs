//! Where in a file a key stands, so that every complaint can name the line.
//!
//! The reader says it of what it can't read; this is for what is read and means nothing. What is found here is as
//! exact as one key in each line allows: of a section that is written in one line it is that line.

/// A complaint that begins with its key (`sockets[1].srcPort: …`), with the line of that key in `text`, or of the
/// entry around it. A key that is not found has none, and a complaint that names a line keeps it.
pub(super) fn located(text: &str, complaint: String) -> String {
    if complaint.contains(" at line ") {
        return complaint;
    }
    let key = complaint.split_once(": ").map_or("", |(key, _)| key);
    match line_of(text, key) {
        Some(line) => format!("{complaint} at line {line}"),
        None => complaint,
    }
}

/// A line that has something: its number from 1, how far it is indented, and what stands there.
struct Line<'t> {
    number: usize,
    indent: usize,
    rest: &'t str,
}

/// The line of a key, from 1; of a path, the last step that is found.
fn line_of(text: &str, path: &str) -> Option<usize> {
    let mut lines: Vec<Line<'_>> = (1..).zip(text.lines()).filter_map(line).collect();
    let (mut from, mut to, mut found) = (0, lines.len(), None);
    for step in path.split(['.', '[']) {
        let block = lines.get(from..to).unwrap_or_default();
        let Some(own) = block.first().map(|line| line.indent) else { break };
        let index = step.strip_suffix(']').and_then(|digits| digits.parse().ok());
        let fits = |line: &&Line<'_>| match index {
            Some(_) => line.rest.starts_with('-'),
            None => is_called(line.rest, step),
        };
        let Some(line) = block.iter().filter(|line| line.indent == own && fits(line)).nth(index.unwrap_or(0)) else {
            break;
        };
        let number = line.number;
        found = Some(number);
        // Below a key, a list may stand as far to the left as the key.
        let is_inside =
            |line: &Line<'_>| line.indent > own || index.is_none() && line.indent == own && line.rest.starts_with('-');
        from = lines.partition_point(|line| line.number <= number);
        let length = lines.get(from..to).unwrap_or_default().iter().take_while(|line| is_inside(line)).count();
        to = from.saturating_add(length);
        if index.is_some() {
            // An entry begins behind its dash.
            from = from.saturating_sub(1);
            lines.get_mut(from).into_iter().for_each(Line::enter);
        }
    }
    found
}

fn line((number, text): (usize, &str)) -> Option<Line<'_>> {
    let rest = text.trim_start();
    let indent = text.len().saturating_sub(rest.len());
    (!rest.is_empty() && !rest.starts_with('#')).then_some(Line { number, indent, rest })
}

impl Line<'_> {
    fn enter(&mut self) {
        let rest = self.rest.trim_start_matches('-').trim_start();
        self.indent = self.indent.saturating_add(self.rest.len().saturating_sub(rest.len()));
        self.rest = rest;
    }
}

/// Whether a line begins with that key; rules have two names for some.
fn is_called(line: &str, wanted: &str) -> bool {
    let Some((key, _)) = line.split_once(':') else { return false };
    let key = key.trim_matches(['"', '\'', ' ']);
    let short = wanted.strip_prefix("src").unwrap_or(wanted);
    key == wanted || key.eq_ignore_ascii_case(short) || key.strip_suffix("Name") == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a: 0\na: 1\nrules:\n  - {name: x, port: http}\n  # name: comment\n  - name: y\n    port: http\n\n    \
        processName: z\n  - status: s\n\"web\":\n  listen: [\":1\",\n           \":x\"]\n  allow:\n  - b\n  - c\n  more: 1\nb:\n- name: q\n";

    #[test]
    fn the_place_of_a_key_is_found() {
        for (path, line) in [
            ("a", Some(2)),
            ("rules", Some(3)),
            ("rules[0].name", Some(4)),
            ("rules[1].name", Some(6)),
            ("rules[1].srcPort", Some(7)),
            ("rules[1].process", Some(9)),
            ("rules[1].status", Some(6)),
            ("rules[2].name", Some(10)),
            ("rules[2].status", Some(10)),
            ("rules[7].name", Some(3)),
            ("web.listen[1]", Some(12)),
            ("web.allow", Some(14)),
            ("web.allow[1]", Some(16)),
            ("web.more", Some(17)),
            ("web.users.ann", Some(11)),
            ("b[0].name", Some(19)),
            ("name", None),
            ("", None),
        ] {
            assert_eq!(line_of(TEXT, path), line, "{path}");
        }
        assert_eq!(located("- a: b", "a: bad: x".into()), "a: bad: x");
        assert_eq!(located(TEXT, "b[0].name: bad: x".into()), "b[0].name: bad: x at line 19");
    }

    #[test]
    fn whatever_the_file_is_a_place_is_looked_for_in_vain_at_worst() {
        let path = "rules[1].name.x[0]";
        for end in 0..TEXT.len() {
            for text in [TEXT.get(..end), TEXT.get(end..)].into_iter().flatten() {
                let line = line_of(text, path).unwrap_or(1);
                assert!(line <= text.lines().count().max(1), "{text:?}");
            }
        }
    }
}
