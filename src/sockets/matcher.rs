//! The matcher: how many of a table's sockets each rule matches.
//!
//! A socket of the IPv6 tables counts as IPv4 where its addresses are v4-mapped, and as both where it listens on `::`
//! and is not known to be for IPv6 only.

use std::net::{IpAddr, Ipv4Addr};

use super::procnet::{self, Lines};
use super::rule::{Ends, Labels, Names, Rule};
use super::tables::{Endpoint, Row, States, Table};
use crate::netlink::ByteOrder;

/// The most sockets whose owners may be pending, a few megabytes; rules with more are unknown.
const PENDING_OWNER_LIMIT: usize = 256 * 1024;

/// How many sockets each rule matched so far.
#[derive(Clone)]
pub struct Matcher<'r> {
    counts: Vec<RuleCount<'r>>,
    /// In the order of [`Table::ALL`].
    indexes: [Index; Table::ALL.len()],
    pending_owners: Vec<PendingOwner>,
    /// Whether sockets were left out because the owners of too many are pending.
    overflowed: bool,
}

/// How many sockets one rule matched.
#[derive(Clone)]
pub struct RuleCount<'r> {
    rule: &'r Rule,
    /// What the rule asks of both ends; absent while a host name of it has no address.
    ends: Option<Ends<'r>>,
    matched: usize,
    /// Whether everything was seen that the rule could match.
    complete: bool,
}

/// A socket that a rule matches if the right process holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PendingOwner {
    inode: u64,
    rule: usize,
    resolved: bool,
}

/// The sockets that match a rule if the right process holds them, while processes are read.
pub struct PendingOwners<'t, 'r> {
    matcher: &'t mut Matcher<'r>,
    /// The number of sockets of each rule whose owner is not found yet.
    pending: Vec<usize>,
}

/// The rules that can match a socket of one table, by the port that they ask for: a gateway has many sockets and a rule
/// names one port, so that trying each rule for each socket was nine tenths of the work.
#[derive(Clone, Default)]
struct Index {
    /// The states in which a socket can match a rule.
    states: States,
    /// How many rules name no port; they come first.
    any_port: usize,
    /// The rules' keys and positions, sorted by key.
    rules: Vec<(PortKey, usize)>,
    /// A bit for each key of a rule, by its last bits: hardly a socket has a port of a rule, and without this each socket
    /// took twice as many instructions as it takes in all.
    keys: [u64; KEY_WORDS],
}

/// How many words of 64 bits the set of keys has.
const KEY_WORDS: usize = 16;

/// The port that decides first whether a rule can match, as a number (an enum cost 120 instructions more for each
/// socket): 0 where the rule names none, else the port above [`LOCAL`], or above [`REMOTE`] where it names the remote
/// port only.
type PortKey = u32;

const LOCAL: PortKey = 1 << 16;
const REMOTE: PortKey = 2 << 16;

