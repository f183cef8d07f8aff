//! Rules: which sockets should be there, and how many of a table's rows each rule sees.
//!
//! A rule speaks IPv4 or IPv6. A socket of the IPv6 tables counts as IPv4 where its addresses
//! are v4-mapped, and as both where it listens on `::` and is not known to be for IPv6 only.

use std::net::{IpAddr, Ipv4Addr};

use regex_lite::Regex;

use crate::collector::Flaw;

use super::census::Census;
use super::procnet::{ESTABLISHED, Endian, Endpoint, Row, States, Table, rows};

/// What a label says where a rule asks for nothing.
const ANY: &str = "*";

/// The most claims that are kept, a few megabytes; rules with more are not known.
const CLAIM_LIMIT: usize = 256 * 1024;

const NO_PEER: Flaw = Flaw {
    why: "a socket that listens has no far end, and the rule names one",
    remedy: "leave dstHost and dstPort out, or write status: established",
};
const NO_PORT: Flaw = Flaw { why: "no socket has port 0", remedy: "write its port, or leave port out" };
const NOT_IPV4: Flaw =
    Flaw { why: "tcp and udp are for IPv4, and the host has no such address", remedy: "write protocol: tcp6 or udp6" };
const NOT_IPV6: Flaw =
    Flaw { why: "tcp6 and udp6 are for IPv6, and the host has no such address", remedy: "write protocol: tcp or udp" };
const NO_FOLDER: Flaw = Flaw {
    why: "processes are known by their names, without folders",
    remedy: "write in process only what stands behind the last slash",
};

/// What was written for one rule. Nothing, `*` and `any` all match anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// What the rule is called; the one thing that must be there.
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
    labels: Labels,
    transport: Transport,
    family: Family,
    status: Option<Status>,
    local: Side,
    remote: Side,
    process: Option<Regex>,
}

/// A rule's fields as they were written, `*` where nothing was.
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
enum Transport {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Address(IpAddr),
    Name(String),
}

/// What was found so far, for every rule.
#[derive(Clone)]
pub struct Tally<'r> {
    findings: Vec<Finding<'r>>,
    claims: Vec<Claim>,
    /// Whether claims were left out for their number.
    overflowed: bool,
}

/// What was found for one rule.
#[derive(Clone)]
pub struct Finding<'r> {
    rule: &'r Rule,
    /// Absent while a host name of the rule has no address.
    filter: Option<Filter<'r>>,
    matched: usize,
    /// Whether everything was seen that the rule could match.
    certain: bool,
}

/// A rule with its host names replaced by addresses; absent addresses match anything.
#[derive(Clone, Copy)]
struct Filter<'r> {
    local: (Option<&'r [IpAddr]>, Option<u16>),
    remote: (Option<&'r [IpAddr]>, Option<u16>),
}

/// A socket that a rule matches if the right process holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    inode: u64,
    rule: usize,
    settled: bool,
}

/// How many lines of a table were sockets, and how many were not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Sockets, whether a rule saw them or not.
    pub understood: usize,
    /// Neither a socket nor the header.
    pub skipped: usize,
    /// The sockets by state.
    pub census: Census,
}

/// The sockets whose process decides, while processes are asked.
pub struct Claims<'t, 'r> {
    tally: &'t mut Tally<'r>,
    /// How many claims of each rule are open.
    open: Vec<usize>,
}

