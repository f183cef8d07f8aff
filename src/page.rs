//! The two pages for people: what is watched, and the table of sessions.
//!
//! The only file with `<` in a string. Everything that came from outside goes through [`Html`];
//! the pages need no script and no file from elsewhere.

use std::fmt::{self, Write as _};

use crate::session::Session;
use crate::text::Text;

/// The Content-Type of both pages.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// One watched thing as the landing page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The source: `strongswan`.
    pub collector: &'static str,
    /// The socket, file, command or table.
    pub name: String,
    /// Why it could not be read, if it could not.
    pub trouble: Option<String>,
    /// Since when that is so, as it shall be printed.
    pub since: String,
}

/// What both pages say about the exporter.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The gateway's name.
    pub gateway: &'a str,
    /// The exporter's version.
    pub version: &'a str,
    /// The path of the metrics.
    pub telemetry_path: &'a str,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--page:#f5f7f9;--card:#fff;--link:#0b5cad;\
--good:#1a7f47;--bad:#c0322b}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ef;--soft:#98a4b3;--line:#303a46;--page:#12171d;--card:#1a2129;\
--link:#6cb0f5;--good:#4cc38a;--bad:#ff7b72}}\
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main,header,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}main.narrow,.narrow{max-width:56rem}\
header{padding-top:1.75rem;padding-bottom:.5rem}h1{font-size:1.5rem;margin:0;line-height:1.25;overflow-wrap:anywhere}\
p{margin:.35rem 0}.soft,footer{color:var(--soft);font-size:.9rem}footer{padding-top:1rem;padding-bottom:2rem}\
a{color:var(--link)}nav{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}\
nav a{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.4rem .8rem;text-decoration:none}\
nav a:hover,nav a:focus{border-color:var(--link)}\
section,.table{background:var(--card);border:1px solid var(--line);border-radius:.6rem;margin:0 0 1rem}\
section{padding:.9rem 1.1rem}h2{font-size:1.05rem;margin:0 0 .4rem}\
ul{list-style:none;margin:0;padding:0}li{padding:.35rem 0;border-top:1px solid var(--line)}li:first-child{border-top:0}\
.state{font-weight:600;margin-right:.4rem}.up{color:var(--good)}.down{color:var(--bad)}\
code,bdi{overflow-wrap:anywhere}code{font:.92em ui-monospace,monospace}.why{color:var(--bad)}\
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}\
th,td{text-align:left;padding:.5rem .7rem;border-top:1px solid var(--line);vertical-align:top}\
thead th{border-top:0;color:var(--soft);font-weight:600;white-space:nowrap}\
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
th button{all:unset;cursor:pointer}th button:hover,th button:focus-visible{text-decoration:underline}\
th[aria-sort=ascending] button::after{content:\" \\2191\"}th[aria-sort=descending] button::after{content:\" \\2193\"}\
@media(max-width:48rem){.table{background:none;border:0}thead{display:none}tr{display:block;background:var(--card);\
border:1px solid var(--line);border-radius:.6rem;padding:.4rem .9rem;margin:0 0 .8rem}\
td,td.number{display:flex;gap:1rem;justify-content:space-between;text-align:right;white-space:normal;border:0;\
padding:.25rem 0}td::before{content:attr(data-name);color:var(--soft);text-align:left;flex:none}td:empty{display:none}}";

/// Makes the heads of the table sort it; without it the table stands as it came.
const SCRIPT: &str = "\
document.querySelectorAll('thead th').forEach(function(th,i){var b=document.createElement('button');\
b.type='button';b.textContent=th.textContent;th.textContent='';th.appendChild(b);b.onclick=function(){\
var up=th.getAttribute('aria-sort')!=='ascending',body=document.querySelector('tbody');\
document.querySelectorAll('thead th').forEach(function(o){o.removeAttribute('aria-sort')});\
th.setAttribute('aria-sort',up?'ascending':'descending');\
var key=function(r){var c=r.cells[i];return c.dataset.sort||c.textContent};\
Array.from(body.rows).sort(function(a,b){return (up?1:-1)*key(a).localeCompare(key(b),undefined,{numeric:true})})\
.forEach(function(r){body.appendChild(r)})}});";

/// The columns of the session table: the name, and whether it is right-aligned.
const COLUMNS: [(&str, bool); 12] = [
    ("Identity", false),
    ("State", false),
    ("Protocol", false),
    ("Session", false),
    ("Peer", false),
    ("Remote network", false),
    ("Local network", false),
    ("Established", false),
    ("Bytes in", true),
    ("Bytes out", true),
    ("Packets in", true),
    ("Packets out", true),
];

/// The landing page: what is watched, whether each target answers and since when, and where to go.
pub fn landing(frame: Frame<'_>, targets: &[Target]) -> String {
    let mut out = String::new();
    let down = targets.iter().filter(|target| target.trouble.is_some()).count();
    open(frame, "narrow", "what this gateway lives by", &mut out);
    let _ = write!(
        out,
        "<nav><a href=\"{path}\">Metrics</a><a href=\"/prom\">Metrics with the exporter's own</a>\
         <a href=\"/static\">Sessions</a><a href=\"/sessions\">Sessions as JSON</a></nav>",
        path = Html(frame.telemetry_path)
    );
    if targets.is_empty() {
        out.push_str("<section><h2>Nothing is watched</h2><p>No source was found on this machine, and none is configured.</p></section>");
    }
    for group in targets.chunk_by(|a, b| a.collector == b.collector) {
        write_group(group, &mut out);
    }
    let summary = match (targets.len(), down) {
        (0, _) => String::new(),
        (_, 0) => "Everything answers. ".into(),
        (all, down) => format!("{down} of {all} can't be read. "),
    };
    close(frame, "narrow", &summary, "", &mut out);
    out
}

/// The session table; sorts when a head is clicked, where scripts run.
pub fn sessions(frame: Frame<'_>, sessions: &[Session], troubles: &[String]) -> String {
    let mut out = String::new();
    open(frame, "", "sessions", &mut out);
    let _ = write!(out, "<nav><a href=\"/\">Overview</a><a href=\"/sessions\">As JSON</a></nav>");
    for trouble in troubles {
        let _ = write!(out, "<section><p class=\"why\">{}</p></section>", Html(trouble));
    }
    if sessions.is_empty() {
        out.push_str("<section><p>No session.</p></section>");
    } else {
        write_table(sessions, &mut out);
    }
    let count = match sessions.len() {
        1 => "1 session. ".into(),
        count => format!("{count} sessions. "),
    };
    close(frame, "", &count, if sessions.is_empty() { "" } else { SCRIPT }, &mut out);
    out
}

fn open(frame: Frame<'_>, width: &str, about: &str, out: &mut String) {
    let _ = write!(
        out,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{gateway}: {about}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body><header class=\"{width}\">\
         <h1><bdi>{gateway}</bdi></h1><p class=\"soft\">{about}</p></header><main class=\"{width}\">",
        gateway = Html(frame.gateway)
    );
}

fn close(frame: Frame<'_>, width: &str, summary: &str, script: &str, out: &mut String) {
    let _ = write!(
        out,
        "</main><footer class=\"{width}\">{summary}gateway-exporter {version}</footer>",
        version = Html(frame.version)
    );
    if !script.is_empty() {
        let _ = write!(out, "<script>{script}</script>");
    }
    out.push_str("</body></html>\n");
}

fn write_group(group: &[Target], out: &mut String) {
    let Some(first) = group.first() else { return };
    let _ = write!(out, "<section><h2>{}</h2><ul>", Html(first.collector));
    for target in group {
        let (class, state) = if target.trouble.is_none() { ("up", "up") } else { ("down", "down") };
        let _ = write!(
            out,
            "<li><span class=\"state {class}\">{state}</span><code>{name}</code> <span class=\"soft\">since {since}</span>",
            name = Html(&target.name),
            since = Html(&target.since)
        );
        if let Some(trouble) = &target.trouble {
            let _ = write!(out, "<br><span class=\"why\">{}</span>", Html(trouble));
        }
        out.push_str("</li>");
    }
    out.push_str("</ul></section>");
}

fn write_table(sessions: &[Session], out: &mut String) {
    out.push_str("<div class=\"table\"><table><thead><tr>");
    for (name, number) in COLUMNS {
        let class = if number { " class=\"number\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for session in sessions {
        write_row(session, out);
    }
    out.push_str("</tbody></table></div>");
}

fn write_row(session: &Session, out: &mut String) {
    let id = match (&session.uniqueid, &session.p1uniqueid, &session.p2uniqueid) {
        (Some(id), _, _) => id.clone(),
        (None, Some(client), Some(peer)) if !client.is_empty() => format!("{client} / {peer}"),
        _ => String::new(),
    };
    let peer = match session.remoteport.as_str() {
        "" => session.remotehost.clone(),
        port if session.remotehost.contains(':') => format!("[{}]:{port}", session.remotehost),
        port => format!("{}:{port}", session.remotehost),
    };
    let local = session.localts.as_deref().unwrap_or_default();
    let texts: [&str; 8] = [
        &session.remoteid,
        &session.state,
        &session.protocol,
        &id,
        &peer,
        &session.remotets.replace(';', " "),
        &local.replace(';', " "),
        &session.established,
    ];
    out.push_str("<tr>");
    for ((name, _), text) in COLUMNS.iter().zip(texts) {
        let text = Html(text);
        match text.0.is_empty() {
            true => out.push_str("<td></td>"),
            false => {
                let _ = write!(out, "<td data-name=\"{name}\"><bdi>{text}</bdi></td>");
            }
        }
    }
    let numbers = [&session.bytesin, &session.bytesout, &session.packetsin, &session.packetsout];
    for ((name, _), number) in COLUMNS.iter().skip(texts.len()).zip(numbers) {
        let number = number.as_str();
        let shown = if name.starts_with("Bytes") { size(number) } else { number.to_owned() };
        let exact = Html(number);
        let _ = write!(
            out,
            "<td class=\"number\" data-name=\"{name}\" data-sort=\"{exact}\" title=\"{exact}\">{}</td>",
            Html(&shown)
        );
    }
    out.push_str("</tr>");
}

/// A number of bytes as a person reads it: `1.2 MiB`.
fn size(bytes: &str) -> String {
    let Some(number) = Text::from(bytes).number() else { return bytes.to_owned() };
    let mut value = number as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") }
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
                '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    out.write_char('\u{fffd}')?;
                }
                control if control.is_control() => out.write_char('\u{fffd}')?,
                plain => out.write_char(plain)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame<'static> = Frame { gateway: "gw", version: "0", telemetry_path: "/metrics" };

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
        let target = Target { collector: "openvpn", name: evil.into(), trouble: Some(evil.into()), since: evil.into() };
        let frame = Frame { gateway: evil, version: evil, telemetry_path: evil };
        for page in [sessions(frame, &[session], &[evil.into()]), landing(frame, &[target])] {
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
        let target = |name: &str, trouble: Option<&str>| Target {
            collector: "openvpn",
            name: name.into(),
            trouble: trouble.map(str::to_owned),
            since: "2026-11-20 13:20:25".into(),
        };
        let page = landing(FRAME, &[target("/a", None), target("/b", Some("/b: not found"))]);
        assert_eq!(page.matches("<h2>openvpn</h2>").count(), 1, "{page}");
        assert!(page.contains("1 of 2 can't be read. "), "{page}");
        assert!(page.contains("<span class=\"why\">/b: not found</span>"), "{page}");
        assert!(page.contains("since 2026-11-20 13:20:25"), "{page}");
        assert!(landing(FRAME, &[]).contains("Nothing is watched"));
    }

    #[test]
    fn sizes_are_readable_and_exact_beside() {
        for (bytes, expected) in
            [("0", "0 B"), ("1023", "1023 B"), ("1536", "1.5 KiB"), ("18446744073709551615", "16384.0 PiB"), ("", "")]
        {
            assert_eq!(size(bytes), expected);
        }
        let session = Session { bytesin: "1536".into(), ..Session::default() };
        assert!(sessions(FRAME, &[session], &[]).contains("title=\"1536\">1.5 KiB<"));
    }

    #[test]
    fn no_session_is_said() {
        let page = sessions(FRAME, &[], &[]);
        assert!(page.contains("No session.") && page.contains("0 sessions. ") && !page.contains("<script>"), "{page}");
    }
}
