//! The doctor: what is right with what is watched, what is wrong, and what to do about it, in plain words.
//!
//! Pure. The errors and notices of a round of the collectors come in, with what the machine says around them, and
//! findings go out; `--doctor` prints them and the landing page shows them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use crate::collector::{Error, Notice};
use crate::source::scene::{Barrier, Scene};
use crate::text::printable;
use crate::wireguard;

/// The source's word for where it listens itself: the section of the configuration.
pub const DOOR: &str = "web";

/// How something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    #[default]
    Good,
    /// Not on this machine, and nobody asked for it.
    Absent,
    /// It works; somebody should look at it all the same.
    Care,
    /// It does not work.
    Bad,
}

/// Words that are mostly written here.
pub type Words = Cow<'static, str>;

/// What was found out about one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// The source that it belongs to.
    pub source: &'static str,
    /// The socket, file, command, rule or address.
    pub thing: String,
    /// What was found.
    pub words: Words,
    /// What to do; empty where there is nothing to do.
    pub remedy: Words,
}

impl Verdict {
    /// One word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Absent => "none",
            Self::Care => "check",
            Self::Bad => "down",
        }
    }
}

impl fmt::Display for Finding {
    /// A line, and one below it for what to do; nothing that a peer chose leaves its line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, source, thing, words, remedy } = self;
        writeln!(out, "{:<5}  {source:<10}  {}: {}", verdict.word(), line(thing), line(words))?;
        if remedy.is_empty() { Ok(()) } else { writeln!(out, "       to do: {}", line(remedy)) }
    }
}

/// How many things are down and how many want a look, in words.
pub fn summary(findings: &[Finding]) -> (Verdict, String) {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (down, care) = (count(Verdict::Bad), count(Verdict::Care));
    let all = findings.len().saturating_sub(count(Verdict::Absent));
    if findings.iter().all(|finding| finding.verdict == Verdict::Absent || finding.source == DOOR) {
        return (Verdict::Bad, "Nothing is watched".into());
    }
    match (down, care) {
        (0, 0) => (Verdict::Good, "All is well".into()),
        (0, care) => (Verdict::Care, format!("All is up, {care} to check")),
        _ => (Verdict::Bad, format!("{down} of {all} down")),
    }
}

/// What was found out about a target of a source.
pub fn target(source: &'static str, thing: &str, error: Option<&Error>, scene: &Scene) -> Finding {
    let (verdict, words, remedy) = match error {
        None => (Verdict::Good, "answers".into(), "".into()),
        Some(error) => {
            let (words, remedy) = explain(source, thing, error, scene);
            (Verdict::Bad, words, remedy)
        }
    };
    Finding { verdict, source, thing: thing.into(), words, remedy }
}

/// What was found out about what a source noticed.
pub fn notice(source: &'static str, notice: &Notice) -> Finding {
    let (verdict, thing, words, remedy) = match notice {
        Notice::Stale { thing, age } => (
            Verdict::Bad,
            thing,
            format!("stale, not written for {}: OpenVPN has ended, or it hangs", span(*age)).into(),
            "systemctl status 'openvpn*'; where it is written seldom, stale_after says how old it may be".into(),
        ),
        Notice::NoMatch { thing } => {
            (Verdict::Bad, thing, "no file matches this pattern".into(), start_openvpn("a file that matches"))
        }
        Notice::Unknown { thing, command } => (
            Verdict::Care,
            thing,
            format!("charon answers, but not to {command}").into(),
            "load its plugin counters, or leave them out: metrics: {without: [events]}".into(),
        ),
        Notice::Never { thing, flaw } => {
            (Verdict::Bad, thing, format!("this rule can never match: {}", flaw.why).into(), flaw.remedy.into())
        }
    };
    Finding { verdict, source, thing: thing.clone(), words, remedy }
}

/// What was found out about a source that is not on this machine, where nothing is configured; `tried` says where it
/// was looked for. A charon without the socket may be meant for the `ipsec` command, so that it is no trouble either.
pub fn absent(source: &'static str, tried: &str, scene: &Scene) -> Finding {
    let mut finding = Finding { verdict: Verdict::Absent, source, thing: tried.into(), ..Finding::default() };
    finding.words = "not on this machine".into();
    if source == "strongswan" && (scene.charon || scene.elsewhere.is_some()) {
        (finding.words, finding.remedy) = no_socket(scene);
    }
    finding
}

