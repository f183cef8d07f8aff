//! The section `web`, and the file that `--web.config.file` names: where to listen, and who may request what.
//!
//! That file's format is the one of all Prometheus exporters:
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>.

use std::path::Path;

use crate::auth::{Hosts, RateLimit};
use crate::bcrypt::Hash;
use crate::http::{self, ClientAuth, Compress, Networks, TlsFiles};
use crate::settings::{ConfigError, Located, Section};

/// Where to listen, and who may request what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// The addresses to listen on; empty if none is configured.
    pub listen: Vec<String>,
    /// Whether the file or a flag has such addresses.
    pub says_listen: bool,
    /// The networks that may connect; all if absent.
    pub allow: Option<Networks>,
    /// The host names under which pages and JSON may be requested; any if absent.
    pub hosts: Option<Hosts>,
    /// The users and the hashes of their passwords; without users, no password is needed.
    pub users: Vec<(String, Hash)>,
    /// Whether the file has `open: true`: it is intended that access is not restricted.
    pub open: bool,
    /// Whether the session pages are switched off.
    pub hides_sessions: bool,
    /// Whether the file has the key `sessions`.
    pub says_sessions: bool,
    /// Whether `/prom` leaves out the families of the process and of the scrapes.
    pub hides_process: bool,
    /// The TLS configuration; plain HTTP if absent.
    pub tls: Option<TlsFiles>,
    /// Whether replies are compressed.
    pub compress: Compress,
    /// Headers that every reply has; they replace ours of the same name.
    pub headers: Vec<(&'static str, String)>,
    /// The most requests that are answered; no limit if absent.
    pub rate_limit: Option<RateLimit>,
}

impl Web {
    /// Whether access is restricted by networks, passwords or client certificates.
    pub fn is_restricted(&self) -> bool {
        self.allow.is_some() || !self.users.is_empty() || self.tls.as_ref().is_some_and(asks_for_certificate)
    }

    /// The first restriction that `before` has and this one lacks, as its key and a message. `open: true` or `sessions: true`
    /// in the file means that this is intended.
    pub(super) fn loses(&self, before: &Self) -> Option<(&'static str, String)> {
        let asks_for_certificate = |web: &Self| web.tls.as_ref().is_some_and(asks_for_certificate);
        let lost = [
            (
                "web.basic_auth_users",
                !before.users.is_empty() && self.users.is_empty(),
                "a password was asked for, and now none is",
            ),
            (
                "web.allow",
                before.allow.is_some() && self.allow.is_none(),
                "only some networks could ask, and now all can",
            ),
            (
                "web.hosts",
                before.hosts.is_some() && self.hosts.is_none(),
                "only some host names were answered, and now all are",
            ),
            (
                "web.tls_server_config",
                asks_for_certificate(before) && !asks_for_certificate(self),
                "a client's certificate was asked for, and now none is",
            ),
            (
                "web.tls_server_config",
                before.tls.is_some() && self.tls.is_none(),
                "there was TLS, and now there is none",
            ),
            (
                "web.listen",
                before.says_listen && !self.says_listen && !self.is_restricted(),
                "only some addresses were listened on, and now all are",
            ),
        ];
        if let Some((key, _, what)) = lost.into_iter().find(|(_, is_lost, _)| *is_lost && !self.open) {
            return Some((key, format!("{what}; web: {{open: true}} says that this is meant")));
        }
        let message = "the session pages were off, and now they are on; sessions: true says that this is meant";
        let shows_sessions = before.hides_sessions && !self.hides_sessions && !self.says_sessions;
        shows_sessions.then(|| ("web.sessions", message.into()))
    }
}

/// Reads the section `web`.
pub(super) fn section(file: &mut Section) -> Result<Web, ConfigError> {
    if let Some(line) = file.line_of_nothing("web") {
        return Err(file.error_at("web", line, "nothing is written in it; leave it out, or write web: {open: true}"));
    }
    let mut section = file.section("web")?;
    for (key, whom) in [("listen", "address"), ("allow", "network"), ("hosts", "name"), ("basic_auth_users", "user")] {
        section.must_name(key, whom)?;
    }
    section.must_name("tls_server_config", "certificate")?;
    let listen = section.texts("listen")?.unwrap_or_default();
    let (no_network, no_host) =
        ("is neither an address nor a network as 192.0.2.0/24", "is no host name; write it without scheme and port");
    let allow = section.texts("allow")?.map(|list| parsed(&list, Networks::parse, no_network)).transpose()?;
    let hosts = section.texts("hosts")?.map(|list| parsed(&list, Hosts::parse, no_host)).transpose()?;
    let users = users(&mut section)?;
    let open = section.switch("open")?.unwrap_or(false);
    let sessions = section.switch("sessions")?;
    let tls = tls(&mut section)?;
    let modes = [("auto", Compress::Auto), ("always", Compress::Always), ("never", Compress::Never)];
    let compress = section.text("compress")?.map(|word| word.one_of(&modes)).transpose()?.unwrap_or_default();
    section.end()?;
    Ok(Web {
        says_listen: !listen.is_empty(),
        listen: listen.into_iter().map(address).collect::<Result<_, _>>()?,
        allow,
        hosts,
        users,
        open,
        hides_sessions: sessions == Some(false),
        says_sessions: sessions.is_some(),
        tls,
        compress,
        ..Web::default()
    })
}

