//! How many sockets of a table are in each state, and what the states are called.
//!
//! The numbers are the kernel's (`include/net/tcp_states.h`), the names those of tcp(7) and of ss(8).

use super::tables::{ESTABLISHED, LISTEN, States, Table, UNCONNECTED};

/// TCP's states, as a table of `/proc/net` can show them.
const TCP: [(u8, &str); 11] = [
    (ESTABLISHED, "established"),
    (0x02, "syn_sent"),
    (0x03, "syn_recv"),
    (0x04, "fin_wait1"),
    (0x05, "fin_wait2"),
    (0x06, "time_wait"),
    (0x07, "close"),
    (0x08, "close_wait"),
    (0x09, "last_ack"),
    (LISTEN, "listen"),
    (0x0b, "closing"),
];

/// A UDP socket has a peer or it has none.
const UDP: [(u8, &str); 2] = [(ESTABLISHED, "established"), (UNCONNECTED, "unconnected")];

/// More states than the kernel has.
const STATES: usize = 16;

/// The sockets of a table, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([usize; STATES]);

impl StateCounts {
    /// Counts one socket.
    pub fn add(&mut self, state: u8) {
        if let Some(count) = self.0.get_mut(usize::from(state)) {
            *count = count.saturating_add(1);
        }
    }

    /// The name and the number of sockets of every state of `seen` that the table's protocol has.
    pub fn counts(&self, table: Table, seen: States) -> impl Iterator<Item = (&'static str, usize)> {
        let states: &[(u8, &'static str)] = match table {
            Table::Tcp | Table::Tcp6 => &TCP,
            Table::Udp | Table::Udp6 => &UDP,
        };
        states
            .iter()
            .filter(move |(state, _)| seen.contains(*state))
            .map(|(state, name)| (*name, self.0.get(usize::from(*state)).copied().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_were_seen_are_counted_and_others_are_not_known() {
        let mut state_counts = StateCounts::default();
        for state in [ESTABLISHED, LISTEN, ESTABLISHED, UNCONNECTED, 0, 15, 16, 255].repeat(2) {
            state_counts.add(state);
        }
        let seen = States::one(ESTABLISHED).and(States::one(UNCONNECTED)).and(States::one(0x02));
        let counts = |table| state_counts.counts(table, seen).collect::<Vec<_>>();
        assert_eq!(counts(Table::Tcp), [("established", 4), ("syn_sent", 0), ("close", 2)]);
        assert_eq!(counts(Table::Udp6), [("established", 4), ("unconnected", 2)]);
        let all: usize = state_counts.counts(Table::Tcp6, States::ALL).map(|(_, count)| count).sum();
        assert_eq!(all, 8, "a state that nobody has heard of has no name");
        let mut each = StateCounts::default();
        (1..=11).for_each(|state| (0..state).for_each(|_| each.add(state)));
        let names = each.counts(Table::Tcp, States::ALL).collect::<Vec<_>>();
        let expected = [
            ("established", 1),
            ("syn_sent", 2),
            ("syn_recv", 3),
            ("fin_wait1", 4),
            ("fin_wait2", 5),
            ("time_wait", 6),
            ("close", 7),
            ("close_wait", 8),
            ("last_ack", 9),
            ("listen", 10),
            ("closing", 11),
        ];
        assert_eq!(names, expected, "as tcp_states.h numbers them");
    }
}