/// What was found out about an address that can be listened on; `is_guarded` says that not everybody may ask there.
pub fn open_door(address: SocketAddr, is_guarded: bool) -> Finding {
    let (verdict, words, remedy) = match reach(address.ip()) {
        _ if is_guarded => (Verdict::Good, "only who is allowed may ask", ""),
        Reach::Machine => (Verdict::Good, "only this machine may ask", ""),
        Reach::Network => (Verdict::Good, "everybody in its own network may ask", ""),
        Reach::World => (
            Verdict::Care,
            "everybody who reaches this machine may ask",
            "--web.listen-address with the address that Prometheus asks, or web: {allow: [ITS NETWORK]}",
        ),
    };
    Finding { verdict, source: DOOR, thing: address.to_string(), words: words.into(), remedy: remedy.into() }
}

/// What was found out about an address that can't be listened on; `is_ours` says that a gateway-exporter answers there.
pub fn shut_door(address: &str, error: &Error, is_ours: bool) -> Finding {
    let (verdict, more, remedy) = match error {
        Error::Taken { .. } if is_ours => (Verdict::Good, "by a gateway-exporter", ""),
        Error::Taken { .. } => {
            (Verdict::Bad, "by something else", "ss -ltnp says what; --web.listen-address=:9235 is another port")
        }
        Error::Denied { .. } => (
            Verdict::Bad,
            "a port below 1024 needs a right",
            "choose a port from 1024 on, or give it CAP_NET_BIND_SERVICE",
        ),
        _ => (Verdict::Bad, "", "ip address lists the interfaces and addresses of this machine"),
    };
    let words = joined(why(error), more);
    Finding { verdict, source: DOOR, thing: address.into(), words, remedy: remedy.into() }
}

/// Why a target could not be read, and what to do.
fn explain(source: &str, target: &str, error: &Error, scene: &Scene) -> (Words, Words) {
    if let ("wireguard", Some(advice)) = (source, wireguard::advice::explain(target, error)) {
        return advice;
    }
    let why = why(error);
    if matches!(error, Error::Denied { .. }) && (source != "ipsec" || error.thing() == target) {
        return denied(source, target, scene);
    }
    let (more, remedy) = match source {
        "strongswan" => match error {
            Error::NotFound { .. } if target.starts_with('/') => return no_socket(scene),
            _ => charon(error, scene),
        },
        "ipsec" => ipsec(target, error, scene),
        "openvpn" => openvpn(target, error),
        "sockets" if !target.starts_with('/') => {
            ("the rules with that host are not known".into(), format!("getent hosts {}", quoted(target)).into())
        }
        _ => Default::default(),
    };
    (joined(why, &more), remedy)
}

/// An error without the name of its thing, which stands beside it already.
fn why(error: &Error) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix(error.thing()).and_then(|rest| rest.strip_prefix(": ")).map(str::to_owned);
    rest.unwrap_or(text)
}

