//! Who may ask, and where: the section `web`, and the file that `--web.config.file` names.
//!
//! That file's format is the one of all Prometheus exporters:
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>.

use super::section::Section;
use crate::bcrypt::Hash;
use crate::http::{self, Networks};

/// What is meant: where to listen, and who may ask for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where to listen; nowhere is said where it is empty.
    pub listen: Vec<String>,
    /// The networks that may ask; all where absent.
    pub allow: Option<Networks>,
    /// The users and the hashes of their passwords; without any, nobody is asked for one.
    pub users: Vec<(String, Hash)>,
    /// Whether the session pages are off.
    pub hides_sessions: bool,
}

/// The section `web`.
#[derive(Debug, Default)]
pub(super) struct FileWeb {
    listen: Vec<String>,
    allow: Option<Vec<String>>,
    basic_auth_users: Vec<(String, String)>,
    sessions: Option<bool>,
}

impl FileWeb {
    pub(super) fn read(section: &mut Section) -> Result<Self, String> {
        Ok(Self {
            listen: section.texts("listen")?.unwrap_or_default(),
            allow: section.texts("allow")?,
            basic_auth_users: section.named("basic_auth_users")?,
            sessions: section.switch("sessions")?,
        })
    }

    pub(super) fn meaning(self) -> Result<Web, String> {
        let listen = self.listen;
        for (index, address) in listen.iter().enumerate() {
            http::check(address).map_err(|complaint| format!("web.listen[{index}]: {complaint}"))?;
        }
        let allow = self.allow.as_deref().map(networks).transpose()?;
        let users = users(self.basic_auth_users, "web.")?;
        Ok(Web { listen, allow, users, hides_sessions: self.sessions == Some(false) })
    }
}

/// The users of Prometheus' web configuration file; what would be wrong to pass over is an error.
pub(super) fn toolkit(mut file: Section) -> Result<Vec<(String, Hash)>, String> {
    let written = file.named("basic_auth_users")?;
    if file.take("tls_server_config").is_some() {
        return Err("tls_server_config: this build has no TLS; put a reverse proxy in front, or leave it out".into());
    }
    file.section("http_server_config", |section| {
        // Not spoken without TLS, so there is nothing to switch.
        section.switch("http2")?;
        match section.take("headers") {
            Some(_) => Err("http_server_config.headers: no headers can be added".into()),
            None => Ok(()),
        }
    })?;
    file.end()?;
    users(written, "")
}

fn networks(list: &[String]) -> Result<Networks, String> {
    if list.is_empty() {
        return Err("web.allow: an empty list would let nobody in".into());
    }
    Networks::parse(list)
        .map_err(|text| format!("web.allow: {text:?} is neither an address nor a network as 192.0.2.0/24"))
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
