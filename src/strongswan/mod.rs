//! strongSwan, asked over charon's VICI socket.
//!
//! Every scrape opens a connection of its own, so a charon that hangs costs that scrape and
//! not the next; the first is kept for charon's events. SAs are exposed while they stream in, one segment in memory at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::books::Books;
use self::events::Listener;
use self::inside::Stats;
use self::metrics::Certified;
use self::sa::{Connection, Identity, IkeSa};
use self::vici::{LONGEST_SEGMENT, Message, Packet};
use crate::collector::{Collector, Deadline, Error, Notice, Report, Turn};
use crate::expo::{Exposition, Group};
use crate::source::clock;
use crate::source::socket::{self, Address, Channel};

pub mod books;
mod events;
pub mod inside;
pub mod metrics;
pub mod sa;
pub mod sessions;
pub mod vici;
pub mod x509;

/// The pauses before the list is asked for again while charon is busy with one of its IKE_SAs: a
/// step of a rekey takes some milliseconds.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
];

/// The most certificates that are kept; a gateway has some, and one for each peer that it has seen lately.
const MOST_CERTIFICATES: usize = 10_000;

/// Starts that are no more seconds apart are one.
const SAME_START: u64 = 2;

/// The command for charon's counters.
const COUNTERS: &str = "get-counters";

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// charon's VICI socket.
    pub socket: Address,
    /// The gateway's name in the session list.
    pub gateway: String,
    /// Which identity tells clients apart.
    pub identity: Identity,
    /// How long charon is not asked for its certificates again.
    pub certificate_interval: Duration,
    /// The most clients, and tunnels, whose totals are kept when they are gone.
    pub most_clients: usize,
}

/// The collector.
pub struct StrongSwan {
    settings: Settings,
    memory: Turn<Memory>,
    books: Arc<Mutex<Books>>,
    listener: Listener,
}

/// What is remembered between scrapes.
#[derive(Default)]
struct Memory {
    certificates: Vec<Certified>,
    /// When charon was asked for them.
    asked: Option<Instant>,
    /// The unix time at which charon started.
    started: Option<i64>,
}

/// A conversation with charon.
struct Charon {
    channel: Channel,
    deadline: Deadline,
    /// charon's address, for errors.
    thing: String,
    /// Whether this charon has no counters: they are a plugin of their own.
    lacks_counters: bool,
}

/// What came of a list of all IKE_SAs.
struct List<T> {
    all: T,
    /// How many IKE_SAs there are.
    total: u64,
    /// Whether all were listed that may have a child.
    is_whole: bool,
    /// What charon says of itself; absent where it does not.
    stats: Option<Stats>,
}

impl StrongSwan {
    /// A collector for one charon.
    pub fn new(settings: Settings) -> Self {
        let books = Books::new(settings.identity, settings.most_clients);
        let (books, memory) = (Arc::new(Mutex::new(books)), Turn::new(Memory::default()));
        Self { settings, memory, books, listener: Listener::default() }
    }

    fn read_metrics(&self, deadline: Deadline, report: &mut Report) -> Result<(), Error> {
        let out = &mut report.exposition;
        let down = |error, out: &mut Exposition| {
            metrics::expose_down(out);
            error
        };
        // One scrape at a time: what an earlier look saw must not be booked after a later one.
        let thing = self.settings.socket.to_string();
        let mut memory = self.memory.take(deadline, &thing).map_err(|error| down(error, out))?;
        let mut charon = Charon::open(&self.settings.socket, deadline).map_err(|error| down(error, out))?;
        charon.version(out).map_err(|error| down(error, out))?;
        let stats = charon.read_sas(&self.books, out)?;
        let result = self.read_inside(&mut charon, stats, &mut memory, out);
        if charon.lacks_counters {
            report.notices.push(Notice::Unknown { thing, command: COUNTERS });
        }
        result?;
        self.listener.keep(charon, &self.books);
        Ok(())
    }

    /// What charon says of itself. Each answer stands, also where a later one is missing.
    fn read_inside(
        &self,
        charon: &mut Charon,
        stats: Option<Stats>,
        memory: &mut Memory,
        out: &mut Exposition,
    ) -> Result<(), Error> {
        if let Some(stats) = stats {
            memory.start(stats.since.and_then(clock::unix));
            metrics::expose_stats(&stats, memory.started, out);
        }
        charon.expose_pools(out)?;
        charon.expose_events(out)?;
        if out.wants(Group::Certificates) {
            if memory.asked.is_none_or(|asked| asked.elapsed() >= self.settings.certificate_interval) {
                memory.certificates = charon.certificates()?;
                memory.asked = Some(Instant::now());
            }
            memory.certificates.iter().for_each(|certificate| metrics::expose_certificate(certificate, out));
        }
        Ok(())
    }