impl Rule {
    /// Checks what was written. The complaint begins with the field's name in the config.
    pub fn new(spec: &Spec) -> Result<Self, String> {
        let name = spec.name.as_deref().filter(|name| !name.trim().is_empty()).ok_or("name: missing")?;
        let (transport, family) = protocol(spec.protocol.as_deref())?;
        Ok(Self {
            labels: labels(name, spec),
            transport,
            family,
            status: asked(spec.status.as_deref()).map(status).transpose()?,
            local: side(["srcHost", "srcPort"], &spec.srchost, &spec.srcport)?,
            remote: side(["dstHost", "dstPort"], &spec.dsthost, &spec.dstport)?,
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
    pub fn flaw(&self, names: &Names) -> Option<Flaw> {
        let sides = [&self.local, &self.remote];
        if self.status == Some(Status::Listen) && self.remote.names_a_peer() {
            return Some(NO_PEER);
        }
        if self.local.port == Some(0) {
            return Some(NO_PORT);
        }
        if sides.into_iter().any(|side| side.is_of_other(self.family, names)) {
            return Some(if self.family == Family::V4 { NOT_IPV4 } else { NOT_IPV6 });
        }
        is_path(&self.labels.process).then_some(NO_FOLDER)
    }

    /// What the rule is called.
    pub fn name(&self) -> &str {
        &self.labels.name
    }

    /// Whether sockets that the rule matches may stand in a table.
    pub fn reads(&self, table: Table) -> bool {
        match (self.transport, self.family) {
            (Transport::Tcp, Family::V4) => matches!(table, Table::Tcp | Table::Tcp6),
            (Transport::Tcp, Family::V6) => table == Table::Tcp6,
            (Transport::Udp, Family::V4) => matches!(table, Table::Udp | Table::Udp6),
            (Transport::Udp, Family::V6) => table == Table::Udp6,
        }
    }

    /// Whether a table must exist for the rule: on a machine without IPv6 the others don't.
    fn requires(&self, table: Table) -> bool {
        let ipv6 = matches!(table, Table::Tcp6 | Table::Udp6);
        self.reads(table) && ipv6 == (self.family == Family::V6)
    }

    fn states(&self, table: Table) -> States {
        match self.status {
            None => States::ALL,
            Some(Status::Listen) => States::one(table.listening()),
            Some(Status::Established) => States::one(ESTABLISHED),
        }
    }

    fn filter<'r>(&'r self, names: &'r Names) -> Option<Filter<'r>> {
        Some(Filter { local: self.local.filter(names)?, remote: self.remote.filter(names)? })
    }
}

impl Side {
    /// Whether a socket without a peer can't match; its far end is port 0 of no address.
    fn names_a_peer(&self) -> bool {
        let host = match &self.host {
            Host::Any => false,
            Host::Address(address) => !address.is_unspecified(),
            Host::Name(_) => true,
        };
        host || self.port.is_some_and(|port| port != 0)
    }

    /// Whether the host is known to have no address of a family.
    fn is_of_other(&self, family: Family, names: &Names) -> bool {
        let fits = |address: &IpAddr| address.is_ipv4() == (family == Family::V4);
        match &self.host {
            Host::Any => false,
            Host::Address(address) => !fits(address),
            Host::Name(name) => addresses(names, name).is_some_and(|found| !found.iter().any(fits)),
        }
    }

    fn filter<'r>(&'r self, names: &'r Names) -> Option<(Option<&'r [IpAddr]>, Option<u16>)> {
        let addresses = match &self.host {
            Host::Any => None,
            Host::Address(address) => Some(std::slice::from_ref(address)),
            Host::Name(name) => Some(addresses(names, name)?),
        };
        Some((addresses, self.port))
    }
}

impl Filter<'_> {
    fn sees(self, local: Endpoint, remote: Endpoint) -> bool {
        let fits = |(addresses, port): (Option<&[IpAddr]>, Option<u16>), end: Endpoint| {
            port.is_none_or(|port| port == end.port)
                && addresses.is_none_or(|addresses| addresses.contains(&end.address))
        };
        fits(self.local, local) && fits(self.remote, remote)
    }
}

impl<'r> Tally<'r> {
    /// Nothing found so far. A rule one of whose names is not in `names` is not known.
    pub fn new(rules: &'r [Rule], names: &'r Names) -> Self {
        let findings = rules.iter().map(|rule| {
            let filter = rule.filter(names);
            Finding { rule, filter, matched: 0, certain: filter.is_some() }
        });
        Self { findings: findings.collect(), claims: Vec::new(), overflowed: false }
    }

    /// Whether a table could hold what a rule asks for.
    pub fn reads(&self, table: Table) -> bool {
        self.readers(table).next().is_some()
    }

    /// Whether a rule can't do without a table.
    pub fn requires(&self, table: Table) -> bool {
        self.readers(table).any(|finding| finding.rule.requires(table))
    }

    /// Counts the sockets of a block of whole lines.
    pub fn count(&mut self, table: Table, block: &[u8], endian: Endian) -> Lines {
        let mut rows = rows(block, endian, self.states(table));
        for row in rows.by_ref() {
            self.count_row(table, &row);
        }
        Lines { understood: rows.understood(), skipped: rows.skipped(), census: *rows.census() }
    }

