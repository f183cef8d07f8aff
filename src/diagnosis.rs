//! The doctor: what is right with what is watched, what is wrong, and what to do about it, in plain message.
//!
//! Pure. The errors and notices of a round of the collectors come in, with what the machine says around them, and
//! findings go out; `--doctor` prints them and the landing page shows them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use crate::collector::{Error, Notice};
use crate::sys::environment::{AccessProblem, Environment};
use crate::text::printable;

/// The source's word for where it listens itself: the section of the configuration.
pub const LISTENER: &str = "web";

/// How something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    #[default]
    Ok,
    /// Not on this machine, and nobody asked for it.
    Absent,
    /// It works; somebody should look at it all the same.
    Warning,
    /// It does not work.
    Error,
}

/// Phrase that are mostly written here.
pub type Phrase = Cow<'static, str>;

/// What was found out about one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub verdict: Severity,
    /// The source that it belongs to.
    pub source: &'static str,
    /// The socket, file, command, rule or address.
    pub subject: String,
    /// What was found.
    pub message: Phrase,
    /// What to do; empty where there is nothing to do.
    pub fix: Phrase,
}

impl Severity {
    /// One word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "none",
            Self::Warning => "check",
            Self::Error => "down",
        }
    }
}

impl Finding {
    /// What was found and what to do, without the source.
    pub fn in_one_line(self) -> String {
        let Self { subject, message, fix, .. } = self;
        format!("{subject}: {message}{}{fix}", if fix.is_empty() { "" } else { "; " })
    }
}

impl fmt::Display for Finding {
    /// A line, and one below it for what to do; nothing that a peer chose leaves its line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, source, subject, message, fix } = self;
        writeln!(out, "{:<5}  {source:<10}  {}: {}", verdict.word(), line(subject), line(message))?;
        if fix.is_empty() { Ok(()) } else { writeln!(out, "       to do: {}", line(fix)) }
    }
}

/// How many things are down and how many want a look, in message.
pub fn summary(findings: &[Finding]) -> (Severity, String) {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (down, warnings) = (count(Severity::Error), count(Severity::Warning));
    let all = findings.len().saturating_sub(count(Severity::Absent));
    if findings.iter().all(|finding| finding.verdict == Severity::Absent || finding.source == LISTENER) {
        return (Severity::Error, "Nothing is watched".into());
    }
    match (down, warnings) {
        (0, 0) => (Severity::Ok, "All is well".into()),
        (0, warnings) => (Severity::Warning, format!("All is up, {warnings} to check")),
        _ => (Severity::Error, format!("{down} of {all} down")),
    }
}

/// What was found out about a target of a source.
pub fn target(source: &'static str, subject: &str, error: Option<&Error>, environment: &Environment) -> Finding {
    let (verdict, message, fix) = match error {
        None => (Severity::Ok, "answers".into(), "".into()),
        Some(error) => {
            let (message, fix) = explain(source, subject, error, environment);
            (Severity::Error, message, fix)
        }
    };
    Finding { verdict, source, subject: subject.into(), message, fix }
}

/// What was found out about what a source noticed.
pub fn notice(source: &'static str, notice: &Notice) -> Finding {
    let (verdict, subject, message, fix) = match notice {
        Notice::Stale { subject, age } => (
            Severity::Error,
            subject,
            format!("stale, not written for {}: OpenVPN has ended, or it hangs", span(*age)).into(),
            "systemctl status 'openvpn*'; where it is written seldom, stale_after says how old it may be".into(),
        ),
        Notice::Rotated { subject, file } => (
            Severity::Warning,
            subject,
            format!("moved away while OpenVPN had it open: it writes to {file} now").into(),
            "restart OpenVPN, and leave the status file out of log rotation or have it rotated with copytruncate"
                .into(),
        ),
        Notice::NoMatch { subject } => {
            (Severity::Error, subject, "no file matches this pattern".into(), start_openvpn("a file that matches"))
        }
        Notice::Unknown { subject, command } => (
            Severity::Warning,
            subject,
            format!("charon answers, but not to {command}").into(),
            "load its plugin counters, or leave them out: metrics: {without: [events]}".into(),
        ),
        Notice::UnmatchableRule { subject, error } => {
            (Severity::Error, subject, format!("this rule can never match: {}", error.why).into(), error.fix.into())
        }
    };
    Finding { verdict, source, subject: subject.clone(), message, fix }
}

