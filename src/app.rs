//! Collectors and routes: a request in, a reply out; no sockets, so it is tested as a function.

use std::any::Any;
use std::fmt::Write as _;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::collector::{Collector, Deadline, Error, Notice, Report};
use crate::config::{Config, LOOKED_FOR};
use crate::doctor::{self, Finding};
use crate::expo::{self, Exposition, Group, Listed, Shape, Terms};
use crate::http::{Relief, Reply, Request};
use crate::ipsec::{self, Ipsec};
use crate::kernel::{self, Kernel};
use crate::openvpn::{self, OpenVpn};
use crate::own;
use crate::pages::{self, Frame};
use crate::room::{Place, Room};
use crate::session::{self, Session};
use crate::sockets::{self, Sockets};
use crate::source::scene::Scene;
use crate::source::{clock, usage};
use crate::strongswan::{self, StrongSwan};
use crate::users::{Users, Verdict};
use crate::wireguard::{self, WireGuard};

/// The longest that a scrape may take, whatever it is given.
const PATIENCE: Duration = Duration::from_secs(5);

/// The part of a scrape's time that is kept for sending the answer: a tenth, but not less than this.
const LEAST_MARGIN: Duration = Duration::from_millis(50);

/// Whoever gives a scrape less than this does not learn anything about the targets that others should know: any peer
/// could fill the log.
const LEAST_TIME: Duration = Duration::from_millis(250);

/// A collector reads and writes into buffers on the heap; its stack stays small.
const STACK: usize = 256 * 1024;

/// Where the kernel's view of itself is mounted.
const PROC: &str = "/proc";

/// How much memory all answers together may hold, in bytes; a scrape of ten thousand clients takes a tenth.
const ROOM: usize = 64 * 1024 * 1024;

/// The query parameter that narrows a scrape, as node_exporter has it.
const COLLECT: &str = "collect[]";

/// The header of a list of sessions that is cut: how many more there are.
const UNLISTED: &str = "X-Sessions-Left-Out";

/// Where a supervisor asks whether the process answers: without a password, and without asking any source.
const HEALTHY: &str = "/-/healthy";

/// What a browser is told to ask for.
const REALM: &str = "Basic realm=\"gateway-exporter\"";

/// Finds out anew what there is to watch.
pub type Discover = dyn Fn() -> Config + Send + Sync;

/// The application.
pub struct App {
    watch: Mutex<Watch>,
    users: Mutex<Arc<Users>>,
    telemetry_path: String,
    states: Mutex<States>,
    notices: Mutex<Notices>,
    door: Mutex<Vec<Finding>>,
    scrapes: Mutex<Scrapes>,
    room: Arc<Room>,
}

/// The collectors, and how to look for more where nothing is configured.
struct Watch {
    config: Config,
    collectors: Collectors,
    discover: Option<Box<Discover>>,
}

type Collectors = Arc<[Arc<dyn Collector>]>;

/// What every target did when it was last tried, in the order of sources and targets.
type States = Vec<State>;

/// What every source noticed when it was last asked for its metrics.
type Notices = Vec<(&'static str, Notice)>;

#[derive(Clone, Debug)]
struct State {
    source: &'static str,
    target: String,
    trouble: Option<Error>,
    since: i64,
}

/// The scrapes so far, by status, and those under way.
#[derive(Default)]
struct Scrapes {
    codes: Vec<(u16, u64)>,
    in_flight: u64,
}

/// What a collector is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Metrics,
    Sessions,
}

/// What one collector brought, and how long it took.
struct Round {
    name: &'static str,
    report: Report,
    taken: Duration,
    /// Whether there was room for it.
    fits: bool,
    /// Sessions that are more than `max_series`.
    unlisted: usize,
}

impl App {
    /// Watches what is configured. With `discover` it also watches what turns up later; what was
    /// found once stays watched.
    pub fn new(config: Config, discover: Option<Box<Discover>>, telemetry_path: String) -> Self {
        Self {
            users: Mutex::new(Arc::new(Users::new(config.web.users.clone()))),
            watch: Mutex::new(Watch::new(config, discover)),
            telemetry_path,
            states: Mutex::default(),
            notices: Mutex::default(),
            door: Mutex::default(),
            scrapes: Mutex::default(),
            room: Room::new(ROOM),
        }
    }

    /// Watches something else from now on. Making the collectors may take seconds, in which what was watched still is.
    pub fn reload(&self, config: Config, discover: Option<Box<Discover>>) {
        let (before, current) = {
            let watch = lock(&self.watch);
            (watch.config.clone(), Arc::clone(&watch.collectors))
        };
        let collectors = collectors(&config, Some((&before, &current)));
        // Passwords that were right are remembered while the users are the same.
        if before.web.users != config.web.users {
            *lock(&self.users) = Arc::new(Users::new(config.web.users.clone()));
        }
        let mut watch = lock(&self.watch);
        *watch = Watch { collectors, config, discover };
        lock(&self.states).retain(|state| watch.has(state.source));
        lock(&self.notices).retain(|(name, _)| watch.has(name));
    }

