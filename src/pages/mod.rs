//! The two pages for people: what is watched, and the table of sessions.
//!
//! The only file with `<` in a string. Every text from outside is escaped by [`Html`]. The pages load their own style sheet and
//! script, and work without both.

use std::fmt::{self, Write as _};

use crate::diagnosis::{self, Finding, InWords, Severity};
use crate::session::Session;
use crate::text::{Text, is_disruptive};
use crate::watched::Counts;

/// The Content-Type of both pages.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// What both pages have in common.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The gateway's name.
    pub gateway: &'a str,
    /// The exporter's version.
    pub version: &'a str,
    /// The path of the metrics.
    pub telemetry_path: &'a str,
    /// Whether there are session pages.
    pub has_sessions: bool,
    /// The words of [`FILTER`]; empty if everything is shown.
    pub filter: &'a str,
}

/// The query parameter with the words that each shown row or entry contains, in any order and case.
pub const FILTER: &str = "q";

/// The controls that need the script, which makes them visible.
const LIVE: &str = "<label hidden><input type=\"checkbox\" checked> Live</label><span role=\"status\"></span></form>";
const ORDER: &str = "<label hidden>Order <select><option value=\"\">worst first<option value=\"Name\">name\
<option value=\"Rate\">traffic<option value=\"Since\">since</select></label>";

/// The icon of both pages, at [`ICON_PATH`].
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
<rect width=\"16\" height=\"16\" rx=\"3\" fill=\"#0b5cad\"/>\
<path d=\"M2 5h9l-2-2m2 2L9 7m5 4H5l2-2m-2 2 2 2\" fill=\"none\" stroke=\"#fff\" stroke-width=\"1.6\"/></svg>";

/// Where browsers look for [`ICON`].
pub const ICON_PATH: &str = "/favicon.ico";

/// Where the pages link to the reference of the metrics.
pub const DOCS_PATH: &str = "/docs";

/// The style sheet of both pages, at [`STYLE_PATH`].
pub const STYLE: &[u8] =
    &stripped::<{ stripped::<0>(include_str!("style.css"), false).1 }>(include_str!("style.css"), false).0;

/// Where the pages find [`STYLE`].
pub const STYLE_PATH: &str = "/style.css";

/// The script of both pages, at [`SCRIPT_PATH`]. Without it they are plain tables.
pub const SCRIPT: &[u8] =
    &stripped::<{ stripped::<0>(include_str!("app.js"), true).1 }>(include_str!("app.js"), true).0;

/// Where the pages find [`SCRIPT`].
pub const SCRIPT_PATH: &str = "/app.js";

/// The Content-Security-Policy of both pages: they load their own style sheet and script and themselves anew, and nothing
/// else. Inline styles are the widths of the table's columns.
pub const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self'; script-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The columns of the session table: name, width in percent, and class. Programs that parse the page rely on the positions of
/// the first eight; the script adds a column for the rates.
const COLUMNS: [(&str, u8, &str); 10] = [
    ("Identity", 15, ""),
    ("State", 10, ""),
    ("Protocol", 7, ""),
    ("Peer", 13, ""),
    ("Remote network", 9, ""),
    ("Established", 8, ""),
    ("Bytes in", 7, "number"),
    ("Bytes out", 7, "number"),
    ("Source", 8, ""),
    ("Server", 6, ""),
];

/// The number of columns before the bytes.
const BEFORE_BYTES: u8 = 6;

/// The part of a page above its content.
struct Head<'a> {
    about: &'a str,
    width: &'a str,
    path: &'a str,
    /// The selection of an order; empty if the headers of a table sort.
    order: &'a str,
    /// The class and the text of the summary beside the title.
    summary: (&'a str, &'a str),
}

/// The overview page: the state of each subject, since when it has that state, and what to do.
pub fn landing(frame: Frame<'_>, findings: &[Finding], counts: &Counts, in_words: InWords) -> String {
    let mut out = String::new();
    let (severity, message) = diagnosis::summary(findings);
    open(
        frame,
        &Head { about: "overview", width: "narrow", path: "/", order: ORDER, summary: (class(severity), &message) },
        &mut out,
    );
    out.push_str("<p class=\"counts\">");
    for count in &counts.0 {
        let _ = write!(out, "<span>{count}</span> ");
    }
    out.push_str("</p>");
    let filter = Filter::new(frame.filter);
    for group in findings.chunk_by(|a, b| a.source == b.source) {
        write_group(group, &filter, in_words, &mut out);
    }
    close(frame, "narrow", &mut out);
    out
}

