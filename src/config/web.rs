//! Who may ask, and where: the section `web`, and the file that `--web.config.file` names.
//!
//! That file's format is the one of all Prometheus exporters:
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::bcrypt::Hash;
use crate::http::{self, ClientAuth, Networks, TlsFiles};

/// What is meant: where to listen, and who may ask for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where to listen; nowhere is said where it is empty.
    pub listen: Vec<String>,
    /// The networks that may ask; all where absent.
    pub allow: Option<Networks>,
    /// The users and the hashes of their passwords; without any, nobody is asked for one.
    pub users: BTreeMap<String, Hash>,
    /// Whether the session pages are off.
    pub hides_sessions: bool,
    /// Plain HTTP where absent.
    pub tls: Option<TlsFiles>,
}

/// What Prometheus' web configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebFile {
    /// As in [`Web`].
    pub users: BTreeMap<String, Hash>,
    /// As in [`Web`].
    pub tls: Option<TlsFiles>,
}

/// The section `web`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileWeb {
    listen: Option<Vec<String>>,
    allow: Option<Vec<String>>,
    basic_auth_users: Option<BTreeMap<String, String>>,
    sessions: Option<bool>,
    tls_server_config: Option<FileTls>,
}

/// Prometheus' web configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Toolkit {
    basic_auth_users: Option<BTreeMap<String, String>>,
    tls_server_config: Option<FileTls>,
    http_server_config: Option<HttpServer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTls {
    cert_file: PathBuf,
    key_file: PathBuf,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    min_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpServer {
    /// Not spoken without TLS, so there is nothing to switch.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<IgnoredAny>,
}

impl FileWeb {
    pub(super) fn meaning(self) -> Result<Web, String> {
        let listen = self.listen.unwrap_or_default();
        for (index, address) in listen.iter().enumerate() {
            http::check(address).map_err(|complaint| format!("web.listen[{index}]: {complaint}"))?;
        }
        let allow = self.allow.as_deref().map(networks).transpose()?;
        let users = users(self.basic_auth_users.unwrap_or_default(), "web.")?;
        let tls = self.tls_server_config.map(|tls| tls.meaning("web.")).transpose()?;
        Ok(Web { listen, allow, users, hides_sessions: self.sessions == Some(false), tls })
    }
}

impl Toolkit {
    /// What would be wrong to pass over is an error.
    pub(super) fn meaning(self) -> Result<WebFile, String> {
        if self.http_server_config.is_some_and(|config| config.headers.is_some()) {
            return Err("http_server_config.headers: no headers can be added".into());
        }
        let users = users(self.basic_auth_users.unwrap_or_default(), "")?;
        Ok(WebFile { users, tls: self.tls_server_config.map(|tls| tls.meaning("")).transpose()? })
    }
}

impl FileTls {
    fn meaning(self, section: &str) -> Result<TlsFiles, String> {
        let wrong = |why: String| format!("{section}tls_server_config{why}");
        if !cfg!(feature = "tls") {
            return Err(wrong(": built without TLS; `cargo build --features tls` has it, or a reverse proxy".into()));
        }
        let auth = match self.client_auth_type.as_deref() {
            None | Some("" | "NoClientCert") => None,
            Some("RequireAndVerifyClientCert") => Some(ClientAuth::Required),
            Some("VerifyClientCertIfGiven") => Some(ClientAuth::IfGiven),
            Some(other) => {
                let known = "NoClientCert, VerifyClientCertIfGiven and RequireAndVerifyClientCert";
                return Err(wrong(format!(".client_auth_type: {other:?} is none of {known}")));
            }
        };
        let only_tls13 = match self.min_version.as_deref() {
            None | Some("TLS12") => false,
            Some("TLS13") => true,
            Some(other) => return Err(wrong(format!(".min_version: {other:?} is neither TLS12 nor TLS13"))),
        };
        let client_ca = match (self.client_ca_file, auth) {
            (None, None) => None,
            (Some(path), Some(auth)) => Some((path, auth)),
            (None, Some(_)) => return Err(wrong(": client_auth_type needs client_ca_file".into())),
            (Some(_), None) => return Err(wrong(": client_ca_file needs client_auth_type".into())),
        };
        Ok(TlsFiles { certificate: self.cert_file, key: self.key_file, client_ca, only_tls13 })
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

fn networks(list: &[String]) -> Result<Networks, String> {
    if list.is_empty() {
        return Err("web.allow: an empty list would let nobody in".into());
    }
    Networks::parse(list)
        .map_err(|text| format!("web.allow: {text:?} is neither an address nor a network as 192.0.2.0/24"))
}

fn users(written: BTreeMap<String, String>, section: &str) -> Result<BTreeMap<String, Hash>, String> {
    let user = |(name, hash): (String, String)| match Hash::parse(&hash) {
        _ if name.is_empty() || name.contains(':') => {
            Err(format!("{section}basic_auth_users: {name:?} can't be a user's name"))
        }
        // What was written may be the password itself: it is not repeated.
        Err(why) => {
            Err(format!("{section}basic_auth_users.{name}: what is written there {why}; --hash-password makes one"))
        }
        Ok(hash) => Ok((name, hash)),
    };
    written.into_iter().map(user).collect()
}
