//! strongSwan, asked over charon's VICI socket.
//!
//! Every scrape opens a connection of its own, so a charon that hangs costs that scrape and
//! not the next; the first is kept for charon's events. SAs are exposed while they stream in, one segment in memory at a time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use self::configured::{Configured, ScrapeTime};
use self::events::Listener;
use self::ike_sas::{Gaps, Unlisted};
use self::metrics::{Certified, Count, Listing};
use self::sa::{Connection, Identity, IkeSa, Policy};
use self::stats::Stats;
use self::totals::SaTotals;
use self::vici::{Fault, LONGEST_SEGMENT, Message, Packet, Unchecked};
use crate::advice::Advice;
use crate::calendar::utc;
use crate::collector::{Collector, Report};
use crate::deadline::{Deadline, DeadlineMutex};
use crate::error::{Error, ErrorKind};
use crate::exposition::{Exposition, Group, TableInfo};
use crate::lock::lock;
use crate::session::Sessions;
use crate::settings::{Common, ConfigError, Input};
use crate::source::{Needs, Source};
use crate::sys::clock;
use crate::sys::environment::{Environment, Traces};
use crate::sys::socket::{self, Address, Channel};
use crate::text::clip;
use crate::watched::Watched;

mod advice;
pub mod configured;
mod events;
pub mod ike_sas;
pub mod metrics;
pub mod sa;
pub mod sessions;
mod settings;
pub mod stats;
pub mod totals;
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

/// The most certificates, pools, and counters of one answer, that are kept; a gateway has some certificates, and one for
/// each peer that it has seen lately.
const MOST_ENTRIES: usize = 10_000;

/// The most bytes that a list of all IKE_SAs may have, where charon does not say how many it has.
const LONGEST_LIST: usize = 16 * 1024 * 1024;

/// The most bytes that the list of so many IKE_SAs may have: a pair of SAs takes less than 1 KiB.
const LIST_BASE: usize = 2 * 1024 * 1024;
const LIST_EACH: usize = 16 * 1024;

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
    settings: Arc<Settings>,
    /// charon's socket, for reports and errors.
    subject: String,
    cache: DeadlineMutex<Cache>,
    totals: Arc<Mutex<SaTotals>>,
    listener: Listener,
}

/// What is remembered between scrapes.
#[derive(Default)]
struct Cache {
    certificates: Vec<Certified>,
    /// When charon was asked for them.
    asked: Option<Instant>,
    /// What else tells that they may have changed: a hash of charon's connections and private keys.
    credentials: u64,
    /// A hash of charon's connections.
    connections: u64,
    /// The unix time at which charon started.
    started: Option<i64>,
    /// What was loaded and up at the last scrape.
    configured: Configured,
    /// How many IKE_SAs charon left out of the last list.
    unlisted: u64,
    hasher: RandomState,
}

/// A conversation with charon.
struct Charon {
    channel: Channel,
    deadline: Deadline,
    /// charon's address, for errors.
    subject: String,
    /// Whether this charon has no counters: they are a plugin of their own.
    lacks_counters: bool,
    /// The events that are registered: twice registered, they would come twice.
    registered: Vec<&'static str>,
    /// Whether a command was sent whose answer is of no use and not read yet.
    has_unread_answer: bool,
}

/// Who asks for a list of all IKE_SAs.
trait Lister {
    /// Begins a list; of several only the last counts.
    fn begin(&mut self);
    /// Takes an IKE_SA of it.
    fn record(&mut self, ike: &IkeSa<'_>);
    /// What it lacks, where so many were left out.
    fn gaps(&self, unlisted: Unlisted) -> Gaps;
}

/// Lists the SAs for their metrics.
struct MetricsLister<'a> {
    out: &'a Exposition,
    listing: Listing,
    configured: &'a mut Configured,
    /// Locked briefly each time: charon's events are recorded meanwhile.
    totals: &'a Mutex<SaTotals>,
    time: ScrapeTime,
}

/// Lists the SAs as sessions.
struct SessionLister<'a> {
    /// Without rows, for the options.
    empty: &'a Sessions,
    rows: Sessions,
    gateway: &'a str,
    /// In seconds since 1970.
    now: i64,
}