/// The session page before and after the rows of its table.
pub fn around_sessions(frame: Frame<'_>, count: usize, troubles: &[String], unlisted: usize) -> (String, String) {
    let (mut out, mut end) = (String::new(), String::new());
    let has_rows = count > 0;
    let count = sessions_in_words(count);
    open(
        frame,
        &Head { about: "sessions", width: "", path: "/static", order: "", summary: ("chip", &count) },
        &mut out,
    );
    out.push_str("<div id=\"news\">");
    if !troubles.is_empty() || unlisted > 0 {
        out.push_str("<ul class=\"alert\">");
        for trouble in troubles {
            let _ = write!(out, "<li>{}</li>", Html(trouble));
        }
        if unlisted > 0 {
            let _ = write!(out, "<li>{unlisted} more are left out: max_series</li>");
        }
        out.push_str("</ul>");
    }
    out.push_str("</div>");
    if has_rows {
        open_table(&mut out);
        end.push_str("</table>");
    } else {
        out.push_str("<section><p>No session.</p></section>");
    }
    close(frame, "", &mut end);
    (out, end)
}

fn open(frame: Frame<'_>, head: &Head<'_>, out: &mut String) {
    let Head { about, width, path, order, summary: (class, summary) } = head;
    let _ = write!(
        out,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{gateway}: {about}</title>\
         <link rel=\"icon\" href=\"{ICON_PATH}\"><link rel=\"stylesheet\" href=\"{STYLE_PATH}\"></head><body><header class=\"{width}\">\
         <div class=\"title\"><h1><bdi>{gateway}</bdi></h1><span class=\"{class}\" role=\"status\">{summary}</span></div>\
         <nav aria-label=\"Pages\">",
        gateway = Html(frame.gateway)
    );
    for (link, name) in [
        ("/", "Overview"),
        ("/static", "Sessions"),
        (frame.telemetry_path, "Metrics"),
        ("/prom", "All metrics"),
        ("/sessions", "JSON"),
    ] {
        if !frame.has_sessions && matches!(link, "/static" | "/sessions") {
            continue;
        }
        let current = if link == *path { " aria-current=\"page\"" } else { "" };
        let _ = write!(out, "<a href=\"{}\"{current}>{name}</a>", Html(link));
    }
    let _ = write!(
        out,
        "</nav><form class=\"bar\" role=\"search\"><label>Filter <input type=\"search\" name=\"{FILTER}\" value=\"{}\" \
         autocomplete=\"off\"></label>{order}{LIVE}</header><main class=\"{width}\">",
        Html(frame.filter)
    );
}

fn close(frame: Frame<'_>, width: &str, out: &mut String) {
    let version = Html(frame.version);
    let _ = writeln!(
        out,
        "</main><footer class=\"{width}\"><span>gateway-exporter {version}</span><a href=\"{DOCS_PATH}\">What each metric means</a>\
         <a href=\"/status\">Overview as JSON</a><a href=\"/-/ready\">Ready</a></footer>\
         <script src=\"{SCRIPT_PATH}\"></script></body></html>"
    );
}

fn write_group(group: &[Finding], filter: &Filter, in_words: InWords, out: &mut String) {
    let Some(first) = group.first() else { return };
    let begin = out.len();
    let _ = write!(out, "<section><h2>{}</h2><ul>", Html(first.source));
    let head = out.len();
    for finding in group {
        let item = out.len();
        write_finding(finding, in_words, out);
        filter.apply(first.source, item, out);
    }
    out.push_str("</ul></section>");
    if out.len() == head.saturating_add("</ul></section>".len()) {
        out.truncate(begin);
    }
}

fn write_finding(finding: &Finding, in_words: InWords, out: &mut String) {
    let Finding { severity, subject, message, fix, since, bytes, .. } = finding;
    let (class, word) = (class(*severity), severity.word());
    out.push_str("<li");
    if let Some([received, sent]) = bytes {
        let _ = write!(out, " data-in=\"{received}\" data-out=\"{sent}\"");
    }
    let _ = write!(out, "><span class=\"{class}\">{word}</span><div><code>{}</code>", Html(subject));
    if message != word && (*severity != Severity::Ok || !matches!(message.as_ref(), "answers" | "up")) {
        let _ = write!(out, "<span class=\"{word}\">{}</span>", Html(message));
    }
    if !fix.is_empty() {
        let _ = write!(out, "<small>To do: {}</small>", Html(fix));
    }
    out.push_str("</div>");
    if let Some(since) = since {
        let _ = write!(out, "<span class=\"soft\">since {}</span>", Html(&in_words(*since)));
    }
    out.push_str("</li>");
}