fn no_socket(scene: &Scene) -> (Words, Words) {
    match (&scene.elsewhere, scene.charon) {
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

fn charon(error: &Error, scene: &Scene) -> (Words, Words) {
    match error {
        Error::Deaf { .. } if !scene.charon => {
            ("charon is gone and left its socket behind".into(), START_CHARON.into())
        }
        Error::TimedOut { .. } => {
            ("charon hangs".into(), "swanctl --stats shows whether it answers others; if not, restart it".into())
        }
        Error::Malformed { .. } | Error::TooLong { .. } => (
            "what answers there does not speak VICI".into(),
            "vici_socket must name the socket of charon's plugin vici".into(),
        ),
        _ => Default::default(),
    }
}

fn ipsec(target: &str, error: &Error, scene: &Scene) -> (Words, Words) {
    let command = error.thing();
    match error {
        Error::NotFound { .. } if command == target => (
            "".into(),
            "write ipsec_config as it is called here; with swanctl.conf there is none, and strongswan is the source"
                .into(),
        ),
        Error::NotFound { .. } if command.contains('/') => ("there is no such command".into(), IPSEC_COMMAND.into()),
        Error::NotFound { .. } => {
            (format!("{command} is not in PATH, which is {}", scene.path).into(), IPSEC_COMMAND.into())
        }
        // What the command ends with where charon does not run, as init scripts do.
        Error::Refused { why, .. } if why == "exit status: 3" => ("charon is not running".into(), "ipsec start".into()),
        Error::Refused { .. } | Error::TimedOut { .. } => {
            let sudo = match scene.user.as_str() {
                "root" => "",
                _ => "; where only root may, add --enable.sudo and a rule in sudoers",
            };
            ("".into(), format!("run {target} by hand as {}{sudo}", scene.user).into())
        }
        Error::Malformed { .. } if command.contains(' ') => {
            ("neither strongSwan nor libreswan prints that".into(), IPSEC_COMMAND.into())
        }
        _ => Default::default(),
    }
}

const IPSEC_COMMAND: &str = "install it (Debian: strongswan-starter or libreswan), or say where it is: \
                             ipsec_command: [/usr/sbin/ipsec, statusall]";

fn openvpn(target: &str, error: &Error) -> (Words, Words) {
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

fn start_openvpn(file: &str) -> Words {
    format!("start OpenVPN, with status {file} in its configuration").into()
}

/// Who refuses whom, and the command that helps.
fn denied(source: &str, target: &str, scene: &Scene) -> (Words, Words) {
    let Scene { user, group, barrier, .. } = scene;
    if source == "sockets" {
        let words = format!("permission denied: {user} may not see the processes of others").into();
        return (words, "run it as root, or give it CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE".into());
    }
    let Some(Barrier { path, owner, group: theirs, mode, needed }) = barrier else {
        return (format!("permission denied to {user}").into(), "".into());
    };
    let place = if path == target { "it" } else { path };
    let words =
        format!("permission denied to {user}: {place} belongs to {owner} and group {theirs}, mode {mode:04o}").into();
    let letters = match needed {
        1 => "x",
        6 => "rw",
        _ => "r",
    };
    let remedy = if user == "root" {
        "root is kept out by something else: a sandbox, AppArmor or SELinux (dmesg says)".into()
    } else if theirs != "root" && (mode >> 3) & needed == *needed {
        format!("usermod -aG {theirs} {user}, and start it again").into()
    } else {
        let path = quoted(path);
        let lasting = match source {
            "strongswan" => format!("; to last, charon {{ group = {group} }} in strongswan.conf").into(),
            _ => Words::default(),
        };
        format!("chgrp {group} {path} && chmod g+{letters} {path}{lasting}").into()
    };
    (words, remedy)
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

fn joined(words: String, more: &str) -> Words {
    if more.is_empty() { words.into() } else { format!("{words}: {more}").into() }
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
    use crate::collector::Flaw;

    fn scene() -> Scene {
        Scene { user: "prom".into(), group: "prom".into(), path: "/usr/bin:/bin".into(), ..Scene::default() }
    }

    fn blocked(path: &str, group: &str, mode: u32, needed: u32) -> Scene {
        let barrier = Barrier { path: path.into(), owner: "root".into(), group: group.into(), mode, needed };
        Scene { barrier: Some(barrier), ..scene() }
    }

    const CHARON: &str = "/var/run/charon.vici";
    const FILE: &str = "/run/openvpn/a.status";

    #[test]
    fn what_is_denied_names_who_whose_and_the_command() {
        for (source, target, scene, words, remedy) in [
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
                Scene { user: "root".into(), ..blocked(FILE, "root", 0o600, 4) },
                "permission denied to root: it belongs to root and group root, mode 0600",
                "root is kept out by something else: a sandbox, AppArmor or SELinux (dmesg says)",
            ),
            ("openvpn", FILE, scene(), "permission denied to prom", ""),
            (
                "sockets",
                "/proc/*/fd",
                scene(),
                "permission denied: prom may not see the processes of others",
                "run it as root, or give it CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
            ),
        ] {
            let found = super::target(source, target, Some(&Error::Denied { thing: target.into() }), &scene);
            assert_eq!((&*found.words, &*found.remedy), (words, remedy), "{source} {target}");
            assert_eq!(found.verdict, Verdict::Bad);
        }
    }

    #[test]
    fn every_trouble_has_its_words() {
        let running = Scene { charon: true, ..scene() };
        let elsewhere = Scene { elsewhere: Some("/run/strongswan/charon.vici".into()), ..scene() };
        let root = Scene { user: "root".into(), ..scene() };
        let thing = String::from;
        let malformed = |name: &str, expected| Error::Malformed { thing: name.into(), expected, offset: 7 };
        for (source, target, error, scene, words, remedy) in [
            (
                "strongswan",
                CHARON,
                Error::NotFound { thing: thing(CHARON) },
                scene(),
                "not found: charon is not running",
                "systemctl start strongswan (",
            ),
            (
                "strongswan",
                CHARON,
                Error::NotFound { thing: thing(CHARON) },
                running.clone(),
                "not found, though charon is running: its plugin vici is not loaded, or its socket is elsewhere",
                "install the plugin (",
            ),
            (
                "strongswan",
                CHARON,
                Error::NotFound { thing: thing(CHARON) },
                elsewhere,
                "not found, but /run/strongswan/charon.vici is there",
                "write vici_socket: /run/strongswan/charon.vici",
            ),
            (
                "strongswan",
                CHARON,
                Error::Deaf { thing: thing(CHARON) },
                scene(),
                "connection refused: charon is gone and left its socket behind",
                "systemctl start strongswan (",
            ),
            (
                "strongswan",
                CHARON,
                Error::TimedOut { thing: thing(CHARON) },
                running,
                "no answer in time: charon hangs",
                "swanctl --stats ",
            ),
            (
                "strongswan",
                CHARON,
                malformed(CHARON, "a packet type"),
                scene(),
                "expected a packet type at byte 7: what answers there does not speak VICI",
                "vici_socket must ",
            ),
            (
                "ipsec",
                "/etc/ipsec.conf",
                Error::NotFound { thing: thing("/etc/ipsec.conf") },
                scene(),
                "not found",
                "write ipsec_config ",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::NotFound { thing: thing("ipsec") },
                scene(),
                "not found: ipsec is not in PATH, which is /usr/bin:/bin",
                "install it (",
            ),
            (
                "ipsec",
                "/x/ipsec statusall",
                Error::NotFound { thing: thing("/x/ipsec") },
                scene(),
                "not found: there is no such command",
                "install it (",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::Refused { thing: thing("ipsec statusall"), why: "exit status: 3".into() },
                scene(),
                "exit status: 3: charon is not running",
                "ipsec start",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::Refused { thing: thing("ipsec statusall"), why: "no".into() },
                scene(),
                "no",
                "run ipsec statusall by hand as prom; ",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::TimedOut { thing: thing("ipsec statusall") },
                root,
                "no answer in time",
                "run ipsec statusall by hand",
            ),
            (
                "ipsec",
                "ipsec statusall",
                malformed("ipsec statusall", "\"Security Associations\""),
                scene(),
                "expected \"Security Associations\" at byte 7: neither strongSwan nor libreswan prints that",
                "install it (",
            ),
            (
                "openvpn",
                FILE,
                Error::NotFound { thing: thing(FILE) },
                scene(),
                "not found: OpenVPN has not written it",
                "start OpenVPN, with status /run/openvpn/a.status in its configuration",
            ),
            ("openvpn", FILE, malformed(FILE, "END"), scene(), "expected END at byte 7: half written", "df says "),
            (
                "openvpn",
                FILE,
                malformed(FILE, "an OpenVPN status file"),
                scene(),
                "expected an OpenVPN status file at byte 7: neither version 1, 2 nor 3, nor a client's statistics",
                "name the file ",
            ),
            (
                "sockets",
                "db.example.org",
                Error::Io { thing: thing("db.example.org"), why: "no such name".into() },
                scene(),
                "no such name: the rules with that host are not known",
                "getent hosts db.example.org",
            ),
            (
                "kernel",
                "/proc/net/xfrm_stat",
                Error::TooLong { thing: thing("/proc/net/xfrm_stat"), limit: 9 },
                scene(),
                "more than 9 bytes",
                "",
            ),
        ] {
            let found = super::target(source, target, Some(&error), &scene);
            assert_eq!(found.words, words, "{source} {error:?}");
            assert!(found.remedy.starts_with(remedy) && remedy.is_empty() == found.remedy.is_empty(), "{found}");
        }
    }

    #[test]
    fn what_is_noticed_has_its_words() {
        let flaw = Flaw { why: "it is never", remedy: "write it well" };
        let thing = || "x".to_owned();
        for (notice, verdict, words) in [
            (
                Notice::Stale { thing: thing(), age: 7400 },
                Verdict::Bad,
                "stale, not written for 2 hours: OpenVPN has ended, or it hangs",
            ),
            (Notice::NoMatch { thing: thing() }, Verdict::Bad, "no file matches this pattern"),
            (
                Notice::Unknown { thing: thing(), command: "get-counters" },
                Verdict::Care,
                "charon answers, but not to get-counters",
            ),
            (Notice::Never { thing: thing(), flaw }, Verdict::Bad, "this rule can never match: it is never"),
        ] {
            let found = super::notice("openvpn", &notice);
            assert_eq!((found.verdict, &*found.words, found.thing.as_str()), (verdict, words, "x"));
            assert!(!found.remedy.is_empty());
        }
        for (seconds, words) in [(-5, "-5 seconds"), (119, "119 seconds"), (120, "2 minutes"), (200_000, "2 days")] {
            assert_eq!(span(seconds), words);
        }
    }

    #[test]
    fn a_door_is_as_open_as_its_address() {
        for (address, is_guarded, verdict) in [
            ("0.0.0.0:1", false, Verdict::Care),
            ("[::]:1", false, Verdict::Care),
            ("[::]:1", true, Verdict::Good),
            ("127.0.0.1:1", false, Verdict::Good),
            ("[::1]:1", false, Verdict::Good),
            ("192.168.1.1:1", false, Verdict::Good),
            ("[fd00::1]:1", false, Verdict::Good),
            ("[fe80::1]:1", false, Verdict::Good),
            ("[::ffff:10.0.0.1]:1", false, Verdict::Good),
            ("203.0.113.1:1", false, Verdict::Care),
            ("[2001:db8::1]:1", false, Verdict::Care),
        ] {
            let found = open_door(address.parse().expect("an address"), is_guarded);
            assert_eq!((found.verdict, found.remedy.is_empty()), (verdict, verdict == Verdict::Good), "{address}");
        }
        let taken = Error::Taken { thing: ":1".into() };
        assert_eq!(shut_door(":1", &taken, true).verdict, Verdict::Good);
        assert_eq!(shut_door(":1", &taken, false).words, "address already in use: by something else");
        let denied = shut_door(":1", &Error::Denied { thing: ":1".into() }, false);
        assert_eq!(denied.words, "permission denied: a port below 1024 needs a right");
        let odd = shut_door(":1", &Error::Io { thing: ":1".into(), why: "odd".into() }, false);
        assert_eq!((&*odd.words, odd.verdict), ("odd", Verdict::Bad));
    }

    #[test]
    fn what_is_absent_is_no_trouble_and_says_where_charon_is() {
        let found = absent("openvpn", "/a, /b", &scene());
        assert_eq!((found.verdict, &*found.remedy), (Verdict::Absent, ""));
        assert_eq!(absent("strongswan", CHARON, &scene()).verdict, Verdict::Absent);
        let found = absent("strongswan", CHARON, &Scene { charon: true, ..scene() });
        assert!(found.words.contains("vici") && found.remedy.contains("vici_socket"), "{found}");
    }

    #[test]
    fn the_sum_is_what_is_worst() {
        let finding = |verdict| Finding { verdict, source: "openvpn", ..Finding::default() };
        let door = Finding { source: DOOR, ..finding(Verdict::Care) };
        for (findings, verdict, words) in [
            (vec![], Verdict::Bad, "Nothing is watched"),
            (vec![finding(Verdict::Absent), door.clone()], Verdict::Bad, "Nothing is watched"),
            (vec![finding(Verdict::Good), finding(Verdict::Absent)], Verdict::Good, "All is well"),
            (vec![finding(Verdict::Good), door.clone()], Verdict::Care, "All is up, 1 to check"),
            (vec![finding(Verdict::Bad), finding(Verdict::Absent), door], Verdict::Bad, "1 of 2 down"),
        ] {
            assert_eq!(summary(&findings), (verdict, words.to_owned()));
        }
    }

    #[test]
    fn a_finding_stays_in_its_lines() {
        let finding = Finding {
            verdict: Verdict::Bad,
            source: "openvpn",
            thing: "/a\nok b".into(),
            words: "odd\u{1b}[2J".into(),
            remedy: "mend it".into(),
        };
        assert_eq!(
            print(&[finding]),
            "down   openvpn     /a ok b: odd\u{fffd}[2J\n       to do: mend it\n\n1 of 1 down.\n"
        );
    }
}
