//! The HTTP routes: which reply each request path gets.

use std::io::{self, BufRead as _};
use std::iter;
use std::sync::Arc;
use std::time::Instant;

use super::outcome::{Outcome, Query};
use super::overview::{self, in_words};
use super::registry::Sources;
use super::scrape::{Source, Times, gather};
use super::{App, lock};
use crate::auth::Auth;
use crate::catalogue::{Catalogue, catalogue};
use crate::diagnosis;
use crate::exposition::{self, Encoder, Exposition};
use crate::http::{Method, Pieces, RELOAD, Reply, Request};
use crate::pages::{self, Frame};
use crate::session::{self, Cursor, Session};
use crate::sys::{clock, usage};
use crate::text::{Text, printable};
use crate::{json, logging, self_metrics};

/// The query parameter that narrows a scrape, as node_exporter has it.
const COLLECT: &str = "collect[]";

/// The path of the overview for programs, and the query with which it is text.
const STATUS: &str = "/status";
const FORMAT: &str = "format";
const TEXT: &str = "text";

/// The header that says the worst state of the overview.
pub const STATE: &str = "X-Gateway-State";

/// The header of a truncated session list: the number of sessions left out.
pub(super) const UNLISTED: &str = "X-Sessions-Left-Out";

/// The reply to a request for a host name that is not in `web.hosts`.
const MISDIRECTED: &str = "this page does not answer under this host name: ask by the gateway's address, or add the name to \
                           web.hosts in the gateway's configuration\n";

/// The reply to a reload that may not be asked for.
const NO_RELOAD: &str = "a reload is asked for on this machine itself, by its address or as localhost, or by a user of \
                         web.basic_auth_users; never by a web page of another site\n";

/// Reads the configuration again; the error is why it was not taken.
pub type Reload = dyn Fn() -> Result<(), String> + Send + Sync;

/// The `WWW-Authenticate` value, which makes a browser ask for user and password.
pub(super) const REALM: &str = "Basic realm=\"gateway-exporter\"";

/// The number of scrapes so far by status code, and of those being answered.
#[derive(Default)]
pub(super) struct Scrapes {
    codes: Vec<(u16, u64)>,
    in_flight: u64,
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
}

impl App {
    /// Answers a request, after checking its host name and credentials; compresses the reply as configured.
    pub fn answer(&self, request: &Request) -> Reply {
        let mut reply = self.reply(request);
        let watch = lock(&self.registry.watch);
        let web = &watch.config.web;
        web.headers.iter().for_each(|(name, value)| reply.set(name, value.clone()));
        let compress = web.compress;
        drop(watch);
        self.compression.apply(compress, request, reply)
    }

    fn reply(&self, request: &Request) -> Reply {
        let limit = lock(&self.registry.watch).config.web.rate_limit;
        if let Some(limit) = limit.filter(|limit| !lock(&self.bucket).take(*limit, Instant::now())) {
            let wait = usize::try_from(limit.interval.as_secs()).unwrap_or(usize::MAX).max(1);
            return Reply::text(429, "more requests than rate_limit allows, try again\n")
                .with_count("Retry-After", wait);
        }
        if !self.is_host(request) {
            return Reply::text(421, MISDIRECTED);
        }
        // The time counts from here: checking the password takes long on a weak machine.
        let times = Times::of(request.timeout);
        let users = Arc::clone(&lock(&self.users));
        match users.check(request.credentials.as_ref(), request.peer) {
            Auth::Granted => self.route(request, times),
            Auth::Denied => Reply::text(401, "a user and a password are needed\n").with("WWW-Authenticate", REALM),
            Auth::Busy => {
                Reply::text(503, "too many passwords are being checked, try again\n").with("Retry-After", "1")
            }
        }
    }

    /// Whether the path may be requested under this host name. Metrics may be requested under any: Prometheus may know the
    /// gateway by another name.
    fn is_host(&self, request: &Request) -> bool {
        let is_metrics = request.path == self.telemetry_path || request.path == "/prom";
        let watch = lock(&self.registry.watch);
        is_metrics || watch.config.web.hosts.as_ref().is_none_or(|hosts| hosts.contain(request.host.as_deref()))
    }

    fn route(&self, request: &Request, times: Times) -> Reply {
        match request.path.as_str() {
            path if path == self.telemetry_path => self.scrape(request, times, false),
            "/prom" => self.scrape(request, times, true),
            "/sessions" | "/sessions_local" | "/static" if self.hides_sessions() => not_found(),
            "/sessions" | "/sessions_local" => self
                .with_sources(request, |sources| Listing::read(sources, times).map_or_else(full, Listing::into_json)),
            "/static" => self.with_sources(request, |sources| {
                let page = |listing: Listing| listing.into_page(self.frame(&self.gateway(), request));
                Listing::read(sources, times).map_or_else(full, page)
            }),
            "/" => self.with_sources(request, |sources| self.landing(request, sources, times)),
            RELOAD => self.read_config_again(request),
            STATUS => self.with_sources(request, |sources| self.status(request, sources, times)),
            pages::STYLE_PATH => asset("text/css; charset=utf-8", pages::STYLE),
            pages::SCRIPT_PATH => asset("text/javascript; charset=utf-8", pages::SCRIPT),
            pages::ICON_PATH => asset("image/svg+xml", pages::ICON.as_bytes()),
            pages::DOCS_PATH => asset("text/plain; charset=utf-8", catalogue(Catalogue::Markdown).as_bytes()),
            _ => not_found(),
        }
    }

