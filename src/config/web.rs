//! Who may ask, and where: the section `web`, and the file that `--web.config.file` names.
//!
//! That file's format is the one of all Prometheus exporters:
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>.

use std::path::Path;

use crate::auth::{Hosts, RateLimit};
use crate::bcrypt::Hash;
use crate::http::{self, ClientAuth, Compress, Networks, TlsFiles};
use crate::settings::{ConfigError, Located, Section};

/// What is meant: where to listen, and who may ask for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where to listen; nowhere is said where it is empty.
    pub listen: Vec<String>,
    /// Whether the file or a flag says where.
    pub says_listen: bool,
    /// The networks that may ask; all where absent.
    pub allow: Option<Networks>,
    /// The host names under which pages and JSON answer; under any where absent.
    pub hosts: Option<Hosts>,
    /// The users and the hashes of their passwords; without any, nobody is asked for one.
    pub users: Vec<(String, Hash)>,
    /// Whether the file says in words that users, networks, certificates that it does not name are left out on purpose.
    pub open: bool,
    /// Whether the session pages are off.
    pub hides_sessions: bool,
    /// Whether the file says in words whether they are.
    pub says_sessions: bool,
    /// Whether the families of the process and the scrapes are left out of `/prom`.
    pub hides_process: bool,
    /// Plain HTTP where absent.
    pub tls: Option<TlsFiles>,
    /// Whether answers are compressed.
    pub compress: Compress,
    /// Headers that every answer has, in the place of ours of that name.
    pub headers: Vec<(&'static str, String)>,
    /// How many requests are answered; all where absent.
    pub rate_limit: Option<RateLimit>,
}

/// What Prometheus' web configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebFile {
    /// As in [`Web`].
    pub users: Vec<(String, Hash)>,
    /// As in [`Web`].
    pub tls: Option<TlsFiles>,
    /// As in [`Web`].
    pub headers: Vec<(&'static str, String)>,
    /// As in [`Web`].
    pub rate_limit: Option<RateLimit>,
}

impl Web {
    /// Whether not everybody who reaches it may ask for everything.
    pub fn is_restricted(&self) -> bool {
        self.allow.is_some() || !self.users.is_empty() || self.tls.as_ref().is_some_and(asks_for_certificate)
    }

    /// What of these protected before and does not any more: the key, and what is wrong. Where the file says in words
    /// that it is open, or that the session pages are on, it is meant.
    pub(super) fn loses(&self, before: &Self) -> Option<(&'static str, &'static str)> {
        let asks_for_certificate = |web: &Self| web.tls.as_ref().is_some_and(asks_for_certificate);
        let lost = [
            (
                "web.basic_auth_users",
                !before.users.is_empty() && self.users.is_empty(),
                "a password was asked for, and now none is; web: {open: true} says that this is meant",
            ),
            (
                "web.allow",
                before.allow.is_some() && self.allow.is_none(),
                "only some networks could ask, and now all can; web: {open: true} says that this is meant",
            ),
            (
                "web.hosts",
                before.hosts.is_some() && self.hosts.is_none(),
                "only some host names were answered, and now all are; web: {open: true} says that this is meant",
            ),
            (
                "web.tls_server_config",
                asks_for_certificate(before) && !asks_for_certificate(self),
                "a client's certificate was asked for, and now none is; web: {open: true} says that this is meant",
            ),
            (
                "web.tls_server_config",
                before.tls.is_some() && self.tls.is_none(),
                "there was TLS, and now there is none; web: {open: true} says that this is meant",
            ),
            (
                "web.listen",
                before.says_listen && !self.says_listen && !self.is_restricted(),
                "only some addresses were listened on, and now all are; web: {open: true} says that this is meant",
            ),
        ];
        let lost = lost.into_iter().find(|(_, is_lost, _)| *is_lost && !self.open);
        let sessions = before.hides_sessions && !self.hides_sessions && !self.says_sessions;
        let message = "the session pages were off, and now they are on; sessions: true says that this is meant";
        lost.map(|(key, _, message)| (key, message)).or(sessions.then_some(("web.sessions", message)))
    }
}

/// The section `web`.
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
    let says_listen = !listen.is_empty();
    let listen = listen.into_iter().map(address).collect::<Result<_, _>>()?;
    let allow = section.texts("allow")?.map(|list| networks(&list)).transpose()?;
    let hosts = section.texts("hosts")?.map(|list| hosts(&list)).transpose()?;
    let users = users(&mut section)?;
    let open = section.switch("open")?.unwrap_or(false);
    let sessions = section.switch("sessions")?;
    let tls = tls(&mut section)?;
    let compress = section.text("compress")?.map(|word| word.read(|word| compress(word))).transpose()?;
    let web = Web {
        listen,
        says_listen,
        allow,
        hosts,
        users,
        open,
        hides_sessions: sessions == Some(false),
        says_sessions: sessions.is_some(),
        hides_process: false,
        tls,
        compress: compress.unwrap_or_default(),
        headers: Vec::new(),
        rate_limit: None,
    };
    section.end()?;
    Ok(web)
}