    /// Counts one socket.
    pub fn count_row(&mut self, table: Table, row: &Row) {
        let (v4, v6) = (as_ipv4(table, row), as_ipv6(row));
        for (index, finding) in self.findings.iter_mut().enumerate() {
            let rule = finding.rule;
            let ends = match rule.family {
                Family::V4 => v4,
                Family::V6 => v6,
            };
            let (Some(filter), Some((local, remote))) = (finding.filter, ends) else { continue };
            if !rule.reads(table) || !rule.states(table).contains(row.state) || !filter.sees(local, remote) {
                continue;
            }
            match rule.process {
                None => add_one(Some(&mut finding.matched)),
                // Nobody holds a socket without an inode.
                Some(_) if row.inode == 0 => {}
                Some(_) if self.claims.len() >= CLAIM_LIMIT => (finding.certain, self.overflowed) = (false, true),
                Some(_) => self.claims.push(Claim { inode: row.inode, rule: index, settled: false }),
            }
        }
    }

    /// The states in which a socket of a table can match a rule.
    pub fn states(&self, table: Table) -> States {
        self.readers(table).map(|finding| finding.rule.states(table)).fold(States::default(), States::and)
    }

    /// Notes that a table does not exist: what requires it is not known.
    pub fn lack(&mut self, table: Table) {
        self.doubt(|rule| rule.requires(table));
    }

    /// Notes that a table could not be read, or not to its end: what reads it is not known.
    pub fn lose(&mut self, table: Table) {
        self.doubt(|rule| rule.reads(table));
    }

    /// The sockets whose process must be asked for, if there are any.
    pub fn claims(&mut self) -> Option<Claims<'_, 'r>> {
        // A table that changes while it is read may show a socket twice.
        self.claims.sort_unstable();
        self.claims.dedup();
        let mut open = vec![0usize; self.findings.len()];
        for claim in self.claims.iter().filter(|claim| !claim.settled) {
            add_one(open.get_mut(claim.rule));
        }
        (!self.claims.is_empty()).then_some(Claims { tally: self, open })
    }

    /// What was found, in the order of the rules.
    pub fn findings(&self) -> impl Iterator<Item = &Finding<'r>> {
        self.findings.iter()
    }

    fn readers(&self, table: Table) -> impl Iterator<Item = &Finding<'r>> {
        self.findings.iter().filter(move |finding| finding.filter.is_some() && finding.rule.reads(table))
    }

    fn doubt(&mut self, which: impl Fn(&Rule) -> bool) {
        for finding in self.findings.iter_mut().filter(|finding| which(finding.rule)) {
            finding.certain = false;
        }
    }
}

impl Finding<'_> {
    /// The rule's fields.
    pub const fn labels(&self) -> &Labels {
        &self.rule.labels
    }

    /// Whether a socket matches; absent where none did and not everything was seen.
    pub const fn up(&self) -> Option<bool> {
        if self.matched > 0 || self.certain { Some(self.matched > 0) } else { None }
    }

    /// How many sockets match; absent where not everything was seen.
    pub const fn count(&self) -> Option<usize> {
        if self.certain { Some(self.matched) } else { None }
    }
}

impl Claims<'_, '_> {
    /// Whether every claim is settled.
    pub fn are_settled(&self) -> bool {
        self.open_rules().next().is_none()
    }

    /// Whether there were more claims than are kept.
    pub const fn have_overflowed(&self) -> bool {
        self.tally.overflowed
    }

    /// The rules with open claims.
    pub fn open_rules(&self) -> impl Iterator<Item = usize> {
        self.open.iter().enumerate().filter(|(_, open)| **open > 0).map(|(rule, _)| rule)
    }

    /// The rules with open claims that a process of one of these names can settle.
    pub fn open_to(&self, names: &[String]) -> Vec<usize> {
        let fits = |rule: &usize| {
            let pattern = self.tally.findings.get(*rule).and_then(|finding| finding.rule.process.as_ref());
            pattern.is_some_and(|pattern| names.iter().any(|name| pattern.is_match(name)))
        };
        self.open_rules().filter(fits).collect()
    }

    /// Notes that a process that fits `rules` holds a socket.
    pub fn settle(&mut self, inode: u64, rules: &[usize]) {
        let Tally { findings, claims, .. } = &mut *self.tally;
        let first = claims.partition_point(|claim| claim.inode < inode);
        let claims = claims.iter_mut().skip(first).take_while(|claim| claim.inode == inode);
        for claim in claims.filter(|claim| !claim.settled && rules.contains(&claim.rule)) {
            claim.settled = true;
            add_one(findings.get_mut(claim.rule).map(|finding| &mut finding.matched));
            if let Some(open) = self.open.get_mut(claim.rule) {
                *open = open.saturating_sub(1);
            }
        }
    }