/// What was found out about a source that is not on this machine, where nothing is configured; `tried` says where it
/// was looked for. A charon without the socket may be meant for the `ipsec` command, so that it is no trouble either.
pub fn absent(source: &'static str, tried: &str, environment: &Environment) -> Finding {
    let mut finding = Finding { verdict: Severity::Absent, source, subject: tried.into(), ..Finding::default() };
    finding.message = "not on this machine".into();
    if source == "strongswan" && (environment.charon || environment.elsewhere.is_some()) {
        (finding.message, finding.fix) = no_socket(environment);
    }
    finding
}

/// What was found out about an address that can be listened on; `is_guarded` says that not everybody may ask there.
pub fn open_listener(address: SocketAddr, is_guarded: bool) -> Finding {
    let (verdict, message, fix) = match reach(address.ip()) {
        _ if is_guarded => (Severity::Ok, "only who is allowed may ask", ""),
        Reach::Machine => (Severity::Ok, "only this machine may ask", ""),
        Reach::Network => (Severity::Ok, "everybody in its own network may ask", ""),
        Reach::World => (
            Severity::Warning,
            "everybody who reaches this machine may ask",
            "--web.listen-address with the address that Prometheus asks, or web: {allow: [ITS NETWORK]}",
        ),
    };
    Finding { verdict, source: LISTENER, subject: address.to_string(), message: message.into(), fix: fix.into() }
}

/// What was found out about an address that can't be listened on; `is_ours` says that a gateway-exporter answers there.
pub fn failed_listener(address: &str, error: &Error, is_ours: bool) -> Finding {
    let (verdict, more, fix) = match error {
        Error::AddressInUse { .. } if is_ours => (Severity::Ok, "by a gateway-exporter", ""),
        Error::AddressInUse { .. } => {
            (Severity::Error, "by something else", "ss -ltnp says what; --web.listen-address=:9235 is another port")
        }
        Error::Denied { .. } => (
            Severity::Error,
            "a port below 1024 needs a right",
            "choose a port from 1024 on, or give it CAP_NET_BIND_SERVICE",
        ),
        _ => (Severity::Error, "", "ip address lists the interfaces and addresses of this machine"),
    };
    let message = joined(why(error), more);
    Finding { verdict, source: LISTENER, subject: address.into(), message, fix: fix.into() }
}

/// Why a target could not be read, and what to do.
fn explain(source: &str, target: &str, error: &Error, environment: &Environment) -> (Phrase, Phrase) {
    let why = why(error);
    if matches!(error, Error::Denied { .. }) && (source != "ipsec" || error.subject() == target) {
        return denied(source, target, environment);
    }
    let (more, fix) = match source {
        "strongswan" => match error {
            Error::NotFound { .. } if target.starts_with('/') => return no_socket(environment),
            _ => charon(error, environment),
        },
        "ipsec" => ipsec(target, error, environment),
        "openvpn" => openvpn(target, error),
        "sockets" if !target.starts_with('/') => {
            ("the rules with that host are not known".into(), format!("getent hosts {}", quoted(target)).into())
        }
        _ => Default::default(),
    };
    (joined(why, &more), fix)
}

/// An error without the name of its subject, which stands beside it already.
fn why(error: &Error) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix(error.subject()).and_then(|rest| rest.strip_prefix(": ")).map(str::to_owned);
    rest.unwrap_or(text)
}

fn no_socket(environment: &Environment) -> (Phrase, Phrase) {
    match (&environment.elsewhere, environment.charon) {
        (Some(path), _) => {
            (format!("not found, but {path} is there").into(), format!("write vici_socket: {path}").into())
        }
        (None, true) => (
            "not found, though charon is running: its plugin vici is not loaded, or its socket is elsewhere".into(),
            "install the plugin (Debian: strongswan-swanctl, OpenWrt: strongswan-mod-vici) and restart charon, or write \
             vici_socket as charon.plugins.vici.socket in strongswan.conf has it"
                .into(),
        ),
        (None, false) => ("not found: charon is not running".into(), START_CHARON.into()),
    }
}

const START_CHARON: &str = "systemctl start strongswan (or strongswan-starter; on OpenWrt /etc/init.d/swanctl start)";

