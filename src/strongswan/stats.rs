//! What charon says of itself: `stats`, `get-pools`, `get-counters` and `list-certs`, as views on the answers.
//!
//! Keys are described in strongSwan's VICI README. What an answer leaves out is absent here.

use super::vici::{Element, Elements, Message};
use super::x509::Certificate;
use crate::text::Text;

/// The priorities of charon's jobs.
pub const PRIORITIES: [&str; 4] = ["critical", "high", "medium", "low"];

/// The answer to `stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// When charon started: year, month, day, hour, minute and second of its local time.
    pub since: Option<[i64; 6]>,
    /// IKE_SAs, those that charon is busy with included.
    pub ikes: Option<u64>,
    /// IKE_SAs that are not established yet.
    pub half_open: Option<u64>,
    /// Worker threads.
    pub workers: Option<u64>,
    /// Worker threads that wait for a job.
    pub idle: Option<u64>,
    /// Worker threads that do one, by its priority.
    pub active: [Option<u64>; PRIORITIES.len()],
    /// Jobs that wait for a worker, by priority.
    pub queued: [Option<u64>; PRIORITIES.len()],
    /// Jobs that wait for their time.
    pub scheduled: Option<u64>,
}

/// A pool of virtual addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Addresses in it.
    pub size: Option<u64>,
    /// Leases in use.
    pub online: Option<u64>,
    /// Leases kept for clients that are gone.
    pub offline: Option<u64>,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The connection; absent for all together.
    pub connection: Option<Text<'a>>,
    /// What, as in `ike-init-in-req`.
    pub name: Text<'a>,
    /// How often.
    pub count: u64,
}

/// Walks a message with the names of the sections around; those deeper than the array are not kept.
struct Walk<'a> {
    elements: Elements<'a>,
    path: [Text<'a>; 3],
    depth: usize,
}

impl Stats {
    /// The view on the answer to `stats`.
    pub fn parse(message: Message<'_>) -> Self {
        let mut stats = Self::default();
        for (path, key, value) in Walk::of(message) {
            let names: Vec<&[u8]> = path.names().iter().map(|name| name.bytes()).collect();
            let slot = match (names.as_slice(), key.bytes()) {
                ([], b"scheduled") => Some(&mut stats.scheduled),
                ([b"ikesas"], b"total") => Some(&mut stats.ikes),
                ([b"ikesas"], b"half-open") => Some(&mut stats.half_open),
                ([b"workers"], b"total") => Some(&mut stats.workers),
                ([b"workers"], b"idle") => Some(&mut stats.idle),
                ([b"workers", b"active"], _) => priority(key).and_then(|at| stats.active.get_mut(at)),
                ([b"queues"], _) => priority(key).and_then(|at| stats.queued.get_mut(at)),
                ([b"uptime"], b"since") => {
                    stats.since = date(value);
                    None
                }
                _ => None,
            };
            if let Some(slot) = slot {
                *slot = value.number();
            }
        }
        stats
    }

    /// IKE_SAs that are not half-open; absent where charon does not count them.
    pub fn established(&self) -> Option<u64> {
        Some(self.ikes?.saturating_sub(self.half_open.unwrap_or(0)))
    }
}

/// The pools in the answer to `get-pools`.
pub fn pools(message: Message<'_>) -> impl Iterator<Item = Pool<'_>> {
    let mut walk = Walk::of(message).peekable();
    std::iter::from_fn(move || {
        // A pool without a key would not be seen; charon always sends its size.
        let name = *walk.peek()?.0.names().first()?;
        let mut pool = Pool { name, ..Pool::default() };
        while let Some((path, key, value)) = walk.next_if(|(path, ..)| path.names().first() == Some(&name)) {
            match key.bytes() {
                _ if path.names().len() > 1 => {}
                b"size" => pool.size = value.number(),
                b"online" => pool.online = value.number(),
                b"offline" => pool.offline = value.number(),
                _ => {}
            }
        }
        Some(pool)
    })
}

/// The counters in the answer to `get-counters`.
pub fn events(message: Message<'_>) -> impl Iterator<Item = Event<'_>> {
    Walk::of(message).filter_map(|(path, name, value)| match path.names() {
        [counters, connection] if *counters == "counters" => {
            let connection = Some(*connection).filter(|connection| !connection.is_empty());
            Some(Event { connection, name, count: value.number()? })
        }
        _ => None,
    })
}

/// A certificate that charon has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// `ca`, `end-entity`, `aa` or `ocsp`.
    pub kind: &'static str,
    /// Whether it may be a peer's: it is nobody's authority, and charon has no private key for it.
    pub is_peers: bool,
    /// What it says.
    pub certificate: Certificate<'a>,
}

/// The certificate in an event `list-cert`; absent where it is none that is understood.
pub fn certificate(message: Message<'_>) -> Option<Known<'_>> {
    let kind = match message.value("flag")?.bytes() {
        b"CA" => "ca",
        b"AA" => "aa",
        b"OCSP" => "ocsp",
        _ => "end-entity",
    };
    let is_ours = message.value("has_privkey").is_some_and(|has| has == "yes");
    let certificate = Certificate::parse(message.value("data")?.bytes())?;
    Some(Known { kind, is_peers: kind == "end-entity" && !is_ours, certificate })
}

impl<'a> Walk<'a> {
    fn of(message: Message<'a>) -> Self {
        Self { elements: message.elements(), path: [Text::default(); 3], depth: 0 }
    }
}

/// The names of the sections around a key, outermost first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Path<'a>([Text<'a>; 3], usize);

impl<'a> Path<'a> {
    fn names(&self) -> &[Text<'a>] {
        self.0.get(..self.1).unwrap_or(&self.0)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Path<'a>, Text<'a>, Text<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.elements.next()? {
                Element::Section(name) => {
                    if let Some(slot) = self.path.get_mut(self.depth) {
                        *slot = name;
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                Element::SectionEnd => self.depth = self.depth.saturating_sub(1),
                Element::Pair(key, value) => {
                    return Some((Path(self.path, self.depth), key, value));
                }
                _ => {}
            }
        }
    }
}

fn priority(key: Text<'_>) -> Option<usize> {
    PRIORITIES.iter().position(|priority| key == *priority)
}

/// A date as charon prints it: `Nov 20 13:20:25 2026`.
fn date(text: Text<'_>) -> Option<[i64; 6]> {
    let mut words = text.words();
    let month = words.next()?.month()?;
    let day = words.next()?.signed()?;
    let mut clock = words.next()?.fields(b':').map(Text::signed);
    let [hour, minute, second] = [clock.next()??, clock.next()??, clock.next()??];
    Some([words.next()?.signed()?, month, day, hour, minute, second])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charons_dates_are_read() {
        assert_eq!(date("Nov 20 13:20:25 2026".into()), Some([2026, 11, 20, 13, 20, 25]));
        assert_eq!(date("Apr  1 08:00:07 2026".into()), Some([2026, 4, 1, 8, 0, 7]));
        for text in ["", "Nov", "Foo 20 13:20:25 2026", "Nov 20 13:20 2026", "Nov 20 13:20:25"] {
            assert_eq!(date(text.into()), None, "{text}");
        }
    }
}
