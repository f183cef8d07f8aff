//! The findings about all targets: what works, what does not, and what to do about it.
//!
//! Pure functions: they turn errors and notices of the collectors, and what is known of the machine, into findings.
//! `--doctor` prints them, and the overview page shows them.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

pub use crate::advice::Severity;
use crate::advice::{self, Advice, Phrase};
use crate::collector::Notice;
use crate::error::{Error, ErrorKind};
use crate::sources;
use crate::sys::environment::Environment;
use crate::text::printable;
use crate::watched::Counts;

/// The source name of findings about the exporter's own listening addresses, as the section of the configuration.
pub const LISTENER: &str = "web";

/// What was found about one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The source that it belongs to.
    pub source: &'static str,
    /// The socket, file, command, rule or address.
    pub subject: String,
    /// What was found.
    pub message: Phrase,
    /// What to do; empty where there is nothing to do.
    pub fix: Phrase,
    /// Since when it is so, where that is known.
    pub since: Option<Since>,
    /// The bytes that it received and sent so far, where they are counted.
    pub bytes: Option<[i64; 2]>,
}

/// Since when something is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The unix time.
    pub moment: i64,
    /// Whether it was so already at the first look, so that it may have been for longer.
    pub is_at_least: bool,
}

/// Prints a time for people; it is given, since the findings know no time zone.
pub type InWords = fn(Since) -> String;

impl Finding {
    /// A finding with this advice.
    fn of(source: &'static str, severity: Severity, subject: &str, advice: Advice) -> Self {
        Self { severity, source, subject: subject.into(), message: advice.message, fix: advice.fix, ..Self::default() }
    }

    /// Writes one line, and a second one if there is something to do; text that a peer chose cannot break lines.
    fn write(&self, since: &str, out: &mut String) -> fmt::Result {
        let Self { severity, source, subject, message, fix, .. } = self;
        write!(out, "{:<5}  {source:<10}  {}: {}", severity.word(), line(subject), line(message))?;
        out.write_str(if since.is_empty() { "" } else { ", since " })?;
        writeln!(out, "{since}")?;
        if fix.is_empty() { Ok(()) } else { writeln!(out, "       to do: {}", line(fix)) }
    }

    /// What was found and what to do, without the source.
    pub fn in_one_line(&self) -> String {
        let Self { subject, message, fix, .. } = self;
        format!("{subject}: {message}{}{fix}", if fix.is_empty() { "" } else { "; " })
    }
}

/// The worst severity, and a sentence with the numbers of targets that are down or need attention.
pub fn summary(findings: &[Finding]) -> (Severity, String) {
    let (mut all, mut down, mut warnings, mut is_watching) = (0u32, 0u32, 0u32, false);
    for finding in findings {
        let is = |severity| u32::from(finding.severity == severity);
        all = all.saturating_add(1).saturating_sub(is(Severity::Absent));
        down = down.saturating_add(is(Severity::Error));
        warnings = warnings.saturating_add(is(Severity::Warning));
        is_watching |= finding.severity != Severity::Absent && finding.source != LISTENER;
    }
    if !is_watching {
        return (Severity::Error, "Nothing is watched".into());
    }
    match (down, warnings) {
        (0, 0) => (Severity::Ok, "All is well".into()),
        (0, warnings) => (Severity::Warning, format!("All is up, {warnings} to check")),
        _ => (Severity::Error, format!("{down} of {all} down")),
    }
}

/// The finding about a target.
pub fn target(source: &'static str, subject: &str, error: Option<&Error>, environment: &Environment) -> Finding {
    let (severity, advice) = match error {
        None => (Severity::Ok, Advice::new("answers", "")),
        Some(error) => (Severity::Error, explain(source, subject, error, environment)),
    };
    Finding::of(source, severity, subject, advice)
}

/// The finding about a notice of a source.
pub fn notice(source: &'static str, notice: &Notice) -> Finding {
    Finding::of(source, notice.severity, &notice.subject, notice.advice.clone())
}

/// The finding about a source that was not discovered on this machine; `tried` says where it was looked for.
pub fn absent(source: &'static str, tried: &str, environment: &Environment) -> Finding {
    let advice = sources::named(source).and_then(|source| (source.explain_absence)(environment));
    Finding::of(source, Severity::Absent, tried, advice.unwrap_or_else(|| Advice::new("not on this machine", "")))
}

/// Why a target could not be read, and what to do.
fn explain(source: &str, target: &str, error: &Error, environment: &Environment) -> Advice {
    let explained = sources::named(source).and_then(|source| (source.explain)(target, error, environment));
    explained.unwrap_or_else(|| match &error.kind {
        ErrorKind::Denied => advice::denied(target, environment, ""),
        _ => Advice::of(error, "", ""),
    })
}