    /// Has `relief` called where the answers under way leave no memory for another.
    pub fn relieve_by(&self, relief: Box<Relief>) {
        self.room.relieve_by(relief);
    }

    /// Notes what was found out about where it is listened.
    pub fn note_door(&self, findings: Vec<Finding>) {
        *lock(&self.door) = findings;
    }

    /// What is wrong with the configuration although it is valid, which shows before any source is asked.
    pub fn flaws(&self) -> Vec<Finding> {
        let watch = lock(&self.watch);
        let Some(settings) = &watch.config.sockets else { return Vec::new() };
        let notices = settings.rules.iter().filter_map(|rule| sockets::never(rule, &Vec::new()));
        notices.map(|notice| doctor::notice("sockets", &notice)).collect()
    }

    /// Asks every source once, as a scrape does, and says what is right, what is wrong and what to do.
    pub fn examine(&self) -> Vec<Finding> {
        let collectors = lock(&self.watch).current();
        let all: Vec<&dyn Collector> = collectors.iter().map(|collector| collector.as_ref()).collect();
        self.gather(&all, Wish::Metrics, Deadline::within(PATIENCE), &self.room.enter());
        self.findings().into_iter().map(|(finding, _)| finding).collect()
    }

    /// One scrape without a request, and whether every target answered.
    pub fn once(&self) -> (Reply, bool) {
        let collectors = lock(&self.watch).current();
        let all: Vec<&dyn Collector> = collectors.iter().map(|collector| collector.as_ref()).collect();
        let reply = self.expose(&all, Deadline::within(PATIENCE), false);
        (reply, lock(&self.states).iter().all(|state| state.trouble.is_none()))
    }

    /// What is watched, a line for each source.
    pub fn watched(&self) -> Vec<String> {
        let collectors = Arc::clone(&lock(&self.watch).collectors);
        collectors.iter().map(|collector| format!("{}: {}", collector.name(), collector.targets().join(", "))).collect()
    }

    /// Answers a request; all but the health page only to those who may ask.
    pub fn answer(&self, request: &Request) -> Reply {
        if request.path == HEALTHY {
            return Reply::text(200, "gateway-exporter is healthy\n").with("Cache-Control", "no-store");
        }
        // Before the password is checked, which takes a weak machine long.
        let deadline = deadline(request);
        let users = Arc::clone(&lock(&self.users));
        match users.judge(request.credentials.as_ref(), request.peer) {
            Verdict::Welcome => self.route(request, deadline),
            Verdict::Stranger => Reply::text(401, "who are you\n").with("WWW-Authenticate", REALM),
            Verdict::Busy => Reply::text(503, "too many passwords to check, try again\n").with("Retry-After", "1"),
        }
    }

    fn route(&self, request: &Request, deadline: Deadline) -> Reply {
        match request.path.as_str() {
            path if path == self.telemetry_path => self.scrape(request, deadline, false),
            "/prom" => self.scrape(request, deadline, true),
            "/sessions" | "/sessions_local" | "/static" if self.hides_sessions() => Reply::text(404, "not found\n"),
            "/sessions" | "/sessions_local" => self.with_collectors(request, |collectors| {
                self.with_sessions(collectors, deadline, |sessions, _, unlisted| {
                    let reply = private(Reply::ok(session::CONTENT_TYPE, session::json(sessions)));
                    if unlisted > 0 { reply.with_count(UNLISTED, unlisted) } else { reply }
                })
            }),
            "/static" => self.with_collectors(request, |collectors| {
                self.with_sessions(collectors, deadline, |sessions, troubles, unlisted| {
                    html(pages::sessions(self.frame(&self.gateway()), sessions, troubles, unlisted))
                })
            }),
            "/" => self.with_collectors(request, |collectors| self.landing(collectors, deadline)),
            pages::STYLE_PATH => asset("text/css; charset=utf-8", pages::STYLE),
            pages::SCRIPT_PATH => asset("text/javascript; charset=utf-8", pages::SCRIPT),
            _ => Reply::text(404, "not found\n"),
        }
    }

    fn frame<'a>(&'a self, gateway: &'a str) -> Frame<'a> {
        let has_sessions = !self.hides_sessions();
        Frame { gateway, version: own::VERSION, telemetry_path: &self.telemetry_path, has_sessions }
    }

    fn hides_sessions(&self) -> bool {
        lock(&self.watch).config.web.hides_sessions
    }

    fn gateway(&self) -> String {
        lock(&self.watch).config.gateway.clone()
    }

    fn scrape(&self, request: &Request, deadline: Deadline, with_own: bool) -> Reply {
        lock(&self.scrapes).begin();
        let reply = self.with_collectors(request, |collectors| self.expose(collectors, deadline, with_own));
        lock(&self.scrapes).end(reply.status());
        reply
    }