/// Reads Prometheus' web configuration file: users, TLS, headers and rate limit.
pub(super) fn toolkit(mut file: Section) -> Result<Web, ConfigError> {
    if file.is_empty() {
        return Err(file.error("empty: it names neither users nor certificates"));
    }
    file.must_name("basic_auth_users", "user")?;
    file.must_name("tls_server_config", "certificate")?;
    let users = users(&mut file)?;
    let tls = tls(&mut file)?;
    let mut server = file.section("http_server_config")?;
    // This server uses HTTP/1.1 in any case.
    server.switch("http2")?;
    let headers = headers(&mut server)?;
    server.end()?;
    let rate_limit = rate_limit(&mut file)?;
    file.end()?;
    Ok(Web { users, tls, headers, rate_limit, ..Web::default() })
}

/// The headers that can be configured, and their allowed values; any value if none is listed.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// Reads the section `headers`; a header with an empty value is not set.
fn headers(server: &mut Section) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let mut section = server.section("headers")?;
    let mut headers = Vec::new();
    for (name, values) in HEADERS {
        let Some(text) = section.text(name)?.filter(|text| !text.value.is_empty()) else { continue };
        if text.value.contains(char::is_control) {
            return Err(text.error("a header has no line ends and control characters"));
        }
        if !values.is_empty() && !values.contains(&text.value.as_str()) {
            return Err(text.error(&format!("{:?} is not {}", text.value, values.join(" or "))));
        }
        headers.push((name, text.value));
    }
    section.end()?;
    Ok(headers)
}

/// Reads the section `rate_limit`; an interval of 0 means no limit.
fn rate_limit(file: &mut Section) -> Result<Option<RateLimit>, ConfigError> {
    let mut section = file.section("rate_limit")?;
    let interval = section.go_time("interval")?.unwrap_or_default();
    let burst = section.number("burst")?.unwrap_or_default();
    if !interval.is_zero() && burst == 0 {
        return Err(section.error_of("burst", "0 would refuse every request; 20 answers up to 20 at once"));
    }
    section.end()?;
    Ok(Some(RateLimit { interval, burst }).filter(|limit| !limit.interval.is_zero()))
}

/// Reads the section `tls_server_config`, which both files can have.
fn tls(file: &mut Section) -> Result<Option<TlsFiles>, ConfigError> {
    let Some(mut section) = file.optional("tls_server_config")? else { return Ok(None) };
    if !cfg!(feature = "tls") {
        return Err(section.error("built without TLS; `cargo build --features tls` has it, or a reverse proxy"));
    }
    let certificate = section.text("cert_file")?.ok_or_else(|| section.missing("cert_file"))?;
    let key = section.text("key_file")?.ok_or_else(|| section.missing("key_file"))?;
    let authority = section.text("client_ca_file")?;
    let only_tls13 = section.text("min_version")?.map(|word| word.read(|word| is_tls13(word))).transpose()?;
    let kinds = [
        ("NoClientCert", None),
        ("VerifyClientCertIfGiven", Some(ClientAuth::IfGiven)),
        ("RequireAndVerifyClientCert", Some(ClientAuth::Required)),
    ];
    let auth = section.text("client_auth_type")?.filter(|word| !word.value.is_empty());
    let kind = auth.map(|word| word.one_of(&kinds)).transpose()?.flatten();
    let client_ca = match (authority, kind) {
        (None, None) => None,
        (Some(path), Some(kind)) => Some((path.value.into(), kind)),
        (None, Some(_)) => return Err(section.error("client_auth_type needs client_ca_file")),
        (Some(_), None) => return Err(section.error("client_ca_file needs client_auth_type")),
    };
    section.end()?;
    Ok(Some(TlsFiles {
        certificate: certificate.value.into(),
        key: key.value.into(),
        client_ca,
        only_tls13: only_tls13.unwrap_or(false),
    }))
}

/// Whether every client must show a certificate.
fn asks_for_certificate(tls: &TlsFiles) -> bool {
    matches!(tls.client_ca, Some((_, ClientAuth::Required)))
}

fn is_tls13(word: &str) -> Result<bool, String> {
    match word {
        "TLS12" => Ok(false),
        "TLS13" => Ok(true),
        other => Err(format!("{other:?} is neither TLS12 nor TLS13")),
    }
}

/// Makes relative paths relative to the folder of the file that names them, as Prometheus does.
pub fn anchor(files: &mut TlsFiles, file: &Path) {
    let Some(folder) = file.parent() else { return };
    let client_ca = files.client_ca.as_mut().map(|(path, _)| path);
    for path in [&mut files.certificate, &mut files.key].into_iter().chain(client_ca) {
        *path = folder.join(&*path);
    }
}

fn address(text: Located<String>) -> Result<String, ConfigError> {
    http::check(&text.value).map_err(|why| text.error(&why))?;
    Ok(text.value)
}

/// Parses a list of texts; the error is about the first invalid one, and `what` says what is wrong with it.
fn parsed<T>(list: &[Located<String>], parse: fn(&[String]) -> Result<T, &str>, what: &str) -> Result<T, ConfigError> {
    let words: Vec<String> = list.iter().map(|word| word.value.clone()).collect();
    parse(&words).map_err(|wrong| {
        let message = format!("{wrong:?} {what}");
        let written = list.iter().find(|word| word.value == wrong);
        written.map_or_else(|| ConfigError::without_line("web", &message), |word| word.error(&message))
    })
}

/// Reads users and password hashes. Errors don't repeat the hash, since it may be the password itself.
fn users(section: &mut Section) -> Result<Vec<(String, Hash)>, ConfigError> {
    let path = section.path_of("basic_auth_users");
    let user = |(name, hash): (String, Located<String>)| {
        if name.is_empty() || name.contains(':') {
            return Err(ConfigError::of(&path, hash.line(), &format!("{name:?} can't be a user's name")));
        }
        let hash = hash.read(|text| {
            Hash::parse(text).map_err(|why| format!("what is written there {why}; --hash-password makes one"))
        })?;
        Ok((name, hash))
    };
    section.named("basic_auth_users")?.into_iter().map(user).collect()
}