/// The finding about a listening address; `is_guarded` says that access is restricted.
pub fn open_listener(address: SocketAddr, is_guarded: bool) -> Finding {
    let ip = address.ip().to_canonical();
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    let ok = |message| (Severity::Ok, message, "");
    let (severity, message, fix) = if is_guarded {
        ok("only allowed networks or users can connect")
    } else if ip.is_loopback() {
        ok("only this machine can connect")
    } else if is_local {
        ok("anyone in its own network can connect")
    } else {
        let fix = "--web.listen-address with the address that Prometheus asks, or web: {allow: [ITS NETWORK]}";
        (Severity::Warning, "anyone who can reach this machine can connect", fix)
    };
    Finding::of(LISTENER, severity, &address.to_string(), Advice::new(message, fix))
}

/// The finding about an address that can't be opened; `is_ours` says that another gateway-exporter listens there.
pub fn failed_listener(address: &str, error: &Error, is_ours: bool) -> Finding {
    let (severity, more, fix) = match &error.kind {
        ErrorKind::AddressInUse if is_ours => (Severity::Ok, "by another gateway-exporter", ""),
        ErrorKind::AddressInUse => {
            (Severity::Error, "by something else", "ss -ltnp says what; --web.listen-address=:9235 is another port")
        }
        ErrorKind::Denied => (
            Severity::Error,
            "a port below 1024 needs a capability",
            "use a port of at least 1024, or give it CAP_NET_BIND_SERVICE",
        ),
        _ if address.starts_with('-') => {
            (Severity::Error, "", "start gateway-exporter.socket with ListenStream=9234, which starts the service")
        }
        _ => (Severity::Error, "", "ip address lists the interfaces and addresses of this machine"),
    };
    Finding::of(LISTENER, severity, address, Advice::of(error, more, fix))
}

/// What [`print`] wrote, with the states in colors for a terminal.
pub fn colored(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let state = [(Severity::Error, "31"), (Severity::Warning, "33"), (Severity::Ok, "32")]
            .into_iter()
            .find_map(|(severity, color)| Some((severity.word(), color, line.strip_prefix(severity.word())?)));
        let _ = match state.filter(|(_, _, rest)| rest.starts_with(' ')) {
            Some((word, color, rest)) => writeln!(out, "\u{1b}[{color}m{word}\u{1b}[0m{rest}"),
            None => writeln!(out, "{line}"),
        };
    }
    out
}