    fn expose(&self, collectors: &[&dyn Collector], deadline: Deadline, with_own: bool) -> Reply {
        let mut all = Exposition::default();
        own::expose_build(&mut all);
        let place = self.room.enter();
        for round in self.gather(collectors, Wish::Metrics, deadline, &place) {
            if !round.fits {
                return full();
            }
            for (target, result) in &round.report.targets {
                own::expose_target(round.name, target, result.is_ok(), &mut all);
            }
            own::expose_duration(round.name, round.taken, &mut all);
            own::expose_dropped(round.name, round.report.exposition.dropped(), &mut all);
            all.absorb(round.report.exposition);
        }
        if with_own {
            own::expose_usage(&usage::read(), &mut all);
            lock(&self.scrapes).expose(&mut all);
        }
        Reply::stream(expo::CONTENT_TYPE, all.encode()).keeping(place)
    }

    fn landing(&self, collectors: &[&dyn Collector], deadline: Deadline) -> Reply {
        self.gather(collectors, Wish::Metrics, deadline, &self.room.enter());
        let printed = |since: Option<i64>| since.and_then(clock::local).map(|moment| moment.to_string());
        let findings = self.findings().into_iter();
        let findings: Vec<_> = findings.map(|(finding, since)| (finding, printed(since).unwrap_or_default())).collect();
        html(pages::landing(self.frame(&self.gateway()), &findings))
    }

    /// What was found out when every target was last tried, by source, and since when it is so where that is known.
    fn findings(&self) -> Vec<(Finding, Option<i64>)> {
        let notices = lock(&self.notices).clone();
        // No lock is held while the scene is looked at.
        let states = lock(&self.states).clone();
        let mut findings = Vec::new();
        for State { source, target, trouble, since } in states {
            let noticed = notices.iter().find(|(name, notice)| *name == source && notice.thing() == target);
            let finding = match (&trouble, noticed) {
                (None, Some(_)) => continue,
                (None, None) => doctor::target(source, &target, None, &Scene::default()),
                (Some(error), _) => {
                    doctor::target(source, &target, Some(error), &Scene::around(source, &target, error))
                }
            };
            findings.push((finding, Some(since)));
        }
        // What was noticed of a target that is down says less.
        let is_down = |notice: &Notice| findings.iter().any(|(finding, _)| finding.thing == notice.thing());
        let news = notices.iter().filter(|(_, notice)| !is_down(notice));
        let news: Vec<_> = news.map(|(source, notice)| doctor::notice(source, notice)).collect();
        let door = lock(&self.door).clone();
        for finding in news.into_iter().chain(self.absent()).chain(door) {
            let behind = findings.iter().rposition(|(known, _)| known.source == finding.source);
            findings.insert(behind.map_or(findings.len(), |place| place.saturating_add(1)), (finding, None));
        }
        findings
    }

    /// The sources that were looked for on this machine and are not there.
    fn absent(&self) -> Vec<Finding> {
        let missing: Vec<_> = {
            let watch = lock(&self.watch);
            LOOKED_FOR.iter().filter(|(source, _)| watch.discover.is_some() && !watch.has(source)).collect()
        };
        let finding = |(source, tried): &(&'static str, &str)| {
            let error = Error::NotFound { thing: (*tried).into() };
            doctor::absent(source, tried, &Scene::around(source, tried, &error))
        };
        missing.into_iter().map(finding).collect()
    }

    /// Calls `answer` with the sessions of all sources, why some could not be read, and how many are left out.
    fn with_sessions(
        &self,
        collectors: &[&dyn Collector],
        deadline: Deadline,
        answer: impl FnOnce(&[Session], &[String], usize) -> Reply,
    ) -> Reply {
        let identities = lock(&self.watch).config.terms.identities;
        let place = self.room.enter();
        let rounds = self.gather(collectors, Wish::Sessions, deadline, &place);
        let (mut sessions, mut troubles, mut left_out) = (Vec::new(), Vec::new(), 0_usize);
        for Round { report: Report { sessions: more, targets, .. }, fits, unlisted, .. } in rounds {
            if !fits {
                return full();
            }
            left_out = left_out.saturating_add(unlisted);
            sessions.extend(more.into_iter().map(|session| session.shown(identities)));
            troubles.extend(targets.into_iter().filter_map(|(_, result)| result.err().map(|error| error.to_string())));
        }
        answer(&sessions, &troubles, left_out).keeping(place)
    }

    /// Calls `answer` with the collectors that the request asks for: all, or those that it names.
    fn with_collectors(&self, request: &Request, answer: impl FnOnce(&[&dyn Collector]) -> Reply) -> Reply {
        let collectors = lock(&self.watch).current();
        let mut wanted: Vec<&dyn Collector> = Vec::new();
        for name in request.values(COLLECT) {
            match collectors.iter().find(|collector| collector.name() == name) {
                Some(found) if wanted.iter().all(|collector| collector.name() != name) => wanted.push(found.as_ref()),
                Some(_) => {}
                None => return Reply::text(400, format!("{COLLECT}: no source of that name is watched\n")),
            }
        }
        if wanted.is_empty() {
            wanted.extend(collectors.iter().map(|collector| collector.as_ref()));
        }
        answer(&wanted)
    }

