//! Rules: which sockets should be there, as the configuration writes them.
//!
//! A rule speaks IPv4 or IPv6, as its `protocol` says: `tcp` and `udp` are IPv4.

use std::net::IpAddr;

use regex_lite::Regex;

use super::tables::{ESTABLISHED, Endpoint, States, Table};

/// What a label says where a rule asks for nothing.
const ANY: &str = "*";

const NO_PEER: RuleError = RuleError {
    why: "a socket that listens has no far end, and the rule names one",
    fix: "leave dstHost and dstPort out, or write status: established",
};
const NOT_IPV4: RuleError = RuleError {
    why: "tcp and udp are for IPv4, and the host has no such address",
    fix: "write protocol: tcp6 or udp6",
};
const NOT_IPV6: RuleError = RuleError {
    why: "tcp6 and udp6 are for IPv6, and the host has no such address",
    fix: "write protocol: tcp or udp",
};
const NO_FOLDER: RuleError = RuleError {
    why: "processes are known by their names, without folders",
    fix: "write in process only what stands behind the last slash",
};

/// What keeps every socket from matching a rule, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Why nothing can match.
    pub why: &'static str,
    /// What to write instead.
    pub fix: &'static str,
}

/// What was written for one rule. Nothing, `*` and `any` all match anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// What the rule is called; the one subject that must be there.
    pub name: Option<String>,
    /// The near end's address or host name.
    pub srchost: Option<String>,
    /// The near end's port.
    pub srcport: Option<String>,
    /// The far end's address or host name.
    pub dsthost: Option<String>,
    /// The far end's port.
    pub dstport: Option<String>,
    /// `tcp`, `tcp4`, `tcp6`, `udp`, `udp4` or `udp6`; `tcp` where nothing is written.
    pub protocol: Option<String>,
    /// A regular expression that the whole name of the process matches.
    pub process: Option<String>,
    /// `listen` or `established`.
    pub status: Option<String>,
}

/// One rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) labels: Labels,
    /// The table of its protocol; sockets for IPv6 and IPv4 are in those for IPv6.
    pub(super) table: Table,
    status: Option<Status>,
    local: Side,
    remote: Side,
    pub(super) process: Option<Regex>,
}

/// A rule's fields as they were written, ports as numbers, `*` where nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    pub(super) dsthost: String,
    pub(super) dstport: String,
    pub(super) name: String,
    pub(super) process: String,
    pub(super) protocol: String,
    pub(super) srchost: String,
    pub(super) srcport: String,
    pub(super) status: String,
}

/// The addresses of the host names that rules use, where they are known.
pub type Names = Vec<(String, Vec<IpAddr>)>;

fn addresses<'n>(names: &'n Names, name: &str) -> Option<&'n [IpAddr]> {
    names.iter().find(|(known, _)| known == name).map(|(_, addresses)| addresses.as_slice())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Listen,
    Established,
}

/// What a rule asks of one end.
#[derive(Clone, Debug)]
struct Side {
    host: Host,
    port: Option<u16>,
}

/// What a rule asks of the two ends of a socket, with host names replaced by addresses.
#[derive(Clone, Copy)]
pub(super) struct Ends<'r> {
    pub(super) local: End<'r>,
    pub(super) remote: End<'r>,
}

/// What a rule asks of one end: one of these addresses, and a port; absent ones match anything.
#[derive(Clone, Copy)]
pub(super) struct End<'r> {
    addresses: Option<&'r [IpAddr]>,
    pub(super) port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Address(IpAddr),
    Name(String),
}

/// Two rules are the same where the same was written.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels
    }
}

impl Rule {
    /// Checks what was written. The complaint begins with the field's name in the config.
    pub fn new(spec: &Spec) -> Result<Self, String> {
        let name = spec.name.as_deref().filter(|name| !name.trim().is_empty()).ok_or("name: missing")?;
        let table = table(spec.protocol.as_deref())?;
        let local = side(["srcHost", "srcPort"], &spec.srchost, &spec.srcport)?;
        let remote = side(["dstHost", "dstPort"], &spec.dsthost, &spec.dstport)?;
        Ok(Self {
            labels: labels(name, spec, [&local, &remote].map(|side| side.port)),
            table,
            status: asked(spec.status.as_deref()).map(status).transpose()?,
            local,
            remote,
            process: asked(spec.process.as_deref()).map(pattern).transpose()?,
        })
    }