impl Index {
    fn new(counts: &[RuleCount<'_>], table: Table) -> Self {
        let mut index = Self::default();
        for (number, count) in counts.iter().enumerate() {
            let Some(ends) = count.ends.filter(|_| count.rule.reads(table)) else { continue };
            let local = ends.local.port.map(|port| LOCAL | PortKey::from(port));
            let remote = ends.remote.port.map(|port| REMOTE | PortKey::from(port));
            let key = local.or(remote).unwrap_or(0);
            index.states = index.states.and(count.rule.states(table));
            index.any_port = index.any_port.saturating_add(usize::from(key == 0));
            if let Some(word) = index.keys.get_mut(word_of(key)) {
                *word |= bit_of(key);
            }
            index.rules.reserve(counts.len().saturating_sub(number));
            index.rules.push((key, number));
        }
        index.rules.sort_unstable();
        index
    }

    /// Whether a socket may match a rule.
    fn may_match(&self, row: &Row) -> bool {
        let has = |key: PortKey| self.keys.get(word_of(key)).is_some_and(|word| word & bit_of(key) != 0);
        self.states.contains(row.state) && (self.any_port > 0 || has(local_key(row)) || has(remote_key(row)))
    }

    /// The rules whose ports are those of a socket.
    fn candidates(&self, row: &Row) -> impl Iterator<Item = usize> {
        let any = self.rules.iter().take(self.any_port).map(|(_, rule)| *rule);
        any.chain(self.with_key(local_key(row))).chain(self.with_key(remote_key(row)))
    }

    fn with_key(&self, key: PortKey) -> impl Iterator<Item = usize> {
        let first = self.rules.partition_point(|(other, _)| *other < key);
        self.rules.iter().skip(first).take_while(move |(other, _)| *other == key).map(|(_, rule)| *rule)
    }
}

fn local_key(row: &Row) -> PortKey {
    LOCAL | PortKey::from(row.local.port)
}

fn remote_key(row: &Row) -> PortKey {
    REMOTE | PortKey::from(row.remote.port)
}

fn word_of(key: PortKey) -> usize {
    (key >> 6) as usize % KEY_WORDS
}

fn bit_of(key: PortKey) -> u64 {
    1 << (key % 64)
}

impl<'r> Matcher<'r> {
    /// A matcher that has counted no socket. A rule with a host name that is not in `names` is unknown.
    pub fn new(rules: &'r [Rule], names: &'r Names) -> Self {
        let count = |rule: &'r Rule| {
            let ends = rule.ends(names);
            RuleCount { rule, ends, matched: 0, complete: ends.is_some() }
        };
        let counts: Vec<_> = rules.iter().map(count).collect();
        let indexes = Table::ALL.map(|table| Index::new(&counts, table));
        Self { counts, indexes, pending_owners: Vec::new(), overflowed: false }
    }

    /// Whether a table could hold what a rule asks for.
    pub fn reads(&self, table: Table) -> bool {
        self.readers(table).next().is_some()
    }

    /// Whether a rule can't do without a table.
    pub fn requires(&self, table: Table) -> bool {
        self.readers(table).any(|count| count.rule.requires(table))
    }

    /// Counts the sockets of a block of whole lines, and adds to `lines` what the block has.
    pub fn count(&mut self, table: Table, block: &[u8], order: ByteOrder, lines: &mut Lines) {
        procnet::read(block, order, self.states(table), lines, &mut |row| self.count_row(table, row));
    }

    /// Counts one socket.
    pub fn count_row(&mut self, table: Table, row: &Row) {
        let Self { counts, indexes, pending_owners, overflowed } = self;
        let Some(index) = indexes.get(table as usize).filter(|index| index.may_match(row)) else { return };
        for number in index.candidates(row) {
            let Some(count) = counts.get_mut(number).filter(|count| count.matches(table, row)) else { continue };
            match count.rule.process {
                None => add_one(Some(&mut count.matched)),
                // No process holds a socket without an inode.
                Some(_) if row.inode == 0 => {}
                Some(_) if pending_owners.len() >= PENDING_OWNER_LIMIT => (count.complete, *overflowed) = (false, true),
                Some(_) => pending_owners.push(PendingOwner { inode: row.inode, rule: number, resolved: false }),
            }
        }
    }

    /// The states in which a socket of a table can match a rule.
    pub fn states(&self, table: Table) -> States {
        self.indexes.get(table as usize).map(|index| index.states).unwrap_or_default()
    }

    /// Marks the rules as unknown that a table matters for which could not be read, or not to its end.
    pub fn mark_unknown(&mut self, matters: impl Fn(&Rule) -> bool) {
        for count in self.counts.iter_mut().filter(|count| matters(count.rule)) {
            count.complete = false;
        }
    }

    /// The sockets whose owners must be found, if there are any.
    pub fn pending_owners(&mut self) -> Option<PendingOwners<'_, 'r>> {
        // A table that changes while it is read may show a socket twice.
        self.pending_owners.sort_unstable();
        self.pending_owners.dedup();
        let mut pending = vec![0usize; self.counts.len()];
        for owner in self.pending_owners.iter().filter(|owner| !owner.resolved) {
            add_one(pending.get_mut(owner.rule));
        }
        (!self.pending_owners.is_empty()).then_some(PendingOwners { matcher: self, pending })
    }

    /// What was found, in the order of the rules.
    pub fn counts(&self) -> impl Iterator<Item = &RuleCount<'r>> {
        self.counts.iter()
    }

    fn readers(&self, table: Table) -> impl Iterator<Item = &RuleCount<'r>> {
        self.counts.iter().filter(move |count| count.ends.is_some() && count.rule.reads(table))
    }
}