    fn read_sessions(&self, deadline: Deadline, report: &mut Report) -> Result<(), Error> {
        // One at a time here, too: a crowd must not have each a list of its own in memory.
        let _turn = self.memory.take(deadline, &self.settings.socket.to_string())?;
        let mut charon = Charon::open(&self.settings.socket, deadline)?;
        let now = clock::now();
        let list = charon.sas(Vec::new, |rows, ike| {
            sessions::list(ike, &established(ike, now), &self.settings.gateway, rows);
        })?;
        report.sessions.extend(list.all);
        Ok(())
    }
}

impl Memory {
    /// Notes when charon says that it started. It says the difference of two clocks that it reads in whole seconds, so
    /// the same start is now and then another second.
    fn start(&mut self, told: Option<i64>) {
        let is_known = |known: i64| told.is_some_and(|told| told.abs_diff(known) <= SAME_START);
        self.started = self.started.filter(|known| is_known(*known)).or(told);
    }
}

impl Collector for StrongSwan {
    fn name(&self) -> &'static str {
        "strongswan"
    }

    fn targets(&self) -> Vec<String> {
        vec![self.settings.socket.to_string()]
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        let result = self.read_metrics(deadline, report);
        report.target(self.settings.socket.to_string(), result);
    }

    fn sessions(&self, deadline: Deadline, report: &mut Report) {
        let result = self.read_sessions(deadline, report);
        report.target(self.settings.socket.to_string(), result);
    }
}

/// The local date and time at which an IKE_SA was established; charon tells its age.
fn established(ike: &IkeSa<'_>, now: i64) -> String {
    ike.established
        .and_then(|age| now.checked_sub_unsigned(age))
        .and_then(clock::local)
        .map(|moment| moment.to_string())
        .unwrap_or_default()
}

impl Charon {
    fn open(address: &Address, deadline: Deadline) -> Result<Self, Error> {
        let (channel, thing) = (socket::open(address, deadline)?, address.to_string());
        Ok(Self { channel, deadline, thing, lacks_counters: false })
    }

    fn version(&mut self, out: &mut Exposition) -> Result<(), Error> {
        self.channel.send(&vici::command("version", &[]))?;
        loop {
            if let Packet::Response(message) = self.packet("version")? {
                let value = |key| message.value(key).unwrap_or_default();
                metrics::expose_version(value("daemon"), value("version"), out);
                return Ok(());
            }
        }
    }

    /// Exposes the connections, their tunnels and the SAs, all of them or none: half a list makes wrong sums.
    fn read_sas(&mut self, books: &Mutex<Books>, out: &mut Exposition) -> Result<Option<Stats>, Error> {
        let mut configured = metrics::Configured::default();
        let now = clock::now();
        // Held for a moment only: charon's events are booked meanwhile.
        lock(books).begin();
        self.stream("list-conns", "list-conn", &[], &mut |message| {
            if let Some(connection) = Connection::parse(message) {
                configured.load(&connection);
                lock(books).load(&connection);
            }
        })?;
        let start = || (out.like(), metrics::Sessions::default());
        let List { all: (mut all, sessions), total, is_whole, stats } = self.sas(start, |(all, sessions), ike| {
            metrics::see(ike, now, &mut configured, sessions, &mut lock(books), all);
        })?;
        lock(books).end(now);
        metrics::expose_count(total, &mut all);
        configured.expose(Some(&sessions).filter(|_| is_whole), &mut all);
        metrics::expose_books(&lock(books), &mut all);
        out.absorb(all);
        Ok(stats)
    }