    /// The host names that must have addresses before the rule can match.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.local, &self.remote].into_iter().filter_map(|side| match &side.host {
            Host::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether the rule asks for a process.
    pub const fn asks_for_process(&self) -> bool {
        self.process.is_some()
    }

    /// What keeps every socket from ever matching the rule, if something does, as far as the addresses of host
    /// names are known.
    pub fn error(&self, names: &Names) -> Option<RuleError> {
        let sides = [&self.local, &self.remote];
        if self.status == Some(Status::Listen) && self.remote.names_a_peer() {
            return Some(NO_PEER);
        }
        if sides.into_iter().any(|side| side.is_of_other(self.table, names)) {
            return Some(if self.table.is_v6() { NOT_IPV6 } else { NOT_IPV4 });
        }
        is_path(&self.labels.process).then_some(NO_FOLDER)
    }

    /// What the rule is called.
    pub fn name(&self) -> &str {
        &self.labels.name
    }

    /// Whether sockets that the rule matches may stand in a table.
    pub fn reads(&self, table: Table) -> bool {
        let for_both = match self.table {
            Table::Tcp | Table::Tcp6 => Table::Tcp6,
            Table::Udp | Table::Udp6 => Table::Udp6,
        };
        self.requires(table) || table == for_both
    }

    /// Whether a table must exist for the rule: on a machine without IPv6 the others don't.
    pub fn requires(&self, table: Table) -> bool {
        table == self.table
    }

    pub(super) fn states(&self, table: Table) -> States {
        match self.status {
            None => States::ALL,
            Some(Status::Listen) => States::one(table.listening()),
            Some(Status::Established) => States::one(ESTABLISHED),
        }
    }

    /// What the rule asks of both ends; absent while a host name of it has no address.
    pub(super) fn ends<'r>(&'r self, names: &'r Names) -> Option<Ends<'r>> {
        Some(Ends { local: self.local.end(names)?, remote: self.remote.end(names)? })
    }
}

impl Side {
    /// Whether a socket without a peer can't match; its far end has no address.
    fn names_a_peer(&self) -> bool {
        let host = match &self.host {
            Host::Any => false,
            Host::Address(address) => !address.is_unspecified(),
            Host::Name(_) => true,
        };
        host || self.port.is_some()
    }

    /// Whether the host is known to have no address of the family of a table.
    fn is_of_other(&self, table: Table, names: &Names) -> bool {
        let fits = |address: &IpAddr| address.is_ipv6() == table.is_v6();
        match &self.host {
            Host::Any => false,
            Host::Address(address) => !fits(address),
            Host::Name(name) => addresses(names, name).is_some_and(|found| !found.iter().any(fits)),
        }
    }

    fn end<'r>(&'r self, names: &'r Names) -> Option<End<'r>> {
        let addresses = match &self.host {
            Host::Any => None,
            Host::Address(address) => Some(std::slice::from_ref(address)),
            Host::Name(name) => Some(addresses(names, name)?),
        };
        Some(End { addresses, port: self.port })
    }
}

impl End<'_> {
    pub(super) fn matches(&self, end: Endpoint) -> bool {
        self.port.is_none_or(|port| port == end.port)
            && self.addresses.is_none_or(|addresses| addresses.contains(&end.address))
    }
}

/// What a field asks for, if anything.
fn asked(field: Option<&str>) -> Option<&str> {
    field.filter(|text| {
        let text = text.trim();
        !(text.is_empty() || text == ANY || text.eq_ignore_ascii_case("any"))
    })
}

fn labels(name: &str, spec: &Spec, ports: [Option<u16>; 2]) -> Labels {
    let [srcport, dstport] = ports.map(|port| port.map_or_else(|| ANY.to_owned(), |port| port.to_string()));
    let written = |field: &Option<String>| asked(field.as_deref()).unwrap_or(ANY).to_owned();
    Labels {
        dsthost: written(&spec.dsthost),
        dstport,
        name: name.to_owned(),
        process: written(&spec.process),
        protocol: spec.protocol.clone().filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "tcp".into()),
        srchost: written(&spec.srchost),
        srcport,
        status: written(&spec.status),
    }
}