impl RuleCount<'_> {
    /// Whether a socket is one that the rule asks for, apart from its process.
    fn matches(&self, table: Table, row: &Row) -> bool {
        if !self.rule.states(table).contains(row.state) {
            return false;
        }
        let addresses = if self.rule.table.is_v6() { as_ipv6(row) } else { as_ipv4(table, row) };
        let (Some(ends), Some((local, remote))) = (self.ends, addresses) else { return false };
        ends.local.matches(local) && ends.remote.matches(remote)
    }

    /// The rule's fields.
    pub const fn labels(&self) -> &Labels {
        &self.rule.labels
    }

    /// Whether a socket matches; absent where none did and not everything was seen.
    pub const fn up(&self) -> Option<bool> {
        if self.matched > 0 || self.complete { Some(self.matched > 0) } else { None }
    }

    /// How many sockets match; absent where not everything was seen.
    pub const fn count(&self) -> Option<usize> {
        if self.complete { Some(self.matched) } else { None }
    }
}

impl PendingOwners<'_, '_> {
    /// Whether the process of every socket is found.
    pub fn are_resolved(&self) -> bool {
        self.pending_rules().next().is_none()
    }

    /// Whether there were more sockets than may be pending.
    pub const fn overflowed(&self) -> bool {
        self.matcher.overflowed
    }

    /// The rules with sockets whose owners are not found yet.
    pub fn pending_rules(&self) -> impl Iterator<Item = usize> {
        self.pending.iter().enumerate().filter(|(_, pending)| **pending > 0).map(|(rule, _)| rule)
    }

    /// Those of the pending rules that name a process with one of these names.
    pub fn rules_of_process(&self, names: &[String]) -> Vec<usize> {
        let fits = |rule: &usize| {
            let pattern = self.matcher.counts.get(*rule).and_then(|count| count.rule.process.as_ref());
            pattern.is_some_and(|pattern| names.iter().any(|name| pattern.is_match(name)))
        };
        self.pending_rules().filter(fits).collect()
    }

    /// Records that a process that `rules` name holds a socket.
    pub fn resolve(&mut self, inode: u64, rules: &[usize]) {
        let Matcher { counts, pending_owners, .. } = &mut *self.matcher;
        let first = pending_owners.partition_point(|owner| owner.inode < inode);
        let pending_owners = pending_owners.iter_mut().skip(first).take_while(|owner| owner.inode == inode);
        for owner in pending_owners.filter(|owner| !owner.resolved && rules.contains(&owner.rule)) {
            owner.resolved = true;
            add_one(counts.get_mut(owner.rule).map(|count| &mut count.matched));
            if let Some(pending) = self.pending.get_mut(owner.rule) {
                *pending = pending.saturating_sub(1);
            }
        }
    }