    /// Lists the IKE_SAs, without making charon wait for one that it is busy with: its workers are
    /// few. It passes over such a one, so the list is asked for again until it is whole.
    ///
    /// One that is half-open has no child yet and is nobody's session, so the list is whole without it: anybody who
    /// sends a first message makes one, and must not hide by it which tunnel is down.
    fn sas<T>(&mut self, start: impl Fn() -> T, mut each: impl FnMut(&mut T, &IkeSa<'_>)) -> Result<List<T>, Error> {
        let mut pauses = PAUSES.iter();
        loop {
            let started = Instant::now();
            let (mut all, mut listed, mut listed_half_open) = (start(), 0u64, 0u64);
            self.stream("list-sas", "list-sa", &[("noblock", "yes")], &mut |message| {
                if let Some(ike) = IkeSa::parse(message) {
                    listed = listed.saturating_add(1);
                    listed_half_open = listed_half_open.saturating_add(ike.is_half_open().into());
                    each(&mut all, &ike);
                }
            })?;
            let mut stats = None;
            self.ask("stats", &[], &mut |message| stats = Some(Stats::parse(message)))?;
            let total = stats.as_ref().and_then(|stats| stats.ikes).unwrap_or(listed).max(listed);
            let half_open = stats.as_ref().and_then(|stats| stats.half_open).unwrap_or(0);
            let is_whole = total.saturating_sub(listed) <= half_open.saturating_sub(listed_half_open);
            match pauses.next() {
                Some(pause) if !is_whole && self.has_time(pause.saturating_add(started.elapsed())) => {
                    thread::sleep(*pause);
                }
                _ => return Ok(List { all, total, is_whole, stats }),
            }
        }
    }

    /// Whether twice that much time is left: what charon said already must not be lost.
    fn has_time(&self, time: Duration) -> bool {
        self.deadline.left(&self.thing).is_ok_and(|left| left > time.saturating_mul(2))
    }

    /// Asks what not every charon answers, for want of a plugin or of age; then `read` is not called.
    fn ask(
        &mut self,
        command: &str,
        arguments: &[(&str, &str)],
        read: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), Error> {
        self.channel.send(&vici::command(command, arguments))?;
        loop {
            match self.packet(command) {
                Ok(Packet::Response(message)) => {
                    match refusal(message) {
                        // In charon's words: "no counters available (plugin missing?)".
                        Some(why) => self.lacks_counters |= command == COUNTERS && why.contains("plugin"),
                        None => read(message),
                    }
                    return Ok(());
                }
                Ok(_) => {}
                Err(Error::Refused { .. }) => {
                    self.lacks_counters |= command == COUNTERS;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn expose_pools(&mut self, out: &mut Exposition) -> Result<(), Error> {
        if out.wants(Group::Pools) {
            self.ask("get-pools", &[], &mut |message| {
                inside::pools(message).for_each(|pool| metrics::expose_pool(&pool, out))
            })?;
        }
        Ok(())
    }

    fn expose_events(&mut self, out: &mut Exposition) -> Result<(), Error> {
        if out.wants(Group::Events) {
            // The sum of all is an answer of its own, and has what came before a connection was found.
            for arguments in [&[][..], &[("all", "yes")]] {
                self.ask(COUNTERS, arguments, &mut |message| {
                    inside::events(message).for_each(|event| metrics::expose_event(&event, out));
                })?;
            }
        }
        Ok(())
    }

    /// All certificates that charon has, its peers' included; none where it does not tell.
    fn certificates(&mut self) -> Result<Vec<Certified>, Error> {
        let mut all = Vec::new();
        let listed = self.stream("list-certs", "list-cert", &[("type", "X509"), ("flag", "ANY")], &mut |message| {
            if let Some(known) = inside::certificate(message).filter(|_| all.len() < MOST_CERTIFICATES) {
                let certificate = known.certificate;
                all.push(Certified {
                    kind: known.kind,
                    is_peers: known.is_peers,
                    serial: certificate.serial.to_string(),
                    subject: certificate.subject.to_string(),
                    not_before: clock::utc(certificate.not_before),
                    not_after: clock::utc(certificate.not_after),
                });
            }
        });
        match listed {
            Ok(()) | Err(Error::Refused { .. }) => Ok(all),
            Err(error) => Err(error),
        }
    }

    /// Runs a command that answers by events, and hands each to `each`.
    fn stream(
        &mut self,
        command: &str,
        event: &str,
        arguments: &[(&str, &str)],
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), Error> {
        self.channel.send(&vici::register(event))?;
        while self.packet(event)? != Packet::EventConfirm {}
        self.channel.send(&vici::command(command, arguments))?;
        loop {
            match self.packet(command)? {
                Packet::Event(name, message) if name == event => each(message),
                Packet::Response(message) => {
                    let refusal = refusal(message);
                    self.channel.send(&vici::unregister(event))?;
                    while self.packet(event)? != Packet::EventConfirm {}
                    return refusal.map_or(Ok(()), |why| Err(refused(&self.thing, command, &why)));
                }
                _ => {}
            }
        }
    }

    /// Reads the next packet; one that says that charon does not know `request` is an error.
    fn packet(&mut self, request: &str) -> Result<Packet<'_>, Error> {
        let length = self.channel.take(4)?.try_into().map_or(usize::MAX, |length| u32::from_be_bytes(length) as usize);
        if length > LONGEST_SEGMENT {
            return Err(Error::TooLong { thing: self.thing.clone(), limit: LONGEST_SEGMENT });
        }
        match vici::parse(self.channel.take(length)?) {
            Ok(Packet::CommandUnknown | Packet::EventUnknown) => {
                Err(refused(&self.thing, request, "charon does not know it"))
            }
            Ok(packet) => Ok(packet),
            Err(fault) => {
                Err(Error::Malformed { thing: self.thing.clone(), expected: fault.expected, offset: fault.offset })
            }
        }
    }
}

fn refused(thing: &str, request: &str, why: &str) -> Error {
    Error::Refused { thing: thing.into(), why: format!("{request}: {why}") }
}

/// What was booked before a panic still stands: every entry is a single step.
fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a command failed, if it did.
fn refusal(message: Message<'_>) -> Option<String> {
    let failed = message.value("success").is_some_and(|success| success == "no");
    failed.then(|| message.value("errmsg").map_or("refused".into(), |why| why.to_string()))
}