fn table(protocol: Option<&str>) -> Result<Table, String> {
    let text = protocol.unwrap_or_default().trim();
    match text.to_ascii_lowercase().as_str() {
        "" | "tcp" | "tcp4" => Ok(Table::Tcp),
        "tcp6" => Ok(Table::Tcp6),
        "udp" | "udp4" => Ok(Table::Udp),
        "udp6" => Ok(Table::Udp6),
        _ => Err(format!("protocol: {text:?} is none of tcp, tcp4, tcp6, udp, udp4, udp6")),
    }
}

fn status(text: &str) -> Result<Status, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "listen" => Ok(Status::Listen),
        "established" => Ok(Status::Established),
        _ => Err(format!("status: {text:?} is neither \"listen\" nor \"established\"")),
    }
}

fn side(fields: [&str; 2], host: &Option<String>, port: &Option<String>) -> Result<Side, String> {
    let [host_field, port_field] = fields;
    let host = asked(host.as_deref()).map_or(Some(Host::Any), host_of).ok_or_else(|| {
        let host = host.as_deref().unwrap_or_default();
        format!("{host_field}: {host:?} is neither an address nor a host name")
    })?;
    let port = match asked(port.as_deref()) {
        None => None,
        Some(port) => Some(port_of(port).ok_or_else(|| format!("{port_field}: {port:?} is not a port"))?),
    };
    // As in the original, 0 is no port.
    Ok(Side { host, port: port.filter(|port| *port > 0) })
}

fn port_of(text: &str) -> Option<u16> {
    let digits = text.trim();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// An address, with or without brackets, or what may be a host name.
fn host_of(text: &str) -> Option<Host> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    // The tables don't tell which interface a link-local address belongs to.
    let address = bare.unwrap_or(text).split_once('%').map_or(bare.unwrap_or(text), |(address, _)| address);
    if let Ok(address) = address.parse::<IpAddr>() {
        let fits = bare.is_none() || address.is_ipv6();
        return fits.then(|| Host::Address(address.to_canonical()));
    }
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let named = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // A name that ends in a number is a mistyped address.
    (named && !last.bytes().all(|byte| byte.is_ascii_digit())).then(|| Host::Name(text.into()))
}