    /// Marks a rule as unknown, since a process that it may name could not be read. Returns false if none of its
    /// sockets is pending: the rule is known nevertheless.
    pub fn mark_unknown(&mut self, rule: usize) -> bool {
        let matters = self.pending.get(rule).is_some_and(|pending| *pending > 0);
        if let Some(count) = self.matcher.counts.get_mut(rule).filter(|_| matters) {
            count.complete = false;
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

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::*;

    fn line(local: &str, remote: &str, state: &str, inode: u64) -> String {
        format!("0: {local} {remote} {state} 0:0 0:0 0 0 0 {inode} 1\n")
    }

    /// How many sockets of a table, little-endian, each rule sees.
    fn seen(table: Table, lines: &str, rules: &[&str]) -> Vec<Option<usize>> {
        let rules: Vec<Rule> = rules.iter().map(|text| rule(text)).collect();
        let names = Names::new();
        let mut matcher = Matcher::new(&rules, &names);
        matcher.count(table, lines.as_bytes(), ByteOrder::Little, &mut Lines::default());
        matcher.counts().map(RuleCount::count).collect()
    }

    const ZERO6: &str = "00000000000000000000000000000000";
    const MAPPED6: &str = "0000000000000000FFFF00000A0200C0";
    const REAL6: &str = "B80D0120000000000000000010000000";

    #[test]
    fn the_index_by_port_finds_what_trying_each_rule_finds() {
        let ports = ["", "sport=22", "sport=80", "dport=80", "sport=22 dport=443", "dport=443"];
        let rest = ["", "status=listen", "status=established", "protocol=tcp6", "protocol=udp", "src=127.0.0.1"];
        let rules: Vec<Rule> = ports.iter().flat_map(|port| rest.map(|rest| rule(&format!("{port} {rest}")))).collect();
        let names = Names::new();
        let mut matcher = Matcher::new(&rules, &names);
        let mut expected = vec![0usize; rules.len()];
        let hosts: [IpAddr; 3] = [[127, 0, 0, 1].into(), [192, 0, 2, 10].into(), "2001:db8::1".parse().unwrap()];
        for number in 0..5000u64 {
            let pick = |shift: u32| usize::try_from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift).unwrap_or(0);
            let end = |shift| Endpoint { address: hosts[pick(shift) % 3], port: [0, 22, 80, 443][pick(shift + 7) % 4] };
            let (table, state) = (Table::ALL[pick(8) % 4], [1, 7, 10][pick(16) % 3]);
            let row = Row { local: end(24), remote: end(40), state, inode: number, v6_only: false };
            matcher.count_row(table, &row);
            for (count, total) in matcher.counts().zip(&mut expected) {
                *total += usize::from(count.rule.reads(table) && count.matches(table, &row));
            }
        }
        assert_eq!(matcher.counts().map(|count| count.matched).collect::<Vec<_>>(), expected);
        assert!(expected.iter().filter(|count| **count > 0).count() > 20, "{expected:?}");
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
        let mut matcher = Matcher::new(&rules, &names);
        matcher.count(Table::Tcp, lines.as_bytes(), ByteOrder::Little, &mut Lines::default());
        let found: Vec<_> = matcher.counts().map(|count| (count.up(), count.count())).collect();
        assert_eq!(found, [(Some(true), Some(1)), (None, None), (Some(true), Some(2))]);
    }

    #[test]
    fn what_was_seen_of_a_lost_table_stands() {
        let rules = [rule("sport=22"), rule("sport=23"), rule("sport=22 protocol=tcp6"), rule("protocol=udp6")];
        let names = Names::new();
        let found = |spoil: fn(&mut Matcher<'_>)| {
            let mut matcher = Matcher::new(&rules, &names);
            matcher.count(
                Table::Tcp,
                line("0100007F:0016", "00000000:0000", "0A", 1).as_bytes(),
                ByteOrder::Little,
                &mut Lines::default(),
            );
            spoil(&mut matcher);
            matcher.counts().map(|count| (count.up(), count.count())).collect::<Vec<_>>()
        };
        let (one, zero, unknown) = ((Some(true), Some(1)), (Some(false), Some(0)), (None, None));
        assert_eq!(found(|_| {}), [one, zero, zero, zero]);
        assert_eq!(
            found(|matcher| matcher.mark_unknown(|rule| rule.requires(Table::Tcp6))),
            [one, zero, unknown, zero]
        );
        assert_eq!(
            found(|matcher| matcher.mark_unknown(|rule| rule.reads(Table::Tcp6))),
            [(Some(true), None), unknown, unknown, zero]
        );
        assert_eq!(
            found(|matcher| matcher.mark_unknown(|rule| rule.requires(Table::Tcp))),
            [(Some(true), None), unknown, zero, zero]
        );
    }

    #[test]
    fn only_the_tables_that_rules_ask_for_are_read() {
        let names = Names::new();
        let asked = |text: &str| {
            let rules = [rule(text)];
            let matcher = Matcher::new(&rules, &names);
            Table::ALL.map(|table| (matcher.reads(table), matcher.requires(table)))
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
        let mut matcher = Matcher::new(&rules, &names);
        let lines = line("0100007F:0016", "00000000:0000", "0A", 7)
            + &line("0100007F:0016", "0100007F:0017", "01", 8)
            + &line("0100007F:0016", "0100007F:0017", "01", 8)
            + &line("0100007F:0016", "0100007F:0017", "06", 0);
        matcher.count(Table::Tcp, lines.as_bytes(), ByteOrder::Little, &mut Lines::default());
        let mut pending_owners = matcher.pending_owners().expect("pending_owners");
        assert_eq!(pending_owners.rules_of_process(&["openssh".into(), "sshd".into()]), [0]);
        assert_eq!(pending_owners.rules_of_process(&["sshd".into(), "nginx".into()]), [0, 2]);
        assert!(pending_owners.rules_of_process(&["nginx-debug".into(), "y\nx".into()]).is_empty());
        pending_owners.resolve(7, &[0]);
        pending_owners.resolve(7, &[0]);
        pending_owners.resolve(8, &[0, 2]);
        pending_owners.resolve(9, &[0, 2]);
        assert!(!pending_owners.mark_unknown(0), "nothing is left pending");
        assert!(pending_owners.mark_unknown(3));
        assert!(!pending_owners.are_resolved());
        let counts: Vec<_> = matcher.counts().map(RuleCount::count).collect();
        assert_eq!(counts, [Some(2), Some(4), Some(0), None]);
    }

    #[test]
    fn more_claims_than_are_kept_are_not_known() {
        let rules = [rule("process=sshd"), rule("sport=22")];
        let names = Names::new();
        let mut matcher = Matcher::new(&rules, &names);
        let block = line("0100007F:0016", "00000000:0000", "0A", 7).repeat(1024);
        for _ in 0..=PENDING_OWNER_LIMIT / 1024 {
            matcher.count(Table::Tcp, block.as_bytes(), ByteOrder::Little, &mut Lines::default());
        }
        assert!(matcher.pending_owners().is_some_and(|pending_owners| pending_owners.overflowed()));
        let found: Vec<_> = matcher.counts().map(|count| (count.up(), count.count())).collect();
        assert_eq!(found, [(None, None), (Some(true), Some(PENDING_OWNER_LIMIT + 1024))]);
    }

    #[test]
    fn exactly_as_many_claims_are_kept_as_may_be() {
        let rules = [rule("process=sshd")];
        let names = Names::new();
        let mut matcher = Matcher::new(&rules, &names);
        let block = line("0100007F:0016", "00000000:0000", "0A", 7).repeat(1024);
        for _ in 0..256 {
            matcher.count(Table::Tcp, block.as_bytes(), ByteOrder::Little, &mut Lines::default());
        }
        assert!(!matcher.overflowed && matcher.counts[0].complete);
        let one = line("0100007F:0016", "00000000:0000", "0A", 7);
        matcher.count(Table::Tcp, one.as_bytes(), ByteOrder::Little, &mut Lines::default());
        assert!(matcher.overflowed && !matcher.counts[0].complete);
    }

    #[test]
    fn a_rule_that_asks_for_both_ports_wants_both() {
        let lines = line("0100007F:0016", "0100007F:01BB", "01", 1) + &line("0100007F:0016", "0100007F:0050", "01", 2);
        let rules = ["sport=22 dport=443", "dport=22", "dport=80", "sport=443"];
        assert_eq!(seen(Table::Tcp, &lines, &rules), [Some(1), Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn the_sockets_of_a_block_are_counted_by_state_whatever_the_rules_ask_for() {
        let lines = line("0100007F:0016", "0100007F:01BB", "01", 1) + &line("0100007F:0016", "00000000:0000", "0A", 2);
        let rules = [rule("status=listen")];
        let names = Names::new();
        let mut counted = Lines::default();
        Matcher::new(&rules, &names).count(Table::Tcp, lines.as_bytes(), ByteOrder::Little, &mut counted);
        let states: Vec<_> =
            counted.state_counts.counts(Table::Tcp, States::ALL).filter(|(_, count)| *count > 0).collect();
        assert_eq!((counted.understood, states), (2, vec![("established", 1), ("listen", 1)]));
    }

    #[test]
    fn a_socket_for_ipv6_only_is_none_of_ipv4() {
        let rules = [rule("status=listen"), rule("protocol=tcp6 status=listen")];
        let names = Names::new();
        let end = Endpoint { address: "::".parse().unwrap(), port: 0 };
        for (v6_only, expected) in [(false, [Some(1), Some(1)]), (true, [Some(0), Some(1)])] {
            let mut matcher = Matcher::new(&rules, &names);
            let row = Row { local: Endpoint { port: 22, ..end }, remote: end, state: 10, inode: 1, v6_only };
            matcher.count_row(Table::Tcp6, &row);
            assert_eq!(matcher.counts().map(RuleCount::count).collect::<Vec<_>>(), expected);
        }
    }
}