/// What came of a list of all IKE_SAs.
struct List {
    /// How many IKE_SAs there are.
    total: u64,
    /// How many of them that are not half-open were not listed.
    unlisted: Unlisted,
    /// What charon says of itself; absent where it does not.
    stats: Option<Stats>,
}

impl StrongSwan {
    /// A collector for one charon.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        let totals = SaTotals::new(settings.identity, settings.most_clients);
        let (totals, cache) = (Arc::new(Mutex::new(totals)), DeadlineMutex::new(Cache::default()));
        Self { subject: settings.socket.to_string(), settings, cache, totals, listener: Listener::default() }
    }

    fn open(&self, deadline: Deadline) -> Result<Charon, Error> {
        Ok(Charon {
            channel: socket::open_as(self.subject.clone(), &self.settings.socket, deadline)?,
            deadline,
            subject: self.subject.clone(),
            lacks_counters: false,
            registered: Vec::new(),
            has_unread_answer: false,
        })
    }

    fn read_metrics(&self, deadline: Deadline, report: &mut Report) -> Result<(), Error> {
        let out = &mut report.exposition;
        let down = |error, out: &mut Exposition| {
            metrics::expose_down(out);
            error
        };
        // One scrape at a time: the counters of an earlier list must not be recorded after those of a later one.
        let mut cache = self.cache.take(deadline, &self.subject).map_err(|error| down(error, out))?;
        let mut charon = self.open(deadline).map_err(|error| down(error, out))?;
        charon.version(out).map_err(|error| down(error, out))?;
        let stats = charon.read_sas(&mut cache, &self.totals, out)?;
        let result = self.read_stats(&mut charon, stats, &mut cache, out);
        if charon.lacks_counters {
            report.notices.push(advice::lacks_counters(self.subject.clone()));
        }
        result?;
        self.listener.keep(charon, &self.totals);
        Ok(())
    }

    /// What charon says of itself. Each answer stands, also where a later one is missing.
    fn read_stats(
        &self,
        charon: &mut Charon,
        stats: Option<Stats>,
        cache: &mut Cache,
        out: &mut Exposition,
    ) -> Result<(), Error> {
        if let Some(stats) = stats {
            metrics::expose_stats(&stats, cache.started, out);
        }
        charon.expose_pools(out)?;
        charon.expose_events(out)?;
        if out.wants(Group::Certificates) {
            cache.note_credentials(charon.credentials(cache)?);
            if cache.asked.is_none_or(|asked| asked.elapsed() >= self.settings.certificate_interval) {
                cache.certificates = charon.certificates()?;
                cache.asked = Some(Instant::now());
            }
            cache.certificates.iter().for_each(|certificate| metrics::expose_certificate(certificate, out));
        }
        Ok(())
    }

    fn read_sessions(&self, deadline: Deadline, report: &mut Report) -> Result<(), Error> {
        // One at a time here, too: a crowd must not have each a list of its own in memory.
        let cache = self.cache.take(deadline, &self.subject)?;
        let mut charon = self.open(deadline)?;
        let (now, stats) = (clock::now(), charon.stats()?);
        let (empty, gateway) = (&report.sessions, &*self.settings.gateway);
        let mut lister = SessionLister { empty, rows: empty.like(), gateway, now };
        charon.sas(stats.as_ref(), cache.unlisted, &mut lister)?;
        report.sessions = lister.rows;
        Ok(())
    }
}

impl Lister for MetricsLister<'_> {
    fn begin(&mut self) {
        let listed_before = lock(self.totals).begin_list();
        self.listing = Listing::like(self.out, listed_before);
    }

    fn record(&mut self, ike: &IkeSa<'_>) {
        self.listing.record(ike, self.time, self.configured, &mut lock(self.totals));
    }

    fn gaps(&self, unlisted: Unlisted) -> Gaps {
        lock(self.totals).ikes.gaps(unlisted)
    }
}

impl Lister for SessionLister<'_> {
    fn begin(&mut self) {
        self.rows = self.empty.like();
    }

    fn record(&mut self, ike: &IkeSa<'_>) {
        sessions::list(ike, &established(ike, self.now), self.gateway, &mut self.rows);
    }

    fn gaps(&self, unlisted: Unlisted) -> Gaps {
        Gaps { lacks_any: unlisted.least > 0, some_ended: false }
    }
}