    /// Reads the configuration again, for a user who has given the password or for this machine itself. A browser on this
    /// machine may be led here by a name that another site chose.
    fn read_config_again(&self, request: &Request) -> Reply {
        let Some(reload) = self.reload.get() else { return not_found() };
        if request.method != Method::Post {
            return Reply::text(405, "a reload is asked for by POST\n").with("Allow", "POST");
        }
        let web = lock(&self.registry.watch).config.web.clone();
        let is_here = || request.is_local && web.hosts.unwrap_or_default().contain(request.host.as_deref());
        if request.is_cross_site || (web.users.is_empty() && !is_here()) {
            return Reply::text(403, NO_RELOAD);
        }
        match reload() {
            Ok(()) => Reply::text(200, "the configuration was read again\n"),
            Err(complaint) => Reply::text(500, printable(&complaint) + "\n"),
        }
    }

    fn frame<'a>(&'a self, gateway: &'a str, request: &'a Request) -> Frame<'a> {
        let (has_sessions, filter) = (!self.hides_sessions(), request.values(pages::FILTER).next().unwrap_or_default());
        Frame { gateway, version: self_metrics::VERSION, telemetry_path: &self.telemetry_path, has_sessions, filter }
    }

    fn hides_sessions(&self) -> bool {
        lock(&self.registry.watch).config.web.hides_sessions
    }

    pub(super) fn gateway(&self) -> String {
        lock(&self.registry.watch).config.gateway.clone()
    }

    fn scrape(&self, request: &Request, times: Times, with_own: bool) -> Reply {
        lock(&self.scrapes).begin();
        let reply = self.with_sources(request, |sources| self.expose(sources, times, with_own));
        lock(&self.scrapes).end(reply.status());
        reply
    }

    pub(super) fn expose(&self, sources: &[Arc<Source>], times: Times, with_own: bool) -> Reply {
        let outcomes = gather(sources, Query::Metrics, times);
        if outcomes.iter().any(|outcome| !outcome.fits) {
            return full();
        }
        let mut all = Exposition::default();
        self_metrics::expose_build(logging::dropped(), &mut all);
        for outcome in &outcomes {
            for (target, result) in &outcome.targets {
                self_metrics::expose_target(outcome.name, target, result.is_ok(), &mut all);
            }
            let dropped = outcome.exposition.dropped();
            self_metrics::expose_collector(outcome.name, outcome.taken, dropped, &mut all);
        }
        if with_own && !lock(&self.registry.watch).config.web.hides_process {
            let usage = usage::read();
            let scrapes = lock(&self.scrapes);
            self_metrics::expose_process(usage, &scrapes.codes, scrapes.in_flight, &mut all);
        }
        let parts = iter::once(Arc::new(all)).chain(outcomes.iter().map(|outcome| Arc::clone(&outcome.exposition)));
        Reply::stream(exposition::CONTENT_TYPE, ScrapeText(exposition::encode(parts.collect()))).keeping(outcomes)
    }

    fn landing(&self, request: &Request, sources: &[Arc<Source>], times: Times) -> Reply {
        let Some((findings, counts, reservation)) = self.overview(sources, times) else { return full() };
        let page = pages::landing(self.frame(&self.gateway(), request), &findings, &counts, in_words);
        html(Reply::ok(pages::CONTENT_TYPE, page.into_bytes())).keeping(reservation)
    }

    /// The overview as JSON, or as text where the query says so.
    fn status(&self, request: &Request, sources: &[Arc<Source>], times: Times) -> Reply {
        let Some((findings, counts, reservation)) = self.overview(sources, times) else { return full() };
        let (severity, _) = diagnosis::summary(&findings);
        let reply = if request.values(FORMAT).any(|format| format == TEXT) {
            Reply::text(200, diagnosis::print(&findings, &counts, in_words))
        } else {
            Reply::ok(json::CONTENT_TYPE, overview::json(&self.gateway(), &findings, &counts))
        };
        private(reply.with(STATE, severity.word())).keeping(reservation)
    }

    /// Calls `answer` with the sources that `collect[]` names, or with all.
    fn with_sources(&self, request: &Request, answer: impl FnOnce(&[Arc<Source>]) -> Reply) -> Reply {
        let sources: Sources = self.registry.current();
        let mut wanted: Vec<Arc<Source>> = Vec::new();
        for name in request.values(COLLECT) {
            match sources.iter().find(|source| source.collector.name() == name) {
                Some(found) if wanted.iter().all(|source| source.collector.name() != name) => {
                    wanted.push(Arc::clone(found));
                }
                Some(_) => {}
                None => return Reply::text(400, format!("{COLLECT}: no source of that name is watched\n")),
            }
        }
        answer(if wanted.is_empty() { &sources } else { &wanted })
    }
}

