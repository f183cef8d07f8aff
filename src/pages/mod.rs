//! The two pages for people: what is watched, and the table of sessions.
//!
//! The only file with `<` in a string. Everything that came from outside goes through [`Html`];
//! the pages load their own style sheet and script, and work without both.

use std::fmt::{self, Write as _};

use crate::diagnosis::{self, Finding, InWords, Severity};
use crate::session::Session;
use crate::text::{Text, is_disruptive};

/// The Content-Type of both pages.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// What both pages say about the exporter.
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
}

/// The tools that need a script, which shows them.
const BAR: &str = "<p class=\"bar\" hidden><label>Filter <input type=\"search\" autocomplete=\"off\"></label>\
<label><input type=\"checkbox\" checked> Live</label><span role=\"status\"></span></p>";

/// The style sheet of both pages, at [`STYLE_PATH`].
pub const STYLE: &str = include_str!("style.css");

/// Where the pages find [`STYLE`].
pub const STYLE_PATH: &str = "/style.css";

/// The script of both pages, at [`SCRIPT_PATH`]. Without it they are plain tables.
pub const SCRIPT: &str = include_str!("app.js");

/// Where the pages find [`SCRIPT`].
pub const SCRIPT_PATH: &str = "/app.js";

/// The Content-Security-Policy of both pages: they load their own style sheet and script and themselves anew, and nothing
/// else. Inline styles are the widths of the table's columns.
pub const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src data:; script-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The columns of the session table: the name, its part of the width in percent, and the class.
const COLUMNS: [(&str, u8, &str); 8] = [
    ("Identity", 22, ""),
    ("State", 12, ""),
    ("Protocol", 8, ""),
    ("Peer", 15, ""),
    ("Remote network", 14, ""),
    ("Established", 11, ""),
    ("Bytes in", 9, "number"),
    ("Bytes out", 9, "number"),
];

/// What stands above a page's content.
struct Head<'a> {
    about: &'a str,
    width: &'a str,
    path: &'a str,
    /// The class and the text of the summary beside the title.
    summary: (&'a str, &'a str),
}

/// The landing page: what is watched, how each subject is, what to do about it and since when it is so.
pub fn landing(frame: Frame<'_>, findings: &[Finding], in_words: InWords) -> String {
    let mut out = String::new();
    let (severity, message) = diagnosis::summary(findings);
    open(
        frame,
        &Head { about: "overview", width: "narrow", path: "/", summary: (class(severity), &message) },
        &mut out,
    );
    for group in findings.chunk_by(|a, b| a.source == b.source) {
        write_group(group, in_words, &mut out);
    }
    close(frame, "narrow", &mut out);
    out
}

/// What stands before and behind the rows of the session table.
pub fn around_sessions(frame: Frame<'_>, count: usize, troubles: &[String], unlisted: usize) -> (String, String) {
    let (mut out, mut end) = (String::new(), String::new());
    let has_rows = count > 0;
    let count = format!("{count} session{}", if count == 1 { "" } else { "s" });
    open(frame, &Head { about: "sessions", width: "", path: "/static", summary: ("chip", &count) }, &mut out);
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
        end.push_str("</tbody></table>");
    } else {
        out.push_str("<section><p>No session.</p></section>");
    }
    close(frame, "", &mut end);
    (out, end)
}