impl Cache {
    /// Notes when charon says that it started, and whether that is another start than the one before. It says the
    /// difference of two clocks that it reads in whole seconds, so the same start is now and then another second.
    fn start(&mut self, told: Option<i64>) -> bool {
        let is_known = |known: i64| told.is_some_and(|told| told.abs_diff(known) <= SAME_START);
        let known = self.started.filter(|known| is_known(*known));
        let is_new = told.is_some() && known.is_none() && self.started.is_some();
        self.started = known.or(told);
        is_new
    }

    /// Notes a hash of what tells that certificates may be others; then charon is asked for them anew.
    fn note_credentials(&mut self, credentials: u64) {
        if self.credentials != credentials {
            (self.credentials, self.asked) = (credentials, None);
        }
    }
}

impl Source for StrongSwan {
    type Settings = Settings;
    const NAME: &'static str = "strongswan";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;
    const WATCHED: &'static [Watched] = metrics::WATCHED;
    const LOOKED_FOR: Option<&'static str> = Some(settings::VICI);
    const TRACES: Traces = advice::TRACES;
    const USES_KERNEL_IPSEC: bool = true;

    fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
        settings::read(input)
    }

    fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
        settings::usual(root, common)
    }

    fn needs(settings: &Settings) -> Needs {
        Needs::of_root(settings::paths(settings))
    }

    fn discover(root: &Path, common: &Common) -> Option<Settings> {
        settings::discover(root, common)
    }

    fn build(settings: Arc<Settings>, _before: Option<&Self>) -> Self {
        Self::new(settings)
    }

    fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
        advice::explain(target, error, environment)
    }

    fn explain_absence(environment: &Environment) -> Option<Advice> {
        advice::explain_absence(environment)
    }
}

impl Collector for StrongSwan {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn targets(&self) -> Vec<String> {
        vec![self.subject.clone()]
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        let result = self.read_metrics(deadline, report);
        report.target(self.subject.clone(), result);
    }