    /// Notes that a process that `rule` may mean could not be asked. Says whether that matters:
    /// with all its claims settled the rule is known nevertheless.
    pub fn doubt(&mut self, rule: usize) -> bool {
        let matters = self.open.get(rule).is_some_and(|open| *open > 0);
        if let Some(finding) = self.tally.findings.get_mut(rule).filter(|_| matters) {
            finding.certain = false;
        }
        matters
    }
}

/// The two ends of a socket as IPv4 has them, if it speaks IPv4.
fn as_ipv4(table: Table, row: &Row) -> Option<(Endpoint, Endpoint)> {
    if row.v6_only {
        return None;
    }
    let ends = (ipv4(row.local)?, ipv4(row.remote)?);
    let unspecified = row.local.address.is_unspecified() && row.remote.address.is_unspecified();
    // `::` at both ends may become either; only one that waits for peers may get IPv4 ones.
    (row.local.address.is_ipv4() || !unspecified || row.state == table.listening()).then_some(ends)
}

fn ipv4(end: Endpoint) -> Option<Endpoint> {
    let address = match end.address.to_canonical() {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) if address.is_unspecified() => Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(_) => return None,
    };
    Some(Endpoint { address: address.into(), port: end.port })
}

/// The two ends of a socket that speaks IPv6.
fn as_ipv6(row: &Row) -> Option<(Endpoint, Endpoint)> {
    let ipv6 = |end: Endpoint| end.address.to_canonical().is_ipv6();
    (ipv6(row.local) && ipv6(row.remote)).then_some((row.local, row.remote))
}

fn add_one(count: Option<&mut usize>) {
    if let Some(count) = count {
        *count = count.saturating_add(1);
    }
}

/// What a field asks for, if anything.
fn asked(field: Option<&str>) -> Option<&str> {
    field.filter(|text| {
        let text = text.trim();
        !(text.is_empty() || text == ANY || text.eq_ignore_ascii_case("any"))
    })
}

fn labels(name: &str, spec: &Spec) -> Labels {
    let written = |field: &Option<String>| asked(field.as_deref()).unwrap_or(ANY).to_owned();
    Labels {
        dsthost: written(&spec.dsthost),
        dstport: written(&spec.dstport),
        name: name.to_owned(),
        process: written(&spec.process),
        protocol: spec.protocol.clone().filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "tcp".into()),
        srchost: written(&spec.srchost),
        srcport: written(&spec.srcport),
        status: written(&spec.status),
    }
}