    /// Runs the collectors side by side, so that one that hangs costs only itself.
    fn gather(&self, collectors: &[&dyn Collector], wish: Wish, deadline: Deadline, place: &Place) -> Vec<Round> {
        let terms = lock(&self.watch).config.terms;
        let is_hasty = deadline.left("").map_or(true, |left| left < LEAST_TIME);
        let rounds: Vec<Round> = thread::scope(|scope| {
            let (last, others) = collectors.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
            let running: Vec<_> = others
                .iter()
                .map(|collector| {
                    let run = move || collect(*collector, wish, terms, deadline, place);
                    // Where the system has no thread to give it runs here, one after the other.
                    thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).map_err(|_| Box::new(run()))
                })
                .collect();
            let mine = last.map(|collector| collect(*collector, wish, terms, deadline, place));
            let theirs = running.into_iter().map(|running| match running {
                Ok(thread) => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
                Err(round) => *round,
            });
            theirs.chain(mine).collect()
        });
        self.note(&rounds, wish, is_hasty);
        rounds
    }

    /// Notes what a source noticed, and logs what is new where it can mean that something is down.
    fn note_notices(&self, source: &'static str, notices: &[Notice]) {
        let mut known = lock(&self.notices);
        for notice in notices {
            let is_new = !known.iter().any(|(name, before)| *name == source && before.thing() == notice.thing());
            if let (true, Notice::Stale { .. } | Notice::NoMatch { .. }) = (is_new, notice) {
                let Finding { thing, words, .. } = doctor::notice(source, notice);
                log::warn!("{source}: {thing}: {words}");
            }
        }
        known.retain(|(name, _)| *name != source);
        known.extend(notices.iter().map(|notice| (source, notice.clone())));
    }

    /// Notes how every target did, and logs what changed: once, not at every scrape. Where the peer was hasty, it says
    /// nothing about a target that it was too slow.
    fn note(&self, rounds: &[Round], wish: Wish, is_hasty: bool) {
        let now = clock::now();
        // Held meanwhile, so that no source is noted that a reload has just let go.
        let watch = lock(&self.watch);
        let mut states = lock(&self.states);
        for Round { name, report, .. } in rounds.iter().filter(|round| watch.has(round.name)) {
            if wish == Wish::Metrics {
                self.note_notices(name, &report.notices);
                states.retain(|state| {
                    state.source != *name || report.targets.iter().any(|(reported, _)| *reported == state.target)
                });
            }
            for (target, result) in &report.targets {
                let trouble = result.as_ref().err().cloned();
                if is_hasty && matches!(trouble, Some(Error::TimedOut { .. })) {
                    continue;
                }
                let place = states.binary_search_by(|state| (state.source, &state.target).cmp(&(*name, target)));
                let known = place.ok().and_then(|place| states.get(place));
                if known.is_some_and(|state| state.trouble == trouble) {
                    continue;
                }
                match &trouble {
                    Some(trouble) => log::warn!("{name}: {trouble}"),
                    None if known.is_some() => log::info!("{name}: {target} answers again"),
                    None => log::debug!("{name}: {target} answers"),
                }
                // Another reason for the same silence does not make it younger.
                let since =
                    known.filter(|state| state.trouble.is_some() == trouble.is_some()).map_or(now, |state| state.since);
                if let Ok(place) = place {
                    states.remove(place);
                }
                let (Ok(place) | Err(place)) = place;
                states.insert(place, State { source: name, target: target.clone(), trouble, since });
            }
        }
    }
}

impl Watch {
    fn new(config: Config, discover: Option<Box<Discover>>) -> Self {
        Self { collectors: collectors(&config, None), config, discover }
    }

    /// Whether a source of that name is watched.
    fn has(&self, name: &str) -> bool {
        self.collectors.iter().any(|collector| collector.name() == name)
    }

    /// The collectors, after a look for sources that are new on this machine.
    fn current(&mut self) -> Collectors {
        if let Some(discover) = &self.discover {
            let mut config = self.config.clone();
            let new = config.absorb(discover());
            if !new.is_empty() {
                log::info!("found on this machine: {}", new.join(", "));
                self.collectors = collectors(&config, Some((&self.config, &self.collectors)));
                self.config = config;
            }
        }
        Arc::clone(&self.collectors)
    }
}

impl Scrapes {
    fn begin(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    fn end(&mut self, status: u16) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match self.codes.iter_mut().find(|(code, _)| *code == status) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.codes.insert(self.codes.partition_point(|(code, _)| *code < status), (status, 1)),
        }
    }

    fn expose(&self, out: &mut Exposition) {
        own::expose_requests(self.codes.iter().copied(), self.in_flight, out);
    }
}