/// Whether a process pattern is a plain path.
fn is_path(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

fn pattern(text: &str) -> Result<Regex, String> {
    // Alone first: `a)|(b` would be a pattern once it stands in a group.
    Regex::new(text)
        .and_then(|_| Regex::new(&format!("^(?:{text})$")))
        .map_err(|error| format!("process: {text:?} is not a regular expression: {error}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_rule_that_can_never_match_says_why() {
        let names = Names::from([
            ("v4.example".into(), vec!["192.0.2.1".parse().unwrap()]),
            ("v6.example".into(), vec!["2001:db8::1".parse().unwrap()]),
            ("both.example".into(), vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
        ]);
        for (text, error) in [
            ("sport=22 status=listen", None),
            ("sport=22 status=listen src=192.0.2.1", None),
            ("status=listen dport=0 dst=0.0.0.0", None),
            ("status=listen dport=5432", Some(NO_PEER)),
            ("status=listen dst=192.0.2.1", Some(NO_PEER)),
            ("status=listen dst=both.example", Some(NO_PEER)),
            ("status=established dst=192.0.2.1 dport=5432", None),
            ("src=2001:db8::1", Some(NOT_IPV4)),
            ("dst=:: protocol=udp", Some(NOT_IPV4)),
            ("src=::ffff:192.0.2.1", None),
            ("src=::ffff:192.0.2.1 protocol=tcp6", Some(NOT_IPV6)),
            ("src=0.0.0.0 protocol=udp6", Some(NOT_IPV6)),
            ("dst=v4.example", None),
            ("dst=v6.example", Some(NOT_IPV4)),
            ("dst=both.example protocol=tcp6", None),
            ("dst=v4.example protocol=tcp6", Some(NOT_IPV6)),
            ("dst=not-known.example protocol=tcp6", None),
            ("process=/usr/sbin/sshd", Some(NO_FOLDER)),
            ("process=sshd|/usr/sbin/sshd", None),
            ("process=sshd", None),
        ] {
            let rule = Rule::new(&spec(text)).expect(text);
            assert_eq!(rule.error(&names), error, "{text}");
        }
    }

    /// A rule from `field=value` words; it is called `r`.
    fn spec(text: &str) -> Spec {
        let mut spec = Spec { name: Some("r".into()), ..Spec::default() };
        for (field, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            let slot = match field {
                "name" => &mut spec.name,
                "src" => &mut spec.srchost,
                "sport" => &mut spec.srcport,
                "dst" => &mut spec.dsthost,
                "dport" => &mut spec.dstport,
                "protocol" => &mut spec.protocol,
                "process" => &mut spec.process,
                "status" => &mut spec.status,
                _ => panic!("{field}"),
            };
            *slot = Some(value.into());
        }
        spec
    }

    pub(in crate::sockets) fn rule(text: &str) -> Rule {
        Rule::new(&spec(text)).expect("a rule")
    }

    #[test]
    fn a_complaint_names_the_field_and_the_value() {
        for (text, complaint) in [
            ("sport=http", "srcPort: \"http\" is not a port"),
            ("dport=65536", "dstPort: \"65536\" is not a port"),
            ("dport=+1", "dstPort: \"+1\" is not a port"),
            ("status=open", "status: \"open\" is neither \"listen\" nor \"established\""),
            ("protocol=sctp", "protocol: \"sctp\" is none of tcp, tcp4, tcp6, udp, udp4, udp6"),
            ("src=10.0.0.300", "srcHost: \"10.0.0.300\" is neither an address nor a host name"),
            ("dst=10.0.0.0/8", "dstHost: \"10.0.0.0/8\" is neither an address nor a host name"),
            ("dst=[192.0.2.1]", "dstHost: \"[192.0.2.1]\" is neither an address nor a host name"),
            ("name=", "name: missing"),
        ] {
            assert_eq!(Rule::new(&spec(text)).unwrap_err(), complaint, "{text}");
        }
        assert_eq!(Rule::new(&Spec::default()).unwrap_err(), "name: missing");
        for text in ["process=(", "process=a)|(b", "process=*x"] {
            let complaint = Rule::new(&spec(text)).unwrap_err();
            assert!(
                complaint.starts_with("process: \"") && complaint.contains("is not a regular expression: "),
                "{text}"
            );
            assert!(!complaint.contains('\n'), "{complaint:?}");
        }
    }

    #[test]
    fn labels_are_what_was_written_and_ports_are_numbers() {
        let any = |text: &str| text.to_owned();
        let labels =
            rule("src=ANY sport=* dst=2001:0DB8::1 dport=022 status=Listen process=ssh.* protocol=TCP6").labels;
        let expected = Labels {
            dsthost: any("2001:0DB8::1"),
            dstport: any("22"),
            name: any("r"),
            process: any("ssh.*"),
            protocol: any("TCP6"),
            srchost: any("*"),
            srcport: any("*"),
            status: any("Listen"),
        };
        assert_eq!(labels, expected);
        let labels = rule("sport=0 dport=00").labels;
        assert_eq!([labels.srcport, labels.dstport], ["*", "*"], "0 asks for no port");
        let labels = rule("src= process=any").labels;
        assert_eq!([&labels.srchost, &labels.process, &labels.protocol, &labels.status], ["*", "*", "tcp", "*"]);
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        let address = |text: &str| Host::Address(text.parse().unwrap());
        for (text, host) in [
            ("192.0.2.1", address("192.0.2.1")),
            ("::ffff:192.0.2.1", address("192.0.2.1")),
            ("[::ffff:192.0.2.1]", address("192.0.2.1")),
            ("2001:0DB8:0:0:0:0:0:10", address("2001:db8::10")),
            ("[::]", address("::")),
            ("fe80::1%eth0", address("fe80::1")),
            ("gw.example.org.", Host::Name("gw.example.org.".into())),
            ("host_1", Host::Name("host_1".into())),
        ] {
            assert_eq!(host_of(text), Some(host), "{text}");
        }
        for text in ["192.0.2", "7", ".", "a b", "gw:22", "[gw]", "::1::", "\u{e4}.example.org"] {
            assert_eq!(host_of(text), None, "{text}");
        }
        let both = rule("src=a.example dst=b.example");
        assert_eq!(both.names().collect::<Vec<_>>(), ["a.example", "b.example"]);
    }
}