/// The class of a chip.
const fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "chip up",
        Severity::Absent => "chip",
        Severity::Warning => "chip wait",
        Severity::Error => "chip down",
    }
}

fn open_table(out: &mut String) {
    out.push_str("<table aria-label=\"Sessions\"><colgroup>");
    for (_, width, _) in COLUMNS {
        let _ = write!(out, "<col style=\"width:{width}%\">");
    }
    out.push_str("</colgroup><thead><tr>");
    for (name, _, class) in COLUMNS {
        let _ = write!(out, "<th scope=\"col\" class=\"{class}\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
}

/// Writes a row of the session table, with the session's age in seconds if that is known; returns false, and writes nothing, if
/// the filter excludes it.
pub fn write_session(session: &Session, source: &str, age: Option<u32>, filter: &Filter, out: &mut String) -> bool {
    let begin = out.len();
    out.push_str("<tr>");
    write_cell("Identity", &session.remoteid, &id(session), out);
    let class = if matches!(session.state.as_str(), "ESTABLISHED" | "REKEYING") { "up" } else { "wait" };
    let _ = write!(out, "<td data-name=\"State\"><span class=\"chip {class}\">{}</span></td>", Html(&session.state));
    write_cell("Protocol", &session.protocol, "", out);
    write_cell("Peer", &peer(session), "", out);
    let local = session.localts.as_deref().filter(|local| !local.is_empty());
    let local = local.map(|local| format!("local {}", local.replace(';', " "))).unwrap_or_default();
    write_cell("Remote network", &session.remotets.replace(';', " "), &local, out);
    match age {
        Some(age) => {
            let (date, age) = (Html(&session.established), age_in_words(age));
            let _ = write!(
                out,
                "<td data-name=\"Established\"><div><time datetime=\"{date}\">{age}</time><small><bdi>{date}</bdi></small></div></td>"
            );
        }
        None => write_cell("Established", &session.established, "", out),
    }
    write_traffic("Bytes in", &session.bytesin, &session.packetsin, out);
    write_traffic("Bytes out", &session.bytesout, &session.packetsout, out);
    write_cell("Source", source, "", out);
    write_cell("Server", &session.server, "", out);
    out.push_str("</tr>");
    filter.apply("", begin, out)
}

/// The sums of the sessions that are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    count: usize,
    bytes: [u64; 2],
}

impl Totals {
    /// Adds a session.
    pub fn add(&mut self, session: &Session) {
        self.count = self.count.saturating_add(1);
        for (sum, bytes) in self.bytes.iter_mut().zip([&session.bytesin, &session.bytesout]) {
            *sum = sum.saturating_add(Text::from(bytes.as_str()).number().unwrap_or_default());
        }
    }

    /// Writes the last row of the table, where there are `all` sessions.
    pub fn write(&self, all: usize, out: &mut String) {
        let shown = if self.count == all { String::new() } else { format!("{} of ", self.count) };
        let [received, sent] = self.bytes.map(size);
        let _ = write!(
            out,
            "</tbody><tfoot><tr><th scope=\"row\" colspan=\"{BEFORE_BYTES}\">{shown}{}</th><td class=\"number\" \
             data-name=\"Bytes in\">{received}</td><td class=\"number\" data-name=\"Bytes out\">{sent}</td>\
             <td colspan=\"2\"></td></tr></tfoot>",
            sessions_in_words(all)
        );
    }
}

fn sessions_in_words(count: usize) -> String {
    format!("{count} session{}", if count == 1 { "" } else { "s" })
}

/// A duration in its two largest units: `3 d 4 h`.
fn age_in_words(seconds: u32) -> String {
    let (mut text, mut rest) = (String::new(), seconds);
    for (length, unit) in [(86_400, " d "), (3600, " h "), (60, " min"), (1, " s")] {
        let count = rest / length;
        rest %= length;
        let is_second = !text.is_empty();
        if count > 0 || is_second || length == 1 {
            let _ = write!(text, "{count}{unit}");
        }
        if is_second || text.ends_with('n') {
            break;
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// The words that a shown row or entry contains.
#[derive(Debug, Default)]
pub struct Filter(String);

impl Filter {
    /// The filter with the words of a query.
    pub fn new(query: &str) -> Self {
        Self(query.to_ascii_lowercase())
    }

    /// Removes what was written from `begin` on if its text, together with the text `above`, lacks one of the words; returns
    /// whether it was kept.
    fn apply(&self, above: &str, begin: usize, out: &mut String) -> bool {
        let (mut text, mut is_tag) = (above.as_bytes().to_vec(), false);
        for byte in out.bytes().skip(begin) {
            is_tag |= byte == b'<';
            if !is_tag {
                text.push(byte.to_ascii_lowercase());
            }
            is_tag &= byte != b'>';
        }
        let fits = self.0.split(' ').all(|word| Text::new(&text).contains(word));
        if !fits {
            out.truncate(begin);
        }
        fits
    }
}

fn write_cell(name: &str, text: &str, more: &str, out: &mut String) {
    if text.is_empty() && more.is_empty() {
        out.push_str("<td></td>");
        return;
    }
    let _ = write!(out, "<td data-name=\"{name}\"><div><bdi>{}</bdi>", Html(text));
    if !more.is_empty() {
        let _ = write!(out, "<small><bdi>{}</bdi></small>", Html(more));
    }
    out.push_str("</div></td>");
}

fn write_traffic(name: &str, bytes: &str, packets: &str, out: &mut String) {
    let exact = Html(bytes);
    let size = Text::from(bytes).number().map_or_else(|| bytes.to_owned(), size);
    let _ = write!(
        out,
        "<td class=\"number\" data-name=\"{name}\" data-sort=\"{exact}\" title=\"{exact}\"><div><bdi>{}</bdi>",
        Html(&size)
    );
    // OpenVPN does not count packets, and its rows say 0.
    if !matches!(packets, "" | "0") {
        let _ = write!(out, "<small>{} packet{}</small>", Html(packets), if packets == "1" { "" } else { "s" });
    }
    out.push_str("</div></td>");
}

fn id(session: &Session) -> String {
    match (&session.uniqueid, &session.p1uniqueid, &session.p2uniqueid) {
        (Some(id), _, _) => id.clone(),
        (None, Some(peer), Some(client)) if !client.is_empty() => format!("client {client}, peer {peer}"),
        _ => String::new(),
    }
}

fn peer(session: &Session) -> String {
    match session.remoteport.as_str() {
        "" => session.remotehost.clone(),
        port if session.remotehost.contains(':') => format!("[{}]:{port}", session.remotehost),
        port => format!("{}:{port}", session.remotehost),
    }
}

/// A number of bytes in its largest unit: `1.2 MiB`.
fn size(number: u64) -> String {
    // 1 KiB has 10 bits, 1 MiB 20.
    let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((bits, unit)) = units.into_iter().find(|(bits, _)| number >> bits > 0) else {
        return format!("{number} B");
    };
    // From 1024ths of the unit to tenths, rounded.
    let tenths = ((number >> (bits - 10)).saturating_mul(10).saturating_add(512)) >> 10;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Removes indentation and empty lines from a file, comments from a script, and line ends and needless spaces from a style
/// sheet. Returns the first `LENGTH` bytes of the result, and its whole length.
#[expect(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn stripped<const LENGTH: usize>(file: &str, is_script: bool) -> ([u8; LENGTH], usize) {
    let (file, mut out) = (file.as_bytes(), [0; LENGTH]);
    let (mut at, mut length, mut before) = (0, 0, b'\n');
    while at < file.len() {
        let byte = file[at];
        let is_comment = is_script && before == b'\n' && byte == b'/' && file[at + 1] == b'/';
        while is_comment && file[at] != b'\n' {
            at += 1;
        }
        let is_needless = match byte {
            b'\n' => before == b'\n' || !is_script,
            b' ' => before == b'\n' || !is_script && (before == b':' || file[at + 1] == b'{'),
            _ => is_comment,
        };
        if !is_needless {
            if length < LENGTH {
                out[length] = byte;
            }
            length += 1;
        }
        if !is_needless || byte == b'\n' {
            before = byte;
        }
        at += 1;
    }
    (out, length)
}

/// Text for a page: escaped, and without characters that reorder or hide other text.
struct Html<'a>(&'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                character if is_disruptive(character) => out.write_char(char::REPLACEMENT_CHARACTER)?,
                plain => out.write_char(plain)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Since;

    /// The page of sessions as a whole.
    fn sessions(frame: Frame<'_>, sessions: &[Session], troubles: &[String], unlisted: usize) -> String {
        let (mut out, end) = around_sessions(frame, sessions.len(), troubles, unlisted);
        let (filter, mut totals) = (Filter::new(frame.filter), Totals::default());
        for session in sessions {
            if write_session(session, "openvpn", Some(274_000), &filter, &mut out) {
                totals.add(session);
            }
        }
        totals.write(sessions.len(), &mut out);
        out + &end
    }

    const FRAME: Frame<'static> =
        Frame { gateway: "gw", version: "0", telemetry_path: "/metrics", has_sessions: true, filter: "" };

    fn noon(_: Since) -> String {
        "noon".into()
    }

    #[test]
    fn everything_from_outside_is_escaped() {
        let evil = "<script>alert(\"1\")</script>&'\u{202e}\u{0}";
        let session = Session {
            remoteid: evil.into(),
            remotehost: evil.into(),
            remotets: evil.into(),
            bytesin: evil.into(),
            established: evil.into(),
            ..Session::default()
        };
        let finding = Finding {
            severity: Severity::Error,
            source: "openvpn",
            subject: evil.into(),
            message: evil.into(),
            fix: evil.into(),
            ..Finding::default()
        };
        let frame = Frame { gateway: evil, version: evil, telemetry_path: evil, has_sessions: true, filter: "" };
        for page in [
            sessions(frame, &[session], &[evil.into()], 0),
            landing(frame, &[finding], &Counts::default(), |_| String::new()),
        ] {
            assert!(!page.contains("<script>alert"), "{page}");
            assert!(!page.contains(['\u{202e}', '\u{0}']), "{page}");
            assert!(
                page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\u{fffd}\u{fffd}"),
                "{page}"
            );
        }
    }

    #[test]
    fn the_landing_page_says_what_is_wrong_and_since_when() {
        let finding = |severity, subject: &str, message: &'static str, fix: &'static str| {
            let (subject, message, fix) = (subject.into(), message.into(), fix.into());
            let since = Some(Since { moment: 1, is_at_least: false });
            Finding { severity, source: "openvpn", subject, message, fix, since, bytes: Some([1, 2]) }
        };
        let fine = finding(Severity::Ok, "/a", "answers", "");
        let page = landing(
            FRAME,
            &[fine.clone(), finding(Severity::Error, "/b", "not found", "start it")],
            &Counts::default(),
            noon,
        );
        assert_eq!(page.matches("<h2>openvpn</h2>").count(), 1, "{page}");
        assert!(page.contains("<span class=\"chip down\" role=\"status\">1 of 2 down</span>"), "{page}");
        assert!(
            page.contains("<code>/b</code><span class=\"down\">not found</span><small>To do: start it</small>"),
            "{page}"
        );
        assert!(page.contains("since noon<"), "{page}");
        let page = landing(FRAME, &[fine, finding(Severity::Warning, "/b", "odd", "")], &Counts::default(), noon);
        assert!(page.contains("<span class=\"chip wait\" role=\"status\">All is up, 1 to check</span>"), "{page}");
        assert!(page.contains("<code>/a</code></div>") && page.contains("<code>/b</code><span class=\"check\">odd<"));
        assert!(landing(FRAME, &[], &Counts::default(), noon).contains("Nothing is watched"));
    }

    #[test]
    fn sizes_are_readable_and_exact_beside() {
        for (bytes, expected) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16384.0 PiB")] {
            assert_eq!(size(bytes), expected);
        }
        let session = Session { bytesin: "1536".into(), ..Session::default() };
        assert!(sessions(FRAME, &[session], &[], 0).contains("title=\"1536\"><div><bdi>1.5 KiB<"));
    }

    #[test]
    fn packets_and_networks_are_said_where_they_are_known() {
        let charon = Session {
            uniqueid: Some("office[1]".into()),
            remotets: "10.2.0.0/16;10.3.0.0/16".into(),
            localts: Some("10.1.0.0/16".into()),
            packetsin: "1".into(),
            packetsout: "8".into(),
            ..Session::default()
        };
        let page = sessions(FRAME, &[charon], &[], 0);
        for words in
            ["<bdi>office[1]<", "<bdi>10.2.0.0/16 10.3.0.0/16<", "<bdi>local 10.1.0.0/16<", ">1 packet<", ">8 packets<"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        let client = Session {
            p1uniqueid: Some("3".into()),
            p2uniqueid: Some("4".into()),
            remotehost: "2001:db8::1".into(),
            remoteport: "1194".into(),
            packetsin: "0".into(),
            packetsout: "0".into(),
            ..Session::default()
        };
        let page = sessions(FRAME, &[client], &[], 0);
        assert!(page.contains("<bdi>client 4, peer 3<") && page.contains("<bdi>[2001:db8::1]:1194<"), "{page}");
        assert!(!page.contains(" packet") && !page.contains(">local "), "{page}");
    }

    #[test]
    fn a_session_says_its_source_its_server_and_its_age() {
        let session =
            Session { established: "2026-11-20 13:20:20".into(), server: "office".into(), ..Session::default() };
        let page = sessions(FRAME, std::slice::from_ref(&session), &[], 0);
        for words in [
            "<time datetime=\"2026-11-20 13:20:20\">3 d 4 h</time><small><bdi>2026-11-20 13:20:20</bdi></small>",
            "<td data-name=\"Source\"><div><bdi>openvpn</bdi>",
            "<td data-name=\"Server\"><div><bdi>office</bdi>",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let mut row = String::new();
        assert!(write_session(&session, "openvpn", None, &Filter::default(), &mut row));
        assert!(row.contains("<td data-name=\"Established\"><div><bdi>2026-11-20 13:20:20</bdi></div>"), "{row}");
        assert!(!row.contains("<time"), "{row}");
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 90_000].map(age_in_words);
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "23 h 59 min", "1 d 0 h", "1 d 1 h"]);
    }

    #[test]
    fn the_filter_of_the_address_leaves_out_what_has_not_all_words() {
        let named =
            |name: &str, bytes: &str| Session { remoteid: name.into(), bytesin: bytes.into(), ..Session::default() };
        let all = [named("Ann B", "1000"), named("ben", "2000"), named("td", "24")];
        let page = |filter| sessions(Frame { filter, ..FRAME }, &all, &[], 0);
        let found = page("ANN  b");
        assert!(found.contains("Ann B<") && !found.contains("<bdi>ben<") && found.contains(">3 sessions<"), "{found}");
        assert!(found.contains(">1 of 3 sessions</th><td class=\"number\" data-name=\"Bytes in\">1000 B<"), "{found}");
        assert!(found.contains("name=\"q\" value=\"ANN  b\""), "{found}");
        assert!(page("td").contains(">1 of 3 sessions<"), "tags are not searched");
        assert!(page("openvpn").contains(">3 sessions</th><td class=\"number\" data-name=\"Bytes in\">3.0 KiB<"));
        assert!(page("\"><b>").contains("value=\"&quot;&gt;&lt;b&gt;\""));

        let finding = |source, subject: &str| Finding { source, subject: subject.into(), ..Finding::default() };
        let findings = [finding("ipsec", "tunnel a"), finding("ipsec", "tunnel b"), finding("sockets", "rule b")];
        let page = landing(Frame { filter: "ipsec b", ..FRAME }, &findings, &Counts::default(), noon);
        assert!(page.contains("tunnel b<") && !page.contains("tunnel a<") && !page.contains("sockets<"), "{page}");
    }

    #[test]
    fn what_is_served_is_what_was_written_without_what_only_readers_need() {
        let file = "a {\n  b: c d;\n}\n\n  // e\n  f('// g'); // h\n";
        assert_eq!(stripped::<64>(file, true).1, "a {\nb: c d;\n}\nf('// g'); // h\n".len());
        assert_eq!(&stripped::<9>(file, false), &(*b"a{b:c d;}", "a{b:c d;}// ef('// g'); // h".len()));
        let script = std::str::from_utf8(SCRIPT).expect("UTF-8");
        let written = include_str!("app.js").lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        assert!(script.lines().eq(written.filter(|line| !line.is_empty())));
    }

    #[test]
    fn the_page_one_is_on_is_marked() {
        assert!(
            landing(FRAME, &[], &Counts::default(), noon).contains("<a href=\"/\" aria-current=\"page\">Overview</a>")
        );
        assert!(sessions(FRAME, &[], &[], 0).contains("<a href=\"/static\" aria-current=\"page\">Sessions</a>"));
    }

    #[test]
    fn no_session_is_said() {
        let page = sessions(FRAME, &[], &[], 0);
        assert!(page.contains("No session.") && page.contains("0 sessions<") && !page.contains("<table"), "{page}");
    }
}