/// Prometheus' web configuration file; what would be wrong to pass over is an error.
pub(super) fn toolkit(mut file: Section) -> Result<WebFile, ConfigError> {
    if file.is_empty() {
        return Err(file.error("empty: it names neither users nor certificates"));
    }
    file.must_name("basic_auth_users", "user")?;
    file.must_name("tls_server_config", "certificate")?;
    let users = users(&mut file)?;
    let tls = tls(&mut file)?;
    let mut server = file.section("http_server_config")?;
    // HTTP/1.1 is spoken in any case.
    server.switch("http2")?;
    let headers = headers(&mut server)?;
    server.end()?;
    let rate_limit = rate_limit(&mut file)?;
    file.end()?;
    Ok(WebFile { users, tls, headers, rate_limit })
}

/// The headers that may be added, and the values that they may have; any where none is named.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// The section `headers`; one with nothing behind it is not set.
fn headers(server: &mut Section) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let mut section = server.section("headers")?;
    let mut headers = Vec::new();
    for (name, values) in HEADERS {
        let Some(text) = section.text(name)?.filter(|text| !text.value.is_empty()) else { continue };
        let value = text.read(|value| match value {
            value if value.contains(char::is_control) => Err("a header has no line ends and control characters".into()),
            value if values.is_empty() || values.contains(&value.as_str()) => Ok(value.clone()),
            value => Err(format!("{value:?} is not {}", values.join(" or "))),
        })?;
        headers.push((name, value));
    }
    section.end()?;
    Ok(headers)
}

/// The section `rate_limit`; an interval of 0 is no limit.
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

/// The section `tls_server_config`, which both files have.
fn tls(file: &mut Section) -> Result<Option<TlsFiles>, ConfigError> {
    let Some(mut section) = file.optional("tls_server_config")? else { return Ok(None) };
    if !cfg!(feature = "tls") {
        return Err(section.error("built without TLS; `cargo build --features tls` has it, or a reverse proxy"));
    }
    let certificate = section.text("cert_file")?.ok_or_else(|| section.missing("cert_file"))?;
    let key = section.text("key_file")?.ok_or_else(|| section.missing("key_file"))?;
    let authority = section.text("client_ca_file")?;
    let auth = section.text("client_auth_type")?;
    let only_tls13 = section.text("min_version")?.map(|word| word.read(|word| is_tls13(word))).transpose()?;
    let kind = auth.clone().map(|word| word.read(|word| client_auth(word))).transpose()?.flatten();
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

fn client_auth(word: &str) -> Result<Option<ClientAuth>, String> {
    match word {
        "" | "NoClientCert" => Ok(None),
        "RequireAndVerifyClientCert" => Ok(Some(ClientAuth::Required)),
        "VerifyClientCertIfGiven" => Ok(Some(ClientAuth::IfGiven)),
        other => {
            let known = "NoClientCert, VerifyClientCertIfGiven and RequireAndVerifyClientCert";
            Err(format!("{other:?} is none of {known}"))
        }
    }
}

fn is_tls13(word: &str) -> Result<bool, String> {
    match word {
        "TLS12" => Ok(false),
        "TLS13" => Ok(true),
        other => Err(format!("{other:?} is neither TLS12 nor TLS13")),
    }
}

/// Paths are taken from the folder of the file that names them, as Prometheus does.
pub fn anchor(files: &mut TlsFiles, file: &Path) {
    let Some(folder) = file.parent() else { return };
    let client_ca = files.client_ca.as_mut().map(|(path, _)| path);
    for path in [&mut files.certificate, &mut files.key].into_iter().chain(client_ca) {
        *path = folder.join(&*path);
    }
}

fn compress(word: &str) -> Result<Compress, String> {
    match word {
        "auto" => Ok(Compress::Auto),
        "always" => Ok(Compress::Always),
        "never" => Ok(Compress::Never),
        other => Err(format!("{other:?} is neither \"auto\", nor \"always\", nor \"never\"")),
    }
}

fn address(text: Located<String>) -> Result<String, ConfigError> {
    text.clone().read(|text| http::check(text))?;
    Ok(text.value)
}

fn networks(list: &[Located<String>]) -> Result<Networks, ConfigError> {
    let words: Vec<String> = list.iter().map(|word| word.value.clone()).collect();
    Networks::parse(&words).map_err(|wrong| {
        let message = format!("{wrong:?} is neither an address nor a network as 192.0.2.0/24");
        let written = list.iter().find(|word| word.value == wrong);
        written.map_or_else(|| ConfigError::of("web.allow", 0, &message), |word| word.error(&message))
    })
}

/// What was written may be the password itself: it is not repeated.
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

fn hosts(list: &[Located<String>]) -> Result<Hosts, ConfigError> {
    let words: Vec<String> = list.iter().map(|word| word.value.clone()).collect();
    Hosts::parse(&words).map_err(|wrong| {
        let message = format!("{wrong:?} is no host name; write it without scheme and port");
        let written = list.iter().find(|word| word.value == wrong);
        written.map_or_else(|| ConfigError::of("web.hosts", 0, &message), |word| word.error(&message))
    })
}