fn charon(error: &Error, environment: &Environment) -> (Phrase, Phrase) {
    match error {
        Error::NotListening { .. } if !environment.charon => {
            ("charon is gone and left its socket behind".into(), START_CHARON.into())
        }
        Error::TimedOut { .. } => {
            ("charon hangs".into(), "swanctl --stats shows whether it answers others; if not, restart it".into())
        }
        Error::TooMany { .. } => (
            "nothing is said of any, since half of them would be wrong".into(),
            "swanctl --list-conns, --list-pols, --list-pools, --list-certs and --counters show them".into(),
        ),
        Error::Malformed { .. } | Error::TooLong { .. } => (
            "what answers there does not speak VICI".into(),
            "vici_socket must name the socket of charon's plugin vici".into(),
        ),
        _ => Default::default(),
    }
}

fn ipsec(target: &str, error: &Error, environment: &Environment) -> (Phrase, Phrase) {
    let command = error.subject();
    match error {
        Error::NotFound { .. } if command == target => (
            "".into(),
            "write ipsec_config as it is called here; with swanctl.conf there is none, and strongswan is the source"
                .into(),
        ),
        Error::NotFound { .. } if command.contains('/') => ("there is no such command".into(), IPSEC_COMMAND.into()),
        Error::NotFound { .. } => {
            (format!("{command} is not in PATH, which is {}", environment.path).into(), IPSEC_COMMAND.into())
        }
        // What the command ends with where charon does not run, as init scripts do. One that something else has started
        // would only get a second one beside it.
        Error::Refused { why, .. } if why == "exit status: 3" && environment.charon => (
            "charon is running, but ipsec has not started it".into(),
            "leave ipsec_config and ipsec_command out: the source strongswan asks it over VICI".into(),
        ),
        Error::Refused { why, .. } if why == "exit status: 3" => ("charon is not running".into(), "ipsec start".into()),
        Error::Refused { .. } | Error::TimedOut { .. } => {
            let sudo = match environment.user.as_str() {
                "root" => "",
                _ => "; where only root may, add --enable.sudo and a rule in sudoers",
            };
            ("".into(), format!("run {target} by hand as {}{sudo}", environment.user).into())
        }
        Error::Malformed { .. } if command.contains(' ') => {
            ("neither strongSwan nor libreswan prints that".into(), IPSEC_COMMAND.into())
        }
        _ => Default::default(),
    }
}

const IPSEC_COMMAND: &str = "install it (Debian: strongswan-starter or libreswan), or say where it is: \
                             ipsec_command: [/usr/sbin/ipsec, statusall]";

fn openvpn(target: &str, error: &Error) -> (Phrase, Phrase) {
    match error {
        Error::NotFound { .. } => ("OpenVPN has not written it".into(), start_openvpn(target)),
        Error::Malformed { expected: "END", .. } => {
            ("half written".into(), "df says whether the disk is full; is OpenVPN still running?".into())
        }
        Error::Malformed { .. } => (
            "neither version 1, 2 nor 3, nor a client's statistics".into(),
            "name the file that status in OpenVPN's configuration names; status-version 2 is known here".into(),
        ),
        _ => Default::default(),
    }
}

fn start_openvpn(file: &str) -> Phrase {
    format!("start OpenVPN, with status {file} in its configuration").into()
}

/// Who refuses whom, and the command that helps.
fn denied(source: &str, target: &str, environment: &Environment) -> (Phrase, Phrase) {
    let Environment { user, group, access_problem, .. } = environment;
    if source == "sockets" {
        let message = format!("permission denied: {user} may not see the processes of others").into();
        return (message, "run it as root, or give it CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE".into());
    }
    let Some(AccessProblem { path, owner, group: their_group, mode, needed }) = access_problem else {
        return (format!("permission denied to {user}").into(), "".into());
    };
    let place = if path == target { "it" } else { path };
    let message =
        format!("permission denied to {user}: {place} belongs to {owner} and group {their_group}, mode {mode:04o}")
            .into();
    let letters = match needed {
        1 => "x",
        6 => "rw",
        _ => "r",
    };
    let fix = if user == "root" {
        "root is kept out by something else: a sandbox, AppArmor or SELinux (dmesg says)".into()
    } else if their_group != "root" && (mode >> 3) & needed == *needed {
        format!("usermod -aG {their_group} {user}, and start it again").into()
    } else {
        let path = quoted(path);
        let lasting = match source {
            "strongswan" => format!("; to last, charon {{ group = {group} }} in strongswan.conf").into(),
            _ => Phrase::default(),
        };
        format!("chgrp {group} {path} && chmod g+{letters} {path}{lasting}").into()
    };
    (message, fix)
}