    fn sessions(&self, deadline: Deadline, report: &mut Report) {
        let result = self.read_sessions(deadline, report);
        report.target(self.subject.clone(), result);
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
    fn version(&mut self, out: &mut Exposition) -> Result<(), Error> {
        self.send(&vici::command("version", &[]))?;
        loop {
            if let Packet::Response(message) = self.packet("version")? {
                let value = |key| message.value(key).unwrap_or_default();
                metrics::expose_version(value("daemon"), value("version"), out);
                return Ok(());
            }
        }
    }

    /// Exposes the connections, their tunnels and the SAs, all of them or none: half a list makes wrong sums.
    fn read_sas(
        &mut self,
        cache: &mut Cache,
        totals: &Mutex<SaTotals>,
        out: &mut Exposition,
    ) -> Result<Option<Stats>, Error> {
        let mut configured = self.configured(cache)?;
        self.installed(&mut configured)?;
        let stats = self.stats()?;
        if cache.start(stats.as_ref().and_then(|stats| stats.since).and_then(clock::unix)) {
            (cache.configured, cache.unlisted, cache.asked) = (Configured::default(), 0, None);
            lock(totals).ikes.clear();
        }
        let time = ScrapeTime { unix: clock::now(), instant: Instant::now() };
        lock(totals).begin_pass(stats.as_ref().and_then(|stats| stats.ikes), &configured);
        let mut lister = MetricsLister { out, listing: Listing::default(), configured: &mut configured, totals, time };
        let List { total, unlisted, stats } = self.sas(stats.as_ref(), cache.unlisted, &mut lister)?;
        let mut listing = lister.listing;
        let missing = lock(totals).end_pass(time.unix, unlisted);
        configured.finish(&listing.sessions, &missing, &cache.configured, time.instant);
        let sessions = listing.up.saturating_add(missing.count);
        let busy = stats.as_ref().and_then(|stats| stats.ikes).map(|_| unlisted.least);
        metrics::expose_count(&Count { total, sessions, busy }, &mut listing.out);
        metrics::expose_configured(&configured, &mut listing.out);
        metrics::expose_totals(&lock(totals), &mut listing.out);
        out.absorb(listing.out);
        (cache.configured, cache.unlisted) = (configured, unlisted.least);
        Ok(stats)
    }

    /// The connections that charon has loaded.
    fn configured(&mut self, cache: &mut Cache) -> Result<Configured, Error> {
        let (mut configured, mut hash) = (Configured::default(), cache.hasher.build_hasher());
        self.stream("list-conns", "list-conn", &[], usize::MAX, &mut |message| {
            let message = message.check()?;
            hash.write(message.bytes());
            let Some(connection) = Connection::parse(message) else { return Ok(()) };
            configured.register(&connection).map_err(|what| ErrorKind::TooMany { limit: configured::MOST, what })
        })?;
        cache.connections = hash.finish();
        Ok(configured)
    }

    /// Notes which shunts and traps are installed; none where charon does not tell.
    fn installed(&mut self, configured: &mut Configured) -> Result<(), Error> {
        let mut count = 0;
        let all = [("drop", "yes"), ("pass", "yes"), ("trap", "yes")];
        let listed = self.stream("list-policies", "list-policy", &all, usize::MAX, &mut |message| {
            if let Some(policy) = Policy::parse(message.check()?) {
                configured.record_policy(&policy);
            }
            one_more(&mut count, "policies")
        });
        known(listed)
    }

    /// What charon says of itself; absent where it does not.
    fn stats(&mut self) -> Result<Option<Stats>, Error> {
        let mut stats = None;
        self.ask("stats", &[], &mut |message| stats = Some(Stats::parse(message)))?;
        Ok(stats)
    }

    /// Lists the IKE_SAs, without making charon wait for one that it is busy with: its workers are few. It passes over
    /// such a one, so the list is asked for again where it lacks one that matters, unless as many as at the last
    /// scrape are missing: then they are busy for longer than a scrape can wait. That one has ended is believed when two
    /// lists in a row say it, where there is time for a second.
    ///
    /// One that is half-open has no child yet and is nobody's session, so the list is whole without it: anybody who
    /// sends a first message makes one, and must not hide by it which tunnel is down.
    fn sas(&mut self, before: Option<&Stats>, missing_before: u64, lister: &mut dyn Lister) -> Result<List, Error> {
        let mut established = before.and_then(Stats::established);
        let longest = match before.and_then(|stats| stats.ikes) {
            Some(ikes) => {
                usize::try_from(ikes).unwrap_or(usize::MAX).saturating_mul(LIST_EACH).saturating_add(LIST_BASE)
            }
            None => LONGEST_LIST,
        };
        let (mut pauses, mut some_ended_before) = (PAUSES.iter(), false);
        loop {
            let started = Instant::now();
            let (mut listed, mut half_open) = (0u64, 0u64);
            lister.begin();
            self.stream("list-sas", "list-sa", &[("noblock", "yes")], longest, &mut |message| {
                IkeSa::read(message, &mut |ike| {
                    listed = listed.saturating_add(1);
                    half_open = half_open.saturating_add(ike.is_half_open().into());
                    lister.record(ike);
                })?;
                Ok(())
            })?;
            let stats = self.stats()?;
            let total = stats.as_ref().and_then(|stats| stats.ikes).unwrap_or(listed).max(listed);
            let after = stats.as_ref().and_then(Stats::established);
            let unlisted = Unlisted::of(established, after, listed.saturating_sub(half_open));
            let Gaps { lacks_any, some_ended } = lister.gaps(unlisted);
            let is_worse = unlisted.least > missing_before || unlisted.least == 0;
            match pauses.next() {
                Some(pause)
                    if (is_worse && lacks_any || some_ended && !some_ended_before)
                        && has_time(
                            self.deadline.left(&self.subject).ok(),
                            pause.saturating_add(started.elapsed()),
                        ) =>
                {
                    thread::sleep(*pause);
                    some_ended_before = some_ended;
                    // What came or went during the pause must not count for the next list.
                    established = self.stats()?.as_ref().and_then(Stats::established);
                }
                _ => return Ok(List { total, unlisted, stats }),
            }
        }
    }

    /// Asks what not every charon answers, for want of a plugin or of age; then `read` is not called.
    fn ask(
        &mut self,
        command: &str,
        arguments: &[(&str, &str)],
        read: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), Error> {
        self.send(&vici::command(command, arguments))?;
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
                Err(error) if matches!(error.kind, ErrorKind::Refused { .. }) => {
                    self.lacks_counters |= command == COUNTERS;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn expose_pools(&mut self, out: &mut Exposition) -> Result<(), Error> {
        let (mut count, mut result) = (0, Ok(()));
        if out.wants(Group::Pools) {
            self.ask("get-pools", &[], &mut |message| {
                result = stats::pools(message).try_for_each(|pool| {
                    metrics::expose_pool(&pool, out);
                    one_more(&mut count, "pools")
                });
            })?;
        }
        result.map_err(|kind| Error::new(&*self.subject, kind))
    }

    fn expose_events(&mut self, out: &mut Exposition) -> Result<(), Error> {
        if out.wants(Group::Events) {
            // The sum of all is an answer of its own, and has what came before a connection was found.
            for arguments in [&[][..], &[("all", "yes")]] {
                let (mut count, mut result) = (0, Ok(()));
                self.ask(COUNTERS, arguments, &mut |message| {
                    result = stats::events(message).try_for_each(|event| {
                        metrics::expose_event(&event, out);
                        one_more(&mut count, "counters")
                    });
                })?;
                result.map_err(|kind| Error::new(&*self.subject, kind))?;
            }
        }
        Ok(())
    }

    /// A hash of the private keys that were loaded over VICI, and of the connections: swanctl loads them with the
    /// certificates. Where charon does not tell its keys, of the connections alone.
    fn credentials(&mut self, cache: &Cache) -> Result<u64, Error> {
        let mut hash = cache.hasher.build_hasher();
        hash.write_u64(cache.connections);
        self.ask("get-keys", &[], &mut |message| hash.write(message.bytes()))?;
        Ok(hash.finish())
    }

    /// All certificates that charon has, its peers' included; none where it does not tell.
    fn certificates(&mut self) -> Result<Vec<Certified>, Error> {
        let (mut all, mut count) = (Vec::new(), 0);
        let any = [("type", "X509"), ("flag", "ANY")];
        let listed = self.stream("list-certs", "list-cert", &any, usize::MAX, &mut |message| {
            let Some(known) = stats::certificate(message.check()?) else { return Ok(()) };
            let certificate = known.certificate;
            all.push(Certified {
                kind: known.kind,
                is_peers: known.is_peers,
                serial: clip(certificate.serial.to_string().into()).into_owned(),
                subject: clip(certificate.subject.to_string().into()).into_owned(),
                not_before: utc(certificate.not_before),
                not_after: utc(certificate.not_after),
            });
            one_more(&mut count, "certificates")
        });
        known(listed).map(|()| all)
    }

    /// Runs a command that answers by events of at most `longest` bytes in all, and hands each to `each`. The events stay
    /// registered: charon sends them to nobody but who gave the command.
    fn stream(
        &mut self,
        command: &str,
        event: &'static str,
        arguments: &[(&str, &str)],
        longest: usize,
        each: &mut dyn FnMut(Unchecked<'_>) -> Result<(), ErrorKind>,
    ) -> Result<(), Error> {
        let mut request = Vec::new();
        let is_new = !self.registered.contains(&event);
        if is_new {
            request = vici::register(event);
        }
        request.extend(vici::command(command, arguments));
        self.send(&request)?;
        if is_new {
            self.has_unread_answer = true;
            self.confirmed(event)?;
            self.has_unread_answer = false;
            self.registered.push(event);
        }
        let mut length = 0usize;
        loop {
            let read = match self.unchecked(command)? {
                Packet::Event(name, message) if name == event => {
                    length = length.saturating_add(message.bytes().len());
                    let is_long = length > longest;
                    each(message).and(if is_long { Err(ErrorKind::TooLong { limit: longest }) } else { Ok(()) })
                }
                packet => match packet.check() {
                    Ok(Packet::Response(message)) => {
                        return refusal(message).map_or(Ok(()), |why| Err(refused(&self.subject, command, &why)));
                    }
                    other => other.map(drop).map_err(ErrorKind::from),
                },
            };
            read.map_err(|kind| Error::new(&*self.subject, kind))?;
        }
    }

    fn send(&mut self, requests: &[u8]) -> Result<(), Error> {
        if std::mem::take(&mut self.has_unread_answer) {
            known(self.packet("the last command").map(drop))?;
        }
        self.channel.send(requests)
    }

    /// Reads until charon confirms that an event was registered.
    fn confirmed(&mut self, event: &str) -> Result<(), Error> {
        while self.packet(event)? != Packet::EventConfirm {}
        Ok(())
    }

    /// Reads the next packet; one that says that charon does not know `request` is an error.
    fn packet(&mut self, request: &str) -> Result<Packet<'_>, Error> {
        // Borrowed apart from the channel, which the packet stays in.
        let Self { channel, subject, .. } = self;
        receive(channel, subject, request)?.check().map_err(|fault| Error::new(&**subject, fault.into()))
    }

    /// The same, whose message is not checked yet.
    fn unchecked(&mut self, request: &str) -> Result<Packet<'_, Unchecked<'_>>, Error> {
        receive(&mut self.channel, &self.subject, request)
    }
}

fn receive<'a>(channel: &'a mut Channel, subject: &str, request: &str) -> Result<Packet<'a, Unchecked<'a>>, Error> {
    let length = channel.take(4)?.try_into().map_or(usize::MAX, |length| u32::from_be_bytes(length) as usize);
    if length > LONGEST_SEGMENT {
        return Err(Error::new(subject, ErrorKind::TooLong { limit: LONGEST_SEGMENT }));
    }
    match vici::split(channel.take(length)?) {
        Ok(Packet::CommandUnknown | Packet::EventUnknown) => Err(refused(subject, request, "charon does not know it")),
        Ok(packet) => Ok(packet),
        Err(fault) => Err(Error::new(subject, fault.into())),
    }
}

impl From<Fault> for ErrorKind {
    fn from(fault: Fault) -> Self {
        Self::Malformed { expected: fault.expected, offset: fault.offset }
    }
}

/// Whether twice that much time is left: what charon said already must not be lost.
fn has_time(left: Option<Duration>, time: Duration) -> bool {
    left.is_some_and(|left| left > time.saturating_mul(2))
}

/// Counts one more entry of an answer; an error where there are too many.
fn one_more(count: &mut usize, what: &'static str) -> Result<(), ErrorKind> {
    *count = count.saturating_add(1);
    if *count <= MOST_ENTRIES { Ok(()) } else { Err(ErrorKind::TooMany { limit: MOST_ENTRIES, what }) }
}

/// Turns the error that charon does not know a command into success: it is too old, or a plugin is not loaded.
fn known(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if matches!(error.kind, ErrorKind::Refused { .. }) => Ok(()),
        answer => answer,
    }
}

fn refused(subject: &str, request: &str, why: &str) -> Error {
    Error::new(subject, ErrorKind::Refused { why: format!("{request}: {why}") })
}

/// Why a command failed, if it did.
fn refusal(message: Message<'_>) -> Option<String> {
    let failed = message.value("success").is_some_and(|success| success == "no");
    failed.then(|| message.value("errmsg").map_or("refused".into(), |why| why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_for_again_where_twice_its_time_is_left() {
        let milliseconds = Duration::from_millis;
        for (left, time, is_asked) in
            [(201, 100, true), (200, 100, false), (99, 100, false), (1, 0, true), (0, 0, false)]
        {
            assert_eq!(has_time(Some(milliseconds(left)), milliseconds(time)), is_asked, "{left} {time}");
        }
        assert!(!has_time(None, Duration::ZERO));
    }

    #[test]
    fn another_start_is_told_from_the_same_one() {
        let mut cache = Cache::default();
        let starts =
            [Some(100), Some(101), Some(98), Some(103), None, Some(103), Some(500)].map(|told| cache.start(told));
        assert_eq!(starts, [false, false, false, true, false, false, true]);
    }
}
