//! Who may ask, and where: the section `web`, and the file that `--web.config.file` names.
//!
//! That file's format is the one of all Prometheus exporters:
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>.

use std::path::{Path, PathBuf};

use super::section::Section;
use crate::auth::Hosts;
use crate::bcrypt::Hash;
use crate::http::{self, ClientAuth, Networks, TlsFiles};

/// What is meant: where to listen, and who may ask for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where to listen; nowhere is said where it is empty.
    pub listen: Vec<String>,
    /// The networks that may ask; all where absent.
    pub allow: Option<Networks>,
    /// The host names under which pages and JSON answer; under any where absent.
    pub hosts: Option<Hosts>,
    /// The users and the hashes of their passwords; without any, nobody is asked for one.
    pub users: Vec<(String, Hash)>,
    /// Whether the session pages are off.
    pub hides_sessions: bool,
    /// Plain HTTP where absent.
    pub tls: Option<TlsFiles>,
}

/// What Prometheus' web configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebFile {
    /// As in [`Web`].
    pub users: Vec<(String, Hash)>,
    /// As in [`Web`].
    pub tls: Option<TlsFiles>,
}

/// The section `web`.
#[derive(Debug, Default)]
pub(super) struct FileWeb {
    listen: Vec<String>,
    allow: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    basic_auth_users: Vec<(String, String)>,
    sessions: Option<bool>,
    tls_server_config: Option<FileTls>,
}

/// The section `tls_server_config`, which Prometheus' web configuration file has, too.
#[derive(Debug)]
struct FileTls {
    cert_file: PathBuf,
    key_file: PathBuf,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    min_version: Option<String>,
}

impl FileWeb {
    pub(super) fn read(section: &mut Section) -> Result<Self, String> {
        section.must_say("allow", "network")?;
        section.must_say("hosts", "name")?;
        section.must_say("basic_auth_users", "user")?;
        Ok(Self {
            listen: section.texts("listen")?.unwrap_or_default(),
            allow: section.texts("allow")?,
            hosts: section.texts("hosts")?,
            basic_auth_users: section.named("basic_auth_users")?,
            sessions: section.switch("sessions")?,
            tls_server_config: FileTls::read(section)?,
        })
    }

    pub(super) fn meaning(self) -> Result<Web, String> {
        let listen = self.listen;
        for (index, address) in listen.iter().enumerate() {
            http::check(address).map_err(|complaint| format!("web.listen[{index}]: {complaint}"))?;
        }
        let allow = self.allow.as_deref().map(networks).transpose()?;
        let hosts = self.hosts.as_deref().map(hosts).transpose()?;
        let users = users(self.basic_auth_users, "web.")?;
        let tls = self.tls_server_config.map(|tls| tls.meaning("web.")).transpose()?;
        Ok(Web { listen, allow, hosts, users, hides_sessions: self.sessions == Some(false), tls })
    }
}

impl FileTls {
    fn read(section: &mut Section) -> Result<Option<Self>, String> {
        section.optional("tls_server_config", |section| {
            let mut path = |key| section.text(key).map(|path| path.map(PathBuf::from));
            let (cert_file, key_file, client_ca_file) =
                (path("cert_file")?, path("key_file")?, path("client_ca_file")?);
            Ok(Self {
                cert_file: cert_file.ok_or_else(|| section.missing("cert_file"))?,
                key_file: key_file.ok_or_else(|| section.missing("key_file"))?,
                client_ca_file,
                client_auth_type: section.text("client_auth_type")?,
                min_version: section.text("min_version")?,
            })
        })
    }

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

/// Prometheus' web configuration file; what would be wrong to pass over is an error.
pub(super) fn toolkit(mut file: Section) -> Result<WebFile, String> {
    let written = file.named("basic_auth_users")?;
    let tls = FileTls::read(&mut file)?;
    file.section("http_server_config", |section| {
        // Not spoken without TLS, so there is nothing to switch.
        section.switch("http2")?;
        match section.take("headers") {
            Some(_) => Err("http_server_config.headers: no headers can be added".into()),
            None => Ok(()),
        }
    })?;
    file.end()?;
    Ok(WebFile { users: users(written, "")?, tls: tls.map(|tls| tls.meaning("")).transpose()? })
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

fn hosts(list: &[String]) -> Result<Hosts, String> {
    if list.is_empty() {
        return Err("web.hosts: an empty list would refuse every name".into());
    }
    Hosts::parse(list).map_err(|text| format!("web.hosts: {text:?} is no host name; write it without scheme and port"))
}

fn users(written: Vec<(String, String)>, section: &str) -> Result<Vec<(String, Hash)>, String> {
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
