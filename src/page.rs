//! The two pages for people: what is watched, and the table of sessions.
//!
//! The only file with `<` in a string. Everything that came from outside goes through [`Html`];
//! the pages need no script and no file from elsewhere.

use std::fmt::{self, Write as _};

use crate::session::Session;
use crate::text::{Text, is_disruptive};

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
    /// Whether there are session pages.
    pub has_sessions: bool,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#17202b;--soft:#576373;--line:#e1e6ec;--page:#f4f6f9;--card:#fff;--hover:#f8fafc;\
--link:#0b5cad;--good:#14683a;--good-bg:#e2f4e9;--bad:#a8231d;--bad-bg:#fdeae8;--wait:#755000;--wait-bg:#fcf0d6}\
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9ba8b7;--line:#2b3541;--page:#10151b;--card:#181f27;\
--hover:#1d252e;--link:#79b8f8;--good:#63d69f;--good-bg:#14322a;--bad:#ff958d;--bad-bg:#3a1e20;--wait:#f0c566;\
--wait-bg:#352c16}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\
header,main,footer{max-width:82rem;margin:0 auto;padding:0 1.25rem}.narrow{max-width:56rem}\
header{padding-top:1.75rem}.title{display:flex;flex-wrap:wrap;align-items:center;gap:.4rem .9rem}\
h1{font-size:1.6rem;line-height:1.2;letter-spacing:-.01em;margin:0}\
.soft,footer,small{color:var(--soft);font-size:.87rem}footer{padding-top:1rem;padding-bottom:2.5rem}\
a{color:var(--link)}nav{display:flex;flex-wrap:wrap;gap:0 1.4rem;margin:.9rem 0 1.4rem;border-bottom:1px solid var(--line)}\
nav a{padding:.5rem 0;margin-bottom:-1px;text-decoration:none;border-bottom:2px solid transparent}\
nav a:hover{border-color:var(--line)}nav a[aria-current]{color:var(--ink);font-weight:600;border-color:var(--link)}\
.chip{display:inline-block;border-radius:1rem;padding:.1rem .6rem;font-size:.8rem;font-weight:600;white-space:nowrap;\
color:var(--soft);background:var(--card);border:1px solid var(--line)}.chip[class*=\" \"]{border-color:transparent}\
.chip[class*=\" \"]::before{content:\"\\25cf\";font-size:.7em;margin-right:.4em;\
vertical-align:.1em}.chip.wait{color:var(--wait);background:var(--wait-bg)}\
.chip.up{color:var(--good);background:var(--good-bg)}.chip.down{color:var(--bad);background:var(--bad-bg)}\
section{background:var(--card);border:1px solid var(--line);border-radius:.7rem;padding:.9rem 1.2rem .5rem;margin:0 0 1rem}\
h2{font-size:1.05rem;margin:0 0 .25rem}p{margin:.2rem 0}\
ul{list-style:none;margin:0;padding:0}section li{display:grid;grid-template-columns:4.6rem 1fr auto;gap:.1rem .7rem;\
align-items:baseline;padding:.5rem 0;border-top:1px solid var(--line)}section li:first-child{border-top:0}\
li .chip{justify-self:start}code{font:.93em ui-monospace,monospace}.why{display:block;color:var(--bad)}\
.alert{color:var(--bad);background:var(--bad-bg);border-radius:.7rem;padding:.7rem 1.2rem;margin:0 0 1rem}\
table{table-layout:fixed;border-collapse:separate;border-spacing:0;width:100%;background:var(--card);\
border:1px solid var(--line);border-radius:.7rem;font-size:.93rem}\
th,td{text-align:left;padding:.5rem .6rem;vertical-align:top}th:first-child,td:first-child{padding-left:1.2rem}\
th:last-child,td:last-child{padding-right:1.2rem}tbody tr:not(:first-child) td{border-top:1px solid var(--line)}\
th{position:sticky;top:0;background:var(--card);color:var(--soft);font-size:.87rem;font-weight:600;\
border-bottom:1px solid var(--line);border-radius:.7rem .7rem 0 0}\
tbody tr:hover td{background:var(--hover)}tr:last-child td:first-child{border-bottom-left-radius:.7rem}\
tr:last-child td:last-child{border-bottom-right-radius:.7rem}\
td bdi,td small{display:block}td:first-child div>bdi{font-weight:600}\
.number{text-align:right}td.number{font-variant-numeric:tabular-nums}\
th button{all:unset;cursor:pointer}th button:hover,th[aria-sort]{color:var(--ink)}\
a:focus-visible,th button:focus-visible{outline:2px solid var(--link);outline-offset:3px;border-radius:.2rem}\
th[aria-sort=ascending] button::after{content:\" \\2191\"}th[aria-sort=descending] button::after{content:\" \\2193\"}\
@media(max-width:64rem){table,tbody,tr,td{display:block;width:auto}colgroup,thead{display:none}\
table{background:none;border:0}tbody{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1rem}\
tbody tr{background:var(--card);border:1px solid var(--line);\
border-radius:.7rem;padding:.8rem 1.1rem}tbody tr td,tbody tr:not(:first-child) td{display:flex;\
align-items:baseline;justify-content:space-between;gap:1.2rem;padding:.2rem 0;border:0;text-align:right;background:none}\
tbody tr td:first-child{text-align:left;padding:0 0 .4rem}tbody tr td:last-child{padding-right:0}\
td:nth-child(n+2)::before{content:attr(data-name);color:var(--soft);flex:none}\
td:first-child div>bdi{font-size:1.07rem}td:empty{display:none!important}}\
@media(max-width:40rem){header{padding-top:1.25rem}nav{gap:0 .6rem;font-size:.87rem}section li{grid-template-columns:4.6rem 1fr}\
section li .soft{grid-column:2}}";

/// Makes the heads of the table sort it; without it the table stands as it came.
const SCRIPT: &str = "\
document.querySelectorAll('thead th').forEach(function(th,i){var b=document.createElement('button');\
b.type='button';b.textContent=th.textContent;th.textContent='';th.appendChild(b);b.onclick=function(){\
var up=th.getAttribute('aria-sort')!=='ascending',body=document.querySelector('tbody');\
document.querySelectorAll('thead th').forEach(function(o){o.removeAttribute('aria-sort')});\
th.setAttribute('aria-sort',up?'ascending':'descending');\
var key=function(r){var c=r.cells[i];return c.dataset.sort||(c.querySelector('bdi')||c).textContent};\
Array.from(body.rows).sort(function(a,b){return (up?1:-1)*key(a).localeCompare(key(b),undefined,{numeric:true})})\
.forEach(function(r){body.appendChild(r)})}});";

/// The Content-Security-Policy of both pages: they load nothing, and of scripts only [`SCRIPT`] runs, which the
/// SHA-256 here names. The end-to-end tests say what it must be when the script changes.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
script-src 'sha256-U4SawDONABsKDEo6uxq6xTKLe6PHRfPJ34lAwpuLSEw='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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

/// The landing page: what is watched, whether each target answers and since when, and where to go.
pub fn landing(frame: Frame<'_>, targets: &[Target]) -> String {
    let mut out = String::new();
    let down = targets.iter().filter(|target| target.trouble.is_some()).count();
    let trouble = format!("{down} of {} can't be read", targets.len());
    let summary = match (targets.len(), down) {
        (0, _) => ("chip", "Nothing is watched"),
        (_, 0) => ("chip up", "Everything answers"),
        _ => ("chip down", trouble.as_str()),
    };
    open(frame, &Head { about: "overview", width: "narrow", path: "/", summary }, &mut out);
    if targets.is_empty() {
        out.push_str("<section><p>No source was found on this machine, and none is configured.</p></section>");
    }
    for group in targets.chunk_by(|a, b| a.collector == b.collector) {
        write_group(group, &mut out);
    }
    close(frame, "narrow", "", &mut out);
    out
}

/// The session table; sorts when a head is clicked, where scripts run.
pub fn sessions(frame: Frame<'_>, sessions: &[Session], troubles: &[String]) -> String {
    let mut out = String::new();
    let count = format!("{} session{}", sessions.len(), if sessions.len() == 1 { "" } else { "s" });
    open(frame, &Head { about: "sessions", width: "", path: "/static", summary: ("chip", &count) }, &mut out);
    if !troubles.is_empty() {
        out.push_str("<ul class=\"alert\">");
        for trouble in troubles {
            let _ = write!(out, "<li>{}</li>", Html(trouble));
        }
        out.push_str("</ul>");
    }
    if sessions.is_empty() {
        out.push_str("<section><p>No session.</p></section>");
    } else {
        write_table(sessions, &mut out);
    }
    close(frame, "", if sessions.is_empty() { "" } else { SCRIPT }, &mut out);
    out
}

fn open(frame: Frame<'_>, head: &Head<'_>, out: &mut String) {
    let Head { about, width, path, summary: (class, summary) } = head;
    let _ = write!(
        out,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{gateway}: {about}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body><header class=\"{width}\">\
         <div class=\"title\"><h1><bdi>{gateway}</bdi></h1><span class=\"{class}\">{summary}</span></div><nav>",
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
    let _ = write!(out, "</nav></header><main class=\"{width}\">");
}

fn close(frame: Frame<'_>, width: &str, script: &str, out: &mut String) {
    let version = Html(frame.version);
    let _ = write!(out, "</main><footer class=\"{width}\">gateway-exporter {version}</footer>");
    if !script.is_empty() {
        let _ = write!(out, "<script>{script}</script>");
    }
    out.push_str("</body></html>\n");
}

fn write_group(group: &[Target], out: &mut String) {
    let Some(first) = group.first() else { return };
    let _ = write!(out, "<section><h2>{}</h2><ul>", Html(first.collector));
    for target in group {
        let state = if target.trouble.is_none() { "up" } else { "down" };
        let name = Html(&target.name);
        let _ = write!(out, "<li><span class=\"chip {state}\">{state}</span><div><code>{name}</code>");
        if let Some(trouble) = &target.trouble {
            // An error begins with the name of its thing, which stands right above it.
            let why = trouble.strip_prefix(target.name.as_str()).and_then(|rest| rest.strip_prefix(": "));
            let _ = write!(out, "<span class=\"why\">{}</span>", Html(why.unwrap_or(trouble)));
        }
        let _ = write!(out, "</div><span class=\"soft\">since {}</span></li>", Html(&target.since));
    }
    out.push_str("</ul></section>");
}

fn write_table(sessions: &[Session], out: &mut String) {
    out.push_str("<table><colgroup>");
    for (_, width, _) in COLUMNS {
        let _ = write!(out, "<col style=\"width:{width}%\">");
    }
    out.push_str("</colgroup><thead><tr>");
    for (name, _, class) in COLUMNS {
        let _ = write!(out, "<th scope=\"col\" class=\"{class}\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for session in sessions {
        write_row(session, out);
    }
    out.push_str("</tbody></table>");
}

fn write_row(session: &Session, out: &mut String) {
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

    const FRAME: Frame<'static> = Frame { gateway: "gw", version: "0", telemetry_path: "/metrics", has_sessions: true };

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
        let frame = Frame { gateway: evil, version: evil, telemetry_path: evil, has_sessions: true };
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
        assert!(page.contains("<span class=\"chip down\">1 of 2 can't be read</span>"), "{page}");
        assert!(page.contains("<code>/b</code><span class=\"why\">not found</span>"), "{page}");
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
        assert!(sessions(FRAME, &[session], &[]).contains("title=\"1536\"><div><bdi>1.5 KiB<"));
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
        let page = sessions(FRAME, &[charon], &[]);
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
        let page = sessions(FRAME, &[client], &[]);
        assert!(page.contains("<bdi>client 3, peer 4<") && page.contains("<bdi>[2001:db8::1]:1194<"), "{page}");
        assert!(!page.contains(" packet") && !page.contains(">local "), "{page}");
    }

    #[test]
    fn the_page_one_is_on_is_marked() {
        assert!(landing(FRAME, &[]).contains("<a href=\"/\" aria-current=\"page\">Overview</a>"));
        assert!(sessions(FRAME, &[], &[]).contains("<a href=\"/static\" aria-current=\"page\">Sessions</a>"));
    }

    #[test]
    fn no_session_is_said() {
        let page = sessions(FRAME, &[], &[]);
        assert!(page.contains("No session.") && page.contains("0 sessions<") && !page.contains("<script>"), "{page}");
    }
}