/// The catalogue of all families as Markdown: a heading and a table for each source.
pub fn catalogue() -> String {
    let mut text = String::new();
    let sources: [(&str, &[&dyn Shape]); 7] = [
        ("strongswan", strongswan::metrics::TABLES),
        ("ipsec", ipsec::metrics::TABLES),
        ("openvpn", openvpn::metrics::TABLES),
        ("sockets", sockets::metrics::TABLES),
        ("kernel", kernel::metrics::TABLES),
        ("wireguard", wireguard::metrics::TABLES),
        ("the exporter", own::TABLES),
    ];
    for (source, tables) in sources {
        let mut families: Vec<_> = tables.iter().flat_map(|table| expo::list(*table)).collect();
        families.sort_by_key(|family| family.name);
        let _ = write!(text, "### {source}\n\n| family | type | labels | value | group |\n|---|---|---|---|---|\n");
        for Listed { name, kind, labels, help, group } in families {
            let (kind, labels, group) = (kind.word(), labels.join(", "), group.map(Group::word).unwrap_or_default());
            let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} | {group} |");
        }
        text.push('\n');
    }
    text
}

/// The collectors of a configuration. One whose settings are as they were before stays, with the
/// totals that it remembers.
fn collectors(config: &Config, before: Option<(&Config, &Collectors)>) -> Collectors {
    let kept = |name: &str, is_same: fn(&Config, &Config) -> bool| {
        let (_, collectors) = before.filter(|(before, _)| is_same(before, config))?;
        collectors.iter().find(|collector| collector.name() == name).cloned()
    };
    let mut all: Vec<Arc<dyn Collector>> = Vec::new();
    if let Some(settings) = &config.strongswan {
        let kept = kept("strongswan", |before, now| before.strongswan == now.strongswan);
        all.push(kept.unwrap_or_else(|| Arc::new(StrongSwan::new(settings.clone()))));
    }
    if let Some(settings) = &config.ipsec {
        all.push(Arc::new(Ipsec::new(settings.clone())));
    }
    if let Some(settings) = &config.openvpn {
        // Servers that were watched before keep what is remembered of them, whatever comes or goes beside them.
        let renewed = watched_before(before).map(|before: &OpenVpn| before.renewed(settings.clone()));
        all.push(Arc::new(renewed.unwrap_or_else(|| OpenVpn::new(settings.clone()))));
    }
    if let Some(settings) = &config.sockets {
        let renewed = watched_before(before).map(|before: &Sockets| before.renewed(settings.clone()));
        all.push(Arc::new(renewed.unwrap_or_else(|| Sockets::new(settings.clone()))));
    }
    if let Some(settings) = &config.wireguard {
        let renewed = watched_before(before).map(|before: &WireGuard| before.renewed(settings.clone()));
        all.push(Arc::new(renewed.unwrap_or_else(|| WireGuard::new(settings.clone()))));
    }
    // Where IPsec is watched, the kernel's half of it is.
    let kernel = (config.strongswan.is_some() || config.ipsec.is_some()).then(|| Kernel::find(PROC.into())).flatten();
    all.extend(kernel.map(|kernel| Arc::new(kernel) as Arc<dyn Collector>));
    all.into()
}

/// The collector of that kind among those that were watched before.
fn watched_before<'a, T: Collector>(before: Option<(&Config, &'a Collectors)>) -> Option<&'a T> {
    let (_, collectors) = before?;
    collectors.iter().map(|collector| collector.as_ref() as &dyn Any).find_map(<dyn Any>::downcast_ref)
}

/// The answer where too many large ones are under way.
fn full() -> Reply {
    Reply::text(503, "busy with large answers, try again\n").with("Retry-After", "1")
}

/// Collects, and takes room for what came of it; where there is none it is let go at once.
fn collect(collector: &dyn Collector, wish: Wish, terms: Terms, deadline: Deadline, place: &Place) -> Round {
    let started = Instant::now();
    let mut report = Report::on(terms);
    match wish {
        Wish::Metrics => collector.collect(deadline, &mut report),
        Wish::Sessions => collector.sessions(deadline, &mut report),
    }
    let most = terms.most_series.unwrap_or(usize::MAX);
    let unlisted = report.sessions.len().saturating_sub(most);
    report.sessions.truncate(most);
    report.sessions.shrink_to_fit();
    let fits = place.take(report.size());
    if !fits {
        (report.exposition, report.sessions) = Default::default();
    }
    Round { name: collector.name(), report, taken: started.elapsed(), fits, unlisted }
}

/// A file that the pages load; browsers ask each time whether it is still the same version's.
fn asset(content_type: &'static str, text: &str) -> Reply {
    Reply::ok(content_type, text.as_bytes().to_vec())
        .with("Cache-Control", "no-cache")
        .with("X-Content-Type-Options", "nosniff")
}