/// Who can reach an address.
enum Reach {
    Machine,
    Network,
    World,
}

fn reach(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let is_local = match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    match address.is_loopback() {
        true => Reach::Machine,
        false if is_local => Reach::Network,
        false => Reach::World,
    }
}

fn joined(message: String, more: &str) -> Phrase {
    if more.is_empty() { message.into() } else { format!("{message}: {more}").into() }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A time as a person says it.
fn span(seconds: i64) -> String {
    let units = [("days", 86_400), ("hours", 3600), ("minutes", 60)];
    let (unit, length) = units.into_iter().find(|(_, length)| seconds / length > 1).unwrap_or(("seconds", 1));
    format!("{} {unit}", seconds / length)
}

fn line(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

/// All findings as lines, and the sum of them.
pub fn print(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let _ = write!(text, "{finding}");
    }
    let _ = writeln!(text, "\n{}.", summary(findings).1);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::RuleError;

    fn environment() -> Environment {
        Environment {
            user: "prom".into(),
            group: "prom".into(),
            path: "/usr/bin:/bin".into(),
            ..Environment::default()
        }
    }

    fn blocked(path: &str, group: &str, mode: u32, needed: u32) -> Environment {
        let access_problem =
            AccessProblem { path: path.into(), owner: "root".into(), group: group.into(), mode, needed };
        Environment { access_problem: Some(access_problem), ..environment() }
    }

    const CHARON: &str = "/var/run/charon.vici";
    const FILE: &str = "/run/openvpn/a.status";

    #[test]
    fn what_is_denied_names_who_whose_and_the_command() {
        for (source, target, environment, message, fix) in [
            (
                "strongswan",
                CHARON,
                blocked(CHARON, "vpn", 0o770, 6),
                "permission denied to prom: it belongs to root and group vpn, mode 0770",
                "usermod -aG vpn prom, and start it again",
            ),
            (
                "strongswan",
                CHARON,
                blocked(CHARON, "root", 0o770, 6),
                "permission denied to prom: it belongs to root and group root, mode 0770",
                "chgrp prom /var/run/charon.vici && chmod g+rw /var/run/charon.vici; to last, charon { group = prom } in \
                 strongswan.conf",
            ),
            (
                "openvpn",
                FILE,
                blocked("/run/openvpn", "root", 0o750, 1),
                "permission denied to prom: /run/openvpn belongs to root and group root, mode 0750",
                "chgrp prom /run/openvpn && chmod g+x /run/openvpn",
            ),
            (
                "openvpn",
                "/it's here",
                blocked("/it's here", "vpn", 0o600, 4),
                "permission denied to prom: it belongs to root and group vpn, mode 0600",
                "chgrp prom '/it'\\''s here' && chmod g+r '/it'\\''s here'",
            ),
            (
                "openvpn",
                FILE,
                Environment { user: "root".into(), ..blocked(FILE, "root", 0o600, 4) },
                "permission denied to root: it belongs to root and group root, mode 0600",
                "root is kept out by something else: a sandbox, AppArmor or SELinux (dmesg says)",
            ),
            ("openvpn", FILE, environment(), "permission denied to prom", ""),
            (
                "sockets",
                "/proc/*/fd",
                environment(),
                "permission denied: prom may not see the processes of others",
                "run it as root, or give it CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
            ),
        ] {
            let found = super::target(source, target, Some(&Error::Denied { subject: target.into() }), &environment);
            assert_eq!((&*found.message, &*found.fix), (message, fix), "{source} {target}");
            assert_eq!(found.verdict, Severity::Error);
        }
    }

    #[test]
    fn every_trouble_has_its_words() {
        let running = Environment { charon: true, ..environment() };
        let elsewhere = Environment { elsewhere: Some("/run/strongswan/charon.vici".into()), ..environment() };
        let root = Environment { user: "root".into(), ..environment() };
        let subject = String::from;
        let malformed = |name: &str, expected| Error::Malformed { subject: name.into(), expected, offset: 7 };
        for (source, target, error, environment, message, fix) in [
            (
                "strongswan",
                CHARON,
                Error::NotFound { subject: subject(CHARON) },
                environment(),
                "not found: charon is not running",
                "systemctl start strongswan (",
            ),
            (
                "strongswan",
                CHARON,
                Error::NotFound { subject: subject(CHARON) },
                running.clone(),
                "not found, though charon is running: its plugin vici is not loaded, or its socket is elsewhere",
                "install the plugin (",
            ),
            (
                "strongswan",
                CHARON,
                Error::NotFound { subject: subject(CHARON) },
                elsewhere,
                "not found, but /run/strongswan/charon.vici is there",
                "write vici_socket: /run/strongswan/charon.vici",
            ),
            (
                "strongswan",
                CHARON,
                Error::NotListening { subject: subject(CHARON) },
                environment(),
                "connection refused: charon is gone and left its socket behind",
                "systemctl start strongswan (",
            ),
            (
                "strongswan",
                CHARON,
                Error::TimedOut { subject: subject(CHARON) },
                running,
                "no answer in time: charon hangs",
                "swanctl --stats ",
            ),
            (
                "strongswan",
                CHARON,
                malformed(CHARON, "a packet type"),
                environment(),
                "expected a packet type at byte 7: what answers there does not speak VICI",
                "vici_socket must ",
            ),
            (
                "ipsec",
                "/etc/ipsec.conf",
                Error::NotFound { subject: subject("/etc/ipsec.conf") },
                environment(),
                "not found",
                "write ipsec_config ",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::NotFound { subject: subject("ipsec") },
                environment(),
                "not found: ipsec is not in PATH, which is /usr/bin:/bin",
                "install it (",
            ),
            (
                "ipsec",
                "/x/ipsec statusall",
                Error::NotFound { subject: subject("/x/ipsec") },
                environment(),
                "not found: there is no such command",
                "install it (",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::Refused { subject: subject("ipsec statusall"), why: "exit status: 3".into() },
                environment(),
                "exit status: 3: charon is not running",
                "ipsec start",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::Refused { subject: subject("ipsec statusall"), why: "exit status: 3".into() },
                Environment { charon: true, ..environment() },
                "exit status: 3: charon is running, but ipsec has not started it",
                "leave ipsec_config and ipsec_command out",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::Refused { subject: subject("ipsec statusall"), why: "no".into() },
                environment(),
                "no",
                "run ipsec statusall by hand as prom; ",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::TimedOut { subject: subject("ipsec statusall") },
                root,
                "no answer in time",
                "run ipsec statusall by hand",
            ),
            (
                "ipsec",
                "ipsec statusall",
                malformed("ipsec statusall", "\"Security Associations\""),
                environment(),
                "expected \"Security Associations\" at byte 7: neither strongSwan nor libreswan prints that",
                "install it (",
            ),
            (
                "openvpn",
                FILE,
                Error::NotFound { subject: subject(FILE) },
                environment(),
                "not found: OpenVPN has not written it",
                "start OpenVPN, with status /run/openvpn/a.status in its configuration",
            ),
            (
                "openvpn",
                FILE,
                malformed(FILE, "END"),
                environment(),
                "expected END at byte 7: half written",
                "df says ",
            ),
            (
                "openvpn",
                FILE,
                malformed(FILE, "an OpenVPN status file"),
                environment(),
                "expected an OpenVPN status file at byte 7: neither version 1, 2 nor 3, nor a client's statistics",
                "name the file ",
            ),
            (
                "sockets",
                "db.example.org",
                Error::Io { subject: subject("db.example.org"), why: "no such name".into() },
                environment(),
                "no such name: the rules with that host are not known",
                "getent hosts db.example.org",
            ),
            (
                "kernel",
                "/proc/net/xfrm_stat",
                Error::TooLong { subject: subject("/proc/net/xfrm_stat"), limit: 9 },
                environment(),
                "more than 9 bytes",
                "",
            ),
        ] {
            let found = super::target(source, target, Some(&error), &environment);
            assert_eq!(found.message, message, "{source} {error:?}");
            assert!(found.fix.starts_with(fix) && fix.is_empty() == found.fix.is_empty(), "{found}");
        }
    }

    #[test]
    fn what_is_noticed_has_its_words() {
        let error = RuleError { why: "it is never", fix: "write it well" };
        let subject = || "x".to_owned();
        for (notice, verdict, message) in [
            (
                Notice::Stale { subject: subject(), age: 7400 },
                Severity::Error,
                "stale, not written for 2 hours: OpenVPN has ended, or it hangs",
            ),
            (
                Notice::Rotated { subject: subject(), file: "x.1".into() },
                Severity::Warning,
                "moved away while OpenVPN had it open: it writes to x.1 now",
            ),
            (Notice::NoMatch { subject: subject() }, Severity::Error, "no file matches this pattern"),
            (
                Notice::Unknown { subject: subject(), command: "get-counters" },
                Severity::Warning,
                "charon answers, but not to get-counters",
            ),
            (
                Notice::UnmatchableRule { subject: subject(), error },
                Severity::Error,
                "this rule can never match: it is never",
            ),
        ] {
            let found = super::notice("openvpn", &notice);
            assert_eq!((found.verdict, &*found.message, found.subject.as_str()), (verdict, message, "x"));
            assert!(!found.fix.is_empty());
        }
        for (seconds, message) in [(-5, "-5 seconds"), (119, "119 seconds"), (120, "2 minutes"), (200_000, "2 days")] {
            assert_eq!(span(seconds), message);
        }
    }

    #[test]
    fn a_door_is_as_open_as_its_address() {
        for (address, is_guarded, verdict) in [
            ("0.0.0.0:1", false, Severity::Warning),
            ("[::]:1", false, Severity::Warning),
            ("[::]:1", true, Severity::Ok),
            ("127.0.0.1:1", false, Severity::Ok),
            ("[::1]:1", false, Severity::Ok),
            ("192.168.1.1:1", false, Severity::Ok),
            ("[fd00::1]:1", false, Severity::Ok),
            ("[fe80::1]:1", false, Severity::Ok),
            ("[::ffff:10.0.0.1]:1", false, Severity::Ok),
            ("203.0.113.1:1", false, Severity::Warning),
            ("[2001:db8::1]:1", false, Severity::Warning),
        ] {
            let found = open_listener(address.parse().expect("an address"), is_guarded);
            assert_eq!((found.verdict, found.fix.is_empty()), (verdict, verdict == Severity::Ok), "{address}");
        }
        let taken = Error::AddressInUse { subject: ":1".into() };
        assert_eq!(failed_listener(":1", &taken, true).verdict, Severity::Ok);
        assert_eq!(failed_listener(":1", &taken, false).message, "address already in use: by something else");
        let denied = failed_listener(":1", &Error::Denied { subject: ":1".into() }, false);
        assert_eq!(denied.message, "permission denied: a port below 1024 needs a right");
        let odd = failed_listener(":1", &Error::Io { subject: ":1".into(), why: "odd".into() }, false);
        assert_eq!((&*odd.message, odd.verdict), ("odd", Severity::Error));
    }

    #[test]
    fn what_is_absent_is_no_trouble_and_says_where_charon_is() {
        let found = absent("openvpn", "/a, /b", &environment());
        assert_eq!((found.verdict, &*found.fix), (Severity::Absent, ""));
        assert_eq!(absent("strongswan", CHARON, &environment()).verdict, Severity::Absent);
        let found = absent("strongswan", CHARON, &Environment { charon: true, ..environment() });
        assert!(found.message.contains("vici") && found.fix.contains("vici_socket"), "{found}");
    }

    #[test]
    fn the_sum_is_what_is_worst() {
        let finding = |verdict| Finding { verdict, source: "openvpn", ..Finding::default() };
        let door = Finding { source: LISTENER, ..finding(Severity::Warning) };
        for (findings, verdict, message) in [
            (vec![], Severity::Error, "Nothing is watched"),
            (vec![finding(Severity::Absent), door.clone()], Severity::Error, "Nothing is watched"),
            (vec![finding(Severity::Ok), finding(Severity::Absent)], Severity::Ok, "All is well"),
            (vec![finding(Severity::Ok), door.clone()], Severity::Warning, "All is up, 1 to check"),
            (vec![finding(Severity::Error), finding(Severity::Absent), door], Severity::Error, "1 of 2 down"),
        ] {
            assert_eq!(summary(&findings), (verdict, message.to_owned()));
        }
    }

    #[test]
    fn a_finding_stays_in_its_lines() {
        let finding = Finding {
            verdict: Severity::Error,
            source: "openvpn",
            subject: "/a\nok b".into(),
            message: "odd\u{1b}[2J".into(),
            fix: "mend it".into(),
        };
        assert_eq!(
            print(&[finding]),
            "down   openvpn     /a ok b: odd\u{fffd}[2J\n       to do: mend it\n\n1 of 1 down.\n"
        );
    }
}