fn open(frame: Frame<'_>, head: &Head<'_>, out: &mut String) {
    let Head { about, width, path, summary: (class, summary) } = head;
    let _ = write!(
        out,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{gateway}: {about}</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"{STYLE_PATH}\"></head><body><header class=\"{width}\">\
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
    let _ = write!(out, "</nav>{BAR}</header><main class=\"{width}\">");
}

fn close(frame: Frame<'_>, width: &str, out: &mut String) {
    let version = Html(frame.version);
    let _ = write!(out, "</main><footer class=\"{width}\">gateway-exporter {version}</footer>");
    let _ = writeln!(out, "<script src=\"{SCRIPT_PATH}\"></script></body></html>");
}

fn write_group(group: &[Finding], in_words: InWords, out: &mut String) {
    let Some(first) = group.first() else { return };
    let _ = write!(out, "<section><h2>{}</h2><ul>", Html(first.source));
    for Finding { severity, subject, message, fix, since, bytes, .. } in group {
        let (class, word) = (class(*severity), severity.word());
        out.push_str("<li");
        if let Some([received, sent]) = bytes {
            let _ = write!(out, " data-in=\"{received}\" data-out=\"{sent}\"");
        }
        let _ = write!(out, "><span class=\"{class}\">{word}</span><div><code>{}</code>", Html(subject));
        if *severity != Severity::Ok || !matches!(message.as_ref(), "answers" | "up") {
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
    out.push_str("</ul></section>");
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

/// A row of the session table.
pub fn write_session(session: &Session, out: &mut String) {
    out.push_str("<tr>");
    write_cell("Identity", &session.remoteid, &id(session), out);
    let class = if matches!(session.state.as_str(), "ESTABLISHED" | "REKEYING") { "up" } else { "wait" };
    let _ = write!(out, "<td data-name=\"State\"><span class=\"chip {class}\">{}</span></td>", Html(&session.state));
    write_cell("Protocol", &session.protocol, "", out);
    write_cell("Peer", &peer(session), "", out);
    let local = session.localts.as_deref().filter(|local| !local.is_empty());
    let local = local.map(|local| format!("local {}", local.replace(';', " "))).unwrap_or_default();
    write_cell("Remote network", &session.remotets.replace(';', " "), &local, out);
    write_cell("Established", &session.established, "", out);
    write_traffic("Bytes in", &session.bytesin, &session.packetsin, out);
    write_traffic("Bytes out", &session.bytesout, &session.packetsout, out);
    out.push_str("</tr>");
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
    let (exact, size) = (Html(bytes), size(bytes));
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
        (None, Some(client), Some(peer)) if !client.is_empty() => format!("client {client}, peer {peer}"),
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

/// A number of bytes as a person reads it: `1.2 MiB`.
fn size(bytes: &str) -> String {
    let Some(number) = Text::from(bytes).number() else { return bytes.to_owned() };
    // 1 KiB has 10 bits, 1 MiB 20.
    let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((bits, unit)) = units.into_iter().find(|(bits, _)| number >> bits > 0) else {
        return format!("{number} B");
    };
    // From 1024ths of the unit to tenths, rounded.
    let tenths = ((number >> (bits - 10)).saturating_mul(10).saturating_add(512)) >> 10;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Text for a page: escaped, and without characters that reorder or hide what stands beside them.
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
        sessions.iter().for_each(|session| write_session(session, &mut out));
        out + &end
    }

    const FRAME: Frame<'static> = Frame { gateway: "gw", version: "0", telemetry_path: "/metrics", has_sessions: true };

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
        let frame = Frame { gateway: evil, version: evil, telemetry_path: evil, has_sessions: true };
        for page in [sessions(frame, &[session], &[evil.into()], 0), landing(frame, &[finding], |_| String::new())] {
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
        let page = landing(FRAME, &[fine.clone(), finding(Severity::Error, "/b", "not found", "start it")], noon);
        assert_eq!(page.matches("<h2>openvpn</h2>").count(), 1, "{page}");
        assert!(page.contains("<span class=\"chip down\" role=\"status\">1 of 2 down</span>"), "{page}");
        assert!(
            page.contains("<code>/b</code><span class=\"down\">not found</span><small>To do: start it</small>"),
            "{page}"
        );
        assert!(page.contains("since noon<"), "{page}");
        let page = landing(FRAME, &[fine, finding(Severity::Warning, "/b", "odd", "")], noon);
        assert!(page.contains("<span class=\"chip wait\" role=\"status\">All is up, 1 to check</span>"), "{page}");
        assert!(page.contains("<code>/a</code></div>") && page.contains("<code>/b</code><span class=\"check\">odd<"));
        assert!(landing(FRAME, &[], noon).contains("Nothing is watched"));
    }

    #[test]
    fn sizes_are_readable_and_exact_beside() {
        for (bytes, expected) in
            [("0", "0 B"), ("1023", "1023 B"), ("1536", "1.5 KiB"), ("18446744073709551615", "16384.0 PiB"), ("", "")]
        {
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
        assert!(page.contains("<bdi>client 3, peer 4<") && page.contains("<bdi>[2001:db8::1]:1194<"), "{page}");
        assert!(!page.contains(" packet") && !page.contains(">local "), "{page}");
    }

    #[test]
    fn the_page_one_is_on_is_marked() {
        assert!(landing(FRAME, &[], noon).contains("<a href=\"/\" aria-current=\"page\">Overview</a>"));
        assert!(sessions(FRAME, &[], &[], 0).contains("<a href=\"/static\" aria-current=\"page\">Sessions</a>"));
    }

    #[test]
    fn no_session_is_said() {
        let page = sessions(FRAME, &[], &[], 0);
        assert!(page.contains("No session.") && page.contains("0 sessions<") && !page.contains("<table"), "{page}");
    }
}