/// A page for people, which may load nothing and run nothing but its own script.
fn html(page: String) -> Reply {
    private(Reply::ok(pages::CONTENT_TYPE, page.into_bytes())).with("Content-Security-Policy", pages::POLICY)
}

/// An answer that says who is connected: nobody keeps it or takes it for something else.
fn private(reply: Reply) -> Reply {
    reply
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
}

/// A scrape ends before Prometheus stops waiting, so that what the healthy sources said arrives.
fn deadline(request: &Request) -> Deadline {
    let time = request.timeout.map_or(PATIENCE, |timeout| {
        let margin = timeout.checked_div(10).unwrap_or_default().max(LEAST_MARGIN);
        timeout.saturating_sub(margin).min(PATIENCE)
    });
    Deadline::within(time)
}

/// What was written before a panic still stands: every update here is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::Error;
    use crate::http::{Credentials, Method};
    use crate::identities::Identities;

    /// A collector that does what a test wants.
    struct Stub {
        name: &'static str,
        error: Mutex<Option<Error>>,
        sleep: Duration,
    }

    impl Collector for Stub {
        fn name(&self) -> &'static str {
            self.name
        }

        fn targets(&self) -> Vec<String> {
            vec!["/stub".into()]
        }

        fn collect(&self, _: Deadline, report: &mut Report) {
            thread::sleep(self.sleep);
            report.target("/stub", lock(&self.error).clone().map_or(Ok(()), Err));
        }

        fn sessions(&self, _: Deadline, report: &mut Report) {
            report.target("/stub", lock(&self.error).clone().map_or(Ok(()), Err));
            report.sessions.push(Session { remoteid: self.name.into(), ..Session::default() });
        }
    }

    fn stub(name: &'static str, error: Option<Error>, sleep: u64) -> Arc<dyn Collector> {
        Arc::new(Stub { name, error: Mutex::new(error), sleep: Duration::from_millis(sleep) })
    }

    fn app(collectors: Vec<Arc<dyn Collector>>) -> App {
        let app = App::new(Config::default(), None, "/metrics".into());
        lock(&app.watch).collectors = collectors.into();
        app
    }

    fn gone() -> Error {
        Error::NotFound { thing: "/stub".into() }
    }

    fn request(target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Request {
            method: Method::Get,
            path: path.into(),
            query: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
            timeout: None,
            credentials: None,
            peer: [127, 0, 0, 1].into(),
        }
    }

    fn get(app: &App, target: &str) -> (u16, String) {
        let reply = app.answer(&request(target));
        (reply.status(), String::from_utf8(reply.into_bytes().expect("a body")).expect("UTF-8"))
    }

    #[test]
    fn a_source_that_is_down_does_not_silence_the_others() {
        let app = app(vec![stub("a", Some(gone()), 0), stub("b", None, 0)]);
        let (status, text) = get(&app, "/metrics");
        assert_eq!(status, 200);
        assert!(text.contains("gateway_exporter_target_up{collector=\"a\",target=\"/stub\"} 0\n"), "{text}");
        assert!(text.contains("gateway_exporter_target_up{collector=\"b\",target=\"/stub\"} 1\n"), "{text}");
        assert!(text.contains("gateway_exporter_collector_duration_seconds{collector=\"b\"}"), "{text}");
    }

    #[test]
    fn whoever_is_hasty_says_nothing_about_a_source() {
        let slow = Error::TimedOut { thing: "/stub".into() };
        let app = app(vec![stub("a", Some(slow.clone()), 0)]);
        let ask = |milliseconds| {
            let timeout = Some(Duration::from_millis(milliseconds));
            assert_eq!(app.answer(&Request { timeout, ..request("/metrics") }).status(), 200);
            lock(&app.states).first().and_then(|state| state.trouble.clone())
        };
        assert_eq!((ask(1), ask(200)), (None, None));
        assert_eq!(ask(1000), Some(slow));
    }

    #[test]
    fn collectors_run_side_by_side() {
        let app = app((0..4).map(|_| stub("a", None, 300)).collect());
        let started = Instant::now();
        get(&app, "/metrics");
        assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    }

    #[test]
    fn a_scrape_is_narrowed_by_collect() {
        let app = app(vec![stub("a", None, 0), stub("b", None, 0)]);
        for (target, a, b) in [
            ("/metrics", true, true),
            ("/metrics?collect[]=a", true, false),
            ("/metrics?collect[]=b&collect[]=b", false, true),
            ("/metrics?collect[]=a&collect[]=b", true, true),
        ] {
            let (_, text) = get(&app, target);
            assert_eq!(text.contains("target_up{collector=\"a\""), a, "{target}: {text}");
            assert_eq!(text.contains("target_up{collector=\"b\""), b, "{target}: {text}");
        }
        assert_eq!(get(&app, "/metrics?collect[]=c").0, 400);
        assert_eq!(get(&app, "/sessions?collect[]=b").1.matches("remoteid").count(), 1);
    }

    #[test]
    fn only_prom_has_the_process_and_the_scrapes() {
        let app = app(vec![]);
        let (_, text) = get(&app, "/metrics");
        assert!(text.contains("gateway_exporter_build_info{") && !text.contains("process_"), "{text}");
        let (_, text) = get(&app, "/prom");
        for line in [
            "promhttp_metric_handler_requests_total{code=\"200\"} 1\n",
            "promhttp_metric_handler_requests_in_flight 1\n",
            "# TYPE process_cpu_seconds_total counter\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn only_users_may_ask_where_there_are_some() {
        let mut config = Config::default();
        config.web.users.push(("ann".into(), crate::bcrypt::Hash::new(b"secret", 4, [1; 16])));
        let app = App::new(config, None, "/metrics".into());
        let ask = |path: &str, password: Option<&str>| {
            let credentials = password.map(|password| Credentials { user: "ann".into(), password: password.into() });
            app.answer(&Request { credentials, ..request(path) })
        };
        for path in ["/", "/metrics", "/prom", "/sessions", "/static", "/nowhere", "/-/healthy/", "//-/healthy"] {
            for password in [None, Some("wrong")] {
                let reply = ask(path, password);
                assert_eq!(reply.status(), 401, "{path}");
                assert!(reply.headers().any(|header| header == ("WWW-Authenticate", REALM)), "{path}");
            }
        }
        assert_eq!(ask("/metrics", Some("secret")).status(), 200);
        assert_eq!(ask("/nowhere", Some("secret")).status(), 404);
        assert_eq!(ask(HEALTHY, None).status(), 200);
        app.reload(Config::default(), None);
        assert_eq!(ask("/metrics", None).status(), 200);
    }

    #[test]
    fn sessions_can_be_switched_off() {
        let app = app(vec![stub("a", None, 0)]);
        lock(&app.watch).config.web.hides_sessions = true;
        for path in ["/sessions", "/sessions_local", "/static"] {
            assert_eq!(get(&app, path).0, 404, "{path}");
        }
        let (_, page) = get(&app, "/");
        assert!(!page.contains("/sessions") && !page.contains("/static") && page.contains("/metrics"), "{page}");
    }

    #[test]
    fn identities_are_shown_as_configured() {
        let app = app(vec![stub("carol", None, 0)]);
        assert!(get(&app, "/sessions").1.contains("\"remoteid\":\"carol\""));
        lock(&app.watch).config.terms.identities = Identities::Off;
        for path in ["/sessions", "/static"] {
            assert!(!get(&app, path).1.contains("carol"), "{path}");
        }
    }

    #[test]
    fn pages_are_kept_by_nobody_and_load_nothing() {
        let app = app(vec![]);
        for (path, has_policy) in [("/", true), ("/static", true), ("/sessions", false)] {
            let reply = app.answer(&request(path));
            assert!(reply.headers().any(|header| header == ("Cache-Control", "no-store")), "{path}");
            assert!(reply.headers().any(|header| header == ("X-Content-Type-Options", "nosniff")), "{path}");
            assert_eq!(reply.headers().any(|(name, _)| name == "Content-Security-Policy"), has_policy);
        }
    }

    #[test]
    fn what_the_pages_load_is_there() {
        let app = app(vec![]);
        let (_, page) = get(&app, "/");
        for (path, content_type) in
            [("/style.css", "text/css; charset=utf-8"), ("/app.js", "text/javascript; charset=utf-8")]
        {
            assert!(page.contains(&format!("\"{path}\"")), "{path}: {page}");
            let reply = app.answer(&request(path));
            assert!(reply.headers().any(|header| header == ("Content-Type", content_type)), "{path}");
            assert!(reply.into_bytes().is_ok_and(|body| body.len() > 1000), "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        let app = App::new(Config::default(), None, "/m".into());
        for path in ["/metrics", "/m/", "//m", "/../m", "/favicon.ico", "/app.css"] {
            assert_eq!(get(&app, path).0, 404, "{path}");
        }
        assert_eq!(get(&app, "/m").0, 200);
    }

    #[test]
    fn sessions_are_no_more_than_series() {
        let app = app(vec![stub("a", None, 0), stub("b", None, 0)]);
        let left_out = || {
            let reply = app.answer(&request("/sessions"));
            reply.headers().find(|(name, _)| *name == UNLISTED).map(|(_, count)| count.to_owned())
        };
        assert_eq!(left_out(), None);
        lock(&app.watch).config.terms.most_series = Some(0);
        assert_eq!(left_out().as_deref(), Some("2"));
        assert_eq!(get(&app, "/sessions").1, "[]");
        assert!(get(&app, "/static").1.contains("<li>2 more are left out: max_series</li>"));
    }

    #[test]
    fn sessions_are_json_and_a_page() {
        let app = app(vec![stub("a", Some(gone()), 0)]);
        assert_eq!(get(&app, "/sessions").1, get(&app, "/sessions_local").1);
        let (_, page) = get(&app, "/static");
        assert!(page.contains("/stub: not found") && page.contains("1 session<"), "{page}");
        let empty = App::new(Config::default(), None, "/metrics".into());
        assert_eq!(get(&empty, "/sessions").1, "[]");
    }

    #[test]
    fn a_state_keeps_its_age_until_it_changes() {
        let app = app(vec![stub("a", Some(gone()), 0)]);
        get(&app, "/");
        let since = |app: &App| lock(&app.states)[0].since;
        lock(&app.states)[0].since = 7;
        get(&app, "/");
        assert_eq!(since(&app), 7);
        lock(&app.watch).collectors = vec![stub("a", None, 0)].into();
        let (_, page) = get(&app, "/");
        assert!(page.contains("All is well<"), "{page}");
        assert!(since(&app) > 7);
    }

    #[test]
    fn what_turns_up_later_is_watched() {
        let socket = |name: &str| crate::strongswan::Settings {
            socket: crate::source::socket::Address::Unix(name.into()),
            gateway: "gateway".into(),
            identity: crate::strongswan::sa::Identity::default(),
            certificate_interval: Duration::ZERO,
            most_clients: 1,
        };
        let found = Arc::new(Mutex::new(None));
        let look = Arc::clone(&found);
        let discover = move || Config { strongswan: lock(&look).clone(), ..Config::default() };
        let app = App::new(Config::default(), Some(Box::new(discover)), "/metrics".into());
        assert!(app.watched().is_empty());
        *lock(&found) = Some(socket("/no/such/vici"));
        assert!(get(&app, "/metrics").1.contains("probe_success{version=\"\"} 0\n"));
        *lock(&found) = None;
        assert!(get(&app, "/metrics").1.contains("probe_success{version=\"\"} 0\n"), "found once, watched for good");
    }

    #[test]
    fn a_reload_keeps_what_a_source_remembers_unless_its_settings_changed() {
        let config = |text: &str| Config::parse(text, &crate::config::Surroundings::default()).expect("valid");
        let app = App::new(config("vici_socket: /a\novpnudpstatus: /b\n"), None, "/metrics".into());
        let named = |name: &str| {
            let collectors = Arc::clone(&lock(&app.watch).collectors);
            collectors.iter().find(|collector| collector.name() == name).map(Arc::clone).expect("watched")
        };
        let (charon, openvpn) = (named("strongswan"), named("openvpn"));
        app.reload(config("vici_socket: /a\novpnudpstatus: /c\n"), None);
        assert!(Arc::ptr_eq(&charon, &named("strongswan")), "its totals would fall");
        assert!(!Arc::ptr_eq(&openvpn, &named("openvpn")), "it reads another file");
    }

    #[test]
    fn an_openvpn_server_beside_new_ones_keeps_its_totals() {
        let path = std::env::temp_dir().join(format!("gwx-app-{}.udp.status", std::process::id()));
        let config = |text: String| Config::parse(&text, &crate::config::Surroundings::default()).expect("valid");
        let alone = format!("ovpnudpstatus: {}\n", path.display());
        let app = App::new(config(alone.clone()), None, "/metrics".into());
        let seen = || get(&app, "/metrics").1.contains("ovpn_bytes_in_total{client=\"ann_udp\"} 700\n");
        let status = |client: &str| {
            let text = format!(
                "TITLE,OpenVPN\nTIME,x,1\nHEADER,CLIENT_LIST,Common Name,Real Address,Bytes Received,Bytes Sent\n{client}END\n"
            );
            std::fs::write(&path, text).expect("a status file");
        };
        status("CLIENT_LIST,ann,192.0.2.7:1194,700,70\n");
        assert!(seen());
        status("");
        app.reload(config(alone + "ovpntcpstatus: /no/such/status\n"), None);
        assert!(seen(), "ann left, and another server came: what she had stays");
        std::fs::remove_file(&path).expect("it was there");
    }

    #[test]
    fn the_landing_page_and_a_reload_do_not_wait_for_each_other() {
        let config =
            || Config::parse("ovpnudpstatus: /no/such\n", &crate::config::Surroundings::default()).expect("valid");
        let app = App::new(config(), None, "/metrics".into());
        thread::scope(|threads| {
            threads.spawn(|| (0..500).for_each(|_| app.reload(config(), None)));
            (0..500).for_each(|_| assert_eq!(get(&app, "/").0, 200));
        });
    }

    #[test]
    fn the_deadline_leaves_time_for_the_answer() {
        for (timeout, least, most) in
            [(None, 4900, 5000), (Some(1000), 850, 900), (Some(10), 0, 0), (Some(60_000), 4900, 5000)]
        {
            let request = Request { timeout: timeout.map(Duration::from_millis), ..request("/metrics") };
            let left = deadline(&request).left("x").unwrap_or_default().as_millis();
            assert!((least..=most).contains(&left), "{timeout:?}: {left}");
        }
    }
}