fn line(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

/// All findings as text, those that are not well with since when, followed by the summary.
pub fn print(findings: &[Finding], counts: &Counts, in_words: InWords) -> String {
    let mut text = String::new();
    for finding in findings {
        let since = finding.since.filter(|_| finding.severity > Severity::Absent).map(in_words);
        let _ = finding.write(&since.unwrap_or_default(), &mut text);
    }
    text.push('\n');
    for count in &counts.0 {
        let _ = writeln!(text, "{count}");
    }
    let _ = writeln!(text, "{}.", summary(findings).1);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::environment::AccessProblem;

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
            let found = super::target(source, target, Some(&Error::new(target, ErrorKind::Denied)), &environment);
            assert_eq!((&*found.message, &*found.fix), (message, fix), "{source} {target}");
            assert_eq!(found.severity, Severity::Error);
        }
    }

    #[test]
    fn every_trouble_has_its_words() {
        let running = Environment { is_running: true, ..environment() };
        let elsewhere = Environment { elsewhere: Some("/run/strongswan/charon.vici".into()), ..environment() };
        let root = Environment { user: "root".into(), ..environment() };
        let malformed = |name: &str, expected| Error::new(name, ErrorKind::Malformed { expected, offset: 7 });
        for (source, target, error, environment, message, fix) in [
            (
                "strongswan",
                CHARON,
                Error::new(CHARON, ErrorKind::NotFound),
                environment(),
                "not found: charon is not running",
                "systemctl start strongswan (",
            ),
            (
                "strongswan",
                CHARON,
                Error::new(CHARON, ErrorKind::NotFound),
                running.clone(),
                "not found, though charon is running: its plugin vici is not loaded, or its socket is elsewhere",
                "install the plugin (",
            ),
            (
                "strongswan",
                CHARON,
                Error::new(CHARON, ErrorKind::NotFound),
                elsewhere,
                "not found, but /run/strongswan/charon.vici is there",
                "write vici_socket: /run/strongswan/charon.vici",
            ),
            (
                "strongswan",
                CHARON,
                Error::new(CHARON, ErrorKind::NotListening),
                environment(),
                "connection refused: charon is gone and left its socket behind",
                "systemctl start strongswan (",
            ),
            (
                "strongswan",
                CHARON,
                Error::new(CHARON, ErrorKind::TimedOut),
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
                Error::new("/etc/ipsec.conf", ErrorKind::NotFound),
                environment(),
                "not found",
                "write ipsec_config ",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::new("ipsec", ErrorKind::NotFound),
                environment(),
                "not found: ipsec is not in PATH, which is /usr/bin:/bin",
                "install it (",
            ),
            (
                "ipsec",
                "/x/ipsec statusall",
                Error::new("/x/ipsec", ErrorKind::NotFound),
                environment(),
                "not found: there is no such command",
                "install it (",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::new("ipsec statusall", ErrorKind::Refused { why: "exit status: 3".into() }),
                environment(),
                "exit status: 3: charon is not running",
                "ipsec start",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::new("ipsec statusall", ErrorKind::Refused { why: "exit status: 3".into() }),
                Environment { is_running: true, ..environment() },
                "exit status: 3: charon is running, but ipsec has not started it",
                "leave ipsec_config and ipsec_command out",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::new("ipsec statusall", ErrorKind::Refused { why: "no".into() }),
                environment(),
                "no",
                "run ipsec statusall by hand as prom; ",
            ),
            (
                "ipsec",
                "ipsec statusall",
                Error::new("ipsec statusall", ErrorKind::TimedOut),
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
                Error::new(FILE, ErrorKind::NotFound),
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
                Error::new("db.example.org", ErrorKind::Io { why: "no such name".into() }),
                environment(),
                "no such name: the rules with that host are not known",
                "getent hosts db.example.org",
            ),
            (
                "kernel",
                "/proc/net/xfrm_stat",
                Error::new("/proc/net/xfrm_stat", ErrorKind::TooLong { limit: 9 }),
                environment(),
                "more than 9 bytes",
                "",
            ),
        ] {
            let found = super::target(source, target, Some(&error), &environment);
            assert_eq!(found.message, message, "{source} {error:?}");
            assert!(found.fix.starts_with(fix) && fix.is_empty() == found.fix.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn what_is_noticed_is_found() {
        let advice = Advice::new("odd", "look at it");
        let notice = Notice { severity: Severity::Warning, subject: "x".into(), advice, is_logged: false };
        let found = super::notice("openvpn", &notice);
        let since = Some(Since { moment: 12, is_at_least: true });
        let findings = [Finding { since, ..found.clone() }, found];
        let text = print(&findings, &Counts::default(), |since| format!("at least {}", since.moment));
        assert!(text.starts_with("check  openvpn     x: odd, since at least 12\n       to do: look at it\n"), "{text}");
        assert!(text.contains("\ncheck  openvpn     x: odd\n"), "{text}");
    }

    #[test]
    fn an_address_is_as_open_as_its_network() {
        for (address, is_guarded, severity) in [
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
            assert_eq!((found.severity, found.fix.is_empty()), (severity, severity == Severity::Ok), "{address}");
        }
        let taken = Error::new(":1", ErrorKind::AddressInUse);
        assert_eq!(failed_listener(":1", &taken, true).severity, Severity::Ok);
        assert_eq!(failed_listener(":1", &taken, false).message, "address already in use: by something else");
        let denied = failed_listener(":1", &Error::new(":1", ErrorKind::Denied), false);
        assert_eq!(denied.message, "permission denied: a port below 1024 needs a capability");
        let odd = failed_listener(":1", &Error::new(":1", ErrorKind::Io { why: "odd".into() }), false);
        assert_eq!((&*odd.message, odd.severity), ("odd", Severity::Error));
    }

    #[test]
    fn what_is_absent_is_no_trouble_and_says_where_charon_is() {
        let found = absent("openvpn", "/a, /b", &environment());
        assert_eq!((found.severity, &*found.fix), (Severity::Absent, ""));
        assert_eq!(absent("strongswan", CHARON, &environment()).severity, Severity::Absent);
        let found = absent("strongswan", CHARON, &Environment { is_running: true, ..environment() });
        assert!(found.message.contains("vici") && found.fix.contains("vici_socket"), "{found:?}");
    }

    #[test]
    fn the_sum_is_what_is_worst() {
        let finding = |severity| Finding { severity, source: "openvpn", ..Finding::default() };
        let listener = Finding { source: LISTENER, ..finding(Severity::Warning) };
        for (findings, severity, message) in [
            (vec![], Severity::Error, "Nothing is watched"),
            (vec![finding(Severity::Absent), listener.clone()], Severity::Error, "Nothing is watched"),
            (vec![finding(Severity::Ok), finding(Severity::Absent)], Severity::Ok, "All is well"),
            (vec![finding(Severity::Ok), listener.clone()], Severity::Warning, "All is up, 1 to check"),
            (vec![finding(Severity::Error), finding(Severity::Absent), listener], Severity::Error, "1 of 2 down"),
        ] {
            assert_eq!(summary(&findings), (severity, message.to_owned()));
        }
    }

    #[test]
    fn a_finding_stays_in_its_lines() {
        let finding = Finding {
            severity: Severity::Error,
            source: "openvpn",
            subject: "/a\nok b".into(),
            message: "odd\u{1b}[2J".into(),
            fix: "mend it".into(),
            ..Finding::default()
        };
        assert_eq!(
            print(&[finding], &Counts::default(), |_| String::new()),
            "down   openvpn     /a ok b: odd\u{fffd}[2J\n       to do: mend it\n\n1 of 1 down.\n"
        );
    }

    #[test]
    fn colors_are_for_states_only() {
        let text = "down   a  x: down\n       to do: check it\nok     a  y: up\nokay\n\n1 of 2 down.\n";
        let expected = "\u{1b}[31mdown\u{1b}[0m   a  x: down\n       to do: check it\n\u{1b}[32mok\u{1b}[0m     a  y: up\nokay\n\n1 of 2 down.\n";
        assert_eq!(colored(text), expected);
    }
}