/// The path and query of the overview, for [`crate::http::ask`].
pub fn status_path(is_json: bool) -> String {
    if is_json { STATUS.into() } else { format!("{STATUS}?{FORMAT}={TEXT}") }
}

/// The text of a scrape.
struct ScrapeText(Encoder);

impl Pieces for ScrapeText {
    fn piece(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn advance(&mut self, count: usize) {
        self.0.consume(count);
    }

    fn is_last(&self) -> bool {
        self.0.is_last()
    }
}

/// The sessions of all sources, as they are written out one after the other.
struct Listing {
    outcomes: Vec<Arc<Outcome>>,
    /// The outcome that the next session is of, and its place there.
    outcome: usize,
    cursor: Cursor,
}

impl Listing {
    /// Reads the sources; nothing where there is no memory for their sessions.
    fn read(sources: &[Arc<Source>], times: Times) -> Option<Self> {
        let outcomes = gather(sources, Query::Sessions, times);
        let fits = outcomes.iter().all(|outcome| outcome.fits);
        fits.then(|| Self { outcomes, outcome: 0, cursor: Cursor::default() })
    }

    /// How many sessions are left out because of `max_series`.
    fn left_out(&self) -> usize {
        self.outcomes.iter().map(|outcome| outcome.sessions.left_out()).fold(0, usize::saturating_add)
    }

    fn into_json(mut self) -> Reply {
        let left_out = self.left_out();
        let reply = private(Reply::pieces(json::CONTENT_TYPE, session::json_writer(move || self.next())));
        if left_out > 0 { reply.with_count(UNLISTED, left_out) } else { reply }
    }

    fn into_page(mut self, frame: Frame<'_>) -> Reply {
        let count = self.outcomes.iter().map(|outcome| outcome.sessions.len()).fold(0, usize::saturating_add);
        let errors =
            self.outcomes.iter().flat_map(|outcome| &outcome.targets).filter_map(|(_, result)| result.as_ref().err());
        let troubles: Vec<String> = errors.map(ToString::to_string).collect();
        let (mut text, end) = pages::around_sessions(frame, count, &troubles, self.left_out());
        let (filter, mut totals, now) = (pages::Filter::new(frame.filter), pages::Totals::default(), clock::now());
        let write = move |out: &mut Vec<u8>| {
            let next = self.next();
            match &next {
                Some(session) => {
                    let source = self.outcomes.get(self.outcome).map_or("", |outcome| outcome.name);
                    let age =
                        moment(&session.established).and_then(|moment| u32::try_from(now.saturating_sub(moment)).ok());
                    if pages::write_session(session, source, age, &filter, &mut text) {
                        totals.add(session);
                    }
                }
                None => {
                    if count > 0 {
                        totals.write(count, &mut text);
                    }
                    text.push_str(&end);
                }
            }
            out.extend_from_slice(text.as_bytes());
            text.clear();
            next.is_some()
        };
        html(Reply::pieces(pages::CONTENT_TYPE, write))
    }
}

/// The unix time of a local date: `YYYY-MM-DD hh:mm:ss`.
fn moment(date: &str) -> Option<i64> {
    let (mut parts, mut numbers) = ([0; 6], date.split(['-', ' ', ':']));
    for part in &mut parts {
        *part = Text::from(numbers.next()?).signed()?;
    }
    clock::unix(parts)
}

impl Iterator for Listing {
    type Item = Session;

    fn next(&mut self) -> Option<Session> {
        loop {
            if let Some(session) = self.outcomes.get(self.outcome)?.sessions.next(&mut self.cursor) {
                return Some(session);
            }
            (self.outcome, self.cursor) = (self.outcome.saturating_add(1), Cursor::default());
        }
    }
}

/// The answer where too many large ones are under way.
fn full() -> Reply {
    Reply::text(503, "busy with other large answers, try again\n").with("Retry-After", "1")
}

fn not_found() -> Reply {
    Reply::text(404, "not found\n")
}

/// A file that the pages load; browsers request it anew each time, since it may be another version's.
fn asset(content_type: &'static str, text: &[u8]) -> Reply {
    Reply::ok(content_type, text.to_vec()).with("Cache-Control", "no-cache").with("X-Content-Type-Options", "nosniff")
}

/// A page for people, which may load nothing and run nothing but its own script.
fn html(page: Reply) -> Reply {
    private(page).with("Content-Security-Policy", pages::POLICY)
}

/// A reply that says who is connected: it must not be cached, sniffed, or passed on in a referrer.
fn private(reply: Reply) -> Reply {
    reply
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
}