fn protocol(text: Option<&str>) -> Result<(Transport, Family), String> {
    let text = text.unwrap_or_default().trim();
    match text.to_ascii_lowercase().as_str() {
        "" | "tcp" | "tcp4" => Ok((Transport::Tcp, Family::V4)),
        "tcp6" => Ok((Transport::Tcp, Family::V6)),
        "udp" | "udp4" => Ok((Transport::Udp, Family::V4)),
        "udp6" => Ok((Transport::Udp, Family::V6)),
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
    Ok(Side { host, port })
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
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_can_never_match_says_why() {
        let names = Names::from([
            ("v4.example".into(), vec!["192.0.2.1".parse().unwrap()]),
            ("v6.example".into(), vec!["2001:db8::1".parse().unwrap()]),
            ("both.example".into(), vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
        ]);
        for (text, flaw) in [
            ("sport=22 status=listen", None),
            ("sport=22 status=listen src=192.0.2.1", None),
            ("status=listen dport=0 dst=0.0.0.0", None),
            ("status=listen dport=5432", Some(NO_PEER)),
            ("status=listen dst=192.0.2.1", Some(NO_PEER)),
            ("status=listen dst=both.example", Some(NO_PEER)),
            ("status=established dst=192.0.2.1 dport=5432", None),
            ("sport=0", Some(NO_PORT)),
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
            assert_eq!(rule.flaw(&names), flaw, "{text}");
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

    fn rule(text: &str) -> Rule {
        Rule::new(&spec(text)).expect("a rule")
    }

    fn line(local: &str, remote: &str, state: &str, inode: u64) -> String {
        format!("0: {local} {remote} {state} 0:0 0:0 0 0 0 {inode} 1\n")
    }

    /// How many sockets of a table, little-endian, each rule sees.
    fn seen(table: Table, lines: &str, rules: &[&str]) -> Vec<Option<usize>> {
        let rules: Vec<Rule> = rules.iter().map(|text| rule(text)).collect();
        let names = Names::new();
        let mut tally = Tally::new(&rules, &names);
        let _ = tally.count(table, lines.as_bytes(), Endian::Little);
        tally.findings().map(Finding::count).collect()
    }

    const ZERO6: &str = "00000000000000000000000000000000";
    const MAPPED6: &str = "0000000000000000FFFF00000A0200C0";
    const REAL6: &str = "B80D0120000000000000000010000000";

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
    fn labels_are_what_was_written() {
        let any = |text: &str| text.to_owned();
        let labels =
            rule("src=ANY sport=* dst=2001:0DB8::1 dport=022 status=Listen process=ssh.* protocol=TCP6").labels;
        let expected = Labels {
            dsthost: any("2001:0DB8::1"),
            dstport: any("022"),
            name: any("r"),
            process: any("ssh.*"),
            protocol: any("TCP6"),
            srchost: any("*"),
            srcport: any("*"),
            status: any("Listen"),
        };
        assert_eq!(labels, expected);
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

    #[test]
    fn every_field_narrows() {
        let lines = line("0100007F:1F90", "076433C6:CB21", "01", 1)
            + &line("0100007F:1F90", "00000000:0000", "0A", 2)
            + &line("0A0200C0:1F90", "076433C6:CB21", "06", 0);
        let rules = [
            ("", 3),
            ("sport=8080", 3),
            ("sport=8081", 0),
            ("src=127.0.0.1", 2),
            ("dst=198.51.100.7", 2),
            ("dst=198.51.100.7 dport=52001 status=established", 1),
            ("status=listen", 1),
            ("src=0.0.0.0", 0),
            ("protocol=tcp6", 0),
            ("protocol=udp", 0),
        ];
        let counts = seen(Table::Tcp, &lines, &rules.map(|(text, _)| text));
        assert_eq!(counts, rules.map(|(_, count)| Some(count)));
    }

    #[test]
    fn a_socket_of_the_ipv6_table_speaks_what_its_addresses_say() {
        let lines = line(&format!("{ZERO6}:0016"), &format!("{ZERO6}:0000"), "0A", 1)
            + &line(&format!("{MAPPED6}:0016"), &format!("{ZERO6}:0000"), "0A", 2)
            + &line(&format!("{MAPPED6}:0016"), &format!("{MAPPED6}:CB21"), "01", 3)
            + &line(&format!("{REAL6}:0016"), &format!("{REAL6}:CB21"), "01", 4)
            + &line(&format!("{ZERO6}:0016"), &format!("{ZERO6}:0000"), "07", 5);
        let rules = [
            ("status=listen", 2),
            ("src=0.0.0.0 status=listen", 1),
            ("src=192.0.2.10", 2),
            ("dst=192.0.2.10", 1),
            ("", 3),
            ("src=::", 0),
            ("protocol=tcp6", 3),
            ("protocol=tcp6 src=:: status=listen", 1),
            ("protocol=tcp6 src=::ffff:192.0.2.10", 0),
            ("protocol=tcp6 status=established", 1),
        ];
        let counts = seen(Table::Tcp6, &lines, &rules.map(|(text, _)| text));
        assert_eq!(counts, rules.map(|(_, count)| Some(count)));
        assert_eq!(
            seen(Table::Udp6, &lines, &["protocol=udp status=listen", "protocol=udp6 status=listen"]),
            [Some(1), Some(1)]
        );
    }

    #[test]
    fn a_name_matches_any_of_its_addresses_and_none_is_not_known() {
        let lines = line("0100007F:1F90", "00000000:0000", "0A", 1) + &line("0A0200C0:1F90", "00000000:0000", "0A", 2);
        let rules = [rule("src=gw.example"), rule("src=other.example"), rule("")];
        let names = Names::from([("gw.example".into(), vec!["::1".parse().unwrap(), IpAddr::from([192, 0, 2, 10])])]);
        let mut tally = Tally::new(&rules, &names);
        let _ = tally.count(Table::Tcp, lines.as_bytes(), Endian::Little);
        let found: Vec<_> = tally.findings().map(|finding| (finding.up(), finding.count())).collect();
        assert_eq!(found, [(Some(true), Some(1)), (None, None), (Some(true), Some(2))]);
    }

    #[test]
    fn what_was_seen_of_a_lost_table_stands() {
        let rules = [rule("sport=22"), rule("sport=23"), rule("sport=22 protocol=tcp6"), rule("protocol=udp6")];
        let names = Names::new();
        let found = |spoil: fn(&mut Tally<'_>)| {
            let mut tally = Tally::new(&rules, &names);
            let _ = tally.count(Table::Tcp, line("0100007F:0016", "00000000:0000", "0A", 1).as_bytes(), Endian::Little);
            spoil(&mut tally);
            tally.findings().map(|finding| (finding.up(), finding.count())).collect::<Vec<_>>()
        };
        let (one, zero, unknown) = ((Some(true), Some(1)), (Some(false), Some(0)), (None, None));
        assert_eq!(found(|_| {}), [one, zero, zero, zero]);
        assert_eq!(found(|tally| tally.lack(Table::Tcp6)), [one, zero, unknown, zero]);
        assert_eq!(found(|tally| tally.lose(Table::Tcp6)), [(Some(true), None), unknown, unknown, zero]);
        assert_eq!(found(|tally| tally.lack(Table::Tcp)), [(Some(true), None), unknown, zero, zero]);
    }

    #[test]
    fn only_the_tables_that_rules_ask_for_are_read() {
        let names = Names::new();
        let asked = |text: &str| {
            let rules = [rule(text)];
            let tally = Tally::new(&rules, &names);
            Table::ALL.map(|table| (tally.reads(table), tally.requires(table)))
        };
        let (must, may, no) = ((true, true), (true, false), (false, false));
        assert_eq!(asked("protocol=tcp"), [must, may, no, no]);
        assert_eq!(asked("protocol=tcp6"), [no, must, no, no]);
        assert_eq!(asked("protocol=udp4"), [no, no, must, may]);
        assert_eq!(asked("protocol=udp6"), [no, no, no, must]);
        assert_eq!(asked("src=not-known.example"), [no, no, no, no]);
    }

    #[test]
    fn a_claim_is_settled_once_and_by_the_right_process() {
        let rules =
            [rule("process=ssh.*"), rule("process=any"), rule("process=nginx status=listen"), rule("process=x")];
        let names = Names::new();
        let mut tally = Tally::new(&rules, &names);
        let lines = line("0100007F:0016", "00000000:0000", "0A", 7)
            + &line("0100007F:0016", "0100007F:0017", "01", 8)
            + &line("0100007F:0016", "0100007F:0017", "01", 8)
            + &line("0100007F:0016", "0100007F:0017", "06", 0);
        let _ = tally.count(Table::Tcp, lines.as_bytes(), Endian::Little);
        let mut claims = tally.claims().expect("claims");
        assert_eq!(claims.open_to(&["openssh".into(), "sshd".into()]), [0]);
        assert_eq!(claims.open_to(&["sshd".into(), "nginx".into()]), [0, 2]);
        assert!(claims.open_to(&["nginx-debug".into(), "y\nx".into()]).is_empty());
        claims.settle(7, &[0]);
        claims.settle(7, &[0]);
        claims.settle(8, &[0, 2]);
        claims.settle(9, &[0, 2]);
        assert!(!claims.doubt(0), "nothing is left open");
        assert!(claims.doubt(3));
        assert!(!claims.are_settled());
        let counts: Vec<_> = tally.findings().map(Finding::count).collect();
        assert_eq!(counts, [Some(2), Some(4), Some(0), None]);
    }

    #[test]
    fn more_claims_than_are_kept_are_not_known() {
        let rules = [rule("process=sshd"), rule("sport=22")];
        let names = Names::new();
        let mut tally = Tally::new(&rules, &names);
        let block = line("0100007F:0016", "00000000:0000", "0A", 7).repeat(1024);
        for _ in 0..=CLAIM_LIMIT / 1024 {
            let _ = tally.count(Table::Tcp, block.as_bytes(), Endian::Little);
        }
        assert!(tally.claims().is_some_and(|claims| claims.have_overflowed()));
        let found: Vec<_> = tally.findings().map(|finding| (finding.up(), finding.count())).collect();
        assert_eq!(found, [(None, None), (Some(true), Some(CLAIM_LIMIT + 1024))]);
    }
}
